//! Making a staged file whole: fetching what still is missing from the content it was begun from.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use crate::provider::{ErrorKind, FileEntry, Provider, ProviderError};

use super::UploadError;
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
    let holder = Holder::of(uploads, account, base)?;
    staged.reserve_missing().map_err(|source| UploadError::Io {
        operation: "fetch the rest of a file",
        source,
    })?;
    // A reader, or another who completes it, may have filled in some meanwhile, and a cut may have made new ones.
    loop {
        let missing = staged.all_missing();
        if missing.is_empty() {
            break;
        }
        futures_util::stream::iter(missing.into_iter().flat_map(pieces))
            .map(|piece| bring(uploads, account, &holder, staged, base, piece))
            .buffer_unordered(TOGETHER)
            .try_collect::<()>()
            .await?;
    }
    uploads.sync(staged).await?;
    holder.unchanged(base).await.map(drop)
}

/// A part, cut into pieces.
fn pieces(part: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = (part.start..part.end).step_by(PIECE as usize);
    starts.map(move |start| start..part.end.min(start.saturating_add(PIECE)))
}

async fn bring(
    uploads: &Arc<Uploads>,
    account: &Account,
    holder: &Holder,
    staged: &Arc<StagedFile>,
    base: &Base,
    piece: Range<u64>,
) -> Result<(), Failure> {
    let permit = uploads.pieces.acquire();
    let _permit = permit.await.map_err(|_| Failure::Superseded)?;
    if uploads.stopping.is_cancelled() {
        return Err(Failure::Superseded);
    }
    let read = account.base.read(&holder.name, base, piece.clone());
    let bytes = read.await.map_err(|error| of_base(error, base))?;
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

/// Who has the file that a content was begun from.
pub(super) struct Holder {
    /// The account.
    pub name: String,
    pub provider: Arc<dyn Provider>,
}

impl Holder {
    /// Fails where the account is not mounted. `account` is that of the content.
    pub fn of(uploads: &Uploads, account: &Account, base: &Base) -> Result<Holder, Failure> {
        let of = |account: &Account| Holder {
            name: account.name.clone(),
            provider: account.provider.clone(),
        };
        match base.account.as_ref().filter(|name| **name != account.name) {
            None => Ok(of(account)),
            Some(name) => uploads.account(name).map(|other| of(&other)).ok_or_else(|| {
                Failure::Park(format!(
                    "it is a copy of a file of {name}, which is not mounted: mount {name}, or remove the copy"
                ))
            }),
        }
    }

    /// The file, where it still has the content that it had.
    pub async fn unchanged(&self, base: &Base) -> Result<FileEntry, Failure> {
        let found = self.provider.file_info(std::slice::from_ref(&base.file)).await?;
        let Some(entry) = found.into_iter().next() else {
            return Err(Failure::Park(gone(base).into()));
        };
        // A rename makes a new revision on some services, so it counts only where no hash tells more.
        let is_other_content = match (&entry.hash, &base.hash) {
            (Some(now), Some(then)) => now != then,
            _ => match (&entry.revision, &base.revision) {
                (Some(now), Some(then)) => now != then,
                _ => false,
            },
        };
        if entry.size == base.size && !is_other_content {
            return Ok(entry);
        }
        let changed = if base.account.is_some() {
            COPIED_CHANGED
        } else {
            CHANGED
        };
        Err(Failure::Park(changed.into()))
    }
}

const CHANGED: &str = "the file was changed on the service since it was opened here; the content kept here \
    is a part of the old one with the changes made here: copy it out, or remove it";
const GONE: &str = "the file was deleted on the service since it was opened here, and not all of its \
    content is here: copy out what is there, or remove it";

const COPIED_CHANGED: &str =
    "the file that it is a copy of was changed before the copy was made: copy it again";
const COPIED_GONE: &str = "the file that it is a copy of was deleted before the copy was made";

fn gone(base: &Base) -> &'static str {
    if base.account.is_some() { COPIED_GONE } else { GONE }
}

fn of_base(error: ProviderError, base: &Base) -> Failure {
    match error.kind {
        ErrorKind::NotFound => Failure::Park(gone(base).into()),
        _ => error.into(),
    }
}
