//! One error for all services: what kind it is, whether doing it again can help, which operation it
//! was and the facts around it. It never holds a secret.

use std::fmt;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, ProviderError>;

/// Characters of a message, and of a fact that goes with it.
const LONGEST_TEXT: usize = 500;

/// What went wrong, in terms that every service shares. `vfs` maps it to an errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    NotEmpty,
    /// The login is good, but not for this.
    PermissionDenied,
    /// The credentials were refused; only a person can mend that.
    LoginRefused,
    RateLimited,
    QuotaExceeded,
    TooLarge,
    InvalidName,
    InvalidArgument,
    /// The service cannot do this at all.
    Unsupported,
    /// No answer in time.
    Timeout,
    /// No connection, a 5xx answer, maintenance.
    Unavailable,
    /// The service works on something else of this account first.
    Busy,
    /// A body that is not what it should be: HTML in place of JSON or data, a wrong length, a wrong hash.
    Corrupt,
    /// An answer that makes no sense to us.
    Unexpected,
}

/// Whether, and when, the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// It had no effect and may work later; at the earliest after the given wait, where one is known.
    AfterWait(Option<Duration>),
    /// It had no effect; a new login may help.
    AfterLogin,
    /// It may have taken effect although no answer came.
    OutcomeUnknown,
}

/// An error of a provider: kind, retry class, operation, context and cause.
#[derive(Debug)]
pub struct ProviderError {
    pub kind: ErrorKind,
    pub retry: Retry,
    /// The operation in the service's words, for example `folder/get_content`.
    pub operation: &'static str,
    /// What the service or the network said, for a person.
    pub message: String,
    /// Facts that help to find the cause, such as the folder or the service's error number.
    pub context: Vec<(&'static str, String)>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    pub fn new(kind: ErrorKind, retry: Retry, operation: &'static str, message: impl Into<String>) -> Self {
        ProviderError {
            kind,
            retry,
            operation,
            message: plain(message.into()),
            context: Vec::new(),
            source: None,
        }
    }

    /// The error for an operation whose capability the service lacks.
    pub fn unsupported(operation: &'static str, what: super::Capability) -> Self {
        let message = format!("this account cannot {}", what.describe());
        ProviderError::new(ErrorKind::Unsupported, Retry::Never, operation, message)
    }

    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, plain(value.to_string())));
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Text for a log and a terminal, whoever wrote it: without control characters, and no more than a few lines.
fn plain(text: String) -> String {
    let cut = text.char_indices().nth(LONGEST_TEXT).map(|(end, _)| end);
    if cut.is_none() && !text.contains(char::is_control) {
        return text;
    }
    let kept = &text[..cut.unwrap_or(text.len())];
    let mut shown = kept.replace(char::is_control, " ");
    if cut.is_some() {
        shown.push_str("...");
    }
    shown
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        for (i, (key, value)) in self.context.iter().enumerate() {
            write!(f, "{}{key} {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.context.is_empty() {
            write!(f, ")")?;
        }
        Ok(())
    }
}

impl std::error::Error for ProviderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
