//! The handle that the rest of the program has on the uploads: lookups, waiting, start and stop.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::provider::{Entry, FileEntry, FileId, FolderId, Provider};
use crate::state::{Database, RowState};

use super::asides::{Asides, KeptAside, SentContents};
use super::deleter;
use super::disk_space::DiskRoom;
use super::hydrate;
use super::outcome::PATIENT_TRIES;
use super::poll;
use super::queue::{self, Account};
use super::renamer;
use super::staged_file::{Base, StagedFile};
use super::staging::Staging;
use super::table::{Item, Outcome, Step, Table};
use super::{BaseContent, News, Options, Overview, PendingFile, PendingId, Trace, UploadError, UploadEvent};

/// Events that may wait for their receiver.
const EVENTS: usize = 1024;

/// How long a drain waits for writers to let go. A program's `close()` returns a little before the kernel
/// tells that the file is not open any more.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Pending files that are told under one lock.
const TOGETHER: usize = 1024;

/// All pending uploads of all accounts.
pub struct Uploads {
    pub(super) database: Database,
    pub(super) options: Options,
    pub(super) staging: Arc<Staging>,
    table: Mutex<Table>,
    /// Those that were started.
    accounts: OnceLock<HashMap<String, Arc<Account>>>,
    events: OnceLock<mpsc::Sender<UploadEvent>>,
    /// Signalled after each change of the table.
    pub(super) changed: watch::Sender<()>,
    pub(super) stopping: CancellationToken,
    /// Pieces of remote files that may be in memory, to complete edits of these.
    pub(super) pieces: Semaphore,
    /// Ends what is still under way after the grace of a stop.
    aborting: CancellationToken,
    tasks: TaskTracker,
    /// For work that begins on threads which are not the runtime's.
    runtime: tokio::runtime::Handle,
    /// Names noted as discarded whose files are deleted.
    pub(super) discarded: Mutex<Vec<String>>,
    pub(super) asides: Asides,
    pub(super) sent_contents: SentContents,
    news: OnceLock<Arc<dyn News>>,
}

impl Uploads {
    pub(super) fn new(
        database: Database,
        options: Options,
        staging: Arc<Staging>,
        table: Table,
    ) -> Arc<Self> {
        Arc::new(Uploads {
            database,
            options,
            staging,
            table: Mutex::new(table),
            accounts: OnceLock::new(),
            events: OnceLock::new(),
            changed: watch::Sender::new(()),
            stopping: CancellationToken::new(),
            pieces: Semaphore::new(hydrate::PIECES),
            aborting: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            discarded: Mutex::new(Vec::new()),
            asides: Asides::default(),
            sent_contents: SentContents::default(),
            news: OnceLock::new(),
        })
    }

