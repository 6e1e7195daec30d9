//! What the index is told of a folder: the entries as the service has them, without what is only here.

use std::time::Instant;

use crate::provider::{Entry, FileEntry, FolderEntry, FolderId, ListHint, Listing};
use crate::upload::{PendingFile, PendingId};

use super::numbers::is_kept;
use super::{File, Folder, Kind, ListingState, Node, Tree};

/// The entries of a folder, each with its inode.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub folder: FolderId,
    pub entries: Vec<(u64, Entry)>,
    pub at: Instant,
    pub stale: bool,
    pub revision: Option<String>,
    pub incomplete: bool,
}

pub enum Snapshotted {
    Done(Snapshot),
    /// The news of an upload that has ended, or of a change that was begun here, are on their way.
    Behind,
    /// It is not known well enough. When it is, it counts as changed again.
    Unfit,
}

impl Snapshot {
    /// Without what uploads may change on the service before anybody hears of it: the content of files that have newer
    /// content here.
    pub fn without_content_of(&mut self, is_written_to: impl Fn(u64) -> bool) {
        for (ino, entry) in &mut self.entries {
            if let Entry::File(file) = entry
                && is_written_to(*ino)
            {
                (file.hash, file.revision) = (None, None);
            }
        }
    }
}

impl Tree {
    /// The entries of a folder changed, in their order or in themselves.
    pub fn note_change(&mut self, folder: u64) {
        if self.dirty.insert(folder) {
            self.changed.notify_one();
        }
    }

    /// As [`note_change`](Self::note_change), of the folder that a node is in.
    pub fn note_change_of(&mut self, ino: u64) {
        if let Some(parent) = self.get(ino).and_then(|node| node.parent) {
            self.note_change(parent);
        }
    }

    /// Who is told that a folder changed.
    pub fn on_change(&self) -> std::sync::Arc<tokio::sync::Notify> {
        self.changed.clone()
    }

    /// The folders that changed since the index was told of them, which count as told of now.
    pub fn take_changed(&mut self) -> Vec<u64> {
        let changed: Vec<u64> = self.dirty.drain().collect();
        for ino in &changed {
            // Until it is written, if it can be.
            if let Some(folder) = self.get_mut(*ino).and_then(Node::folder_mut) {
                folder.indexed = false;
            }
        }
        changed
    }

    /// The index has the entries of a folder. It may let them go, unless they changed meanwhile.
    pub fn note_indexed(&mut self, folder: u64) {
        if let Some(folder) = self.get_mut(folder).and_then(Node::folder_mut) {
            folder.indexed = true;
            folder.written = Some(Instant::now());
        }
    }

    pub fn numbers_are_few(&self) -> bool {
        self.numbers.are_few()
    }

    pub fn add_numbers(&mut self, set_apart: std::ops::Range<u64>) {
        self.numbers.add(set_apart);
    }

    pub fn unused_numbers(&self) -> std::ops::Range<u64> {
        self.numbers.unused()
    }

    /// How many folders a node is in.
    pub fn depth(&self, ino: u64) -> usize {
        std::iter::successors(self.get(ino), |node| self.get(node.parent?)).count()
    }

    /// What the service holds in a folder, as far as is known here. `row_of` tells what the journal has of a row.
    pub fn snapshot(&self, ino: u64, row_of: impl Fn(PendingId) -> Option<PendingFile>) -> Snapshotted {
        let Some(node) = self.get(ino) else {
            return Snapshotted::Unfit;
        };
        let Some(folder) = node.folder() else {
            return Snapshotted::Unfit;
        };
        let (Some(id), ListingState::Known { at, stale }) = (&folder.id, folder.listing) else {
            return Snapshotted::Unfit;
        };
        if folder.changing > 0 {
            return Snapshotted::Behind;
        }
        if folder.hides || folder.doubted {
            return Snapshotted::Unfit;
        }
        let mut entries = Vec::with_capacity(folder.children.len());
        for child in folder.children.values() {
            let Some(node) = self.get(*child) else { continue };
            if node.pin.is_some() {
                return Snapshotted::Unfit;
            }
            if node.file().is_some_and(|file| !is_in_step(file, &row_of)) {
                return Snapshotted::Behind;
            }
            if let Some(entry) = entry_of(node) {
                if !is_kept(*child) {
                    return Snapshotted::Unfit;
                }
                entries.push((*child, entry));
            }
        }
        Snapshotted::Done(Snapshot {
            folder: id.clone(),
            entries,
            at,
            stale,
            revision: folder.revision.clone(),
            incomplete: folder.incomplete,
        })
    }

    /// A folder as a listing would tell of it, where all of it is known for certain.
    pub fn as_listed(&self, ino: u64, row_of: impl Fn(PendingId) -> Option<PendingFile>) -> Option<Listing> {
        match self.snapshot(ino, row_of) {
            Snapshotted::Done(snapshot) if !snapshot.incomplete => Some(Listing {
                entries: snapshot.entries.into_iter().map(|(_, entry)| entry).collect(),
                incomplete: false,
                revision: snapshot.revision,
            }),
            _ => None,
        }
    }
}

/// Whether a file with newer content is known here as the journal has it: its row is there, and means the same file of
/// the service.
fn is_in_step(file: &File, row_of: impl Fn(PendingId) -> Option<PendingFile>) -> bool {
    let Some(row) = file.local.as_ref().and_then(|local| local.pending) else {
        return true;
    };
    let Some(row) = row_of(row) else { return false };
    let Some(remote) = &file.remote else { return true };
    let mut meant = row.replaces.iter().chain(&row.superseded).chain(&row.uploaded);
    meant.any(|id| *id == remote.id)
}

/// What the service holds for a node.
fn entry_of(node: &Node) -> Option<Entry> {
    match &node.kind {
        Kind::File(file) => {
            let remote = file.remote.as_ref()?;
            Some(Entry::File(FileEntry {
                id: remote.id.clone(),
                name: remote.name.clone(),
                size: remote.size,
                // That of newer content is the journal's.
                mtime: Some(node.mtime).filter(|_| remote.dated && file.local.is_none()),
                hash: remote.hash,
                revision: remote.revision.clone(),
                parent: None,
            }))
        }
        Kind::Folder(folder) => Some(Entry::Folder(FolderEntry {
            id: folder.id.clone()?,
            name: folder.remote_name.clone(),
            mtime: Some(node.mtime),
            hint: hint_of(folder),
        })),
        Kind::LinkList(_) => None,
    }
}

/// How much is in a folder that was never listed; later it may be out of date.
fn hint_of(folder: &Folder) -> ListHint {
    match folder.listing {
        ListingState::Unknown => folder.hint,
        ListingState::Known { .. } => ListHint::default(),
    }
}
