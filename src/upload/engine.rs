//! One file's way to the service: prepare, announce, send, wait, verify, settle.
//!
//! Before the first call the attempt is written to the journal. From then on its outcome is looked up
//! before anything is done again: after a crash, after a lost answer, and when the row was changed or
//! removed meanwhile. The row is read again at each step, so that a rename, a new content or a removal
//! takes effect at the next one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::provider::{
    Capability, FileEntry, FileId, FolderId, ListHint, Provider, UploadRequest, UploadTicket,
};
use crate::state::{AttemptRow, JournalRow, RowState};

use super::handle::Uploads;
use super::journal::{Change, Changed, Facts, blocking};
use super::meter::Progress;
use super::outcome::{self, Failure};
use super::poll::Polled;
use super::queue::{Account, Slot};
use super::staged_file::StagedFile;
use super::table::{Item, Step};
use super::{PendingId, hydrate};

/// Why a file whose content is lost is parked.
pub(super) const MISSING: &str = "its content is missing from the staging directory";

/// The worker of one file.
pub(super) struct Worker {
    pub uploads: Arc<Uploads>,
    pub account: Arc<Account>,
    pub id: PendingId,
    pub slot: Slot,
    pub progress: Arc<Progress>,
    /// Whether the service answered bytes, and not only an announcement, with the file.
    pub sent_here: bool,
    /// Whether no service makes the content by itself: its bytes go through here.
    pub by_bytes: bool,
}

/// An announced upload and the content that it sends.
pub(super) struct Sending {
    pub attempt: AttemptRow,
    pub staged: Arc<StagedFile>,
    /// Whether something of it may be on the service.
    pub may_be_there: bool,
}

/// What a row said when work on it began.
#[derive(Clone)]
pub(super) struct Seen {
    generation: u64,
    folder: String,
    name: String,
}

impl Seen {
    pub fn of(row: &JournalRow) -> Seen {
        Seen {
            generation: row.generation,
            folder: row.folder.clone(),
            name: row.name.clone(),
        }
    }
}

/// Where the bytes of a content are that is announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    Here,
    /// On the service that has the file which it is a copy of.
    There,
}

/// Works on a file until it is done or has to wait.
pub(super) async fn run(uploads: Arc<Uploads>, account: Arc<Account>, id: PendingId, slot: Slot) {
    let begun = {
        let table = uploads.table();
        let item = table.item(id);
        item.and_then(|item| Some((item.run.as_ref()?.progress.clone(), item.row.generation)))
    };
    let Some((progress, generation)) = begun else {
        return;
    };
    uploads.tell_changed(id);
    let mut worker = Worker {
        uploads: uploads.clone(),
        account: account.clone(),
        id,
        slot,
        progress,
        sent_here: false,
        by_bytes: false,
    };
    let result = AssertUnwindSafe(worker.upload()).catch_unwind().await;
    let result = result.unwrap_or_else(|_| {
        tracing::error!(%id, account = account.name, "an upload's worker panicked");
        Err(Failure::wait("an internal error; see the log"))
    });
    // What waits for its slot finds it free when the end is told.
    drop(worker);
    outcome::end(&uploads, &account, id, generation, result).await;
}

impl Worker {
    async fn upload(&mut self) -> Result<(), Failure> {
        self.keep_open();
        loop {
            if self.uploads.stopping.is_cancelled() {
                return Err(Failure::Superseded);
            }
            self.set_step(Step::Preparing);
            self.keep_uncommitted().await?;
            let Some(row) = self.row() else { return Ok(()) };
            match row.state {
                RowState::Removed => return self.clear_away(row).await,
                RowState::Local => return Ok(()),
                _ => {}
            }
            if row.size == 0 && !self.can(Capability::EmptyFiles) {
                if self.keep(&row).await? {
                    return Ok(());
                }
                continue;
            }
            if let Some(attempt) = row.attempt.clone() {
                let known = attempt.file.is_some() || attempt.ticket.is_some();
                if known || attempt.generation != row.generation {
                    if self.look_up(&row, attempt).await? {
                        return Ok(());
                    }
                    continue;
                }
            }
            if let Some(copied) = self.copied(&row) {
                match self.make_there(&row, copied).await? {
                    Some((attempt, entry)) => return self.settle(attempt, entry).await,
                    None => continue,
                }
            }
            let Some(mut sending) = self.prepare(row).await? else {
                continue;
            };
            let Some(entry) = self.send(&mut sending).await? else {
                continue;
            };
            return self.settle(sending.attempt, entry).await;
        }
    }

