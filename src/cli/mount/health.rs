//! How an account does, as seen from the outcome of its last operation. Costs no call.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::control::AccountState;
use crate::provider::wrap::{Around, Operation};
use crate::provider::{ErrorKind, Result};

#[derive(Clone)]
struct Seen {
    state: AccountState,
    message: Option<String>,
}

/// What was seen last of an account.
#[derive(Clone)]
pub(super) struct Health {
    seen: Arc<Mutex<Seen>>,
}

impl Health {
    pub fn new() -> Self {
        Health {
            seen: Arc::new(Mutex::new(Seen {
                state: AccountState::Unknown,
                message: None,
            })),
        }
    }

    /// The state, and why it is so where it is not good.
    pub fn get(&self) -> (AccountState, Option<String>) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.state, seen.message.clone())
    }

    /// Its secrets cannot be had, so that nobody can log in.
    pub fn bar(&self, why: &str) {
        self.set(AccountState::LoginRefused, Some(why.to_owned()));
    }

    fn set(&self, state: AccountState, message: Option<String>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { state, message };
    }
}

impl Around for Health {
    async fn around<'a, T, F>(&'a self, _: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let result = call().await;
        match &result {
            Ok(_) => self.set(AccountState::Online, None),
            Err(error) => match error.kind {
                ErrorKind::LoginRefused => self.set(AccountState::LoginRefused, Some(error.to_string())),
                ErrorKind::Timeout | ErrorKind::Unavailable => {
                    self.set(AccountState::Offline, Some(error.to_string()));
                }
                // The service answered, and without an objection to the login.
                _ => self.set(AccountState::Online, None),
            },
        }
        result
    }
}
