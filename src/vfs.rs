//! The filesystem: names, inodes, handles and the rules of POSIX, over accounts, uploads and downloads.
//!
//! [`Vfs`] answers what a kernel asks, in terms of inode numbers, names and byte ranges. It promises that a
//! program reads its own writes at once, that a `close()` that returned success has its bytes in the
//! journal, and that what is known already is answered without the network. It knows neither FUSE nor HTTP.
//!
//! # Locks
//!
//! 1. `locks::InodeLocks`, asynchronous, one for each file whose journal row or service entry is being
//!    changed; of two, the lower inode first.
//! 2. The tree's mutex, for moments, never over I/O or an `.await`; nothing else is locked under it but the
//!    tables of `upload`.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::download::Downloads;
use crate::provider::Capability;
use crate::state::Database;
use crate::upload::Uploads;

mod account;
mod attributes;
mod changes;
mod closing;
mod copying;
mod crawl;
mod dates;
mod error;
mod facts;
mod feed;
mod files;
mod folders;
mod handles;
mod index;
mod link_list;
mod listing;
mod local;
mod locks;
mod modes;
pub mod names;
mod namespace;
mod pages;
mod reconcile;
mod rename;
mod settling;
mod single_flight;
mod steering;
mod storms;
mod symlinks;
mod tree;
mod walk;
mod writing;
mod xattrs;

pub use account::AccountSetup;
pub use attributes::{Attributes, FileKind, Space, TimeChange};
pub use error::{Errno, Error, Result, errno_of};
pub use folders::DirectoryEntry;
pub use handles::Opened;
pub use index::Held;
pub use local::LocalFolders;
pub use tree::ROOT;

use account::Account;
use handles::Handles;
use locks::InodeLocks;
use pages::Pages;
use single_flight::SingleFlight;
use storms::Storms;
use tree::{Numbers, Tree};

/// How the whole mount behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who all files belong to.
    pub uid: u32,
    pub gid: u32,
    /// Permission bits that no file has, where somebody says which.
    pub umask: Option<u32>,
    /// Show the only account's folders at the mount point itself.
    pub alone: bool,
    /// Where whoever asks the mount for it finds its control socket.
    pub state_dir: PathBuf,
    /// Where whoever asks the mount for it finds what its accounts are.
    pub config: PathBuf,
}

/// Told when something that the kernel may have cached is no longer true. Called from a thread of its
/// own, never from within an operation.
pub trait KernelCache: Send + Sync {
    fn forget_name(&self, parent: u64, name: &str);
    fn forget_content(&self, ino: u64);
    /// Time and size alone; the bytes are the same.
    fn forget_attributes(&self, ino: u64);
}

/// A mounted set of accounts.
pub struct Vfs {
    options: Options,
    accounts: Vec<Arc<Account>>,
    uploads: Arc<Uploads>,
    downloads: Arc<Downloads>,
    runtime: tokio::runtime::Handle,
    tree: Mutex<Tree>,
    locks: InodeLocks,
    /// By the service, and from the index.
    listings: SingleFlight<u64>,
    loads: SingleFlight<u64>,
    polls: SingleFlight<tree::AccountIndex>,
    database: Database,
    /// Held while the index is written.
    index_writing: tokio::sync::Mutex<()>,
    handles: Handles,
    storms: Storms,
    pages: Pages,
    kernel: OnceLock<changes::KernelQueue>,
    ending: AtomicBool,
    /// Files that are closed and that the journal could not be told of yet.
    late: Mutex<HashSet<u64>>,
}

impl Vfs {
    /// The filesystem over `accounts`, with what the journal holds already shown in it. It starts no call;
    /// [`Vfs::start`] begins to follow the services. `inodes` are numbers that nothing has yet.
    pub fn new(
        options: Options,
        accounts: Vec<AccountSetup>,
        uploads: Arc<Uploads>,
        downloads: Arc<Downloads>,
        database: &Database,
        inodes: Range<u64>,
        runtime: tokio::runtime::Handle,
    ) -> Arc<Vfs> {
        let accounts: Vec<Arc<Account>> = accounts
            .into_iter()
            .map(|setup| Arc::new(Account::new(setup, database)))
            .collect();
        let mut tree = Tree::new(Numbers::new(inodes));
        folders::plant(&mut tree, &accounts, options.alone, SystemTime::now());
        Arc::new(Vfs {
            options,
            accounts,
            uploads,
            downloads,
            runtime,
            tree: Mutex::new(tree),
            locks: InodeLocks::default(),
            listings: SingleFlight::new(),
            loads: SingleFlight::new(),
            polls: SingleFlight::new(),
            database: database.clone(),
            index_writing: tokio::sync::Mutex::default(),
            handles: Handles::default(),
            storms: Storms::default(),
            pages: Pages::default(),
            kernel: OnceLock::new(),
            ending: AtomicBool::new(false),
            late: Mutex::default(),
        })
    }

    /// Takes no more changes: the mount ends. What is open can still be written and closed.
    pub fn refuse_writes(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// The account of an inode that something is to be changed in. The mount's own root belongs to none.
    fn account_to_change(&self, ino: u64) -> Result<(tree::AccountIndex, &Arc<Account>)> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(Error::told(
                libc::EROFS,
                "the mount is ending and takes no more changes",
            ));
        }
        self.account_of(ino)
    }

    /// Where the filesystem's tasks run.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// The tree, for a moment.
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes staged files that the tree let go. `Uploads` keeps those that the journal knows.
    fn sweep(&self) {
        let discarded = self.tree().take_discarded();
        for staged in discarded {
            self.uploads.discard(&staged);
        }
    }

    fn account(&self, index: tree::AccountIndex) -> Result<&Arc<Account>> {
        self.accounts.get(index).ok_or_else(|| Error::plain(libc::EIO))
    }

    /// Whether an account's service tells what changed.
    fn tells_of_changes(&self, index: tree::AccountIndex) -> bool {
        let account = self.accounts.get(index);
        account.is_some_and(|account| account.can(Capability::ChangeFeed))
    }

    /// How long a listing is believed where nobody tells of changes.
    fn listing_age(&self, index: tree::AccountIndex) -> Duration {
        self.accounts
            .get(index)
            .map_or(Duration::ZERO, |account| account.setup.listing_age)
    }

    /// The account that an inode belongs to.
    fn account_of(&self, ino: u64) -> Result<(tree::AccountIndex, &Arc<Account>)> {
        let index = self
            .tree()
            .get(ino)
            .ok_or_else(|| Error::plain(libc::ESTALE))?
            .account;
        let index = index.ok_or_else(|| Error::plain(libc::EPERM))?;
        Ok((index, self.account(index)?))
    }
}
