//! Asks now and then what became of published files, while the account is mounted.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::assemble::Account;

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
