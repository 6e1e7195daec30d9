//! System calls on one of the two sides, with the error that each tells.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The error's number.
pub type Outcome<T> = Result<T, i32>;

/// Bytes of a folder's listing that are asked for at a time where it is listed in pieces.
const PIECE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub is_folder: bool,
    pub size: u64,
    pub mtime: i64,
    /// The modification time to the nanosecond.
    pub changed: (i64, i64),
    pub ino: u64,
    pub links: u64,
}

impl From<std::fs::Metadata> for Stat {
    fn from(told: std::fs::Metadata) -> Self {
        Stat {
            is_folder: told.is_dir(),
            size: told.len(),
            mtime: told.mtime(),
            changed: (told.mtime(), told.mtime_nsec()),
            ino: told.ino(),
            links: told.nlink(),
        }
    }
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The number of an error of the standard library.
pub fn number(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path without zeros")
}

fn done(result: libc::c_int) -> Outcome<()> {
    if result == 0 { Ok(()) } else { Err(errno()) }
}

fn count(result: isize) -> Outcome<usize> {
    usize::try_from(result).map_err(|_| errno())
}

pub fn open(path: &Path, flags: i32) -> Outcome<OwnedFd> {
    let path = text(path);
    // SAFETY: `path` is a valid C string for the time of the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o644) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: it was just opened and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells the error, which dropping would swallow.
pub fn close(fd: OwnedFd) -> Outcome<()> {
    // SAFETY: the descriptor was given up just now.
    done(unsafe { libc::close(fd.into_raw_fd()) })
}

pub fn write_at(fd: RawFd, bytes: &[u8], at: u64) -> Outcome<usize> {
    // SAFETY: `bytes` is valid for its length.
    count(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), at as i64) })
}

pub fn write(fd: RawFd, bytes: &[u8]) -> Outcome<usize> {
    // SAFETY: `bytes` is valid for its length.
    count(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

/// Reads until there is nothing more or `len` bytes are there.
pub fn read_at(fd: RawFd, len: usize, at: u64) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while have < len {
        let rest = &mut bytes[have..];
        // SAFETY: `rest` is valid for its length.
        let read = unsafe {
            libc::pread(
                fd,
                rest.as_mut_ptr().cast(),
                rest.len(),
                (at + have as u64) as i64,
            )
        };
        match count(read)? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

pub fn cut(fd: RawFd, len: u64) -> Outcome<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::ftruncate(fd, len as i64) })
}

pub fn cut_path(path: &Path, len: u64) -> Outcome<()> {
    let path = text(path);
    // SAFETY: `path` is a valid C string for the time of the call.
    done(unsafe { libc::truncate(path.as_ptr(), len as i64) })
}

pub fn sync(fd: RawFd) -> Outcome<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::fsync(fd) })
}

/// Writes through a mapping. `at` and the bytes are within the file.
pub fn map(fd: RawFd, bytes: &[u8], at: u64) -> Outcome<()> {
    const PAGE: u64 = 4096;
    let begin = at / PAGE * PAGE;
    let before = (at - begin) as usize;
    let len = before + bytes.len();
    // SAFETY: a new mapping of `len` bytes is made, written to within its bounds and taken away again; nobody cuts
    // the file meanwhile.
    unsafe {
        let address = libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            begin as i64,
        );
        if address == libc::MAP_FAILED {
            return Err(errno());
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), address.cast::<u8>().add(before), bytes.len());
        let synced = done(libc::msync(address, len, libc::MS_SYNC));
        synced.and(done(libc::munmap(address, len)))
    }
}

/// Calls in which a range is copied at most. A small file that is copied behind its own end has always some bytes more.
const COPIES: usize = 200;

/// Goes on until all is copied or there is nothing more.
pub fn copy_range(from: RawFd, mut from_at: i64, to: RawFd, mut to_at: i64, len: usize) -> Outcome<usize> {
    let mut copied = 0;
    for _ in 0..COPIES {
        if copied >= len {
            break;
        }
        // SAFETY: both offsets live as long as the call.
        let more = unsafe { libc::copy_file_range(from, &mut from_at, to, &mut to_at, len - copied, 0) };
        match count(more)? {
            0 => break,
            more => copied += more,
        }
    }
    Ok(copied)
}

