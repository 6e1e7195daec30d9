//! The mount's Unix socket: what the command line asks a running mount.
//!
//! The socket stands in the state directory and serves its owner (and root) alone. A request is one line
//! of JSON, an answer one line or, where work is followed, several. Nothing that passes here is a secret.
//! This room knows no provider, no journal and no kernel; a [`Handler`] does.

mod client;
mod message;
mod server;

pub use client::{Client, ControlError};
pub use message::{
    AccountState, AccountStatus, Action, Choice, DrainProgress, PendingState, PendingStatus, StatusReport,
    Totals,
};
pub use server::{Handler, Server};

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";

/// The socket by way of its open directory: a socket's path may have 107 bytes only, and a state directory
/// can lie deeper.
struct Place {
    directory: OwnedFd,
}

impl Place {
    fn of(state_dir: &Path) -> io::Result<Self> {
        let directory = std::fs::File::open(state_dir)?.into();
        Ok(Place { directory })
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.directory.as_raw_fd()))
    }
}
