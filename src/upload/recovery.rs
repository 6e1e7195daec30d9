//! Taking the journal up after a start: every row with its content, and no content forgotten.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::provider::{ContentHash, FileId};
use crate::state::{Database, JournalRow, JournalTransaction, RowState};

use super::handle::Uploads;
use super::journal::blocking;
use super::staged_file::{Base, StagedFile};
use super::staging::Staging;
use super::table::{Item, Table};
use super::{Options, UploadError};

const LOST: &str = "its content is missing from the staging directory; retrying cannot help: remove it, or \
    put the file back and mount again";

impl Uploads {
    /// Takes the journal up. What was being uploaded is queued again. A file in the staging directory that
    /// the journal does not know is moved to the recovered files; a row whose file is missing is parked.
    pub async fn open(database: Database, options: Options) -> Result<Arc<Uploads>, UploadError> {
        let rows = database.journal_rows().await?;
        let discarded = database.discarded().await?;
        let deletions = database.deletion_rows().await?;
        let renames = database.rename_rows().await?;
        let (directory, recovered) = (options.staging.clone(), options.recovered.clone());
        let reserve = options.reserve;
        let forgotten = discarded.clone();
        let (staging, found) = blocking("open the staging directory", move || {
            fs::create_dir_all(&directory)?;
            let staging = Staging::new(directory, reserve);
            for name in &discarded {
                staging.delete(name);
            }
            let known: HashSet<_> = rows.iter().filter_map(|row| row.staging.clone()).collect();
            for name in staging.names()?.into_iter().filter(|name| !known.contains(name)) {
                staging.recover(&name, &recovered)?;
            }
            let found: std::io::Result<Vec<_>> = rows
                .into_iter()
                .map(|row| adopt(&staging, &row).map(|staged| (row, staged)))
                .collect();
            Ok((staging, found?))
        })
        .await?;
        database.forget_discarded(forgotten).await?;

        let mut table = Table::new();
        for account in database.paused_accounts().await? {
            table.set_paused(&account, true);
        }
        let now = Instant::now();
        deletions
            .into_iter()
            .for_each(|row| table.deletions.add(row, now));
        renames.into_iter().for_each(|row| table.renames.add(row, false));
        let mut restored = Vec::new();
        for (before, staged) in found {
            let row = restore(before.clone(), staged.as_ref());
            if row != before {
                restored.push(row.clone());
            }
            table.add(Item::new(row, staged.map(Arc::new), 0, Instant::now()));
        }
        let write =
            move |journal: &JournalTransaction<'_>| restored.iter().try_for_each(|row| journal.put(row));
        database.journal("take the journal up", write, |()| {}).await?;
        Ok(Uploads::new(database, options, staging, table))
    }
}

fn adopt(staging: &Staging, row: &JournalRow) -> std::io::Result<Option<StagedFile>> {
    let Some(name) = &row.staging else { return Ok(None) };
    let base = row.base.as_ref().map(|base| Base {
        file: FileId::new(base.file.clone()),
        size: base.size,
        hash: base.hash.as_deref().and_then(ContentHash::from_hex),
        revision: base.revision.clone(),
    });
    staging.adopt(name, row.missing.iter().cloned().collect(), base)
}

/// The row as the new life begins with it.
fn restore(mut row: JournalRow, staged: Option<&StagedFile>) -> JournalRow {
    if let Some(sent) = row.attempt.as_mut().filter(|sent| sent.file.is_none()) {
        sent.unclear = Some(SystemTime::now());
    }
    match (row.state, staged) {
        (RowState::Removed, _) => row.next_try = None,
        (_, None) => {
            row.state = RowState::Parked;
            row.last_error = Some(LOST.to_owned());
            row.next_try = None;
        }
        (state, Some(staged)) => {
            let rests = match state {
                RowState::Parked => row.last_error.as_deref() != Some(LOST),
                RowState::Local => true,
                RowState::Kept => staged.len() == 0,
                _ => false,
            };
            if !rests {
                row.state = RowState::Queued;
                // What the service or its login lacked may be there by now.
                row.next_try = None;
            }
            // A writer that had not finished may have cut or lengthened the file, as on any disk.
            row.size = staged.len();
            row.missing = staged.all_missing();
            row.base.take_if(|_| staged.base().is_none());
        }
    }
    row
}
