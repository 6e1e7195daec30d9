//! Uploads: announce, send whole or in units, poll.
//!
//! The announcement (`upload/check`) carries the whole promise of repeatability: the service answers it from
//! what it holds, so that asked again after a crash it tells what is left to do.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::call::{Api, UploadBody};
use super::changes::{self, Reading};
use super::errors::refusal;
use super::files;
use super::wire::{Node, Params};
use crate::http::FileRange;
use crate::provider::{
    ContentHash, ErrorKind, FileEntry, FileId, ProviderError, Result, Retry, SentUpload, UploadPlan,
    UploadProgress, UploadRequest, UploadTicket,
};

const CHECK: &str = "upload/check";
const INSTANT: &str = "upload/instant";
const SIMPLE: &str = "upload/simple";
const RESUMABLE: &str = "upload/resumable";
const POLL: &str = "upload/poll_upload";

/// Bytes up to which the service advises one request for a whole file.
const WHOLE_UP_TO: u64 = 4 << 20;
/// Bytes and units beyond which an answer makes no sense: the service's own units are of megabytes.
const SMALLEST_UNIT: u64 = 64 << 10;
const MOST_UNITS: u64 = 1 << 20;
/// Bits in a word of the bitmap.
const WORD: u64 = 16;

pub(super) async fn begin(api: &Api, request: &UploadRequest) -> Result<UploadPlan> {
    let params = Params::new()
        .with("filename", &request.name)
        .with("size", &request.size.to_string())
        .with("hash", &hash(request)?)
        .with("folder_key", request.folder.as_str())
        .with("resumable", "yes");
    let reply = match api.upload_call(CHECK, &params, None).await {
        Ok(reply) => reply,
        // Not documented for files of no bytes, whose content the service needs not be asked for.
        Err(failure) if request.size == 0 && failure.error.kind == ErrorKind::InvalidArgument => {
            return instant(api, request).await.map(UploadPlan::Done);
        }
        Err(failure) => return Err(failure.error.with_context("name", &request.name)),
    };
    let node = Node(&reply);
    if let Some(plan) = same_name(api, request, node).await? {
        return Ok(plan);
    }
    let full = node.flag("storage_limit_exceeded") == Some(true)
        || node
            .number("available_space")
            .is_some_and(|space| space < request.size);
    if full {
        let message = "the account's storage is full";
        return Err(
            ProviderError::new(ErrorKind::QuotaExceeded, Retry::Never, CHECK, message)
                .with_context("bytes wanted", request.size)
                .with_context("bytes free", node.number("available_space").unwrap_or(0)),
        );
    }
    let plan = plan(request, node);
    // The bytes of this very upload may be known before its file is there: another one would be a twin.
    let is_at_work =
        matches!(&plan, UploadPlan::Units { missing, ticket: Some(_), .. } if missing.is_empty());
    if request.size == 0 || (node.flag("hash_exists") == Some(true) && !is_at_work) {
        return instant(api, request).await.map(UploadPlan::Done);
    }
    Ok(plan)
}

/// What to do about a file of the same name in the folder; `None` to go on with the upload.
async fn same_name(api: &Api, request: &UploadRequest, node: Node<'_>) -> Result<Option<UploadPlan>> {
    if node.flag("file_exists") != Some(true) {
        return Ok(None);
    }
    let Some(holder) = node.text("duplicate_quickkey").map(FileId::new) else {
        return Ok(None);
    };
    let same_content = node.flag("different_hash") == Some(false);
    let known = request.replaces.as_ref();
    if known.is_some_and(|known| *known != holder) {
        // The service tells one holder of the name; where twins bear it, the other may be the known one.
        let old = files::info(api, &known.cloned().into_iter().collect::<Vec<_>>()).await?;
        let is_twin = old
            .iter()
            .any(|old| old.name == request.name && old.parent.as_ref() == Some(&request.folder));
        return Ok((!is_twin).then_some(UploadPlan::NameTaken(holder)));
    }
    if !same_content {
        return Ok(known.is_none().then_some(UploadPlan::NameTaken(holder)));
    }
    let found = files::info(api, std::slice::from_ref(&holder))
        .await?
        .into_iter()
        .next();
    let Some(mut entry) = found else { return Ok(None) };
    if !is_content(&entry, request) {
        // It was changed since the service answered the announcement.
        return Ok(known.is_none().then_some(UploadPlan::NameTaken(holder)));
    }
    let (held, wanted) = (
        entry.mtime.and_then(super::wire::format_time),
        files::mtime_text(request.mtime)?,
    );
    if held.as_ref() != Some(&wanted) {
        files::update(api, &holder, &[("mtime", &wanted)]).await?;
        entry.mtime = super::wire::parse_time(&wanted);
    }
    Ok(Some(UploadPlan::Done(entry)))
}

