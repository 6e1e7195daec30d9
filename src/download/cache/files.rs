//! The files of the cache: where they lie, and the system calls that `std` does not know. Names are digests, so that
//! nothing that a service says becomes a path.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::map::Id;

/// The smallest piece in which file systems give out room.
const PAGE: u64 = 4096;

/// Where the files of a content lie.
pub(super) struct Place {
    pub data: PathBuf,
    pub map: PathBuf,
    folder: PathBuf,
}

impl Place {
    pub fn of(root: &Path, id: Id) -> Self {
        let name = id.to_hex();
        let folder = root.join(&name[..2]);
        Place {
            data: folder.join(&name[2..]),
            map: folder.join(format!("{}{MAP}", &name[2..])),
            folder,
        }
    }

    /// For what is renamed to one of the others once it is whole. Each number makes another.
    pub fn temporary(&self, number: u64) -> PathBuf {
        self.data.with_extension(format!("{number}.new"))
    }

    pub fn make_folder(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if fs::symlink_metadata(&self.folder)?.is_dir() {
            return Ok(());
        }
        // Whoever put a link here meant nothing good, or did not know what it is for.
        fs::remove_file(&self.folder)?;
        DirBuilder::new().mode(0o700).create(&self.folder)
    }

    /// Opens one of the files, if it is there, and is a file in the folder of the cache.
    pub fn open(&self, path: &Path) -> io::Result<Option<File>> {
        if !fs::symlink_metadata(&self.folder).is_ok_and(|facts| facts.is_dir()) {
            return Ok(None);
        }
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// Takes both files away: the map first, since data without a map is nothing.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.map)?;
        remove(&self.data)
    }
}

/// How the names of maps end.
pub(super) const MAP: &str = ".map";

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A new file for the owner alone. What lay there was left behind.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let create = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        result => result,
    }
}

/// Gives `path` to a file that has another name already, on the same file system.
pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
    let from = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: both paths end with NUL and live through the call.
    match unsafe { libc::linkat(here, from.as_ptr(), here, to.as_ptr(), follow) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the room of a part of a file back to the disk. It reads as zeros afterwards.
pub(super) fn punch(file: &File, start: u64, end: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    // Up to the end of the page, so that no piece of the file's last one stays.
    let (offset, end) = (i64::try_from(start), i64::try_from(end.next_multiple_of(PAGE)));
    let (offset, end) = (offset.map_err(too_far)?, end.map_err(too_far)?);
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: fallocate takes a descriptor, which `file` keeps open during the call, and no pointer.
    match unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, end - offset) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes that a file takes on the disk.
pub(super) fn allocated(facts: &fs::Metadata) -> u64 {
    facts.blocks().saturating_mul(512)
}

pub(super) fn round_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// The time of last use that a map's file keeps, in microseconds since 1970.
pub(super) fn last_use(facts: &fs::Metadata) -> u64 {
    facts.modified().map_or(0, micros)
}

pub(super) fn set_last_use(file: &File, used: u64) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_micros(used))
}

pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn read_at(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (end - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
