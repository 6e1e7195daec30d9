//! Renaming and moving, over an existing target too.
//!
//! What waits for its upload is renamed in the journal; what is on the service is renamed there. A
//! target that is replaced goes last, so that there is never a moment with neither on the service.

use std::sync::Arc;

use crate::provider::{Capability, ErrorKind, FileId, FolderId, ItemId};
use crate::upload::{PendingId, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::settling::Settling;
use super::tree::{Node, Remote, Tree};

/// Whether the journal still had the row that a rename is about.
enum Row {
    Renamed,
    /// Uploaded this moment.
    Ended,
}

/// One rename, with both ends resolved.
struct Rename<'a> {
    account: &'a Account,
    ino: u64,
    old_parent: u64,
    new_parent: u64,
    new_folder: FolderId,
    new_name: &'a str,
    remote_name: String,
    target: Option<u64>,
}

impl Vfs {
    /// Gives `name` of `parent` the name `new_name` in `new_parent`, replacing what is there unless `keep`.
    pub async fn rename(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        new_parent: u64,
        new_name: &str,
        keep: bool,
    ) -> Result<()> {
        let (from, account) = self.account_to_change(parent)?;
        let (to, _) = self.account_of(new_parent)?;
        if from != to {
            return Err(Error::plain(libc::EXDEV));
        }
        let remote_name = account.remote_name(new_name)?;
        self.ensure_listed(parent).await?;
        self.ensure_listed(new_parent).await?;
        let new_folder = self.folder_id(new_parent)?;
        let (ino, target) = {
            let tree = self.tree();
            let ino = tree
                .child(parent, name)
                .ok_or_else(|| Error::plain(libc::ENOENT))?;
            (
                ino,
                tree.child(new_parent, new_name).filter(|target| *target != ino),
            )
        };
        if keep && target.is_some() {
            return Err(Error::plain(libc::EEXIST));
        }
        let rename = Rename {
            account,
            ino,
            old_parent: parent,
            new_parent,
            new_folder,
            new_name,
            remote_name,
            target,
        };
        if self.is_file(ino) {
            self.rename_file(&rename).await
        } else {
            self.rename_folder(&rename).await
        }
    }

    async fn rename_folder(self: &Arc<Self>, rename: &Rename<'_>) -> Result<()> {
        let folder = self.folder_id(rename.ino)?;
        if let Some(target) = rename.target {
            if self.is_file(target) {
                return Err(Error::plain(libc::ENOTDIR));
            }
            self.check_empty(target).await?;
        }
        let old = rename.target.and_then(|target| self.item_of(target));
        self.rename_on_service(rename, &ItemId::Folder(folder), old.as_ref())
            .await?;
        if let Some(old) = old {
            self.delete_items(rename.account, &[old]).await?;
        }
        let mut tree = self.tree();
        if let Some(target) = rename.target {
            tree.remove(target);
        }
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        Ok(())
    }

    async fn rename_file(self: &Arc<Self>, rename: &Rename<'_>) -> Result<()> {
        if rename.target.is_some_and(|target| !self.is_file(target)) {
            return Err(Error::plain(libc::EISDIR));
        }
        let _guards = self.locks.two(rename.ino, rename.target).await;
        let mut settling = Settling::default();
        loop {
            let (remote, row) = self.identity(rename.ino);
            let moved = match (remote, row) {
                (None, Some(row)) => self.rename_row(rename, row).await,
                (Some(remote), row) => self.rename_remote(rename, remote, row).await,
                (None, None) => self.rename_open(rename).await,
            };
            match moved? {
                Row::Renamed => return Ok(()),
                Row::Ended => settling.pause().await?,
            }
        }
    }

    /// A new file that waits for its upload: it is uploaded under the new name, in place of the target.
    async fn rename_row(self: &Arc<Self>, rename: &Rename<'_>, row: PendingId) -> Result<Row> {
        let (target_remote, target_row) = rename.target.map_or((None, None), |target| self.identity(target));
        let done = self
            .uploads
            .rename(
                row,
                rename.new_folder.clone(),
                rename.remote_name.clone(),
                target_remote.clone().map(Some),
                target_row,
            )
            .await;
        match done {
            Ok(()) => {
                self.show_replaced(rename, target_remote.is_some());
                Ok(Row::Renamed)
            }
            Err(UploadError::Gone) => Ok(Row::Ended),
            Err(error) => Err(error.into()),
        }
    }

    /// A new file that is still open and was never committed: its first commit takes the new name.
    async fn rename_open(self: &Arc<Self>, rename: &Rename<'_>) -> Result<Row> {
        let mut keeps_remote = false;
        if let Some(target) = rename.target {
            let (target_remote, target_row) = self.identity(target);
            if let Some(row) = target_row {
                match self.uploads.remove(row).await {
                    Ok(stood_for) => {
                        self.delete_others(rename.account, stood_for, target_remote.as_ref())
                            .await?;
                    }
                    Err(UploadError::Gone) => return Ok(Row::Ended),
                    Err(error) => return Err(error.into()),
                }
            }
            keeps_remote = target_remote.is_some();
        }
        self.show_replaced(rename, keeps_remote);
        Ok(Row::Renamed)
    }

