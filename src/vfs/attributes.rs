//! What `stat` and `statfs` say.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::{Error, Result};
use super::tree::{AccountIndex, Kind, Node, ROOT};
use super::{Options, Vfs, symlinks};
use crate::provider::{AccountInfo, FolderId, ItemId};
use crate::upload::PendingId;

/// The constant free space of an account whose service tells no quota: 1 TiB.
const UNKNOWN_SPACE: u64 = 1 << 40;

/// The accounts of a mount do not change.
const ACCOUNTS_STAY: Duration = Duration::from_secs(60);

/// How long the kernel believes the attributes of a file whose time is still to come. The news of it may
/// overtake an older answer.
const UNDATED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    File,
    Folder,
    /// Symbolic.
    Link,
}

/// What `stat` says of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub ino: u64,
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    pub mtime: SystemTime,
    /// When anything of it was changed last, as far as this process knows.
    pub ctime: SystemTime,
    /// Permission bits.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Names that it has: none once it was removed while in use. For folders 1 means that their number of subfolders
    /// is not told.
    pub links: u32,
    /// How long this may be believed.
    pub valid_for: Duration,
}

/// A time that a program sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    Now,
    At(SystemTime),
}

impl TimeChange {
    pub fn time(self) -> SystemTime {
        match self {
            TimeChange::Now => SystemTime::now(),
            TimeChange::At(time) => time,
        }
    }
}

/// What `statfs` says, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

impl Vfs {
    pub fn attributes(&self, ino: u64) -> Result<Attributes> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        Ok(self.attributes_of(ino, node))
    }

    /// The same where the inode is in memory.
    pub fn attributes_known(&self, ino: u64) -> Option<Result<Attributes>> {
        let tree = self.tree();
        Some(Ok(self.attributes_of(ino, tree.get(ino)?)))
    }

    pub(super) fn attributes_of(&self, ino: u64, node: &Node) -> Attributes {
        let (kind, size) = match &node.kind {
            Kind::Folder(_) => (FileKind::Folder, 0),
            Kind::File(file) if file.is_link() => (FileKind::Link, symlinks::length(file.size())),
            Kind::File(file) => (FileKind::File, file.size()),
            Kind::LinkList(list) => (FileKind::File, list.content.len() as u64),
        };
        let Options { uid, gid, .. } = self.options;
        let account = node.account.and_then(|index| self.accounts.get(index));
        let valid_for = account.map_or(ACCOUNTS_STAY, |account| account.valid_for());
        let remote = node.file().and_then(|file| file.remote.as_ref());
        let dates_come = account.is_some_and(|account| account.setup.dates_per_second > 0.0);
        let awaits_date = dates_come && remote.is_some_and(|remote| !remote.dated);
        Attributes {
            ino,
            kind,
            size,
            mtime: node.mtime,
            ctime: node.changed.unwrap_or(node.mtime),
            mode: self.mode_of(node),
            uid,
            gid,
            links: u32::from(node.parent.is_some() || ino == ROOT),
            valid_for: match &node.kind {
                // It is made anew when somebody looks at its name.
                Kind::LinkList(_) => Duration::ZERO,
                _ if awaits_date => valid_for.min(UNDATED),
                _ => valid_for,
            },
        }
    }

    /// What the account of that name told last of its quota, without asking.
    pub fn account_info(&self, name: &str) -> Option<AccountInfo> {
        let account = self.accounts.iter().find(|account| account.setup.name == name)?;
        Some(account.info())
    }

    /// The path in its account of a folder of the service, where the tree knows it.
    pub fn folder_path(&self, account: &str, folder: &FolderId) -> Option<String> {
        let index = self
            .accounts
            .iter()
            .position(|known| known.setup.name == account)?;
        let tree = self.tree();
        let ino = tree.by_item(index, &ItemId::Folder(folder.clone()))?;
        Some(tree.path_in_account(ino))
    }

    /// The path in its account of a file that waits to be uploaded, where the tree knows it.
    pub fn pending_path(&self, row: PendingId) -> Option<String> {
        let tree = self.tree();
        tree.by_pending(row).map(|ino| tree.path_in_account(ino))
    }

    /// As [`Vfs::space`], where the inode is in memory.
    pub fn space_known(self: &Arc<Self>, ino: u64) -> Option<Space> {
        self.tree().get(ino)?;
        Some(self.space(ino))
    }

    /// Total and free space of the account that an inode is in, or of all at the mount's root, as last told.
    /// Never waits; asks for fresh figures behind the answer when they are old.
    pub fn space(self: &Arc<Self>, ino: u64) -> Space {
        let account = self.tree().get(ino).and_then(|node| node.account);
        let indices: Vec<AccountIndex> = match account {
            Some(index) => vec![index],
            None if ino == ROOT => (0..self.accounts.len()).collect(),
            None => Vec::new(),
        };
        let mut sum = Space { total: 0, free: 0 };
        for index in indices {
            self.refresh_info_if_due(index);
            let Ok(account) = self.account(index) else {
                continue;
            };
            let info = account.info();
            let used = info
                .storage_used
                .unwrap_or(0)
                .saturating_add(self.waiting_bytes(index));
            let total = info.storage_limit.unwrap_or(used.saturating_add(UNKNOWN_SPACE));
            sum.total = sum.total.saturating_add(total);
            sum.free = sum.free.saturating_add(total.saturating_sub(used));
        }
        sum
    }

    /// Bytes of an account that are here and not on the service yet.
    pub(super) fn waiting_bytes(&self, index: AccountIndex) -> u64 {
        let Ok(account) = self.account(index) else {
            return 0;
        };
        account.waiting(|| self.uploads.waiting_bytes(&account.setup.name))
    }

    pub(super) fn refresh_info_if_due(self: &Arc<Self>, index: AccountIndex) {
        let Ok(account) = self.account(index) else { return };
        if !account.info_is_due() {
            return;
        }
        let (account, uploads) = (account.clone(), self.uploads.clone());
        let this = Arc::clone(self);
        self.runtime.spawn(async move {
            match account.provider().account_info().await {
                Ok(info) => {
                    this.check_owner(index, &account, &info).await;
                    if account.set_info(info)
                        && let Err(error) = uploads.room_was_made(&account.setup.name).await
                    {
                        tracing::warn!(%error, "what waits for room was not taken up");
                    }
                }
                Err(error) => {
                    tracing::debug!(account = account.setup.name, %error, "quota not refreshed");
                }
            }
        });
    }
}
