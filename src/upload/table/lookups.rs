//! What is asked about the pending files. No answer walks all of them, however many wait, unless it tells them all.

use crate::provider::{ErrorKind, FileEntry, FileId, FolderId};
use crate::state::{ItemKey, RowState};
use crate::upload::status::{Overview, PendingFile, PendingId, Stage, Sums, Trace};

use super::Table;
use super::item::Item;
use super::items::Class;

impl Table {
    /// Those that still need a file of a service of which they are a copy.
    pub fn copies_of(&self, account: &str, file: &FileId) -> Vec<PendingId> {
        self.items.copies_of(account, file.as_str()).collect()
    }

    pub fn snapshot(&self, id: PendingId) -> Option<PendingFile> {
        self.live(id).map(Item::snapshot)
    }

    /// Up to `rows` files with ids above `after`, by id.
    pub fn snapshots_after(&self, after: PendingId, rows: usize) -> Vec<PendingFile> {
        let shown = self.items.after(after).filter(|(_, item)| !item.is_removed());
        shown.take(rows).map(|(_, item)| item.snapshot()).collect()
    }

    /// As [`snapshots_after`](Self::snapshots_after), of those that are to go to the service.
    pub fn snapshots_to_send(&self, after: PendingId, rows: usize) -> Vec<PendingFile> {
        let stays = |item: &Item| matches!(item.row.state, RowState::Removed | RowState::Local);
        let shown = self.items.after(after).filter(|(_, item)| !stays(item));
        shown.take(rows).map(|(_, item)| item.snapshot()).collect()
    }

    /// Those that never go to the service.
    pub fn local_snapshots(&self) -> Vec<PendingFile> {
        let open = self.items.in_class(Class::Active);
        let open = open.filter(|(_, item)| item.row.state == RowState::Local);
        let local = self.items.in_class(Class::Local).chain(open);
        local.map(|(_, item)| item.snapshot()).collect()
    }

    pub fn snapshots_in(&self, account: &str, folder: &FolderId) -> Vec<PendingFile> {
        let here = self.items.in_folder(account, folder.as_str());
        here.map(|(_, item)| item.snapshot()).collect()
    }

    pub fn parked(&self) -> Vec<PendingId> {
        let open = self.items.in_class(Class::Active);
        let open = open.filter(|(_, item)| item.row.state == RowState::Parked);
        let parked = self.items.in_class(Class::Parked).chain(open);
        parked.map(|(id, _)| id).collect()
    }

    /// Files of an account for which it had no room when they were tried last in this run of the program.
    pub fn without_room(&self, account: &str) -> Vec<PendingId> {
        self.items.without_room(account).collect()
    }

    /// Files of an account that was called too often when they were tried last in this run of the program.
    pub fn without_calls(&self, account: &str) -> Vec<PendingId> {
        let waiting = self.items.in_class(Class::Waiting);
        let limited = waiting
            .filter(|(_, item)| item.row.account == account && item.failure == Some(ErrorKind::RateLimited));
        limited.map(|(id, _)| id).collect()
    }

    /// Files of an account that failed for now.
    pub fn waiting_of(&self, account: &str) -> Vec<PendingId> {
        let waiting = self.items.in_class(Class::Waiting);
        let of_account = waiting.filter(|(_, item)| item.row.account == account);
        of_account.map(|(id, _)| id).collect()
    }

