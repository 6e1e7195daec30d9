//! What tells changes made elsewhere from those made here: contents that were sent, and files of a service that had to
//! be renamed, since a file from here has their name.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use lru::LruCache;

use crate::provider::{FileId, FolderId};

/// How many are remembered; older ones are in the log.
const REMEMBERED: usize = 100;

/// A file that was changed or made elsewhere and is kept under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAside {
    pub account: String,
    pub folder: FolderId,
    /// The name that it had, which a file from here has now.
    pub name: String,
    pub aside: String,
    pub at: SystemTime,
}

/// Those of this mount, oldest first.
#[derive(Debug, Default)]
pub(super) struct Asides(Mutex<VecDeque<KeptAside>>);

impl Asides {
    pub fn note(&self, kept: KeptAside) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(kept);
    }

    pub fn all(&self) -> Vec<KeptAside> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}

/// Files whose contents are remembered.
const FILES: NonZeroUsize = NonZeroUsize::new(4096).expect("more than none");
/// Contents of one file.
const CONTENTS: usize = 4;

/// What was put into files of services lately: nothing of it was done elsewhere.
#[derive(Debug)]
pub(super) struct SentContents(Mutex<LruCache<FileId, Box<[[u8; 32]]>>>);

impl Default for SentContents {
    fn default() -> Self {
        SentContents(Mutex::new(LruCache::new(FILES)))
    }
}

impl SentContents {
    pub fn note(&self, file: &FileId, sha256: [u8; 32]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.pop(file).unwrap_or_default().into_iter();
        let others = before.filter(|known| *known != sha256);
        let contents = std::iter::once(sha256).chain(others).take(CONTENTS);
        all.put(file.clone(), contents.collect());
    }

    pub fn of(&self, file: &FileId) -> Vec<[u8; 32]> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.peek(file)
            .map(|contents| contents.to_vec())
            .unwrap_or_default()
    }
}
