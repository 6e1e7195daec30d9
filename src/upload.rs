//! Uploads: contents that writers finished are kept on disk and in the journal until the service has them.
//!
//! [`Uploads`] promises that once [`Uploads::commit`] or [`Uploads::recommit`] returned, the content is
//! uploaded in the end, through crashes, refusals and days offline, unless it is changed or removed again.
//! Nothing else drops it: what the service refuses for good is parked, with the reason, until a person
//! renames, retries or removes it. A retry never makes a twin: every upload is written down before the
//! first call to the service, and its outcome is looked up before it is done again.
//!
//! Where a service tells no hash to know an upload by, the bytes of what may be it are compared. What a
//! content replaces is deleted once the new file is there, and that file gets its name last; each step is
//! in the journal. An empty content rests here where a service takes none.
//!
//! A file that is removed is removed in the journal at once; the service is told a moment later, of many files
//! together where it can be. Until then its place there counts as taken, and nobody shows it.
//!
//! This room knows names only as the service holds them; it knows neither inodes nor HTTP.
//!
//! # Order of locks
//!
//! There are two kinds of locks: the one around the table of pending files (`table::Table`), and one in
//! each [`StagedFile`]. Neither is held over I/O or an await. A staged file's lock may be taken under the
//! table's (to tell a size), never the other way round. The journal's order is the order of truth: the table is changed on the database's thread, right
//! after the commit, so that both always agree.

mod asides;
mod compare;
mod deleter;
mod deletions;
mod discard;
mod disk_space;
mod edit;
mod engine;
mod fate;
mod finish;
mod handle;
mod hash;
mod hydrate;
mod in_order;
mod journal;
mod keep;
mod local;
mod meter;
mod naming;
mod operations;
mod outcome;
mod poll;
mod prefix;
mod queue;
mod ranges;
mod recovery;
mod renamer;
mod renames;
mod replaced;
mod room;
mod sent;
mod server_side;
mod settle;
mod share;
mod staged_file;
mod staging;
mod status;
mod steer;
mod table;
mod transfer;
mod units;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::provider::{ErrorKind, FileEntry, FileId, FolderId};
use crate::state::StateError;

pub use asides::KeptAside;
pub use discard::{DeletionWatch, Unwanted};
pub use disk_space::{CleanCache, DiskRoom, free_bytes};
pub use edit::Hold;
pub use handle::Uploads;
pub use operations::{NoOperationId, OperationId, OperationKind, OperationState, PendingOperation};
pub use renamer::name_aside;
pub use renames::{NewRename, Noted, RenameIntent};
pub use server_side::can_be_made;
pub use staged_file::{Base, StagedFile};
pub use status::{Overview, PendingFile, PendingId, Stage, Sums, Trace, UploadStatus};
pub use steer::{SteerError, save_copy};

/// Where the bytes come from that a staged file lacks, and where those may stay that were sent.
#[async_trait]
pub trait BaseContent: Send + Sync {
    /// Bytes of the base file, as they are on the service now.
    async fn read(&self, account: &str, base: &Base, range: Range<u64>) -> crate::provider::Result<Bytes>;

    /// Whether [`pin`](Self::pin) keeps the contents of an account, for which they have to be here.
    fn pins(&self, _account: &str) -> bool {
        false
    }

    /// Makes sure that the content of an entry can be read here for good, where its account wants that: it is on the
    /// disk, or this fails. Nobody writes to the file meanwhile. Blocks.
    fn pin(&self, _account: &str, _entry: &FileEntry, _content: &File) -> io::Result<()> {
        Ok(())
    }

    /// Takes that back: the file may be written to again. Blocks.
    fn unpin(&self, _account: &str, _entry: &FileEntry) -> io::Result<()> {
        Ok(())
    }

    /// Takes over the content of an entry, so that it need not be fetched to be read. Nobody writes to the file any
    /// more, though some may read it; its name is deleted afterwards. `is_verified` says that the service told a hash and
    /// that it is the content's. Blocks.
    fn keep_sent(&self, account: &str, entry: &FileEntry, content: &File, is_verified: bool);
}

/// Whoever follows what happens on the services.
#[async_trait]
pub trait News: Send + Sync {
    /// Returns when it is known what an account's service tells of changes until now, or when that cannot be known.
    async fn catch_up(&self, account: &str);
}

/// What is told about a new pending file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPending {
    pub account: String,
    pub folder: FolderId,
    pub name: String,
    pub mtime: SystemTime,
    /// Permission bits that a program gave it.
    pub mode: Option<u16>,
    /// The remote file whose place the content takes.
    pub replaces: Option<FileId>,
    /// It is never sent.
    pub local: bool,
}

