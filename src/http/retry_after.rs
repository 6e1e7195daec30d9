//! What a `Retry-After` header asks for.

use std::time::{Duration, SystemTime};

/// No service means more than this; larger numbers would overflow the clocks that they are added to.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Seconds, or a date; a date that is past means at once. Never more than a day.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}
