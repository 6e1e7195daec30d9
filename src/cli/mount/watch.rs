//! What goes on by itself while an account that publishes is mounted: questions after its files, and its uploads when
//! another day brings more calls.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::AbortOnDropHandle;

use super::assemble::Account;
use crate::config::clock;
use crate::upload::Uploads;

/// Files asked after at a time, and where each costs one of a day's calls.
const MANY: usize = 50;
const FEW: usize = 5;
/// How often at most, whatever the interval of other questions.
const LEAST: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(super) fn published(account: &Account, interval: Duration) -> AbortOnDropHandle<()> {
    let account = account.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval.max(LEAST)).await;
            let most = match account.provider.daily_calls().await {
                Some(_) => FEW,
                None => MANY,
            };
            match account.provider.check_published(most).await {
                Ok(0) => {}
                Ok(checked) => {
                    tracing::debug!(account = account.name, checked, "asked after published files")
                }
                Err(error) => {
                    tracing::debug!(account = account.name, %error, "published files were not asked after")
                }
            }
        }
    }))
}

/// How often it is looked at the clock for the day's turn. Makes no call.
const LOOK: Duration = Duration::from_secs(5);
/// The service's clock may be behind ours.
const MARGIN: Duration = Duration::from_secs(30);
/// From the beginning of a day to the next.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Lets uploads that wait for another day's calls go on when it has begun. By the clock and not by a timer: a machine may
/// sleep over midnight, and a clock may be set. Runs until it is dropped.
pub(super) fn day(account: &Account, uploads: Arc<Uploads>) -> AbortOnDropHandle<()> {
    let account = account.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let clock = clock();
        let mut ends = None;
        loop {
            let now = clock();
            if is_over(ends, now) {
                let is_first = ends.is_none();
                let Some(calls) = account.provider.daily_calls().await else {
                    return;
                };
                ends = Some(calls.renewed);
                // What a day before this process left is tried by itself at the start.
                if !is_first {
                    take_up(&account, &uploads).await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }))
}

/// Whether the day that ends at `ends` is not this one: over, or that of a clock that was set back since.
fn is_over(ends: Option<SystemTime>, now: SystemTime) -> bool {
    ends.is_none_or(|ends| now >= ends + MARGIN || ends > now + DAY)
}

async fn take_up(account: &Account, uploads: &Arc<Uploads>) {
    match uploads.calls_are_left(&account.name).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(account = account.name, files, "another day: uploads go on"),
        Err(error) => {
            tracing::warn!(account = account.name, %error, "uploads that wait for another day were not taken up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_over_when_the_next_has_begun_for_certain_or_the_clock_was_set_back() {
        let midnight = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let second = Duration::from_secs(1);
        assert!(is_over(None, midnight));
        assert!(!is_over(Some(midnight), midnight - second));
        assert!(!is_over(Some(midnight), midnight + MARGIN - second));
        assert!(is_over(Some(midnight), midnight + MARGIN));
        assert!(is_over(Some(midnight), midnight + 3 * DAY), "slept over days");
        assert!(is_over(Some(midnight), midnight - DAY - second), "set back");
    }
}
