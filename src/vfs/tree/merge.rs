//! Bringing a folder in the tree in step with a listing of the service and with the journal.

mod behind;
mod pending;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::provider::{Entry, FileEntry, FileId, ItemId, Listing, NameRules, without_number};
use crate::upload::{PendingId, StagedFile, Trace};
use crate::vfs::{names, symlinks};

use super::{AccountIndex, File, Folder, Form, Kind, ListingState, Node, Remote, Tree};

/// A row of the journal for a file of the folder that is being merged.
pub struct PendingHere {
    pub id: PendingId,
    /// As the service is told.
    pub name: String,
    pub mtime: SystemTime,
    /// Permission bits that a program gave it.
    pub mode: Option<u16>,
    pub replaces: Option<FileId>,
    pub staged: Arc<StagedFile>,
    /// On its way to the service, which may list it before the upload's end is told.
    pub in_flight: bool,
    /// The service may have been told of it.
    pub announced: bool,
    /// SHA-256 of contents from here that the file which it replaces has had.
    pub sent: Vec<[u8; 32]>,
}

/// How the entries of a listing get their names.
#[derive(Debug, Clone, Copy)]
pub struct MergeRules<'a> {
    pub names: &'a NameRules,
    /// Of entries with one name the newest keeps it; else the one that was first, by its id, since times
    /// come late.
    pub newest_first: bool,
    /// What may be a symbolic link is shown as one.
    pub links: bool,
}

/// What waits here to be laid over a listing.
#[derive(Default)]
pub struct Waiting {
    /// The folder's.
    pub rows: Vec<PendingHere>,
    /// Files of the service that are not shown beside the rows that they belong to.
    pub remains: HashSet<FileId>,
    /// What uploads may have left in the folder.
    pub traces: Vec<Trace>,
    /// Files that are known to be none of those.
    pub others: HashSet<FileId>,
}

/// A folder as somebody who knows told of it.
#[derive(Debug, Clone)]
pub struct Told {
    pub listing: Listing,
    /// When it was so.
    pub at: Instant,
    /// It may have changed since, as the service says.
    pub stale: bool,
    /// It was changed from here since.
    pub doubted: bool,
    /// The index told, which is believed only where nothing newer is known.
    pub from_index: bool,
    /// The numbers by which entries were shown before.
    pub inodes: HashMap<ItemId, u64>,
    /// Permission bits that programs gave to entries.
    pub modes: HashMap<ItemId, u16>,
}

impl Told {
    /// By the service, this moment.
    pub fn now(listing: Listing) -> Self {
        Told {
            listing,
            at: Instant::now(),
            stale: false,
            doubted: false,
            from_index: false,
            inodes: HashMap::new(),
            modes: HashMap::new(),
        }
    }
}

/// What the kernel may hold that is no longer true.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Names that now mean nothing or something else, as they were shown, with the folders that they were in.
    pub names: Vec<(u64, String)>,
    /// Inodes whose size, time or bytes changed.
    pub inodes: Vec<u64>,
    /// Rows that were to replace a file which has other content by now than it had when theirs was begun.
    pub parted: Vec<(PendingId, FileId)>,
}

impl Tree {
    /// Makes `folder` show what `told` says, with the local content of this machine laid over it.
    ///
    /// `version` is the folder's version when the listing was asked for. If the folder was changed from here
    /// since, the listing may be older than the change: nothing is done and `None` is returned.
    pub fn merge(
        &mut self,
        folder: u64,
        version: u64,
        told: Told,
        rules: MergeRules<'_>,
        waiting: Waiting,
    ) -> Option<Merged> {
        let account = self.get(folder)?.account?;
        let known = self.get(folder)?.folder()?;
        let (is_known, was_doubted) = (known.listing != ListingState::Unknown, known.doubted);
        if told.from_index && is_known {
            return Some(Merged::default());
        }
        let Told {
            listing,
            at,
            stale,
            doubted,
            from_index,
            inodes,
            modes,
        } = told;
        let before = self
            .get(folder)?
            .folder()
            .filter(|folder| folder.version == version)?
            .children
            .clone();

        let shown: HashMap<u64, String> = before
            .values()
            .filter_map(|ino| Some((*ino, self.get(*ino)?.name.clone())))
            .collect();
        let mut merged = Merged::default();
        let (mut claimed, rows) = Claims::of(waiting, was_doubted);
        claimed.incomplete = listing.incomplete;
        (claimed.inodes, claimed.modes) = (inodes, modes);
        claimed.from_index = from_index;
        for (name, ino) in &before {
            let Some(node) = self.get(*ino) else { continue };
            let has_local = node.file().is_some_and(|file| file.local.is_some());
            if has_local || node.pin.is_some() {
                claimed.children.insert(name.clone(), *ino);
            }
        }
        for row in rows {
            self.show_pending(account, folder, row, rules, &mut claimed, &mut merged);
        }
        for entry in in_order(listing.entries, rules) {
            self.show_entry(account, folder, entry, rules, &mut claimed, &mut merged);
        }
        for ino in before.values().filter(|ino| !claimed.pinned.contains(ino)) {
            self.stays_pinned(*ino, false);
        }
        self.keep_unsettled(folder, &before, &mut claimed);
        self.let_others_go(folder, &before, &shown, &claimed, &mut merged);
        let state = self.get_mut(folder)?.folder_mut()?;
        state.children = claimed.children;
        state.listing = ListingState::Known { at, stale };
        state.version = version;
        state.hides = claimed.hides;
        state.incomplete = claimed.incomplete;
        state.doubted = doubted;
        state.revision = listing.revision;
        state.indexed = from_index;
        // What is laid over it may be more than the index knows of.
        if from_index && !doubted {
            self.dirty.remove(&folder);
        } else {
            self.note_change(folder);
        }
        self.note_look(folder);
        Some(merged)
    }

