//! Changes of the journal that others ask for. Each is on the disk when its method returns, and in the
//! table in the same order.

mod transactions;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::provider::{FileId, FolderId, ItemId};
use crate::state::{ItemFacts, ItemKey, JournalRow, JournalTransaction, RowState, StateError};

use super::edit::Hold;
use super::handle::Uploads;
use super::staged_file::StagedFile;
use super::table::Item;
use super::{NewPending, PendingId, UploadError};

use transactions::{Recommitted, base_row, change_row, recommit, rename};

pub(super) use transactions::{Unlinked, note_unlinked, take_the_place_of, unlink};

/// How many deleted files are forgotten in one change.
const FORGET_TOGETHER: usize = 64;

/// What the index knows of an uploaded file instead of a hash, where the service told none: that it is an upload
/// which came to its end, and so no other upload's. Nobody takes it for a hash.
const UPLOADED: &str = "uploaded";

/// What is to become of a row.
pub(super) enum Change {
    Save,
    Skip,
    Delete,
}

/// What became of a row.
pub(super) enum Changed {
    Saved(Box<JournalRow>),
    Skipped,
    Deleted,
    /// There was none.
    Absent,
}

/// What the index learns together with a change of the journal.
pub(super) struct Facts {
    pub id_space: String,
    pub item: ItemKey,
    pub facts: ItemFacts,
}

impl Facts {
    pub fn note(&self, journal: &JournalTransaction<'_>) -> Result<(), StateError> {
        journal.note_facts(&self.id_space, &self.item, &self.facts)?;
        let uploaded = ItemFacts {
            mtime: None,
            hash: Some(UPLOADED.to_owned()),
        };
        journal.fill_facts(&self.id_space, &self.item, &uploaded)
    }
}

/// The seal on a staged file, which is broken again unless the journal is told of the content.
struct Seal(Option<Arc<StagedFile>>);

impl Seal {
    /// Waits until the journal is told. It may be even if nobody waits any more, so that the seal stays then.
    async fn kept_by<T>(
        mut self,
        telling: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let sealed = self.0.take();
        let told = telling.await;
        if told.is_err() {
            self.0 = sealed;
        }
        told
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if let Some(staged) = &self.0 {
            staged.unseal();
        }
    }
}

impl Uploads {
    /// Promises a staged file for the first time: its bytes, its directory entry and its row are on the
    /// disk when this returns.
    pub async fn commit(
        self: &Arc<Self>,
        staged: &Arc<StagedFile>,
        new: NewPending,
    ) -> Result<PendingId, UploadError> {
        self.commit_held(staged, new).await.map(|(id, _hold)| id)
    }