/// What the engine tells while it works.
#[derive(Debug, Clone)]
pub enum UploadEvent {
    /// The service holds the content under the row's name; the pending file is gone.
    Done {
        account: String,
        id: PendingId,
        generation: u64,
        entry: FileEntry,
    },
    /// A content became empty and stays here, since the service takes no empty files: nothing of it is on the
    /// service any more.
    Kept { account: String, id: PendingId },
    /// An item of a folder that was to be deleted is shown again, since the service refuses that or a person
    /// wants it so; or it is hidden again, since it is tried anew.
    Deletion {
        account: String,
        folder: FolderId,
        /// Bytes.
        size: u64,
        shown: bool,
    },
    /// What became of a rename was found out behind the back of who asked for it: these folders changed.
    Renamed {
        account: String,
        folders: [FolderId; 2],
        /// The pending file that was renamed along, if it still is one.
        along: Option<PendingId>,
        /// The pending file whose place was taken, if it was one: it is none any more where the rename holds.
        replaced: Option<PendingId>,
    },
    /// The status of a pending file changed. Left out when the receiver lags behind.
    Changed { id: PendingId },
}

/// How eagerly the files of an account are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a file rests after its last writer is gone, so that a rewrite, rename or delete right
    /// afterwards costs no call.
    pub upload_delay: Duration,
    /// Requests with content at once.
    pub workers: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            upload_delay: Duration::from_secs(1),
            workers: 12,
        }
    }
}

/// Bytes from which on a file rests for [`SHORT_REST`] at most.
const RESTS_SHORTLY: u64 = 32 << 20;
const SHORT_REST: Duration = Duration::from_millis(30);

/// How the engine works. [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where contents wait; made if missing.
    pub staging: PathBuf,
    /// Where files of the staging directory go of which the journal knows nothing.
    pub recovered: PathBuf,
    /// For accounts that are not in `accounts`.
    pub pace: Pace,
    /// By the account's name.
    pub accounts: HashMap<String, Pace>,
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// The pause after a refused login, which only a person mends.
    pub person_pause: Duration,
    pub poll_first: Duration,
    pub poll_max: Duration,
    /// How long an upload is polled before it is announced again, beside a time for its size.
    pub poll_limit: Duration,
    /// Bytes in a second at which a service that tells no hash hands a file on at least, whose answer was lost:
    /// for so long it is looked for before it is sent again.
    pub late_rate: u64,
    /// How long it is looked for at most.
    pub late_limit: Duration,
    /// How long [`Uploads::stop`] waits for requests under way.
    pub stop_grace: Duration,
    /// Bytes kept free on the staging disk; a write that would take them fails with `ENOSPC`.
    pub reserve: u64,
    /// What gives way on that disk before a write fails.
    pub clean: Option<Arc<dyn CleanCache>>,
}

impl Options {
    fn of_account(&self, name: &str) -> Pace {
        self.accounts.get(name).copied().unwrap_or(self.pace)
    }

    /// How long a file rests. A large one rests for a shorter time: what follows it at once, such as the rename
    /// of a program that copies, follows within milliseconds, and its upload takes so long that a later change
    /// meets it anyway.
    fn rest(&self, account: &str, size: u64) -> Duration {
        let delay = self.of_account(account).upload_delay;
        if size >= RESTS_SHORTLY {
            delay.min(SHORT_REST)
        } else {
            delay
        }
    }

    pub fn new(staging: PathBuf, recovered: PathBuf) -> Self {
        Options {
            staging,
            recovered,
            pace: Pace::default(),
            accounts: HashMap::new(),
            retry_min: Duration::from_secs(2),
            retry_max: Duration::from_secs(300),
            person_pause: Duration::from_secs(300),
            poll_first: Duration::from_millis(300),
            poll_max: Duration::from_secs(5),
            poll_limit: Duration::from_secs(600),
            late_rate: 8 << 20,
            late_limit: Duration::from_secs(120),
            stop_grace: Duration::from_secs(20),
            reserve: 256 << 20,
            clean: None,
        }
    }
}

/// Why something could not be done with a pending file. The content that was committed before is not
/// touched by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// It was uploaded or removed; [`Uploads::finished`] tells the first from the second.
    #[error("the file is not pending any more")]
    Gone,

    /// A newer content of the file was begun by another writer.
    #[error("the staged content is not the present one of the file")]
    Outdated,

    /// Only a person can help.
    #[error("the upload waits for a person: {reason}")]
    Parked {
        reason: String,
        /// What the service answered, in this run of the program.
        kind: Option<ErrorKind>,
    },

    /// What was removed is still on the service.
    #[error("what was removed there is not deleted on the service yet: {error}")]
    NotDeleted { kind: ErrorKind, error: String },

    /// A rename that was begun is not finished.
    #[error("a rename is not finished on the service yet: {error}")]
    NotRenamed {
        kind: ErrorKind,
        error: String,
        /// Whether only a person can help.
        parked: bool,
    },

    #[error("cannot {operation}: {source}")]
    Io {
        operation: &'static str,
        source: io::Error,
    },

    #[error(transparent)]
    State(#[from] StateError),

    #[error("lockerfs is stopping")]
    Stopped,
}
