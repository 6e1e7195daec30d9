//! The pending files in memory: the journal's rows as committed, and what lives only as long as the
//! process, such as holds, progress and the order of the queue.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use tokio::sync::{Notify, watch};

use crate::provider::{ErrorKind, FileEntry, FileId, FolderId};
use crate::state::{ItemKey, JournalRow, RowState};

use super::deletions::Deletions;
use super::meter::{Meter, Progress};
use super::renames::Renames;
use super::staged_file::StagedFile;
use super::status::{Overview, PendingFile, PendingId, Stage, UploadStatus};

/// How many finished uploads are remembered, for callers that come a little late.
const FINISHED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A clock that was set back does not make a try wait for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What a waiter waits for.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Open,
    /// A content of this generation is on the service.
    Done {
        generation: u64,
        entry: FileEntry,
    },
    Parked {
        reason: String,
        kind: Option<ErrorKind>,
    },
    /// Empty, and it stays here.
    Kept,
    Removed,
}

impl Outcome {
    /// What a row that nothing is done with stands for. `failure` is what the service answered last.
    fn of(row: &JournalRow, failure: Option<ErrorKind>) -> Option<Outcome> {
        match row.state {
            RowState::Parked => Some(Outcome::Parked {
                reason: row.last_error.clone().unwrap_or_default(),
                kind: failure,
            }),
            RowState::Kept | RowState::Local => Some(Outcome::Kept),
            _ => None,
        }
    }
}

/// How far the run of an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing was said to the service; a writer may still have the file.
    Preparing,
    /// The content is being sent: it must not change.
    Sending,
    Verifying,
    /// Only the row's removal is missing; no writer gets the item any more.
    Finishing,
}

/// What a worker and the table share while an item is worked on.
#[derive(Debug)]
pub(super) struct Run {
    pub step: Step,
    pub progress: Arc<Progress>,
}

pub(super) struct Item {
    /// As committed last.
    pub row: JournalRow,
    /// The content of `row`; `None` where it is missing or the row is removed.
    pub staged: Option<Arc<StagedFile>>,
    /// A newer content that a writer began while the present one was being sent.
    pub draft: Option<Arc<StagedFile>>,
    /// [`StagedFile::modifications`] of `staged` that `row` tells of.
    pub committed: u64,
    pub holds: usize,
    /// Callers that wait for the upload although the file may be held.
    pub hurried: usize,
    pub due: Instant,
    /// What the service answered when the last run failed.
    pub failure: Option<ErrorKind>,
    pub run: Option<Run>,
    pub outcome: watch::Sender<Outcome>,
    /// The service may hold the file that it goes on with in another folder than the row's.
    pub may_be_elsewhere: bool,
    /// The key in its queue's order.
    queued_at: Option<(Kind, Instant)>,
}

impl Item {
    pub fn new(row: JournalRow, staged: Option<Arc<StagedFile>>, committed: u64, due: Instant) -> Self {
        let outcome = watch::Sender::new(Outcome::of(&row, None).unwrap_or(Outcome::Open));
        // An earlier content was sent, perhaps to where the row was then.
        let may_be_elsewhere = row.replaces.is_some() && row.generation > 1;
        Item {
            may_be_elsewhere,
            row,
            staged,
            draft: None,
            committed,
            holds: 0,
            hurried: 0,
            due,
            failure: None,
            run: None,
            outcome,
            queued_at: None,
        }
    }

    /// The newest content.
    pub fn newest(&self) -> Option<&Arc<StagedFile>> {
        self.draft.as_ref().or(self.staged.as_ref())
    }

    /// A removed file is small, whatever it was: none of its bytes are sent.
    pub fn kind(&self) -> Kind {
        if self.row.size > LARGE && !self.is_removed() {
            Kind::Large
        } else {
            Kind::Small
        }
    }

    pub fn is_removed(&self) -> bool {
        self.row.state == RowState::Removed
    }

    /// Whether no writer stands in the way of the upload.
    pub fn is_released(&self) -> bool {
        self.holds == 0 || self.hurried > 0 || self.is_removed()
    }

