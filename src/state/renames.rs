//! The journal of renames that take several steps on the service, as rows.

use std::time::SystemTime;

use rusqlite::{Row, named_params, params};

use super::deletions::{joined, split};
use super::journal::{column, from_nanoseconds, reading, to_nanoseconds, unsigned, writing};
use super::{Database, ItemKey, JournalTransaction, StateError};

/// One rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameRow {
    /// Never used again for another rename.
    pub id: i64,
    pub account: String,
    pub item: ItemKey,
    pub from_folder: String,
    pub from_name: String,
    pub to_folder: String,
    pub to_name: String,
    /// The time that the item has and keeps.
    pub mtime: Option<SystemTime>,
    /// The row of a file that is renamed along.
    pub pending: Option<i64>,
    /// The item that it takes the place of, of the same kind, and the row of that.
    pub target: Option<String>,
    pub target_pending: Option<i64>,
    /// Bytes.
    pub target_size: u64,
    /// Whether what it takes the place of is deleted for good.
    pub purge: bool,
    /// Whether the content goes under the id of what it takes the place of.
    pub in_place: bool,
    /// Whether the first step is known to have taken effect.
    pub begun: bool,
    /// Waits for a person; `last_error` holds the reason.
    pub parked: bool,
    pub tries: u32,
    pub next_try: Option<SystemTime>,
    pub last_error: Option<String>,
    pub created: SystemTime,
}

const COLUMNS: &str = "id, account, is_folder, item, from_folder, from_name, to_folder, to_name, mtime, pending, \
    target, target_pending, target_size, purge, in_place, begun, parked, tries, next_try, last_error, created";

const PUT: &str = "INSERT OR REPLACE INTO renames (id, account, is_folder, item, from_folder, from_name, to_folder, \
    to_name, mtime, pending, target, target_pending, target_size, purge, in_place, begun, parked, tries, next_try, \
    last_error, created) VALUES (:id, :account, :is_folder, :item, :from_folder, :from_name, :to_folder, :to_name, \
    :mtime, :pending, :target, :target_pending, :target_size, :purge, :in_place, :begun, :parked, :tries, :next_try, \
    :last_error, :created)";

impl JournalTransaction<'_> {
    /// Adds a row, whatever its `id` says, and returns its id.
    pub fn add_rename(&self, row: &RenameRow) -> Result<i64, StateError> {
        self.write_rename(None, row)?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Writes a row in the place of the one with its id. False where that is gone.
    pub fn put_rename(&self, row: &RenameRow) -> Result<bool, StateError> {
        if self.rename_row(row.id)?.is_none() {
            return Ok(false);
        }
        self.write_rename(Some(row.id), row).map(|()| true)
    }

    /// A row as it is now.
    pub fn rename_row(&self, id: i64) -> Result<Option<RenameRow>, StateError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM renames WHERE id = ?1"))
            .map_err(reading)?;
        let mut rows = statement.query([id]).map_err(reading)?;
        rows.next().map_err(reading)?.map(read_row).transpose()
    }

    /// Removes a row. False where it is gone.
    pub fn remove_rename(&self, id: i64) -> Result<bool, StateError> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM renames WHERE id = ?1")
            .map_err(writing)?;
        statement
            .execute(params![id])
            .map(|gone| gone > 0)
            .map_err(writing)
    }

    /// Removes the rows of an item, which is to be deleted.
    pub fn remove_renames_of(&self, account: &str, item: &ItemKey) -> Result<(), StateError> {
        let (is_folder, item) = split(item);
        let mut statement = self
            .connection
            .prepare_cached(
                "DELETE FROM renames WHERE account = ?1 AND is_folder = ?2 \
                AND (item = ?3 OR (in_place AND target = ?3))",
            )
            .map_err(writing)?;
        statement
            .execute(params![account, is_folder, item])
            .map(drop)
            .map_err(writing)
    }

    fn write_rename(&self, id: Option<i64>, row: &RenameRow) -> Result<(), StateError> {
        let (is_folder, item) = split(&row.item);
        let mut statement = self.connection.prepare_cached(PUT).map_err(writing)?;
        statement
            .execute(named_params! {
                ":id": id,
                ":account": row.account,
                ":is_folder": is_folder,
                ":item": item,
                ":from_folder": row.from_folder,
                ":from_name": row.from_name,
                ":to_folder": row.to_folder,
                ":to_name": row.to_name,
                ":mtime": row.mtime.map(to_nanoseconds),
                ":pending": row.pending,
                ":target": row.target,
                ":target_pending": row.target_pending,
                ":target_size": i64::try_from(row.target_size).unwrap_or(i64::MAX),
                ":purge": row.purge,
                ":in_place": row.in_place,
                ":begun": row.begun,
                ":parked": row.parked,
                ":tries": row.tries,
                ":next_try": row.next_try.map(to_nanoseconds),
                ":last_error": row.last_error,
                ":created": to_nanoseconds(row.created),
            })
            .map(drop)
            .map_err(writing)
    }
}

