//! What is not an API call: links with their data, and web pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::{config, inner_path, is_trashed_file, names, shape, site_url};
use crate::sandbox::content;
use crate::sandbox::front::{self, Outcome};
use crate::sandbox::state::Shared;
use crate::sandbox::tree::Content;

/// Where links lead that give nothing, below the account's name.
pub const ERROR_PATH: &str = "/error";

/// Links kept at most; those that ran out are dropped first.
const MAX_LINKS: usize = 100_000;

struct Link {
    file: String,
    until: Instant,
}

#[derive(Default)]
pub struct Links(HashMap<String, Link>);

impl Links {
    /// A fresh token of 64 hex characters.
    pub fn mint(&mut self, file: &str, life: Duration) -> String {
        if self.0.len() >= MAX_LINKS {
            let now = Instant::now();
            self.0.retain(|_, link| link.until > now);
            if self.0.len() >= MAX_LINKS {
                self.0.clear();
            }
        }
        let token: String = std::iter::repeat_with(|| format!("{:016x}", fastrand::u64(..)))
            .take(4)
            .collect();
        let link = Link {
            file: file.to_owned(),
            until: Instant::now() + life,
        };
        self.0.insert(token.clone(), link);
        token
    }

    fn file(&self, token: &str) -> Option<&str> {
        let link = self.0.get(token).filter(|link| link.until > Instant::now())?;
        Some(&link.file)
    }
}

/// The token in a link's query.
pub fn token(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "download_token")
        .map(|(_, token)| token.into_owned())
}

/// A file as a link gives it.
struct Served {
    name: String,
    content: Content,
    running: Running,
}

/// One of the downloads that run at once, until it is dropped.
struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub async fn answer(shared: &Shared, index: usize, request: Request) -> Response {
    // A request with its body cannot be lent over an await.
    let (request, _) = request.into_parts();
    let Some(account) = config(shared, index) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let inner = inner_path(account, request.uri.path()).unwrap_or_default();
    let query = request.uri.query().unwrap_or_default();
    let mut response = match token(query) {
        Some(token) if matches!(request.method, Method::GET | Method::HEAD) => {
            let short = inner.split('/').nth(1).unwrap_or_default();
            let counts = request.method == Method::GET;
            match by_link(shared, index, short, &token, counts) {
                Ok(served) => send(shared, &request.method, &request.headers, served).await,
                Err(Refusal::TooMany) => (
                    StatusCode::TOO_MANY_REQUESTS,
                    "Error: Too many concurrent download requests.",
                )
                    .into_response(),
                Err(Refusal::Page(why)) => {
                    let why: String = url::form_urlencoded::byte_serialize(why.as_bytes()).collect();
                    let site = site_url(shared.address, account);
                    let error = format!("{}{ERROR_PATH}?e={why}", site.trim_end_matches('/'));
                    (StatusCode::FOUND, [(header::LOCATION, error)]).into_response()
                }
            }
        }
        _ if inner == ERROR_PATH => {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            let why = pairs.find(|(name, _)| name == "e");
            let why = names::strip_tags(&why.map(|(_, why)| why.into_owned()).unwrap_or_default());
            page(format!("<h1>Error</h1><p>{why}</p>"))
        }
        _ => page("A page for people, with a download button.".to_owned()),
    };
    let outcome = Outcome {
        account: Some(account.name.clone()),
        error: None,
    };
    response.extensions_mut().insert(outcome);
    response
}

fn page(text: String) -> Response {
    let html =
        format!("<!DOCTYPE html><html><head><title>File host</title></head><body>{text}</body></html>");
    front::page(html)
}

enum Refusal {
    TooMany,
    Page(&'static str),
}

fn by_link(shared: &Shared, index: usize, short: &str, token: &str, counts: bool) -> Result<Served, Refusal> {
    const EXPIRED: Refusal =
        Refusal::Page("Error: Could not validate your download token. Please try again.");
    shared.with(|world| {
        let account = world.accounts.get_mut(index).ok_or(EXPIRED)?;
        let host = world.yetishare.host(&account.config.name);
        let key = host.links.file(token).ok_or(EXPIRED)?.to_owned();
        if shape::short(&key) != short {
            return Err(EXPIRED);
        }
        let tree = &mut account.tree;
        let file = tree.file(&key).filter(|file| !is_trashed_file(tree, file));
        let file = file.ok_or(Refusal::Page("File has been removed."))?;
        let (name, content) = (file.name.clone(), file.content.clone());
        let before = host.downloads.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&host.downloads));
        let limit = shared.options.quirks.yetishare.concurrent_downloads;
        if limit.is_some_and(|limit| before >= limit) {
            return Err(Refusal::TooMany);
        }
        if counts {
            tree.count_download(&key);
        }
        Ok(Served {
            name,
            content,
            running,
        })
    })
}

