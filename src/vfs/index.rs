//! The tree and the index on the disk: what was listed once is shown at once, in this mount and the next, and need
//! not stay in memory.
//!
//! The index has what services hold; what is only here is the journal's, and is laid over it whenever it is shown. A
//! task writes folders that changed. Until it did, the index is in doubt about what left the journal meanwhile (see
//! [`state`](crate::state)), so that after a crash the service is asked. Accounts without an index are asked each time.

mod rows;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::provider::wrap::Urgency;
use crate::provider::{AccountInfo, ContentHash, Entry, FolderId, ItemId};
use crate::state::{IndexedAccount, StateError};

use self::rows::{item_of, to_index, told_by_index};
use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::single_flight::Flight;
use super::tree::{AccountIndex, Folder, ListingState, Node, Snapshot, Snapshotted, Told};

/// Nodes in memory, some kilobyte each at most; others are brought back from the index when they are needed.
const MOST_NODES: usize = 100_000;
/// To how many they are brought down then.
const ENOUGH_NODES: usize = 90_000;

/// How long changes are gathered before the index is told.
const GATHERING: Duration = Duration::from_millis(200);
/// How long a folder that was written is left alone, by the entry: one that changes all the time is not written all the
/// time.
const REST: Duration = Duration::from_micros(500);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Entries written at a time, so that the journal has its turn in between.
const AT_A_TIME: usize = 4000;
/// How often it is looked for folders that are in doubt still.
const DOUBTS: Duration = Duration::from_secs(2);
/// How often a node is brought back in vain.
const RECALLS: usize = 4;
/// Rounds of writing at the end.
const LAST_ROUNDS: usize = 50;
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// Keeps inodes in memory while an operation reckons with them.
pub struct Held {
    vfs: Arc<Vfs>,
    inodes: Vec<u64>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut tree = self.vfs.tree();
        for ino in &self.inodes {
            tree.release(*ino);
        }
        drop(tree);
        self.vfs.sweep();
    }
}

/// Folders that are being changed on the service.
pub(super) struct Changing {
    vfs: Arc<Vfs>,
    folders: Vec<u64>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        let mut tree = self.vfs.tree();
        for ino in &self.folders {
            if let Some(folder) = tree.get_mut(*ino).and_then(Node::folder_mut) {
                folder.changing = folder.changing.saturating_sub(1);
            }
            tree.note_change(*ino);
        }
    }
}

impl Vfs {
    /// Keeps inodes in memory, bringing them back from the index if need be. `ESTALE` where nobody knows one.
    pub async fn hold(self: &Arc<Self>, inodes: impl IntoIterator<Item = u64>) -> Result<Held> {
        let mut held = Held {
            vfs: Arc::clone(self),
            inodes: Vec::new(),
        };
        for ino in inodes {
            let mut tries = 0;
            while !self.tree().hold(ino) {
                tries += 1;
                if tries > RECALLS {
                    return Err(Error::plain(libc::ESTALE));
                }
                self.recall(ino).await?;
            }
            held.inodes.push(ino);
        }
        Ok(held)
    }

    /// Brings an inode back into memory, with all that it is in.
    async fn recall(self: &Arc<Self>, ino: u64) -> Result<()> {
        let found = self.database.indexed_path(ino).await?;
        let stale = || Error::plain(libc::ESTALE);
        let (account, path) = found.ok_or_else(stale)?;
        let index = self
            .accounts
            .iter()
            .position(|known| known.indexed == Some(account));
        let index = index.ok_or_else(stale)?;
        for folder in path {
            let item = ItemId::Folder(FolderId::new(folder));
            let at = self.tree().by_item(index, &item).ok_or_else(stale)?;
            self.ensure_loaded(at).await?;
        }
        Ok(())
    }

    /// Brings what waits to be uploaded in these folders, or below them, into memory: it has to be seen to be saved also
    /// where the service has the folder no more.
    pub(super) async fn recall_what_waits(
        self: &Arc<Self>,
        account: IndexedAccount,
        folders: &HashSet<String>,
    ) -> Result<()> {
        for (ino, folder) in self.database.folders_that_wait(account).await? {
            let above = self.database.indexed_path(ino).await?;
            let Some((_, above)) = above else { continue };
            if above
                .iter()
                .chain([&folder])
                .any(|folder| folders.contains(folder))
            {
                self.recall(ino).await?;
                self.ensure_loaded(ino).await?;
            }
        }
        Ok(())
    }

