//! Permission bits. No service holds any, so they are kept here: those of a file that waits for its upload in its row
//! of the journal, those of what is on a service beside the index. What no program gave bits shows the usual ones.

use std::sync::Arc;
use std::time::SystemTime;

use crate::provider::ItemId;
use crate::upload::UploadError;

use super::account::Account;
use super::attributes::FileKind;
use super::error::{Error, Result};
use super::settling::Settling;
use super::tree::{Kind, Node, Tree};
use super::{Options, Vfs};

/// What no program gave bits to lacks these, where the person who mounts does not say which.
const USUAL_UMASK: u32 = 0o022;

/// All bits that a program can give.
const MODE: u32 = 0o7777;

impl Vfs {
    /// Takes up the bits of the accounts' own folders, which no listing tells of. To be called before anybody looks.
    pub async fn recall_top_modes(&self) {
        for (index, account) in self.accounts.iter().enumerate() {
            let top = ItemId::Folder(account.provider().root());
            let mode = account.facts.mode(&top).await;
            let mut tree = self.tree();
            if let Some(node) = tree.by_item(index, &top).and_then(|ino| tree.get_mut(ino)) {
                node.mode = mode;
            }
        }
    }

    /// The bits that a node shows.
    pub(super) fn mode_of(&self, node: &Node) -> u16 {
        let kind = kind_of(node);
        let never = self.options.umask.filter(|_| kind != FileKind::Link).unwrap_or(0);
        let mode = node.mode.map_or_else(|| usual(&self.options, kind), u32::from);
        // Both are bits of `MODE`.
        u16::try_from(mode & MODE & !never).unwrap_or(0)
    }

    /// What is to be kept of bits that a program gives: nothing where they are the usual ones.
    pub(super) fn mode_to_keep(&self, kind: FileKind, mode: u32) -> Option<u16> {
        let mode = mode & MODE;
        match mode == usual(&self.options, kind) {
            true => None,
            false => u16::try_from(mode).ok(),
        }
    }

    /// Gives a file or folder other permission bits: in the journal where it waits for its upload, and beside the index
    /// where it is on the service, which is not told.
    pub async fn set_mode(self: &Arc<Self>, ino: u64, mode: u32) -> Result<()> {
        self.refuse_change_of_list(ino)?;
        let (_, account) = self.account_to_change(ino)?;
        let _guard = self.locks.one(ino).await;
        let (before, mode, is_removed) = {
            let tree = self.tree();
            let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
            if node.is_link() {
                return Err(Error::plain(libc::EOPNOTSUPP));
            }
            (node.mode, self.mode_to_keep(kind_of(node), mode), node.removed)
        };
        if mode != before && !is_removed {
            self.keep_mode(account, ino, mode).await?;
        }
        if let Some(node) = self.tree().get_mut(ino) {
            node.mode = mode;
            node.changed = Some(SystemTime::now());
        }
        Ok(())
    }

    async fn keep_mode(&self, account: &Account, ino: u64, mode: Option<u16>) -> Result<()> {
        let mut settling = Settling::default();
        let item = loop {
            let (_, item, row, _) = self.time_keepers(ino)?;
            // Of content that was not committed yet, the commit tells.
            let Some(row) = row else { break item };
            match self.uploads.set_mode(row, mode).await {
                Ok(()) => break item,
                // Uploaded this moment: what it became has them from now on.
                Err(UploadError::Gone) => settling.pause().await?,
                Err(error) => return Err(error.into()),
            }
        };
        match item {
            Some(item) => Ok(account.facts.set_mode(&item, mode).await?),
            None => Ok(()),
        }
    }
}

impl Tree {
    /// Notes that a name was put into a folder, or taken out of it, from here.
    pub(super) fn note_names_changed(&mut self, folder: u64) {
        if let Some(node) = self.get_mut(folder) {
            (node.mtime, node.changed) = (SystemTime::now(), None);
        }
        self.note_change_of(folder);
    }

    /// Notes that something of a node but its content was changed from here, such as its name.
    pub(super) fn note_changed(&mut self, ino: u64) {
        if let Some(node) = self.get_mut(ino) {
            node.changed = Some(SystemTime::now());
        }
    }
}

pub(super) fn kind_of(node: &Node) -> FileKind {
    match &node.kind {
        Kind::Folder(_) => FileKind::Folder,
        Kind::File(file) if file.is_link() => FileKind::Link,
        Kind::File(_) | Kind::LinkList(_) => FileKind::File,
    }
}

fn usual(options: &Options, kind: FileKind) -> u32 {
    let most = match kind {
        // Nobody is asked for those of a link.
        FileKind::Link => return 0o777,
        FileKind::Folder => 0o777,
        FileKind::File => 0o666,
    };
    most & !options.umask.unwrap_or(USUAL_UMASK)
}
