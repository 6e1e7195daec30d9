//! The block cache: what was read or sent stays on the disk, in blocks, until its room is needed.
//!
//! A content is known by a [`ContentKey`]; a changed file is another content. Of each there is a sparse file with the
//! data and a map beside it ([`map`]). It promises:
//! - Bytes come out as they were put in, or not at all, whatever a crash or a power cut left of them.
//! - The limit is never exceeded: room is taken before anything is written ([`registry`]), and what was not used for the
//!   longest time goes first: extents of what is open, all of what is not.
//! - Nobody waits for the look through the folder at the start ([`survey`]). Until it is done nothing new is kept, unless
//!   the folder is found to be empty.
//! - A full disk is nobody's error. Nothing is kept then, and [`BlockCache::give_back`] makes room.
//!
//! Losing the folder loses nothing. This room knows neither services nor readers.
//!
//! # Order of locks
//!
//! That of a map, that of a content's state, that of the registry. Neither of the last two is held over I/O.

mod content;
mod extents;
mod files;
mod keep;
mod let_go;
mod map;
mod registry;
mod room;
mod survey;
#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of gaps may have one")]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub(super) use content::CachedContent;
use registry::Limit;
use room::Room;

use crate::provider::FileId;

/// Bytes of a block: the unit in which content is fetched, kept and forgotten.
pub(super) const BLOCK: u64 = 32 * 1024;

/// Contents kept at most, however small they are: each takes some 130 bytes of memory, and two files on the disk.
const CONTENTS: usize = 200_000;

/// How long the folder may be another's before it is told to be in use: a mount that ends needs a moment.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Processes that may each have a folder of their own in one cache directory.
const FOLDERS: u32 = 16;

/// What tells one content from every other. A changed revision is another key, so old and new bytes never mix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContentKey {
    /// What the id is unique in.
    pub space: String,
    pub file: FileId,
    /// A hash, a revision or a time.
    pub version: String,
    /// Bytes.
    pub size: u64,
}

/// The cache of a folder, which belongs to it as long as it lives.
pub struct BlockCache {
    room: Arc<Room>,
    survey: Option<JoinHandle<()>>,
}

impl BlockCache {
    /// Takes the first folder of a cache directory that is no other process's: `blocks`, `blocks-2` and so on. Each
    /// may take up to the limit.
    pub fn open_in(cache_dir: &Path, limit: u64) -> io::Result<Arc<Self>> {
        let mut result = Self::open(&cache_dir.join("blocks"), limit);
        for number in 2..=FOLDERS {
            match result {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                result => return result,
            }
            result = Self::open_now(&cache_dir.join(format!("blocks-{number}")), of_bytes(limit), 1);
        }
        result
    }

    /// Takes the folder, made for the owner alone with all that leads to it. Fails with
    /// [`io::ErrorKind::ResourceBusy`] where it is another's.
    pub fn open(dir: &Path, limit: u64) -> io::Result<Arc<Self>> {
        Self::open_now(dir, of_bytes(limit), LOCK_TRIES)
    }

    fn open_now(dir: &Path, limit: Limit, tries: u32) -> io::Result<Arc<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        let lock = lock(&dir.join("lock"), tries)?;
        // A limit may have been lowered: then there is something to do for an empty one as well.
        let is_empty = survey::is_empty(dir)?;
        let now = files::micros(SystemTime::now());
        let room = Room::new(dir.to_owned(), limit, now, is_empty, lock);
        tag(dir);
        let survey = if is_empty {
            None
        } else {
            let room = Arc::clone(&room);
            let named = std::thread::Builder::new().name("cache-survey".to_owned());
            Some(named.spawn(move || survey::run(&room))?)
        };
        Ok(Arc::new(BlockCache { room, survey }))
    }

    /// The content of a key; all openers share one.
    pub(super) fn content(&self, key: &ContentKey) -> Arc<CachedContent> {
        self.room.content(key)
    }

    /// Lets go of at least `bytes`, least recently used first, where it can; how many it let go.
    pub fn give_back(&self, bytes: u64) -> u64 {
        self.room.give_back(bytes)
    }

    /// Bytes on the disk; until the folder was looked through, those that are known.
    pub fn used(&self) -> u64 {
        self.room.used()
    }

    pub fn limit(&self) -> u64 {
        self.room.limit()
    }

    /// Whether room that it gives back is room for a file in the directory.
    pub fn is_on_the_disk_of(&self, directory: &Path) -> io::Result<bool> {
        Ok(fs::metadata(self.room.directory())?.dev() == fs::metadata(directory)?.dev())
    }

    /// So many bytes of the disk stay free of the cache: it grows no more where less is left, and what it then takes up
    /// anew takes the place of what it lets go.
    pub fn keep_free(&self, bytes: u64) {
        self.room.keep_free(bytes);
    }
}

impl Drop for BlockCache {
    fn drop(&mut self) {
        self.room.stop();
        if let Some(survey) = self.survey.take()
            && survey.join().is_err()
        {
            tracing::error!("the look through the cache's folder failed");
        }
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache")
            .field("used", &self.used())
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}

fn of_bytes(bytes: u64) -> Limit {
    Limit {
        bytes,
        contents: CONTENTS,
    }
}

/// Locks the file until it is closed.
fn lock(path: &Path, tries: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    for tries_left in (0..tries).rev() {
        // SAFETY: flock takes a descriptor, which `file` keeps open during the call, and no pointer.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        if tries_left == 0 {
            let message = format!("{} is locked by another process", path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(file)
}

/// Tells programs that make backups that nothing here is worth one.
fn tag(dir: &Path) {
    const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by lockerfs. May be deleted.\n";
    let path = dir.join(survey::TAG);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    if let Err(error) = made.and_then(|mut file| file.write_all(TAG))
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        tracing::debug!(%error, "the cache's folder got no tag");
    }
}
