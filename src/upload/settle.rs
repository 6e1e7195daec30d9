//! After the service has a file: make sure that it is what was sent, bring it to the place and name that
//! the row has by now, let go what it replaces, and only then forget the content.

use std::time::{Duration, SystemTime};

use crate::provider::{
    Capability, ContentHash, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint, ProviderError,
};
use crate::state::{AttemptRow, JournalRow, RowState};

use super::engine::Worker;
use super::hash;
use super::journal::{Change, take_the_place_of};
use super::naming::BORNE;
use super::outcome::Failure;
use super::replaced::obsolete;
use super::table::Step;

/// Services keep times to the second.
const SAME_TIME: Duration = Duration::from_secs(1);

/// What came out of comparing a file with what was sent.
enum Verified {
    /// The hash that the service told is that of the content.
    ByHash(String),
    /// The size is right, and more was not told.
    BySize,
    Differs,
}

impl Worker {
    /// Ends an attempt whose file is on the service.
    pub async fn settle(&mut self, attempt: AttemptRow, entry: FileEntry) -> Result<(), Failure> {
        self.slot.step_aside(&self.account);
        self.set_step(Step::Verifying);
        self.check_own(&attempt, &entry)?;
        let (mut attempt, mut entry) = (attempt, entry);
        // Before it may be sent again as another attempt, which would not know them.
        let twins = self.note_twins(&mut attempt, &entry).await?;
        // Once it was found to be what was sent, what differs is somebody else's change.
        let mut hash = None;
        if attempt.file.is_none() {
            match self.verify(&attempt, &entry).await? {
                Verified::ByHash(told) => hash = Some(told),
                Verified::BySize => {}
                Verified::Differs => return self.start_again(&attempt, &entry).await,
            }
        }
        self.locate(&attempt, &mut entry).await?;
        entry
            .parent
            .get_or_insert_with(|| FolderId::new(attempt.folder.clone()));
        let mut told = attempt.mtime;
        loop {
            let Some(row) = self.row() else { return Ok(()) };
            if row.state == RowState::Removed {
                let (account, file) = (&self.account.name, entry.id.as_str());
                let foreign = attempt.replaces.as_deref() == Some(file) || {
                    let table = self.uploads.table();
                    table.is_of_another(account, file, self.id) || table.is_renamed_now(account, file)
                };
                let ours = twins.iter().chain([&entry.id].into_iter().filter(|_| !foreign));
                let ours: Vec<_> = ours.cloned().collect();
                if !ours.is_empty() {
                    self.delete(ours).await?;
                }
                return self.forget_removed().await;
            }
            if attempt.generation != row.generation || !self.is_content_committed() {
                self.free_former_place(&mut attempt, &row, &mut entry).await?;
                return self.absorb(&entry).await;
            }
            if !self.needs_calls(&row, &entry, told) {
                if self.finish(&row, &attempt, &entry, hash.as_deref()).await? {
                    return Ok(());
                }
                continue;
            }
            if attempt.file.is_none() {
                // From here on a crash goes on with this file and not with a new upload.
                attempt.file = Some(entry.id.as_str().to_owned());
                let facts = self.facts(&row, &entry, hash.as_deref());
                self.set_attempt_with(attempt.clone(), facts).await?;
            }
            self.bring_into_line(&row, &mut entry, &mut told).await?;
        }
    }

