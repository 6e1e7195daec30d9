//! Following the changes that a service tells of.
//!
//! One cheap question at each interval. What changed is noted in the index, with how far the feed was followed, before
//! anything is made of it: a crash loses no change. Files that changed in folders which are in memory are asked for
//! together, by their ids, and put in their places; folders that changed otherwise are listed anew. Both tell the
//! kernel what it must not believe any more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use crate::provider::wrap::{Urgency, at, urgency};
use crate::provider::{Capability, Changes, Entry, FileEntry, FileId, FolderId, ItemId, ListHint, Listing};

use crate::upload::News;

use super::Vfs;
use super::account::Account;
use super::error::Result;
use super::listing::Asked;
use super::single_flight::Flight;
use super::tree::{AccountIndex, ListingState, Node, Told};

/// Files that are asked for by their ids at most; if more changed, their folders are listed.
const FILES_AT_ONCE: usize = 2000;
/// How often folders are asked about that change from here meanwhile, before they are listed.
const PATCHES: usize = 4;
/// Folders brought back from the index at most to be brought up to date at once; others when somebody looks.
const FOLDERS_RECALLED: usize = 64;
/// How long somebody who opens a file waits for news of it.
const NEWS: Duration = Duration::from_secs(3);

impl Vfs {
    /// Asks a service for changes at each interval; one call while nothing changes.
    pub(super) async fn follow_account(self: Arc<Self>, index: AccountIndex) {
        let Some(account) = self.accounts.get(index).cloned() else {
            return;
        };
        if !account.can(Capability::ChangeFeed) {
            return;
        }
        let mut ticks = tokio::time::interval(account.setup.poll_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.poll(index, Urgency::Background).landed().await {
                tracing::debug!(account = account.setup.name, %error, "changes are not known for now");
            }
        }
    }

    /// Asks for changes, once for all who want to know now.
    fn poll(self: &Arc<Self>, index: AccountIndex, urgency: Urgency) -> Flight {
        let this = Arc::clone(self);
        self.polls.fly(&self.runtime, index, move || async move {
            let account = this.account(index)?.clone();
            let since = account.cursor();
            let told = at(urgency, account.provider().changes(since.as_ref())).await;
            let followed = match told {
                Ok(changes) => this.follow(index, &account, since.is_none(), changes).await,
                Err(error) => Err(error.into()),
            };
            account.note_heard();
            followed
        })
    }

