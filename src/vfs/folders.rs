//! Folders: listings fetched once and kept, lookups and directory streams answered from them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::provider::{Capability, Entry, FileEntry, FileId, FolderId, ItemId, ListHint, Listing, Provider};
use crate::upload::{PendingFile, Trace, UploadStatus};

use super::account::Account;
use super::attributes::FileKind;
use super::error::{Error, Result};
use super::single_flight::Flight;
use super::tree::{
    self, AccountIndex, Folder, Kind, ListingState, MergeRules, PendingHere, ROOT, Tree, Waiting,
};
use super::{Attributes, Vfs};

/// How often a listing is asked for again because the folder was changed from here meanwhile.
const LISTING_TRIES: usize = 4;

/// How long a new folder waits for what was removed under its name.
const CLEARING: Duration = Duration::from_secs(20);

/// How long entries that are known are shown as they are after a refresh failed.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// One name of a directory stream.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    pub ino: u64,
    pub name: String,
    pub kind: FileKind,
}

impl DirectoryEntry {
    /// Whether it is `.` or `..`, to which the kernel holds no reference.
    pub fn is_dot(&self) -> bool {
        self.name == "." || self.name == ".."
    }
}

/// Sets up the root: the accounts' directories, or the only account itself.
pub(super) fn plant(tree: &mut Tree, accounts: &[Arc<Account>], single: bool, now: SystemTime) {
    let top = |account: &Account| {
        let id = account.provider().root();
        Kind::Folder(Folder::unlisted(Some(id), String::new(), ListHint::default()))
    };
    if let (true, [account]) = (single, accounts) {
        tree.add(Some(0), "", now, top(account));
        return;
    }
    let root = Folder {
        listing: ListingState::Known {
            at: Instant::now(),
            stale: false,
        },
        ..Folder::unlisted(None, String::new(), ListHint::default())
    };
    tree.add(None, "", now, Kind::Folder(root));
    for (index, account) in accounts.iter().enumerate() {
        let ino = tree.add(Some(index), &account.setup.name, now, top(account));
        tree.attach(ino, ROOT, &account.setup.name);
    }
}

/// What is to be done before a folder can answer.
enum Need {
    Nothing,
    /// The entries are not known.
    Wait,
    /// They are known, but may have changed.
    Refresh,
}

impl Vfs {
    /// The child of that name, with one more reference held by the kernel.
    pub async fn lookup(self: &Arc<Self>, parent: u64, name: &str) -> Result<Attributes> {
        self.ensure_listed(parent).await?;
        if self.is_link_list(parent, name) {
            let ino = self.link_list(parent).await?;
            let found = ino.and_then(|ino| self.remember(ino));
            return found.ok_or_else(|| Error::plain(libc::ENOENT));
        }
        match self.lookup_known(parent, name) {
            Some(result) => result,
            None => Err(Error::plain(libc::ENOENT)),
        }
    }

    /// The answer of [`Vfs::lookup`] where it needs no waiting.
    pub fn lookup_known(self: &Arc<Self>, parent: u64, name: &str) -> Option<Result<Attributes>> {
        match self.need_of(parent) {
            Err(error) => return Some(Err(error)),
            Ok(Need::Wait) => return None,
            Ok(Need::Refresh) => drop(self.refresh(parent)),
            Ok(Need::Nothing) => {}
        }
        if self.is_link_list(parent, name) {
            return None;
        }
        let mut tree = self.tree();
        let Some(ino) = tree.child(parent, name) else {
            return Some(Err(Error::plain(libc::ENOENT)));
        };
        let node = tree.get_mut(ino)?;
        node.lookups += 1;
        Some(Ok(self.attributes_of(ino, node)))
    }

