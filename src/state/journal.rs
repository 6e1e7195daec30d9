//! The journal of pending uploads, as rows.
//!
//! A row is written and read as a whole, so that whoever changes one sees all of it and no two changes
//! cross. What the fields mean to an upload, and which change may follow which, is the upload room's.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Params, Row, named_params};

use super::{Database, StateError};

/// Where a row stands. A row whose upload is done is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowState {
    /// Committed, not released for upload.
    Staged,
    Queued,
    Uploading,
    /// The service has the bytes and works on them.
    Verifying,
    /// Waits for a person; `last_error` holds the reason.
    Parked,
    /// An empty content, for which the service has no place: it stays here and nothing is tried.
    Kept,
    /// Not for the service: it stays here and nothing is tried.
    Local,
    /// Unlinked while an upload of it was announced to the service; kept until that is cleared away.
    Removed,
}

const STATES: [(RowState, &str); 8] = [
    (RowState::Staged, "staged"),
    (RowState::Queued, "queued"),
    (RowState::Uploading, "uploading"),
    (RowState::Verifying, "verifying"),
    (RowState::Parked, "parked"),
    (RowState::Kept, "kept"),
    (RowState::Local, "local"),
    (RowState::Removed, "removed"),
];

/// The remote content that missing ranges are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRow {
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// Lowercase hex.
    pub hash: Option<String>,
    pub revision: Option<String>,
    /// The account that has the file, of a content that was copied from it.
    pub account: Option<String>,
}

/// An upload as it was announced to the service, from before the first call until its outcome is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The generation of the content that was sent.
    pub generation: u64,
    pub folder: String,
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub mtime: SystemTime,
    /// Not known where the service fetches a content that was never here.
    pub sha256: Option<[u8; 32]>,
    pub replaces: Option<String>,
    /// The newest file of the service that was known before the first byte was sent, where its ids rise.
    pub sent_after: Option<String>,
    /// Since when it is not known whether the bytes sent last made a file.
    pub unclear: Option<SystemTime>,
    /// The upload on the service, once it has all bytes.
    pub ticket: Option<String>,
    /// The finished file, once it was verified.
    pub file: Option<String>,
}

/// One pending file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Never used again for another file.
    pub id: i64,
    pub account: String,
    pub folder: String,
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Kept to the nanosecond between the years 1678 and 2262.
    pub mtime: SystemTime,
    /// Permission bits that a program gave it.
    pub mode: Option<u16>,
    /// The file's name in the staging directory.
    pub staging: Option<String>,
    /// Rises with each change of the content.
    pub generation: u64,
    /// The remote file whose place the content takes.
    pub replaces: Option<String>,
    /// Other remote files that go once the content is there.
    pub superseded: Vec<String>,
    pub state: RowState,
    /// Failed tries since the last success or change.
    pub tries: u32,
    pub next_try: Option<SystemTime>,
    pub last_error: Option<String>,
    pub base: Option<BaseRow>,
    /// Parts of the content that must still come from the base.
    pub missing: Vec<Range<u64>>,
    pub attempt: Option<AttemptRow>,
}

/// The journal inside one transaction.
pub struct JournalTransaction<'a> {
    pub(super) connection: &'a Connection,
}

/// In the order in which [`read_row`] takes them.
const COLUMNS: &str = "id, account, folder, name, size, mtime, mode, staging, generation, replaces, superseded, \
    state, tries, next_try, last_error, base_file, base_size, base_hash, base_revision, base_account, missing, \
    sent_generation, sent_folder, sent_name, sent_size, sent_mtime, sent_sha256, sent_replaces, \
    sent_after, sent_unclear, sent_ticket, sent_file";

