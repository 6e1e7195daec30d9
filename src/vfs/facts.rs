//! What is kept here about the items of an account because its service does not keep or list it:
//! modification times, and hashes that were told only once.
//!
//! Where the service keeps times itself, nothing is kept here and nothing is asked of the disk. Facts that
//! cannot be read or written are told in the log; a file without them is shown with what is known.

use std::time::SystemTime;

use crate::provider::{ContentHash, Entry, FileEntry, ItemId, Listing};
use crate::state::{Database, ItemFacts, ItemKey, StateError};

/// The kept facts of one account.
pub struct Facts {
    database: Database,
    id_space: String,
    /// Whether the service leaves times to us.
    needed: bool,
}

impl Facts {
    pub fn new(database: Database, id_space: String, needed: bool) -> Self {
        Facts {
            database,
            id_space,
            needed,
        }
    }

    /// Adds what is known here to a listing that lacks it.
    pub async fn complete(&self, listing: &mut Listing) {
        if !self.needed || listing.entries.is_empty() {
            return;
        }
        let keys = listing.entries.iter().map(key_of_entry).collect();
        let mut known = match self.database.facts(&self.id_space, keys).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, "times and hashes of a folder are not known");
                return;
            }
        };
        for entry in &mut listing.entries {
            let Some(facts) = known.remove(&key_of_entry(entry)) else {
                continue;
            };
            match entry {
                Entry::File(file) => {
                    file.mtime = facts.mtime.or(file.mtime);
                    file.hash = file
                        .hash
                        .or_else(|| facts.hash.as_deref().and_then(ContentHash::from_hex));
                }
                Entry::Folder(folder) => folder.mtime = facts.mtime.or(folder.mtime),
            }
        }
    }

    /// Keeps a time that a program set.
    pub async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<(), StateError> {
        let facts = ItemFacts {
            mtime: Some(mtime),
            hash: None,
        };
        let facts = vec![(key_of(item), facts)];
        self.database.note_facts(&self.id_space, facts).await
    }

    /// Keeps the times that the service told when it was asked file by file; a file without one is noted as
    /// such, so that it is asked for once.
    pub async fn told(&self, files: &[FileEntry]) {
        let facts = files.iter().map(|file| {
            let facts = ItemFacts {
                mtime: Some(file.mtime.unwrap_or(SystemTime::UNIX_EPOCH)),
                hash: file.hash.map(ContentHash::to_hex),
            };
            (ItemKey::File(file.id.to_string()), facts)
        });
        if let Err(error) = self.database.fill_facts(&self.id_space, facts.collect()).await {
            tracing::warn!(%error, "times that the service told are not kept");
        }
    }

    /// Forgets items that were deleted.
    pub async fn forget(&self, items: &[ItemId]) {
        if !self.needed {
            return;
        }
        let keys = items.iter().map(key_of).collect();
        if let Err(error) = self.database.forget_facts(&self.id_space, keys).await {
            tracing::debug!(%error, "facts of deleted items stay in the index");
        }
    }
}

fn key_of(item: &ItemId) -> ItemKey {
    match item {
        ItemId::File(id) => ItemKey::File(id.to_string()),
        ItemId::Folder(id) => ItemKey::Folder(id.to_string()),
    }
}

fn key_of_entry(entry: &Entry) -> ItemKey {
    match entry {
        Entry::File(file) => ItemKey::File(file.id.to_string()),
        Entry::Folder(folder) => ItemKey::Folder(folder.id.to_string()),
    }
}
