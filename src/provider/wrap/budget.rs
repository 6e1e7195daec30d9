//! How many calls an account may make.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{Around, CallClass, Operation, Options};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// A token bucket for each class of call. An operation that finds its bucket empty waits for its turn; one
/// that would wait too long fails at once, as rate-limited, without a call.
///
/// A service that says that it is called too often is called half as often from then on, in the class of the
/// call that it refused; while it does not say so again, the rate doubles from time to time until it is what it
/// was.
pub struct Budget {
    read: Bucket,
    write: Bucket,
    upload: Bucket,
    longest_wait: Duration,
}

/// How long the service must be content before the rate rises again, and the least time between two cuts: what
/// was under way when the first was made is refused as well and says nothing new.
const RECOVERY: Duration = Duration::from_secs(10);
const ONE_CUT: Duration = Duration::from_secs(1);
/// The smallest part of its rate that a class is cut to.
const LEAST: f64 = 1.0 / 64.0;

impl Budget {
    pub fn new(options: &Options) -> Self {
        let bucket = |rate| Bucket::new(rate, options.burst);
        Budget {
            read: bucket(options.calls_per_second),
            write: bucket(options.calls_per_second),
            upload: bucket(options.upload_calls_per_second),
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
        let result = call().await;
        if let Err(error) = &result
            && error.kind == ErrorKind::RateLimited
        {
            let rate = bucket.cut(Instant::now());
            tracing::debug!(operation = operation.name, rate, "the service wants fewer calls");
        }
        result
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
    /// The part of the rate that the service bears at present.
    part: f64,
    /// When it was changed last.
    changed: Instant,
}

impl Bucket {
    fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        let now = Instant::now();
        Bucket {
            per_second: if per_second > 0.0 {
                per_second
            } else {
                f64::MIN_POSITIVE
            },
            burst,
            state: Mutex::new(Level {
                tokens: burst,
                at: now,
                part: 1.0,
                changed: now,
            }),
        }
    }

    /// Takes `calls` tokens and says how long to wait for them, or takes none and says how long it would be.
    /// What is more than a burst counts as one, or it would never be let through.
    fn take(&self, calls: u32, longest: Duration, now: Instant) -> std::result::Result<Duration, Duration> {
        let mut level = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        level.recover(now);
        let (rate, burst) = (self.per_second * level.part, (self.burst * level.part).max(1.0));
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * rate;
        level.tokens = (level.tokens + gained).min(burst);
        level.at = level.at.max(now);
        let left = level.tokens - f64::from(calls).min(burst);
        let wait = Duration::try_from_secs_f64((-left / rate).max(0.0)).unwrap_or(Duration::MAX);
        if wait > longest {
            return Err(wait);
        }
        level.tokens = left;
        Ok(wait)
    }

    /// Halves the rate and takes what was saved up; returns the rate.
    fn cut(&self, now: Instant) -> f64 {
        let mut level = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = level.part >= 1.0 || now.saturating_duration_since(level.changed) >= ONE_CUT;
        if is_news {
            level.part = (level.part / 2.0).max(LEAST);
            level.tokens = level.tokens.min(0.0);
        }
        level.changed = now;
        self.per_second * level.part
    }
}

impl Level {
    fn recover(&mut self, now: Instant) {
        while self.part < 1.0 && now.saturating_duration_since(self.changed) >= RECOVERY {
            self.part = (self.part * 2.0).min(1.0);
            self.changed += RECOVERY;
        }
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
    fn a_refused_rate_is_halved_once_for_all_that_was_under_way_and_recovers() {
        let bucket = Bucket::new(100.0, 10);
        let start = Instant::now();
        let longest = Duration::from_secs(30);
        let rate = |now: Instant| {
            let mut last = Duration::ZERO;
            for _ in 0..50 {
                last = bucket.take(1, longest, now).unwrap();
            }
            let first = bucket.take(1, longest, now).unwrap() - last;
            1.0 / first.as_secs_f64()
        };
        assert!((rate(start) - 100.0).abs() < 1.0);
        let cut = start + Duration::from_secs(5);
        for late in 0..5 {
            bucket.cut(cut + Duration::from_millis(late * 100));
        }
        assert!((rate(cut + Duration::from_secs(1)) - 50.0).abs() < 1.0);
        bucket.cut(cut + Duration::from_secs(3));
        assert!((rate(cut + Duration::from_secs(8)) - 25.0).abs() < 1.0);
        assert!((rate(cut + Duration::from_secs(14)) - 50.0).abs() < 1.0);
        assert!((rate(cut + Duration::from_secs(60)) - 100.0).abs() < 1.0);
        for second in 60..160 {
            bucket.cut(cut + Duration::from_secs(second));
        }
        assert!(
            bucket.take(1, longest, cut + Duration::from_secs(160)).is_ok(),
            "it never stops"
        );
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
