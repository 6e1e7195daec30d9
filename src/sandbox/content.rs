//! Content on its way out: ranges and streams.

use std::io::{self, SeekFrom};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::blobs::Blobs;
use super::tree::Content;

const BUFFER: usize = 64 * 1024;

/// The bytes that a `Range` header asks for, from and to (exclusive). `Ok(None)`: no range that is
/// understood, so everything. `Err`: beyond the end.
pub fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, ()> {
    // Links carry no validator, so that an `If-Range` can never hold.
    if headers.contains_key(header::IF_RANGE) {
        return Ok(None);
    }
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(asked) = asked.and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((from, to)) = asked.split_once('-').filter(|_| !asked.contains(',')) else {
        return Ok(None);
    };
    let parse = |number: &str| number.trim().parse::<u64>();
    match (parse(from), parse(to)) {
        (Ok(from), _) if from >= size => Err(()),
        (Ok(from), Ok(to)) if to >= from => Ok(Some((from, to.saturating_add(1).min(size)))),
        (Ok(from), Err(_)) if to.trim().is_empty() => Ok(Some((from, size))),
        (Err(_), Ok(0)) if from.trim().is_empty() => Err(()),
        (Err(_), Ok(last)) if from.trim().is_empty() && size > 0 => {
            Ok(Some((size.saturating_sub(last), size)))
        }
        (Err(_), Ok(_)) if from.trim().is_empty() => Err(()),
        _ => Ok(None),
    }
}

/// `length` bytes of a blob from `from` on.
pub async fn open(blobs: &Blobs, content: &Content, from: u64, length: u64) -> io::Result<Body> {
    let mut file = tokio::fs::File::open(blobs.path(&content.sha256)).await?;
    if from > 0 {
        file.seek(SeekFrom::Start(from)).await?;
    }
    Ok(Body::from_stream(ReaderStream::with_capacity(
        file.take(length),
        BUFFER,
    )))
}
