//! What the filesystem keeps of each account: how to reach it, its rules, and how full it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use globset::GlobSet;

use crate::download::Source;
use crate::provider::{AccountInfo, Capability, ChangeCursor, DeleteMode, NameRules, Provider};
use crate::state::{AccountIndexed, Database, IndexedAccount};

use super::dates::Dates;
use super::error::{Error, Result};
use super::facts::Facts;
use super::names::{self, BadName};
use super::reconcile::Reconciling;
use super::tree::Remote;
use super::walk::Walk;

/// How long a quota that was told is believed before it is asked for again, behind the answer.
const INFO_AGE: Duration = Duration::from_secs(300);

/// How long the kernel may believe a name or attributes. What is known to change is told to it at once; this
/// bounds the harm of a message that was lost.
const LONGEST_BELIEF: Duration = Duration::from_secs(60);

/// The least time between a question for the quota and one out of doubt.
const DOUBTS_APART: Duration = Duration::from_secs(5);

/// How long a count of the bytes that wait is good enough.
const WAITING_AGE: Duration = Duration::from_millis(200);

/// How an account takes part in the mount.
pub struct AccountSetup {
    /// The name of its directory.
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// Where deleted files go.
    pub delete: DeleteMode,
    /// Each folder has a file that lists the links of the others.
    pub links_file: bool,
    /// Symbolic links can be made, and are shown.
    pub symlinks: bool,
    /// Names of files and folders that stay on this machine.
    pub local_only: GlobSet,
    /// `close()` returns when the content is on the service.
    pub on_close_wait: bool,
    /// `fsync()` returns when the content is on the service.
    pub fsync_remote: bool,
    /// How often a service that tells of changes is asked for them.
    pub poll_interval: Duration,
    /// How long a listing is believed where a service does not tell of changes.
    pub listing_age: Duration,
    /// Files a second whose times are asked for, where a listing lacks them; 0 for none.
    pub dates_per_second: f64,
    /// What the index knows of it; none where listings cost no call.
    pub indexed: Option<AccountIndexed>,
    /// Folders that nobody looked at are listed as well, in the background.
    pub crawl: bool,
}

pub struct Account {
    pub setup: AccountSetup,
    pub rules: NameRules,
    pub facts: Facts,
    pub dates: Dates,
    pub indexed: Option<IndexedAccount>,
    pub walk: Walk,
    pub reconciling: Reconciling,
    info: Mutex<Info>,
    waiting: Mutex<Option<(Instant, u64)>>,
    cursor: Mutex<Option<ChangeCursor>>,
    has_heard: AtomicBool,
}

#[derive(Default)]
struct Info {
    told: AccountInfo,
    asked: Option<Instant>,
    is_doubted: bool,
}

impl Account {
    pub fn new(setup: AccountSetup, database: &Database) -> Self {
        let provider = &setup.provider;
        let rules = provider.name_rules();
        let needs_facts = !provider.capabilities().has(Capability::ModificationTime);
        let cursor = setup.indexed.as_ref().and_then(|indexed| indexed.cursor.clone());
        Account {
            rules,
            facts: Facts::new(
                database.clone(),
                setup.name.clone(),
                provider.id_space(),
                needs_facts,
            ),
            dates: Dates::default(),
            indexed: setup.indexed.as_ref().map(|indexed| indexed.account),
            walk: Walk::default(),
            reconciling: Reconciling::default(),
            setup,
            info: Mutex::default(),
            waiting: Mutex::default(),
            cursor: Mutex::new(cursor.map(ChangeCursor::new)),
            has_heard: AtomicBool::new(false),
        }
    }

    pub fn provider(&self) -> &Arc<dyn Provider> {
        &self.setup.provider
    }

    /// A file of the account, to be read.
    pub fn source(&self, remote: &Remote) -> Source {
        Source {
            account: self.setup.name.clone(),
            provider: Arc::clone(&self.setup.provider),
            file: remote.id.clone(),
            name: remote.name.clone(),
            size: remote.size,
            hash: remote.hash,
            revision: remote.revision.clone(),
        }
    }

    pub fn can(&self, capability: Capability) -> bool {
        self.setup.provider.capabilities().has(capability)
    }

    /// Refuses to change what is on the service where its old content could not be taken away.
    pub fn require_replacing(&self) -> Result<()> {
        if self.can(Capability::ReplaceKeepsId) {
            return Ok(());
        }
        if !self.can(Capability::Purge) {
            self.require(Capability::Trash)?;
        }
        self.require(Capability::Rename)
    }

    /// Where deleted items go: into the trash where the service can do nothing else.
    pub fn delete_mode(&self) -> Result<DeleteMode> {
        let (trash, purge) = (self.can(Capability::Trash), self.can(Capability::Purge));
        match self.setup.delete {
            DeleteMode::Trash if trash => Ok(DeleteMode::Trash),
            DeleteMode::Purge if trash && !purge => Ok(DeleteMode::Trash),
            _ => self.require(Capability::Purge).map(|()| DeleteMode::Purge),
        }
    }

    /// How long a name or attributes may be believed without asking here again, where nobody tells of changes.
    pub fn valid_for(&self) -> Duration {
        match self.can(Capability::ChangeFeed) {
            true => LONGEST_BELIEF,
            false => LONGEST_BELIEF.min(self.setup.listing_age),
        }
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

    /// What was told of quota and limits may no longer be true: after which wait it is to be asked for again, or
    /// `None` where somebody is about to. Doubts that come together cost one question.
    pub fn doubt_info(&self) -> Option<Duration> {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !std::mem::replace(&mut info.is_doubted, true);
        let since = info.asked.map_or(DOUBTS_APART, |asked| asked.elapsed());
        is_first.then(|| DOUBTS_APART.saturating_sub(since))
    }

    /// The wait is over: the next who looks asks.
    pub fn end_doubt(&self) {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        (info.asked, info.is_doubted) = (None, false);
    }

    /// Takes over what the service told; whether there is more room than it told of before.
    pub fn set_info(&self, told: AccountInfo) -> bool {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        let room =
            |told: &AccountInfo| Some(told.storage_limit?.saturating_sub(told.storage_used.unwrap_or(0)));
        let has_more = room(&told) > room(&info.told);
        info.told = told;
        info.asked = Some(Instant::now());
        has_more
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

    /// Whether the service was asked in this mount what changed before it, with an answer or without.
    pub fn has_heard(&self) -> bool {
        self.has_heard.load(Ordering::Relaxed)
    }

    pub fn note_heard(&self) {
        self.has_heard.store(true, Ordering::Relaxed);
    }

    /// The changes up to here are in the index, and what is read from it from now on tells of them.
    pub fn cursor(&self) -> Option<ChangeCursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_cursor(&self, cursor: ChangeCursor) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }
}
