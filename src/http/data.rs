//! The client for file content: ranged GETs from direct links, without compression or credentials.
//!
//! The response gate stands before the first byte: [`DataClient::get`] returns a body only when status,
//! range, total and type fit what was asked, so that an error page can never pass for a file. A body that
//! ends early is an error, never a short file.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderName, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::client::{builder, check_url};
use super::error::{HttpError, HttpErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer, or the next part of a body, may take.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_REDIRECTS: usize = 5;
/// The most bytes thrown away to use a server that ignores `Range`.
const MAX_SKIP: u64 = 64 * 1024 * 1024;

/// What is peculiar about a server of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerHabits {
    /// It misreads ranges with an end: what is wanted is asked for by its start alone, and a start of 0 by no
    /// range at all. It may then send on to the end of the file.
    pub open_ended_ranges: bool,
    /// A redirect to this path tells of a failure, in a web page.
    pub error_path: Option<&'static str>,
}

/// What is wanted of a file behind a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRequest {
    /// Bytes of the file; not empty, and within `total`.
    pub range: Range<u64>,
    /// Bytes of the whole file. An answer that tells another total is refused.
    pub total: u64,
    /// Whether the file itself may be an HTML page. Where it may not, `text/html` is refused; where it may,
    /// the answer must tell the right total.
    pub may_be_html: bool,
    pub habits: ServerHabits,
}

/// Gets parts of files. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct DataClient {
    client: reqwest::Client,
    progress_timeout: Duration,
}

impl DataClient {
    pub fn new() -> Result<Self, HttpError> {
        let client = builder()
            .no_gzip()
            .connect_timeout(CONNECT_TIMEOUT)
            .http1_only()
            .build()
            .map_err(|e| {
                HttpError::new(HttpErrorKind::Connect, format!("cannot set up TLS: {}", plain(e)))
            })?;
        Ok(DataClient {
            client,
            progress_timeout: PROGRESS_TIMEOUT,
        })
    }

    /// The same client with another limit on how long an answer, or the next part of a body, may take.
    #[must_use]
    pub fn with_progress_timeout(mut self, limit: Duration) -> Self {
        self.progress_timeout = limit;
        self
    }

    /// Asks for a part of a file and checks the answer's head. Redirects are followed to `https` (or
    /// loopback) only.
    pub async fn get(&self, url: &Url, want: &DataRequest) -> Result<DataBody, HttpError> {
        if want.range.is_empty() || want.range.end > want.total {
            let message = format!("bytes {:?} of {} cannot be asked for", want.range, want.total);
            return Err(HttpError::new(HttpErrorKind::WrongRange, message));
        }
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, &want.range).await?;
            match redirect_target(&url, &response)? {
                Some(target) => url = target,
                None => return self.admit(&url, response, want),
            }
        }
        Err(HttpError::new(
            HttpErrorKind::Redirect,
            format!("{} redirects without an end", host(&url)),
        ))
    }

    async fn send(&self, url: &Url, range: &Range<u64>) -> Result<Response, HttpError> {
        check_url(url).map_err(|e| HttpError::new(HttpErrorKind::InsecureUrl, e.to_string()))?;
        let request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "*/*")
            .header(ACCEPT_ENCODING, "identity")
            .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            .send();
        match tokio::time::timeout(self.progress_timeout, request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(request_error(url, error)),
            Err(_) => {
                let message = format!("{} did not answer within {:?}", host(url), self.progress_timeout);
                Err(HttpError::new(HttpErrorKind::Timeout, message))
            }
        }
    }

    fn admit(&self, url: &Url, response: Response, want: &DataRequest) -> Result<DataBody, HttpError> {
        let host = host(url);
        let head = Head::of(&response);
        let passed = gate(&head, want).map_err(|refusal| HttpError {
            kind: refusal.kind,
            message: format!("{host} {}", refusal.message),
            retry_after: head.retry_after,
        })?;
        Ok(DataBody {
            response,
            host,
            skip: passed.skip,
            left: passed.length,
            wanted: want.range.end - want.range.start,
            ends_with_file: passed.ends_with_file,
            ignores_ranges: head.status == 200 && want.range != (0..want.total),
            progress_timeout: self.progress_timeout,
        })
    }
}

/// The bytes of an admitted answer, in order.
#[derive(Debug)]
pub struct DataBody {
    response: Response,
    host: String,
    /// Bytes still to be thrown away.
    skip: u64,
    /// Bytes still to be handed on.
    left: u64,
    /// Bytes that were asked for and not yet handed on. Larger than `left` where the server cut the range.
    wanted: u64,
    /// Whether the body must end with the last byte handed on.
    ends_with_file: bool,
    ignores_ranges: bool,
    progress_timeout: Duration,
}

impl DataBody {
    /// Whether the server sends files from their start whatever part is asked for, so that what comes before
    /// it is thrown away here: better few requests than small ones.
    pub fn ignores_ranges(&self) -> bool {
        self.ignores_ranges
    }

