//! Renaming and moving, over an existing target too.
//!
//! What waits for its upload is renamed in the journal; what is on the service is renamed there. A
//! target that is replaced goes last, so that there is never a moment with neither on the service.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::provider::{Capability, ErrorKind, FileId, FolderId, ItemId, Retry};
use crate::upload::{PendingId, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::settling::Settling;
use super::tree::{Node, Remote};

/// How long a rename waits for what was removed under the new name.
const CLEARING: Duration = Duration::from_secs(20);

/// How often, and after which pause, a file that was not found is looked for under the id that its upload gave it.
const REPLACED_LOOKS: u32 = 10;
const REPLACED_PAUSE: Duration = Duration::from_millis(200);

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
    old_name: &'a str,
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
            old_name: name,
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
            self.check_empty(rename.account, target).await?;
        }
        let old = rename.target.and_then(|target| self.item_of(target));
        let item = ItemId::Folder(folder);
        self.rename_on_service(rename, &item, old.as_ref()).await?;
        if let Some(old) = &old {
            self.delete_items(rename.account, std::slice::from_ref(old))
                .await?;
        }
        self.settle_name(rename, &item, old.as_ref()).await?;
        let mut tree = self.tree();
        if let Some(target) = rename.target {
            tree.remove(target);
        }
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        if let Some(folder) = tree.get_mut(rename.ino).and_then(Node::folder_mut) {
            folder.remote_name = rename.remote_name.clone();
        }
        Ok(())
    }

    async fn rename_file(self: &Arc<Self>, rename: &Rename<'_>) -> Result<()> {
        if rename.target.is_some_and(|target| !self.is_file(target)) {
            return Err(Error::plain(libc::EISDIR));
        }
        if let Some(target) = rename.target {
            self.check_replaceable(rename.account, target)?;
        }
        let _guards = self.locks.two(rename.ino, rename.target).await;
        // What the names stand for may have changed while the locks were waited for.
        {
            let tree = self.tree();
            let target = tree.child(rename.new_parent, rename.new_name);
            if tree.child(rename.old_parent, rename.old_name) != Some(rename.ino)
                || target.filter(|target| *target != rename.ino) != rename.target
            {
                return Err(Error::plain(libc::ENOENT));
            }
        }
        let mut settling = Settling::default();
        let mut replaced = 0;
        loop {
            let (remote, row) = self.identity(rename.ino);
            let moved = match (remote, row) {
                (None, Some(row)) => self.rename_row(rename, row).await,
                (Some(remote), row) => self.rename_remote(rename, remote, row).await,
                (None, None) => self.rename_open(rename).await,
            };
            match moved {
                Ok(Row::Renamed) => return Ok(()),
                Ok(Row::Ended) => settling.pause().await?,
                // An upload may have put another file in the place of the one that was to be renamed.
                Err(error) if error.errno.0 == libc::ENOENT && row.is_some() && replaced < REPLACED_LOOKS => {
                    replaced += 1;
                    tokio::time::sleep(REPLACED_PAUSE).await;
                }
                Err(error) => return Err(error),
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
        let target = rename.target.map_or((None, None), |target| self.identity(target));
        // What the target has in the journal goes only when the journal has what takes its place.
        if target.1.is_some()
            && let Some(row) = self.commit_locked(rename.ino).await?
        {
            return self.rename_row(rename, row).await;
        }
        self.show_replaced(rename, target.0.is_some());
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
            tree.unlink(target, keeps_remote);
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
        let local = self.tree().has_local(rename.ino)
            || rename.target.is_some_and(|target| self.tree().has_local(target));
        if let (Some(old), None, None, false) = (&old, row, old_row, local)
            && self.replace_in_place(rename, &remote, old).await?
        {
            self.show_in_place_of(rename, old.clone());
            return Ok(Row::Renamed);
        }
        let item = ItemId::File(remote);
        let old = old.map(ItemId::File);
        self.rename_on_service(rename, &item, old.as_ref()).await?;
        if let Some(row) = row {
            let (folder, name) = (rename.new_folder.clone(), rename.remote_name.clone());
            match self.uploads.rename(row, folder, name, None, None).await {
                Ok(()) => {}
                Err(UploadError::Gone) => return Ok(Row::Ended),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(target) = rename.target {
            self.discard_target(rename, target).await?;
        }
        let settled = self.settle_name(rename, &item, old.as_ref()).await;
        self.show_replaced(rename, false);
        if let Some(remote) = self
            .tree()
            .file_mut(rename.ino)
            .and_then(|file| file.remote.as_mut())
        {
            remote.name = rename.remote_name.clone();
        }
        // The target is gone, so that the rename is shown even where its last step failed.
        settled.map(|()| Row::Renamed)
    }

    /// Takes away what stood under the new name. Its place is waited for, since the name is given anew then.
    async fn discard_target(&self, rename: &Rename<'_>, target: u64) -> Result<()> {
        let mut settling = Settling::default();
        loop {
            let (unwanted, row) = self.unwanted(rename.account, target)?;
            let size = unwanted.size;
            match self.uploads.discard_file(row, unwanted).await {
                Ok(()) => {
                    rename.account.count_stored(0, size);
                    self.tree().set_pending(target, None);
                    return self.clear_the_way(rename).await;
                }
                Err(UploadError::Gone) => settling.pause().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts the content of `new` under the id of `old`, so that what points to the target goes on to work.
    /// Whether the service did that; where it does not, the target is replaced by a rename.
    async fn replace_in_place(&self, rename: &Rename<'_>, new: &FileId, old: &FileId) -> Result<bool> {
        let account = rename.account;
        self.clear_the_way(rename).await?;
        let same_kind = self.remote_name_of(rename.ino).is_some_and(|name| {
            extension(&name) == extension(&rename.remote_name) && extension(&name).is_some()
        });
        if !account.can(Capability::ReplaceKeepsId) || !same_kind {
            return Ok(false);
        }
        match account.provider().replace_content(new, old).await {
            Ok(()) => {}
            Err(error) if error.retry == Retry::OutcomeUnknown => {
                // Done if the file that it came from is gone.
                let left = account.provider().file_info(std::slice::from_ref(new)).await?;
                if !left.is_empty() {
                    return Ok(false);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the service replaces no content here; renaming instead");
                return Ok(false);
            }
        }
        // The name and the time may have come along with the content.
        let mtime = self.mtime_of(rename.ino);
        account
            .provider()
            .rename(&ItemId::File(old.clone()), &rename.remote_name, mtime)
            .await?;
        Ok(true)
    }

    /// Shows the source in the place and under the id of the target.
    fn show_in_place_of(&self, rename: &Rename<'_>, id: FileId) {
        let content = {
            let tree = self.tree();
            tree.get(rename.ino)
                .and_then(Node::file)
                .and_then(|file| file.remote.clone())
        };
        self.show_replaced(rename, true);
        if let Some(content) = content {
            let name = rename.remote_name.clone();
            let remote = Remote {
                id,
                name,
                revision: None,
                ..content
            };
            self.tree().set_remote(rename.ino, Some(remote));
        }
    }

    /// Moves and renames on the service. One call for each; a target of the same name may stand there still.
    async fn rename_on_service(
        &self,
        rename: &Rename<'_>,
        item: &ItemId,
        old: Option<&ItemId>,
    ) -> Result<()> {
        self.clear_the_way(rename).await?;
        let provider = rename.account.provider();
        if rename.old_parent != rename.new_parent {
            rename.account.require(Capability::Move)?;
            provider
                .move_to(std::slice::from_ref(item), &rename.new_folder)
                .await?;
        }
        if self.remote_name_of(rename.ino).as_deref() == Some(&rename.remote_name) {
            return Ok(());
        }
        rename.account.require(Capability::Rename)?;
        let mtime = self.mtime_of(rename.ino);
        match (provider.rename(item, &rename.remote_name, mtime).await, old) {
            (Err(error), Some(old)) if error.kind == ErrorKind::AlreadyExists => {
                // A service that allows no twins: the target steps aside until the new one has its name.
                let aside = format!("{} (replaced {})", rename.remote_name, fastrand::u32(..));
                provider.rename(old, &aside, None).await?;
                Ok(provider.rename(item, &rename.remote_name, mtime).await?)
            }
            (result, _) => Ok(result?),
        }
    }

    /// Gives the name again once the target is gone: where it stood in the way, the service may have chosen
    /// another one.
    async fn settle_name(&self, rename: &Rename<'_>, item: &ItemId, old: Option<&ItemId>) -> Result<()> {
        if old.is_none() {
            return Ok(());
        }
        let mtime = self.mtime_of(rename.ino);
        Ok(rename
            .account
            .provider()
            .rename(item, &rename.remote_name, mtime)
            .await?)
    }

    /// Lets what was removed under the new name be cleared away first, so that the renamed file is not taken
    /// for it.
    async fn clear_the_way(&self, rename: &Rename<'_>) -> Result<()> {
        let (account, folder) = (&rename.account.setup.name, &rename.new_folder);
        let name = &rename.remote_name;
        Ok(self
            .uploads
            .wait_until_cleared(account, folder, name, CLEARING)
            .await?)
    }

    fn mtime_of(&self, ino: u64) -> Option<SystemTime> {
        self.tree().get(ino).map(|node| node.mtime)
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

fn extension(name: &str) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(extension.to_lowercase())
}
