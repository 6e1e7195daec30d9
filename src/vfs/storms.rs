//! Programs that open one file of a folder after the other: thumbnailers, `grep -r`, whatever sniffs at types.
//!
//! After a few files the ones that follow in the folder are fetched ahead, at their beginnings, until the program
//! stops or opens something else. Programs that read several files at a time, or in an order of their own, will want
//! those before as well: their links are asked for along with the others. It knows inodes and places in a folder,
//! and nothing of how files are fetched.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::Vfs;
use super::names;
use super::tree::Node;
use crate::download::{Heads, Source};

/// Files of a folder opened in a row after which the next ones are fetched ahead.
const NOTICED: u32 = 3;
/// A longer pause between two files begins the count anew.
const PAUSE: Duration = Duration::from_secs(2);
/// Files foreseen at a time.
const FORESEEN: usize = 400;
/// Files before the one that is opened of which links are asked for along: those that readers side by side may have
/// left out, where the program goes on from file to file, and many where it has another order.
const BESIDE_IN_ORDER: usize = 16;
const BESIDE: usize = 200;
/// Files opened out of turn after which nothing is foreseen any more.
const STRAYS: u32 = 3;
/// Folders that are watched at a time.
const FOLDERS: NonZeroUsize = NonZeroUsize::new(8).expect("more than none");

/// What is opened in which folder.
pub(super) struct Storms {
    folders: Mutex<LruCache<u64, Storm>>,
}

struct Storm {
    opened: u32,
    last: Option<(u64, Instant)>,
    foreseen: Option<Foreseen>,
    /// Somebody finds out what to foresee.
    is_sought: bool,
}

struct Foreseen {
    /// How many of the files that are fetched ahead were passed when this one is opened: none for those beside them.
    passed: HashMap<u64, usize>,
    heads: Heads,
    strays: u32,
}

/// What is likely to be opened next, each with its inode.
#[derive(Default)]
struct Likely {
    following: Vec<(u64, Source)>,
    beside: Vec<(u64, Source)>,
}

impl Default for Storms {
    fn default() -> Self {
        Storms {
            folders: Mutex::new(LruCache::new(FOLDERS)),
        }
    }
}

impl Storms {
    fn lock(&self) -> MutexGuard<'_, LruCache<u64, Storm>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the first read of an open file. Returns the one that was opened before it where those that follow should be
    /// foreseen, by [`foresee`](Self::foresee).
    fn note(&self, folder: u64, file: u64, now: Instant) -> Option<u64> {
        let mut folders = self.lock();
        let storm = folders.get_or_insert_mut(folder, || Storm {
            opened: 0,
            last: None,
            foreseen: None,
            is_sought: false,
        });
        let goes_on = storm
            .last
            .is_some_and(|(_, at)| now.saturating_duration_since(at) <= PAUSE);
        let before = storm.last.replace((file, now)).map(|(before, _)| before);
        if !goes_on {
            (storm.opened, storm.foreseen) = (0, None);
        }
        if before == Some(file) && goes_on {
            return None;
        }
        storm.opened += 1;
        if let Some(foreseen) = &mut storm.foreseen {
            if !foreseen.pass(file) {
                (storm.opened, storm.foreseen) = (1, None);
            }
            return None;
        }
        let before = before.filter(|_| storm.opened >= NOTICED && !storm.is_sought);
        storm.is_sought |= before.is_some();
        before
    }

    fn foresee(&self, folder: u64, foreseen: Option<Foreseen>) {
        if let Some(storm) = self.lock().get_mut(&folder) {
            storm.foreseen = foreseen;
            storm.is_sought = false;
        }
    }
}

impl Foreseen {
    /// Notes that a file was opened. Returns whether there is more to foresee in this way.
    fn pass(&mut self, file: u64) -> bool {
        match self.passed.get(&file) {
            Some(passed) => {
                self.strays = 0;
                self.heads.reach(*passed);
                *passed < FORESEEN
            }
            None => {
                self.strays += 1;
                self.strays < STRAYS
            }
        }
    }
}

impl Vfs {
    /// Notes the first read of a file that was opened.
    pub(super) fn note_first_read(&self, file: u64) {
        let Some(folder) = self.tree().get(file).and_then(|node| node.parent) else {
            return;
        };
        let Some(before) = self.storms.note(folder, file, Instant::now()) else {
            return;
        };
        let likely = self.likely_after(folder, file, before);
        let foreseen = (likely.following.len() + likely.beside.len() > 1).then(|| self.fetch_ahead(likely));
        self.storms.foresee(folder, foreseen);
    }

    fn fetch_ahead(&self, likely: Likely) -> Foreseen {
        let following = (1..)
            .zip(&likely.following)
            .map(|(passed, (ino, _))| (*ino, passed));
        let beside = likely.beside.iter().map(|(ino, _)| (*ino, 0));
        let passed = following.chain(beside).collect();
        let sources = |files: Vec<(u64, Source)>| files.into_iter().map(|(_, source)| source).collect();
        Foreseen {
            passed,
            heads: self
                .downloads
                .fetch_heads(sources(likely.following), sources(likely.beside)),
            strays: 0,
        }
    }

    /// A file and those after it in its folder whose content is on the service alone, and some of those before it.
    fn likely_after(&self, folder: u64, file: u64, before: u64) -> Likely {
        let Ok((_, account)) = self.account_of(file) else {
            return Likely::default();
        };
        let account = Arc::clone(account);
        let tree = self.tree();
        let (Some(first), Some(folder)) = (tree.get(file), tree.get(folder).and_then(Node::folder)) else {
            return Likely::default();
        };
        let first = names::key(&first.name);
        let on_service = |ino: &u64| {
            let file = tree.get(*ino)?.file()?;
            let remote = file.remote.as_ref().filter(|remote| remote.size > 0);
            let remote = remote.filter(|_| file.local.is_none())?;
            Some((*ino, account.source(remote)))
        };
        let following = (Bound::Included(first.as_str()), Bound::Unbounded);
        let following = folder.children.range::<str, _>(following);
        let following = following.filter_map(|(_, ino)| on_service(ino));
        let previous = (Bound::Unbounded, Bound::Excluded(first.as_str()));
        let previous = folder.children.range::<str, _>(previous).rev();
        let mut previous = previous.filter_map(|(_, ino)| on_service(ino)).peekable();
        let in_order = previous.peek().is_some_and(|(ino, _)| *ino == before);
        let beside = if in_order { BESIDE_IN_ORDER } else { BESIDE };
        Likely {
            following: following.take(FORESEEN).collect(),
            beside: previous.take(beside).collect(),
        }
    }
}