/// The hash by which the service knows a content.
fn hash(request: &UploadRequest) -> Result<String> {
    request.sha256.map(hex::encode).ok_or_else(|| {
        let message = "the hash of the content is not known";
        ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, "upload", message)
            .with_context("name", &request.name)
    })
}

fn is_content(entry: &FileEntry, request: &UploadRequest) -> bool {
    let same_hash = entry.hash.is_none_or(|hash| match hash {
        ContentHash::Sha256(hash) => request.sha256.is_none_or(|sent| sent == hash),
        ContentHash::Md5(_) => true,
    });
    entry.size == request.size && same_hash
}

fn plan(request: &UploadRequest, node: Node<'_>) -> UploadPlan {
    let resumable = node.get("resumable_upload");
    let unit_size = resumable
        .and_then(|units| units.number("unit_size"))
        .filter(|size| *size >= SMALLEST_UNIT && request.size.div_ceil(*size) <= MOST_UNITS);
    let (Some(units), Some(unit_size)) = (resumable, unit_size) else {
        return UploadPlan::Whole;
    };
    let ticket = units.text("upload_key").map(UploadTicket::new);
    if units.flag("all_units_ready") == Some(true) && ticket.is_some() {
        return UploadPlan::Units {
            unit_size,
            missing: Vec::new(),
            ticket,
        };
    }
    if request.size <= WHOLE_UP_TO {
        return UploadPlan::Whole;
    }
    let count = request.size.div_ceil(unit_size);
    let words = bitmap(units);
    let missing: Vec<u32> = (0..count)
        .filter(|unit| !has_unit(&words, *unit))
        .filter_map(|unit| u32::try_from(unit).ok())
        .collect();
    if missing.is_empty() && ticket.is_none() {
        // All there, and no key to ask after them: send the last again, whose answer bears the key.
        let last = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        return UploadPlan::Units {
            unit_size,
            missing: vec![last],
            ticket: None,
        };
    }
    UploadPlan::Units {
        unit_size,
        missing,
        ticket,
    }
}

fn bitmap(units: Node<'_>) -> Vec<u64> {
    let Some(bitmap) = units.get("bitmap") else {
        return Vec::new();
    };
    bitmap
        .texts("words", "word")
        .iter()
        .map(|word| word.trim().parse().unwrap_or(0))
        .collect()
}

/// Words are of 16 bits; bit 0 of word 0 is unit 0.
fn has_unit(words: &[u64], unit: u64) -> bool {
    let word = usize::try_from(unit / WORD)
        .ok()
        .and_then(|index| words.get(index));
    word.is_some_and(|word| word >> (unit % WORD) & 1 == 1)
}

/// What the service does where the name was taken since the announcement, which found it free.
#[derive(Clone, Copy)]
enum Taken {
    /// A file that bears the name by now is most likely this upload, sent before and answered too late: to
    /// make another would leave a twin of it. What becomes of it is told afterwards, by an announcement.
    Skip,
    /// Makes a file of another name. For answers that would tell of a file that was there as if it were new.
    Keep,
}

/// The parameters that say where a content goes and what it replaces.
fn target(request: &UploadRequest, taken: Taken) -> Result<Params> {
    let params = Params::new().with("folder_key", request.folder.as_str());
    let params = match &request.replaces {
        Some(old) => params
            .with("quick_key", old.as_str())
            .with("action_on_duplicate", "replace"),
        None => {
            let action = match taken {
                Taken::Skip => "skip",
                Taken::Keep => "keep",
            };
            params.with("action_on_duplicate", action)
        }
    };
    Ok(params.with("mtime", &files::mtime_text(request.mtime)?))
}

