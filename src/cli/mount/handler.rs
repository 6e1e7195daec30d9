//! What a running mount answers on its control socket.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::assemble::Account;
use super::login;
use crate::control::{
    Action, Choice, DiskStatus, DrainProgress, Handler, KeptAsideStatus, PendingState, PendingStatus,
    PinnedStatus, StatusReport, Totals,
};
use crate::provider::FolderId;
use crate::state::{Database, PinnedSum, Pins};
use crate::upload::{
    KeptAside, OperationId, OperationKind, OperationState, Overview, PendingFile, PendingId,
    PendingOperation, Stage, SteerError, UploadStatus, Uploads,
};
use crate::vfs::Vfs;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Files of each state that a drain tells about.
const PROGRESS_ROWS: usize = 10;
/// Files in one part of a long list.
const PAGE: usize = 4096;

/// A request to end the mount.
pub(super) struct EndRequest {
    /// Without uploading what waits.
    pub now: bool,
    /// How many files are left in the journal.
    pub reply: oneshot::Sender<Result<u64, String>>,
}

pub(super) struct MountHandler {
    pub mount_point: PathBuf,
    /// Whether the one account is at the mount point itself.
    pub alone: bool,
    pub accounts: Vec<Account>,
    pub uploads: Arc<Uploads>,
    pub vfs: Arc<Vfs>,
    pub pins: Pins,
    /// The config that it was mounted with.
    pub config: PathBuf,
    pub database: Database,
    pub end: mpsc::Sender<EndRequest>,
}

