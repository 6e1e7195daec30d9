//! Which file is worked on next, and who has which place on the service meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::state::RowState;
use crate::upload::meter::Progress;
use crate::upload::status::PendingId;

use super::Table;
use super::item::{Item, Kind, Run, Step};
use super::items::take_from;

/// A clock that was set back does not make a try wait for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Folder and name on the service.
type Place = (String, String);

/// The order of one account's work.
#[derive(Default)]
pub(super) struct AccountQueue {
    /// By the time at which they are due. Holds what could run, and nothing else.
    small: BTreeSet<(Instant, PendingId)>,
    large: BTreeSet<(Instant, PendingId)>,
    /// Places on the service that an item works on, or may have left something at.
    pub targets: HashMap<Place, PendingId>,
    pub left: Left,
    pub wake: Arc<Notify>,
    pub served: bool,
    /// A person wants nothing sent.
    pub paused: bool,
}

/// Where the service still holds a file that an item goes on with or replaces, and that bears a name which is
/// not the item's any more.
#[derive(Default)]
pub(super) struct Left {
    places: HashMap<PendingId, Place>,
    ids: HashMap<Place, BTreeSet<PendingId>>,
}

/// What a worker may do next.
pub(in crate::upload) enum Pick {
    Run(PendingId),
    Sleep(Option<Instant>),
}

/// How an item moves within its account's order: by kind, and when it is due. Outside of it is `None`.
pub(super) struct Move {
    account: String,
    from: Option<(Kind, Instant)>,
    to: Option<(Kind, Instant)>,
}

impl Item {
    /// Finds where in the order of its account the item stands by now; `None` where that is as before.
    pub(super) fn reorder(&mut self, hurry: bool) -> Option<Move> {
        if (hurry || self.hurried > 0) && !self.is_waiting() {
            self.due = self.due.min(Instant::now());
        }
        let could_run = self.run.is_none() && self.is_released() && !self.is_at_rest();
        let to = could_run.then_some((self.kind(), self.due));
        let from = std::mem::replace(&mut self.queued_at, to);
        (from != to).then(|| Move {
            account: self.row.account.clone(),
            from,
            to,
        })
    }
}

impl Table {
    /// Changes an item, if it is there, and moves it within its account's order, or takes it out of it.
    pub fn change<T>(&mut self, id: PendingId, change: impl FnOnce(&mut Item) -> T) -> Option<T> {
        let hurry = self.drains > 0;
        let (value, moved) = self.items.change(id, |item| {
            let value = change(item);
            (value, item.reorder(hurry))
        })?;
        self.put_in_order(id, moved);
        Some(value)
    }

    pub(super) fn put_in_order(&mut self, id: PendingId, moved: Option<Move>) {
        if let Some(moved) = moved {
            let queue = self.queue(&moved.account);
            queue.put(id, &moved);
            queue.wake.notify_one();
        }
    }

    /// Orders all items anew, after a drain began.
    pub fn reschedule_all(&mut self) {
        let ids: Vec<_> = self.items.ids().collect();
        for id in ids {
            self.change(id, |_| ());
        }
        self.deletions.wake_all();
    }

    /// The next item of a kind of an account to be worked on, which is then marked as running.
    pub fn pick(&mut self, account: &str, kind: Kind) -> Pick {
        let (next, waits_for_deletion) = self.next(account, kind);
        if waits_for_deletion {
            self.deletions.hurry(account);
        }
        let (id, target) = match next {
            Ok(next) => next,
            Err(due) => return Pick::Sleep(due),
        };
        let meter = self.meter.clone();
        let moved = self.items.change(id, |item| {
            item.run = Some(Run {
                step: Step::Preparing,
                progress: Arc::new(Progress::new(meter)),
            });
            item.reorder(false)
        });
        let queue = self.queue(account);
        if let Some(moved) = moved.flatten() {
            queue.put(id, &moved);
        }
        queue.targets.insert(target, id);
        Pick::Run(id)
    }

