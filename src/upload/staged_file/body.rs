//! The bytes of a staged file, and who is at which of them.
//!
//! It promises that a change and a fill of the same bytes do not cross: each claims its range first. The claims are
//! under the lock, the I/O is not. It knows neither the journal nor the disk's room.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::upload::prefix::Prefix;
use crate::upload::ranges::RangeSet;

/// The bytes, and what is known of them at the moment.
#[derive(Debug)]
pub(in crate::upload) struct Body {
    pub(super) path: PathBuf,
    /// Opened when it is first used, so that many files that wait from an earlier life take no descriptors.
    file: OnceLock<Arc<File>>,
    state: Mutex<State>,
    /// Signalled when a claim is given back, or a piece was hashed.
    released: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub len: u64,
    pub missing: RangeSet,
    /// Bytes of them for which room was taken on the disk: all, from the first change on.
    pub lacking: Option<u64>,
    claims: Vec<Claim>,
    next_claim: u64,
    /// Whether the journal is told, or was told, which parts are missing.
    pub sealed: bool,
    pub prefix: Prefix,
}

impl State {
    /// Claims ranges under one number.
    fn add_claims(&mut self, kind: ClaimKind, ranges: impl IntoIterator<Item = Range<u64>>) -> u64 {
        let id = self.next_claim;
        self.next_claim += 1;
        let claims = ranges.into_iter().map(|range| Claim { id, range, kind });
        self.claims.extend(claims);
        id
    }

    /// Bytes from the beginning that are there and are not being changed.
    fn settled(&self) -> u64 {
        let missing = self.missing.within(0..self.len);
        let missing = missing.first().map_or(self.len, |missing| missing.start);
        let claims = self.claims.iter().map(|claim| claim.range.start);
        claims.min().map_or(missing, |claimed| claimed.min(missing))
    }
}

impl Body {
    /// Without `file`, that at `path` is opened when it is needed.
    pub(super) fn new(file: Option<File>, path: PathBuf, len: u64, missing: RangeSet) -> Body {
        let file = file.map(|file| OnceLock::from(Arc::new(file)));
        Body {
            path,
            file: file.unwrap_or_default(),
            state: Mutex::new(State {
                len,
                missing,
                lacking: None,
                claims: Vec::new(),
                next_claim: 0,
                sealed: false,
                prefix: Prefix::new(len == 0),
            }),
            released: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn file(&self) -> io::Result<&Arc<File>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::options().read(true).write(true).open(&self.path)?;
        Ok(self.file.get_or_init(|| Arc::new(file)))
    }

    /// Does something with the hash of the first bytes, told how many are not being changed.
    pub fn with_prefix<T>(&self, act: impl FnOnce(&mut Prefix, u64) -> T) -> T {
        let mut state = self.state();
        let settled = state.settled();
        act(&mut state.prefix, settled)
    }

    pub fn tell_released(&self) {
        self.released.notify_all();
    }

    /// Claims a range for a change, after those that it cannot go beside are given back. Writes go beside writes.
    /// Fails with [`io::ErrorKind::WouldBlock`] where the body is sealed and `is_promised` then.
    pub(super) fn claim(
        &self,
        range: Range<u64>,
        kind: ClaimKind,
        changes_from: u64,
        is_promised: impl FnOnce() -> bool,
    ) -> io::Result<u64> {
        let in_the_way = |other: &Claim| {
            let beside = kind == ClaimKind::Write && other.kind == ClaimKind::Write;
            !beside && other.range.start < range.end && range.start < other.range.end
        };
        let mut state = self.wait_while(self.state(), in_the_way);
        if state.sealed && is_promised() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let is_anew = changes_from == 0 && kind == ClaimKind::Resize;
        let id = state.add_claims(kind, [range]);
        state.prefix.will_change(changes_from, is_anew);
        Ok(id)
    }

    /// Claims the missing parts of a range that nobody is at, to fill them. `None` where there are none.
    pub(super) fn claim_missing(&self, range: Range<u64>) -> Option<(u64, Vec<Range<u64>>)> {
        let mut state = self.state();
        let mut wanted: RangeSet = state.missing.within(range).into_iter().collect();
        for claim in &state.claims {
            wanted.remove(claim.range.clone());
        }
        if wanted.is_empty() {
            return None;
        }
        let parts: Vec<_> = wanted.iter().collect();
        let id = state.add_claims(ClaimKind::Fill, parts.iter().cloned());
        Some((id, parts))
    }

    pub(super) fn release(&self, mut state: MutexGuard<'_, State>, id: u64) {
        state.claims.retain(|claim| claim.id != id);
        drop(state);
        self.released.notify_all();
    }

    /// Waits until no writer is in the middle of a change.
    pub(super) fn without_changes<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.wait_while(state, |claim| claim.kind != ClaimKind::Fill)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        in_the_way: impl Fn(&Claim) -> bool,
    ) -> MutexGuard<'a, State> {
        let is_claimed = |state: &mut State| state.claims.iter().any(&in_the_way);
        let free = self.released.wait_while(state, is_claimed);
        free.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next that is given back or hashed, up to a limit.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.released.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[derive(Debug)]
struct Claim {
    id: u64,
    range: Range<u64>,
    kind: ClaimKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimKind {
    Write,
    Fill,
    Resize,
}
