//! One of the two folders in which everything is done: the mount's, or the one on the local disk that says how it
//! ought to end.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use super::calls::{self, Outcome, Stat};
use super::operation::{Operation, SLOTS};
use crate::harness::content;

/// What a program sees of an operation that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Done,
    Count(usize),
    Bytes(Vec<u8>),
    Names(BTreeMap<String, usize>),
    Stat { is_folder: bool, size: u64 },
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Seen::Bytes(bytes) => write!(
                f,
                "{} bytes {:.12}",
                bytes.len(),
                crate::harness::sha256_of(bytes)
            ),
            other => write!(f, "{other:?}"),
        }
    }
}

pub struct Side {
    pub root: PathBuf,
    slots: [Option<OpenFile>; SLOTS],
}

pub struct OpenFile {
    pub fd: OwnedFd,
    pub writes: bool,
}

impl Side {
    pub fn new(root: PathBuf) -> Side {
        Side {
            root,
            slots: Default::default(),
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn open_file(&self, slot: usize) -> Option<&OpenFile> {
        self.slots[slot].as_ref()
    }

    fn fd(&self, slot: usize) -> Option<RawFd> {
        self.slots[slot].as_ref().map(|file| file.fd.as_raw_fd())
    }

    /// Closes a slot, if it is open.
    pub fn close(&mut self, slot: usize) -> Outcome<Seen> {
        match self.slots[slot].take() {
            Some(file) => calls::close(file.fd).map(|()| Seen::Done),
            None => Ok(Seen::Done),
        }
    }

    /// Closes all slots of a mount that is gone.
    pub fn abandon(&mut self) {
        self.slots = Default::default();
    }

    /// What the operation does here. `None` where it is not about files.
    pub fn perform(&mut self, operation: &Operation) -> Option<Outcome<Seen>> {
        let on_slot = |slot: usize, work: &dyn Fn(RawFd) -> Outcome<Seen>| match self.fd(slot) {
            Some(fd) => work(fd),
            None => Ok(Seen::Done),
        };
        let done = |()| Seen::Done;
        Some(match operation {
            Operation::Open { slot, path, how } => self.open(*slot, path, how),
            Operation::Close { slot } => self.close(*slot),
            Operation::WriteAt { slot, at, len, seed } => on_slot(*slot, &|fd| {
                calls::write_at(fd, &content(*seed, *len), *at).map(Seen::Count)
            }),
            Operation::Write { slot, len, seed } => on_slot(*slot, &|fd| {
                calls::write(fd, &content(*seed, *len)).map(Seen::Count)
            }),
            Operation::ReadAt { slot, at, len } => {
                on_slot(*slot, &|fd| calls::read_at(fd, *len, *at).map(Seen::Bytes))
            }
            Operation::Cut { slot, len } => on_slot(*slot, &|fd| calls::cut(fd, *len).map(done)),
            Operation::CutPath { path, len } => calls::cut_path(&self.path(path), *len).map(done),
            Operation::Sync { slot } => on_slot(*slot, &|fd| calls::sync(fd).map(done)),
            Operation::Map { slot, at, len, seed } => self.map(*slot, *at, *len, *seed),
            Operation::CopyRange {
                from,
                to,
                from_at,
                to_at,
                len,
            } => match (self.fd(*from), self.fd(*to)) {
                (Some(from), Some(to)) => {
                    calls::copy_range(from, *from_at as i64, to, *to_at as i64, *len).map(Seen::Count)
                }
                _ => Ok(Seen::Done),
            },
            Operation::CopyFile { from, to } => copy_file(&self.path(from), &self.path(to)),
            Operation::WriteFile { path, len, seed } => {
                write_file(&self.path(path), &content(*seed, *len)).map(done)
            }
            Operation::ReadFile { path } => read_file(&self.path(path)).map(Seen::Bytes),
            Operation::Rename { from, to, keep } => {
                calls::rename(&self.path(from), &self.path(to), *keep).map(done)
            }
            Operation::Unlink { path } => standard(std::fs::remove_file(self.path(path))),
            Operation::Mkdir { path } => standard(std::fs::create_dir(self.path(path))),
            Operation::Rmdir { path } => standard(std::fs::remove_dir(self.path(path))),
            Operation::List { path } => calls::list(&self.path(path), || {}).map(Seen::Names),
            Operation::ListWhileChanging { path, add, remove } => {
                let folder = self.path(path);
                let mut changed = (Ok(()), Ok(()));
                let listed = calls::list(&folder, || {
                    changed.0 = write_file(&folder.join(add), b"added");
                    changed.1 =
                        std::fs::remove_file(folder.join(remove)).map_err(|error| calls::number(&error));
                });
                // Of these two it may tell either.
                let listed = listed.map(|mut names| {
                    names.remove(add);
                    names.remove(remove);
                    Seen::Names(names)
                });
                // What became of the changes, in the place of a listing that says less.
                match changed {
                    (Err(error), _) => Err(error),
                    (_, Err(error)) if error != libc::ENOENT && error != libc::EISDIR => Err(error),
                    _ => listed,
                }
            }
            Operation::Stat { path } => calls::stat(&self.path(path)).map(|stat| Seen::Stat {
                is_folder: stat.is_folder,
                size: size_of(&stat),
            }),
            Operation::Touch { path, seconds } => calls::touch(&self.path(path), *seconds).map(done),
            Operation::TouchOpen { slot, seconds } => {
                on_slot(*slot, &|fd| calls::touch_open(fd, *seconds).map(done))
            }
            Operation::Chmod { path, mode } => {
                use std::os::unix::fs::PermissionsExt;
                let mode = std::fs::Permissions::from_mode(*mode);
                standard(std::fs::set_permissions(self.path(path), mode))
            }
            Operation::Symlink { path } => standard(std::os::unix::fs::symlink("anywhere", self.path(path))),
            Operation::Link { from, to } => standard(std::fs::hard_link(self.path(from), self.path(to))),
            Operation::Fifo { path } => calls::fifo(&self.path(path)).map(done),
            Operation::Attributes { path } => calls::attributes(&self.path(path)).map(|_| Seen::Done),
            Operation::SetAttribute { path } => {
                calls::set_attribute(&self.path(path), "user.lockerfs.note").map(done)
            }
            Operation::Pause { .. }
            | Operation::Drain
            | Operation::Remount
            | Operation::Kill
            | Operation::Forget
            | Operation::Compare => return None,
        })
    }

    fn open(&mut self, slot: usize, path: &str, how: &str) -> Outcome<Seen> {
        self.close(slot)?;
        let has = |letter: char| how.contains(letter);
        let mut flags = match (has('r'), has('w')) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            _ => libc::O_RDONLY,
        };
        for (letter, flag) in [
            ('a', libc::O_APPEND),
            ('c', libc::O_CREAT),
            ('x', libc::O_EXCL),
            ('t', libc::O_TRUNC),
        ] {
            if has(letter) {
                flags |= flag;
            }
        }
        let fd = calls::open(&self.path(path), flags)?;
        self.slots[slot] = Some(OpenFile { fd, writes: has('w') });
        Ok(Seen::Done)
    }

    fn map(&self, slot: usize, at: u64, len: usize, seed: u64) -> Outcome<Seen> {
        let Some(file) = &self.slots[slot] else {
            return Ok(Seen::Done);
        };
        // Beyond the end of a file a mapping kills who touches it.
        let stat = calls::stat_open(&file.fd);
        if stat.is_folder || at + len as u64 > stat.size {
            return Ok(Seen::Count(0));
        }
        calls::map(file.fd.as_raw_fd(), &content(seed, len), at).map(|()| Seen::Count(len))
    }
}

fn standard(result: std::io::Result<()>) -> Outcome<Seen> {
    result.map(|()| Seen::Done).map_err(|error| calls::number(&error))
}

/// Of a folder the size says nothing.
fn size_of(stat: &Stat) -> u64 {
    if stat.is_folder { 0 } else { stat.size }
}

pub fn read_file(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| calls::number(&error))
}

fn write_file(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let fd = calls::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)?;
    let written = calls::write_at(fd.as_raw_fd(), bytes, 0).map(drop);
    written.and(calls::close(fd))
}

fn copy_file(from: &Path, to: &Path) -> Outcome<Seen> {
    let from = calls::open(from, libc::O_RDONLY)?;
    let to = calls::open(to, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)?;
    let copied = calls::copy_range(from.as_raw_fd(), 0, to.as_raw_fd(), 0, 1 << 30);
    let closed = calls::close(to);
    let copied = copied?;
    closed.map(|()| Seen::Count(copied))
}
