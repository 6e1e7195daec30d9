//! One pending file in memory, and what is told of it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::provider::{ErrorKind, FileEntry, FileId, FolderId};
use crate::state::{AttemptRow, JournalRow, RowState};
use crate::upload::meter::Progress;
use crate::upload::staged_file::StagedFile;
use crate::upload::status::{PendingFile, PendingId, Stage, UploadStatus};

/// Bytes above which a file is a large one.
pub(in crate::upload) const LARGE: u64 = 16 << 20;

/// Small files and large ones stand in queues of their own, so that neither waits for the end of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upload) enum Kind {
    Small,
    Large,
}

/// What a waiter waits for.
#[derive(Debug, Clone)]
pub(in crate::upload) enum Outcome {
    Open,
    /// A content of this generation is on the service.
    Done {
        generation: u64,
        entry: FileEntry,
    },
    Parked {
        reason: String,
        kind: Option<ErrorKind>,
    },
    /// Empty, and it stays here.
    Kept,
    Removed,
}

impl Outcome {
    /// What a row that nothing is done with stands for. `failure` is what the service answered last.
    fn of(row: &JournalRow, failure: Option<ErrorKind>) -> Option<Outcome> {
        match row.state {
            RowState::Parked => Some(Outcome::Parked {
                reason: row.last_error.clone().unwrap_or_default(),
                kind: failure,
            }),
            RowState::Kept | RowState::Local => Some(Outcome::Kept),
            _ => None,
        }
    }
}

/// How far the run of an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upload) enum Step {
    /// Nothing was said to the service; a writer may still have the file.
    Preparing,
    /// The content is being sent: it must not change.
    Sending,
    Verifying,
    /// Only the row's removal is missing; no writer gets the item any more.
    Finishing,
}

/// What a worker and the table share while an item is worked on.
#[derive(Debug)]
pub(in crate::upload) struct Run {
    pub step: Step,
    pub progress: Arc<Progress>,
}

pub(in crate::upload) struct Item {
    /// As committed last.
    pub row: JournalRow,
    /// The content of `row`; `None` where it is missing or the row is removed.
    pub staged: Option<Arc<StagedFile>>,
    /// A newer content that a writer began while the present one was being sent.
    pub draft: Option<Arc<StagedFile>>,
    /// [`StagedFile::modifications`] of `staged` that `row` tells of.
    pub committed: u64,
    pub holds: usize,
    /// Callers that wait for the upload although the file may be held.
    pub hurried: usize,
    pub due: Instant,
    /// What the service answered when the last run failed.
    pub failure: Option<ErrorKind>,
    pub run: Option<Run>,
    /// Made for the first who waits.
    outcome: Option<watch::Sender<Outcome>>,
    /// The service may hold the file that it goes on with in another folder than the row's.
    pub may_be_elsewhere: bool,
    /// Files whose place it took and that the service was told to delete, in this run of the program.
    pub lets_go: Vec<String>,
    /// The service may have been told of a content of it, in this life or an earlier one.
    pub was_announced: bool,
    /// The key in its queue's order.
    pub(super) queued_at: Option<(Kind, Instant)>,
    /// [`is_at_rest`](Self::is_at_rest) as of the last change: what is written to a staged file is no change here.
    pub(super) rests: bool,
}

impl Item {
    pub fn new(row: JournalRow, staged: Option<Arc<StagedFile>>, committed: u64, due: Instant) -> Self {
        // An earlier content was sent, perhaps to where the row was then.
        let may_be_elsewhere = row.replaces.is_some() && row.generation > 1;
        Item {
            may_be_elsewhere,
            lets_go: Vec::new(),
            was_announced: row.attempt.is_some(),
            row,
            staged,
            draft: None,
            committed,
            holds: 0,
            hurried: 0,
            due,
            failure: None,
            run: None,
            outcome: None,
            queued_at: None,
            rests: false,
        }
    }

    pub fn subscribe(&mut self) -> watch::Receiver<Outcome> {
        let now = || Outcome::of(&self.row, self.failure).unwrap_or(Outcome::Open);
        self.outcome
            .get_or_insert_with(|| watch::Sender::new(now()))
            .subscribe()
    }

    pub fn tell(&mut self, outcome: Outcome) {
        match &self.outcome {
            Some(told) => drop(told.send_replace(outcome)),
            // Anything else shows in the row for who comes later.
            None if matches!(outcome, Outcome::Done { .. }) => {
                self.outcome = Some(watch::Sender::new(outcome));
            }
            None => {}
        }
    }

    /// Tells what the row stands for as it is now.
    pub(super) fn tell_row(&mut self) {
        let is_over =
            |told: &watch::Sender<Outcome>| matches!(*told.borrow(), Outcome::Parked { .. } | Outcome::Kept);
        match Outcome::of(&self.row, self.failure) {
            Some(outcome) => self.tell(outcome),
            None if self.outcome.as_ref().is_some_and(is_over) => self.tell(Outcome::Open),
            None => {}
        }
    }

    /// The newest content.
    pub fn newest(&self) -> Option<&Arc<StagedFile>> {
        self.draft.as_ref().or(self.staged.as_ref())
    }