    /// As [`commit`](Self::commit), for a file that its writer keeps open: it is held from the start.
    pub async fn commit_held(
        self: &Arc<Self>,
        staged: &Arc<StagedFile>,
        new: NewPending,
    ) -> Result<(PendingId, Hold), UploadError> {
        if let Some(file) = &new.replaces {
            self.keep_item(&new.account, &ItemId::File(file.clone())).await?;
        }
        let seal = self.seal_and_sync(staged).await?;
        let synced = staged.durable();
        let mut row = JournalRow {
            id: 0,
            account: new.account,
            folder: new.folder.as_str().to_owned(),
            name: new.name,
            size: synced.len,
            mtime: new.mtime,
            mode: new.mode,
            staging: Some(staged.name().to_owned()),
            generation: 1,
            replaces: new.replaces.map(|file| file.as_str().to_owned()),
            superseded: Vec::new(),
            state: match new.local {
                true => RowState::Local,
                false => RowState::Staged,
            },
            tries: 0,
            next_try: None,
            last_error: None,
            base: base_row(staged, &synced),
            missing: synced.missing,
            attempt: None,
        };
        let insert = move |journal: &JournalTransaction<'_>| {
            row.id = journal.insert(&row)?;
            Ok(row)
        };
        let (uploads, content) = (self.clone(), staged.clone());
        // A caller that goes away leaves the hold in the channel, which drops it.
        let (give, taken) = tokio::sync::oneshot::channel();
        let note = move |row: &JournalRow| {
            content.mark_journaled();
            let mut item = Item::new(row.clone(), Some(content), synced.modifications, Instant::now());
            item.holds = 1;
            uploads.update(|table| table.add(item));
            let _ = give.send(Hold::taken(uploads, PendingId(row.id)));
        };
        let row = seal
            .kept_by(
                self.database
                    .journal("commit a file to the journal", insert, note),
            )
            .await?;
        let hold = taken.await.map_err(|_| UploadError::Stopped)?;
        Ok((PendingId(row.id), hold))
    }

    /// Promises what was written to a pending file since: on the disk when this returns. The generation
    /// rises. What was parked is tried again.
    pub async fn recommit(
        self: &Arc<Self>,
        id: PendingId,
        staged: &Arc<StagedFile>,
        mtime: SystemTime,
    ) -> Result<(), UploadError> {
        let seal = self.seal_and_sync(staged).await?;
        let known = {
            let table = self.table();
            let item = table.live(id).ok_or(UploadError::Gone)?;
            [&item.staged, &item.draft]
                .into_iter()
                .flatten()
                .any(|known| Arc::ptr_eq(known, staged))
        };
        if !known {
            return Err(UploadError::Outdated);
        }
        let content = staged.clone();
        let work = move |journal: &JournalTransaction<'_>| recommit(journal, id, &content, mtime);
        let (uploads, content) = (self.clone(), staged.clone());
        let note = move |committed: &Result<Recommitted, UploadError>| {
            let Ok(committed) = committed else { return };
            let row = &committed.row;
            content.mark_journaled();
            uploads.update(|table| {
                table.change(id, |item| {
                    item.draft.take_if(|draft| Arc::ptr_eq(draft, &content));
                    item.staged = Some(content);
                    item.committed = committed.modifications;
                    item.due = Instant::now() + uploads.options.rest(&row.account, row.size);
                });
                table.set_row(row.clone());
            });
            uploads.tell_changed(id);
        };
        let committed = seal
            .kept_by(self.database.journal("commit a file to the journal", work, note))
            .await?;
        self.delete_discarded(committed?.old.into_iter().collect());
        Ok(())
    }

    /// Gives a pending file another place and name. `replaces`, where given, becomes the file whose place
    /// the content takes; what it replaced before is then deleted as well once the content is there. `over`
    /// is the pending file that had the name: it goes in the same transaction, and what it was to replace
    /// is replaced by this one. Fails with [`UploadError::Gone`] where one of the two was uploaded or removed this
    /// moment; nothing is changed then.
    pub async fn rename(
        self: &Arc<Self>,
        id: PendingId,
        folder: FolderId,
        name: String,
        replaces: Option<Option<FileId>>,
        over: Option<PendingId>,
    ) -> Result<(), UploadError> {
        let account = self.table().item(id).map(|item| item.row.account.clone());
        if let (Some(account), Some(Some(file))) = (account, &replaces) {
            self.keep_item(&account, &ItemId::File(file.clone())).await?;
        }
        let over = over.filter(|over| *over != id);
        let to = (folder.as_str().to_owned(), name);
        let work = move |journal: &JournalTransaction<'_>| rename(journal, id, to, replaces, over);
        let uploads = self.clone();
        let note = move |renamed: &Option<(JournalRow, Option<Unlinked>)>| {
            let Some((row, gone)) = renamed else { return };
            uploads.update(|table| {
                table.change(id, Item::hurry_if_waiting);
                table.set_row(row.clone());
                if let (Some(over), Some(gone)) = (over, gone) {
                    note_unlinked(table, over, gone);
                }
            });
            uploads.tell_changed(id);
        };
        let renamed = self.database.journal("rename a pending file", work, note).await?;
        let (_, gone) = renamed.ok_or(UploadError::Gone)?;
        self.delete_discarded(gone.and_then(|gone| gone.staging).into_iter().collect());
        Ok(())
    }

    /// Changes the modification time alone; it uploads nothing again.
    pub async fn set_mtime(self: &Arc<Self>, id: PendingId, mtime: SystemTime) -> Result<(), UploadError> {
        let changed = self
            .change(id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.mtime = mtime;
                Change::Save
            })
            .await?;
        match changed {
            Changed::Saved(_) => Ok(()),
            _ => Err(UploadError::Gone),
        }
    }

    /// Keeps permission bits that a program gave it, or the usual ones; it uploads nothing.
    pub async fn set_mode(self: &Arc<Self>, id: PendingId, mode: Option<u16>) -> Result<(), UploadError> {
        let changed = self
            .change(id, move |row| {
                if row.state == RowState::Removed {
                    return Change::Skip;
                }
                row.mode = mode;
                Change::Save
            })
            .await?;
        match changed {
            Changed::Saved(_) => Ok(()),
            _ => Err(UploadError::Gone),
        }
    }

    /// Lets a pending file replace nothing: what it was to replace was changed elsewhere since, and is kept beside it. Not
    /// where something of it was announced to the service.
    pub async fn part(self: &Arc<Self>, id: PendingId, from: FileId) -> Result<(), UploadError> {
        let changed = self.change(id, move |row| {
            let is_announced = row.attempt.is_some();
            match row
                .replaces
                .take_if(|file| !is_announced && *file == from.as_str())
            {
                Some(_) => Change::Save,
                None => Change::Skip,
            }
        });
        changed.await.map(drop)
    }

    /// Removes a pending file: its row and its content go. What an upload under way leaves on the service
    /// is deleted there, later. The remote files whose place it was to take, among them what was uploaded
    /// of older contents, are not touched but returned: who unlinks the name deletes them, too.
    pub async fn remove(self: &Arc<Self>, id: PendingId) -> Result<Vec<FileId>, UploadError> {
        let work = move |journal: &JournalTransaction<'_>| {
            let row = journal.get(id.0)?.filter(|row| row.state != RowState::Removed);
            row.map(|row| unlink(journal, row)).transpose()
        };
        let uploads = self.clone();
        let note = move |gone: &Option<Unlinked>| {
            let Some(gone) = gone else { return };
            uploads.update(|table| note_unlinked(table, id, gone));
        };
        let gone = self.database.journal("remove a pending file", work, note).await?;
        let gone = gone.ok_or(UploadError::Gone)?;
        self.delete_discarded(gone.staging.into_iter().collect());
        Ok(gone.stood_for)
    }

    /// Changes a row by a function of what is committed, in the journal and then in the table.
    pub(super) async fn change(
        self: &Arc<Self>,
        id: PendingId,
        change: impl FnOnce(&mut JournalRow) -> Change + Send + 'static,
    ) -> Result<Changed, UploadError> {
        self.change_with(id, None, change).await
    }

    /// As [`change`](Self::change); where the row is saved, the index learns `facts` with it.
    pub(super) async fn change_with(
        self: &Arc<Self>,
        id: PendingId,
        facts: Option<Facts>,
        change: impl FnOnce(&mut JournalRow) -> Change + Send + 'static,
    ) -> Result<Changed, UploadError> {
        let work = move |journal: &JournalTransaction<'_>| {
            let changed = change_row(journal, id, change)?;
            if let (Changed::Saved(_), Some(facts)) = (&changed, &facts) {
                facts.note(journal)?;
            }
            Ok(changed)
        };
        let uploads = self.clone();
        let note = move |changed: &Changed| {
            match changed {
                Changed::Saved(row) => uploads.update(|table| table.set_row(row.as_ref().clone())),
                Changed::Deleted => drop(uploads.update(|table| table.remove(id, None))),
                Changed::Skipped | Changed::Absent => return,
            }
            uploads.tell_changed(id);
        };
        Ok(self.database.journal("write the journal", work, note).await?)
    }

    /// Waits until a staged file is on the disk, and keeps changes from it that would make wrong what the journal
    /// is about to be told: a writer may go on while another `close()` commits.
    async fn seal_and_sync(&self, staged: &Arc<StagedFile>) -> Result<Seal, UploadError> {
        let staged = staged.clone();
        let sync = move || {
            let is_new = staged.seal();
            let seal = Seal(is_new.then(|| staged.clone()));
            staged.sync().map(|()| seal)
        };
        blocking("sync a staged file", sync).await
    }

    /// Waits until a staged file is on the disk.
    pub(super) async fn sync(&self, staged: &Arc<StagedFile>) -> Result<(), UploadError> {
        let staged = staged.clone();
        blocking("sync a staged file", move || staged.sync()).await
    }

    /// Deletes files that the journal notes as discarded.
    pub(super) fn delete_discarded(self: &Arc<Self>, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let uploads = self.clone();
        self.spawn(async move {
            let staging = uploads.staging.clone();
            let delete = move || {
                names
                    .into_iter()
                    .filter(|name| staging.delete(name))
                    .collect::<Vec<_>>()
            };
            let deleted = tokio::task::spawn_blocking(delete).await.unwrap_or_default();
            let enough = {
                let mut discarded = uploads
                    .discarded
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                discarded.extend(deleted);
                discarded.len() >= FORGET_TOGETHER
            };
            if enough {
                uploads.forget_discarded().await;
            }
        });
    }

    pub(super) async fn forget_discarded(&self) {
        let names = std::mem::take(
            &mut *self
                .discarded
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        if names.is_empty() {
            return;
        }
        // Kept notes do no harm: the next start deletes and forgets them.
        if let Err(error) = self.database.forget_discarded(names).await {
            tracing::debug!(%error, "deleted staged files stay noted in the journal");
        }
    }
}

/// Does local I/O on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, UploadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|source| UploadError::Io { operation, source }),
        Err(error) => Err(UploadError::Io {
            operation,
            source: std::io::Error::other(error),
        }),
    }
}
