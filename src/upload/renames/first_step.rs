//! Noting that the first step of a rename took effect. In one transaction with that note goes all that is journaled
//! beside it: the row that is renamed along, and the deletion of what stood at the new place. Either all of it is in
//! the journal, or nothing. It asks the service nothing: that the step took effect is known to who calls.

use std::sync::Arc;

use crate::state::{ItemKey, JournalRow, JournalTransaction, RenameRow, RowState, StateError};
use crate::upload::discard::{Discarded, Unwanted, discard, note_discarded};
use crate::upload::handle::Uploads;
use crate::upload::table::{Item, Table};
use crate::upload::{PendingId, UploadError};

use super::row::{bearer, needs_name};

/// What came of noting that a first step took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    Begun,
    /// There is no such intent any more.
    Gone,
    /// The pending file that was to be renamed along was uploaded or removed this moment: nothing is noted.
    SourceEnded,
    /// The same of the pending file whose place is taken: nothing is noted.
    TargetEnded,
}

/// What is known of the pending file that is renamed along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upload) enum Source {
    /// Who renames looks again where it ended.
    Watched,
    /// The item was found where the first step brings it after its upload had ended: it is renamed alone.
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

impl Uploads {
    /// Notes that the first step of a rename took effect.
    pub(in crate::upload) async fn note_begun(
        self: &Arc<Self>,
        id: i64,
        target: Option<(Unwanted, Option<PendingId>)>,
        source: Source,
    ) -> Result<Noted, UploadError> {
        let work = move |journal: &JournalTransaction<'_>| begin(journal, id, target.as_ref(), source);
        let uploads = self.clone();
        let note = move |begun: &Begun| match begun {
            Begun::Changed(changes) => uploads.update(|table| note_changes(table, id, changes)),
            Begun::Gone => uploads.update(|table| table.renames.remove(id)),
            Begun::SourceEnded | Begun::TargetEnded => {}
        };
        match self.database.journal("note a rename", work, note).await? {
            Begun::Gone => Ok(Noted::Gone),
            Begun::SourceEnded => Ok(Noted::SourceEnded),
            Begun::TargetEnded => Ok(Noted::TargetEnded),
            Begun::Changed(changes) => {
                let unlinked = changes.discarded.and_then(|discarded| discarded.unlinked);
                let staging = unlinked.and_then(|(_, gone)| gone.staging);
                self.delete_discarded(staging.into_iter().collect());
                Ok(Noted::Begun)
            }
        }
    }
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
    let bears = bearer(&row);
    if bears != row.item {
        journal.move_mode(&row.account, &row.item, &bears)?;
    }
    (row.begun, row.tries, row.next_try, row.last_error) = (true, 0, None, None);
    let renamed = match bears {
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

fn note_changes(table: &mut Table, id: i64, changes: &Changes) {
    match &changes.row {
        Some(row) => table.renames.set(row.clone()),
        None => table.renames.remove(id),
    }
    if let Some(along) = &changes.along {
        let pending = PendingId(along.id);
        table.change(pending, Item::hurry_if_waiting);
        if along.replaces == changes.renamed {
            table.set_left(pending, None);
        }
        table.set_row(along.clone());
    }
    if let Some(discarded) = &changes.discarded {
        note_discarded(table, discarded);
    }
}
