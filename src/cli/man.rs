//! `lockerfs man`: the manual, made of the same texts as the help.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;

use super::Outcome;
use super::failure::Failure;
use super::output;

const EXAMPLES: &str = "\
Examples:
  lockerfs man | man -l -                        read it
  lockerfs man --dir ~/.local/share/man/man1     a page for each command: man lockerfs-mount";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Write a page for lockerfs and for each of its commands into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Outcome {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        render(&command, &mut page).map_err(|e| Failure::new(format!("cannot make the manual: {e}")))?;
        output::put_bytes(&page);
        return Ok(());
    };
    let failed = |e: io::Error| Failure::new(format!("cannot write the manual to {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    write_pages(&command, folder).map_err(failed)
}

/// Writes the page of a command and those of the commands below it.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    let mut page = Vec::new();
    render(command, &mut page)?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(folder.join(format!("{name}.1")), page)?;
    command
        .get_subcommands()
        .try_for_each(|below| write_pages(below, folder))
}

fn render(command: &clap::Command, page: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone())
        .source(format!("lockerfs {}", env!("CARGO_PKG_VERSION")))
        .manual("lockerfs");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(page)?;
    }
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    if let Some(notes) = notes {
        render_notes(&notes.to_string(), page)?;
    }
    Ok(())
}

/// What follows the options in the help, under the headings that manuals have, with its lines as they are.
fn render_notes(notes: &str, page: &mut dyn Write) -> io::Result<()> {
    let mut under = "";
    for paragraph in notes.split("\n\n") {
        let (heading, text) = match paragraph.split_once('\n') {
            Some(("Examples:", rest)) => ("EXAMPLES", rest),
            Some(("Files:", rest)) => ("FILES", rest),
            Some(("Environment:", rest)) => ("ENVIRONMENT", rest),
            _ => match paragraph.strip_prefix("Exit status: ") {
                Some(rest) => ("EXIT STATUS", rest),
                None => ("NOTES", paragraph),
            },
        };
        match heading == under {
            true => writeln!(page, ".PP")?,
            false => writeln!(page, ".SH \"{heading}\"")?,
        }
        writeln!(page, ".nf")?;
        for line in text.lines() {
            writeln!(page, "{}", plain(line))?;
        }
        writeln!(page, ".fi")?;
        under = heading;
    }
    Ok(())
}

/// A line that means nothing to the typesetter.
fn plain(line: &str) -> String {
    let escaped = line
        .replace('\\', "\\(rs")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    match escaped.starts_with('.') {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}
