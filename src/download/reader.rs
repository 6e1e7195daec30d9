//! A file opened for reading: which bytes are at hand, which are on their way, which are fetched alone.
//!
//! Reads in order, also from several threads and a little out of order, are served by one stream
//! ([`super::stream`]) through a window of bounded size. A read elsewhere fetches what it asks for and
//! little more; going on from there begins a stream anew.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::body::Fetcher;
use super::error::DownloadError;
use super::stream;
use super::window::Window;

/// How far a stream runs ahead of its reader, in bytes.
pub(super) const AHEAD: u64 = 4 * 1024 * 1024;
/// Bytes kept behind a reader for reads that come late, and how far ahead of the window a read may reach
/// and still belong to the stream: the two are one, so that what a late read waits for is not let go.
const BEHIND: u64 = 2 * 1024 * 1024;
/// How far a read may leap over bytes and still count as going on.
const LEAP: u64 = 128 * 1024;
/// A read that is fetched alone is rounded up to a multiple of this.
const ALIGN: u64 = 64 * 1024;
/// Bytes of such reads kept.
const ASIDE: u64 = 1024 * 1024;
/// A file of this size is fetched whole, wherever its first read is.
const SMALL: u64 = 256 * 1024;
/// Longer reads are served in parts.
const MAX_READ: u64 = 1024 * 1024;

/// One open file. At most about 8 MiB of it are in memory.
pub struct Reader {
    shared: Arc<Shared>,
    /// Dropping it ends the stream.
    stream: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What a reader and its stream share.
pub(super) struct Shared {
    pub fetcher: Fetcher,
    state: Mutex<State>,
    /// Wakes readers: bytes came, or the stream ended.
    arrived: Notify,
    /// Wakes the stream: the reader went on.
    consumed: Notify,
}

#[derive(Default)]
struct State {
    window: Window,
    /// Where the furthest read of the stream ends.
    read_to: u64,
    /// Counts streams, so that one that was replaced can change nothing.
    generation: u64,
    running: bool,
    /// Why the stream of this generation ended too early.
    failure: Option<(u64, DownloadError)>,
    /// The file proved damaged: no byte of it is handed out any more.
    corrupt: Option<DownloadError>,
    aside: VecDeque<Window>,
    /// Where the last read ended; `None` before the first.
    last_end: Option<u64>,
}

enum Step {
    Ready(Bytes),
    /// The stream of this generation will bring the bytes.
    Wait(u64),
    /// A new stream has to start.
    Start {
        generation: u64,
        offset: u64,
    },
    Alone,
    Fail(DownloadError),
}

impl Reader {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        let shared = Shared {
            fetcher,
            state: Mutex::default(),
            arrived: Notify::new(),
            consumed: Notify::new(),
        };
        Reader {
            shared: Arc::new(shared),
            stream: Mutex::new(None),
        }
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.shared.size()
    }

    /// Reads `len` bytes at `offset`; fewer only at the end of the file. Any number of reads may run side by
    /// side. Safe to cancel.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, DownloadError> {
        let end = offset.saturating_add(len as u64).min(self.size());
        if offset >= end {
            return Ok(Bytes::new());
        }
        if end - offset <= MAX_READ {
            return self.read_part(offset..end).await;
        }
        let mut joined = BytesMut::with_capacity((end - offset) as usize);
        let mut at = offset;
        while at < end {
            let part = self.read_part(at..(at + MAX_READ).min(end)).await?;
            at += part.len() as u64;
            joined.extend_from_slice(&part);
        }
        Ok(joined.freeze())
    }

    async fn read_part(&self, range: Range<u64>) -> Result<Bytes, DownloadError> {
        let mut waited_for = None;
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrived.notified());
            arrived.as_mut().enable();
            match self.shared.step(&range, waited_for) {
                Step::Ready(bytes) => return Ok(bytes),
                Step::Fail(error) => return Err(error),
                Step::Alone => return self.shared.fetch_alone(range).await,
                Step::Start { generation, offset } => {
                    self.start(generation, offset);
                    waited_for = Some(generation);
                }
                Step::Wait(generation) => {
                    waited_for = Some(generation);
                    arrived.await;
                }
            }
        }
    }

    fn start(&self, generation: u64, offset: u64) {
        let task = tokio::spawn(stream::run(Arc::clone(&self.shared), generation, offset));
        let mut stream = lock(&self.stream);
        // Two reads may start streams at a time; the later generation stays.
        if lock(&self.shared.state).generation == generation {
            *stream = Some(AbortOnDropHandle::new(task));
        } else {
            task.abort();
        }
    }
}