#[async_trait]
impl Handler for MountHandler {
    async fn status(&self, rows: usize) -> StatusReport {
        let DrainProgress { totals, pending } = self.progress(rows);
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|account| account.status(&self.vfs, &self.uploads));
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mount_point: self.mount_point.clone(),
            accounts: join_all(accounts).await,
            disk: disk_status(self.uploads.clone()).await,
            pinned: pinned_status(self.pins.clone()).await,
            kept_aside: self.kept_aside(),
            totals,
            pending,
        }
    }

    async fn pending_after(&self, after: Option<&str>) -> Vec<PendingStatus> {
        let operations = || {
            let operations = self.uploads.operations().into_iter();
            operations
                .map(|operation| self.operation_status(operation))
                .collect()
        };
        let after = match after.map(Known::of) {
            None => i64::MIN,
            Some(Ok(Known::Upload(id))) => id.as_i64(),
            // They come last, all together.
            Some(Ok(Known::Operation(_)) | Err(_)) => return Vec::new(),
        };
        let rows = self.uploads.pending_after(PendingId::from_i64(after), PAGE);
        match rows.is_empty() {
            true => operations(),
            false => rows.into_iter().map(|file| self.pending_status(file)).collect(),
        }
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
        self.vfs.catch_up_with_uploads().await;
        let _ = progress.send(self.progress(PROGRESS_ROWS)).await;
        Ok(())
    }

    async fn unmount(&self, now: bool) -> Result<u64, String> {
        let ended = || "the mount ends already".to_owned();
        let (reply, answer) = oneshot::channel();
        let request = EndRequest { now, reply };
        self.end.send(request).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn find(&self, choice: &Choice) -> Result<Vec<PendingStatus>, String> {
        self.choose(choice)
    }

    async fn retry(&self, choice: &Choice) -> Result<u64, String> {
        let mut retried = 0;
        for item in self.choose(choice)? {
            let again = match Known::of(&item.id)? {
                Known::Upload(id) => self.uploads.retry(id).await,
                Known::Operation(id) => self.uploads.retry_operation(id).await,
            };
            retried += u64::from(again.map_err(|e| e.to_string())?);
        }
        Ok(retried)
    }

    async fn cancel(&self, choice: &Choice) -> Result<u64, String> {
        let mut chosen = self.choose(choice)?;
        if choice.items.is_empty() {
            chosen.retain(|file| file.state != PendingState::Kept);
        }
        let (vfs, uploads) = (Arc::clone(&self.vfs), Arc::clone(&self.uploads));
        // To its end, whoever waits for it: the journal and the tree change together.
        let cancelled = tokio::spawn(async move {
            let (mut cancelled, mut failed) = (0, Vec::new());
            for item in chosen {
                let refused = match Known::of(&item.id)? {
                    Known::Upload(id) => vfs.cancel_upload(id).await.err(),
                    Known::Operation(id) => match uploads.cancel_operation(id).await {
                        Ok(true) => None,
                        Ok(false) => Some(SteerError::UnderWay),
                        Err(error) => Some(error.into()),
                    },
                };
                match refused {
                    None => cancelled += 1,
                    Some(SteerError::Gone) => {}
                    Some(error) => failed.push(format!("{}:{}: {error}", item.account, item.path)),
                }
            }
            match &failed[..] {
                [] => Ok(cancelled),
                [first, ..] => Err(format!("{cancelled} given up, {} not: {first}", failed.len())),
            }
        });
        cancelled.await.map_err(|e| e.to_string())?
    }

    async fn export(&self, item: &str, to: &Path, replace: bool) -> Result<u64, String> {
        let choice = Choice {
            account: None,
            items: vec![item.to_owned()],
        };
        let [file] = &self.choose(&choice)?[..] else {
            return Err(format!("{item} is more than one file: export them one by one"));
        };
        let Known::Upload(id) = Known::of(&file.id)? else {
            return Err(format!("{item} is no file that waits to be uploaded"));
        };
        let exported = self.uploads.export(id, to, replace).await;
        exported.map_err(|error| format!("{}:{}: {error}", file.account, file.path))
    }

    async fn log_in(&self, account: &str) -> Result<u64, String> {
        let known = self.accounts.iter().find(|known| known.name == account);
        let known = known.ok_or_else(|| self.no_account(account))?;
        login::take_up(&self.config, &self.database, known, &self.uploads).await
    }

    async fn pause(&self, account: Option<&str>, paused: bool) -> Result<u64, String> {
        let chosen = |known: &&Account| account.is_none_or(|name| known.name == name);
        let chosen: Vec<_> = self.accounts.iter().filter(chosen).collect();
        if chosen.is_empty() {
            return Err(self.no_account(account.unwrap_or_default()));
        }
        let mut changed = 0;
        for known in chosen {
            changed += u64::from(self.uploads.is_paused(&known.name) != paused);
            let noted = self.uploads.set_paused(&known.name, paused).await;
            noted.map_err(|error| error.to_string())?;
        }
        Ok(changed)
    }

    async fn refresh(&self, account: &str) -> Result<bool, String> {
        let looked = self.vfs.look_for_news(account).await;
        looked.map_err(|error| format!("what changed in {account} is not known yet: {error}"))
    }
}

/// What an id stands for.
enum Known {
    Upload(PendingId),
    Operation(OperationId),
}

impl Known {
    fn of(id: &str) -> Result<Self, String> {
        if let Ok(operation) = id.parse() {
            return Ok(Known::Operation(operation));
        }
        let number = id
            .parse()
            .map_err(|_| format!("{id} is no id of what is pending"))?;
        Ok(Known::Upload(PendingId::from_i64(number)))
    }
}

/// `None` where the disk does not tell.
async fn disk_status(uploads: Arc<Uploads>) -> Option<DiskStatus> {
    let room = tokio::task::spawn_blocking(move || uploads.disk_room()).await;
    let told = room.map_err(std::io::Error::other).and_then(|room| room);
    let room = told
        .inspect_err(|error| tracing::debug!(%error, "the disk does not tell its free space"))
        .ok()?;
    Some(DiskStatus {
        free: room.free,
        reserve: room.reserve,
        lacking: room.lacking,
        full: room.is_full(),
    })
}

