//! The catalog: what was given to services that list nothing, in folders that they know nothing of.
//!
//! It is the only list of it that there is: unlike the index, it is an authority.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::journal::{from_nanoseconds, to_nanoseconds};
use super::{Database, StateError};

/// A folder of the catalog; the top one, 0, is in no table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFolderRow {
    /// Never used again for another folder.
    pub id: i64,
    pub parent: i64,
    pub name: String,
    pub mtime: SystemTime,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFileRow {
    /// As the service has it.
    pub id: String,
    pub folder: i64,
    pub name: String,
    pub size: u64,
    pub mtime: SystemTime,
    /// Not known of a content that was never here.
    pub sha256: Option<[u8; 32]>,
    pub published: SystemTime,
    /// Of the upload that made it.
    pub ticket: Option<String>,
    pub url: Option<String>,
    pub short_url: Option<String>,
    pub mirrors: Vec<String>,
    /// In the service's words, where it is not active.
    pub status: Option<String>,
    /// When the service was asked last.
    pub checked: SystemTime,
}

/// What a file of the catalog is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    Ticket(String),
    /// An active one with this content, in its place.
    Content {
        folder: i64,
        name: String,
        size: u64,
        sha256: [u8; 32],
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogItem {
    File(String),
    Folder(i64),
}

/// One change of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogChange {
    Rename(CatalogItem, String),
    Move(CatalogItem, i64),
    Mtime(CatalogItem, SystemTime),
    /// With all that is in it.
    Remove(CatalogItem),
    /// What the service says of a file: nothing, where it is active.
    Status(String, Option<String>, SystemTime),
}

const OPERATION: &str = "keep the catalog of published files";

impl Database {
    /// What a folder holds; `None` where there is no such folder.
    pub async fn catalog(
        &self,
        account: String,
        folder: i64,
    ) -> Result<Option<(Vec<CatalogFolderRow>, Vec<CatalogFileRow>)>, StateError> {
        let read = move |connection: &Connection| {
            if !is_there(connection, &account, folder)? {
                return Ok(None);
            }
            let folders = "SELECT * FROM catalog_folders WHERE account = ?1 AND parent = ?2 ORDER BY id";
            let files =
                "SELECT * FROM catalog_files WHERE account = ?1 AND folder = ?2 ORDER BY published, id";
            let folders = rows(connection, folders, params![account, folder], read_folder)?;
            let files = rows(connection, files, params![account, folder], read_file)?;
            Ok(Some((folders, files)))
        };
        self.read(OPERATION, read).await
    }

    pub async fn has_catalog_folder(&self, account: String, folder: i64) -> Result<bool, StateError> {
        let read = move |connection: &Connection| is_there(connection, &account, folder);
        self.read(OPERATION, read).await
    }

    /// Those of these files that are in the catalog.
    pub async fn catalog_files(
        &self,
        account: String,
        ids: Vec<String>,
    ) -> Result<Vec<CatalogFileRow>, StateError> {
        let read = move |connection: &Connection| {
            let mut found = Vec::new();
            for id in ids {
                found.extend(one_file(connection, &account, &id)?);
            }
            Ok(found)
        };
        self.read(OPERATION, read).await
    }