impl Database {
    /// All rows of renames, in the order of their ids.
    pub async fn rename_rows(&self) -> Result<Vec<RenameRow>, StateError> {
        let select = format!("SELECT {COLUMNS} FROM renames ORDER BY id");
        self.rows_of(select, [], read_row).await
    }
}

fn read_row(row: &Row<'_>) -> Result<RenameRow, StateError> {
    let time = |name| Ok(column::<Option<i64>>(row, name)?.map(from_nanoseconds));
    Ok(RenameRow {
        id: column(row, "id")?,
        account: column(row, "account")?,
        item: joined(column(row, "is_folder")?, column(row, "item")?),
        from_folder: column(row, "from_folder")?,
        from_name: column(row, "from_name")?,
        to_folder: column(row, "to_folder")?,
        to_name: column(row, "to_name")?,
        mtime: time("mtime")?,
        pending: column(row, "pending")?,
        target: column(row, "target")?,
        target_pending: column(row, "target_pending")?,
        target_size: unsigned(row, "target_size")?,
        purge: column(row, "purge")?,
        in_place: column(row, "in_place")?,
        begun: column(row, "begun")?,
        parked: column(row, "parked")?,
        tries: column(row, "tries")?,
        next_try: time("next_try")?,
        last_error: column(row, "last_error")?,
        created: from_nanoseconds(column(row, "created")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_row_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let mut row = RenameRow {
            id: 0,
            account: "box".to_owned(),
            item: ItemKey::Folder("1".to_owned()),
            from_folder: "2".to_owned(),
            from_name: "from".to_owned(),
            to_folder: "3".to_owned(),
            to_name: "to".to_owned(),
            mtime: Some(SystemTime::UNIX_EPOCH),
            pending: Some(4),
            target: Some("5".to_owned()),
            target_pending: None,
            target_size: 6,
            purge: true,
            in_place: false,
            begun: false,
            parked: false,
            tries: 0,
            next_try: None,
            last_error: None,
            created: SystemTime::UNIX_EPOCH,
        };
        let added = row.clone();
        let add = move |journal: &JournalTransaction<'_>| journal.add_rename(&added);
        row.id = database.journal("add", add, |_| {}).await.unwrap();
        (row.begun, row.last_error) = (true, Some("no".to_owned()));
        let changed = row.clone();
        let put = move |journal: &JournalTransaction<'_>| journal.put_rename(&changed);
        assert!(database.journal("put", put, |_| {}).await.unwrap());
        assert_eq!(database.rename_rows().await.unwrap(), std::slice::from_ref(&row));
        let (id, late) = (row.id, row);
        let end = move |journal: &JournalTransaction<'_>| {
            Ok((journal.remove_rename(id)?, journal.put_rename(&late)?))
        };
        assert_eq!(database.journal("end", end, |_| {}).await.unwrap(), (true, false));
        assert!(database.rename_rows().await.unwrap().is_empty());
        database.close().await;
    }
}
