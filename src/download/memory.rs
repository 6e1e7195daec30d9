//! Blocks of contents in memory, the last used of all readers, within one budget.
//!
//! What arrives goes here first, so that who waits for it need not wait for the disk. Nothing in it is the
//! only copy of anything: what is let go is read from the disk or fetched again. It knows neither files nor
//! services; a content is a number.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

/// A content, for as long as it is open. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ContentNumber(pub u64);

pub(super) struct Memory {
    /// Bytes.
    budget: u64,
    held: Mutex<Held>,
}

struct Held {
    /// By content and the block's offset in it.
    blocks: LruCache<(ContentNumber, u64), Bytes>,
    bytes: u64,
}

impl Memory {
    /// `budget` is in bytes.
    pub fn new(budget: u64) -> Self {
        let held = Held {
            blocks: LruCache::unbounded(),
            bytes: 0,
        };
        Memory {
            budget,
            held: Mutex::new(held),
        }
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }

    pub fn put(&self, content: ContentNumber, offset: u64, block: Bytes) {
        let mut held = self.lock();
        held.bytes += block.len() as u64;
        if let Some(former) = held.blocks.put((content, offset), block) {
            held.bytes -= former.len() as u64;
        }
        while held.bytes > self.budget {
            let Some((_, oldest)) = held.blocks.pop_lru() else {
                return;
            };
            held.bytes -= oldest.len() as u64;
        }
    }

    pub fn get(&self, content: ContentNumber, offset: u64) -> Option<Bytes> {
        self.lock().blocks.get(&(content, offset)).cloned()
    }

    pub fn holds(&self, content: ContentNumber, offset: u64) -> bool {
        self.lock().blocks.contains(&(content, offset))
    }

    /// Lets go of all blocks of a content.
    pub fn forget(&self, content: ContentNumber) {
        let mut held = self.lock();
        let gone: Vec<_> = held
            .blocks
            .iter()
            .filter_map(|(key, _)| (key.0 == content).then_some(*key))
            .collect();
        for key in gone {
            if let Some(block) = held.blocks.pop(&key) {
                held.bytes -= block.len() as u64;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ContentNumber = ContentNumber(1);
    const TWO: ContentNumber = ContentNumber(2);

    fn block(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn what_was_not_used_for_longest_goes_when_the_budget_is_spent() {
        let memory = Memory::new(300);
        for offset in [0, 100, 200] {
            memory.put(ONE, offset, block(100));
        }
        memory.get(ONE, 0).expect("held");
        memory.put(TWO, 0, block(100));
        assert!(memory.holds(ONE, 0) && !memory.holds(ONE, 100) && memory.holds(ONE, 200));
        memory.put(TWO, 100, block(250));
        assert!(!memory.holds(ONE, 0) && !memory.holds(TWO, 0) && memory.holds(TWO, 100));
    }

    #[test]
    fn a_block_put_twice_counts_once_and_a_forgotten_content_not_at_all() {
        let memory = Memory::new(300);
        for _ in 0..5 {
            memory.put(ONE, 0, block(100));
        }
        memory.put(TWO, 0, block(200));
        assert!(memory.holds(ONE, 0));
        memory.forget(ONE);
        memory.put(TWO, 200, block(100));
        assert!(!memory.holds(ONE, 0) && memory.holds(TWO, 0) && memory.holds(TWO, 200));
    }
}
