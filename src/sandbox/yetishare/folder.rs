//! `folder/*`.

use serde_json::{Value, json};

use super::envelope::{Fail, Reply, fields};
use super::{Context, is_trashed_folder};
use crate::sandbox::tree::{Folder, Kind, ROOT};

impl Context<'_> {
    /// The folder that a call is about, wherever it is.
    fn any_folder(&self) -> Result<&Folder, Fail> {
        let key = self.params.needed("folder_id")?;
        self.account.tree.folder(key).ok_or(Fail::no_folder())
    }

    /// The folder that a call is about, unless it is in the trash.
    fn active_folder(&self) -> Result<&Folder, Fail> {
        let folder = self.any_folder()?;
        if is_trashed_folder(&self.account.tree, &folder.key) {
            return Err(Fail::no_folder());
        }
        Ok(folder)
    }

    fn told_folder(&self, response: &str, key: &str) -> Reply {
        let folder = self.account.tree.folder(key).ok_or(Fail::no_folder())?;
        Ok(fields(
            json!({ "response": response, "data": self.folder_info(folder) }),
        ))
    }

    /// Folders that were deleted, which all show up in the root's listing.
    fn ghosts(&self) -> Vec<&Folder> {
        let tree = &self.account.tree;
        let mut ghosts: Vec<&Folder> = Vec::new();
        for folder in tree.trashed_folders() {
            ghosts.push(folder);
            if self.quirks().trash_flattens {
                let below = tree.subtree(&folder.key);
                ghosts.extend(below.iter().skip(1).filter_map(|key| tree.folder(key)));
            }
        }
        ghosts
    }

    /// What `is_public` says, private without it.
    fn publicity(&self) -> Option<u64> {
        let told = self.params.filled("is_public")?;
        Some(told.parse().ok().filter(|told| *told <= 2).unwrap_or(0))
    }

    fn access_password(&self) -> Result<Option<&str>, Fail> {
        match self.params.filled("access_password") {
            Some(password) if password != "null" && password.len() != 32 => Err(Fail::new(
                "The access_password param should be an MD5 hash of 32 characters.",
            )),
            password => Ok(password),
        }
    }
}

/// The whole content of a folder in one answer.
pub fn listing(context: &mut Context<'_>) -> Reply {
    let tree = &context.account.tree;
    let key = match context.params.get("parent_folder_id") {
        "" | "0" => ROOT,
        key => &tree.folder(key).ok_or(Fail::no_folder())?.key,
    };
    let mut folders: Vec<&Folder> = tree.folders_in(key).collect();
    if context.quirks().trash_flattens && is_trashed_folder(tree, key) {
        folders.clear();
    }
    if key == ROOT {
        folders.extend(context.ghosts());
        folders.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let files: Vec<Value> = if is_trashed_folder(tree, key) {
        Vec::new()
    } else {
        let files = tree.files_in(key);
        files.map(|file| context.listed_file(file)).collect()
    };
    let folders: Vec<Value> = folders
        .into_iter()
        .map(|folder| Value::Object(context.listed_folder(folder)))
        .collect();
    Ok(fields(json!({ "data": { "folders": folders, "files": files } })))
}

/// The documentation says `parent_folder_id`; what is wanted is `folder_id`.
pub fn info(context: &mut Context<'_>) -> Reply {
    let folder = context.any_folder()?;
    Ok(fields(json!({ "data": context.folder_info(folder) })))
}

/// Beside an equal name as well, and below any id.
pub fn create(context: &mut Context<'_>) -> Reply {
    let name = context.params.needed("folder_name")?;
    let parent = match context.params.get("parent_id").parse::<u64>() {
        Ok(0) | Err(_) => ROOT.to_owned(),
        Ok(parent) => parent.to_string(),
    };
    let password = context.access_password()?.map(str::to_owned);
    let is_public = context.publicity().unwrap_or(0);
    let key = context.host.mint(Kind::Folder);
    context.account.tree.add_folder(&key, &parent, name, context.now);
    context.host.edit_folder_note(&key, |note| {
        note.is_public = is_public;
        note.access_password = password;
    });
    context.told_folder("Folder successfully created.", &key)
}

pub fn edit(context: &mut Context<'_>) -> Reply {
    let folder = context.active_folder()?;
    let key = folder.key.clone();
    let name = context
        .params
        .filled("folder_name")
        .unwrap_or(&folder.name)
        .to_owned();
    let parent = context.params.filled("parent_id");
    let parent = parent.and_then(|parent| context.root_or_folder(parent));
    let parent = parent.unwrap_or_else(|| folder.parent.clone());
    let password = context.access_password()?.map(str::to_owned);
    let (is_public, now) = (context.publicity(), context.now);
    context.account.tree.place_folder(&key, &parent, &name);
    context.host.edit_folder_note(&key, |note| {
        note.is_public = is_public.unwrap_or(note.is_public);
        note.updated = Some(now);
        match password {
            Some(password) if password == "null" => note.access_password = None,
            Some(password) => note.access_password = Some(password),
            None => {}
        }
    });
    context.told_folder("Folder successfully updated.", &key)
}

/// Anywhere but into itself; into what is below it as well, and then it is lost.
pub fn move_to(context: &mut Context<'_>) -> Reply {
    let folder = context.active_folder()?;
    let (key, name) = (folder.key.clone(), folder.name.clone());
    let parent = context.destination("new_parent_folder_id")?;
    if parent == key {
        return Err(Fail::new("The folder can not be moved into itself."));
    }
    context.account.tree.place_folder(&key, &parent, &name);
    let now = context.now;
    context
        .host
        .edit_folder_note(&key, |note| note.updated = Some(now));
    context.told_folder("Folder successfully moved.", &key)
}

pub fn delete(context: &mut Context<'_>) -> Reply {
    let key = context.any_folder()?.key.clone();
    context.account.tree.trash_folder(&key, context.now);
    Ok(fields(
        json!({ "response": "Folder successfully set as deleted." }),
    ))
}