    /// Starts the workers. The receiver must be read, or dropped: workers wait to tell what is done. Files
    /// of accounts that are not among `accounts` stay as they are. Called a second time it starts nothing
    /// and returns a channel that is closed.
    pub fn start(
        self: &Arc<Self>,
        accounts: HashMap<String, Arc<dyn Provider>>,
        base: Arc<dyn BaseContent>,
    ) -> mpsc::Receiver<UploadEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        if self.events.set(events).is_err() {
            return receiver;
        }
        let mut started = HashMap::new();
        for (name, provider) in accounts {
            // Before the tasks run: who drains from now on waits for them.
            let (deletes, renames) = {
                let mut table = self.table();
                (table.deletions.serve(&name), table.renames.serve(&name))
            };
            self.spawn(deleter::serve(
                self.clone(),
                name.clone(),
                provider.clone(),
                deletes,
            ));
            self.spawn(renamer::serve(
                self.clone(),
                name.clone(),
                provider.clone(),
                renames,
            ));
            let wake = self.table().serve(&name);
            let account = Account::new(name.clone(), provider, base.clone(), &self.options, wake);
            started.insert(name, Arc::new(account));
        }
        for account in self.accounts.get_or_init(|| started).values() {
            self.spawn(poll::serve(self.clone(), account.clone()));
            self.spawn(queue::serve(self.clone(), account.clone()));
        }
        receiver
    }

    /// SHA-256 of what uploads put into a file of a service lately.
    pub fn sent_to(&self, file: &FileId) -> Vec<[u8; 32]> {
        self.sent_contents.of(file)
    }

    /// Names who is asked what happened elsewhere before something of a service is replaced.
    pub fn set_news(&self, news: Arc<dyn News>) {
        // The first one stays.
        let _ = self.news.set(news);
    }

    /// Waits for the news of an account.
    pub(super) async fn hear_news(&self, account: &str) {
        if let Some(news) = self.news.get() {
            news.catch_up(account).await;
        }
    }

    /// All pending files, by id. Each is told as it is at a moment of its own.
    pub fn pending(&self) -> Vec<PendingFile> {
        let mut all: Vec<PendingFile> = Vec::new();
        loop {
            let after = all.last().map_or(PendingId::from_i64(i64::MIN), |last| last.id);
            let more = self.table().snapshots_after(after, TOGETHER);
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// Files of services that this mount had to rename, oldest first.
    pub fn kept_aside(&self) -> Vec<KeptAside> {
        self.asides.all()
    }

    /// The pending files that are never sent.
    pub fn local(&self) -> Vec<PendingFile> {
        self.table().local_snapshots()
    }

    /// The sums over all pending files, and up to `rows` of each stage.
    pub fn overview(&self, rows: usize) -> Overview {
        self.table().overview(rows)
    }

    /// Up to `rows` pending files with ids above `after`, by id: part by part, all that are to be sent.
    pub fn pending_after(&self, after: PendingId, rows: usize) -> Vec<PendingFile> {
        self.table().snapshots_to_send(after, rows)
    }

    pub fn get(&self, id: PendingId) -> Option<PendingFile> {
        self.table().snapshot(id)
    }

    /// The pending files of one folder of the service.
    pub fn pending_in(&self, account: &str, folder: &FolderId) -> Vec<PendingFile> {
        self.table().snapshots_in(account, folder)
    }

    /// Learns from a listing where files stand that uploads are to replace: what is renamed to such a place waits
    /// until they have gone.
    pub fn note_listed(&self, account: &str, folder: &FolderId, entries: &[Entry]) {
        let files = entries.iter().filter_map(|entry| match entry {
            Entry::File(file) => Some((file.id.as_str(), file.name.as_str())),
            Entry::Folder(_) => None,
        });
        let listed = files.collect();
        self.table().note_listed(account, folder.as_str(), &listed);
    }

    /// Those of `files` on the service that uploads of an account made and that are not in their place yet, that go
    /// when they are, or whose place a pending file of another folder takes: whoever shows the pending files does not
    /// show these in `folder` beside them.
    pub fn own_remains<'a>(
        &self,
        account: &str,
        folder: &FolderId,
        files: impl Iterator<Item = &'a FileId>,
    ) -> HashSet<FileId> {
        let table = self.table();
        let remains = files.filter(|file| table.is_remains(account, folder, file));
        remains.cloned().collect()
    }

    /// The files of the service that uploads of removed files made, and that are deleted there before long.
    pub fn made_and_going(&self, account: &str) -> Vec<FileId> {
        self.table().made_and_going(account)
    }

    /// What uploads may have left in a folder, until it is brought to its place or, of a file that was removed or
    /// changed since, cleared away.
    pub fn traces(&self, account: &str, folder: &FolderId) -> Vec<Trace> {
        self.table().traces(account, folder)
    }

    /// How many files are to go to the service still, or to be deleted there; those that are kept here for good are
    /// not among them.
    pub fn unfinished(&self) -> usize {
        self.table().unfinished()
    }

    /// Whether work is left that goes on by itself, such as to clear away what the upload of a removed file left.
    pub fn is_busy(&self) -> bool {
        self.table().is_busy()
    }

    /// Bytes of an account that the service does not hold yet.
    pub fn waiting_bytes(&self, account: &str) -> u64 {
        self.table().waiting_bytes(account)
    }

    /// Whether a file was uploaded into a folder a short while ago: what was told of the folder before may not be
    /// true any more.
    pub fn stored_in(&self, account: &str, folder: &FolderId) -> bool {
        self.table().stored_in(account, folder)
    }

    /// How many uploads have finished so far.
    pub fn ended(&self) -> u64 {
        self.table().ended()
    }

    /// The files that uploads of an account brought to other folders since so many had finished: a listing of `folder`
    /// that was asked for before may show them there still.
    pub fn placed_elsewhere_since(&self, account: &str, folder: &FolderId, ended: u64) -> Vec<FileId> {
        self.table().placed_elsewhere_since(account, folder, ended)
    }

    /// What became of a file that was uploaded a short while ago.
    pub fn finished(&self, id: PendingId) -> Option<FileEntry> {
        self.table().finished(id)
    }

    /// The newest content of a pending file, for readers. `None` where it is gone or was lost.
    pub fn staged(&self, id: PendingId) -> Option<Arc<StagedFile>> {
        self.table().live(id).and_then(|item| item.newest().cloned())
    }

    /// How much room there is on the disk of the staging directory.
    pub fn disk_room(&self) -> io::Result<DiskRoom> {
        self.staging.room()
    }

    /// An empty file to write to. Nothing of it is promised before it is committed.
    pub fn new_staged(&self) -> io::Result<Arc<StagedFile>> {
        self.staging.create(None).map(Arc::new)
    }

    /// A file with the content of `base`, all of it missing still. It takes no room on the disk yet.
    pub fn staged_from(&self, base: Base) -> io::Result<Arc<StagedFile>> {
        self.staging.create(Some(base)).map(Arc::new)
    }

    /// A file with the first `len` bytes of a file that is to be copied, all of them missing still. Once it is
    /// committed, [`secure`](Self::secure) says when the copy depends on that file no more.
    pub fn staged_copy(&self, copied: Base, len: u64) -> io::Result<Arc<StagedFile>> {
        self.staging.create_of(Some(copied), len).map(Arc::new)
    }

    /// Deletes a staged file that was never committed and is not wanted any more.
    pub fn discard(&self, staged: &StagedFile) {
        let known = self.table().uses(staged.name());
        if !known {
            self.staging.delete(staged.name());
        }
    }

    /// Waits until the content committed last is on the service, without the upload delay and although
    /// the file may be held. `None` where it is kept here, since it is empty and the service takes no empty
    /// files. Fails where it is parked or removed meanwhile.
    pub async fn wait(self: &Arc<Self>, id: PendingId) -> Result<Option<FileEntry>, UploadError> {
        let Some((mut outcome, generation, _hurry)) = self.hurry(id) else {
            return self.finished(id).map(Some).ok_or(UploadError::Gone);
        };
        loop {
            match outcome.borrow_and_update().clone() {
                Outcome::Done {
                    generation: done,
                    entry,
                } if done >= generation => return Ok(Some(entry)),
                Outcome::Kept => return Ok(None),
                Outcome::Parked { reason, kind } => return Err(UploadError::Parked { reason, kind }),
                Outcome::Removed => return Err(UploadError::Gone),
                Outcome::Open | Outcome::Done { .. } => {}
            }
            tokio::select! {
                changed = outcome.changed() => if changed.is_err() {
                    return self.finished(id).map(Some).ok_or(UploadError::Gone);
                },
                () = self.stopping.cancelled() => return Err(UploadError::Stopped),
            }
        }
    }

    /// Waits until nothing goes on by itself any more: what is left is parked, held by a writer who does not
    /// let go within a moment, or of an account that is not started. Skips the upload delay from now on
    /// until it returns. It waits as long as a service stays away; the caller sets the limit.
    pub async fn drain(&self) {
        let _hurry = DrainGuard::new(self);
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(LETTING_GO));
        while !self.stopping.is_cancelled() {
            let (busy, held) = {
                let table = self.table();
                (table.is_busy(), table.is_held())
            };
            if !busy && (!held || patience.is_elapsed()) {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience, if !patience.is_elapsed() => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Waits until what is being sent of a pending file has arrived or failed, for `limit` at most.
    pub async fn wait_while_sent(&self, id: PendingId, limit: Duration) {
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            let is_sent = {
                let table = self.table();
                let run = table.item(id).and_then(|item| item.run.as_ref());
                run.is_some_and(|run| run.step == Step::Sending)
            };
            if !is_sent {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => return,
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Whether a place was cleared within `limit` of what another file has, or may have, there: one that is to
    /// be deleted, or the remains of an upload.
    pub(super) async fn is_cleared(
        &self,
        account: &str,
        folder: &str,
        name: &str,
        me: Option<PendingId>,
        limit: Duration,
    ) -> bool {
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            {
                let mut table = self.table();
                let is_taken = table.deletions.is_taken(account, folder, name);
                if !is_taken && !table.is_being_cleared(account, folder, name, me) {
                    return true;
                }
                if is_taken {
                    table.deletions.hurry(account);
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => return false,
                () = self.stopping.cancelled() => return false,
            }
        }
    }

    /// Tries a parked or waiting file again now. False where there is no such file.
    pub async fn retry(self: &Arc<Self>, id: PendingId) -> Result<bool, UploadError> {
        let changed = self
            .change(id, |row| {
                let waits = row.state == RowState::Parked || row.next_try.is_some();
                if !waits || row.state == RowState::Removed || row.staging.is_none() {
                    return super::journal::Change::Skip;
                }
                // Who asks again and again must not keep it from losing its patience with a name that others bear.
                let patience = if row.state == RowState::Parked {
                    0
                } else {
                    PATIENT_TRIES
                };
                row.state = RowState::Queued;
                row.tries = row.tries.min(patience);
                (row.next_try, row.last_error) = (None, None);
                super::journal::Change::Save
            })
            .await?;
        let hurry = |item: &mut Item| item.due = std::time::Instant::now();
        self.update(|table| table.change(id, hurry));
        Ok(matches!(changed, super::journal::Changed::Saved(_)))
    }

    /// Tries all parked files again now and returns how many there are.
    pub async fn retry_parked(self: &Arc<Self>) -> Result<usize, UploadError> {
        let ids = self.table().parked();
        let mut count = 0;
        for id in ids {
            count += usize::from(self.retry(id).await?);
        }
        Ok(count)
    }

    /// Stops the workers with the grace that the options give.
    pub async fn stop(&self) {
        self.stop_within(self.options.stop_grace).await;
    }

    /// Stops the workers between two requests, and cuts off what is not ended after `grace`. All stays in the
    /// journal. The database stays open.
    pub async fn stop_within(&self, grace: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.aborting.cancel();
            self.tasks.wait().await;
        }
        self.forget_discarded().await;
    }

    /// An account that was started.
    pub(super) fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get()?.get(name).cloned()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table and tells those who wait for changes.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let value = change(&mut self.table());
        self.changed.send_replace(());
        value
    }

    /// Sleeps until `due`, or for ever, where nobody wakes the sleeper and the program goes on.
    pub(super) async fn sleep(&self, due: Option<Instant>, wake: &Notify) {
        let until_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until_due => {}
            () = wake.notified() => {}
            () = self.stopping.cancelled() => {}
        }
    }

    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let aborting = self.aborting.clone();
        let task = async move {
            tokio::select! {
                () = task => {}
                () = aborting.cancelled() => {}
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Tells that a status changed, unless the receiver lags behind.
    pub(super) fn tell_changed(&self, id: PendingId) {
        // Half of the room is kept for events that must not be left out.
        if let Some(events) = self.events.get().filter(|events| events.capacity() > EVENTS / 2) {
            let _ = events.try_send(UploadEvent::Changed { id });
        }
    }

    pub(super) async fn tell(&self, event: UploadEvent) {
        if let Some(events) = self.events.get() {
            // A receiver that is gone needs no events.
            let _ = events.send(event).await;
        }
    }

    pub(super) fn hurry(
        self: &Arc<Self>,
        id: PendingId,
    ) -> Option<(watch::Receiver<Outcome>, u64, HurryGuard)> {
        self.update(|table| {
            table.change_live(id, |item| {
                item.hurried += 1;
                let guard = HurryGuard {
                    uploads: self.clone(),
                    id,
                };
                (item.subscribe(), item.row.generation, guard)
            })
        })
    }
}

pub(super) struct HurryGuard {
    uploads: Arc<Uploads>,
    id: PendingId,
}

impl Drop for HurryGuard {
    fn drop(&mut self) {
        let end = |item: &mut Item| item.hurried -= 1;
        self.uploads.update(|table| table.change(self.id, end));
    }
}

struct DrainGuard<'a>(&'a Uploads);

impl<'a> DrainGuard<'a> {
    fn new(uploads: &'a Uploads) -> Self {
        uploads.update(|table| {
            table.drains += 1;
            table.reschedule_all();
        });
        DrainGuard(uploads)
    }
}

impl Drop for DrainGuard<'_> {
    fn drop(&mut self) {
        self.0.update(|table| table.drains -= 1);
    }
}
