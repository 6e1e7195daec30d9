//! What was sent may stay: before a staged file is deleted, it is offered to whoever keeps contents to be read again.
//!
//! Only what certainly is the file's content there is offered, and only once no writer gets it any more.

use std::fs::File;
use std::sync::Arc;

use crate::provider::{ContentHash, FileEntry};
use crate::state::AttemptRow;

use super::UploadError;
use super::engine::Worker;
use super::journal::blocking;

/// A content of so many bytes is looked at before the end of the upload is told. A larger one is looked at behind it, since
/// that takes a while.
const AT_ONCE: u64 = 256 << 20;

/// A content that was found on the service.
pub(super) struct Sent {
    file: Arc<File>,
    entry: FileEntry,
    /// Whether the service told a hash, and it is that of the content.
    is_verified: bool,
}

impl Worker {
    /// The content that was sent, if it is that of `entry`. `hash` is what the service told, where it was found to be
    /// right. To be asked before the row goes.
    pub fn sent(&self, attempt: &AttemptRow, entry: &FileEntry, hash: Option<&str>) -> Option<Sent> {
        // Where it was found before, it may have been changed there since.
        let is_verified = match entry.hash {
            Some(ContentHash::Sha256(told)) => attempt.sha256 == Some(told),
            Some(told @ ContentHash::Md5(_)) => hash.is_some_and(|hash| hash == told.to_hex()),
            None => false,
        };
        // A service that tells nothing of a content has another id for each.
        let is_only = entry.hash.is_none() && entry.revision.is_none();
        if entry.size != attempt.size || !(is_verified || is_only) {
            return None;
        }
        let staged = self.content_of(attempt)?;
        let is_there = staged.len() == entry.size && staged.all_missing().is_empty();
        Some(Sent {
            file: staged.file().ok().filter(|_| is_there)?.clone(),
            entry: entry.clone(),
            is_verified,
        })
    }

    /// Lets the content stay for good where the account wants that. To be called before the row goes, while no writer
    /// gets it: what cannot be kept is tried again.
    pub async fn pin(&self, sent: Option<&Sent>) -> Result<(), UploadError> {
        let Some(Sent { file, entry, .. }) = sent else {
            return Ok(());
        };
        let (account, file, entry) = (self.account.clone(), file.clone(), entry.clone());
        blocking("keep the copy of a published file", move || {
            account.base.pin(&account.name, &entry, &file)
        })
        .await
    }

    /// The row stays, and a writer may get the content again.
    pub async fn unpin(&self, sent: Option<&Sent>) {
        let Some(entry) = sent.map(|sent| sent.entry.clone()) else {
            return;
        };
        let account = self.account.clone();
        let unpinned = blocking("let the copy of a file go", move || {
            account.base.unpin(&account.name, &entry)
        });
        if let Err(error) = unpinned.await {
            tracing::error!(%error, "a content stays that may be changed: it will not be taken for right");
        }
    }

    /// Offers the content, of which the row is gone, and deletes the staged files.
    pub async fn leave(&self, sent: Option<Sent>, staging: Option<String>) {
        let (uploads, account) = (self.uploads.clone(), self.account.clone());
        let is_large = sent.as_ref().is_some_and(|sent| sent.entry.size > AT_ONCE);
        let left = async move {
            if let Some(sent) = sent {
                let keep = move || {
                    let base = &account.base;
                    base.keep_sent(&account.name, &sent.entry, &sent.file, sent.is_verified);
                };
                if tokio::task::spawn_blocking(keep).await.is_err() {
                    tracing::error!("a content that was sent could not be kept to be read");
                }
            }
            uploads.delete_discarded(staging.into_iter().collect());
        };
        if is_large {
            self.uploads.spawn(left);
        } else {
            left.await;
        }
    }
}
