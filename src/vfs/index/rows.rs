//! Entries as the index has them, and as providers and the tree do.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use crate::provider::{
    ContentHash, Entry, FileEntry, FileId, FolderEntry, FolderId, ItemId, ListHint, Listing,
};
use crate::state::{FolderToIndex, IndexedEntry, IndexedFolder, ItemKey, Worth};
use crate::vfs::tree::{Snapshot, Told};

pub(super) fn to_index(snapshot: Snapshot, worth: &HashMap<String, Worth>) -> FolderToIndex {
    let folder = snapshot.folder.to_string();
    FolderToIndex {
        worth: worth.get(&folder).copied(),
        folder,
        entries: snapshot.entries.into_iter().map(row_of).collect(),
        listed: SystemTime::now()
            .checked_sub(snapshot.at.elapsed())
            .unwrap_or(SystemTime::UNIX_EPOCH),
        revision: snapshot.revision,
        incomplete: snapshot.incomplete,
        stale: snapshot.stale,
    }
}

fn row_of((ino, entry): (u64, Entry)) -> IndexedEntry {
    let item = key_of(entry.item());
    match entry {
        Entry::File(file) => IndexedEntry {
            ino,
            item,
            name: file.name,
            size: file.size,
            mtime: file.mtime,
            hash: file.hash.map(ContentHash::into_bytes),
            revision: file.revision,
            files: None,
            folders: None,
        },
        Entry::Folder(folder) => IndexedEntry {
            ino,
            item,
            name: folder.name,
            size: 0,
            mtime: folder.mtime,
            hash: None,
            revision: None,
            files: folder.hint.files,
            folders: folder.hint.folders,
        },
    }
}

pub(super) fn told_by_index(found: IndexedFolder, tells_of_changes: bool) -> Told {
    let mut inodes = HashMap::with_capacity(found.entries.len());
    let mut entries = Vec::with_capacity(found.entries.len());
    for row in found.entries {
        let ino = row.ino;
        let entry = entry_of(row, tells_of_changes);
        inodes.insert(entry.item(), ino);
        entries.push(entry);
    }
    let age = SystemTime::now().duration_since(found.listed);
    // A listing from the future, or from before this machine was started, is as old as any.
    let at = age.ok().and_then(|age| Instant::now().checked_sub(age));
    Told {
        listing: Listing {
            entries,
            incomplete: found.incomplete,
            revision: found.revision,
        },
        at: at.unwrap_or_else(Instant::now),
        stale: found.worth.changes > 0 || (at.is_none() && !tells_of_changes),
        doubted: found.worth.doubts > 0,
        from_index: true,
        inodes,
        modes: HashMap::new(),
    }
}

fn entry_of(row: IndexedEntry, tells_of_changes: bool) -> Entry {
    match row.item {
        ItemKey::File(id) => Entry::File(FileEntry {
            id: FileId::new(id),
            name: row.name,
            size: row.size,
            mtime: row.mtime,
            hash: row.hash.as_deref().and_then(ContentHash::from_bytes),
            revision: row.revision,
            parent: None,
        }),
        ItemKey::Folder(id) => Entry::Folder(FolderEntry {
            id: FolderId::new(id),
            name: row.name,
            mtime: row.mtime,
            // Nobody would have told that it is not so any more.
            hint: if tells_of_changes {
                ListHint {
                    files: row.files,
                    folders: row.folders,
                }
            } else {
                ListHint::default()
            },
        }),
    }
}

fn key_of(item: ItemId) -> ItemKey {
    match item {
        ItemId::File(id) => ItemKey::File(id.to_string()),
        ItemId::Folder(id) => ItemKey::Folder(id.to_string()),
    }
}

pub(super) fn item_of(key: ItemKey) -> ItemId {
    match key {
        ItemKey::File(id) => ItemId::File(FileId::new(id)),
        ItemKey::Folder(id) => ItemId::Folder(FolderId::new(id)),
    }
}