/// Makes a file of a content that the service holds. Where the name was taken meanwhile it bears another.
async fn instant(api: &Api, request: &UploadRequest) -> Result<FileEntry> {
    let params = target(request, Taken::Keep)?
        .with("filename", &request.name)
        .with("size", &request.size.to_string())
        .with("hash", &hash(request)?);
    let reply = match api.upload_call(INSTANT, &params, None).await {
        Ok(reply) => reply,
        Err(failure) => {
            let mut error = failure.error.with_context("name", &request.name);
            if error.kind == ErrorKind::AlreadyExists {
                // The name was taken since the announcement, which tells by whom when it is made again.
                error.retry = Retry::AfterWait(None);
            }
            return Err(error);
        }
    };
    let node = Node(&reply);
    let id = node
        .text("quickkey")
        .map(FileId::new)
        .or_else(|| request.replaces.clone())
        .ok_or_else(|| {
            let message = "the service made a file and did not tell its key";
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, INSTANT, message)
        })?;
    Ok(FileEntry {
        id,
        name: node.text("filename").unwrap_or_else(|| request.name.clone()),
        size: request.size,
        mtime: node
            .time()
            .or_else(|| super::wire::parse_time(&files::mtime_text(request.mtime).ok()?)),
        hash: request.sha256.map(ContentHash::Sha256),
        revision: node.text("revision"),
        // A file whose content is replaced stays where it is.
        parent: request.replaces.is_none().then(|| request.folder.clone()),
    })
}

fn headers(request: &UploadRequest) -> Result<Vec<(&'static str, Vec<u8>)>> {
    Ok(vec![
        // Raw UTF-8, as the service's own clients send it.
        ("x-filename", request.name.clone().into_bytes()),
        ("x-filesize", request.size.to_string().into_bytes()),
        ("x-filehash", hash(request)?.into_bytes()),
    ])
}

pub(super) async fn whole(api: &Api, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
    let body = UploadBody {
        headers: headers(request)?,
        range: body,
    };
    let reply = api
        .upload_call(SIMPLE, &target(request, Taken::Skip)?, Some(body))
        .await
        .map_err(|failure| failure.error.with_context("name", &request.name))?;
    taken(SIMPLE, &reply)
}

pub(super) async fn unit(
    api: &Api,
    request: &UploadRequest,
    index: u32,
    sha256: &[u8; 32],
    body: FileRange,
) -> Result<UploadProgress> {
    let mut headers = headers(request)?;
    headers.push(("x-unit-id", index.to_string().into_bytes()));
    headers.push(("x-unit-size", body.length.to_string().into_bytes()));
    headers.push(("x-unit-hash", hex::encode(sha256).into_bytes()));
    let body = UploadBody { headers, range: body };
    let reply = api
        .upload_call(RESUMABLE, &target(request, Taken::Skip)?, Some(body))
        .await
        .map_err(|failure| {
            failure
                .error
                .with_context("name", &request.name)
                .with_context("unit", index)
        })?;
    let node = Node(&reply);
    let Some(units) = node.get("resumable_upload") else {
        return taken(RESUMABLE, &reply);
    };
    if units.flag("all_units_ready") == Some(true) {
        return taken(RESUMABLE, &reply);
    }
    let words = bitmap(units);
    if !words.is_empty() && !has_unit(&words, u64::from(index)) {
        let message = "the service did not take the unit";
        return Err(
            ProviderError::new(ErrorKind::Corrupt, Retry::AfterWait(None), RESUMABLE, message)
                .with_context("unit", index),
        );
    }
    refused(RESUMABLE, node)?;
    Ok(UploadProgress::UnitTaken)
}

/// The progress after the last byte was sent.
fn taken(operation: &'static str, reply: &Value) -> Result<UploadProgress> {
    let node = Node(reply);
    refused(operation, node)?;
    let key = node.get("doupload").and_then(|doupload| doupload.text("key"));
    let key = key.or_else(|| {
        node.get("resumable_upload")
            .and_then(|units| units.text("upload_key"))
    });
    key.map(|key| UploadProgress::Processing(UploadTicket::new(key)))
        .ok_or_else(|| {
            let message = "the service took the bytes and gave no key to ask after them";
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, operation, message)
        })
}

/// A `doupload` result other than 0 means that the bytes were not taken.
fn refused(operation: &'static str, node: Node<'_>) -> Result<()> {
    match node
        .get("doupload")
        .and_then(|doupload| doupload.signed("result"))
    {
        None | Some(0) => Ok(()),
        Some(result) => {
            let message = "the service did not take the upload";
            Err(
                ProviderError::new(ErrorKind::Unavailable, Retry::AfterWait(None), operation, message)
                    .with_context("upload result", result),
            )
        }
    }
}

