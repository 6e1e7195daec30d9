//! After the service has a file: make sure that it is what was sent, bring it to the place and name that
//! the row has by now, let go what it replaces, and only then forget the content.

use std::time::{Duration, SystemTime};

use crate::provider::{
    Capability, ContentHash, DeleteMode, Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint,
    ProviderError, Retry,
};
use crate::state::{AttemptRow, JournalRow, JournalTransaction, RowState};

use super::UploadEvent;
use super::engine::Worker;
use super::hash;
use super::journal::{Change, take_the_place_of};
use super::outcome::Failure;
use super::table::{Outcome, Step};

/// Services keep times to the second.
const SAME_TIME: Duration = Duration::from_secs(1);
/// How long a place is waited for at which a removed file is being cleared away, before the file is put off.
const CLEARING: Duration = Duration::from_secs(2);

impl Worker {
    /// Ends an attempt whose file is on the service.
    pub async fn settle(&mut self, attempt: AttemptRow, entry: FileEntry) -> Result<(), Failure> {
        self.slot.step_aside(&self.account);
        self.set_step(Step::Verifying);
        let (mut attempt, mut entry) = (attempt, entry);
        // Once it was found to be what was sent, what differs is somebody else's change.
        if attempt.file.is_none() && !self.is_as_sent(&attempt, &entry).await? {
            return self.start_again(&attempt, &entry).await;
        }
        entry
            .parent
            .get_or_insert_with(|| FolderId::new(attempt.folder.clone()));
        let mut told = attempt.mtime;
        loop {
            let Some(row) = self.row() else { return Ok(()) };
            if row.state == RowState::Removed {
                let file = entry.id.as_str();
                let foreign = attempt.replaces.as_deref() == Some(file)
                    || self.uploads.table().is_of_another(file, self.id);
                if !foreign {
                    self.delete(vec![entry.id.clone()]).await?;
                }
                return self.forget_removed().await;
            }
            if attempt.generation != row.generation || !self.is_content_committed() {
                return self.absorb(&entry).await;
            }
            if !self.needs_calls(&row, &entry, told) {
                if self.finish(&row, &attempt, &entry).await? {
                    return Ok(());
                }
                continue;
            }
            if attempt.file.is_none() {
                // From here on a crash goes on with this file and not with a new upload.
                attempt.file = Some(entry.id.as_str().to_owned());
                self.set_attempt(attempt.clone()).await?;
            }
            self.bring_into_line(&row, &mut entry, &mut told).await?;
        }
    }

    /// Forgets a removed file of which nothing is left on the service.
    pub async fn forget_removed(&self) -> Result<(), Failure> {
        let forget = |row: &mut JournalRow| match row.state {
            RowState::Removed => Change::Delete,
            _ => Change::Skip,
        };
        self.uploads.change(self.id, forget).await?;
        Ok(())
    }

