//! Folders: listings fetched once and kept, lookups and directory streams answered from them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::provider::wrap::{Urgency, at};
use crate::provider::{Capability, FolderId, ListHint};

use super::account::Account;
use super::attributes::FileKind;
use super::error::{Error, Result};
use super::modes::kind_of;
use super::single_flight::Flight;
use super::symlinks::unread_link;
use super::tree::{self, Folder, Kind, ListingState, ROOT, Told, Tree};
use super::{Attributes, Vfs};

/// How often a listing is asked for again because the folder was changed from here meanwhile.
const LISTING_TRIES: usize = 4;

/// How long a new folder waits for what was removed under its name.
const CLEARING: Duration = Duration::from_secs(20);

/// How long entries that are known are shown as they are after a refresh failed.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// How long entries that are in doubt wait for the service before they are shown as they are.
const CONFIRMING: Duration = Duration::from_secs(10);

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
        tree.add_as(ROOT, Some(0), "", now, top(account));
        return;
    }
    let root = Folder {
        listing: ListingState::Known {
            at: Instant::now(),
            stale: false,
        },
        ..Folder::unlisted(None, String::new(), ListHint::default())
    };
    tree.add_as(ROOT, None, "", now, Kind::Folder(root));
    for (index, account) in accounts.iter().enumerate() {
        let name = &account.setup.name;
        let ino = match &account.setup.indexed {
            Some(indexed) => tree.add_as(indexed.top, Some(index), name, now, top(account)),
            None => tree.add(Some(index), name, now, top(account)),
        };
        tree.attach(ino, ROOT, name);
    }
}

/// What is to be done before a folder can answer.
enum Need {
    Nothing,
    /// The entries are not known.
    Wait,
    /// They are known from the index, which is not sure of them.
    Confirm,
    /// They are known, but may have changed.
    Refresh,
}

/// The longest name that programs reckon with, in bytes. A service may hold longer ones, which are shown.
const NAME_MAX: usize = 255;

