//! Removing names: unlink and rmdir.

use std::sync::Arc;
use std::time::Duration;

use crate::provider::{Capability, DeleteMode, FileId, ItemId};
use crate::upload::{PendingId, Unwanted, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::settling::Settling;
use super::tree::{ListingState, Node};

/// How long `rmdir` waits for the deletion of what was removed from the folder.
const EMPTYING: Duration = Duration::from_secs(45);

/// Removed files that are waited for where the service takes one a call.
const WORTH_WAITING: usize = 16;

/// How often, and after which pause, it is looked whether the remains of uploads are gone from a folder.
const CLEARING_LOOKS: u32 = 20;
const CLEARING_PAUSE: Duration = Duration::from_millis(500);

impl Vfs {
    /// What bears a name in a folder.
    async fn listed_child(self: &Arc<Self>, parent: u64, name: &str) -> Result<u64> {
        self.ensure_listed(parent).await?;
        let ino = self.tree().child(parent, name);
        ino.ok_or_else(|| Error::plain(libc::ENOENT))
    }

    /// Removes a file's name: in the journal, with all that it stands for. The service is told a moment later, in
    /// whichever life. Who has the file open keeps it.
    pub async fn unlink(self: &Arc<Self>, parent: u64, name: &str) -> Result<()> {
        let (_, account) = self.account_to_change(parent)?;
        self.ensure_listed(parent).await?;
        if self.is_link_list(parent, name) {
            return self.remove_link_list(parent).await;
        }
        let ino = self.listed_child(parent, name).await?;
        if !self.is_file(ino) {
            return Err(Error::plain(libc::EISDIR));
        }
        let _guard = self.locks.one(ino).await;
        // What the name stands for may have changed while the lock was waited for.
        if self.tree().child(parent, name) != Some(ino) {
            return Err(Error::plain(libc::ENOENT));
        }
        let mut settling = Settling::default();
        let freed = loop {
            self.secure_copies(ino).await?;
            let (unwanted, row) = self.unwanted(account, ino)?;
            let size = unwanted.size;
            match self.uploads.discard_file(row, unwanted).await {
                Ok(()) => break size,
                // Uploaded this moment: what it became has to go as well.
                Err(UploadError::Gone) => settling.pause().await?,
                Err(error) => return Err(error.into()),
            }
        };
        account.count_stored(0, freed);
        {
            let mut tree = self.tree();
            tree.note_changed(ino);
            tree.unlink(ino, false);
            tree.note_names_changed(parent);
        }
        self.sweep();
        Ok(())
    }

    /// A file as it is to be taken away, and its row in the journal. The caller holds its lock, and takes it out of
    /// the tree afterwards.
    pub(super) fn unwanted(&self, account: &Account, ino: u64) -> Result<(Unwanted, Option<PendingId>)> {
        let (remote, row) = self.identity(ino);
        let mode = match remote.is_some() {
            true => account.delete_mode()?,
            false => DeleteMode::Trash,
        };
        let pending = row.and_then(|row| self.uploads.get(row));
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let stored = node.file().and_then(|file| file.remote.as_ref());
        let folder = node
            .parent
            .and_then(|parent| tree.get(parent)?.folder()?.id.clone());
        let name = stored
            .map(|stored| stored.name.clone())
            .or_else(|| pending.map(|pending| pending.name));
        let unwanted = Unwanted {
            account: account.setup.name.clone(),
            folder: folder.ok_or_else(|| Error::plain(libc::ESTALE))?,
            name: name.unwrap_or_default(),
            size: stored
                .filter(|_| remote.is_some())
                .map_or(0, |stored| stored.size),
            item: remote.map(ItemId::File),
            mode,
        };
        Ok((unwanted, row))
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
        let (index, account) = self.account_to_change(parent)?;
        let ino = self.listed_child(parent, name).await?;
        let _held = self.hold([ino]).await?;
        let id = self.folder_id(ino)?;
        let name = &account.setup.name;
        // Where each file takes a call of its own, many of them go with the folder instead.
        if account.can(Capability::Batches) || self.uploads.going_from(name, &id) <= WORTH_WAITING {
            self.check_empty(account, ino).await?;
        } else {
            self.check_shows_empty(ino).await?;
        }
        let _changing = self.begin_change(index, [parent]).await?;
        self.delete_items(account, &[ItemId::Folder(id.clone())]).await?;
        self.uploads.went_with_folder(name, &id).await?;
        let mut tree = self.tree();
        tree.note_changed(ino);
        tree.remove(ino);
        tree.note_names_changed(parent);
        Ok(())
    }

    /// Fails with `ENOTEMPTY` unless a fresh listing shows nothing, once the service has deleted what was
    /// removed from the folder.
    pub(super) async fn check_empty(self: &Arc<Self>, account: &Account, ino: u64) -> Result<()> {
        if self.has_children(ino)? {
            return Err(Error::plain(libc::ENOTEMPTY));
        }
        let id = self.folder_id(ino)?;
        self.uploads
            .wait_until_emptied(&account.setup.name, &id, EMPTYING)
            .await?;
        self.check_shows_empty(ino).await
    }

    /// Fails with `ENOTEMPTY` unless a fresh listing shows nothing but what was removed here.
    async fn check_shows_empty(self: &Arc<Self>, ino: u64) -> Result<()> {
        if self.has_children(ino)? {
            return Err(Error::plain(libc::ENOTEMPTY));
        }
        for looks in 0.. {
            self.refresh_anew(ino).landed().await?;
            // What a removed file's upload left is being cleared away, unless it is another's.
            let (listing, hides, _) = self.folder_state(ino)?;
            if looks >= CLEARING_LOOKS || self.has_children(ino)? {
                break;
            }
            match listing {
                // The service told of a change meanwhile.
                ListingState::Known { stale: true, .. } => {}
                _ if hides => tokio::time::sleep(CLEARING_PAUSE).await,
                _ => break,
            }
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
