//! Deleting on the service what the journal holds for it: one task for each account, which gathers rows for a
//! moment and sends them together where the service takes many at once.
//!
//! A failure that may pass puts all rows of a call off. A refusal for good is traced to the rows that cause it by
//! halving, within a limit of calls, and only those are parked. A folder goes only while it is empty.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::provider::{Capability, DeleteMode, ErrorKind, FileId, FolderId, ItemId, ListHint, Provider};
use crate::state::{DeletionRow, ItemKey, JournalTransaction};

use super::UploadEvent;
use super::deletions::Take;
use super::fate::Fate;
use super::handle::Uploads;

/// Items in one call at most.
const BATCH: usize = 500;
/// Items that are taken together where each takes a call of its own, and how many of the calls go side by side.
const SINGLES: usize = 32;
const SIDE_BY_SIDE: usize = 4;
/// Calls in one round that look for what the service refuses. What is left is looked at in the next one.
const SEARCH_CALLS: usize = 64;

/// Deletes for one account until the program stops.
pub(super) async fn serve(
    uploads: Arc<Uploads>,
    account: String,
    provider: Arc<dyn Provider>,
    wake: Arc<Notify>,
) {
    let deleter = Deleter {
        uploads,
        account,
        provider,
    };
    let uploads = &deleter.uploads;
    while !uploads.stopping.is_cancelled() {
        let most = match deleter.can(Capability::Batches) {
            true => BATCH,
            false => SINGLES,
        };
        let take = {
            let mut table = uploads.table();
            let draining = table.drains > 0;
            table
                .deletions
                .take(&deleter.account, most, draining, Instant::now())
        };
        let due = match take {
            Take::Delete(rows) => {
                let fates = deleter.delete(rows).await;
                deleter.note(fates).await;
                continue;
            }
            Take::Sleep(due) => due,
        };
        uploads.sleep(due, &wake).await;
    }
}

struct Deleter {
    uploads: Arc<Uploads>,
    account: String,
    provider: Arc<dyn Provider>,
}

type Fates = Vec<(DeletionRow, Fate)>;

impl Deleter {
    fn can(&self, capability: Capability) -> bool {
        self.provider.capabilities().has(capability)
    }