pub fn rename(from: &Path, to: &Path, keep: bool) -> Outcome<()> {
    let (from, to) = (text(from), text(to));
    let flags = if keep { libc::RENAME_NOREPLACE } else { 0 };
    // SAFETY: both paths are valid C strings for the time of the call.
    done(unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
}

pub fn stat(path: &Path) -> Outcome<Stat> {
    std::fs::symlink_metadata(path)
        .map(Stat::from)
        .map_err(|e| number(&e))
}

pub fn stat_open(fd: &OwnedFd) -> Stat {
    let file = std::fs::File::from(fd.try_clone().expect("a handle"));
    file.metadata().expect("stat an open file").into()
}

/// The modification time alone, in whole seconds.
pub fn touch(path: &Path, seconds: i64) -> Outcome<()> {
    let path = text(path);
    // SAFETY: `path` and the times are valid for the time of the call.
    done(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times(seconds).as_ptr(), 0) })
}

pub fn touch_open(fd: RawFd, seconds: i64) -> Outcome<()> {
    // SAFETY: the times are valid for the time of the call.
    done(unsafe { libc::futimens(fd, times(seconds).as_ptr()) })
}

fn times(seconds: i64) -> [libc::timespec; 2] {
    let leave = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::UTIME_OMIT,
    };
    let mtime = libc::timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    [leave, mtime]
}

pub fn fifo(path: &Path) -> Outcome<()> {
    let path = text(path);
    // SAFETY: `path` is a valid C string for the time of the call.
    done(unsafe { libc::mkfifo(path.as_ptr(), 0o644) })
}

/// The names of the extended attributes.
pub fn attributes(path: &Path) -> Outcome<Vec<String>> {
    let path = text(path);
    let mut names = vec![0u8; 4096];
    // SAFETY: `path` is a valid C string, and `names` has the room that is told.
    let size = count(unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) })?;
    names.truncate(size);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

pub fn attribute(path: &Path, name: &str) -> Outcome<String> {
    let (path, name) = (text(path), CString::new(name).expect("a name"));
    let mut value = vec![0u8; 4096];
    // SAFETY: both strings are valid, and `value` has the room that is told.
    let size = count(unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    })?;
    value.truncate(size);
    Ok(String::from_utf8_lossy(&value).into_owned())
}

pub fn set_attribute(path: &Path, name: &str) -> Outcome<()> {
    let (path, name) = (text(path), CString::new(name).expect("a name"));
    // SAFETY: both strings are valid, and the value is a byte of a string.
    done(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), name.as_ptr().cast(), 1, 0) })
}

/// How often each name is listed, in pieces; `between` is called once, after the first of them.
pub fn list(path: &Path, between: impl FnOnce()) -> Outcome<BTreeMap<String, usize>> {
    let folder = open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut names = BTreeMap::new();
    let mut between = Some(between);
    loop {
        let mut piece = vec![0u64; PIECE / 8];
        // SAFETY: `piece` has the room that is told.
        let filled = count(unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder.as_raw_fd(),
                piece.as_mut_ptr(),
                PIECE,
            ) as isize
        });
        // A name may need more room than a piece has.
        let filled = match filled {
            Err(libc::EINVAL) => {
                piece = vec![0u64; 1024 / 8];
                // SAFETY: `piece` has the room that is told.
                count(unsafe {
                    libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), piece.as_mut_ptr(), 1024) as isize
                })?
            }
            filled => filled?,
        };
        if let Some(between) = between.take() {
            between();
        }
        if filled == 0 {
            return Ok(names);
        }
        let bytes: Vec<u8> = piece.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut at = 0;
        // Inode, position, length of the entry, type, name, zero.
        while at < filled {
            let length = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
            let name = &bytes[at + 19..at + length];
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            if name != "." && name != ".." {
                *names.entry(name).or_insert(0) += 1;
            }
            at += length;
        }
    }
}