    /// Counts all files, and takes at most `rows` of each stage, the oldest ones.
    pub fn overview(&self, rows: usize) -> Overview {
        let mut overview = Overview {
            rate: self.meter.rate(),
            ..Overview::default()
        };
        let mut chosen = Vec::new();
        for (stage, class) in [
            (Stage::Parked, Class::Parked),
            (Stage::Waiting, Class::Waiting),
            (Stage::Queued, Class::Ready),
            (Stage::Kept, Class::Kept),
            (Stage::Local, Class::Local),
        ] {
            let Some(group) = self.items.class(class) else {
                continue;
            };
            overview.stages.insert(
                stage,
                Sums {
                    files: group.ids.len() as u64,
                    bytes: group.bytes,
                    sent: 0,
                },
            );
            // Those that rest are told apart below.
            let is_of = |(_, item): &(PendingId, &Item)| class != Class::Ready || item.stage() == stage;
            let first = self.items.in_class(class).filter(is_of).take(rows);
            chosen.extend(first.map(|(id, _)| (stage, id)));
        }
        for (id, item) in self.resting() {
            let queued = overview.stages.entry(Stage::Queued).or_default();
            queued.files -= 1;
            queued.bytes = queued.bytes.saturating_sub(item.row.size);
            chosen.push(overview.count(id, item));
        }
        for (id, item) in self.items.in_class(Class::Active) {
            chosen.push(overview.count(id, item));
        }
        overview.stages.retain(|_, sums| sums.files > 0);
        chosen.sort_unstable();
        let mut taken = 0;
        let mut last = None;
        chosen.retain(|(stage, _)| {
            taken = if last.replace(*stage) == Some(*stage) {
                taken + 1
            } else {
                1
            };
            // Local files are counted alone: nobody waits for them.
            taken <= rows && *stage != Stage::Local
        });
        overview.files = chosen
            .into_iter()
            .filter_map(|(_, id)| self.snapshot(id))
            .collect();
        overview
    }

    /// Files that nobody has open and that rest before they are queued.
    fn resting(&self) -> impl Iterator<Item = (PendingId, &Item)> {
        let later = self.due_later().filter_map(|id| Some((id, self.item(id)?)));
        later.filter(|(_, item)| Class::of(item) == Class::Ready && item.stage() == Stage::Staged)
    }

    pub fn traces(&self, account: &str, folder: &FolderId) -> Vec<Trace> {
        let traces = self.items.traces(account, folder.as_str());
        let traces = traces.filter_map(|(_, item)| item.trace());
        traces.map(|(sent, goes)| Trace::of(sent, goes)).collect()
    }

    /// Whether a file of the service, seen in a folder, is one that an item made and that is not in its place yet, that
    /// goes when it is, or whose place an item of another folder takes. Of a removed item only what it made itself is:
    /// what it was to replace is another's by now, or is deleted by a row of its own.
    pub fn is_remains(&self, account: &str, folder: &FolderId, file: &FileId) -> bool {
        self.items.about(account, file.as_str()).any(|(_, item)| {
            let row = &item.row;
            let sent = row.attempt.as_ref();
            let made = sent.and_then(|sent| sent.file.as_ref());
            if item.is_removed() {
                let replaced = sent.and_then(|sent| sent.replaces.as_ref());
                return made.is_some_and(|made| made == file.as_str() && Some(made) != replaced);
            }
            // In its own folder the row itself stands for the file that it replaces.
            let replaced = row.replaces.as_ref().filter(|_| row.folder != folder.as_str());
            let mut own = made.into_iter().chain(&row.superseded).chain(replaced);
            own.any(|own| own == file.as_str())
        })
    }

    /// The files that removed items of an account made and that go, as far as the service told of them.
    pub fn made_and_going(&self, account: &str) -> Vec<FileId> {
        let removed = self.items.of_account(account).map(|of| &of.removed);
        let items = removed.into_iter().flatten().filter_map(|id| self.item(*id));
        let made = items.filter_map(|item| {
            let sent = item.row.attempt.as_ref()?;
            sent.file.as_ref().filter(|_| sent.file != sent.replaces)
        });
        made.cloned().map(FileId::new).collect()
    }

    /// Whether the upload of a removed item may yet put its content into the file that this one is to replace: what is
    /// sent before that would be overwritten.
    pub(super) fn is_yet_overwritten(&self, item: &Item) -> bool {
        let Some(file) = item.row.replaces.as_ref().filter(|_| !item.is_removed()) else {
            return false;
        };
        let overwrites = |other: &Item| {
            let sent = other.row.attempt.as_ref();
            sent.is_some_and(|sent| sent.replaces.as_ref() == Some(file) && sent.file.is_none())
        };
        let mut about = self.items.about(&item.row.account, file);
        about.any(|(_, other)| other.is_removed() && overwrites(other))
    }

    pub fn unfinished(&self) -> usize {
        self.items.unfinished() + self.deletions.len() + self.renames.len()
    }

    pub fn waiting_bytes(&self, account: &str) -> u64 {
        self.items.waiting_bytes(account)
    }

