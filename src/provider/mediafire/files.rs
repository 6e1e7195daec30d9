//! Files: facts and links in batches, and what changes a file without its bytes passing through here.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use url::Url;

use super::call::Api;
use super::errors::{Failure, link_error};
use super::wire::{Node, Params, format_time};
use super::{MAX_KEYS, joined};
use crate::http::ServerHabits;
use crate::provider::form::link;
use crate::provider::{
    DeleteMode, DownloadLink, ErrorKind, FileEntry, FileId, FolderId, ProviderError, Result, Retry,
    ShareLinks,
};

const INFO: &str = "file/get_info";
const LINKS: &str = "file/get_links";
/// The types of links that lead to a page, best first.
const PAGES: &str = "normal_download,view";
/// The service does not tell how long its links live; a reader asks for a new one when one is refused.
const LINK_LIFE: Duration = Duration::from_secs(3600);

pub(super) async fn info(api: &Api, files: &[FileId]) -> Result<Vec<FileEntry>> {
    let mut entries = Vec::with_capacity(files.len());
    for batch in files.chunks(MAX_KEYS) {
        let params = Params::new().with("quick_key", &keys(batch));
        match api.call(INFO, &params).await {
            Ok(reply) => entries.extend(read_infos(&reply)),
            // The service answers so when none of the batch is there; single ones it skips.
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure.error),
        }
    }
    Ok(entries)
}

fn read_infos(reply: &Value) -> impl Iterator<Item = FileEntry> {
    let node = Node(reply);
    let many = node.items("file_infos", "file_info");
    let all = if many.is_empty() {
        node.items("file_info", "file_info")
    } else {
        many
    };
    all.into_iter().filter_map(|item| {
        let parent = Some(item.parent()?);
        let Some(file) = item.file() else {
            tracing::warn!("the service tells of a file without key, name or size: it is left out");
            return None;
        };
        Some(FileEntry { parent, ..file })
    })
}

pub(super) async fn links(api: &Api, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
    let mut links = links_of(api, files, "direct_download", read_link).await?;
    tell_gone_from_away(api, files, &mut links).await;
    Ok(links)
}

/// The service has "no direct link at present" for a file in the trash as well: whether it is there at all is asked for.
async fn tell_gone_from_away(api: &Api, files: &[FileId], links: &mut [Result<DownloadLink>]) {
    let is_away = |link: &Result<DownloadLink>| {
        let error = link.as_ref().err();
        error.is_some_and(|error| error.kind == ErrorKind::Unavailable)
    };
    let away = files.iter().zip(links.iter()).filter(|(_, link)| is_away(link));
    let away: Vec<FileId> = away.map(|(file, _)| file.clone()).collect();
    if away.is_empty() {
        return;
    }
    // What cannot be asked stays as it was told.
    let Ok(living) = info(api, &away).await else {
        return;
    };
    for (file, link) in files.iter().zip(links.iter_mut()) {
        if is_away(link) && !living.iter().any(|entry| entry.id == *file) {
            *link = Err(gone(file));
        }
    }
}

pub(super) async fn share_links(api: &Api, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
    links_of(api, files, PAGES, read_share_links).await
}

