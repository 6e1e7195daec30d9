//! What a running mount answers on its control socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::assemble::Account;
use crate::control::{DrainProgress, Handler, PendingState, PendingStatus, StatusReport};
use crate::upload::{OperationState, PendingFile, UploadStatus, Uploads};
use crate::vfs::Vfs;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// A request to end the mount; the answer is how many files are left in the journal.
pub(super) type EndRequest = oneshot::Sender<Result<usize, String>>;

pub(super) struct MountHandler {
    pub mount_point: PathBuf,
    pub accounts: Vec<Account>,
    pub uploads: Arc<Uploads>,
    pub vfs: Arc<Vfs>,
    pub end: mpsc::Sender<EndRequest>,
}

#[async_trait]
impl Handler for MountHandler {
    async fn status(&self) -> StatusReport {
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mount_point: self.mount_point.clone(),
            accounts: self
                .accounts
                .iter()
                .map(|account| account.status(&self.vfs))
                .collect(),
            pending: self
                .uploads
                .pending()
                .into_iter()
                .map(|file| self.pending_status(file))
                .collect(),
        }
    }

    async fn drain(&self, progress: mpsc::Sender<DrainProgress>) -> Result<(), String> {
        let mut drained = std::pin::pin!(self.uploads.drain());
        loop {
            // A listener that is gone or slow misses a line, nothing else.
            let _ = progress.try_send(drain_progress(self.uploads.pending()));
            if progress.is_closed() {
                return Err("nobody waits any more".to_owned());
            }
            tokio::select! {
                () = &mut drained => break,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
            }
        }
        let _ = progress.send(drain_progress(self.uploads.pending())).await;
        self.tell_refused()
    }

    async fn unmount(&self) -> Result<usize, String> {
        let ended = || "the mount ends already".to_owned();
        let (reply, answer) = oneshot::channel();
        self.end.send(reply).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn retry(&self, account: Option<&str>) -> Result<usize, String> {
        let mut retried = 0;
        for file in self.uploads.pending() {
            let stuck = matches!(
                file.status,
                UploadStatus::Parked { .. } | UploadStatus::Waiting { .. }
            );
            if stuck && account.is_none_or(|account| account == file.account) {
                retried += usize::from(self.uploads.retry(file.id).await.map_err(|e| e.to_string())?);
            }
        }
        for operation in self.uploads.operations() {
            if account.is_none_or(|account| account == operation.account) {
                let again = self.uploads.retry_operation(operation.id).await;
                retried += usize::from(again.map_err(|e| e.to_string())?);
            }
        }
        Ok(retried)
    }
}

fn drain_progress(mut pending: Vec<PendingFile>) -> DrainProgress {
    pending.retain(|file| file.status != UploadStatus::Kept);
    let bytes = pending
        .iter()
        .map(|file| file.size.saturating_sub(sent(file)))
        .sum();
    let failed = pending
        .iter()
        .filter(|file| matches!(file.status, UploadStatus::Parked { .. }))
        .count();
    DrainProgress {
        files: pending.len(),
        bytes,
        failed,
    }
}

fn sent(file: &PendingFile) -> u64 {
    match file.status {
        UploadStatus::Uploading { sent } => sent,
        UploadStatus::Verifying => file.size,
        _ => 0,
    }
}

impl MountHandler {
    /// Fails where the service refuses what it is to do beside uploads.
    fn tell_refused(&self) -> Result<(), String> {
        let operations = self.uploads.operations().into_iter();
        let mut refused = operations.filter_map(|operation| match operation.state {
            OperationState::Parked { reason } => Some((operation.name, reason)),
            _ => None,
        });
        let Some((name, reason)) = refused.next() else {
            return Ok(());
        };
        let others = match refused.count() {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        Err(format!(
            "the service refuses a change of {name:?}{others}: {reason}"
        ))
    }

    fn pending_status(&self, file: PendingFile) -> PendingStatus {
        let path = self.vfs.pending_path(file.id);
        // The account stands beside it.
        let within = |path: &str| {
            path.strip_prefix(&file.account)?
                .strip_prefix('/')
                .map(str::to_owned)
        };
        let path = path.map(|path| within(&path).unwrap_or(path));
        let sent = sent(&file);
        let (state, error, next_try) = match file.status {
            UploadStatus::Staged => (PendingState::Staged, None, None),
            UploadStatus::Queued => (PendingState::Queued, None, None),
            UploadStatus::Uploading { .. } => (PendingState::Uploading, None, None),
            UploadStatus::Verifying => (PendingState::Verifying, None, None),
            UploadStatus::Waiting { until, error, .. } => (PendingState::Waiting, Some(error), Some(until)),
            UploadStatus::Parked { reason } => (PendingState::Parked, Some(reason), None),
            UploadStatus::Kept => (PendingState::Kept, None, None),
        };
        PendingStatus {
            account: file.account,
            path: path.unwrap_or(file.name),
            size: file.size,
            sent,
            state,
            error,
            tries: file.tries,
            next_try: next_try.map(seconds),
        }
    }
}

pub(in crate::cli) fn seconds(moment: SystemTime) -> u64 {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::FolderId;
    use crate::upload::PendingId;

    fn file(size: u64, status: UploadStatus) -> PendingFile {
        PendingFile {
            id: PendingId::from_i64(1),
            account: "box".to_owned(),
            folder: FolderId::new("root"),
            name: "f".to_owned(),
            size,
            mtime: SystemTime::UNIX_EPOCH,
            replaces: None,
            superseded: Vec::new(),
            generation: 1,
            status,
            tries: 0,
            announced: false,
            uploaded: None,
        }
    }

    #[test]
    fn a_drain_counts_what_goes_to_the_service_and_not_what_is_kept_here() {
        let reason = "why".to_owned();
        let progress = drain_progress(vec![
            file(0, UploadStatus::Kept),
            file(9, UploadStatus::Uploading { sent: 4 }),
            file(2, UploadStatus::Parked { reason }),
        ]);
        let expected = DrainProgress {
            files: 2,
            bytes: 7,
            failed: 1,
        };
        assert_eq!(progress, expected);
    }
}