/// In place, so that the triggers of the index see what changed.
const PUT: &str = "INSERT INTO pending (id, account, folder, name, size, mtime, mode, staging, generation, replaces, \
    superseded, state, tries, next_try, last_error, base_file, base_size, base_hash, base_revision, \
    base_account, missing, sent_generation, sent_folder, sent_name, sent_size, sent_mtime, sent_sha256, \
    sent_replaces, sent_after, sent_unclear, sent_ticket, sent_file) VALUES ( \
    :id, :account, :folder, :name, :size, :mtime, :mode, :staging, :generation, :replaces, :superseded, \
    :state, :tries, :next_try, :last_error, :base_file, :base_size, :base_hash, :base_revision, \
    :base_account, :missing, :sent_generation, :sent_folder, :sent_name, :sent_size, :sent_mtime, \
    :sent_sha256, :sent_replaces, :sent_after, :sent_unclear, :sent_ticket, :sent_file) \
    ON CONFLICT (id) DO UPDATE SET account = excluded.account, folder = excluded.folder, \
    name = excluded.name, size = excluded.size, mtime = excluded.mtime, mode = excluded.mode, \
    staging = excluded.staging, generation = excluded.generation, \
    replaces = excluded.replaces, superseded = excluded.superseded, state = excluded.state, \
    tries = excluded.tries, next_try = excluded.next_try, last_error = excluded.last_error, \
    base_file = excluded.base_file, base_size = excluded.base_size, base_hash = excluded.base_hash, \
    base_revision = excluded.base_revision, base_account = excluded.base_account, \
    missing = excluded.missing, sent_generation = excluded.sent_generation, \
    sent_folder = excluded.sent_folder, sent_name = excluded.sent_name, sent_size = excluded.sent_size, \
    sent_mtime = excluded.sent_mtime, sent_sha256 = excluded.sent_sha256, \
    sent_replaces = excluded.sent_replaces, sent_after = excluded.sent_after, \
    sent_unclear = excluded.sent_unclear, sent_ticket = excluded.sent_ticket, \
    sent_file = excluded.sent_file";

impl JournalTransaction<'_> {
    pub fn get(&self, id: i64) -> Result<Option<JournalRow>, StateError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM pending WHERE id = ?1"))
            .map_err(reading)?;
        let row = statement
            .query_row([id], |row| Ok(read_row(row)))
            .optional()
            .map_err(reading)?;
        row.transpose()
    }

    /// Adds a row, whatever its `id` says, and returns its new id.
    pub fn insert(&self, row: &JournalRow) -> Result<i64, StateError> {
        self.write(None, row)?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Writes a row in the place of the one with its id.
    pub fn put(&self, row: &JournalRow) -> Result<(), StateError> {
        self.write(Some(row.id), row)
    }

    /// Writes when and how a row is tried next: of many rows in a fraction of the time that whole rows take.
    pub fn put_schedule(&self, row: &JournalRow) -> Result<(), StateError> {
        let mut statement = self
            .connection
            .prepare_cached("UPDATE pending SET state = ?2, next_try = ?3 WHERE id = ?1")
            .map_err(writing)?;
        let next_try = row.next_try.map(to_nanoseconds);
        let written = statement.execute((row.id, word_of(row.state), next_try));
        written.map(drop).map_err(writing)
    }

    pub fn delete(&self, id: i64) -> Result<(), StateError> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM pending WHERE id = ?1")
            .map_err(writing)?;
        statement.execute([id]).map(drop).map_err(writing)
    }

    /// Notes that a file in the staging directory is not needed any more, so that it is not taken for a
    /// lost one should the process end before it is deleted.
    pub fn discard(&self, staging: &str) -> Result<(), StateError> {
        let mut statement = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO discarded (staging) VALUES (?1)")
            .map_err(writing)?;
        statement.execute([staging]).map(drop).map_err(writing)
    }

    fn write(&self, id: Option<i64>, row: &JournalRow) -> Result<(), StateError> {
        let state = word_of(row.state);
        let (base, attempt) = (row.base.as_ref(), row.attempt.as_ref());
        let missing: Vec<_> = row.missing.iter().map(|range| [range.start, range.end]).collect();
        let mut statement = self.connection.prepare_cached(PUT).map_err(writing)?;
        statement
            .execute(named_params! {
                ":id": id,
                ":account": row.account,
                ":folder": row.folder,
                ":name": row.name,
                ":size": row.size as i64,
                ":mtime": to_nanoseconds(row.mtime),
                ":mode": row.mode,
                ":staging": row.staging,
                ":generation": row.generation as i64,
                ":replaces": row.replaces,
                ":superseded": serde_json::Value::from(row.superseded.clone()).to_string(),
                ":state": state,
                ":tries": row.tries,
                ":next_try": row.next_try.map(to_nanoseconds),
                ":last_error": row.last_error,
                ":base_file": base.map(|base| &base.file),
                ":base_size": base.map(|base| base.size as i64),
                ":base_hash": base.and_then(|base| base.hash.as_ref()),
                ":base_revision": base.and_then(|base| base.revision.as_ref()),
                ":base_account": base.and_then(|base| base.account.as_ref()),
                ":missing": serde_json::json!(missing).to_string(),
                ":sent_generation": attempt.map(|sent| sent.generation as i64),
                ":sent_folder": attempt.map(|sent| &sent.folder),
                ":sent_name": attempt.map(|sent| &sent.name),
                ":sent_size": attempt.map(|sent| sent.size as i64),
                ":sent_mtime": attempt.map(|sent| to_nanoseconds(sent.mtime)),
                ":sent_sha256": attempt.and_then(|sent| sent.sha256),
                ":sent_replaces": attempt.and_then(|sent| sent.replaces.as_ref()),
                ":sent_after": attempt.and_then(|sent| sent.sent_after.as_ref()),
                ":sent_unclear": attempt.and_then(|sent| sent.unclear).map(to_nanoseconds),
                ":sent_ticket": attempt.and_then(|sent| sent.ticket.as_ref()),
                ":sent_file": attempt.and_then(|sent| sent.file.as_ref()),
            })
            .map(drop)
            .map_err(writing)
    }
}

