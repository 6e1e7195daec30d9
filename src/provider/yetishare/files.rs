//! Files: facts and links, one call for each, and what changes a file without its bytes passing through here.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use serde_json::Value;
use url::Url;

use super::call::Api;
use super::errors::{Failure, Meaning, incomplete};
use super::folders::settle;
use super::wire::{Node, Params, State, is_root, null_root};
use crate::http::ServerHabits;
use crate::provider::form::link;
use crate::provider::{
    DownloadLink, ErrorKind, FileEntry, FileId, FolderId, ProviderError, Result, Retry, ShareLinks,
};

const INFO: &str = "file/info";
const LINK: &str = "file/download";
const EDIT: &str = "file/edit";
const MOVE: &str = "file/move";
const COPY: &str = "file/copy";
const DELETE: &str = "file/delete";

/// Hosts keep a link for a day.
const LINK_LIFE: Duration = Duration::from_secs(23 * 3600);

pub(super) fn by_id(file: &FileId) -> Params {
    Params::new().with("file_id", file.as_str())
}

/// A file of which the host tells nothing sensible is left out, as long as it tells of others.
pub(super) async fn info(api: &Api, files: &[FileId]) -> Result<Vec<FileEntry>> {
    let calls = files.iter().map(|file| {
        let call = one_info(api, file).map(|told| match told {
            Err(error) if is_of_one_file(&error) => Ok(Err(error)),
            told => told.map(Ok),
        });
        call.boxed()
    });
    let mut told = super::all(calls.collect()).await?;
    if told.iter().all(Result::is_err)
        && let Some(Err(error)) = told.pop()
    {
        return Err(error);
    }
    for error in told.iter().filter_map(|told| told.as_ref().err()) {
        tracing::warn!(%error, "the service tells nothing sensible of a file");
    }
    Ok(told.into_iter().flatten().flatten().collect())
}

/// Whether a failure says nothing of what becomes of calls for other files.
fn is_of_one_file(error: &ProviderError) -> bool {
    match error.kind {
        ErrorKind::Corrupt => true,
        ErrorKind::LoginRefused => false,
        _ => error.retry == Retry::Never,
    }
}

/// `None` for a file that is gone or in the trash.
pub(super) async fn one_info(api: &Api, file: &FileId) -> Result<Option<FileEntry>> {
    match api.call(INFO, &by_id(file)).await {
        Ok(reply) => read_info(api, INFO, &reply),
        Err(failure) if failure.is(Meaning::Gone) => Ok(None),
        Err(failure) => Err(failure.error.with_context("file", file)),
    }
}

fn read_info(api: &Api, operation: &'static str, reply: &Value) -> Result<Option<FileEntry>> {
    let data = Node(reply)
        .get("data")
        .ok_or_else(|| incomplete(operation, Retry::Never, "the file"))?;
    if data.state() == State::Gone {
        return Ok(None);
    }
    let file = data
        .file()
        .ok_or_else(|| incomplete(operation, Retry::Never, "the file's id, name or size"))?;
    api.newest.note(&file.id);
    Ok(Some(FileEntry {
        mtime: data.time("uploadedDate", api.zone()),
        parent: data.folder_id("folderId"),
        ..file
    }))
}

/// The whole fails where all that failed may succeed later, so that it is tried again.
pub(super) async fn links(api: &Api, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
    let links = files.iter().map(|file| one_link(api, file).boxed());
    unless_all_may_pass(super::all(links.collect()).await?)
}

/// As [`links`], by a call for each.
pub(super) async fn share_links(api: &Api, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
    let links = files.iter().map(|file| one_page(api, file).boxed());
    unless_all_may_pass(super::all(links.collect()).await?)
}

fn unless_all_may_pass<T>(mut links: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    let may_pass = |link: &Result<T>| {
        let waits =
            |error: &ProviderError| matches!(error.retry, Retry::AfterWait(_) | Retry::OutcomeUnknown);
        link.as_ref().is_err_and(waits)
    };
    if links.iter().all(may_pass)
        && let Some(Err(error)) = links.pop()
    {
        return Err(error);
    }
    Ok(links)
}

/// What would happen to the other files as well is an error of the whole.
async fn one_link(api: &Api, file: &FileId) -> Result<Result<DownloadLink>> {
    let asked = SystemTime::now();
    match api.call(LINK, &by_id(file)).await {
        Ok(reply) => Ok(read_link(api, &reply, asked)),
        Err(failure) => of_one_or_all(failure, file),
    }
}

fn of_one_or_all<T>(failure: Failure, file: &FileId) -> Result<Result<T>> {
    let of_all = matches!(
        failure.error.kind,
        ErrorKind::LoginRefused | ErrorKind::RateLimited
    ) || failure.error.retry == Retry::AfterLogin
        || failure.is_unanswered();
    let error = failure.error.with_context("file", file);
    if of_all { Err(error) } else { Ok(Err(error)) }
}

async fn one_page(api: &Api, file: &FileId) -> Result<Result<ShareLinks>> {
    match api.call(INFO, &by_id(file)).await {
        Ok(reply) => Ok(read_page(api, &reply).map_err(|error| error.with_context("file", file))),
        Err(failure) => of_one_or_all(failure, file),
    }
}

