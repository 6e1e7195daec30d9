//! What the cache holds altogether, and in which order it is let go. Does no I/O.
//!
//! A content that nobody has open is let go as one; one that is open by extents, each with its own time of last use.
//! Among those of equal age the later ones of a content go first: heads are what programs look at.

use std::cmp::Reverse;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use super::content::CachedContent;
use super::map::Id;

/// What is let go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// All of a content that is not open.
    Whole,
    Extent(u32),
}

/// What room was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Reserved,
    /// Not before it is known what is there.
    NotYet,
    /// Some bytes have to go first.
    TooManyBytes,
    /// A content has to go first.
    TooManyContents,
}

/// A place in the order of the open: the time of last use, and the extent that was used, the later ones first.
type Place = (u64, Id, Reverse<u32>);

/// What a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// On the disk.
    pub bytes: u64,
    /// Each takes memory here, however small it is.
    pub contents: usize,
}

pub(super) struct Registry {
    entries: HashMap<Id, Entry>,
    /// Contents that are not open, by their time of last use.
    closed: BTreeSet<(u64, Id)>,
    open: BTreeSet<Place>,
    used: u64,
    /// Contents that take room on the disk.
    kept: usize,
    limit: Limit,
    /// Microseconds since 1970 at the start, counted on with each use.
    clock: u64,
    opened: u64,
    /// Whether `used` counts all that is on the disk.
    is_complete: bool,
}

/// A content that has bytes on the disk or is open. Most are not open, and what only those that are need is apart.
#[derive(Default)]
struct Entry {
    /// Bytes on the disk, those included that are about to be written.
    charge: u64,
    used: u64,
    open: Option<Box<Open>>,
    /// The data is or was an uploaded file, which may still be open.
    is_shared: bool,
}

/// What is known of a content while it is open.
#[derive(Default)]
struct Open {
    handle: Weak<CachedContent>,
    /// Tells the handle from those before.
    token: u64,
    /// Times of the extents.
    extents: BTreeMap<u32, u64>,
}

impl Registry {
    pub fn new(limit: Limit, now: u64, is_complete: bool) -> Self {
        Registry {
            entries: HashMap::new(),
            closed: BTreeSet::new(),
            open: BTreeSet::new(),
            used: 0,
            kept: 0,
            limit,
            clock: now,
            opened: 0,
            is_complete,
        }
    }

    pub fn used(&self) -> u64 {
        self.used
    }

    /// Whether more is kept than may be.
    pub fn excess(&self) -> Option<Answer> {
        if self.kept > self.limit.contents {
            return Some(Answer::TooManyContents);
        }
        (self.used > self.limit.bytes).then_some(Answer::TooManyBytes)
    }

