//! The intent of a rename, held by who takes its first step. While it is held nobody else takes a step of it; let go
//! before its end, by an error, a cancelled call or a panic, the rename is finished by itself, or dropped where the
//! first step had no effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::state::{JournalTransaction, RenameRow};
use crate::upload::discard::Unwanted;
use crate::upload::handle::Uploads;
use crate::upload::{PendingId, UploadError};

use super::first_step::{Noted, Source};

/// A rename that was written down.
pub struct RenameIntent {
    uploads: Arc<Uploads>,
    id: i64,
    is_held: bool,
}

impl RenameIntent {
    /// Of a row that was added as busy.
    pub(super) fn new(uploads: Arc<Uploads>, id: i64) -> Self {
        let is_held = true;
        RenameIntent { uploads, id, is_held }
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// The content does not go under the id of the target: the target is replaced by a rename.
    pub async fn not_in_place(&self) -> Result<(), UploadError> {
        let id = self.id;
        let work = move |journal: &JournalTransaction<'_>| {
            let Some(mut row) = journal.rename_row(id)? else {
                return Ok(None);
            };
            row.in_place = false;
            journal.put_rename(&row)?;
            Ok(Some(row))
        };
        let uploads = self.uploads.clone();
        let note = move |row: &Option<RenameRow>| {
            if let Some(row) = row.clone() {
                uploads.update(|table| table.renames.set(row));
            }
        };
        self.uploads.database.journal("note a rename", work, note).await?;
        Ok(())
    }

    /// The first step took effect: from now on the rename holds. The target is as it is now.
    pub async fn begun(&self, target: Option<(Unwanted, Option<PendingId>)>) -> Result<Noted, UploadError> {
        self.uploads.note_begun(self.id, target, Source::Watched).await
    }

    /// The first step had no effect, and there is none to come.
    pub async fn abandon(mut self) -> Result<(), UploadError> {
        self.uploads.end_rename(self.id).await?;
        self.is_held = false;
        Ok(())
    }

    /// Lets the remaining steps be taken, and waits for them. A failure does not end the rename.
    pub async fn finish(mut self, limit: Duration) -> Result<(), UploadError> {
        self.let_go();
        self.uploads.wait_for_rename(self.id, limit).await
    }

    fn let_go(&mut self) {
        if std::mem::replace(&mut self.is_held, false) {
            self.uploads
                .update(|table| table.renames.release(self.id, Instant::now()));
        }
    }
}

impl Drop for RenameIntent {
    fn drop(&mut self) {
        self.let_go();
    }
}
