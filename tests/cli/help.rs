//! What the help says, word for word: a change of a flag or a text shows in the files of `tests/cli/help`.
//!
//! `LOCKERFS_WRITE_HELP=1` writes these files anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::home::Home;

/// Each command with those that it is below, as they are typed.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        found.push(path.to_vec());
        for inner in command.get_subcommands() {
            let path = [path, &[inner.get_name().to_owned()]].concat();
            below(inner, &path, found);
        }
    }
    let mut found = Vec::new();
    below(&lockerfs::cli::command(), &[], &mut found);
    found
}

fn run(args: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_lockerfs"))
        .args(args)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{args:?}");
    assert!(ran.stderr.is_empty(), "{args:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_help_of_each_command_says_what_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help");
    let rewrite = std::env::var_os("LOCKERFS_WRITE_HELP").is_some();
    let mut files = BTreeSet::new();
    let mut differ = Vec::new();
    for path in commands() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = run(&args);
        let file: PathBuf = folder.join(format!(
            "{}.txt",
            [&["lockerfs".to_owned()], &path[..]].concat().join("-")
        ));
        if rewrite {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &help).unwrap();
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        if written != help {
            differ.push(file.display().to_string());
        }
        files.insert(file);
    }
    let known: BTreeSet<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let stale: Vec<_> = known.difference(&files).collect();
    assert!(differ.is_empty(), "the help says something else than {differ:?}");
    assert!(stale.is_empty(), "help of commands that are no more: {stale:?}");
}

#[test]
fn each_command_tells_by_an_example_or_a_flag_how_it_is_used_and_no_line_is_wide() {
    for path in commands() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = run(&args);
        assert!(help.contains("Usage: lockerfs"), "{args:?}: {help}");
        let wide: Vec<_> = help.lines().filter(|line| line.chars().count() > 120).collect();
        assert!(wide.is_empty(), "{args:?}: {wide:?}");
    }
}

#[test]
fn completions_are_for_each_shell_and_know_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]);
        for path in commands().iter().filter(|path| path.len() == 1) {
            assert!(script.contains(path[0].as_str()), "{shell}: {path:?}");
        }
    }
    let home = Home::with("");
    let wrong = home.run(&["completions", "tcsh"]);
    assert_eq!(wrong.status, 2);
    assert!(
        wrong.err.contains("bash") && wrong.err.contains("fish"),
        "{}",
        wrong.err
    );
}

#[test]
fn bash_takes_the_completions_and_completes_a_command() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("lockerfs.bash");
    std::fs::write(&script, run(&["completions", "bash"])).unwrap();
    let asked =
        "COMP_WORDS=(lockerfs unm) COMP_CWORD=1; _lockerfs lockerfs unm lockerfs; echo \"${COMPREPLY[@]}\"";
    let ran = Command::new("bash")
        .args(["--norc", "-c", &format!(". {}; {asked}", script.display())])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "unmount", "{ran:?}");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    run(&["man", "--dir", pages.to_str().unwrap()]);
    for path in commands() {
        let name = [&["lockerfs".to_owned()], &path[..]].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        for heading in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(heading), "{name}: {heading}");
        }
    }
    let whole = run(&["man"]);
    assert!(whole.contains(".SH \"EXIT STATUS\""), "{whole}");
    assert!(whole.contains("lockerfs unmount"), "{whole}");
}

#[test]
fn a_manual_that_cannot_be_written_is_told() {
    let home = Home::with("");
    home.fails(
        &["man", "--dir", "/dev/null/man"],
        "cannot write the manual to /dev/null/man",
    );
}
