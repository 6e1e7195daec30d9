//! Renames that take several steps on the service, from before the first step until after the last one.
//!
//! Who renames writes the intent down, takes the first step and notes that it took effect; with that note goes, in
//! the same transaction, all that is journaled beside it: the row that is renamed along and the deletion of what
//! stood there. From then on the rename is finished by itself, in this life or the next. An intent that its owner
//! lets go before that note is looked up: it is rolled forward where the first step took effect, and dropped
//! where it did not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::provider::{DeleteMode, ErrorKind, FolderId, ItemId};
use crate::state::{ItemKey, JournalRow, JournalTransaction, RenameRow, RowState, StateError};

use super::deleter::{item_of, key_of};
use super::discard::{Discarded, Unwanted, discard, note_discarded};
use super::handle::Uploads;
use super::operations::{OperationId, OperationKind, OperationState, PendingOperation};
use super::table::to_instant;
use super::{PendingId, UploadError, UploadEvent};

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

/// What came of noting that a first step took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    Begun,
    /// The pending file that was to be renamed along was uploaded or removed this moment: the intent is dropped.
    SourceEnded,
    /// The same of the pending file whose place is taken: nothing is noted.
    TargetEnded,
}

struct Rename {
    row: RenameRow,
    due: Instant,
    /// Somebody is at it.
    busy: bool,
    /// What the service answered when it was tried last in this run of the program.
    failure: Option<ErrorKind>,
}

/// The open renames in memory. There are few: who renames waits for the service.
#[derive(Default)]
pub(super) struct Renames {
    rows: HashMap<i64, Rename>,
    wakes: HashMap<String, Arc<Notify>>,
    served: HashSet<String>,
}

impl Renames {
    pub fn add(&mut self, row: RenameRow, busy: bool) {
        let due = row.next_try.map_or_else(Instant::now, to_instant);
        let rename = Rename {
            due,
            busy,
            failure: None,
            row,
        };
        self.rows.insert(rename.row.id, rename);
    }

    pub fn serve(&mut self, account: &str) -> Arc<Notify> {
        self.served.insert(account.to_owned());
        self.wakes.entry(account.to_owned()).or_default().clone()
    }

    fn wake(&self, account: &str) {
        if let Some(wake) = self.wakes.get(account) {
            wake.notify_one();
        }
    }

    /// Rows of an account that are due, which are busy from then on; or when the next one is due.
    pub fn take(&mut self, account: &str, now: Instant) -> Result<Vec<RenameRow>, Option<Instant>> {
        let idle = |rename: &&mut Rename| rename.row.account == account && !rename.busy && !rename.row.parked;
        let (mut taken, mut next) = (Vec::new(), None::<Instant>);
        for rename in self.rows.values_mut().filter(idle) {
            if rename.due <= now {
                rename.busy = true;
                taken.push(rename.row.clone());
            } else {
                next = Some(next.map_or(rename.due, |next| next.min(rename.due)));
            }
        }
        if taken.is_empty() { Err(next) } else { Ok(taken) }
    }

    /// Takes a row over as it was committed.
    fn set(&mut self, row: RenameRow) {
        if let Some(rename) = self.rows.get_mut(&row.id) {
            rename.row = row;
        }
    }

    /// Notes that a try ended; the row is as committed.
    pub fn put_back(&mut self, row: RenameRow, failure: Option<ErrorKind>) {
        let account = row.account.clone();
        if let Some(rename) = self.rows.get_mut(&row.id) {
            rename.due = row.next_try.map_or_else(Instant::now, to_instant);
            (rename.busy, rename.failure, rename.row) = (false, failure, row);
        }
        self.wake(&account);
    }

    /// Lets whoever finishes renames have a row at `due`.
    pub fn release(&mut self, id: i64, due: Instant) {
        let Some(rename) = self.rows.get_mut(&id) else {
            return;
        };
        (rename.busy, rename.due) = (false, due);
        let account = rename.row.account.clone();
        self.wake(&account);
    }

    pub fn remove(&mut self, id: i64) {
        self.rows.remove(&id);
    }

    /// An item is to be deleted, and its rows are gone.
    pub fn forget(&mut self, account: &str, item: &ItemKey) {
        self.rows
            .retain(|_, rename| rename.row.account != account || !concerns(&rename.row, item));
    }

