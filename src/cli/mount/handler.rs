//! What a running mount answers on its control socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::assemble::Account;
use crate::control::{DrainProgress, Handler, PendingState, PendingStatus, StatusReport, Totals};
use crate::upload::{OperationState, Overview, PendingFile, PendingId, Stage, UploadStatus, Uploads};
use crate::vfs::Vfs;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Files of each state that a drain tells about.
const PROGRESS_ROWS: usize = 10;
/// Files in one part of a long list.
const PAGE: usize = 4096;

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
    async fn status(&self, rows: usize) -> StatusReport {
        let DrainProgress { totals, pending } = self.progress(rows);
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mount_point: self.mount_point.clone(),
            accounts: self
                .accounts
                .iter()
                .map(|account| account.status(&self.vfs))
                .collect(),
            totals,
            pending,
        }
    }

    async fn pending_after(&self, after: Option<&str>) -> Vec<PendingStatus> {
        let after = after.and_then(|id| id.parse().ok()).unwrap_or(i64::MIN);
        let rows = self.uploads.pending_after(PendingId::from_i64(after), PAGE);
        rows.into_iter().map(|file| self.pending_status(file)).collect()
    }

    async fn drain(&self, progress: mpsc::Sender<DrainProgress>) -> Result<(), String> {
        let mut drained = std::pin::pin!(self.uploads.drain());
        loop {
            // A listener that is gone or slow misses a line, nothing else.
            let _ = progress.try_send(self.progress(PROGRESS_ROWS));
            if progress.is_closed() {
                return Err("nobody waits any more".to_owned());
            }
            tokio::select! {
                () = &mut drained => break,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
            }
        }
        let _ = progress.send(self.progress(PROGRESS_ROWS)).await;
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

fn sent(file: &PendingFile) -> u64 {
    match file.status {
        UploadStatus::Uploading { sent } => sent,
        UploadStatus::Verifying => file.size,
        _ => 0,
    }
}

fn state_of(stage: Stage) -> PendingState {
    match stage {
        Stage::Parked => PendingState::Parked,
        Stage::Waiting => PendingState::Waiting,
        Stage::Uploading => PendingState::Uploading,
        Stage::Verifying => PendingState::Verifying,
        Stage::Queued => PendingState::Queued,
        Stage::Staged => PendingState::Staged,
        Stage::Kept => PendingState::Kept,
    }
}

fn totals(overview: &Overview) -> Totals {
    let mut totals = Totals::default();
    for (stage, sums) in &overview.stages {
        totals.add(state_of(*stage), sums.files, sums.bytes, sums.sent);
    }
    totals.at_rate(overview.rate)
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

    /// The sums over what waits, and up to `rows` files of each state.
    fn progress(&self, rows: usize) -> DrainProgress {
        let overview = self.uploads.overview(rows);
        DrainProgress {
            totals: totals(&overview),
            pending: overview
                .files
                .into_iter()
                .map(|file| self.pending_status(file))
                .collect(),
        }
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
        let (sent, state) = (sent(&file), state_of(file.status.stage()));
        let (error, next_try) = match file.status {
            UploadStatus::Waiting { until, error, .. } => (Some(error), Some(until)),
            UploadStatus::Parked { reason } => (Some(reason), None),
            _ => (None, None),
        };
        PendingStatus {
            id: file.id.to_string(),
            account: file.account,
            path: path.unwrap_or(file.name),
            size: file.size,
            sent,
            rate: file.rate,
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
    use crate::upload::Sums;

    #[test]
    fn what_is_kept_here_does_not_count_among_what_is_to_be_sent() {
        let sums = |files, bytes, sent| Sums { files, bytes, sent };
        let overview = Overview {
            stages: [
                (Stage::Kept, sums(1, 0, 0)),
                (Stage::Uploading, sums(1, 9, 4)),
                (Stage::Parked, sums(1, 2, 0)),
            ]
            .into(),
            files: Vec::new(),
            rate: 2,
        };
        let expected = Totals {
            files: 2,
            bytes: 11,
            sent: 4,
            parked: 1,
            under_way: 1,
            kept: 1,
            rate: 2,
            seconds_left: Some(3),
            ..Totals::default()
        };
        assert_eq!(totals(&overview), expected);
    }
}
