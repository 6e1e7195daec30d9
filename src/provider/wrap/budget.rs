//! How many calls an account may make.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{Around, CallClass, Operation, Options};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// A token bucket for each class of call. An operation that finds its bucket empty waits for its turn; one
/// that would wait too long fails at once, as rate-limited, without a call.
pub struct Budget {
    read: Bucket,
    write: Bucket,
    upload: Bucket,
    longest_wait: Duration,
}

impl Budget {
    pub fn new(options: &Options) -> Self {
        let bucket = || Bucket::new(options.calls_per_second, options.burst);
        Budget {
            read: bucket(),
            write: bucket(),
            upload: bucket(),
            longest_wait: options.budget_wait,
        }
    }

    fn bucket(&self, class: CallClass) -> &Bucket {
        match class {
            CallClass::Read => &self.read,
            CallClass::Write => &self.write,
            CallClass::Upload => &self.upload,
        }
    }
}

impl Around for Budget {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let bucket = self.bucket(operation.class);
        match bucket.take(operation.calls, self.longest_wait, Instant::now()) {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(wait) => {
                let message = "the account's call budget is used up for now";
                return Err(ProviderError::new(
                    ErrorKind::RateLimited,
                    Retry::AfterWait(Some(wait)),
                    operation.name,
                    message,
                ));
            }
        }
        call().await
    }
}

/// Tokens come at a steady rate up to the burst. Those who wait have taken theirs already, in their order,
/// so the level may be below zero.
struct Bucket {
    per_second: f64,
    burst: f64,
    state: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Bucket {
            per_second: if per_second > 0.0 {
                per_second
            } else {
                f64::MIN_POSITIVE
            },
            burst,
            state: Mutex::new(Level {
                tokens: burst,
                at: Instant::now(),
            }),
        }
    }

    /// Takes `calls` tokens and says how long to wait for them, or takes none and says how long it would be.
    /// What is more than a burst counts as one, or it would never be let through.
    fn take(&self, calls: u32, longest: Duration, now: Instant) -> std::result::Result<Duration, Duration> {
        let mut level = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + gained).min(self.burst);
        level.at = level.at.max(now);
        let left = level.tokens - f64::from(calls).min(self.burst);
        let wait = Duration::try_from_secs_f64((-left / self.per_second).max(0.0)).unwrap_or(Duration::MAX);
        if wait > longest {
            return Err(wait);
        }
        level.tokens = left;
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_calls_come_at_the_rate_and_too_long_waits_are_refused() {
        let bucket = Bucket::new(10.0, 2);
        let now = Instant::now();
        let longest = Duration::from_millis(150);
        let take = |now| {
            bucket
                .take(1, longest, now)
                .map(|wait| wait.as_millis())
                .map_err(|wait| wait.as_millis())
        };
        assert_eq!((take(now), take(now), take(now)), (Ok(0), Ok(0), Ok(100)));
        assert_eq!(take(now), Err(200));
        assert_eq!(take(now + Duration::from_millis(100)), Ok(100));
        assert_eq!(take(now + Duration::from_secs(60)), Ok(0));
    }

    #[test]
    fn more_calls_than_a_burst_get_through_a_full_bucket() {
        let bucket = Bucket::new(1.0, 5);
        let now = Instant::now();
        let longest = Duration::from_secs(30);
        assert_eq!(bucket.take(500, longest, now), Ok(Duration::ZERO));
        assert_eq!(bucket.take(500, longest, now), Ok(Duration::from_secs(5)));
    }
}