    fn claim(&mut self, id: i64) -> Option<RenameRow> {
        let rename = self.rows.get_mut(&id).filter(|rename| !rename.busy)?;
        rename.busy = true;
        Some(rename.row.clone())
    }

    /// Whether work is left that goes on by itself.
    pub fn is_busy(&self) -> bool {
        let mut rows = self.rows.values();
        rows.any(|rename| !rename.row.parked && self.served.contains(&rename.row.account))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn snapshots(&self) -> Vec<PendingOperation> {
        self.rows.values().map(Rename::snapshot).collect()
    }

    /// The items whose names are still to be given, with those names.
    fn names(&self, account: &str) -> HashMap<ItemId, String> {
        let here = |rename: &&Rename| rename.row.account == account && rename.row.begun && !rename.row.parked;
        let rows = self.rows.values().filter(here).map(|rename| &rename.row);
        rows.map(|row| (item_of(&bearer(row)), row.to_name.clone()))
            .collect()
    }

    /// The parked rows of an item.
    pub fn parked(&self, account: &str, item: &ItemKey) -> Vec<i64> {
        let of_item = |row: &&RenameRow| row.account == account && row.parked && concerns(row, item);
        let rows = self.rows.values().map(|rename| &rename.row);
        rows.filter(of_item).map(|row| row.id).collect()
    }

    /// Whether an item is to get another name or place.
    pub fn is_open(&self, account: &str, item: &ItemKey) -> bool {
        self.of_item(account, item).is_some()
    }

    fn of_item(&self, account: &str, item: &ItemKey) -> Option<&Rename> {
        let mut rows = self.rows.values();
        rows.find(|rename| rename.row.account == account && !rename.row.parked && concerns(&rename.row, item))
    }
}

impl Rename {
    fn snapshot(&self) -> PendingOperation {
        let row = &self.row;
        let error = || row.last_error.clone().unwrap_or_default();
        let state = match (row.parked, row.next_try) {
            (true, _) => OperationState::Parked { reason: error() },
            _ if self.busy => OperationState::Running,
            (_, Some(until)) => OperationState::Waiting {
                until,
                error: error(),
            },
            _ => OperationState::Queued,
        };
        PendingOperation {
            id: OperationId::Rename(row.id),
            account: row.account.clone(),
            kind: OperationKind::Rename,
            folder: FolderId::new(row.from_folder.clone()),
            name: row.from_name.clone(),
            to: Some((FolderId::new(row.to_folder.clone()), row.to_name.clone())),
            state,
            tries: row.tries,
        }
    }
}

/// The item that bears the new name in the end.
pub(super) fn bearer(row: &RenameRow) -> ItemKey {
    match (&row.target, row.in_place) {
        (Some(target), true) => ItemKey::File(target.clone()),
        _ => row.item.clone(),
    }
}

fn concerns(row: &RenameRow, item: &ItemKey) -> bool {
    row.item == *item || bearer(row) == *item
}

/// Whether the name is to be given after the first step: what stood there, or the service's care for it, may have
/// kept the item from it.
pub(super) fn needs_name(row: &RenameRow) -> bool {
    let moved = row.from_folder != row.to_folder;
    // An upload of a pending target may have put a file there by then.
    row.target.is_some() || row.target_pending.is_some() || (moved && row.from_name != row.to_name)
}

/// What the target of a row is, for a life that only has the row.
pub(super) fn target_of(row: &RenameRow) -> Option<(Unwanted, Option<PendingId>)> {
    if row.in_place || (row.target.is_none() && row.target_pending.is_none()) {
        return None;
    }
    let item = row.target.clone().map(|target| match row.item {
        ItemKey::File(_) => ItemKey::File(target),
        ItemKey::Folder(_) => ItemKey::Folder(target),
    });
    let unwanted = Unwanted {
        account: row.account.clone(),
        folder: FolderId::new(row.to_folder.clone()),
        name: row.to_name.clone(),
        item: item.as_ref().map(item_of),
        size: row.target_size,
        mode: if row.purge {
            DeleteMode::Purge
        } else {
            DeleteMode::Trash
        },
    };
    Some((unwanted, row.target_pending.map(PendingId::from_i64)))
}

fn row_of(new: NewRename) -> RenameRow {
    let target = new.target.as_ref();
    let (unwanted, target_pending) = (
        target.map(|(unwanted, _)| unwanted),
        target.and_then(|(_, row)| *row),
    );
    let id = |item: &ItemId| match item {
        ItemId::File(id) => id.as_str().to_owned(),
        ItemId::Folder(id) => id.as_str().to_owned(),
    };
    RenameRow {
        id: 0,
        item: key_of(&new.item),
        from_folder: new.from.0.as_str().to_owned(),
        from_name: new.from.1,
        to_folder: new.to.0.as_str().to_owned(),
        to_name: new.to.1,
        mtime: new.mtime,
        pending: new.pending.map(PendingId::as_i64),
        target: unwanted.and_then(|unwanted| unwanted.item.as_ref()).map(id),
        target_pending: target_pending.map(PendingId::as_i64),
        target_size: unwanted.map_or(0, |unwanted| unwanted.size),
        purge: unwanted.is_some_and(|unwanted| unwanted.mode == DeleteMode::Purge),
        in_place: new.in_place,
        account: new.account,
        begun: false,
        parked: false,
        tries: 0,
        next_try: None,
        last_error: None,
        created: SystemTime::now(),
    }
}

/// What is known of the pending file that is renamed along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Who renames looks again where it ended.
    Watched,
    /// The item was found where the first step brings it: where its upload ended meanwhile, it is renamed alone.
    Found,
}