impl Database {
    /// Runs `work` on the journal in one transaction. After the commit, and before the next change of
    /// anybody, `then` is called with what `work` returned: what it notes in memory is in the order of the
    /// journal. It runs on the database's thread and must be short.
    pub async fn journal<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&JournalTransaction<'_>) -> Result<T, StateError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StateError> {
        self.write(
            operation,
            move |connection| work(&JournalTransaction { connection }),
            then,
        )
        .await
    }

    /// All rows, in the order of their ids.
    pub async fn journal_rows(&self) -> Result<Vec<JournalRow>, StateError> {
        self.journal_rows_after(i64::MIN, usize::MAX).await
    }

    /// Up to `most` rows with ids above `after`, in the order of their ids: a long journal, part by part.
    pub async fn journal_rows_after(&self, after: i64, most: usize) -> Result<Vec<JournalRow>, StateError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let select = format!("SELECT {COLUMNS} FROM pending WHERE id > ?1 ORDER BY id LIMIT ?2");
        self.rows_of(select, [after, most], read_row).await
    }

    /// The rows that a statement selects, each read by `read`.
    pub(super) async fn rows_of<T: Send + 'static>(
        &self,
        select: String,
        parameters: impl Params + Send + 'static,
        read: fn(&Row<'_>) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(&select).map_err(reading)?;
            let rows = statement
                .query_map(parameters, |row| Ok(read(row)))
                .map_err(reading)?;
            rows.map(|row| row.map_err(reading)?).collect()
        };
        self.read("read the journal", work).await
    }

    /// Files of the staging directory that were noted as discarded and not yet forgotten.
    pub async fn discarded(&self) -> Result<Vec<String>, StateError> {
        let read = |connection: &Connection| {
            let mut statement = connection
                .prepare("SELECT staging FROM discarded")
                .map_err(reading)?;
            let names = statement.query_map([], |row| row.get(0)).map_err(reading)?;
            names.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the journal", read).await
    }

    /// Forgets discarded files, which must be deleted by now.
    pub async fn forget_discarded(&self, names: Vec<String>) -> Result<(), StateError> {
        let forget = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("DELETE FROM discarded WHERE staging = ?1")
                .map_err(writing)?;
            names
                .iter()
                .try_for_each(|name| statement.execute([name]).map(drop))
                .map_err(writing)
        };
        self.write("write the journal", forget, |()| {}).await
    }
}

