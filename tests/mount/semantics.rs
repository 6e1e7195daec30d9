//! The examples of docs/SEMANTICS.md do what they say, on accounts of every kind.

use std::fmt::Write;

use super::harness::{World, run};

const TEXT: &str = include_str!("../../docs/SEMANTICS.md");

/// One `console` block: the commands, and after each what it prints.
struct Example {
    line: usize,
    steps: Vec<(String, String)>,
}

fn examples() -> Vec<Example> {
    let mut found = Vec::new();
    let mut lines = TEXT.lines().enumerate();
    while let Some((line, text)) = lines.next() {
        if text != "```console" {
            continue;
        }
        let mut steps: Vec<(String, String)> = Vec::new();
        for (_, text) in lines.by_ref().take_while(|(_, text)| *text != "```") {
            match (text.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), String::new())),
                (None, Some((_, printed))) => {
                    printed.push_str(text);
                    printed.push('\n');
                }
                (None, None) => panic!("line {}: an example begins with a command", line + 1),
            }
        }
        found.push(Example {
            line: line + 1,
            steps,
        });
    }
    found
}

#[test]
fn the_examples_of_the_semantics_do_what_they_say() {
    let examples = examples();
    assert!(examples.len() >= 5, "the examples are gone");
    for example in examples {
        let world = World::new();
        let mount = world.mount();
        let root = mount.path("..");
        let mut script = format!("cd {}\nexport LC_ALL=C\nexec 2>&1\n", root.display());
        for (command, _) in &example.steps {
            let _ = writeln!(script, "{command}\necho '$'");
        }
        let ran = run("bash", &[&"-c", &script]);
        let wanted: Vec<&str> = example
            .steps
            .iter()
            .map(|(_, printed)| printed.as_str())
            .collect();
        let printed: Vec<&str> = ran.stdout.split_terminator("$\n").collect();
        assert_eq!(
            printed, wanted,
            "docs/SEMANTICS.md, the example at line {}",
            example.line
        );
        world.drain();
        mount.unmount(&world.config());
    }
}
