//! What a person does with the queue: pausing accounts, giving files up, saving copies of them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::state::{RowState, StateError};

use super::handle::Uploads;
use super::journal::blocking;
use super::outcome::Failure;
use super::staged_file::StagedFile;
use super::{PendingId, UploadError, hydrate};

/// How often a copy is begun anew because a writer changed the file meanwhile.
const COPY_TRIES: usize = 5;

/// Why a person's wish cannot be met. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    #[error("it is not pending any more")]
    Gone,
    #[error("it is being uploaded now: pause the account first, or wait")]
    UnderWay,
    #[error("its content is on the service already, and only its last steps are missing: retry it")]
    Arrived,
    #[error("it stays on this machine and is not in the queue: remove the file itself")]
    Kept,
    #[error("a program has it open for writing: close it first")]
    Open,
    #[error("it is changed all the time: close the program that writes it")]
    Restless,
    #[error("its content is missing from the staging directory")]
    Missing,
    #[error("parts of its content are on the service alone, and cannot be had: {0}")]
    Incomplete(String),
    #[error("{0} exists already: name another place, or say --force")]
    Exists(String),
    #[error("cannot write {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Upload(UploadError),
}

impl From<UploadError> for SteerError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Gone => SteerError::Gone,
            error => SteerError::Upload(error),
        }
    }
}

impl Uploads {
    /// Whether a person has stopped the uploads of an account.
    pub fn is_paused(&self, account: &str) -> bool {
        self.table().is_paused(account)
    }

    /// Begins no more uploads of an account, or goes on with them, in this life and the next ones. What is being
    /// sent ends with its present request.
    pub async fn set_paused(self: &Arc<Self>, account: &str, paused: bool) -> Result<(), StateError> {
        let (uploads, name) = (self.clone(), account.to_owned());
        let note = move |(): &()| uploads.update(|table| table.set_paused(&name, paused));
        self.database.set_paused(account.to_owned(), paused, note).await
    }

    /// Gives a file up that waits or is parked: its row and its content go, and what it was to replace stays on the
    /// service as it is there. What an earlier try may have left is cleared away.
    pub async fn cancel(self: &Arc<Self>, id: PendingId) -> Result<(), SteerError> {
        // Taken under one lock: no worker begins with it afterwards.
        let hold = self.update(|table| {
            let item = table.live(id).ok_or(SteerError::Gone)?;
            if item.run.is_some() {
                return Err(SteerError::UnderWay);
            }
            if matches!(item.row.state, RowState::Kept | RowState::Local) {
                return Err(SteerError::Kept);
            }
            if item.holds > 0 {
                return Err(SteerError::Open);
            }
            if item.row.attempt.as_ref().is_some_and(|sent| sent.file.is_some()) {
                return Err(SteerError::Arrived);
            }
            table.change(id, |item| item.holds += 1);
            Ok(super::edit::Hold::taken(self.clone(), id))
        })?;
        let removed = self.remove(id).await;
        drop(hold);
        removed.map(drop).map_err(SteerError::from)
    }

    /// Copies the newest content of a file to `to`: all of it, at one moment, and on the disk when this returns the
    /// number of bytes. It replaces nothing unless `replace`.
    pub async fn export(
        self: &Arc<Self>,
        id: PendingId,
        to: &Path,
        replace: bool,
    ) -> Result<u64, SteerError> {
        let _hold = self.hold(id);
        for _ in 0..COPY_TRIES {
            let account = self
                .table()
                .live(id)
                .map(|item| item.row.account.clone())
                .ok_or(SteerError::Gone)?;
            let staged = self.staged(id).ok_or(SteerError::Missing)?;
            self.complete(&account, &staged).await?;
            let before = staged.modifications();
            let (content, place) = (staged.opened()?, to.to_owned());
            let length = staged.len();
            let is_same = {
                let (staged, newest) = (staged.clone(), self.clone());
                move || {
                    let newest = newest.staged(id);
                    staged.modifications() == before
                        && newest.is_some_and(|newest| Arc::ptr_eq(&newest, &staged))
                }
            };
            let copy = move || save_copy(&content, length, &place, replace, is_same);
            match blocking("copy a staged file", move || Ok(copy())).await?? {
                true => return Ok(length),
                false => continue,
            }
        }
        Err(SteerError::Restless)
    }

    /// Fetches what a content still lacks.
    async fn complete(self: &Arc<Self>, account: &str, staged: &Arc<StagedFile>) -> Result<(), SteerError> {
        if staged.base().is_none() || staged.all_missing().is_empty() {
            return Ok(());
        }
        let incomplete = |why: &str| SteerError::Incomplete(why.to_owned());
        let account = self
            .account(account)
            .ok_or_else(|| incomplete("its account is not mounted"))?;
        match hydrate::complete(self, &account, staged).await {
            Ok(()) => Ok(()),
            Err(Failure::Provider { error, .. }) => Err(incomplete(&error.to_string())),
            Err(Failure::Local(error)) => Err(incomplete(&error.to_string())),
            Err(Failure::Park(why) | Failure::Wait(why) | Failure::WaitFor(why, _)) => Err(incomplete(&why)),
            Err(Failure::Superseded) => Err(incomplete("lockerfs is stopping")),
        }
    }
}

/// Copies `length` bytes of a file to a place, whole or not at all, if `is_same` says afterwards that it is still
/// what it was.
pub fn save_copy(
    content: &File,
    length: u64,
    to: &Path,
    replace: bool,
    is_same: impl FnOnce() -> bool,
) -> Result<bool, SteerError> {
    let shown = to.display().to_string();
    let failed = |source| SteerError::Io {
        path: shown.clone(),
        source,
    };
    if to.is_dir() || (!replace && to.symlink_metadata().is_ok()) {
        return Err(SteerError::Exists(shown));
    }
    let directory = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut copy = tempfile::Builder::new()
        .prefix(".lockerfs-export-")
        .tempfile_in(directory)
        .map_err(failed)?;
    let mut rest = At {
        file: content,
        offset: 0,
        end: length,
    };
    let copied = io::copy(&mut rest, copy.as_file_mut()).map_err(failed)?;
    copy.as_file_mut().flush().map_err(failed)?;
    copy.as_file().sync_all().map_err(failed)?;
    if copied != length || !is_same() {
        return Ok(false);
    }
    let kept = match replace {
        true => copy.persist(to),
        false => copy.persist_noclobber(to),
    };
    match kept {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(SteerError::Exists(shown));
        }
        Err(error) => return Err(failed(error.error)),
    }
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(true)
}

/// A part of a file, read without moving its position, which others may use.
struct At<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
