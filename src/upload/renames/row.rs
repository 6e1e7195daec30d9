//! What a rename's row in the journal means: the items that it concerns, what is left to be done for it, and what it
//! takes the place of. Plain functions of the row; they know neither the journal nor the service.

use std::time::SystemTime;

use crate::provider::{DeleteMode, FolderId, ItemId};
use crate::state::{ItemKey, RenameRow};
use crate::upload::deleter::{item_of, key_of};
use crate::upload::discard::Unwanted;
use crate::upload::{PendingId, UploadEvent};

use super::NewRename;

/// The row of a rename that is to begin.
pub(super) fn row_of(new: NewRename) -> RenameRow {
    let target = new.target.as_ref();
    let (unwanted, target_pending) = (
        target.map(|(unwanted, _)| unwanted),
        target.and_then(|(_, row)| *row),
    );
    let id = |item: &ItemId| match key_of(item) {
        ItemKey::File(id) | ItemKey::Folder(id) => id,
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

/// The item that bears the new name in the end.
pub(in crate::upload) fn bearer(row: &RenameRow) -> ItemKey {
    match (&row.target, row.in_place) {
        (Some(target), true) => ItemKey::File(target.clone()),
        _ => row.item.clone(),
    }
}

/// Whether a row is about an item, which it renames or puts content under.
pub(super) fn concerns(row: &RenameRow, item: &ItemKey) -> bool {
    row.item == *item || bearer(row) == *item
}

/// Whether the name is to be given after the first step: what stood there, or the service's care for it, may have
/// kept the item from it.
pub(in crate::upload) fn needs_name(row: &RenameRow) -> bool {
    let moved = row.from_folder != row.to_folder;
    // An upload of a pending target may have put a file there by then.
    row.target.is_some() || row.target_pending.is_some() || (moved && row.from_name != row.to_name)
}

/// What the target of a row is, for a life that only has the row.
pub(in crate::upload) fn target_of(row: &RenameRow) -> Option<(Unwanted, Option<PendingId>)> {
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

/// The news that two folders changed by a rename.
pub(in crate::upload) fn renamed(row: &RenameRow) -> UploadEvent {
    UploadEvent::Renamed {
        account: row.account.clone(),
        folders: [&row.from_folder, &row.to_folder].map(|folder| FolderId::new(folder.clone())),
        along: row.pending.map(PendingId::from_i64),
        replaced: row.target_pending.map(PendingId::from_i64),
    }
}