impl Shared {
    pub fn size(&self) -> u64 {
        self.fetcher.source.size
    }

    /// Adds bytes to the window. Does nothing for a stream that was replaced.
    pub fn push(&self, generation: u64, bytes: Bytes) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            state.window.push(bytes);
            state.trim();
            drop(state);
            self.arrived.notify_waiters();
        }
    }

    /// Notes that a stream ended.
    pub fn finish(&self, generation: u64, failure: Option<DownloadError>) {
        let mut state = lock(&self.state);
        if state.generation != generation {
            return;
        }
        state.running = false;
        state.failure = failure.map(|error| (generation, error));
        drop(state);
        self.arrived.notify_waiters();
    }

    /// Notes that the file's bytes are not what the service promised.
    pub fn condemn(&self, error: DownloadError) {
        lock(&self.state).corrupt = Some(error);
    }

    /// Where the furthest read of the stream ends.
    pub fn read_to(&self) -> u64 {
        lock(&self.state).read_to
    }

    /// Waits until the reader has come to a place that is `far_enough`.
    pub async fn until_read_to(&self, far_enough: impl Fn(u64) -> bool) {
        while !far_enough(self.read_to()) {
            self.consumed.notified().await;
        }
    }

    fn step(&self, range: &Range<u64>, waited_for: Option<u64>) -> Step {
        let mut state = lock(&self.state);
        let before = state.read_to;
        let step = state.step(range, waited_for, self.size());
        if state.read_to != before {
            self.consumed.notify_one();
        }
        step
    }

    async fn fetch_alone(&self, range: Range<u64>) -> Result<Bytes, DownloadError> {
        let end = range.end.next_multiple_of(ALIGN).min(self.size());
        let bytes = self.fetcher.fetch(range.start..end).await?;
        let wanted = bytes.slice(..((range.end - range.start) as usize).min(bytes.len()));
        lock(&self.state).put_aside(Window::of(range.start, bytes));
        Ok(wanted)
    }
}

impl State {
    fn step(&mut self, range: &Range<u64>, waited_for: Option<u64>, size: u64) -> Step {
        if let Some(corrupt) = &self.corrupt {
            return Step::Fail(corrupt.clone());
        }
        if let Some((generation, error)) = &self.failure
            && waited_for == Some(*generation)
        {
            return Step::Fail(error.clone());
        }
        let goes_on = self
            .last_end
            .is_some_and(|last| range.start >= last && range.start - last <= LEAP);
        let begins = self.generation == 0 && (range.start == 0 || size <= SMALL);
        if waited_for.is_none() {
            self.last_end = Some(range.end);
        }
        if let Some(bytes) = self.window.get(range.clone()) {
            self.advance(range.end);
            return Step::Ready(bytes);
        }
        if let Some(bytes) = self
            .aside
            .iter()
            .rev()
            .find_map(|window| window.get(range.clone()))
        {
            return Step::Ready(bytes);
        }
        let belongs = range.start >= self.window.start() && range.end <= self.window.end() + BEHIND;
        if self.running && belongs {
            self.advance(range.end);
            return Step::Wait(self.generation);
        }
        if waited_for.is_none() && begins && size <= SMALL {
            return self.restart(0, range.end);
        }
        if waited_for.is_none() && (begins || goes_on) {
            return self.restart(range.start, range.end);
        }
        Step::Alone
    }

    /// Notes how far the stream was read.
    fn advance(&mut self, end: u64) {
        if end > self.read_to {
            self.read_to = end;
            self.trim();
        }
    }

    fn restart(&mut self, offset: u64, read_to: u64) -> Step {
        self.window = Window::at(offset);
        self.read_to = read_to;
        self.generation += 1;
        self.running = true;
        Step::Start {
            generation: self.generation,
            offset,
        }
    }

    fn trim(&mut self) {
        self.window.drop_before(self.read_to.saturating_sub(BEHIND));
    }

    fn put_aside(&mut self, window: Window) {
        let mut held: u64 = self.aside.iter().map(Window::len).sum::<u64>() + window.len();
        self.aside.push_back(window);
        while held > ASIDE && self.aside.len() > 1 {
            held -= self.aside.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