    /// A removed file is small, whatever it was: none of its bytes are sent.
    pub fn kind(&self) -> Kind {
        if self.row.size > LARGE && !self.is_removed() {
            Kind::Large
        } else {
            Kind::Small
        }
    }

    pub fn is_removed(&self) -> bool {
        self.row.state == RowState::Removed
    }

    /// Whether no writer stands in the way of the upload.
    pub fn is_released(&self) -> bool {
        self.holds == 0 || self.hurried > 0 || self.is_removed()
    }

    /// Whether nothing goes on by itself: a person is needed, or the file stays here as it is.
    pub(super) fn is_at_rest(&self) -> bool {
        match self.row.state {
            RowState::Parked | RowState::Local => true,
            RowState::Kept => {
                let written = |staged: &Arc<StagedFile>| staged.modifications() != self.committed;
                let drafted = |draft: &Arc<StagedFile>| draft.modifications() > 0;
                !self.staged.as_ref().is_some_and(written) && !self.draft.as_ref().is_some_and(drafted)
            }
            _ => false,
        }
    }

    pub(super) fn look_whether_it_rests(&mut self) {
        self.rests = self.is_at_rest();
    }

    /// The next try of a failed one is made now.
    pub fn hurry_if_waiting(&mut self) {
        if self.is_waiting() {
            self.due = Instant::now();
        }
    }

    /// Whether a failed try waits for its next one.
    pub fn is_waiting(&self) -> bool {
        self.row.next_try.is_some()
    }

    /// Where on the service the item may be, or is going to be.
    pub fn target(&self) -> (String, String) {
        match &self.row.attempt {
            Some(sent) => (sent.folder.clone(), sent.name.clone()),
            None => (self.row.folder.clone(), self.row.name.clone()),
        }
    }

    /// What was sent, or may have been, of which the service may show a file before the upload's end is told, and whether
    /// that goes. Of a file that waits for a person nothing else is told of: its reason may be the very file that looks
    /// like it.
    pub(super) fn trace(&self) -> Option<(&AttemptRow, bool)> {
        let row = &self.row;
        let sent = row.attempt.as_ref()?;
        let goes = self.is_removed() || sent.folder != row.folder || sent.name != row.name;
        let rests = matches!(row.state, RowState::Parked | RowState::Kept | RowState::Local);
        (goes || !rests).then_some((sent, goes))
    }

    pub(super) fn stage(&self) -> Stage {
        if let Some(run) = &self.run {
            return match run.step {
                Step::Preparing | Step::Sending => Stage::Uploading,
                Step::Verifying | Step::Finishing => Stage::Verifying,
            };
        }
        match self.row.state {
            RowState::Parked => Stage::Parked,
            RowState::Kept => Stage::Kept,
            RowState::Local => Stage::Local,
            _ if self.row.next_try.is_some() => Stage::Waiting,
            _ if self.holds > 0 || self.due > Instant::now() => Stage::Staged,
            _ => Stage::Queued,
        }
    }

    /// Bytes that the service has taken in this try.
    pub(super) fn sent(&self) -> u64 {
        match &self.run {
            Some(run) if run.step == Step::Sending => run.progress.sent(),
            Some(run) if run.step != Step::Preparing => self.row.size,
            _ => 0,
        }
    }

    fn status(&self) -> UploadStatus {
        let error = || self.row.last_error.clone().unwrap_or_default();
        match self.stage() {
            Stage::Staged => UploadStatus::Staged,
            Stage::Queued => UploadStatus::Queued,
            Stage::Uploading => UploadStatus::Uploading { sent: self.sent() },
            Stage::Verifying => UploadStatus::Verifying,
            Stage::Waiting => UploadStatus::Waiting {
                until: self.row.next_try.unwrap_or(SystemTime::UNIX_EPOCH),
                error: error(),
                kind: self.failure,
            },
            Stage::Parked => UploadStatus::Parked { reason: error() },
            Stage::Kept => UploadStatus::Kept,
            Stage::Local => UploadStatus::Local,
        }
    }

    /// Bytes of the newest content, committed or not.
    pub(super) fn size(&self) -> u64 {
        let changed = (self.holds > 0).then(|| self.newest()).flatten();
        changed.map_or(self.row.size, |staged| staged.len())
    }

    pub(super) fn snapshot(&self) -> PendingFile {
        PendingFile {
            id: PendingId(self.row.id),
            account: self.row.account.clone(),
            folder: FolderId::new(self.row.folder.clone()),
            name: self.row.name.clone(),
            size: self.size(),
            mtime: self.row.mtime,
            mode: self.row.mode,
            replaces: self.row.replaces.clone().map(FileId::new),
            superseded: self.row.superseded.iter().cloned().map(FileId::new).collect(),
            generation: self.row.generation,
            status: self.status(),
            rate: self.run.as_ref().map_or(0, |run| run.progress.rate()),
            tries: self.row.tries,
            announced: self.row.attempt.is_some(),
            was_announced: self.was_announced,
            uploaded: self
                .row
                .attempt
                .as_ref()
                .and_then(|sent| sent.file.clone())
                .map(FileId::new),
        }
    }
}
