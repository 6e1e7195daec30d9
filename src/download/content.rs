//! One content of a service while it is open: which of its blocks are at hand, and which are on their way.
//!
//! All readers of a content share it, so that no block is fetched twice at a time. A block is looked for in memory,
//! then in the cache on disk; what is in neither is brought by a [`Flight`]. Locks here are leaves: none is held
//! over I/O, and none is taken while another is held, except those of [`super::memory`] and of the cache's table
//! of blocks under that of the flights.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};

use super::Source;
use super::body::Fetcher;
use super::cache::{BLOCK, BlockCache, ContentKey};
use super::check::{Check, Standing, Verdict};
use super::connections::Permit;
use super::error::DownloadError;
use super::flight::Flight;
use super::memory::{ContentNumber, Memory};
use super::on_disk::{OnDisk, Pinned};
use super::wanted::Wanted;
use crate::provider::ErrorKind;
use crate::state::Pins;

#[cfg(test)]
mod tests;

/// A flight whose next byte is further than this, in bytes, before what is wanted is not waited for.
const NEAR: u64 = 1024 * 1024;
/// How many times what a flight brought is hashed before it goes on: there may be gigabytes behind what it filled.
const HASHED_ALONG: u64 = 4;
/// Bytes that may be lacking before the end of a file, on their way, for its last read to wait for the check.
const SOON: u64 = 4 * 1024 * 1024;
/// Bytes hashed before others are told how far the check is.
const HASHED_AT_A_TIME: u64 = 64 * 1024 * 1024;

pub(super) struct Content {
    number: ContentNumber,
    fetcher: Fetcher,
    memory: Arc<Memory>,
    disk: Disk,
    flights: Mutex<Vec<Weak<Flight>>>,
    check: Mutex<Check>,
    /// Counts how often all bytes were thrown away.
    epoch: AtomicU64,
    /// Blocks came, a flight ended, or a check did.
    changed: Notify,
}

/// Where the content is on disk: looked up with the first read.
struct Disk {
    pins: Option<Pins>,
    cache: Option<Arc<BlockCache>>,
    key: ContentKey,
    content: OnceCell<Option<OnDisk>>,
    /// Whether what was last brought was kept: a full disk keeps nothing, nor does a cache that is still looked through.
    keeps: AtomicBool,
}

