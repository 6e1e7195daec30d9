//! Asking a person: for a word, for a choice, for a secret that is not shown while it is typed.
//!
//! Where standard input is no terminal, secrets are its lines, one each in the order in which they are asked for, and
//! nothing else is asked. A signal ends the asking with the terminal as it was before.

use std::io::{self, BufRead, IsTerminal};
use std::os::fd::AsRawFd;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::output;
use super::signals::Signals;

/// The longest line that is taken for an answer, in bytes.
const LONGEST: usize = 64 * 1024;

/// How things are until something is stored.
pub(super) const UNCHANGED: &str = "nothing was changed";

pub(super) struct Asker {
    signals: Signals,
    is_terminal: bool,
}

impl Asker {
    pub fn new() -> Result<Self, Failure> {
        Ok(Asker {
            signals: Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?,
            is_terminal: io::stdin().is_terminal(),
        })
    }

    /// Tells whoever is asked something, and nobody else.
    pub fn tell(&self, text: &str) {
        if self.is_terminal {
            tell!("{text}");
        }
    }

    /// A word that is no secret. `otherwise` says how else to give it.
    pub async fn word(&mut self, question: &str, otherwise: &str) -> Result<String, Failure> {
        if !self.is_terminal {
            return Err(Failure::new(format!(
                "{otherwise}, since nobody can be asked here"
            )));
        }
        show(question)?;
        let word = self.line().await?.unwrap_or_default();
        let word = word.expose_secret().trim().to_owned();
        match word.is_empty() {
            false => Ok(word),
            true => Err(Failure::new(format!(
                "nothing was typed: {otherwise}, or try again"
            ))),
        }
    }

    /// A secret, by the name that the config has for it.
    pub async fn secret(&mut self, name: &str, question: &str) -> Result<SecretString, Failure> {
        let hidden = match self.is_terminal {
            true => {
                show(question)?;
                Some(Hidden::begin().map_err(|e| Failure::new(format!("cannot hide what is typed: {e}")))?)
            }
            false => None,
        };
        let line = self.line().await;
        if hidden.is_some() {
            drop(hidden);
            tell!("");
        }
        let line = line?.filter(|line| !line.expose_secret().is_empty());
        line.ok_or_else(|| {
            Failure::new(match self.is_terminal {
                true => format!("nothing was typed for {name}: try again"),
                false => format!("standard input has no line for {name}: give one line for each secret, in the order of `--help`"),
            })
        })
    }

    /// Runs work until a signal, after which `so_far` tells how things are.
    pub async fn unless_stopped<T>(
        &mut self,
        so_far: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            name = self.signals.next() => Err(Failure::new(format!("stopped by {name}; {so_far}"))),
        }
    }

    /// The next line of standard input, without its end. Read by a thread, which is left behind after a signal.
    async fn line(&mut self) -> Result<Option<SecretString>, Failure> {
        let (sender, line) = oneshot::channel();
        std::thread::spawn(move || drop(sender.send(read_line())));
        let line = tokio::select! {
            line = line => line,
            name = self.signals.next() => {
                return Err(Failure::new(format!("stopped by {name}; {UNCHANGED}")));
            }
        };
        let failed = |e: &dyn std::fmt::Display| Failure::new(format!("cannot read standard input: {e}"));
        line.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }
}

fn show(question: &str) -> Result<(), Failure> {
    output::ask(&format!("{question}: "))
}

fn read_line() -> io::Result<Option<SecretString>> {
    let mut line = String::new();
    let mut input = io::stdin().lock();
    let read = io::Read::take(&mut input, LONGEST as u64).read_line(&mut line)?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok((read > 0).then(|| SecretString::from(text.to_owned())))
}

/// Keeps a terminal from showing what is typed, as long as it lives.
struct Hidden {
    before: libc::termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let terminal = io::stdin().as_raw_fd();
        // SAFETY: a `termios` of zeros is valid, and `terminal` is open as long as the process.
        unsafe {
            let mut now: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(terminal, &raw mut now) != 0 {
                return Err(io::Error::last_os_error());
            }
            let hidden = Hidden { before: now };
            now.c_lflag &= !(libc::ECHO | libc::ECHONL);
            if libc::tcsetattr(terminal, libc::TCSAFLUSH, &raw const now) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(hidden)
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // SAFETY: `before` is what the terminal told.
        unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSANOW, &raw const self.before) };
    }
}