    /// The kernel gave back `count` references.
    pub fn forget(&self, ino: u64, count: u64) {
        let mut tree = self.tree();
        if let Some(node) = tree.get_mut(ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        tree.drop_if_unused(ino);
        drop(tree);
        self.sweep();
    }

    /// One more reference held by the kernel, for an entry of a directory stream. `None` when it was removed.
    pub fn remember(&self, ino: u64) -> Option<Attributes> {
        let mut tree = self.tree();
        let node = tree.get_mut(ino).filter(|node| node.parent.is_some())?;
        node.lookups += 1;
        Some(self.attributes_of(ino, node))
    }

    /// All entries of a folder as they are now, with `.` and `..` first.
    pub async fn read_directory(self: &Arc<Self>, ino: u64) -> Result<Vec<DirectoryEntry>> {
        self.ensure_listed(ino).await?;
        let link_list = self.link_list(ino).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a folder is shown without the list of its links");
            None
        });
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        let mut entries = Vec::with_capacity(folder.children.len() + 2);
        entries.push(DirectoryEntry {
            ino,
            name: ".".into(),
            kind: FileKind::Folder,
        });
        entries.push(DirectoryEntry {
            ino: node.parent.unwrap_or(ROOT),
            name: "..".into(),
            kind: FileKind::Folder,
        });
        // Early in the stream, before a newer one takes its place.
        for child in link_list.iter().chain(folder.children.values()) {
            if let Some(node) = tree.get(*child) {
                let kind = match node.kind {
                    Kind::Folder(_) => FileKind::Folder,
                    Kind::File(_) | Kind::LinkList(_) => FileKind::File,
                };
                entries.push(DirectoryEntry {
                    ino: *child,
                    name: node.name.clone(),
                    kind,
                });
            }
        }
        Ok(entries)
    }

    /// Waits until the entries of a folder are known. Entries that may have changed are refreshed behind.
    pub(super) async fn ensure_listed(self: &Arc<Self>, ino: u64) -> Result<()> {
        match self.need_of(ino)? {
            Need::Nothing => Ok(()),
            Need::Wait => self.refresh(ino).landed().await,
            Need::Refresh => {
                drop(self.refresh(ino));
                Ok(())
            }
        }
    }

    fn need_of(&self, ino: u64) -> Result<Need> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        Ok(match (folder.listing, node.account) {
            (_, None) => Need::Nothing,
            (ListingState::Known { .. }, _) if folder.retry_at.is_some_and(|at| Instant::now() < at) => {
                Need::Nothing
            }
            (ListingState::Unknown, _) => Need::Wait,
            (ListingState::Known { stale: true, .. }, _) => Need::Refresh,
            (ListingState::Known { at, .. }, Some(index)) => {
                let account = self.account(index)?;
                let told_of_changes = account.can(Capability::ChangeFeed);
                let age = account.setup.listing_age;
                if !told_of_changes && at.elapsed() > age {
                    Need::Refresh
                } else {
                    Need::Nothing
                }
            }
        })
    }

    /// Asks the service for a folder's entries, once for all who want them now.
    pub(super) fn refresh(self: &Arc<Self>, ino: u64) -> Flight {
        let this = self.clone();
        self.listings.fly(&self.runtime, ino, || async move {
            let fetched = this.fetch_listing(ino).await;
            if let Some(folder) = this.tree().get_mut(ino).and_then(tree::Node::folder_mut) {
                folder.retry_at = fetched.is_err().then(|| Instant::now() + REFRESH_PAUSE);
                if fetched.is_err()
                    && let ListingState::Known { stale, .. } = &mut folder.listing
                {
                    *stale = true;
                }
            }
            fetched
        })
    }

    /// [`Vfs::refresh`] by a listing that is asked for from now on: one that is under way is not believed, and
    /// neither is what the parent's listing once told.
    pub(super) fn refresh_anew(self: &Arc<Self>, ino: u64) -> Flight {
        if let Some(folder) = self.tree().get_mut(ino).and_then(tree::Node::folder_mut) {
            folder.version += 1;
            folder.hint = ListHint::default();
        }
        self.refresh(ino)
    }

    async fn fetch_listing(self: &Arc<Self>, ino: u64) -> Result<()> {
        for _ in 0..LISTING_TRIES {
            let (index, id, mut hint, version) = self.listing_request(ino)?;
            let account = self.account(index)?;
            let waiting = self.uploads.pending_in(&account.setup.name, &id);
            // What the parent's listing told may be older than an upload, of which the journal tells no more.
            if hint.files == Some(0) && self.uploads.stored_in(&account.setup.name, &id) {
                hint.files = None;
            }
            let going = self.uploads.watch_deletions(&account.setup.name);
            let mut names = self.uploads.names_to_come(&account.setup.name);
            // What goes while the listing is on its way may be in it still.
            let mut traces = self.uploads.traces(&account.setup.name, &id);
            traces.retain(|trace| trace.goes);
            let ended = self.uploads.ended();
            let mut listing = account.provider().list(&id, hint).await?;
            account.facts.complete(&mut listing).await;
            self.uploads
                .note_listed(&account.setup.name, &id, &listing.entries);
            let undated = listing.lacks_times();
            let rows = self.pending_in(account, &id);
            let mut remains = self.own_remains(account, &id, &listing, &waiting);
            remains.extend(replaced_since(&waiting, &rows));
            let elsewhere = self
                .uploads
                .placed_elsewhere_since(&account.setup.name, &id, ended);
            remains.extend(elsewhere);
            names.extend(self.uploads.names_to_come(&account.setup.name));
            self.catch_up(&mut listing, waiting);
            // Not before: what ended until then is a file of the listing.
            traces.extend(self.uploads.traces(&account.setup.name, &id));
            let mut others = older_than(account.provider().as_ref(), &listing, &traces);
            others.extend(names.keys().filter_map(|item| match item {
                ItemId::File(file) => Some(file.clone()),
                ItemId::Folder(_) => None,
            }));
            let laid_over = Waiting {
                rows,
                remains,
                traces,
                others,
            };
            let items: Vec<_> = listing.entries.iter().map(Entry::item).collect();
            let mut gone = going.are_gone(items.iter()).into_iter();
            listing.entries.retain(|_| !gone.next().unwrap_or(false));
            listing.give_names(&names);
            let rules = MergeRules {
                names: &account.rules,
                newest_first: account.can(Capability::ModificationTime),
            };
            let merged = self.tree().merge(ino, version, listing, rules, laid_over);
            self.sweep();
            if let Some(merged) = merged {
                self.tell_kernel(merged);
                if undated {
                    account.dates.want(ino);
                }
                return Ok(());
            }
        }
        // Changed from here all the time: what is known stands, and the next look asks again.
        let mut tree = self.tree();
        match tree.get_mut(ino).and_then(tree::Node::folder_mut) {
            Some(Folder {
                listing: ListingState::Known { stale, .. },
                ..
            }) => {
                *stale = true;
                Ok(())
            }
            _ => Err(Error::told(
                libc::EAGAIN,
                "the folder changes faster than it can be listed",
            )),
        }
    }

    /// Shows what became of uploads that ended while a listing was on its way: it may be older, and the journal
    /// tells of them no more.
    fn catch_up(&self, listing: &mut Listing, waiting: Vec<PendingFile>) {
        for row in waiting {
            let Some(entry) = self.uploads.finished(row.id) else {
                continue;
            };
            let outdated = |file: &FileEntry| file.id == entry.id || Some(&file.id) == row.replaces.as_ref();
            listing
                .entries
                .retain(|other| !matches!(other, Entry::File(file) if outdated(file)));
            listing.entries.push(Entry::File(FileEntry {
                mtime: Some(row.mtime),
                ..entry
            }));
        }
    }

    fn listing_request(&self, ino: u64) -> Result<(AccountIndex, FolderId, ListHint, u64)> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        let (Some(index), Some(id)) = (node.account, folder.id.clone()) else {
            return Err(Error::plain(libc::EINVAL));
        };
        // The parent's listing told how much is in a folder that was never listed; later it is out of date.
        let hint = match folder.listing {
            ListingState::Unknown => folder.hint,
            ListingState::Known { .. } => ListHint::default(),
        };
        Ok((index, id, hint, folder.version))
    }

    /// What of a listing, and of what ended while it was on its way, is not shown beside the pending files.
    fn own_remains(
        &self,
        account: &Account,
        folder: &FolderId,
        listing: &Listing,
        waiting: &[PendingFile],
    ) -> HashSet<FileId> {
        let listed = listing.entries.iter().filter_map(|entry| match entry {
            Entry::File(file) => Some(&file.id),
            Entry::Folder(_) => None,
        });
        let ended = waiting.iter().filter_map(|row| self.uploads.finished(row.id));
        let ended: Vec<_> = ended.map(|entry| entry.id).collect();
        let known = waiting.iter().filter_map(|row| row.uploaded.as_ref());
        let files = listed.chain(&ended).chain(known);
        self.uploads.own_remains(&account.setup.name, folder, files)
    }

    /// What the journal holds for a folder of the service.
    fn pending_in(&self, account: &Account, folder: &FolderId) -> Vec<PendingHere> {
        let rows = self.uploads.pending_in(&account.setup.name, folder);
        let here = rows.into_iter().filter_map(|row| {
            let staged = self.uploads.staged(row.id)?;
            Some(PendingHere {
                id: row.id,
                name: row.name,
                mtime: row.mtime,
                replaces: row.replaces,
                staged,
                in_flight: match row.status {
                    UploadStatus::Uploading { .. } | UploadStatus::Verifying => true,
                    // Its reason may be the very file that looks like it.
                    UploadStatus::Parked { .. } | UploadStatus::Kept | UploadStatus::Local => false,
                    _ => row.announced,
                },
            })
        });
        here.collect()
    }

    /// Makes a folder on the service and shows it.
    pub async fn make_folder(self: &Arc<Self>, parent: u64, name: &str) -> Result<Attributes> {
        let (index, account) = self.account_to_change(parent)?;
        let remote_name = account.remote_name(name)?;
        self.ensure_listed(parent).await?;
        let parent_id = self.folder_id(parent)?;
        self.refuse_link_list(parent, name)?;
        if self.tree().child(parent, name).is_some() {
            return Err(Error::plain(libc::EEXIST));
        }
        account.require(Capability::CreateFolder)?;
        // The service returns a folder that is there, and one that is about to be deleted must not be taken.
        self.uploads
            .wait_until_deleted(&account.setup.name, &parent_id, &remote_name, CLEARING)
            .await?;
        let made = account.provider().create_folder(&parent_id, &remote_name).await?;
        let mut tree = self.tree();
        let item = crate::provider::ItemId::Folder(made.id.clone());
        let ino = match tree.by_item(index, &item) {
            Some(ino) => ino,
            None => {
                let empty = made.hint
                    == ListHint {
                        files: Some(0),
                        folders: Some(0),
                    };
                let listing = match empty {
                    true => ListingState::Known {
                        at: Instant::now(),
                        stale: false,
                    },
                    false => ListingState::Unknown,
                };
                let folder = Folder {
                    listing,
                    ..Folder::unlisted(Some(made.id), made.name, made.hint)
                };
                let mtime = made.mtime.unwrap_or_else(SystemTime::now);
                let ino = tree.add(Some(index), name, mtime, Kind::Folder(folder));
                tree.attach(ino, parent, name);
                ino
            }
        };
        let node = tree.get_mut(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        node.lookups += 1;
        Ok(self.attributes_of(ino, node))
    }

    pub(super) fn folder_id(&self, ino: u64) -> Result<FolderId> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        folder.id.clone().ok_or_else(|| Error::plain(libc::EPERM))
    }
}

