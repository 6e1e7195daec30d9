//! Uploads: one request with the whole content, and the search for one whose answer was lost.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::call::Api;
use super::errors::{Failure, Meaning, before_call, clean, incomplete, said};
use super::wire::{Node, Params, blank_root, is_root};
use super::{FORBIDDEN, account, files, folders};
use crate::http::{FileRange, Multipart};
use crate::provider::{
    Capability, Entry, ErrorKind, FileEntry, FileId, ListHint, ProviderError, Result, Retry, UploadPlan,
    UploadProgress, UploadRequest, is_numbered_twin, sensible_size,
};

const UPLOAD: &str = "file/upload";

/// The host is silent after the last byte while it hands the file on to a file server.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes a second at which it is taken to do so.
const HAND_ON_RATE: u64 = 1_000_000;
const LONGEST_SILENCE: Duration = Duration::from_secs(2 * 3600);

/// Bytes from which on a token is tried by a small call first, if it was not used for so long.
const WORTH_A_TRY: u64 = 8 << 20;
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Bytes from which on a request may be larger than a host takes: no host is set to less.
const SMALLEST_LIMIT: u64 = 1 << 20;
/// How long a limit is believed in that was met and not told.
const LIMIT_LIFE: Duration = Duration::from_secs(3600);

/// The size of the smallest upload that was too large for a request.
#[derive(Default)]
pub(super) struct PostLimit(Mutex<Option<(u64, Instant)>>);

impl PostLimit {
    fn note(&self, size: u64, now: Instant) {
        let smallest = self.largest(now).map_or(size, |largest| size.min(largest + 1));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((smallest, now));
    }

    /// Bytes of the largest file that is worth a try.
    pub(super) fn largest(&self, now: Instant) -> Option<u64> {
        let noted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, since) = noted?;
        (now.duration_since(since) < LIMIT_LIFE).then(|| size.saturating_sub(1))
    }
}

pub(super) async fn begin(api: &Api, request: &UploadRequest) -> Result<UploadPlan> {
    refuse_empty(request)?;
    if request.sent_before {
        // Before the room is looked at, which the file itself may have taken.
        let candidates = candidates(api, request).await?;
        if !candidates.is_empty() {
            return Ok(UploadPlan::Candidates(candidates));
        }
    }
    api.need(Capability::Write, UPLOAD)?;
    account::check_room(api, UPLOAD, request.size)
        .await
        .map_err(before_call)?;
    Ok(UploadPlan::Whole)
}

fn refuse_empty(request: &UploadRequest) -> Result<()> {
    if request.size == 0 {
        return Err(ProviderError::unsupported(UPLOAD, Capability::EmptyFiles));
    }
    Ok(())
}

/// Files that an upload of this content may have become, the newest first.
async fn candidates(api: &Api, request: &UploadRequest) -> Result<Vec<FileEntry>> {
    let listing = folders::list(api, &request.folder, ListHint::default()).await?;
    let mut candidates: Vec<_> = listing
        .entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::File(file) => Some(file),
            Entry::Folder(_) => None,
        })
        .filter(|file| file.size == request.size && Some(&file.id) != request.replaces.as_ref())
        .filter(|file| file.name == request.name || is_numbered_twin(&file.name, &request.name))
        .map(|file| FileEntry {
            parent: Some(request.folder.clone()),
            ..file
        })
        .collect();
    candidates.sort_by_cached_key(|file| std::cmp::Reverse(super::by_age(file.id.as_str())));
    Ok(candidates)
}

pub(super) async fn whole(api: &Api, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
    api.need(Capability::Write, UPLOAD)?;
    refuse_empty(request)?;
    if request.name.contains(|c| FORBIDDEN.contains(c)) {
        let message = "the name holds characters that the service alters";
        return Err(ProviderError::new(
            ErrorKind::InvalidName,
            Retry::Never,
            UPLOAD,
            message,
        ));
    }
    if request.size > WORTH_A_TRY && api.idle().is_none_or(|idle| idle >= IDLE) {
        // The host may lack even this call; what counts is what became of the token.
        if let Err(failure) = api.call("account/info", &Params::new()).await
            && failure.is_general()
        {
            return Err(before_call(failure.error));
        }
    }
    let form = Multipart {
        fields: vec![("folder_id", blank_root(&request.folder).to_owned())],
        file_field: "upload_file",
        file_name: request.name.clone(),
        file: body,
    };
    let answer = api.send_file(UPLOAD, &form, silence(request.size)).await;
    let reply = answer.map_err(|failure| refusal(api, request.size, failure))?;
    let Stored { mut file, size_told } = read_entry(&reply, request)?;
    api.newest.note(&file.id);
    api.account.grow(file.size);
    if is_root(&request.folder) {
        file.parent = Some(request.folder.clone());
    }
    let mut is_beside = false;
    if size_told
        && is_numbered_twin(&file.name, &request.name)
        && let Some(listing) = listing_beside(api, request).await
        && listing.iter().any(|other| other.id == file.id)
    {
        file.parent = Some(request.folder.clone());
        is_beside = has_lost_its_name(api, request, &listing).await;
    }
    if !size_told || file.parent.is_none() {
        // A host puts into the top folder what it is told to put into a folder that it does not find.
        match files::one_info(api, &file.id).await {
            Ok(Some(found)) => {
                file.parent = found.parent.or(file.parent);
                file.mtime = found.mtime;
                if !size_told {
                    file.size = found.size;
                }
            }
            // Nothing that was told can be compared with what was sent.
            _ if !size_told => return Err(incomplete(UPLOAD, Retry::OutcomeUnknown, "the new file's size")),
            Ok(None) => tracing::debug!(file = %file.id, "a new file is not found by its id"),
            Err(error) => tracing::debug!(%error, "where a new file went is not known"),
        }
    }
    Ok(match is_beside {
        true => UploadProgress::Beside(file),
        false => UploadProgress::Done(file),
    })
}

