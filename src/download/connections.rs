//! How many data connections an account may have open at a time.
//!
//! A permit is held as long as a data connection is open. Who finds none free waits in line. The number
//! begins at what is configured. It halves, down to one, when the service refuses more requests as too many than it
//! serves: a refusal now and then, as of a service that is overloaded for a moment, says nothing of our number. It
//! grows by one after a while in which requests were served; where that one proves too many, it is taken back, and the
//! next is tried after twice the time.
//!
//! No line may stand still for ever, and no reader may wait for itself for ever:
//!
//! - A reader needs one permit to make progress, never two. What is fetched ahead of need takes a permit only
//!   where one is free, and no reader takes more than its share so.
//! - An open connection that nobody reads from, because a program holds a file open and reads no further,
//!   is given up after a moment when others wait ([`Connections::until_wanted`]), and so are all its like: a
//!   number that was lowered may take more than one back before one is free. Its reader takes up again where
//!   it stopped, in line like all others.
//! - A connection that is busy for long is given up in turn ([`Permit::turn_is_over`]), so that with one
//!   permit two readers of large files both move.
//! - Neither holds for a server that ignores ranges, of which all that came before would come again: there
//!   others wait for the end of the file, or until it is closed.
//! - Nobody waits for anything of the service but its answer while holding a permit: links are known before,
//!   and the wait after a refusal comes after the permit is given back.
//!
//! It knows neither HTTP nor readers.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long requests must be served before one more connection is tried.
const RECOVERY: Duration = Duration::from_secs(4);
const LONGEST_RECOVERY: Duration = Duration::from_secs(120);
/// Refusals that say something.
const REFUSALS: u32 = 2;
/// Answers of which the shares are looked at; older ones count for less.
const ANSWERS: u32 = 16;
/// How long a connection is kept while one other waits; with more of them each turn is shorter, so that the
/// last in line waits no longer than a read may take.
const TURN: Duration = Duration::from_secs(2);
const SHORTEST_TURN: Duration = Duration::from_millis(500);

/// The connections of all accounts.
pub(super) struct AllConnections {
    most: NonZeroUsize,
    accounts: Mutex<HashMap<String, Arc<Connections>>>,
}

impl AllConnections {
    pub fn new(most: NonZeroUsize) -> Self {
        AllConnections {
            most,
            accounts: Mutex::default(),
        }
    }

    pub fn of(&self, account: &str) -> Arc<Connections> {
        let mut accounts = lock(&self.accounts);
        if let Some(known) = accounts.get(account) {
            return Arc::clone(known);
        }
        let connections = Arc::new(Connections::new(self.most));
        accounts.insert(account.to_owned(), Arc::clone(&connections));
        connections
    }
}

/// The connections of one account.
pub(super) struct Connections {
    most: usize,
    /// Its line is first come, first served.
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Who shares the connections.
    readers: AtomicUsize,
    /// Wakes those who hold a connection they do not use: somebody waits.
    wanted: Notify,
    limit: Mutex<Limit>,
}

struct Limit {
    now: usize,
    /// Permits held beyond the limit, to be taken out when they come back.
    excess: usize,
    changed: Instant,
    /// Whether it was raised last.
    is_raised: bool,
    /// How long it stays before it is raised.
    recovery: Duration,
    /// Answers to requests since it was changed.
    served: u32,
    refused: u32,
}

impl Limit {
    fn count(&mut self, is_refused: bool) {
        if self.served + self.refused >= ANSWERS {
            (self.served, self.refused) = (self.served / 2, self.refused / 2);
        }
        self.served += u32::from(!is_refused);
        self.refused += u32::from(is_refused);
    }

    fn is_too_high(&self) -> bool {
        self.refused >= REFUSALS && self.refused > self.served
    }

    fn set(&mut self, limit: usize, now: Instant) {
        self.is_raised = limit > self.now;
        (self.now, self.changed) = (limit, now);
        (self.served, self.refused) = (0, 0);
    }
}

