//! The error of a filesystem operation: an errno for the program, a sentence for the log. The one table
//! from kinds of failure to errno stands here.

use std::fmt;
use std::sync::Arc;

use crate::download::DownloadError;
use crate::provider::{ErrorKind, ProviderError};
use crate::state::StateError;
use crate::upload::UploadError;

pub type Result<T> = std::result::Result<T, Error>;

/// A positive errno value of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Why an operation failed. Without a message it is an ordinary answer (`ENOENT` to a lookup) that is
/// not worth a log line.
#[derive(Debug, Clone)]
pub struct Error {
    pub errno: Errno,
    pub message: Option<Arc<str>>,
}

impl Error {
    /// An ordinary answer, not logged.
    pub fn plain(errno: i32) -> Self {
        Error {
            errno: Errno(errno),
            message: None,
        }
    }

    /// A failure that the log tells of.
    pub fn told(errno: i32, message: impl Into<String>) -> Self {
        Error {
            errno: Errno(errno),
            message: Some(message.into().into()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = std::io::Error::from_raw_os_error(self.errno.0);
        match &self.message {
            Some(message) => write!(f, "{message} [{reason}]"),
            None => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// The table: what each kind of failure means to a program.
pub fn errno_of(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::AlreadyExists => libc::EEXIST,
        ErrorKind::NotEmpty => libc::ENOTEMPTY,
        ErrorKind::PermissionDenied | ErrorKind::LoginRefused => libc::EACCES,
        ErrorKind::QuotaExceeded => libc::EDQUOT,
        ErrorKind::TooLarge => libc::EFBIG,
        ErrorKind::InvalidName | ErrorKind::InvalidArgument => libc::EINVAL,
        ErrorKind::Unsupported => libc::EOPNOTSUPP,
        ErrorKind::Timeout => libc::ETIMEDOUT,
        ErrorKind::RateLimited | ErrorKind::Busy => libc::EAGAIN,
        ErrorKind::Unavailable => libc::EHOSTUNREACH,
        ErrorKind::Corrupt | ErrorKind::Unexpected => libc::EIO,
    }
}

fn errno_of_state(error: &StateError) -> i32 {
    match error {
        StateError::DiskFull { .. } => libc::ENOSPC,
        _ => libc::EIO,
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        // Folders of this machine fail for reasons that no service has.
        let here = error.source.as_deref().and_then(|source| source.downcast_ref());
        let errno = here.map_or_else(|| errno_of(error.kind), errno_of_state);
        Error::told(errno, error.to_string())
    }
}

/// Only what is open is read, so a file that the service does not find was removed since.
impl From<DownloadError> for Error {
    fn from(error: DownloadError) -> Self {
        let errno = match error.kind() {
            ErrorKind::NotFound => libc::EIO,
            kind => errno_of(kind),
        };
        Error::told(errno, error.to_string())
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        let errno = match &error {
            UploadError::Gone | UploadError::Outdated => libc::ESTALE,
            UploadError::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            UploadError::State(error) => errno_of_state(error),
            UploadError::Stopped => libc::ESHUTDOWN,
            UploadError::NotDeleted { kind, .. } | UploadError::NotRenamed { kind, .. } => errno_of(*kind),
            UploadError::Parked { kind, .. } => kind.map_or(libc::EIO, errno_of),
        };
        Error::told(errno, error.to_string())
    }
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        Error::told(errno_of_state(&error), error.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::told(error.raw_os_error().unwrap_or(libc::EIO), error.to_string())
    }
}