    /// Who reads the content goes on with it until it is told that the service has it, and by then it is deleted.
    fn keep_open(&self) {
        let staged = {
            let table = self.uploads.table();
            table.item(self.id).and_then(|item| item.staged.clone())
        };
        if let Some(Err(error)) = staged.map(|staged| staged.keep_open()) {
            tracing::debug!(id = %self.id, %error, "a staged file cannot be opened");
        }
    }

    /// Commits what a writer left behind uncommitted, or wrote while others wait for the upload.
    async fn keep_uncommitted(&self) -> Result<(), Failure> {
        let left = {
            let table = self.uploads.table();
            table.live(self.id).and_then(|item| {
                let changed = |staged: &&Arc<StagedFile>| staged.modifications() != item.committed;
                match &item.draft {
                    Some(draft) => (item.holds == 0).then(|| draft.clone()),
                    None => item.staged.as_ref().filter(changed).cloned(),
                }
            })
        };
        if let Some(staged) = left {
            self.uploads
                .recommit(self.id, &staged, std::time::SystemTime::now())
                .await?;
        }
        Ok(())
    }

    /// Makes the content whole, hashes it and writes the attempt down. `None` where the row changed.
    async fn prepare(&mut self, row: JournalRow) -> Result<Option<Sending>, Failure> {
        let (staged, modifications) = {
            let table = self.uploads.table();
            match table.item(self.id) {
                Some(Item {
                    staged: Some(staged),
                    committed,
                    ..
                }) => (staged.clone(), *committed),
                _ => {
                    return Err(Failure::Park(MISSING.into()));
                }
            }
        };
        // Who takes another's place should know what that has become.
        if row.replaces.is_some() && row.attempt.is_none() {
            self.uploads.hear_news(&self.account.name).await;
            if self.row().is_none_or(|now| now.replaces != row.replaces) {
                return Ok(None);
            }
        }
        let had_base = staged.base().is_some();
        if had_base {
            hydrate::complete(&self.uploads, &self.account, &staged).await?;
        }
        let sha256 = self.hash_of(&staged, row.size).await?;
        if staged.modifications() != modifications || !self.take_for_sending(&row) {
            return Err(Failure::Superseded);
        }
        if had_base {
            staged.finish_base();
        }
        let may_be_there = row.attempt.is_some();
        let seen = Seen::of(&row);
        let attempt = match row.attempt {
            Some(before) if before.sha256 == Some(sha256) && before.size == row.size => before,
            // A service was asked to make it, and nobody knew its hash.
            Some(before) if before.sha256.is_none() && before.generation == row.generation => AttemptRow {
                sha256: Some(sha256),
                ..before
            },
            Some(before) => {
                // Nothing of ours changes a committed content, but what was announced must be looked up.
                self.set_attempt(AttemptRow {
                    generation: 0,
                    ..before
                })
                .await?;
                return Ok(None);
            }
            None => AttemptRow {
                sent_after: self.newest_file(&row.folder).await?,
                generation: row.generation,
                folder: row.folder.clone(),
                name: row.name.clone(),
                size: row.size,
                mtime: row.mtime,
                sha256: Some(sha256),
                replaces: row.replaces.clone(),
                unclear: None,
                ticket: None,
                file: None,
            },
        };
        if !self.write_attempt(&seen, &attempt, Bytes::Here).await? {
            return Ok(None);
        }
        Ok(Some(Sending {
            attempt,
            staged,
            may_be_there,
        }))
    }

    async fn hash_of(&self, staged: &Arc<StagedFile>, size: u64) -> Result<[u8; 32], Failure> {
        let _one = self
            .account
            .hashing
            .acquire()
            .await
            .map_err(|_| Failure::Superseded)?;
        let staged = staged.clone();
        Ok(blocking("read a staged file", move || staged.sha256(size)).await?)
    }

    /// The newest file of the service before anything is sent, where only that tells what was sent from what
    /// others put there.
    pub async fn newest_file(&self, folder: &str) -> Result<Option<String>, Failure> {
        if !self.has_numbered_twins() || self.can(Capability::ContentHash) {
            return Ok(None);
        }
        let folder = FolderId::new(folder);
        if self.provider().newest_file(&folder).is_none() {
            self.provider().list(&folder, ListHint::default()).await?;
        }
        let newest = self.provider().newest_file(&folder);
        Ok(newest.map(|file| file.as_str().to_owned()))
    }

