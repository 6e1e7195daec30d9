//! Options: defaults, overridden at the top of the file, overridden again in an account.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::local_only::LocalOnly;
use super::section::{Result, Section};
use super::values::{parse_duration, parse_size};
use crate::download;
use crate::provider::{DeleteMode, wrap};

/// What `close()` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnClose {
    /// The journal.
    #[default]
    Queue,
    /// The service.
    Wait,
}

/// What `fsync()` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsyncMode {
    /// The local disk.
    #[default]
    Local,
    /// The service.
    Remote,
}

/// Names that stay on this machine where the config says nothing else: what systems and programs leave beside a
/// person's files, and what makes no sense elsewhere. None is a name that a person would give.
pub const LOCAL_ONLY: &[&str] = &[
    // Trash of desktops; the service has one of its own.
    ".Trash",
    ".Trash-*",
    // What file managers of other systems keep in a folder.
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    ".directory",
    // Marks of editors that have a file open.
    ".swp",
    ".*.swp",
    ".*.swo",
    ".*.swx",
    ".~lock.*#",
    ".#*",
];

/// Calls that may go at once where the config limits calls a second and says nothing of a burst.
const STRICT_BURST: u32 = 2;

/// How one account is treated.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountOptions {
    pub on_close: OnClose,
    pub fsync: FsyncMode,
    pub delete: DeleteMode,
    /// Whether symbolic links can be made, and are shown.
    pub symlinks: bool,
    /// What stays on this machine.
    pub local_only: LocalOnly,
    /// Of an account that publishes only: whether its folders have a file that lists their links.
    pub links_file: bool,
    /// Of such an account: whether the content of each file stays here for good.
    pub pin: bool,
    /// How long a closed file waits before its upload begins.
    pub upload_delay: Duration,
    /// How often the account is asked what changed.
    pub poll_interval: Duration,
    /// How long a listing is believed where nothing tells of changes.
    pub listing_age: Duration,
    /// Files a second whose times are asked for in the background, where a listing lacks them.
    pub dates_per_second: f64,
    /// Whether folders that nobody looked at are listed as well, in the background.
    pub crawl: bool,
    /// Requests with content at a time.
    pub workers: usize,
    /// Bytes of uploads in a second.
    pub max_rate: Option<u64>,
    pub calls_per_second: f64,
    /// The same for uploads alone.
    pub upload_calls_per_second: f64,
    /// Calls that may go at once after a rest.
    pub burst: u32,
    /// How long an operation may take, with all its retries.
    pub deadline: Duration,
}

impl Default for AccountOptions {
    fn default() -> Self {
        let calls = wrap::Options::default();
        AccountOptions {
            on_close: OnClose::default(),
            fsync: FsyncMode::default(),
            delete: DeleteMode::default(),
            symlinks: false,
            local_only: LocalOnly::usual(),
            links_file: true,
            pin: false,
            upload_delay: Duration::from_secs(1),
            poll_interval: Duration::from_secs(30),
            listing_age: Duration::from_secs(30),
            dates_per_second: 5.0,
            crawl: false,
            workers: 12,
            max_rate: None,
            calls_per_second: calls.calls_per_second,
            upload_calls_per_second: calls.upload_calls_per_second,
            burst: calls.burst,
            deadline: calls.operation_deadline,
        }
    }
}

impl AccountOptions {
    /// These options with what `section` says instead.
    pub(super) fn overridden(&self, section: &mut Section<'_>) -> Result<Self> {
        let on_close = section.word("on_close", &[("queue", OnClose::Queue), ("wait", OnClose::Wait)])?;
        let fsync = section.word(
            "fsync",
            &[("local", FsyncMode::Local), ("remote", FsyncMode::Remote)],
        )?;
        let delete = section.word(
            "delete",
            &[("trash", DeleteMode::Trash), ("purge", DeleteMode::Purge)],
        )?;
        let workers = section.number("workers", 1..65)?;
        // The name that it had before.
        let transfers = section.number("transfers", 1..65)?;
        let calls_per_second = section.number("calls_per_second", 0.01..1000.0)?;
        let upload_calls_per_second = section
            .number("upload_calls_per_second", 0.01..1000.0)?
            // Who wants few calls wants few of any kind.
            .or(calls_per_second)
            .unwrap_or(self.upload_calls_per_second);
        Ok(AccountOptions {
            on_close: on_close.unwrap_or(self.on_close),
            fsync: fsync.unwrap_or(self.fsync),
            delete: delete.unwrap_or(self.delete),
            local_only: section
                .strings_as("local_only", LocalOnly::of)?
                .unwrap_or_else(|| self.local_only.clone()),
            symlinks: section.boolean("symlinks")?.unwrap_or(self.symlinks),
            links_file: section.boolean("links_file")?.unwrap_or(self.links_file),
            pin: section.boolean("pin")?.unwrap_or(self.pin),
            upload_delay: section
                .string_as("upload_delay", parse_duration)?
                .unwrap_or(self.upload_delay),
            poll_interval: section
                .string_as("poll_interval", at_least_a_second)?
                .unwrap_or(self.poll_interval),
            listing_age: section
                .string_as("listing_age", parse_duration)?
                .unwrap_or(self.listing_age),
            dates_per_second: section
                .number("dates_per_second", 0.0..100.0)?
                .unwrap_or(self.dates_per_second),
            crawl: section.boolean("crawl")?.unwrap_or(self.crawl),
            workers: workers.or(transfers).unwrap_or(self.workers),
            max_rate: match section.string_as("max_rate", at_least_a_kilobyte)? {
                Some(0) => None,
                Some(rate) => Some(rate),
                None => self.max_rate,
            },
            calls_per_second: calls_per_second.unwrap_or(self.calls_per_second),
            upload_calls_per_second,
            // Who sets a limit means each second.
            burst: section
                .number("burst", 1..10_001)?
                .or(calls_per_second
                    .filter(|_| self.burst == wrap::Options::default().burst)
                    .and(Some(STRICT_BURST)))
                .unwrap_or(self.burst),
            deadline: section
                .string_as("deadline", at_least_a_second)?
                .unwrap_or(self.deadline),
        })
    }
}

