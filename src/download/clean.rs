//! What uploads ask of the cache: to give way where the disk has no room for what is written.

use super::BlockCache;
use crate::upload::CleanCache;

impl CleanCache for BlockCache {
    fn held(&self) -> u64 {
        self.used()
    }

    fn give_back(&self, bytes: u64) -> u64 {
        BlockCache::give_back(self, bytes)
    }

    fn keep_free(&self, bytes: u64) {
        BlockCache::keep_free(self, bytes);
    }
}
