//! The pending files in memory: the journal's rows as committed, and what lives only as long as the
//! process, such as holds, progress and the order of the queue.

mod item;
mod items;
mod lookups;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use lru::LruCache;

use crate::provider::FileEntry;
use crate::state::{JournalRow, RowState};

use super::deletions::Deletions;
use super::meter::Meter;
use super::renames::Renames;
use super::status::PendingId;

pub(super) use item::{Item, Kind, LARGE, Outcome, Step};
pub(super) use order::{Pick, to_instant};

use items::Items;
use order::AccountQueue;

/// How many finished uploads are remembered, for callers that come a little late.
const FINISHED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

pub(super) struct Table {
    items: Items,
    queues: HashMap<String, AccountQueue>,
    /// With the account on which each is.
    finished: LruCache<PendingId, (String, FileEntry)>,
    /// How many uploads have finished.
    ended: u64,
    /// Callers of drain; while there are any, the upload delay is skipped.
    pub drains: usize,
    pub deletions: Deletions,
    pub renames: Renames,
    /// Of all files that are sent.
    pub meter: Arc<Meter>,
}

impl Table {
    pub fn new() -> Self {
        Table {
            items: Items::default(),
            queues: HashMap::new(),
            finished: LruCache::new(FINISHED),
            ended: 0,
            drains: 0,
            deletions: Deletions::default(),
            renames: Renames::default(),
            meter: Arc::new(Meter::new()),
        }
    }

    pub fn add(&mut self, mut item: Item) {
        let id = PendingId::from_i64(item.row.id);
        let target = item.row.attempt.is_some() && item.row.state != RowState::Parked;
        let target = target.then(|| item.target());
        let moved = item.reorder(self.drains > 0);
        if let Some(target) = target {
            self.queue(&item.row.account).targets.insert(target, id);
        }
        self.items.insert(id, item);
        self.put_in_order(id, moved);
    }

    pub fn item(&self, id: PendingId) -> Option<&Item> {
        self.items.get(id)
    }

    /// An item that is not removed, which is how others know it.
    pub fn live(&self, id: PendingId) -> Option<&Item> {
        self.item(id).filter(|item| !item.is_removed())
    }

    /// As [`change`](Self::change), for an item that is not removed.
    pub fn change_live<T>(&mut self, id: PendingId, change: impl FnOnce(&mut Item) -> T) -> Option<T> {
        self.live(id)?;
        self.change(id, change)
    }

    /// Takes a row over as it was committed. A row that is gone is not.
    pub fn set_row(&mut self, row: JournalRow) {
        let id = PendingId::from_i64(row.id);
        let account = row.account.clone();
        let changed = self.change(id, |item| {
            let before = item.target();
            item.row = row;
            item.was_announced |= item.row.attempt.is_some();
            let running = item.run.is_some();
            if !running {
                match item.row.next_try {
                    Some(next) => item.due = to_instant(next),
                    None if item.due > Instant::now() && item.is_removed() => item.due = Instant::now(),
                    None => {}
                }
            }
            item.tell_row();
            let claims = (item.row.attempt.is_some() || running) && item.row.state != RowState::Parked;
            (before, item.target(), claims)
        });
        let Some((before, after, claims)) = changed else {
            return;
        };
        let queue = self.queue(&account);
        if before != after {
            queue.give_back(&before, id);
        }
        if claims {
            queue.targets.entry(after).or_insert(id);
        }
    }

    /// Takes an item out. `entry` is what became of it on the service, if it was uploaded.
    pub fn remove(&mut self, id: PendingId, entry: Option<FileEntry>) -> Option<Item> {
        let mut item = self.items.remove(id)?;
        self.queue(&item.row.account).forget(id, &item);
        let generation = item.row.generation;
        match entry {
            Some(entry) => {
                self.finished.put(id, (item.row.account.clone(), entry.clone()));
                self.ended += 1;
                item.tell(Outcome::Done { generation, entry });
            }
            None => item.tell(Outcome::Removed),
        }
        Some(item)
    }
}
