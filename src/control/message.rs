//! What goes over the socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest request, in bytes.
pub(super) const MAX_REQUEST: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// With at most so many rows of each state; all of them follow the report where it is left out.
    Status {
        rows: Option<usize>,
    },
    Drain,
    /// Upload what waits, for a while or, with `now`, not at all; then unmount.
    Unmount {
        #[serde(default)]
        now: bool,
    },
    /// What a choice comes to.
    Find {
        choice: Choice,
    },
    /// Try what failed again now.
    Retry {
        choice: Choice,
    },
    Cancel {
        choice: Choice,
    },
    /// Copy the content of one file to a place on this machine.
    Export {
        item: String,
        to: PathBuf,
        replace: bool,
    },
    /// Take up the secrets of an account that were stored anew. They do not come this way.
    LogIn {
        account: String,
    },
    /// Look at once for what changed on the service of an account.
    Refresh {
        account: String,
    },
    /// Begin no more uploads, or go on with them; of one account, or of all.
    Pause {
        account: Option<String>,
        paused: bool,
    },
}

/// Some of what is pending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// Of this account alone.
    pub account: Option<String>,
    /// Ids, absolute paths in the mount, or `account:path`; a folder stands for all that is below it. All that is
    /// pending where there are none.
    pub items: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    Status {
        report: Box<StatusReport>,
    },
    /// Some of all pending files; [`Answer::Done`] comes after the last of them.
    Rows {
        rows: Vec<PendingStatus>,
    },
    Progress {
        progress: DrainProgress,
    },
    Done {
        count: u64,
    },
    Error {
        message: String,
    },
}

/// All that a mount tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    pub pid: u32,
    pub mount_point: PathBuf,
    pub accounts: Vec<AccountStatus>,
    /// The disk of the state directory, where that could be asked.
    #[serde(default)]
    pub disk: Option<DiskStatus>,
    /// What stays here for good, where there is any.
    #[serde(default)]
    pub pinned: Option<PinnedStatus>,
    /// Files that were changed here and elsewhere, and are kept under another name, of this mount.
    #[serde(default)]
    pub kept_aside: Vec<KeptAsideStatus>,
    pub totals: Totals,
    /// Oldest first where these are all; else some of each state, first what needs a person.
    pub pending: Vec<PendingStatus>,
}

/// A file of a service that gave way to one from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAsideStatus {
    pub account: String,
    /// The path in the account that it had, which a file from here has now.
    pub path: String,
    /// The name that it has now, in the same folder.
    pub aside: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// The sums over all pending files, whether they are listed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Files that are to go to the service.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of them that the service has taken.
    pub sent: u64,
    /// Files among them that need a person.
    pub parked: u64,
    /// Bytes that are left of those.
    #[serde(default)]
    pub parked_bytes: u64,
    /// Files among them that failed and are tried again.
    pub waiting: u64,
    /// Files among them that are sent or verified now.
    pub under_way: u64,
    /// Empty files that stay here, since the service takes none.
    pub kept: u64,
    /// Files that are never sent, by their names. They are not listed.
    pub local: u64,
    /// Bytes of them.
    pub local_bytes: u64,
    /// Deletes and renames that the services are still to be told of.
    pub operations: u64,
    /// Those among them that need a person.
    pub parked_operations: u64,
    /// Bytes a second that the services take now.
    pub rate: u64,
    /// Seconds that the rest takes at this rate, without what needs a person.
    pub seconds_left: Option<u64>,
}

/// Bytes a second below which nothing can be said of the time that is left: it has just begun, or stands still.
const SLOWEST: u64 = 1000;

impl Totals {
    /// Counts files that are in one state.
    pub fn add(&mut self, state: PendingState, files: u64, bytes: u64, sent: u64) {
        match state {
            PendingState::Kept => {
                self.kept += files;
                return;
            }
            PendingState::Local => {
                self.local += files;
                self.local_bytes = self.local_bytes.saturating_add(bytes);
                return;
            }
            _ => {}
        }
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.sent = self.sent.saturating_add(sent);
        match state {
            PendingState::Parked => {
                self.parked += files;
                self.parked_bytes = self.parked_bytes.saturating_add(bytes.saturating_sub(sent));
            }
            PendingState::Waiting => self.waiting += files,
            PendingState::Uploading | PendingState::Verifying => self.under_way += files,
            _ => {}
        }
    }

