//! Showing what a service or the index told of a folder, with the local content of this machine laid over it.
//!
//! What is told may be older than what happened here meanwhile. So what is under way is noted when it is asked for
//! ([`Vfs::ask`]) and looked at again when it came ([`Vfs::show`]): an upload that ended in between, an item that
//! was deleted, a name that is still to be given.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::provider::{Capability, Entry, FileEntry, FileId, FolderId, ItemId, ListHint, Listing, Provider};
use crate::upload::{DeletionWatch, PendingFile, Trace, UploadStatus};

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::tree::{AccountIndex, ListingState, MergeRules, PendingHere, Told, Waiting};

/// What was so when somebody was asked for a folder's entries.
pub(super) struct Asked {
    pub ino: u64,
    pub account: AccountIndex,
    pub folder: FolderId,
    pub hint: ListHint,
    version: u64,
    waiting: Vec<PendingFile>,
    going: DeletionWatch,
    made_and_going: Vec<FileId>,
    names: HashMap<ItemId, String>,
    traces: Vec<Trace>,
    ended: u64,
}

impl Vfs {
    /// To be called before a folder's entries are asked for.
    pub(super) fn ask(&self, ino: u64) -> Result<Asked> {
        let (index, id, mut hint, version) = self.listing_request(ino)?;
        let account = self.account(index)?;
        let waiting = self.uploads.pending_in(&account.setup.name, &id);
        // What the parent's listing told may be older than an upload, of which the journal tells no more.
        if hint.files == Some(0) && self.uploads.stored_in(&account.setup.name, &id) {
            hint.files = None;
        }
        let going = self.uploads.watch_deletions(&account.setup.name);
        // These are told by their ids alone, as they may have another name by now than that under which they were sent.
        let made_and_going = self.uploads.made_and_going(&account.setup.name);
        let names = self.uploads.names_to_come(&account.setup.name);
        // What goes while the listing is on its way may be in it still.
        let mut traces = self.uploads.traces(&account.setup.name, &id);
        traces.retain(|trace| trace.goes);
        let ended = self.uploads.ended();
        Ok(Asked {
            ino,
            account: index,
            folder: id,
            hint,
            version,
            waiting,
            going,
            made_and_going,
            names,
            traces,
            ended,
        })
    }

    /// Shows what was told. False where the folder was changed from here since it was asked for: nothing is done then.
    pub(super) async fn show(self: &Arc<Self>, asked: Asked, mut told: Told) -> Result<bool> {
        let Asked {
            ino,
            account: index,
            folder: id,
            version,
            waiting,
            going,
            made_and_going,
            mut names,
            mut traces,
            ended,
            ..
        } = asked;
        let account = self.account(index)?;
        account.facts.complete(&mut told.listing).await;
        told.modes = account.facts.modes(&told.listing).await;
        self.remember_inodes(index, &id, &mut told).await;
        let undated = told.listing.lacks_times();
        let listing = &mut told.listing;
        let rows = self.pending_here(account, &id);
        let mut remains = self.own_remains(account, &id, listing, &waiting);
        remains.extend(made_and_going);
        remains.extend(replaced_since(&waiting, &rows));
        let elsewhere = self
            .uploads
            .placed_elsewhere_since(&account.setup.name, &id, ended);
        remains.extend(elsewhere);
        names.extend(self.uploads.names_to_come(&account.setup.name));
        self.catch_up(&mut told, waiting);
        let listing = &mut told.listing;
        // Not before: what ended until then is a file of the listing.
        traces.extend(self.uploads.traces(&account.setup.name, &id));
        let mut others = older_than(account.provider().as_ref(), listing, &traces);
        others.extend(names.keys().filter_map(|item| match item {
            ItemId::File(file) => Some(file.clone()),
            ItemId::Folder(_) => None,
        }));
        let laid_over = Waiting {
            rows,
            remains,
            traces,
            others,
        };
        let items: Vec<_> = listing.entries.iter().map(Entry::item).collect();
        let mut gone = going.are_gone(items.iter()).into_iter();
        listing.entries.retain(|_| !gone.next().unwrap_or(false));
        listing.give_names(&names);
        let rules = MergeRules {
            names: &account.rules,
            newest_first: account.can(Capability::ModificationTime),
            links: account.has_links(),
        };
        let gone = match told.from_index {
            true => HashSet::new(),
            false => self.tree().folders_but(ino, &told.listing),
        };
        if let Some(indexed) = account.indexed.filter(|_| !gone.is_empty()) {
            self.recall_what_waits(indexed, &gone).await?;
        }
        let merged = self.tree().merge(ino, version, told, rules, laid_over);
        self.sweep();
        self.bound_memory();
        let Some(mut merged) = merged else {
            return Ok(false);
        };
        let parted = std::mem::take(&mut merged.parted);
        self.tell_kernel(merged);
        for (row, file) in parted {
            self.uploads.part(row, file).await?;
        }
        if undated {
            account.dates.want(ino);
        }
        Ok(true)
    }

