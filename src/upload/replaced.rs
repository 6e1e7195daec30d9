//! What a content took the place of on the service, and letting it go.
//!
//! A file that is let go is brought nowhere else meanwhile: a rename that comes after its deletion would fetch it out of
//! the trash again. So a file goes only while no rename brings it elsewhere, and from then on none begins
//! ([`Uploads::lets_go`]).

use std::time::Duration;

use crate::provider::{Capability, DeleteMode, ErrorKind, FileEntry, FileId, ItemId, ProviderError, Retry};
use crate::state::JournalRow;

use super::PendingId;
use super::engine::Worker;
use super::handle::Uploads;
use super::journal::Change;
use super::outcome::Failure;

/// How long an open rename of a file that is to go is waited for, before the upload is put off.
const RENAMING: Duration = Duration::from_secs(2);

/// The files that the content took the place of and that are still there.
pub(super) fn obsolete(row: &JournalRow, entry: &FileEntry) -> Vec<FileId> {
    let replaced = row.replaces.iter().chain(&row.superseded);
    replaced
        .filter(|file| **file != entry.id.as_str())
        .cloned()
        .map(FileId::new)
        .collect()
}

impl Uploads {
    /// Whether a file of the service is being deleted, or was, since a pending one stands in its place.
    pub fn lets_go(&self, id: PendingId, file: &FileId) -> bool {
        let table = self.table();
        let item = table.item(id);
        item.is_some_and(|item| item.lets_go.iter().any(|gone| gone == file.as_str()))
    }
}

impl Worker {
    /// Deletes files that nobody needs, into the trash where there is one.
    pub async fn delete(&self, files: Vec<FileId>) -> Result<(), Failure> {
        let Some(mode) = self.delete_mode() else {
            // What is taken for deleted and is there still would be a twin.
            return Err(ProviderError::unsupported("delete", Capability::Trash).into());
        };
        self.begin_to_let_go(&files).await?;
        let items: Vec<_> = files.iter().cloned().map(ItemId::File).collect();
        match self.provider().delete(&items, mode).await {
            Err(error) if error.kind != ErrorKind::NotFound => {
                if error.retry != Retry::OutcomeUnknown {
                    self.keep_after_all(&files);
                }
                return Err(error.into());
            }
            _ => {}
        }
        self.forget_facts(&files).await;
        Ok(())
    }

    pub fn delete_mode(&self) -> Option<DeleteMode> {
        if self.can(Capability::Trash) {
            Some(DeleteMode::Trash)
        } else {
            self.can(Capability::Purge).then_some(DeleteMode::Purge)
        }
    }

    /// Waits until no rename brings these files elsewhere, and lets none begin from then on.
    async fn begin_to_let_go(&self, files: &[FileId]) -> Result<(), Failure> {
        let mut changed = self.uploads.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(RENAMING));
        while !self.let_go_at_rest(files) {
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => {
                    return Err(Failure::wait("the file that it replaces is being renamed"));
                }
                () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
            }
        }
        Ok(())
    }

    /// Notes that files go. False, and nothing is noted, while one of them is being renamed.
    fn let_go_at_rest(&self, files: &[FileId]) -> bool {
        let account = &self.account.name;
        let mut table = self.uploads.table();
        if files.iter().any(|file| table.is_moving(account, file.as_str())) {
            return false;
        }
        table.change(self.id, |item| {
            let gone = files.iter().map(|file| file.as_str().to_owned());
            item.lets_go.extend(gone);
        });
        true
    }

    /// The service did not delete them.
    fn keep_after_all(&self, files: &[FileId]) {
        self.uploads.table().change(self.id, |item| {
            item.lets_go
                .retain(|gone| !files.iter().any(|file| file.as_str() == gone));
        });
    }

    pub async fn are_gone(&self, files: &[FileId]) -> Result<bool, Failure> {
        for file in files {
            if self.file_now(file).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the row names as replaced is deleted, and the uploaded file stands in its place.
    pub async fn note_replaced_by(&self, seen: &JournalRow, entry: &FileEntry) -> Result<(), Failure> {
        let file = entry.id.as_str().to_owned();
        let (replaces, superseded) = (seen.replaces.clone(), seen.superseded.clone());
        self.uploads
            .change(self.id, move |row| {
                if row.replaces == replaces {
                    row.replaces = Some(file);
                }
                row.superseded.retain(|old| !superseded.contains(old));
                Change::Save
            })
            .await?;
        Ok(())
    }
}