/// What noting the first step changed, to be noted in memory.
enum Begun {
    Gone,
    SourceEnded,
    TargetEnded,
    Changed(Box<Changes>),
}

struct Changes {
    /// `None` where nothing is left to be done.
    row: Option<RenameRow>,
    along: Option<JournalRow>,
    /// The file that bears the new name on the service.
    renamed: Option<String>,
    discarded: Option<Discarded>,
}

fn begin(
    journal: &JournalTransaction<'_>,
    id: i64,
    target: Option<&(Unwanted, Option<PendingId>)>,
    source: Source,
) -> Result<Begun, StateError> {
    let Some(mut row) = journal.rename_row(id)? else {
        return Ok(Begun::Gone);
    };
    let mut along = None;
    if let Some(pending) = row.pending {
        along = journal.get(pending)?.filter(|row| row.state != RowState::Removed);
        if along.is_none() && source == Source::Watched {
            journal.remove_rename(id)?;
            return Ok(Begun::SourceEnded);
        }
    }
    let mut discarded = None;
    if let Some((unwanted, pending)) = target {
        discarded = discard(journal, *pending, unwanted)?;
        if discarded.is_none() {
            return Ok(Begun::TargetEnded);
        }
    }
    if let Some(along) = &mut along {
        (along.folder, along.name) = (row.to_folder.clone(), row.to_name.clone());
        if along.state == RowState::Parked || along.next_try.is_some() {
            along.state = RowState::Queued;
            (along.tries, along.next_try, along.last_error) = (0, None, None);
        }
        journal.put(along)?;
    }
    (row.begun, row.tries, row.next_try, row.last_error) = (true, 0, None, None);
    let renamed = match bearer(&row) {
        ItemKey::File(file) => Some(file),
        ItemKey::Folder(_) => None,
    };
    let row = if needs_name(&row) {
        journal.put_rename(&row)?;
        Some(row)
    } else {
        journal.remove_rename(id)?;
        None
    };
    Ok(Begun::Changed(Box::new(Changes {
        row,
        along,
        renamed,
        discarded,
    })))
}

fn note_changes(table: &mut super::table::Table, id: i64, changes: &Changes) {
    match &changes.row {
        Some(row) => table.renames.set(row.clone()),
        None => table.renames.remove(id),
    }
    if let Some(along) = &changes.along {
        let pending = PendingId(along.id);
        table.change(pending, super::table::Item::hurry_if_waiting);
        if along.replaces == changes.renamed {
            table.set_left(pending, None);
        }
        table.set_row(along.clone());
    }
    if let Some(discarded) = &changes.discarded {
        note_discarded(table, discarded);
    }
}