/// What of a listing was there before what uploads may have left.
fn older_than(provider: &dyn Provider, listing: &Listing, traces: &[Trace]) -> HashSet<FileId> {
    let is_older = |file: &FileEntry| {
        let like = traces.iter().filter(|trace| trace.size == file.size);
        let mut afters = like.map(|trace| trace.after.as_ref()).peekable();
        afters.peek().is_some()
            && afters.all(|after| after.is_some_and(|after| !provider.came_after(&file.id, after)))
    };
    let files = listing.entries.iter().filter_map(|entry| match entry {
        Entry::File(file) => Some(file),
        Entry::Folder(_) => None,
    });
    let older = files.filter(|file| is_older(file));
    older.map(|file| file.id.clone()).collect()
}

/// The files that pending ones were to replace when a listing was asked for, and have replaced since.
fn replaced_since(before: &[PendingFile], now: &[PendingHere]) -> Vec<FileId> {
    let now: HashMap<_, _> = now.iter().map(|now| (now.id, now.replaces.as_ref())).collect();
    let of_row = |old: &PendingFile| {
        let replaces = now.get(&old.id).copied();
        let replaced = old.replaces.iter().chain(&old.superseded).cloned();
        let replaced = replaced.filter(|file| replaces.is_some_and(|replaces| replaces != Some(file)));
        replaced.collect::<Vec<_>>()
    };
    before.iter().flat_map(of_row).collect()
}