    /// The next bytes; `None` after exactly the bytes that were asked for. A body that ends before them, or
    /// goes on after the end of the file, is an error of kind [`HttpErrorKind::Body`]. Safe to cancel.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if self.left == 0 && !self.ends_with_file {
                return self.end();
            }
            let read = tokio::time::timeout(self.progress_timeout, self.response.chunk()).await;
            let mut bytes = match read {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) if self.left == 0 => return self.end(),
                Ok(Ok(None)) => return Err(self.broken("ended its answer too early")),
                Ok(Err(error)) => return Err(self.broken(&format!("broke off its answer: {}", plain(error)))),
                Err(_) => return Err(self.broken("stopped sending")),
            };
            let skipped = self.skip.min(bytes.len() as u64);
            bytes.advance_by(skipped);
            self.skip -= skipped;
            if bytes.is_empty() {
                continue;
            }
            if bytes.len() as u64 > self.left {
                if self.ends_with_file {
                    return Err(self.broken("sent more bytes than the file has"));
                }
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            }
            self.left -= bytes.len() as u64;
            self.wanted -= bytes.len() as u64;
            return Ok(Some(bytes));
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, HttpError> {
        if self.wanted > 0 {
            return Err(self.broken("gave a part only of the range that was asked for"));
        }
        self.ends_with_file = false;
        Ok(None)
    }

    fn broken(&self, what: &str) -> HttpError {
        HttpError::new(HttpErrorKind::Body, format!("{} {what}", self.host))
    }
}

trait AdvanceBy {
    fn advance_by(&mut self, count: u64);
}

impl AdvanceBy for Bytes {
    fn advance_by(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.len());
        drop(self.split_to(count));
    }
}

/// The parts of an answer's head that the gate looks at.
#[derive(Debug, Clone, Default)]
struct Head {
    status: u16,
    html: bool,
    encoding: Option<String>,
    length: Option<u64>,
    /// First byte, end (exclusive) and total.
    content_range: Option<(u64, u64, u64)>,
    retry_after: Option<Duration>,
}

impl Head {
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        let media_type = text(headers, CONTENT_TYPE)
            .unwrap_or_default()
            .to_ascii_lowercase();
        Head {
            status: response.status().as_u16(),
            html: media_type.starts_with("text/html") || media_type.starts_with("application/xhtml"),
            encoding: text(headers, CONTENT_ENCODING)
                .filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
                .map(str::to_owned),
            length: text(headers, CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
            content_range: text(headers, CONTENT_RANGE).and_then(parse_content_range),
            retry_after: text(headers, RETRY_AFTER)
                .and_then(|wait| super::retry_after::parse(wait, SystemTime::now())),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Passed {
    /// Bytes of the body before the range.
    skip: u64,
    /// Bytes of the range that the body holds.
    length: u64,
    /// Whether the body must end after them.
    ends_with_file: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    kind: HttpErrorKind,
    message: String,
}

fn refuse<T>(kind: HttpErrorKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        kind,
        message: message.into(),
    })
}

/// Decides whether a body may be used as the bytes that were asked for.
fn gate(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    if head.status != 200 && head.status != 206 {
        let reason = StatusCode::from_u16(head.status)
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("");
        let message = format!("answered {} {reason}", head.status);
        return refuse(HttpErrorKind::Status(head.status), message.trim_end());
    }
    if head.html && !want.may_be_html {
        return refuse(HttpErrorKind::NotData, "sent an HTML page in place of the file");
    }
    if let Some(encoding) = &head.encoding {
        return refuse(
            HttpErrorKind::NotData,
            format!("sent the file in an encoding not asked for, {encoding}"),
        );
    }
    if head.status == 206 {
        gate_partial(head, want)
    } else {
        gate_whole(head, want)
    }
}

fn gate_partial(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    let Some((start, end, total)) = head.content_range else {
        return refuse(
            HttpErrorKind::WrongRange,
            "sent a part of the file without saying which",
        );
    };
    if total != want.total {
        let message = format!("says that the file has {total} bytes, not {}", want.total);
        return refuse(HttpErrorKind::WrongRange, message);
    }
    let fits = start == want.range.start && end > start && end <= want.range.end;
    if !fits || head.length.is_some_and(|length| length != end - start) {
        let message = format!("sent bytes {start}..{end} in place of {:?}", want.range);
        return refuse(HttpErrorKind::WrongRange, message);
    }
    Ok(Passed {
        skip: 0,
        length: end - start,
        ends_with_file: false,
    })
}

fn gate_whole(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    if let Some(length) = head.length
        && length != want.total
    {
        let kind = if head.html {
            HttpErrorKind::NotData
        } else {
            HttpErrorKind::WrongRange
        };
        return refuse(kind, format!("sent {length} bytes for a file of {}", want.total));
    }
    let to_the_end = want.range.end == want.total;
    if head.length.is_none() && (head.html || !to_the_end) {
        return refuse(HttpErrorKind::WrongRange, "sent a body of unknown length");
    }
    if want.range.start > MAX_SKIP {
        return refuse(
            HttpErrorKind::WrongRange,
            "sent the file from its start although a later part was asked for",
        );
    }
    let length = want.range.end - want.range.start;
    Ok(Passed {
        skip: want.range.start,
        length,
        ends_with_file: to_the_end,
    })
}

/// Reads `bytes 0-99/1000`; the end comes back exclusive. A total of `*` tells too little to be of use.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((
        first.trim().parse().ok()?,
        last.trim().parse::<u64>().ok()?.checked_add(1)?,
        total.trim().parse().ok()?,
    ))
}

