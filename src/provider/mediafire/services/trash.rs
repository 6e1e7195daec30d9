//! The trash: what is in it, out of it, and away with it.

use std::collections::HashSet;

use serde_json::Value;

use crate::provider::json::Parsed;
use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::errors::Failure;
use crate::provider::mediafire::wire::{Node, Params};
use crate::provider::mediafire::{MAX_KEYS, by_kind, joined};
use crate::provider::services::{Restored, TrashedItem};
use crate::provider::{ErrorKind, FileId, FolderId, ItemId, ProviderError, Result, Retry};

const LIST: &str = "device/get_trash";
const EMPTY: &str = "device/empty_trash";
const STATUS: &str = "device/get_status";

pub(super) async fn list(api: &Api) -> Result<Vec<TrashedItem>> {
    let mut all = part(api, "folders").await?;
    all.extend(part(api, "files").await?);
    Ok(all)
}

/// The chunks of one part. The service tells how many items there are, and not how many a chunk has.
async fn part(api: &Api, kind: &'static str) -> Result<Vec<TrashedItem>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for chunk in 1_u64.. {
        let params = Params::new()
            .with("content_type", kind)
            .with("chunk", &chunk.to_string());
        let reply = api.call(LIST, &params).await?;
        let node = Node(&reply);
        let before = seen.len();
        let inner = if kind == "files" { "file" } else { "folder" };
        for item in node.items(kind, inner).into_iter().filter_map(read) {
            if seen.insert(item.item.clone()) {
                found.push(item);
            }
        }
        let is_new = seen.len() > before;
        match node.flag("more_chunks") {
            Some(true) if is_new => {}
            Some(true) => {
                let message = "the service announces more of the trash without end, with nothing new in it";
                return Err(ProviderError::new(
                    ErrorKind::Unexpected,
                    Retry::Never,
                    LIST,
                    message,
                ));
            }
            _ => break,
        }
    }
    Ok(found)
}

fn read(item: Node<'_>) -> Option<TrashedItem> {
    let (id, name) = match item.text("quickkey") {
        Some(key) => (ItemId::File(FileId::new(key)), item.text("filename")?),
        None => (
            ItemId::Folder(FolderId::new(item.text("folderkey")?)),
            item.text("name")?,
        ),
    };
    Some(TrashedItem {
        item: id,
        name,
        size: item.number("size"),
        deleted: item.text("delete_date"),
    })
}

/// Moving an item is how it leaves the trash.
pub(super) async fn restore(api: &Api, items: &[ItemId], folder: &FolderId) -> Result<Restored> {
    let (files, folders) = by_kind(items);
    let mut restored = Restored::default();
    for batch in files.chunks(MAX_KEYS) {
        let params = Params::new()
            .with("quick_key", &joined(batch.iter().map(FileId::as_str)))
            .with("folder_key", folder.as_str());
        moved(api.call("file/move", &params).await, &mut restored)?;
    }
    for batch in folders.chunks(MAX_KEYS) {
        let params = Params::new()
            .with("folder_key_src", &joined(batch.iter().map(FolderId::as_str)))
            .with("folder_key_dst", folder.as_str());
        moved(api.call("folder/move", &params).await, &mut restored)?;
    }
    Ok(restored)
}

fn moved(answer: std::result::Result<Parsed, Failure>, restored: &mut Restored) -> Result<()> {
    match answer {
        Ok(reply) => {
            let node = Node(&reply);
            restored.goes_on |= node.flag("asynchronous").unwrap_or(false);
            restored.renamed.extend(new_names(node));
            Ok(())
        }
        Err(failure) if matches!(failure.code, Some(209..=211)) => {
            let message =
                "the service does not let this out of the trash from here: restore it on its web site";
            let error = ProviderError::new(ErrorKind::Unsupported, Retry::Never, "trash", message);
            Err(error.with_source(failure.error))
        }
        Err(failure) => Err(failure.error),
    }
}

/// By the key of each item, or as a list.
fn new_names(node: Node<'_>) -> Vec<String> {
    match node.0.get("new_names") {
        Some(Value::Object(map)) => map
            .values()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => node.texts("new_names", "new_name"),
    }
}

pub(super) async fn empty(api: &Api) -> Result<bool> {
    let reply = api.call(EMPTY, &Params::new()).await?;
    Ok(Node(&reply).flag("asynchronous").unwrap_or(false))
}

pub(super) async fn works(api: &Api) -> Result<bool> {
    let reply = api.call(STATUS, &Params::new()).await?;
    Ok(Node(&reply).flag("async_jobs_in_progress").unwrap_or(false))
}
