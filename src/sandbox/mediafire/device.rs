//! `device/*`: the change feed and the trash.

use serde_json::{Value, json};

use super::envelope::{Fail, Reply, fields, text, yes};
use super::{Context, shape};
use crate::sandbox::tree::Kind;

/// The feed tells changes up to the next multiple of this revision only.
const BLOCK: u64 = 500;

const DEFAULT_CHUNK: usize = 100;

pub fn get_status(context: &mut Context<'_>) -> Reply {
    let running = yes(context.job_runs());
    let revision = context.tree()?.revision();
    Ok(fields(
        json!({ "device_revision": text(revision), "async_jobs_in_progress": running }),
    ))
}

pub fn get_changes(context: &mut Context<'_>) -> Reply {
    let after = context.params.number("revision").ok_or(Fail::new(128))?;
    let tree = context.tree()?;
    let until = (after / BLOCK + 1) * BLOCK;
    let mut updated = (Vec::new(), Vec::new());
    let mut deleted = (Vec::new(), Vec::new());
    for (kind, key) in tree.changes(after, until) {
        match kind {
            Kind::File => {
                let Some(file) = tree.file(key) else { continue };
                let gone = file.deleted.is_some();
                let parent = if gone {
                    "trash"
                } else {
                    shape::parent_key(&file.parent)
                };
                let told = json!({
                    "quickkey": key,
                    "revision": text(file.revision),
                    "created": shape::local_time(file.created),
                    "created_utc": shape::utc_time(file.created),
                    "parent_folderkey": parent,
                });
                if gone {
                    deleted.0.push(told)
                } else {
                    updated.0.push(told)
                }
            }
            Kind::Folder => {
                let Some(folder) = tree.folder(key) else { continue };
                let gone = folder.deleted.is_some();
                let parent = if gone {
                    "trash"
                } else {
                    shape::parent_key(&folder.parent)
                };
                let told = json!({
                    "folderkey": key,
                    "revision": text(folder.changed),
                    "created": shape::local_time(folder.created),
                    "created_utc": shape::utc_time(folder.created),
                    "parent_folderkey": parent,
                });
                if gone {
                    deleted.1.push(told)
                } else {
                    updated.1.push(told)
                }
            }
        }
    }
    Ok(fields(json!({
        "device_revision": text(tree.revision()),
        "changes_list_block": text(BLOCK),
        "updated": { "files": updated.0, "folders": updated.1 },
        "deleted": { "files": deleted.0, "folders": deleted.1 },
    })))
}

pub fn get_trash(context: &mut Context<'_>) -> Reply {
    let base = context.base_url();
    let files = context.params.get("content_type") == Some("files");
    let chunk = context.params.number("chunk").unwrap_or(1).max(1);
    let tree = context.tree()?;
    let all: Vec<Value> = if files {
        tree.trashed_files()
            .map(|file| shape::file(file, &base).into())
            .collect()
    } else {
        tree.trashed_folders()
            .map(|folder| shape::folder(tree, folder, false).into())
            .collect()
    };
    let start = (chunk as usize - 1).saturating_mul(DEFAULT_CHUNK);
    let more = all.len() > start.saturating_add(DEFAULT_CHUNK);
    let mut reply = fields(json!({
        "name": "trash",
        "folderkey": "trash",
        "folder_count": text(tree.trashed_folders().count()),
        "file_count": text(tree.trashed_files().count()),
        "content_type": if files { "files" } else { "folders" },
        "chunk_number": text(chunk),
        "more_chunks": yes(more),
    }));
    let shown = all.into_iter().skip(start).take(DEFAULT_CHUNK).collect();
    reply.insert(if files { "files" } else { "folders" }.to_owned(), shown);
    Ok(reply)
}

pub fn empty_trash(context: &mut Context<'_>) -> Reply {
    let asynchronous = context.begin_job()?;
    let tree = context.tree()?;
    tree.empty_trash();
    Ok(fields(
        json!({ "asynchronous": asynchronous, "new_device_revision": text(tree.revision()) }),
    ))
}
