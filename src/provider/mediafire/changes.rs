//! The change feed: one cheap probe, then the feed in its blocks.

use std::collections::HashSet;

use serde_json::Value;

use super::call::Api;
use super::wire::{Node, Params, ROOT, TRASH};
use crate::provider::{ChangeCursor, Changes, ErrorKind, FileId, FolderId, ProviderError, Result, Retry};

const STATUS: &str = "device/get_status";
const CHANGES: &str = "device/get_changes";
/// An answer covers the revisions up to the next multiple of this.
const BLOCK: u64 = 500;
/// Bounds one call of ours; a caller that lags further behind goes on from the cursor it gets.
const MAX_BLOCKS: usize = 200;
/// Revisions that the uploads read again at most.
const REACH: u64 = 2 * BLOCK;

pub(super) async fn changes(api: &Api, since: Option<&ChangeCursor>) -> Result<Changes> {
    let reply = api.call(STATUS, &Params::new()).await?;
    let now = Node(&reply)
        .number("device_revision")
        .ok_or_else(|| no_revision(STATUS))?;
    let since = match since {
        None => return Ok(collected(now, Found::default())),
        Some(cursor) => read_cursor(cursor)?,
    };
    let mut found = Found::default();
    if now < since {
        // The service began to count anew: what happened in between is not told.
        found.folder(ROOT);
        return Ok(collected(now, found));
    }
    let mut at = since;
    for _ in 0..MAX_BLOCKS {
        if at >= now {
            break;
        }
        found.read(Node(&block(api, at).await?));
        at = block_end(at).min(now);
    }
    Ok(collected(at, found))
}

async fn block(api: &Api, after: u64) -> Result<Value> {
    let params = Params::new().with("revision", &after.to_string());
    Ok(api.call(CHANGES, &params).await?)
}

/// The last revision that an answer after `at` covers.
fn block_end(at: u64) -> u64 {
    (at / BLOCK + 1) * BLOCK
}

/// How far the uploads have read the feed, apart from everybody else who reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The revisions to which the last two readings went.
    to: [u64; 2],
}

/// The files that were changed lately: since the reading before the last one, so that what was made during the
/// last one is told again to whoever began to wait meanwhile. Of a long absence only the end is told.
pub(super) async fn lately(api: &Api, last: Option<Reading>) -> Result<(Vec<FileId>, Reading)> {
    let mut at = match last {
        Some(Reading { to: [before, _] }) => before,
        None => {
            let reply = api.call(STATUS, &Params::new()).await?;
            let now = Node(&reply).number("device_revision");
            now.ok_or_else(|| no_revision(STATUS))?.saturating_sub(BLOCK)
        }
    };
    let mut found = Found::default();
    for _ in 0..MAX_BLOCKS {
        let reply = block(api, at).await?;
        let node = Node(&reply);
        let now = node
            .number("device_revision")
            .ok_or_else(|| no_revision(CHANGES))?;
        let oldest = now.saturating_sub(REACH);
        // Too far behind, or ahead: the service began to count anew.
        if at < oldest || at > now {
            at = oldest;
            continue;
        }
        found.read(node);
        at = block_end(at).min(now);
        if at == now {
            break;
        }
    }
    let before = last.map_or(at, |Reading { to: [_, last] }| last.min(at));
    Ok((found.files, Reading { to: [before, at] }))
}

fn no_revision(operation: &'static str) -> ProviderError {
    let message = "the service's answer lacks device_revision";
    ProviderError::new(ErrorKind::Unexpected, Retry::Never, operation, message)
}

fn read_cursor(cursor: &ChangeCursor) -> Result<u64> {
    cursor.as_str().parse().map_err(|_| {
        let message = "the cursor is not one of this service";
        ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, CHANGES, message)
    })
}

#[derive(Default)]
struct Found {
    folders: Vec<FolderId>,
    files: Vec<FileId>,
    seen: HashSet<String>,
}

impl Found {
    fn read(&mut self, node: Node<'_>) {
        for group in ["updated", "deleted"]
            .into_iter()
            .filter_map(|group| node.get(group))
        {
            for folder in group.items("folders", "folder") {
                if let Some(key) = folder.text("folderkey") {
                    self.folder(&key);
                }
                self.parent(folder);
            }
            for file in group.items("files", "file") {
                if let Some(key) = file.text("quickkey")
                    && self.seen.insert(format!("file {key}"))
                {
                    self.files.push(FileId::new(key));
                }
                self.parent(file);
            }
        }
    }

    fn parent(&mut self, item: Node<'_>) {
        self.folder(&item.text("parent_folderkey").unwrap_or_else(|| ROOT.to_owned()));
    }

    fn folder(&mut self, key: &str) {
        if key != TRASH && self.seen.insert(format!("folder {key}")) {
            self.folders.push(FolderId::new(key));
        }
    }
}

fn collected(revision: u64, found: Found) -> Changes {
    Changes {
        cursor: ChangeCursor::new(revision.to_string()),
        folders: found.folders,
        files: found.files,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folders_are_told_once_the_root_by_its_name_and_the_trash_never() {
        let reply = json!({
            "updated": {
                "files": [{"quickkey": "f1", "parent_folderkey": ""}, {"quickkey": "f2", "parent_folderkey": "trash"}],
                "folders": {"folderkey": "a", "parent_folderkey": "b"},
            },
            "deleted": {"files": [{"quickkey": "f1"}], "folders": ""},
        });
        let mut found = Found::default();
        found.read(Node(&reply));
        assert_eq!(found.folders, ["a", "b", ROOT].map(FolderId::new));
        assert_eq!(found.files, ["f1", "f2"].map(FileId::new));
    }
}
