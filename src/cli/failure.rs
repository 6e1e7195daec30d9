//! One sentence on what failed, why, and what to do.

use std::fmt;

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::provider::{ErrorKind, ProviderError, Retry};
use crate::state::StateError;

#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Failure(message.into())
    }

    /// What the command printed says it all; the exit status alone is left to tell.
    pub fn told() -> Self {
        Failure(String::new())
    }

    pub fn is_told(&self) -> bool {
        self.0.is_empty()
    }

    /// A provider's failure for a person, with what can be done about it.
    pub fn of_provider(account: &str, error: &ProviderError) -> Self {
        Failure(format!("account {account}: {error}{}", remedy(account, error)))
    }

    /// The same, where what a service does not offer is told in its sentence alone.
    pub fn of_account(account: &str, error: &ProviderError) -> Self {
        Failure::of_item(account, &format!("account {account}"), error)
    }

    /// The same, of an item that a person named. What a service does not offer is told in its sentence alone.
    pub fn of_item(account: &str, shown: &str, error: &ProviderError) -> Self {
        match error.kind {
            ErrorKind::Unsupported => Failure(format!("{shown}: {}", error.message)),
            _ => Failure(format!("{shown}: {error}{}", remedy(account, error))),
        }
    }
}

/// What can be done about it, after the sentence on it.
fn remedy(account: &str, error: &ProviderError) -> String {
    match error.kind {
        ErrorKind::LoginRefused if matches!(error.retry, Retry::AfterWait(_)) => "; wait a while".to_owned(),
        ErrorKind::LoginRefused => format!("; run `lockerfs login {account}` to give its secret anew"),
        ErrorKind::RateLimited => "; wait a while".to_owned(),
        ErrorKind::Timeout | ErrorKind::Unavailable => "; is the network up, and the service?".to_owned(),
        _ => String::new(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure(error.to_string())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Failure(error.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Failure(error.to_string())
    }
}
