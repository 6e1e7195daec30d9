//! Writers of pending files: holds, and a copy for a writer who comes while the content is being sent.

use std::sync::Arc;
use std::time::Instant;

use super::handle::Uploads;
use super::journal::blocking;
use super::staged_file::StagedFile;
use super::table::{Item, Outcome, Step};
use super::{PendingId, UploadError};

/// Keeps a pending file from being uploaded. When the last hold is gone, the upload delay starts.
pub struct Hold {
    uploads: Arc<Uploads>,
    id: PendingId,
    /// False where the file was gone when the hold was asked for.
    counted: bool,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hold").field(&self.id).finish()
    }
}

impl Hold {
    /// For a hold that was counted already.
    pub(super) fn taken(uploads: Arc<Uploads>, id: PendingId) -> Self {
        Hold {
            uploads,
            id,
            counted: true,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let options = &self.uploads.options;
        let let_go = |item: &mut Item| {
            let delay = options.rest(&item.row.account, item.row.size);
            item.holds = item.holds.saturating_sub(1);
            if item.holds > 0 {
                return None;
            }
            if !item.is_waiting() {
                item.due = Instant::now() + delay;
            }
            item.draft.take_if(|draft| draft.modifications() == 0)
        };
        let unused = self.uploads.update(|table| table.change(self.id, let_go));
        if let Some(draft) = unused.flatten() {
            let staging = self.uploads.staging.clone();
            self.uploads.spawn(async move {
                // Not noted in the journal: at worst the next start moves it to the recovered files.
                let _ = tokio::task::spawn_blocking(move || staging.delete(draft.name())).await;
            });
        }
    }
}

impl Uploads {
    /// Holds a pending file: its upload does not begin before the hold is dropped. One that is under way
    /// goes on. A file that is gone gives a hold on nothing.
    pub fn hold(self: &Arc<Self>, id: PendingId) -> Hold {
        let hold = |item: &mut Item| {
            let can_be_held = can_be_held(item);
            item.holds += usize::from(can_be_held);
            can_be_held
        };
        let counted = self.update(|table| table.change(id, hold)).unwrap_or(false);
        Hold {
            uploads: self.clone(),
            id,
            counted,
        }
    }

    /// The content of a pending file for a writer, held. While the present content is being sent, or where a
    /// crash in the middle of a change would leave neither the old content nor the new one
    /// ([`StagedFile::wants_copy`]), the writer gets a copy, which becomes the content with the next
    /// [`recommit`](Self::recommit).
    pub async fn edit(self: &Arc<Self>, id: PendingId) -> Result<(Arc<StagedFile>, Hold), UploadError> {
        self.edit_or_empty(id, false).await
    }

    /// As [`edit`](Self::edit), for a writer that begins by cutting the file to nothing: it gets an empty file where
    /// the present content is not to be changed.
    pub async fn rewrite(self: &Arc<Self>, id: PendingId) -> Result<(Arc<StagedFile>, Hold), UploadError> {
        self.edit_or_empty(id, true).await
    }

    async fn edit_or_empty(
        self: &Arc<Self>,
        id: PendingId,
        empties: bool,
    ) -> Result<(Arc<StagedFile>, Hold), UploadError> {
        let (source, hold) = loop {
            match self.begin_edit(id, empties)? {
                Begun::Present(staged, hold) => return Ok((staged, hold)),
                Begun::Copied(source, hold) => break (source, hold),
                Begun::Finishing(mut outcome) => {
                    let over = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. } | Outcome::Removed);
                    let mut changed = self.changed.subscribe();
                    tokio::select! {
                        _ = outcome.wait_for(over) => {}
                        _ = changed.changed() => {}
                    }
                }
            }
        };
        let staging = self.staging.clone();
        let from = source.clone();
        let copy = move || match empties {
            true => staging.create(None),
            false => staging.copy(&from),
        };
        let copy = blocking("copy a staged file", copy).await.map(Arc::new)?;
        let choose = |item: &mut Item| {
            let unchanged = item
                .staged
                .as_ref()
                .is_some_and(|staged| Arc::ptr_eq(staged, &source));
            match (&item.draft, unchanged) {
                // Another writer was faster; all write to one content.
                (Some(draft), _) => Some(draft.clone()),
                (None, true) => {
                    item.draft = Some(copy.clone());
                    Some(copy.clone())
                }
                // Its copy is committed already.
                (None, false) => item.staged.clone(),
            }
        };
        let chosen = self.update(|table| table.change_live(id, choose).flatten());
        if chosen.as_ref().is_none_or(|chosen| !Arc::ptr_eq(chosen, &copy)) {
            self.discard(&copy);
        }
        chosen.map(|staged| (staged, hold)).ok_or(UploadError::Gone)
    }

    fn begin_edit(self: &Arc<Self>, id: PendingId, empties: bool) -> Result<Begun, UploadError> {
        let begin = |item: &mut Item| {
            if !can_be_held(item) {
                return Ok(Begun::Finishing(item.subscribe()));
            }
            let Some(newest) = item.newest().cloned() else {
                let reason = item.row.last_error.clone().unwrap_or_default();
                return Err(UploadError::Parked { reason, kind: None });
            };
            item.holds += 1;
            let is_sent = item
                .run
                .as_ref()
                .is_some_and(|run| matches!(run.step, Step::Sending | Step::Verifying));
            let copied = item.draft.is_none() && (is_sent || newest.wants_copy(empties));
            let hold = Hold::taken(self.clone(), id);
            Ok(if copied {
                Begun::Copied(newest, hold)
            } else {
                Begun::Present(newest, hold)
            })
        };
        let begun = self.update(|table| table.change_live(id, begin));
        begun.unwrap_or(Err(UploadError::Gone))
    }
}

enum Begun {
    Present(Arc<StagedFile>, Hold),
    /// The content is not to be changed, but a copy of it.
    Copied(Arc<StagedFile>, Hold),
    Finishing(tokio::sync::watch::Receiver<Outcome>),
}

fn can_be_held(item: &Item) -> bool {
    !item.is_removed() && item.run.as_ref().is_none_or(|run| run.step != Step::Finishing)
}
