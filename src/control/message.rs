//! What goes over the socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest request, in bytes.
pub(super) const MAX_REQUEST: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    Status,
    Drain,
    Unmount,
    /// Try failed uploads again now; of one account, or of all.
    Retry {
        account: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    Status { report: Box<StatusReport> },
    Progress { progress: DrainProgress },
    Done { count: usize },
    Error { message: String },
}

/// All that a mount tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    pub pid: u32,
    pub mount_point: PathBuf,
    pub accounts: Vec<AccountStatus>,
    /// Oldest first.
    pub pending: Vec<PendingStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    pub name: String,
    pub kind: String,
    pub state: AccountState,
    /// For a person; why the account cannot be used, where it cannot.
    pub message: Option<String>,
    /// Bytes.
    pub storage_used: Option<u64>,
    /// Bytes.
    pub storage_limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Not asked yet.
    Unknown,
    Online,
    /// No answer from the service; work waits.
    Offline,
    /// The service refused the credentials.
    LoginRefused,
}

/// A file that the service does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingStatus {
    pub account: String,
    /// In the account, as far as known; else the name alone.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Bytes that the service has taken.
    pub sent: u64,
    pub state: PendingState,
    pub error: Option<String>,
    pub tries: u32,
    /// Seconds since 1970.
    pub next_try: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingState {
    /// Still open for writing, or resting for the upload delay.
    Staged,
    Queued,
    Uploading,
    /// The service has the bytes and works on them.
    Verifying,
    /// Failed for now; it will be tried again.
    Waiting,
    /// Failed in a way that only a person can mend.
    Parked,
    /// Empty, and the service takes no empty files: it stays here for good.
    Kept,
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    /// Files that the service does not hold yet. Those that are kept here for good are not among them.
    pub files: usize,
    /// Bytes of them that are to be sent.
    pub bytes: u64,
    /// Files among them that failed in a way that only a person can mend.
    pub failed: usize,
}
