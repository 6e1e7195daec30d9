//! The tree in memory: inodes, names, and what each file is on the service and here.
//!
//! Plain data under one mutex of [`Vfs`](super::Vfs): nothing here waits, touches a disk or the network.
//! It promises that a folder shows each of its entries under exactly one name, that an inode number is
//! never used for two things, and that local content that is not on the service yet is never dropped by
//! a listing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;

use crate::provider::{Entry, FileId, FolderId, ItemId, ListHint, Listing};
use crate::upload::{PendingId, StagedFile};

use super::names;

mod form;
mod link_list;
mod merge;
mod node;
mod numbers;
mod recent;
mod snapshot;

pub use form::Form;
pub use link_list::{LinkList, ListPlace};
pub use merge::{MergeRules, Merged, PendingHere, Told, Waiting};
pub use node::{File, Folder, Kind, ListingState, Local, Node, Remote};
pub use numbers::Numbers;
pub use snapshot::{Snapshot, Snapshotted};

use recent::Recent;

/// The inode number of the mount point.
pub const ROOT: u64 = 1;

/// The place of an account in the list of accounts.
pub type AccountIndex = usize;

pub struct Tree {
    nodes: HashMap<u64, Node>,
    numbers: Numbers,
    by_item: HashMap<(AccountIndex, ItemId), u64>,
    by_pending: HashMap<PendingId, u64>,
    /// Staged files that nobody needs any more and that the journal does not know.
    discarded: Vec<Arc<StagedFile>>,
    /// Folders that changed since the index was told of their entries.
    dirty: HashSet<u64>,
    recent: Recent,
    /// Told when there is a dirty folder.
    changed: Arc<Notify>,
}

impl Tree {
    /// An empty tree whose inodes get these numbers.
    pub fn new(numbers: Numbers) -> Self {
        Tree {
            nodes: HashMap::new(),
            numbers,
            by_item: HashMap::new(),
            by_pending: HashMap::new(),
            discarded: Vec::new(),
            dirty: HashSet::new(),
            recent: Recent::default(),
            changed: Arc::default(),
        }
    }

    pub fn get(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub fn get_mut(&mut self, ino: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&ino)
    }

    pub fn file_mut(&mut self, ino: u64) -> Option<&mut File> {
        self.nodes.get_mut(&ino)?.file_mut()
    }

    pub fn by_item(&self, account: AccountIndex, item: &ItemId) -> Option<u64> {
        self.by_item.get(&(account, item.clone())).copied()
    }

    pub fn by_pending(&self, pending: PendingId) -> Option<u64> {
        self.by_pending.get(&pending).copied()
    }

    /// The rows of the journal whose files are shown.
    pub fn all_pending(&self) -> impl Iterator<Item = PendingId> {
        self.by_pending.keys().copied()
    }

    /// The child of that name, compared without regard to the Unicode form.
    pub fn child(&self, parent: u64, name: &str) -> Option<u64> {
        self.get(parent)?
            .folder()?
            .children
            .get(&names::key(name))
            .copied()
    }

    /// A new node that is not in any folder yet.
    pub fn add(&mut self, account: Option<AccountIndex>, name: &str, mtime: SystemTime, kind: Kind) -> u64 {
        let ino = self.numbers.next();
        self.add_as(ino, account, name, mtime, kind)
    }

    /// The same, under a number that it had before, or another where that is taken.
    pub fn add_as(
        &mut self,
        ino: u64,
        account: Option<AccountIndex>,
        name: &str,
        mtime: SystemTime,
        kind: Kind,
    ) -> u64 {
        let ino = if self.nodes.contains_key(&ino) {
            self.numbers.next()
        } else {
            ino
        };
        let name = name.to_owned();
        let node = Node {
            account,
            parent: None,
            name,
            mtime,
            mode: None,
            changed: None,
            lookups: 0,
            handles: 0,
            uses: 0,
            removed: false,
            pin: None,
            kind,
        };
        if let (Some(account), Some(item)) = (account, node.item()) {
            self.by_item.insert((account, item), ino);
        }
        if let Some(pending) = node
            .file()
            .and_then(|file| file.local.as_ref())
            .and_then(|local| local.pending)
        {
            self.by_pending.insert(pending, ino);
        }
        self.nodes.insert(ino, node);
        ino
    }

