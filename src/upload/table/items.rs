//! All pending files, with the sets and sums that answer questions about many of them at once.
//!
//! The journal may hold a hundred thousand rows, and most questions are asked for each upload, listing or change:
//! none of them may walk all files. What files are counted and found by is their [`Keys`]. They are computed anew
//! whenever a file is added, [changed](Items::change) or removed, and nobody else gets hold of a file to change it,
//! so that the index cannot differ from the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use crate::provider::ErrorKind;
use crate::state::RowState;
use crate::upload::status::PendingId;

use super::item::Item;

#[derive(Default)]
pub(super) struct Items {
    all: BTreeMap<PendingId, Box<Item>>,
    index: Index,
}

/// How a file is counted. It is in one class at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// For others it is gone.
    Removed,
    /// Worked on, or open to a writer: its stage, size and progress are told by itself alone.
    Active,
    Parked,
    Waiting,
    /// Resting for the upload delay, or queued.
    Ready,
    Kept,
    Local,
}

/// The files of one class.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub ids: BTreeSet<PendingId>,
    /// The sum of the rows' sizes.
    pub bytes: u64,
}

/// The files of one account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OfAccount {
    /// Those that are shown, by folder.
    folders: HashMap<String, BTreeSet<PendingId>>,
    /// By the folder in which the service may show what they sent.
    traces: HashMap<String, BTreeSet<PendingId>>,
    /// By the files of the service that they made, go with or take the place of.
    files: HashMap<String, BTreeSet<PendingId>>,
    pub removed: BTreeSet<PendingId>,
    /// Those that the account had no room for, and that nobody works on.
    without_room: BTreeSet<PendingId>,
    /// How many of those that are neither removed nor active go on by themselves.
    pub awake: usize,
    /// Bytes that are to go to the service.
    waiting_bytes: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Index {
    classes: BTreeMap<Class, Group>,
    accounts: HashMap<String, OfAccount>,
    /// Those that still need the file of which they are a copy, by its account and id.
    copies: HashMap<(String, String), BTreeSet<PendingId>>,
    /// Names in the staging directory, and how many times each is told.
    staging: HashMap<String, usize>,
    /// How many files are to go to the service.
    unfinished: usize,
}

/// All that the index knows of a file.
#[derive(PartialEq, Eq)]
struct Keys {
    account: String,
    class: Class,
    folder: Option<String>,
    trace: Option<String>,
    files: BTreeSet<String>,
    copied: Option<(String, String)>,
    staging: [Option<String>; 2],
    size: u64,
    is_unfinished: bool,
    waits: bool,
    is_awake: bool,
    lacks_room: bool,
}

impl Keys {
    fn of(item: &Item) -> Keys {
        let row = &item.row;
        let class = Class::of(item);
        let is_removed = class == Class::Removed;
        let sent = row.attempt.as_ref();
        let made = sent.and_then(|sent| sent.file.as_ref());
        let base = row.base.as_ref().filter(|_| !is_removed);
        Keys {
            account: row.account.clone(),
            class,
            folder: (!is_removed).then(|| row.folder.clone()),
            trace: item.trace().map(|(sent, _)| sent.folder.clone()),
            files: row
                .replaces
                .iter()
                .chain(&row.superseded)
                .chain(made)
                .cloned()
                .collect(),
            copied: base.and_then(|base| Some((base.account.clone()?, base.file.clone()))),
            staging: [
                row.staging.clone(),
                item.draft.as_ref().map(|draft| draft.name().to_owned()),
            ],
            size: row.size,
            is_unfinished: !is_removed && !matches!(row.state, RowState::Kept | RowState::Local),
            waits: !is_removed && row.state != RowState::Local,
            is_awake: !matches!(class, Class::Removed | Class::Active) && !item.rests,
            lacks_room: item.failure == Some(ErrorKind::QuotaExceeded)
                && item.run.is_none()
                && (item.is_waiting() || row.state == RowState::Parked),
        }
    }
}

impl Class {
    pub fn of(item: &Item) -> Class {
        match item.row.state {
            RowState::Removed => Class::Removed,
            _ if item.run.is_some() || item.holds > 0 => Class::Active,
            RowState::Parked => Class::Parked,
            RowState::Kept => Class::Kept,
            RowState::Local => Class::Local,
            _ if item.is_waiting() => Class::Waiting,
            _ => Class::Ready,
        }
    }
}

impl Items {
    pub fn get(&self, id: PendingId) -> Option<&Item> {
        self.all.get(&id).map(Box::as_ref)
    }

