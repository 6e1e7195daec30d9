//! Letting go: of an extent, of a content that nobody has open, of blocks that are not what was stored, of all.
//!
//! First it is held no more, then the map is told, then the room goes back to the disk, and only then others get it.

use std::sync::MutexGuard;

use super::content::{CachedContent, Files, State};
use super::extents::{self, BLOCKS, Mask};
use super::files;
use super::map::Record;
use super::room::lock;

/// A content of which less is held is let go as one, although only a part of it would have to go.
const SMALL: u64 = 4 << 20;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LetGo {
    /// So many bytes of the disk are free.
    Bytes(u64),
    /// It is in use.
    Busy,
}

impl CachedContent {
    /// Forgets all of it, because its bytes proved wrong or the file is gone.
    pub fn discard(&self) {
        let state = self.until_settled(self.state());
        self.empty(state);
    }

    /// Lets go of an extent, unless somebody reads or writes there.
    pub(super) fn let_extent_go(&self, index: u32) -> LetGo {
        let mut state = self.state();
        if state.in_change || !state.extents.is_idle(index) {
            self.room.registry().touch(self.id, index);
            return LetGo::Busy;
        }
        let mask = state.extents.held_of(index);
        if mask == 0 {
            self.room.registry().forget(self.id, index);
            return LetGo::Bytes(0);
        }
        let is_last = u64::from(mask.count_ones()) == state.extents.held();
        if is_last || state.is_shared {
            return self.empty(state);
        }
        let Some(files) = state.files.clone() else {
            return LetGo::Bytes(0);
        };
        let (cost, epoch) = (self.take(&mut state, index, mask), state.epoch);
        self.room.registry().forget(self.id, index);
        drop(state);
        let (first, count) = (index * BLOCKS, BLOCKS);
        let given = self.give_away(
            &files,
            epoch,
            cost,
            &[Record::Gone { first, count }],
            &[(index, mask)],
        );
        LetGo::Bytes(given)
    }

    /// Lets go of a content that nobody has open, of which `held` bytes are on the disk and `wanted` are needed. Of a
    /// large one nothing goes yet: from here on it goes by extents.
    pub(super) fn let_closed_go(&self, held: u64, wanted: u64) -> LetGo {
        let state = self.until_settled(self.state());
        if state.is_loaded {
            return LetGo::Bytes(0);
        }
        if held <= wanted.max(SMALL) {
            return self.empty(state);
        }
        drop(state);
        self.load();
        LetGo::Bytes(0)
    }

    /// Forgets blocks that are not what was stored, if all of it was not forgotten since `epoch`.
    pub(super) fn forget(&self, blocks: impl IntoIterator<Item = u32>, epoch: u64) {
        let mut state = self.state();
        let Some(files) = state.files.clone().filter(|_| state.epoch == epoch) else {
            return;
        };
        tracing::warn!(
            id = self.id.to_hex(),
            "a part of the cache is not what was stored there; it is fetched again"
        );
        if state.is_shared {
            let state = self.until_settled(state);
            if state.epoch == epoch {
                self.empty(state);
            }
            return;
        }
        let (mut cost, mut records, mut taken) = (0, Vec::new(), Vec::new());
        for block in blocks {
            let (index, bit) = (block / BLOCKS, block % BLOCKS);
            let mask = extents::mask(bit..bit + 1);
            // Another reader may have been faster, and a writer right behind it.
            if state.extents.held_of(index) & mask != 0 {
                cost += self.take(&mut state, index, mask);
                records.push(Record::Gone {
                    first: block,
                    count: 1,
                });
                taken.push((index, mask));
            }
        }
        drop(state);
        self.give_away(&files, epoch, cost, &records, &taken);
    }

    /// Marks blocks as held no more, and as busy. Bytes that they take.
    fn take(&self, state: &mut State, index: u32, mask: Mask) -> u64 {
        let taken = state.extents.begin_taking(index, mask);
        let cost = self.cost_of(index, taken).min(state.charge);
        state.charge -= cost;
        state.is_verified = false;
        cost
    }

    /// Gives the room of blocks that were taken back to the disk. Bytes that are free then.
    fn give_away(
        &self,
        files: &Files,
        epoch: u64,
        cost: u64,
        records: &[Record],
        taken: &[(u32, Mask)],
    ) -> u64 {
        if let Err(error) = lock(&files.log).append(records) {
            // Their sums will tell.
            tracing::debug!(%error, "the map of a content was not told what went");
        }
        let runs = taken
            .iter()
            .flat_map(|(index, mask)| extents::runs(*index, *mask));
        let punched = runs
            .map(|run| extents::bytes_of(run, self.size()))
            .try_for_each(|range| files::punch(&files.data, range.start, range.end));
        {
            let mut state = self.state();
            if state.epoch == epoch {
                for (index, mask) in taken {
                    state.extents.taken_away(*index, *mask);
                }
            }
        }
        self.wake();
        let mut given = cost;
        if let Err(error) = punched {
            // A file system without holes.
            tracing::debug!(%error, "a content of the cache is let go as one");
            let state = self.until_settled(self.state());
            if state.epoch == epoch
                && let LetGo::Bytes(more) = self.empty(state)
            {
                given += more;
            }
        }
        self.room.registry().release(self.id, cost);
        self.tidy_map(files, epoch);
        given
    }

    /// Forgets all and takes the files away. Who reads or writes right now does so in files without a name.
    pub(super) fn empty(&self, mut state: MutexGuard<'_, State>) -> LetGo {
        if state.is_refused() {
            return LetGo::Bytes(0);
        }
        let was_loaded = state.is_loaded;
        let (held, files) = state.reset();
        state.in_change = true;
        drop(state);
        drop(files);
        let removed = self.room.place(self.id).and_then(|place| place.remove());
        if let Err(error) = &removed {
            self.room.refused("take away a content", error);
        }
        let mut state = self.state();
        state.in_change = false;
        let mut registry = self.room.registry();
        let given = match removed {
            Ok(()) if was_loaded => {
                registry.forget_all(self.id);
                registry.release(self.id, held);
                LetGo::Bytes(held)
            }
            Ok(()) => LetGo::Bytes(registry.loaded(self.id, 0, 0, std::iter::empty())),
            // It still takes its room.
            Err(_) => LetGo::Busy,
        };
        drop((registry, state));
        self.wake();
        given
    }
}
