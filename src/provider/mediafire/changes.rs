//! The change feed: one cheap probe, then the feed in its blocks.

use std::collections::HashSet;

use super::call::Api;
use super::wire::{Node, Params, ROOT, TRASH};
use crate::provider::json::Parsed;
use crate::provider::{
    ChangeCursor, Changed, Changes, ErrorKind, FileId, FolderId, ProviderError, Result, Retry,
};

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
        None => return Ok(Found::default().up_to(now, 0)),
        Some(cursor) => read_cursor(cursor)?,
    };
    let mut found = Found::default();
    if now < since {
        // The service began to count anew: what happened in between is not told.
        found.everything = true;
        return Ok(found.up_to(now, 0));
    }
    let mut at = since;
    for _ in 0..MAX_BLOCKS {
        if at >= now {
            break;
        }
        found.read(Node(&*block(api, at).await?));
        at = block_end(at).min(now);
    }
    Ok(found.up_to(at, at - since))
}

async fn block(api: &Api, after: u64) -> Result<Parsed> {
    let params = Params::new().with("revision", &after.to_string());
    Ok(api.call(CHANGES, &params).await?)
}

/// The last revision that an answer after `at` covers.
fn block_end(at: u64) -> u64 {
    (at / BLOCK + 1).saturating_mul(BLOCK)
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
    let files = found.files.into_iter().map(|file| file.id).collect();
    Ok((files, Reading { to: [before, at] }))
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

/// What the feed told, each item once, as it was told last.
#[derive(Default)]
struct Found {
    folders: Vec<Changed<FolderId>>,
    files: Vec<Changed<FileId>>,
    seen: HashSet<String>,
    everything: bool,
}

impl Found {
    fn read(&mut self, node: Node<'_>) {
        for (name, is_there) in [("updated", true), ("deleted", false)] {
            let Some(group) = node.get(name) else { continue };
            for folder in group.items("folders", "folder") {
                if let Some(key) = folder.text("folderkey")
                    && self.seen.insert(format!("folder {key}"))
                {
                    self.folders.push(Changed {
                        id: FolderId::new(key),
                        folder: parent(folder).filter(|_| is_there),
                    });
                }
            }
            for file in group.items("files", "file") {
                if let Some(key) = file.text("quickkey")
                    && self.seen.insert(format!("file {key}"))
                {
                    self.files.push(Changed {
                        id: FileId::new(key),
                        folder: parent(file).filter(|_| is_there),
                    });
                }
            }
        }
    }

    /// All that happened up to a revision, over which so many changes were counted. An item that changed twice is
    /// told once, and one that was purged not at all: the one cannot be told from the other.
    fn up_to(self, revision: u64, counted: u64) -> Changes {
        let told = self.folders.len() + self.files.len();
        Changes {
            cursor: ChangeCursor::new(revision.to_string()),
            untold: (told as u64) < counted,
            folders: self.folders,
            files: self.files,
            everything: self.everything,
        }
    }
}

/// The folder that an item is in; none for one in the trash.
fn parent(item: Node<'_>) -> Option<FolderId> {
    let key = item.text("parent_folderkey").unwrap_or_else(|| ROOT.to_owned());
    Some(key).filter(|key| key != TRASH).map(FolderId::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_told_once_the_root_by_its_name_and_the_trash_never() {
        let reply = json!({
            "updated": {
                "files": [{"quickkey": "f1", "parent_folderkey": ""}, {"quickkey": "f2", "parent_folderkey": "trash"}],
                "folders": {"folderkey": "a", "parent_folderkey": "b"},
            },
            "deleted": {"files": [{"quickkey": "f3", "parent_folderkey": "b"}], "folders": ""},
        });
        let mut found = Found::default();
        found.read(Node(&reply));
        found.read(Node(&reply));
        let changes = found.up_to(9, 5);
        let files: Vec<_> = changes
            .files
            .iter()
            .map(|file| (file.id.as_str(), file.folder.as_ref()))
            .collect();
        let root = FolderId::new(ROOT);
        assert_eq!(files, [("f1", Some(&root)), ("f2", None), ("f3", None)]);
        let folders = changes
            .folders
            .iter()
            .map(|folder| (folder.id.as_str(), folder.folder.as_ref()));
        assert_eq!(folders.collect::<Vec<_>>(), [("a", Some(&FolderId::new("b")))]);
        assert!(changes.untold, "five changes, four items");
    }
}
