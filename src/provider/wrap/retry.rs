//! Attempts, and the waits between them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::breaker::{Circuit, SHORT, is_away};
use super::deadline::too_late;
use super::{Around, CallClass, Operation, Options, Urgency, urgency};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// Repeats what failed without effect, after a wait that doubles and is jittered, or as long as the service
/// asked for. After an unknown outcome it repeats idempotent operations only. It ends by the number of
/// attempts and by the deadline of the whole, whichever comes first, with the last error, which tells an
/// unknown outcome where any attempt had one. A service that asks for patience alone is asked again until the
/// deadline, however often; one that is away for more than a moment is not asked at all.
pub struct Retrying {
    account: String,
    attempts: u32,
    backoff: Duration,
    max_backoff: Duration,
    deadline: Duration,
    circuit: Arc<Circuit>,
}

/// The longest wait that doubling comes to where the service wants fewer calls: the budget sees to those.
const LIMITED_BACKOFF: Duration = Duration::from_secs(2);

tokio::task_local! {
    static UNTIL: Instant;
}

/// How long the running operation has until its deadline.
pub(super) fn time_left() -> Option<Duration> {
    let until = UNTIL.try_with(|until| *until).ok()?;
    Some(until.saturating_duration_since(Instant::now()))
}

impl Retrying {
    pub fn new(account: &str, options: &Options, circuit: Arc<Circuit>) -> Self {
        Retrying {
            account: account.to_owned(),
            attempts: options.attempts.max(1),
            backoff: options.backoff,
            max_backoff: options.max_backoff,
            deadline: options.operation_deadline,
            circuit,
        }
    }

    /// How long to wait after so many attempts, of which `failed` did not just find the service called too often;
    /// `None` if there is to be no other.
    fn wait(&self, operation: Operation, error: &ProviderError, tried: u32, failed: u32) -> Option<Duration> {
        let is_limited = error.kind == ErrorKind::RateLimited;
        let is_over = failed >= self.attempts && !is_limited;
        let is_away = self.circuit.away().is_some_and(|left| left > SHORT);
        if is_over || is_away || operation.once {
            return None;
        }
        let longest = if is_limited {
            LIMITED_BACKOFF
        } else {
            Duration::MAX
        };
        let doubled = self
            .backoff
            .saturating_mul(1_u32 << tried.saturating_sub(1).min(16))
            .min(self.max_backoff)
            .min(longest);
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
        let until = start + deadline;
        let (mut tried, mut failed) = (0_u32, 0_u32);
        // Of a change only: that an earlier try may have taken effect is not undone by a later refusal.
        let mut unknown = false;
        loop {
            let result = match self.circuit.away() {
                Some(away) if away > SHORT => Err(is_away(operation, away)),
                away => {
                    if let Some(moment) = away {
                        tokio::time::sleep(moment).await;
                    }
                    let call = UNTIL.scope(until, call());
                    if operation.carries_body {
                        call.await
                    } else {
                        match tokio::time::timeout_at(until, call).await {
                            Ok(result) => result,
                            Err(_) => return Err(too_late(operation, deadline)),
                        }
                    }
                }
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            unknown |= error.retry == Retry::OutcomeUnknown && operation.class != CallClass::Read;
            let rate_limited = error.kind == ErrorKind::RateLimited;
            tried = tried.saturating_add(1);
            failed = failed.saturating_add(u32::from(!rate_limited));
            // Patience with a call that takes long is none with a service that wants to be left alone.
            let in_all = match urgency() {
                Urgency::Interactive if rate_limited => self.deadline.min(deadline),
                _ => deadline,
            };
            let wait = self
                .wait(operation, &error, tried, failed)
                .filter(|wait| start.elapsed().saturating_add(*wait) < in_all && *wait < self.deadline);
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
            tracing::debug!(account, operation = operation.name, tried, ms, rate_limited, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }
}