    /// Fails for now where the file that the service found is another's: it bears the name still and has the same
    /// content, and who goes on with it, be it after a person was asked, would take it away from this one.
    fn check_own(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<(), Failure> {
        let file = entry.id.as_str();
        let table = self.uploads.table();
        let Some(item) = table.live(self.id).filter(|_| attempt.file.is_none()) else {
            return Ok(());
        };
        let row = &item.row;
        let mut own = [&attempt.replaces, &row.replaces]
            .into_iter()
            .flatten()
            .chain(&row.superseded);
        if !own.any(|own| own == file) && table.is_gone_on_with(&self.account.name, file, self.id) {
            return Err(Failure::wait(BORNE));
        }
        Ok(())
    }

    /// Where a file stands whose content was replaced, since not all answers tell: it stays where it was, which may be
    /// another folder than that for which the content was announced.
    async fn locate(&self, attempt: &AttemptRow, entry: &mut FileEntry) -> Result<(), Failure> {
        let in_place = attempt.replaces.as_deref() == Some(entry.id.as_str());
        let may_be_elsewhere = {
            let table = self.uploads.table();
            table.item(self.id).is_some_and(|item| item.may_be_elsewhere)
        };
        if entry.parent.is_some() || !in_place || !may_be_elsewhere {
            return Ok(());
        }
        if let Some(found) = self.file_now(&entry.id).await? {
            (entry.parent, entry.name) = (found.parent, found.name);
        }
        Ok(())
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

    async fn verify(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<Verified, Failure> {
        if entry.size != attempt.size {
            return Ok(Verified::Differs);
        }
        let Some(told) = entry.hash else {
            return Ok(Verified::BySize);
        };
        if let Some(sent) = attempt.sha256.filter(|sent| told == ContentHash::Sha256(*sent)) {
            self.uploads.sent_contents.note(&entry.id, sent);
        }
        let is_same = match told {
            ContentHash::Sha256(told) => match attempt.sha256 {
                Some(sent) => told == sent,
                None => return Ok(Verified::BySize),
            },
            ContentHash::Md5(told) => match self.content_of(attempt) {
                Some(staged) => hash::md5(staged.opened()?, attempt.size).await? == told,
                // An older content, which is replaced or deleted anyway.
                None => return Ok(Verified::BySize),
            },
        };
        Ok(if is_same {
            Verified::ByHash(told.to_hex())
        } else {
            Verified::Differs
        })
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
        let goes = (!in_place && self.sent_here).then(|| entry.id.as_str().to_owned());
        // Noted first, so that it goes after a crash as well, with what the next upload replaces.
        let noted = goes.clone();
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.superseded.extend(noted);
                row.attempt = None;
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        if goes.is_some() {
            self.delete(vec![entry.id.clone()]).await?;
        }
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Delete;
                }
                row.superseded.retain(|old| Some(old) != goes.as_ref());
                Change::Save
            })
            .await?;
        Err(Failure::Wait(format!(
            "the service stored other bytes than were sent ({} bytes of {}); the file is sent again",
            entry.size, attempt.size
        )))
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
    pub async fn absorb(&self, entry: &FileEntry) -> Result<(), Failure> {
        let file = entry.id.as_str().to_owned();
        // It bears this name until the next upload is settled, whatever the row is called by then.
        let folder = entry.parent.as_ref().map(|folder| folder.as_str().to_owned());
        let place = folder.map(|folder| (folder, entry.name.clone()));
        self.uploads.update(|table| table.set_left(self.id, place));
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

    /// Brings a file whose content changed meanwhile to the place that the row has by now, where nothing stands in the
    /// way. Somebody may want the place that it had, and while a writer goes on the next upload is long in coming. What
    /// the service refuses is left to that upload.
    async fn free_former_place(
        &self,
        attempt: &mut AttemptRow,
        row: &JournalRow,
        entry: &mut FileEntry,
    ) -> Result<(), Failure> {
        let (moves, renames) = (self.is_elsewhere(row, entry), self.is_named_otherwise(row, entry));
        let may = |wanted: bool, capability| !wanted || self.can(capability);
        if !(moves || renames)
            || !may(moves, Capability::Move)
            || !may(renames, Capability::Rename)
            || !obsolete(row, entry).is_empty()
            || !self.is_place_free(row)
        {
            return Ok(());
        }
        // Where it stands by then nothing but its id tells whose it is.
        attempt.file = Some(entry.id.as_str().to_owned());
        self.set_attempt(attempt.clone()).await?;
        let item = ItemId::File(entry.id.clone());
        let folder = FolderId::new(row.folder.clone());
        let mut brought = Ok(());
        if moves {
            brought = self
                .provider()
                .move_to(std::slice::from_ref(&item), &folder)
                .await;
            if brought.is_ok() {
                entry.parent = Some(folder);
            }
        }
        if renames && brought.is_ok() {
            brought = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
            if brought.is_ok() {
                entry.name = row.name.clone();
            }
        }
        if let Err(error) = brought {
            tracing::debug!(id = %self.id, %error, "a file keeps its former place until its next upload");
        }
        Ok(())
    }

    /// Whether nothing of which is known here has the row's place, or is being cleared away there.
    fn is_place_free(&self, row: &JournalRow) -> bool {
        let (account, me) = (&self.account.name, Some(self.id));
        let table = self.uploads.table();
        !table.is_place_held(account, &row.folder, &row.name, me)
            && !table.is_being_cleared(account, &row.folder, &row.name, me)
            && !table.deletions.is_taken(account, &row.folder, &row.name)
    }

    fn needs_calls(&self, row: &JournalRow, entry: &FileEntry, told: SystemTime) -> bool {
        self.is_elsewhere(row, entry)
            || self.is_named_otherwise(row, entry)
            || !obsolete(row, entry).is_empty()
            || self.has_another_time(row, entry, told)
    }

    fn is_elsewhere(&self, row: &JournalRow, entry: &FileEntry) -> bool {
        let parent = entry.parent.as_ref();
        parent.is_some_and(|parent| parent.as_str() != row.folder)
    }

    pub fn is_named_otherwise(&self, row: &JournalRow, entry: &FileEntry) -> bool {
        entry.name != row.name
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
        if !self.check_abilities(row, entry).await? {
            return Ok(());
        }
        let item = ItemId::File(entry.id.clone());
        let moved = self.is_elsewhere(row, entry);
        if moved {
            self.await_place(&row.folder, &entry.name).await?;
            let folder = FolderId::new(row.folder.clone());
            let moved = self
                .provider()
                .move_to(std::slice::from_ref(&item), &folder)
                .await;
            self.check_moved(moved, row, entry).await?;
            entry.parent = Some(folder);
        }
        if self.has_numbered_twins() {
            self.replace_and_name(row, entry, moved).await?;
        } else {
            self.name_and_replace(row, entry, moved).await?;
        }
        if self.has_another_time(row, entry, *told) {
            let set = self.provider().set_mtime(&item, row.mtime).await;
            self.check(set, entry).await?;
            entry.mtime = Some(row.mtime);
            *told = row.mtime;
        }
        Ok(())
    }

    /// Deletes what the file replaces and gives it its name, in this order: while another file bears it, the service
    /// gives one like it.
    async fn replace_and_name(
        &self,
        row: &JournalRow,
        entry: &mut FileEntry,
        moved: bool,
    ) -> Result<(), Failure> {
        let obsolete = obsolete(row, entry);
        let replaces = !obsolete.is_empty();
        if replaces {
            self.delete(obsolete).await?;
            self.note_replaced_by(row, entry).await?;
        } else if moved || self.is_named_otherwise(row, entry) {
            self.clear_name(row, entry).await?;
        }
        // Moved to where another file bore its name, it may have been given one like it.
        if self.is_named_otherwise(row, entry) || (moved && replaces) {
            self.give_name(row, entry).await?;
        }
        Ok(())
    }

    /// Gives the file its name and deletes what it replaces, in this order, so that a name which the service refuses
    /// takes nothing away.
    async fn name_and_replace(
        &self,
        row: &JournalRow,
        entry: &mut FileEntry,
        moved: bool,
    ) -> Result<(), Failure> {
        // Moved to where another file bore its name, it may have been given one like it.
        let renames = moved || self.is_named_otherwise(row, entry);
        let obsolete = obsolete(row, entry);
        let replaces = !obsolete.is_empty();
        if replaces {
            if renames {
                self.ask_for_name(row, entry).await?;
            }
            self.delete(obsolete).await?;
        }
        if renames {
            // While another file bore the name, the service may have chosen a name like it.
            self.give_name(row, entry).await?;
        }
        if replaces {
            self.note_replaced_by(row, entry).await?;
        }
        Ok(())
    }

    /// Makes sure that the account can make the calls that are to come, before one of them takes anything
    /// away. False where what it replaces is gone already, which is noted.
    async fn check_abilities(&self, row: &JournalRow, entry: &FileEntry) -> Result<bool, Failure> {
        let obsolete = obsolete(row, entry);
        let elsewhere = self.is_elsewhere(row, entry);
        let may_be_numbered = elsewhere && !obsolete.is_empty() && self.has_numbered_twins();
        let lacking = if elsewhere && !self.can(Capability::Move) {
            "move it to its folder"
        } else if (may_be_numbered || self.is_named_otherwise(row, entry)) && !self.can(Capability::Rename) {
            "give it its name"
        } else if obsolete.is_empty() || self.delete_mode().is_some() {
            return Ok(true);
        } else if self.are_gone(&obsolete).await? {
            return self.note_replaced_by(row, entry).await.map(|()| false);
        } else {
            "delete the file that it replaces"
        };
        Err(Failure::Park(format!(
            "the content is on the service as {}, but the account cannot {lacking}: do that there, then retry",
            entry.name
        )))
    }

    /// After an answer was lost the content may be on the service more than once: what else there is of it
    /// goes with what it replaces. For a removed file it is returned alone.
    pub async fn note_twins(
        &self,
        attempt: &mut AttemptRow,
        entry: &FileEntry,
    ) -> Result<Vec<FileId>, Failure> {
        if !self.is_unclear(attempt) {
            return Ok(Vec::new());
        }
        let twins = self.find_twins(attempt, entry).await?;
        let noted: Vec<_> = twins.iter().map(|twin| twin.as_str().to_owned()).collect();
        let clear = AttemptRow {
            unclear: None,
            ..attempt.clone()
        };
        *attempt = clear.clone();
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed || row.attempt.is_none() {
                    return Change::Skip;
                }
                row.superseded.extend(noted);
                row.attempt = Some(clear);
                Change::Save
            })
            .await?;
        Ok(twins)
    }

