//! What one change does to the rows, inside its transaction. All of it is decided by what is committed, in the order of
//! the journal, and not by what the table showed when the change was asked for. No file is touched here: what is
//! let go is noted as discarded, and deleted afterwards.

use std::time::SystemTime;

use crate::provider::FileId;
use crate::state::{BaseRow, JournalRow, JournalTransaction, RowState, StateError};
use crate::upload::staged_file::{StagedFile, Synced};
use crate::upload::status::may_follow;
use crate::upload::table::{Outcome, Table};
use crate::upload::{PendingId, UploadError};

use super::{Change, Changed};

/// A row with newer content.
pub(super) struct Recommitted {
    pub row: JournalRow,
    /// The staged file that it had before.
    pub old: Option<String>,
    /// [`StagedFile::modifications`] that the row tells of.
    pub modifications: u64,
}

/// Makes a content that is on the disk the one of a row.
pub(super) fn recommit(
    journal: &JournalTransaction<'_>,
    id: PendingId,
    content: &StagedFile,
    mtime: SystemTime,
) -> Result<Result<Recommitted, UploadError>, StateError> {
    let Some(mut row) = live(journal, id)? else {
        return Ok(Err(UploadError::Gone));
    };
    // What another content replaced since it was looked for has no bytes any more.
    if content.is_journaled() && row.staging.as_deref() != Some(content.name()) {
        return Ok(Err(UploadError::Outdated));
    }
    // Read here, so that a slower caller never writes an older state.
    let synced = content.durable();
    let before = row.staging.replace(content.name().to_owned());
    let old = before.filter(|name| name != content.name());
    if let Some(old) = &old {
        journal.discard(old)?;
    }
    row.generation += 1;
    row.base = base_row(content, &synced);
    (row.size, row.missing) = (synced.len, synced.missing);
    row.mtime = mtime;
    if row.state != RowState::Local {
        row.state = RowState::Staged;
    }
    (row.tries, row.next_try, row.last_error) = (0, None, None);
    journal.put(&row)?;
    let modifications = synced.modifications;
    Ok(Ok(Recommitted {
        row,
        old,
        modifications,
    }))
}

/// Gives a row another folder and name, over another row where there is one. `None` where one of the two is gone.
pub(super) fn rename(
    journal: &JournalTransaction<'_>,
    id: PendingId,
    to: (String, String),
    replaces: Option<Option<FileId>>,
    over: Option<PendingId>,
) -> Result<Option<(JournalRow, Option<Unlinked>)>, StateError> {
    let Some(mut row) = live(journal, id)? else {
        return Ok(None);
    };
    (row.folder, row.name) = to;
    match replaces {
        Some(Some(file)) => take_the_place_of(&mut row, file.as_str()),
        Some(None) => row.replaces = None,
        None => {}
    }
    let gone = over.map(|over| live(journal, over)).transpose()?.flatten();
    // What it became on the service is what has to be replaced.
    if over.is_some() && gone.is_none() {
        return Ok(None);
    }
    if let Some(gone) = &gone {
        gone.replaces
            .iter()
            .for_each(|file| take_the_place_of(&mut row, file));
        row.superseded.extend(gone.superseded.iter().cloned());
    }
    let replaced = row.replaces.clone();
    row.superseded.retain(|file| Some(file) != replaced.as_ref());
    // Another name may be what helps, and what is replaced goes although nothing is sent.
    let replaces_now = row.replaces.is_some() || !row.superseded.is_empty();
    let kept = row.state == RowState::Kept && replaces_now;
    if row.state == RowState::Parked || row.next_try.is_some() || kept {
        row.state = RowState::Queued;
        (row.tries, row.next_try, row.last_error) = (0, None, None);
    }
    journal.put(&row)?;
    let gone = gone.map(|gone| unlink(journal, gone)).transpose()?;
    Ok(Some((row, gone)))
}

