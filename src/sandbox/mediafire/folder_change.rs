//! `folder/*` calls that change something.

use serde_json::{Value, json};

use super::envelope::{Fail, Reply, fields, text};
use super::file_change::check_privacy;
use super::{Context, MAX_DEPTH, mint, shape, split_keys};
use crate::sandbox::tree::{Kind, ROOT, Tree};

/// How deep the deepest folder below `key` stands under it.
fn height(tree: &Tree, key: &str) -> usize {
    let own = tree.depth(key);
    tree.subtree(key)
        .iter()
        .map(|folder| tree.depth(folder) - own)
        .max()
        .unwrap_or(0)
}

pub fn create(context: &mut Context<'_>) -> Reply {
    let name = context.params.filled("foldername").ok_or(Fail::new(117))?;
    context.check_name(name, 185)?;
    let parent = context.folder_or_root("parent_key", "parent_path")?;
    let created = context.mtime()?;
    let action = match context.params.get("allow_duplicate_name") {
        Some("no") => "skip",
        _ => context.params.filled("action_on_duplicate").unwrap_or("keep"),
    };
    let now = context.now;
    let tree = context.tree()?;
    if tree.depth(&parent) >= MAX_DEPTH {
        return Err(Fail::new(167));
    }
    let twin = tree.folder_named(&parent, name).map(|folder| folder.key.clone());
    let key = match (action, twin) {
        ("skip", Some(twin)) => twin,
        ("replace", Some(twin)) => {
            tree.trash_folder(&twin, now);
            add(tree, &parent, name, created)
        }
        ("skip" | "keep" | "replace", _) => add(tree, &parent, name, created),
        _ => return Err(Fail::new(129)),
    };
    let folder = tree.folder(&key).ok_or(Fail::new(100))?;
    let mut reply = shape::folder(tree, folder, false);
    reply.insert("folder_key".to_owned(), Value::from(key.as_str()));
    reply.insert("upload_key".to_owned(), Value::from(key.as_str()));
    reply.insert(
        "parent_folderkey".to_owned(),
        Value::from(shape::folder_key(&parent)),
    );
    reply.insert("new_device_revision".to_owned(), Value::from(tree.revision()));
    Ok(reply)
}

fn add(tree: &mut Tree, parent: &str, name: &str, created: i64) -> String {
    let key = mint(Kind::Folder);
    let name = tree.free_name(parent, name, Kind::Folder);
    tree.add_folder(&key, parent, &name, created);
    key
}

/// The folders that a call names: by a list of keys, or by one path.
fn named(context: &mut Context<'_>, keys: &str, path: &str) -> Result<Vec<String>, Fail> {
    if let Some(keys) = context.params.filled(keys) {
        return split_keys(keys);
    }
    match context.params.filled(path) {
        Some(_) => Ok(vec![context.folder_or_root("", path)?]),
        None => Err(Fail::new(113)),
    }
}

/// Those of the caller's live folders among `keys`, without the root; an error when there is none.
fn usable(context: &mut Context<'_>, keys: Vec<String>) -> Result<Vec<String>, Fail> {
    let mut usable = Vec::new();
    let mut refused = None;
    for key in keys {
        match context.own_folder(&key) {
            Ok(key) if key == ROOT => refused = Some(Fail::new(114)),
            Ok(key) => usable.push(key),
            Err(fail) => refused = Some(fail),
        }
    }
    match refused {
        Some(fail) if usable.is_empty() => Err(fail),
        _ => Ok(usable),
    }
}

/// Those of the caller's folders among `keys` that lie in the trash themselves.
fn trashed(context: &mut Context<'_>, keys: &[String]) -> Result<Vec<String>, Fail> {
    let tree = context.tree()?;
    let lies = |key: &&String| tree.folder(key).is_some_and(|folder| folder.deleted.is_some());
    Ok(keys.iter().filter(lies).cloned().collect())
}

pub fn delete(context: &mut Context<'_>) -> Reply {
    let keys = named(context, "folder_key", "folder_path")?;
    let keys = usable(context, keys)?;
    let now = context.now;
    let asynchronous = context.begin_job()?;
    let tree = context.tree()?;
    for key in keys {
        tree.trash_folder(&key, now);
    }
    Ok(fields(
        json!({ "asynchronous": asynchronous, "new_device_revision": text(tree.revision()) }),
    ))
}

pub fn purge(context: &mut Context<'_>) -> Reply {
    let keys = named(context, "folder_key", "folder_path")?;
    let trashed = trashed(context, &keys)?;
    let keys = match usable(context, keys) {
        Ok(keys) => keys,
        Err(fail) if trashed.is_empty() => return Err(fail),
        Err(_) => Vec::new(),
    };
    let asynchronous = context.begin_job()?;
    let tree = context.tree()?;
    for key in keys.into_iter().chain(trashed) {
        tree.purge_folder(&key);
    }
    Ok(fields(
        json!({ "asynchronous": asynchronous, "new_device_revision": text(tree.revision()) }),
    ))
}

