//! Writing the entries of a folder: what differs, in place.

use std::collections::HashMap;

use rusqlite::{Connection, named_params, params};

use super::{FolderToIndex, IndexedAccount, IndexedEntry, children, number, parts, writing};
use crate::state::StateError;
use crate::state::journal::to_nanoseconds;

/// Writes what differs; returns what was there and is not now.
pub(super) fn write_entries(
    connection: &Connection,
    account: IndexedAccount,
    parent: u64,
    folder: &FolderToIndex,
) -> Result<Vec<u64>, StateError> {
    let known = children(connection, number(parent))?;
    let mut known: HashMap<u64, IndexedEntry> = known.into_iter().map(|entry| (entry.ino, entry)).collect();
    let mut take_over = connection
        .prepare_cached(
            "DELETE FROM indexed_entries WHERE account = ?1 AND is_folder = 1 AND item = ?2 AND ino <> ?3",
        )
        .map_err(writing)?;
    let mut put = connection
        .prepare_cached(
            "INSERT INTO indexed_entries \
                (ino, account, parent, is_folder, item, name, size, mtime, hash, revision, files, folders) \
             VALUES (:ino, :account, :parent, :is_folder, :item, :name, :size, :mtime, :hash, :revision, \
                :files, :folders) \
             ON CONFLICT (ino) DO UPDATE SET account = excluded.account, parent = excluded.parent, \
                is_folder = excluded.is_folder, item = excluded.item, name = excluded.name, \
                size = excluded.size, mtime = excluded.mtime, hash = excluded.hash, \
                revision = CASE WHEN excluded.is_folder THEN revision ELSE excluded.revision END, \
                files = excluded.files, folders = excluded.folders",
        )
        .map_err(writing)?;
    for entry in &folder.entries {
        if known.remove(&entry.ino).is_some_and(|known| known == *entry) {
            continue;
        }
        let (is_folder, id) = parts(&entry.item);
        if is_folder {
            take_over
                .execute(params![account.0, id, number(entry.ino)])
                .map_err(writing)?;
        }
        put.execute(named_params! {
            ":ino": number(entry.ino),
            ":account": account.0,
            ":parent": number(parent),
            ":is_folder": is_folder,
            ":item": id,
            ":name": entry.name,
            ":size": entry.size.cast_signed(),
            ":mtime": entry.mtime.map(to_nanoseconds),
            ":hash": entry.hash,
            ":revision": entry.revision,
            ":files": count(entry.files),
            ":folders": count(entry.folders),
        })
        .map_err(writing)?;
    }
    connection
        .prepare_cached(
            "UPDATE indexed_entries SET listed = :listed, revision = :revision, incomplete = :incomplete, \
                changes = CASE WHEN :stale THEN max(changes, 1) WHEN changes = :changes THEN 0 ELSE changes END, \
                doubts = CASE WHEN :doubts IS NULL THEN max(doubts, 1) WHEN doubts = :doubts THEN 0 ELSE doubts END \
             WHERE ino = :ino",
        )
        .and_then(|mut update| {
            update.execute(named_params! {
                ":ino": number(parent),
                ":listed": to_nanoseconds(folder.listed),
                ":revision": folder.revision,
                ":incomplete": folder.incomplete,
                ":stale": folder.stale,
                ":changes": folder.worth.unwrap_or_default().changes.cast_signed(),
                ":doubts": folder.worth.map(|worth| worth.doubts.cast_signed()),
            })
        })
        .map_err(writing)?;
    Ok(known.into_keys().collect())
}

/// Forgets entries that are still in this folder, with all below them.
pub(super) fn forget_below(connection: &Connection, parent: u64, gone: &[u64]) -> Result<(), StateError> {
    let mut forget = connection
        .prepare_cached(
            "DELETE FROM indexed_entries WHERE ino IN ( \
                WITH RECURSIVE below (ino) AS ( \
                    SELECT ino FROM indexed_entries WHERE ino = ?1 AND parent = ?2 \
                    UNION SELECT entry.ino FROM indexed_entries AS entry JOIN below ON entry.parent = below.ino) \
                SELECT ino FROM below)",
        )
        .map_err(writing)?;
    gone.iter()
        .try_for_each(|ino| forget.execute([number(*ino), number(parent)]).map(drop))
        .map_err(writing)
}

fn count(told: Option<u64>) -> Option<i64> {
    told.and_then(|told| i64::try_from(told).ok())
}