/// A rate; 0 for none.
fn at_least_a_kilobyte(text: &str) -> std::result::Result<u64, String> {
    let rate = parse_size(text)?;
    if rate > 0 && rate < 1000 {
        Err("must be at least \"1kB\" (a second), or \"0\" for no limit".to_owned())
    } else {
        Ok(rate)
    }
}

/// The size of a cache; 0 for none. One that holds less than what is read ahead would be of no use.
fn worth_a_cache(text: &str) -> std::result::Result<u64, String> {
    let size = parse_size(text)?;
    if size > 0 && size < 16 << 20 {
        Err("must be at least \"16MiB\", or \"0\" for no cache on the disk".to_owned())
    } else {
        Ok(size)
    }
}

fn at_least_a_second(text: &str) -> std::result::Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_secs(1) {
        Err("must be at least \"1s\"".to_owned())
    } else {
        Ok(duration)
    }
}

/// How the mount as a whole behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// How long an ending mount waits for uploads.
    pub stop_timeout: Duration,
    /// Bytes of the state directory's disk that files which wait leave free.
    pub reserve: u64,
    /// How long a read may go without a byte.
    pub read_timeout: Duration,
    /// The most that is fetched ahead of a file that is read in order, in bytes.
    pub read_ahead: u64,
    /// Connections of an account that bring file content at a time.
    pub read_connections: NonZeroUsize,
    /// Bytes of the disk that the cache of what was read takes at most; 0 for none.
    pub cache_size: u64,
    /// The owner of all files; the user who mounts where absent.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Permission bits that no file has, whatever a program says; those that programs give, and the usual ones for
    /// what they gave none, where absent.
    pub umask: Option<u32>,
}

impl Default for MountOptions {
    fn default() -> Self {
        let reads = download::Options::default();
        MountOptions {
            stop_timeout: Duration::from_secs(60),
            reserve: 256 << 20,
            read_timeout: reads.stall_timeout,
            read_ahead: reads.read_ahead,
            read_connections: reads.connections,
            cache_size: 10 << 30,
            uid: None,
            gid: None,
            umask: None,
        }
    }
}

impl MountOptions {
    /// These options with what `section` says instead.
    pub(super) fn overridden(&self, section: &mut Section<'_>) -> Result<Self> {
        let stop_timeout = section.string_as("stop_timeout", parse_duration)?;
        let older_name = section.string_as("drain_timeout", parse_duration)?;
        Ok(MountOptions {
            stop_timeout: stop_timeout.or(older_name).unwrap_or(self.stop_timeout),
            reserve: section.string_as("reserve", parse_size)?.unwrap_or(self.reserve),
            read_timeout: section
                .string_as("read_timeout", at_least_a_second)?
                .unwrap_or(self.read_timeout),
            read_ahead: section
                .string_as("read_ahead", parse_size)?
                .unwrap_or(self.read_ahead),
            read_connections: section
                .number("read_connections", 1..65)?
                .and_then(NonZeroUsize::new)
                .unwrap_or(self.read_connections),
            cache_size: section
                .string_as("cache_size", worth_a_cache)?
                .unwrap_or(self.cache_size),
            uid: section.number("uid", 0..u32::MAX)?.or(self.uid),
            gid: section.number("gid", 0..u32::MAX)?.or(self.gid),
            umask: section.string_as("umask", parse_umask)?.or(self.umask),
        })
    }
}

fn parse_umask(text: &str) -> std::result::Result<u32, String> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777);
    bits.ok_or_else(|| format!("{text:?} is no umask: write for example \"022\""))
}