    /// Shows what the index knows of a folder, where nothing is known of it here.
    pub(super) async fn ensure_loaded(self: &Arc<Self>, ino: u64) -> Result<()> {
        match self.load(ino) {
            Some(flight) => flight.landed().await,
            None => Ok(()),
        }
    }

    fn load(self: &Arc<Self>, ino: u64) -> Option<Flight> {
        let index = {
            let tree = self.tree();
            let node = tree.get(ino)?;
            (node.folder()?.listing == ListingState::Unknown).then_some(node.account?)?
        };
        let account = self.accounts.get(index)?.indexed?;
        let this = Arc::clone(self);
        Some(self.loads.fly(&self.runtime, ino, move || async move {
            if let Err(error) = this.load_folder(ino, account).await {
                tracing::warn!(%error, "a folder could not be read from the index");
            }
            Ok(())
        }))
    }

    async fn load_folder(self: &Arc<Self>, ino: u64, account: IndexedAccount) -> Result<()> {
        let asked = self.ask(ino)?;
        let index = asked.account;
        let cursor = self.account(index)?.cursor();
        let found = self.database.indexed_folder(account, asked.folder.as_str()).await;
        let Some(found) = found? else {
            return Ok(());
        };
        let told = told_by_index(found, self.tells_of_changes(index));
        self.show(asked, told).await?;
        // It may have been read before changes were noted that nobody looked for in this folder.
        if self.account(index)?.cursor() != cursor {
            self.tree().doubt(ino);
            drop(self.refresh_behind(ino));
        }
        Ok(())
    }

    /// Gives entries that are new in the tree the inode numbers that they had before.
    pub(super) async fn remember_inodes(&self, index: AccountIndex, within: &FolderId, told: &mut Told) {
        let Some(account) = self.accounts.get(index).and_then(|account| account.indexed) else {
            return;
        };
        if told.from_index {
            return;
        }
        let (mut any, mut folders) = (false, Vec::new());
        {
            let tree = self.tree();
            let items = told.listing.entries.iter().map(Entry::item);
            for item in items.filter(|item| tree.by_item(index, item).is_none()) {
                any = true;
                if let ItemId::Folder(folder) = item {
                    folders.push(folder.to_string());
                }
            }
        }
        if !any {
            return;
        }
        match self
            .database
            .indexed_inodes(account, within.as_str(), folders)
            .await
        {
            Ok(known) => told
                .inodes
                .extend(known.into_iter().map(|(key, ino)| (item_of(key), ino))),
            Err(error) => tracing::warn!(%error, "entries get new inode numbers"),
        }
    }

    /// Lets go what was not looked at lately, where too much is in memory.
    pub(super) fn bound_memory(&self) {
        let mut tree = self.tree();
        if tree.len() > MOST_NODES {
            tree.let_go(ENOUGH_NODES);
        }
    }

    /// Lets the index believe nothing of folders that are about to be changed on the service, before what is returned
    /// is dropped and it was told what came of it. A crash in between then leads to a question.
    pub(super) async fn begin_change(
        self: &Arc<Self>,
        index: AccountIndex,
        folders: impl IntoIterator<Item = u64>,
    ) -> Result<Changing> {
        let mut changing = Changing {
            vfs: Arc::clone(self),
            folders: Vec::new(),
        };
        let mut ids = Vec::new();
        {
            let mut tree = self.tree();
            for ino in folders {
                if let Some(folder) = tree.get_mut(ino).and_then(Node::folder_mut) {
                    folder.changing += 1;
                    changing.folders.push(ino);
                    ids.extend(folder.id.as_ref().map(FolderId::to_string));
                }
            }
        }
        if let Some(account) = self.accounts.get(index).and_then(|account| account.indexed) {
            self.database.distrust_folders(account, ids).await?;
        }
        Ok(changing)
    }