    /// Shows what became of uploads that ended while a listing was on its way: it may be older, and the journal
    /// tells of them no more.
    fn catch_up(&self, told: &mut Told, waiting: Vec<PendingFile>) {
        for row in waiting {
            let Some(entry) = self.uploads.finished(row.id) else {
                continue;
            };
            // The index may know of what went with the upload's last steps.
            let replaced: Vec<&FileId> = row.replaces.iter().chain(&row.superseded).collect();
            let outdated = |file: &FileEntry| file.id == entry.id || replaced.contains(&&file.id);
            told.modes
                .extend(row.mode.map(|mode| (ItemId::File(entry.id.clone()), mode)));
            let listing = &mut told.listing;
            listing
                .entries
                .retain(|other| !matches!(other, Entry::File(file) if outdated(file)));
            listing.entries.push(Entry::File(FileEntry {
                mtime: Some(row.mtime),
                ..entry
            }));
        }
    }

    fn listing_request(&self, ino: u64) -> Result<(AccountIndex, FolderId, ListHint, u64)> {
        let tree = self.tree();
        let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let folder = node.folder().ok_or_else(|| Error::plain(libc::ENOTDIR))?;
        let (Some(index), Some(id)) = (node.account, folder.id.clone()) else {
            return Err(Error::plain(libc::EINVAL));
        };
        // The parent's listing told how much is in a folder that was never listed; later it is out of date.
        let hint = match folder.listing {
            ListingState::Unknown => folder.hint,
            ListingState::Known { .. } => ListHint::default(),
        };
        Ok((index, id, hint, folder.version))
    }

    /// What of a listing, and of what ended while it was on its way, is not shown beside the pending files.
    fn own_remains(
        &self,
        account: &Account,
        folder: &FolderId,
        listing: &Listing,
        waiting: &[PendingFile],
    ) -> HashSet<FileId> {
        let listed = listing.entries.iter().filter_map(|entry| match entry {
            Entry::File(file) => Some(&file.id),
            Entry::Folder(_) => None,
        });
        let ended = waiting.iter().filter_map(|row| self.uploads.finished(row.id));
        let ended: Vec<_> = ended.map(|entry| entry.id).collect();
        let known = waiting.iter().filter_map(|row| row.uploaded.as_ref());
        let files = listed.chain(&ended).chain(known);
        self.uploads.own_remains(&account.setup.name, folder, files)
    }

    /// What the journal holds for a folder of the service.
    fn pending_here(&self, account: &Account, folder: &FolderId) -> Vec<PendingHere> {
        let rows = self.uploads.pending_in(&account.setup.name, folder);
        let here = rows.into_iter().filter_map(|row| {
            let staged = self.uploads.staged(row.id)?;
            Some(PendingHere {
                id: row.id,
                name: row.name,
                mtime: row.mtime,
                mode: row.mode,
                replaces: row.replaces.clone(),
                staged,
                announced: row.was_announced,
                sent: row
                    .replaces
                    .as_ref()
                    .map_or_else(Vec::new, |file| self.uploads.sent_to(file)),
                in_flight: match row.status {
                    UploadStatus::Uploading { .. } | UploadStatus::Verifying => true,
                    // Its reason may be the very file that looks like it.
                    UploadStatus::Parked { .. } | UploadStatus::Kept | UploadStatus::Local => false,
                    _ => row.announced,
                },
            })
        });
        here.collect()
    }
}

/// What of a listing was there before what uploads may have left.
fn older_than(provider: &dyn Provider, listing: &Listing, traces: &[Trace]) -> HashSet<FileId> {
    let is_older = |file: &FileEntry| {
        let like = traces.iter().filter(|trace| trace.size == file.size);
        let mut afters = like.map(|trace| trace.after.as_ref()).peekable();
        afters.peek().is_some()
            && afters.all(|after| after.is_some_and(|after| !provider.came_after(&file.id, after)))
    };
    let files = listing.entries.iter().filter_map(|entry| match entry {
        Entry::File(file) => Some(file),
        Entry::Folder(_) => None,
    });
    let older = files.filter(|file| is_older(file));
    older.map(|file| file.id.clone()).collect()
}

/// The files that pending ones were to replace when a listing was asked for, and have replaced since.
fn replaced_since(before: &[PendingFile], now: &[PendingHere]) -> Vec<FileId> {
    let now: HashMap<_, _> = now.iter().map(|now| (now.id, now.replaces.as_ref())).collect();
    let of_row = |old: &PendingFile| {
        let replaces = now.get(&old.id).copied();
        let replaced = old.replaces.iter().chain(&old.superseded).cloned();
        let replaced = replaced.filter(|file| replaces.is_some_and(|replaces| replaces != Some(file)));
        replaced.collect::<Vec<_>>()
    };
    before.iter().flat_map(of_row).collect()
}