    /// Whether nothing goes on by itself: a person is needed, or the file stays here as it is.
    fn is_at_rest(&self) -> bool {
        match self.row.state {
            RowState::Parked | RowState::Local => true,
            RowState::Kept => {
                let written = |staged: &Arc<StagedFile>| staged.modifications() != self.committed;
                let drafted = |draft: &Arc<StagedFile>| draft.modifications() > 0;
                !self.staged.as_ref().is_some_and(written) && !self.draft.as_ref().is_some_and(drafted)
            }
            _ => false,
        }
    }

    /// Whether a failed try waits for its next one.
    pub fn is_waiting(&self) -> bool {
        self.row.next_try.is_some()
    }

    /// Where on the service the item may be, or is going to be.
    pub fn target(&self) -> (String, String) {
        match &self.row.attempt {
            Some(sent) => (sent.folder.clone(), sent.name.clone()),
            None => (self.row.folder.clone(), self.row.name.clone()),
        }
    }

    fn stage(&self) -> Stage {
        if let Some(run) = &self.run {
            return match run.step {
                Step::Preparing | Step::Sending => Stage::Uploading,
                Step::Verifying | Step::Finishing => Stage::Verifying,
            };
        }
        match self.row.state {
            RowState::Parked => Stage::Parked,
            RowState::Kept => Stage::Kept,
            RowState::Local => Stage::Local,
            _ if self.row.next_try.is_some() => Stage::Waiting,
            _ if self.holds > 0 || self.due > Instant::now() => Stage::Staged,
            _ => Stage::Queued,
        }
    }

    /// Bytes that the service has taken in this try.
    fn sent(&self) -> u64 {
        match &self.run {
            Some(run) if run.step == Step::Sending => run.progress.sent(),
            Some(run) if run.step != Step::Preparing => self.row.size,
            _ => 0,
        }
    }

    fn status(&self) -> UploadStatus {
        let error = || self.row.last_error.clone().unwrap_or_default();
        match self.stage() {
            Stage::Staged => UploadStatus::Staged,
            Stage::Queued => UploadStatus::Queued,
            Stage::Uploading => UploadStatus::Uploading { sent: self.sent() },
            Stage::Verifying => UploadStatus::Verifying,
            Stage::Waiting => UploadStatus::Waiting {
                until: self.row.next_try.unwrap_or(SystemTime::UNIX_EPOCH),
                error: error(),
                kind: self.failure,
            },
            Stage::Parked => UploadStatus::Parked { reason: error() },
            Stage::Kept => UploadStatus::Kept,
            Stage::Local => UploadStatus::Local,
        }
    }

    /// Bytes of the newest content, committed or not.
    fn size(&self) -> u64 {
        let changed = (self.holds > 0).then(|| self.newest()).flatten();
        changed.map_or(self.row.size, |staged| staged.len())
    }

    fn snapshot(&self) -> PendingFile {
        PendingFile {
            id: PendingId(self.row.id),
            account: self.row.account.clone(),
            folder: FolderId::new(self.row.folder.clone()),
            name: self.row.name.clone(),
            size: self.size(),
            mtime: self.row.mtime,
            replaces: self.row.replaces.clone().map(FileId::new),
            superseded: self.row.superseded.iter().cloned().map(FileId::new).collect(),
            generation: self.row.generation,
            status: self.status(),
            rate: self.run.as_ref().map_or(0, |run| run.progress.rate()),
            tries: self.row.tries,
            announced: self.row.attempt.is_some(),
            uploaded: self
                .row
                .attempt
                .as_ref()
                .and_then(|sent| sent.file.clone())
                .map(FileId::new),
        }
    }
}

/// Bytes above which a file is a large one.
pub(super) const LARGE: u64 = 16 << 20;

/// Small files and large ones stand in queues of their own, so that neither waits for the end of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Small,
    Large,
}

/// The order of one account's work.
#[derive(Default)]
struct AccountQueue {
    /// By the time at which they are due. Holds what could run, and nothing else.
    small: BTreeSet<(Instant, PendingId)>,
    large: BTreeSet<(Instant, PendingId)>,
    /// Places on the service that an item works on, or may have left something at.
    targets: HashMap<(String, String), PendingId>,
    /// Where the service still holds a file that an item goes on with or replaces, and that bears a name which is
    /// not the item's any more.
    left: HashMap<PendingId, (String, String)>,
    wake: Arc<Notify>,
    served: bool,
    /// A person wants nothing sent.
    paused: bool,
}

