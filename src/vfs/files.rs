//! Opening and reading: from the local content where there is one, else from the service.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use crate::download::Reader;
use crate::provider::wrap::Urgency;
use crate::provider::{Capability, ErrorKind};
use crate::upload::{Base, StagedFile};

use super::Vfs;
use super::account::Account;
use super::changes::Outdated;
use super::error::{Error, Result};
use super::folders::DirectoryEntry;
use super::handles::{FileHandle, Opened};
use super::tree::{Kind, Node, Remote};

/// Where the bytes of a file are.
enum Content {
    Local { staged: Arc<StagedFile>, base: BaseNow },
    Remote(Remote),
}

/// What the bytes come from that a local content lacks.
enum BaseNow {
    /// The file that it is an edit of, as it still is on the service.
    Own(Remote),
    /// A file that it is a copy of.
    Copied(Base),
    /// Nothing that still is as it was.
    Gone,
}

impl Vfs {
    /// Opens a file. Costs no call of its own: a reader asks for a link with its first read, a writer stages with its
    /// first write; only `truncate` takes effect at once.
    pub async fn open(self: &Arc<Self>, ino: u64, write: bool, truncate: bool) -> Result<Opened> {
        if write {
            self.refuse_change_of_list(ino)?;
            let (_, account) = self.account_to_change(ino)?;
            account.require(Capability::Write)?;
            self.check_replaceable(account, ino)?;
        }
        self.hear_news_of(ino).await;
        self.keep_staged_open(ino)?;
        let (keep_cache, foreign) = {
            let mut tree = self.tree();
            let node = tree.get_mut(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
            let opened = match &mut node.kind {
                Kind::Folder(_) => return Err(Error::plain(libc::EISDIR)),
                Kind::LinkList(_) => (true, 0),
                Kind::File(file) => {
                    file.writers += u32::from(write);
                    let keep = std::mem::replace(&mut file.cached_is_true, true);
                    (keep && !truncate, file.foreign)
                }
            };
            node.handles += 1;
            opened
        };
        let handle = self.handles.add_file(ino, write, foreign);
        if truncate && let Err(error) = self.resize(ino, 0).await {
            self.release(handle).await;
            return Err(error);
        }
        Ok(Opened { handle, keep_cache })
    }

    /// What is opened can be read to its end, also when it is removed meanwhile.
    fn keep_staged_open(&self, ino: u64) -> Result<()> {
        let staged = {
            let tree = self.tree();
            let file = tree.get(ino).and_then(Node::file);
            file.and_then(|file| file.local.as_ref().map(|local| local.staged.clone()))
        };
        match staged.map_or(Ok(()), |staged| staged.keep_open()) {
            // What the name stood for is gone this moment: the kernel looks the name up again.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::plain(libc::ESTALE)),
            opened => Ok(opened?),
        }
    }

    /// Refuses to change a file whose content on the service could not be replaced.
    pub(super) fn check_replaceable(&self, account: &Account, ino: u64) -> Result<()> {
        let tree = self.tree();
        let is_stored = tree
            .get(ino)
            .and_then(Node::file)
            .is_some_and(|file| file.remote.is_some());
        drop(tree);
        match is_stored {
            true => account.require_replacing(),
            false => Ok(()),
        }
    }

    /// Reads where that needs no waiting: local content whose bytes are all here.
    pub fn read_known(&self, handle: u64, range: Range<u64>) -> Option<Result<Bytes>> {
        let handle = match self.handles.file(handle) {
            Ok(handle) => handle,
            Err(error) => return Some(Err(error)),
        };
        let staged = {
            let tree = self.tree();
            let node = tree.get(handle.ino)?;
            if let Some(list) = node.link_list() {
                let range = clip(range, list.content.len() as u64);
                return Some(Ok(list.content.slice(range.start as usize..range.end as usize)));
            }
            node.file()?.local.as_ref()?.staged.clone()
        };
        let range = clip(range, staged.len());
        if !staged.missing(range.clone()).is_empty() {
            return None;
        }
        Some(read_staged(&staged, range))
    }

    /// The bytes of `range`, fewer only at the end of the file.
    pub async fn read(self: &Arc<Self>, handle: u64, range: Range<u64>) -> Result<Bytes> {
        let handle = self.handles.file(handle)?;
        match self.content_of(&handle)? {
            Content::Local { staged, base } => {
                let range = clip(range, staged.len());
                let fetched = self.fetch_missing(&handle, &staged, base, range.clone()).await?;
                read_over(&staged, range, &fetched)
            }
            Content::Remote(remote) => {
                let range = clip(range, remote.size);
                if range.is_empty() {
                    return Ok(Bytes::new());
                }
                let reader = self.reader(&handle, &remote)?;
                let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                reader.read(range.start, length).await.map_err(|error| {
                    let path = self.tree().path(handle.ino);
                    if error.kind() == ErrorKind::Corrupt {
                        self.distrust(handle.ino);
                    }
                    // A file that is no longer what the listing said: look again, for the next who asks.
                    self.doubt(handle.ino);
                    let error = Error::from(error);
                    Error {
                        message: error.message.map(|text| format!("{path}: {text}").into()),
                        ..error
                    }
                })
            }
        }
    }

    fn content_of(&self, handle: &FileHandle) -> Result<Content> {
        let tree = self.tree();
        let node = tree.get(handle.ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let file = node.file().ok_or_else(|| Error::plain(libc::EISDIR))?;
        Ok(match (&file.local, &file.remote) {
            (Some(local), remote) => Content::Local {
                staged: local.staged.clone(),
                // What is missing may come from the content that it was begun from, and from no other.
                base: match (local.staged.base(), remote) {
                    (Some(base), _) if base.account.is_some() => BaseNow::Copied(base.clone()),
                    (Some(base), Some(remote)) if remote.same_content_as_base(base) => {
                        BaseNow::Own(remote.clone())
                    }
                    _ => BaseNow::Gone,
                },
            },
            (None, Some(_)) if file.foreign != handle.foreign => {
                let path = tree.path(handle.ino);
                let message = format!("{path} was changed on the service since it was opened: open it again");
                return Err(Error::told(libc::EIO, message));
            }
            (None, Some(remote)) => Content::Remote(remote.clone()),
            (None, None) => return Err(Error::told(libc::EIO, "the file was deleted while it was open")),
        })
    }

    /// Brings the bytes of `range` that a staged file still lacks from the file that it was begun from. Those that
    /// are not in it afterwards, with their offsets.
    async fn fetch_missing(
        &self,
        handle: &FileHandle,
        staged: &Arc<StagedFile>,
        base: BaseNow,
        range: Range<u64>,
    ) -> Result<Vec<(u64, Bytes)>> {
        let gone = || {
            Error::told(
                libc::EIO,
                "the file that is being edited was changed on the service",
            )
        };
        let mut beside = Vec::new();
        let missing = staged.missing(range);
        if missing.is_empty() {
            return Ok(beside);
        }
        let reader = match &base {
            BaseNow::Own(remote) => self.reader(handle, remote)?,
            BaseNow::Copied(copied) => self.reader_of_copied(handle, copied).await?,
            BaseNow::Gone => return Err(gone()),
        };
        for gap in missing {
            let mut at = gap.start;
            while at < gap.end {
                let length = usize::try_from((gap.end - at).min(1 << 20)).unwrap_or(1 << 20);
                let bytes = reader.read(at, length).await?;
                if bytes.is_empty() {
                    return Err(gone());
                }
                let staged = staged.clone();
                at += bytes.len() as u64;
                let offset = at - bytes.len() as u64;
                if !staged.fill_if_there_is_room(offset, &bytes)? {
                    beside.push((offset, bytes));
                }
            }
        }
        Ok(beside)
    }

    fn reader(&self, handle: &FileHandle, remote: &Remote) -> Result<Arc<Reader>> {
        let (_, account) = self.account_of(handle.ino)?;
        self.reader_from(handle, account, remote)
    }

    pub(super) fn reader_from(
        &self,
        handle: &FileHandle,
        account: &Account,
        remote: &Remote,
    ) -> Result<Arc<Reader>> {
        let mut slot = handle.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, reader)) = slot.as_ref()
            && of.same_content(remote)
        {
            return Ok(reader.clone());
        }
        let reader = self.downloads.open(account.source(remote));
        let first = slot.is_none();
        *slot = Some((remote.clone(), reader.clone()));
        drop(slot);
        if first && account.can(Capability::Read) {
            self.note_first_read(handle.ino);
        }
        Ok(reader)
    }