    /// The next item that can be worked on and its place, or when there may be one. Also, whether one waits for what
    /// is to be deleted.
    fn next(&self, account: &str, kind: Kind) -> (Result<(PendingId, Place), Option<Instant>>, bool) {
        let Some(queue) = self.queues.get(account) else {
            return (Err(None), false);
        };
        // What is removed goes on although nothing is to be sent.
        let unpaused = queue.paused.then(|| self.removed_in_order(account, kind));
        let now = Instant::now();
        let mut waits_for_deletion = false;
        for &(due, id) in unpaused.as_ref().unwrap_or(queue.ordered(kind)) {
            if due > now {
                return (Err(Some(due)), waits_for_deletion);
            }
            let Some(item) = self.items.get(id) else { continue };
            let target = item.target();
            // A file that is to be deleted bears the name still.
            if self.deletions.is_taken(account, &target.0, &target.1) {
                waits_for_deletion = true;
            } else if queue.targets.get(&target).is_none_or(|owner| *owner == id)
                && !self.is_yet_overwritten(item)
            {
                return (Ok((id, target)), waits_for_deletion);
            }
        }
        (Err(None), waits_for_deletion)
    }

    fn removed_in_order(&self, account: &str, kind: Kind) -> BTreeSet<(Instant, PendingId)> {
        let removed = self.items.of_account(account).map(|of| &of.removed);
        let queued = removed.into_iter().flatten().filter_map(|id| {
            let (of_kind, due) = self.items.get(*id)?.queued_at?;
            (of_kind == kind).then_some((due, *id))
        });
        queued.collect()
    }

    /// Notes that the worker of an item is through with it. It is due again at `due`, or when it
    /// was before.
    pub fn end_run(&mut self, id: PendingId, due: Option<Instant>) {
        let ended = self.change(id, |item| {
            item.run = None;
            item.due = due.unwrap_or(item.due);
            let keeps = item.row.attempt.is_some() && item.row.state != RowState::Parked;
            (item.row.account.clone(), (!keeps).then(|| item.target()))
        });
        let Some((account, target)) = ended else { return };
        let queue = self.queue(&account);
        if let Some(target) = target {
            queue.give_back(&target, id);
        }
        // Another item may have waited for the place or the slot.
        queue.wake.notify_one();
    }

    /// Whether the item's place on the service is its own.
    pub fn owns_target(&self, id: PendingId) -> bool {
        let Some(item) = self.items.get(id) else {
            return false;
        };
        let (folder, name) = item.target();
        if self.deletions.is_taken(&item.row.account, &folder, &name) || self.is_yet_overwritten(item) {
            return false;
        }
        let queue = self.queues.get(&item.row.account);
        queue.and_then(|queue| queue.targets.get(&(folder, name))) == Some(&id)
    }

    /// Whether a place on the service is owned by a removed file, which still looks there, by name and content, for
    /// what its upload may have left; or, for who is no upload (`me` is `None`), by one that was renamed since and is
    /// yet to take what it sent away from there. Uploads do not wait for the latter: two could wait for each other.
    pub fn is_being_cleared(&self, account: &str, folder: &str, name: &str, me: Option<PendingId>) -> bool {
        let leaves = |item: &Item| {
            let elsewhere = item.row.folder != folder || item.row.name != name;
            me.is_none() && elsewhere && item.row.state != RowState::Parked
        };
        let place = place(folder, name);
        let owner = self.owner(account, &place, me);
        owner.is_some_and(|item| item.is_removed() || leaves(item))
            || self.left_at(account, &place).any(|(_, item)| leaves(item))
    }

    /// Whether the service holds, or is going to hold, a file of an item other than `me` under this name.
    pub fn is_place_held(&self, account: &str, folder: &str, name: &str, me: Option<PendingId>) -> bool {
        let place = place(folder, name);
        self.owner(account, &place, me).is_some()
            || self.left_at(account, &place).any(|(id, _)| Some(id) != me)
    }

    /// Whether another item sent the same content to a place on the service, so that what is there may be its.
    pub fn is_place_of_another(
        &self,
        account: &str,
        folder: &str,
        name: &str,
        sha256: Option<[u8; 32]>,
        me: PendingId,
    ) -> bool {
        let owner = self.owner(account, &place(folder, name), Some(me));
        let sent = owner.and_then(|item| item.row.attempt.as_ref());
        sent.is_some_and(|sent| sha256.is_some() && sent.sha256 == sha256)
    }

    /// Whether another item sent so many bytes to a place on the service and does not know yet what that made.
    pub fn is_place_sought(&self, account: &str, folder: &str, name: &str, size: u64, me: PendingId) -> bool {
        let owner = self.owner(account, &place(folder, name), Some(me));
        let at_work = owner.filter(|item| item.row.state != RowState::Parked);
        let sent = at_work.and_then(|item| item.row.attempt.as_ref());
        sent.is_some_and(|sent| sent.file.is_none() && sent.size == size)
    }