    async fn is_as_sent(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<bool, Failure> {
        if entry.size != attempt.size {
            return Ok(false);
        }
        match entry.hash {
            None => Ok(true),
            Some(ContentHash::Sha256(told)) => Ok(told == attempt.sha256),
            Some(ContentHash::Md5(told)) => {
                let staged = self.uploads.table().item(self.id).and_then(|item| {
                    item.staged
                        .clone()
                        .filter(|_| item.row.generation == attempt.generation)
                });
                match staged {
                    Some(staged) => Ok(hash::md5(staged.file().clone(), attempt.size).await? == told),
                    // An older content, which is replaced or deleted anyway.
                    None => Ok(true),
                }
            }
        }
    }

    /// The service stored something else. What was sent in this run goes, unless it is the file to be
    /// replaced; what was only found may be another's. The content is sent again.
    async fn start_again(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<(), Failure> {
        tracing::warn!(
            id = %self.id, name = attempt.name, sent = attempt.size, stored = entry.size,
            "the service stored other bytes than were sent"
        );
        let in_place = [&attempt.replaces, &self.row().and_then(|row| row.replaces)]
            .into_iter()
            .flatten()
            .any(|replaced| replaced == entry.id.as_str());
        if !in_place && self.sent_here {
            self.delete(vec![entry.id.clone()]).await?;
        }
        self.clear_attempt().await?;
        Err(Failure::wait(
            "the service stored other bytes than were sent; the file is sent again",
        ))
    }

    fn is_content_committed(&self) -> bool {
        let table = self.uploads.table();
        table.item(self.id).is_some_and(|item| {
            item.staged
                .as_ref()
                .is_none_or(|staged| staged.modifications() == item.committed)
        })
    }

    /// The content changed meanwhile: the file on the service is the one that the next upload replaces.
    async fn absorb(&self, entry: &FileEntry) -> Result<(), Failure> {
        let file = entry.id.as_str().to_owned();
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                take_the_place_of(row, &file);
                row.superseded.retain(|old| *old != file);
                row.attempt = None;
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        Ok(())
    }

    fn needs_calls(&self, row: &JournalRow, entry: &FileEntry, told: SystemTime) -> bool {
        self.is_elsewhere(row, entry)
            || self.is_named_otherwise(row, entry)
            || !obsolete(row, entry).is_empty()
            || self.has_another_time(row, entry, told)
    }

    fn is_elsewhere(&self, row: &JournalRow, entry: &FileEntry) -> bool {
        let parent = entry.parent.as_ref();
        self.can(Capability::Move) && parent.is_some_and(|parent| parent.as_str() != row.folder)
    }

    fn is_named_otherwise(&self, row: &JournalRow, entry: &FileEntry) -> bool {
        self.can(Capability::Rename) && entry.name != row.name
    }

    /// `told` is the time that the service was told, for services that do not tell theirs.
    fn has_another_time(&self, row: &JournalRow, entry: &FileEntry, told: SystemTime) -> bool {
        let theirs = entry.mtime.unwrap_or(told);
        let apart = theirs
            .duration_since(row.mtime)
            .unwrap_or_else(|error| error.duration());
        self.can(Capability::ModificationTime) && apart > SAME_TIME
    }

    /// Makes the calls that bring the file to where and what the row says, and notes them in `entry`.
    async fn bring_into_line(
        &self,
        row: &JournalRow,
        entry: &mut FileEntry,
        told: &mut SystemTime,
    ) -> Result<(), Failure> {
        let item = ItemId::File(entry.id.clone());
        let brought = self.is_elsewhere(row, entry) || self.is_named_otherwise(row, entry);
        if self.is_elsewhere(row, entry) {
            self.await_place(&row.folder, &entry.name).await?;
            let folder = FolderId::new(row.folder.clone());
            let moved = self
                .provider()
                .move_to(std::slice::from_ref(&item), &folder)
                .await;
            self.check(moved, entry).await?;
            entry.parent = Some(folder);
        }
        if self.is_named_otherwise(row, entry) {
            self.await_place(&row.folder, &row.name).await?;
            let mut renamed = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
            if matches!(&renamed, Err(error) if error.kind == ErrorKind::AlreadyExists) {
                self.make_room(row, entry).await?;
                renamed = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
            }
            if matches!(&renamed, Err(error) if is_refused(error)) && self.can_go_anew(row, entry) {
                return self.announce_anew(entry).await;
            }
            self.check(renamed, entry).await?;
            entry.name = row.name.clone();
        }
        let obsolete = obsolete(row, entry);
        if !obsolete.is_empty() {
            self.delete(obsolete).await?;
            if brought && self.can(Capability::Rename) {
                // While another file bore the name, the service may have chosen a name like it.
                let renamed = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
                self.check(renamed, entry).await?;
            }
            let file = entry.id.as_str().to_owned();
            let (replaces, superseded) = (row.replaces.clone(), row.superseded.clone());
            self.uploads
                .change(self.id, move |row| {
                    if row.replaces == replaces {
                        row.replaces = Some(file);
                    }
                    row.superseded.retain(|old| !superseded.contains(old));
                    Change::Save
                })
                .await?;
        }
        if self.has_another_time(row, entry, *told) {
            let set = self.provider().set_mtime(&item, row.mtime).await;
            self.check(set, entry).await?;
            entry.mtime = Some(row.mtime);
            *told = row.mtime;
        }
        Ok(())
    }

    /// A removed file that looks for its remains at a place would take ours for them.
    async fn await_place(&self, folder: &str, name: &str) -> Result<(), Failure> {
        let cleared = self
            .uploads
            .is_cleared(&self.account.name, folder, name, Some(self.id), CLEARING);
        if cleared.await {
            Ok(())
        } else {
            Err(Failure::wait(
                "a removed file of this name is being cleared away on the service first",
            ))
        }
    }

    /// Whether the file got its name from an attempt under an older one, and replaces nothing in place.
    fn can_go_anew(&self, row: &JournalRow, entry: &FileEntry) -> bool {
        let older = row.attempt.as_ref().is_some_and(|sent| sent.name != row.name);
        let id = Some(entry.id.as_str());
        let in_place = row.attempt.as_ref().and_then(|sent| sent.replaces.as_deref()) == id;
        older && !in_place && row.replaces.as_deref() != id && row.staging.is_some()
    }

    /// The service refuses the row's name for a file that bears another: the content is announced under the
    /// right name, and the file goes when that one is there.
    async fn announce_anew(&self, entry: &FileEntry) -> Result<(), Failure> {
        let file = entry.id.as_str().to_owned();
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.superseded.push(file);
                row.attempt = None;
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        Err(Failure::Superseded)
    }

    /// Tells a file that vanished from the service from other failures.
    async fn check(&self, result: Result<(), ProviderError>, entry: &FileEntry) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                if self
                    .provider()
                    .file_info(std::slice::from_ref(&entry.id))
                    .await?
                    .is_empty()
                {
                    self.clear_attempt().await?;
                    return Err(Failure::wait(
                        "the uploaded file vanished from the service; it is sent again",
                    ));
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Another file bears the name that ours is to get, on a service that has no twins.
    async fn make_room(&self, row: &JournalRow, entry: &FileEntry) -> Result<(), Failure> {
        let folder = FolderId::new(row.folder.clone());
        let listing = self.provider().list(&folder, ListHint::default()).await?;
        for other in listing.entries {
            let Entry::File(other) = other else { continue };
            if other.name != row.name || other.id == entry.id {
                continue;
            }
            if obsolete(row, entry).contains(&other.id) {
                self.delete(vec![other.id]).await?;
            } else {
                self.keep_aside(&other.id, &row.name).await?;
            }
        }
        Ok(())
    }

    /// Deletes files that nobody needs, into the trash where there is one.
    pub async fn delete(&self, files: Vec<FileId>) -> Result<(), Failure> {
        let mode = if self.can(Capability::Trash) {
            DeleteMode::Trash
        } else {
            DeleteMode::Purge
        };
        if mode == DeleteMode::Purge && !self.can(Capability::Purge) {
            return Ok(());
        }
        let items: Vec<_> = files.into_iter().map(ItemId::File).collect();
        match self.provider().delete(&items, mode).await {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn can(&self, capability: Capability) -> bool {
        self.provider().capabilities().has(capability)
    }

    /// Forgets the row and its content, if nobody changed the row since it was read. False where somebody
    /// did. A file that a writer holds stays pending, with nothing left to do.
    async fn finish(
        &self,
        row: &JournalRow,
        attempt: &AttemptRow,
        entry: &FileEntry,
    ) -> Result<bool, Failure> {
        let held = self.uploads.update(|table| {
            let Some(item) = table.item_mut(self.id) else {
                return false;
            };
            let held = item.holds > 0 || item.draft.is_some();
            if let Some(run) = item.run.as_mut().filter(|_| !held) {
                run.step = Step::Finishing;
            }
            held
        });
        if held {
            return self.rest(row, attempt, entry).await;
        }
        let (id, seen) = (self.id, row.clone());
        let work = move |journal: &JournalTransaction<'_>| {
            if journal.get(seen.id)?.as_ref() != Some(&seen) {
                return Ok(false);
            }
            if let Some(staging) = &seen.staging {
                journal.discard(staging)?;
            }
            journal.delete(seen.id).map(|()| true)
        };
        let (uploads, done) = (self.uploads.clone(), entry.clone());
        let note = move |finished: &bool| {
            if *finished {
                uploads.update(|table| table.remove(id, Some(done)));
            }
        };
        let finished = self
            .uploads
            .database
            .journal("finish an upload", work, note)
            .await;
        if !matches!(finished, Ok(true)) {
            self.set_step(Step::Verifying);
            return finished.map_err(|error| Failure::Local(error.into()));
        }
        self.uploads
            .delete_discarded(row.staging.clone().into_iter().collect());
        let (account, generation, entry) = (row.account.clone(), row.generation, entry.clone());
        self.uploads
            .tell(UploadEvent::Done {
                account,
                id,
                generation,
                entry,
            })
            .await;
        Ok(true)
    }

    async fn rest(&self, row: &JournalRow, attempt: &AttemptRow, entry: &FileEntry) -> Result<bool, Failure> {
        let (seen, file) = (row.clone(), entry.id.as_str().to_owned());
        let attempt = AttemptRow {
            file: Some(file.clone()),
            ..attempt.clone()
        };
        let changed = self
            .uploads
            .change(self.id, move |row| {
                if *row != seen {
                    return Change::Skip;
                }
                row.state = RowState::Staged;
                (row.tries, row.next_try, row.last_error) = (0, None, None);
                row.replaces = Some(file);
                row.attempt = Some(attempt);
                Change::Save
            })
            .await?;
        if !matches!(changed, super::journal::Changed::Saved(_)) {
            return Ok(false);
        }
        let outcome = Outcome::Done {
            generation: row.generation,
            entry: entry.clone(),
        };
        self.uploads.update(|table| {
            table.item(self.id).map(|item| item.outcome.send_replace(outcome));
        });
        Ok(true)
    }
}

/// Whether the service will not do this to this file, whenever it is asked.
fn is_refused(error: &ProviderError) -> bool {
    let kind = matches!(error.kind, ErrorKind::Unsupported | ErrorKind::InvalidArgument);
    kind && error.retry == Retry::Never
}

/// The files that the content took the place of and that are still there.
fn obsolete(row: &JournalRow, entry: &FileEntry) -> Vec<FileId> {
    let replaced = row.replaces.iter().chain(&row.superseded);
    replaced
        .filter(|file| **file != entry.id.as_str())
        .cloned()
        .map(FileId::new)
        .collect()
}
