//! Copies of whole files inside the mount, which services make of each other's files, or of their own, without the
//! bytes passing through here.
//!
//! A program asks the kernel to copy a range (`copy_file_range`, as `cp` does). Where the range is a whole file that
//! lies on a service, the new file becomes a content all of which is still to come from there. Nothing was moved
//! then, so `close()` waits until the copy needs its original no more: `mv` deletes that right afterwards.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use crate::download::Reader;
use crate::provider::ItemId;
use crate::upload::{Base, BaseContent as _, PendingId, StagedFile, can_be_made};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::handles::FileHandle;
use super::tree::{AccountIndex, Local, Node, Remote};

/// Bytes from which on a copy of less than a whole file is taken for the first part of one: the kernel copies no more
/// than 4 GiB at a time.
const PART: u64 = 1 << 30;

impl Vfs {
    /// Makes `range` of a file the content of another one, from `to_offset` on; the bytes copied. `None` where the
    /// program has to move the bytes itself.
    pub async fn copy_range(
        self: &Arc<Self>,
        from: u64,
        range: Range<u64>,
        to: u64,
        to_offset: u64,
    ) -> Result<Option<u64>> {
        let (from, to) = (self.handles.file(from)?, self.handles.file(to)?);
        if !to.write {
            return Err(Error::plain(libc::EBADF));
        }
        let Some((account, remote)) = self.copied_from(&from) else {
            return Ok(None);
        };
        let range = range.start..range.end.min(remote.size);
        let is_part = range.end < remote.size && range.end.saturating_sub(range.start) < PART;
        if range.is_empty() || range.start != to_offset || is_part {
            return Ok(None);
        }
        let _guard = self.locks.one(to.ino).await;
        let (_, target) = self.account_to_change(to.ino)?;
        let source = self.account(account)?;
        let is_own = source.setup.name == target.setup.name;
        if self.downloads.pins(&target.setup.name)
            || !can_be_made(&**target.provider(), &**source.provider(), is_own, remote.hash)
        {
            return Ok(None);
        }
        let base = Base {
            account: Some(source.setup.name.clone()),
            ..remote.base()
        };
        let Some(before) = self.goes_on_at(to.ino, &base, range.start) else {
            return Ok(None);
        };
        self.admit(to.ino, &before, range.end)?;
        let staged = self.uploads.staged_copy(base, range.end)?;
        let local = Local {
            staged,
            pending: None,
            hold: None,
            dirty: true,
        };
        {
            let mut tree = self.tree();
            tree.set_local(to.ino, Some(local));
            if let Some(node) = tree.get_mut(to.ino) {
                (node.mtime, node.changed) = (SystemTime::now(), None);
            }
        }
        self.sweep();
        Ok(Some(range.end - range.start))
    }

    /// The file on a service that a handle reads, unless its content is newer here.
    fn copied_from(&self, handle: &FileHandle) -> Option<(AccountIndex, Remote)> {
        let tree = self.tree();
        let node = tree.get(handle.ino)?;
        let file = node.file()?;
        let is_as_opened = file.local.is_none() && file.foreign == handle.foreign;
        Some((node.account?, file.remote.clone().filter(|_| is_as_opened)?))
    }

    /// The content of a file that is about to be written, where it is empty or the beginning of the same copy, as long
    /// as the journal does not know of it.
    fn goes_on_at(&self, ino: u64, base: &Base, offset: u64) -> Option<Arc<StagedFile>> {
        let tree = self.tree();
        if self.is_kept_here(&tree, ino) {
            return None;
        }
        let local = tree.get(ino).and_then(Node::file)?.local.as_ref()?;
        let staged = Some(&local.staged).filter(|_| local.pending.is_none())?;
        let is_begun = match offset {
            0 => true,
            _ => staged.base() == Some(base) && staged.missing(0..offset).first() == Some(&(0..offset)),
        };
        (is_begun && staged.len() == offset).then(|| staged.clone())
    }

    fn is_kept_here(&self, tree: &super::tree::Tree, ino: u64) -> bool {
        let account = tree.get(ino).and_then(|node| node.account);
        let account = account.and_then(|index| self.account(index).ok());
        account.is_none_or(|account| Vfs::is_for_here(tree, account, ino))
    }

    /// Waits until a file that was committed as a copy does not depend on its original any more.
    pub(super) async fn secure_copy(self: &Arc<Self>, ino: u64, pending: Option<PendingId>) -> Result<()> {
        match pending.filter(|pending| self.uploads.needs_original(*pending)) {
            Some(pending) => {
                self.drop_hold(ino);
                Ok(self.uploads.secure(pending).await?)
            }
            None => Ok(()),
        }
    }

    /// Waits until no copy needs a file any more that is about to be deleted or changed from here, if it is on a service.
    pub(super) async fn secure_copies(&self, ino: u64) -> Result<()> {
        let Some(file) = self.identity(ino).0 else {
            return Ok(());
        };
        let (_, account) = self.account_of(ino)?;
        Ok(self.uploads.secure_copies_of(&account.setup.name, &file).await?)
    }

    /// Who reads the original of a copy that is not made yet, as long as it is what it was.
    pub(super) async fn reader_of_copied(&self, handle: &FileHandle, copied: &Base) -> Result<Arc<Reader>> {
        let (index, account) = self.account_of_base(copied)?;
        let known = {
            let tree = self.tree();
            let ino = tree.by_item(index, &ItemId::File(copied.file.clone()));
            let file = ino.and_then(|ino| tree.get(ino)?.file());
            file.and_then(|file| file.remote.clone())
        };
        let remote = match known {
            Some(remote) => Some(remote),
            None => {
                let found = account.provider().file_info(std::slice::from_ref(&copied.file));
                found.await?.first().map(Remote::of)
            }
        };
        let remote = remote.filter(|remote| remote.same_content_as_base(copied));
        let remote = remote.ok_or_else(|| {
            let message = "the file that it is a copy of was changed or deleted before the copy was made";
            Error::told(libc::EIO, message)
        })?;
        self.reader_from(handle, account, &remote)
    }

    fn account_of_base(&self, base: &Base) -> Result<(AccountIndex, &Arc<Account>)> {
        let mut accounts = self.accounts.iter().enumerate();
        let found = accounts.find(|(_, account)| Some(&account.setup.name) == base.account.as_ref());
        found.ok_or_else(|| {
            Error::told(
                libc::EIO,
                "the account of the file that it is a copy of is not mounted",
            )
        })
    }
}
