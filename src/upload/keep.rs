//! Empty contents on a service that takes none: what the content took the place of goes there, and the
//! file rests here until it gets content.

use crate::provider::FileId;
use crate::state::{JournalRow, RowState};

use super::UploadEvent;
use super::engine::{MISSING, Worker};
use super::journal::{Change, Changed};
use super::outcome::Failure;

impl Worker {
    /// Lets an empty content rest. False where the row has to be looked at again.
    pub async fn keep(&mut self, row: &JournalRow) -> Result<bool, Failure> {
        let staged = self
            .uploads
            .table()
            .item(self.id)
            .filter(|item| item.row.generation == row.generation)
            .map(|item| item.staged.clone());
        let Some(staged) = staged else {
            return Ok(false);
        };
        let staged = staged.ok_or_else(|| Failure::Park(MISSING.into()))?;
        if staged.len() > 0 {
            return Err(Failure::Superseded);
        }
        // Its base may be what goes now, and a content that comes later has nothing of it.
        staged.finish_base();
        if row.base.is_some() {
            return self.let_base_go(row.generation).await.map(|()| false);
        }
        if let Some(mut attempt) = row.attempt.clone() {
            let left = match attempt.file.clone() {
                Some(file) => self.file_now(&FileId::new(file)).await?,
                None => self.find(&attempt).await?,
            };
            match left {
                Some(entry) => {
                    self.note_twins(&mut attempt, &entry).await?;
                    self.absorb(&entry).await?;
                }
                None => self.clear_attempt().await?,
            }
            return Ok(false);
        }
        let gone: Vec<_> = row.replaces.iter().chain(&row.superseded).cloned().collect();
        if !gone.is_empty() {
            self.delete(gone.iter().cloned().map(FileId::new).collect())
                .await?;
        }
        let generation = row.generation;
        let kept = self
            .uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.replaces.take_if(|old| gone.contains(old));
                row.superseded.retain(|old| !gone.contains(old));
                if row.generation == generation && row.replaces.is_none() && row.superseded.is_empty() {
                    row.state = RowState::Kept;
                    (row.tries, row.next_try, row.last_error) = (0, None, None);
                }
                Change::Save
            })
            .await?;
        if matches!(&kept, Changed::Saved(row) if row.replaces.is_none()) {
            // Nothing of it is left on the service, under whatever name.
            self.uploads.update(|table| table.set_left(self.id, None));
        }
        match kept {
            Changed::Saved(row) if row.state == RowState::Kept => {
                let (account, id) = (row.account, self.id);
                self.uploads.tell(UploadEvent::Kept { account, id }).await;
                Ok(true)
            }
            Changed::Saved(_) | Changed::Skipped => Ok(false),
            Changed::Deleted | Changed::Absent => Ok(true),
        }
    }

    async fn let_base_go(&self, generation: u64) -> Result<(), Failure> {
        self.uploads
            .change(self.id, move |row| {
                if row.state == RowState::Removed || row.generation != generation {
                    return Change::Skip;
                }
                (row.base, row.missing) = (None, Vec::new());
                Change::Save
            })
            .await?;
        Ok(())
    }
}
