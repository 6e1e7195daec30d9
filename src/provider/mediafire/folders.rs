//! Folders: complete listings out of chunks, and what changes a folder.

use std::collections::HashSet;

use serde_json::Value;

use super::call::Api;
use super::errors::Failure;
use super::wire::{Node, Params, TRASH};
use super::{MAX_KEYS, joined};
use crate::provider::{
    DeleteMode, Entry, ErrorKind, FolderEntry, FolderId, FolderState, ListHint, Listing, ProviderError,
    Result, Retry,
};

const LIST: &str = "folder/get_content";
/// Entries in a chunk, the most that clients are known to get.
const CHUNK: usize = 1000;
/// Entries of a folder, and bytes of their names and keys, beyond which no more is asked for: a service could go on
/// without end.
const MOST_ENTRIES: usize = 2_000_000;
const MOST_TEXT: usize = 256 << 20;
/// How often a listing is begun anew because the folder changed between its chunks.
const PASSES: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Folders,
    Files,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Folders => "folders",
            Part::Files => "files",
        }
    }
}

pub(super) async fn list(api: &Api, folder: &FolderId, hint: ListHint) -> Result<Listing> {
    let part = |part, count: Option<u64>| async move {
        if count == Some(0) {
            Ok(Seen::default())
        } else {
            list_part(api, folder, part).await
        }
    };
    let (folders, files) =
        futures_util::future::try_join(part(Part::Folders, hint.folders), part(Part::Files, hint.files))
            .await?;
    // Of two revisions neither holds for both parts.
    let revision = match (folders.revision, files.revision) {
        (Some(one), Some(other)) => Some(one).filter(|one| *one == other),
        (one, other) => one.or(other),
    };
    let mut entries = folders.entries;
    entries.extend(files.entries);
    Ok(Listing {
        entries,
        incomplete: folders.incomplete || files.incomplete,
        revision,
    })
}

/// One part of a folder, and the folder's revision at that time.
#[derive(Default)]
struct Seen {
    entries: Vec<Entry>,
    /// Whether an entry made no sense.
    incomplete: bool,
    revision: Option<String>,
}

/// All entries of one part as of one revision of the folder.
async fn list_part(api: &Api, folder: &FolderId, part: Part) -> Result<Seen> {
    for _ in 0..PASSES {
        if let Some(seen) = pass(api, folder, part).await? {
            return Ok(seen);
        }
    }
    let message = "the folder keeps changing while it is listed";
    Err(
        ProviderError::new(ErrorKind::Busy, Retry::AfterWait(None), LIST, message)
            .with_context("folder", folder),
    )
}

/// One run through all chunks; `None` if the folder changed on the way.
async fn pass(api: &Api, folder: &FolderId, part: Part) -> Result<Option<Seen>> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    let mut revision = None;
    let mut incomplete = false;
    let mut text = 0;
    for chunk in 1_u64.. {
        let params = Params::new()
            .with("folder_key", folder.as_str())
            .with("content_type", part.name())
            .with("chunk", &chunk.to_string())
            .with("chunk_size", &CHUNK.to_string());
        let reply = api.call(LIST, &params).await?;
        let node = Node(&reply);
        let content = node.get("folder_content").unwrap_or(node);
        let now = content.text("revision");
        if chunk > 1 && now != revision {
            return Ok(None);
        }
        revision = now;
        let inner = if part == Part::Files { "file" } else { "folder" };
        let items = content.items(part.name(), inner);
        let before = seen.len();
        let told = items.len();
        for item in items {
            match read(item, part) {
                Some((id, entry)) => {
                    text += id.len() + entry.name().len();
                    if seen.insert(id) {
                        entries.push(entry);
                    }
                }
                None => incomplete = true,
            }
        }
        if seen.len() > MOST_ENTRIES || text > MOST_TEXT {
            let message = "the service lists more in the folder than any program can bear";
            return Err(
                ProviderError::new(ErrorKind::Unexpected, Retry::Never, LIST, message)
                    .with_context("folder", folder)
                    .with_context("entries", seen.len()),
            );
        }
        let more = content.flag("more_chunks").unwrap_or(told >= CHUNK);
        if !more {
            return Ok(Some(Seen {
                entries,
                incomplete,
                revision,
            }));
        }
        if seen.len() == before {
            let message = "the service announces more chunks without end, with nothing new in them";
            return Err(
                ProviderError::new(ErrorKind::Unexpected, Retry::Never, LIST, message)
                    .with_context("folder", folder)
                    .with_context("chunk", chunk),
            );
        }
    }
    Ok(None)
}

