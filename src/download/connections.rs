//! How many data connections an account may have open at a time.
//!
//! A permit is held as long as a data connection is open. Who finds none free waits in line. The number
//! begins at what is configured, halves each time the service says that there are too many, down to one, and
//! grows back by one after a while in which requests were served.
//!
//! No line may stand still for ever, and no reader may wait for itself:
//!
//! - A reader needs one permit to make progress, never two. What is opened ahead of need takes a permit only
//!   where one is free, and gives it up as soon as anybody waits, its own reader included.
//! - An open connection that nobody reads from, because a program holds a file open and reads no further,
//!   is given up after a moment when others wait ([`Connections::until_wanted`]). Its reader takes up again
//!   where it stopped, in line like all others.
//! - A connection that is busy for long is given up in turn ([`Permit::turn_is_over`]), so that with one
//!   permit two readers of large files both move.
//! - Nobody waits for anything of the service but its answer while holding a permit: links are asked for
//!   before, and the wait after a refusal comes after the permit is given back.
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
const RECOVERY: Duration = Duration::from_secs(30);
/// How long a connection is kept while others wait.
const TURN: Duration = Duration::from_secs(2);

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
    /// Wakes those who hold a connection they do not use: somebody waits.
    wanted: Notify,
    limit: Mutex<Limit>,
}

struct Limit {
    now: usize,
    /// Permits held beyond the limit, to be taken out when they come back.
    excess: usize,
    changed: Instant,
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
            wanted: Notify::new(),
            limit: Mutex::new(Limit {
                now: most,
                excess: 0,
                changed: Instant::now(),
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

    fn permit(self: &Arc<Self>, held: Option<OwnedSemaphorePermit>) -> Permit {
        let now = Instant::now();
        Permit {
            connections: Arc::clone(self),
            held,
            granted: now,
            turn: now,
        }
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Returns when somebody waits for a permit.
    pub async fn until_wanted(&self) {
        loop {
            let mut wanted = std::pin::pin!(self.wanted.notified());
            wanted.as_mut().enable();
            if self.is_wanted() {
                return;
            }
            wanted.await;
        }
    }

    fn grow(&self) {
        let mut limit = lock(&self.limit);
        if limit.now >= self.most || limit.changed.elapsed() < RECOVERY {
            return;
        }
        limit.now += 1;
        limit.changed = Instant::now();
        if limit.excess > 0 {
            limit.excess -= 1;
        } else {
            self.free.add_permits(1);
        }
    }

    fn shrink(&self, granted: Instant) {
        let mut limit = lock(&self.limit);
        // What was opened under another limit says nothing about this one.
        if granted < limit.changed {
            return;
        }
        let lower = (limit.now / 2).max(1);
        let fewer = limit.now - lower;
        limit.excess += fewer - self.free.forget_permits(fewer);
        limit.now = lower;
        limit.changed = Instant::now();
        tracing::debug!(connections = lower, "the service finds the connections too many");
    }
}

impl Permit {
    /// Notes that the service answered with the bytes that were asked for.
    pub fn served(&mut self) {
        self.turn = Instant::now();
        self.connections.grow();
    }

    /// Notes that the service found the connections too many. Refusals of one moment count once.
    pub fn refused(&self) {
        self.connections.shrink(self.granted);
    }

    /// Whether others wait and this connection had its time.
    pub fn turn_is_over(&self) -> bool {
        self.connections.is_wanted() && self.turn.elapsed() >= TURN
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

struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
