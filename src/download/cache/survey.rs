//! The look through the folder, in a thread of its own: what is there, how much it takes, when it was used last.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::files;
use super::map::Id;
use super::room::Room;

/// The name of the file that tells programs for backups to leave the folder out.
pub(super) const TAG: &str = "CACHEDIR.TAG";

/// What was found of a content.
#[derive(Default)]
struct Found {
    charge: u64,
    last_use: u64,
    has_data: bool,
    has_map: bool,
}

/// Whether no content can be in a folder, as far as its first level tells.
pub(super) fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name != "lock" && name != TAG {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn run(room: &Arc<Room>) {
    if let Err(error) = look_through(room) {
        // What cannot be looked at cannot be counted either, and nothing new is kept.
        room.refused("look through the folder of the cache", &error);
        return;
    }
    if !room.is_stopped() {
        room.registry().set_complete();
        room.shrink_to_limit();
    }
}

fn look_through(room: &Arc<Room>) -> io::Result<()> {
    for entry in fs::read_dir(room.directory())? {
        let entry = entry?;
        let name = entry.file_name();
        let bucket = name.to_str().filter(|name| is_bucket(name));
        if room.is_stopped() {
            return Ok(());
        }
        match bucket {
            // The type of the entry itself: a link to a folder is none.
            Some(bucket) if entry.file_type()?.is_dir() => look_into(room, &entry.path(), bucket)?,
            Some(_) => remove_stray(&entry),
            None if name == "lock" || name == TAG => {}
            None => remove_stray(&entry),
        }
    }
    Ok(())
}

fn is_bucket(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn look_into(room: &Arc<Room>, folder: &Path, bucket: &str) -> io::Result<()> {
    let mut contents: BTreeMap<Id, Found> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if room.is_stopped() {
            return Ok(());
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let (stem, is_map) = match name.strip_suffix(files::MAP) {
            Some(stem) => (stem, true),
            None => (&*name, false),
        };
        let Some(id) = Id::from_hex(&format!("{bucket}{stem}")) else {
            remove_stray(&entry);
            continue;
        };
        // Of the entry itself, where it is a link.
        let facts = match entry.metadata() {
            Ok(facts) => facts,
            // Let go meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let found = contents.entry(id).or_default();
        found.charge += files::allocated(&facts);
        if is_map {
            found.has_map = facts.is_file();
            found.last_use = files::last_use(&facts);
        } else {
            found.has_data = facts.is_file() && facts.nlink() > 0;
        }
    }
    for (id, found) in contents {
        room.registry().found(id, found.charge, found.last_use);
        if !(found.has_data && found.has_map) {
            // One half of a content is none; to open it takes it away. Through the content, since it may just be made.
            room.handle(id).load();
        }
    }
    Ok(())
}

/// Takes away what is not of the cache, or was left half made. Folders stay: nothing here makes them.
fn remove_stray(entry: &DirEntry) {
    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
    if is_folder {
        return;
    }
    if let Err(error) = files::remove(&entry.path()) {
        tracing::debug!(%error, "a stray file of the cache stays");
    }
}
