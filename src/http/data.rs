//! The client for file content: ranged GETs from direct links, without compression or credentials.
//!
//! The response gate stands before the first byte: [`DataClient::get`] returns a body only when status,
//! range, total and type fit what was asked, so that an error page can never pass for a file. A body that
//! ends early is an error, never a short file.

mod gate;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName, LOCATION, RANGE};
use url::Url;

use self::gate::{Head, gate};
use super::client::{builder, built, check_url};
use super::error::{HttpError, HttpErrorKind, is_nonsense};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the next part of a body may take. Another connection goes on where this one stopped, so that a short time
/// costs little where the network is slow for a moment, and much less than it where a server hangs.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(8);
/// How much longer an answer may take: servers hold a request for 20 s before they say that there are too many.
const ANSWER_GRACE: Duration = Duration::from_secs(17);
const MAX_REDIRECTS: usize = 5;
/// Characters taken over from what a server says of a failure.
const MAX_TOLD: usize = 200;

/// What is peculiar about a server of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerHabits {
    /// It misreads ranges with an end: what is wanted is asked for by its start alone, and a start of 0 by no
    /// range at all. It may then send on to the end of the file.
    pub open_ended_ranges: bool,
    /// A redirect to this path tells of a failure: it is not followed, and what the query parameter `e` of its
    /// target says goes into the error. The segments of this path, slashes at its ends left out, are compared
    /// with the last ones of the target's, letter for letter. Where the link itself ends so, because the file
    /// bears such a name, only a target with an `e` tells of a failure.
    pub error_path: Option<&'static str>,
    /// Words by which such an `e` tells of too many downloads, in lower case: the link is good, and later there
    /// may be room. It counts as the status 429.
    pub crowded_words: &'static [&'static str],
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

impl DataRequest {
    /// Whether only a server that knows ranges can give just this.
    fn needs_range(&self) -> bool {
        if self.habits.open_ended_ranges {
            self.range.start > 0
        } else {
            self.range != (0..self.total)
        }
    }

    fn range_header(&self) -> Option<String> {
        let Range { start, end } = self.range;
        match (self.habits.open_ended_ranges, start) {
            (true, 0) => None,
            (true, _) => Some(format!("bytes={start}-")),
            (false, _) => Some(format!("bytes={start}-{}", end - 1)),
        }
    }
}

/// Gets parts of files. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct DataClient {
    client: reqwest::Client,
}

impl DataClient {
    pub fn new() -> Result<Self, HttpError> {
        let builder = builder().no_gzip().connect_timeout(CONNECT_TIMEOUT).http1_only();
        let client = built(builder)?;
        Ok(DataClient { client })
    }

    /// Asks for a part of a file and checks the answer's head. Redirects are followed to `https` (or
    /// loopback) only.
    pub async fn get(&self, url: &Url, want: &DataRequest) -> Result<DataBody, HttpError> {
        if want.range.is_empty() || want.range.end > want.total {
            let message = format!("bytes {:?} of {} cannot be asked for", want.range, want.total);
            return Err(HttpError::new(HttpErrorKind::WrongRange, message));
        }
        let link = without_credentials(url.clone());
        let mut url = link.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, want).await?;
            match redirect_target(&link, &url, &response, want.habits)? {
                Some(target) => url = target,
                None => return self.admit(&url, response, want),
            }
        }
        Err(HttpError::new(
            HttpErrorKind::Redirect,
            format!("{} redirects without an end", host(&url)),
        ))
    }

    async fn send(&self, url: &Url, want: &DataRequest) -> Result<Response, HttpError> {
        check_url(url).map_err(|e| HttpError::new(HttpErrorKind::InsecureUrl, e.to_string()))?;
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "*/*")
            .header(ACCEPT_ENCODING, "identity");
        if let Some(range) = want.range_header() {
            request = request.header(RANGE, range);
        }
        let limit = PROGRESS_TIMEOUT + ANSWER_GRACE;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(request_error(url, error)),
            Err(_) => {
                let message = format!("{} did not answer within {limit:?}", host(url));
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
            ignores_ranges: head.status == 200 && want.needs_range(),
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
}

impl DataBody {
    /// Whether the server sends files from their start whatever part is asked for, so that what comes before
    /// it is thrown away here: better few requests than small ones.
    pub fn ignores_ranges(&self) -> bool {
        self.ignores_ranges
    }

    /// The next bytes; `None` after exactly the bytes that were asked for. A body that ends before them, or
    /// gives a part only, is an error of kind [`HttpErrorKind::Body`]; one that goes on after the end of the file is
    /// [`HttpErrorKind::Nonsense`]. Safe to cancel.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if self.left == 0 && !self.ends_with_file {
                return self.end();
            }
            let read = tokio::time::timeout(PROGRESS_TIMEOUT, self.response.chunk()).await;
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
                    let message = format!("{} sent more bytes than the file has", self.host);
                    return Err(HttpError::new(HttpErrorKind::Nonsense, message));
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

