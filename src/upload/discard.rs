//! Taking files away: in the journal at once, on the service a moment later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::provider::{DeleteMode, ErrorKind, FileId, FolderId, ItemId};
use crate::state::{DeletionRow, ItemKey, JournalTransaction, RowState, StateError};

use super::deleter::{key_of, shown};
use super::deletions::{self, Standing};
use super::handle::Uploads;
use super::journal::{Unlinked, note_unlinked, unlink};
use super::{PendingId, UploadError};

/// A file, or a folder that is empty, that is to go, as far as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwanted {
    pub account: String,
    /// Where it stands on the service, and under which name there.
    pub folder: FolderId,
    pub name: String,
    pub item: Option<ItemId>,
    /// Bytes.
    pub size: u64,
    pub mode: DeleteMode,
}

impl Unwanted {
    /// The rows for the item itself and for others that a pending file stood for.
    fn rows(&self, stood_for: &[FileId]) -> Vec<DeletionRow> {
        let others = stood_for.iter().cloned().map(ItemId::File);
        let others = others.filter(|other| Some(other) != self.item.as_ref());
        let itself = self.item.iter().map(|item| (key_of(item), self.size));
        let all = itself.chain(others.map(|other| (key_of(&other), 0)));
        all.map(|(item, size)| self.row(item, size)).collect()
    }

    fn row(&self, item: ItemKey, size: u64) -> DeletionRow {
        let purge = self.mode == DeleteMode::Purge;
        deletions::begin(&self.account, item, self.folder.as_str(), &self.name, size, purge)
    }
}

/// What a journaled removal did, to be noted in memory.
pub(super) struct Discarded {
    pub unlinked: Option<(PendingId, Unlinked)>,
    pub rows: Vec<DeletionRow>,
}

/// Removes a pending file's row, and journals the deletion of the file and of all that the row stood for. `None`
/// where the row is gone.
pub(super) fn discard(
    journal: &JournalTransaction<'_>,
    pending: Option<PendingId>,
    unwanted: &Unwanted,
) -> Result<Option<Discarded>, StateError> {
    let mut unlinked = None;
    if let Some(id) = pending {
        let Some(row) = journal.get(id.0)?.filter(|row| row.state != RowState::Removed) else {
            return Ok(None);
        };
        unlinked = Some((id, unlink(journal, row)?));
    }
    let stood_for = unlinked.as_ref().map(|(_, gone)| gone.stood_for.as_slice());
    let mut rows = unwanted.rows(stood_for.unwrap_or_default());
    for row in &mut rows {
        row.id = journal.add_deletion(row)?;
        journal.remove_renames_of(&unwanted.account, &row.item)?;
    }
    Ok(Some(Discarded { unlinked, rows }))
}

/// Notes in memory what was committed.
pub(super) fn note_discarded(table: &mut super::table::Table, discarded: &Discarded) {
    if let Some((id, gone)) = &discarded.unlinked {
        note_unlinked(table, *id, gone);
    }
    let now = Instant::now();
    for row in &discarded.rows {
        table.renames.forget(&row.account, &row.item);
        table.deletions.add(row.clone(), now);
    }
}

impl Uploads {
    /// Takes a file away: its row in the journal and its content here go, and what there is of it on the service
    /// is deleted a moment later, whatever happens meanwhile. Fails with [`UploadError::Gone`] where the row is
    /// gone; nothing is changed then.
    pub async fn discard_file(
        self: &Arc<Self>,
        pending: Option<PendingId>,
        unwanted: Unwanted,
    ) -> Result<(), UploadError> {
        if pending.is_none() && unwanted.item.is_none() {
            return Ok(());
        }
        let work = move |journal: &JournalTransaction<'_>| discard(journal, pending, &unwanted);
        let uploads = self.clone();
        let note = move |discarded: &Option<Discarded>| {
            if let Some(discarded) = discarded {
                uploads.update(|table| note_discarded(table, discarded));
            }
        };
        let discarded = self.database.journal("remove a file", work, note).await?;
        let discarded = discarded.ok_or(UploadError::Gone)?;
        let staging = discarded.unlinked.and_then(|(_, gone)| gone.staging);
        self.delete_discarded(staging.into_iter().collect());
        Ok(())
    }

