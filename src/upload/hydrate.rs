//! Making a staged file whole: fetching what still is missing from the content it was begun from.

use std::sync::Arc;

use super::handle::Uploads;
use super::journal::blocking;
use super::outcome::Failure;
use super::queue::Account;
use super::staged_file::{Base, StagedFile};

/// Bytes fetched at once.
const PIECE: u64 = 4 << 20;

/// Fetches all missing parts, syncs them, and then makes sure that the base was the same all the time.
pub(super) async fn complete(
    uploads: &Arc<Uploads>,
    account: &Account,
    staged: &Arc<StagedFile>,
) -> Result<(), Failure> {
    let Some(base) = staged.base() else { return Ok(()) };
    while let Some(part) = staged.all_missing().into_iter().next() {
        if uploads.stopping.is_cancelled() {
            return Err(Failure::Superseded);
        }
        let part = part.start..part.end.min(part.start.saturating_add(PIECE));
        let bytes = account
            .base
            .read(&account.name, base, part.clone())
            .await
            .map_err(of_base)?;
        if bytes.is_empty() || bytes.len() as u64 > part.end - part.start {
            return Err(Failure::wait(
                "the service sent another number of bytes than was asked for",
            ));
        }
        let staged = staged.clone();
        blocking("write a staged file", move || staged.fill(part.start, &bytes)).await?;
    }
    uploads.sync(staged).await?;
    check_unchanged(account, base).await
}

async fn check_unchanged(account: &Account, base: &Base) -> Result<(), Failure> {
    let found = account
        .provider
        .file_info(std::slice::from_ref(&base.file))
        .await?;
    let Some(entry) = found.into_iter().next() else {
        return Err(Failure::Park(GONE.into()));
    };
    // A rename makes a new revision on some services, so it counts only where no hash tells more.
    let is_other_content = match (&entry.hash, &base.hash) {
        (Some(now), Some(then)) => now != then,
        _ => match (&entry.revision, &base.revision) {
            (Some(now), Some(then)) => now != then,
            _ => false,
        },
    };
    if entry.size != base.size || is_other_content {
        Err(Failure::Park(CHANGED.into()))
    } else {
        Ok(())
    }
}

const CHANGED: &str = "the file was changed on the service since it was opened here; the content kept here \
    is a part of the old one with the changes made here: copy it out, or remove it";
const GONE: &str = "the file was deleted on the service since it was opened here, and not all of its \
    content is here: copy out what is there, or remove it";

fn of_base(error: crate::provider::ProviderError) -> Failure {
    match error.kind {
        crate::provider::ErrorKind::NotFound => Failure::Park(GONE.into()),
        _ => error.into(),
    }
}
