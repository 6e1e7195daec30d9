//! What MediaFire does beyond a filesystem's wants, each in a module by its subject.

mod archive;
mod change;
mod details;
mod one_time;
mod trash;
mod versions;
mod web_links;

use async_trait::async_trait;
use url::Url;

use super::MediaFire;
use crate::provider::services::{
    Archive, Details, FileServices, FileVersion, OneTimeCounts, OneTimeLink, OneTimeTerms, Privacy, Restored,
    TrashedItem, WebLink, ZipTerms,
};
use crate::provider::{FileEntry, FileId, FolderId, ItemId, Result};

#[async_trait]
impl FileServices for MediaFire {
    async fn details(&self, item: &ItemId) -> Result<Details> {
        match item {
            ItemId::File(file) => details::of_file(&self.api, file).await,
            ItemId::Folder(folder) => details::of_folder(&self.api, folder).await,
        }
    }

    async fn web_links(&self, files: &[FileId], kind: WebLink) -> Result<Vec<Result<Url>>> {
        web_links::get(&self.api, files, kind).await
    }

    async fn one_time_counts(&self) -> Result<OneTimeCounts> {
        one_time::counts(&self.api).await
    }

    async fn make_one_time_link(&self, file: &FileId, terms: &OneTimeTerms) -> Result<OneTimeLink> {
        one_time::make(&self.api, file, terms).await
    }

    async fn change_one_time_link(&self, token: &str, terms: &OneTimeTerms) -> Result<OneTimeCounts> {
        one_time::change(&self.api, token, terms).await
    }

    async fn versions(&self, file: &FileId) -> Result<Vec<FileVersion>> {
        versions::list(&self.api, file).await
    }

    async fn restore_version(&self, file: &FileId, revision: &str) -> Result<bool> {
        versions::restore(&self.api, file, revision).await
    }

    async fn trash(&self) -> Result<Vec<TrashedItem>> {
        trash::list(&self.api).await
    }

    async fn restore_from_trash(&self, items: &[ItemId], folder: &FolderId) -> Result<Restored> {
        trash::restore(&self.api, items, folder).await
    }

    async fn empty_trash(&self) -> Result<bool> {
        trash::empty(&self.api).await
    }

    async fn works(&self) -> Result<bool> {
        trash::works(&self.api).await
    }

    async fn recent(&self, most: usize) -> Result<Vec<FileEntry>> {
        details::recent(&self.api, most).await
    }

    async fn names_above(&self, folder: &FolderId) -> Result<Vec<String>> {
        details::names_above(&self.api, folder).await
    }

    async fn check_zip(&self, items: &[ItemId], terms: ZipTerms) -> Result<()> {
        archive::check(&self.api, items, terms).await
    }

    async fn zip(&self, items: &[ItemId], terms: ZipTerms) -> Result<Archive> {
        archive::open(&self.api, items, terms).await
    }

    async fn set_artwork(&self, media: &FileId, image: &FileId) -> Result<()> {
        change::artwork(&self.api, media, image).await
    }

    async fn set_privacy(&self, item: &ItemId, privacy: Privacy, below: bool) -> Result<()> {
        change::privacy(&self.api, item, privacy, below).await
    }

    async fn set_description(&self, item: &ItemId, text: &str) -> Result<()> {
        change::description(&self.api, item, text).await
    }

    async fn create_text_file(&self, folder: &FolderId, name: &str) -> Result<FileEntry> {
        change::create(&self.api, folder, name).await
    }
}
