//! Folders: listings, and what changes a folder.

use std::time::Instant;

use serde_json::Value;

use super::call::{Answer, Api};
use super::errors::{Meaning, clean, incomplete};
use super::wire::{Items, Node, Params, State, blank_root, is_root, null_root, root};
use crate::provider::json::Parsed;
use crate::provider::{
    Entry, ErrorKind, FolderEntry, FolderId, ListHint, Listing, ProviderError, Result, Retry,
};

const LIST: &str = "folder/listing";
const CREATE: &str = "folder/create";
const INFO: &str = "folder/info";
const EDIT: &str = "folder/edit";
const MOVE: &str = "folder/move";
const DELETE: &str = "folder/delete";

/// Folders above each other that are looked through for a circle.
const DEEPEST: usize = 200;

/// What a listing holds beside the deleted.
#[derive(Default)]
pub(super) struct Living {
    pub(super) listing: Listing,
    /// Bytes of the files, and of all that is in the folders.
    pub(super) sizes: u64,
}

/// The host has no pages: one answer is the whole folder.
pub(super) async fn list(api: &Api, folder: &FolderId, hint: ListHint) -> Result<Listing> {
    if hint.files == Some(0) && hint.folders == Some(0) {
        api.newest.note_listed(folder, 0);
        return Ok(Listing::default());
    }
    Ok(living(api, folder).await?.listing)
}

pub(super) async fn living(api: &Api, folder: &FolderId) -> Result<Living> {
    api.graves.load().await;
    let asked = Instant::now();
    let params = Params::new().with("parent_folder_id", blank_root(folder));
    let answer = api.call(LIST, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let living = read_living(api, folder, &reply).map_err(|error| error.with_context("folder", folder))?;
    // It may be large, and what follows may ask for more.
    drop(reply);
    if !is_root(folder) {
        for entry in &living.listing.entries {
            if let Entry::Folder(entry) = entry {
                api.graves.lift(&entry.id, asked).await;
            }
        }
    }
    Ok(living)
}

fn read_living(api: &Api, folder: &FolderId, reply: &Value) -> Result<Living> {
    let lacks = || incomplete(LIST, Retry::AfterWait(None), "the folder's entries");
    let data = Node(reply).get("data").ok_or_else(lacks)?;
    let (folders, files) = match (data.items("folders"), data.items("files")) {
        (Items::Unreadable, _) | (_, Items::Unreadable) | (Items::Absent, Items::Absent) => {
            return Err(lacks());
        }
        (folders, files) => (folders.into_list(), files.into_list()),
    };
    let mut living = Living::default();
    for item in folders {
        let state = item.state();
        let entry = item.folder(api.zone());
        let buried = |id| state == State::Untold && is_root(folder) && api.graves.holds(id);
        if state == State::Gone || entry.as_ref().is_some_and(|entry| buried(&entry.id)) {
            continue;
        }
        check_parent(folder, item.folder_id("parentId"))?;
        // A folder that lies in itself would be walked through for ever.
        let Some(entry) = entry.filter(|entry| !is_root(&entry.id) && entry.id != *folder) else {
            living.leave_out("folder", item);
            continue;
        };
        living.add(item.number("totalSize").unwrap_or(0), Entry::Folder(entry));
    }
    for item in files {
        if item.state() == State::Gone {
            continue;
        }
        check_parent(folder, item.folder_id("folderId"))?;
        match item.file() {
            Some(file) => {
                api.newest.note(&file.id);
                living.add(file.size, Entry::File(file));
            }
            None => living.leave_out("file", item),
        }
    }
    api.newest.note_listed(folder, living.listing.entries.len());
    Ok(living)
}

impl Living {
    fn add(&mut self, size: u64, entry: Entry) {
        self.sizes = self.sizes.saturating_add(size);
        self.listing.entries.push(entry);
    }

    /// A file of unknown size is left out too: with any other size it would be read wrongly.
    fn leave_out(&mut self, kind: &str, item: Node<'_>) {
        let id = item.text("id").map(|id| clean(&id));
        tracing::warn!(
            id,
            "the service lists a {kind} whose id, name or size makes no sense: it is left out"
        );
        self.listing.incomplete = true;
    }
}

/// Hosts that do not find a folder are known to take the top folder for it. How a host spells the top folder is
/// not known for sure, so there every parent will do.
fn check_parent(folder: &FolderId, told: Option<FolderId>) -> Result<()> {
    match told {
        Some(parent) if parent != *folder && !is_root(folder) => {
            let message = "the service listed another folder than the one asked for";
            Err(
                ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), LIST, message)
                    .with_context("listed", parent),
            )
        }
        _ => Ok(()),
    }
}