/// Why there is no such entry.
fn absent(name: &str) -> Error {
    Error::plain(match name.len() > NAME_MAX {
        true => libc::ENAMETOOLONG,
        false => libc::ENOENT,
    })
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
        self.look_for_file(parent, name).await?;
        let mut tree = self.tree();
        let ino = tree.child(parent, name).ok_or_else(|| absent(name))?;
        let node = tree.get_mut(ino).ok_or_else(|| absent(name))?;
        node.lookups += 1;
        Ok(self.attributes_of(ino, node))
    }

    /// The answer of [`Vfs::lookup`] where it needs no waiting.
    pub fn lookup_known(self: &Arc<Self>, parent: u64, name: &str) -> Option<Result<Attributes>> {
        if self.is_link_list(parent, name) {
            return None;
        }
        let mut tree = self.tree();
        tree.get(parent)?;
        let refresh = match self.need_in(&mut tree, parent) {
            Err(error) => return Some(Err(error)),
            Ok(Need::Wait | Need::Confirm) => return None,
            Ok(Need::Refresh) => true,
            Ok(Need::Nothing) => false,
        };
        let found = match tree.child(parent, name) {
            None if unread_link(&tree, parent, name).is_some() => return None,
            None => Err(absent(name)),
            Some(ino) => {
                let node = tree.get_mut(ino)?;
                node.lookups += 1;
                Ok(self.attributes_of(ino, node))
            }
        };
        drop(tree);
        if refresh {
            drop(self.refresh_at(Urgency::Background, parent));
        }
        Some(found)
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
                let kind = kind_of(node);
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
        self.note_foreseen(ino);
        let mut need = self.need_of(ino)?;
        if let Need::Wait = need {
            self.ensure_loaded(ino).await?;
            need = self.need_of(ino)?;
        }
        match need {
            Need::Nothing => {}
            Need::Wait => {
                self.walk_on(ino);
                self.refresh(ino).landed().await?;
            }
            Need::Confirm => self.confirm(ino).await,
            Need::Refresh => drop(self.refresh_at(Urgency::Background, ino)),
        }
        Ok(())
    }

    /// Goes on ahead of a walker who has come to a folder that was listed ahead.
    fn note_foreseen(self: &Arc<Self>, ino: u64) {
        let was_foreseen = {
            let mut tree = self.tree();
            let folder = tree.get_mut(ino).and_then(tree::Node::folder_mut);
            folder.is_some_and(|folder| std::mem::take(&mut folder.foreseen))
        };
        if was_foreseen {
            self.walk_on(ino);
        }
    }

    /// Asks for entries that are in doubt. Where the service cannot be asked, what is known of them is better than
    /// nothing.
    async fn confirm(self: &Arc<Self>, ino: u64) {
        let confirmed = async {
            // A listing that is overtaken by a change from here confirms nothing.
            while self.is_doubted(ino) {
                self.refresh(ino).landed().await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(())
        };
        match tokio::time::timeout(CONFIRMING, confirmed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a folder is shown as it was known last"),
            Err(_) => tracing::debug!("a folder is shown as it was known last, while the service is asked"),
        }
    }

    /// Whether the entries of a folder changed since they were told, as far as is known.
    pub(super) fn is_out_of_date(&self, ino: u64) -> bool {
        matches!(self.need_of(ino), Ok(Need::Refresh | Need::Confirm))
    }

    fn is_doubted(&self, ino: u64) -> bool {
        let tree = self.tree();
        let folder = tree.get(ino).and_then(tree::Node::folder);
        folder.is_some_and(|folder| folder.doubted)
    }

    fn need_of(&self, ino: u64) -> Result<Need> {
        self.need_in(&mut self.tree(), ino)
    }

    fn need_in(&self, tree: &mut Tree, ino: u64) -> Result<Need> {
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        let Some(index) = node.account else {
            return Ok(Need::Nothing);
        };
        let ListingState::Known { at, stale } = folder.listing else {
            return Ok(Need::Wait);
        };
        let is_put_off = folder.retry_at.is_some_and(|at| Instant::now() < at);
        let doubted = folder.doubted;
        tree.note_look(ino);
        Ok(if is_put_off {
            Need::Nothing
        } else if doubted {
            Need::Confirm
        } else if stale || (!self.tells_of_changes(index) && at.elapsed() > self.listing_age(index)) {
            Need::Refresh
        } else {
            Need::Nothing
        })
    }

    /// Asks the service for a folder's entries, once for all who want them now.
    pub(super) fn refresh(self: &Arc<Self>, ino: u64) -> Flight {
        self.refresh_at(Urgency::Interactive, ino)
    }

    /// The same; who joins others waits as they do.
    pub(super) fn refresh_at(self: &Arc<Self>, urgency: Urgency, ino: u64) -> Flight {
        let this = self.clone();
        self.listings.fly(&self.runtime, ino, || async move {
            let fetched = at(urgency, this.fetch_listing(ino)).await;
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
        self.disbelieve(ino);
        self.refresh(ino)
    }

    /// As [`Vfs::refresh_anew`], while nobody waits.
    pub(super) fn refresh_behind(self: &Arc<Self>, ino: u64) -> Flight {
        self.disbelieve(ino);
        self.refresh_at(Urgency::Background, ino)
    }

    fn disbelieve(&self, ino: u64) {
        if let Some(folder) = self.tree().get_mut(ino).and_then(tree::Node::folder_mut) {
            folder.version += 1;
            folder.hint = ListHint::default();
        }
    }

    async fn fetch_listing(self: &Arc<Self>, ino: u64) -> Result<()> {
        for _ in 0..LISTING_TRIES {
            let asked = self.ask(ino)?;
            let account = self.account(asked.account)?;
            let listing = account.provider().list(&asked.folder, asked.hint).await?;
            self.uploads
                .note_listed(&account.setup.name, &asked.folder, &listing.entries);
            if self.show(asked, Told::now(listing)).await? {
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

    /// Makes a folder on the service and shows it, with these permission bits.
    pub async fn make_folder(self: &Arc<Self>, parent: u64, name: &str, mode: u32) -> Result<Attributes> {
        let (index, account) = self.account_to_change(parent)?;
        let remote_name = account.remote_name(name)?;
        self.ensure_listed(parent).await?;
        let parent_id = self.folder_id(parent)?;
        self.refuse_link_list(parent, name)?;
        if self.tree().child(parent, name).is_some() {
            return Err(Error::plain(libc::EEXIST));
        }
        account.require(Capability::CreateFolder)?;
        let _changing = self.begin_change(index, [parent]).await?;
        // The service returns a folder that is there, and one that is about to be deleted must not be taken.
        self.uploads
            .wait_until_deleted(&account.setup.name, &parent_id, &remote_name, CLEARING)
            .await?;
        let made = account.provider().create_folder(&parent_id, &remote_name).await?;
        let item = crate::provider::ItemId::Folder(made.id.clone());
        let mode = self.mode_to_keep(FileKind::Folder, mode);
        if mode.is_some() {
            account.facts.set_mode(&item, mode).await?;
        }
        let mut tree = self.tree();
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
        tree.note_names_changed(parent);
        let node = tree.get_mut(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        node.mode = mode;
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
