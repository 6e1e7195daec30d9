//! `file/*` calls that change something.

use serde_json::{Map, Value, json};

use super::envelope::{Fail, Reply, fields, text};
use super::{Context, mint, shape};
use crate::sandbox::blobs::EMPTY_SHA256;
use crate::sandbox::tree::{Content, Kind};

/// What a new file of the type `text` holds: two spaces, by the hash in the service's own examples.
pub const TEXT: &[u8] = b"  ";
const TEXT_SHA256: &str = "6c179f21e6f62b629055d8ab40f454ed02e48b68563913473b857d3638e23b28";

/// Those of the caller's live files among the named ones, and the last refusal.
fn usable(context: &mut Context<'_>, trashed: i64) -> Result<(Vec<String>, Option<Fail>), Fail> {
    let mut usable = Vec::new();
    let mut refused = None;
    for key in context.file_keys()? {
        match context.own_file(&key) {
            Ok(key) if context.tree()?.is_live_file(&key) => usable.push(key),
            Ok(_) => refused = Some(Fail::new(trashed)),
            Err(fail) => refused = Some(fail),
        }
    }
    Ok((usable, refused))
}

fn usable_or_fail(context: &mut Context<'_>, trashed: i64) -> Result<Vec<String>, Fail> {
    match usable(context, trashed)? {
        (keys, Some(fail)) if keys.is_empty() => Err(fail),
        (keys, _) => Ok(keys),
    }
}

fn revision(context: &mut Context<'_>) -> Reply {
    Ok(fields(
        json!({ "new_device_revision": text(context.tree()?.revision()) }),
    ))
}

pub fn create(context: &mut Context<'_>) -> Reply {
    let params = context.params;
    let name = match params.filled("filename") {
        Some(name) => name.to_owned(),
        None => format!(
            "Untitled.{}",
            params.filled("file_extension").ok_or(Fail::new(128))?
        ),
    };
    context.check_name(&name, 118)?;
    if shape::extension(&name) != "txt" {
        return Err(Fail::new(118));
    }
    let parent = context.folder_or_root("parent_key", "parent_path")?;
    let created = context.mtime()?;
    let content = match params.get("type").unwrap_or_default() {
        "text" => Content {
            sha256: TEXT_SHA256.to_owned(),
            size: TEXT.len() as u64,
        },
        "" => Content {
            sha256: EMPTY_SHA256.to_owned(),
            size: 0,
        },
        _ => return Err(Fail::new(129)),
    };
    let (now, base) = (context.now, context.base_url());
    let tree = context.tree()?;
    let name = tree.free_name(&parent, &name, Kind::File);
    let key = mint(Kind::File);
    tree.add_file(&key, &parent, &name, content, created, now);
    let revision = tree.revision();
    let file = tree.file(&key).ok_or(Fail::new(100))?;
    Ok(fields(
        json!({ "fileinfo": shape::file(file, &base), "new_device_revision": text(revision) }),
    ))
}

pub fn copy(context: &mut Context<'_>) -> Reply {
    let (keys, refused) = usable(context, 211)?;
    let asked = context.file_keys()?.len();
    let target = context.folder_or_root("folder_key", "folder_path")?;
    let room = context.room()?;
    let now = context.now;
    let tree = context.tree()?;
    let bytes: u64 = keys
        .iter()
        .filter_map(|key| tree.file(key))
        .map(|file| file.content.size)
        .sum();
    if bytes > room {
        return Err(Fail::new(162));
    }
    let mut copies = Vec::new();
    for key in &keys {
        let Some(file) = tree.file(key).cloned() else {
            continue;
        };
        let name = tree.free_name(&target, &file.name, Kind::File);
        let fresh = mint(Kind::File);
        tree.add_file(&fresh, &target, &name, file.content, file.created, now);
        copies.push(fresh);
    }
    let told = fields(json!({
        "new_quickkeys": copies,
        "skipped_count": "0",
        "other_count": text(asked - keys.len()),
        "new_device_revision": text(tree.revision()),
    }));
    match refused {
        // As the service's own example has it: what could be copied was, and the rest is told as an error.
        Some(fail) => Err(Fail {
            code: fail.code,
            extra: told,
        }),
        None => Ok(told),
    }
}

pub fn move_to(context: &mut Context<'_>) -> Reply {
    let (mut keys, mut refused) = (Vec::new(), None);
    for key in context.file_keys()? {
        match context.own_file(&key) {
            Ok(key) => keys.push(key),
            Err(fail) => refused = Some(fail),
        }
    }
    if let (true, Some(fail)) = (keys.is_empty(), refused) {
        return Err(fail);
    }
    let target = context.folder_or_root("folder_key", "folder_path")?;
    let tree = context.tree()?;
    let mut renamed = Map::new();
    for key in keys {
        let Some(file) = tree.file(&key) else { continue };
        let (old, is_trashed) = (file.name.clone(), file.deleted.is_some());
        if file.parent == target && !is_trashed {
            continue;
        }
        let name = tree.free_name(&target, &old, Kind::File);
        match is_trashed {
            true => tree.bring_back_file(&key, &target, &name),
            false => tree.place_file(&key, &target, &name),
        }
        if name != old {
            renamed.insert(key, Value::from(name));
        }
    }
    let renamed = if renamed.is_empty() {
        json!("")
    } else {
        Value::from(renamed)
    };
    Ok(fields(
        json!({ "new_names": renamed, "new_device_revision": text(tree.revision()) }),
    ))
}

