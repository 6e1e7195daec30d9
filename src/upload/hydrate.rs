//! Making a staged file whole: fetching what still is missing from the content it was begun from.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use super::handle::Uploads;
use super::journal::blocking;
use super::outcome::Failure;
use super::queue::Account;
use super::staged_file::{Base, StagedFile};

/// Bytes fetched in one request.
const PIECE: u64 = 4 << 20;
/// Pieces of one file on their way at once.
const TOGETHER: usize = 4;
/// Pieces of all files in memory at once.
pub(super) const PIECES: usize = 8;

/// Fetches all missing parts, syncs them, and then makes sure that the base was the same all the time.
pub(super) async fn complete(
    uploads: &Arc<Uploads>,
    account: &Account,
    staged: &Arc<StagedFile>,
) -> Result<(), Failure> {
    let Some(base) = staged.base() else { return Ok(()) };
    // A reader, or another who completes it, may have filled in some meanwhile, and a cut may have made new ones.
    loop {
        let missing = staged.all_missing();
        if missing.is_empty() {
            break;
        }
        futures_util::stream::iter(missing.into_iter().flat_map(pieces))
            .map(|piece| bring(uploads, account, staged, base, piece))
            .buffer_unordered(TOGETHER)
            .try_collect::<()>()
            .await?;
    }
    uploads.sync(staged).await?;
    check_unchanged(account, base).await
}

/// A part, cut into pieces.
fn pieces(part: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = (part.start..part.end).step_by(PIECE as usize);
    starts.map(move |start| start..part.end.min(start.saturating_add(PIECE)))
}

async fn bring(
    uploads: &Arc<Uploads>,
    account: &Account,
    staged: &Arc<StagedFile>,
    base: &Base,
    piece: Range<u64>,
) -> Result<(), Failure> {
    let permit = uploads.pieces.acquire();
    let _permit = permit.await.map_err(|_| Failure::Superseded)?;
    if uploads.stopping.is_cancelled() {
        return Err(Failure::Superseded);
    }
    let read = account.base.read(&account.name, base, piece.clone());
    let bytes = read.await.map_err(of_base)?;
    // A short answer is not the end: what is missing still is asked for anew.
    if bytes.is_empty() || bytes.len() as u64 > piece.end - piece.start {
        return Err(Failure::wait(
            "the service sent another number of bytes than was asked for",
        ));
    }
    let staged = staged.clone();
    blocking("write a staged file", move || staged.fill(piece.start, &bytes)).await?;
    Ok(())
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
