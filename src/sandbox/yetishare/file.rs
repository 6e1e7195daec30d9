//! `file/*`, but for uploads.

use serde_json::json;

use super::envelope::{Fail, Reply, fields};
use super::{Context, is_trashed_file, names, shape};
use crate::sandbox::tree::{File, Kind, ROOT};

impl Context<'_> {
    /// The file that a call is about, wherever it is.
    fn any_file(&self) -> Result<&File, Fail> {
        let key = self.params.needed("file_id")?;
        self.account.tree.file(key).ok_or(Fail::no_file())
    }

    /// The file that a call is about, unless it is in the trash.
    fn active_file(&self) -> Result<&File, Fail> {
        let file = self.any_file()?;
        if is_trashed_file(&self.account.tree, file) {
            return Err(Fail::no_file());
        }
        Ok(file)
    }

    /// The folder that a file or folder is to go to: `null` is the root.
    pub fn destination(&self, param: &str) -> Result<String, Fail> {
        let key = self.params.needed(param)?;
        self.root_or_folder(key).ok_or(Fail::no_destination())
    }

    /// The root for `null`, or a live folder.
    pub fn root_or_folder(&self, key: &str) -> Option<String> {
        if key == "null" {
            return Some(ROOT.to_owned());
        }
        self.live_folder(key)
    }

    /// A folder that is not in the trash, nor lost.
    pub fn live_folder(&self, key: &str) -> Option<String> {
        let tree = &self.account.tree;
        (key != ROOT && tree.is_live_folder(key)).then(|| key.to_owned())
    }

    fn told_file(&self, response: &str, key: &str) -> Reply {
        let file = self.account.tree.file(key).ok_or(Fail::no_file())?;
        Ok(fields(
            json!({ "response": response, "data": self.file_info(file) }),
        ))
    }
}

pub fn info(context: &mut Context<'_>) -> Reply {
    let file = context.any_file()?;
    Ok(fields(json!({ "data": context.file_info(file) })))
}

/// Renames and moves at once, onto an equal name as well.
pub fn edit(context: &mut Context<'_>) -> Reply {
    let file = context.active_file()?;
    let key = file.key.clone();
    let name = context.params.filled("filename").unwrap_or(&file.name).to_owned();
    let parent = context.params.filled("folder_id");
    let parent = parent.and_then(|parent| context.root_or_folder(parent));
    let parent = parent.unwrap_or_else(|| file.parent.clone());
    context.account.tree.place_file(&key, &parent, &name);
    context.told_file("File successfully updated.", &key)
}

pub fn move_to(context: &mut Context<'_>) -> Reply {
    let file = context.active_file()?;
    let (key, name) = (file.key.clone(), file.name.clone());
    let parent = context.destination("new_parent_folder_id")?;
    context.account.tree.place_file(&key, &parent, &name);
    context.told_file("File successfully moved.", &key)
}

pub fn copy(context: &mut Context<'_>) -> Reply {
    let original = context.active_file()?.clone();
    let parent = context.destination("copy_to_folder_id")?;
    let key = context.host.mint(Kind::File);
    let now = context.now;
    let numbered = context.quirks().numbered_copies;
    let tree = &mut context.account.tree;
    let taken = |name: &str| numbered && tree.file_named(&parent, name).is_some();
    let name = names::free_name(&original.name, taken);
    tree.add_file(&key, &parent, &name, original.content.clone(), now, now);
    let new = context.account.tree.file(&key).ok_or(Fail::no_file())?;
    Ok(fields(json!({
        "response": "File successfully copied.",
        "original_file": context.file_info(&original),
        "new_file": context.file_info(new),
    })))
}

pub fn delete(context: &mut Context<'_>) -> Reply {
    let key = context.any_file()?.key.clone();
    context.account.tree.trash_file(&key, context.now);
    Ok(fields(json!({ "response": "File successfully set as deleted." })))
}

/// Gives a link that is good for a while, as often as it is used.
pub fn download(context: &mut Context<'_>) -> Reply {
    let file = context.active_file()?;
    let (key, name) = (file.key.clone(), file.name.clone());
    let url = context.urls(file)[0].clone();
    let token = context.host.links.mint(&key, context.quirks().link_life);
    Ok(fields(json!({
        "data": {
            "file_id": shape::id(&key, context.quirks()),
            "filename": name,
            "download_url": format!("{url}?download_token={token}"),
        },
    })))
}