    /// Account and id of each file, of all accounts that ever were.
    pub async fn all_catalog_files(&self) -> Result<Vec<(String, String)>, StateError> {
        let read = |connection: &Connection| {
            let select = "SELECT account, id FROM catalog_files";
            rows(connection, select, params![], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        };
        self.read(OPERATION, read).await
    }

    /// The newest file that fits.
    pub async fn find_in_catalog(
        &self,
        account: String,
        sought: Sought,
    ) -> Result<Option<CatalogFileRow>, StateError> {
        let read = move |connection: &Connection| {
            let end = "ORDER BY published DESC LIMIT 1";
            let found = match &sought {
                Sought::Ticket(ticket) => connection.query_row(
                    &format!("SELECT * FROM catalog_files WHERE account = ?1 AND ticket = ?2 {end}"),
                    params![account, ticket],
                    read_file,
                ),
                Sought::Content {
                    folder,
                    name,
                    size,
                    sha256,
                } => connection.query_row(
                    &format!(
                        "SELECT * FROM catalog_files WHERE account = ?1 AND folder = ?2 AND name = ?3 \
                         AND size = ?4 AND sha256 = ?5 AND status IS NULL {end}"
                    ),
                    params![account, folder, name, to_signed(*size), sha256],
                    read_file,
                ),
            };
            found.optional().map_err(failed)
        };
        self.read(OPERATION, read).await
    }

    /// Adds a file, in place of what had its id.
    pub async fn add_to_catalog(&self, account: String, file: CatalogFileRow) -> Result<(), StateError> {
        let add = move |connection: &Connection| {
            let mirrors = serde_json::Value::from(file.mirrors).to_string();
            connection
                .execute(
                    "INSERT OR REPLACE INTO catalog_files (account, id, folder, name, size, mtime, sha256, published, \
                     ticket, url, short_url, mirrors, status, checked) VALUES (:account, :id, :folder, :name, :size, \
                     :mtime, :sha256, :published, :ticket, :url, :short_url, :mirrors, :status, :checked)",
                    named_params! {
                        ":account": account,
                        ":id": file.id,
                        ":folder": file.folder,
                        ":name": file.name,
                        ":size": to_signed(file.size),
                        ":mtime": to_nanoseconds(file.mtime),
                        ":sha256": file.sha256.as_ref().map_or(&[][..], |hash| &hash[..]),
                        ":published": to_nanoseconds(file.published),
                        ":ticket": file.ticket,
                        ":url": file.url,
                        ":short_url": file.short_url,
                        ":mirrors": mirrors,
                        ":status": file.status,
                        ":checked": to_nanoseconds(file.checked),
                    },
                )
                .map(drop)
                .map_err(failed)
        };
        self.write(OPERATION, add, |()| {}).await
    }

    /// Makes a folder, or returns the one of that name that is there; `None` where its parent is gone.
    pub async fn make_catalog_folder(
        &self,
        account: String,
        parent: i64,
        name: String,
    ) -> Result<Option<CatalogFolderRow>, StateError> {
        let make = move |connection: &Connection| {
            if !is_there(connection, &account, parent)? {
                return Ok(None);
            }
            let find =
                "SELECT * FROM catalog_folders WHERE account = ?1 AND parent = ?2 AND name = ?3 ORDER BY id";
            let find = || {
                connection
                    .query_row(find, params![account, parent, name], read_folder)
                    .optional()
            };
            if let Some(known) = find().map_err(failed)? {
                return Ok(Some(known));
            }
            let now = to_nanoseconds(SystemTime::now());
            connection
                .execute(
                    "INSERT INTO catalog_folders (account, parent, name, mtime) VALUES (?1, ?2, ?3, ?4)",
                    params![account, parent, name, now],
                )
                .map_err(failed)?;
            find().map_err(failed)
        };
        self.write(OPERATION, make, |_| {}).await
    }

    /// Makes changes, all or none of them. What is not there is left out.
    pub async fn change_catalog(
        &self,
        account: String,
        changes: Vec<CatalogChange>,
    ) -> Result<(), StateError> {
        let change = move |connection: &Connection| {
            changes
                .into_iter()
                .try_for_each(|change| apply(connection, &account, change))
        };
        self.write(OPERATION, change, |()| {}).await
    }

    /// Files that the service was last asked after before a moment, those that wait for longest first.
    pub async fn catalog_unchecked(
        &self,
        account: String,
        before: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, StateError> {
        let read = move |connection: &Connection| {
            let select = "SELECT id FROM catalog_files WHERE account = ?1 AND checked < ?2 ORDER BY checked, id LIMIT ?3";
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            rows(
                connection,
                select,
                params![account, to_nanoseconds(before), most],
                |row| row.get(0),
            )
        };
        self.read(OPERATION, read).await
    }
}

fn failed(error: rusqlite::Error) -> StateError {
    StateError::sqlite(OPERATION, &error)
}

fn to_signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn rows<T>(
    connection: &Connection,
    select: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StateError> {
    let mut statement = connection.prepare_cached(select).map_err(failed)?;
    let rows = statement.query_map(params, read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

fn is_there(connection: &Connection, account: &str, folder: i64) -> Result<bool, StateError> {
    if folder == 0 {
        return Ok(true);
    }
    let found = connection.query_row(
        "SELECT 1 FROM catalog_folders WHERE account = ?1 AND id = ?2",
        params![account, folder],
        |_| Ok(()),
    );
    Ok(found.optional().map_err(failed)?.is_some())
}

fn one_file(connection: &Connection, account: &str, id: &str) -> Result<Option<CatalogFileRow>, StateError> {
    let mut select = connection
        .prepare_cached("SELECT * FROM catalog_files WHERE account = ?1 AND id = ?2")
        .map_err(failed)?;
    let found = select.query_row(params![account, id], read_file);
    found.optional().map_err(failed)
}

fn apply(connection: &Connection, account: &str, change: CatalogChange) -> Result<(), StateError> {
    use CatalogItem::{File, Folder};
    let execute = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(params).map(drop).map_err(failed)
    };
    match change {
        CatalogChange::Rename(File(id), name) => execute(
            "UPDATE catalog_files SET name = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, name],
        ),
        CatalogChange::Rename(Folder(id), name) => execute(
            "UPDATE catalog_folders SET name = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, name],
        ),
        CatalogChange::Move(File(id), folder) => execute(
            "UPDATE catalog_files SET folder = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, folder],
        ),
        CatalogChange::Move(Folder(id), parent) => execute(
            "UPDATE catalog_folders SET parent = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, parent],
        ),
        CatalogChange::Mtime(File(id), mtime) => execute(
            "UPDATE catalog_files SET mtime = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, to_nanoseconds(mtime)],
        ),
        CatalogChange::Mtime(Folder(id), mtime) => execute(
            "UPDATE catalog_folders SET mtime = ?3 WHERE account = ?1 AND id = ?2",
            params![account, id, to_nanoseconds(mtime)],
        ),
        CatalogChange::Remove(File(id)) => execute(
            "DELETE FROM catalog_files WHERE account = ?1 AND id = ?2",
            params![account, id],
        ),
        CatalogChange::Remove(Folder(id)) => {
            const BELOW: &str = "WITH RECURSIVE below (id) AS (SELECT ?2 UNION SELECT catalog_folders.id \
                FROM catalog_folders JOIN below ON catalog_folders.parent = below.id \
                WHERE catalog_folders.account = ?1)";
            execute(
                &format!(
                    "{BELOW} DELETE FROM catalog_files WHERE account = ?1 AND folder IN (SELECT id FROM below)"
                ),
                params![account, id],
            )?;
            execute(
                &format!(
                    "{BELOW} DELETE FROM catalog_folders WHERE account = ?1 AND id IN (SELECT id FROM below)"
                ),
                params![account, id],
            )
        }
        CatalogChange::Status(id, status, checked) => execute(
            "UPDATE catalog_files SET status = ?3, checked = ?4 WHERE account = ?1 AND id = ?2",
            params![account, id, status, to_nanoseconds(checked)],
        ),
    }
}

fn read_folder(row: &Row<'_>) -> rusqlite::Result<CatalogFolderRow> {
    Ok(CatalogFolderRow {
        id: row.get("id")?,
        parent: row.get("parent")?,
        name: row.get("name")?,
        mtime: from_nanoseconds(row.get("mtime")?),
    })
}

fn read_file(row: &Row<'_>) -> rusqlite::Result<CatalogFileRow> {
    let mirrors: String = row.get("mirrors")?;
    Ok(CatalogFileRow {
        id: row.get("id")?,
        folder: row.get("folder")?,
        name: row.get("name")?,
        size: u64::try_from(row.get::<_, i64>("size")?).unwrap_or(0),
        mtime: from_nanoseconds(row.get("mtime")?),
        sha256: <[u8; 32]>::try_from(row.get::<_, Vec<u8>>("sha256")?).ok(),
        published: from_nanoseconds(row.get("published")?),
        ticket: row.get("ticket")?,
        url: row.get("url")?,
        short_url: row.get("short_url")?,
        // Written here; what is not readable is told as no mirrors.
        mirrors: serde_json::from_str(&mirrors).unwrap_or_default(),
        status: row.get("status")?,
        checked: from_nanoseconds(row.get("checked")?),
    })
}