    /// Lets who opens a file wait until it is known as the service has it now, where that tells of changes: until it was
    /// asked once in this mount, and while a change of the folder is on its way here. Where it cannot be asked, the file
    /// is as it was known last.
    pub(super) async fn hear_news_of(self: &Arc<Self>, file: u64) {
        let (index, parent) = {
            let tree = self.tree();
            let Some(node) = tree.get(file) else { return };
            let is_here = node.file().is_none_or(|file| file.local.is_some());
            match (node.account, node.parent) {
                (Some(index), Some(parent)) if !is_here => (index, parent),
                _ => return,
            }
        };
        let account = self.accounts.get(index);
        let Some(account) = account.filter(|_| self.tells_of_changes(index)) else {
            return;
        };
        let news = async {
            if !account.has_heard() {
                self.poll(index, Urgency::Interactive).landed().await?;
            }
            match self.is_out_of_date(parent) {
                true => self.refresh(parent).landed().await,
                false => Ok(()),
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(NEWS, news).await {
            tracing::debug!(%error, "a file is opened as it was known last");
        }
    }

    /// Looks at once for what changed on a service, since somebody knows that something did: who looks after the end of
    /// this sees it. False where the account is not in this mount.
    pub async fn look_for_news(self: &Arc<Self>, account: &str) -> Result<bool> {
        let Some(index) = self.accounts.iter().position(|known| known.setup.name == account) else {
            return Ok(false);
        };
        if self.account(index)?.can(Capability::ChangeFeed) {
            // A question that is under way may have been answered before.
            if self.polls.is_under_way(&index) {
                drop(self.poll(index, Urgency::Interactive).landed().await);
            }
            self.poll(index, Urgency::Interactive).landed().await?;
            return Ok(true);
        }
        let known = self.tree().doubt_all(index);
        for listing in self.doubt_folders(known) {
            // What is not told now is asked for when somebody looks.
            drop(listing.landed().await);
        }
        Ok(true)
    }

    async fn follow(
        self: &Arc<Self>,
        index: AccountIndex,
        account: &Account,
        is_first: bool,
        changes: Changes,
    ) -> Result<()> {
        if Some(&changes.cursor) == account.cursor().as_ref() {
            self.reconcile(index, account, false).await;
            return Ok(());
        }
        // Listings from before the first cursor may have missed a change in between.
        if is_first || changes.everything {
            let doubted = self.tree().doubt_all(index);
            self.note_in_index(index, account, &changes, true).await?;
            account.set_cursor(changes.cursor);
            let mut doubted: HashSet<u64> = doubted.into_iter().collect();
            // Also what was read from the index meanwhile.
            doubted.extend(self.tree().doubt_all(index));
            drop(self.doubt_folders(doubted.into_iter().collect()));
            return Ok(());
        }
        let places = self.places_of(index, &changes);
        {
            // In memory first: what is written to the index meanwhile says that it is out of date.
            let mut tree = self.tree();
            for ino in places.listed.iter().chain(&places.patched) {
                tree.doubt(*ino);
            }
        }
        self.note_in_index(index, account, &changes, false).await?;
        account.set_cursor(changes.cursor.clone());
        let mut listed: HashSet<u64> = places.listed.iter().copied().collect();
        let known_before = |ino: &u64| listed.contains(ino) || places.patched.contains(ino);
        // What was read from the index meanwhile may be from before it was told.
        let mut read_meanwhile = self.places_of(index, &changes).all();
        read_meanwhile.retain(|ino| !known_before(ino));
        listed.extend(&read_meanwhile);
        let mut listings = self.doubt_folders([places.listed, read_meanwhile].concat());
        let patched = places.patched.into_iter().filter(|ino| !listed.contains(ino));
        listings.extend(self.patch(index, account, patched.collect(), &changes).await);
        // Whoever asked what changed is to find it in its place. What is not told now is asked for when somebody looks.
        for listing in listings {
            drop(listing.landed().await);
        }
        self.recall_changed(index, &changes).await;
        self.reconcile(index, account, changes.untold).await;
        Ok(())
    }

    async fn note_in_index(
        &self,
        index: AccountIndex,
        account: &Account,
        changes: &Changes,
        everything: bool,
    ) -> Result<()> {
        let Some(indexed) = account.indexed else {
            return Ok(());
        };
        let cursor = changes.cursor.as_str().to_owned();
        if everything {
            return Ok(self.database.doubt_index(indexed, cursor).await?);
        }
        let mut folders: HashSet<String> = in_folders(changes).iter().map(FolderId::to_string).collect();
        let mut elsewhere = HashSet::new();
        {
            let tree = self.tree();
            for file in &changes.files {
                let known = tree.by_item(index, &ItemId::File(file.id.clone()));
                let parent = known.and_then(|ino| tree.get(tree.get(ino)?.parent?)?.folder()?.id.as_ref());
                match parent {
                    Some(parent) => drop(folders.insert(parent.to_string())),
                    None => drop(elsewhere.insert(file.id.to_string())),
                }
            }
        }
        if !elsewhere.is_empty() {
            folders.extend(self.database.folders_of_files(indexed, elsewhere).await?);
        }
        let moved = changes
            .folders
            .iter()
            .map(|folder| folder.id.to_string())
            .collect();
        let folders = folders.into_iter().collect();
        Ok(self
            .database
            .note_changes(indexed, folders, moved, cursor)
            .await?)
    }

    /// The folders in memory that changes are about, before and after.
    fn places_of(&self, index: AccountIndex, changes: &Changes) -> Places {
        let mut tree = self.tree();
        let (mut listed, mut patched) = (HashSet::new(), HashSet::new());
        for folder in &changes.folders {
            let item = ItemId::Folder(folder.id.clone());
            let ino = tree.by_item(index, &item);
            let before = ino.and_then(|ino| tree.get(ino)?.parent);
            let after = folder.folder.clone().map(ItemId::Folder);
            let after = after.and_then(|parent| tree.by_item(index, &parent));
            listed.extend([ino, before, after].into_iter().flatten());
        }
        for file in &changes.files {
            let before = tree.by_item(index, &ItemId::File(file.id.clone()));
            let before = before.and_then(|ino| tree.get(ino)?.parent);
            let after = file.folder.clone().map(ItemId::Folder);
            let after = after.and_then(|parent| tree.by_item(index, &parent));
            patched.extend([before, after].into_iter().flatten());
        }
        for ino in listed.iter().chain(&patched) {
            if let Some(folder) = tree.get_mut(*ino).and_then(Node::folder_mut) {
                folder.hint = ListHint::default();
            }
        }
        // Not the mount's own root, which no service lists.
        let known = |ino: &u64| {
            tree.get(*ino).is_some_and(|node| {
                node.account == Some(index)
                    && node
                        .folder()
                        .is_some_and(|folder| folder.listing != ListingState::Unknown)
            })
        };
        let mut listed: Vec<u64> = listed.into_iter().filter(known).collect();
        let (mut patched, others): (Vec<u64>, Vec<u64>) = patched
            .into_iter()
            .filter(known)
            .partition(|ino| tree.is_sure(*ino) && changes.files.len() <= FILES_AT_ONCE);
        listed.extend(others);
        listed.sort_unstable();
        listed.dedup();
        patched.sort_unstable();
        Places { listed, patched }
    }

    /// Puts files that changed in their places, by what the service tells of them now.
    async fn patch(
        self: &Arc<Self>,
        index: AccountIndex,
        account: &Account,
        mut folders: Vec<u64>,
        changes: &Changes,
    ) -> Vec<Flight> {
        let mut listed = Vec::new();
        // Folders that are changed from here meanwhile are asked for again.
        for _ in 0..PATCHES {
            let (files, asked, mut unclear) = self.ask_for_files(index, &folders, changes);
            listed.append(&mut unclear);
            if asked.is_empty() {
                folders.clear();
                break;
            }
            let told = at(urgency(), account.provider().file_info(&files)).await;
            match told {
                Ok(told) => {
                    self.part_moved(index, &told).await;
                    folders = self.put_in_place(&files, &told, asked).await;
                }
                Err(error) => {
                    tracing::debug!(account = account.setup.name, %error, "changed files are not told of");
                    break;
                }
            }
        }
        listed.append(&mut folders);
        self.doubt_folders(listed)
    }

    /// Shows folders with what was told of their files; those that could not be shown so.
    async fn put_in_place(
        self: &Arc<Self>,
        files: &[FileId],
        told: &[FileEntry],
        asked: Vec<(Asked, Listing)>,
    ) -> Vec<u64> {
        let changed: HashSet<&FileId> = files.iter().collect();
        let mut in_folder: HashMap<&FolderId, Vec<&FileEntry>> = HashMap::new();
        for file in told {
            if let Some(folder) = &file.parent {
                in_folder.entry(folder).or_default().push(file);
            }
        }
        let mut left = Vec::new();
        for (asked, mut listing) in asked {
            let ino = asked.ino;
            listing
                .entries
                .retain(|entry| !matches!(entry, Entry::File(file) if changed.contains(&file.id)));
            let here = in_folder.get(&asked.folder).into_iter().flatten();
            listing.entries.extend(here.map(|file| {
                Entry::File(FileEntry {
                    parent: None,
                    ..(*file).clone()
                })
            }));
            let shown = self.show(asked, Told::now(listing)).await;
            if !shown.unwrap_or(false) {
                left.push(ino);
            }
        }
        left
    }

    /// Parts edits that wait from files that were moved elsewhere: they stay where they are, and replace nothing.
    async fn part_moved(&self, index: AccountIndex, told: &[FileEntry]) {
        let parted: Vec<_> = {
            let mut tree = self.tree();
            let part = |file: &FileEntry| {
                let ino = tree.by_item(index, &ItemId::File(file.id.clone()))?;
                let node = tree.get(ino).filter(|node| node.pin.is_none())?;
                let shown_in = tree
                    .get(node.parent?)?
                    .folder()
                    .filter(|folder| !folder.doubted)?;
                let shown_in = shown_in.id.as_ref();
                if file.parent.is_none() || shown_in == file.parent.as_ref() {
                    return None;
                }
                let row = node.file()?.local.as_ref()?.pending;
                let is_announced = |row| self.uploads.get(row).is_none_or(|row| row.was_announced);
                if row.is_some_and(is_announced) {
                    return None;
                }
                tree.set_remote(ino, None);
                Some((row?, file.id.clone()))
            };
            told.iter().filter_map(part).collect()
        };
        for (row, file) in parted {
            if let Err(error) = self.uploads.part(row, file).await {
                tracing::warn!(%error, "an edit takes the place of a file that was moved elsewhere");
            }
        }
    }

    /// The changed files that these folders held or hold, the folders as they are known, and those that are not known
    /// well enough.
    fn ask_for_files(
        self: &Arc<Self>,
        index: AccountIndex,
        folders: &[u64],
        changes: &Changes,
    ) -> (Vec<FileId>, Vec<(Asked, Listing)>, Vec<u64>) {
        let (mut asked, mut unclear) = (Vec::new(), Vec::new());
        for ino in folders {
            let Ok(ask) = self.ask(*ino) else { continue };
            let listing = self.tree().as_listed(*ino, |row| self.uploads.get(row));
            match listing {
                Some(listing) => asked.push((ask, listing)),
                None => unclear.push(*ino),
            }
        }
        let places: HashSet<u64> = asked.iter().map(|(ask, _)| ask.ino).collect();
        let tree = self.tree();
        let concerns = |file: &crate::provider::Changed<FileId>| {
            let before = tree.by_item(index, &ItemId::File(file.id.clone()));
            let before = before.and_then(|ino| tree.get(ino)?.parent);
            let after = file.folder.clone().map(ItemId::Folder);
            let after = after.and_then(|parent| tree.by_item(index, &parent));
            [before, after]
                .into_iter()
                .flatten()
                .any(|ino| places.contains(&ino))
        };
        let files = changes.files.iter().filter(|file| concerns(file));
        (files.map(|file| file.id.clone()).collect(), asked, unclear)
    }

    /// Brings folders up to date that the kernel may know of and that are not in memory.
    async fn recall_changed(self: &Arc<Self>, index: AccountIndex, changes: &Changes) {
        let unknown: Vec<u64> = {
            let tree = self.tree();
            let folders = in_folders(changes);
            let inodes = folders
                .into_iter()
                .filter_map(|folder| tree.by_item(index, &ItemId::Folder(folder)));
            let unknown = inodes.filter(|ino| {
                tree.get(*ino)
                    .and_then(Node::folder)
                    .is_some_and(|folder| folder.listing == ListingState::Unknown)
            });
            unknown.take(FOLDERS_RECALLED).collect()
        };
        for ino in unknown {
            let loaded = self.ensure_loaded(ino).await.is_ok();
            let is_known = |node: &Node| {
                node.folder()
                    .is_some_and(|folder| folder.listing != ListingState::Unknown)
            };
            if loaded && self.tree().get(ino).is_some_and(is_known) {
                drop(self.refresh_behind(ino));
            }
        }
    }
}

/// What uploads ask before they replace something.
pub(super) struct Feed(pub Weak<Vfs>);

#[async_trait]
impl News for Feed {
    async fn catch_up(&self, account: &str) {
        let Some(vfs) = self.0.upgrade() else { return };
        let index = vfs.accounts.iter().position(|known| known.setup.name == account);
        let Some(index) = index.filter(|index| vfs.tells_of_changes(*index)) else {
            return;
        };
        // A question that is under way may have been answered before what is asked about.
        let asked = match vfs.polls.is_under_way(&index) {
            true => vfs.poll(index, Urgency::Interactive).landed().await,
            false => Ok(()),
        };
        if let Err(error) = asked.and(vfs.poll(index, Urgency::Interactive).landed().await) {
            tracing::debug!(account, %error, "what is replaced may have changed");
        }
    }
}

/// Folders in memory, by how they are brought up to date.
struct Places {
    listed: Vec<u64>,
    patched: Vec<u64>,
}

impl Places {
    fn all(mut self) -> Vec<u64> {
        self.listed.append(&mut self.patched);
        self.listed
    }
}

/// The folders that changes say something happened in.
fn in_folders(changes: &Changes) -> Vec<FolderId> {
    let of_folders = changes.folders.iter().map(|folder| &folder.folder);
    let of_files = changes.files.iter().map(|file| &file.folder);
    let themselves = changes.folders.iter().map(|folder| &folder.id);
    let all = of_folders.chain(of_files).flatten().chain(themselves);
    let all: HashSet<&FolderId> = all.collect();
    all.into_iter().cloned().collect()
}
