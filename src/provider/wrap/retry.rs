//! Attempts, and the waits between them.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::deadline::too_late;
use super::{Around, CallClass, Operation, Options};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// Repeats what failed without effect, after a wait that doubles and is jittered, or as long as the service
/// asked for. After an unknown outcome it repeats idempotent operations only. It ends by the number of
/// attempts and by the deadline of the whole, whichever comes first, with the last error, which tells an
/// unknown outcome where any attempt had one.
pub struct Retrying {
    account: String,
    attempts: u32,
    backoff: Duration,
    max_backoff: Duration,
    deadline: Duration,
}

impl Retrying {
    pub fn new(account: &str, options: &Options) -> Self {
        Retrying {
            account: account.to_owned(),
            attempts: options.attempts.max(1),
            backoff: options.backoff,
            max_backoff: options.max_backoff,
            deadline: options.operation_deadline,
        }
    }

    /// How long to wait before attempt `next`, counted from 2; `None` if there is to be none.
    fn wait(&self, operation: Operation, error: &ProviderError, next: u32) -> Option<Duration> {
        if next > self.attempts || operation.once {
            return None;
        }
        let doubled = self
            .backoff
            .saturating_mul(1_u32 << (next - 2).min(16))
            .min(self.max_backoff);
        // Half fixed, half by chance, so that clients that failed together do not come back together.
        let jittered = doubled.div_f64(2.0) + doubled.mul_f64(fastrand::f64() / 2.0);
        match error.retry {
            Retry::AfterWait(Some(asked)) => Some(asked.max(jittered)),
            Retry::AfterWait(None) => Some(jittered),
            Retry::OutcomeUnknown if operation.idempotent => Some(jittered),
            _ => None,
        }
    }
}

impl Around for Retrying {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let start = Instant::now();
        let deadline = operation.within(self.deadline);
        let mut attempt = 1;
        // Of a change only: that an earlier try may have taken effect is not undone by a later refusal.
        let mut unknown = false;
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            let result = if operation.carries_body {
                call().await
            } else {
                match tokio::time::timeout(left, call()).await {
                    Ok(result) => result,
                    Err(_) => return Err(too_late(operation, deadline)),
                }
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            unknown |= error.retry == Retry::OutcomeUnknown && operation.class != CallClass::Read;
            attempt += 1;
            let wait = self
                .wait(operation, &error, attempt)
                // Patience with a call that takes long is none with a service that wants to be left alone.
                .filter(|wait| start.elapsed().saturating_add(*wait) < deadline && *wait < self.deadline);
            let Some(wait) = wait else {
                let retry = if unknown {
                    Retry::OutcomeUnknown
                } else {
                    error.retry
                };
                return Err(ProviderError { retry, ..error });
            };
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let account = self.account.as_str();
            let rate_limited = error.kind == ErrorKind::RateLimited;
            tracing::debug!(account, operation = operation.name, attempt, ms, rate_limited, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }
}