/// What a worker may do next.
pub(super) enum Pick {
    Run(PendingId),
    Sleep(Option<Instant>),
}

pub(super) struct Table {
    items: HashMap<PendingId, Item>,
    queues: HashMap<String, AccountQueue>,
    /// With the account on which each is.
    finished: LruCache<PendingId, (String, FileEntry)>,
    /// Callers of drain; while there are any, the upload delay is skipped.
    pub drains: usize,
    pub deletions: Deletions,
    pub renames: Renames,
    /// Of all files that are sent.
    pub meter: Arc<Meter>,
}

impl Table {
    pub fn new() -> Self {
        Table {
            items: HashMap::new(),
            queues: HashMap::new(),
            finished: LruCache::new(FINISHED),
            drains: 0,
            deletions: Deletions::default(),
            renames: Renames::default(),
            meter: Arc::new(Meter::new()),
        }
    }

    pub fn add(&mut self, item: Item) {
        let id = PendingId(item.row.id);
        if item.row.attempt.is_some() && item.row.state != RowState::Parked {
            let target = item.target();
            self.queue(&item.row.account).targets.insert(target, id);
        }
        self.items.insert(id, item);
        self.reschedule(id);
    }

    pub fn item(&self, id: PendingId) -> Option<&Item> {
        self.items.get(&id)
    }

    /// For changes that do not touch the order; others call [`reschedule`](Self::reschedule) afterwards.
    pub fn item_mut(&mut self, id: PendingId) -> Option<&mut Item> {
        self.items.get_mut(&id)
    }

    /// An item that is not removed, which is how others know it.
    pub fn live(&self, id: PendingId) -> Option<&Item> {
        self.items.get(&id).filter(|item| !item.is_removed())
    }

    pub fn snapshot(&self, id: PendingId) -> Option<PendingFile> {
        self.live(id).map(Item::snapshot)
    }

    pub fn snapshots(&self) -> Vec<PendingFile> {
        let mut all: Vec<_> = self
            .items
            .values()
            .filter(|item| !item.is_removed())
            .map(Item::snapshot)
            .collect();
        all.sort_by_key(|file| file.id);
        all
    }

    /// Counts all files in one pass, and takes at most `rows` of each stage, the oldest ones.
    pub fn overview(&self, rows: usize) -> Overview {
        let mut overview = Overview {
            rate: self.meter.rate(),
            ..Overview::default()
        };
        let mut first: BTreeMap<Stage, BinaryHeap<PendingId>> = BTreeMap::new();
        for (id, item) in self.items.iter().filter(|(_, item)| !item.is_removed()) {
            let stage = item.stage();
            let sums = overview.stages.entry(stage).or_default();
            sums.files += 1;
            sums.bytes = sums.bytes.saturating_add(item.size());
            sums.sent = sums.sent.saturating_add(item.sent().min(item.size()));
            // Counted alone: nobody waits for them.
            if stage == Stage::Local {
                continue;
            }
            let first = first.entry(stage).or_default();
            first.push(*id);
            if first.len() > rows {
                first.pop();
            }
        }
        let chosen = first.into_values().flat_map(BinaryHeap::into_sorted_vec);
        overview.files = chosen.filter_map(|id| self.snapshot(id)).collect();
        overview
    }

