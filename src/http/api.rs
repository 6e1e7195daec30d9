//! The client for calls: small requests, small answers, and a file as the body of an upload.
//!
//! It sends exactly the text it is given, since services sign over it, reads the whole answer up to a
//! limit, and says of each failure whether the request can have had an effect. It follows no redirect,
//! repeats nothing, and its errors never hold a query or a body. It knows no service.

mod body;
mod pace;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use self::body::Progress;
use self::pace::Pace;
pub use self::stream::ApiStream;
use super::client::{builder, built, check_url};
use super::error::is_nonsense;
use super::{FileRange, HttpError, HttpErrorKind};

/// Bytes beyond which an answer waits until no other that is so large is in memory.
const LARGE: usize = 16 << 20;

/// Limits of an [`ApiClient`].
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
    /// From the end of a request to the end of its answer.
    pub answer_timeout: Duration,
    /// The longest time without progress while a file is sent. A slow upload that moves is never cut.
    pub stall_timeout: Duration,
    /// Bytes of the largest answer, after decompression.
    pub max_answer: usize,
    /// Connections kept open and idle to one host.
    pub idle_connections: usize,
    /// Bytes of files in a second, of all requests together; any number where absent.
    pub max_rate: Option<u64>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        ApiOptions {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            max_answer: 2 << 20,
            idle_connections: 32,
            max_rate: None,
        }
    }
}

/// What a request carries after its head.
#[derive(Clone)]
pub enum ApiBody {
    /// Nothing, by `GET`.
    None,
    /// Urlencoded text, by `POST`, sent byte for byte.
    Form(String),
    /// A part of a file, by `POST`, as an octet stream of known length.
    File(FileRange),
    /// Fields and one file, by `POST`, as `multipart/form-data` of known length.
    Multipart(Multipart),
}

/// A form with a part of a file in it.
#[derive(Clone)]
pub struct Multipart {
    pub fields: Vec<(&'static str, String)>,
    /// The name of the file's field.
    pub file_field: &'static str,
    /// Sent as it is, in UTF-8. With double quotes, backslashes or control characters, on which servers do not
    /// agree, it is refused before anything is sent.
    pub file_name: String,
    pub file: FileRange,
}

/// One request. `Debug` shows neither query nor body nor header values.
#[derive(Clone)]
pub struct ApiRequest {
    /// Without query.
    pub url: Url,
    /// Urlencoded text, without `?`; empty for none.
    pub query: String,
    /// Values may hold any bytes but control characters, raw UTF-8 included.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: ApiBody,
    /// In place of [`ApiOptions::answer_timeout`], where a service is known to be silent for longer.
    pub answer_timeout: Option<Duration>,
    /// In place of [`ApiOptions::max_answer`], where long answers are to be expected.
    pub max_answer: Option<usize>,
}

impl ApiRequest {
    /// A `GET` with this query.
    pub fn get(url: Url, query: impl Into<String>) -> Self {
        ApiRequest {
            url,
            query: query.into(),
            headers: Vec::new(),
            body: ApiBody::None,
            answer_timeout: None,
            max_answer: None,
        }
    }

    /// A `POST` of urlencoded text.
    pub fn form(url: Url, text: impl Into<String>) -> Self {
        ApiRequest {
            url,
            query: String::new(),
            headers: Vec::new(),
            body: ApiBody::Form(text.into()),
            answer_timeout: None,
            max_answer: None,
        }
    }

    /// A `POST` of a form with a part of a file in it.
    pub fn multipart(url: Url, form: Multipart) -> Self {
        ApiRequest {
            url,
            query: String::new(),
            headers: Vec::new(),
            body: ApiBody::Multipart(form),
            answer_timeout: None,
            max_answer: None,
        }
    }

