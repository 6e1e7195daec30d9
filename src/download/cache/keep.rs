//! Keeping: blocks that were fetched, and a whole file that was sent.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::BLOCK;
use super::content::{CachedContent, Files};
use super::extents::{self, BLOCKS, Mask};
use super::files::{self, Place};
use super::map::{self, Log, Record};
use super::room::lock;

/// Bytes of a file that are looked at, or copied, at once.
const AT_ONCE: u64 = 1 << 20;

/// Blocks on their way to the disk.
struct Writing<'a> {
    files: Arc<Files>,
    epoch: u64,
    index: u32,
    /// Those that were not held.
    wanted: Mask,
    /// Where `bytes` begin in the content.
    start: u64,
    bytes: &'a [u8],
}

impl CachedContent {
    /// Keeps whole blocks from the block-aligned `offset` on; the last may be the content's short last one. How many
    /// bytes of them are kept from the front on: less than all where there is no room.
    pub fn store(&self, offset: u64, bytes: &[u8]) -> u64 {
        let size = self.size();
        let end = offset.saturating_add(bytes.len() as u64).min(size);
        let end = if end == size { end } else { end / BLOCK * BLOCK };
        if !offset.is_multiple_of(BLOCK) || end <= offset {
            return 0;
        }
        let blocks = (offset / BLOCK) as u32..end.div_ceil(BLOCK) as u32;
        for (index, mask) in extents::parts(blocks) {
            let first = index * BLOCKS;
            let within = mask.trailing_zeros()..BLOCKS - mask.leading_zeros();
            let part = extents::bytes_of(first + within.start..first + within.end, size);
            let bytes = &bytes[(part.start - offset) as usize..(part.end - offset) as usize];
            if !self.store_part(index, mask, part.start, bytes) {
                return part.start - offset;
            }
        }
        end - offset
    }

    fn store_part(&self, index: u32, mask: Mask, start: u64, bytes: &[u8]) -> bool {
        let Some(files) = self.files() else {
            return false;
        };
        let mut state = self.state();
        while state.in_change || state.extents.busy_of(index) & mask != 0 {
            state = self.wait(state);
        }
        // Emptied and begun anew meanwhile: these are not its files.
        if !state.files.as_ref().is_some_and(|own| Arc::ptr_eq(own, &files)) {
            return false;
        }
        let wanted = mask & !state.extents.held_of(index);
        if wanted == 0 {
            return true;
        }
        state.extents.begin_write(index, wanted);
        let epoch = state.epoch;
        drop(state);
        self.write(&Writing {
            files,
            epoch,
            index,
            wanted,
            start,
            bytes,
        })
    }

    fn write(&self, writing: &Writing<'_>) -> bool {
        let cost = self.cost_of(writing.index, writing.wanted);
        let has_room = self.room.reserve(self.id, cost);
        let written = if has_room {
            self.write_data(writing)
        } else {
            Ok(None)
        };
        let sums = written.unwrap_or_else(|error| {
            self.room.refused("keep what was read", &error);
            None
        });
        let is_kept = {
            let mut state = self.state();
            let is_current = state.epoch == writing.epoch;
            let is_kept = is_current && sums.is_some();
            if is_current {
                state
                    .extents
                    .end_write(writing.index, writing.wanted, sums.as_deref());
            }
            let mut registry = self.room.registry();
            if is_kept {
                state.charge += cost;
                registry.touch(self.id, writing.index);
            } else if has_room {
                registry.release(self.id, cost);
            }
            is_kept
        };
        self.wake();
        if is_kept {
            self.tidy_map(&writing.files, writing.epoch);
        }
        is_kept
    }