/// A row that is not removed, which is how others know it.
fn live(journal: &JournalTransaction<'_>, id: PendingId) -> Result<Option<JournalRow>, StateError> {
    let row = journal.get(id.0)?;
    Ok(row.filter(|row| row.state != RowState::Removed))
}

/// Changes a row inside a transaction, checking the step that its state takes.
pub(in crate::upload) fn change_row(
    journal: &JournalTransaction<'_>,
    id: PendingId,
    change: impl FnOnce(&mut JournalRow) -> Change,
) -> Result<Changed, StateError> {
    let Some(before) = journal.get(id.0)? else {
        return Ok(Changed::Absent);
    };
    let mut row = before.clone();
    let change = change(&mut row);
    let to = match change {
        Change::Skip => return Ok(Changed::Skipped),
        Change::Save => Some(row.state),
        Change::Delete => None,
    };
    if !may_follow(before.state, to) {
        tracing::error!(%id, from = ?before.state, ?to, "a pending file cannot take this step");
        debug_assert!(false, "{:?} to {to:?}", before.state);
        return Ok(Changed::Skipped);
    }
    if let Some(staging) = before.staging.filter(|_| to.is_none()) {
        journal.discard(&staging)?;
    }
    match to {
        Some(_) => journal.put(&row).map(|()| Changed::Saved(Box::new(row))),
        None => journal.delete(id.0).map(|()| Changed::Deleted),
    }
}

/// What is left of a row that was unlinked.
pub(in crate::upload) struct Unlinked {
    /// The row, where an announced upload must be cleared away.
    row: Option<JournalRow>,
    pub staging: Option<String>,
    /// The remote files whose place it was to take.
    pub stood_for: Vec<FileId>,
}

pub(in crate::upload) fn unlink(
    journal: &JournalTransaction<'_>,
    mut row: JournalRow,
) -> Result<Unlinked, StateError> {
    let staging = row.staging.take();
    let stood_for = row
        .replaces
        .iter()
        .chain(&row.superseded)
        .cloned()
        .map(FileId::new)
        .collect();
    if let Some(staging) = &staging {
        journal.discard(staging)?;
    }
    // An upload whose file took its place already is the remote file, which is not ours to delete.
    let at_rest = row
        .attempt
        .as_ref()
        .is_none_or(|sent| sent.file.is_some() && sent.file == row.replaces);
    if at_rest {
        journal.delete(row.id)?;
        return Ok(Unlinked {
            row: None,
            staging,
            stood_for,
        });
    }
    row.state = RowState::Removed;
    (row.tries, row.next_try, row.last_error) = (0, None, None);
    (row.missing, row.base) = (Vec::new(), None);
    journal.put(&row)?;
    Ok(Unlinked {
        row: Some(row),
        staging,
        stood_for,
    })
}

pub(in crate::upload) fn note_unlinked(table: &mut Table, id: PendingId, gone: &Unlinked) {
    match &gone.row {
        None => {
            table.remove(id, None);
        }
        Some(row) => {
            table.change(id, |item| {
                (item.staged, item.draft) = (None, None);
                item.tell(Outcome::Removed);
            });
            table.set_row(row.clone());
        }
    }
}

/// Makes `file` the one whose place the content takes; the one before it goes as well.
pub(in crate::upload) fn take_the_place_of(row: &mut JournalRow, file: &str) {
    if row.replaces.as_deref() == Some(file) {
        return;
    }
    row.superseded.extend(row.replaces.replace(file.to_owned()));
}

/// The base of a staged file, where what is on the disk of it still needs it.
pub(super) fn base_row(staged: &StagedFile, synced: &Synced) -> Option<BaseRow> {
    let needed = synced.has_base && (staged.base().is_some() || !synced.missing.is_empty());
    let base = staged.begun_from().filter(|_| needed);
    base.map(|base| BaseRow {
        file: base.file.as_str().to_owned(),
        size: base.size,
        hash: base.hash.map(|hash| hash.to_hex()),
        revision: base.revision.clone(),
        account: base.account.clone(),
    })
}