fn read_page(api: &Api, reply: &Value) -> Result<ShareLinks> {
    let data = Node(reply).get("data");
    let data = data.ok_or_else(|| incomplete(INFO, Retry::Never, "the file"))?;
    if data.state() == State::Gone {
        let message = "the file is gone";
        return Err(ProviderError::new(
            ErrorKind::NotFound,
            Retry::Never,
            INFO,
            message,
        ));
    }
    let text = data.text("url_file");
    let text = text.ok_or_else(|| incomplete(INFO, Retry::Never, "the file's page"))?;
    let url = link(INFO, &text, api.base())?;
    let short_url = data.text("shortUrl").and_then(|short| shortened(&url, &short));
    Ok(ShareLinks { url, short_url })
}

/// A page's address without the file's name: hosts find the file by the few characters before it.
fn shortened(url: &Url, short: &str) -> Option<Url> {
    let segments: Vec<_> = url.path_segments()?.collect();
    let end = segments.iter().position(|segment| *segment == short)?;
    let mut address = url.clone();
    address.set_path(&segments[..=end].join("/"));
    address.set_query(None);
    address.set_fragment(None);
    Some(address)
}

fn read_link(api: &Api, reply: &Value, asked: SystemTime) -> Result<DownloadLink> {
    let text = Node(reply)
        .get("data")
        .and_then(|data| data.text("download_url"))
        .ok_or_else(|| incomplete(LINK, Retry::Never, "the link"))?;
    Ok(DownloadLink {
        url: link(LINK, &text, api.base())?,
        expires: asked + LINK_LIFE,
        // The script behind these hosts, where it streams by itself, misreads the end of a range, and leads
        // a link that has ended to a page.
        habits: ServerHabits {
            open_ended_ranges: true,
            error_path: Some("error"),
            crowded_words: &["concurrent", "must wait"],
        },
    })
}

pub(super) async fn rename(api: &Api, file: &FileId, name: &str) -> Result<()> {
    let answer = api.call(EDIT, &by_id(file).with("filename", name)).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let told = Node(&reply).get("data").and_then(|data| data.text("filename"));
    let stored = match told {
        Some(stored) => Some(stored),
        None => one_info(api, file).await?.map(|file| file.name),
    };
    super::check_name(EDIT, name, stored)
}

pub(super) async fn move_to(api: &Api, file: &FileId, target: &FolderId) -> Result<()> {
    let params = by_id(file).with("new_parent_folder_id", null_root(target));
    let told = match api.call(MOVE, &params).await {
        Ok(reply) => Node(&reply)
            .get("data")
            .and_then(|data| data.folder_id("folderId")),
        // A host may refuse to move a file to where it is.
        Err(failure) if failure.is(Meaning::Said) && failure.error.kind != ErrorKind::NotFound => {
            return match one_info(api, file).await? {
                Some(FileEntry {
                    parent: Some(parent), ..
                }) if parent == *target => Ok(()),
                _ => Err(failure.error.with_context("file", file)),
            };
        }
        Err(failure) => return Err(failure.error.with_context("file", file)),
    };
    let place = match told {
        Some(place) => Some(place),
        None => one_info(api, file).await?.and_then(|file| file.parent),
    };
    super::check_place(MOVE, target, place)
}

pub(super) async fn copy(api: &Api, file: &FileId, target: &FolderId) -> Result<FileId> {
    let params = by_id(file).with("copy_to_folder_id", null_root(target));
    let answer = api.call(COPY, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let node = Node(&reply);
    let new = node
        .get("new_file")
        .or_else(|| node.get("data").and_then(|data| data.get("new_file")))
        .and_then(|new| Some((FileId::new(new.text("id")?), new.folder_id("folderId"))));
    let Some((id, place)) = new else {
        return Err(incomplete(COPY, Retry::OutcomeUnknown, "the new file"));
    };
    // What hosts make of the word for the top folder here is not known.
    let place = match place {
        Some(place) => Some(place),
        None if is_root(target) => one_info(api, &id)
            .await
            .map_err(copied)?
            .and_then(|new| new.parent),
        None => None,
    };
    if place.is_some_and(|place| place != *target) {
        move_to(api, &id, target).await.map_err(copied)?;
    }
    Ok(id)
}

/// A failure after the copy was made.
fn copied(mut error: ProviderError) -> ProviderError {
    error.retry = Retry::OutcomeUnknown;
    error
}

pub(super) async fn delete(api: &Api, file: &FileId) -> Result<()> {
    let answer = api.call(DELETE, &by_id(file)).await;
    settle(answer.map_err(|failure: Failure| failure.with_context("file", file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_address_ends_with_the_few_characters() {
        let short = |url: &str, code: &str| shortened(&url.parse().unwrap(), code).map(String::from);
        let page = "https://host.example/sub/4Gx/a%20b.txt?x=1#y";
        assert_eq!(short(page, "4Gx").unwrap(), "https://host.example/sub/4Gx");
        assert_eq!(
            short("https://host.example/4Gx", "4Gx").unwrap(),
            "https://host.example/4Gx"
        );
        assert_eq!(short(page, "other"), None);
    }
}