/// Where an answer sends on to. `link` is where the way to `url` began.
fn redirect_target(
    link: &Url,
    url: &Url,
    response: &Response,
    habits: ServerHabits,
) -> Result<Option<Url>, HttpError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused =
        |why: String| HttpError::new(HttpErrorKind::Redirect, format!("{} redirects {why}", host(url)));
    let location = text(response.headers(), LOCATION).ok_or_else(|| refused("to nowhere".to_owned()))?;
    let target = url
        .join(location)
        .map_err(|_| refused("to something that is no URL".to_owned()))?;
    if let Some(told) = habits
        .error_path
        .and_then(|path| told_failure(link, &target, path))
    {
        let lower = told.to_lowercase();
        return Err(
            match habits.crowded_words.iter().any(|word| lower.contains(word)) {
                true => HttpError::new(HttpErrorKind::Status(429), format!("{}: {told}", host(url))),
                false => HttpError::new(
                    HttpErrorKind::NotData,
                    format!("{} refused the link: {told}", host(url)),
                ),
            },
        );
    }
    check_url(&target).map_err(|e| refused(format!("to a place that is not allowed: {e}")))?;
    Ok(Some(without_credentials(target)))
}

/// What the target of a redirect says of a failure, where it is one by [`ServerHabits::error_path`].
fn told_failure(link: &Url, target: &Url, error_path: &str) -> Option<String> {
    let told = target
        .query_pairs()
        .find_map(|(name, text)| (name == "e").then_some(text));
    if !ends_with_path(target, error_path) || (told.is_none() && ends_with_path(link, error_path)) {
        return None;
    }
    let told = plain_text(told.as_deref().unwrap_or_default());
    Some(if told.is_empty() {
        "it does not say why".to_owned()
    } else {
        told
    })
}

fn ends_with_path(url: &Url, path: &str) -> bool {
    let mut segments = url.path().trim_end_matches('/').rsplit('/');
    path.trim_matches('/')
        .rsplit('/')
        .all(|wanted| segments.next() == Some(wanted))
}

/// A server's words in one line without control characters, at most [`MAX_TOLD`] characters of them.
fn plain_text(words: &str) -> String {
    let visible = words.replace(|c: char| c.is_control() || c.is_whitespace(), " ");
    let mut text = String::new();
    for word in visible.split(' ').filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    match text.char_indices().nth(MAX_TOLD) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn without_credentials(mut url: Url) -> Url {
    // Neither can fail on a URL that has a host; one without is refused before it is used.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn request_error(url: &Url, error: reqwest::Error) -> HttpError {
    let host = host(url);
    if error.is_connect() || error.is_builder() {
        return HttpError::new(
            HttpErrorKind::Connect,
            format!("cannot connect to {host}: {}", plain(error)),
        );
    }
    let kind = match is_nonsense(&error) {
        true => HttpErrorKind::Nonsense,
        false => HttpErrorKind::NoAnswer,
    };
    HttpError::new(kind, format!("no answer from {host}: {}", plain(error)))
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

    fn told(link: &str, target: &str) -> Option<String> {
        told_failure(&link.parse().unwrap(), &target.parse().unwrap(), "/error")
    }

    #[test]
    fn a_redirect_to_the_error_path_says_why() {
        let link = "https://host/abc/film.mkv?download_token=1";
        for (target, why) in [
            ("https://host/error?e=File+has%20expired", "File has expired"),
            ("https://host/sub/error/?x=1&e=a%0D%0Ab%1B%5B31mc", "a b [31mc"),
            ("https://host/error", "it does not say why"),
        ] {
            assert_eq!(told(link, target).as_deref(), Some(why), "{target}");
        }
        for target in [
            "https://host/errors?e=x",
            "https://host/error/film.mkv?e=x",
            "https://host/an-error?e=x",
            "https://host/?e=/error",
        ] {
            assert_eq!(told(link, target), None, "{target}");
        }
        let long = format!("https://host/error?e={}", "%C3%A4".repeat(5000));
        assert_eq!(told(link, &long).unwrap().chars().count(), MAX_TOLD + 3);
    }

    #[test]
    fn a_file_that_bears_the_name_of_the_error_path_can_be_redirected_to() {
        let link = "https://host/abc/error?download_token=1";
        assert_eq!(told(link, "https://files.host/abc/error?download_token=1"), None);
        assert_eq!(told(link, "https://host/error?e=Gone").as_deref(), Some("Gone"));
    }

    #[test]
    fn an_open_ended_request_never_tells_an_end() {
        let open_ended = |range: Range<u64>| DataRequest {
            range,
            total: 100,
            may_be_html: false,
            habits: ServerHabits {
                open_ended_ranges: true,
                error_path: None,
                crowded_words: &[],
            },
        };
        assert_eq!(open_ended(0..2).range_header(), None);
        assert_eq!(open_ended(0..100).range_header(), None);
        assert_eq!(open_ended(1..2).range_header().as_deref(), Some("bytes=1-"));
        let exact = DataRequest {
            habits: ServerHabits::default(),
            ..open_ended(1..2)
        };
        assert_eq!(exact.range_header().as_deref(), Some("bytes=1-1"));
    }
}
