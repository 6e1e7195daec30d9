//! What changes a file or a folder and is neither its name, its place nor its content.

use std::time::SystemTime;

use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::wire::{Node, Params};
use crate::provider::mediafire::{files, folders};
use crate::provider::services::Privacy;
use crate::provider::{ErrorKind, FileEntry, FileId, FolderId, ItemId, ProviderError, Result, Retry, refuse};

const ARTWORK: &str = "file/set_artwork";
const CREATE: &str = "file/create";

pub(super) async fn artwork(api: &Api, media: &FileId, image: &FileId) -> Result<()> {
    let params = Params::new()
        .with("quick_key", media.as_str())
        .with("artwork", image.as_str());
    let answer = api.call(ARTWORK, &params).await;
    answer.map_err(|failure| failure.error.with_context("file", media))?;
    Ok(())
}

pub(super) async fn privacy(api: &Api, item: &ItemId, privacy: Privacy, below: bool) -> Result<()> {
    let privacy = match privacy {
        Privacy::Public => "public",
        Privacy::Private => "private",
        Privacy::Unlisted => {
            return refuse("privacy", "the service knows public and private files alone");
        }
    };
    let mut fields = vec![("privacy", privacy)];
    if below {
        fields.push(("privacy_recursive", "yes"));
    }
    update(api, item, fields).await
}

pub(super) async fn description(api: &Api, item: &ItemId, text: &str) -> Result<()> {
    update(api, item, vec![("description", text)]).await
}

/// An update without a time sets the server's, so the present one goes along.
async fn update(api: &Api, item: &ItemId, mut fields: Vec<(&'static str, &str)>) -> Result<()> {
    let created: Option<SystemTime> = match item {
        ItemId::File(file) => super::details::of_file(api, file).await?.created,
        ItemId::Folder(folder) => super::details::of_folder(api, folder).await?.created,
    };
    let mtime = created.map(files::mtime_text).transpose()?;
    fields.extend(mtime.as_deref().map(|mtime| ("mtime", mtime)));
    match item {
        ItemId::File(file) => files::update(api, file, &fields).await,
        ItemId::Folder(folder) => folders::update(api, folder, &fields).await,
    }
}

pub(super) async fn create(api: &Api, folder: &FolderId, name: &str) -> Result<FileEntry> {
    let params = Params::new()
        .with("filename", name)
        .with("parent_key", folder.as_str());
    let answer = api.call(CREATE, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("folder", folder))?;
    let node = Node(&reply);
    let told = node.get("fileinfo").or_else(|| node.get("file_info"));
    let file = told.and_then(Node::file).ok_or_else(|| {
        let message = "the service made a file and did not tell its key or its name";
        ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, CREATE, message)
    })?;
    Ok(FileEntry {
        parent: Some(folder.clone()),
        ..file
    })
}
