//! The running fetch of a reader that reads in order.
//!
//! It asks for ranges that grow while the reader goes on, fills the reader's window, stops when it is far
//! enough ahead, and hashes what passes when it began at the start of the file. Of a service that sends on to
//! the end of the file anyway it asks once, and takes from the answer no faster than the reader goes; how far it
//! runs ahead then grows in place of the ranges.

use std::ops::Range;
use std::sync::Arc;

use sha2::Digest;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::body::Body;
use super::error::DownloadError;
use super::reader::{AHEAD, Shared};
use crate::provider::{ContentHash, ErrorKind};

const FIRST_RANGE: u64 = 256 * 1024;
const MAX_RANGE: u64 = 32 * 1024 * 1024;
/// The next request goes out when this much of the running one is left to come.
const OVERLAP: u64 = 1024 * 1024;

/// Fetches from `start` to the end of the file, as fast as the reader goes. `generation` tells the stream
/// from those that the reader had before.
pub(super) async fn run(shared: Arc<Shared>, generation: u64, start: u64) {
    let mut stream = Stream {
        hasher: Hasher::new(&shared, start),
        shared,
        generation,
        start,
    };
    let result = stream.fetch().await;
    stream.shared.finish(generation, result.err());
}

struct Stream {
    shared: Arc<Shared>,
    generation: u64,
    start: u64,
    hasher: Option<Hasher>,
}

/// The request for the range that follows, sent before the running one ends.
struct LookAhead {
    task: AbortOnDropHandle<Body>,
    take: oneshot::Sender<()>,
    range: Range<u64>,
}

impl LookAhead {
    fn start(mut body: Body, range: Range<u64>) -> Self {
        let (take, taken) = oneshot::channel();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            body.open_ahead(taken).await;
            body
        }));
        LookAhead { task, take, range }
    }

    async fn take(self) -> Result<(Body, Range<u64>), DownloadError> {
        // Where it is not heard, the task is at its end already.
        let _ = self.take.send(());
        let body = self.task.await;
        let body = body.map_err(|_| DownloadError::new(ErrorKind::Unexpected, "a fetch failed"))?;
        Ok((body, self.range))
    }
}

impl Stream {
    async fn fetch(&mut self) -> Result<(), DownloadError> {
        let mut step = FIRST_RANGE;
        self.shared.fetcher.learn().await?;
        let mut range = self.following(self.start, step);
        let mut body = self.shared.fetcher.body(range.clone());
        loop {
            step = (step * 2).min(MAX_RANGE);
            let next = self.drain(body, &range, step).await?;
            let following = self.following(range.end, step);
            if following.is_empty() {
                return Ok(());
            }
            (body, range) = match next {
                Some(next) => next.take().await?,
                None => {
                    self.shared.until_read_to(|at| at >= middle(&range)).await;
                    (self.shared.fetcher.body(following.clone()), following)
                }
            };
        }
    }

    /// The range to ask for at `start`: all the rest where the service sends on anyway.
    fn following(&self, start: u64, step: u64) -> Range<u64> {
        let size = self.shared.size();
        if self.shared.fetcher.sends_on() {
            return start..size;
        }
        next_range(start, step, size)
    }

    /// Hands on all bytes of `body`, and sends the request for what follows when its end comes near and the
    /// reader is with it.
    async fn drain(
        &mut self,
        mut body: Body,
        range: &Range<u64>,
        step: u64,
    ) -> Result<Option<LookAhead>, DownloadError> {
        let mut at = range.start;
        let mut next = None;
        while at < range.end {
            self.keep_pace(&mut body, at).await;
            let Some(bytes) = body.chunk().await? else { break };
            at += bytes.len() as u64;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&bytes);
                if at == self.shared.size() {
                    hasher.check(&self.shared)?;
                }
            }
            self.shared.push(self.generation, bytes);
            let near = range.end - at <= OVERLAP && self.shared.read_to() >= middle(range);
            let following = self.following(range.end, step);
            if near && next.is_none() && !following.is_empty() {
                let body = self.shared.fetcher.body(following.clone());
                next = Some(LookAhead::start(body, following));
            }
        }
        Ok(next)
    }

    /// Waits until the reader is near enough to `at`. A connection that is in the way of others meanwhile is
    /// given up; the reader then has to come nearer, so that another one is worth its request.
    async fn keep_pace(&self, body: &mut Body, at: u64) {
        let shared = &self.shared;
        tokio::select! {
            biased;
            () = shared.until_read_to(|read_to| at <= read_to + self.ahead(read_to)) => return,
            () = body.until_in_the_way() => {}
        }
        body.close();
        shared
            .until_read_to(|read_to| at <= read_to + self.ahead(read_to) / 2)
            .await;
    }

    /// How far to run ahead of a reader that has come to `read_to`.
    fn ahead(&self, read_to: u64) -> u64 {
        if self.shared.fetcher.sends_on() {
            read_to.saturating_sub(self.start).clamp(FIRST_RANGE, AHEAD)
        } else {
            AHEAD
        }
    }
}

/// A range of about `step` bytes that leaves no crumb behind it.
fn next_range(start: u64, step: u64, size: u64) -> Range<u64> {
    let end = start.saturating_add(step);
    start..if end.saturating_add(step / 2) >= size {
        size
    } else {
        end
    }
}

fn middle(range: &Range<u64>) -> u64 {
    range.start + (range.end - range.start) / 2
}

enum Digesting {
    Sha256(sha2::Sha256),
    Md5(md5::Md5),
}

/// The check of a file that is read whole.
struct Hasher {
    digest: Digesting,
    expected: ContentHash,
}

impl Hasher {
    fn new(shared: &Shared, start: u64) -> Option<Self> {
        let expected = shared.fetcher.source.hash.filter(|_| start == 0)?;
        let digest = match expected {
            ContentHash::Sha256(_) => Digesting::Sha256(sha2::Sha256::new()),
            ContentHash::Md5(_) => Digesting::Md5(md5::Md5::new()),
        };
        Some(Hasher { digest, expected })
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.digest {
            Digesting::Sha256(digest) => digest.update(bytes),
            Digesting::Md5(digest) => digest.update(bytes),
        }
    }

    fn check(&self, shared: &Shared) -> Result<(), DownloadError> {
        let actual = match &self.digest {
            Digesting::Sha256(digest) => ContentHash::Sha256(digest.clone().finalize().into()),
            Digesting::Md5(digest) => ContentHash::Md5(digest.clone().finalize().into()),
        };
        if actual == self.expected {
            return Ok(());
        }
        let source = &shared.fetcher.source;
        tracing::error!(
            account = %source.account, file = %source.name, id = %source.file,
            expected = %self.expected.to_hex(), actual = %actual.to_hex(),
            "the bytes of this file are not those that the service promised"
        );
        let message = format!(
            "{} arrived damaged: its hash is not the one the service tells",
            source.name
        );
        let error = DownloadError::new(ErrorKind::Corrupt, message);
        shared.condemn(error.clone());
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_one_range() {
        assert_eq!(next_range(0, FIRST_RANGE, 300_000), 0..300_000);
    }

    #[test]
    fn a_large_file_begins_small() {
        assert_eq!(next_range(0, FIRST_RANGE, 1 << 30), 0..FIRST_RANGE);
        assert!(next_range(1 << 30, MAX_RANGE, 1 << 30).is_empty());
    }
}
