//! The items that are to be deleted, in memory: the journal's rows as committed, with indices by item, by place
//! and by due time, and who is to be told what is gone.
//!
//! It promises that an item with a row is known as going until the service has deleted it, that a place of such
//! an item counts as taken until then, and that a parked row does neither: its item is there for everybody to
//! see. Plain data; it calls nobody.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::provider::{ErrorKind, FolderId};
use crate::state::{DeletionRow, ItemKey};

use super::operations::{OperationId, OperationKind, OperationState, PendingOperation};
use super::table::to_instant;

/// How long no other row must come before those that are there are sent together.
const GATHER: Duration = Duration::from_millis(250);
/// How long the room that was made may not be noticed by the service.
const ROOM_SHOWS: Duration = Duration::from_secs(60);
/// How long rows wait for others at most.
const GATHER_LIMIT: Duration = Duration::from_secs(10);

struct Deletion {
    row: DeletionRow,
    due: Instant,
    /// The service is being told, or a person's change is being written.
    busy: bool,
    /// What the service answered when it was tried last in this run of the program.
    failure: Option<ErrorKind>,
}

impl Deletion {
    fn snapshot(&self) -> PendingOperation {
        PendingOperation {
            id: OperationId::Delete(self.row.id),
            account: self.row.account.to_string(),
            kind: OperationKind::Delete,
            folder: FolderId::new(&*self.row.folder),
            name: self.row.name.to_string(),
            to: None,
            state: OperationState::of(
                self.row.parked,
                self.busy,
                self.row.next_try,
                self.row.last_error.as_deref(),
            ),
            tries: self.row.tries,
        }
    }
}

/// Rows by the name in a folder.
type Places = HashMap<Arc<str>, Vec<i64>>;

#[derive(Default)]
struct OfAccount {
    by_item: HashMap<ItemKey, i64>,
    /// Those that are not parked.
    by_folder: HashMap<Arc<str>, Places>,
    /// Those that are neither parked nor busy, by the time at which they are due.
    order: BTreeSet<(Instant, i64)>,
    /// When the first and the last of the rows came that wait for others to come.
    gathering: Option<(Instant, Instant)>,
    hurried: bool,
    /// When something was deleted last.
    deleted: Option<Instant>,
    served: bool,
    wake: Arc<Notify>,
    /// Items that went since a listing was asked for, by the listing.
    watches: HashMap<u64, HashSet<ItemKey>>,
}

/// What the deleter of an account may do next.
pub(super) enum Take {
    Delete(Vec<DeletionRow>),
    Sleep(Option<Instant>),
}

/// How the deletions at a place or in a folder stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Clear,
    Going,
    /// The last try failed.
    Failed {
        kind: ErrorKind,
        error: String,
    },
}

#[derive(Default)]
pub(super) struct Deletions {
    rows: HashMap<i64, Deletion>,
    accounts: HashMap<Arc<str>, OfAccount>,
    watches: u64,
}

impl Deletions {
    /// Takes a row over as it was committed: a new one, or one that is begun anew.
    pub fn add(&mut self, mut row: DeletionRow, now: Instant) {
        if let Some((account, _)) = self.accounts.get_key_value(&row.account) {
            row.account = account.clone();
        }
        let busy = self.rows.get(&row.id).is_some_and(|known| known.busy);
        self.take_out(row.id);
        let account = self.accounts.entry(row.account.clone()).or_default();
        if let Some((folder, _)) = account.by_folder.get_key_value(&row.folder) {
            row.folder = folder.clone();
        }
        let due = row.next_try.map_or(now, to_instant);
        if row.next_try.is_none() {
            let first = account.gathering.map_or(now, |(first, _)| first);
            account.gathering = Some((first, now));
        }
        let id = row.id;
        let deletion = Deletion {
            row,
            due,
            busy,
            failure: None,
        };
        self.rows.insert(id, deletion);
        self.put_in(id);
    }

    /// Puts a row into the indices of its account.
    fn put_in(&mut self, id: i64) {
        let Some(Deletion { row, due, busy, .. }) = self.rows.get(&id) else {
            return;
        };
        let account = self.accounts.entry(row.account.clone()).or_default();
        account.by_item.insert(row.item.clone(), id);
        if !row.parked {
            let places = account.by_folder.entry(row.folder.clone()).or_default();
            places.entry(row.name.clone()).or_default().push(id);
            if !busy {
                account.order.insert((*due, id));
            }
        }
        account.wake.notify_one();
    }