/// The host makes a second folder of the same name without a word, so it is looked for first.
pub(super) async fn create(api: &Api, parent: &FolderId, name: &str) -> Result<FolderEntry> {
    let listing = list(api, parent, ListHint::default())
        .await
        .map_err(super::errors::before_call)?;
    let same_name = listing.entries.into_iter().filter_map(|entry| match entry {
        Entry::Folder(folder) if folder.name == name => Some(folder),
        _ => None,
    });
    if let Some(folder) = same_name.min_by_key(|folder| super::by_age(folder.id.as_str())) {
        return Ok(folder);
    }
    let params = Params::new()
        .with("folder_name", name)
        .with("parent_id", blank_root(parent))
        .with("is_public", "0");
    let answer = api.call(CREATE, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", parent))?;
    let data = Node(&reply).get("data");
    data.and_then(|data| data.folder(api.zone()))
        .ok_or_else(|| incomplete(CREATE, Retry::OutcomeUnknown, "the new folder"))
}

/// A folder's own facts.
pub(super) async fn info(api: &Api, folder: &FolderId) -> Result<Value> {
    // The documented name of the field is not the one that hosts read.
    let params = Params::new()
        .with("folder_id", folder.as_str())
        .with("parent_folder_id", folder.as_str());
    let answer = api.call(INFO, &params).await;
    let mut reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let data = reply
        .get_mut("data")
        .map(Value::take)
        .filter(Value::is_object)
        .ok_or_else(|| incomplete(INFO, Retry::Never, "the folder"))?;
    let node = Node(&data);
    let at_root = node.folder_id("parentId").is_none_or(|parent| is_root(&parent));
    let state = node.state();
    if state == State::Gone || (state == State::Untold && at_root && api.graves.holds(folder)) {
        let message = "the folder is in the trash";
        return Err(
            ProviderError::new(ErrorKind::NotFound, Retry::Never, INFO, message)
                .with_context("folder", folder),
        );
    }
    Ok(data)
}

pub(super) async fn rename(api: &Api, folder: &FolderId, name: &str) -> Result<()> {
    not_the_root(folder, EDIT)?;
    let before = info(api, folder).await.map_err(super::errors::before_call)?;
    let node = Node(&before);
    if node.text("folderName").as_deref() == Some(name) {
        return Ok(());
    }
    let public = node.text("isPublic");
    let reply = edit(api, folder, node, name, public.as_deref()).await?;
    let told = Node(&reply).get("data").and_then(|data| data.text("folderName"));
    let stored = match told {
        Some(stored) => Some(stored),
        None => Node(&info(api, folder).await?).text("folderName"),
    };
    super::check_name(EDIT, name, stored)
}

/// Edits a folder of which so much is known: an edit may reset what it does not name.
async fn edit(
    api: &Api,
    folder: &FolderId,
    before: Node<'_>,
    name: &str,
    public: Option<&str>,
) -> Result<Parsed> {
    let parent = before
        .folder_id("parentId")
        .ok_or_else(|| incomplete(EDIT, Retry::Never, "the folder's parent"))?;
    let mut params = Params::new()
        .with("folder_id", folder.as_str())
        .with("folder_name", name)
        .with("parent_id", null_root(&parent));
    if let Some(public) = public {
        params = params.with("is_public", public);
    }
    if let Some(password) = before.text("accessPassword") {
        params = params.with("access_password", &password);
    }
    let answer = api.call(EDIT, &params).await;
    answer.map_err(|failure| failure.error.with_context("folder", folder))
}

/// Says who may see a folder, by the host's own number for it.
pub(super) async fn set_public(api: &Api, folder: &FolderId, public: &str) -> Result<()> {
    not_the_root(folder, EDIT)?;
    let before = info(api, folder).await.map_err(super::errors::before_call)?;
    let node = Node(&before);
    let name = node
        .text("folderName")
        .ok_or_else(|| incomplete(EDIT, Retry::Never, "the folder's name"))?;
    let reply = edit(api, folder, node, &name, Some(public)).await?;
    let told = Node(&reply).get("data").and_then(|data| data.text("isPublic"));
    match told.filter(|told| told != public) {
        None => Ok(()),
        Some(told) => {
            let message = format!(
                "the host did not take it: the folder's privacy is still {}",
                clean(&told)
            );
            Err(ProviderError::new(
                ErrorKind::Unsupported,
                Retry::Never,
                EDIT,
                message,
            ))
        }
    }
}

/// The host would also move a folder into itself, and lose it.
pub(super) async fn move_to(api: &Api, folder: &FolderId, target: &FolderId) -> Result<()> {
    not_the_root(folder, MOVE)?;
    if folder == target {
        return Err(circle(folder));
    }
    let before = info(api, folder).await.map_err(super::errors::before_call)?;
    let node = Node(&before);
    if node.folder_id("parentId").as_ref() == Some(target) {
        return Ok(());
    }
    if node.number("child_folder_count") != Some(0) {
        refuse_circle(api, folder, target)
            .await
            .map_err(super::errors::before_call)?;
    }
    let params = Params::new()
        .with("folder_id", folder.as_str())
        .with("new_parent_folder_id", null_root(target));
    let answer = api.call(MOVE, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let told = Node(&reply)
        .get("data")
        .and_then(|data| data.folder_id("parentId"));
    super::check_place(MOVE, target, told)
}

/// Looks through the folders above `target` for `folder`.
async fn refuse_circle(api: &Api, folder: &FolderId, target: &FolderId) -> Result<()> {
    let mut above = target.clone();
    for _ in 0..DEEPEST {
        if is_root(&above) {
            return Ok(());
        }
        if above == *folder {
            return Err(circle(folder));
        }
        let data = info(api, &above).await?;
        above = Node(&data)
            .folder_id("parentId")
            .ok_or_else(|| incomplete(MOVE, Retry::Never, "the parent of a folder"))?;
    }
    let message = format!("the target lies deeper than {DEEPEST} folders");
    Err(
        ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, MOVE, message)
            .with_context("folder", target),
    )
}

fn circle(folder: &FolderId) -> ProviderError {
    let message = "a folder cannot be moved into itself or below itself";
    ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, MOVE, message).with_context("folder", folder)
}

pub(super) async fn delete(api: &Api, folder: &FolderId) -> Result<()> {
    not_the_root(folder, DELETE)?;
    let params = Params::new().with("folder_id", folder.as_str());
    settle(api.call(DELETE, &params).await).map_err(|error| error.with_context("folder", folder))?;
    api.graves.bury(folder).await;
    Ok(())
}

/// What is gone already counts as deleted.
pub(super) fn settle(answer: Answer) -> Result<()> {
    match answer {
        Err(failure) if !failure.is(Meaning::Gone) => Err(failure.error),
        _ => Ok(()),
    }
}

fn not_the_root(folder: &FolderId, operation: &'static str) -> Result<()> {
    if *folder != root() {
        return Ok(());
    }
    let message = "the account's top folder stays as it is";
    Err(ProviderError::new(
        ErrorKind::InvalidArgument,
        Retry::Never,
        operation,
        message,
    ))
}
