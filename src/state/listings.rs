//! The index of folders: what services told of their entries, and the inode numbers that the entries have for good.
//!
//! Entries are kept by folder, as its listing told them last, under the inode number by which the mount shows
//! them. It is no authority: what is not in it is asked for again. Two counters tell what its entries of a folder
//! are worth. *Changes* were told of by the service since: the entries can be shown while they are refreshed.
//! *Doubts* are changes made from here that are no longer in the journal and not yet in the index: the entries
//! are to be asked for before they are believed. Doubts are raised in the transaction that takes a row out of the
//! journal, by triggers, so that no crash can come in between.

mod accounts;
mod worth;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::journal::from_nanoseconds;
use super::{Database, ItemKey, StateError};
use write::{forget_below, write_entries};

/// Entries that are looked at in one go.
const SCANNED: usize = 20_000;

/// An account as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexedAccount(i64);

/// What is known of an account before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountIndexed {
    pub account: IndexedAccount,
    /// The inode number of its top folder.
    pub top: u64,
    /// Up to where the service's changes are in the index.
    pub cursor: Option<String>,
    pub owner: Option<String>,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedEntry {
    pub ino: u64,
    pub item: ItemKey,
    /// As the service has it.
    pub name: String,
    /// Of a file, in bytes.
    pub size: u64,
    pub mtime: Option<SystemTime>,
    /// Of a file's content, of whatever kind.
    pub hash: Option<Vec<u8>>,
    /// Of a file's content.
    pub revision: Option<String>,
    /// Files and folders in a folder, where its parent's listing told and nothing changed since.
    pub files: Option<u64>,
    pub folders: Option<u64>,
}

/// The entries of a folder, and what they are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFolder {
    pub entries: Vec<IndexedEntry>,
    pub listed: SystemTime,
    /// Of the folder, when it was listed.
    pub revision: Option<String>,
    /// There was more in it that could not be read.
    pub incomplete: bool,
    pub worth: Worth,
}

/// What happened to a folder since its entries were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worth {
    /// That the service told of.
    pub changes: u64,
    /// From here.
    pub doubts: u64,
}

/// A folder to be written.
#[derive(Debug, Clone)]
pub struct FolderToIndex {
    /// By its id.
    pub folder: String,
    pub entries: Vec<IndexedEntry>,
    pub listed: SystemTime,
    pub revision: Option<String>,
    pub incomplete: bool,
    /// It is known to be out of date.
    pub stale: bool,
    /// As it was before the entries were gathered: what happened since is not in them. None where the index did not know
    /// the folder, and so noted nothing that happened: it is in doubt until it is written again.
    pub worth: Option<Worth>,
}

/// A folder whose entries are in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    pub ino: u64,
    pub folder: String,
    pub revision: Option<String>,
    pub files: u64,
    pub folders: u64,
}

impl Database {
    /// The entries of a folder, where they are known.
    pub async fn indexed_folder(
        &self,
        account: IndexedAccount,
        folder: &str,
    ) -> Result<Option<IndexedFolder>, StateError> {
        let folder = folder.to_owned();
        let read = move |connection: &Connection| {
            let mut state = connection
                .prepare_cached(
                    "SELECT ino, listed, revision, incomplete, changes, doubts FROM indexed_entries \
                     WHERE account = ?1 AND is_folder = 1 AND item = ?2 AND listed IS NOT NULL",
                )
                .map_err(reading)?;
            let found = state
                .query_row(params![account.0, folder], |row| {
                    let found = IndexedFolder {
                        entries: Vec::new(),
                        listed: from_nanoseconds(row.get(1)?),
                        revision: row.get(2)?,
                        incomplete: row.get(3)?,
                        worth: read_worth(row, 4, 5)?,
                    };
                    Ok((row.get::<_, i64>(0)?, found))
                })
                .optional()
                .map_err(reading)?;
            let Some((ino, mut found)) = found else {
                return Ok(None);
            };
            found.entries = children(connection, ino)?;
            Ok(Some(found))
        };
        self.read("read the index", read).await
    }