impl MountHandler {
    fn kept_aside(&self) -> Vec<KeptAsideStatus> {
        let told = |kept: KeptAside| {
            let folder = self.vfs.folder_path(&kept.account, &kept.folder);
            let path = match folder.as_deref() {
                None | Some("") => kept.name,
                Some(folder) => format!("{folder}/{}", kept.name),
            };
            KeptAsideStatus {
                account: kept.account,
                path,
                aside: kept.aside,
                at: super::seconds(kept.at),
            }
        };
        self.uploads.kept_aside().into_iter().map(told).collect()
    }
}

/// `None` where nothing is pinned, or the disk does not tell.
async fn pinned_status(pins: Pins) -> Option<PinnedStatus> {
    let sum = tokio::task::spawn_blocking(move || pins.sum()).await;
    let sum = sum
        .map_err(std::io::Error::other)
        .and_then(|done| done)
        .inspect_err(|error| tracing::debug!(%error, "what is pinned cannot be counted"))
        .ok()?;
    let PinnedSum { files, bytes } = sum;
    (files > 0).then_some(PinnedStatus { files, bytes })
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
        Stage::Local => PendingState::Local,
    }
}

fn operation_state(state: &OperationState) -> PendingState {
    match state {
        OperationState::Queued => PendingState::Queued,
        OperationState::Running => PendingState::Uploading,
        OperationState::Waiting { .. } => PendingState::Waiting,
        OperationState::Parked { .. } => PendingState::Parked,
    }
}