    /// Removes what the folder showed before and shows no more, and tells of the names that mean something else now.
    fn let_others_go(
        &mut self,
        folder: u64,
        before: &BTreeMap<String, u64>,
        shown: &HashMap<u64, String>,
        claimed: &Claims,
        merged: &mut Merged,
    ) {
        let kept: HashSet<u64> = claimed.children.values().copied().collect();
        for (name, ino) in before {
            if claimed.children.get(name) != Some(ino) {
                let shown = shown.get(ino).unwrap_or(name);
                merged.names.push((folder, shown.clone()));
            }
            if !kept.contains(ino) && self.is_in(*ino, folder) {
                self.remove(*ino);
            }
        }
    }

    /// Lets a folder that is gone from here but holds what was not uploaded yet stay until that is settled.
    fn keep_unsettled(&mut self, folder: u64, before: &BTreeMap<String, u64>, claimed: &mut Claims) {
        let kept: HashSet<u64> = claimed.children.values().copied().collect();
        for (name, ino) in before {
            if kept.contains(ino) || !self.is_in(*ino, folder) || !self.has_local(*ino) {
                continue;
            }
            let shown = self
                .get(*ino)
                .map_or_else(|| name.clone(), |node| node.name.clone());
            let free = claimed.free_name(shown, &format!("kept {ino}"));
            if let Some(node) = self.get_mut(*ino) {
                node.name = free.clone();
            }
            claimed.children.insert(names::key(&free), *ino);
        }
    }

    fn is_in(&self, ino: u64, folder: u64) -> bool {
        self.get(ino).is_some_and(|node| node.parent == Some(folder))
    }

    fn is_elsewhere(&self, ino: u64, folder: u64) -> bool {
        self.get(ino)
            .and_then(|node| node.parent)
            .is_some_and(|parent| parent != folder)
    }

    fn show_entry(
        &mut self,
        account: AccountIndex,
        folder: u64,
        entry: Entry,
        rules: MergeRules<'_>,
        claimed: &mut Claims,
        merged: &mut Merged,
    ) {
        let (item, id) = item_of(&entry);
        if self
            .by_item(account, &item)
            .is_some_and(|ino| self.is_at_or_above(ino, folder))
        {
            tracing::warn!(%id, "a folder is listed below itself: the entry is left out");
            claimed.incomplete = true;
            return;
        }
        if matches!(&entry, Entry::File(file) if claimed.remains.contains(&file.id)) {
            return;
        }
        // After a restart the journal alone knows which file of the service waits to be replaced.
        let known = claimed
            .replaced
            .get(&item)
            .copied()
            .or_else(|| self.by_item(account, &item));
        // Whoever put it into another folder knew more than the index did.
        if claimed.from_index && known.is_some_and(|ino| self.is_elsewhere(ino, folder)) {
            return;
        }
        if let (Some(ino), Entry::File(file)) = (known, &entry)
            && !self.part(ino, folder, file, claimed, merged)
            && self.note_behind_local(ino, file)
        {
            return;
        }
        let known = known.filter(|ino| {
            // It stands for newer content alone from here on.
            self.get(*ino)
                .is_some_and(|node| node.item().as_ref() == Some(&item))
        });
        let is_link = self.is_shown_as_link(known, &entry, rules);
        let name = symlinks::shown(entry.name(), is_link, rules.names);
        if let Some(ino) = known {
            let is_as_listed = self.is_in(ino, folder) && self.get(ino).is_some_and(|node| node.name == name);
            if self.stays_pinned(ino, is_as_listed) {
                claimed.pinned.insert(ino);
                return;
            }
        }
        if let (None, Entry::File(file)) = (known, &entry)
            && !claimed.others.contains(&file.id)
            && (self.is_landing(&name, claimed)
                || self.is_landing_beside(file, rules, claimed)
                || claimed.is_trace(file, rules.names))
        {
            claimed.hides = true;
            return;
        }
        let name = claimed.free_name(name, &id);
        let mtime = self.known_time(known, &entry).unwrap_or_else(|| mtime_of(&entry));
        let ino = match known {
            Some(ino) => {
                if self.refresh_entry(ino, &entry, mtime, is_link) {
                    merged.inodes.push(ino);
                }
                ino
            }
            None => {
                let ino = match claimed.inodes.get(&item) {
                    Some(ino) => self.add_as(*ino, Some(account), &name, mtime, kind_of(&entry, is_link)),
                    None => self.add(Some(account), &name, mtime, kind_of(&entry, is_link)),
                };
                if let Some(node) = self.get_mut(ino) {
                    node.mode = claimed.modes.get(&item).copied();
                }
                ino
            }
        };
        let left = self.place(ino, folder, &name, mtime);
        merged.names.extend(left);
        claimed.children.insert(names::key(&name), ino);
    }

