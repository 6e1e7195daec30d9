//! What the filesystem keeps of each account: how to reach it, its rules, and how full it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::provider::{AccountInfo, Capability, ChangeCursor, DeleteMode, NameRules, Provider};

use super::error::{Error, Result};
use super::names::{self, BadName};

/// How long a quota that was told is believed before it is asked for again, behind the answer.
const INFO_AGE: Duration = Duration::from_secs(300);

/// How long a count of the bytes that wait is good enough.
const WAITING_AGE: Duration = Duration::from_millis(200);

/// How an account takes part in the mount.
pub struct AccountSetup {
    /// The name of its directory.
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// Where deleted files go.
    pub delete: DeleteMode,
    /// `close()` returns when the content is on the service.
    pub on_close_wait: bool,
    /// `fsync()` returns when the content is on the service.
    pub fsync_remote: bool,
    /// How often a service that tells of changes is asked for them.
    pub poll_interval: Duration,
    /// How long a listing is believed where a service does not tell of changes.
    pub listing_age: Duration,
}

pub struct Account {
    pub setup: AccountSetup,
    pub rules: NameRules,
    info: Mutex<Info>,
    waiting: Mutex<Option<(Instant, u64)>>,
    cursor: Mutex<Option<ChangeCursor>>,
}

#[derive(Default)]
struct Info {
    told: AccountInfo,
    asked: Option<Instant>,
}

impl Account {
    pub fn new(setup: AccountSetup) -> Self {
        let rules = setup.provider.name_rules();
        Account {
            setup,
            rules,
            info: Mutex::default(),
            waiting: Mutex::default(),
            cursor: Mutex::default(),
        }
    }

    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.setup.provider
    }

    pub fn can(&self, capability: Capability) -> bool {
        self.setup.provider.capabilities().has(capability)
    }

    /// Refuses, with the sentence that says why, what the service cannot do.
    pub fn require(&self, capability: Capability) -> Result<()> {
        if self.can(capability) {
            return Ok(());
        }
        let (name, what) = (&self.setup.name, capability.describe());
        Err(Error::told(
            libc::EOPNOTSUPP,
            format!("{name} cannot {what}: its service has no such call"),
        ))
    }

    /// The name by which the service is told of a name that a program gave.
    pub fn remote_name(&self, local: &str) -> Result<String> {
        names::to_remote(local, &self.rules).map_err(|bad| match bad {
            BadName::TooLong => Error::plain(libc::ENAMETOOLONG),
            BadName::Invalid => Error::plain(libc::EINVAL),
        })
    }

    /// What the service told last of quota and limits, without asking.
    pub fn info(&self) -> AccountInfo {
        self.info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .told
            .clone()
    }

    /// Whether the quota should be asked for again; says yes to one caller only.
    pub fn info_is_due(&self) -> bool {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        let due = info.asked.is_none_or(|asked| asked.elapsed() > INFO_AGE);
        if due {
            info.asked = Some(Instant::now());
        }
        due
    }

    pub fn set_info(&self, told: AccountInfo) {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        info.told = told;
        info.asked = Some(Instant::now());
    }

    /// Counts bytes that were stored or removed here until the service tells its own figure.
    pub fn count_stored(&self, added: u64, removed: u64) {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = &mut info.told.storage_used {
            *used = used.saturating_add(added).saturating_sub(removed);
        }
    }

    /// Bytes that wait to be uploaded, by `count` or as counted a moment ago: every write asks.
    pub fn waiting(&self, count: impl FnOnce() -> u64) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match *waiting {
            Some((at, bytes)) if at.elapsed() < WAITING_AGE => bytes,
            _ => {
                let bytes = count();
                *waiting = Some((Instant::now(), bytes));
                bytes
            }
        }
    }

    /// Whether a file may grow to `size` bytes when `waiting` bytes are on their way already.
    pub fn admit(&self, size: u64, replaced: u64, waiting: u64) -> Result<()> {
        let info = self.info();
        if let Some(limit) = info.max_file_size.filter(|limit| size > *limit) {
            let name = &self.setup.name;
            return Err(Error::told(
                libc::EFBIG,
                format!("{name} takes files of at most {limit} bytes"),
            ));
        }
        if let (Some(limit), Some(used)) = (info.storage_limit, info.storage_used)
            && used
                .saturating_add(waiting)
                .saturating_sub(replaced)
                .saturating_add(size)
                > limit
        {
            let name = &self.setup.name;
            return Err(Error::told(
                libc::EDQUOT,
                format!("{name} is full: {used} of {limit} bytes are used and {waiting} wait to be uploaded"),
            ));
        }
        Ok(())
    }

    pub fn cursor(&self) -> Option<ChangeCursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_cursor(&self, cursor: ChangeCursor) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }
}
