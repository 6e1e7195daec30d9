//! Going to the background, and telling the shell how it went.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::failure::Failure;

/// Which side of the fork this is.
pub(super) enum Side {
    /// In the foreground; the result of the other side was received.
    Parent(Result<(), Failure>),
    /// In the background; it must tell the other side that all is well, or why not.
    Child(Teller),
}

/// The background's way to tell the foreground.
pub(super) struct Teller {
    pipe: File,
}

impl Teller {
    /// The work goes well; the foreground ends with success.
    pub fn ready(mut self) {
        // Whoever no longer waits needs no word.
        let _ = self.pipe.write_all(b"+");
    }

    /// The foreground ends with this failure.
    pub fn failed(mut self, failure: &Failure) {
        let _ = self.pipe.write_all(format!("-{failure}").as_bytes());
    }
}

/// Splits the process in two. Must be called while it has one thread. The child is a session of its own,
/// away from the terminal, with its output in `log`; the parent waits for its word.
pub(super) fn split(log: &Path) -> Result<Side, Failure> {
    let failed =
        |what: &str, error: io::Error| Failure::new(format!("cannot go to the background: {what}: {error}"));
    let (reader, writer) = pipe().map_err(|e| failed("pipe", e))?;
    let output = super::logging::open(log).map_err(|e| failed(&log.display().to_string(), e))?;
    // SAFETY: this process has one thread, so the child starts with no lock held by a thread it lacks.
    match unsafe { libc::fork() } {
        -1 => Err(failed("fork", io::Error::last_os_error())),
        0 => {
            drop(reader);
            detach(&output).map_err(|e| failed("detach", e))?;
            Ok(Side::Child(Teller { pipe: writer.into() }))
        }
        _ => {
            drop(writer);
            Ok(Side::Parent(wait(reader.into(), log)))
        }
    }
}

fn wait(mut pipe: File, log: &Path) -> Result<(), Failure> {
    let mut word = String::new();
    let read = pipe.read_to_string(&mut word);
    match (read, word.strip_prefix('-')) {
        (Ok(_), _) if word == "+" => Ok(()),
        (Ok(_), Some(failure)) => Err(Failure::new(failure)),
        _ => Err(Failure::new(format!(
            "the mount ended before it was ready; its log is {}",
            log.display()
        ))),
    }
}

fn detach(output: &File) -> io::Result<()> {
    let input = File::open("/dev/null")?;
    // SAFETY: setsid has no preconditions; the descriptors given to dup2 are open.
    unsafe {
        libc::setsid();
        for (from, to) in [
            (input.as_raw_fd(), 0),
            (output.as_raw_fd(), 1),
            (output.as_raw_fd(), 2),
        ] {
            if libc::dup2(from, to) == -1 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    std::env::set_current_dir("/")
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors, which are ours alone when the call succeeded.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}