    /// Forgets what is known of an account that proves to be another's than it was, as with a token of somebody else.
    pub(super) async fn check_owner(
        self: &Arc<Self>,
        index: AccountIndex,
        account: &Account,
        info: &AccountInfo,
    ) {
        let (Some(indexed), Some(owner)) = (account.indexed, &info.owner) else {
            return;
        };
        match self.database.note_owner(indexed, owner).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(
                    account = account.setup.name,
                    "the account is another's now: all is listed anew"
                );
                let known = self.tree().doubt_all(index);
                drop(self.doubt_folders(known));
            }
            Err(error) => tracing::warn!(%error, "whose account it is was not noted"),
        }
    }

    /// Writes folders that change, for as long as the filesystem lives.
    pub(super) async fn follow_index(self: Arc<Self>) {
        let changed = self.tree().on_change();
        let mut looked_at = 0;
        loop {
            let woken = tokio::time::timeout(DOUBTS, changed.notified()).await.is_ok();
            if woken {
                tokio::time::sleep(GATHERING).await;
            } else {
                let commits = self.database.commits();
                if commits == looked_at {
                    continue;
                }
                looked_at = commits;
                for ino in self.look_for_doubts().await {
                    drop(self.refresh_at(Urgency::Background, ino));
                }
            }
            self.write_index(Haste::InTime).await;
        }
    }

    /// Writes all that the index does not know of yet, and gives back what was set apart for this mount. To be
    /// called once, when nothing changes any more.
    pub async fn finish_index(&self) {
        // What is unclear is asked for by the next mount.
        self.look_for_doubts().await;
        for _ in 0..LAST_ROUNDS {
            if self.write_index(Haste::Now).await {
                break;
            }
            tokio::time::sleep(LAST_PAUSE).await;
        }
        let unused = self.tree().unused_numbers();
        if let Err(error) = self.database.give_inodes_back(unused).await {
            tracing::debug!(%error, "inode numbers are not given back");
        }
    }

    /// Counts folders as changed that the index doubts and that are known here. Those of them in which nothing waits any
    /// more and which are still not known for certain.
    async fn look_for_doubts(&self) -> Vec<u64> {
        let mut unclear = Vec::new();
        for (index, account) in self.accounts.iter().enumerate() {
            let Some(indexed) = account.indexed else { continue };
            match self.database.distrusted_folders(indexed).await {
                Ok(folders) => {
                    let mut tree = self.tree();
                    for folder in folders {
                        let id = FolderId::new(folder);
                        let Some(ino) = tree.by_item(index, &ItemId::Folder(id.clone())) else {
                            continue;
                        };
                        tree.note_change(ino);
                        let is_settled = self.uploads.pending_in(&account.setup.name, &id).is_empty();
                        if is_settled && tree.is_listed(ino) && !tree.is_sure(ino) {
                            unclear.push(ino);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "the index is not brought up to date"),
            }
        }
        unclear
    }

    /// Tells the index of the folders that changed. Whether it knows all by then that can be told.
    async fn write_index(&self, haste: Haste) -> bool {
        let _alone = self.index_writing.lock().await;
        let mut folders = self.tree().take_changed();
        let mut all = true;
        if let Haste::InTime = haste {
            let mut tree = self.tree();
            folders.retain(|ino| {
                let is_due = tree.get(*ino).and_then(Node::folder).is_none_or(is_due);
                if !is_due {
                    tree.note_change(*ino);
                }
                is_due
            });
        }
        // Parents first: a folder can be told of when its own entry is there.
        {
            let tree = self.tree();
            folders.sort_by_cached_key(|ino| tree.depth(*ino));
        }
        let mut rest = folders.as_slice();
        while !rest.is_empty() {
            // Again and again: a walk takes more of them in the time of a long writing than are left.
            self.bring_numbers().await;
            let many = self.some_of(rest);
            let (some, others) = rest.split_at(many);
            rest = others;
            for index in 0..self.accounts.len() {
                match self.write_folders(index, some).await {
                    Ok(told) => all &= told,
                    Err(error) => {
                        tracing::warn!(%error, "the index is not brought up to date");
                        let mut tree = self.tree();
                        folders.iter().for_each(|ino| tree.note_change(*ino));
                        return false;
                    }
                }
            }
        }
        all
    }

    /// How many of these folders are written together.
    fn some_of(&self, folders: &[u64]) -> usize {
        let tree = self.tree();
        let mut entries = 0;
        let within = folders.iter().take_while(|ino| {
            let was = entries;
            let folder = tree.get(**ino).and_then(Node::folder);
            entries += 1 + folder.map_or(0, |folder| folder.children.len());
            was < AT_A_TIME
        });
        within.count().max(1)
    }

    /// False where some have to be written again.
    async fn write_folders(
        &self,
        index: AccountIndex,
        folders: &[u64],
    ) -> std::result::Result<bool, StateError> {
        let account = self.accounts.get(index).and_then(|account| account.indexed);
        let Some(account) = account else { return Ok(true) };
        let ids: Vec<String> = {
            let tree = self.tree();
            let of_account = folders.iter().filter_map(|ino| tree.get(*ino));
            let of_account = of_account.filter(|node| node.account == Some(index));
            of_account
                .filter_map(|node| Some(node.folder()?.id.as_ref()?.to_string()))
                .collect()
        };
        if ids.is_empty() {
            return Ok(true);
        }
        // Before the entries are gathered: what happens from now on is not counted as written.
        let worth = self.database.indexed_worth(account, ids).await?;
        let (mut snapshots, mut all) = (Vec::new(), true);
        {
            let mut tree = self.tree();
            for ino in folders {
                if tree.get(*ino).is_none_or(|node| node.account != Some(index)) {
                    continue;
                }
                match tree.snapshot(*ino, |row| self.uploads.get(row)) {
                    Snapshotted::Done(mut snapshot) => {
                        let local = |ino| {
                            let file = tree.get(ino).and_then(Node::file);
                            let file = file.filter(|file| file.local.is_some());
                            let remote = file.and_then(|file| file.remote.as_ref());
                            remote.is_some_and(|remote| {
                                let sent = self.uploads.sent_to(&remote.id);
                                let last = sent.first().map(|sent| ContentHash::Sha256(*sent));
                                last.is_some() && last != remote.hash
                            })
                        };
                        snapshot.without_content_of(local);
                        snapshots.push((*ino, snapshot));
                    }
                    Snapshotted::Behind => {
                        tree.note_change(*ino);
                        all = false;
                    }
                    Snapshotted::Unfit => {}
                }
            }
        }
        let (inodes, snapshots): (Vec<u64>, Vec<Snapshot>) = snapshots.into_iter().unzip();
        let written = snapshots
            .iter()
            .map(|snapshot| snapshot.folder.clone())
            .collect::<Vec<_>>();
        let to_write = snapshots.into_iter().map(|snapshot| to_index(snapshot, &worth));
        self.database.index_folders(account, to_write.collect()).await?;
        // Those that it knew before are in it now; others have to wait for their own entries.
        let mut tree = self.tree();
        for (ino, folder) in inodes.into_iter().zip(written) {
            if worth.contains_key(folder.as_str()) {
                tree.note_indexed(ino);
            } else {
                tree.note_change(ino);
                all = false;
            }
        }
        Ok(all)
    }

    /// Has more inode numbers set apart before they run out.
    async fn bring_numbers(&self) {
        if !self.tree().numbers_are_few() {
            return;
        }
        match self.database.set_inodes_apart().await {
            Ok(numbers) => self.tree().add_numbers(numbers),
            Err(error) => tracing::warn!(%error, "new entries get inode numbers that are not kept"),
        }
    }
}

/// Whether folders that were written a moment ago are written again.
#[derive(Debug, Clone, Copy)]
enum Haste {
    InTime,
    Now,
}

fn is_due(folder: &Folder) -> bool {
    let entries = u32::try_from(folder.children.len()).unwrap_or(u32::MAX);
    let rest = REST.saturating_mul(entries).min(LONGEST_REST);
    folder.written.is_none_or(|at| at.elapsed() >= rest)
}