fn redirect_target(url: &Url, response: &Response) -> Result<Option<Url>, HttpError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused =
        |why: String| HttpError::new(HttpErrorKind::Redirect, format!("{} redirects {why}", host(url)));
    let location = text(response.headers(), LOCATION).ok_or_else(|| refused("to nowhere".to_owned()))?;
    let mut target = url
        .join(location)
        .map_err(|_| refused("to something that is no URL".to_owned()))?;
    check_url(&target).map_err(|e| refused(format!("to a place that is not allowed: {e}")))?;
    // Neither can fail on a URL that has a host.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    Ok(Some(target))
}

fn request_error(url: &Url, error: reqwest::Error) -> HttpError {
    let host = host(url);
    if error.is_connect() || error.is_builder() {
        return HttpError::new(
            HttpErrorKind::Connect,
            format!("cannot connect to {host}: {}", plain(error)),
        );
    }
    HttpError::new(
        HttpErrorKind::NoAnswer,
        format!("no answer from {host}: {}", plain(error)),
    )
}

/// The innermost cause, without the URL that reqwest would add.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(range: Range<u64>, total: u64) -> DataRequest {
        DataRequest {
            range,
            total,
            may_be_html: false,
            habits: ServerHabits::default(),
        }
    }

    fn partial(start: u64, end: u64, total: u64) -> Head {
        Head {
            status: 206,
            content_range: Some((start, end, total)),
            length: Some(end - start),
            ..Head::default()
        }
    }

    fn whole(length: Option<u64>) -> Head {
        Head {
            status: 200,
            length,
            ..Head::default()
        }
    }

    fn refused(head: &Head, want: &DataRequest) -> HttpErrorKind {
        gate(head, want).expect_err("must be refused").kind
    }

    #[test]
    fn a_fitting_part_passes() {
        let passed = gate(&partial(10, 20, 100), &want(10..20, 100)).expect("fits");
        assert_eq!(
            passed,
            Passed {
                skip: 0,
                length: 10,
                ends_with_file: false
            }
        );
    }

    #[test]
    fn a_part_cut_by_the_server_passes_with_its_own_length() {
        assert_eq!(
            gate(&partial(10, 15, 100), &want(10..20, 100))
                .expect("fits")
                .length,
            5
        );
    }

    #[test]
    fn a_part_of_another_place_or_total_is_refused() {
        assert_eq!(
            refused(&partial(11, 20, 100), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        assert_eq!(
            refused(&partial(10, 30, 100), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        assert_eq!(
            refused(&partial(10, 20, 101), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        let unlabelled = Head {
            status: 206,
            ..Head::default()
        };
        assert_eq!(
            refused(&unlabelled, &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn a_whole_file_serves_an_early_range_only() {
        let early = gate(&whole(Some(9 << 20)), &want(4096..8192, 9 << 20)).expect("fits");
        assert_eq!(
            early,
            Passed {
                skip: 4096,
                length: 4096,
                ends_with_file: false
            }
        );
        let late = want(65 << 20..66 << 20, 99 << 20);
        assert_eq!(refused(&whole(Some(99 << 20)), &late), HttpErrorKind::WrongRange);
    }

    #[test]
    fn a_whole_file_of_another_size_is_refused() {
        assert_eq!(
            refused(&whole(Some(99)), &want(0..100, 100)),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn a_body_of_unknown_length_serves_the_whole_file_only() {
        assert!(
            gate(&whole(None), &want(0..100, 100))
                .expect("fits")
                .ends_with_file
        );
        assert_eq!(
            refused(&whole(None), &want(0..50, 100)),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn an_html_page_passes_only_for_an_html_file_of_its_size() {
        let page = Head {
            html: true,
            ..whole(Some(100))
        };
        assert_eq!(refused(&page, &want(0..100, 100)), HttpErrorKind::NotData);
        let html_file = DataRequest {
            may_be_html: true,
            habits: ServerHabits::default(),
            ..want(0..100, 100)
        };
        assert!(gate(&page, &html_file).is_ok());
        assert_eq!(
            refused(
                &Head {
                    html: true,
                    ..whole(Some(77))
                },
                &html_file
            ),
            HttpErrorKind::NotData
        );
        assert_eq!(
            refused(
                &Head {
                    html: true,
                    ..whole(None)
                },
                &html_file
            ),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn another_status_is_told() {
        let gone = Head {
            status: 410,
            ..Head::default()
        };
        assert_eq!(refused(&gone, &want(0..100, 100)), HttpErrorKind::Status(410));
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-99/1000"), Some((0, 100, 1000)));
        assert_eq!(parse_content_range("bytes */1000"), None);
        assert_eq!(parse_content_range("bytes 0-99/*"), None);
        assert_eq!(parse_content_range("bytes 0-18446744073709551615/1"), None);
    }
}
