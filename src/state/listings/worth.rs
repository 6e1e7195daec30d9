//! What the entries of folders are worth: the counters of what happened since they were written.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::{IndexedAccount, Worth, read_worth, reading, writing};
use crate::state::{Database, StateError};

const CHANGED: &str = "UPDATE indexed_entries SET changes = changes + 1, files = NULL, folders = NULL \
    WHERE account = ?1 AND is_folder = 1 AND item = ?2";
const HOLDER_CHANGED: &str = "UPDATE indexed_entries SET changes = changes + 1 WHERE ino = \
    (SELECT parent FROM indexed_entries WHERE account = ?1 AND is_folder = 1 AND item = ?2)";
const DOUBTED: &str = "UPDATE indexed_entries SET doubts = doubts + 1, files = NULL, folders = NULL \
    WHERE account = ?1 AND is_folder = 1 AND item = ?2";

impl Database {
    /// What happened to folders since their entries were written, of those that the index knows.
    pub async fn indexed_worth(
        &self,
        account: IndexedAccount,
        folders: Vec<String>,
    ) -> Result<HashMap<String, Worth>, StateError> {
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached(
                    "SELECT changes, doubts FROM indexed_entries \
                     WHERE account = ?1 AND is_folder = 1 AND item = ?2",
                )
                .map_err(reading)?;
            let mut known = HashMap::new();
            for folder in folders {
                let worth = find
                    .query_row(params![account.0, folder], |row| read_worth(row, 0, 1))
                    .optional()
                    .map_err(reading)?;
                known.extend(worth.map(|worth| (folder, worth)));
            }
            Ok(known)
        };
        self.read("read the index", read).await
    }

    /// Notes changes that the service told of: of what is in `folders`, and of the folders that hold `moved` ones. What
    /// it told is in the index up to `cursor` from then on.
    pub async fn note_changes(
        &self,
        account: IndexedAccount,
        folders: Vec<String>,
        moved: Vec<String>,
        cursor: String,
    ) -> Result<(), StateError> {
        let note = move |connection: &Connection| {
            for_each(connection, CHANGED, account, &folders)?;
            for_each(connection, HOLDER_CHANGED, account, &moved)?;
            set_cursor(connection, account, &cursor)
        };
        self.write("note changes in the index", note, |()| {}).await
    }

    /// Notes that everything of an account may have changed up to `cursor`.
    pub async fn doubt_index(&self, account: IndexedAccount, cursor: String) -> Result<(), StateError> {
        let doubt = move |connection: &Connection| {
            connection
                .execute(
                    "UPDATE indexed_entries SET changes = changes + 1, files = NULL, folders = NULL \
                     WHERE account = ?1 AND is_folder = 1",
                    [account.0],
                )
                .map_err(writing)?;
            set_cursor(connection, account, &cursor)
        };
        self.write("note changes in the index", doubt, |()| {}).await
    }

    /// Lets nobody believe what is in these folders before it is asked for: they are about to be changed from here.
    pub async fn distrust_folders(
        &self,
        account: IndexedAccount,
        folders: Vec<String>,
    ) -> Result<(), StateError> {
        let doubt = move |connection: &Connection| for_each(connection, DOUBTED, account, &folders);
        self.write("write the index", doubt, |()| {}).await
    }

    /// Folders that were changed from here and not written since, by their ids.
    pub async fn distrusted_folders(&self, account: IndexedAccount) -> Result<Vec<String>, StateError> {
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached("SELECT item FROM indexed_entries WHERE account = ?1 AND doubts > 0")
                .map_err(reading)?;
            let folders = find.query_map([account.0], |row| row.get(0)).map_err(reading)?;
            folders.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the index", read).await
    }
}

fn set_cursor(connection: &Connection, account: IndexedAccount, cursor: &str) -> Result<(), StateError> {
    connection
        .execute(
            "UPDATE indexed_accounts SET cursor = ?2 WHERE id = ?1",
            params![account.0, cursor],
        )
        .map(drop)
        .map_err(writing)
}

fn for_each(
    connection: &Connection,
    statement: &str,
    account: IndexedAccount,
    folders: &[String],
) -> Result<(), StateError> {
    let mut statement = connection.prepare_cached(statement).map_err(writing)?;
    folders
        .iter()
        .try_for_each(|folder| statement.execute(params![account.0, folder]).map(drop))
        .map_err(writing)
}
