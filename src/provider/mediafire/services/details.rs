//! All that the service tells of files and folders, and which files changed last.

use std::collections::{HashMap, HashSet};

use crate::provider::mediafire::MAX_KEYS;
use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::files;
use crate::provider::mediafire::wire::{Node, Params, ROOT, TRASH};
use crate::provider::services::{Details, Privacy};
use crate::provider::{
    ContentHash, ErrorKind, FileEntry, FileId, FolderId, ItemId, ProviderError, Result, Retry,
};

const FILE: &str = "file/get_info";
const FOLDER: &str = "folder/get_info";
const RECENT: &str = "file/recently_modified";
const DEPTH: &str = "folder/get_depth";

/// Links to pages. Direct links end soon, and each one-time link that is told may count.
const PAGES: [&str; 7] = [
    "normal_download",
    "view",
    "read",
    "edit",
    "watch",
    "listen",
    "streaming",
];

pub(super) async fn of_file(api: &Api, file: &FileId) -> Result<Details> {
    let params = Params::new().with("quick_key", file.as_str());
    let answer = api.call(FILE, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let node = Node(&reply);
    let many = node.items("file_infos", "file_info").into_iter().next();
    let told = many.or_else(|| node.get("file_info")).unwrap_or(node);
    let name = told.text("filename").ok_or_else(|| lacks(FILE, "the name"))?;
    let mut details = read(told, Details::of(ItemId::File(file.clone()), name));
    details.size = told.number("size");
    details.hash = told.text("hash").and_then(|hash| ContentHash::from_hex(&hash));
    if let Some(links) = told.get("links") {
        let page = |kind: &&str| {
            let url = files::page(FILE, &links.text(kind)?, api).ok()?;
            Some(((*kind).to_owned(), url))
        };
        details.links = PAGES.iter().filter_map(page).collect();
    }
    let more = [
        ("category", told.text("filetype")),
        (
            "ready",
            told.flag("ready")
                .map(|ready| if ready { "yes" } else { "no" }.to_owned()),
        ),
        ("virus", told.number("flag").and_then(virus)),
    ];
    let told_more = more.into_iter().filter_map(|(name, text)| Some((name, text?)));
    details.more.extend(told_more);
    Ok(details)
}

/// The bit for a file that is taken for a virus.
fn virus(flag: u64) -> Option<String> {
    (flag & 8 != 0).then(|| "the service takes the file for one".to_owned())
}

pub(super) async fn of_folder(api: &Api, folder: &FolderId) -> Result<Details> {
    let params = Params::new()
        .with("folder_key", folder.as_str())
        .with("details", "yes");
    let answer = api.call(FOLDER, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let node = Node(&reply);
    let told = node.items("folder_info", "folder_info").into_iter().next();
    let told = told.unwrap_or(node);
    let name = told.text("name").ok_or_else(|| lacks(FOLDER, "the name"))?;
    let mut details = read(told, Details::of(ItemId::Folder(folder.clone()), name));
    details.size = told.number("total_size");
    details.holds = told.number("file_count").zip(told.number("folder_count"));
    let more = [
        ("files below", told.number("total_files")),
        ("folders below", told.number("total_folders")),
    ];
    let told_more = more
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?.to_string())));
    details.more.extend(told_more);
    Ok(details)
}

/// What files and folders have alike.
fn read(told: Node<'_>, details: Details) -> Details {
    let mut more = Vec::new();
    let trashed = told.text("parent_folderkey").as_deref() == Some(TRASH);
    more.extend(told.text("delete_date").map(|date| ("deleted", date)));
    more.extend(told.text("tags").map(|tags| ("tags", tags)));
    Details {
        created: told.time(),
        revision: told.text("revision"),
        privacy: told.text("privacy").and_then(|privacy| match privacy.as_str() {
            "public" => Some(Privacy::Public),
            "private" => Some(Privacy::Private),
            _ => None,
        }),
        description: told.text("description"),
        mime_type: told.text("mimetype"),
        downloads: told.number("downloads"),
        views: told.number("views"),
        owner: told.text("owner_name"),
        parent: told.parent(),
        is_trashed: trashed || told.text("delete_date").is_some(),
        more,
        ..details
    }
}

pub(super) async fn recent(api: &Api, most: usize) -> Result<Vec<FileEntry>> {
    let most = most.min(MAX_KEYS);
    let params = Params::new().with("number_of_files", &most.to_string());
    let reply = api.call(RECENT, &params).await?;
    // The service tells a file as often as it changed.
    let mut seen = HashSet::new();
    let keys = Node(&reply).texts("quickkeys", "quickkey").into_iter();
    let keys: Vec<FileId> = keys
        .filter(|key| seen.insert(key.clone()))
        .map(FileId::new)
        .take(most)
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let entries = files::info(api, &keys).await?.into_iter();
    let mut entries: HashMap<FileId, FileEntry> = entries.map(|entry| (entry.id.clone(), entry)).collect();
    Ok(keys.iter().filter_map(|key| entries.remove(key)).collect())
}

pub(super) async fn names_above(api: &Api, folder: &FolderId) -> Result<Vec<String>> {
    if folder.as_str() == ROOT {
        return Ok(Vec::new());
    }
    let params = Params::new().with("folder_key", folder.as_str());
    let answer = api.call(DEPTH, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let node = Node(&reply);
    let depth = node
        .get("folder_depth")
        .ok_or_else(|| lacks(DEPTH, "the folder's path"))?;
    let chain = depth.items("chain_folders", "folder");
    let key = |folder: &Node<'_>| folder.text("folderkey").or_else(|| folder.text("folder_key"));
    // The folder itself is at one end, and tells which way round the others are.
    let is_topmost_first = chain.last().and_then(key).as_deref() == Some(folder.as_str())
        && chain.first().and_then(key).as_deref() != Some(folder.as_str());
    let below_top = chain.iter().filter(|folder| key(folder).as_deref() != Some(ROOT));
    let mut names: Vec<String> = below_top.filter_map(|folder| folder.text("name")).collect();
    if !is_topmost_first {
        names.reverse();
    }
    Ok(names)
}

fn lacks(operation: &'static str, what: &str) -> ProviderError {
    let message = format!("the service's answer lacks {what}");
    ProviderError::new(ErrorKind::Unexpected, Retry::Never, operation, message)
}
