//! What a kill may leave of files that were being written: what was there before, or any of the states since, up to
//! the last one. What was closed or synced is there for good.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

pub fn sum(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Of one file that has changes which nobody closed or synced yet.
#[derive(Debug, Clone, Default)]
struct Changes {
    /// Sums of contents.
    versions: Vec<u64>,
    /// What the file took the place of, which may be there in its stead; `None` for nothing.
    instead: Vec<Option<u64>>,
}

/// By inode number of the reference.
#[derive(Default)]
pub struct Durable {
    changes: HashMap<u64, Changes>,
}

impl Durable {
    /// A file that was made just now.
    pub fn made(&mut self, ino: u64) {
        let changes = Changes {
            versions: vec![sum(&[])],
            instead: vec![None],
        };
        self.changes.insert(ino, changes);
    }

    pub fn changed(&mut self, ino: u64, before: u64, now: u64) {
        let changes = self.changes.entry(ino).or_insert_with(|| Changes {
            versions: vec![before],
            instead: Vec::new(),
        });
        changes.versions.push(now);
    }

    pub fn committed(&mut self, ino: u64) {
        self.changes.remove(&ino);
    }

    /// `replaced` had this content when it went.
    pub fn renamed_over(&mut self, ino: u64, replaced: u64, content: u64) {
        let before = self.changes.remove(&replaced).unwrap_or(Changes {
            versions: vec![content],
            instead: Vec::new(),
        });
        if let Some(changes) = self.changes.get_mut(&ino)
            && !changes.instead.is_empty()
        {
            changes.instead.extend(before.versions.into_iter().map(Some));
            changes.instead.extend(before.instead);
        }
    }

    pub fn is_open(&self, ino: u64) -> bool {
        self.changes.contains_key(&ino)
    }

    /// Whether a kill may leave this content, or nothing, in the place of a file with the content `now`.
    pub fn allows(&self, ino: u64, now: u64, found: Option<u64>) -> bool {
        let Some(changes) = self.changes.get(&ino) else {
            return found == Some(now);
        };
        let version = found.is_some_and(|found| changes.versions.contains(&found));
        version || changes.instead.contains(&found)
    }

    pub fn forget_all(&mut self) {
        self.changes.clear();
    }
}
