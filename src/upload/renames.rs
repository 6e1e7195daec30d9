//! Renames that take several steps on the service, from before the first step until after the last one.
//!
//! Who renames writes the intent down, takes the first step and notes that it took effect; with that note goes, in
//! the same transaction, all that is journaled beside it: the row that is renamed along and the deletion of what
//! stood there. From then on the rename is finished by itself, in this life or the next. An intent that its owner
//! lets go before that note is looked up: it is rolled forward where the first step took effect, and dropped
//! where it did not.
//!
//! It makes no call to the service: the first step is made by who renames, the others by the renamer.

mod first_step;
mod intent;
mod open;
mod row;
mod wait;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::provider::{ErrorKind, FolderId, ItemId};
use crate::state::{JournalTransaction, RenameRow};

use super::discard::Unwanted;
use super::handle::Uploads;
use super::{PendingId, UploadError};

pub use first_step::Noted;
pub use intent::RenameIntent;

pub(super) use first_step::Source;
pub(super) use open::Renames;
pub(super) use row::{bearer, needs_name, renamed, target_of};

/// A rename that takes more than one step on the service.
#[derive(Debug, Clone)]
pub struct NewRename {
    pub account: String,
    pub item: ItemId,
    /// Names as the service holds them.
    pub from: (FolderId, String),
    pub to: (FolderId, String),
    /// The time that the item has and keeps.
    pub mtime: Option<SystemTime>,
    /// The pending file that is renamed along.
    pub pending: Option<PendingId>,
    /// What it takes the place of, and the row of that.
    pub target: Option<(Unwanted, Option<PendingId>)>,
    /// Whether the content is to go under the id of what it takes the place of.
    pub in_place: bool,
}

impl Uploads {
    /// Writes a rename down before its first step.
    pub async fn begin_rename(self: &Arc<Self>, new: NewRename) -> Result<RenameIntent, UploadError> {
        self.begin_rename_anew(new, None).await
    }

    /// The same in the place of an intent whose source was uploaded before it was begun, so that there is no moment
    /// without one.
    pub async fn begin_rename_anew(
        self: &Arc<Self>,
        new: NewRename,
        before: Option<RenameIntent>,
    ) -> Result<RenameIntent, UploadError> {
        let target = new.target.iter().filter_map(|(target, _)| target.item.as_ref());
        // What is put under the id of the target is not to be deleted with it.
        for item in target.filter(|_| new.in_place).chain([&new.item]) {
            self.keep_item(&new.account, item).await?;
        }
        let mut row = row::row_of(new);
        let old = before.as_ref().map(RenameIntent::id);
        let work = move |journal: &JournalTransaction<'_>| {
            if let Some(old) = old {
                journal.remove_rename(old)?;
            }
            row.id = journal.add_rename(&row)?;
            Ok(row)
        };
        let uploads = self.clone();
        let (give, taken) = tokio::sync::oneshot::channel();
        let note = move |row: &RenameRow| {
            uploads.update(|table| {
                old.into_iter().for_each(|old| table.renames.remove(old));
                table.renames.add(row.clone(), true);
            });
            // A caller that goes away leaves the intent in the channel, which drops it.
            let _ = give.send(RenameIntent::new(uploads, row.id));
        };
        self.database.journal("begin a rename", work, note).await?;
        taken.await.map_err(|_| UploadError::Stopped)
    }

    /// Forgets a rename of which nothing is left to be done.
    pub(super) async fn end_rename(self: &Arc<Self>, id: i64) -> Result<bool, UploadError> {
        let uploads = self.clone();
        let work = move |journal: &JournalTransaction<'_>| journal.remove_rename(id);
        let note = move |_: &bool| uploads.update(|table| table.renames.remove(id));
        Ok(self.database.journal("end a rename", work, note).await?)
    }

    /// Writes a row in the place of the one with its id, and lets go of it.
    pub(super) async fn write_rename(
        self: &Arc<Self>,
        row: RenameRow,
        failure: Option<ErrorKind>,
    ) -> Result<bool, UploadError> {
        let (uploads, noted) = (self.clone(), row.clone());
        let work = move |journal: &JournalTransaction<'_>| journal.put_rename(&row);
        let note = move |_: &bool| uploads.update(|table| table.renames.put_back(noted, failure));
        Ok(self.database.journal("note a rename", work, note).await?)
    }

    pub(super) async fn retry_rename(self: &Arc<Self>, id: i64) -> Result<bool, UploadError> {
        let Some(before) = self.update(|table| table.renames.claim(id)) else {
            return Ok(false);
        };
        if !before.parked && before.next_try.is_none() {
            self.update(|table| table.renames.release(id, Instant::now()));
            return Ok(false);
        }
        let mut row = before.clone();
        (row.parked, row.tries, row.next_try, row.last_error) = (false, 0, None, None);
        let written = self.write_rename(row, None).await;
        if written.is_err() {
            self.update(|table| table.renames.put_back(before, None));
        }
        written
    }

    pub(super) async fn cancel_rename(self: &Arc<Self>, id: i64) -> Result<bool, UploadError> {
        let Some(row) = self.update(|table| table.renames.claim(id)) else {
            return Ok(false);
        };
        let ended = self.end_rename(id).await;
        match ended {
            Ok(_) => self.tell(renamed(&row)).await,
            Err(_) => self.update(|table| table.renames.put_back(row, None)),
        }
        ended
    }
}
