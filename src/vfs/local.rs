//! What never goes to the service: files and folders by their names, and all that is in such a folder.
//!
//! A file of this kind is a row of the journal that rests for good. A folder has an id of its own kind;
//! [`LocalFolders`] lays such folders over those of the service, so that the rest of the filesystem knows no
//! difference. What the service holds under such a name already is an ordinary file.

mod folders;

use std::sync::Arc;

use crate::upload::{PendingId, UploadError};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::symlinks;
use super::tree::{Node, Tree};

pub use folders::LocalFolders;
pub(super) use folders::is_local;

impl Vfs {
    /// Whether a new file or folder of that name stays on this machine.
    pub(super) fn stays_here(tree: &Tree, account: &Account, parent: u64, name: &str) -> bool {
        let folder = tree.get(parent).and_then(Node::folder);
        let is_below = folder.and_then(|folder| folder.id.as_ref()).is_some_and(is_local);
        is_below || account.setup.local_only.is_match(name)
    }

    /// Whether the content of a file is not for the service.
    pub(super) fn is_for_here(tree: &Tree, account: &Account, ino: u64) -> bool {
        let Some(node) = tree.get(ino) else { return false };
        let is_stored = node.file().is_some_and(|file| file.remote.is_some());
        let parent = node.parent.filter(|_| !is_stored && !node.removed);
        parent.is_some_and(|parent| Vfs::stays_here(tree, account, parent, &node.name))
    }

    /// Whether a rename ends where nothing goes to the service. Fails with `EXDEV`, after which `mv` copies, where
    /// what is on the service would have to come here, or a folder go there.
    pub(super) fn renamed_to_here(
        &self,
        account: &Account,
        ino: u64,
        new_parent: u64,
        new_name: &str,
        target: Option<u64>,
    ) -> Result<bool> {
        let (goes_here, was_here) = {
            let tree = self.tree();
            let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ENOENT))?;
            let over_stored = target
                .and_then(|target| tree.get(target)?.file())
                .is_some_and(|file| file.remote.is_some());
            let goes_here = !over_stored && Vfs::stays_here(&tree, account, new_parent, new_name);
            let was_here = node
                .folder()
                .map(|folder| folder.id.as_ref().is_some_and(is_local));
            (goes_here, was_here)
        };
        let crosses = match was_here {
            Some(was_here) => was_here != goes_here,
            None => goes_here && self.identity(ino).0.is_some(),
        };
        match crosses {
            true => Err(crossing()),
            false => Ok(goes_here),
        }
    }

    /// Lets the row of a renamed file stay here. Fails with `EXDEV` where something of it may be on the service.
    pub(super) async fn keep_here(&self, row: PendingId) -> Result<()> {
        match self.uploads.keep_local(row, true).await {
            Ok(true) => Ok(()),
            // Uploaded this moment, and on the service by now.
            Ok(false) | Err(UploadError::Gone) => Err(crossing()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go to the service what the list of names does not hold here any more, and what a crash left between a
    /// new name and its upload.
    pub(super) async fn release_others(self: Arc<Self>) {
        for file in self.uploads.local() {
            let known = self
                .accounts
                .iter()
                .find(|known| known.setup.name == file.account);
            let Some(account) = known else { continue };
            let is_link = symlinks::may_be(&file.name, file.size, account.has_links());
            let name = symlinks::shown(&file.name, is_link, &account.rules);
            if is_local(&file.folder) || account.setup.local_only.is_match(&name) {
                continue;
            }
            if let Err(error) = self.uploads.keep_local(file.id, false).await {
                tracing::warn!(name, %error, "a file that is to be uploaded by now stays here");
            }
        }
    }
}

fn crossing() -> Error {
    Error::told(
        libc::EXDEV,
        "between what stays on this machine and the service a rename is a copy and a removal",
    )
}
