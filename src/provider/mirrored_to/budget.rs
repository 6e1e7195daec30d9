//! The calls of a day, which the service counts for the key, by days in UTC.
//!
//! They are counted before they are made, so that no crash makes them forgotten. A process that finds the day spent
//! makes no call until the next one begins.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::provider::publish::Clock;
use crate::provider::{DailyCalls, ErrorKind, ProviderError, Result, Retry};
use crate::state::{DailyCallsRow, Database};

const DAY: u64 = 24 * 60 * 60;
/// The service's clock may be behind ours.
const MARGIN: Duration = Duration::from_secs(30);

const COUNT: &str = "daily calls";

pub(super) struct Budget {
    database: Option<Database>,
    /// Where there is no database.
    memory: Mutex<DailyCallsRow>,
    key: String,
    limit: u64,
    clock: Clock,
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
            None => Ok(change(
                &mut self.memory.lock().unwrap_or_else(PoisonError::into_inner),
            )),
        }
    }

    /// Counts calls that are about to be made, if `kept` are left for others afterwards.
    pub async fn pay(&self, operation: &'static str, calls: u64, kept: u64) -> Result<Paid> {
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

    /// The service says that none are left.
    pub async fn note_spent(&self) {
        let limit = self.limit;
        if let Err(error) = self.change(move |row| row.spent = row.spent.max(limit)).await {
            tracing::debug!(%error, "that the day is spent was not noted");
        }
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
        budget.note_spent().await;
        assert!(budget.pay("x", 1, 0).await.is_err());
    }
}