    async fn delete(&self, rows: Vec<DeletionRow>) -> Fates {
        let (folders, files): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| matches!(row.item, ItemKey::Folder(_)));
        let (purged, trashed): (Vec<_>, Vec<_>) = files.into_iter().partition(|row| row.purge);
        let mut fates = Vec::new();
        for files in [purged, trashed] {
            if self.can(Capability::Batches) {
                self.delete_together(files, &mut fates).await;
            } else {
                self.delete_singly(files, &mut fates).await;
            }
        }
        for folder in folders {
            let fate = self.delete_folder(&folder).await;
            fates.push((folder, fate));
        }
        fates
    }

    async fn delete_together(&self, files: Vec<DeletionRow>, fates: &mut Fates) {
        let mut parts = VecDeque::from([files]);
        let mut calls = 0;
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            if calls >= SEARCH_CALLS || self.uploads.stopping.is_cancelled() {
                let text = "the service refuses some of what is to be deleted; which is being found out";
                let fate = Fate::later(ErrorKind::Busy, text);
                fates.extend(part.into_iter().map(|row| (row, fate.clone())));
                continue;
            }
            calls += 1;
            match self.call(&part).await {
                Fate::Refused(_) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([part, second]);
                }
                fate if fate.passes() => {
                    let all = std::iter::once(part).chain(parts.drain(..)).flatten();
                    fates.extend(all.map(|row| (row, fate.clone())));
                }
                fate => fates.extend(part.into_iter().map(|row| (row, fate.clone()))),
            }
        }
    }

    async fn delete_singly(&self, files: Vec<DeletionRow>, fates: &mut Fates) {
        let mut left = files.into_iter();
        loop {
            let some: Vec<_> = left.by_ref().take(SIDE_BY_SIDE).collect();
            if some.is_empty() {
                return;
            }
            let told = join_all(some.iter().map(|row| self.call(std::slice::from_ref(row)))).await;
            let passing = told.iter().find(|fate| fate.passes()).cloned();
            fates.extend(some.into_iter().zip(told));
            // What keeps one from going keeps the others.
            if let Some(fate) = passing {
                fates.extend(left.map(|row| (row, fate.clone())));
                return;
            }
        }
    }

    /// Deletes a folder that is empty now: whatever came into it since it was to be deleted stays.
    async fn delete_folder(&self, row: &DeletionRow) -> Fate {
        let ItemKey::Folder(id) = &row.item else {
            return self.call(std::slice::from_ref(row)).await;
        };
        match self
            .provider
            .list(&FolderId::new(id.clone()), ListHint::default())
            .await
        {
            Ok(listing) if listing.entries.is_empty() && !listing.incomplete => {
                self.call(std::slice::from_ref(row)).await
            }
            Ok(_) => Fate::refused(ErrorKind::NotEmpty, "the folder is not empty any more"),
            Err(error) => Fate::of(&error),
        }
    }

    /// One call of the provider for items that go the same way.
    async fn call(&self, rows: &[DeletionRow]) -> Fate {
        let purge = rows.first().is_some_and(|row| row.purge);
        let mode = match purge && self.can(Capability::Purge) {
            true => DeleteMode::Purge,
            false => DeleteMode::Trash,
        };
        let items: Vec<_> = rows.iter().map(|row| item_of(&row.item)).collect();
        match self.provider.delete(&items, mode).await {
            Ok(()) => Fate::Done,
            Err(error) if error.kind == ErrorKind::NotFound && rows.len() == 1 => Fate::Done,
            Err(error) => Fate::of(&error),
        }
    }

    /// Writes down what became of rows, and tells it.
    async fn note(&self, fates: Fates) {
        let (uploads, options) = (&self.uploads, &self.uploads.options);
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (mut row, fate) in fates {
            let Some(next) = fate.schedule(row.tries, options) else {
                gone.push(row);
                continue;
            };
            (row.parked, row.tries) = (next.parked, next.tries);
            (row.next_try, row.last_error) = (next.next_try, next.last_error);
            kept.push((row, next.failure));
        }
        if let Some((row, _)) = kept.first() {
            let (account, count) = (&self.account, kept.len());
            let error = row.last_error.as_deref().unwrap_or_default();
            tracing::warn!(account, count, "deletions have to wait: {error}");
        }
        let ids: Vec<_> = gone.iter().map(|row| (row.id, row.item.clone())).collect();
        let noted: Vec<_> = gone.iter().map(|row| row.id).collect();
        let (written, account) = (kept.clone(), self.account.clone());
        let work = move |journal: &JournalTransaction<'_>| {
            for (id, item) in &ids {
                journal.remove_deletion(*id)?;
                journal.set_mode(&account, item, None)?;
            }
            written
                .iter()
                .try_for_each(|(row, _)| journal.note_deletion(row).map(drop))
        };
        let frees = gone.iter().any(|row| row.size > 0);
        let (handle, account, put_back) = (uploads.clone(), self.account.clone(), kept.clone());
        let then = move |(): &()| {
            handle.update(|table| {
                for id in noted {
                    table.deletions.remove(id, true);
                }
                for (row, kind) in put_back {
                    table.deletions.put_back(row, Some(kind));
                }
                table.wake(&account);
            });
        };
        if let Err(error) = uploads.database.journal("note deletions", work, then).await {
            tracing::error!(%error, "the journal cannot be written");
            let due = Instant::now() + options.retry_min;
            let all = gone.iter().chain(kept.iter().map(|(row, _)| row));
            uploads.update(|table| all.for_each(|row| table.deletions.release(row.id, due)));
            return;
        }
        for (row, _) in kept.iter().filter(|(row, _)| row.parked) {
            uploads.tell(shown(row, true)).await;
        }
        self.forget_facts(&gone).await;
        if frees && let Err(error) = uploads.room_was_made(&self.account).await {
            tracing::error!(%error, "the journal cannot be written");
        }
    }

    /// Forgets what the index knows of items that are gone. What stays there does no harm.
    async fn forget_facts(&self, gone: &[DeletionRow]) {
        if self.can(Capability::ModificationTime) || gone.is_empty() {
            return;
        }
        let keys = gone.iter().map(|row| row.item.clone()).collect();
        let forgotten = self
            .uploads
            .database
            .forget_facts(&self.provider.id_space(), keys)
            .await;
        if let Err(error) = forgotten {
            tracing::debug!(%error, "facts of deleted items stay in the index");
        }
    }
}

pub(super) fn item_of(key: &ItemKey) -> ItemId {
    match key {
        ItemKey::File(id) => ItemId::File(FileId::new(id.clone())),
        ItemKey::Folder(id) => ItemId::Folder(FolderId::new(id.clone())),
    }
}

pub(super) fn key_of(item: &ItemId) -> ItemKey {
    match item {
        ItemId::File(id) => ItemKey::File(id.as_str().to_owned()),
        ItemId::Folder(id) => ItemKey::Folder(id.as_str().to_owned()),
    }
}

/// The news that an item is shown again, or hidden again.
pub(super) fn shown(row: &DeletionRow, shown: bool) -> UploadEvent {
    UploadEvent::Deletion {
        account: row.account.to_string(),
        folder: FolderId::new(&*row.folder),
        size: row.size,
        shown,
    }
}