fn word_of(state: RowState) -> Option<&'static str> {
    let word = STATES.iter().find(|(known, _)| *known == state);
    word.map(|(_, word)| *word)
}

/// Reads a row's columns in the order of [`COLUMNS`]: looking each up by its name would take most of the time of
/// reading a long journal.
struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl Columns<'_> {
    fn take<T: rusqlite::types::FromSql>(&mut self) -> Result<T, StateError> {
        let value = self.row.get(self.next).map_err(reading);
        self.next += 1;
        value
    }

    fn unsigned(&mut self) -> Result<u64, StateError> {
        let at = self.next;
        let value: i64 = self.take()?;
        u64::try_from(value).map_err(|_| self.corrupt(at, &value.to_string()))
    }

    fn time(&mut self) -> Result<SystemTime, StateError> {
        self.take().map(from_nanoseconds)
    }

    fn maybe_time(&mut self) -> Result<Option<SystemTime>, StateError> {
        Ok(self.take::<Option<i64>>()?.map(from_nanoseconds))
    }

    fn list<T: serde::de::DeserializeOwned>(&mut self) -> Result<Vec<T>, StateError> {
        let at = self.next;
        self.next += 1;
        let text = self.row.get_ref(at).map_err(reading)?;
        let text = text
            .as_str()
            .map_err(|error| self.corrupt(at, &error.to_string()))?;
        // Most are.
        if text == "[]" {
            return Ok(Vec::new());
        }
        serde_json::from_str(text).map_err(|error| self.corrupt(at, &error.to_string()))
    }

    fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    fn corrupt(&self, at: usize, found: &str) -> StateError {
        let name = self.row.as_ref().column_name(at).unwrap_or("a column");
        StateError::Corrupt {
            what: format!("{name} is {found}"),
        }
    }
}

fn read_row(row: &Row<'_>) -> Result<JournalRow, StateError> {
    let mut columns = Columns { row, next: 0 };
    let columns = &mut columns;
    Ok(JournalRow {
        id: columns.take()?,
        account: columns.take()?,
        folder: columns.take()?,
        name: columns.take()?,
        size: columns.unsigned()?,
        mtime: columns.time()?,
        mode: columns.take()?,
        staging: columns.take()?,
        generation: columns.unsigned()?,
        replaces: columns.take()?,
        superseded: columns.list()?,
        state: read_state(columns)?,
        tries: columns.take()?,
        next_try: columns.maybe_time()?,
        last_error: columns.take()?,
        base: read_base(columns)?,
        missing: read_ranges(columns)?,
        attempt: read_attempt(columns)?,
    })
}

fn read_state(columns: &mut Columns<'_>) -> Result<RowState, StateError> {
    let at = columns.next;
    columns.skip(1);
    let word = columns.row.get_ref(at).map_err(reading)?;
    let word = word
        .as_str()
        .map_err(|error| columns.corrupt(at, &error.to_string()))?;
    let state = STATES.iter().find(|(_, text)| *text == word);
    state
        .map(|(state, _)| *state)
        .ok_or_else(|| columns.corrupt(at, &format!("{word:?}")))
}

fn read_ranges(columns: &mut Columns<'_>) -> Result<Vec<Range<u64>>, StateError> {
    let ranges: Vec<[u64; 2]> = columns.list()?;
    Ok(ranges.into_iter().map(|[start, end]| start..end).collect())
}

fn read_base(columns: &mut Columns<'_>) -> Result<Option<BaseRow>, StateError> {
    let Some(file) = columns.take()? else {
        columns.skip(4);
        return Ok(None);
    };
    Ok(Some(BaseRow {
        file,
        size: columns.unsigned()?,
        hash: columns.take()?,
        revision: columns.take()?,
        account: columns.take()?,
    }))
}