    /// Takes the content away from writers, if none has it.
    pub fn take_for_sending(&self, row: &JournalRow) -> bool {
        self.uploads.update(|table| {
            let own = table.owns_target(self.id);
            let taken = table.change(self.id, |item| {
                let free = own && item.is_released() && item.row.generation == row.generation;
                if let Some(run) = item.run.as_mut().filter(|_| free) {
                    run.step = Step::Sending;
                }
                free
            });
            taken.unwrap_or(false)
        })
    }

    /// Writes the attempt down before the first call. False where the row is not as it was seen any more.
    pub async fn write_attempt(
        &self,
        seen: &Seen,
        attempt: &AttemptRow,
        bytes: Bytes,
    ) -> Result<bool, Failure> {
        let (seen, attempt) = (seen.clone(), attempt.clone());
        let fresh = attempt.ticket.is_none();
        let changed = self
            .uploads
            .change(self.id, move |row| {
                let renamed = row.attempt.is_none() && (row.folder != seen.folder || row.name != seen.name);
                let gone = matches!(row.state, RowState::Removed | RowState::Local);
                if gone || row.generation != seen.generation || renamed {
                    return Change::Skip;
                }
                if bytes == Bytes::Here {
                    // All of it is here and synced. Whether the row knows that already does not follow from the staged
                    // file: an attempt may have ended right before this.
                    (row.base, row.missing) = (None, Vec::new());
                }
                if fresh || row.state == RowState::Queued || row.state == RowState::Staged {
                    row.state = RowState::Uploading;
                }
                row.next_try = None;
                row.attempt = Some(attempt);
                Change::Save
            })
            .await?;
        Ok(matches!(changed, Changed::Saved(_)))
    }

    /// Replaces what is written down of the attempt, whatever else changed in the row.
    pub async fn set_attempt(&self, attempt: AttemptRow) -> Result<(), Failure> {
        self.set_attempt_with(attempt, None).await
    }

    /// As [`set_attempt`](Self::set_attempt), with what the index learns at once.
    pub async fn set_attempt_with(&self, attempt: AttemptRow, facts: Option<Facts>) -> Result<(), Failure> {
        self.uploads
            .change_with(self.id, facts, move |row| {
                if row.attempt.is_none() {
                    return Change::Skip;
                }
                if attempt.ticket.is_some() && row.state == RowState::Uploading {
                    row.state = RowState::Verifying;
                }
                row.attempt = Some(attempt);
                Change::Save
            })
            .await?;
        Ok(())
    }

