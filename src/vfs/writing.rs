//! Writing: every change of content goes into a staged file, and into the journal before `close()` or
//! `fsync()` says that it is done.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::provider::{Capability, ItemId};
use crate::upload::{Hold, NewPending, PendingId, Stage, StagedFile, UploadError, UploadStatus};

use super::account::Account;
use super::attributes::TimeChange;
use super::error::{Error, Result, errno_of};
use super::handles::Opened;
use super::modes::kind_of;
use super::settling::Settling;
use super::tree::{AccountIndex, File, Form, Kind, Local, Node, Remote};
use super::{Attributes, Vfs, names, symlinks};

/// How often a `close()` that waits for the service looks whether the upload has failed for now.
const WAITING_LOOK: Duration = Duration::from_millis(250);

/// How long a write waits before it looks whether the commit that it came across is done.
const COMMITTING_LOOK: Duration = Duration::from_millis(2);

/// What a file needs before it can be written.
enum Need {
    Ready(Arc<StagedFile>),
    Edit(PendingId),
    Stage(Option<Remote>),
}

/// Bytes that are copied at a time when a whole content is brought.
const FILL: usize = 1 << 20;

/// What became of bytes that were written to a staged file.
enum Written {
    Kept,
    /// The file has another staged file by now.
    InVain,
}

/// Account, item on the service, row, and whether there is more to commit.
type TimeKeepers = (Option<AccountIndex>, Option<ItemId>, Option<PendingId>, bool);

/// What goes into the journal.
struct CommitWork {
    staged: Arc<StagedFile>,
    pending: Option<PendingId>,
    new: NewPending,
}

impl Vfs {
    /// Makes a new file with these permission bits and opens it for writing.
    pub async fn create(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        mode: u32,
    ) -> Result<(Attributes, Opened)> {
        self.create_as(parent, name, mode, Form::Plain).await
    }

    pub(super) async fn create_as(
        self: &Arc<Self>,
        parent: u64,
        name: &str,
        mode: u32,
        form: Form,
    ) -> Result<(Attributes, Opened)> {
        let (index, account) = self.account_to_change(parent)?;
        account.require(Capability::Write)?;
        let is_link = form != Form::Plain;
        account.stored_name(name, is_link)?;
        self.ensure_listed(parent).await?;
        self.folder_id(parent)?;
        self.refuse_link_list(parent, name)?;
        self.refuse_second_of_name(parent, name, is_link, None)?;
        let staged = self.uploads.new_staged()?;
        let mut tree = self.tree();
        if tree.child(parent, name).is_some() {
            return Err(Error::plain(libc::EEXIST));
        }
        let local = Local {
            staged,
            pending: None,
            hold: None,
            dirty: true,
        };
        let file = File {
            remote: None,
            local: Some(local),
            writers: 1,
            cached_is_true: true,
            foreign: 0,
            form,
        };
        let ino = tree.add(Some(index), name, SystemTime::now(), Kind::File(file));
        tree.attach(ino, parent, name);
        tree.note_names_changed(parent);
        let node = tree.get_mut(ino).ok_or_else(|| Error::plain(libc::EIO))?;
        node.mode = self.mode_to_keep(kind_of(node), mode);
        node.lookups += 1;
        node.handles += 1;
        let attributes = self.attributes_of(ino, node);
        let handle = self.handles.add_file(ino, true, 0);
        Ok((
            attributes,
            Opened {
                handle,
                keep_cache: true,
            },
        ))
    }

