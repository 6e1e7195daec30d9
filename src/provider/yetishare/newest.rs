//! The newest file id that the host told of. Its ids rise, so that whatever was there before an upload has a
//! lower one. Other answers than the host's own are never looked at, and ids that are no numbers are passed over.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::provider::{FileId, FolderId};

/// Folders whose last listing is remembered.
const FOLDERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How long a listing tells what is in its folder, as far as other people's files go.
const LATELY: Duration = Duration::from_secs(60);
/// Entries of a folder that is listed for what else might be told by a call about one file.
const FEW: usize = 1000;

#[derive(Debug)]
pub(super) struct Newest {
    highest: AtomicU64,
    listed: Mutex<LruCache<FolderId, Listed>>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    at: Instant,
    entries: usize,
}

impl Default for Newest {
    fn default() -> Self {
        Newest {
            highest: AtomicU64::new(0),
            listed: Mutex::new(LruCache::new(FOLDERS)),
        }
    }
}

impl Newest {
    pub(super) fn note(&self, file: &FileId) {
        if let Some(number) = number(file) {
            self.highest.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// All files of the folder were told and noted.
    pub(super) fn note_listed(&self, folder: &FolderId, entries: usize) {
        let at = Instant::now();
        self.listed().put(folder.clone(), Listed { at, entries });
    }

    /// Whether a folder held few entries when it was listed last.
    pub(super) fn is_small(&self, folder: &FolderId) -> bool {
        self.listed()
            .peek(folder)
            .is_some_and(|listed| listed.entries <= FEW)
    }

    /// The highest id, where it is known to be no lower than those in the folder.
    pub(super) fn get(&self, folder: &FolderId) -> Option<FileId> {
        let listed = self.listed().get(folder).copied()?;
        let highest = self.highest.load(Ordering::Relaxed);
        (listed.at.elapsed() < LATELY).then(|| FileId::new(highest.to_string()))
    }

    fn listed(&self) -> MutexGuard<'_, LruCache<FolderId, Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file is newer than another.
pub(super) fn came_after(file: &FileId, before: &FileId) -> bool {
    matches!((number(file), number(before)), (Some(file), Some(before)) if file > before)
}

fn number(file: &FileId) -> Option<u64> {
    file.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_number_came_after() {
        let newest = Newest::default();
        let (folder, other) = (FolderId::new("1"), FolderId::new("2"));
        newest.note_listed(&folder, FEW);
        assert!(newest.is_small(&folder) && !newest.is_small(&other));
        newest.note_listed(&folder, FEW + 1);
        assert!(!newest.is_small(&folder));
        let none = newest.get(&folder).unwrap();
        for id in ["98", "7", "103", "odd"] {
            newest.note(&FileId::new(id));
        }
        let before = newest.get(&folder).unwrap();
        assert_eq!(before, FileId::new("103"));
        assert_eq!(newest.get(&other), None, "it was not looked at");
        for (id, after) in [
            ("104", true),
            ("1000", true),
            ("103", false),
            ("99", false),
            ("odd", false),
        ] {
            assert_eq!(came_after(&FileId::new(id), &before), after, "{id}");
        }
        assert!(came_after(&FileId::new("1"), &none));
    }
}