    /// The time that a node has and that its entry lacks.
    fn known_time(&self, known: Option<u64>, entry: &Entry) -> Option<SystemTime> {
        let Entry::File(FileEntry { mtime: None, .. }) = entry else {
            return None;
        };
        let node = self.get(known?)?;
        let remote = node.file()?.remote.as_ref()?;
        remote.dated.then_some(node.mtime)
    }

    /// Brings a known node in step with its entry. Whether what the kernel may have cached of it changed.
    fn refresh_entry(&mut self, ino: u64, entry: &Entry, mtime: SystemTime, is_link: bool) -> bool {
        let entry = match entry {
            Entry::File(entry) => entry,
            Entry::Folder(entry) => {
                if let Some(known) = self.get_mut(ino).and_then(Node::folder_mut) {
                    known.hint = entry.hint;
                    known.remote_name = entry.name.clone();
                }
                return false;
            }
        };
        let Some(node) = self.get(ino) else { return false };
        let old = node.file().and_then(|file| file.remote.as_ref());
        let fresh = Remote::of(entry).dated_as(old);
        let other_content = !old.is_some_and(|old| old.same_content(&fresh));
        let changed = other_content || !same_second(node.mtime, mtime);
        self.set_remote(ino, Some(fresh));
        self.set_form(ino, is_link, other_content);
        if let Some(file) = self.file_mut(ino).filter(|_| changed) {
            file.cached_is_true = false;
            file.foreign += u64::from(other_content);
        }
        changed
    }

    /// Whether a new file of this name is the upload of the one that is shown already. If it is not, the
    /// listing that follows the upload's end shows it.
    fn is_landing(&self, name: &str, claimed: &Claims) -> bool {
        let shown = claimed.children.get(&names::key(name));
        let local = shown.and_then(|ino| self.get(*ino)?.file()?.local.as_ref());
        local
            .and_then(|local| local.pending)
            .is_some_and(|row| !claimed.resting.contains(&row))
    }

    /// Whether a new file with a numbered name is the upload of one that is shown already, beside a file whose
    /// name it is to get.
    fn is_landing_beside(&self, entry: &FileEntry, rules: MergeRules<'_>, claimed: &Claims) -> bool {
        let Some(name) = without_number(&entry.name).filter(|_| rules.names.numbered_twins) else {
            return false;
        };
        let is_link = symlinks::may_be(&name, entry.size, rules.links);
        let name = symlinks::shown(&name, is_link, rules.names);
        let shown = claimed.children.get(&names::key(&name));
        let size = shown.and_then(|ino| Some(self.get(*ino)?.file()?.size()));
        size == Some(entry.size) && self.is_landing(&name, claimed)
    }

    /// Whether `ino` is the folder or one that it is in.
    fn is_at_or_above(&self, ino: u64, folder: u64) -> bool {
        let mut at = Some(folder);
        while let Some(here) = at {
            if here == ino {
                return true;
            }
            at = self.get(here).and_then(|node| node.parent);
        }
        false
    }

    /// Records where a node is, taking it out of another folder where it was before: that folder, and its name there.
    fn place(&mut self, ino: u64, folder: u64, name: &str, mtime: SystemTime) -> Option<(u64, String)> {
        let node = self.get(ino)?;
        let left = node
            .parent
            .filter(|parent| *parent != folder)
            .map(|parent| (parent, node.name.clone()));
        if left.is_some() {
            self.detach(ino);
        }
        if let Some(node) = self.get_mut(ino) {
            node.parent = Some(folder);
            node.name = name.to_owned();
            // A service may keep whole seconds only; the finer time from here is as true.
            if !same_second(node.mtime, mtime) {
                node.mtime = mtime;
                if let Some(folder) = node.folder_mut() {
                    folder.kept_time = folder.kept_time.filter(|kept| same_second(*kept, mtime));
                }
            }
        }
        left
    }
}

