//! One running fetch of a range: from the answers of the service to blocks at hand.
//!
//! A [`Flight`] lives as long as anybody holds it; with the last holder the fetch stops and its connection is
//! given back. Its end can be cut while it runs, and it can be held up at a limit that its reader moves.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::body::Body;
use super::cache::BLOCK;
use super::connections::{Interest, Permit};
use super::content::Content;
use super::error::DownloadError;
use crate::provider::ErrorKind;

/// How far its limit must be ahead of a flight that gave its connection up, before it takes another one, so that
/// it is worth a request.
const WORTH_A_REQUEST: u64 = 2 * 1024 * 1024;

pub(super) struct Flight {
    progress: Arc<Progress>,
    /// Dropping it ends the fetch.
    _task: AbortOnDropHandle<()>,
}

/// How far a flight is. Outlives it where others wait.
pub(super) struct Progress {
    start: u64,
    /// Everything before is at hand.
    at: AtomicU64,
    /// Where the flight ends. It can only come nearer.
    end: AtomicU64,
    bounds: watch::Sender<Bounds>,
    outcome: OnceLock<Result<(), DownloadError>>,
    /// The readers that it serves count as such until it ends.
    served: Mutex<Vec<Arc<Interest>>>,
}

/// How far a flight may go.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    limit: u64,
    /// Up to where somebody waits.
    needed: u64,
}

