//! The calls that a rename takes on the service, and what is written down of them before the first one.
//!
//! A rename of one call needs no note. One of several holds from the moment on in which the first took effect: the
//! others are the business of who finishes renames. What becomes of the tree is not decided here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Rename;
use crate::provider::{Capability, ErrorKind, FileId, ItemId, ProviderError, Retry};
use crate::upload::{NewRename, PendingId, RenameIntent, Unwanted, UploadError, name_aside};
use crate::vfs::Vfs;
use crate::vfs::error::{Error, Result};

/// How long a rename waits for what was removed under the new name.
const CLEARING: Duration = Duration::from_secs(20);

/// How long a rename waits for its last steps before it leaves them to themselves.
const FINISHING: Duration = Duration::from_secs(30);

/// What a rename takes on the service.
pub(super) struct Steps {
    pub moves: bool,
    pub names: bool,
    /// Something stands under the new name.
    pub replaces: bool,
    /// The content is to go under the id of what stands there.
    pub in_place: bool,
}

impl Vfs {
    /// Which steps a rename takes on the service.
    pub(super) fn steps(&self, rename: &Rename<'_>, replaces: bool) -> Steps {
        Steps {
            moves: rename.old_parent != rename.new_parent,
            names: self.remote_name_of(rename.ino).as_deref() != Some(&rename.remote_name),
            replaces,
            in_place: false,
        }
    }

    /// Makes the way free for a rename, and writes it down where it takes several steps, in the place of what was
    /// written down of it before.
    pub(super) async fn intend(
        &self,
        rename: &Rename<'_>,
        item: &ItemId,
        row: Option<PendingId>,
        target: Option<(Unwanted, Option<PendingId>)>,
        steps: &Steps,
        before: Option<RenameIntent>,
    ) -> Result<Option<RenameIntent>> {
        let account = rename.account;
        if steps.moves {
            account.require(Capability::Move)?;
        }
        if steps.names {
            account.require(Capability::Rename)?;
        }
        let name = &account.setup.name;
        if before.is_none() {
            self.uploads.wait_until_renamed(name, item, CLEARING).await?;
        }
        self.uploads.keep_item(name, item).await?;
        self.clear_the_way(rename).await?;
        let takes_several = steps.replaces || row.is_some() || (steps.moves && steps.names);
        if !takes_several && before.is_none() {
            return Ok(None);
        }
        let old_name = self.remote_name_of(rename.ino).unwrap_or_default();
        let new = NewRename {
            account: name.clone(),
            item: item.clone(),
            from: (self.folder_id(rename.old_parent)?, old_name),
            to: (rename.new_folder.clone(), rename.remote_name.clone()),
            mtime: self.mtime_of(rename.ino),
            pending: row,
            target,
            in_place: steps.in_place,
        };
        Ok(Some(self.uploads.begin_rename_anew(new, before).await?))
    }

    /// The step from which on a rename holds: the move to another folder, or else the new name. A target of that
    /// name may stand there still.
    pub(super) async fn first_step(
        &self,
        rename: &Rename<'_>,
        item: &ItemId,
        target: Option<&(Unwanted, Option<PendingId>)>,
        steps: &Steps,
    ) -> std::result::Result<(), ProviderError> {
        let provider = rename.account.provider();
        if steps.moves {
            return provider
                .move_to(std::slice::from_ref(item), &rename.new_folder)
                .await;
        }
        if !steps.names {
            return Ok(());
        }
        let (name, mtime) = (&rename.remote_name, self.mtime_of(rename.ino));
        let named = provider.rename(item, name, mtime).await;
        let old = target.and_then(|(target, _)| target.item.as_ref());
        match (named, old) {
            (Err(error), Some(old)) if error.kind == ErrorKind::AlreadyExists => {
                // A service that allows no twins: the target steps aside until the new one has its name.
                provider.rename(old, &name_aside(name), None).await?;
                let named = provider.rename(item, name, mtime).await;
                if named
                    .as_ref()
                    .is_err_and(|error| error.retry != Retry::OutcomeUnknown)
                {
                    // What does not come back now is seen in the folder, under the other name.
                    provider.rename(old, name, None).await?;
                }
                named
            }
            (named, _) => named,
        }
    }

