//! Renaming and moving, over an existing target too.
//!
//! What waits for its upload is renamed in the journal; what is on the service is renamed there. A
//! target that is replaced goes last, so that there is never a moment with neither on the service. What takes
//! several steps there is written down first, and holds from the moment on in which the first one took effect.

use std::sync::Arc;
use std::time::Duration;

use crate::provider::{ErrorKind, FileId, FolderId, ItemId, ListHint};
use crate::upload::{Hold, Noted, PendingId, RenameIntent, Unwanted, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::index::Changing;
use super::settling::Settling;
use super::tree::{Node, Remote, Tree};

mod pinned;
mod steps;

use pinned::Pinned;
use steps::Steps;

/// How long it is waited for what is being sent of a target.
const ARRIVING: Duration = Duration::from_secs(5);

/// How often, and after which pause, a file that was not found is looked for under the id that its upload gave it.
const REPLACED_LOOKS: u32 = 10;
const REPLACED_PAUSE: Duration = Duration::from_millis(200);

/// Whether the journal still had the row that a rename is about.
enum Row {
    Renamed,
    /// Uploaded this moment: the rename begins anew, in the place of what was written down of it.
    Ended(Option<RenameIntent>),
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
    /// It ends where nothing goes to the service.
    stays_here: bool,
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
        account.remote_name(new_name)?;
        self.ensure_listed(parent).await?;
        self.ensure_listed(new_parent).await?;
        let new_folder = self.folder_id(new_parent)?;
        self.refuse_link_list(parent, name)?;
        self.refuse_link_list(new_parent, new_name)?;
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
        let is_link = self.is_link(ino);
        self.refuse_second_of_name(new_parent, new_name, is_link, Some(ino))?;
        let rename = Rename {
            account,
            ino,
            old_parent: parent,
            old_name: name,
            new_parent,
            new_folder,
            new_name,
            remote_name: account.stored_name(new_name, is_link)?,
            target,
            stays_here: self.renamed_to_here(account, ino, new_parent, new_name, target)?,
        };
        if self.is_file(ino) {
            self.rename_file(&rename).await
        } else {
            self.rename_folder(&rename).await
        }
    }

    async fn rename_folder(self: &Arc<Self>, rename: &Rename<'_>) -> Result<()> {
        let folder = self.folder_id(rename.ino)?;
        let _pinned = Pinned::new(self, rename);
        if let Some(target) = rename.target {
            if self.is_file(target) {
                return Err(Error::plain(libc::ENOTDIR));
            }
            let _held = self.hold([target]).await?;
            self.check_empty(rename.account, target).await?;
        }
        let target = rename.target.map(|target| self.unwanted_folder(rename, target));
        let target = target.transpose()?.map(|unwanted| (unwanted, None));
        let item = ItemId::Folder(folder);
        let _changing = self.begin_rename(rename).await?;
        let steps = self.steps(rename, target.is_some());
        let intent = self
            .intend(rename, &item, None, target.clone(), &steps, None)
            .await?;
        if let Err(error) = self.first_step(rename, &item, target.as_ref(), &steps).await {
            return Err(self.give_up(rename, intent, error).await);
        }
        if let Some(intent) = &intent
            && intent.begun(target).await? != Noted::Begun
        {
            return Err(Error::told(
                libc::EAGAIN,
                "the folder was changed while it was renamed",
            ));
        }
        {
            let mut tree = self.tree();
            if let Some(target) = rename.target {
                tree.remove(target);
            }
            tree.detach(rename.ino);
            tree.attach(rename.ino, rename.new_parent, rename.new_name);
            note_renamed(&mut tree, rename);
            if let Some(folder) = tree.get_mut(rename.ino).and_then(Node::folder_mut) {
                folder.remote_name = rename.remote_name.clone();
            }
        }
        self.finish(rename, intent).await
    }

    fn unwanted_folder(&self, rename: &Rename<'_>, target: u64) -> Result<Unwanted> {
        let name = self.remote_name_of(target).unwrap_or_default();
        Ok(Unwanted {
            account: rename.account.setup.name.clone(),
            folder: rename.new_folder.clone(),
            name,
            item: Some(ItemId::Folder(self.folder_id(target)?)),
            size: 0,
            mode: rename.account.delete_mode()?,
        })
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
        // Either may go: the one that is replaced, and the one whose content is put under the other's id.
        for ino in [Some(rename.ino), rename.target].into_iter().flatten() {
            self.secure_copies(ino).await?;
        }
        let _pinned = Pinned::new(self, rename);
        let mut settling = Settling::default();
        let mut replaced = 0;
        let mut begun: Option<RenameIntent> = None;
        loop {
            let (remote, row, _changing) = self.what_is_renamed(rename).await?;
            if remote.is_none()
                && let Some(intent) = begun.take()
            {
                intent.abandon().await?;
            }
            let moved = match (remote.clone(), row) {
                (None, Some(row)) => self.rename_row(rename, row).await,
                (Some(remote), row) => self.rename_remote(rename, remote, row, begun.take()).await,
                (None, None) => self.rename_open(rename).await,
            };
            match moved {
                Ok(Row::Renamed) => return Ok(()),
                Ok(Row::Ended(intent)) => {
                    begun = intent;
                    settling.pause().await?;
                }
                // An upload may have put another file in the place of the one that was to be renamed.
                Err(error) if error.errno.0 == libc::ENOENT && row.is_some() && replaced < REPLACED_LOOKS => {
                    replaced += 1;
                    tokio::time::sleep(REPLACED_PAUSE).await;
                }
                Err(error) if error.errno.0 == libc::ENOENT => {
                    let Some((remote, row)) = remote.zip(row) else {
                        return Err(error);
                    };
                    if !self.is_gone(rename.account, remote).await? {
                        return Err(error);
                    }
                    // What waits here is all that is left of it.
                    match self.rename_row(rename, row).await? {
                        Row::Renamed => return Ok(()),
                        Row::Ended(_) => settling.pause().await?,
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the service has a file no more, or has it in the trash: it may tell of that one, but lists it nowhere.
    async fn is_gone(&self, account: &Account, file: FileId) -> Result<bool> {
        let found = account.provider().file_info(&[file]).await?.pop();
        let Some(found) = found else { return Ok(true) };
        let Some(folder) = found.parent else {
            return Ok(false);
        };
        let item = ItemId::File(found.id);
        match account.provider().list(&folder, ListHint::default()).await {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(true),
            listing => Ok(listing?.entries.iter().all(|entry| entry.item() != item)),
        }
    }

    /// A new file that waits for its upload: it is uploaded under the new name, in place of the target.
    async fn rename_row(self: &Arc<Self>, rename: &Rename<'_>, row: PendingId) -> Result<Row> {
        let (target_remote, target_row) = rename.target.map_or((None, None), |target| self.identity(target));
        if rename.stays_here {
            self.keep_here(row).await?;
        }
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
                if !rename.stays_here {
                    self.uploads.keep_local(row, false).await?;
                }
                Ok(Row::Renamed)
            }
            Err(UploadError::Gone) => Ok(Row::Ended(None)),
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
            tree.note_changed(target);
            tree.unlink(target, keeps_remote);
        }
        tree.detach(rename.ino);
        tree.attach(rename.ino, rename.new_parent, rename.new_name);
        note_renamed(&mut tree, rename);
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
        begun: Option<RenameIntent>,
    ) -> Result<Row> {
        let item = ItemId::File(remote.clone());
        let _changing = self.begin_rename(rename).await?;
        let _held = self.hold_target(rename).await;
        let target = rename.target.map(|target| self.unwanted(rename.account, target));
        let target = target.transpose()?;
        let steps = Steps {
            in_place: row.is_none() && self.may_replace_in_place(rename, target.as_ref()),
            ..self.steps(rename, target.is_some())
        };
        let intent = self
            .intend(rename, &item, row, target.clone(), &steps, begun)
            .await?;
        if self.is_let_go(row, &remote) {
            return Ok(Row::Ended(intent));
        }
        if steps.in_place
            && let Some(old) = rename.target.and_then(|target| self.identity(target).0)
        {
            let is_replaced = self.replace_in_place(rename, &remote, &old).await?;
            match &intent {
                Some(intent) if is_replaced => {
                    intent.begun(None).await?;
                }
                Some(intent) => intent.not_in_place().await?,
                None => {}
            }
            if is_replaced {
                self.show_in_place_of(rename, old);
                return self.finish(rename, intent).await.map(|()| Row::Renamed);
            }
        }
        if let Err(error) = self.first_step(rename, &item, target.as_ref(), &steps).await {
            return Err(self.give_up(rename, intent, error).await);
        }
        let holds = match &intent {
            Some(intent) => self.note_begun(rename, intent, row).await?,
            None => true,
        };
        if !holds {
            return Ok(Row::Ended(intent));
        }
        self.show_replaced(rename, false);
        self.show_remote_name(rename);
        self.finish(rename, intent).await.map(|()| Row::Renamed)
    }

    /// What stands on the service for the source, unless it is about to go, and its row. Where it goes, the index may know
    /// it in the old folder, and doubts both until the rename is shown.
    async fn what_is_renamed(
        self: &Arc<Self>,
        rename: &Rename<'_>,
    ) -> Result<(Option<FileId>, Option<PendingId>, Option<Changing>)> {
        let (remote, row) = self.identity(rename.ino);
        match remote {
            Some(file) if self.is_let_go(row, &file) => {
                let changing = self.begin_rename(rename).await?;
                Ok((None, row, Some(changing)))
            }
            remote => Ok((remote, row, None)),
        }
    }

    /// Whether the upload of what waits here is about to delete the file that it replaces on the service.
    fn is_let_go(&self, row: Option<PendingId>, file: &FileId) -> bool {
        row.is_some_and(|row| self.uploads.lets_go(row, file))
    }

    /// Lets the index doubt both folders until the rename is shown.
    async fn begin_rename(self: &Arc<Self>, rename: &Rename<'_>) -> Result<Changing> {
        let (index, _) = self.account_of(rename.old_parent)?;
        self.begin_change(index, [rename.old_parent, rename.new_parent])
            .await
    }

    /// Lets nothing new be sent of a target that waits for its upload, once what is being sent has arrived: both would
    /// come to the same name at the same time, and the one that came second would get another, which a kill would leave.
    async fn hold_target(&self, rename: &Rename<'_>) -> Option<Hold> {
        let row = self.identity(rename.target?).1?;
        let hold = self.uploads.hold(row);
        self.uploads.wait_while_sent(row, ARRIVING).await;
        Some(hold)
    }

    /// Writes down that the first step took effect, with what is replaced as it is by now. False where the upload of
    /// the source ended before that: it may have put another file in the place of the one that was renamed, or given
    /// it its former name.
    async fn note_begun(
        &self,
        rename: &Rename<'_>,
        intent: &RenameIntent,
        row: Option<PendingId>,
    ) -> Result<bool> {
        let mut settling = Settling::default();
        loop {
            let target = rename.target.map(|target| self.unwanted(rename.account, target));
            let target = target.transpose()?;
            let freed = target.as_ref().map_or(0, |(target, _)| target.size);
            match intent.begun(target).await? {
                Noted::Begun => {
                    rename.account.count_stored(0, freed);
                    return Ok(true);
                }
                Noted::Gone => return Ok(false),
                Noted::SourceEnded => {
                    while row.is_some() && self.identity(rename.ino).1 == row {
                        settling.pause().await?;
                    }
                    return Ok(false);
                }
                // Uploaded this moment: what it became is what is replaced.
                Noted::TargetEnded => settling.pause().await?,
            }
        }
    }

    /// Notes the name that a file on the service has, or is about to have.
    fn show_remote_name(&self, rename: &Rename<'_>) {
        if let Some(remote) = self
            .tree()
            .file_mut(rename.ino)
            .and_then(|file| file.remote.as_mut())
        {
            remote.name = rename.remote_name.clone();
        }
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
}

fn note_renamed(tree: &mut Tree, rename: &Rename<'_>) {
    tree.note_changed(rename.ino);
    for folder in [rename.old_parent, rename.new_parent] {
        tree.note_names_changed(folder);
    }
}