impl Uploads {
    /// Writes a rename down before its first step.
    pub async fn begin_rename(self: &Arc<Self>, new: NewRename) -> Result<RenameIntent, UploadError> {
        let target = new.target.iter().filter_map(|(target, _)| target.item.as_ref());
        // What is put under the id of the target is not to be deleted with it.
        for item in target.filter(|_| new.in_place).chain([&new.item]) {
            self.keep_item(&new.account, item).await?;
        }
        let mut row = row_of(new);
        let work = move |journal: &JournalTransaction<'_>| {
            row.id = journal.add_rename(&row)?;
            Ok(row)
        };
        let uploads = self.clone();
        let (give, taken) = tokio::sync::oneshot::channel();
        let note = move |row: &RenameRow| {
            uploads.update(|table| table.renames.add(row.clone(), true));
            // A caller that goes away leaves the intent in the channel, which drops it.
            let _ = give.send(RenameIntent {
                uploads,
                id: row.id,
                is_held: true,
            });
        };
        self.database.journal("begin a rename", work, note).await?;
        taken.await.map_err(|_| UploadError::Stopped)
    }

    /// Notes that the first step of a rename took effect.
    pub(super) async fn note_begun(
        self: &Arc<Self>,
        id: i64,
        target: Option<(Unwanted, Option<PendingId>)>,
        source: Source,
    ) -> Result<Noted, UploadError> {
        let work = move |journal: &JournalTransaction<'_>| begin(journal, id, target.as_ref(), source);
        let uploads = self.clone();
        let note = move |begun: &Begun| match begun {
            Begun::Changed(changes) => uploads.update(|table| note_changes(table, id, changes)),
            Begun::Gone | Begun::SourceEnded => uploads.update(|table| table.renames.remove(id)),
            Begun::TargetEnded => {}
        };
        match self.database.journal("note a rename", work, note).await? {
            Begun::Gone | Begun::SourceEnded => Ok(Noted::SourceEnded),
            Begun::TargetEnded => Ok(Noted::TargetEnded),
            Begun::Changed(changes) => {
                let unlinked = changes.discarded.and_then(|discarded| discarded.unlinked);
                let staging = unlinked.and_then(|(_, gone)| gone.staging);
                self.delete_discarded(staging.into_iter().collect());
                Ok(Noted::Begun)
            }
        }
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

    /// The names that items of an account are still to be given by renames that took effect: whoever shows the
    /// items shows them under these.
    pub fn names_to_come(&self, account: &str) -> HashMap<ItemId, String> {
        self.table().renames.names(account)
    }

    /// Waits until no earlier rename of an item is open, whatever keeps it; fails as soon as the service does.
    pub async fn wait_until_renamed(
        &self,
        account: &str,
        item: &ItemId,
        limit: Duration,
    ) -> Result<(), UploadError> {
        let item = key_of(item);
        let find = |table: &super::table::Table| {
            let open = table.renames.of_item(account, &item)?;
            Some(open.row.id)
        };
        let Some(id) = find(&self.table()) else {
            return Ok(());
        };
        self.urge_rename(id);
        self.wait_for_rename(id, limit).await
    }

    fn urge_rename(&self, id: i64) {
        self.update(|table| {
            if let Some(rename) = table.renames.rows.get_mut(&id).filter(|rename| !rename.busy) {
                (rename.due, rename.failure) = (Instant::now(), None);
                let account = rename.row.account.clone();
                table.renames.wake(&account);
            }
        });
    }

    async fn wait_for_rename(&self, id: i64, limit: Duration) -> Result<(), UploadError> {
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            {
                let table = self.table();
                let Some(rename) = table.renames.rows.get(&id) else {
                    return Ok(());
                };
                if let Some(kind) = rename.failure.filter(|_| !rename.busy) {
                    return Err(UploadError::NotRenamed {
                        kind,
                        error: rename.row.last_error.clone().unwrap_or_default(),
                        parked: rename.row.parked,
                    });
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => {
                    let error = "the service has not answered yet".to_owned();
                    return Err(UploadError::NotRenamed { kind: ErrorKind::Busy, error, parked: false });
                }
                () = self.stopping.cancelled() => return Err(UploadError::Stopped),
            }
        }
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

/// The news that two folders changed by a rename.
pub(super) fn renamed(row: &RenameRow) -> UploadEvent {
    UploadEvent::Renamed {
        account: row.account.clone(),
        folders: [&row.from_folder, &row.to_folder].map(|folder| FolderId::new(folder.clone())),
    }
}

/// A rename that was written down, held by who takes its first step. Let go before its end, it is finished by
/// itself, or dropped where the first step had no effect.
pub struct RenameIntent {
    uploads: Arc<Uploads>,
    id: i64,
    is_held: bool,
}

impl RenameIntent {
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
