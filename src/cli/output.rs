//! What commands print: results on standard output, words beside them on standard error.
//!
//! A result that cannot be written fails the command, in one sentence at its end: what it does is done all the same, and
//! the rest of what it prints is left out. Where nobody reads any more is no failure: most commands end with the pipe, and
//! those that serve go on. Words that cannot be said on standard error are left unsaid. Nothing here panics, so no command
//! prints in another way.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use super::failure::Failure;

/// Prints a part of the result, in the manner of `print!`.
macro_rules! put {
    ($($text:tt)*) => { crate::cli::output::put(format_args!($($text)*)) };
}

/// Prints lines of the result, in the manner of `println!`.
macro_rules! putln {
    ($($text:tt)*) => { crate::cli::output::put(format_args!("{}\n", format_args!($($text)*))) };
}

/// Says something beside the result, in the manner of `eprintln!`.
macro_rules! tell {
    ($($text:tt)*) => { crate::cli::output::tell(format_args!("{}\n", format_args!($($text)*))) };
}

/// Why standard output took no more, if it did.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

pub(super) fn put(text: fmt::Arguments<'_>) {
    write(|out| out.write_fmt(text));
}

pub(super) fn put_bytes(bytes: &[u8]) {
    write(|out| out.write_all(bytes));
}

pub(super) fn tell(text: fmt::Arguments<'_>) {
    // There is no other place to say so.
    let _ = io::stderr().write_fmt(text);
}

/// Asks a person something, who answers on the same line.
pub(super) fn ask(question: &str) -> Outcome {
    let asked = io::stderr().write_all(question.as_bytes());
    asked.map_err(|e| Failure::new(format!("cannot ask: {e}")))
}

/// Writes out what was printed. Fails where a part of it could not be.
pub(super) fn end() -> Outcome {
    write(|out| out.flush());
    match failed().take() {
        Some(error) => Err(failure(&error)),
        None => Ok(()),
    }
}

pub(super) fn failure(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to standard output: {error}"))
}

fn write(work: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    let mut failed = failed();
    if failed.is_some() {
        return;
    }
    match work(&mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => *failed = Some(error),
        _ => {}
    }
}

fn failed() -> std::sync::MutexGuard<'static, Option<io::Error>> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner)
}