/// The right to one open connection, until it is dropped.
pub(super) struct Permit {
    connections: Arc<Connections>,
    /// `None` only while it is dropped: the semaphore is never closed.
    held: Option<OwnedSemaphorePermit>,
    granted: Instant,
    /// Since when the connection brings bytes.
    turn: Instant,
}

impl Connections {
    fn new(most: NonZeroUsize) -> Self {
        let most = most.get().min(Semaphore::MAX_PERMITS);
        Connections {
            most,
            free: Arc::new(Semaphore::new(most)),
            waiting: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            wanted: Notify::new(),
            limit: Mutex::new(Limit {
                now: most,
                excess: 0,
                changed: Instant::now(),
                is_raised: false,
                recovery: RECOVERY,
                served: 0,
                refused: 0,
            }),
        }
    }

    /// A permit if one is free and nobody waits for it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let held = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.permit(Some(held)))
    }

    /// Waits in line for a permit. Safe to cancel.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        if let Some(permit) = self.try_acquire() {
            return permit;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.waiting);
        self.wanted.notify_waiters();
        self.permit(Arc::clone(&self.free).acquire_owned().await.ok())
    }

    /// Counts a reader among those who share the connections.
    pub fn join(self: &Arc<Self>) -> Interest {
        self.readers.fetch_add(1, Ordering::SeqCst);
        Interest {
            connections: Arc::clone(self),
        }
    }

    /// How many readers share the connections; one at least.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::SeqCst).max(1)
    }

    /// How many connections a reader may use for what it fetches ahead of need.
    pub fn share(&self) -> usize {
        lock(&self.limit).now.div_ceil(self.readers())
    }

    fn permit(self: &Arc<Self>, held: Option<OwnedSemaphorePermit>) -> Permit {
        let now = Instant::now();
        Permit {
            connections: Arc::clone(self),
            held,
            granted: now,
            turn: now,
        }
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.load(Ordering::SeqCst)).unwrap_or(u32::MAX)
    }

    /// Returns when somebody waits for a permit.
    pub async fn until_wanted(&self) {
        loop {
            let mut wanted = std::pin::pin!(self.wanted.notified());
            wanted.as_mut().enable();
            if self.waiting() > 0 {
                return;
            }
            wanted.await;
        }
    }

    /// A request was served.
    fn serve(&self, granted: Instant, now: Instant) {
        let mut limit = lock(&self.limit);
        if granted >= limit.changed {
            limit.count(false);
        }
        if limit.now >= self.most || now.duration_since(limit.changed) < limit.recovery {
            return;
        }
        if limit.is_raised {
            // The one before held.
            limit.recovery = RECOVERY;
        }
        let higher = limit.now + 1;
        limit.set(higher, now);
        if limit.excess > 0 {
            limit.excess -= 1;
        } else {
            self.free.add_permits(1);
        }
    }

    /// A request was refused as one too many.
    fn refuse(&self, granted: Instant) {
        let mut limit = lock(&self.limit);
        // What was opened under another limit says nothing about this one.
        if granted < limit.changed {
            return;
        }
        limit.count(true);
        if !limit.is_too_high() || limit.now == 1 {
            return;
        }
        let lower = if limit.is_raised {
            limit.recovery = (limit.recovery * 2).min(LONGEST_RECOVERY);
            limit.now - 1
        } else {
            limit.now / 2
        };
        let fewer = limit.now - lower;
        limit.excess += fewer - self.free.forget_permits(fewer);
        limit.set(lower, Instant::now());
        tracing::debug!(connections = lower, "the service finds the connections too many");
    }
}

impl Permit {
    /// Notes that the service answered with the bytes that were asked for.
    pub fn served(&mut self) {
        self.turn = Instant::now();
        self.connections.serve(self.granted, self.turn);
    }

    /// Notes that the service found the connections too many, or says what may mean that.
    pub fn refused(&self) {
        self.connections.refuse(self.granted);
    }

    /// Whether others wait and this connection had its time.
    pub fn turn_is_over(&self) -> bool {
        TURN.checked_div(self.connections.waiting())
            .is_some_and(|turn| self.turn.elapsed() >= turn.max(SHORTEST_TURN))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut limit = lock(&self.connections.limit);
        let held = self.held.take();
        if limit.excess > 0 {
            limit.excess -= 1;
            if let Some(held) = held {
                held.forget();
            }
        }
    }
}