pub fn update(context: &mut Context<'_>) -> Reply {
    let key = context.one_file()?;
    let params = context.params;
    let name = params.filled("filename");
    let mtime = params.filled("mtime").map(|_| context.mtime()).transpose()?;
    let refuse_extension = context.shared.options.quirks.extension_change_refused;
    if let Some(name) = name {
        context.check_name(name, 118)?;
    }
    let description = params.get("description");
    let privacy = params.filled("privacy");
    check_privacy(privacy)?;
    let now = context.now;
    let tree = context.tree()?;
    let file = tree.file(&key).ok_or(Fail::new(110))?;
    let (old, parent) = (file.name.clone(), file.parent.clone());
    // "If not set, the current server time will be used."
    let created = mtime.unwrap_or(now);
    if let Some(name) = name.filter(|name| **name != old) {
        if refuse_extension && shape::extension(name) != shape::extension(&old) {
            return Err(Fail::new(106));
        }
        let name = tree.free_name(&parent, name, Kind::File);
        tree.place_file(&key, &parent, &name);
    }
    if params.says_yes("truncate") {
        let empty = Content {
            sha256: EMPTY_SHA256.to_owned(),
            size: 0,
        };
        tree.put_content(&key, empty, created, now);
    }
    if name.is_some() || mtime.is_some() || description.is_some() || privacy.is_some() {
        tree.edit_file(&key, |file| {
            file.created = created;
            if let Some(description) = description {
                file.description = description.to_owned();
            }
            if let Some(privacy) = privacy {
                file.private = privacy == "private";
            }
        });
    }
    revision(context)
}

/// Refuses what is no privacy of a file or folder.
pub fn check_privacy(privacy: Option<&str>) -> Result<(), Fail> {
    match privacy {
        None | Some("public" | "private") => Ok(()),
        Some(_) => Err(Fail::new(129)),
    }
}

/// A live file of the caller's by one parameter or another.
fn either(context: &mut Context<'_>, key_name: &str, path_name: &str) -> Result<String, Fail> {
    let params = context.params;
    let key = match (params.filled(key_name), params.filled(path_name)) {
        (Some(key), _) => context.own_file(key)?,
        (None, Some(path)) => context.file_at(path)?,
        (None, None) => return Err(Fail::new(111)),
    };
    if context.tree()?.is_live_file(&key) {
        Ok(key)
    } else {
        Err(Fail::new(211))
    }
}

pub fn update_file(context: &mut Context<'_>) -> Reply {
    let from = either(context, "from_quickkey", "from_path")?;
    let to = either(context, "to_quickkey", "to_path")?;
    if from == to {
        return Err(Fail::new(238));
    }
    let now = context.now;
    let tree = context.tree()?;
    let (Some(source), Some(target)) = (tree.file(&from).cloned(), tree.file(&to).cloned()) else {
        return Err(Fail::new(110));
    };
    if [&source, &target]
        .iter()
        .any(|file| shape::media(&file.name).1 == "image")
    {
        return Err(Fail::new(142));
    }
    if shape::extension(&source.name) != shape::extension(&target.name) {
        return Err(Fail::new(106));
    }
    if source.content == target.content {
        return Err(Fail::new(238));
    }
    tree.purge_file(&from);
    tree.put_content(&to, source.content, source.created, now);
    // Contents and properties are the source's; name, place and key stay.
    tree.edit_file(&to, |file| {
        file.description = source.description;
        file.private = source.private;
    });
    revision(context)
}

pub fn delete(context: &mut Context<'_>) -> Reply {
    let keys = usable_or_fail(context, 210)?;
    let now = context.now;
    let tree = context.tree()?;
    for key in keys {
        tree.trash_file(&key, now);
    }
    revision(context)
}

pub fn purge(context: &mut Context<'_>) -> Reply {
    let mut refused = None;
    let mut purged = false;
    for key in context.file_keys()? {
        match context.own_file(&key) {
            Ok(key) => {
                context.tree()?.purge_file(&key);
                purged = true;
            }
            Err(fail) => refused = Some(fail),
        }
    }
    match refused {
        Some(fail) if !purged => Err(fail),
        _ => revision(context),
    }
}

pub fn restore(context: &mut Context<'_>) -> Reply {
    let key = context.one_file()?;
    let wanted = context.params.number("revision").ok_or(Fail::new(128))?;
    let now = context.now;
    let tree = context.tree()?;
    let file = tree.file(&key).ok_or(Fail::new(110))?;
    let version = file.versions.iter().find(|version| version.revision == wanted);
    let content = version
        .map(|version| version.content.clone())
        .ok_or(Fail::new(223))?;
    let created = file.created;
    tree.put_content(&key, content, created, now);
    Ok(fields(
        json!({ "asynchronous": "no", "new_device_revision": text(tree.revision()) }),
    ))
}

pub fn set_artwork(context: &mut Context<'_>) -> Reply {
    let artwork = either(context, "artwork", "artwork_path")?;
    let is_kind = |context: &mut Context<'_>, key: &str, kinds: &[&str]| {
        let file = context.tree().ok().and_then(|tree| tree.file(key));
        file.is_some_and(|file| kinds.contains(&shape::media(&file.name).1))
    };
    if !is_kind(context, &artwork, &["image"]) {
        return Err(Fail::new(142));
    }
    for key in usable_or_fail(context, 211)? {
        if !is_kind(context, &key, &["audio", "video"]) {
            return Err(Fail::new(142));
        }
        let artwork = artwork.clone();
        context
            .tree()?
            .edit_file(&key, |file| file.artwork = Some(artwork));
    }
    Ok(fields(json!({})))
}
