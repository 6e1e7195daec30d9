//! A limit on the time of one attempt, so that nothing hangs.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Around, Operation};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// Ends an attempt that takes too long; its outcome is then unknown. Operations that carry a body pass
/// untouched: the HTTP client watches over their progress.
pub struct Deadline {
    limit: Duration,
}

impl Deadline {
    pub fn new(limit: Duration) -> Self {
        Deadline { limit }
    }
}

impl Around for Deadline {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        if operation.carries_body {
            return call().await;
        }
        let limit = operation.within(self.limit);
        match tokio::time::timeout(limit, call()).await {
            Ok(result) => result,
            Err(_) => Err(too_late(operation, limit)),
        }
    }
}

pub(super) fn too_late(operation: Operation, limit: Duration) -> ProviderError {
    let message = format!("no answer within {:.1} s", limit.as_secs_f64());
    ProviderError::new(ErrorKind::Timeout, Retry::OutcomeUnknown, operation.name, message)
}