/// The names of a folder as they are given out.
#[derive(Default)]
struct Claims {
    children: BTreeMap<String, u64>,
    /// Files of the service for which newer content waits, and who shows it.
    replaced: HashMap<ItemId, u64>,
    /// Rows of which nothing is on its way to the service. Those that the journal has dropped are not among
    /// them: their news are on the way here.
    resting: HashSet<PendingId>,
    /// Rows of which no service was told yet, with what uploads put into the files that they replace.
    unannounced: HashMap<PendingId, Vec<[u8; 32]>>,
    remains: HashSet<FileId>,
    traces: Vec<Trace>,
    others: HashSet<FileId>,
    /// Pinned nodes that are listed.
    pinned: HashSet<u64>,
    from_index: bool,
    /// The numbers by which items were shown before.
    inodes: HashMap<ItemId, u64>,
    /// Permission bits that programs gave to entries.
    modes: HashMap<ItemId, u16>,
    /// Entries were left out that may be others'.
    hides: bool,
    /// Entries were left out that make no sense.
    incomplete: bool,
}

impl Claims {
    /// With nothing given out yet, and the rows that are to be shown first. In a folder that is in doubt nothing is
    /// taken for a change made elsewhere.
    fn of(waiting: Waiting, in_doubt: bool) -> (Self, Vec<PendingHere>) {
        let Waiting {
            rows,
            remains,
            traces,
            others,
        } = waiting;
        let resting = rows.iter().filter(|row| !row.in_flight);
        let unannounced = rows.iter().filter(|row| !row.announced && !in_doubt);
        let claims = Claims {
            resting: resting.map(|row| row.id).collect(),
            unannounced: unannounced.map(|row| (row.id, row.sent.clone())).collect(),
            remains,
            traces,
            others,
            ..Claims::default()
        };
        (claims, rows)
    }

    /// Whether a new file may be what an upload left.
    fn is_trace(&self, entry: &FileEntry, rules: &NameRules) -> bool {
        let plain = without_number(&entry.name).filter(|_| rules.numbered_twins);
        let is_name = |name: &str| name == entry.name || Some(name) == plain.as_deref();
        let mut traces = self.traces.iter();
        traces.any(|trace| trace.size == entry.size && is_name(&trace.name))
    }

    fn free_name(&self, wanted: String, id: &str) -> String {
        let is_free = |name: &str| !self.children.contains_key(&names::key(name));
        if is_free(&wanted) {
            return wanted;
        }
        let mut name = names::with_suffix(&wanted, id);
        // Another entry may bear just that name.
        let mut number = 2;
        while !is_free(&name) {
            name = names::with_suffix(&wanted, &format!("{id} {number}"));
            number += 1;
        }
        name
    }
}

/// The entries of a listing, those first that keep a name which several have.
fn in_order(mut entries: Vec<Entry>, rules: MergeRules<'_>) -> Vec<Entry> {
    entries.sort_by_cached_key(|entry| {
        let id = item_of(entry).1;
        let age = rules.newest_first.then(|| std::cmp::Reverse(mtime_of(entry)));
        // Numbers among ids come in the order of their values.
        (age, id.len(), id)
    });
    entries
}

fn kind_of(entry: &Entry, is_link: bool) -> Kind {
    match entry {
        Entry::File(entry) => Kind::File(File {
            remote: Some(Remote::of(entry)),
            local: None,
            writers: 0,
            cached_is_true: true,
            foreign: 0,
            form: Form::of(is_link),
        }),
        Entry::Folder(entry) => Kind::Folder(Folder::unlisted(
            Some(entry.id.clone()),
            entry.name.clone(),
            entry.hint,
        )),
    }
}

fn item_of(entry: &Entry) -> (ItemId, String) {
    match entry {
        Entry::File(file) => (ItemId::File(file.id.clone()), file.id.to_string()),
        Entry::Folder(folder) => (ItemId::Folder(folder.id.clone()), folder.id.to_string()),
    }
}

fn mtime_of(entry: &Entry) -> SystemTime {
    match entry {
        Entry::File(file) => file.mtime,
        Entry::Folder(folder) => folder.mtime,
    }
    .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn same_second(a: SystemTime, b: SystemTime) -> bool {
    let apart = a
        .duration_since(b)
        .or_else(|_| b.duration_since(a))
        .unwrap_or_default();
    apart < Duration::from_secs(1)
}

#[cfg(test)]
mod tests;