    /// A `POST` of a part of a file.
    pub fn file(url: Url, query: impl Into<String>, range: FileRange) -> Self {
        ApiRequest {
            url,
            query: query.into(),
            headers: Vec::new(),
            body: ApiBody::File(range),
            answer_timeout: None,
            max_answer: None,
        }
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("ApiRequest")
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// A whole answer, of any status.
#[derive(Clone)]
pub struct ApiAnswer {
    pub status: u16,
    pub content_type: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

impl fmt::Debug for ApiAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiAnswer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Sends requests over a pool of connections. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct ApiClient {
    client: reqwest::Client,
    options: ApiOptions,
    pace: Option<Arc<Pace>>,
    /// For the one answer that may be large.
    large: Arc<Semaphore>,
}

/// The body of a large answer, after which the next one comes.
struct LargeBody {
    bytes: BytesMut,
    _turn: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for LargeBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ApiClient {
    pub fn new(options: ApiOptions) -> Result<ApiClient, HttpError> {
        let builder = builder()
            .gzip(true)
            .connect_timeout(options.connect_timeout)
            .pool_max_idle_per_host(options.idle_connections)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .retry(reqwest::retry::never());
        let client = built(builder)?;
        let pace = options.max_rate.map(|rate| Arc::new(Pace::new(rate)));
        Ok(ApiClient {
            client,
            options,
            pace,
            large: Arc::new(Semaphore::new(1)),
        })
    }

    /// Sends one request once and reads its whole answer, whatever its status.
    ///
    /// Dropping the future cuts the connection; the outcome is then unknown.
    pub async fn send(&self, request: ApiRequest) -> Result<ApiAnswer, HttpError> {
        check_url(&request.url)
            .map_err(|error| HttpError::new(HttpErrorKind::InsecureUrl, error.to_string()))?;
        let host = request.url.host_str().unwrap_or("?").to_owned();
        let answer_timeout = request.answer_timeout.unwrap_or(self.options.answer_timeout);
        let max_answer = request.max_answer.unwrap_or(self.options.max_answer);
        let progress = Progress::new();
        let prepared = self.prepare(request, &progress)?;
        let deadline = self.watch(&progress, answer_timeout);
        let exchange = self.exchange(prepared, &host, &progress, max_answer);
        tokio::select! {
            answer = exchange => answer,
            late = deadline => Err(HttpError::new(
                HttpErrorKind::Timeout,
                format!("{host} did not answer: {late}"),
            )),
        }
    }

    fn prepare(&self, request: ApiRequest, progress: &Progress) -> Result<reqwest::Request, HttpError> {
        let mut url = request.url;
        if !request.query.is_empty() {
            url.set_query(Some(&request.query));
            if url.query() != Some(request.query.as_str()) {
                let message = "the query is not urlencoded and would be altered on its way";
                return Err(HttpError::new(HttpErrorKind::InsecureUrl, message));
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let value = HeaderValue::from_bytes(value).map_err(|_| {
                let message = format!("the header {name} cannot carry control characters");
                HttpError::new(HttpErrorKind::InsecureUrl, message)
            })?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let builder = match request.body {
            ApiBody::None => self.client.get(url),
            ApiBody::Form(text) => {
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                self.client.post(url).body(text)
            }
            ApiBody::File(range) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length));
                progress.start_body();
                self.client
                    .post(url)
                    .body(body::stream(range, progress.clone(), self.pace.clone()))
            }
            ApiBody::Multipart(form) => {
                if form
                    .file_name
                    .contains(|c: char| matches!(c, '"' | '\\') || c.is_control())
                {
                    let message = "a file name with quotes, backslashes or control characters cannot be sent";
                    return Err(HttpError::new(HttpErrorKind::InsecureUrl, message));
                }
                progress.start_body();
                self.client
                    .post(url)
                    .multipart(body::multipart(form, progress.clone(), self.pace.clone()))
            }
        };
        builder.headers(headers).build().map_err(|error| {
            HttpError::new(
                HttpErrorKind::InsecureUrl,
                format!("not a request: {}", chain(&error.without_url())),
            )
        })
    }

    async fn exchange(
        &self,
        request: reqwest::Request,
        host: &str,
        progress: &Progress,
        max_answer: usize,
    ) -> Result<ApiAnswer, HttpError> {
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|error| failure(error, host, progress))?;
        progress.body_sent();
        let headers = response.headers();
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let retry_after = retry_after(headers, SystemTime::now());
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        let mut turn = None;
        while let Some(piece) = response.chunk().await.map_err(|error| broken_body(error, host))? {
            if body.len() + piece.len() > max_answer {
                let message = format!("the answer of {host} is larger than {max_answer} bytes");
                return Err(HttpError {
                    kind: HttpErrorKind::AnswerTooLarge,
                    message,
                    retry_after,
                });
            }
            if turn.is_none() && body.len() + piece.len() > LARGE {
                // It is never closed.
                turn = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            body.extend_from_slice(&piece);
        }
        let body = match turn {
            Some(turn) => Bytes::from_owner(LargeBody {
                bytes: body,
                _turn: turn,
            }),
            None => body.freeze(),
        };
        Ok(ApiAnswer {
            status,
            content_type,
            retry_after,
            body,
        })
    }

    /// Ends when the request made no progress for too long, or its answer is overdue.
    async fn watch(&self, progress: &Progress, answer_timeout: Duration) -> String {
        loop {
            let (limit, what) = if progress.is_sending() {
                (self.options.stall_timeout, "the upload made no progress")
            } else {
                (self.options.connect_timeout + answer_timeout, "no whole answer")
            };
            let idle = progress.idle();
            if idle >= limit {
                return format!("{what} for {} s", limit.as_secs());
            }
            // A file's end moves the limit, so the longest sleep is bounded.
            tokio::time::sleep((limit - idle).min(Duration::from_secs(1))).await;
        }
    }
}

fn failure(error: reqwest::Error, host: &str, progress: &Progress) -> HttpError {
    if let Some(local) = progress.local_error() {
        let message = format!("the file to be sent to {host} could not be read: {local}");
        return HttpError::new(HttpErrorKind::LocalFile, message);
    }
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if is_nonsense(&error) {
        HttpErrorKind::Nonsense
    } else {
        HttpErrorKind::NoAnswer
    };
    let what = if kind == HttpErrorKind::Connect {
        "no connection to"
    } else {
        "no answer from"
    };
    HttpError::new(kind, format!("{what} {host}: {}", chain(&error.without_url())))
}

fn broken_body(error: reqwest::Error, host: &str) -> HttpError {
    let message = format!("the answer of {host} broke off: {}", chain(&error.without_url()));
    HttpError::new(HttpErrorKind::Body, message)
}

/// The causes below reqwest's own text, which is the part that says something.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    super::retry_after::parse(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
        headers
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(&headers("120"), now), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after(&headers("Sun, 06 Nov 1994 08:50:37 GMT"), now),
            Some(Duration::from_secs(60))
        );
        assert_eq!(retry_after(&headers("soon"), now), None);
        let longest = Some(Duration::from_secs(24 * 3600));
        for absurd in ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(retry_after(&headers(absurd), now), longest);
        }
    }