/// What is sent of a file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// From and to (exclusive), as asked for.
    Range(u64, u64),
    /// From here to the end of the file, though `to` (exclusive) is told to be the end.
    Runaway {
        from: u64,
        to: u64,
    },
    /// A byte that is not the file's.
    WrongByte,
}

/// What the script makes of a `Range` header when it streams a file itself.
fn loose_part(headers: &HeaderMap, size: u64) -> Part {
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(asked) = asked.and_then(|range| range.strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    // Of several ranges, the first counts.
    let first = asked.split(',').next().unwrap_or_default();
    let (start, end) = first.split_once('-').unwrap_or((first, ""));
    let start = start.trim().parse::<u64>().unwrap_or(0);
    // `-N` means the last bytes, and is read as if it meant the first ones.
    let end = end.trim().parse::<u64>().ok().filter(|end| *end > 0);
    match end {
        Some(1) if size > 0 => Part::WrongByte,
        _ if start == 0 || start >= size => Part::Whole,
        Some(end) if end < start => Part::Whole,
        Some(end) if end + 1 < size => Part::Runaway {
            from: start,
            to: end + 1,
        },
        _ => Part::Range(start, size),
    }
}

fn strict_part(headers: &HeaderMap, size: u64) -> Result<Part, ()> {
    let range = content::range(headers, size)?;
    Ok(range.map_or(Part::Whole, |(from, to)| Part::Range(from, to)))
}

async fn send(shared: &Shared, method: &Method, headers: &HeaderMap, served: Served) -> Response {
    let size = served.content.size;
    let part = if shared.options.quirks.yetishare.strict_ranges {
        strict_part(headers, size)
    } else {
        Ok(loose_part(headers, size))
    };
    let Ok(part) = part else {
        let told = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, told).into_response();
    };
    // Bytes sent, and bytes told of in `Content-Range`.
    let (sent, told) = match part {
        Part::Whole => ((0, size), None),
        Part::Range(from, to) => ((from, to), Some((from, to))),
        Part::Runaway { from, to } => ((from, size), Some((from, to))),
        Part::WrongByte => ((0, 1), Some((0, 2))),
    };
    let opened = match part {
        _ if method == Method::HEAD => Ok(Body::empty()),
        Part::WrongByte => Ok(Body::from(vec![0])),
        _ => content::open(&shared.blobs, &served.content, sent.0, sent.1 - sent.0).await,
    };
    let body = match opened {
        Ok(body) => body,
        Err(error) => {
            tracing::warn!(%error, "the sandbox could not read a blob");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut response = Response::new(hold(body, served.running));
    let mut put = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    };
    put(header::CONTENT_TYPE, shape::media(&served.name).to_owned());
    put(header::ACCEPT_RANGES, "bytes".to_owned());
    // A new one each time, so that it validates nothing.
    put(header::ETAG, format!("\"{:016x}\"", fastrand::u64(..)));
    let name = shape::link_name(&served.name);
    put(
        header::CONTENT_DISPOSITION,
        format!("attachment; filename*=UTF-8''{name}"),
    );
    if let Some((from, to)) = told {
        put(
            header::CONTENT_RANGE,
            format!("bytes {from}-{}/{size}", to.saturating_sub(1)),
        );
    }
    // No server sends more than the length that it told, so a body that runs on goes without one.
    if !matches!(part, Part::Runaway { .. }) {
        put(header::CONTENT_LENGTH, (sent.1 - sent.0).to_string());
    }
    if told.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Counts the download as running while its body lives.
fn hold(body: Body, running: Running) -> Body {
    let stream = body.into_data_stream().map(move |bytes| {
        let _ = &running;
        bytes
    });
    Body::from_stream(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_misreads_most_ranges() {
        let part = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
            loose_part(&headers, 100)
        };
        for whole in [
            "bytes=0-",
            "bytes=0-9",
            "bytes=-5",
            "bytes=100-",
            "bytes=9-5",
            "lines=5-",
        ] {
            assert_eq!(part(whole), Part::Whole, "{whole}");
        }
        assert_eq!(part("bytes=5-"), Part::Range(5, 100));
        assert_eq!(part("bytes=5-99"), Part::Range(5, 100));
        assert_eq!(part("bytes=5-9"), Part::Runaway { from: 5, to: 10 });
        assert_eq!(part("bytes=5-9,20-30"), Part::Runaway { from: 5, to: 10 });
        assert_eq!(part("bytes=0-1"), Part::WrongByte);
        assert_eq!(part("bytes=-1"), Part::WrongByte);
    }
}
