//! An answer that is handed on as it comes: a body too large to be held as a whole.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use super::body::Progress;
use super::{ApiClient, ApiRequest, broken_body, check_url, failure, retry_after};
use crate::http::{HttpError, HttpErrorKind};

/// The head of an answer, and its body in parts.
#[derive(Debug)]
pub struct ApiStream {
    pub status: u16,
    pub content_type: Option<String>,
    pub retry_after: Option<Duration>,
    /// Bytes of the whole body, where the server tells.
    pub length: Option<u64>,
    response: Response,
    host: String,
    stall_timeout: Duration,
}

impl ApiClient {
    /// Sends one request without a file once, and reads the head of its answer, whatever its status. The head may
    /// take as long as a whole answer of [`ApiClient::send`]; what follows is bounded by progress alone.
    ///
    /// Dropping the future, or the stream, cuts the connection.
    pub async fn open(&self, request: ApiRequest) -> Result<ApiStream, HttpError> {
        check_url(&request.url)
            .map_err(|error| HttpError::new(HttpErrorKind::InsecureUrl, error.to_string()))?;
        let host = request.url.host_str().unwrap_or("?").to_owned();
        let limit =
            self.options.connect_timeout + request.answer_timeout.unwrap_or(self.options.answer_timeout);
        let progress = Progress::new();
        let prepared = self.prepare(request, &progress)?;
        let response = match tokio::time::timeout(limit, self.client.execute(prepared)).await {
            Ok(answered) => answered.map_err(|error| failure(error, &host, &progress))?,
            Err(_) => {
                let message = format!("{host} did not answer within {} s", limit.as_secs());
                return Err(HttpError::new(HttpErrorKind::Timeout, message));
            }
        };
        let headers = response.headers();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(ApiStream {
            status: response.status().as_u16(),
            content_type: content_type.map(str::to_owned),
            retry_after: retry_after(headers, SystemTime::now()),
            length: response.content_length(),
            response,
            host,
            stall_timeout: self.options.stall_timeout,
        })
    }
}

impl ApiStream {
    /// The next bytes; `None` after the last. A body that breaks off or stands still is an error of kind
    /// [`HttpErrorKind::Body`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        match tokio::time::timeout(self.stall_timeout, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| broken_body(error, &self.host)),
            Err(_) => {
                let message = format!("{} stopped sending", self.host);
                Err(HttpError::new(HttpErrorKind::Body, message))
            }
        }
    }
}
