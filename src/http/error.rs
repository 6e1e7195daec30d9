//! What can go wrong between a request and its answer, before any service's meaning is read into it.

use std::time::Duration;

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No connection was made: the request had no effect.
    Connect,
    /// The request went out, in part at least, and no whole answer came: the outcome is unknown.
    NoAnswer,
    /// No answer in time: the outcome is unknown.
    Timeout,
    /// An answer with this status in place of the wanted one.
    Status(u16),
    /// A redirect to a place that is not allowed, or too many of them.
    Redirect,
    /// A page in place of the data that was asked for.
    NotData,
    /// A range, total or length that does not fit the request.
    WrongRange,
    /// An answer's body that broke off.
    Body,
    /// An answer that is none: no HTTP, a head or a body without end. The request was taken, and what it gave is not
    /// known.
    Nonsense,
    /// An answer that is larger than allowed: the request was taken, and what it gave is not known.
    AnswerTooLarge,
    /// The local file that was to be sent could not be read: the server got no whole request.
    LocalFile,
    /// Nothing was sent: plain HTTP to something other than loopback, no URL at all, or text that would not
    /// arrive as it is.
    InsecureUrl,
}

/// A failed request. The text never holds a query string, which may carry credentials.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    pub kind: HttpErrorKind,
    /// For a person: the host and what happened.
    pub message: String,
    /// What the server asked for by `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Whether what came in place of an answer's head was none, or was larger than any is.
pub(super) fn is_nonsense(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = inner.source();
    }
    false
}

impl HttpError {
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        HttpError {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}