    pub(super) async fn retry_deletion(self: &Arc<Self>, id: i64) -> Result<bool, UploadError> {
        let known = self.table().deletions.row(id).cloned();
        if known.is_none_or(|row| !row.parked && row.next_try.is_none()) {
            return Ok(false);
        }
        let Some(before) = self.update(|table| table.deletions.claim(id)) else {
            return Ok(false);
        };
        let row = DeletionRow {
            parked: false,
            tries: 0,
            next_try: None,
            last_error: None,
            ..before.clone()
        };
        let was_parked = before.parked;
        let noted = row.clone();
        let work = move |journal: &JournalTransaction<'_>| journal.note_deletion(&noted);
        let (uploads, again) = (self.clone(), row.clone());
        let then = move |_: &bool| {
            uploads.update(|table| {
                table.deletions.put_back(again.clone(), None);
                table.deletions.hurry(&again.account);
            });
        };
        if let Err(error) = self.database.journal("retry a deletion", work, then).await {
            self.update(|table| table.deletions.put_back(before, None));
            return Err(error.into());
        }
        if was_parked {
            self.tell(shown(&row, false)).await;
        }
        Ok(true)
    }

    pub(super) async fn cancel_deletion(self: &Arc<Self>, id: i64) -> Result<bool, UploadError> {
        let Some(row) = self.update(|table| table.deletions.claim(id)) else {
            return Ok(false);
        };
        let work = move |journal: &JournalTransaction<'_>| journal.remove_deletion(id);
        let (uploads, account) = (self.clone(), row.account.clone());
        let then = move |_: &bool| {
            uploads.update(|table| {
                table.deletions.remove(id, false);
                table.wake(&account);
            });
        };
        if let Err(error) = self.database.journal("cancel a deletion", work, then).await {
            self.update(|table| table.deletions.put_back(row, None));
            return Err(error.into());
        }
        if !row.parked {
            self.tell(shown(&row, true)).await;
        }
        Ok(true)
    }

