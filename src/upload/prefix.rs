//! The hash of a content, computed while it is written.
//!
//! A content that is written from its beginning to its end is hashed behind the writer's back, by a thread that
//! reads what was written from the page cache, so that `close()` and the upload wait for no second pass. The
//! hash of the first bytes is believed for as long as no change to them has begun; the first such change ends it
//! for good, and the content is hashed as a whole before it is sent. It knows files and offsets only.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use sha2::{Digest as _, Sha256};

use super::hash::each_part;
use super::staged_file::Body;

/// Bytes hashed in one go.
const PIECE: u64 = 4 << 20;
/// Bytes behind the end of the file that are left alone while it grows: writes that cross a little do no harm.
const LAG: u64 = 1 << 20;
/// Files that may wait for the thread.
const QUEUE: usize = 64;

/// How far a content is hashed.
pub(super) struct Prefix {
    /// `None` while the thread is at work with it.
    hash: Option<Sha256>,
    /// Bytes that are in the hash.
    hashed: u64,
    /// Bytes that are being read for it.
    reading: u64,
    /// Whether the content is still hashed while it is written.
    follows: bool,
    /// Whether the thread was told of it.
    queued: bool,
    /// Rises when what is being read does not count any more.
    epoch: u64,
}

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefix")
            .field("hashed", &self.hashed)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

/// A piece that the thread has taken on.
pub(super) struct Piece {
    hash: Sha256,
    range: Range<u64>,
    epoch: u64,
}

impl Prefix {
    /// For a file that is empty, or has unknown bytes in it.
    pub fn new(is_empty: bool) -> Self {
        Prefix {
            hash: Some(Sha256::new()),
            hashed: 0,
            reading: 0,
            follows: is_empty,
            queued: false,
            epoch: 0,
        }
    }

    /// A change of the bytes from `start` on begins. `is_anew` where nothing is left of the content.
    pub fn will_change(&mut self, start: u64, is_anew: bool) {
        if start < self.hashed.max(self.reading) {
            self.epoch += 1;
            (self.hashed, self.reading, self.follows) = (0, 0, false);
            self.hash = Some(Sha256::new());
        }
        self.follows |= is_anew;
    }

    /// Whether the thread is to be told, of a content whose first `settled` bytes are not being changed.
    pub fn wants_thread(&mut self, settled: u64) -> bool {
        let wants = self.follows && !self.queued && self.next(settled).is_some();
        self.queued |= wants;
        wants
    }

    /// The thread could not be told.
    pub fn was_not_queued(&mut self) {
        self.queued = false;
    }

    fn next(&self, settled: u64) -> Option<Range<u64>> {
        let end = self.hashed + PIECE;
        (end + LAG <= settled).then_some(self.hashed..end)
    }

    fn take(&mut self, settled: u64) -> Option<Piece> {
        let range = self.next(settled).filter(|_| self.follows);
        let Some((range, hash)) = range.and_then(|range| Some((range, self.hash.take()?))) else {
            self.queued = false;
            return None;
        };
        self.reading = range.end;
        Some(Piece {
            hash,
            range,
            epoch: self.epoch,
        })
    }

    fn put(&mut self, piece: Piece) {
        if piece.epoch == self.epoch {
            (self.hashed, self.reading) = (piece.range.end, piece.range.end);
            self.hash = Some(piece.hash);
        }
    }

    /// The hash of the first bytes and their number; `None` while the thread is at work with it.
    pub fn so_far(&self) -> Option<(Sha256, u64)> {
        self.hash.clone().map(|hash| (hash, self.hashed))
    }
}

/// The thread, and the way to it. It ends when all that could tell it of files are gone. By default there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower(Option<SyncSender<Weak<Body>>>);

impl Follower {
    /// Without a thread contents are hashed all the same, later.
    pub fn start() -> Self {
        let (files, told) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("hash".to_owned());
        match thread.spawn(move || follow(&told)) {
            Ok(_) => Follower(Some(files)),
            Err(error) => {
                tracing::warn!(%error, "no thread to hash files while they are written");
                Follower(None)
            }
        }
    }

    /// Tells the thread of a file. False where that cannot be.
    pub fn tell(&self, body: &Arc<Body>) -> bool {
        let files = self.0.as_ref();
        files.is_some_and(|files| files.try_send(Arc::downgrade(body)).is_ok())
    }
}

fn follow(told: &Receiver<Weak<Body>>) {
    while let Ok(body) = told.recv() {
        let Some(body) = body.upgrade() else { continue };
        while let Some(mut piece) = body.with_prefix(Prefix::take) {
            let Range { start, end } = piece.range;
            let hash = &mut piece.hash;
            let read = body
                .file()
                .and_then(|file| each_part(file, start, end - start, |part| hash.update(part)));
            match read {
                Ok(()) => {
                    // Hastens what `close()` waits for; that it is on the disk is for `close()` to find out.
                    let _ = body
                        .file()
                        .and_then(|file| start_writing(file, start, end - start));
                    body.with_prefix(|prefix, _| prefix.put(piece));
                }
                // Who hashes it as a whole gets the error, and tells of it.
                Err(_) => body.with_prefix(|prefix, _| prefix.will_change(0, false)),
            }
            body.tell_released();
        }
    }
}

fn start_writing(file: &File, start: u64, length: u64) -> io::Result<()> {
    let (start, length) = (i64::try_from(start), i64::try_from(length));
    let (Ok(start), Ok(length)) = (start, length) else {
        return Ok(());
    };
    // SAFETY: it takes a descriptor that is open as long as `file` is borrowed, and two numbers.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
