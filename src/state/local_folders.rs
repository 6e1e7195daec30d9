//! Folders that are on this machine alone.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::journal::{from_nanoseconds, to_nanoseconds};
use super::{Database, StateError};

/// A folder that no service knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFolderRow {
    /// Never used again for another folder.
    pub id: i64,
    pub account: String,
    /// What it is in: a folder of the service, or another one of these.
    pub parent: String,
    pub name: String,
    pub mtime: SystemTime,
}

impl Database {
    pub async fn local_folders(
        &self,
        account: String,
        parent: String,
    ) -> Result<Vec<LocalFolderRow>, StateError> {
        let read = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("SELECT * FROM local_folders WHERE account = ?1 AND parent = ?2 ORDER BY id")
                .map_err(failed)?;
            let rows = statement.query_map([account, parent], read_row).map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        };
        self.read("read the folders of this machine", read).await
    }

    /// Makes a folder, or returns the one of that name that is there.
    pub async fn make_local_folder(
        &self,
        account: String,
        parent: String,
        name: String,
    ) -> Result<LocalFolderRow, StateError> {
        let make = move |connection: &Connection| {
            connection
                .execute(
                    "INSERT OR IGNORE INTO local_folders (account, parent, name, mtime) \
                     VALUES (:account, :parent, :name, :mtime)",
                    named_params! {
                        ":account": account,
                        ":parent": parent,
                        ":name": name,
                        ":mtime": to_nanoseconds(SystemTime::now()),
                    },
                )
                .map_err(failed)?;
            let made = connection.query_row(
                "SELECT * FROM local_folders WHERE account = ?1 AND parent = ?2 AND name = ?3",
                [account, parent, name],
                read_row,
            );
            made.map_err(failed)
        };
        self.write(OPERATION, make, |_| {}).await
    }

    /// Changes a folder, if it is there.
    pub async fn change_local_folder(
        &self,
        id: i64,
        change: impl FnOnce(&mut LocalFolderRow) + Send + 'static,
    ) -> Result<(), StateError> {
        let write = move |connection: &Connection| {
            let row = connection.query_row("SELECT * FROM local_folders WHERE id = ?1", [id], read_row);
            let Some(mut row) = row.optional().map_err(failed)? else {
                return Ok(());
            };
            change(&mut row);
            connection
                .execute(
                    "UPDATE OR REPLACE local_folders SET parent = :parent, name = :name, mtime = :mtime \
                     WHERE id = :id",
                    named_params! {
                        ":id": id,
                        ":parent": row.parent,
                        ":name": row.name,
                        ":mtime": to_nanoseconds(row.mtime),
                    },
                )
                .map(drop)
                .map_err(failed)
        };
        self.write(OPERATION, write, |()| {}).await
    }

    pub async fn remove_local_folder(&self, id: i64) -> Result<(), StateError> {
        let remove = move |connection: &Connection| {
            connection
                .execute("DELETE FROM local_folders WHERE id = ?1", [id])
                .map(drop)
                .map_err(failed)
        };
        self.write(OPERATION, remove, |()| {}).await
    }
}

const OPERATION: &str = "keep a folder on this machine";

fn failed(error: rusqlite::Error) -> StateError {
    StateError::sqlite(OPERATION, &error)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<LocalFolderRow> {
    Ok(LocalFolderRow {
        id: row.get("id")?,
        account: row.get("account")?,
        parent: row.get("parent")?,
        name: row.get("name")?,
        mtime: from_nanoseconds(row.get("mtime")?),
    })
}