/// A reader that is counted until it is dropped.
pub(super) struct Interest {
    connections: Arc<Connections>,
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.connections.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most: usize) -> Arc<Connections> {
        Arc::new(Connections::new(NonZeroUsize::new(most).unwrap()))
    }

    fn take_all(connections: &Arc<Connections>) -> Vec<Permit> {
        std::iter::from_fn(|| connections.try_acquire()).collect()
    }

    #[test]
    fn refusals_of_one_moment_halve_the_number_once_and_never_to_none() {
        let connections = connections(8);
        for left in [4, 2, 1, 1] {
            let permits = take_all(&connections);
            permits.iter().for_each(Permit::refused);
            drop(permits);
            assert_eq!(take_all(&connections).len(), left);
        }
    }

    #[test]
    fn refusals_among_more_that_is_served_leave_the_number_alone() {
        let connections = connections(8);
        for _ in 0..50 {
            for refused in [false, true, false, false, true] {
                let permit = connections.try_acquire().expect("one of eight");
                match refused {
                    true => permit.refused(),
                    false => connections.serve(permit.granted, permit.granted),
                }
            }
        }
        assert_eq!(take_all(&connections).len(), 8);
    }

    #[test]
    fn permits_beyond_a_lowered_number_are_not_given_again() {
        let connections = connections(8);
        let mut permits: Vec<_> = (0..6).filter_map(|_| connections.try_acquire()).collect();
        permits[..2].iter().for_each(Permit::refused);
        for held in [5, 4] {
            permits.pop();
            assert_eq!(permits.len(), held);
            assert!(connections.try_acquire().is_none(), "a permit beside {held}");
        }
        permits.pop();
        permits.push(connections.try_acquire().expect("the fourth"));
        assert!(connections.try_acquire().is_none());
    }

    #[test]
    fn the_number_grows_back_by_one_at_a_time() {
        let connections = connections(3);
        take_all(&connections).iter().for_each(Permit::refused);
        assert_eq!(take_all(&connections).len(), 1);
        let mut now = Instant::now();
        connections.serve(now, now);
        assert_eq!(take_all(&connections).len(), 1, "too early");
        for grown in [2, 3, 3] {
            now += RECOVERY;
            connections.serve(now, now);
            connections.serve(now, now);
            assert_eq!(take_all(&connections).len(), grown);
        }
    }

    #[test]
    fn one_more_that_proves_too_many_is_taken_back_and_tried_later_each_time() {
        let connections = connections(9);
        take_all(&connections).iter().for_each(Permit::refused);
        assert_eq!(take_all(&connections).len(), 4);
        let mut now = Instant::now();
        for wait in [RECOVERY, RECOVERY * 2, RECOVERY * 4] {
            connections.serve(now, now + wait - Duration::from_millis(1));
            assert_eq!(take_all(&connections).len(), 4, "before {wait:?}");
            now += wait;
            connections.serve(now, now);
            assert_eq!(take_all(&connections).len(), 5, "after {wait:?}");
            connections.refuse(now);
            assert_eq!(take_all(&connections).len(), 5, "one refusal says nothing");
            connections.refuse(now);
            assert_eq!(take_all(&connections).len(), 4);
            now = Instant::now();
        }
    }

    #[tokio::test]
    async fn who_waits_is_seen_and_served_in_turn_until_he_goes() {
        let connections = connections(1);
        let held = connections.try_acquire().expect("free");
        let waits = |connections: &Arc<Connections>| {
            let connections = Arc::clone(connections);
            tokio::spawn(async move { connections.acquire().await })
        };
        let first = waits(&connections);
        connections.until_wanted().await;
        let second = waits(&connections);
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.is_err());
        drop(held);
        assert!(connections.try_acquire().is_none(), "one in line was passed over");
        drop(second.await.expect("served"));
        assert_eq!(connections.waiting(), 0);
        assert!(connections.try_acquire().is_some());
    }
}
