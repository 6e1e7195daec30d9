//! The index: what is known of items on a service and cannot be read from its listings.
//!
//! Facts and tombstones are kept under the id of their item and the space in which that id is unique. The
//! index is no authority: without it times and hashes are unknown until they are told again, nothing else.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, named_params, params};

use super::journal::{from_nanoseconds, to_nanoseconds};
use super::{Database, JournalTransaction, StateError};

/// An item of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ItemKey {
    File(String),
    Folder(String),
}

impl ItemKey {
    pub(super) fn text(&self) -> String {
        match self {
            ItemKey::File(id) => format!("file {id}"),
            ItemKey::Folder(id) => format!("folder {id}"),
        }
    }
}

/// What the index knows of an item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemFacts {
    /// Kept to the nanosecond between the years 1678 and 2262.
    pub mtime: Option<SystemTime>,
    /// Of the whole content; lowercase hex.
    pub hash: Option<String>,
}

const READ: &str = "SELECT mtime, hash FROM facts WHERE id_space = ?1 AND item = ?2";

/// What is given replaces what was there; what is absent leaves it.
const NOTE: &str = "INSERT INTO facts (id_space, item, mtime, hash) VALUES (:id_space, :item, :mtime, :hash)
    ON CONFLICT DO UPDATE SET mtime = coalesce(excluded.mtime, mtime), hash = coalesce(excluded.hash, hash)";

/// What was there stays.
const FILL: &str = "INSERT INTO facts (id_space, item, mtime, hash) VALUES (:id_space, :item, :mtime, :hash)
    ON CONFLICT DO UPDATE SET mtime = coalesce(mtime, excluded.mtime), hash = coalesce(hash, excluded.hash)";

impl JournalTransaction<'_> {
    /// Notes facts that hold from the end of this transaction on.
    pub fn note_facts(&self, id_space: &str, item: &ItemKey, facts: &ItemFacts) -> Result<(), StateError> {
        write(self.connection, NOTE, id_space, item, facts)
    }

    /// The same; what was known already stays.
    pub fn fill_facts(&self, id_space: &str, item: &ItemKey, facts: &ItemFacts) -> Result<(), StateError> {
        write(self.connection, FILL, id_space, item, facts)
    }
}

impl Database {
    /// What is known of these items; those of which nothing is known are left out.
    pub async fn facts(
        &self,
        id_space: &str,
        items: Vec<ItemKey>,
    ) -> Result<HashMap<ItemKey, ItemFacts>, StateError> {
        let id_space = id_space.to_owned();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(READ).map_err(reading)?;
            let mut found = HashMap::new();
            for item in items {
                let mut rows = statement.query(params![id_space, item.text()]).map_err(reading)?;
                let Some(row) = rows.next().map_err(reading)? else {
                    continue;
                };
                let mtime: Option<i64> = row.get(0).map_err(reading)?;
                let facts = ItemFacts {
                    mtime: mtime.map(from_nanoseconds),
                    hash: row.get(1).map_err(reading)?,
                };
                drop(rows);
                found.insert(item, facts);
            }
            Ok(found)
        };
        self.read("read the index", read).await
    }

    /// Notes facts: what is given replaces what was known.
    pub async fn note_facts(
        &self,
        id_space: &str,
        facts: Vec<(ItemKey, ItemFacts)>,
    ) -> Result<(), StateError> {
        self.write_facts(NOTE, id_space, facts).await
    }

    /// Notes facts that a service told: what was known already stays.
    pub async fn fill_facts(
        &self,
        id_space: &str,
        facts: Vec<(ItemKey, ItemFacts)>,
    ) -> Result<(), StateError> {
        self.write_facts(FILL, id_space, facts).await
    }

    async fn write_facts(
        &self,
        statement: &'static str,
        id_space: &str,
        facts: Vec<(ItemKey, ItemFacts)>,
    ) -> Result<(), StateError> {
        let id_space = id_space.to_owned();
        let note = move |connection: &Connection| {
            facts
                .iter()
                .try_for_each(|(item, facts)| write(connection, statement, &id_space, item, facts))
        };
        self.write("write the index", note, |()| {}).await
    }

    /// Forgets what is known of items that are gone.
    pub async fn forget_facts(&self, id_space: &str, items: Vec<ItemKey>) -> Result<(), StateError> {
        let id_space = id_space.to_owned();
        let forget = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("DELETE FROM facts WHERE id_space = ?1 AND item = ?2")
                .map_err(writing)?;
            items.iter().try_for_each(|item| {
                statement
                    .execute(params![id_space, item.text()])
                    .map(drop)
                    .map_err(writing)
            })
        };
        self.write("write the index", forget, |()| {}).await
    }

    /// Folders that were deleted from here and that the service may go on to list.
    pub async fn tombstones(&self, id_space: &str) -> Result<Vec<String>, StateError> {
        let id_space = id_space.to_owned();
        let read = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("SELECT folder FROM tombstones WHERE id_space = ?1")
                .map_err(reading)?;
            let folders = statement
                .query_map([id_space], |row| row.get(0))
                .map_err(reading)?;
            folders.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the index", read).await
    }

    /// Notes a folder as deleted.
    pub async fn bury(&self, id_space: &str, folder: &str) -> Result<(), StateError> {
        let (id_space, folder) = (id_space.to_owned(), folder.to_owned());
        let bury = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("INSERT OR IGNORE INTO tombstones (id_space, folder) VALUES (?1, ?2)")
                .map_err(writing)?;
            statement
                .execute(params![id_space, folder])
                .map(drop)
                .map_err(writing)
        };
        self.write("write the index", bury, |()| {}).await
    }

    /// Forgets that a folder was deleted: it was restored.
    pub async fn unbury(&self, id_space: &str, folder: &str) -> Result<(), StateError> {
        let (id_space, folder) = (id_space.to_owned(), folder.to_owned());
        let unbury = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("DELETE FROM tombstones WHERE id_space = ?1 AND folder = ?2")
                .map_err(writing)?;
            statement
                .execute(params![id_space, folder])
                .map(drop)
                .map_err(writing)
        };
        self.write("write the index", unbury, |()| {}).await
    }
}

