//! Which file of the service holds what an attempt sent, where the service tells no hash to know it by.
//!
//! Contents are read back in pieces and compared with what is staged, up to the first difference; where the
//! staged content is gone, by their SHA-256. Equal bytes alone make no file ours: one that is known here as
//! another's is never taken for the upload, nor is one that may have been there before it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::provider::{
    ContentHash, Entry, ErrorKind, FileEntry, FileId, FolderId, ListHint, ProviderError, Retry,
    is_numbered_twin,
};
use crate::state::{AttemptRow, ItemKey, RowState};

use super::engine::Worker;
use super::journal::blocking;
use super::outcome::{Failure, LAST_LOOK, PATIENT_TRIES};
use super::staged_file::{Base, StagedFile};

/// Bytes read back at once.
const PIECE: u64 = 1 << 20;

impl Worker {
    /// The one among the files found that an attempt made; `None` where it made none of them. Fails where
    /// that cannot be told now.
    pub async fn find_own(
        &self,
        attempt: &AttemptRow,
        found: Vec<FileEntry>,
    ) -> Result<Option<FileEntry>, Failure> {
        let mut found = self.possible(attempt, found).await?;
        // The plain name first: only where it was taken did the service number ours.
        found.sort_by_key(|entry| entry.name != attempt.name);
        for entry in found {
            let same = match self.holds_content(attempt, &entry).await {
                Err(failure) if self.gives_up(&failure) => {
                    tracing::warn!(id = %self.id, name = entry.name, "what may be left of a removed file stays");
                    continue;
                }
                same => same?,
            };
            if same {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether a removed file, whose remains hold its name as long as they are looked for, looks no further.
    fn gives_up(&self, failure: &Failure) -> bool {
        let Some(row) = self.row().filter(|row| row.state == RowState::Removed) else {
            return false;
        };
        match failure {
            Failure::Park(_) => true,
            Failure::Wait(_) => row.tries >= PATIENT_TRIES,
            failure => failure.is_answered() && row.tries >= LAST_LOOK,
        }
    }

    /// What an attempt made beside `entry`, where an answer was lost and it was sent again.
    pub async fn find_twins(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<Vec<FileId>, Failure> {
        let folder = FolderId::new(attempt.folder.clone());
        let listing = self.provider().list(&folder, ListHint::default()).await?;
        let twin = |file: Entry| match file {
            Entry::File(file) if file.id == entry.id => None,
            Entry::File(file) if file.name == attempt.name || is_numbered_twin(&file.name, &attempt.name) => {
                Some(file)
            }
            _ => None,
        };
        let found = listing.entries.into_iter().filter_map(twin).collect();
        let mut twins = Vec::new();
        for file in self.possible(attempt, found).await? {
            match self.holds_content(attempt, &file).await {
                Ok(true) => twins.push(file.id),
                Ok(false) => {}
                // It stays, rather than that it keeps the file back for ever.
                Err(Failure::Park(reason) | Failure::Wait(reason)) => {
                    tracing::warn!(id = %self.id, name = file.name, "what may be a twin is left: {reason}");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(twins)
    }

    /// Those among the files found that may be an attempt's, as far as is known without their bytes.
    async fn possible(
        &self,
        attempt: &AttemptRow,
        mut found: Vec<FileEntry>,
    ) -> Result<Vec<FileEntry>, Failure> {
        let Some(before) = attempt.sent_after.clone().map(FileId::new) else {
            return Ok(Vec::new());
        };
        found.retain(|entry| {
            entry.size == attempt.size
                && self.provider().came_after(&entry.id, &before)
                && !self.is_known_otherwise(attempt, entry)
        });
        self.drop_indexed(&mut found).await?;
        Ok(found)
    }

    /// Whether a file has the bytes that an attempt sent.
    pub async fn holds_content(&self, attempt: &AttemptRow, entry: &FileEntry) -> Result<bool, Failure> {
        if entry.size != attempt.size {
            return Ok(false);
        }
        if let Some(ContentHash::Sha256(told)) = entry.hash {
            return Ok(attempt.sha256 == Some(told));
        }
        let staged = self.content_of(attempt);
        let base = Base {
            file: entry.id.clone(),
            size: entry.size,
            hash: entry.hash,
            revision: entry.revision.clone(),
            account: None,
        };
        let mut hash = Sha256::new();
        let mut done = 0;
        while done < entry.size {
            if self.uploads.stopping.is_cancelled() {
                return Err(Failure::Superseded);
            }
            let piece = done..entry.size.min(done + PIECE);
            let read = self.account.base.read(&self.account.name, &base, piece.clone());
            let bytes = match read.await {
                Ok(bytes) => bytes,
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(unreadable(entry, error)),
            };
            let length = bytes.len() as u64;
            if length == 0 || length > piece.end - piece.start {
                return Err(Failure::wait(
                    "the service sent another number of bytes than was asked for",
                ));
            }
            match &staged {
                Some(staged) => {
                    let staged = staged.clone();
                    let ours = blocking("read a staged file", move || {
                        staged.read_at(piece.start, length as usize)
                    });
                    if ours.await? != bytes {
                        return Ok(false);
                    }
                }
                None => hash.update(&bytes),
            }
            done += length;
        }
        Ok(staged.is_some() || attempt.sha256 == Some(hash.finalize().into()))
    }

    /// The content that an attempt sent, where it still is the staged one and all of it is here.
    pub fn content_of(&self, attempt: &AttemptRow) -> Option<Arc<StagedFile>> {
        let table = self.uploads.table();
        let item = table.item(self.id)?;
        let staged = item.staged.as_ref()?;
        let is_sent = item.row.generation == attempt.generation && staged.modifications() == item.committed;
        // What a service copied never was here.
        let is_here = staged.all_missing().is_empty();
        (is_sent && is_here).then(|| staged.clone())
    }

    /// Whether a file was there before the attempt, or belongs to another one.
    fn is_known_otherwise(&self, attempt: &AttemptRow, entry: &FileEntry) -> bool {
        let file = entry.id.as_str();
        let table = self.uploads.table();
        let replaced = table.item(self.id).is_some_and(|item| {
            let mut known = item.row.replaces.iter().chain(&item.row.superseded);
            known.any(|known| known == file)
        });
        let (account, folder) = (&self.account.name, &attempt.folder);
        replaced
            || attempt.replaces.as_deref() == Some(file)
            || table.is_of_another(account, file, self.id)
            || table.is_place_of_another(account, folder, &entry.name, attempt.sha256, self.id)
    }

    /// Leaves out files whose hash the index knows: it learns that of a file of this service only once an
    /// upload of it is verified, so they are older uploads.
    async fn drop_indexed(&self, found: &mut Vec<FileEntry>) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        let key = |entry: &FileEntry| ItemKey::File(entry.id.as_str().to_owned());
        let keys = found.iter().map(key).collect();
        let database = &self.uploads.database;
        let known = database
            .facts(&self.provider().id_space(), keys)
            .await
            .map_err(|error| Failure::Local(error.into()))?;
        found.retain(|entry| known.get(&key(entry)).is_none_or(|facts| facts.hash.is_none()));
        Ok(())
    }
}

/// What could not be compared is looked at again, so that nothing is sent that is there already; what never
/// can be is for a person to settle.
fn unreadable(entry: &FileEntry, error: ProviderError) -> Failure {
    let name = &entry.name;
    match error.kind {
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => Failure::Park(format!(
            "{name} on the service may be this file, sent before, and cannot be read to tell: remove it \
             there, then retry ({error})"
        )),
        _ if error.retry == Retry::Never => Failure::Wait(format!(
            "{name} on the service may be this file, sent before, and cannot be read now ({error})"
        )),
        _ => error.into(),
    }
}
