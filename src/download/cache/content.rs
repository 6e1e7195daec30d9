//! One content in the cache: what is held of it, and reading it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::extents::{self, Extents, Unchecked};
use super::files::{self, Place};
use super::map::{self, Id, Log, Record};
use super::room::{Room, lock};
use super::{BLOCK, ContentKey};

/// Bytes of a block that its records and its share of the file system's own take.
const BLOCK_EXTRA: u64 = 64;

/// A content, as far as it is held. Its methods block for a moment, apart from those that say that they do not.
pub(in super::super) struct CachedContent {
    pub(super) room: Arc<Room>,
    pub(super) id: Id,
    token: u64,
    key: OnceLock<ContentKey>,
    state: Mutex<State>,
    /// Wakes those who wait for busy blocks, and for the files.
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// Whether what is on the disk is known.
    pub is_loaded: bool,
    /// Somebody makes the files or takes them away.
    pub in_change: bool,
    /// Counts how often all of it was forgotten. Who began before that may note nothing any more.
    pub epoch: u64,
    /// `None`: there is nothing on the disk.
    pub files: Option<Arc<Files>>,
    pub extents: Extents,
    /// Bytes on the disk.
    pub charge: u64,
    pub is_verified: bool,
    /// The data may be somebody else's as well, who still reads it: no hole may be made in it.
    pub is_shared: bool,
    /// It is never kept: it has a name that cannot be.
    is_refused: bool,
}

pub(super) struct Files {
    pub data: File,
    pub log: Mutex<Log>,
}

/// What a map and its data turned out to be.
struct Found {
    files: Files,
    extents: Extents,
    is_verified: bool,
    is_shared: bool,
    last_use: u64,
    key: ContentKey,
}

impl State {
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Nothing is held any more. What was: its bytes on the disk, and its files.
    pub fn reset(&mut self) -> (u64, Option<Arc<Files>>) {
        self.epoch += 1;
        self.is_loaded = true;
        self.extents = Extents::default();
        (self.is_verified, self.is_shared) = (false, false);
        (std::mem::take(&mut self.charge), self.files.take())
    }
}

