//! A part of a file as a stream of bytes that mends itself: dead links are renewed, broken bodies go on
//! where they broke, and a service that has too many of us is asked again when there is room.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use super::connections::{Connections, Permit};
use super::error::DownloadError;
use super::links::Links;
use super::{Options, Source};
use crate::http::{DataBody, DataClient, DataRequest, HttpError, HttpErrorKind};
use crate::provider::{DownloadLink, ErrorKind};

/// Failures in a row, without a byte between them, after which a read fails.
const MAX_TRIES: u32 = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a connection that nobody reads from is kept although others wait for one.
const MOMENT: Duration = Duration::from_millis(250);

/// Opens parts of one file.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub client: DataClient,
    pub links: Arc<Links>,
    pub connections: Arc<Connections>,
    pub options: Options,
    pub source: Arc<Source>,
    /// Whether the service goes on to the end of the file wherever it begins, for it knows no end of a range:
    /// who reads in order then needs one request.
    pub sends_on: Arc<AtomicBool>,
}

impl Fetcher {
    /// The bytes of `range`. Without `permit` it gets in line for a connection when the first byte is wanted.
    pub fn body(&self, range: Range<u64>, permit: Option<Permit>) -> Body {
        Body {
            fetcher: self.clone(),
            range,
            permit,
            open: None,
            tries: 0,
            dead: None,
            last: None,
        }
    }

    /// Finds out whether the service sends on, as far as its link tells. Costs what the first request for the
    /// file would cost, which then has its link.
    pub async fn learn(&self) -> Result<bool, DownloadError> {
        let limit = self.options.stall_timeout;
        let Ok(link) = tokio::time::timeout(limit, self.link(None)).await else {
            let message = format!("cannot read {}: no link came for {limit:?}", self.source.name);
            return Err(DownloadError::new(ErrorKind::Timeout, message));
        };
        if link?.habits.open_ended_ranges {
            self.sends_on.store(true, Ordering::Relaxed);
        }
        Ok(self.sends_on())
    }

    pub fn sends_on(&self) -> bool {
        self.sends_on.load(Ordering::Relaxed)
    }

    async fn link(&self, dead: Option<&Url>) -> Result<DownloadLink, DownloadError> {
        let Source { account, file, .. } = &*self.source;
        match dead {
            None => self.links.get(account, file).await,
            Some(dead) => self.links.renew(account, file, dead).await,
        }
    }

    async fn get(
        &self,
        link: &DownloadLink,
        range: Range<u64>,
        mut permit: Permit,
    ) -> Result<Open, HttpError> {
        let want = DataRequest {
            range,
            total: self.source.size,
            may_be_html: self.source.may_be_html(),
            habits: link.habits,
        };
        let got = self.client.get(&link.url, &want).await;
        let body = got.inspect_err(|error| {
            if is_crowded(error) {
                permit.refused();
            }
        })?;
        permit.served();
        if body.ignores_ranges() {
            self.sends_on.store(true, Ordering::Relaxed);
        }
        Ok(Open { body, permit })
    }
}

/// An answer that is being read. The permit goes after the connection.
struct Open {
    body: DataBody,
    permit: Permit,
}

impl Open {
    /// Whether another connection could go on where this one stands. From a server that ignores ranges it would
    /// bring all of the file before it again.
    fn can_be_taken_up(&self) -> bool {
        !self.body.ignores_ranges()
    }
}

/// The bytes of a range, in order.
pub(super) struct Body {
    fetcher: Fetcher,
    /// What is still to come.
    range: Range<u64>,
    /// For the first connection.
    permit: Option<Permit>,
    open: Option<Open>,
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

/// Whether the service refused a connection because it has too many.
fn is_crowded(error: &HttpError) -> bool {
    matches!(error.kind, HttpErrorKind::Status(429 | 503))
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
        HttpErrorKind::Connect
        | HttpErrorKind::NoAnswer
        | HttpErrorKind::Timeout
        | HttpErrorKind::Nonsense
        | HttpErrorKind::Body => Cure::TryAgain(None),
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

    /// Returns when a connection is open that nobody reads from for a moment while others wait for one, and that
    /// can be given up.
    pub async fn until_in_the_way(&self) {
        if !self.open.as_ref().is_some_and(Open::can_be_taken_up) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(MOMENT).await;
        self.fetcher.connections.until_wanted().await;
    }

    /// Gives up the connection. The next [`Body::chunk`] opens another where this one stood.
    pub fn close(&mut self) {
        self.open = None;
    }

    async fn chunk_until(&mut self, until: Instant) -> Result<Option<Bytes>, DownloadError> {
        let in_turn = |open: &Open| open.can_be_taken_up() && open.permit.turn_is_over();
        if !self.range.is_empty() && self.open.as_ref().is_some_and(in_turn) {
            self.close();
        }
        while !self.range.is_empty() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.reopen(until).await? {
                    Some(open) => open,
                    None => continue,
                },
            };
            match open.body.chunk().await {
                Ok(Some(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    (self.tries, self.dead, self.last) = (0, None, None);
                    self.open = Some(open);
                    return Ok(Some(bytes));
                }
                Ok(None) => {}
                Err(error) => {
                    drop(open);
                    self.recover(&error, until, None).await?;
                }
            }
        }
        // A body that must end with the file is asked for its end.
        if let Some(mut open) = self.open.take()
            && let Err(error) = open.body.chunk().await
        {
            return Err(DownloadError::new(
                ErrorKind::Corrupt,
                self.of_http(&error).to_string(),
            ));
        }
        Ok(None)
    }

    async fn reopen(&mut self, until: Instant) -> Result<Option<Open>, DownloadError> {
        let link = self.fetcher.link(self.dead.as_ref()).await?;
        let free = || self.fetcher.connections.try_acquire();
        let permit = match self.permit.take().or_else(free) {
            Some(permit) => permit,
            None => self.wait_in_line().await,
        };
        match self.fetcher.get(&link, self.range.clone(), permit).await {
            Ok(open) => Ok(Some(open)),
            Err(error) => {
                self.recover(&error, until, Some(link.url)).await?;
                Ok(None)
            }
        }
    }

    async fn wait_in_line(&mut self) -> Permit {
        let before = self.last.take();
        let account = &self.fetcher.source.account;
        let busy = format!("all connections of {account} are in use");
        self.last = Some(DownloadError::new(ErrorKind::Busy, busy));
        let permit = self.fetcher.connections.acquire().await;
        self.last = before;
        permit
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
            Cure::NewLink if self.dead.is_some() => {
                let message = format!("{told} (a new link was refused as well)");
                return Err(DownloadError::new(told.kind(), message));
            }
            Cure::NewLink | Cure::GiveUp => return Err(told),
            Cure::TryAgain(asked) => asked,
        };
        let wait = asked.unwrap_or_default().max(backoff(self.tries));
        // Room at the service is waited for as long as the read may take.
        let tried_enough = self.tries >= MAX_TRIES && !is_crowded(error);
        if tried_enough || Instant::now() + wait >= until {
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
