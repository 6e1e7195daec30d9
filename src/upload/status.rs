//! What a pending file is and where it stands, as told to others, and the one table of steps between
//! states.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::provider::{ErrorKind, FileId, FolderId};
use crate::state::{AttemptRow, RowState};

/// A pending file, as long as it is pending; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingId(pub(super) i64);

impl PendingId {
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// The id that [`as_i64`](Self::as_i64) told, for the command line and the control socket.
    pub fn from_i64(id: i64) -> Self {
        PendingId(id)
    }
}

impl std::fmt::Display for PendingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A snapshot of a pending file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingFile {
    pub id: PendingId,
    pub account: String,
    pub folder: FolderId,
    /// As the service is to hold it.
    pub name: String,
    /// Bytes, of the newest content, committed or not.
    pub size: u64,
    pub mtime: SystemTime,
    /// Permission bits that a program gave it.
    pub mode: Option<u16>,
    /// The remote file whose place the content takes. It changes when an older generation was uploaded.
    pub replaces: Option<FileId>,
    /// Other remote files that go once the content is there.
    pub superseded: Vec<FileId>,
    /// Rises with each commit of a changed content.
    pub generation: u64,
    pub status: UploadStatus,
    /// Bytes a second that the service takes now.
    pub rate: u64,
    /// Failed tries since the last change.
    pub tries: u32,
    /// Whether an upload of it was announced and is not settled: a file with its name and size, or with a
    /// numbered name, may be on the service.
    pub announced: bool,
    /// Whether that may have been so before, in whichever life: what is found on the service may be of its making.
    pub was_announced: bool,
    /// The file that holds a content of this one on the service already, under whichever name, while the rest
    /// of the way is still to go.
    pub uploaded: Option<FileId>,
}

/// What an upload that is not settled may have left in a folder of the service: a file of this name, or of one like it
/// with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// A file that was there when it was announced, where ids tell an order: what is not younger is not it.
    pub after: Option<FileId>,
    /// Whether it is deleted or brought to another place in the end, and not the pending file itself.
    pub goes: bool,
}

impl Trace {
    pub(super) fn of(sent: &AttemptRow, goes: bool) -> Trace {
        Trace {
            name: sent.name.clone(),
            size: sent.size,
            after: sent.sent_after.clone().map(FileId::new),
            goes,
        }
    }
}

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStatus {
    /// Held open by a writer, or resting for the upload delay.
    Staged,
    Queued,
    /// `sent` bytes were taken by the service in this try.
    Uploading {
        sent: u64,
    },
    /// The service has the bytes and works on them.
    Verifying,
    /// The last try failed; the next comes by itself.
    Waiting {
        until: SystemTime,
        error: String,
        /// Of a failure of the service in this run of the program.
        kind: Option<ErrorKind>,
    },
    /// Only a person can help: rename it, retry it or remove it.
    Parked {
        reason: String,
    },
    /// Empty, and the service takes no empty files: it stays here, and nothing is wrong with it.
    Kept,
    /// Not for the service.
    Local,
}

impl UploadStatus {
    pub fn stage(&self) -> Stage {
        match self {
            UploadStatus::Staged => Stage::Staged,
            UploadStatus::Queued => Stage::Queued,
            UploadStatus::Uploading { .. } => Stage::Uploading,
            UploadStatus::Verifying => Stage::Verifying,
            UploadStatus::Waiting { .. } => Stage::Waiting,
            UploadStatus::Parked { .. } => Stage::Parked,
            UploadStatus::Kept => Stage::Kept,
            UploadStatus::Local => Stage::Local,
        }
    }
}

/// An [`UploadStatus`] without what belongs to it; first what a person should see first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Parked,
    Waiting,
    Uploading,
    Verifying,
    Queued,
    Staged,
    Kept,
    Local,
}

/// The sums over the files of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub files: u64,
    pub bytes: u64,
    /// Bytes of them that the service has taken in this try.
    pub sent: u64,
}

/// All pending files, counted, and some of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview {
    pub stages: BTreeMap<Stage, Sums>,
    /// By stage, then by id.
    pub files: Vec<PendingFile>,
    /// Bytes a second that the services take now, over all files.
    pub rate: u64,
}

/// Whether a row may go from one state to another. Done is a row that is gone: it may follow any state in
/// which the content may be on the service.
pub(super) fn may_follow(from: RowState, to: Option<RowState>) -> bool {
    use RowState::{Kept, Local, Parked, Queued, Removed, Staged, Uploading, Verifying};
    match (from, to) {
        // Unlinked: at once, or after what was announced to the service is cleared away.
        (_, None | Some(Removed)) => true,
        // Nothing comes back from there.
        (Removed, Some(_)) => false,
        // A writer changed it, or a person asked for another try.
        (_, Some(Staged | Queued)) => true,
        (Staged | Queued | Uploading | Verifying, Some(Uploading)) => true,
        (Uploading | Verifying, Some(Verifying)) => true,
        (_, Some(Parked)) => true,
        // What an earlier content left on the service is cleared away before.
        (_, Some(Kept)) => true,
        // Nothing of it is on the service.
        (_, Some(Local)) => true,
        (Parked | Kept | Local, Some(Uploading | Verifying)) | (Staged | Queued, Some(Verifying)) => false,
    }
}
