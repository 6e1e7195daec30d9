//! Where a content is on the disk: in the cache, which may let it go at any time, or pinned, which is all of it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::cache::CachedContent;

#[derive(Clone)]
pub(super) enum OnDisk {
    Cached(Arc<CachedContent>),
    Pinned(Arc<Pinned>),
}

/// A content that is here whole, and is never changed or let go from here.
pub(super) struct Pinned {
    file: File,
    size: u64,
    /// It cannot be read, or is not what was stored.
    is_wrong: AtomicBool,
}

impl Pinned {
    pub fn new(file: File, size: u64) -> Self {
        Pinned {
            file,
            size,
            is_wrong: AtomicBool::new(false),
        }
    }

    fn is_right(&self) -> bool {
        !self.is_wrong.load(Ordering::Relaxed)
    }

    fn read(&self, range: &Range<u64>) -> Option<Bytes> {
        if !self.is_right() || range.end > self.size {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
        match self.file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Some(bytes.into()),
            Err(error) => {
                tracing::error!(%error, "a pinned content cannot be read");
                self.is_wrong.store(true, Ordering::Relaxed);
                None
            }
        }
    }
}

impl OnDisk {
    /// Whether all of `range` is here. Does no I/O.
    pub fn holds(&self, range: Range<u64>) -> bool {
        match self {
            OnDisk::Cached(content) => content.holds(range),
            OnDisk::Pinned(content) => content.is_right() && range.end <= content.size,
        }
    }

    /// What of `range` is not. Does no I/O.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        match self {
            OnDisk::Cached(content) => content.missing(range),
            OnDisk::Pinned(content) if content.is_right() => Vec::new(),
            OnDisk::Pinned(_) => vec![range],
        }
    }

    /// The bytes, where they are here. Blocks.
    pub fn read(&self, range: Range<u64>) -> Option<Bytes> {
        match self {
            OnDisk::Cached(content) => content.read(range),
            OnDisk::Pinned(content) => content.read(&range),
        }
    }

    /// How many bytes are kept. Blocks.
    pub fn store(&self, offset: u64, bytes: &[u8]) -> u64 {
        match self {
            OnDisk::Cached(content) => content.store(offset, bytes),
            OnDisk::Pinned(_) => 0,
        }
    }

    /// Whether all of it is known to be what was stored.
    pub fn is_verified(&self) -> bool {
        match self {
            OnDisk::Cached(content) => content.is_verified(),
            OnDisk::Pinned(_) => false,
        }
    }

    pub fn set_verified(&self) {
        if let OnDisk::Cached(content) = self {
            content.set_verified();
        }
    }

    /// It is not what was stored. A pinned file stays as it is, for a person to look at.
    pub fn discard(&self) {
        match self {
            OnDisk::Cached(content) => content.discard(),
            OnDisk::Pinned(content) => content.is_wrong.store(true, Ordering::Relaxed),
        }
    }
}
