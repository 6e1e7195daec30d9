//! Locks by inode, held while an operation on one file is journaled or sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How many entries may be dead before they are swept.
const SWEEP_AT: usize = 1024;

/// One asynchronous lock for each inode that is being worked on.
///
/// Order: whoever needs two takes them by [`InodeLocks::two`], which locks the lower inode first. The
/// mutex of the tree is never held while one of these is waited for.
#[derive(Default)]
pub struct InodeLocks {
    locks: Mutex<HashMap<u64, Weak<AsyncMutex<()>>>>,
}

pub type InodeGuard = OwnedMutexGuard<()>;

impl InodeLocks {
    fn lock_of(&self, ino: u64) -> Arc<AsyncMutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.len() >= SWEEP_AT {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        if let Some(lock) = locks.get(&ino).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(ino, Arc::downgrade(&lock));
        lock
    }

    pub async fn one(&self, ino: u64) -> InodeGuard {
        self.lock_of(ino).lock_owned().await
    }

    pub async fn two(&self, a: u64, b: Option<u64>) -> (InodeGuard, Option<InodeGuard>) {
        match b.filter(|b| *b != a) {
            None => (self.one(a).await, None),
            Some(b) if a < b => {
                let first = self.one(a).await;
                (first, Some(self.one(b).await))
            }
            Some(b) => {
                let second = self.one(b).await;
                (self.one(a).await, Some(second))
            }
        }
    }
}