    /// Notes that an attempt left nothing on the service.
    pub async fn clear_attempt(&self) -> Result<(), Failure> {
        self.uploads
            .change(self.id, |row| {
                row.attempt = None;
                if row.state == RowState::Removed {
                    return Change::Delete;
                }
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        Ok(())
    }

    /// Finds out what became of an attempt that was finished before, whose bytes the service has, or whose
    /// content is not the row's any more. False where nothing came of it: the file is to be sent.
    async fn look_up(&mut self, row: &JournalRow, attempt: AttemptRow) -> Result<bool, Failure> {
        let is_current = attempt.generation == row.generation;
        if is_current && !self.take_for_sending(row) {
            return Err(Failure::Superseded);
        }
        if let Some(file) = attempt.file.clone() {
            let Some(entry) = self.file_now(&FileId::new(file)).await? else {
                return self.clear_attempt().await.map(|()| false);
            };
            return self.settle(attempt, entry).await.map(|()| true);
        }
        let found = match attempt.ticket.clone().filter(|_| is_current) {
            Some(ticket) => match self.poll(&attempt, UploadTicket::new(ticket)).await? {
                Polled::Done(entry) => Some(entry),
                Polled::Lost => None,
                Polled::GivenUp(refusal) => return self.given_up(row, refusal).await.map(|()| false),
            },
            None => self.find(&attempt).await?,
        };
        match found {
            Some(entry) => self.settle(attempt, entry).await.map(|()| true),
            None if is_current => self.lost(attempt).await.map(|()| false),
            None => self.clear_attempt().await.map(|()| false),
        }
    }

    /// The service lost what it had: the upload is announced again, after a while.
    pub async fn lost(&self, attempt: AttemptRow) -> Result<(), Failure> {
        self.set_attempt(AttemptRow {
            ticket: None,
            ..attempt
        })
        .await?;
        Err(Failure::wait(
            "the service did not finish the upload; it is sent again",
        ))
    }

    /// Clears away what the upload of a removed file left on the service.
    async fn clear_away(&mut self, row: JournalRow) -> Result<(), Failure> {
        let Some(attempt) = row.attempt else {
            return self.forget_removed().await;
        };
        let entry = match attempt.file.clone() {
            Some(file) => self.file_now(&FileId::new(file)).await?,
            None => self.find(&attempt).await?,
        };
        match entry {
            Some(entry) => self.settle(attempt, entry).await,
            None => self.forget_removed().await,
        }
    }

    /// Finds the file that an attempt made, if it made one, without sending a byte.
    pub async fn find(&mut self, attempt: &AttemptRow) -> Result<Option<FileEntry>, Failure> {
        if let Some(ticket) = &attempt.ticket
            && let Polled::Done(entry) = self.poll(attempt, UploadTicket::new(ticket.clone())).await?
        {
            return Ok(Some(entry));
        }
        let found = self.find_announced(attempt).await?;
        if found.is_none() {
            self.check_patience(attempt)?;
        }
        Ok(found)
    }

    /// Whether what was sent may be on the service although it was not found, or more than once.
    pub fn is_unclear(&self, attempt: &AttemptRow) -> bool {
        attempt.unclear.is_some() && self.has_numbered_twins()
    }

    /// Fails as long as a service that would store it twice may still be at work on what was sent.
    pub fn check_patience(&self, attempt: &AttemptRow) -> Result<(), Failure> {
        let Some(since) = attempt.unclear.filter(|_| self.has_numbered_twins()) else {
            return Ok(());
        };
        let options = &self.uploads.options;
        let needed = Duration::from_secs_f64(attempt.size as f64 / options.late_rate.max(1) as f64);
        // A clock that was set back makes nothing wait for longer.
        let waited = since.elapsed().unwrap_or(Duration::MAX);
        match needed.min(options.late_limit).checked_sub(waited) {
            Some(left) if !left.is_zero() => Err(Failure::WaitFor(
                "the answer to the upload was lost; the service may still be at work on it".to_owned(),
                left,
            )),
            _ => Ok(()),
        }
    }

    /// A file as the service has it now; `None` where it is gone.
    pub async fn file_now(&self, file: &FileId) -> Result<Option<FileEntry>, Failure> {
        let found = self.provider().file_info(std::slice::from_ref(file)).await?;
        Ok(found.into_iter().next())
    }

    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.account.provider
    }

    /// The row as it is now; `None` where it is gone.
    pub fn row(&self) -> Option<JournalRow> {
        self.uploads.table().item(self.id).map(|item| item.row.clone())
    }

    /// Whether the content that is being sent is still wanted.
    pub fn is_wanted(&self, attempt: &AttemptRow) -> bool {
        self.is_current(attempt) && !self.is_held_back()
    }

    /// Whether nothing more is to be sent for now, whatever is wanted: the program stops, or a person paused the
    /// account.
    pub fn is_held_back(&self) -> bool {
        self.uploads.stopping.is_cancelled() || self.uploads.is_paused(&self.account.name)
    }

    /// Whether the content that is being sent is the row's.
    pub fn is_current(&self, attempt: &AttemptRow) -> bool {
        let table = self.uploads.table();
        let item = table.live(self.id);
        item.is_some_and(|item| item.row.generation == attempt.generation)
    }

    pub fn set_step(&self, step: Step) {
        let set = |item: &mut Item| {
            if let Some(run) = item.run.as_mut() {
                run.step = step;
            }
        };
        self.uploads.update(|table| table.change(self.id, set));
        self.uploads.tell_changed(self.id);
    }

    pub fn reset_progress(&self) {
        self.progress.begin_at(0);
    }
}

pub(super) fn request(attempt: &AttemptRow, sent_before: bool) -> UploadRequest {
    UploadRequest {
        folder: FolderId::new(attempt.folder.clone()),
        name: attempt.name.clone(),
        size: attempt.size,
        sha256: attempt.sha256,
        mtime: attempt.mtime,
        replaces: attempt.replaces.clone().map(FileId::new),
        sent_before,
    }
}