    /// Writes data and map. The sums of the blocks, in order.
    fn write_data(&self, writing: &Writing<'_>) -> io::Result<Option<Vec<u32>>> {
        let of_run = |run: std::ops::Range<u32>| {
            let range = extents::bytes_of(run, self.size());
            let within = (range.start - writing.start) as usize..(range.end - writing.start) as usize;
            (range.start, &writing.bytes[within])
        };
        let sums: Vec<u32> = extents::blocks(writing.index, writing.wanted)
            .map(|block| crc32fast::hash(of_run(block..block + 1).1))
            .collect();
        let records: Vec<Record> = extents::blocks(writing.index, writing.wanted)
            .zip(&sums)
            .map(|(block, sum)| Record::Held { block, sum: *sum })
            .collect();
        let runs = extents::runs(writing.index, writing.wanted);
        let written = runs
            .iter()
            .try_for_each(|run| {
                let (at, bytes) = of_run(run.clone());
                writing.files.data.write_all_at(bytes, at)
            })
            .and_then(|()| lock(&writing.files.log).append(&records));
        if let Err(error) = written {
            // What is there of it takes room that nobody counts.
            for run in runs {
                let range = extents::bytes_of(run, self.size());
                if let Err(error) = files::punch(&writing.files.data, range.start, range.end) {
                    tracing::debug!(%error, "a part of the cache stays that nobody knows");
                }
            }
            return Err(error);
        }
        Ok(Some(sums))
    }

    /// The files, made where there are none.
    fn files(&self) -> Option<Arc<Files>> {
        let state = self.until_settled(self.state());
        if state.is_refused() || state.files.is_some() {
            return state.files.clone();
        }
        drop(state);
        let cost = self.base_cost();
        if !self.room.reserve(self.id, cost) {
            return None;
        }
        let mut state = self.until_settled(self.state());
        if state.files.is_some() {
            self.room.registry().release(self.id, cost);
            return state.files.clone();
        }
        state.in_change = true;
        drop(state);
        let made = self.make_files();
        let mut state = self.state();
        state.in_change = false;
        match made {
            Ok(files) => {
                state.files = Some(Arc::new(files));
                state.charge += cost;
            }
            Err(error) => {
                self.room.registry().release(self.id, cost);
                self.room.refused("make the files of a content", &error);
            }
        }
        let files = state.files.clone();
        drop(state);
        self.wake();
        files
    }

