//! How much of the tree is in memory: folders that were not looked at lately let their entries go.
//!
//! Only what the index can bring back goes, under the same inode numbers: the kernel need not be told. What is
//! open, in use by an operation, written to here or on its way to another place stays, with all that it is in.

use lru::LruCache;

use crate::provider::ListHint;

use super::{Kind, ListPlace, ListingState, Node, ROOT, Tree};

/// Folders that are looked at in vain before it is given up for now.
const TRIES: usize = 256;

/// Folders with entries in memory, those looked at last in front.
pub(super) struct Recent(LruCache<u64, ()>);

impl Recent {
    /// A folder is there no more.
    pub fn forget(&mut self, folder: u64) {
        self.0.pop(&folder);
    }
}

impl Default for Recent {
    fn default() -> Self {
        Recent(LruCache::unbounded())
    }
}

impl Tree {
    /// Keeps a node in memory until [`release`](Self::release); false where it is not there.
    pub fn hold(&mut self, ino: u64) -> bool {
        match self.get_mut(ino) {
            Some(node) => {
                node.uses += 1;
                true
            }
            None => false,
        }
    }

    pub fn release(&mut self, ino: u64) {
        if let Some(node) = self.get_mut(ino) {
            node.uses = node.uses.saturating_sub(1);
        }
        self.drop_if_unused(ino);
    }

    /// Somebody looks at the entries of a folder.
    pub fn note_look(&mut self, folder: u64) {
        if self.nodes.contains_key(&folder) {
            self.recent.0.put(folder, ());
        }
    }

    /// Folders whose entries are in memory, those looked at last first.
    pub fn recent_folders(&self) -> impl Iterator<Item = u64> {
        self.recent.0.iter().map(|(ino, ())| *ino)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Lets entries go until at most `most` nodes are in memory, or no more can go.
    pub fn let_go(&mut self, most: usize) {
        let mut tries = 0;
        while self.nodes.len() > most && tries < TRIES {
            let Some((folder, ())) = self.recent.0.pop_lru() else {
                return;
            };
            match self.get(folder).and_then(Node::folder) {
                None => {}
                Some(known) if known.listing == ListingState::Unknown => {}
                Some(_) if self.can_go(folder) => self.let_entries_go(folder),
                // One of its entries may be freed before it is its turn again.
                Some(_) => {
                    tries += 1;
                    self.note_look(folder);
                }
            }
        }
    }

    fn can_go(&self, ino: u64) -> bool {
        let Some(node) = self.get(ino) else { return false };
        let Some(folder) = node.folder() else { return false };
        folder.indexed
            && !self.dirty.contains(&ino)
            && !folder.hides
            && !folder.doubted
            && folder.changing == 0
            && folder.link_list == ListPlace::Unmade
            && ino != ROOT
            && node.uses == 0
            && node.handles == 0
            && folder
                .children
                .values()
                .all(|child| self.get(*child).is_some_and(is_at_rest))
    }

    fn let_entries_go(&mut self, ino: u64) {
        let Some(folder) = self.get_mut(ino).and_then(Node::folder_mut) else {
            return;
        };
        folder.listing = ListingState::Unknown;
        folder.hint = ListHint::default();
        folder.version += 1;
        for child in std::mem::take(&mut folder.children).into_values() {
            self.recent.forget(child);
            if let Some(node) = self.nodes.remove(&child)
                && let (Some(account), Some(item)) = (node.account, node.item())
            {
                self.unindex(account, &item, child);
            }
        }
    }
}

/// Whether all that is known of an entry is in the index.
fn is_at_rest(node: &Node) -> bool {
    let is_bare = match &node.kind {
        Kind::File(file) => file.local.is_none() && file.writers == 0,
        Kind::Folder(folder) => {
            folder.listing == ListingState::Unknown
                && folder.children.is_empty()
                && folder.link_list == ListPlace::Unmade
        }
        Kind::LinkList(_) => false,
    };
    is_bare && node.uses == 0 && node.handles == 0 && node.pin.is_none() && !node.removed
}
