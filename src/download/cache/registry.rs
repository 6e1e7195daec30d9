//! What the cache holds altogether, and in which order it is let go. Does no I/O.
//!
//! A content that nobody has open is let go as one; one that is open by extents, each with its own time of last use.
//! Among those of equal age the later ones of a content go first: heads are what programs look at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use super::content::CachedContent;
use super::map::Id;

/// What is let go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// All of a content that is not open.
    Whole,
    Extent(Reverse<u32>),
}

/// A place in the order: the time of last use, and what was used.
type Place = (u64, Id, Unit);

pub(super) struct Registry {
    entries: HashMap<Id, Entry>,
    order: BTreeSet<Place>,
    used: u64,
    limit: u64,
    /// Microseconds since 1970 at the start, counted on with each use.
    clock: u64,
    opened: u64,
    /// Whether `used` counts all that is on the disk.
    is_complete: bool,
}

/// A content that has bytes on the disk or is open. Some hundred thousands of them may be in memory.
struct Entry {
    handle: Weak<CachedContent>,
    /// Tells the handle from those before.
    token: u64,
    /// Bytes on the disk, those included that are about to be written.
    charge: u64,
    used: u64,
    /// The data is or was an uploaded file, which may still be open.
    is_shared: bool,
    /// Times of the extents while it is open.
    extents: BTreeMap<u32, u64>,
}

impl Registry {
    pub fn new(limit: u64, now: u64, is_complete: bool) -> Self {
        Registry {
            entries: HashMap::new(),
            order: BTreeSet::new(),
            used: 0,
            limit,
            clock: now,
            opened: 0,
            is_complete,
        }
    }

    pub fn used(&self) -> u64 {
        self.used
    }

    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub fn set_complete(&mut self) {
        self.is_complete = true;
    }

    /// The open content of this id, or the one that `make` makes of a token.
    pub fn handle(&mut self, id: Id, make: impl FnOnce(u64) -> Arc<CachedContent>) -> Arc<CachedContent> {
        let entry = self.entries.entry(id).or_insert_with(Entry::empty);
        if let Some(open) = entry.handle.upgrade() {
            return open;
        }
        self.opened += 1;
        let made = make(self.opened);
        entry.handle = Arc::downgrade(&made);
        entry.token = self.opened;
        made
    }

    /// A content that the survey found, unless it is known already.
    pub fn found(&mut self, id: Id, charge: u64, used: u64) {
        if self.entries.contains_key(&id) {
            return;
        }
        let used = used.min(self.clock);
        self.entries.insert(
            id,
            Entry {
                charge,
                used,
                ..Entry::empty()
            },
        );
        self.order.insert((used, id, Unit::Whole));
        self.used += charge;
    }

    /// An open content turned out to hold these extents, last used at `used`. What it was thought to take.
    pub fn loaded(&mut self, id: Id, charge: u64, used: u64, extents: impl Iterator<Item = u32>) -> u64 {
        let Some(entry) = self.entries.get_mut(&id) else {
            return 0;
        };
        let before = entry.charge;
        leave_order(&mut self.order, id, entry);
        self.used = self.used - entry.charge + charge;
        entry.charge = charge;
        entry.used = used.min(self.clock);
        for extent in extents {
            entry.extents.insert(extent, entry.used);
            self.order.insert((entry.used, id, Unit::Extent(Reverse(extent))));
        }
        before
    }

    /// The last who had it open is gone. Tells when it was used last, in microseconds.
    pub fn closed(&mut self, id: Id, token: u64) -> Option<u64> {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.token == token)?;
        let newest = entry.extents.values().copied().max();
        leave_order(&mut self.order, id, entry);
        entry.used = entry.used.max(newest.unwrap_or_default());
        entry.handle = Weak::new();
        let used = entry.used;
        if entry.charge == 0 {
            self.entries.remove(&id);
        } else {
            self.order.insert((used, id, Unit::Whole));
        }
        Some(used)
    }

    /// Takes room for a content, where there is some.
    pub fn reserve(&mut self, id: Id, bytes: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        if !self.is_complete || self.used.saturating_add(bytes) > self.limit {
            return false;
        }
        entry.charge += bytes;
        self.used += bytes;
        true
    }

    pub fn release(&mut self, id: Id, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let bytes = bytes.min(entry.charge);
            entry.charge -= bytes;
            self.used -= bytes;
        }
    }

    /// Notes that an extent is used now.
    pub fn touch(&mut self, id: Id, extent: u32) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let unit = Unit::Extent(Reverse(extent));
        if let Some(before) = entry.extents.get(&extent) {
            if *before == self.clock && self.order.contains(&(*before, id, unit)) {
                return;
            }
            self.order.remove(&(*before, id, unit));
        }
        self.clock += 1;
        entry.extents.insert(extent, self.clock);
        self.order.insert((self.clock, id, unit));
    }

    pub fn forget(&mut self, id: Id, extent: u32) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(used) = entry.extents.remove(&extent)
        {
            self.order.remove(&(used, id, Unit::Extent(Reverse(extent))));
        }
    }

    pub fn forget_all(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            leave_order(&mut self.order, id, entry);
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
        let (_, id, unit) = self.order.pop_first()?;
        let charge = self.entries.get(&id).map_or(0, |entry| entry.charge);
        Some((id, unit, charge))
    }
}

impl Entry {
    fn empty() -> Self {
        Entry {
            handle: Weak::new(),
            token: 0,
            charge: 0,
            used: 0,
            is_shared: false,
            extents: BTreeMap::new(),
        }
    }
}

fn leave_order(order: &mut BTreeSet<Place>, id: Id, entry: &mut Entry) {
    order.remove(&(entry.used, id, Unit::Whole));
    for (extent, used) in std::mem::take(&mut entry.extents) {
        order.remove(&(used, id, Unit::Extent(Reverse(extent))));
    }
}
