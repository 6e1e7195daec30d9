//! Removing names: unlink and rmdir.

use std::sync::Arc;
use std::time::Duration;

use crate::provider::{FileId, ItemId};
use crate::upload::{PendingId, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::settling::Settling;
use super::tree::{ListingState, Node};

/// How often, and after which pause, it is looked whether the remains of uploads are gone from a folder.
const CLEARING_LOOKS: u32 = 20;
const CLEARING_PAUSE: Duration = Duration::from_millis(500);

impl Vfs {
    /// Removes a file's name. The file on the service goes first, then what waits here: if the service
    /// refuses, nothing is lost. Who has the file open keeps it.
    pub async fn unlink(self: &Arc<Self>, parent: u64, name: &str) -> Result<()> {
        let (_, account) = self.account_to_change(parent)?;
        self.ensure_listed(parent).await?;
        let ino = self
            .tree()
            .child(parent, name)
            .ok_or_else(|| Error::plain(libc::ENOENT))?;
        if !self.is_file(ino) {
            return Err(Error::plain(libc::EISDIR));
        }
        let _guard = self.locks.one(ino).await;
        // What the name stands for may have changed while the lock was waited for.
        if self.tree().child(parent, name) != Some(ino) {
            return Err(Error::plain(libc::ENOENT));
        }
        let freed = self.discard_file(account, ino).await?;
        account.count_stored(0, freed);
        self.tree().unlink(ino, false);
        self.sweep();
        Ok(())
    }

    /// Takes a file off the service and out of the journal; the bytes that it had there. The caller holds
    /// its lock, and takes it out of the tree afterwards.
    pub(super) async fn discard_file(&self, account: &Account, ino: u64) -> Result<u64> {
        let mut settling = Settling::default();
        loop {
            let (remote, row) = self.identity(ino);
            if let Some(remote) = &remote {
                self.delete_items(account, &[ItemId::File(remote.clone())])
                    .await?;
            }
            let Some(row) = row else {
                return Ok(self.remote_size(ino));
            };
            match self.uploads.remove(row).await {
                Ok(stood_for) => {
                    self.tree().set_pending(ino, None);
                    // With the row its content is gone: from here on the name goes, whatever else fails.
                    if let Err(error) = self.delete_others(account, stood_for, remote.as_ref()).await {
                        tracing::warn!(%error, "older contents of a removed file stay on the service");
                    }
                    return Ok(self.remote_size(ino));
                }
                // Uploaded this moment: what it became has to go as well.
                Err(UploadError::Gone) => settling.pause().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deletes what a removed row had left on the service, but for the file that is known of.
    pub(super) async fn delete_others(
        &self,
        account: &Account,
        stood_for: Vec<FileId>,
        known: Option<&FileId>,
    ) -> Result<()> {
        let others = stood_for.into_iter().filter(|id| Some(id) != known);
        let others: Vec<ItemId> = others.map(ItemId::File).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.delete_items(account, &others).await
    }

    fn remote_size(&self, ino: u64) -> u64 {
        let tree = self.tree();
        tree.get(ino)
            .and_then(Node::file)
            .and_then(|file| file.remote.as_ref())
            .map_or(0, |r| r.size)
    }

    /// What stands on the service for a file, and its row in the journal. The journal knows better than the
    /// tree which file the row is to replace.
    pub(super) fn identity(&self, ino: u64) -> (Option<FileId>, Option<PendingId>) {
        let (remote, row) = {
            let tree = self.tree();
            let Some(file) = tree.get(ino).and_then(Node::file) else {
                return (None, None);
            };
            let remote = file.remote.as_ref().map(|remote| remote.id.clone());
            (remote, file.local.as_ref().and_then(|local| local.pending))
        };
        match row.and_then(|row| self.uploads.get(row)) {
            Some(pending) => (pending.replaces, row),
            None => (remote, row),
        }
    }

    pub(super) async fn delete_items(&self, account: &Account, items: &[ItemId]) -> Result<()> {
        account.provider().delete(items, account.delete_mode()?).await?;
        account.facts.forget(items).await;
        Ok(())
    }

    /// Removes an empty folder. Whether it is empty is asked of the service, since a folder goes with all that
    /// is in it.
    pub async fn remove_folder(self: &Arc<Self>, parent: u64, name: &str) -> Result<()> {
        let (_, account) = self.account_to_change(parent)?;
        self.ensure_listed(parent).await?;
        let ino = self
            .tree()
            .child(parent, name)
            .ok_or_else(|| Error::plain(libc::ENOENT))?;
        let id = self.folder_id(ino)?;
        self.check_empty(ino).await?;
        self.delete_items(account, &[ItemId::Folder(id)]).await?;
        self.tree().remove(ino);
        Ok(())
    }

    /// Fails with `ENOTEMPTY` unless a fresh listing shows nothing.
    pub(super) async fn check_empty(self: &Arc<Self>, ino: u64) -> Result<()> {
        if self.has_children(ino)? {
            return Err(Error::plain(libc::ENOTEMPTY));
        }
        for looks in 0.. {
            self.refresh_anew(ino).landed().await?;
            // What a removed file's upload left is being cleared away, unless it is another's.
            let hides = self.folder_state(ino)?.1;
            if !hides || looks >= CLEARING_LOOKS || self.has_children(ino)? {
                break;
            }
            tokio::time::sleep(CLEARING_PAUSE).await;
        }
        if self.has_children(ino)? {
            return Err(Error::plain(libc::ENOTEMPTY));
        }
        match self.folder_state(ino)? {
            (_, true, _) => Err(Error::plain(libc::ENOTEMPTY)),
            (_, _, true) => Err(Error::told(
                libc::EIO,
                "the service lists something in the folder that cannot be read: it is not taken for empty",
            )),
            (ListingState::Known { stale: false, .. }, ..) => Ok(()),
            _ => Err(Error::told(
                libc::EAGAIN,
                "whether the folder is empty could not be made sure",
            )),
        }
    }

    /// How a folder is known, whether entries are hidden as uploads, and whether some could not be read.
    fn folder_state(&self, ino: u64) -> Result<(ListingState, bool, bool)> {
        let tree = self.tree();
        let folder = tree.get(ino).and_then(Node::folder);
        let folder = folder.ok_or_else(|| Error::plain(libc::ESTALE))?;
        Ok((folder.listing, folder.hides, folder.incomplete))
    }

    fn has_children(&self, ino: u64) -> Result<bool> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        Ok(!node
            .folder()
            .ok_or_else(|| Error::plain(libc::ENOTDIR))?
            .children
            .is_empty())
    }
}
