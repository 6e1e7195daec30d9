//! Where the log goes and how much of it. It holds lines of lockerfs alone: libraries may log what is
//! secret to us.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// A log of this size is put aside when a new process opens it.
const MAX_LOG: u64 = 16 * 1024 * 1024;

/// Starts the log of this process: in `file`, or on standard error. `LOCKERFS_LOG` may hold a filter
/// such as `debug` or `info,lockerfs::upload=trace`.
pub(super) fn start(verbose: u8, file: Option<&Path>) -> Result<(), Failure> {
    let level = match (verbose, file) {
        (0, None) => "warn",
        (0, Some(_)) | (1, _) => "info",
        _ => "debug",
    };
    let filter = match std::env::var("LOCKERFS_LOG") {
        Ok(text) => filter(&text)?,
        Err(_) => EnvFilter::new(format!("lockerfs={level}")),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(file.is_none() && wants_colours())
        // It would panic where standard error takes nothing more.
        .log_internal_errors(false);
    let started = match file {
        Some(path) => {
            let file = open(path)
                .map_err(|e| Failure::new(format!("cannot write the log {}: {e}", path.display())))?;
            log.with_writer(Mutex::new(file)).try_init()
        }
        None => log.with_writer(std::io::stderr).with_target(false).try_init(),
    };
    started.map_err(|e| Failure::new(format!("cannot start the log: {e}")))?;
    log_panics();
    Ok(())
}

/// Has the log tell where something panicked. Not with which words: they may hold what was worked on. Who asks for
/// backtraces gets all.
fn log_panics() {
    let wordy = std::panic::take_hook();
    let wants_all = std::env::var("RUST_BACKTRACE").is_ok_and(|wanted| wanted != "0");
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or("a place unknown".to_owned(), ToString::to_string);
        tracing::error!("lockerfs panicked at {place}: please report this bug");
        if wants_all {
            wordy(panic);
        }
    }));
}

/// Only a person at a terminal does, who has not set `NO_COLOR`.
fn wants_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    std::io::stderr().is_terminal() && !refused
}

fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let ours = |part: &str| {
        let part = part.trim();
        if part.starts_with("lockerfs") {
            part.to_owned()
        } else {
            format!("lockerfs={part}")
        }
    };
    let text = text.split(',').map(ours).collect::<Vec<_>>().join(",");
    EnvFilter::try_new(&text).map_err(|e| Failure::new(format!("LOCKERFS_LOG: {e}")))
}

pub(super) fn open(path: &Path) -> std::io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("old.log"))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
