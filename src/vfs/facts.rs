//! What is kept here about the items of an account because its service does not keep or list it:
//! modification times, hashes that were told only once, and permission bits.
//!
//! Where the service keeps times itself, only bits are kept here. Facts that cannot be read or written are told in
//! the log; a file without them is shown with what is known.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::provider::{ContentHash, Entry, FileEntry, FileId, FolderId, ItemId, Listing};
use crate::state::{Database, ItemFacts, ItemKey, StateError};

/// The kept facts of one account.
pub struct Facts {
    database: Database,
    account: String,
    id_space: String,
    /// Whether the service leaves times to us.
    needed: bool,
}

impl Facts {
    pub fn new(database: Database, account: String, id_space: String, needed: bool) -> Self {
        Facts {
            database,
            account,
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

    /// The permission bits that programs gave to what is listed.
    pub async fn modes(&self, listing: &Listing) -> HashMap<ItemId, u16> {
        if listing.entries.is_empty() {
            return HashMap::new();
        }
        let keys = listing.entries.iter().map(key_of_entry).collect();
        match self.database.modes(&self.account, keys).await {
            Ok(modes) => modes
                .into_iter()
                .map(|(key, mode)| (item_of(key), mode))
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "the files of a folder are shown with the usual permissions");
                HashMap::new()
            }
        }
    }

    /// The same of one item.
    pub async fn mode(&self, item: &ItemId) -> Option<u16> {
        match self.database.modes(&self.account, vec![key_of(item)]).await {
            Ok(modes) => modes.into_values().next(),
            Err(error) => {
                tracing::warn!(%error, "a folder is shown with the usual permissions");
                None
            }
        }
    }

    /// Keeps permission bits that a program gave, or forgets them where they are the usual ones.
    pub async fn set_mode(&self, item: &ItemId, mode: Option<u16>) -> Result<(), StateError> {
        self.database.set_mode(&self.account, key_of(item), mode).await
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
        let keys: Vec<_> = items.iter().map(key_of).collect();
        let facts = async {
            match self.needed {
                true => self.database.forget_facts(&self.id_space, keys.clone()).await,
                false => Ok(()),
            }
        };
        let (facts, modes) = tokio::join!(facts, self.database.forget_modes(&self.account, keys.clone()));
        if let Err(error) = facts.and(modes) {
            tracing::debug!(%error, "facts of deleted items stay in the index");
        }
    }
}

fn item_of(key: ItemKey) -> ItemId {
    match key {
        ItemKey::File(id) => ItemId::File(FileId::new(id)),
        ItemKey::Folder(id) => ItemId::Folder(FolderId::new(id)),
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
