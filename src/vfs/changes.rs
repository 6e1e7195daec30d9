//! Following what happens elsewhere: uploads that end, changes on the services, and the kernel's caches
//! that have to hear of both.

use std::sync::Arc;
use std::sync::mpsc as thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::provider::{ErrorKind, FileEntry, FolderId, ItemId, ListHint};
use crate::upload::{PendingId, UploadEvent, UploadStatus};

use super::feed::Feed;
use super::single_flight::Flight;
use super::tree::{AccountIndex, ListingState, Merged, Node, Remote, Tree};
use super::{KernelCache, Vfs, symlinks};

/// How many messages may wait for the kernel. One that does not fit is dropped: the kernel's own time limit
/// on what it caches covers for it.
const KERNEL_QUEUE: usize = 4096;

/// How many changed folders are listed again at once; the others when somebody looks.
const EAGER_REFRESHES: usize = 64;

/// How long, and how often, it is looked whether what is shown knows of all that was uploaded.
const CATCHING_UP: Duration = Duration::from_secs(5);
const CATCHING_UP_LOOK: Duration = Duration::from_millis(2);

pub(super) enum Outdated {
    Name { parent: u64, name: String },
    Content { ino: u64 },
    Attributes { ino: u64 },
}

/// The way to the thread that talks to the kernel.
pub(super) struct KernelQueue(thread::SyncSender<Outdated>);

impl Vfs {
    /// Begins to follow the uploads and the services. To be called once, inside the runtime.
    pub fn start(self: &Arc<Self>, events: mpsc::Receiver<UploadEvent>) {
        self.uploads.set_news(Arc::new(Feed(Arc::downgrade(self))));
        self.runtime.spawn(self.clone().follow_uploads(events));
        self.runtime.spawn(self.clone().release_others());
        self.runtime.spawn(self.clone().follow_index());
        for index in 0..self.accounts.len() {
            self.refresh_info_if_due(index);
            self.runtime.spawn(self.clone().follow_account(index));
            self.runtime.spawn(self.clone().follow_dates(index));
            self.runtime.spawn(self.clone().crawl(index));
        }
    }

    /// Names who is told of outdated caches. The thread ends with the filesystem.
    pub fn set_kernel_cache(self: &Arc<Self>, cache: impl KernelCache + 'static) -> std::io::Result<()> {
        let (send, receive) = thread::sync_channel(KERNEL_QUEUE);
        std::thread::Builder::new()
            .name("kernel-cache".to_owned())
            .spawn(move || tell_all(&receive, &cache))?;
        drop(self.kernel.set(KernelQueue(send)));
        Ok(())
    }

    pub(super) fn tell(&self, outdated: Outdated) {
        let Some(KernelQueue(queue)) = self.kernel.get() else {
            return;
        };
        if let Err(thread::TrySendError::Full(_)) = queue.try_send(outdated) {
            tracing::debug!("the kernel is behind with invalidations; its caches expire by themselves");
        }
    }

    /// Lets the kernel ask again what these names of folders mean.
    pub fn distrust_names(&self, names: impl IntoIterator<Item = (u64, String)>) {
        for (parent, name) in names {
            self.tell(Outdated::Name { parent, name });
        }
    }

    pub(super) fn tell_kernel(&self, merged: Merged) {
        for (parent, name) in merged.names {
            self.tell(Outdated::Name { parent, name });
        }
        for ino in merged.inodes {
            self.tell(Outdated::Content { ino });
        }
    }