    /// Counts a delete or a rename.
    pub fn add_operation(&mut self, state: PendingState) {
        self.operations += 1;
        self.parked_operations += u64::from(state == PendingState::Parked);
    }

    /// How many files and operations need a person.
    pub fn needing(&self) -> u64 {
        self.parked + self.parked_operations
    }

    /// Whether the services hold and are told all.
    pub fn is_nothing(&self) -> bool {
        self.files == 0 && self.operations == 0
    }

    /// Notes how fast it goes, after all is counted.
    #[must_use]
    pub fn at_rate(self, rate: u64) -> Self {
        let goes_on = self.left().saturating_sub(self.parked_bytes);
        Totals {
            rate,
            seconds_left: (goes_on > 0 && rate >= SLOWEST).then(|| goes_on / rate),
            ..self
        }
    }

    /// Bytes that are to be sent.
    pub fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.sent)
    }
}

/// The room for files that wait for their upload. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    pub free: u64,
    /// What waiting files leave free.
    pub reserve: u64,
    /// What edited files will take that are still to be fetched in part.
    pub lacking: u64,
    /// Whether new content is refused, or will be with the next writes.
    pub full: bool,
}

/// Published files whose content stays on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedStatus {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    pub name: String,
    pub kind: String,
    pub state: AccountState,
    /// Nothing new is sent until a person says so.
    #[serde(default)]
    pub paused: bool,
    /// For a person; why the account cannot be used, where it cannot.
    pub message: Option<String>,
    /// Bytes.
    pub storage_used: Option<u64>,
    /// Bytes.
    pub storage_limit: Option<u64>,
    /// The calls of the day, where the service allows so many only.
    #[serde(default)]
    pub calls: Option<CallsStatus>,
    /// How calls are held back, where they are.
    #[serde(default)]
    pub held_back: Option<HeldBackStatus>,
}

/// How the calls of an account are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBackStatus {
    pub why: HeldBack,
    /// When the next call may be made, in milliseconds since 1970; absent where calls are made, and fewer only.
    pub until_ms: Option<u64>,
    /// Calls that may be made in a hundred seconds, where they are fewer than the config allows.
    pub calls_per_100_seconds: Option<u64>,
}

/// Why calls are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBack {
    /// The service asked for fewer calls.
    AskedForFewer,
    /// The service is away.
    Away,
}

/// How the calls of a day stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsStatus {
    pub limit: u64,
    pub spent: u64,
    /// When the next day begins, in seconds since 1970.
    pub renewed: u64,
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

/// What the service is to be brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Upload,
    Delete,
    Rename,
}

/// A file that the service does not hold, or a change that it has not been told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingStatus {
    /// By which commands know it.
    pub id: String,
    pub action: Action,
    pub account: String,
    /// In the account, as far as known; else the name alone.
    pub path: String,
    /// Where a rename brings it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Bytes that the service has taken.
    pub sent: u64,
    /// Bytes a second that the service takes now.
    pub rate: u64,
    pub state: PendingState,
    pub error: Option<String>,
    pub tries: u32,
    /// Seconds since 1970.
    pub next_try: Option<u64>,
}

/// First what a person should see first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingState {
    /// Failed in a way that only a person can mend.
    Parked,
    /// Failed for now; it will be tried again.
    Waiting,
    Uploading,
    /// The service has the bytes and works on them.
    Verifying,
    Queued,
    /// Still open for writing, or resting for the upload delay.
    Staged,
    /// Empty, and the service takes no empty files: it stays here for good.
    Kept,
    /// Not for the service.
    Local,
}

/// How far a drain has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    pub totals: Totals,
    /// Some of the files of each state, first what needs a person.
    pub pending: Vec<PendingStatus>,
}
