//! The running fetch of a reader that reads in order.
//!
//! It asks for ranges that grow while the reader goes on, fills the reader's window, stops when it is far
//! enough ahead, and hashes what passes when it began at the start of the file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sha2::Digest;
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
    };
    let result = stream.fetch_from(start).await;
    stream.shared.finish(generation, result.err());
}

struct Stream {
    shared: Arc<Shared>,
    generation: u64,
    hasher: Option<Hasher>,
}

impl Stream {
    async fn fetch_from(&mut self, start: u64) -> Result<(), DownloadError> {
        let mut step = FIRST_RANGE;
        let mut range = next_range(start, step, self.shared.size());
        let mut body = self.shared.fetcher.body(range.clone());
        loop {
            step = (step * 2).min(MAX_RANGE);
            let next = self.drain(body, &range, step).await?;
            let following = self.following(&range, step);
            if following.is_empty() {
                return Ok(());
            }
            (body, range) = match next {
                Some((task, asked)) => {
                    let body = task.await;
                    let body =
                        body.map_err(|_| DownloadError::new(ErrorKind::Unexpected, "a fetch failed"))?;
                    (body, asked)
                }
                None => {
                    self.shared.until_read_to(middle(&range)).await;
                    (self.shared.fetcher.body(following.clone()), following)
                }
            };
        }
    }

    /// The range to ask for after `range`: all the rest where the service sends files whole anyway.
    fn following(&self, range: &Range<u64>, step: u64) -> Range<u64> {
        let size = self.shared.size();
        if self.shared.fetcher.sends_whole.load(Ordering::Relaxed) {
            return range.end..size;
        }
        next_range(range.end, step, size)
    }

    /// Hands on all bytes of `body`, and sends the request for what follows when its end comes near and the
    /// reader is with it.
    async fn drain(
        &mut self,
        mut body: Body,
        range: &Range<u64>,
        step: u64,
    ) -> Result<Option<(AbortOnDropHandle<Body>, Range<u64>)>, DownloadError> {
        let mut at = range.start;
        let mut next = None;
        while at < range.end {
            self.shared.until_read_to(at.saturating_sub(AHEAD)).await;
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
            let following = self.following(range, step);
            if near && next.is_none() && !following.is_empty() {
                let mut body = self.shared.fetcher.body(following.clone());
                let connecting = AbortOnDropHandle::new(tokio::spawn(async move {
                    body.connect().await;
                    body
                }));
                next = Some((connecting, following));
            }
        }
        Ok(next)
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
