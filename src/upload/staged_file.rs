//! One content on the local disk: what a writer writes to and the engine sends.
//!
//! Reads and writes go straight to the file, from any number of threads, with no lock held over the I/O.
//! Where bytes of a base are still missing, a write and a fill of the same bytes must not cross: each
//! claims its range first. A write wins over a fill: a fill leaves out what is being written.

mod body;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::provider::{ContentHash, FileId};

use super::UploadError;
use super::disk_space::DiskSpace;
use super::hash::each_part;
use super::prefix::{Follower, Prefix};
use super::ranges::RangeSet;

use body::{ClaimKind, State};

pub(super) use body::Body;

/// The remote content that a staged file was begun from, as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub file: FileId,
    /// Bytes.
    pub size: u64,
    pub hash: Option<ContentHash>,
    pub revision: Option<String>,
    /// The account that has the file, of a content that was copied from it. `None` where the content is an edit that
    /// takes the file's place.
    pub account: Option<String>,
}

/// A content in the staging directory. It stays there until the journal lets it go, even when the value
/// is dropped.
#[derive(Debug)]
pub struct StagedFile {
    body: Arc<Body>,
    name: String,
    space: Arc<DiskSpace>,
    base: Option<Base>,
    /// Whether all of the base that is needed is here and was found unchanged.
    base_done: AtomicBool,
    /// Counts begun and ended changes by writers (not fills).
    modifications: AtomicU64,
    /// Whether the directory entry is on the disk.
    entry_synced: AtomicBool,
    /// Whether a row of the journal promises it, or did.
    journaled: AtomicBool,
    /// The newest state that a sync made durable.
    durable: Mutex<Synced>,
    follower: Follower,
    /// The hash of the whole content, with [`modifications`](Self::modifications) and length of that content.
    whole: Mutex<Option<(u64, u64, [u8; 32])>>,
}

/// What a sync made durable.
#[derive(Debug, Clone)]
pub(super) struct Synced {
    pub len: u64,
    pub missing: Vec<Range<u64>>,
    /// Whether the base is still needed.
    pub has_base: bool,
    /// [`StagedFile::modifications`] up to which all is on the disk.
    pub modifications: u64,
}

impl StagedFile {
    /// Without `file`, that at `path` is opened when it is needed.
    pub(super) fn new(
        file: Option<File>,
        path: PathBuf,
        name: String,
        space: Arc<DiskSpace>,
        len: u64,
        missing: RangeSet,
        base: Option<Base>,
    ) -> Self {
        let has_base = base.is_some();
        StagedFile {
            name,
            space,
            base,
            base_done: AtomicBool::new(false),
            modifications: AtomicU64::new(0),
            entry_synced: AtomicBool::new(false),
            journaled: AtomicBool::new(false),
            durable: Mutex::new(Synced {
                len,
                missing: missing.iter().collect(),
                has_base,
                modifications: 0,
            }),
            body: Arc::new(Body::new(file, path, len, missing)),
            follower: Follower::default(),
            whole: Mutex::default(),
        }
    }

    /// With the thread that hashes it while it is written.
    pub(super) fn followed_by(mut self, follower: &Follower) -> Self {
        self.follower = follower.clone();
        self
    }

