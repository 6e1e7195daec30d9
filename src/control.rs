//! The mount's Unix socket: what the command line asks a running mount.
//!
//! The socket stands in the session's directory where there is one, with a link to it in the state directory, so
//! that it is found whatever the environment of who asks; else in the state directory itself. It serves its owner
//! (and root) alone. A request is one line of JSON, an answer one line or, where work is followed, several. Nothing
//! that passes here is a secret. This room knows no provider, no journal and no kernel; a [`Handler`] does.

mod client;
mod message;
mod place;
mod server;

pub use client::{Client, ControlError};
pub use message::{
    AccountState, AccountStatus, Action, CallsStatus, Choice, DiskStatus, DrainProgress, HeldBack,
    HeldBackStatus, PendingState, PendingStatus, PinnedStatus, StatusReport, Totals,
};
pub use server::{Handler, Server};