    /// The service refuses the row's name for a file that bears another: the content is announced under the
    /// right name, and the file goes when that one is there.
    pub async fn announce_anew(&self, entry: &FileEntry) -> Result<bool, Failure> {
        let file = entry.id.as_str().to_owned();
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.replaces.take_if(|replaced| *replaced == file);
                row.superseded.push(file);
                row.attempt = None;
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        Err(Failure::Superseded)
    }

    /// Tells a file that vanished from the service from other failures.
    pub async fn check(&self, result: Result<(), ProviderError>, entry: &FileEntry) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                if self.file_now(&entry.id).await?.is_none() {
                    return self.note_vanished(None).await;
                }
                if self.is_place_there().await? {
                    return self.note_vanished(Some(entry)).await;
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As [`check`](Self::check), of a move to the row's folder. A service that puts elsewhere what it is to put into a
    /// folder that is gone cannot bring it there later either: it is taken back, and a person is asked.
    async fn check_moved(
        &self,
        moved: Result<(), ProviderError>,
        row: &JournalRow,
        entry: &FileEntry,
    ) -> Result<(), Failure> {
        match moved {
            Err(error)
                if error.kind == ErrorKind::NotFound
                    && is_astray(row, entry)
                    && self.file_now(&entry.id).await?.is_some() =>
            {
                self.delete(vec![entry.id.clone()]).await?;
                Err(Failure::Provider { error, clear: true })
            }
            moved => self.check(moved, entry).await,
        }
    }

    /// Whether the folder exists that the row is to be in.
    async fn is_place_there(&self) -> Result<bool, Failure> {
        let Some(row) = self.row() else { return Ok(false) };
        self.is_folder_there(&row.folder).await
    }

    pub async fn is_folder_there(&self, folder: &str) -> Result<bool, Failure> {
        let folder = FolderId::new(folder);
        match self.provider().list(&folder, ListHint::default()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The uploaded file is gone, or is where nothing can be done with it, such as in the trash with the folder that it
    /// was sent to: the content, which is still here, is sent again.
    pub async fn note_vanished(&self, left: Option<&FileEntry>) -> Result<(), Failure> {
        let left = left.map(|entry| entry.id.as_str().to_owned());
        self.uploads
            .change(self.id, move |row| {
                row.attempt = None;
                if row.state == RowState::Removed {
                    return Change::Delete;
                }
                if let Some(left) = left {
                    row.replaces.take_if(|replaced| *replaced == left);
                    row.superseded.push(left);
                }
                row.state = RowState::Queued;
                Change::Save
            })
            .await?;
        Err(Failure::wait(
            "the uploaded file vanished from the service; it is sent again",
        ))
    }

    pub fn can(&self, capability: Capability) -> bool {
        self.provider().capabilities().has(capability)
    }
}

/// Whether a new file stands where it was not sent to.
fn is_astray(row: &JournalRow, entry: &FileEntry) -> bool {
    let Some(attempt) = &row.attempt else { return false };
    let mut replaced = attempt.replaces.iter().chain(&row.replaces);
    let parent = entry.parent.as_ref();
    parent.is_some_and(|parent| parent.as_str() != attempt.folder)
        && !replaced.any(|replaced| replaced == entry.id.as_str())
}