pub fn move_to(context: &mut Context<'_>) -> Reply {
    let keys = named(context, "folder_key_src", "folder_path_src")?;
    let trashed = trashed(context, &keys)?;
    let keys = match usable(context, keys) {
        Ok(keys) => keys,
        Err(fail) if trashed.is_empty() => return Err(fail),
        Err(_) => Vec::new(),
    };
    let target = context.folder_or_root("folder_key_dst", "folder_path_dst")?;
    let tree = context.tree()?;
    for key in &keys {
        if tree.chain(&target).iter().any(|folder| folder.key == *key) {
            return Err(Fail::new(115));
        }
        if tree.depth(&target) + height(tree, key) + 1 > MAX_DEPTH {
            return Err(Fail::new(167));
        }
    }
    let asynchronous = context.begin_job()?;
    let tree = context.tree()?;
    let mut renamed = fields(json!({}));
    for key in keys {
        let Some(folder) = tree.folder(&key) else { continue };
        if folder.parent == target {
            continue;
        }
        let old = folder.name.clone();
        let name = tree.free_name(&target, &old, Kind::Folder);
        tree.place_folder(&key, &target, &name);
        if name != old {
            renamed.insert(key, Value::from(name));
        }
    }
    for key in trashed {
        let Some(old) = tree.folder(&key).map(|folder| folder.name.clone()) else {
            continue;
        };
        let name = tree.free_name(&target, &old, Kind::Folder);
        tree.bring_back_folder(&key, &target, &name);
        if name != old {
            renamed.insert(key, Value::from(name));
        }
    }
    let renamed = if renamed.is_empty() {
        json!([])
    } else {
        Value::from(renamed)
    };
    Ok(fields(json!({
        "asynchronous": asynchronous,
        "new_names": renamed,
        "new_device_revision": text(tree.revision()),
    })))
}

pub fn copy(context: &mut Context<'_>) -> Reply {
    let keys = named(context, "folder_key_src", "folder_path_src")?;
    let asked = keys.len();
    let keys = usable(context, keys)?;
    let target = context.folder_or_root("folder_key_dst", "folder_path_dst")?;
    let room = context.room()?;
    let now = context.now;
    let tree = context.tree()?;
    let bytes: u64 = keys.iter().map(|key| tree.totals(key).2).sum();
    if bytes > room {
        return Err(Fail::new(162));
    }
    let other = asked - keys.len();
    let asynchronous = context.begin_job()?;
    let tree = context.tree()?;
    let mut copies = Vec::new();
    for key in keys {
        if tree.chain(&target).iter().any(|folder| folder.key == key) {
            return Err(Fail::new(115));
        }
        if tree.depth(&target) + height(tree, &key) + 1 > MAX_DEPTH {
            return Err(Fail::new(167));
        }
        copies.push(Value::from(copy_tree(tree, &key, &target, now)));
    }
    Ok(fields(json!({
        "asynchronous": asynchronous,
        "new_folderkeys": copies,
        "skipped_count": "0",
        "other_count": text(other),
        "new_device_revision": text(tree.revision()),
    })))
}

fn copy_tree(tree: &mut Tree, key: &str, target: &str, now: i64) -> String {
    let mut copies = std::collections::HashMap::new();
    let mut top = String::new();
    for old in tree.subtree(key) {
        let Some(folder) = tree.folder(&old).cloned() else {
            continue;
        };
        let (parent, name) = match copies.get(&folder.parent) {
            Some(parent) => (String::clone(parent), folder.name),
            None => (
                target.to_owned(),
                tree.free_name(target, &folder.name, Kind::Folder),
            ),
        };
        let fresh = mint(Kind::Folder);
        tree.add_folder(&fresh, &parent, &name, folder.created);
        let files: Vec<_> = tree.files_in(&old).cloned().collect();
        for file in files {
            tree.add_file(
                &mint(Kind::File),
                &fresh,
                &file.name,
                file.content,
                file.created,
                now,
            );
        }
        if top.is_empty() {
            top.clone_from(&fresh);
        }
        copies.insert(old, fresh);
    }
    top
}

pub fn update(context: &mut Context<'_>) -> Reply {
    let key = context.folder_or_root("folder_key", "folder_path")?;
    if key == ROOT {
        return Err(Fail::new(if context.params.filled("folder_key").is_some() {
            114
        } else {
            113
        }));
    }
    let params = context.params;
    let name = params.filled("foldername");
    if let Some(name) = name {
        context.check_name(name, 185)?;
    }
    let mtime = params.filled("mtime").map(|_| context.mtime()).transpose()?;
    let description = params.get("description");
    let privacy = params.filled("privacy");
    check_privacy(privacy)?;
    let tree = context.tree()?;
    if let (Some(name), Some(folder)) = (name, tree.folder(&key))
        && folder.name != name
    {
        let parent = folder.parent.clone();
        let name = tree.free_name(&parent, name, Kind::Folder);
        tree.place_folder(&key, &parent, &name);
    }
    if mtime.is_some() || description.is_some() || privacy.is_some() {
        tree.edit_folder(&key, |folder| {
            folder.created = mtime.unwrap_or(folder.created);
            if let Some(description) = description {
                folder.description = description.to_owned();
            }
            if let Some(privacy) = privacy {
                folder.private = privacy == "private";
            }
        });
    }
    if let (Some(privacy), true) = (privacy, params.says_yes("privacy_recursive")) {
        let private = privacy == "private";
        for folder in tree.subtree(&key) {
            let files: Vec<String> = tree.files_in(&folder).map(|file| file.key.clone()).collect();
            for file in files {
                tree.edit_file(&file, |file| file.private = private);
            }
            if folder != key {
                tree.edit_folder(&folder, |folder| folder.private = private);
            }
        }
    }
    Ok(fields(json!({ "new_device_revision": text(tree.revision()) })))
}
