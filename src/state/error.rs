//! What can go wrong with the state on disk.

use std::io;
use std::path::PathBuf;

/// A failure of the state directory or its database. After an error nothing of the change took effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    #[error(
        "another lockerfs uses the state directory {}: unmount it first, or choose another with --state-dir",
        directory.display()
    )]
    InUse { directory: PathBuf },

    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    /// The disk is full: nothing was written.
    #[error("cannot {operation}: the disk that holds the state directory is full; make room on it")]
    DiskFull { operation: &'static str },

    #[error("cannot {operation}: the state database says: {message}")]
    Database {
        operation: &'static str,
        message: String,
    },

    #[error(
        "the state database is of version {found}, and this lockerfs knows versions up to {known}: \
         use the newer lockerfs that made it"
    )]
    TooNew { found: i64, known: i64 },

    /// A value that lockerfs never writes.
    #[error("the state database holds a value that makes no sense: {what}")]
    Corrupt { what: String },

    /// By whoever asked for the change, or because it would mix what belongs apart.
    #[error("{why}")]
    GivenUp { why: String },

    #[error("the state database is closed")]
    Closed,
}

impl StateError {
    pub(super) fn sqlite(operation: &'static str, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StateError::DiskFull { operation },
            _ if lacks_room_beside(error) => StateError::DiskFull { operation },
            _ => StateError::Database {
                operation,
                message: error.to_string(),
            },
        }
    }
}

/// Whether SQLite could not enlarge the index beside its log, which it tells in a way of its own.
fn lacks_room_beside(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}
