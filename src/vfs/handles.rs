//! Open files and directory streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::download::Reader;

use super::error::{Error, Result};
use super::folders::DirectoryEntry;
use super::tree::Remote;

/// What an open file is known by, and whether the kernel may keep what it cached of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub handle: u64,
    pub keep_cache: bool,
}

pub struct FileHandle {
    pub ino: u64,
    pub write: bool,
    /// Which of the file's contents it was opened with; see [`File::foreign`](super::tree::File::foreign).
    pub foreign: u64,
    /// Made with the first read, and again when the content on the service is another.
    pub reader: Mutex<Option<(Remote, Arc<Reader>)>>,
}

pub struct DirectoryHandle {
    pub ino: u64,
    /// The stream as it was when it was begun or rewound.
    pub entries: Mutex<Option<Arc<Vec<DirectoryEntry>>>>,
}

#[derive(Default)]
pub struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<FileHandle>>>,
    directories: Mutex<HashMap<u64, Arc<DirectoryHandle>>>,
}

impl Handles {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add_file(&self, ino: u64, write: bool, foreign: u64) -> u64 {
        let handle = self.number();
        let file = FileHandle {
            ino,
            write,
            foreign,
            reader: Mutex::default(),
        };
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle, Arc::new(file));
        handle
    }

    pub fn file(&self, handle: u64) -> Result<Arc<FileHandle>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files
            .get(&handle)
            .cloned()
            .ok_or_else(|| Error::plain(libc::EBADF))
    }

    pub fn remove_file(&self, handle: u64) -> Option<Arc<FileHandle>> {
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle)
    }

    pub fn add_directory(&self, ino: u64) -> u64 {
        let handle = self.number();
        let directory = DirectoryHandle {
            ino,
            entries: Mutex::default(),
        };
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle, Arc::new(directory));
        handle
    }

    pub fn directory(&self, handle: u64) -> Result<Arc<DirectoryHandle>> {
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        directories
            .get(&handle)
            .cloned()
            .ok_or_else(|| Error::plain(libc::EBADF))
    }

    pub fn remove_directory(&self, handle: u64) {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle);
    }
}
