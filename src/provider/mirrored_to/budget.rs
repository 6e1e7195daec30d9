//! The calls of a day, which the service counts for the key, by days in UTC.
//!
//! They are counted before they are made, so that no crash makes them forgotten. A process that finds the day spent
//! makes no call until the next one begins.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::provider::publish::Clock;
use crate::provider::{DailyCalls, ErrorKind, ProviderError, Result, Retry};
use crate::state::{DailyCallsRow, Database};

const DAY: u64 = 24 * 60 * 60;
/// The service's clock may be behind ours.
const MARGIN: Duration = Duration::from_secs(30);

/// So long after the beginning of our day that of the service may not have begun: what it refuses then is asked again
/// after a pause, as long as it was hardly called that day.
const EARLY: Duration = Duration::from_secs(2 * 60 * 60);
const PAUSE: Duration = Duration::from_secs(10 * 60);

const COUNT: &str = "daily calls";

pub(super) struct Budget {
    database: Option<Database>,
    /// Where there is no database.
    memory: Mutex<DailyCallsRow>,
    key: String,
    limit: u64,
    clock: Clock,
    /// Until when nothing is asked, since the service's day seems to be another than ours.
    paused: Mutex<Option<SystemTime>>,
}

/// Calls that were counted on one day.
#[derive(Clone, Copy)]
pub(super) struct Paid {
    day: i64,
    calls: u64,
}

