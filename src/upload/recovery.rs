//! Taking the journal up after a start: every row with its content, and no content forgotten.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::provider::{ContentHash, FileId};
use crate::state::{Database, JournalRow, JournalTransaction, RowState};

use super::handle::Uploads;
use super::journal::blocking;
use super::staged_file::{Base, StagedFile};
use super::staging::Staging;
use super::table::{Item, Table};
use super::{Options, UploadError};

/// Rows that are read and looked at together.
const ROWS_OF_PART: usize = 2048;
/// Parts that may be looked at while one goes into the table.
const PARTS_AHEAD: usize = 2;

const LOST: &str = "its content is missing from the staging directory; retrying cannot help: remove it, or \
    put the file back and mount again";

impl Uploads {
    /// Takes the journal up. What was being uploaded is queued again. A file in the staging directory that
    /// the journal does not know is moved to the recovered files; a row whose file is missing is parked.
    pub async fn open(database: Database, options: Options) -> Result<Arc<Uploads>, UploadError> {
        let discarded = database.discarded().await?;
        let (directory, reserve) = (options.staging.clone(), options.reserve);
        let clean = options.clean.clone();
        let forgotten = discarded.clone();
        let (staging, mut unknown) = blocking("open the staging directory", move || {
            fs::create_dir_all(&directory)?;
            let staging = Staging::new(directory, reserve, clean);
            for name in &discarded {
                staging.delete(name);
            }
            let names: HashSet<_> = staging.names()?.into_iter().collect();
            Ok((Arc::new(staging), names))
        })
        .await?;

        let mut table = Table::new();
        for account in database.paused_accounts().await? {
            table.set_paused(&account, true);
        }
        let now = Instant::now();
        let deletions = database.deletion_rows().await?;
        deletions
            .into_iter()
            .for_each(|row| table.deletions.add(row, now));
        let renames = database.rename_rows().await?;
        renames.into_iter().for_each(|row| table.renames.add(row, false));

        let mut restored = Vec::new();
        let mut parts = adopt_rows(database.clone(), staging.clone());
        while let Some(part) = parts.recv().await {
            for (item, change) in part?.adopted().await? {
                if let Some(name) = &item.row.staging {
                    unknown.remove(name);
                }
                restored.extend(change.map(|change| (change, item.row.clone())));
                table.add(item);
            }
        }
        let (kept_by, recovered) = (staging.clone(), options.recovered.clone());
        blocking("open the staging directory", move || {
            let mut unknown = unknown.iter();
            unknown.try_for_each(|name| kept_by.recover(name, &recovered))
        })
        .await?;
        database.forget_discarded(forgotten).await?;
        let write = move |journal: &JournalTransaction<'_>| {
            restored.iter().try_for_each(|(change, row)| match change {
                Restored::Schedule => journal.put_schedule(row),
                Restored::Row => journal.put(row),
            })
        };
        database.journal("take the journal up", write, |()| {}).await?;
        Ok(Uploads::new(database, options, staging, table))
    }
}

/// The rows in the order of the journal. While one part goes into the table, the
/// files of the next are looked at and the rows of the one after it are read: a long journal is taken up in the time
/// of the slowest of these, and never held twice.
fn adopt_rows(database: Database, staging: Arc<Staging>) -> mpsc::Receiver<Result<Part, UploadError>> {
    let (parts, receiver) = mpsc::channel(PARTS_AHEAD);
    let read = async move {
        let mut after = i64::MIN;
        loop {
            let rows = match database.journal_rows_after(after, ROWS_OF_PART).await {
                Ok(rows) => rows,
                // Who takes up the journal fails with it, or does not wait any more.
                Err(error) => return drop(parts.send(Err(error.into())).await),
            };
            let Some(last) = rows.last() else { return };
            after = last.id;
            let staging = staging.clone();
            let adopt = move || rows.into_iter().map(|row| adopt(&staging, row)).collect();
            let adopt = tokio::task::spawn_blocking(adopt);
            if parts.send(Ok(Part(adopt))).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(read);
    receiver
}

/// Some rows whose files are being looked at.
struct Part(JoinHandle<io::Result<Vec<Adopted>>>);

/// An item, and what of its row begins changed.
type Adopted = (Item, Option<Restored>);

enum Restored {
    /// When it is tried next alone.
    Schedule,
    Row,
}

impl Part {
    async fn adopted(self) -> Result<Vec<Adopted>, UploadError> {
        let adopted = self.0.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let operation = "look at a staged file";
        adopted.map_err(|source| UploadError::Io { operation, source })
    }
}

fn adopt(staging: &Staging, before: JournalRow) -> io::Result<Adopted> {
    let staged = find(staging, &before)?;
    let row = restore(before.clone(), staged.as_ref());
    let restored = (row != before).then(|| {
        let rescheduled = JournalRow {
            state: row.state,
            next_try: row.next_try,
            ..before
        };
        if rescheduled == row {
            Restored::Schedule
        } else {
            Restored::Row
        }
    });
    let mut item = Item::new(row, staged.map(Arc::new), 0, Instant::now());
    // What became of older contents is known to nobody any more.
    item.was_announced = true;
    Ok((item, restored))
}

fn find(staging: &Staging, row: &JournalRow) -> io::Result<Option<StagedFile>> {
    let Some(name) = &row.staging else { return Ok(None) };
    let base = row.base.as_ref().map(|base| Base {
        file: FileId::new(base.file.clone()),
        size: base.size,
        hash: base.hash.as_deref().and_then(ContentHash::from_hex),
        revision: base.revision.clone(),
        account: base.account.clone(),
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
                // The same by now, and that of most rows: they need not be written.
                if row.state != RowState::Staged {
                    row.state = RowState::Queued;
                }
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