fn write(
    connection: &Connection,
    statement: &str,
    id_space: &str,
    item: &ItemKey,
    facts: &ItemFacts,
) -> Result<(), StateError> {
    let mut statement = connection.prepare_cached(statement).map_err(writing)?;
    statement
        .execute(named_params! {
            ":id_space": id_space,
            ":item": item.text(),
            ":mtime": facts.mtime.map(to_nanoseconds),
            ":hash": facts.hash,
        })
        .map(drop)
        .map_err(writing)
}

fn reading(error: rusqlite::Error) -> StateError {
    StateError::sqlite("read the index", &error)
}

fn writing(error: rusqlite::Error) -> StateError {
    StateError::sqlite("write the index", &error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn what_was_set_here_outlives_what_a_service_tells() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let (file, other) = (ItemKey::File("1".into()), ItemKey::Folder("1".into()));
        let told = |seconds| ItemFacts {
            mtime: at(seconds),
            hash: None,
        };
        database
            .fill_facts("host", vec![(file.clone(), told(5))])
            .await
            .unwrap();
        let hash = Some("00".to_owned());
        let ours = ItemFacts {
            mtime: at(7),
            hash: hash.clone(),
        };
        database
            .note_facts("host", vec![(file.clone(), ours)])
            .await
            .unwrap();
        database
            .fill_facts("host", vec![(file.clone(), told(9))])
            .await
            .unwrap();
        database
            .note_facts("host", vec![(file.clone(), told(8))])
            .await
            .unwrap();
        let known = database
            .facts("host", vec![file.clone(), other.clone()])
            .await
            .unwrap();
        let expected = ItemFacts { mtime: at(8), hash };
        assert_eq!(known, HashMap::from([(file.clone(), expected)]));
        assert!(
            database
                .facts("elsewhere", vec![file.clone()])
                .await
                .unwrap()
                .is_empty()
        );
        database.forget_facts("host", vec![file.clone()]).await.unwrap();
        assert!(database.facts("host", vec![file]).await.unwrap().is_empty());
        database.close().await;
    }

    #[tokio::test]
    async fn a_tombstone_is_kept_once_and_for_its_own_service_until_it_is_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        for _ in 0..2 {
            database.bury("host", "12").await.unwrap();
        }
        assert_eq!(database.tombstones("host").await.unwrap(), ["12"]);
        assert!(database.tombstones("elsewhere").await.unwrap().is_empty());
        database.unbury("elsewhere", "12").await.unwrap();
        assert_eq!(database.tombstones("host").await.unwrap(), ["12"]);
        database.unbury("host", "12").await.unwrap();
        assert!(database.tombstones("host").await.unwrap().is_empty());
        database.close().await;
    }
}
