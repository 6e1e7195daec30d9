//! Keeps account of what operations change, and of what is safe from a kill.

use super::Episode;
use crate::calls::{self, Outcome, Stat};
use crate::durable::sum;
use crate::operation::{Operation, SLOTS};
use crate::side::{Seen, read_file};

/// What is known of a file before an operation changes it.
pub(super) struct Before {
    pub stat: Stat,
    pub sum: u64,
    /// Whether the slot is open for writing.
    writes: bool,
}

impl Episode {
    pub(super) fn ino(&self, path: &str) -> Option<u64> {
        calls::stat(&self.reference.path(path)).ok().map(|stat| stat.ino)
    }

    /// The path at which an operation may make a file.
    pub(super) fn made_by(&self, operation: &Operation) -> Option<String> {
        match operation {
            Operation::Open { path, .. } | Operation::WriteFile { path, .. } => Some(path.clone()),
            Operation::CopyFile { to, .. } => Some(to.clone()),
            _ => None,
        }
    }

    /// The file whose content an operation may change.
    pub(super) fn before(&self, operation: &Operation) -> Option<Before> {
        let of_path = |path: &str| {
            let path = self.reference.path(path);
            let stat = calls::stat(&path).ok().filter(|stat| !stat.is_folder)?;
            let sum = sum(&read_file(&path).ok()?);
            let writes = false;
            Some(Before { stat, sum, writes })
        };
        match operation {
            Operation::WriteAt { slot, .. }
            | Operation::Write { slot, .. }
            | Operation::Cut { slot, .. }
            | Operation::Map { slot, .. }
            | Operation::Sync { slot }
            | Operation::TouchOpen { slot, .. }
            | Operation::Close { slot }
            | Operation::CopyRange { to: slot, .. } => self.of_slot(*slot),
            Operation::Open { path, .. }
            | Operation::CutPath { path, .. }
            | Operation::Touch { path, .. }
            | Operation::WriteFile { path, .. }
            | Operation::CopyFile { to: path, .. } => of_path(path),
            Operation::Rename { from, .. } => of_path(from),
            _ => None,
        }
    }

    fn of_slot(&self, slot: usize) -> Option<Before> {
        let file = self.reference.open_file(slot)?;
        let stat = calls::stat_open(&file.fd);
        let content = content_of(&file.fd).filter(|_| !stat.is_folder)?;
        Some(Before {
            stat,
            sum: sum(&content),
            writes: file.writes,
        })
    }

    /// The file that a rename replaces.
    pub(super) fn replaced(&self, operation: &Operation) -> Option<Before> {
        let Operation::Rename { to, .. } = operation else {
            return None;
        };
        let path = self.reference.path(to);
        let stat = calls::stat(&path).ok().filter(|stat| !stat.is_folder)?;
        let sum = sum(&read_file(&path).ok()?);
        let writes = false;
        Some(Before { stat, sum, writes })
    }

    /// Keeps account of what was changed, and of what is safe.
    pub(super) fn note(
        &mut self,
        operation: &Operation,
        outcome: &Outcome<Seen>,
        before: Option<Before>,
        replaced: Option<Before>,
        existed: bool,
    ) {
        let ino = before.as_ref().map(|before| before.stat.ino);
        match operation {
            Operation::Open { slot, path, how } if outcome.is_ok() => {
                if !existed && let Some(ino) = self.ino(path) {
                    self.durable.made(ino);
                    self.undated.remove(&ino);
                }
                if existed && how.contains('t') {
                    self.changed_in(*slot, before);
                }
            }
            Operation::WriteAt { slot, .. }
            | Operation::Write { slot, .. }
            | Operation::Cut { slot, .. }
            | Operation::Map { slot, .. }
            | Operation::CopyRange { to: slot, .. } => self.changed_in(*slot, before),
            Operation::Sync { .. } | Operation::Close { .. } => {
                let is_safe = |before: &Before| before.writes || matches!(operation, Operation::Sync { .. });
                if let Some(before) = before.filter(is_safe) {
                    self.durable.committed(before.stat.ino);
                }
            }
            Operation::Touch { .. } | Operation::TouchOpen { .. } if outcome.is_ok() => {
                if let Some(ino) = ino {
                    self.undated.remove(&ino);
                }
            }
            Operation::CutPath { path, .. } if outcome.is_ok() => {
                if let Some(before) = before {
                    let now = sum(&read_file(&self.reference.path(path)).unwrap_or_default());
                    let ino = before.stat.ino;
                    // Where it has the size already, local disks differ in whether that is a change.
                    match now == before.sum {
                        true => self.undated.insert(ino),
                        false => self.undated.remove(&ino),
                    };
                    match self.is_written(ino) {
                        true => self.durable.changed(ino, before.sum, now),
                        false => self.durable.committed(ino),
                    }
                }
            }
            Operation::WriteFile { path, .. } | Operation::CopyFile { to: path, .. } if outcome.is_ok() => {
                if let Some(ino) = self.ino(path) {
                    self.durable.committed(ino);
                    self.undated.remove(&ino);
                }
            }
            Operation::Rename { .. } if outcome.is_ok() => {
                if let (Some(ino), Some(replaced)) = (ino, replaced)
                    && replaced.stat.ino != ino
                {
                    self.durable.renamed_over(ino, replaced.stat.ino, replaced.sum);
                }
            }
            _ => {}
        }
    }

    fn changed_in(&mut self, slot: usize, before: Option<Before>) {
        let Some(before) = before else { return };
        // A change to what is there already still is one of the time.
        if let Some(now) = self.of_slot(slot)
            && (before.sum, before.stat.changed) != (now.sum, now.stat.changed)
        {
            self.undated.remove(&now.stat.ino);
            self.durable.changed(now.stat.ino, before.sum, now.sum);
        }
    }

    /// Whether somebody has a file open for writing.
    fn is_written(&self, ino: u64) -> bool {
        let mut open = (0..SLOTS).filter_map(|slot| self.reference.open_file(slot));
        open.any(|file| file.writes && calls::stat_open(&file.fd).ino == ino)
    }
}

fn content_of(fd: &std::os::fd::OwnedFd) -> Option<Vec<u8>> {
    use std::os::fd::AsRawFd;
    // By its own path, since it may not be open for reading, or have no name any more.
    std::fs::read(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}
