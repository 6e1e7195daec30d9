//! A file range as a streamed body, and the progress by which its upload is judged.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::Multipart;
use super::pace::Pace;
use crate::http::FileRange;

/// Bytes read from the disk, and held in memory, at a time.
const PIECE: u64 = 256 * 1024;

/// How often a request that waits for the pace says that it does.
const STILL_WAITING: Duration = Duration::from_secs(1);

/// What the sending of one request has come to. Clones share it.
#[derive(Clone)]
pub(super) struct Progress(Arc<State>);

struct State {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
    sending: AtomicBool,
    local_error: Mutex<Option<String>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(State {
            start: Instant::now(),
            last: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            local_error: Mutex::new(None),
        }))
    }

    /// From now on the request counts as sending until its last piece was taken.
    pub(super) fn start_body(&self) {
        self.0.sending.store(true, Ordering::Relaxed);
        self.touch();
    }

    pub(super) fn body_sent(&self) {
        self.0.sending.store(false, Ordering::Relaxed);
        self.touch();
    }

    pub(super) fn is_sending(&self) -> bool {
        self.0.sending.load(Ordering::Relaxed)
    }

    /// Since the last progress.
    pub(super) fn idle(&self) -> Duration {
        self.0
            .start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.0.last.load(Ordering::Relaxed)))
    }

    pub(super) fn local_error(&self) -> Option<String> {
        self.0
            .local_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(elapsed, Ordering::Relaxed);
    }

    fn fail(&self, error: &io::Error) {
        *self.0.local_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// Reads the range piece by piece, off the async threads, as the connection takes it and the pace allows.
pub(super) fn stream(range: FileRange, progress: Progress, pace: Option<Arc<Pace>>) -> reqwest::Body {
    if range.length == 0 {
        progress.body_sent();
    }
    let most = pace.as_ref().map_or(PIECE, |pace| pace.piece(PIECE));
    let pieces = stream::try_unfold(range, move |mut rest| {
        let (progress, pace) = (progress.clone(), pace.clone());
        async move {
            if rest.length == 0 {
                return Ok(None);
            }
            if let Some(pace) = pace {
                // A wait for the pace is no standstill.
                let mut passes = std::pin::pin!(pace.pass(rest.length.min(most)));
                while tokio::time::timeout(STILL_WAITING, &mut passes).await.is_err() {
                    progress.touch();
                }
            }
            progress.touch();
            match read_piece(&rest, most).await {
                Ok(piece) => {
                    let read = piece.len() as u64;
                    rest.offset += read;
                    rest.length -= read;
                    if let Some(count) = &rest.count {
                        count.taken(read);
                    }
                    if rest.length == 0 {
                        progress.body_sent();
                    }
                    Ok(Some((piece, rest)))
                }
                Err(error) => {
                    progress.fail(&error);
                    Err(error)
                }
            }
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

/// The form with its file streamed, so that its length is known and its body is never in memory.
pub(super) fn multipart(
    form: Multipart,
    progress: Progress,
    pace: Option<Arc<Pace>>,
) -> reqwest::multipart::Form {
    let length = form.file.length;
    let file = reqwest::multipart::Part::stream_with_length(stream(form.file, progress, pace), length);
    let file = file.file_name(form.file_name).headers(octet_stream());
    // File names that are percent-encoded are not decoded by PHP.
    let fields = reqwest::multipart::Form::new().percent_encode_noop();
    let fields = form
        .fields
        .into_iter()
        .fold(fields, |fields, (name, value)| fields.text(name, value));
    fields.part(form.file_field, file)
}

fn octet_stream() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))])
}

async fn read_piece(rest: &FileRange, most: u64) -> io::Result<Bytes> {
    let file = Arc::clone(&rest.file);
    let (offset, length) = (rest.offset, rest.length.min(most) as usize);
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, offset).map(|()| piece)
    });
    Ok(Bytes::from(read.await.map_err(io::Error::other)??))
}
