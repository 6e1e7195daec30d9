//! What a path of a mount stands for on the service, as the mount tells it by extended attributes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::attribute;
use crate::provider::{FileId, FolderId, ItemId};

/// What the top of the mount that a path is in tells.
pub(super) fn of_mount(path: &Path, tell: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    path.ancestors().find_map(tell)
}

pub(super) struct StoredItem {
    pub account: String,
    pub item: ItemId,
}

/// What a path of a mount stands for on the service, or what follows the path in a sentence on why it is nothing there.
pub(super) fn stored_in_mount(path: &Path) -> Result<StoredItem, String> {
    let about = path.symlink_metadata().map_err(|error| reason(&error))?;
    let read = |name: &str| attribute::read(path, OsStr::new(name)).map_err(|error| reason(&error));
    let Some(account) = read("user.lockerfs.account")? else {
        return Err(match read("user.lockerfs.state")? {
            Some(_) => "is in a mount of an older lockerfs: mount it anew".to_owned(),
            None => "is not in a mount of lockerfs (and names no account, as media:a.txt would)".to_owned(),
        });
    };
    let state = read("user.lockerfs.state")?;
    let id = read("user.lockerfs.id")?;
    let item = match (about.is_dir(), id, state.as_deref()) {
        (true, Some(id), None) => ItemId::Folder(FolderId::new(id)),
        (false, Some(id), Some("stored")) => ItemId::File(FileId::new(id)),
        (_, _, state) => return Err(not_stored(state.unwrap_or("not known there"))),
    };
    Ok(StoredItem { account, item })
}

/// Why nothing can be done with it on the service, as what follows its path.
fn not_stored(state: &str) -> String {
    match state {
        "list" => "is the list of its folder's links, and is not on the service".to_owned(),
        "local" | "kept" => "stays on this machine, and is not on the service".to_owned(),
        "parked" => "is not uploaded and needs you: `lockerfs status` says why".to_owned(),
        "open" => "is written to at present: close it, and say this again when it is uploaded".to_owned(),
        _ => {
            format!("waits for its upload ({state}): say this again when `lockerfs drain` has ended")
        }
    }
}

pub(in crate::cli) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "is not there".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read".to_owned(),
        _ => format!("cannot be asked: {error}"),
    }
}