    /// The folders that an entry is in, from its account's top folder down, by their ids. `None` where the index
    /// does not know it.
    pub async fn indexed_path(&self, ino: u64) -> Result<Option<(IndexedAccount, Vec<String>)>, StateError> {
        let read = move |connection: &Connection| {
            let mut up = connection
                .prepare_cached("SELECT account, parent, item FROM indexed_entries WHERE ino = ?1")
                .map_err(reading)?;
            let mut path = Vec::new();
            let mut seen = HashSet::new();
            let (mut at, mut account) = (number(ino), None);
            while at != 0 && seen.insert(at) {
                let found: Option<(i64, i64, String)> = up
                    .query_row([at], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()
                    .map_err(reading)?;
                let Some((of, parent, item)) = found else {
                    return Ok(None);
                };
                if account.replace(of).is_some() {
                    path.push(item);
                }
                at = parent;
            }
            path.reverse();
            Ok(account.map(|account| (IndexedAccount(account), path)))
        };
        self.read("read the index", read).await
    }

    /// The folders of an account, of those in the index, in which contents wait to be uploaded: inode numbers and ids.
    pub async fn folders_that_wait(&self, account: IndexedAccount) -> Result<Vec<(u64, String)>, StateError> {
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached(
                    "SELECT ino, item FROM indexed_entries WHERE account = ?1 AND is_folder = 1 AND item IN \
                     (SELECT folder FROM pending WHERE state <> 'removed' AND account = \
                     (SELECT name FROM indexed_accounts WHERE id = ?1))",
                )
                .map_err(reading)?;
            let folders = find
                .query_map([account.0], |row| {
                    Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
                })
                .map_err(reading)?;
            folders.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the index", read).await
    }

    /// The inode numbers of what the index has in a folder, and of these folders wherever they are.
    pub async fn indexed_inodes(
        &self,
        account: IndexedAccount,
        within: &str,
        folders: Vec<String>,
    ) -> Result<HashMap<ItemKey, u64>, StateError> {
        let within = within.to_owned();
        let read = move |connection: &Connection| {
            let mut known = HashMap::new();
            if let Some(parent) = folder_number(connection, account, &within)? {
                let entries = children(connection, number(parent))?;
                known.extend(entries.into_iter().map(|entry| (entry.item, entry.ino)));
            }
            for folder in folders {
                let ino = folder_number(connection, account, &folder)?;
                known.extend(ino.map(|ino| (ItemKey::Folder(folder), ino)));
            }
            Ok(known)
        };
        self.read("read the index", read).await
    }

    /// The folders that the index has these files in. It looks at all entries, some at a time, so that others have
    /// their turn in between.
    pub async fn folders_of_files(
        &self,
        account: IndexedAccount,
        files: HashSet<String>,
    ) -> Result<Vec<String>, StateError> {
        let files = Arc::new(files);
        let (mut parents, mut after) = (HashSet::new(), 0);
        loop {
            let files = Arc::clone(&files);
            let read = move |connection: &Connection| {
                let mut some = connection
                    .prepare_cached(
                        "SELECT ino, parent, account, is_folder, item FROM indexed_entries \
                         WHERE ino > ?1 ORDER BY ino LIMIT ?2",
                    )
                    .map_err(reading)?;
                let mut rows = some.query(params![after, limit(SCANNED)]).map_err(reading)?;
                let (mut last, mut found) = (None, Vec::new());
                while let Some(row) = rows.next().map_err(reading)? {
                    last = Some(row.get::<_, i64>(0).map_err(reading)?);
                    let is_file_here = row.get::<_, i64>(2).map_err(reading)? == account.0
                        && !row.get::<_, bool>(3).map_err(reading)?;
                    let item = row.get_ref(4).map_err(reading)?;
                    if is_file_here && item.as_str().is_ok_and(|item| files.contains(item)) {
                        found.push(row.get::<_, i64>(1).map_err(reading)?);
                    }
                }
                Ok((last, found))
            };
            let (last, found) = self.read("read the index", read).await?;
            parents.extend(found);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached("SELECT item FROM indexed_entries WHERE ino = ?1 AND is_folder = 1")
                .map_err(reading)?;
            let mut folders = Vec::new();
            for parent in parents {
                let folder = find.query_row([parent], |row| row.get(0)).optional();
                folders.extend(folder.map_err(reading)?);
            }
            Ok(folders)
        };
        self.read("read the index", read).await
    }

    /// Writes what folders hold, parents before their children where both are new. What was in them and is in none
    /// of these now is forgotten, with all below it. A folder that the index does not know is left out.
    pub async fn index_folders(
        &self,
        account: IndexedAccount,
        folders: Vec<FolderToIndex>,
    ) -> Result<(), StateError> {
        let write = move |connection: &Connection| {
            let mut former = Vec::new();
            for folder in &folders {
                let Some(parent) = folder_number(connection, account, &folder.folder)? else {
                    continue;
                };
                former.push((parent, write_entries(connection, account, parent, folder)?));
            }
            // What went from one of these folders into another is in that one by now.
            for (parent, gone) in former {
                forget_below(connection, parent, &gone)?;
            }
            Ok(())
        };
        self.write("write the index", write, |()| {}).await
    }

    /// Folders whose entries are not known, with inode numbers above `after`, in their order.
    pub async fn unlisted_folders(
        &self,
        account: IndexedAccount,
        after: u64,
        most: usize,
    ) -> Result<Vec<u64>, StateError> {
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached(
                    "SELECT ino FROM indexed_entries \
                     WHERE account = ?1 AND is_folder = 1 AND listed IS NULL AND ino > ?2 ORDER BY ino LIMIT ?3",
                )
                .map_err(reading)?;
            let rows = find
                .query_map(params![account.0, number(after), limit(most)], |row| {
                    row.get::<_, i64>(0)
                })
                .map_err(reading)?;
            let rows = rows.map(|ino| ino.map(i64::cast_unsigned));
            rows.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the index", read).await
    }

    /// Folders whose entries are known, with inode numbers above `after`, in their order, with what is in them.
    pub async fn listed_folders(
        &self,
        account: IndexedAccount,
        after: u64,
        most: usize,
    ) -> Result<Vec<ListedFolder>, StateError> {
        let read = move |connection: &Connection| {
            let mut find = connection
                .prepare_cached(
                    "SELECT ino, item, revision, \
                        (SELECT count(*) FROM indexed_entries AS f WHERE f.parent = e.ino AND f.is_folder = 0), \
                        (SELECT count(*) FROM indexed_entries AS f WHERE f.parent = e.ino AND f.is_folder = 1) \
                     FROM indexed_entries AS e \
                     WHERE account = ?1 AND is_folder = 1 AND listed IS NOT NULL AND ino > ?2 ORDER BY ino LIMIT ?3",
                )
                .map_err(reading)?;
            let rows = find
                .query_map(params![account.0, number(after), limit(most)], |row| {
                    Ok(ListedFolder {
                        ino: row.get::<_, i64>(0)?.cast_unsigned(),
                        folder: row.get(1)?,
                        revision: row.get(2)?,
                        files: row.get::<_, i64>(3)?.cast_unsigned(),
                        folders: row.get::<_, i64>(4)?.cast_unsigned(),
                    })
                })
                .map_err(reading)?;
            rows.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read the index", read).await
    }
}

fn parts(item: &ItemKey) -> (bool, &str) {
    match item {
        ItemKey::File(id) => (false, id),
        ItemKey::Folder(id) => (true, id),
    }
}

/// SQLite has signed numbers only.
fn number(ino: u64) -> i64 {
    ino.cast_signed()
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn read_worth(row: &Row<'_>, changes: usize, doubts: usize) -> rusqlite::Result<Worth> {
    Ok(Worth {
        changes: row.get::<_, i64>(changes)?.cast_unsigned(),
        doubts: row.get::<_, i64>(doubts)?.cast_unsigned(),
    })
}

fn folder_number(
    connection: &Connection,
    account: IndexedAccount,
    folder: &str,
) -> Result<Option<u64>, StateError> {
    let ino: Option<i64> = connection
        .prepare_cached("SELECT ino FROM indexed_entries WHERE account = ?1 AND is_folder = 1 AND item = ?2")
        .and_then(|mut find| {
            find.query_row(params![account.0, folder], |row| row.get(0))
                .optional()
        })
        .map_err(reading)?;
    Ok(ino.map(i64::cast_unsigned))
}

fn children(connection: &Connection, parent: i64) -> Result<Vec<IndexedEntry>, StateError> {
    let mut find = connection
        .prepare_cached(
            "SELECT ino, is_folder, item, name, size, mtime, hash, revision, files, folders \
             FROM indexed_entries WHERE parent = ?1",
        )
        .map_err(reading)?;
    let rows = find.query_map([parent], read_entry).map_err(reading)?;
    rows.collect::<Result<_, _>>().map_err(reading)
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<IndexedEntry> {
    let id: String = row.get(2)?;
    let is_folder: bool = row.get(1)?;
    let mtime: Option<i64> = row.get(5)?;
    let revision: Option<String> = row.get(7)?;
    let told = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(i64::cast_unsigned));
    Ok(IndexedEntry {
        ino: row.get::<_, i64>(0)?.cast_unsigned(),
        item: if is_folder {
            ItemKey::Folder(id)
        } else {
            ItemKey::File(id)
        },
        name: row.get(3)?,
        size: row.get::<_, i64>(4)?.cast_unsigned(),
        mtime: mtime.map(from_nanoseconds),
        hash: row.get(6)?,
        // A folder's own is that of its listing, which its parent's does not tell.
        revision: revision.filter(|_| !is_folder),
        files: told(8)?,
        folders: told(9)?,
    })
}

fn reading(error: rusqlite::Error) -> StateError {
    StateError::sqlite("read the index", &error)
}

fn writing(error: rusqlite::Error) -> StateError {
    StateError::sqlite("write the index", &error)
}

#[cfg(test)]
mod tests;