impl Flight {
    /// Begins to fetch `range`, which begins at a block and ends at one or with the file. Bytes from `limit` on wait
    /// until it is raised. Without `permit` the fetch gets in line for a connection.
    pub fn start(content: &Arc<Content>, range: Range<u64>, limit: u64, permit: Option<Permit>) -> Arc<Self> {
        let (bounds, _) = watch::channel(Bounds { limit, needed: 0 });
        let progress = Arc::new(Progress {
            start: range.start,
            at: AtomicU64::new(range.start),
            end: AtomicU64::new(range.end),
            bounds,
            outcome: OnceLock::new(),
            served: Mutex::default(),
        });
        let landing = Landing {
            epoch: content.epoch(),
            content: Arc::clone(content),
            progress: Arc::clone(&progress),
        };
        let task = tokio::spawn(async move {
            let result = landing.fly(permit).await;
            landing.land(result);
        });
        Arc::new(Flight {
            progress,
            _task: AbortOnDropHandle::new(task),
        })
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl Progress {
    /// What is still to come.
    pub fn to_come(&self) -> Range<u64> {
        let end = self.end.load(Ordering::Acquire);
        self.at.load(Ordering::Acquire).min(end)..end
    }

    pub fn is_flying(&self) -> bool {
        self.outcome.get().is_none() && !self.to_come().is_empty()
    }

    /// Lets a reader that is served by the flight count until it ends.
    pub fn count(&self, interest: &Arc<Interest>) {
        let mut served = self.served();
        let is_known = served.iter().any(|known| Arc::ptr_eq(known, interest));
        if !is_known && self.outcome.get().is_none() {
            served.push(Arc::clone(interest));
        }
    }

    fn end(&self, result: Result<(), DownloadError>) {
        let mut served = self.served();
        // Only the first result counts.
        let _ = self.outcome.set(result);
        served.clear();
    }

    fn served(&self) -> MutexGuard<'_, Vec<Arc<Interest>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it ended too early.
    pub fn failure(&self) -> Option<&DownloadError> {
        self.outcome.get()?.as_ref().err()
    }

    /// Whether `offset` is one of the bytes that it was to bring.
    pub fn was_to_bring(&self, offset: u64) -> bool {
        (self.start..self.end.load(Ordering::Acquire)).contains(&offset)
    }

    /// Lets the flight end at `end`, which begins a block, at the latest.
    pub fn cut(&self, end: u64) {
        self.end.fetch_min(end, Ordering::AcqRel);
        // A flight that is held up looks again.
        self.bounds.send_modify(|_| {});
    }

    /// Lets the flight go on up to `limit`.
    pub fn raise(&self, limit: u64) {
        self.bounds.send_if_modified(|bounds| {
            let raised = limit > bounds.limit;
            bounds.limit = bounds.limit.max(limit);
            raised
        });
    }

    /// Tells the flight that somebody waits for what comes before `end`.
    pub fn need(&self, end: u64) {
        self.bounds.send_if_modified(|bounds| {
            let raised = end > bounds.needed;
            bounds.needed = bounds.needed.max(end);
            bounds.limit = bounds.limit.max(end);
            raised
        });
    }

    /// Waits until the flight may go on at `at`. A connection that is in the way of others meanwhile is given up.
    async fn hold_up(&self, body: &mut Body, at: u64) {
        let mut bounds = self.bounds.subscribe();
        let ended = || at >= self.end.load(Ordering::Acquire);
        // The sender lives as long as the flight: waiting cannot fail.
        tokio::select! {
            biased;
            _ = bounds.wait_for(|bounds| at < bounds.limit || ended()) => return,
            () = body.until_in_the_way() => {}
        }
        body.close();
        let _ = bounds
            .wait_for(|bounds| at < bounds.needed || at + WORTH_A_REQUEST <= bounds.limit || ended())
            .await;
    }
}

/// The flight's own end, which is told however it comes.
struct Landing {
    /// That of the content when the flight began.
    epoch: u64,
    content: Arc<Content>,
    progress: Arc<Progress>,
}

impl Landing {
    async fn fly(&self, permit: Option<Permit>) -> Result<(), DownloadError> {
        let Landing {
            epoch,
            content,
            progress,
        } = self;
        let range = progress.to_come();
        let mut body = content.fetcher().body(range.clone(), permit);
        let mut blocks = Blocks::new(range.start, content.size());
        loop {
            let end = progress.end.load(Ordering::Acquire);
            if blocks.received() >= end && end < range.end {
                return Ok(());
            }
            if blocks.received() < end {
                progress.hold_up(&mut body, blocks.received()).await;
            }
            let Some(bytes) = body.chunk().await? else {
                return Ok(());
            };
            let whole = blocks.push(bytes);
            if let Some((last, block)) = whole.last() {
                let at = last + block.len() as u64;
                if !content.put(&whole, *epoch) {
                    return Ok(());
                }
                progress.at.store(at, Ordering::Release);
                content.tell();
                content.keep(whole, *epoch).await;
            }
        }
    }

    fn land(&self, result: Result<(), DownloadError>) {
        self.progress.end(result);
        self.content.tell();
    }
}

impl Drop for Landing {
    /// After a panic those who wait are told as well.
    fn drop(&mut self) {
        let name = &self.content.fetcher().source.name;
        let ended = DownloadError::new(
            ErrorKind::Unexpected,
            format!("cannot read {name}: a fetch ended"),
        );
        self.land(Err(ended));
    }
}

/// Puts blocks together from the pieces in which bytes arrive.
struct Blocks {
    /// Bytes of the whole file, where the last block ends.
    size: u64,
    /// Where the block that is put together begins.
    offset: u64,
    part: BytesMut,
}

impl Blocks {
    fn new(offset: u64, size: u64) -> Self {
        Blocks {
            size,
            offset,
            part: BytesMut::new(),
        }
    }

    /// Where the next byte belongs.
    fn received(&self) -> u64 {
        self.offset + self.part.len() as u64
    }

    /// Adds bytes; the blocks that they complete, with their offsets.
    fn push(&mut self, mut bytes: Bytes) -> Vec<(u64, Bytes)> {
        let mut whole = Vec::new();
        while !bytes.is_empty() {
            let length = BLOCK.min(self.size - self.offset) as usize;
            if length == 0 {
                break;
            }
            if self.part.is_empty() {
                self.part.reserve(length);
            }
            let taken = bytes.split_to((length - self.part.len()).min(bytes.len()));
            self.part.extend_from_slice(&taken);
            if self.part.len() == length {
                whole.push((self.offset, std::mem::take(&mut self.part).freeze()));
                self.offset += length as u64;
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_become_blocks_and_the_last_is_short() {
        let size = 2 * BLOCK + 100;
        let content: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        for piece in [1000, 40_000, 100_000] {
            let mut blocks = Blocks::new(0, size);
            let whole: Vec<_> = content
                .chunks(piece)
                .flat_map(|piece| blocks.push(Bytes::copy_from_slice(piece)))
                .collect();
            let offsets: Vec<u64> = whole.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, [0, BLOCK, 2 * BLOCK]);
            assert!(whole.iter().flat_map(|(_, block)| block).eq(&content));
            assert_eq!(blocks.received(), size);
        }
    }
}