/// Links of the types `kind`, each read by `read`, which is told when they were asked for.
pub(super) async fn links_of<T>(
    api: &Api,
    files: &[FileId],
    kind: &str,
    read: impl Fn(&Api, Node<'_>, SystemTime) -> Result<T>,
) -> Result<Vec<Result<T>>> {
    let mut links = Vec::with_capacity(files.len());
    for batch in files.chunks(MAX_KEYS) {
        let mut told = match ask_links(api, batch, kind, &read).await {
            Ok(told) => told,
            Err(failure) if failure.is_gone() && batch.len() > 1 => {
                // One that is gone may have spoilt the batch: ask for the living alone.
                let living: Vec<_> = info(api, batch).await?.into_iter().map(|file| file.id).collect();
                if living.is_empty() {
                    HashMap::new()
                } else {
                    ask_links(api, &living, kind, &read).await?
                }
            }
            Err(failure) if failure.is_gone() => HashMap::new(),
            Err(failure) => return Err(failure.error),
        };
        links.extend(
            batch
                .iter()
                .map(|file| told.remove(file).unwrap_or_else(|| Err(gone(file)))),
        );
    }
    Ok(links)
}

fn gone(file: &FileId) -> ProviderError {
    ProviderError::new(ErrorKind::NotFound, Retry::Never, LINKS, "the file is gone")
        .with_context("file", file)
}

async fn ask_links<T>(
    api: &Api,
    batch: &[FileId],
    kind: &str,
    read: impl Fn(&Api, Node<'_>, SystemTime) -> Result<T>,
) -> std::result::Result<HashMap<FileId, Result<T>>, Failure> {
    let params = Params::new()
        .with("quick_key", &keys(batch))
        .with("link_type", kind);
    let asked = SystemTime::now();
    let reply = api.call(LINKS, &params).await?;
    let mut told = HashMap::new();
    for item in Node(&reply).items("links", "link") {
        // A single answer without key can only be about the file asked for.
        let key = item.text("quickkey").map(FileId::new);
        let Some(id) = key.or_else(|| batch.first().filter(|_| batch.len() == 1).cloned()) else {
            continue;
        };
        told.insert(id, read(api, item, asked));
    }
    Ok(told)
}

fn read_link(api: &Api, item: Node<'_>, asked: SystemTime) -> Result<DownloadLink> {
    let said = item
        .text("direct_download_error_message")
        .or_else(|| item.text("error"));
    let Some(text) = item.text("direct_download") else {
        // Without number it says in words that this login may not read the file.
        let code = item
            .number("direct_download_error")
            .or(item.text("error").map(|_| 45))
            .unwrap_or(0);
        return Err(link_error(LINKS, code, said.as_deref()));
    };
    Ok(DownloadLink {
        url: link(LINKS, &text, api.base())?,
        expires: asked + LINK_LIFE,
        habits: ServerHabits::default(),
    })
}

fn read_share_links(api: &Api, item: Node<'_>, _: SystemTime) -> Result<ShareLinks> {
    let told = PAGES.split(',').find_map(|kind| item.text(kind));
    let Some(text) = told else {
        let code = if item.text("error").is_some() { 45 } else { 0 };
        return Err(link_error(LINKS, code, item.text("error").as_deref()));
    };
    Ok(ShareLinks {
        url: link(LINKS, &text, api.base())?,
        short_url: None,
    })
}

/// A page of the service, as one of its answers tells it.
pub(super) fn page(operation: &'static str, text: &str, api: &Api) -> Result<Url> {
    link(operation, text, api.base())
}

/// Sets fields of a file. The same again changes nothing.
pub(super) async fn update(api: &Api, file: &FileId, fields: &[(&'static str, &str)]) -> Result<()> {
    let key = Params::new().with("quick_key", file.as_str());
    let params = fields
        .iter()
        .fold(key, |params, (field, value)| params.with(field, value));
    match api.call("file/update", &params).await {
        Err(failure) if !failure.is_no_change() => Err(failure.error.with_context("file", file)),
        _ => Ok(()),
    }
}

pub(super) fn mtime_text(mtime: SystemTime) -> Result<String> {
    format_time(mtime).ok_or_else(|| {
        let message = "the time lies outside of the years that the service takes";
        ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, "mtime", message)
    })
}

pub(super) async fn move_to(api: &Api, files: &[FileId], target: &FolderId) -> Result<()> {
    for batch in files.chunks(MAX_KEYS) {
        let params = Params::new()
            .with("quick_key", &keys(batch))
            .with("folder_key", target.as_str());
        let reply = api.call("file/move", &params).await?;
        if Node(&reply)
            .get("new_names")
            .is_some_and(|names| names.0.as_object().is_some_and(|map| !map.is_empty()))
        {
            tracing::warn!("the service renamed moved files to avoid twins");
        }
    }
    Ok(())
}

pub(super) async fn copy(api: &Api, file: &FileId, folder: &FolderId) -> Result<FileId> {
    const OPERATION: &str = "file/copy";
    let params = Params::new()
        .with("quick_key", file.as_str())
        .with("folder_key", folder.as_str());
    let reply = api.call(OPERATION, &params).await?;
    let node = Node(&reply);
    let new = node
        .texts("new_quickkeys", "new_quickkey")
        .into_iter()
        .next()
        .or_else(|| node.text("new_quickkey"));
    let id = new.ok_or_else(|| {
        let skipped = node.number("skipped_count").is_some_and(|count| count > 0);
        let (kind, retry, message) = if skipped {
            (
                ErrorKind::PermissionDenied,
                Retry::Never,
                "the service does not let this file be copied",
            )
        } else {
            (
                ErrorKind::Unexpected,
                Retry::OutcomeUnknown,
                "the service did not tell the copy's key",
            )
        };
        ProviderError::new(kind, retry, OPERATION, message).with_context("file", file)
    })?;
    Ok(FileId::new(id))
}

pub(super) async fn replace_content(api: &Api, new: &FileId, old: &FileId) -> Result<()> {
    let params = Params::new()
        .with("from_quickkey", new.as_str())
        .with("to_quickkey", old.as_str());
    api.call("file/update_file", &params).await?;
    Ok(())
}

pub(super) async fn delete(api: &Api, files: &[FileId], mode: DeleteMode) -> Result<()> {
    for batch in files.chunks(MAX_KEYS) {
        match delete_batch(api, batch, mode).await {
            Err(failure) if failure.is_gone() && batch.len() > 1 => {
                // One of them is gone, and what became of the others is not told: ask, then delete the rest.
                let living: Vec<_> = info(api, batch).await?.into_iter().map(|file| file.id).collect();
                if !living.is_empty() {
                    settle(delete_batch(api, &living, mode).await)?;
                }
            }
            result => settle(result)?,
        }
    }
    Ok(())
}

fn settle(result: std::result::Result<(), Failure>) -> Result<()> {
    match result {
        Err(failure) if !failure.is_gone() => Err(failure.error),
        _ => Ok(()),
    }
}

async fn delete_batch(api: &Api, batch: &[FileId], mode: DeleteMode) -> std::result::Result<(), Failure> {
    let operation = match mode {
        DeleteMode::Trash => "file/delete",
        DeleteMode::Purge => "file/purge",
    };
    api.call(operation, &Params::new().with("quick_key", &keys(batch)))
        .await
        .map(drop)
}

fn keys(files: &[FileId]) -> String {
    joined(files.iter().map(FileId::as_str))
}
