//! What YetiShare hosts do beyond a filesystem's wants: they tell of files and folders, and say who may see a folder.

use async_trait::async_trait;
use serde_json::Value;

use super::call::Api;
use super::errors::incomplete;
use super::wire::{Node, State};
use super::{YetiShare, files, folders};
use crate::provider::services::{Details, FileServices, Privacy};
use crate::provider::{
    Capability, ErrorKind, FileId, FolderId, ItemId, ProviderError, Result, Retry, refuse,
};

const FILE: &str = "file/info";
const FOLDER: &str = "folder/info";

/// Pages that may be handed on. Those that tell of a file to its owner, or delete it, hold what deletes it.
const PAGES: [&str; 2] = ["url_file", "url_file_stats"];

#[async_trait]
impl FileServices for YetiShare {
    async fn details(&self, item: &ItemId) -> Result<Details> {
        match item {
            ItemId::File(file) => of_file(&self.api, file).await,
            ItemId::Folder(folder) => of_folder(&self.api, folder).await,
        }
    }

    async fn set_privacy(&self, item: &ItemId, privacy: Privacy, below: bool) -> Result<()> {
        let folder = match item {
            ItemId::File(_) => {
                let message = "the host keeps no privacy of single files: that of their folder holds";
                return refuse("privacy", message);
            }
            ItemId::Folder(_) if below => {
                let message = "the host sets the privacy of one folder at a time: leave out -r";
                return refuse("privacy", message);
            }
            ItemId::Folder(folder) => folder,
        };
        self.api.need(Capability::Rename, "folder/edit")?;
        let public = match privacy {
            Privacy::Private => "0",
            Privacy::Unlisted => "1",
            Privacy::Public => "2",
        };
        folders::set_public(&self.api, folder, public).await
    }
}

async fn of_file(api: &Api, file: &FileId) -> Result<Details> {
    let answer = api.call(FILE, &files::by_id(file)).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let told = data(FILE, &reply)?;
    let name = told.text("filename").or_else(|| told.text("name"));
    let name = name.ok_or_else(|| incomplete(FILE, Retry::Never, "the file's name"))?;
    let page = |kind: &&str| {
        let url = crate::provider::form::link(FILE, &told.text(kind)?, api.base()).ok()?;
        Some(((*kind).to_owned(), url))
    };
    let more = [
        ("last accessed", told.text("lastAccessed")),
        ("keywords", told.text("keywords")),
        ("uploaded by way of", told.text("uploadSource")),
        ("status", told.text("file_status").or_else(|| told.text("status"))),
    ];
    Ok(Details {
        size: told.file().map(|file| file.size),
        created: told.time("uploadedDate", api.zone()),
        privacy: privacy(told),
        description: told.text("description"),
        mime_type: told.text("fileType"),
        downloads: told.number("downloads"),
        parent: told.folder_id("folderId"),
        is_trashed: told.state() == State::Gone,
        links: PAGES.iter().filter_map(page).collect(),
        more: more
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
            .collect(),
        ..Details::of(ItemId::File(file.clone()), name)
    })
}

async fn of_folder(api: &Api, folder: &FolderId) -> Result<Details> {
    if super::wire::is_root(folder) {
        let message = "the host tells nothing of the account's top folder";
        return Err(ProviderError::new(
            ErrorKind::Unsupported,
            Retry::Never,
            FOLDER,
            message,
        ));
    }
    let told = folders::info(api, folder).await?;
    let told = Node(&told);
    let name = told.text("folderName");
    let name = name.ok_or_else(|| incomplete(FOLDER, Retry::Never, "the folder's name"))?;
    let page = told.text("url_folder");
    let page = page.and_then(|page| crate::provider::form::link(FOLDER, &page, api.base()).ok());
    Ok(Details {
        size: told.number("totalSize"),
        created: told.time("date_added", api.zone()),
        privacy: privacy(told),
        downloads: told.number("total_downloads"),
        parent: told.folder_id("parentId"),
        holds: told.number("file_count").zip(told.number("child_folder_count")),
        links: page
            .map(|page| ("url_folder".to_owned(), page))
            .into_iter()
            .collect(),
        ..Details::of(ItemId::Folder(folder.clone()), name)
    })
}

fn data<'a>(operation: &'static str, reply: &'a Value) -> Result<Node<'a>> {
    let data = Node(reply).get("data");
    data.ok_or_else(|| incomplete(operation, Retry::Never, "what was asked for"))
}

fn privacy(told: Node<'_>) -> Option<Privacy> {
    match told.number("isPublic")? {
        0 => Some(Privacy::Private),
        1 => Some(Privacy::Unlisted),
        2 => Some(Privacy::Public),
        _ => None,
    }
}