    /// Forgets what was to be done with an item and the service refused: it is used again, as it is.
    pub async fn keep_item(self: &Arc<Self>, account: &str, item: &ItemId) -> Result<(), UploadError> {
        let item = key_of(item);
        let (deletion, renames) = {
            let table = self.table();
            (
                table.deletions.parked(account, &item),
                table.renames.parked(account, &item),
            )
        };
        if deletion.is_none() && renames.is_empty() {
            return Ok(());
        }
        let gone = renames.clone();
        let work = move |journal: &JournalTransaction<'_>| {
            if let Some(id) = deletion {
                journal.remove_deletion(id)?;
            }
            renames
                .iter()
                .try_for_each(|id| journal.remove_rename(*id).map(drop))
        };
        let uploads = self.clone();
        let then = move |(): &()| {
            uploads.update(|table| {
                deletion
                    .into_iter()
                    .for_each(|id| table.deletions.remove(id, false));
                gone.iter().for_each(|id| table.renames.remove(*id));
            });
        };
        Ok(self.database.journal("keep an item", work, then).await?)
    }

    /// How many items are to be deleted still that were removed from a folder.
    pub fn going_from(&self, account: &str, folder: &FolderId) -> usize {
        self.table().deletions.ids_in(account, folder.as_str()).len()
    }

    /// A folder was deleted on the service, and with it all that was removed from it before.
    pub async fn went_with_folder(
        self: &Arc<Self>,
        account: &str,
        folder: &FolderId,
    ) -> Result<(), UploadError> {
        let ids = self.table().deletions.ids_in(account, folder.as_str());
        if ids.is_empty() {
            return Ok(());
        }
        let (gone, uploads, account) = (ids.clone(), self.clone(), account.to_owned());
        let work = move |journal: &JournalTransaction<'_>| {
            ids.iter()
                .try_for_each(|id| journal.remove_deletion(*id).map(drop))
        };
        let then = move |(): &()| {
            uploads.update(|table| {
                gone.iter().for_each(|id| table.deletions.remove(*id, true));
                table.wake(&account);
            });
        };
        Ok(self.database.journal("note deletions", work, then).await?)
    }

    /// Begins to note what is deleted, for a listing that is asked for now: however late its answer comes, what
    /// went meanwhile is known.
    pub fn watch_deletions(self: &Arc<Self>, account: &str) -> DeletionWatch {
        DeletionWatch {
            uploads: self.clone(),
            account: account.to_owned(),
            watch: self.table().deletions.watch(account),
        }
    }

    /// Waits until nothing of an account is in the way at a place: what was removed there is deleted, and no
    /// removed file looks any more for what its upload may have left, for which a file that comes to bear the
    /// name could be taken. At once where nothing is to be cleared away; fails as soon as the service does.
    pub async fn wait_until_cleared(
        &self,
        account: &str,
        folder: &FolderId,
        name: &str,
        limit: Duration,
    ) -> Result<(), UploadError> {
        self.wait_for_deletions(account, folder, Some(name), true, limit)
            .await
    }

    /// The same for what was removed there alone: remains of uploads do not matter to a folder.
    pub async fn wait_until_deleted(
        &self,
        account: &str,
        folder: &FolderId,
        name: &str,
        limit: Duration,
    ) -> Result<(), UploadError> {
        self.wait_for_deletions(account, folder, Some(name), false, limit)
            .await
    }

    /// The same for all that was removed from a folder and still is to be deleted.
    pub async fn wait_until_emptied(
        &self,
        account: &str,
        folder: &FolderId,
        limit: Duration,
    ) -> Result<(), UploadError> {
        self.wait_for_deletions(account, folder, None, false, limit).await
    }

    async fn wait_for_deletions(
        &self,
        account: &str,
        folder: &FolderId,
        name: Option<&str>,
        remains: bool,
        limit: Duration,
    ) -> Result<(), UploadError> {
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(limit));
        let mut urged = false;
        loop {
            let (standing, clearing) = {
                let mut table = self.table();
                if !std::mem::replace(&mut urged, true) {
                    table.deletions.urge(account, folder.as_str(), name);
                }
                let clearing = name
                    .filter(|_| remains)
                    .is_some_and(|name| table.is_being_cleared(account, folder.as_str(), name, None));
                (table.deletions.standing(account, folder.as_str(), name), clearing)
            };
            match standing {
                Standing::Clear if !clearing => return Ok(()),
                Standing::Failed { kind, error } => return Err(UploadError::NotDeleted { kind, error }),
                Standing::Clear | Standing::Going => {}
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => {
                    let error = "it is still being cleared away: try again later".to_owned();
                    return Err(UploadError::NotDeleted { kind: ErrorKind::Busy, error });
                }
                () = self.stopping.cancelled() => return Err(UploadError::Stopped),
            }
        }
    }
}

/// What is going on an account, and what went since this was made.
pub struct DeletionWatch {
    uploads: Arc<Uploads>,
    account: String,
    watch: u64,
}

impl DeletionWatch {
    /// Whether items are not to be shown, in their order.
    pub fn are_gone<'a>(&self, items: impl Iterator<Item = &'a ItemId>) -> Vec<bool> {
        let table = self.uploads.table();
        let is_gone = |item| table.deletions.is_gone(&self.account, self.watch, &key_of(item));
        items.map(is_gone).collect()
    }
}

impl Drop for DeletionWatch {
    fn drop(&mut self) {
        self.uploads.table().deletions.unwatch(&self.account, self.watch);
    }
}