    /// Writes where that needs no waiting for the queue or the service.
    pub fn write_known(&self, handle: u64, offset: u64, data: &[u8]) -> Option<Result<()>> {
        let ino = match self.handles.file(handle) {
            Ok(handle) if handle.write => handle.ino,
            Ok(_) => return Some(Err(Error::plain(libc::EBADF))),
            Err(error) => return Some(Err(error)),
        };
        match self.need_of_writer(ino, false) {
            Ok(Need::Ready(staged)) => match self.write_staged(ino, &staged, offset, data) {
                Ok(Written::Kept) => Some(Ok(())),
                // Another staged file has taken its place meanwhile.
                Ok(Written::InVain) => None,
                Err(error) => Some(Err(error)),
            },
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    pub async fn write(self: &Arc<Self>, handle: u64, offset: u64, data: &[u8]) -> Result<()> {
        let ino = self.handles.file(handle)?.ino;
        loop {
            let staged = self.writable(ino, false).await?;
            if let Written::Kept = self.write_staged(ino, &staged, offset, data)? {
                return Ok(());
            }
            tokio::time::sleep(COMMITTING_LOOK).await;
        }
    }

    fn write_staged(&self, ino: u64, staged: &StagedFile, offset: u64, data: &[u8]) -> Result<Written> {
        let end = offset
            .checked_add(data.len() as u64)
            .ok_or_else(|| Error::plain(libc::EFBIG))?;
        self.admit(ino, staged, end)?;
        self.written(ino, staged, staged.write_at(offset, data))
    }

    fn written(&self, ino: u64, staged: &StagedFile, result: std::io::Result<()>) -> Result<Written> {
        match result {
            Ok(()) => Ok(self.changed(ino, staged)),
            // It is being committed, and goes on as a copy.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Written::InVain),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses growth that the account has no room for, while the program can still be told.
    pub(super) fn admit(&self, ino: u64, staged: &StagedFile, size: u64) -> Result<()> {
        if size <= staged.len() {
            return Ok(());
        }
        let (index, account) = self.account_of(ino)?;
        let (replaced, counted) = {
            let tree = self.tree();
            if Vfs::is_for_here(&tree, account, ino) {
                return Ok(());
            }
            let file = tree.get(ino).and_then(Node::file);
            let replaced = file
                .and_then(|file| file.remote.as_ref())
                .map_or(0, |remote| remote.size);
            let row = file
                .and_then(|file| file.local.as_ref())
                .and_then(|local| local.pending);
            (
                replaced,
                row.and_then(|row| self.uploads.get(row))
                    .map_or(0, |row| row.size),
            )
        };
        account.admit(size, replaced, self.waiting_bytes(index).saturating_sub(counted))
    }

    /// Notes that a file's staged bytes changed. Comes after the write, so that a commit which runs at the
    /// same time can not take the change for done; says whether the staged file still was the one to write to.
    fn changed(&self, ino: u64, staged: &StagedFile) -> Written {
        let mut tree = self.tree();
        let Some(node) = tree.get_mut(ino) else {
            return Written::Kept;
        };
        (node.mtime, node.changed) = (SystemTime::now(), None);
        match node.file_mut().and_then(|file| file.local.as_mut()) {
            Some(local)
                if std::ptr::eq(&*local.staged, staged)
                    && (local.pending.is_none() || local.hold.is_some()) =>
            {
                local.dirty = true;
                Written::Kept
            }
            _ => Written::InVain,
        }
    }

    /// `empties` says that the writer begins by cutting the file to nothing.
    fn need_of_writer(&self, ino: u64, empties: bool) -> Result<Need> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let file = node.file().ok_or_else(|| Error::plain(libc::EISDIR))?;
        Ok(match &file.local {
            Some(local) => match local
                .pending
                .filter(|_| local.hold.is_none() || local.staged.wants_copy(empties))
            {
                Some(pending) => Need::Edit(pending),
                None => Need::Ready(local.staged.clone()),
            },
            None => Need::Stage(file.remote.clone()),
        })
    }

    /// The staged file that a writer may change, begun from what the service holds unless `empty`.
    async fn writable(self: &Arc<Self>, ino: u64, empty: bool) -> Result<Arc<StagedFile>> {
        let _guard = self.locks.one(ino).await;
        let mut settling = Settling::default();
        loop {
            match self.need_of_writer(ino, empty)? {
                Need::Ready(staged) => return Ok(staged),
                Need::Edit(pending) => match self.edit(pending, empty).await {
                    Ok((staged, hold)) => {
                        let mut tree = self.tree();
                        let file = tree.file_mut(ino);
                        if let Some(local) = file.and_then(|file| file.local.as_mut())
                            && local.pending == Some(pending)
                        {
                            local.staged = staged.clone();
                            let before = local.hold.replace(hold);
                            drop(tree);
                            drop(before);
                            return Ok(staged);
                        }
                    }
                    Err(UploadError::Gone) => settling.pause().await?,
                    Err(error) => return Err(error.into()),
                },
                Need::Stage(remote) => {
                    self.secure_copies(ino).await?;
                    let staged = match remote {
                        _ if empty => self.uploads.new_staged()?,
                        Some(remote) => {
                            let staged = self.uploads.staged_from(remote.base())?;
                            if let Err(error) = self.fill_at_once(ino, &remote, &staged).await {
                                self.uploads.discard(&staged);
                                return Err(error);
                            }
                            staged
                        }
                        None => return Err(Error::plain(libc::ESTALE)),
                    };
                    let local = Local {
                        staged: staged.clone(),
                        pending: None,
                        hold: None,
                        dirty: false,
                    };
                    self.tree().set_local(ino, Some(local));
                    return Ok(staged);
                }
            }
        }
    }

    /// Brings the whole content that an edit begins from, where the service gives nothing back: the copy that is
    /// cached may be gone by the time that the file is closed.
    async fn fill_at_once(&self, ino: u64, remote: &Remote, staged: &Arc<StagedFile>) -> Result<()> {
        let (_, account) = self.account_of(ino)?;
        if account.can(Capability::Read) {
            return Ok(());
        }
        let reader = self.downloads.open(account.source(remote));
        let mut at = 0;
        while at < remote.size {
            let bytes = reader.read(at, FILL).await?;
            if bytes.is_empty() {
                return Err(Error::plain(libc::EIO));
            }
            let (staged, offset) = (staged.clone(), at);
            at += bytes.len() as u64;
            let filled = tokio::task::spawn_blocking(move || staged.fill_if_there_is_room(offset, &bytes));
            if !filled.await.map_err(|_| Error::plain(libc::EIO))?? {
                return Err(Error::plain(libc::ENOSPC));
            }
        }
        Ok(())
    }

    async fn edit(
        &self,
        row: PendingId,
        empty: bool,
    ) -> std::result::Result<(Arc<StagedFile>, Hold), UploadError> {
        match empty {
            true => self.uploads.rewrite(row).await,
            false => self.uploads.edit(row).await,
        }
    }

    /// Cuts or extends a file. By its name, one that has the size already is left alone, with its time; through a
    /// handle it is a change all the same, as on a local disk.
    pub async fn set_size(self: &Arc<Self>, ino: u64, size: u64, has_handle: bool) -> Result<()> {
        self.refuse_change_of_list(ino)?;
        let (_, account) = self.account_to_change(ino)?;
        account.require(Capability::Write)?;
        self.check_replaceable(account, ino)?;
        if !has_handle && self.is_file(ino) && self.attributes(ino)?.size == size {
            return Ok(());
        }
        self.resize(ino, size).await
    }

    /// Cuts or extends a file. Without an open writer it is committed at once, since no `close()` follows.
    pub(super) async fn resize(self: &Arc<Self>, ino: u64, size: u64) -> Result<()> {
        match self.tree().file_mut(ino) {
            Some(file) => file.writers += 1,
            None => return Err(Error::plain(libc::EISDIR)),
        }
        let cut = self.cut(ino, size).await;
        let committed = match self.leave(ino) {
            true => self.end_writing(ino).await,
            false => Ok(()),
        };
        cut.and(committed)
    }

    async fn cut(self: &Arc<Self>, ino: u64, size: u64) -> Result<()> {
        loop {
            let staged = self.writable(ino, size == 0).await?;
            self.admit(ino, &staged, size)?;
            if let Written::Kept = self.written(ino, &staged, staged.set_len(size))? {
                return Ok(());
            }
            tokio::time::sleep(COMMITTING_LOOK).await;
        }
    }

    /// One writer less; whether that was the last.
    pub(super) fn leave(&self, ino: u64) -> bool {
        let mut tree = self.tree();
        tree.file_mut(ino).is_none_or(|file| {
            file.writers = file.writers.saturating_sub(1);
            file.writers == 0
        })
    }

    /// Sets the modification time: in the journal for content that waits, else on the service. Never uploads.
    pub async fn set_mtime(self: &Arc<Self>, ino: u64, change: TimeChange) -> Result<()> {
        self.refuse_change_of_list(ino)?;
        let mtime = change.time();
        let _guard = self.locks.one(ino).await;
        let mut settling = Settling::default();
        let (account, item) = loop {
            let (account, item, row, dirty) = self.time_keepers(ino)?;
            match row {
                None if dirty => break (account, None),
                None => break (account, item),
                Some(row) => match self.uploads.set_mtime(row, mtime).await {
                    Ok(()) => break (account, None),
                    // Uploaded this moment: the service keeps the time from now on.
                    Err(UploadError::Gone) => settling.pause().await?,
                    Err(error) => return Err(error.into()),
                },
            }
        };
        // Programs set a folder's time anew once they have filled it.
        if let (Some(index), Some(item)) = (account, item)
            && !self.keeps_time(ino, mtime)
        {
            let account = self.account(index)?;
            let is_top = item == ItemId::Folder(account.provider().root());
            if !account.can(Capability::ModificationTime) {
                account.facts.set_mtime(&item, mtime).await?;
            } else if !is_top {
                account.provider().set_mtime(&item, mtime).await?;
            }
        }
        self.show_mtime(ino, mtime);
        if let Some(folder) = self.tree().get_mut(ino).and_then(Node::folder_mut) {
            folder.kept_time = Some(mtime);
        }
        Ok(())
    }

    /// Whether a folder's time is kept already where it is to be kept.
    fn keeps_time(&self, ino: u64, mtime: SystemTime) -> bool {
        let tree = self.tree();
        let folder = tree.get(ino).and_then(Node::folder);
        folder.is_some_and(|folder| folder.kept_time == Some(mtime))
    }

    /// Who may keep a file's time: the service, the journal's row, or the commit that is still to come.
    pub(super) fn time_keepers(&self, ino: u64) -> Result<TimeKeepers> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let local = node.file().and_then(|file| file.local.as_ref());
        let dirty = local.is_some_and(|local| local.dirty);
        Ok((
            node.account,
            // What was removed is nobody's but who has it open.
            node.item().filter(|_| !node.removed),
            local.and_then(|local| local.pending),
            dirty,
        ))
    }

    fn show_mtime(&self, ino: u64, mtime: SystemTime) {
        let mut tree = self.tree();
        let parent = tree.get_mut(ino).and_then(|node| {
            (node.mtime, node.changed) = (mtime, None);
            if let Some(remote) = node.file_mut().and_then(|file| file.remote.as_mut()) {
                remote.dated = true;
            }
            node.parent
        });
        if let Some(folder) = parent
            .and_then(|parent| tree.get_mut(parent))
            .and_then(Node::folder_mut)
        {
            folder.version += 1;
        }
        tree.note_change_of(ino);
    }

    /// `close()`: the bytes are in the journal when it returns, and on the service where the account says so.
    pub async fn flush(self: &Arc<Self>, handle: u64) -> Result<()> {
        let handle = self.handles.file(handle)?;
        if !handle.write {
            return Ok(());
        }
        let pending = self.commit(handle.ino).await?;
        self.secure_copy(handle.ino, pending).await?;
        let (_, account) = self.account_of(handle.ino)?;
        match pending.filter(|_| account.setup.on_close_wait) {
            Some(pending) => self.wait_uploaded(handle.ino, pending).await,
            None => Ok(()),
        }
    }

    /// Whoever asks: a handle that only reads makes safe what another one wrote.
    pub async fn fsync(self: &Arc<Self>, handle: u64) -> Result<()> {
        let handle = self.handles.file(handle)?;
        let pending = self.commit(handle.ino).await?;
        self.secure_copy(handle.ino, pending).await?;
        let (_, account) = self.account_of(handle.ino)?;
        match pending.filter(|_| account.setup.fsync_remote) {
            Some(pending) => self.wait_uploaded(handle.ino, pending).await,
            None => Ok(()),
        }
    }

    /// Waits until a row is on the service. Fails, with the service's reason, when it has to be tried again
    /// later or needs a person; it stays in the journal then.
    async fn wait_uploaded(&self, ino: u64, pending: PendingId) -> Result<()> {
        self.drop_hold(ino);
        let mut uploaded = std::pin::pin!(self.uploads.wait(pending));
        loop {
            tokio::select! {
                result = &mut uploaded => return result.map(drop).map_err(Error::from),
                () = tokio::time::sleep(WAITING_LOOK) => {
                    let row = self.uploads.get(pending);
                    let paused = row.as_ref().filter(|row| self.uploads.is_paused(&row.account));
                    if let Some(row) = paused.filter(|row| row.status.stage() == Stage::Queued) {
                        let message = format!("uploads of {} are paused: the file waits here", row.account);
                        return Err(Error::told(libc::EAGAIN, message));
                    }
                    let status = row.map(|row| row.status);
                    if let Some(UploadStatus::Waiting { error, kind, .. }) = status {
                        return Err(Error::told(kind.map_or(libc::EIO, errno_of), error));
                    }
                }
            }
        }
    }

    /// Lets the row be sent although the file is still open.
    pub(super) fn drop_hold(&self, ino: u64) {
        let hold = self
            .tree()
            .file_mut(ino)
            .and_then(|file| file.local.as_mut()?.hold.take());
        drop(hold);
    }

    /// Journals what was written since the last commit. The row, if the file waits for an upload.
    pub(super) async fn commit(&self, ino: u64) -> Result<Option<PendingId>> {
        let _guard = self.locks.one(ino).await;
        self.commit_locked(ino).await
    }

    /// [`Vfs::commit`] for one who holds the file's lock.
    pub(super) async fn commit_locked(&self, ino: u64) -> Result<Option<PendingId>> {
        let work = match self.commit_work(ino)? {
            Ok(row) => return Ok(row),
            Err(work) => work,
        };
        let mtime = work.new.mtime;
        let result = match work.pending {
            Some(row) => {
                let again = self.uploads.recommit(row, &work.staged, mtime).await;
                again.map(|()| (row, None))
            }
            None => {
                let held = self.uploads.commit_held(&work.staged, work.new).await;
                held.map(|(row, hold)| (row, Some(hold)))
            }
        };
        let mut tree = self.tree();
        match result {
            Ok((row, hold)) => {
                tree.set_pending(ino, Some(row));
                if let Some(file) = tree.file_mut(ino)
                    && file.writers > 0
                    && let Some(local) = file.local.as_mut()
                    && hold.is_some()
                {
                    local.hold = hold;
                }
                Ok(Some(row))
            }
            Err(error) => {
                if let Some(local) = tree.file_mut(ino).and_then(|file| file.local.as_mut()) {
                    local.dirty = true;
                }
                Err(error.into())
            }
        }
    }

    /// What there is to commit, or the row where there is nothing.
    fn commit_work(&self, ino: u64) -> Result<std::result::Result<Option<PendingId>, CommitWork>> {
        let mut tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let Some(local) = node.file().and_then(|file| file.local.as_ref()) else {
            return Ok(Ok(None));
        };
        // A file that was removed while open has no name to be uploaded to.
        if !local.dirty || node.removed {
            return Ok(Ok(local.pending));
        }
        let parent = node
            .parent
            .ok_or_else(|| Error::told(libc::EIO, "the file's folder is gone"))?;
        let folder = tree
            .get(parent)
            .and_then(Node::folder)
            .and_then(|folder| folder.id.clone());
        let folder = folder.ok_or_else(|| Error::plain(libc::EIO))?;
        let index = node.account.ok_or_else(|| Error::plain(libc::EIO))?;
        let account = self.account(index)?;
        let work = CommitWork {
            staged: local.staged.clone(),
            pending: local.pending,
            new: NewPending {
                account: account.setup.name.clone(),
                folder,
                name: service_name(account, node)?,
                mtime: node.mtime,
                mode: node.mode,
                replaces: node
                    .file()
                    .and_then(|file| file.remote.as_ref())
                    .map(|remote| remote.id.clone()),
                local: Vfs::is_for_here(&tree, account, ino),
            },
        };
        if let Some(local) = tree.file_mut(ino).and_then(|file| file.local.as_mut()) {
            local.dirty = false;
        }
        Ok(Err(work))
    }
}

/// The name under which a file is to be stored. A name that is shown in another way than the service has
/// it, as that of a twin, stays as it is there.
fn service_name(account: &Account, node: &Node) -> Result<String> {
    if let Some(remote) = node.file().and_then(|file| file.remote.as_ref()) {
        let shown = symlinks::shown(&remote.name, node.is_link(), &account.rules);
        if node.name == shown || node.name == names::with_suffix(&shown, remote.id.as_str()) {
            return Ok(remote.name.clone());
        }
    }
    account.stored_name(&node.name, node.is_link())
}