    #[cfg(test)]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub fn set_complete(&mut self) {
        self.is_complete = true;
    }

    /// The open content of this id, or the one that `make` makes of a token.
    pub fn handle(&mut self, id: Id, make: impl FnOnce(u64) -> Arc<CachedContent>) -> Arc<CachedContent> {
        let entry = self.entries.entry(id).or_default();
        if let Some(open) = entry.open.as_ref().and_then(|open| open.handle.upgrade()) {
            return open;
        }
        self.opened += 1;
        let made = make(self.opened);
        let open = entry.open.get_or_insert_default();
        (open.handle, open.token) = (Arc::downgrade(&made), self.opened);
        made
    }

    /// A content that the survey found, unless it is known already.
    pub fn found(&mut self, id: Id, charge: u64, used: u64) {
        let Slot::Vacant(slot) = self.entries.entry(id) else {
            return;
        };
        let used = used.min(self.clock);
        slot.insert(Entry {
            used,
            ..Entry::default()
        });
        self.closed.insert((used, id));
        self.charge(id, |_| charge);
    }

    /// An open content turned out to hold these extents, last used at `used`. What it was thought to take.
    pub fn loaded(&mut self, id: Id, charge: u64, used: u64, extents: impl Iterator<Item = u32>) -> u64 {
        let before = self.charge(id, |_| charge);
        let Some(entry) = self.entries.get_mut(&id) else {
            return 0;
        };
        leave_order(&mut self.closed, &mut self.open, id, entry);
        entry.used = used.min(self.clock);
        if let Some(open) = &mut entry.open {
            for extent in extents {
                open.extents.insert(extent, entry.used);
                self.open.insert((entry.used, id, Reverse(extent)));
            }
        }
        before
    }

    /// The last who had it open is gone. Tells when it was used last, in microseconds.
    pub fn closed(&mut self, id: Id, token: u64) -> Option<u64> {
        let entry = self.entries.get_mut(&id)?;
        let open = entry.open.as_ref().filter(|open| open.token == token)?;
        let newest = open.extents.values().copied().max();
        leave_order(&mut self.closed, &mut self.open, id, entry);
        entry.used = entry.used.max(newest.unwrap_or_default());
        entry.open = None;
        let used = entry.used;
        if entry.charge == 0 {
            self.entries.remove(&id);
        } else {
            self.closed.insert((used, id));
        }
        Some(used)
    }

    /// Takes room for a content that is open, where there is some.
    pub fn reserve(&mut self, id: Id, bytes: u64) -> Answer {
        if !self.is_complete {
            return Answer::NotYet;
        }
        if self.used.saturating_add(bytes) > self.limit.bytes {
            return Answer::TooManyBytes;
        }
        let is_new = self.entries.get(&id).is_none_or(|entry| entry.charge == 0);
        if is_new && self.kept >= self.limit.contents {
            return Answer::TooManyContents;
        }
        self.charge(id, |charge| charge + bytes);
        Answer::Reserved
    }

    pub fn release(&mut self, id: Id, bytes: u64) {
        self.charge(id, |charge| charge.saturating_sub(bytes));
    }

    /// Changes what a content takes. What it took before.
    fn charge(&mut self, id: Id, change: impl FnOnce(u64) -> u64) -> u64 {
        let Some(entry) = self.entries.get_mut(&id) else {
            return 0;
        };
        let (before, after) = (entry.charge, change(entry.charge));
        entry.charge = after;
        self.used = self.used - before + after;
        self.kept = self.kept - usize::from(before > 0) + usize::from(after > 0);
        before
    }

    /// Notes that an extent of an open content is used now.
    pub fn touch(&mut self, id: Id, extent: u32) {
        let Some(open) = self.entries.get_mut(&id).and_then(|entry| entry.open.as_mut()) else {
            return;
        };
        let place = |time| (time, id, Reverse(extent));
        if let Some(before) = open.extents.get(&extent) {
            if *before == self.clock && self.open.contains(&place(*before)) {
                return;
            }
            self.open.remove(&place(*before));
        }
        self.clock += 1;
        open.extents.insert(extent, self.clock);
        self.open.insert(place(self.clock));
    }

    pub fn forget(&mut self, id: Id, extent: u32) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(used) = entry.open.as_mut().and_then(|open| open.extents.remove(&extent))
        {
            self.open.remove(&(used, id, Reverse(extent)));
        }
    }

    pub fn forget_all(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            leave_order(&mut self.closed, &mut self.open, id, entry);
            entry.is_shared = false;
        }
    }

    pub fn set_shared(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.is_shared = true;
        }
    }

    pub fn is_shared(&self, id: Id) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.is_shared)
    }

    /// What was not used for the longest time, taken out of the order, and the bytes of its content. Whoever cannot
    /// let it go puts it back with [`Registry::touch`], or by closing it.
    pub fn pop_oldest(&mut self) -> Option<(Id, Unit, u64)> {
        let open = self.open.first().map(|(used, id, _)| (*used, *id));
        if open.is_none_or(|open| self.closed.first().is_some_and(|closed| *closed <= open)) {
            return self.pop_oldest_closed();
        }
        let (_, id, extent) = self.open.pop_first()?;
        Some((id, Unit::Extent(extent.0), self.charge_of(id)))
    }

    /// The same of those that are not open.
    pub fn pop_oldest_closed(&mut self) -> Option<(Id, Unit, u64)> {
        let (_, id) = self.closed.pop_first()?;
        Some((id, Unit::Whole, self.charge_of(id)))
    }

    fn charge_of(&self, id: Id) -> u64 {
        self.entries.get(&id).map_or(0, |entry| entry.charge)
    }
}

fn leave_order(closed: &mut BTreeSet<(u64, Id)>, open: &mut BTreeSet<Place>, id: Id, entry: &mut Entry) {
    closed.remove(&(entry.used, id));
    let Some(own) = &mut entry.open else { return };
    for (extent, used) in std::mem::take(&mut own.extents) {
        open.remove(&(used, id, Reverse(extent)));
    }
}