    /// What is told of a first step that failed. Where it may have taken effect nobody forgets the rename.
    pub(super) async fn give_up(
        self: &Arc<Self>,
        rename: &Rename<'_>,
        intent: Option<RenameIntent>,
        error: ProviderError,
    ) -> Error {
        let is_unknown = error.retry == Retry::OutcomeUnknown;
        match intent {
            Some(intent) if !is_unknown => {
                if let Err(error) = intent.abandon().await {
                    tracing::warn!(%error, "a rename that did not come stays in the journal until it is looked up");
                }
            }
            None if is_unknown => {
                let folders = [rename.old_parent, rename.new_parent].map(|ino| self.folder_id(ino));
                let folders: Vec<_> = folders.into_iter().flatten().collect();
                self.doubt_listings(&rename.account.setup.name, &folders);
            }
            _ => {}
        }
        error.into()
    }

    /// Waits for the steps after the first one. What fails for now goes on by itself, and the rename holds.
    pub(super) async fn finish(&self, rename: &Rename<'_>, intent: Option<RenameIntent>) -> Result<()> {
        let Some(intent) = intent else { return Ok(()) };
        match intent.finish(FINISHING).await {
            Err(error @ UploadError::NotRenamed { parked: true, .. }) if rename.target.is_none() => {
                Err(error.into())
            }
            Err(error) => {
                tracing::warn!(%error, "a rename is shown, and goes on by itself");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether it is to be tried to put the content under the id of the target, so that what points to that goes
    /// on to work.
    pub(super) fn may_replace_in_place(
        &self,
        rename: &Rename<'_>,
        target: Option<&(Unwanted, Option<PendingId>)>,
    ) -> bool {
        let is_stored = target.is_some_and(|(target, row)| target.item.is_some() && row.is_none());
        let local = self.tree().has_local(rename.ino)
            || rename.target.is_some_and(|target| self.tree().has_local(target));
        let same_kind = self.remote_name_of(rename.ino).is_some_and(|name| {
            extension(&name) == extension(&rename.remote_name) && extension(&name).is_some()
        });
        is_stored && !local && same_kind && rename.account.can(Capability::ReplaceKeepsId)
    }

    /// Puts the content of `new` under the id of `old`. Whether the service did that; where it does not, the target
    /// is replaced by a rename.
    pub(super) async fn replace_in_place(
        &self,
        rename: &Rename<'_>,
        new: &FileId,
        old: &FileId,
    ) -> Result<bool> {
        let provider = rename.account.provider();
        match provider.replace_content(new, old).await {
            Ok(()) => Ok(true),
            // Done if the file that it came from is gone.
            Err(error) if error.retry == Retry::OutcomeUnknown => {
                Ok(provider.file_info(std::slice::from_ref(new)).await?.is_empty())
            }
            Err(error) => {
                tracing::debug!(%error, "the service replaces no content here; renaming instead");
                Ok(false)
            }
        }
    }

    /// Lets what was removed under the new name be cleared away first, so that the renamed file is not taken
    /// for it.
    pub(super) async fn clear_the_way(&self, rename: &Rename<'_>) -> Result<()> {
        let (account, folder) = (&rename.account.setup.name, &rename.new_folder);
        let name = &rename.remote_name;
        Ok(self
            .uploads
            .wait_until_cleared(account, folder, name, CLEARING)
            .await?)
    }

    pub(super) fn mtime_of(&self, ino: u64) -> Option<SystemTime> {
        self.tree().get(ino).map(|node| node.mtime)
    }

    pub(super) fn remote_name_of(&self, ino: u64) -> Option<String> {
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