    /// Whether an upload ended lately in a folder.
    pub fn stored_in(&self, account: &str, folder: &FolderId) -> bool {
        let mut finished = self.finished.iter().map(|(_, finished)| finished);
        finished.any(|(owner, entry)| owner == account && entry.parent.as_ref() == Some(folder))
    }

    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// The files of uploads that finished in another folder since so many had.
    pub fn placed_elsewhere_since(&self, account: &str, folder: &FolderId, ended: u64) -> Vec<FileId> {
        let since = usize::try_from(self.ended.saturating_sub(ended)).unwrap_or(usize::MAX);
        let latest = self.finished.iter().take(since).map(|(_, finished)| finished);
        let elsewhere = latest.filter(|(owner, entry)| {
            owner == account && entry.parent.as_ref().is_some_and(|parent| parent != folder)
        });
        elsewhere.map(|(_, entry)| entry.id.clone()).collect()
    }

    pub fn finished(&self, id: PendingId) -> Option<FileEntry> {
        // Looking changes nothing of the order in which they finished.
        self.finished.peek(&id).map(|(_, entry)| entry.clone())
    }

    /// Whether a file of an account is the result of another item, or is one that another item is going
    /// to replace or go on with.
    pub fn is_of_another(&self, account: &str, file: &str, me: PendingId) -> bool {
        let mut finished = self.finished.iter().map(|(_, finished)| finished);
        finished.any(|(owner, entry)| owner == account && entry.id.as_str() == file)
            || self.items.about(account, file).any(|(id, _)| id != me)
    }

    /// Whether another item that is at work goes on with a file of an account, replaces it or lets it go, or a rename
    /// of it is open.
    pub fn is_in_motion(&self, account: &str, file: &str, me: PendingId) -> bool {
        let mut about = self.items.about(account, file);
        self.is_renamed_now(account, file)
            || about.any(|(id, item)| id != me && item.row.state != RowState::Parked)
    }

    /// The same, with those that wait for a person.
    pub fn is_gone_on_with(&self, account: &str, file: &str, me: PendingId) -> bool {
        self.is_renamed_now(account, file) || self.items.about(account, file).any(|(id, _)| id != me)
    }

    /// Whether a rename of a file of the service is open: it may bear the name of what a removed item sent.
    pub fn is_renamed_now(&self, account: &str, file: &str) -> bool {
        let item = ItemKey::File(file.to_owned());
        self.renames.of_item(account, &item).is_some()
    }

    /// Whether a rename is bringing a file of the service elsewhere.
    pub fn is_moving(&self, account: &str, file: &str) -> bool {
        self.renames.is_moving(account, &ItemKey::File(file.to_owned()))
    }

    /// Whether work is left that goes on by itself.
    pub fn is_busy(&self) -> bool {
        let goes_on = self.queues.iter().filter(|(_, queue)| queue.served);
        let mut goes_on = goes_on.filter_map(|(name, queue)| Some((self.items.of_account(name)?, queue)));
        goes_on.any(|(of, queue)| !of.removed.is_empty() || (of.awake > 0 && !queue.paused))
            || self.items.in_class(Class::Active).any(|(_, item)| {
                let queue = self.queues.get(&item.row.account).filter(|queue| queue.served);
                let could_run = |paused: bool| !paused && item.is_released() && !item.is_at_rest();
                queue.is_some_and(|queue| item.run.is_some() || could_run(queue.paused))
            })
            || self.deletions.is_busy()
            || self.renames.is_busy()
    }

    /// Whether a file would go on its way if its writers let go of it.
    pub fn is_held(&self) -> bool {
        self.items.in_class(Class::Active).any(|(_, item)| {
            let queue = self.queues.get(&item.row.account);
            queue.is_some_and(|queue| queue.served && !queue.paused)
                && !item.is_released()
                && !item.is_at_rest()
        })
    }

    /// Whether a staged file of this name belongs to an item.
    pub fn uses(&self, name: &str) -> bool {
        self.items.uses(name)
    }
}

impl Overview {
    /// Counts a file by what it tells of itself.
    fn count(&mut self, id: PendingId, item: &Item) -> (Stage, PendingId) {
        let stage = item.stage();
        let sums = self.stages.entry(stage).or_default();
        sums.files += 1;
        sums.bytes = sums.bytes.saturating_add(item.size());
        sums.sent = sums.sent.saturating_add(item.sent().min(item.size()));
        (stage, id)
    }
}