    /// Lets the kernel forget bytes of a file that proved wrong.
    fn distrust(&self, ino: u64) {
        if let Some(file) = self.tree().file_mut(ino) {
            file.cached_is_true = false;
        }
        self.tell(Outdated::Content { ino });
    }

    /// Marks the folder of a file as one that may have changed.
    fn doubt(self: &Arc<Self>, ino: u64) {
        let parent = self.tree().get(ino).and_then(|node| node.parent);
        if let Some(parent) = parent {
            drop(self.refresh_at(Urgency::Background, parent));
        }
    }

    /// As [`Vfs::open_directory`], where the inode is in memory.
    pub fn open_directory_known(&self, ino: u64) -> Option<Result<u64>> {
        self.tree().get(ino)?;
        Some(self.open_directory(ino))
    }

    pub fn open_directory(&self, ino: u64) -> Result<u64> {
        let mut tree = self.tree();
        let node = tree.get_mut(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        node.handles += 1;
        Ok(self.handles.add_directory(ino))
    }

    /// The stream of an open directory; `rewound` begins it anew.
    pub async fn stream(self: &Arc<Self>, handle: u64, rewound: bool) -> Result<Arc<Vec<DirectoryEntry>>> {
        let handle = self.handles.directory(handle)?;
        if !rewound && let Some(entries) = lock(&handle.entries).clone() {
            return Ok(entries);
        }
        let entries = Arc::new(self.read_directory(handle.ino).await?);
        *lock(&handle.entries) = Some(entries.clone());
        Ok(entries)
    }

    pub fn release_directory(&self, handle: u64) {
        let Ok(directory) = self.handles.directory(handle) else {
            return;
        };
        self.handles.remove_directory(handle);
        let mut tree = self.tree();
        if let Some(node) = tree.get_mut(directory.ino) {
            node.handles = node.handles.saturating_sub(1);
        }
        tree.drop_if_unused(directory.ino);
    }

    /// Whether an inode is a file, for callers that branch on it.
    pub(super) fn is_file(&self, ino: u64) -> bool {
        self.tree().get(ino).and_then(Node::file).is_some()
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clip(range: Range<u64>, size: u64) -> Range<u64> {
    let start = range.start.min(size);
    start..range.end.clamp(start, size)
}

/// Local content, with bytes that were fetched and not kept where it still lacks them.
fn read_over(staged: &StagedFile, range: Range<u64>, fetched: &[(u64, Bytes)]) -> Result<Bytes> {
    if fetched.is_empty() {
        return read_staged(staged, range);
    }
    // Asked first: what is written meanwhile may be read as it was before.
    let missing = staged.missing(range.clone());
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut content = staged.read_at(range.start, length)?;
    for gap in missing {
        for (offset, bytes) in fetched {
            let start = gap.start.max(*offset);
            let end = gap.end.min(offset + bytes.len() as u64);
            let end = end.min(range.start + content.len() as u64);
            if start < end {
                let to = (start - range.start) as usize..(end - range.start) as usize;
                let from = (start - offset) as usize..(end - offset) as usize;
                content[to].copy_from_slice(&bytes[from]);
            }
        }
    }
    Ok(content.into())
}

fn read_staged(staged: &StagedFile, range: Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    Ok(staged.read_at(range.start, length)?.into())
}
