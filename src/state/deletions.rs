//! The journal of items that are to be deleted, as rows.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Row, named_params, params};

use super::journal::{from_nanoseconds, reading, to_nanoseconds, writing};
use super::{Database, ItemKey, JournalTransaction, StateError};

/// One item that is to be deleted. Texts are shared, since there may be many rows of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionRow {
    /// Never used again for another item.
    pub id: i64,
    pub account: Arc<str>,
    pub item: ItemKey,
    /// Where the item stands on the service.
    pub folder: Arc<str>,
    pub name: Arc<str>,
    /// Bytes that it frees.
    pub size: u64,
    /// For good, and not into the trash.
    pub purge: bool,
    /// Waits for a person; `last_error` holds the reason.
    pub parked: bool,
    pub tries: u32,
    pub next_try: Option<SystemTime>,
    pub last_error: Option<String>,
    pub created: SystemTime,
}

const COLUMNS: &str = "id, account, is_folder, item, folder, name, size, purge, parked, tries, next_try, \
    last_error, created";

/// An item that has a row already is begun anew under its old id.
const ADD: &str = "INSERT INTO deletions (account, is_folder, item, folder, name, size, purge, parked, \
    tries, next_try, last_error, created) VALUES (:account, :is_folder, :item, :folder, :name, :size, \
    :purge, :parked, :tries, :next_try, :last_error, :created) ON CONFLICT DO UPDATE SET folder = \
    excluded.folder, name = excluded.name, size = excluded.size, purge = excluded.purge, parked = \
    excluded.parked, tries = excluded.tries, next_try = excluded.next_try, last_error = \
    excluded.last_error, created = excluded.created RETURNING id";

const NOTE: &str = "UPDATE deletions SET parked = :parked, tries = :tries, next_try = :next_try, \
    last_error = :last_error WHERE id = :id";

impl JournalTransaction<'_> {
    /// Adds a row, whatever its `id` says, and returns its id. A row of the same item is replaced.
    pub fn add_deletion(&self, row: &DeletionRow) -> Result<i64, StateError> {
        let (is_folder, item) = split(&row.item);
        let mut statement = self.connection.prepare_cached(ADD).map_err(writing)?;
        statement
            .query_row(
                named_params! {
                    ":account": row.account,
                    ":is_folder": is_folder,
                    ":item": item,
                    ":folder": row.folder,
                    ":name": row.name,
                    ":size": i64::try_from(row.size).unwrap_or(i64::MAX),
                    ":purge": row.purge,
                    ":parked": row.parked,
                    ":tries": row.tries,
                    ":next_try": row.next_try.map(to_nanoseconds),
                    ":last_error": row.last_error,
                    ":created": to_nanoseconds(row.created),
                },
                |row| row.get(0),
            )
            .map_err(writing)
    }

    /// Writes what became of a try. False where the row is gone.
    pub fn note_deletion(&self, row: &DeletionRow) -> Result<bool, StateError> {
        let mut statement = self.connection.prepare_cached(NOTE).map_err(writing)?;
        let changed = statement
            .execute(named_params! {
                ":id": row.id,
                ":parked": row.parked,
                ":tries": row.tries,
                ":next_try": row.next_try.map(to_nanoseconds),
                ":last_error": row.last_error,
            })
            .map_err(writing)?;
        Ok(changed > 0)
    }

    /// Removes a row. False where it is gone.
    pub fn remove_deletion(&self, id: i64) -> Result<bool, StateError> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM deletions WHERE id = ?1")
            .map_err(writing)?;
        statement
            .execute(params![id])
            .map(|gone| gone > 0)
            .map_err(writing)
    }
}

impl Database {
    /// All rows of items to be deleted, in the order of their ids.
    pub async fn deletion_rows(&self) -> Result<Vec<DeletionRow>, StateError> {
        let select = format!("SELECT {COLUMNS} FROM deletions ORDER BY id");
        self.rows_of(select, [], read_row).await
    }
}

pub(super) fn split(item: &ItemKey) -> (bool, &str) {
    match item {
        ItemKey::File(id) => (false, id),
        ItemKey::Folder(id) => (true, id),
    }
}

pub(super) fn joined(is_folder: bool, id: String) -> ItemKey {
    match is_folder {
        true => ItemKey::Folder(id),
        false => ItemKey::File(id),
    }
}

/// By the places of the columns in [`COLUMNS`], since there may be very many rows.
fn read_row(row: &Row<'_>) -> Result<DeletionRow, StateError> {
    let text = |at: usize| Ok::<Arc<str>, rusqlite::Error>(row.get_ref(at)?.as_str()?.into());
    let read = || {
        let size: i64 = row.get(6)?;
        Ok(DeletionRow {
            id: row.get(0)?,
            account: text(1)?,
            item: joined(row.get(2)?, row.get(3)?),
            folder: text(4)?,
            name: text(5)?,
            size: u64::try_from(size).unwrap_or_default(),
            purge: row.get(7)?,
            parked: row.get(8)?,
            tries: row.get(9)?,
            next_try: row.get::<_, Option<i64>>(10)?.map(from_nanoseconds),
            last_error: row.get(11)?,
            created: from_nanoseconds(row.get(12)?),
        })
    };
    read().map_err(|error: rusqlite::Error| reading(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: &str) -> DeletionRow {
        DeletionRow {
            id: 0,
            account: "box".into(),
            item: ItemKey::File(item.to_owned()),
            folder: "root".into(),
            name: "a.txt".into(),
            size: 7,
            purge: false,
            parked: false,
            tries: 0,
            next_try: None,
            last_error: None,
            created: SystemTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn rows_outlive_the_database_and_an_item_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let database = Database::open(&path).unwrap();
        let add =
            |row: DeletionRow| database.journal("add", move |journal| journal.add_deletion(&row), |_| {});
        let first = add(row("1")).await.unwrap();
        let second = add(row("2")).await.unwrap();
        let parked = DeletionRow {
            id: first,
            parked: true,
            tries: 3,
            last_error: Some("no".to_owned()),
            ..row("1")
        };
        let noted = parked.clone();
        let note = move |journal: &JournalTransaction<'_>| {
            Ok((journal.note_deletion(&noted)?, journal.remove_deletion(second)?))
        };
        assert_eq!(
            database.journal("note", note, |_| {}).await.unwrap(),
            (true, true)
        );
        database.close().await;
        let database = Database::open(&path).unwrap();
        assert_eq!(database.deletion_rows().await.unwrap(), [parked]);
        let again = row("1");
        let anew = database.journal("add", move |journal| journal.add_deletion(&again), |_| {});
        assert_eq!(anew.await.unwrap(), first);
        let expected = DeletionRow {
            id: first,
            ..row("1")
        };
        assert_eq!(database.deletion_rows().await.unwrap(), [expected]);
        database.close().await;
    }
}