    /// Up to `rows` files with ids above `after`, by id.
    pub fn snapshots_after(&self, after: PendingId, rows: usize) -> Vec<PendingFile> {
        let ids = self
            .items
            .iter()
            .filter(|(id, item)| **id > after && !item.is_removed() && item.row.state != RowState::Local);
        let mut ids: Vec<_> = ids.map(|(id, _)| *id).collect();
        if ids.len() > rows && rows > 0 {
            ids.select_nth_unstable(rows - 1);
            ids.truncate(rows);
        }
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.snapshot(id)).collect()
    }

    pub fn snapshots_in(&self, account: &str, folder: &FolderId) -> Vec<PendingFile> {
        let here = |item: &&Item| {
            item.row.account == account && item.row.folder == folder.as_str() && !item.is_removed()
        };
        self.items.values().filter(here).map(Item::snapshot).collect()
    }

    pub fn leaving(&self, account: &str, folder: &FolderId) -> Vec<(String, u64)> {
        let rows = self.items.values().map(|item| &item.row);
        rows.filter(|row| row.account == account)
            .filter_map(|row| {
                let sent = row.attempt.as_ref()?;
                // At its own place the file itself is shown.
                let elsewhere = sent.folder != row.folder || sent.name != row.name;
                let leaves = row.state == RowState::Removed || elsewhere;
                (leaves && sent.folder == folder.as_str()).then(|| (sent.name.clone(), sent.size))
            })
            .collect()
    }

    pub fn own_remains(&self, account: &str, folder: &FolderId) -> HashSet<FileId> {
        let rows = self.items.values().map(|item| &item.row);
        let rows = rows.filter(|row| row.account == account);
        let remains = rows.flat_map(|row| {
            let made = row.attempt.as_ref().and_then(|attempt| attempt.file.as_ref());
            // In its own folder the row itself stands for the file that it replaces.
            let replaced = row.replaces.as_ref().filter(|_| row.folder != folder.as_str());
            made.into_iter().chain(&row.superseded).chain(replaced)
        });
        remains.cloned().map(FileId::new).collect()
    }

    pub fn unfinished(&self) -> usize {
        let stays = |item: &Item| matches!(item.row.state, RowState::Kept | RowState::Local);
        let here = |item: &&Item| !item.is_removed() && !stays(item);
        self.items.values().filter(here).count() + self.deletions.len() + self.renames.len()
    }

    pub fn waiting_bytes(&self, account: &str) -> u64 {
        let waits = |item: &Item| !item.is_removed() && item.row.state != RowState::Local;
        let here = |item: &&Item| item.row.account == account && waits(item);
        self.items.values().filter(here).map(|item| item.row.size).sum()
    }

    /// Whether an upload ended lately in a folder.
    pub fn stored_in(&self, account: &str, folder: &FolderId) -> bool {
        let mut finished = self.finished.iter().map(|(_, finished)| finished);
        finished.any(|(owner, entry)| owner == account && entry.parent.as_ref() == Some(folder))
    }

    pub fn finished(&mut self, id: PendingId) -> Option<FileEntry> {
        self.finished.get(&id).map(|(_, entry)| entry.clone())
    }

    /// Takes a row over as it was committed. A row that is gone is not.
    pub fn set_row(&mut self, row: JournalRow) {
        let id = PendingId(row.id);
        let Some(item) = self.items.get_mut(&id) else {
            return;
        };
        let before = item.target();
        item.row = row;
        let (after, has_attempt) = (item.target(), item.row.attempt.is_some());
        let (parked, running) = (item.row.state == RowState::Parked, item.run.is_some());
        if !running {
            match item.row.next_try {
                Some(next) => item.due = to_instant(next),
                None if item.due > Instant::now() && item.is_removed() => item.due = Instant::now(),
                None => {}
            }
        }
        if let Some(outcome) = Outcome::of(&item.row, item.failure) {
            item.outcome.send_replace(outcome);
        } else if matches!(*item.outcome.borrow(), Outcome::Parked { .. } | Outcome::Kept) {
            item.outcome.send_replace(Outcome::Open);
        }
        let account = item.row.account.clone();
        let queue = self.queue(&account);
        if before != after {
            queue.give_back(&before, id);
        }
        if (has_attempt || running) && !parked {
            queue.targets.entry(after).or_insert(id);
        }
        self.reschedule(id);
    }

    /// Takes an item out. `entry` is what became of it on the service, if it was uploaded.
    pub fn remove(&mut self, id: PendingId, entry: Option<FileEntry>) -> Option<Item> {
        let item = self.items.remove(&id)?;
        let queue = self.queue(&item.row.account.clone());
        queue.left.remove(&id);
        queue.give_back(&item.target(), id);
        if let Some((kind, at)) = item.queued_at {
            queue.order(kind).remove(&(at, id));
        }
        queue.wake.notify_one();
        let generation = item.row.generation;
        match entry {
            Some(entry) => {
                self.finished.put(id, (item.row.account.clone(), entry.clone()));
                item.outcome.send_replace(Outcome::Done { generation, entry });
            }
            None => {
                item.outcome.send_replace(Outcome::Removed);
            }
        }
        Some(item)
    }

    /// Puts an item at its place in the order, or takes it out of it. To be called after every change of
    /// what decides that: row, holds, due time, run.
    pub fn reschedule(&mut self, id: PendingId) {
        let hurry = self.drains > 0;
        let Some(item) = self.items.get_mut(&id) else {
            return;
        };
        if (hurry || item.hurried > 0) && !item.is_waiting() {
            item.due = item.due.min(Instant::now());
        }
        let could_run = item.run.is_none() && item.is_released() && !item.is_at_rest();
        let before = item.queued_at;
        item.queued_at = could_run.then_some((item.kind(), item.due));
        let (after, account) = (item.queued_at, item.row.account.clone());
        let queue = self.queue(&account);
        if before != after {
            if let Some((kind, at)) = before {
                queue.order(kind).remove(&(at, id));
            }
            if let Some((kind, at)) = after {
                queue.order(kind).insert((at, id));
            }
            queue.wake.notify_one();
        }
    }

    /// The next item of a kind of an account to be worked on, which is then marked as running.
    pub fn pick(&mut self, account: &str, kind: Kind) -> Pick {
        let now = Instant::now();
        let Some(queue) = self.queues.get_mut(account) else {
            return Pick::Sleep(None);
        };
        let mut chosen = None;
        for &(due, id) in queue.ordered(kind) {
            if due > now {
                return Pick::Sleep(Some(due));
            }
            let Some(item) = self.items.get(&id) else { continue };
            if queue.paused && !item.is_removed() {
                continue;
            }
            let target = item.target();
            // A file that is to be deleted bears the name still.
            if self.deletions.is_taken(account, &target.0, &target.1) {
                self.deletions.hurry(account);
                continue;
            }
            if queue.targets.get(&target).is_none_or(|owner| *owner == id) {
                chosen = Some((due, id, target));
                break;
            }
        }
        let Some((due, id, target)) = chosen else {
            return Pick::Sleep(None);
        };
        queue.order(kind).remove(&(due, id));
        queue.targets.insert(target, id);
        if let Some(item) = self.items.get_mut(&id) {
            item.queued_at = None;
            item.run = Some(Run {
                step: Step::Preparing,
                progress: Arc::new(Progress::new(self.meter.clone())),
            });
        }
        Pick::Run(id)
    }

    /// Notes that the worker of an item is through with it. It is due again at `due`, or when it
    /// was before.
    pub fn end_run(&mut self, id: PendingId, due: Option<Instant>) {
        let Some(item) = self.items.get_mut(&id) else {
            return;
        };
        item.run = None;
        item.due = due.unwrap_or(item.due);
        let target = item.target();
        let keeps = item.row.attempt.is_some() && item.row.state != RowState::Parked;
        let account = item.row.account.clone();
        let queue = self.queue(&account);
        if !keeps {
            queue.give_back(&target, id);
        }
        // Another item may have waited for the place or the slot.
        queue.wake.notify_one();
        self.reschedule(id);
    }

    /// Whether the item's place on the service is its own.
    pub fn owns_target(&self, id: PendingId) -> bool {
        let Some(item) = self.items.get(&id) else {
            return false;
        };
        let (folder, name) = item.target();
        if self.deletions.is_taken(&item.row.account, &folder, &name) {
            return false;
        }
        let queue = self.queues.get(&item.row.account);
        queue.and_then(|queue| queue.targets.get(&(folder, name))) == Some(&id)
    }

    /// Whether a place on the service is owned by a removed file, which still looks there, by name and content, for
    /// what its upload may have left; or, for who is no upload (`me` is `None`), by one that was renamed since and is
    /// yet to take what it sent away from there. Uploads do not wait for the latter: two could wait for each other.
    pub fn is_being_cleared(&self, account: &str, folder: &str, name: &str, me: Option<PendingId>) -> bool {
        let target = (folder.to_owned(), name.to_owned());
        let Some(queue) = self.queues.get(account) else {
            return false;
        };
        let leaves = |item: &Item| {
            let elsewhere = item.row.folder != folder || item.row.name != name;
            me.is_none() && elsewhere && item.row.state != RowState::Parked
        };
        let owner = queue.targets.get(&target).filter(|owner| Some(**owner) != me);
        let owner = owner.and_then(|owner| self.items.get(owner));
        let mut left = queue.left.iter().filter(|(_, place)| **place == target);
        owner.is_some_and(|item| item.is_removed() || leaves(item))
            || left.any(|(id, _)| self.items.get(id).is_some_and(leaves))
    }

    /// Whether the service holds, or is going to hold, a file of an item other than `me` under this name.
    pub fn is_place_held(&self, account: &str, folder: &str, name: &str, me: Option<PendingId>) -> bool {
        let target = (folder.to_owned(), name.to_owned());
        self.queues.get(account).is_some_and(|queue| {
            let owner = queue.targets.get(&target).is_some_and(|owner| Some(*owner) != me);
            let mut left = queue.left.iter();
            owner || left.any(|(id, place)| Some(*id) != me && *place == target)
        })
    }

    /// Notes where a listing shows files that items go on with whose place may be another than their own.
    pub fn note_listed(&mut self, account: &str, folder: &str, listed: &HashMap<&str, &str>) {
        let wanders = |item: &Item| item.may_be_elsewhere && item.row.account == account;
        let mut seen = Vec::new();
        for (id, item) in self.items.iter().filter(|(_, item)| wanders(item)) {
            let row = &item.row;
            if let Some(name) = row.replaces.as_ref().and_then(|file| listed.get(file.as_str())) {
                let is_its_own = row.folder == folder && row.name == *name;
                seen.push((
                    *id,
                    (!is_its_own).then(|| (folder.to_owned(), (*name).to_owned())),
                ));
            }
        }
        for (id, place) in seen {
            self.set_left(id, place);
        }
    }

    /// Notes where the service holds the file that an item goes on with; `None` where it is at the item's own place.
    pub fn set_left(&mut self, id: PendingId, place: Option<(String, String)>) {
        let Some(item) = self.items.get_mut(&id) else {
            return;
        };
        item.may_be_elsewhere |= place.is_some();
        let account = item.row.account.clone();
        let queue = self.queue(&account);
        match place {
            Some(place) => drop(queue.left.insert(id, place)),
            None => drop(queue.left.remove(&id)),
        }
    }

    /// Whether a file of an account is the result of another item, or is one that another item is going
    /// to replace or go on with.
    pub fn is_of_another(&self, account: &str, file: &str, me: PendingId) -> bool {
        let mut finished = self.finished.iter().map(|(_, finished)| finished);
        finished.any(|(owner, entry)| owner == account && entry.id.as_str() == file)
            || self.items.iter().any(|(id, item)| {
                let row = &item.row;
                if *id == me || row.account != account {
                    return false;
                }
                let sent = row.attempt.as_ref().and_then(|sent| sent.file.as_ref());
                let known = row.replaces.iter().chain(&row.superseded).chain(sent);
                known.into_iter().any(|known| known == file)
            })
    }

    /// Whether another item that is at work goes on with a file of an account, replaces it or lets it go, or a rename
    /// of it is open.
    pub fn is_in_motion(&self, account: &str, file: &str, me: PendingId) -> bool {
        let renamed = self.renames.is_open(account, &ItemKey::File(file.to_owned()));
        renamed
            || self.items.iter().any(|(id, item)| {
                let row = &item.row;
                if *id == me || row.account != account || row.state == RowState::Parked {
                    return false;
                }
                let sent = row.attempt.as_ref().and_then(|sent| sent.file.as_ref());
                let known = row.replaces.iter().chain(&row.superseded).chain(sent);
                known.into_iter().any(|known| known == file)
            })
    }

    /// Whether another item sent the same content to a place on the service, so that what is there may be its.
    pub fn is_place_of_another(
        &self,
        account: &str,
        folder: &str,
        name: &str,
        sha256: &[u8; 32],
        me: PendingId,
    ) -> bool {
        let target = (folder.to_owned(), name.to_owned());
        let owner = self
            .queues
            .get(account)
            .and_then(|queue| queue.targets.get(&target));
        let owner = owner.filter(|owner| **owner != me);
        let sent = owner.and_then(|owner| self.items.get(owner)?.row.attempt.as_ref());
        sent.is_some_and(|sent| sent.sha256 == *sha256)
    }

    /// Whether another item sent so many bytes to a place on the service and does not know yet what that made.
    pub fn is_place_sought(&self, account: &str, folder: &str, name: &str, size: u64, me: PendingId) -> bool {
        let target = (folder.to_owned(), name.to_owned());
        let owner = self
            .queues
            .get(account)
            .and_then(|queue| queue.targets.get(&target));
        let owner = owner.filter(|owner| **owner != me);
        let owner = owner.and_then(|owner| self.items.get(owner));
        owner.is_some_and(|item| {
            let sent = item.row.attempt.as_ref();
            let seeks = sent.is_some_and(|sent| sent.file.is_none() && sent.size == size);
            seeks && item.row.state != RowState::Parked
        })
    }

    /// Marks an account as one whose queue is worked on, and returns what wakes its worker.
    pub fn serve(&mut self, account: &str) -> Arc<Notify> {
        let queue = self.queue(account);
        queue.served = true;
        queue.wake.clone()
    }

    pub fn is_paused(&self, account: &str) -> bool {
        self.queues.get(account).is_some_and(|queue| queue.paused)
    }

    pub fn set_paused(&mut self, account: &str, paused: bool) {
        let queue = self.queue(account);
        queue.paused = paused;
        queue.wake.notify_one();
    }

    /// Lets an account's worker look anew: a place may be free.
    pub fn wake(&mut self, account: &str) {
        self.queue(account).wake.notify_one();
    }

    /// Whether work is left that goes on by itself.
    pub fn is_busy(&self) -> bool {
        let mut items = self.items.values();
        let is_busy = items.any(|item| {
            let queue = self.queues.get(&item.row.account);
            let paused = queue.is_some_and(|queue| queue.paused) && !item.is_removed();
            let idle = item.is_at_rest() || !item.is_released() || paused;
            queue.is_some_and(|queue| queue.served) && (item.run.is_some() || !idle)
        });
        is_busy || self.deletions.is_busy() || self.renames.is_busy()
    }

    /// Whether a file would go on its way if its writers let go of it.
    pub fn is_held(&self) -> bool {
        self.items.values().any(|item| {
            let queue = self.queues.get(&item.row.account);
            queue.is_some_and(|queue| queue.served && !queue.paused)
                && !item.is_released()
                && !item.is_at_rest()
        })
    }

    /// Puts all items at their place again, after a drain began.
    pub fn reschedule_all(&mut self) {
        let ids: Vec<_> = self.items.keys().copied().collect();
        ids.into_iter().for_each(|id| self.reschedule(id));
        self.deletions.wake_all();
    }

    /// Whether a staged file of this name belongs to an item.
    pub fn uses(&self, name: &str) -> bool {
        self.items.values().any(|item| {
            let draft = item.draft.as_ref().is_some_and(|draft| draft.name() == name);
            draft || item.row.staging.as_deref() == Some(name)
        })
    }

    pub fn ids(&self) -> Vec<PendingId> {
        self.items.keys().copied().collect()
    }

    fn queue(&mut self, account: &str) -> &mut AccountQueue {
        if !self.queues.contains_key(account) {
            self.queues.insert(account.to_owned(), AccountQueue::default());
        }
        self.queues.entry(account.to_owned()).or_default()
    }
}

impl AccountQueue {
    fn ordered(&self, kind: Kind) -> &BTreeSet<(Instant, PendingId)> {
        match kind {
            Kind::Small => &self.small,
            Kind::Large => &self.large,
        }
    }

    fn order(&mut self, kind: Kind) -> &mut BTreeSet<(Instant, PendingId)> {
        match kind {
            Kind::Small => &mut self.small,
            Kind::Large => &mut self.large,
        }
    }

    fn give_back(&mut self, target: &(String, String), id: PendingId) {
        if self.targets.get(target) == Some(&id) {
            self.targets.remove(target);
        }
    }
}

pub(super) fn to_instant(time: SystemTime) -> Instant {
    let wait = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + wait.min(LONGEST_WAIT)
}
