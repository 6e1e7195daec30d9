//! Answers that go wrong on their way: cut, stopped, told to be something else.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;

pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The answer's first half under its full length, and then a broken connection.
pub fn break_off(response: Response) -> Response {
    let broken = futures_util::stream::once(async { Err(io::ErrorKind::ConnectionReset.into()) });
    half(response, broken)
}

/// The answer's first half under its full length, and then nothing for as long as the client waits.
pub fn stall(response: Response) -> Response {
    half(response, futures_util::stream::pending())
}

fn half(
    response: Response,
    end: impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let (parts, body) = response.into_parts();
    let half = length(&parts.headers).unwrap_or(0) / 2;
    let first = body.into_data_stream().scan(half, |left, chunk| {
        let size = match &chunk {
            Ok(bytes) => (bytes.len() as u64).min(*left),
            Err(_) => 0,
        };
        *left -= size;
        let part = chunk.ok().filter(|_| size > 0);
        std::future::ready(part.map(|bytes| Ok(bytes.slice(..size as usize))))
    });
    Response::from_parts(parts, Body::from_stream(first.chain(end)))
}

/// Tells a part of a file to be the one that begins a byte later.
pub fn shift_range(mut response: Response) -> Response {
    let told = response.headers().get(header::CONTENT_RANGE);
    let shifted = told.and_then(|told| shifted(told.to_str().ok()?));
    if let Some(shifted) = shifted {
        response.headers_mut().insert(header::CONTENT_RANGE, shifted);
    }
    response
}

fn shifted(told: &str) -> Option<HeaderValue> {
    let (range, total) = told.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    HeaderValue::from_str(&format!("bytes {}-{}/{total}", first + 1, last + 1)).ok()
}

/// Changes the first byte of the answer.
pub fn change_a_byte(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let changed = body.into_data_stream().scan(false, |is_done, chunk| {
        let chunk = chunk.map(|bytes| match bytes.first() {
            Some(first) if !std::mem::replace(is_done, true) => {
                let mut changed = bytes.to_vec();
                changed[0] = first ^ 1;
                Bytes::from(changed)
            }
            _ => bytes,
        });
        std::future::ready(Some(chunk))
    });
    Response::from_parts(parts, Body::from_stream(changed))
}

/// JSON is cut and sent as if whole; longer data ends before its length.
pub async fn truncate(response: Response) -> Response {
    const SHORT: u64 = 1 << 20;
    if length(response.headers()).is_none_or(|length| length > SHORT) {
        return break_off(response);
    }
    let (mut parts, body) = response.into_parts();
    let mut whole = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        whole.extend_from_slice(&bytes);
    }
    whole.truncate(whole.len() / 2);
    if parts.status == StatusCode::OK && is_json(&parts.headers) {
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
        return Response::from_parts(parts, Body::from(whole));
    }
    let cut = futures_util::stream::iter([
        Ok(Bytes::from(whole)),
        Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    ]);
    Response::from_parts(parts, Body::from_stream(cut))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}
