//! The end of an upload: the row goes, or rests while a writer has the file, and what the service does not
//! keep of the file is noted in the index in the same transaction.

use crate::provider::{Capability, FileEntry, FileId};
use crate::state::{AttemptRow, ItemFacts, ItemKey, JournalRow, JournalTransaction, RowState};

use super::UploadEvent;
use super::engine::Worker;
use super::journal::{Change, Changed, Facts};
use super::outcome::Failure;
use super::table::{Item, Outcome, Step};

impl Worker {
    /// Forgets the row and its content, if nobody changed the row since it was read. False where somebody
    /// did. A file that a writer holds stays pending, with nothing left to do. `hash` is that of the content,
    /// where the service told it and it was found to be right.
    pub async fn finish(
        &self,
        row: &JournalRow,
        attempt: &AttemptRow,
        entry: &FileEntry,
        hash: Option<&str>,
    ) -> Result<bool, Failure> {
        let close = |item: &mut Item| {
            let held = item.holds > 0 || item.draft.is_some();
            if let Some(run) = item.run.as_mut().filter(|_| !held) {
                run.step = Step::Finishing;
            }
            held
        };
        let held = self.uploads.update(|table| table.change(self.id, close));
        if held.unwrap_or(false) {
            return self.rest(row, attempt, entry, hash).await;
        }
        let sent = self.sent(attempt, entry, hash);
        if let Err(error) = self.pin(sent.as_ref()).await {
            self.set_step(Step::Verifying);
            return Err(error.into());
        }
        let (id, seen, facts) = (self.id, row.clone(), self.facts(row, entry, hash));
        let item = ItemKey::File(entry.id.as_str().to_owned());
        let work = move |journal: &JournalTransaction<'_>| {
            if journal.get(seen.id)?.as_ref() != Some(&seen) {
                return Ok(false);
            }
            if let Some(staging) = &seen.staging {
                journal.discard(staging)?;
            }
            if let Some(facts) = &facts {
                facts.note(journal)?;
            }
            journal.set_mode(&seen.account, &item, seen.mode)?;
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
            self.unpin(sent.as_ref()).await;
            self.set_step(Step::Verifying);
            return finished.map_err(|error| Failure::Local(error.into()));
        }
        self.leave(sent, row.staging.clone()).await;
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

    async fn rest(
        &self,
        row: &JournalRow,
        attempt: &AttemptRow,
        entry: &FileEntry,
        hash: Option<&str>,
    ) -> Result<bool, Failure> {
        let (seen, file) = (row.clone(), entry.id.as_str().to_owned());
        // It was brought there, and the place to which it was sent is free for others.
        let attempt = AttemptRow {
            folder: row.folder.clone(),
            name: row.name.clone(),
            file: Some(file.clone()),
            ..attempt.clone()
        };
        let change = move |row: &mut JournalRow| {
            if *row != seen {
                return Change::Skip;
            }
            row.state = RowState::Staged;
            (row.tries, row.next_try, row.last_error) = (0, None, None);
            row.replaces = Some(file);
            row.attempt = Some(attempt);
            Change::Save
        };
        let facts = self.facts(row, entry, hash);
        let changed = self.uploads.change_with(self.id, facts, change).await?;
        if !matches!(changed, Changed::Saved(_)) {
            return Ok(false);
        }
        let outcome = Outcome::Done {
            generation: row.generation,
            entry: entry.clone(),
        };
        self.uploads
            .update(|table| table.change(self.id, |item| item.tell(outcome)));
        Ok(true)
    }

    /// What the index is to know of an uploaded file, on a service that does not keep times.
    pub fn facts(&self, row: &JournalRow, entry: &FileEntry, hash: Option<&str>) -> Option<Facts> {
        let needed = !self.can(Capability::ModificationTime);
        needed.then(|| Facts {
            id_space: self.provider().id_space(),
            item: ItemKey::File(entry.id.as_str().to_owned()),
            facts: ItemFacts {
                mtime: Some(row.mtime),
                hash: hash.map(str::to_owned),
            },
        })
    }

    /// Forgets what the index knows of files that are deleted. What stays there does no harm: the ids of
    /// deleted files are not used again.
    pub async fn forget_facts(&self, files: &[FileId]) {
        if self.can(Capability::ModificationTime) {
            return;
        }
        let keys = files.iter().map(|file| ItemKey::File(file.as_str().to_owned()));
        let keys: Vec<_> = keys.collect();
        let (database, id_space) = (&self.uploads.database, self.provider().id_space());
        let (facts, modes) = tokio::join!(
            database.forget_facts(&id_space, keys.clone()),
            database.forget_modes(&self.account.name, keys),
        );
        if let Err(error) = facts.and(modes) {
            tracing::debug!(%error, "facts of deleted files stay in the index");
        }
    }
}