impl CachedContent {
    pub(super) fn new(room: Arc<Room>, id: Id, token: u64) -> Arc<Self> {
        Arc::new(CachedContent {
            room,
            id,
            token,
            key: OnceLock::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// A content that holds nothing and keeps nothing.
    pub(super) fn of_nothing(room: &Arc<Room>, key: &ContentKey) -> Arc<Self> {
        // No token of the registry.
        let content = Self::new(Arc::clone(room), Id::of(key), 0);
        let _ = content.key.set(key.clone());
        let mut state = content.state();
        (state.is_loaded, state.is_refused) = (true, true);
        drop(state);
        content
    }

    /// Whether this is the content of the key, which an id alone does not tell for certain.
    pub(super) fn is_of(&self, key: &ContentKey) -> bool {
        self.key.get_or_init(|| key.clone()) == key
    }

    /// Whether all blocks that `range` touches are here. Does no I/O.
    pub fn holds(&self, range: Range<u64>) -> bool {
        match self.blocks(&range) {
            Some(blocks) => self.state().extents.holds(blocks),
            None => range.start <= range.end && range.end <= self.size(),
        }
    }

    /// What is lacking of `range`, in whole blocks, the last of which ends with the content. Does no I/O.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let range = range.start..range.end.min(self.size());
        let Some(blocks) = self.blocks(&range) else {
            return Vec::new();
        };
        let mut missing: Vec<Range<u64>> = Vec::new();
        let state = self.state();
        for (index, mask) in extents::parts(blocks) {
            let lacking = mask & !state.extents.held_of(index);
            for run in extents::runs(index, lacking) {
                let run = extents::bytes_of(run, self.size());
                match missing.last_mut() {
                    Some(last) if last.end == run.start => last.end = run.end,
                    _ => missing.push(run),
                }
            }
        }
        missing
    }

    pub fn is_whole(&self) -> bool {
        self.state().extents.held() == u64::from(self.block_count())
    }

    /// Whether all of it was found to be what the service promised, in this life or an earlier one.
    pub fn is_verified(&self) -> bool {
        let state = self.state();
        state.is_verified && state.extents.held() == u64::from(self.block_count())
    }

    /// Notes that all of it is what the service promised.
    pub fn set_verified(&self) {
        let files = {
            let mut state = self.state();
            let is_whole = state.extents.held() == u64::from(self.block_count());
            if !is_whole || state.is_verified {
                return;
            }
            state.is_verified = true;
            state.files.clone()
        };
        // What is let go right now says so after it or before: both mean that it is not whole.
        let noted = files.map(|files| lock(&files.log).append(&[Record::Verified]));
        if let Some(Err(error)) = noted {
            self.room.refused("note that a content is right", &error);
        }
    }

    /// The bytes, or `None` where a block is not held, or is not what was stored (it is then forgotten).
    pub fn read(&self, range: Range<u64>) -> Option<Bytes> {
        if range.end > self.size() {
            return None;
        }
        let Some(blocks) = self.blocks(&range) else {
            return Some(Bytes::new());
        };
        let (files, unchecked, epoch) = {
            let mut state = self.state();
            let files = state.files.clone()?;
            let unchecked = state.extents.begin_read(blocks.clone())?;
            (files, unchecked, state.epoch)
        };
        let whole = if unchecked.is_empty() {
            range.clone()
        } else {
            extents::bytes_of(blocks.clone(), self.size())
        };
        let read = files::read_at(&files.data, whole.start, whole.end);
        let (right, wrong): (Vec<_>, Vec<_>) = match &read {
            Ok(bytes) => unchecked.iter().partition(|block| {
                let at = extents::bytes_of(block.block..block.block + 1, self.size());
                let bytes = &bytes[(at.start - whole.start) as usize..(at.end - whole.start) as usize];
                crc32fast::hash(bytes) == block.sum
            }),
            Err(_) => (Vec::new(), Vec::new()),
        };
        {
            let mut state = self.state();
            if state.epoch != epoch {
                // Forgotten meanwhile, and perhaps because the bytes were wrong.
                return None;
            }
            let right = right.iter().map(|block: &&Unchecked| block.block);
            state.extents.end_read(blocks.clone(), right);
            let mut registry = self.room.registry();
            for (index, _) in extents::parts(blocks.clone()) {
                registry.touch(self.id, index);
            }
        }
        match read {
            Ok(bytes) if wrong.is_empty() => {
                let within = (range.start - whole.start) as usize..(range.end - whole.start) as usize;
                Some(Bytes::from(bytes).slice(within))
            }
            Ok(_) => {
                self.forget(wrong.iter().map(|block| block.block), epoch);
                None
            }
            Err(error) => {
                tracing::debug!(%error, "a part of the cache cannot be read");
                self.forget(blocks, epoch);
                None
            }
        }
    }

    /// Finds out what is on the disk, once.
    pub(super) fn load(&self) {
        let mut state = self.until_settled(self.state());
        if state.is_loaded {
            return;
        }
        state.in_change = true;
        drop(state);
        let found = self.room.place(self.id).and_then(|place| {
            let found = self.find(&place).unwrap_or_else(|error| {
                tracing::debug!(%error, "a content of the cache cannot be opened");
                None
            });
            if found.is_none() {
                place.remove()?;
            }
            Ok(found)
        });
        let found = found.unwrap_or_else(|error| {
            self.room.refused("take away what is no content", &error);
            None
        });
        let mut state = self.state();
        (state.in_change, state.is_loaded) = (false, true);
        let mut last_use = 0;
        if let Some(found) = found {
            let _ = self.key.set(found.key);
            last_use = found.last_use;
            state.charge = self.cost_of_all(&found.extents);
            (state.extents, state.is_verified) = (found.extents, found.is_verified);
            state.is_shared = found.is_shared;
            state.files = Some(Arc::new(found.files));
        }
        let mut registry = self.room.registry();
        registry.loaded(self.id, state.charge, last_use, state.extents.indexes());
        if state.is_shared {
            registry.set_shared(self.id);
        }
        drop(registry);
        drop(state);
        self.changed.notify_all();
    }

    fn find(&self, place: &Place) -> io::Result<Option<Found>> {
        let Some(map_file) = place.open(&place.map)? else {
            return Ok(None);
        };
        let Some(data) = place.open(&place.data)? else {
            return Ok(None);
        };
        let facts = map_file.metadata()?;
        let head = files::read_at(&map_file, 0, facts.len().min(map::MAX_HEADER as u64))?;
        let Some(key) = map::parse(&head).map(|parsed| parsed.key) else {
            return Ok(None);
        };
        let is_ours = self.key.get().is_none_or(|own| *own == key) && Id::of(&key) == self.id;
        if !is_ours || facts.len() > map::longest(key.size.div_ceil(BLOCK)) {
            return Ok(None);
        }
        let bytes = files::read_at(&map_file, 0, facts.len())?;
        let Some(parsed) = map::parse(&bytes) else {
            return Ok(None);
        };
        let blocks = u32::try_from(key.size.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        let (extents, is_verified) = Extents::replay(&parsed.records, blocks);
        if parsed.len < facts.len() {
            map_file.set_len(parsed.len)?;
        }
        let is_shared = data.metadata()?.nlink() > 1 || self.room.registry().is_shared(self.id);
        if !is_shared {
            drop_strays(&data, &extents, key.size)?;
        }
        let count = parsed.records.len() as u64;
        Ok(Some(Found {
            files: Files {
                data,
                log: Mutex::new(Log::new(map_file, &key, parsed.len, count)),
            },
            extents,
            is_verified,
            is_shared,
            last_use: files::last_use(&facts),
            key,
        }))
    }

    pub(super) fn holds_any(&self) -> bool {
        self.state().extents.held() > 0
    }

    pub(super) fn key(&self) -> Option<&ContentKey> {
        self.key.get()
    }

    pub(super) fn size(&self) -> u64 {
        self.key.get().map_or(0, |key| key.size)
    }

    pub(super) fn block_count(&self) -> u32 {
        u32::try_from(self.size().div_ceil(BLOCK)).unwrap_or(u32::MAX)
    }

    /// The blocks that a range within the content touches; `None` where it is empty or not within.
    fn blocks(&self, range: &Range<u64>) -> Option<Range<u32>> {
        if range.start >= range.end || range.end > self.size() {
            return None;
        }
        let first = u32::try_from(range.start / BLOCK).ok()?;
        let end = u32::try_from(range.end.div_ceil(BLOCK)).ok()?;
        Some(first..end)
    }

    /// Bytes that the files take before any block is in them.
    pub(super) fn base_cost(&self) -> u64 {
        // A page of the map, and one of the file system's for a file of more than a few pieces.
        if self.size() <= 4 * BLOCK { 4096 } else { 8192 }
    }

    /// Bytes that blocks of an extent take.
    pub(super) fn cost_of(&self, index: u32, mask: extents::Mask) -> u64 {
        let each = extents::blocks(index, mask).map(|block| {
            let bytes = extents::bytes_of(block..block + 1, self.size());
            files::round_up(bytes.end - bytes.start) + BLOCK_EXTRA
        });
        each.sum()
    }

    fn cost_of_all(&self, extents: &Extents) -> u64 {
        let each = extents
            .indexes()
            .map(|index| self.cost_of(index, extents.held_of(index)));
        self.base_cost() + each.sum::<u64>()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until nobody makes or takes away the files.
    pub(super) fn until_settled<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.in_change {
            state = self.wait(state);
        }
        state
    }

    pub(super) fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }
}

impl Drop for CachedContent {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let files = state.files.take();
        let used = self.room.registry().closed(self.id, self.token);
        // So that the next life knows. What was let go of it changed the time as well.
        if let (Some(used), Some(files)) = (used, files) {
            let noted = files::set_last_use(lock(&files.log).file(), used);
            if let Err(error) = noted {
                tracing::debug!(%error, "the time of last use was not noted");
            }
        }
    }
}

/// Gives back what a crash left in the data beside the blocks that the map tells of.
fn drop_strays(data: &File, extents: &Extents, size: u64) -> io::Result<()> {
    // What the file system itself needs for a file counts as well.
    const TOLERATED: u64 = 4 * BLOCK;
    let facts = data.metadata()?;
    let told = extents.held() * BLOCK;
    if files::allocated(&facts) <= told + told / 64 + TOLERATED {
        return Ok(());
    }
    let held: BTreeMap<u64, u64> = extents
        .indexes()
        .flat_map(|index| extents::runs(index, extents.held_of(index)))
        .map(|run| extents::bytes_of(run, size))
        .map(|range| (range.start, range.end))
        .collect();
    let mut at = 0;
    for (start, end) in held {
        if start > at {
            files::punch(data, at, start)?;
        }
        at = end.next_multiple_of(BLOCK);
    }
    data.set_len(facts.len().min(at))
}
