//! `folder/*` calls that only look.

use serde_json::{Map, Value, json};

use super::envelope::{Fail, Reply, fields, text, yes};
use super::{Context, split_keys};
use super::{MAX_DEPTH, shape};
use crate::sandbox::Service;
use crate::sandbox::tree::{File, Folder, ROOT, Tree};

const DEFAULT_CHUNK: usize = 100;
const MAX_CHUNK: usize = 1000;
const MAX_RESULTS: usize = 100;

impl Context<'_> {
    /// A live folder to look at, and the account it is in: the caller's, or anybody's if it is public.
    fn seen_folder(&mut self) -> Result<(usize, String), Fail> {
        if self.who.is_some() || self.params.filled("folder_key").is_none() {
            let key = self.folder_or_root("folder_key", "folder_path");
            match key {
                Err(fail) if fail.code == 114 => {}
                key => return Ok((self.account()?, key?)),
            }
        }
        let key = self.params.filled("folder_key").unwrap_or_default();
        let found = self
            .world
            .accounts_of(Service::MediaFire)
            .find_map(|(index, account)| {
                let folder = account.tree.folder(key)?;
                account
                    .tree
                    .is_live_folder(key)
                    .then_some((index, folder.private))
            });
        match found {
            Some((index, false)) => Ok((index, key.to_owned())),
            Some((_, true)) => Err(Fail::new(114)),
            None if matches!(key, "myfiles" | "0") => Err(Fail::new(104)),
            None => Err(Fail::new(112)),
        }
    }

    fn tree_of(&self, account: usize) -> Result<&Tree, Fail> {
        self.world
            .accounts
            .get(account)
            .map(|account| &account.tree)
            .ok_or(Fail::new(100))
    }
}

fn wants_details(context: &Context<'_>) -> bool {
    matches!(context.params.get("details"), Some("yes" | "shallow"))
}

fn info(tree: &Tree, key: &str, details: bool) -> Map<String, Value> {
    let mut told = match tree.folder(key) {
        Some(folder) => {
            let mut told = shape::folder(tree, folder, false);
            let parent = if folder.deleted.is_some() {
                "trash"
            } else {
                shape::parent_key(&folder.parent)
            };
            told.insert("parent_folderkey".to_owned(), Value::from(parent));
            told.insert("owner_name".to_owned(), Value::from("Demo"));
            told.insert("avatar".to_owned(), Value::from(""));
            told.insert("custom_url".to_owned(), Value::from(""));
            told
        }
        None => shape::root(tree),
    };
    if details {
        shape::add_totals(tree, key, &mut told);
    }
    told
}

pub fn get_info(context: &mut Context<'_>) -> Reply {
    let details = wants_details(context);
    let keys = split_keys(context.params.filled("folder_key").unwrap_or_default())?;
    if keys.len() > 1 {
        let mut infos = Vec::new();
        let mut skipped = Vec::new();
        for key in keys {
            match context.own_folder(&key) {
                Ok(folder) => infos.push(Value::from(info(context.tree()?, &folder, details))),
                Err(_) => skipped.push(key),
            }
        }
        let mut reply = fields(json!({ "folder_infos": infos }));
        if !skipped.is_empty() {
            reply.insert("skipped".to_owned(), Value::from(skipped.join(",")));
        }
        return Ok(reply);
    }
    // A folder in the trash can still be asked for.
    if let (Some(key), Some(_)) = (keys.first(), context.who) {
        let tree = context.tree()?;
        if tree.folder(key).is_some_and(|folder| folder.deleted.is_some()) {
            return Ok(fields(json!({ "folder_info": info(tree, key, details) })));
        }
    }
    let (account, key) = context.seen_folder()?;
    Ok(fields(
        json!({ "folder_info": info(context.tree_of(account)?, &key, details) }),
    ))
}

pub fn get_content(context: &mut Context<'_>) -> Reply {
    let (account, key) = context.seen_folder()?;
    let params = context.params;
    let wants_files = match params.get("content_type").unwrap_or("folders") {
        "files" => true,
        "folders" => false,
        _ => return Err(Fail::new(129)),
    };
    let chunk = match params.filled("chunk") {
        Some(_) => params
            .number("chunk")
            .filter(|chunk| *chunk > 0)
            .ok_or(Fail::new(129))?,
        None => 1,
    };
    let size = params
        .number("chunk_size")
        .map_or(DEFAULT_CHUNK, |size| (size as usize).clamp(1, MAX_CHUNK));
    let order = params.filled("order_by").unwrap_or("name");
    let backwards = params.get("order_direction") == Some("desc");
    let filter = params.filled("filter").map(str::to_lowercase);
    let details = wants_details(context);
    let base = context.base_url();
    let tree = context.tree_of(account)?;
    let passes = |name: &str| {
        filter
            .as_ref()
            .is_none_or(|filter| name.to_lowercase().contains(filter))
    };
    let start = (chunk as usize - 1).saturating_mul(size);
    let as_it_stands = filter.is_none() && !backwards && order == "name";
    let (total, shown): (usize, Vec<Value>) = if wants_files && as_it_stands {
        let shown = tree.files_from(&key, start).take(size);
        let shown = shown.map(|file| shape::file(file, &base).into());
        (tree.counts(&key).1, shown.collect())
    } else if wants_files {
        let mut files: Vec<&File> = tree.files_in(&key).filter(|file| passes(&file.name)).collect();
        match order {
            "created" | "time" => files.sort_by_key(|file| file.created),
            "size" => files.sort_by_key(|file| file.content.size),
            "downloads" => files.sort_by_key(|file| file.downloads),
            _ => {}
        }
        if backwards {
            files.reverse();
        }
        let shown = files
            .iter()
            .skip(start)
            .take(size)
            .map(|file| shape::file(file, &base).into());
        (files.len(), shown.collect())
    } else {
        let mut folders: Vec<&Folder> = tree
            .folders_in(&key)
            .filter(|folder| passes(&folder.name))
            .collect();
        if matches!(order, "created" | "time") {
            folders.sort_by_key(|folder| folder.created);
        }
        if backwards {
            folders.reverse();
        }
        let shown = folders.iter().skip(start).take(size);
        (
            folders.len(),
            shown
                .map(|folder| shape::folder(tree, folder, details).into())
                .collect(),
        )
    };
    let kind = if wants_files { "files" } else { "folders" };
    let mut content = fields(json!({
        "chunk_size": text(size),
        "content_type": kind,
        "chunk_number": text(chunk),
        "folderkey": shape::folder_key(&key),
        "more_chunks": yes(total > start.saturating_add(size)),
        "revision": text(tree.folder_revision(&key)),
    }));
    content.insert(kind.to_owned(), Value::from(shown));
    Ok(fields(json!({ "asynchronous": "no", "folder_content": content })))
}