impl Paid {
    /// The last so many of them, to be given back.
    pub fn last(self, calls: u64) -> Paid {
        Paid {
            calls: self.calls.min(calls),
            ..self
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paused(operation: &'static str, left: Duration) -> ProviderError {
    let message = "the service says that the calls of its day are used up, though ours has just begun: it is asked \
                   again in a few minutes";
    ProviderError::new(
        ErrorKind::RateLimited,
        Retry::AfterWait(Some(left)),
        operation,
        message,
    )
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn day(now: SystemTime) -> i64 {
    i64::try_from(seconds(now) / DAY).unwrap_or(i64::MAX)
}

fn next_day(now: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((seconds(now) / DAY + 1) * DAY)
}

impl Budget {
    pub fn new(database: Option<Database>, key: String, limit: u64, clock: Clock) -> Self {
        Budget {
            database,
            memory: Mutex::default(),
            key,
            limit,
            clock,
            paused: Mutex::default(),
        }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    async fn change<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut DailyCallsRow) -> R + Send + 'static,
    ) -> Result<R> {
        let today = day(self.now());
        let change = move |row: &mut DailyCallsRow| {
            // A clock that was set back begins no day anew.
            if row.day < today {
                *row = DailyCallsRow {
                    day: today,
                    ..DailyCallsRow::default()
                };
            }
            // Of a clock that was far ahead: the count must not stand still until then.
            if row.day > today + 1 {
                row.day = today;
            }
            change(row)
        };
        match &self.database {
            Some(database) => {
                let changed = database.change_daily_calls(self.key.clone(), change).await;
                changed.map_err(|error| {
                    let message = error.to_string();
                    ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), COUNT, message)
                        .with_source(error)
                })
            }
            None => Ok(change(&mut lock(&self.memory))),
        }
    }

    /// Counts calls that are about to be made, if `kept` are left for others afterwards.
    pub async fn pay(&self, operation: &'static str, calls: u64, kept: u64) -> Result<Paid> {
        if let Some(left) = self.pause_left() {
            return Err(paused(operation, left));
        }
        let limit = self.limit;
        let paid = self.change(move |row| {
            let after = row.spent.saturating_add(calls);
            (after.saturating_add(kept) <= limit).then(|| {
                row.spent = after;
                Paid { day: row.day, calls }
            })
        });
        paid.await?.ok_or_else(|| self.spent(operation))
    }

    /// Takes back calls that were not made.
    pub async fn give_back(&self, paid: Paid) {
        let given = self.change(move |row| {
            if row.day == paid.day {
                row.spent = row.spent.saturating_sub(paid.calls);
            }
        });
        if let Err(error) = given.await {
            tracing::debug!(%error, "calls that were not made stay counted");
        }
    }

    /// The service says that none are left. What that means for who called.
    pub async fn note_spent(&self, operation: &'static str) -> ProviderError {
        let (limit, now) = (self.limit, self.now());
        let is_early = seconds(now) % DAY < EARLY.as_secs();
        let spent = self.change(|row| row.spent).await;
        if is_early && spent.is_ok_and(|spent| spent <= limit / 2) {
            *lock(&self.paused) = Some(now + PAUSE);
            return paused(operation, PAUSE);
        }
        if let Err(error) = self.change(move |row| row.spent = row.spent.max(limit)).await {
            tracing::debug!(%error, "that the day is spent was not noted");
        }
        self.spent(operation)
    }

    fn pause_left(&self) -> Option<Duration> {
        let mut paused = lock(&self.paused);
        let left = paused.and_then(|until| until.duration_since(self.now()).ok());
        // Longer than it ever was: the clock was set back.
        *paused = paused.filter(|_| left.is_some_and(|left| left <= PAUSE));
        paused.and(left).filter(|left| !left.is_zero())
    }

    /// What the service says of the day: other programs may use the key too.
    pub async fn note(&self, remaining: Option<u64>, max_file_size: Option<u64>) -> Result<()> {
        let limit = self.limit;
        let note = move |row: &mut DailyCallsRow| {
            if let Some(remaining) = remaining {
                row.spent = row.spent.max(limit.saturating_sub(remaining));
            }
            row.max_file_size = max_file_size.or(row.max_file_size);
        };
        self.change(note).await
    }

    /// Bytes of the largest file, if that was told today.
    pub async fn max_file_size(&self) -> Result<Option<u64>> {
        self.change(|row| row.max_file_size).await
    }

    pub async fn state(&self) -> Result<DailyCalls> {
        let spent = self.change(|row| row.spent).await?;
        Ok(DailyCalls {
            limit: self.limit,
            spent: spent.min(self.limit),
            renewed: next_day(self.now()),
        })
    }

    /// Why no call is made any more today.
    pub fn spent(&self, operation: &'static str) -> ProviderError {
        let now = self.now();
        let wait = next_day(now).duration_since(now).unwrap_or_default() + MARGIN;
        let message = format!(
            "too few of the {} calls that the service allows in a day are left: the next day begins at 00:00 UTC",
            self.limit
        );
        ProviderError::new(
            ErrorKind::RateLimited,
            Retry::AfterWait(Some(wait)),
            operation,
            message,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn budget(limit: u64) -> (Budget, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(10 * DAY + 3600));
        let clock = {
            let now = now.clone();
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(now.load(Ordering::Relaxed)))
        };
        (Budget::new(None, "k".to_owned(), limit, clock), now)
    }

    #[tokio::test]
    async fn calls_are_counted_until_the_day_is_spent_and_anew_on_the_next() {
        let (budget, now) = budget(7);
        let first = budget.pay("x", 3, 0).await.unwrap();
        budget.pay("x", 3, 0).await.unwrap();
        let error = budget.pay("x", 3, 0).await.err().unwrap();
        let left = Duration::from_secs(23 * 3600) + MARGIN;
        assert_eq!(error.retry, Retry::AfterWait(Some(left)), "{error}");
        assert!(
            budget.pay("x", 1, 1).await.is_err(),
            "what is kept for others is not spent"
        );
        budget.give_back(first.last(2)).await;
        budget.pay("x", 3, 0).await.unwrap();
        assert_eq!(budget.state().await.unwrap().spent, 7);
        now.fetch_add(DAY, Ordering::Relaxed);
        assert_eq!(budget.state().await.unwrap().spent, 0);
        budget.pay("x", 1, 0).await.unwrap();
        budget.give_back(first).await;
        assert_eq!(budget.state().await.unwrap().spent, 1, "calls of another day");
        now.fetch_sub(DAY, Ordering::Relaxed);
        assert_eq!(
            budget.state().await.unwrap().spent,
            1,
            "a clock that was set back"
        );
        now.fetch_add(1000 * DAY, Ordering::Relaxed);
        budget.pay("x", 7, 0).await.unwrap();
        now.fetch_sub(1000 * DAY, Ordering::Relaxed);
        assert!(budget.pay("x", 3, 0).await.is_err(), "what was spent stays spent");
        now.fetch_add(DAY, Ordering::Relaxed);
        budget.pay("x", 3, 0).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_service_counts_beyond_is_taken_over() {
        let (budget, _) = budget(500);
        budget.pay("x", 10, 0).await.unwrap();
        budget.note(Some(495), Some(1)).await.unwrap();
        assert_eq!(budget.state().await.unwrap().spent, 10);
        budget.note(Some(400), None).await.unwrap();
        assert_eq!(budget.state().await.unwrap().spent, 100);
        assert_eq!(budget.max_file_size().await.unwrap(), Some(1));
        budget.pay("x", 200, 0).await.unwrap();
        budget.note_spent("x").await;
        assert!(budget.pay("x", 1, 0).await.is_err());
        assert_eq!(budget.state().await.unwrap().spent, 500);
    }

    #[tokio::test]
    async fn a_service_whose_day_begins_a_little_later_is_asked_again_and_the_day_is_not_lost() {
        let (budget, now) = budget(500);
        budget.pay("x", 3, 0).await.unwrap();
        let error = budget.note_spent("x").await;
        assert_eq!(error.retry, Retry::AfterWait(Some(PAUSE)), "{error}");
        let error = budget.pay("x", 3, 0).await.err().unwrap();
        assert_eq!(
            error.retry,
            Retry::AfterWait(Some(PAUSE)),
            "without a call: {error}"
        );
        now.fetch_add(PAUSE.as_secs(), Ordering::Relaxed);
        budget.pay("x", 3, 0).await.unwrap();
        assert_eq!(budget.state().await.unwrap().spent, 6);
        // Later in the day it is what it says.
        now.fetch_add(EARLY.as_secs(), Ordering::Relaxed);
        budget.note_spent("x").await;
        assert_eq!(budget.state().await.unwrap().spent, 500);
    }
}
