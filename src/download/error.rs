//! Why a read failed.

use crate::http::{HttpError, HttpErrorKind};
use crate::provider::{ErrorKind, ProviderError};

/// A failed read. Cheap to clone, since several readers may wait for the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DownloadError {
    kind: ErrorKind,
    may_pass: bool,
    message: String,
}

impl DownloadError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        DownloadError {
            kind,
            may_pass: matches!(
                kind,
                ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Busy
            ),
            message: message.into(),
        }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether it may be better later, with nothing done about it.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// What an answer that was not the file's bytes means, once a new link did not help.
    pub(super) fn of_http(name: &str, error: &HttpError) -> Self {
        let kind = match error.kind {
            HttpErrorKind::Status(401 | 403) => ErrorKind::PermissionDenied,
            HttpErrorKind::Status(404 | 410) => ErrorKind::NotFound,
            HttpErrorKind::Status(416)
            | HttpErrorKind::WrongRange
            | HttpErrorKind::NotData
            | HttpErrorKind::Nonsense => ErrorKind::Corrupt,
            HttpErrorKind::Status(429) => ErrorKind::RateLimited,
            HttpErrorKind::Timeout => ErrorKind::Timeout,
            HttpErrorKind::Status(status) if status < 500 => ErrorKind::Unexpected,
            HttpErrorKind::Redirect | HttpErrorKind::InsecureUrl => ErrorKind::Unexpected,
            _ => ErrorKind::Unavailable,
        };
        let told = DownloadError::new(kind, format!("cannot read {name}: {error}"));
        DownloadError {
            may_pass: told.may_pass || error.kind == HttpErrorKind::Nonsense,
            ..told
        }
    }

    pub(super) fn of_provider(error: &ProviderError) -> Self {
        DownloadError::new(error.kind, error.to_string())
    }
}
