//! Programs that open one file of a folder after the other: thumbnailers, `grep -r`, whatever sniffs at types.
//!
//! After a few files the ones that follow in the folder are fetched ahead, at their beginnings, until the program
//! stops or opens something else. It knows inodes and places in a folder, and nothing of how files are
//! fetched.

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
}

struct Foreseen {
    /// The place of each file in the order in which they are fetched.
    places: HashMap<u64, usize>,
    heads: Heads,
    strays: u32,
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

    /// Notes the first read of an open file. Returns whether those that follow it should be foreseen.
    fn note(&self, folder: u64, file: u64, now: Instant) -> bool {
        let mut folders = self.lock();
        let storm = folders.get_or_insert_mut(folder, || Storm {
            opened: 0,
            last: None,
            foreseen: None,
        });
        let goes_on = storm
            .last
            .is_some_and(|(_, at)| now.saturating_duration_since(at) <= PAUSE);
        let again = storm.last.is_some_and(|(last, _)| last == file);
        storm.last = Some((file, now));
        if !goes_on {
            (storm.opened, storm.foreseen) = (0, None);
        }
        if again && goes_on {
            return false;
        }
        storm.opened += 1;
        if let Some(foreseen) = &mut storm.foreseen {
            if !foreseen.pass(file) {
                (storm.opened, storm.foreseen) = (1, None);
            }
            return false;
        }
        storm.opened >= NOTICED
    }

    fn foresee(&self, folder: u64, places: HashMap<u64, usize>, heads: Heads) {
        if let Some(storm) = self.lock().get_mut(&folder) {
            storm.foreseen = Some(Foreseen {
                places,
                heads,
                strays: 0,
            });
        }
    }
}

impl Foreseen {
    /// Notes that a file was opened. Returns whether there is more to foresee in this way.
    fn pass(&mut self, file: u64) -> bool {
        match self.places.get(&file) {
            Some(place) => {
                self.strays = 0;
                self.heads.reach(place + 1);
                place + 1 < self.places.len()
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
        if !self.storms.note(folder, file, Instant::now()) {
            return;
        }
        let following = self.following(folder, file);
        if following.len() < 2 {
            return;
        }
        let places = following.iter().enumerate();
        let places = places.map(|(place, (ino, _))| (*ino, place)).collect();
        let files = following.into_iter().map(|(_, source)| source).collect();
        self.storms
            .foresee(folder, places, self.downloads.fetch_heads(files));
    }

    /// A file and those after it in its folder whose content is on the service alone.
    fn following(&self, folder: u64, file: u64) -> Vec<(u64, Source)> {
        let remotes: Vec<_> = {
            let tree = self.tree();
            let Some(first) = tree.get(file).map(|node| names::key(&node.name)) else {
                return Vec::new();
            };
            let Some(folder) = tree.get(folder).and_then(Node::folder) else {
                return Vec::new();
            };
            folder
                .children
                .range((Bound::Included(first), Bound::Unbounded))
                .filter_map(|(_, ino)| {
                    let file = tree.get(*ino)?.file()?;
                    let remote = file.remote.clone().filter(|remote| remote.size > 0);
                    Some((*ino, remote.filter(|_| file.local.is_none())?))
                })
                .take(FORESEEN)
                .collect()
        };
        let Ok((_, account)) = self.account_of(file) else {
            return Vec::new();
        };
        let account = Arc::clone(account);
        let sources = remotes.into_iter();
        sources
            .map(|(ino, remote)| (ino, account.source(&remote)))
            .collect()
    }
}