    /// The item other than `me` that works on a place on the service, or may have left something there.
    fn owner(&self, account: &str, place: &Place, me: Option<PendingId>) -> Option<&Item> {
        let owner = self.queues.get(account)?.targets.get(place)?;
        (Some(*owner) != me).then(|| self.items.get(*owner))?
    }

    /// The items that go on with, or replace, a file that the service still holds at a place which is not theirs.
    fn left_at(&self, account: &str, place: &Place) -> impl Iterator<Item = (PendingId, &Item)> {
        let queue = self.queues.get(account);
        let left = queue.and_then(|queue| queue.left.ids.get(place));
        let ids = left.into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.items.get(*id)?)))
    }

    /// Notes where a listing shows files that items go on with whose place may be another than their own.
    pub fn note_listed(&mut self, account: &str, folder: &str, listed: &HashMap<&str, &str>) {
        let mut seen = Vec::new();
        for (file, name) in listed {
            let wanders = |item: &Item| item.may_be_elsewhere && item.row.replaces.as_deref() == Some(*file);
            for (id, item) in self.items.about(account, file).filter(|(_, item)| wanders(item)) {
                let is_its_own = item.row.folder == folder && item.row.name == *name;
                let place = (!is_its_own).then(|| (folder.to_owned(), (*name).to_owned()));
                seen.push((id, place));
            }
        }
        for (id, place) in seen {
            self.set_left(id, place);
        }
    }

    /// Notes where the service holds the file that an item goes on with; `None` where it is at the item's own place.
    pub fn set_left(&mut self, id: PendingId, place: Option<Place>) {
        let account = self.change(id, |item| {
            item.may_be_elsewhere |= place.is_some();
            item.row.account.clone()
        });
        if let Some(account) = account {
            self.queue(&account).left.set(id, place);
        }
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

    /// Items in the order of any account that are not due yet.
    pub(super) fn due_later(&self) -> impl Iterator<Item = PendingId> {
        let from = (Instant::now(), PendingId::from_i64(i64::MAX));
        let queues = self.queues.values();
        let orders = queues.flat_map(|queue| [&queue.small, &queue.large]);
        orders.flat_map(move |order| order.range(from..).map(|(_, id)| *id))
    }

    pub(super) fn queue(&mut self, account: &str) -> &mut AccountQueue {
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

    #[cfg(test)]
    pub fn all(&self) -> Vec<(Kind, Instant, PendingId)> {
        let small = self.small.iter().map(|(at, id)| (Kind::Small, *at, *id));
        let large = self.large.iter().map(|(at, id)| (Kind::Large, *at, *id));
        small.chain(large).collect()
    }

    pub fn put(&mut self, id: PendingId, moved: &Move) {
        if let Some((kind, at)) = moved.from {
            self.order(kind).remove(&(at, id));
        }
        if let Some((kind, at)) = moved.to {
            self.order(kind).insert((at, id));
        }
    }

    /// Takes an item out of all that is known here of it.
    pub fn forget(&mut self, id: PendingId, item: &Item) {
        self.left.set(id, None);
        self.give_back(&item.target(), id);
        if let Some((kind, at)) = item.queued_at {
            self.order(kind).remove(&(at, id));
        }
        self.wake.notify_one();
    }

    pub fn give_back(&mut self, target: &Place, id: PendingId) {
        if self.targets.get(target) == Some(&id) {
            self.targets.remove(target);
        }
    }
}

impl Left {
    fn set(&mut self, id: PendingId, place: Option<Place>) {
        if let Some(before) = self.places.remove(&id) {
            take_from(&mut self.ids, &before, id);
        }
        if let Some(place) = place {
            self.ids.entry(place.clone()).or_default().insert(id);
            self.places.insert(id, place);
        }
    }

    #[cfg(test)]
    pub fn all(&self) -> &HashMap<PendingId, Place> {
        &self.places
    }
}

fn place(folder: &str, name: &str) -> Place {
    (folder.to_owned(), name.to_owned())
}

pub(in crate::upload) fn to_instant(time: SystemTime) -> Instant {
    let wait = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + wait.min(LONGEST_WAIT)
}