    async fn follow_uploads(self: Arc<Self>, mut events: mpsc::Receiver<UploadEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                UploadEvent::Done {
                    account, id, entry, ..
                } => self.uploaded(&account, id, &entry),
                UploadEvent::Kept { account, id } => self.kept(&account, id),
                UploadEvent::Changed { id } => self.upload_changed(id),
                UploadEvent::Deletion {
                    account,
                    folder,
                    size,
                    shown,
                } => self.deletion_changed(&account, &folder, size, shown),
                UploadEvent::Renamed {
                    account,
                    folders,
                    along,
                    replaced,
                } => {
                    self.renamed_behind(&account, along, replaced);
                    self.doubt_listings(&account, &folders);
                }
            }
            // A content that is on the service by now takes room on the disk as long as it is open here.
            self.sweep();
        }
    }

    /// Waits until what is shown knows of each upload that has ended: so that who waited for the end sees what came of it.
    /// Gives up after a while.
    pub async fn catch_up_with_uploads(&self) {
        let begun = Instant::now();
        while begun.elapsed() < CATCHING_UP {
            let shown: Vec<_> = self.tree().all_pending().collect();
            if shown.into_iter().all(|row| self.uploads.get(row).is_some()) {
                return;
            }
            tokio::time::sleep(CATCHING_UP_LOOK).await;
        }
        tracing::debug!("what is shown of ended uploads is still behind");
    }

    /// An upload that was refused may have taught what the account takes: who writes next is to hear of it.
    fn upload_changed(self: &Arc<Self>, row: PendingId) {
        let Some(file) = self.uploads.get(row) else { return };
        let refused = match file.status {
            UploadStatus::Parked { .. } => true,
            UploadStatus::Waiting { kind, .. } => kind == Some(ErrorKind::QuotaExceeded),
            _ => false,
        };
        let Some(index) = self
            .accounts
            .iter()
            .position(|known| known.setup.name == file.account)
        else {
            return;
        };
        if refused && let Some(account) = self.accounts.get(index) {
            let Some(wait) = account.doubt_info() else { return };
            let (this, account) = (self.clone(), account.clone());
            self.runtime.spawn(async move {
                tokio::time::sleep(wait).await;
                account.end_doubt();
                this.refresh_info_if_due(index);
            });
        }
    }

    /// What was to be deleted is shown again, or is hidden again: its folder is listed anew, where it is known.
    fn deletion_changed(self: &Arc<Self>, account: &str, folder: &FolderId, size: u64, shown: bool) {
        if let Some(account) = self.accounts.iter().find(|known| known.setup.name == account) {
            let (added, removed) = if shown { (size, 0) } else { (0, size) };
            account.count_stored(added, removed);
        }
        self.doubt_listings(account, std::slice::from_ref(folder));
    }

    /// A rename that was cut short proved to hold: what it did to pending files is done to what is shown of them.
    fn renamed_behind(&self, account: &str, along: Option<PendingId>, replaced: Option<PendingId>) {
        let Some(index) = self.accounts.iter().position(|known| known.setup.name == account) else {
            return;
        };
        let replaced = replaced.filter(|row| self.uploads.get(*row).is_none());
        let along = along.and_then(|row| self.uploads.get(row));
        let mut outdated = Vec::new();
        {
            let mut tree = self.tree();
            let shown_as = |tree: &Tree, ino| {
                let node = tree.get(ino)?;
                Some((node.parent?, node.name.clone()))
            };
            if let Some(ino) = replaced.and_then(|row| tree.by_pending(row)) {
                outdated.extend(shown_as(&tree, ino));
                tree.unlink(ino, false);
            }
            if let (Some(file), Some(account)) = (&along, self.accounts.get(index))
                && let Some(ino) = tree.by_pending(file.id)
            {
                let folder = tree.by_item(index, &ItemId::Folder(file.folder.clone()));
                let is_link = tree.get(ino).is_some_and(Node::is_link);
                let name = symlinks::shown(&file.name, is_link, &account.rules);
                let place = folder.map(|folder| (folder, name));
                let before = shown_as(&tree, ino);
                if before != place {
                    outdated.extend(before);
                    tree.detach(ino);
                    // Where its folder is not known yet, its first listing shows it.
                    if let Some((folder, name)) =
                        place.filter(|(folder, name)| tree.child(*folder, name).is_none())
                    {
                        tree.attach(ino, folder, &name);
                        outdated.push((folder, name));
                    }
                }
            }
        }
        self.distrust_names(outdated);
    }

    /// Folders changed on the service: those whose entries are known are listed anew.
    pub(super) fn doubt_listings(self: &Arc<Self>, account: &str, folders: &[FolderId]) {
        let Some(index) = self.accounts.iter().position(|known| known.setup.name == account) else {
            return;
        };
        let known = folders
            .iter()
            .filter_map(|folder| self.changed_folder(index, folder));
        let mut known: Vec<_> = known.collect();
        known.dedup();
        drop(self.doubt_folders(known));
    }

    /// An emptied file stays here: what it had on the service is gone.
    fn kept(&self, account: &str, row: PendingId) {
        let mut tree = self.tree();
        let Some(ino) = tree.by_pending(row) else { return };
        let freed = tree
            .get(ino)
            .and_then(Node::file)
            .and_then(|file| Some(file.remote.as_ref()?.size));
        tree.set_remote(ino, None);
        let parent = tree.get(ino).and_then(|node| node.parent);
        if let Some(folder) = parent
            .and_then(|parent| tree.get_mut(parent))
            .and_then(Node::folder_mut)
        {
            folder.version += 1;
        }
        drop(tree);
        let known = self.accounts.iter().find(|known| known.setup.name == account);
        if let (Some(account), Some(freed)) = (known, freed) {
            account.count_stored(0, freed);
        }
    }

    /// A row left the journal: the file is on the service now.
    fn uploaded(&self, account: &str, row: PendingId, entry: &FileEntry) {
        let Some(index) = self.accounts.iter().position(|known| known.setup.name == account) else {
            return;
        };
        let mut outdated = None;
        {
            let mut tree = self.tree();
            let Some(ino) = tree.by_pending(row) else { return };
            let item = ItemId::File(entry.id.clone());
            // A listing may have shown the upload before its end was told here.
            if let Some(twin) = tree.by_item(index, &item).filter(|twin| *twin != ino) {
                outdated = tree
                    .get(twin)
                    .and_then(|node| Some((node.parent?, node.name.clone())));
                tree.remove(twin);
            }
            let replaced = tree
                .get(ino)
                .and_then(Node::file)
                .and_then(|file| file.remote.as_ref());
            let replaced = replaced.map_or(0, |remote| remote.size);
            tree.set_pending(ino, None);
            // Its time is that of the content here, which the index keeps where the service does not.
            let dated = true;
            tree.set_remote(
                ino,
                Some(Remote {
                    dated,
                    ..Remote::of(entry)
                }),
            );
            let written_since = tree
                .get(ino)
                .and_then(Node::file)
                .and_then(|file| file.local.as_ref());
            if written_since.is_some_and(|local| !local.dirty && local.hold.is_none()) {
                tree.set_local(ino, None);
            }
            let parent = tree.get(ino).and_then(|node| node.parent);
            if let Some(folder) = parent
                .and_then(|parent| tree.get_mut(parent))
                .and_then(Node::folder_mut)
            {
                folder.version += 1;
                // What was taken for this upload may have been another file.
                if let (true, ListingState::Known { stale, .. }) = (folder.hides, &mut folder.listing) {
                    *stale = true;
                }
            }
            tree.drop_if_unused(ino);
            drop(tree);
            if let Some(account) = self.accounts.get(index) {
                account.count_stored(entry.size, replaced);
            }
        }
        if let Some((parent, name)) = outdated {
            self.tell(Outdated::Name { parent, name });
        }
    }

    /// The folder, if its entries are known and so may be outdated.
    pub(super) fn changed_folder(&self, index: AccountIndex, id: &FolderId) -> Option<u64> {
        let mut tree = self.tree();
        let ino = tree.by_item(index, &ItemId::Folder(id.clone()))?;
        let folder = tree.get_mut(ino).and_then(Node::folder_mut)?;
        folder.hint = ListHint::default();
        (folder.listing != ListingState::Unknown).then_some(ino)
    }

    /// Lists folders anew, some at once and the others when somebody looks; those that are under way.
    pub(super) fn doubt_folders(self: &Arc<Self>, folders: Vec<u64>) -> Vec<Flight> {
        let mut under_way = Vec::new();
        for (count, ino) in folders.into_iter().enumerate() {
            if count < EAGER_REFRESHES {
                under_way.push(self.refresh_behind(ino));
                continue;
            }
            self.tree().doubt(ino);
        }
        under_way
    }
}

fn tell_all(queue: &thread::Receiver<Outdated>, cache: &dyn KernelCache) {
    while let Ok(outdated) = queue.recv() {
        match outdated {
            Outdated::Name { parent, name } => cache.forget_name(parent, &name),
            Outdated::Content { ino } => cache.forget_content(ino),
            Outdated::Attributes { ino } => cache.forget_attributes(ino),
        }
    }
}
