//! The time by the clock of a server, as it tells it with each answer.

use std::time::{Duration, SystemTime};

use reqwest::header::DATE;
use url::Url;

use super::client::{builder, check_url};
use super::{HttpError, HttpErrorKind};

/// Asks a server for the time, by a request whose answer does not matter; `None` where it tells none.
pub async fn date_of(url: &Url, limit: Duration) -> Result<Option<SystemTime>, HttpError> {
    check_url(url).map_err(|error| HttpError::new(HttpErrorKind::InsecureUrl, error.to_string()))?;
    let host = url.host_str().unwrap_or("?");
    let failed = |error: reqwest::Error| {
        let kind = match error.is_timeout() {
            true => HttpErrorKind::Timeout,
            false => HttpErrorKind::Connect,
        };
        HttpError::new(kind, format!("{host} did not answer"))
    };
    let client = builder().timeout(limit).build().map_err(failed)?;
    let answer = client.head(url.clone()).send().await.map_err(failed)?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    Ok(date.and_then(|date| httpdate::parse_http_date(date).ok()))
}