impl Content {
    pub fn new(
        number: ContentNumber,
        fetcher: Fetcher,
        memory: Arc<Memory>,
        cache: Option<Arc<BlockCache>>,
        key: ContentKey,
    ) -> Arc<Self> {
        let pins = fetcher.options.pins.clone();
        let check = Check::new(fetcher.source.size, fetcher.source.hash);
        Arc::new(Content {
            number,
            fetcher,
            memory,
            disk: Disk {
                pins,
                cache,
                key,
                content: OnceCell::new(),
                keeps: AtomicBool::new(true),
            },
            flights: Mutex::default(),
            check: Mutex::new(check),
            epoch: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.fetcher.source.size
    }

    /// Signalled whenever a look at the content may find something new.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    pub fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// Changes when all bytes are thrown away: what was collected before is worth nothing then.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether its bytes proved wrong: who opens it next needs another.
    pub fn is_wrong(&self) -> bool {
        self.wrong().is_some()
    }

    /// Why no byte of it is handed out any more.
    pub fn wrong(&self) -> Option<DownloadError> {
        lock(&self.check).wrong().cloned()
    }

    /// Finds what is on disk. Everything else needs it to have been called.
    pub async fn prepare(&self) {
        let Disk { pins, cache, key, .. } = &self.disk;
        if pins.is_none() && cache.is_none() {
            return;
        }
        let look = async || {
            let (pins, cache, key) = (pins.clone(), cache.clone(), key.clone());
            let source = Arc::clone(&self.fetcher.source);
            let found = blocking(move || {
                let pinned = pins.and_then(|pins| pinned(&pins, &source));
                let content = pinned.or_else(|| Some(OnDisk::Cached(cache?.content(&key))))?;
                let verified = content.is_verified();
                Some((content, verified))
            })
            .await??;
            if found.1 {
                lock(&self.check).pass();
            }
            Some(found.0)
        };
        self.disk.content.get_or_init(look).await;
    }

    fn on_disk(&self) -> Option<&OnDisk> {
        self.disk.content.get()?.as_ref()
    }

    /// How many bytes may be fetched ahead of need without pushing out what was fetched before.
    pub fn room(&self) -> u64 {
        match (&self.disk.cache, self.on_disk()) {
            (Some(cache), Some(_)) if self.disk.keeps.load(Ordering::Relaxed) => cache.limit() / 4,
            _ => self.memory.budget() / 2,
        }
    }

    /// Fills in the blocks of `blocks` that are at hand. Returns whether all are.
    pub async fn collect(&self, blocks: &mut Wanted) -> bool {
        for (offset, block) in blocks.lacking() {
            *block = self.memory.get(self.number, offset);
        }
        let Some(disk) = self.on_disk() else {
            return blocks.are_complete();
        };
        while let Some(range) = blocks.gap_where(|offset| disk.holds(self.block(offset))) {
            let (disk, wanted) = (disk.clone(), range.clone());
            let Some(Some(bytes)) = blocking(move || disk.read(wanted)).await else {
                // It was let go, or proved torn: it has to be fetched.
                break;
            };
            if bytes.len() as u64 != range.end - range.start {
                break;
            }
            blocks.fill(range.start, &bytes);
        }
        blocks.are_complete()
    }

    fn block(&self, offset: u64) -> Range<u64> {
        offset..(offset + BLOCK).min(self.size())
    }

    fn is_at_hand(&self, offset: u64) -> bool {
        self.memory.holds(self.number, offset)
            || self.on_disk().is_some_and(|disk| disk.holds(self.block(offset)))
    }

    /// Keeps blocks in memory, unless all bytes were thrown away since `epoch`. Returns whether they are of use. A block
    /// that is on the disk stays what it is there, so that what is checked is what will be read.
    pub fn put(&self, blocks: &[(u64, Bytes)], epoch: u64) -> bool {
        // Nothing is thrown away meanwhile.
        let _flights = self.flights();
        if self.epoch() != epoch {
            return false;
        }
        for (offset, block) in blocks {
            let is_on_disk = self.on_disk().is_some_and(|disk| disk.holds(self.block(*offset)));
            if !is_on_disk {
                self.memory.put(self.number, *offset, block.clone());
            }
        }
        true
    }

    /// Keeps blocks on disk, unless all bytes were thrown away since `epoch`, and goes on with the check.
    pub async fn keep(self: &Arc<Self>, blocks: Vec<(u64, Bytes)>, epoch: u64) {
        let content = Arc::clone(self);
        let kept = move || {
            if !content.store(&blocks, epoch) {
                return;
            }
            let bytes: u64 = blocks.iter().map(|(_, block)| block.len() as u64).sum();
            if content.hash_on(bytes * HASHED_ALONG) {
                content.catch_up();
            }
        };
        blocking(kept).await;
    }

    /// Returns whether the blocks are still of use.
    fn store(&self, blocks: &[(u64, Bytes)], epoch: u64) -> bool {
        if self.epoch() != epoch {
            return false;
        }
        let Some(disk) = self.on_disk() else { return true };
        for (offset, block) in blocks {
            let kept = disk.store(*offset, block) == block.len() as u64;
            self.disk.keeps.store(kept, Ordering::Relaxed);
        }
        let is_of_use = self.epoch() == epoch;
        if !is_of_use {
            // Some of them may have come to the disk after all of it was thrown away.
            disk.discard();
        }
        is_of_use
    }

    /// Hashes, while anybody has the content open, what is at hand from where the check stands. Nobody waits for it: of
    /// a large file that was at hand in parts it may be for long.
    fn catch_up(self: Arc<Self>) {
        tokio::spawn(async move {
            while Arc::strong_count(&self) > 1 {
                let own = Arc::clone(&self);
                if blocking(move || own.hash_on(HASHED_AT_A_TIME)).await != Some(true) {
                    return;
                }
            }
        });
    }

    /// Sees to it that all of `wanted` is at hand or on its way, for somebody who waits for it: the flights that bring
    /// it, to be held while he waits. One that is begun goes on up to `reach`, and without more ado up to
    /// `limit`.
    pub fn bring(self: &Arc<Self>, wanted: Range<u64>, reach: u64, limit: u64) -> Vec<Arc<Flight>> {
        let mut flights = self.flights();
        let running = running(&mut flights);
        let mut bring = Vec::new();
        let mut at = wanted.start;
        while at < wanted.end {
            if self.is_at_hand(at) {
                at = self.block(at).end;
                continue;
            }
            if let Some((flight, end)) = near_one(&running, at) {
                flight.progress().need(end.min(wanted.end));
                at = end;
                bring.push(flight);
                continue;
            }
            for flight in &running {
                if flight.progress().to_come().contains(&at) {
                    flight.progress().cut(at);
                }
            }
            let end = self.gap_end(at, reach.max(wanted.end), &running);
            let flight = Flight::start(self, at..end, limit.max(wanted.end), None);
            flights.push(Arc::downgrade(&flight));
            bring.push(flight);
            at = end;
        }
        bring
    }

    /// The first byte from `from` on, before `until`, that is neither at hand nor on its way.
    pub fn first_gap(&self, from: u64, until: u64) -> Option<u64> {
        let mut flights = self.flights();
        let running = running(&mut flights);
        let mut at = from / BLOCK * BLOCK;
        while at < until {
            if let Some(flight) = on_its_way(&running, at) {
                at = flight
                    .progress()
                    .to_come()
                    .end
                    .max(at + 1)
                    .next_multiple_of(BLOCK);
            } else if self.is_at_hand(at) {
                at += BLOCK;
            } else {
                return Some(at);
            }
        }
        None
    }

    /// Fetches from `at`, where a block begins, up to `end` at most, ahead of need; nothing where the block is at hand or
    /// on its way.
    pub fn fetch_ahead(self: &Arc<Self>, at: u64, end: u64, permit: Permit) -> Option<Arc<Flight>> {
        let mut flights = self.flights();
        let running = running(&mut flights);
        if on_its_way(&running, at).is_some() || self.is_at_hand(at) {
            return None;
        }
        let end = self.gap_end(at, end, &running);
        let flight = Flight::start(self, at..end, u64::MAX, Some(permit));
        flights.push(Arc::downgrade(&flight));
        Some(flight)
    }

    /// Where what is missing at `at` ends: at `end`, or with what is at hand or on its way. Of a service that sends on
    /// what is at hand is taken again rather than asked around.
    fn gap_end(&self, at: u64, end: u64, running: &[Arc<Flight>]) -> u64 {
        let end = end.next_multiple_of(BLOCK).min(self.size());
        let mut gap = self.block(at).end;
        let sends_on = self.fetcher.sends_on();
        while gap < end && on_its_way(running, gap).is_none() && (sends_on || !self.is_at_hand(gap)) {
            gap = self.block(gap).end;
        }
        gap
    }

    /// Whether bytes that are at hand may be handed out to a read that ends at `end`. A check that takes longer than a
    /// read may is not waited for, unless the content was wrong before.
    pub async fn may_hand_out(self: &Arc<Self>, end: u64) -> Result<Admission, DownloadError> {
        let until = Instant::now() + self.fetcher.options.stall_timeout;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let standing = lock(&self.check).standing(end);
            let is_late = Instant::now() >= until && !lock(&self.check).must_be_whole();
            let from = match standing {
                Standing::HandOut => return Ok(Admission::HandOut),
                Standing::Wrong(error) => return Err(error),
                Standing::Busy | Standing::HashFrom(_) if is_late => {
                    tracing::warn!(
                        account = %self.fetcher.source.account, file = %self.fetcher.source.name,
                        "the end of this file is read before all of it was checked"
                    );
                    return Ok(Admission::HandOut);
                }
                Standing::Busy => {
                    changed.await;
                    continue;
                }
                Standing::HashFrom(from) => from,
            };
            let missing = self.first_gap_at_hand(from);
            if missing.is_some() && !lock(&self.check).must_be_whole() && !self.is_soon_whole(from) {
                return Ok(Admission::HandOut);
            }
            if let Some(missing) = missing {
                return Ok(Admission::First(missing));
            }
            let content = Arc::clone(self);
            match blocking(move || content.hash_on(HASHED_AT_A_TIME)).await {
                Some(_) => {}
                None => {
                    let message = format!("cannot read {}: its check failed", self.fetcher.source.name);
                    return Err(DownloadError::new(ErrorKind::Unexpected, message));
                }
            }
        }
    }

    /// Whether what follows `from` is little and all of it at hand or on its way. The last reads of a file come side by
    /// side and out of order: the very last one waits for the others then, so that who reads all of it is told by it
    /// what the check says.
    fn is_soon_whole(&self, from: u64) -> bool {
        self.size() - from <= SOON && self.first_gap(from, self.size()).is_none()
    }

    fn first_gap_at_hand(&self, from: u64) -> Option<u64> {
        let whole = from..self.size();
        let not_on_disk = match self.on_disk() {
            Some(disk) => disk.missing(whole),
            None => vec![whole],
        };
        let blocks = not_on_disk
            .into_iter()
            .flat_map(|gap| gap.step_by(BLOCK as usize));
        blocks
            .into_iter()
            .find(|offset| !self.memory.holds(self.number, *offset))
    }

    /// Notes blocks that are handed out.
    pub fn note_handed_out(&self, blocks: &Wanted) {
        lock(&self.check).note_handed_out(blocks.found());
    }

    /// Hashes the blocks that are at hand from where the check stands, `most` bytes or a block. Returns whether it
    /// stopped for that. Blocks the thread on the disk.
    fn hash_on(&self, most: u64) -> bool {
        let Some(hasher) = lock(&self.check).lend() else {
            return false;
        };
        let mut lent = Lent {
            content: self,
            hasher: Some(hasher),
        };
        let is_more = lent.hash_on(most);
        self.heed(&lent.give_back());
        self.tell();
        is_more
    }

    fn block_at_hand(&self, offset: u64) -> Option<Bytes> {
        let in_memory = self.memory.get(self.number, offset);
        in_memory.or_else(|| self.on_disk()?.read(self.block(offset)))
    }

    fn heed(&self, verdict: &Verdict) {
        let source = &self.fetcher.source;
        match verdict {
            Verdict::Open => {}
            Verdict::Right => self.note_verified(),
            Verdict::FetchAgain => {
                tracing::warn!(
                    account = %source.account, file = %source.name, id = %source.file,
                    "the bytes of this file are not those that the service promised; it is fetched once more"
                );
                self.throw_away();
                lock(&self.check).begin_again();
            }
            Verdict::RightTooLate => {
                tracing::error!(
                    account = %source.account, file = %source.name, id = %source.file,
                    "other bytes of this file were read before: who has it open must open it again"
                );
                self.note_verified();
            }
            Verdict::Wrong => {
                tracing::error!(
                    account = %source.account, file = %source.name, id = %source.file,
                    "the bytes of this file are not those that the service promised: they are thrown away"
                );
                self.throw_away();
            }
        }
    }

    fn note_verified(&self) {
        if let Some(disk) = self.on_disk() {
            disk.set_verified();
        }
    }

    /// Forgets all bytes. What flights are still bringing is cut off, since it may be of the same kind.
    fn throw_away(&self) {
        self.begin_epoch();
        if let Some(disk) = self.on_disk() {
            disk.discard();
            // Who looked meanwhile may have found on the disk what is there no more.
            self.begin_epoch();
        }
    }

    /// From now on nothing is taken from the flights that were begun before.
    fn begin_epoch(&self) {
        let mut flights = self.flights();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for flight in running(&mut flights) {
            flight.progress().cut(0);
        }
        self.memory.forget(self.number);
    }

    fn flights(&self) -> MutexGuard<'_, Vec<Weak<Flight>>> {
        lock(&self.flights)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.memory.forget(self.number);
    }
}