    /// Puts a node into a folder under a name that is free there.
    pub fn attach(&mut self, ino: u64, parent: u64, name: &str) {
        if !self.nodes.contains_key(&ino) {
            return;
        }
        let Some(folder) = self.nodes.get_mut(&parent).and_then(Node::folder_mut) else {
            return;
        };
        folder.children.insert(names::key(name), ino);
        folder.version += 1;
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.parent = Some(parent);
            node.name = name.to_owned();
        }
        self.note_change(parent);
    }

    /// Lets no listing move, rename or remove a node until [`unpin`](Self::unpin).
    pub fn pin(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.pin.get_or_insert_default().count += 1;
        }
    }

    /// Whether the node was listed otherwise meanwhile.
    pub fn unpin(&mut self, ino: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return false;
        };
        let Some(pin) = &mut node.pin else { return false };
        let overruled = pin.overruled;
        pin.count = pin.count.saturating_sub(1);
        if pin.count == 0 {
            node.pin = None;
        }
        overruled
    }

    /// Whether a node is pinned. A listing that shows it otherwise is noted then.
    pub fn stays_pinned(&mut self, ino: u64, is_as_listed: bool) -> bool {
        let pin = self.nodes.get_mut(&ino).and_then(|node| node.pin.as_mut());
        pin.is_some_and(|pin| {
            pin.overruled |= !is_as_listed;
            true
        })
    }

    /// Lets the next look at a folder list it anew.
    pub fn doubt(&mut self, folder: u64) {
        if let Some(folder) = self.get_mut(folder).and_then(Node::folder_mut)
            && let ListingState::Known { stale, .. } = &mut folder.listing
        {
            *stale = true;
        }
    }

    /// Takes a node out of its folder. It stays for those who have it open.
    pub fn detach(&mut self, ino: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        let name = names::key(&node.name);
        let parent = node.parent.take();
        if let Some(folder) = parent
            .and_then(|parent| self.nodes.get_mut(&parent))
            .and_then(Node::folder_mut)
        {
            if folder.children.get(&name) == Some(&ino) {
                folder.children.remove(&name);
            }
            folder.version += 1;
        }
        if let Some(parent) = parent {
            self.note_change(parent);
        }
    }

    /// Takes a node and all below it out of the tree.
    pub fn remove(&mut self, ino: u64) {
        self.detach(ino);
        let children: Vec<u64> = match self.get(ino).and_then(Node::folder) {
            Some(folder) => folder.children.values().copied().collect(),
            None => Vec::new(),
        };
        for child in children {
            self.remove(child);
        }
        self.put_link_list(ino, ListPlace::Unmade);
        self.disown(ino);
        self.drop_if_unused(ino);
    }

    /// The node is no longer what stands on the service under its id. Who has it open still knows what it was.
    pub fn disown(&mut self, ino: u64) {
        let Some(node) = self.nodes.get(&ino) else { return };
        if let (Some(account), Some(item)) = (node.account, node.item()) {
            self.unindex(account, &item, ino);
        }
    }

    /// Takes a file's name away for good. Who has it open keeps it; `lives_on` says that its id on the
    /// service has other content now, so that nobody must read on under it.
    pub fn unlink(&mut self, ino: u64, lives_on: bool) {
        self.detach(ino);
        self.disown(ino);
        self.set_pending(ino, None);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.removed = true;
            if let Some(file) = node.file_mut() {
                file.foreign += u64::from(lives_on);
                if let Some(local) = &file.local {
                    local.staged.end_promise();
                }
            }
        }
        self.drop_if_unused(ino);
    }

    /// Whether a node is or holds a file with local content.
    pub fn has_local(&self, ino: u64) -> bool {
        match self.get(ino).map(|node| &node.kind) {
            Some(Kind::File(file)) => file.local.is_some(),
            Some(Kind::Folder(folder)) => folder.children.values().any(|child| self.has_local(*child)),
            Some(Kind::LinkList(_)) | None => false,
        }
    }

    /// The folders in a folder that a listing of it does not have, by their ids.
    pub fn folders_but(&self, folder: u64, listing: &Listing) -> HashSet<String> {
        let folder = self.get(folder).and_then(Node::folder);
        let children = folder.into_iter().flat_map(|folder| folder.children.values());
        let children = children.filter_map(|child| self.get(*child)?.folder()?.id.as_ref());
        let mut folders: HashSet<String> = children.map(FolderId::to_string).collect();
        for entry in &listing.entries {
            if let Entry::Folder(entry) = entry {
                folders.remove(entry.id.as_str());
            }
        }
        folders
    }

    /// Forgets a node that nobody knows any more: out of its folder, closed, forgotten by the kernel.
    pub fn drop_if_unused(&mut self, ino: u64) {
        let unused = self.get(ino).is_some_and(|node| {
            node.parent.is_none()
                && ino != ROOT
                && node.lookups == 0
                && node.handles == 0
                && node.uses == 0
                && node
                    .file()
                    .is_none_or(|file| file.local.as_ref().is_none_or(|l| l.pending.is_none()))
        });
        if unused && let Some(mut node) = self.nodes.remove(&ino) {
            self.recent.forget(ino);
            if let (Some(account), Some(item)) = (node.account, node.item()) {
                self.unindex(account, &item, ino);
            }
            if let Some(local) = node.file_mut().and_then(|file| file.local.take()) {
                self.discarded.push(local.staged);
            }
        }
    }

    /// The staged files that were dropped since it was asked last.
    pub fn take_discarded(&mut self) -> Vec<Arc<StagedFile>> {
        std::mem::take(&mut self.discarded)
    }

    fn unindex(&mut self, account: AccountIndex, item: &ItemId, ino: u64) {
        let key = (account, item.clone());
        if self.by_item.get(&key) == Some(&ino) {
            self.by_item.remove(&key);
        }
    }

    /// Records what the service holds for a file.
    pub fn set_remote(&mut self, ino: u64, remote: Option<Remote>) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        let account = node.account;
        let before = node.item();
        if let Some(file) = node.file_mut() {
            file.remote = remote;
        }
        let after = match &node.kind {
            Kind::File(_) => node.item(),
            Kind::Folder(_) | Kind::LinkList(_) => None,
        };
        self.note_change_of(ino);
        let Some(account) = account else { return };
        if before != after {
            if let Some(item) = before {
                self.unindex(account, &item, ino);
            }
            if let Some(item) = after {
                self.by_item.insert((account, item), ino);
            }
        }
    }

    /// Ties a file's local content to a row of the journal, or unties it.
    pub fn set_pending(&mut self, ino: u64, pending: Option<PendingId>) {
        let Some(local) = self.file_mut(ino).and_then(|file| file.local.as_mut()) else {
            return;
        };
        let before = std::mem::replace(&mut local.pending, pending);
        if let Some(before) = before {
            self.by_pending.remove(&before);
        }
        if let Some(pending) = pending {
            self.by_pending.insert(pending, ino);
        }
    }

    /// Gives a file local content, or takes it away.
    pub fn set_local(&mut self, ino: u64, local: Option<Local>) {
        self.set_pending(ino, None);
        self.note_change_of(ino);
        let pending = local.as_ref().and_then(|local| local.pending);
        if let Some(file) = self.file_mut(ino) {
            let before = std::mem::replace(&mut file.local, local);
            if let Some(pending) = pending {
                self.by_pending.insert(pending, ino);
            }
            self.discarded.extend(before.map(|local| local.staged));
        }
    }

    /// The files of a folder whose time is not known.
    pub fn undated_files(&self, folder: u64) -> Vec<FileId> {
        let children = self
            .get(folder)
            .and_then(Node::folder)
            .map(|folder| &folder.children);
        let files = children.into_iter().flat_map(BTreeMap::values);
        files
            .filter_map(|ino| self.get(*ino)?.file()?.remote.as_ref())
            .filter(|remote| !remote.dated)
            .map(|remote| remote.id.clone())
            .collect()
    }

    /// Notes what was told of a file's time; the inode where that changes what is shown.
    pub fn set_told_time(
        &mut self,
        account: AccountIndex,
        id: &FileId,
        mtime: Option<SystemTime>,
    ) -> Option<u64> {
        let ino = self.by_item(account, &ItemId::File(id.clone()))?;
        let node = self.get_mut(ino)?;
        let file = node.file_mut()?;
        let is_local = file.local.is_some();
        let remote = file.remote.as_mut().filter(|remote| !remote.dated)?;
        remote.dated = true;
        // The time of newer content, or one that was set here meanwhile, is not the service's to tell.
        let told = mtime.filter(|_| !is_local);
        if let Some(told) = told {
            node.mtime = told;
        }
        self.note_change_of(ino);
        told.map(|_| ino)
    }

    /// The path below the mount point, for messages.
    pub fn path(&self, ino: u64) -> String {
        let mut parts = Vec::new();
        let mut at = Some(ino);
        while let Some(node) = at.and_then(|ino| self.get(ino)) {
            if node.parent.is_none() {
                break;
            }
            parts.push(node.name.as_str());
            at = node.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// The path below the account's own folder, whether that is the mount point or lies in it.
    pub fn path_in_account(&self, ino: u64) -> String {
        let mut parts = Vec::new();
        let mut at = self.get(ino);
        while let Some(node) = at {
            let parent = node.parent.and_then(|parent| self.get(parent));
            let Some(parent) = parent.filter(|parent| parent.account.is_some()) else {
                break;
            };
            parts.push(node.name.as_str());
            at = Some(parent);
        }
        parts.reverse();
        parts.join("/")
    }

    /// Lets the next look at any folder of an account list it anew; those whose entries are known.
    pub fn doubt_all(&mut self, account: AccountIndex) -> Vec<u64> {
        let mut known = Vec::new();
        for (ino, node) in &mut self.nodes {
            if node.account != Some(account) {
                continue;
            }
            let Some(folder) = node.folder_mut() else { continue };
            folder.hint = ListHint::default();
            if let ListingState::Known { stale, .. } = &mut folder.listing {
                *stale = true;
                known.push(*ino);
            }
        }
        known
    }

    /// Whether the entries of a folder are in memory.
    pub fn is_listed(&self, ino: u64) -> bool {
        self.get(ino)
            .and_then(Node::folder)
            .is_some_and(|folder| folder.listing != ListingState::Unknown)
    }

    /// Whether all that is in a folder on the service is known and shown.
    pub fn is_sure(&self, ino: u64) -> bool {
        self.get(ino).and_then(Node::folder).is_some_and(|folder| {
            matches!(folder.listing, ListingState::Known { stale: false, .. })
                && !folder.hides
                && !folder.incomplete
                && !folder.doubted
        })
    }
}