    /// Up to `len` bytes from `offset`; fewer at the end of the file. Missing bytes read as zeros: the
    /// caller asks [`missing`](Self::missing) first.
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.file()?;
        let end = self.len().min(offset.saturating_add(len as u64));
        let mut buffer = vec![0; end.saturating_sub(offset) as usize];
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(done);
        Ok(buffer)
    }

    /// Writes all of `bytes`. Fails with `ENOSPC` before the disk's reserve is touched, and with
    /// [`io::ErrorKind::WouldBlock`] where the content [wants a copy](Self::wants_copy).
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= i64::MAX as u64)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EFBIG))?;
        let _room = self.space.take(bytes.len() as u64)?;
        self.take_lacking(u64::MAX)?;
        self.modify(
            offset..end,
            ClaimKind::Write,
            offset,
            |file| file.write_all_at(bytes, offset),
            |state| {
                state.missing.remove(offset..end);
                state.len = state.len.max(end);
            },
        )?;
        if self.body.with_prefix(Prefix::wants_thread) && !self.follower.tell(&self.body) {
            self.body.with_prefix(|prefix, _| prefix.was_not_queued());
        }
        Ok(())
    }

    /// The SHA-256 of the first `len` bytes, of which none may be missing. What was hashed while it was written
    /// is not read again. Blocks. It is the content's hash where nothing was modified from before the call until
    /// after it, which the caller finds out.
    pub(super) fn sha256(&self, len: u64) -> io::Result<[u8; 32]> {
        let before = self.modifications();
        let known = *self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, hash)) = known.filter(|known| (known.0, known.1) == (before, len)) {
            return Ok(hash);
        }
        let (mut hash, from) = self
            .hashed_so_far()
            .filter(|(_, from)| *from <= len)
            .unwrap_or_default();
        each_part(self.file()?, from, len - from, |part| hash.update(part))?;
        let hash: [u8; 32] = hash.finalize().into();
        if self.modifications() == before {
            *self.whole.lock().unwrap_or_else(PoisonError::into_inner) = Some((before, len, hash));
        }
        Ok(hash)
    }

    /// Bytes of which the hash is known already.
    #[cfg(test)]
    pub(super) fn hashed_ahead(&self) -> u64 {
        self.hashed_so_far().map_or(0, |(_, hashed)| hashed)
    }

    fn hashed_so_far(&self) -> Option<(Sha256, u64)> {
        let mut state = self.state();
        // The thread has one piece at a time, which takes it milliseconds.
        for _ in 0..100 {
            let so_far = state.prefix.so_far();
            if so_far.is_some() {
                return so_far;
            }
            state = self.body.wait(state, Duration::from_millis(10));
        }
        None
    }

    /// Cuts the file, or lengthens it by zeros. Nothing of the base is in what was cut to nothing. Fails as
    /// [`write_at`](Self::write_at) does where the content wants a copy.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        if len > i64::MAX as u64 {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        self.take_lacking(len)?;
        self.modify(
            0..u64::MAX,
            ClaimKind::Resize,
            len,
            |file| file.set_len(len),
            |state| {
                state.missing.remove(len..u64::MAX);
                state.len = len;
                if len == 0 {
                    self.finish_base();
                }
            },
        )
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.state().len
    }

    /// The parts of `range` that must still come from the base.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.state().missing.within(range)
    }

    /// Puts bytes of the base in, where they are still missing. Not a modification.
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        let file = self.file()?;
        let Some((id, parts)) = self.body.claim_missing(offset..end) else {
            return Ok(());
        };
        let filled = parts.iter().try_for_each(|part| {
            let within = (part.start - offset) as usize..(part.end - offset) as usize;
            file.write_all_at(&bytes[within], part.start)
        });
        let mut state = self.state();
        if filled.is_ok() {
            parts.into_iter().for_each(|part| state.missing.remove(part));
            self.give_lacking(&mut state);
        }
        self.body.release(state, id);
        filled
    }

    /// As [`fill`](Self::fill), for a reader, who has the bytes whether they are kept or not. False where some are not
    /// there: there is no room for them, or another is just putting them in.
    pub fn fill_if_there_is_room(&self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOSPC);
        let has_room = self.state().lacking.is_some();
        let taken = (!has_room).then(|| self.space.take(bytes.len() as u64));
        let filled = match taken.transpose() {
            Ok(_room) => self.fill(offset, bytes),
            Err(error) => Err(error),
        };
        match filled {
            Ok(()) => Ok(self
                .missing(offset..offset.saturating_add(bytes.len() as u64))
                .is_empty()),
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes room for the missing bytes below `end` that are still to be fetched, with the first change.
    fn take_lacking(&self, end: u64) -> io::Result<()> {
        let bytes = {
            let state = self.state();
            if state.lacking.is_some() {
                return Ok(());
            }
            total(state.missing.within(0..end))
        };
        // Without the lock: it looks at the disk.
        self.space.take_lacking(bytes)?;
        let mut state = self.state();
        if state.lacking.is_some() {
            // Another writer was faster.
            self.space.give_lacking(bytes);
        } else {
            state.lacking = Some(bytes);
            self.give_lacking(&mut state);
        }
        Ok(())
    }

    /// Room for what is missing was needed by an earlier life.
    pub(super) fn note_lacking(&self) {
        let mut state = self.state();
        let bytes = total(state.missing.iter());
        state.lacking = Some(bytes);
        self.space.note_lacking(bytes);
    }

    /// Gives back the room for bytes that are not missing any more.
    fn give_lacking(&self, state: &mut State) {
        if let Some(lacking) = state.lacking {
            let still = total(state.missing.iter()).min(lacking);
            self.space.give_lacking(lacking - still);
            state.lacking = Some(still);
        }
    }

    /// The remote content that missing parts come from; `None` once nothing more is needed of it.
    pub fn base(&self) -> Option<&Base> {
        self.base
            .as_ref()
            .filter(|_| !self.base_done.load(Ordering::Acquire))
    }

    /// The remote content that it was begun from, whether it is still needed or not.
    pub fn begun_from(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// What it was copied from, as long as it is all of that and no byte of it is here.
    pub(super) fn untouched_copy(&self) -> Option<&Base> {
        let base = self.base().filter(|base| base.account.is_some())?;
        let state = self.state();
        (state.len == base.size && state.missing.iter().eq(std::iter::once(0..base.size))).then_some(base)
    }

    /// Takes the room for what is missing, before it is fetched.
    pub(super) fn reserve_missing(&self) -> io::Result<()> {
        self.take_lacking(u64::MAX)
    }

    /// Waits until the bytes are on the disk, and for a new file its directory entry.
    pub fn sync(&self) -> io::Result<()> {
        // Taken before the sync: what changes during it may not be part of it.
        let synced = {
            let state = self.state();
            let modifications = self.modifications();
            Synced {
                len: state.len,
                missing: state.missing.iter().collect(),
                has_base: self.base().is_some(),
                modifications,
            }
        };
        self.file()?.sync_data()?;
        if !self.entry_synced.load(Ordering::Acquire) {
            if let Some(directory) = self.body.path.parent() {
                File::open(directory)?.sync_all()?;
            }
            self.entry_synced.store(true, Ordering::Release);
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.modifications >= durable.modifications {
            *durable = synced;
        }
        Ok(())
    }

    /// What the syncs so far made durable. For a file of an earlier life, all that was found.
    pub(super) fn durable(&self) -> Synced {
        self.durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn modifications(&self) -> u64 {
        self.modifications.load(Ordering::Acquire)
    }

    /// All missing parts.
    pub(super) fn all_missing(&self) -> Vec<Range<u64>> {
        self.state().missing.iter().collect()
    }

    pub(super) fn finish_base(&self) {
        self.base_done.store(true, Ordering::Release);
    }

    pub(super) fn mark_journaled(&self) {
        self.journaled.store(true, Ordering::Release);
    }

    /// Whether a row of the journal promises it, or did before another content took its place.
    pub(super) fn is_journaled(&self) -> bool {
        self.journaled.load(Ordering::Acquire)
    }

    /// The journal promises nothing of it any more: its file was removed, and who has that open changes it in place.
    pub fn end_promise(&self) {
        self.journaled.store(false, Ordering::Release);
        self.unseal();
    }

    /// Whether a change may only be made in another staged file, which takes this one's place with the next
    /// commit. What the journal promises must be there whole after a crash: the row tells which parts are missing,
    /// and a change would make it wrong; and a content that is written anew is not lost before the new one is there.
    pub fn wants_copy(&self, empties: bool) -> bool {
        let is_promised = self.is_journaled();
        (is_promised && empties) || (self.base().is_some() && (is_promised || self.state().sealed))
    }

    /// Lets no change begin that would make wrong what the journal is about to be told of the missing parts, and
    /// waits for those that have begun. Without missing parts nothing is kept from writers. Whether this call did it.
    pub(super) fn seal(&self) -> bool {
        let mut state = self.state();
        if self.base().is_none() || state.sealed {
            return false;
        }
        state.sealed = true;
        drop(self.body.without_changes(state));
        true
    }

    /// The journal was told nothing.
    pub(super) fn unseal(&self) {
        self.state().sealed = false;
    }

    pub(super) fn mark_entry_synced(&self) {
        self.entry_synced.store(true, Ordering::Release);
    }

    /// Keeps the content readable even when nothing needs its name any more and it is deleted.
    pub fn keep_open(&self) -> io::Result<()> {
        self.file().map(drop)
    }

    pub(super) fn file(&self) -> io::Result<&Arc<File>> {
        self.body.file()
    }

    /// As [`file`](Self::file), for who sends it.
    pub(super) fn opened(&self) -> Result<Arc<File>, UploadError> {
        let operation = "open a staged file";
        let opened = self.file().cloned();
        opened.map_err(|source| UploadError::Io { operation, source })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn modify(
        &self,
        range: Range<u64>,
        kind: ClaimKind,
        // The first byte that is not as it was afterwards.
        changes_from: u64,
        act: impl FnOnce(&File) -> io::Result<()>,
        note: impl FnOnce(&mut State),
    ) -> io::Result<()> {
        let file = self.file()?;
        let id = self
            .body
            .claim(range, kind, changes_from, || self.base().is_some())?;
        // Counted before and after, so that a sync in between does not pass for one of the whole change.
        self.modifications.fetch_add(1, Ordering::AcqRel);
        let result = act(file);
        let mut state = self.state();
        if result.is_ok() {
            note(&mut state);
            self.give_lacking(&mut state);
        }
        self.modifications.fetch_add(1, Ordering::AcqRel);
        self.body.release(state, id);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.body.state()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let lacking = self.state().lacking.take();
        self.space.give_lacking(lacking.unwrap_or_default());
    }
}

/// Bytes of ranges that do not overlap.
fn total(ranges: impl IntoIterator<Item = Range<u64>>) -> u64 {
    ranges.into_iter().map(|range| range.end - range.start).sum()
}