fn read(item: Node<'_>, part: Part) -> Option<(String, Entry)> {
    let read = match part {
        Part::Folders => item
            .folder()
            .map(|folder| (folder.id.to_string(), Entry::Folder(folder))),
        Part::Files => item.file().map(|file| (file.id.to_string(), Entry::File(file))),
    };
    if read.is_none() {
        tracing::warn!(
            part = part.name(),
            "the service lists an entry without key, name or size: it is left out"
        );
    }
    read
}

/// What folders are like now; those that are gone are left out.
pub(super) async fn states(api: &Api, folders: &[FolderId]) -> Result<Vec<FolderState>> {
    let mut states = Vec::with_capacity(folders.len());
    for batch in folders.chunks(MAX_KEYS) {
        let params = Params::new().with("folder_key", &joined(batch.iter().map(FolderId::as_str)));
        match api.call("folder/get_info", &params).await {
            Ok(reply) => states.extend(read_states(&reply, batch)),
            // The service answers so when none of the batch is there; single ones it skips.
            Err(failure) if failure.is_gone() => {}
            Err(failure) => return Err(failure.error),
        }
    }
    Ok(states)
}

fn read_states(reply: &Value, asked: &[FolderId]) -> Vec<FolderState> {
    let node = Node(reply);
    let many = node.items("folder_infos", "folder_info");
    let all = if many.is_empty() {
        node.items("folder_info", "folder_info")
    } else {
        many
    };
    let read = |item: Node<'_>| {
        // A folder in the trash can be asked for, too.
        if item.text("parent_folderkey").as_deref() == Some(TRASH) {
            return None;
        }
        let key = item.text("folderkey").map(FolderId::new);
        Some(FolderState {
            id: key.or_else(|| asked.first().filter(|_| asked.len() == 1).cloned())?,
            revision: item.text("revision"),
            holds: ListHint {
                files: item.number("file_count"),
                folders: item.number("folder_count"),
            },
        })
    };
    all.into_iter().filter_map(read).collect()
}

pub(super) async fn create(api: &Api, parent: &FolderId, name: &str) -> Result<FolderEntry> {
    const OPERATION: &str = "folder/create";
    let params = Params::new()
        .with("foldername", name)
        .with("parent_key", parent.as_str())
        .with("action_on_duplicate", "skip");
    let reply = api.call(OPERATION, &params).await?;
    let node = Node(&reply);
    let id = node
        .text("folder_key")
        .or_else(|| node.text("folderkey"))
        .ok_or_else(|| {
            let message = "the service made a folder and did not tell its key";
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, OPERATION, message)
        })?;
    Ok(FolderEntry {
        id: FolderId::new(id),
        name: node.text("name").unwrap_or_else(|| name.to_owned()),
        mtime: node.time(),
        hint: ListHint {
            files: node.number("file_count"),
            folders: node.number("folder_count"),
        },
    })
}

/// Sets fields of a folder. The same again changes nothing.
pub(super) async fn update(api: &Api, folder: &FolderId, fields: &[(&'static str, &str)]) -> Result<()> {
    let key = Params::new().with("folder_key", folder.as_str());
    let params = fields
        .iter()
        .fold(key, |params, (field, value)| params.with(field, value));
    match api.call("folder/update", &params).await {
        Err(failure) if !failure.is_no_change() => Err(failure.error.with_context("folder", folder)),
        _ => Ok(()),
    }
}

pub(super) async fn move_to(api: &Api, folders: &[FolderId], target: &FolderId) -> Result<()> {
    for batch in folders.chunks(MAX_KEYS) {
        let params = Params::new()
            .with("folder_key_src", &joined(batch.iter().map(FolderId::as_str)))
            .with("folder_key_dst", target.as_str());
        api.call("folder/move", &params).await?;
    }
    Ok(())
}

pub(super) async fn delete(api: &Api, folders: &[FolderId], mode: DeleteMode) -> Result<()> {
    for batch in folders.chunks(MAX_KEYS) {
        match delete_batch(api, batch, mode).await {
            Err(failure) if failure.is_gone() && batch.len() > 1 => {
                // One of them is gone, and what became of the others is not told.
                for folder in batch {
                    settle(delete_batch(api, std::slice::from_ref(folder), mode).await)?;
                }
            }
            result => settle(result)?,
        }
    }
    Ok(())
}

async fn delete_batch(api: &Api, batch: &[FolderId], mode: DeleteMode) -> std::result::Result<(), Failure> {
    let operation = match mode {
        DeleteMode::Trash => "folder/delete",
        DeleteMode::Purge => "folder/purge",
    };
    let params = Params::new().with("folder_key", &joined(batch.iter().map(FolderId::as_str)));
    api.call(operation, &params).await.map(drop)
}

fn settle(result: std::result::Result<(), Failure>) -> Result<()> {
    match result {
        Err(failure) if !failure.is_gone() => Err(failure.error),
        _ => Ok(()),
    }
}
