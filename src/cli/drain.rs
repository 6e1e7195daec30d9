//! `lockerfs drain`: wait for the uploads of the running mount.

use std::io::{IsTerminal, Write};

use super::failure::Failure;
use super::{Global, Outcome, block_on, text};
use crate::control::{Client, DrainProgress};

pub(super) fn run(global: &Global) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let paths = global.paths()?;
    block_on(async {
        let mut last = None;
        let told = |progress: DrainProgress| {
            show(progress, last);
            last = Some(progress);
        };
        let client = Client::connect(&paths.state_dir).await?;
        client.drain(told).await?;
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        match last.map_or(0, |progress| progress.files) {
            0 => println!("All is uploaded."),
            files => {
                let files = text::count(files, "file is", "files are");
                return Err(Failure::new(format!(
                    "{files} not uploaded: `lockerfs status` tells why"
                )));
            }
        }
        Ok(())
    })
}

/// One line that is written over on a terminal; elsewhere a line for each change.
fn show(progress: DrainProgress, last: Option<DrainProgress>) {
    let left = text::count(progress.files, "file", "files");
    let line = format!("{left} left, {}", text::size(progress.bytes));
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        // A progress line that does not show is no failure.
        let _ = std::io::stderr().flush();
    } else if last.is_none_or(|last| last.files != progress.files) {
        eprintln!("{line}");
    }
}