    /// Takes a row out of the indices of its account.
    fn take_out(&mut self, id: i64) {
        let Some(Deletion { row, due, .. }) = self.rows.get(&id) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&row.account) else {
            return;
        };
        if account.by_item.get(&row.item) == Some(&id) {
            account.by_item.remove(&row.item);
        }
        account.order.remove(&(*due, id));
        if let Entry::Occupied(mut places) = account.by_folder.entry(row.folder.clone()) {
            if let Entry::Occupied(mut ids) = places.get_mut().entry(row.name.clone()) {
                ids.get_mut().retain(|other| *other != id);
                if ids.get().is_empty() {
                    ids.remove();
                }
            }
            if places.get().is_empty() {
                places.remove();
            }
        }
        account.wake.notify_one();
    }

    /// Changes a row that is there, and keeps the indices in step.
    fn change(&mut self, id: i64, change: impl FnOnce(&mut Deletion)) {
        self.take_out(id);
        if let Some(deletion) = self.rows.get_mut(&id) {
            change(deletion);
        }
        self.put_in(id);
    }

    /// The row is gone. With `deleted`, so is the item, whatever a listing says that was asked for before.
    pub fn remove(&mut self, id: i64, deleted: bool) {
        self.take_out(id);
        let Some(gone) = self.rows.remove(&id) else { return };
        let Some(account) = self.accounts.get_mut(&gone.row.account) else {
            return;
        };
        if deleted {
            account.deleted = Some(Instant::now());
            for since in account.watches.values_mut() {
                since.insert(gone.row.item.clone());
            }
        }
    }

    /// Notes that a try ended without the item being gone; the row is as committed.
    pub fn put_back(&mut self, row: DeletionRow, failure: Option<ErrorKind>) {
        self.change(row.id, |deletion| {
            deletion.due = row.next_try.map_or_else(Instant::now, to_instant);
            deletion.busy = false;
            deletion.failure = failure;
            deletion.row = row;
        });
    }

    /// A try ended and could not be written down: it is done again at `due`.
    pub fn release(&mut self, id: i64, due: Instant) {
        self.change(id, |deletion| (deletion.busy, deletion.due) = (false, due));
    }

    /// Keeps a row from being taken while a person's change of it is written; the row as it is, unless the
    /// service is being told of it.
    pub fn claim(&mut self, id: i64) -> Option<DeletionRow> {
        let row = self.rows.get(&id).filter(|known| !known.busy)?.row.clone();
        self.change(id, |deletion| deletion.busy = true);
        Some(row)
    }

    /// The parked row of an item.
    pub fn parked(&self, account: &str, item: &ItemKey) -> Option<i64> {
        let id = self.accounts.get(account)?.by_item.get(item)?;
        self.rows
            .get(id)
            .filter(|known| known.row.parked)
            .map(|known| known.row.id)
    }

    /// The rows of what was removed from a folder and is to be deleted still.
    pub fn ids_in(&self, account: &str, folder: &str) -> Vec<i64> {
        self.ids_at(account, folder, None)
    }

    pub fn row(&self, id: i64) -> Option<&DeletionRow> {
        self.rows.get(&id).map(|deletion| &deletion.row)
    }

    /// What is to be deleted next, up to `most` rows, which then are busy. Rows that are new wait a moment for
    /// others.
    pub fn take(&mut self, account: &str, most: usize, draining: bool, now: Instant) -> Take {
        let Some(of) = self.accounts.get_mut(account) else {
            return Take::Sleep(None);
        };
        let Some((first_due, _)) = of.order.first().copied() else {
            of.gathering = None;
            return Take::Sleep(None);
        };
        if first_due > now {
            of.hurried = false;
            return Take::Sleep(Some(first_due));
        }
        if let Some((first, last)) = of.gathering
            && !(of.hurried || draining)
        {
            let until = (last + GATHER).min(first + GATHER_LIMIT);
            if until > now && of.order.len() < most {
                return Take::Sleep(Some(until));
            }
        }
        let due: Vec<_> = of
            .order
            .iter()
            .take_while(|(due, _)| *due <= now)
            .take(most)
            .copied()
            .collect();
        if due.len() < most {
            (of.gathering, of.hurried) = (None, false);
        }
        let mut taken = Vec::with_capacity(due.len());
        for at in due {
            of.order.remove(&at);
            if let Some(deletion) = self.rows.get_mut(&at.1) {
                deletion.busy = true;
                taken.push(deletion.row.clone());
            }
        }
        Take::Delete(taken)
    }

    /// Marks an account as one whose deletions are worked on, and returns what wakes its worker.
    pub fn serve(&mut self, account: &str) -> Arc<Notify> {
        let of = self.accounts.entry(account.into()).or_default();
        of.served = true;
        of.wake.clone()
    }

    /// Whether work is left that goes on by itself.
    pub fn is_busy(&self) -> bool {
        let mut served = self.accounts.values().filter(|of| of.served);
        served.any(|of| !of.by_folder.is_empty())
    }

    /// Whether room is being made on an account, or was a moment ago.
    pub fn make_room(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|of| {
            let lately = of.deleted.is_some_and(|at| at.elapsed() < ROOM_SHOWS);
            lately || !of.by_folder.is_empty()
        })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn wake_all(&self) {
        self.accounts.values().for_each(|of| of.wake.notify_one());
    }

    fn ids_at(&self, account: &str, folder: &str, name: Option<&str>) -> Vec<i64> {
        let places = self.accounts.get(account).and_then(|of| of.by_folder.get(folder));
        let Some(places) = places else { return Vec::new() };
        match name {
            Some(name) => places.get(name).cloned().unwrap_or_default(),
            None => places.values().flatten().copied().collect(),
        }
    }

    /// Whether an item is going that stands at this place.
    pub fn is_taken(&self, account: &str, folder: &str, name: &str) -> bool {
        let of = self.accounts.get(account);
        let places = of.and_then(|of| of.by_folder.get(folder));
        places.is_some_and(|places| places.contains_key(name))
    }

    /// Lets what stands at a place go without waiting for others; what failed waits for its time.
    pub fn hurry(&mut self, account: &str) {
        if let Some(of) = self.accounts.get_mut(account)
            && !std::mem::replace(&mut of.hurried, true)
        {
            of.wake.notify_one();
        }
    }

    /// Lets what stands at a place, or in a folder, go now, although it may have failed before.
    pub fn urge(&mut self, account: &str, folder: &str, name: Option<&str>) {
        for id in self.ids_at(account, folder, name) {
            if self.rows.get(&id).is_some_and(|known| !known.busy) {
                self.change(id, |deletion| {
                    (deletion.due, deletion.failure) = (Instant::now(), None);
                });
            }
        }
        self.hurry(account);
    }

    /// How far the deletions at a place, or in a folder, are.
    pub fn standing(&self, account: &str, folder: &str, name: Option<&str>) -> Standing {
        let ids = self.ids_at(account, folder, name);
        if ids.is_empty() {
            return Standing::Clear;
        }
        let mut failed = ids.iter().filter_map(|id| {
            let deletion = self.rows.get(id).filter(|known| !known.busy)?;
            let error = deletion.row.last_error.clone().unwrap_or_default();
            deletion.failure.map(|kind| Standing::Failed { kind, error })
        });
        failed.next().unwrap_or(Standing::Going)
    }

    /// Begins to note what goes from now on.
    pub fn watch(&mut self, account: &str) -> u64 {
        self.watches += 1;
        let of = self.accounts.entry(account.into()).or_default();
        of.watches.insert(self.watches, HashSet::new());
        self.watches
    }

    pub fn unwatch(&mut self, account: &str, watch: u64) {
        if let Some(of) = self.accounts.get_mut(account) {
            of.watches.remove(&watch);
        }
    }

    /// Whether an item is going, or went since the watch began.
    pub fn is_gone(&self, account: &str, watch: u64, item: &ItemKey) -> bool {
        let Some(of) = self.accounts.get(account) else {
            return false;
        };
        let went = of.watches.get(&watch).is_some_and(|since| since.contains(item));
        let going = of.by_item.get(item).and_then(|id| self.rows.get(id));
        went || going.is_some_and(|deletion| !deletion.row.parked)
    }

    pub fn snapshots(&self) -> Vec<PendingOperation> {
        self.rows.values().map(Deletion::snapshot).collect()
    }
}

/// The row of an item that is to be deleted from now on.
pub(super) fn begin(
    account: &str,
    item: ItemKey,
    folder: &str,
    name: &str,
    size: u64,
    purge: bool,
) -> DeletionRow {
    DeletionRow {
        id: 0,
        account: account.into(),
        item,
        folder: folder.into(),
        name: name.into(),
        size,
        purge,
        parked: false,
        tries: 0,
        next_try: None,
        last_error: None,
        created: SystemTime::now(),
    }
}