pub(super) async fn poll(api: &Api, ticket: &UploadTicket) -> Result<UploadProgress> {
    let reply = match api
        .upload_call(POLL, &Params::new().with("key", ticket.as_str()), None)
        .await
    {
        Ok(reply) => reply,
        // The key is not known any more.
        Err(failure) if failure.code == Some(175) => return Ok(UploadProgress::StartAgain),
        Err(failure) => return Err(failure.error),
    };
    let node = Node(&reply);
    let doupload = node.get("doupload").unwrap_or(node);
    if matches!(doupload.signed("result"), Some(-20 | -80)) {
        return Ok(UploadProgress::StartAgain);
    }
    if let Some(code) = doupload.number("fileerror").filter(|code| *code != 0) {
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        return Ok(match refusal(code, doupload.text("description").as_deref()) {
            Some(refusal) => UploadProgress::GivenUp(refusal),
            None => UploadProgress::StartAgain,
        });
    }
    let Some(id) = doupload.text("quickkey").map(FileId::new) else {
        let ended = matches!(doupload.number("status"), Some(98 | 99));
        // Ended without a file: the announcement tells what became of it.
        return Ok(if ended {
            UploadProgress::StartAgain
        } else {
            UploadProgress::Processing(ticket.clone())
        });
    };
    if let Some(entry) = doupload.file() {
        return Ok(UploadProgress::Done(entry));
    }
    match files::info(api, &[id]).await?.into_iter().next() {
        Some(entry) => Ok(UploadProgress::Done(entry)),
        None => Ok(UploadProgress::StartAgain),
    }
}

/// Asks after many at once: the change feed names the files that were made lately, and one call tells what
/// they are. A file is an upload's by the rule of the announcement: folder, name and content, or the id that was
/// to be replaced and the content. No file that was there before can be it, or the announcement had found it.
pub(super) async fn poll_many(
    api: &Api,
    reading: &Mutex<Option<Reading>>,
    uploads: &[SentUpload],
) -> Result<Vec<Result<UploadProgress>>> {
    if uploads.is_empty() {
        return Ok(Vec::new());
    }
    let last = *reading.lock().unwrap_or_else(PoisonError::into_inner);
    let (changed, now) = changes::lately(api, last).await?;
    let found = files::info(api, &changed).await?;
    // Only now: what was not looked at would be missed.
    *reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    Ok(uploads
        .iter()
        .map(|upload| {
            let made = found.iter().find(|file| is_made_by(file, &upload.request));
            Ok(match made {
                Some(file) => UploadProgress::Done(file.clone()),
                None => UploadProgress::Processing(upload.ticket.clone()),
            })
        })
        .collect())
}

fn is_made_by(file: &FileEntry, request: &UploadRequest) -> bool {
    let in_place = match &request.replaces {
        Some(old) => file.id == *old,
        None => file.parent.as_ref() == Some(&request.folder) && file.name == request.name,
    };
    let same_content = file.size == request.size && file.hash == request.sha256.map(ContentHash::Sha256);
    in_place && same_content
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(size: u64) -> UploadRequest {
        UploadRequest {
            folder: crate::provider::FolderId::new("f"),
            name: "n".to_owned(),
            size,
            sha256: Some([7; 32]),
            mtime: std::time::SystemTime::UNIX_EPOCH,
            replaces: None,
            sent_before: false,
        }
    }

    fn units(size: u64, words: &[&str]) -> UploadPlan {
        let reply = json!({"resumable_upload": {"all_units_ready": "no", "unit_size": "4194304",
            "bitmap": {"count": "2", "words": words}, "upload_key": "k"}});
        plan(&request(size), Node(&reply))
    }

    #[test]
    fn the_bitmap_counts_units_from_bit_0_of_16_bit_words() {
        let size = 20 * 4_194_304 - 1;
        let UploadPlan::Units { missing, .. } = units(size, &["65533", "1"]) else {
            panic!()
        };
        assert_eq!(missing, [1, 17, 18, 19]);
    }

    #[test]
    fn a_small_file_goes_whole_and_a_missing_bitmap_means_all_units() {
        assert_eq!(units(4 << 20, &[]), UploadPlan::Whole);
        let UploadPlan::Units { missing, .. } = units((4 << 20) + 1, &[]) else {
            panic!()
        };
        assert_eq!(missing, [0, 1]);
    }

    #[test]
    fn absurd_units_are_not_taken() {
        for (size, unit_size) in [(8 << 20, "1"), (8 << 20, "65535"), (u64::MAX, "65536")] {
            let reply = json!({"resumable_upload": {"all_units_ready": "no", "unit_size": unit_size}});
            assert_eq!(
                plan(&request(size), Node(&reply)),
                UploadPlan::Whole,
                "{unit_size}"
            );
        }
    }
}
