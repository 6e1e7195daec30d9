//! What a node of the tree is: a file or a folder, what the service holds of it, and what is newer here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{AccountIndex, Form, LinkList, ListPlace};
use crate::provider::{ContentHash, FileEntry, FileId, FolderId, ItemId, ListHint};
use crate::upload::{Base, Hold, PendingId, StagedFile};

/// A file as the service holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub id: FileId,
    /// The name that the service keeps.
    pub name: String,
    pub size: u64,
    pub hash: Option<ContentHash>,
    pub revision: Option<String>,
    /// Whether its time is known.
    pub dated: bool,
}

impl Remote {
    pub fn of(entry: &FileEntry) -> Self {
        Remote {
            id: entry.id.clone(),
            name: entry.name.clone(),
            size: entry.size,
            hash: entry.hash,
            revision: entry.revision.clone(),
            dated: entry.mtime.is_some(),
        }
    }

    /// The same; a time that was told before stays told.
    #[must_use]
    pub fn dated_as(self, before: Option<&Remote>) -> Self {
        let known = before.is_some_and(|before| before.dated && before.id == self.id);
        Remote {
            dated: self.dated || known,
            ..self
        }
    }

    pub fn base(&self) -> Base {
        Base {
            file: self.id.clone(),
            size: self.size,
            hash: self.hash,
            revision: self.revision.clone(),
            account: None,
        }
    }

    /// Whether both tell of the same bytes.
    pub fn same_content(&self, other: &Remote) -> bool {
        self.same_content_as_base(&other.base())
    }

    /// Whether the bytes are those that a staged file was begun from.
    pub fn same_content_as_base(&self, base: &Base) -> bool {
        self.id == base.file
            && self.size == base.size
            && match (self.hash, base.hash) {
                (Some(a), Some(b)) => a == b,
                _ => self.revision == base.revision,
            }
    }
}

/// Content that is newer here than on the service.
#[derive(Debug)]
pub struct Local {
    pub staged: Arc<StagedFile>,
    /// The journal's row, once the content was committed.
    pub pending: Option<PendingId>,
    /// Keeps the row from being uploaded while somebody writes.
    pub hold: Option<Hold>,
    /// Written to since the last commit.
    pub dirty: bool,
}

#[derive(Debug)]
pub struct File {
    pub remote: Option<Remote>,
    pub local: Option<Local>,
    /// Open handles that may write.
    pub writers: u32,
    /// What the kernel cached of the content is still so.
    pub cached_is_true: bool,
    /// Rises when the content was changed elsewhere, so that no open handle reads on in another content.
    pub foreign: u64,
    pub form: Form,
}

impl File {
    pub fn size(&self) -> u64 {
        match (&self.local, &self.remote) {
            (Some(local), _) => local.staged.len(),
            (None, Some(remote)) => remote.size,
            (None, None) => 0,
        }
    }
}

/// What is known of a folder's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingState {
    Unknown,
    Known {
        at: Instant,
        /// The service said that something changed.
        stale: bool,
    },
}

#[derive(Debug)]
pub struct Folder {
    /// `None` for the mount's own root, which lists the accounts.
    pub id: Option<FolderId>,
    /// The name that the service keeps.
    pub remote_name: String,
    pub hint: ListHint,
    /// By the key of [`names::key`](crate::vfs::names::key).
    pub children: BTreeMap<String, u64>,
    /// The file that lists the links of the others.
    pub link_list: ListPlace,
    pub listing: ListingState,
    /// Rises with each change made here, so that a listing that was asked for before it is not believed.
    pub version: u64,
    /// Not to be refreshed before, after a refresh failed.
    pub retry_at: Option<Instant>,
    /// Entries are not shown that are taken for uploads from here and may be others'.
    pub hides: bool,
    /// The listing has entries that make no sense and are not shown.
    pub incomplete: bool,
    /// The entries are from the index, and the folder was changed from here since they were written there: the
    /// service is to be asked before they are believed.
    pub doubted: bool,
    /// Of the folder on the service, when it was listed; where that is told.
    pub revision: Option<String>,
    /// The index has the entries as they were last, so that they can be let go.
    pub indexed: bool,
    /// When the index was told of the entries.
    pub written: Option<Instant>,
    /// Changes from here that are on their way to the service and not in the entries yet.
    pub changing: u32,
    /// It is listed ahead of a walker, who did not look into it yet.
    pub foreseen: bool,
    /// The time that was set last from here and that the service keeps, whatever was made in the folder since.
    pub kept_time: Option<SystemTime>,
}

impl Folder {
    /// One in which nothing was looked at yet; without an id it is the mount's own root.
    pub fn unlisted(id: Option<FolderId>, remote_name: String, hint: ListHint) -> Self {
        Folder {
            id,
            remote_name,
            hint,
            children: BTreeMap::new(),
            link_list: ListPlace::Unmade,
            listing: ListingState::Unknown,
            version: 0,
            retry_at: None,
            hides: false,
            incomplete: false,
            doubted: false,
            revision: None,
            indexed: false,
            written: None,
            changing: 0,
            foreseen: false,
            kept_time: None,
        }
    }
}

#[derive(Debug)]
pub enum Kind {
    Folder(Folder),
    File(File),
    LinkList(LinkList),
}

#[derive(Debug)]
pub struct Node {
    /// `None` for the mount's own root.
    pub account: Option<AccountIndex>,
    /// `None` for the root and for what was removed while in use.
    pub parent: Option<u64>,
    /// As programs see it.
    pub name: String,
    pub mtime: SystemTime,
    /// Permission bits that a program gave it.
    pub mode: Option<u16>,
    /// When something of it but its content was changed from here last, if that was after the content was.
    pub changed: Option<SystemTime>,
    /// How often the kernel was told of the inode and has not forgotten it.
    pub lookups: u64,
    pub handles: u32,
    /// Operations under way that reckon with it.
    pub uses: u32,
    /// Its name was removed from here, and no other is to be found for it.
    pub removed: bool,
    /// Set while its place is being changed on the service, step by step.
    pub pin: Option<Pin>,
    pub kind: Kind,
}

/// Holds a node in its place: a listing may show it where it is between two steps, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pin {
    /// How often it is held.
    pub(super) count: u32,
    /// A listing that showed it otherwise was not followed.
    pub overruled: bool,
}

impl Node {
    pub fn file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::LinkList(_) => None,
        }
    }

    pub fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::LinkList(_) => None,
        }
    }

    pub fn folder(&self) -> Option<&Folder> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::LinkList(_) => None,
        }
    }

    pub fn folder_mut(&mut self) -> Option<&mut Folder> {
        match &mut self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::LinkList(_) => None,
        }
    }

    pub fn link_list(&self) -> Option<&LinkList> {
        match &self.kind {
            Kind::LinkList(list) => Some(list),
            Kind::File(_) | Kind::Folder(_) => None,
        }
    }

    /// What stands on the service for this node.
    pub fn item(&self) -> Option<ItemId> {
        match &self.kind {
            Kind::File(file) => file.remote.as_ref().map(|remote| ItemId::File(remote.id.clone())),
            Kind::Folder(folder) => folder.id.clone().map(ItemId::Folder),
            Kind::LinkList(_) => None,
        }
    }
}