fn read_attempt(columns: &mut Columns<'_>) -> Result<Option<AttemptRow>, StateError> {
    if columns.take::<Option<i64>>()?.is_none() {
        return Ok(None);
    }
    columns.next -= 1;
    Ok(Some(AttemptRow {
        generation: columns.unsigned()?,
        folder: columns.take()?,
        name: columns.take()?,
        size: columns.unsigned()?,
        mtime: columns.time()?,
        sha256: columns.take()?,
        replaces: columns.take()?,
        sent_after: columns.take()?,
        unclear: columns.maybe_time()?,
        ticket: columns.take()?,
        file: columns.take()?,
    }))
}

pub(super) fn column<T: rusqlite::types::FromSql>(row: &Row<'_>, name: &str) -> Result<T, StateError> {
    row.get(name).map_err(reading)
}

pub(super) fn unsigned(row: &Row<'_>, name: &str) -> Result<u64, StateError> {
    let value: i64 = column(row, name)?;
    u64::try_from(value).map_err(|_| StateError::Corrupt {
        what: format!("{name} is {value}"),
    })
}

pub(super) fn reading(error: rusqlite::Error) -> StateError {
    StateError::sqlite("read the journal", &error)
}

pub(super) fn writing(error: rusqlite::Error) -> StateError {
    StateError::sqlite("write the journal", &error)
}

pub(super) fn to_nanoseconds(time: SystemTime) -> i64 {
    let limit = |nanoseconds: u128| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => limit(since.as_nanos()),
        Err(before) => -limit(before.duration().as_nanos()),
    }
}

pub(super) fn from_nanoseconds(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    let time = match nanoseconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> JournalRow {
        let early = SystemTime::UNIX_EPOCH - Duration::new(5, 7);
        JournalRow {
            id: 0,
            account: "media".into(),
            folder: "f".into(),
            name: "na\u{fc}me".into(),
            size: 12,
            mtime: early,
            mode: Some(0o4751),
            staging: Some("s".into()),
            generation: 3,
            replaces: Some("r".into()),
            superseded: vec!["x".into(), "y\"".into()],
            state: RowState::Verifying,
            tries: 4,
            next_try: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
            last_error: Some("why".into()),
            base: Some(BaseRow {
                file: "b".into(),
                size: 10,
                hash: Some("00".into()),
                revision: None,
                account: Some("other".into()),
            }),
            missing: vec![0..2, 5..9],
            attempt: Some(AttemptRow {
                generation: 2,
                folder: "g".into(),
                name: "n".into(),
                size: 11,
                mtime: early,
                sha256: Some([7; 32]),
                replaces: None,
                sent_after: Some("a".into()),
                unclear: Some(early),
                ticket: Some("t".into()),
                file: None,
            }),
        }
    }

    #[tokio::test]
    async fn a_row_comes_back_as_it_went_in_and_ids_are_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let id = database
            .journal("test", |journal| journal.insert(&row()), |_| {})
            .await
            .unwrap();
        let expected = JournalRow { id, ..row() };
        assert_eq!(
            database.journal_rows().await.unwrap(),
            std::slice::from_ref(&expected)
        );
        let bare = JournalRow {
            base: None,
            attempt: None,
            missing: Vec::new(),
            ..expected
        };
        let second = database
            .journal(
                "test",
                move |journal| {
                    journal.put(&bare)?;
                    assert_eq!(journal.get(bare.id)?, Some(bare.clone()));
                    journal.delete(bare.id)?;
                    journal.discard("s")?;
                    journal.insert(&bare)
                },
                |_| {},
            )
            .await
            .unwrap();
        assert!(second > id);
        assert_eq!(database.discarded().await.unwrap(), ["s"]);
        database.forget_discarded(vec!["s".into()]).await.unwrap();
        assert!(database.discarded().await.unwrap().is_empty());
    }
}
