//! Finding what a change feed does not tell: items that were removed for good.
//!
//! When more was counted than told, folders that are known are compared with the service, hundreds in a call: those in
//! memory at once, the others of the index a call at each interval until all were looked at. One that holds as
//! many entries as it should is as it was, whatever its revision says of changes that were told; any other is listed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::provider::wrap::{Urgency, at};
use crate::provider::{FolderId, FolderState, ItemId, ListHint};

use super::Vfs;
use super::account::Account;
use super::tree::{AccountIndex, Tree};

/// Folders compared in one call.
const TOGETHER: usize = 500;

/// How far the folders of the index were looked at since something happened that was not told.
#[derive(Default)]
pub struct Reconciling(Mutex<Option<u64>>);

impl Reconciling {
    fn set(&self, after: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = after;
    }

    fn get(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vfs {
    /// Looks for what was not told, if `untold` says that there is something or some of it is still to be looked for.
    pub(super) async fn reconcile(self: &Arc<Self>, index: AccountIndex, account: &Account, untold: bool) {
        if untold {
            account.reconciling.set(Some(0));
            let recent = self.tree().recent_of(index, TOGETHER);
            self.compare(account, recent).await;
            return;
        }
        let (Some(after), Some(indexed)) = (account.reconciling.get(), account.indexed) else {
            return;
        };
        let listed = match self.database.listed_folders(indexed, after, TOGETHER).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "folders are not compared with the service");
                return;
            }
        };
        let last = listed.last().map(|folder| folder.ino);
        let known = {
            let tree = self.tree();
            let known = listed.into_iter().map(|folder| Known {
                // What is in memory is newer.
                in_memory: tree
                    .by_item(index, &ItemId::Folder(FolderId::new(folder.folder.clone())))
                    .filter(|ino| tree.is_listed(*ino)),
                id: FolderId::new(folder.folder),
                revision: folder.revision,
                files: folder.files,
                folders: folder.folders,
            });
            known.filter(|folder| folder.in_memory.is_none()).collect()
        };
        if self.compare(account, known).await {
            account.reconciling.set(last);
        }
    }

    /// Whether the service told.
    async fn compare(self: &Arc<Self>, account: &Account, known: Vec<Known>) -> bool {
        let ids: Vec<FolderId> = known.iter().map(|folder| folder.id.clone()).collect();
        if ids.is_empty() {
            return true;
        }
        let states = match at(Urgency::Background, account.provider().folder_states(&ids)).await {
            Ok(states) => states,
            Err(error) => {
                tracing::debug!(account = account.setup.name, %error, "folders are not compared");
                return false;
            }
        };
        let states: HashMap<FolderId, FolderState> = states
            .into_iter()
            .map(|state| (state.id.clone(), state))
            .collect();
        let mut outdated = Vec::new();
        for folder in known {
            let state = states.get(&folder.id);
            match (state.is_some_and(|state| folder.is_as(state)), folder.in_memory) {
                (true, _) => {}
                (false, Some(ino)) => outdated.push(ino),
                (false, None) => self.doubt_in_index(account, &folder.id).await,
            }
        }
        // Whoever asked what changed is not to find what is gone.
        for listing in self.doubt_folders(outdated) {
            drop(listing.landed().await);
        }
        true
    }

    /// Lets the next look at a folder that is not in memory list it anew.
    async fn doubt_in_index(&self, account: &Account, folder: &FolderId) {
        let (Some(indexed), Some(cursor)) = (account.indexed, account.cursor()) else {
            return;
        };
        let (folders, cursor) = (vec![folder.to_string()], cursor.as_str().to_owned());
        if let Err(error) = self
            .database
            .note_changes(indexed, folders, Vec::new(), cursor)
            .await
        {
            tracing::warn!(%error, "a folder that changed is shown as it was");
        }
    }
}

/// A folder as it is known here.
pub struct Known {
    id: FolderId,
    in_memory: Option<u64>,
    revision: Option<String>,
    files: u64,
    folders: u64,
}

impl Known {
    fn is_as(&self, state: &FolderState) -> bool {
        let same_revision = self.revision.is_some() && self.revision == state.revision;
        let ListHint { files, folders } = state.holds;
        same_revision || (files == Some(self.files) && folders == Some(self.folders))
    }
}

impl Tree {
    /// Folders of an account whose entries are in memory, those looked at last, with what the service should have
    /// in them.
    fn recent_of(&self, index: AccountIndex, most: usize) -> Vec<Known> {
        let known = self.recent_folders().filter_map(|ino| {
            let node = self.get(ino).filter(|node| node.account == Some(index))?;
            let folder = node.folder().filter(|_| self.is_listed(ino))?;
            let (mut files, mut folders) = (0, 0);
            for child in folder.children.values().filter_map(|child| self.get(*child)) {
                files += u64::from(child.file().is_some_and(|file| file.remote.is_some()));
                folders += u64::from(child.folder().is_some());
            }
            Some(Known {
                id: folder.id.clone()?,
                in_memory: Some(ino),
                revision: folder.revision.clone(),
                files,
                folders,
            })
        });
        known.take(most).collect()
    }
}
