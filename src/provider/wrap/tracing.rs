//! One line in the log for each operation.

use std::time::Instant;

use futures_util::future::BoxFuture;

use super::{Around, Operation};
use crate::provider::Result;

/// Logs operation, duration and outcome at debug level, under the account's name.
pub struct Tracing {
    account: String,
}

impl Tracing {
    pub fn new(account: &str) -> Self {
        Tracing {
            account: account.to_owned(),
        }
    }
}

impl Around for Tracing {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let start = Instant::now();
        let result = call().await;
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (account, operation) = (self.account.as_str(), operation.name);
        match &result {
            Ok(_) => ::tracing::debug!(account, operation, ms, "done"),
            Err(error) => {
                ::tracing::debug!(account, operation, ms, kind = ?error.kind, retry = ?error.retry, %error, "failed");
            }
        }
        result
    }
}