/// Whether bytes may be handed out.
pub(super) enum Admission {
    HandOut,
    /// The block at this offset, and others after it, must be at hand before.
    First(u64),
}

/// The hasher of a check while it is used. It goes back also after a panic.
struct Lent<'a> {
    content: &'a Content,
    hasher: Option<Box<super::check::Hasher>>,
}

impl Lent<'_> {
    /// Returns whether it stopped because it hashed `most` bytes.
    fn hash_on(&mut self, most: u64) -> bool {
        let Some(hasher) = &mut self.hasher else {
            return false;
        };
        let until = hasher.at().saturating_add(most);
        while hasher.at() < self.content.size()
            && let Some(block) = self.content.block_at_hand(hasher.at())
        {
            hasher.update(&block);
            if hasher.at() >= until {
                return hasher.at() < self.content.size();
            }
        }
        false
    }

    fn give_back(&mut self) -> Verdict {
        let name = &self.content.fetcher.source.name;
        match self.hasher.take() {
            Some(hasher) => lock(&self.content.check).give_back(hasher, name),
            None => Verdict::Open,
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn pinned(pins: &Pins, source: &Source) -> Option<OnDisk> {
    match pins.open(&source.account, source.file.as_str(), source.size) {
        Ok(file) => Some(OnDisk::Pinned(Arc::new(Pinned::new(file?, source.size)))),
        Err(error) => {
            tracing::error!(account = source.account, file = source.name, %error, "a pinned content cannot be opened");
            None
        }
    }
}

fn running(flights: &mut Vec<Weak<Flight>>) -> Vec<Arc<Flight>> {
    let mut running = Vec::new();
    flights.retain(|flight| {
        let flight = flight.upgrade().filter(|flight| flight.progress().is_flying());
        running.extend(flight.clone());
        flight.is_some()
    });
    running
}

fn on_its_way(running: &[Arc<Flight>], offset: u64) -> Option<&Arc<Flight>> {
    running
        .iter()
        .find(|flight| flight.progress().to_come().contains(&offset))
}

/// A flight that will soon bring the byte at `offset`, and where it ends.
fn near_one(running: &[Arc<Flight>], offset: u64) -> Option<(Arc<Flight>, u64)> {
    running.iter().find_map(|flight| {
        let to_come = flight.progress().to_come();
        (to_come.contains(&offset) && offset - to_come.start <= NEAR)
            .then(|| (Arc::clone(flight), to_come.end))
    })
}

/// Runs what blocks the thread off the async threads. `None` where it panicked, or the runtime ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