pub fn get_depth(context: &mut Context<'_>) -> Reply {
    let (account, key) = context.seen_folder()?;
    let tree = context.tree_of(account)?;
    let chain: Vec<Value> = tree
        .chain(&key)
        .iter()
        .map(|folder| json!({ "folderkey": folder.key, "name": folder.name }))
        .take(MAX_DEPTH)
        .collect();
    Ok(fields(
        json!({ "folder_depth": { "depth": text(tree.depth(&key)), "chain_folders": chain } }),
    ))
}

pub fn get_siblings(context: &mut Context<'_>) -> Reply {
    let (account, key) = context.seen_folder()?;
    let base = context.base_url();
    let filter = context.params.filled("content_filter").unwrap_or("all");
    let start = context.params.number("start").unwrap_or(0) as usize;
    let limit = context
        .params
        .number("limit")
        .map_or(usize::MAX, |limit| limit as usize);
    let tree = context.tree_of(account)?;
    let parent = tree
        .folder(&key)
        .map_or(ROOT, |folder| folder.parent.as_str())
        .to_owned();
    let mut siblings = fields(json!({}));
    if matches!(filter, "info" | "all") {
        siblings.insert("folder_info".to_owned(), info(tree, &parent, false).into());
    }
    if matches!(filter, "folders" | "content" | "all") {
        let folders = tree.folders_in(&parent).filter(|folder| folder.key != key);
        let folders = folders.skip(start).take(limit);
        let told = folders.map(|folder| Value::from(shape::folder(tree, folder, false)));
        siblings.insert("folders".to_owned(), told.collect());
    }
    if matches!(filter, "files" | "content" | "all") {
        let files = tree.files_in(&parent).skip(start).take(limit);
        siblings.insert(
            "files".to_owned(),
            files.map(|file| Value::from(shape::file(file, &base))).collect(),
        );
    }
    Ok(fields(json!({ "siblings": siblings })))
}

pub fn get_revision(context: &mut Context<'_>) -> Reply {
    let now = context.now;
    let (account, key) = context.seen_folder()?;
    let revision = context.tree_of(account)?.folder_revision(&key);
    Ok(fields(json!({ "revision": text(revision), "epoch": text(now) })))
}

pub fn search(context: &mut Context<'_>) -> Reply {
    let wanted = context
        .params
        .filled("search_text")
        .ok_or(Fail::new(128))?
        .to_lowercase();
    let key = context.folder_or_root("folder_key", "folder_path")?;
    let everywhere = context.params.get("search_all").is_none_or(|all| all == "yes");
    let tree = context.tree()?;
    let folders = if everywhere { tree.subtree(&key) } else { vec![key] };
    let parent_name = |key: &str| {
        tree.folder(key)
            .map_or(shape::MYFILES, |folder| &folder.name)
            .to_owned()
    };
    let mut results = Vec::new();
    for parent in &folders {
        let found = tree
            .folders_in(parent)
            .filter(|folder| folder.name.to_lowercase().contains(&wanted));
        results.extend(found.map(|folder| {
            let mut told = shape::folder(tree, folder, true);
            told.insert("type".to_owned(), Value::from("folder"));
            (told, parent)
        }));
        let found = tree
            .files_in(parent)
            .filter(|file| file.name.to_lowercase().contains(&wanted));
        results.extend(found.map(|file| {
            let told = json!({
                "type": "file",
                "quickkey": file.key,
                "filename": file.name,
                "size": text(file.content.size),
                "created": shape::local_time(file.created),
                "mimetype": shape::media(&file.name).0,
                "hash": file.content.sha256,
            });
            (fields(told), parent)
        }));
    }
    let count = results.len();
    let told: Vec<Value> = results
        .into_iter()
        .take(MAX_RESULTS)
        .map(|(mut told, parent)| {
            told.insert(
                "parent_folderkey".to_owned(),
                Value::from(shape::folder_key(parent)),
            );
            told.insert("parent_name".to_owned(), Value::from(parent_name(parent)));
            told.insert("relevancy".to_owned(), text(1));
            told.into()
        })
        .collect();
    Ok(fields(json!({ "results_count": text(count), "results": told })))
}
