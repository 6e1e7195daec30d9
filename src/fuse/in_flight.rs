//! What the kernel holds locked until it has an answer.
//!
//! An invalidation waits in the kernel for the lock of a directory, or of a page, that a request not answered yet
//! holds. A thread that waits there cannot be killed: should the process be killed meanwhile, it would keep
//! `/dev/fuse` open, nobody would answer the request, and whoever made it would hang until the mount is taken away
//! by force. So invalidations wait here first. A request of which nothing is known here yet can still come in
//! between, which leaves moments instead of the whole time of a call to a service.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Others need not wait longer for their invalidations where one inode is in use all the time.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct InFlight {
    counts: Mutex<HashMap<u64, usize>>,
    freed: Condvar,
}

/// A request that is not answered yet. To be dropped once it is.
pub struct Unanswered {
    in_flight: Arc<InFlight>,
    inodes: Vec<u64>,
}

impl InFlight {
    pub fn enter(self: &Arc<Self>, inodes: impl IntoIterator<Item = u64>) -> Unanswered {
        let inodes: Vec<u64> = inodes.into_iter().collect();
        let mut counts = self.counts();
        for ino in &inodes {
            *counts.entry(*ino).or_default() += 1;
        }
        drop(counts);
        Unanswered {
            in_flight: Arc::clone(self),
            inodes,
        }
    }

    /// Waits until no request holds this inode, as far as is known. Blocks.
    pub fn wait_until_free(&self, ino: u64) {
        let began = Instant::now();
        let mut counts = self.counts();
        while counts.contains_key(&ino) {
            let Some(left) = PATIENCE.checked_sub(began.elapsed()) else {
                return;
            };
            let waited = self.freed.wait_timeout(counts, left);
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts();
        for ino in &self.inodes {
            if let Some(count) = counts.get_mut(ino) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(ino);
                }
            }
        }
        drop(counts);
        self.in_flight.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_waits_for_the_last_request_that_holds_its_inode() {
        let in_flight = Arc::new(InFlight::default());
        let rename = in_flight.enter([1, 2]);
        let lookup = in_flight.enter([2]);
        in_flight.wait_until_free(3);
        let (waits, began) = (Arc::clone(&in_flight), Instant::now());
        let waiter = std::thread::spawn(move || {
            waits.wait_until_free(2);
            began.elapsed()
        });
        drop(rename);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiter.is_finished(), "the lookup is not answered");
        drop(lookup);
        assert!(waiter.join().unwrap() < PATIENCE);
        assert!(in_flight.counts().is_empty());
    }
}