fn is_at_or_below(file: &PendingStatus, (account, path): &(String, String)) -> bool {
    let below = file.path.strip_prefix(path.as_str());
    file.account == *account
        && (path.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn totals(overview: &Overview) -> Totals {
    let mut totals = Totals::default();
    for (stage, sums) in &overview.stages {
        totals.add(state_of(*stage), sums.files, sums.bytes, sums.sent);
    }
    totals.at_rate(overview.rate)
}

impl MountHandler {
    /// The pending files that a choice means.
    fn choose(&self, choice: &Choice) -> Result<Vec<PendingStatus>, String> {
        if let Some(account) = &choice.account
            && !self.accounts.iter().any(|known| known.name == *account)
        {
            return Err(self.no_account(account));
        }
        let files = self.uploads.pending().into_iter();
        let files = files.map(|file| self.pending_status(file));
        let operations = self.uploads.operations().into_iter();
        let all: Vec<_> = files
            .chain(operations.map(|operation| self.operation_status(operation)))
            .filter(|file| choice.account.as_ref().is_none_or(|name| *name == file.account))
            .collect();
        if choice.items.is_empty() {
            let mut all = all;
            all.retain(|file| file.state != PendingState::Local);
            return Ok(all);
        }
        let mut unmet: HashSet<&str> = choice.items.iter().map(String::as_str).collect();
        let places = choice
            .items
            .iter()
            .map(|item| Ok((item.as_str(), self.place_of(item)?)));
        let places: Vec<_> = places.collect::<Result<_, String>>()?;
        let ids: HashSet<&str> = choice.items.iter().map(String::as_str).collect();
        let mut chosen = all;
        chosen.retain(|file| {
            let by_id = ids.contains(file.id.as_str());
            unmet.remove(file.id.as_str());
            let mut by_place = false;
            for (item, place) in &places {
                if place.as_ref().is_some_and(|place| is_at_or_below(file, place)) {
                    unmet.remove(item);
                    by_place = true;
                }
            }
            by_id || by_place
        });
        match choice.items.iter().find(|item| unmet.contains(item.as_str())) {
            None => Ok(chosen),
            Some(item) => Err(format!(
                "{item} is not pending: `lockerfs queue list` shows what is"
            )),
        }
    }

    /// Account and path that an item of a choice names; `None` for an id.
    fn place_of(&self, item: &str) -> Result<Option<(String, String)>, String> {
        if item.starts_with('/') {
            let place = self.mount_point.display();
            let below = Path::new(item)
                .strip_prefix(&self.mount_point)
                .map_err(|_| format!("{item} is not below the mount at {place}"))?;
            let below = below.to_string_lossy();
            if let (true, [account]) = (self.alone, &self.accounts[..]) {
                return Ok(Some((account.name.clone(), below.into_owned())));
            }
            let (account, path) = below.split_once('/').unwrap_or((&below, ""));
            return Ok(Some((account.to_owned(), path.to_owned())));
        }
        let named = item.split_once(':');
        Ok(named.map(|(account, path)| (account.to_owned(), path.trim_matches('/').to_owned())))
    }

    fn no_account(&self, name: &str) -> String {
        let known: Vec<_> = self
            .accounts
            .iter()
            .map(|account| account.name.as_str())
            .collect();
        format!("no account {name} is mounted; there are {}", known.join(", "))
    }

    /// The sums over what waits, and up to `rows` files of each state.
    fn progress(&self, rows: usize) -> DrainProgress {
        let overview = self.uploads.overview(rows);
        let mut totals = totals(&overview);
        let files = overview.files.into_iter().map(|file| self.pending_status(file));
        let mut pending: Vec<_> = files.collect();
        let mut shown: HashMap<PendingState, usize> = HashMap::new();
        for operation in self.uploads.operations() {
            let state = operation_state(&operation.state);
            totals.add_operation(state);
            let shown = shown.entry(state).or_default();
            *shown += 1;
            if *shown <= rows {
                pending.push(self.operation_status(operation));
            }
        }
        DrainProgress { totals, pending }
    }

    fn operation_status(&self, operation: PendingOperation) -> PendingStatus {
        let path = |folder: &FolderId, name: &str| {
            let folder = self.vfs.folder_path(&operation.account, folder);
            match folder.filter(|folder| !folder.is_empty()) {
                Some(folder) => format!("{folder}/{name}"),
                None => name.to_owned(),
            }
        };
        let state = operation_state(&operation.state);
        let (error, next_try) = match &operation.state {
            OperationState::Waiting { until, error } => (Some(error.clone()), Some(seconds(*until))),
            OperationState::Parked { reason } => (Some(reason.clone()), None),
            OperationState::Queued | OperationState::Running => (None, None),
        };
        PendingStatus {
            id: operation.id.to_string(),
            action: match operation.kind {
                OperationKind::Delete => Action::Delete,
                OperationKind::Rename => Action::Rename,
            },
            path: path(&operation.folder, &operation.name),
            to: operation.to.as_ref().map(|(folder, name)| path(folder, name)),
            account: operation.account,
            size: 0,
            sent: 0,
            rate: 0,
            state,
            error,
            tries: operation.tries,
            next_try,
        }
    }

    fn pending_status(&self, file: PendingFile) -> PendingStatus {
        let path = self.vfs.pending_path(file.id);
        let (sent, state) = (sent(&file), state_of(file.status.stage()));
        let (error, next_try) = match file.status {
            UploadStatus::Waiting { until, error, .. } => (Some(error), Some(until)),
            UploadStatus::Parked { reason } => (Some(reason), None),
            _ => (None, None),
        };
        PendingStatus {
            id: file.id.to_string(),
            action: Action::Upload,
            to: None,
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
                (Stage::Uploading, sums(1, 9000, 4000)),
                (Stage::Parked, sums(1, 2000, 0)),
            ]
            .into(),
            files: Vec::new(),
            rate: 1000,
        };
        let expected = Totals {
            files: 2,
            bytes: 11_000,
            sent: 4000,
            parked: 1,
            parked_bytes: 2000,
            under_way: 1,
            kept: 1,
            rate: 1000,
            seconds_left: Some(5),
            ..Totals::default()
        };
        assert_eq!(totals(&overview), expected);
    }
}