    #[test]
    fn a_request_shows_neither_query_nor_body() {
        let url = Url::parse("http://127.0.0.1:1/api").unwrap();
        let request = ApiRequest::form(url.clone(), "session_token=secret");
        assert!(!format!("{request:?}").contains("secret"));
        let request = ApiRequest::get(url, "session_token=secret").with_header("x-key", "secret");
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[tokio::test]
    async fn plain_http_to_a_distant_host_is_refused_without_a_call() {
        let client = ApiClient::new(ApiOptions::default()).unwrap();
        let url = Url::parse("http://example.org/api").unwrap();
        let error = client
            .send(ApiRequest::get(url, "token=hunter2"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::InsecureUrl);
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_from_a_lost_answer() {
        let client = ApiClient::new(ApiOptions::default()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/api", listener.local_addr().unwrap())).unwrap();
        let hang_up = std::thread::spawn(move || {
            use std::io::Read;
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
        });
        let error = client
            .send(ApiRequest::get(url.clone(), "t=secret"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::NoAnswer, "{error}");
        assert!(!error.to_string().contains("secret"));
        hang_up.join().unwrap();
        let error = client.send(ApiRequest::get(url, "t=secret")).await.unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::Connect, "{error}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_a_timeout() {
        let options = ApiOptions {
            connect_timeout: Duration::from_millis(50),
            answer_timeout: Duration::from_millis(50),
            ..ApiOptions::default()
        };
        let client = ApiClient::new(options).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/api", listener.local_addr().unwrap())).unwrap();
        let error = client.send(ApiRequest::get(url, "")).await.unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::Timeout, "{error}");
    }
}