    /// Shows the new name; the target's place on the service, if kept, becomes the source's to replace.
    fn show_replaced(&self, rename: &Rename<'_>, keeps_remote: bool) {
        let mut tree = self.tree();
        let mut inherited = None;
        if let Some(target) = rename.target {
            inherited = tree
                .get(target)
                .and_then(Node::file)
                .and_then(|file| file.remote.clone());
            tree.detach(target);
            tree.set_remote(target, None);
            tree.set_pending(target, None);
            tree.drop_if_unused(target);
        }
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        if keeps_remote && inherited.is_some() {
            tree.set_remote(rename.ino, inherited);
        }
    }

    /// A file that is on the service, perhaps with newer content waiting here.
    async fn rename_remote(
        self: &Arc<Self>,
        rename: &Rename<'_>,
        remote: FileId,
        row: Option<PendingId>,
    ) -> Result<Row> {
        let (old, old_row) = rename.target.map_or((None, None), |target| self.identity(target));
        if let (Some(old), None, None) = (&old, row, old_row)
            && self.hand_over(rename, &remote, old).await?
        {
            return Ok(Row::Renamed);
        }
        let old = old.map(ItemId::File);
        self.rename_on_service(rename, &ItemId::File(remote), old.as_ref())
            .await?;
        if let Some(row) = row {
            let (folder, name) = (rename.new_folder.clone(), rename.remote_name.clone());
            match self.uploads.rename(row, folder, name, None, None).await {
                Ok(()) => {}
                Err(UploadError::Gone) => return Ok(Row::Ended),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(target) = rename.target {
            let freed = self.discard_file(rename.account, target).await?;
            rename.account.count_stored(0, freed);
        }
        let mut tree = self.tree();
        if let Some(target) = rename.target {
            tree.detach(target);
            tree.set_remote(target, None);
            tree.set_pending(target, None);
            tree.drop_if_unused(target);
        }
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        if let Some(remote) = tree.file_mut(rename.ino).and_then(|file| file.remote.as_mut()) {
            remote.name = rename.remote_name.clone();
        }
        Ok(Row::Renamed)
    }

    /// Puts a file's content into the place of the target, whose id lives on. `false` where the service does
    /// not do it for these two.
    async fn hand_over(self: &Arc<Self>, rename: &Rename<'_>, new: &FileId, old: &FileId) -> Result<bool> {
        let Some(target) = rename
            .target
            .filter(|_| rename.account.can(Capability::ReplaceKeepsId))
        else {
            return Ok(false);
        };
        match rename.account.provider().replace_content(new, old).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::InvalidArgument) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let mut tree = self.tree();
        let remote_of = |tree: &Tree, ino| tree.get(ino).and_then(Node::file)?.remote.clone();
        let (place, content) = (remote_of(&tree, target), remote_of(&tree, rename.ino));
        let freed = place.as_ref().map_or(0, |place| place.size);
        tree.detach(target);
        tree.set_remote(target, None);
        tree.drop_if_unused(target);
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        if let (Some(place), Some(content)) = (place, content) {
            let merged = Remote {
                id: place.id,
                name: place.name,
                revision: None,
                ..content
            };
            tree.set_remote(rename.ino, Some(merged));
        }
        drop(tree);
        rename.account.count_stored(0, freed);
        Ok(true)
    }

    /// Moves and renames on the service, with one call for each. A target first steps aside: of two entries
    /// with one name, a service may refuse the second or give it another name unasked.
    async fn rename_on_service(
        &self,
        rename: &Rename<'_>,
        item: &ItemId,
        old: Option<&ItemId>,
    ) -> Result<()> {
        let Some(old) = old else {
            return self.place_on_service(rename, item).await;
        };
        let provider = rename.account.provider();
        rename.account.require(Capability::Rename)?;
        let aside = format!("{} (replaced {})", rename.remote_name, fastrand::u32(..));
        provider.rename(old, &aside).await?;
        let placed = self.place_on_service(rename, item).await;
        if placed.is_err()
            && let Err(error) = provider.rename(old, &rename.remote_name).await
        {
            tracing::warn!(aside, %error, "a file that was to be replaced keeps this name");
        }
        placed
    }

    async fn place_on_service(&self, rename: &Rename<'_>, item: &ItemId) -> Result<()> {
        let provider = rename.account.provider();
        let old_name = self.remote_name_of(rename.ino);
        if rename.old_parent != rename.new_parent {
            rename.account.require(Capability::Move)?;
            provider
                .move_to(std::slice::from_ref(item), &rename.new_folder)
                .await?;
        }
        if old_name.as_deref() != Some(&rename.remote_name) {
            rename.account.require(Capability::Rename)?;
            provider.rename(item, &rename.remote_name).await?;
        }
        Ok(())
    }

    fn remote_name_of(&self, ino: u64) -> Option<String> {
        let tree = self.tree();
        let node = tree.get(ino)?;
        match (node.file(), node.folder()) {
            (Some(file), _) => file.remote.as_ref().map(|remote| remote.name.clone()),
            (_, Some(folder)) => Some(folder.remote_name.clone()),
            _ => None,
        }
    }
}