    /// By id.
    pub fn after(&self, after: PendingId) -> impl Iterator<Item = (PendingId, &Item)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let items = self.all.range((Excluded(after), Unbounded));
        items.map(|(id, item)| (*id, item.as_ref()))
    }

    pub fn ids(&self) -> impl Iterator<Item = PendingId> {
        self.all.keys().copied()
    }

    pub fn insert(&mut self, id: PendingId, mut item: Item) {
        drop(self.remove(id));
        item.look_whether_it_rests();
        self.index.put(id, Keys::of(&item));
        self.all.insert(id, Box::new(item));
    }

    pub fn remove(&mut self, id: PendingId) -> Option<Item> {
        let item = self.all.remove(&id)?;
        self.index.take(id, &Keys::of(&item));
        Some(*item)
    }

    /// The one way in which a file changes.
    pub fn change<T>(&mut self, id: PendingId, change: impl FnOnce(&mut Item) -> T) -> Option<T> {
        let item = self.all.get_mut(&id)?;
        let before = Keys::of(item);
        let value = change(item);
        item.look_whether_it_rests();
        let after = Keys::of(item);
        if before != after {
            self.index.take(id, &before);
            self.index.put(id, after);
        }
        Some(value)
    }

    /// The files of a class; `None` where there are none.
    pub fn class(&self, class: Class) -> Option<&Group> {
        self.index.classes.get(&class)
    }

    pub fn in_class(&self, class: Class) -> impl Iterator<Item = (PendingId, &Item)> {
        let ids = self.class(class).into_iter().flat_map(|group| &group.ids);
        self.those(ids)
    }

    /// `None` where there are no files of the account.
    pub fn of_account(&self, account: &str) -> Option<&OfAccount> {
        self.index.accounts.get(account)
    }

    /// Those that are shown in a folder.
    pub fn in_folder(&self, account: &str, folder: &str) -> impl Iterator<Item = (PendingId, &Item)> {
        let of = self.of_account(account);
        self.those(of.and_then(|of| of.folders.get(folder)).into_iter().flatten())
    }

    /// Those of which the service may show what they sent in a folder.
    pub fn traces(&self, account: &str, folder: &str) -> impl Iterator<Item = (PendingId, &Item)> {
        let of = self.of_account(account);
        self.those(of.and_then(|of| of.traces.get(folder)).into_iter().flatten())
    }

    /// Those that made a file of the service, go with it or take its place.
    pub fn about(&self, account: &str, file: &str) -> impl Iterator<Item = (PendingId, &Item)> {
        let of = self.of_account(account);
        self.those(of.and_then(|of| of.files.get(file)).into_iter().flatten())
    }

    /// Those that still need the file of which they are a copy.
    pub fn copies_of(&self, account: &str, file: &str) -> impl Iterator<Item = PendingId> {
        let copies = self.index.copies.get(&(account.to_owned(), file.to_owned()));
        copies.into_iter().flatten().copied()
    }

    pub fn without_room(&self, account: &str) -> impl Iterator<Item = PendingId> {
        let of = self.of_account(account).into_iter();
        of.flat_map(|of| of.without_room.iter().copied())
    }

    pub fn waiting_bytes(&self, account: &str) -> u64 {
        self.of_account(account).map_or(0, |of| of.waiting_bytes)
    }

    pub fn unfinished(&self) -> usize {
        self.index.unfinished
    }

    /// Whether a staged file of this name belongs to a file.
    pub fn uses(&self, name: &str) -> bool {
        self.index.staging.contains_key(name)
    }

    fn those<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a PendingId> + 'a,
    ) -> impl Iterator<Item = (PendingId, &'a Item)> {
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Compares the index with one that is built from the files anew.
    #[cfg(test)]
    pub fn check(&self) {
        let mut anew = Index::default();
        for (id, item) in &self.all {
            anew.put(*id, Keys::of(item));
        }
        assert_eq!(self.index, anew);
    }
}

impl Index {
    fn put(&mut self, id: PendingId, keys: Keys) {
        let class = self.classes.entry(keys.class).or_default();
        class.ids.insert(id);
        class.bytes = class.bytes.saturating_add(keys.size);
        self.unfinished += usize::from(keys.is_unfinished);
        if let Some(copied) = keys.copied {
            self.copies.entry(copied).or_default().insert(id);
        }
        for name in keys.staging.into_iter().flatten() {
            *self.staging.entry(name).or_default() += 1;
        }
        if !self.accounts.contains_key(&keys.account) {
            self.accounts.insert(keys.account.clone(), OfAccount::default());
        }
        let Some(of) = self.accounts.get_mut(&keys.account) else {
            return;
        };
        if let Some(folder) = keys.folder {
            of.folders.entry(folder).or_default().insert(id);
        }
        if let Some(folder) = keys.trace {
            of.traces.entry(folder).or_default().insert(id);
        }
        for file in keys.files {
            of.files.entry(file).or_default().insert(id);
        }
        if keys.class == Class::Removed {
            of.removed.insert(id);
        }
        if keys.lacks_room {
            of.without_room.insert(id);
        }
        if keys.waits {
            of.waiting_bytes = of.waiting_bytes.saturating_add(keys.size);
        }
        of.awake += usize::from(keys.is_awake);
    }

    fn take(&mut self, id: PendingId, keys: &Keys) {
        if let Some(class) = self.classes.get_mut(&keys.class) {
            class.ids.remove(&id);
            class.bytes = class.bytes.saturating_sub(keys.size);
            if class.ids.is_empty() {
                self.classes.remove(&keys.class);
            }
        }
        self.unfinished -= usize::from(keys.is_unfinished);
        if let Some(copied) = &keys.copied {
            take_from(&mut self.copies, copied, id);
        }
        for name in keys.staging.iter().flatten() {
            if let Some(count) = self.staging.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.staging.remove(name);
                }
            }
        }
        let Some(of) = self.accounts.get_mut(&keys.account) else {
            return;
        };
        if let Some(folder) = &keys.folder {
            take_from(&mut of.folders, folder, id);
        }
        if let Some(folder) = &keys.trace {
            take_from(&mut of.traces, folder, id);
        }
        for file in &keys.files {
            take_from(&mut of.files, file, id);
        }
        of.removed.remove(&id);
        of.without_room.remove(&id);
        if keys.waits {
            of.waiting_bytes = of.waiting_bytes.saturating_sub(keys.size);
        }
        of.awake -= usize::from(keys.is_awake);
        if *of == OfAccount::default() {
            self.accounts.remove(&keys.account);
        }
    }
}

/// Takes an id out of one of the sets, and the set out where it is empty then.
pub(super) fn take_from<K: Eq + Hash>(sets: &mut HashMap<K, BTreeSet<PendingId>>, key: &K, id: PendingId) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
