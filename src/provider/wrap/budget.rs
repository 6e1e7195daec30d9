//! How many calls an account may make.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::lanes::{Lane, Lanes};
use super::retry::time_left;
use super::{Around, CallClass, Operation, Options, Pace, Urgency, urgency};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// A budget for all calls of an account, and within it one for uploads and one for the rest. What finds it used
/// up waits in a lane: first what a program waits for, then metadata in the background, then uploads, then
/// crawls; a lower lane still gets one call in sixteen. What would wait too long fails as rate-limited, without
/// a call. A dropped operation gives its place back. An operation that makes more calls than its turn stood for waits
/// for a turn for each of them, before those that have not begun.
///
/// A service that says that it is called too often is called less from then on, whatever the call: half as often
/// as before, down to two calls a second. No call starts before the time that it asked for. While it does not
/// say so again, the rate doubles from time to time until it is what it was.
#[derive(Clone)]
pub struct Budget {
    lanes: Arc<Mutex<Lanes>>,
    longest_wait: Duration,
    /// Calls that may go in one turn.
    burst: u32,
}

tokio::task_local! {
    static TURNS: Arc<Turns>;
}

/// The turns of a running operation.
struct Turns {
    budget: Budget,
    operation: Operation,
    /// Calls that it may still make in the turn it had.
    left: AtomicU32,
    /// A further call waited in vain.
    used_up: AtomicBool,
}

/// Waits until the running operation may make one more call. Each provider does so before each call; what runs outside
/// of a budget need not wait.
pub async fn turn_for_a_call() -> Result<()> {
    let Ok(turns) = TURNS.try_with(Arc::clone) else {
        return Ok(());
    };
    let one_less = |left: u32| left.checked_sub(1);
    let is_paid = turns
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    if is_paid.is_ok() {
        return Ok(());
    }
    let turn = turns.budget.turn(turns.operation, 1, true).await;
    if turn.is_err() {
        turns.used_up.store(true, Ordering::Relaxed);
    }
    turn
}

/// What asks for more than this speaks of something else than the pace of calls, such as the day's allowance.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// How long before the end of an operation its wait for a turn ends: it shall be known that no call was made.
const MARGIN: Duration = Duration::from_millis(100);

impl Budget {
    pub fn new(options: &Options) -> Self {
        let (calls, uploads) = (options.calls_per_second, options.upload_calls_per_second);
        let lanes = Lanes::new(calls, uploads, options.burst, Instant::now());
        Budget {
            lanes: Arc::new(Mutex::new(lanes)),
            longest_wait: options.budget_wait,
            burst: options.burst.max(1),
        }
    }

    /// Waits for a turn for so many calls: before all others of the lane where the operation `is_under_way`.
    async fn turn(&self, operation: Operation, calls: u32, is_under_way: bool) -> Result<()> {
        let lane = lane(operation);
        let until_deadline = time_left().map_or(Duration::MAX, |left| left.saturating_sub(MARGIN));
        let longest = self.longest_wait.min(until_deadline);
        let start = Instant::now();
        let (mut place, turn) = {
            let mut lanes = locked(&self.lanes);
            let wait = lanes.alone(lane, calls, start);
            if wait > longest {
                return Err(used_up(operation, wait));
            }
            let Some((id, turn)) = lanes.join(lane, calls, is_under_way) else {
                return Err(used_up(operation, Duration::from_secs(1)));
            };
            let lanes = Arc::clone(&self.lanes);
            (
                Place {
                    lanes,
                    lane,
                    id,
                    gone: false,
                },
                turn,
            )
        };
        loop {
            let now = Instant::now();
            let wait = match locked(&self.lanes).turn(lane, place.id, now) {
                Ok(()) => {
                    place.gone = true;
                    return Ok(());
                }
                Err(wait) => wait,
            };
            let left = longest.saturating_sub(now - start);
            if left.is_zero() {
                return Err(used_up(operation, wait.unwrap_or(Duration::from_secs(1))));
            }
            // Whoever is not the first is woken. A wake-up in vain is cheap, a missed one is not.
            let sleep = wait.unwrap_or(Duration::from_secs(1)).min(left);
            tokio::select! {
                () = turn.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Forgets what was saved up.
    pub(super) fn spend_savings(&self) {
        locked(&self.lanes).spend_savings(Instant::now());
    }
}

fn locked(lanes: &Mutex<Lanes>) -> std::sync::MutexGuard<'_, Lanes> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lane(operation: Operation) -> Lane {
    match (operation.class, urgency()) {
        (_, Urgency::Crawl) => Lane::Crawl,
        (CallClass::Upload, _) => Lane::Upload,
        (_, Urgency::Background) => Lane::Metadata,
        (_, Urgency::Interactive) => Lane::Interactive,
    }
}

fn used_up(operation: Operation, wait: Duration) -> ProviderError {
    let message = "the account's call budget is used up for now";
    let retry = Retry::AfterWait(Some(wait));
    ProviderError::new(ErrorKind::RateLimited, retry, operation.name, message)
}

/// A place in a lane, given back where its turn never comes.
struct Place {
    lanes: Arc<Mutex<Lanes>>,
    lane: Lane,
    id: u64,
    gone: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.gone {
            locked(&self.lanes).leave(self.lane, self.id);
        }
    }
}

impl Around for Budget {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let calls = operation.calls.min(self.burst);
        if calls > 0 {
            self.turn(operation, calls, false).await?;
        }
        let turns = Arc::new(Turns {
            budget: self.clone(),
            operation,
            left: AtomicU32::new(calls),
            used_up: AtomicBool::new(false),
        });
        let result = TURNS.scope(Arc::clone(&turns), call()).await;
        if let Err(error) = &result
            && error.kind == ErrorKind::RateLimited
            && !turns.used_up.load(Ordering::Relaxed)
        {
            let asked = match error.retry {
                Retry::AfterWait(asked) => asked.filter(|asked| *asked <= LONGEST_REST),
                _ => None,
            };
            let rate = locked(&self.lanes).cut(asked, Instant::now());
            tracing::debug!(
                operation = operation.name,
                rate,
                ?asked,
                "the service wants fewer calls"
            );
        }
        result
    }

    fn tell(&self, pace: &mut Pace) {
        let now = Instant::now();
        let mut lanes = locked(&self.lanes);
        pace.calls_per_second = lanes.lowered(now);
        pace.rests = lanes.rests(now);
    }
}