    fn make_files(&self) -> io::Result<Files> {
        let place = self.room.place(self.id)?;
        place.make_folder()?;
        let made = files::create(&place.data).and_then(|data| {
            let log = self.make_map(&place.map, &[])?;
            Ok(Files {
                data,
                log: Mutex::new(log),
            })
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = place.remove();
        }
        made
    }

    fn make_map(&self, path: &Path, records: &[Record]) -> io::Result<Log> {
        let bytes = self.key().and_then(|key| Some((key, map::encode(key, records)?)));
        let (key, bytes) = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let file = files::create(path)?;
        file.write_all_at(&bytes, 0)?;
        Ok(Log::new(file, key, bytes.len() as u64, records.len() as u64))
    }

    /// Writes the map anew where most of it says nothing any more.
    pub(super) fn tidy_map(&self, files: &Files, epoch: u64) {
        let is_long = |held: u64, records: u64| records > 2 * held + map::DEAD_RECORDS;
        let records = lock(&files.log).records();
        {
            let mut state = self.state();
            if state.in_change || state.epoch != epoch || !is_long(state.extents.held(), records) {
                return;
            }
            state.in_change = true;
        }
        let mut log = lock(&files.log);
        let records = {
            let state = self.state();
            let verified = state.is_verified.then_some(Record::Verified);
            let mut records = state.extents.records();
            records.extend(verified);
            records
        };
        match self.replace_map(&records) {
            Ok(made) => *log = made,
            // The old one goes on.
            Err(error) => tracing::debug!(%error, "a map was not written anew"),
        }
        drop(log);
        self.state().in_change = false;
        self.wake();
    }

    fn replace_map(&self, records: &[Record]) -> io::Result<Log> {
        let place = self.room.place(self.id)?;
        let temporary = place.temporary(self.room.next_number());
        let made = self.make_map(&temporary, records).and_then(|made| {
            fs::rename(&temporary, &place.map)?;
            Ok(made)
        });
        if made.is_err() {
            // The first error is the one to tell; the survey finds it.
            let _ = files::remove(&temporary);
        }
        made
    }

    /// Takes over a file that holds all of the content and is not written any more: without a copy where it lies on the
    /// same file system. Refused where it would take more than half of the cache.
    pub fn adopt(&self, file: &File) -> bool {
        let size = self.size();
        if size == 0 || size > self.room.limit() / 2 || self.state().is_refused() {
            return false;
        }
        if self.is_whole() {
            return true;
        }
        // What is there of it would be in the way.
        self.discard();
        let all = extents::parts(0..self.block_count());
        let cost = self.base_cost() + all.map(|(index, mask)| self.cost_of(index, mask)).sum::<u64>();
        if !self.room.reserve(self.id, cost) {
            return false;
        }
        let taken = self.room.place(self.id).and_then(|place| {
            let temporary = place.temporary(self.room.next_number());
            let taken = self.take_over(file, &place, &temporary, cost);
            if !matches!(taken, Ok(true)) {
                // What cannot be removed is found by the survey.
                let _ = files::remove(&temporary);
            }
            taken
        });
        let taken = taken.unwrap_or_else(|error| {
            self.room.refused("keep what was sent", &error);
            false
        });
        if !taken {
            self.room.registry().release(self.id, cost);
        }
        taken
    }

    fn take_over(&self, file: &File, place: &Place, temporary: &Path, cost: u64) -> io::Result<bool> {
        if file.metadata()?.len() != self.size() {
            return Ok(false);
        }
        place.make_folder()?;
        let is_linked = files::link(file, temporary).is_ok();
        let copy = if is_linked {
            None
        } else {
            Some(files::create(temporary)?)
        };
        let sums = self.sums_of(file, copy.as_ref())?;
        let data = match copy {
            Some(copy) => copy,
            None => match place.open(temporary)? {
                Some(data) => data,
                None => return Ok(false),
            },
        };
        let mut state = self.until_settled(self.state());
        if state.files.is_some() {
            return Ok(false);
        }
        state.in_change = true;
        drop(state);
        let records: Vec<_> = (0..)
            .zip(&sums)
            .map(|(block, sum)| Record::Held { block, sum: *sum })
            .collect();
        let made = fs::rename(temporary, &place.data).and_then(|()| self.make_map(&place.map, &records));
        if made.is_err() {
            // The first error is the one to tell.
            let _ = place.remove();
        }
        let mut state = self.state();
        state.in_change = false;
        let made = made.map(|log| {
            let log = Mutex::new(log);
            state.files = Some(Arc::new(Files { data, log }));
            state.extents.fill(&sums);
            state.charge = cost;
            state.is_shared = is_linked;
            let mut registry = self.room.registry();
            if is_linked {
                registry.set_shared(self.id);
            }
            state
                .extents
                .indexes()
                .for_each(|index| registry.touch(self.id, index));
            true
        });
        drop(state);
        self.wake();
        made
    }

    /// The sums of a file's blocks, which are copied on the way where there is a `copy`.
    fn sums_of(&self, file: &File, copy: Option<&File>) -> io::Result<Vec<u32>> {
        let mut sums = Vec::with_capacity(self.block_count() as usize);
        let mut at = 0;
        while at < self.size() {
            let end = (at + AT_ONCE).min(self.size());
            let bytes = files::read_at(file, at, end)?;
            sums.extend(bytes.chunks(BLOCK as usize).map(crc32fast::hash));
            if let Some(copy) = copy {
                copy.write_all_at(&bytes, at)?;
            }
            at = end;
        }
        Ok(sums)
    }
}