/// The files of the folder of a new one which replaces another. Below the top folder, where it has to be asked anyway
/// where the new one went, and where they are not so many that this should be asked of the file alone.
async fn listing_beside(api: &Api, request: &UploadRequest) -> Option<Vec<FileEntry>> {
    let folder = &request.folder;
    if request.replaces.is_none() || is_root(folder) || !api.newest.is_small(folder) {
        return None;
    }
    match folders::list(api, folder, ListHint::default()).await {
        Ok(listing) => {
            let files = listing.entries.into_iter().filter_map(|entry| match entry {
                Entry::File(file) => Some(file),
                Entry::Folder(_) => None,
            });
            Some(files.collect())
        }
        Err(error) => {
            tracing::debug!(%error, "what is beside a new file is not known");
            None
        }
    }
}

/// Whether the file that a new one is to replace is gone, and another one bears its name.
async fn has_lost_its_name(api: &Api, request: &UploadRequest, listing: &[FileEntry]) -> bool {
    let Some(replaced) = &request.replaces else {
        return false;
    };
    listing.iter().any(|other| other.name == request.name)
        && listing.iter().all(|other| other.id != *replaced)
        // It may be elsewhere, and be ours.
        && matches!(files::one_info(api, replaced).await, Ok(None))
}

fn silence(size: u64) -> Duration {
    (SILENCE + Duration::from_secs(size / HAND_ON_RATE)).min(LONGEST_SILENCE)
}

/// A request whose fields the host did not read was larger than its scripts take.
fn refusal(api: &Api, size: u64, failure: Failure) -> ProviderError {
    let too_large = failure.is(Meaning::FormLost)
        || (failure.is(Meaning::Unheard) && failure.error.kind == ErrorKind::TooLarge);
    if !too_large {
        return failure.error;
    }
    if size < SMALLEST_LIMIT {
        let message = "the host did not read the request, which is too small to be too large";
        let error = ProviderError::new(ErrorKind::Unavailable, Retry::AfterWait(None), UPLOAD, message);
        return error.with_context("bytes", size).with_source(failure.error);
    }
    api.post_limit.note(size, Instant::now());
    let message = "the file is larger than the host takes in one request";
    ProviderError::new(ErrorKind::TooLarge, Retry::Never, UPLOAD, message)
        .with_context("bytes", size)
        .with_source(failure.error)
}

/// What the host says that it stored.
struct Stored {
    file: FileEntry,
    size_told: bool,
}

/// The entry of the one file that was sent.
fn read_entry(reply: &Value, request: &UploadRequest) -> Result<Stored> {
    let data = Node(reply).get("data");
    let entry = data
        .and_then(|data| match data.0 {
            Value::Array(entries) => entries.first().map(Node),
            _ => Some(data),
        })
        .filter(|entry| entry.0.is_object())
        .ok_or_else(|| incomplete(UPLOAD, Retry::OutcomeUnknown, "the new file"))?;
    let id = entry.text("file_id");
    // PHP's word for no error is 0.
    let told = entry
        .text("error")
        .filter(|error| !matches!(error.trim(), "0" | "false"));
    if let Some(told) = told {
        let mut failure = said(UPLOAD, &told);
        if id.is_some() && !failure.is_understood() {
            failure.error.retry = Retry::OutcomeUnknown;
        }
        return Err(failure.error);
    }
    let id = id.ok_or_else(|| incomplete(UPLOAD, Retry::OutcomeUnknown, "the new file's id"))?;
    let name = entry.text("name").unwrap_or_else(|| request.name.clone());
    if name != request.name {
        tracing::debug!(
            name = clean(&name),
            "the service stored the file under another name"
        );
    }
    let size = entry.number("size").and_then(sensible_size);
    Ok(Stored {
        file: FileEntry {
            id: FileId::new(id),
            name,
            size: size.unwrap_or(request.size),
            mtime: None,
            hash: entry.md5("hash"),
            revision: None,
            parent: None,
        },
        size_told: size.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_met_is_believed_for_an_hour() {
        let limit = PostLimit::default();
        let start = Instant::now();
        assert_eq!(limit.largest(start), None);
        limit.note(5000, start);
        limit.note(4000, start);
        limit.note(6000, start);
        assert_eq!(limit.largest(start), Some(3999));
        let later = start + LIMIT_LIFE;
        assert_eq!(limit.largest(later), None);
        limit.note(6000, later);
        assert_eq!(limit.largest(later), Some(5999));
    }

    #[test]
    fn the_silence_grows_with_the_file_and_has_an_end() {
        assert_eq!(silence(1), Duration::from_secs(120));
        assert_eq!(silence(600_000_000), Duration::from_secs(720));
        assert_eq!(silence(u64::MAX), LONGEST_SILENCE);
    }
}
