//! A part of a file as a stream of bytes that mends itself: dead links are renewed, broken bodies go on
//! where they broke.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use super::error::DownloadError;
use super::links::Links;
use super::{Options, Source};
use crate::http::{DataBody, DataClient, DataRequest, HttpError, HttpErrorKind};
use crate::provider::{DownloadLink, ErrorKind};

/// Failures in a row, without a byte between them, after which a read fails.
const MAX_TRIES: u32 = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Opens parts of one file.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub client: DataClient,
    pub links: Arc<Links>,
    pub options: Options,
    pub source: Arc<Source>,
    /// Whether the service was seen to ignore ranges for this file.
    pub sends_whole: Arc<AtomicBool>,
}

impl Fetcher {
    pub fn body(&self, range: Range<u64>) -> Body {
        Body {
            fetcher: self.clone(),
            range,
            open: None,
            tries: 0,
            dead: None,
            last: None,
        }
    }

    /// All bytes of `range`, at most one copy away from the network.
    pub async fn fetch(&self, range: Range<u64>) -> Result<Bytes, DownloadError> {
        let mut window = super::window::Window::at(range.start);
        let mut body = self.body(range.clone());
        while let Some(bytes) = body.chunk().await? {
            window.push(bytes);
        }
        Ok(window.get(range).unwrap_or_default())
    }

    async fn link(&self, dead: Option<&Url>) -> Result<DownloadLink, DownloadError> {
        let Source { account, file, .. } = &*self.source;
        match dead {
            None => self.links.get(account, file).await,
            Some(dead) => self.links.renew(account, file, dead).await,
        }
    }

    async fn get(&self, link: &DownloadLink, range: Range<u64>) -> Result<DataBody, HttpError> {
        let want = DataRequest {
            range,
            total: self.source.size,
            may_be_html: self.source.may_be_html(),
            habits: link.habits,
        };
        let body = self.client.get(&link.url, &want).await?;
        if body.ignores_ranges() {
            self.sends_whole.store(true, Ordering::Relaxed);
        }
        Ok(body)
    }
}

/// The bytes of a range, in order.
pub(super) struct Body {
    fetcher: Fetcher,
    /// What is still to come.
    range: Range<u64>,
    open: Option<DataBody>,
    /// Failures since the last byte.
    tries: u32,
    /// The link that was refused since the last byte: a second one refused is the file's fault.
    dead: Option<Url>,
    last: Option<DownloadError>,
}

/// What to do about a failed request.
enum Cure {
    NewLink,
    TryAgain(Option<Duration>),
    GiveUp,
}

fn cure(error: &HttpError) -> Cure {
    match error.kind {
        HttpErrorKind::Status(401 | 403 | 404 | 410 | 416)
        | HttpErrorKind::NotData
        | HttpErrorKind::WrongRange
        | HttpErrorKind::Redirect => Cure::NewLink,
        HttpErrorKind::Status(status) if status == 408 || status == 429 || status >= 500 => {
            Cure::TryAgain(error.retry_after)
        }
        HttpErrorKind::Connect | HttpErrorKind::NoAnswer | HttpErrorKind::Timeout | HttpErrorKind::Body => {
            Cure::TryAgain(None)
        }
        _ => Cure::GiveUp,
    }
}

impl Body {
    /// The next bytes, or `None` at the end of the range. Fails when no byte came for
    /// [`Options::stall_timeout`], or when trying again cannot help.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let limit = self.fetcher.options.stall_timeout;
        let until = Instant::now() + limit;
        match tokio::time::timeout_at(until, self.chunk_until(until)).await {
            Ok(result) => result,
            Err(_) => {
                let name = &self.fetcher.source.name;
                let cause = self
                    .last
                    .as_ref()
                    .map(|last| format!(" ({last})"))
                    .unwrap_or_default();
                let message = format!("cannot read {name}: no data came for {limit:?}{cause}");
                Err(DownloadError::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// Sends the request ahead of the first [`Body::chunk`], which tells of a failure.
    pub async fn connect(&mut self) {
        if self.open.is_none()
            && let Ok(link) = self.fetcher.link(None).await
        {
            self.open = self.fetcher.get(&link, self.range.clone()).await.ok();
        }
    }

    async fn chunk_until(&mut self, until: Instant) -> Result<Option<Bytes>, DownloadError> {
        while !self.range.is_empty() {
            let mut body = match self.open.take() {
                Some(body) => body,
                None => match self.reopen(until).await? {
                    Some(body) => body,
                    None => continue,
                },
            };
            match body.chunk().await {
                Ok(Some(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    (self.tries, self.dead, self.last) = (0, None, None);
                    self.open = Some(body);
                    return Ok(Some(bytes));
                }
                Ok(None) => {}
                Err(error) => self.recover(&error, until, None).await?,
            }
        }
        // A body that must end with the file is asked for its end.
        if let Some(mut body) = self.open.take()
            && let Err(error) = body.chunk().await
        {
            return Err(DownloadError::new(
                ErrorKind::Corrupt,
                self.of_http(&error).to_string(),
            ));
        }
        Ok(None)
    }

    async fn reopen(&mut self, until: Instant) -> Result<Option<DataBody>, DownloadError> {
        let link = self.fetcher.link(self.dead.as_ref()).await?;
        match self.fetcher.get(&link, self.range.clone()).await {
            Ok(body) => Ok(Some(body)),
            Err(error) => {
                self.recover(&error, until, Some(link.url)).await?;
                Ok(None)
            }
        }
    }

    /// Returns when it is time to try again, or the error where that cannot help.
    async fn recover(
        &mut self,
        error: &HttpError,
        until: Instant,
        link: Option<Url>,
    ) -> Result<(), DownloadError> {
        let told = self.of_http(error);
        self.tries += 1;
        let name = &self.fetcher.source.name;
        let at = self.range.start;
        tracing::debug!(file = %name, offset = at, tries = self.tries, error = %error, "read broke");
        let asked = match cure(error) {
            Cure::NewLink if self.dead.is_none() && link.is_some() => {
                (self.dead, self.last) = (link, Some(told));
                return Ok(());
            }
            Cure::NewLink | Cure::GiveUp => return Err(told),
            Cure::TryAgain(asked) => asked,
        };
        let wait = asked.unwrap_or_else(|| backoff(self.tries));
        if self.tries >= MAX_TRIES || Instant::now() + wait >= until {
            return Err(told);
        }
        self.last = Some(told);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn of_http(&self, error: &HttpError) -> DownloadError {
        DownloadError::of_http(&self.fetcher.source.name, error)
    }
}

/// Doubling, with half of it left to chance, so that many readers do not come back at once.
fn backoff(tries: u32) -> Duration {
    let full = FIRST_BACKOFF
        .saturating_mul(1 << tries.min(10).saturating_sub(1))
        .min(MAX_BACKOFF);
    full / 2 + full.mul_f64(fastrand::f64() / 2.0)
}
