//! The wrappers around what a service does beyond a filesystem's wants. One line for each method.

use async_trait::async_trait;
use url::Url;

use super::{Around, Operation, Wrapped};
use crate::provider::services::{
    Archive, Details, FileServices, FileVersion, OneTimeCounts, OneTimeLink, OneTimeTerms, Privacy, Restored,
    TrashedItem, WebLink, ZipTerms,
};
use crate::provider::{FileEntry, FileId, FolderId, ItemId, Result};

/// As many calls as a long trash, or a long list, may take.
const LONG: u32 = 10;

impl Operation {
    const DETAILS: Operation = Operation::asking("details");
    const WEB_LINKS: Operation = Operation::asking("web_links");
    const ONE_TIME_COUNTS: Operation = Operation::asking("one_time_counts");
    const MAKE_ONE_TIME_LINK: Operation = Operation::changing("make_one_time_link").never_again();
    const CHANGE_ONE_TIME_LINK: Operation = Operation::changing("change_one_time_link");
    const VERSIONS: Operation = Operation::asking("versions");
    const RESTORE_VERSION: Operation = Operation::changing("restore_version").never_again();
    const TRASH: Operation = Operation::asking("trash").lasting(LONG);
    const RESTORE_FROM_TRASH: Operation = Operation::changing("restore_from_trash");
    const EMPTY_TRASH: Operation = Operation::changing("empty_trash");
    const WORKS: Operation = Operation::asking("works");
    const RECENT: Operation = Operation::asking("recent").lasting(2);
    const NAMES_ABOVE: Operation = Operation::asking("names_above");
    const CHECK_ZIP: Operation = Operation::asking("check_zip").lasting(2);
    const ZIP: Operation = Operation::asking("zip").with_body();
    const SET_ARTWORK: Operation = Operation::changing("set_artwork");
    const SET_PRIVACY: Operation = Operation::changing("set_privacy").lasting(2);
    const SET_DESCRIPTION: Operation = Operation::changing("set_description").lasting(2);
    const CREATE_TEXT_FILE: Operation = Operation::changing("create_text_file").never_again();
}

#[async_trait]
impl<A: Around> FileServices for Wrapped<A> {
    async fn details(&self, item: &ItemId) -> Result<Details> {
        let call = || self.inner.services().details(item);
        self.around.around(Operation::DETAILS, call).await
    }

    async fn web_links(&self, files: &[FileId], kind: WebLink) -> Result<Vec<Result<Url>>> {
        let operation = Operation::WEB_LINKS.of_items(files.len(), self.batches());
        let call = || self.inner.services().web_links(files, kind);
        self.around.around(operation, call).await
    }

    async fn one_time_counts(&self) -> Result<OneTimeCounts> {
        let call = || self.inner.services().one_time_counts();
        self.around.around(Operation::ONE_TIME_COUNTS, call).await
    }

    async fn make_one_time_link(&self, file: &FileId, terms: &OneTimeTerms) -> Result<OneTimeLink> {
        let call = || self.inner.services().make_one_time_link(file, terms);
        self.around.around(Operation::MAKE_ONE_TIME_LINK, call).await
    }

    async fn change_one_time_link(&self, token: &str, terms: &OneTimeTerms) -> Result<OneTimeCounts> {
        let call = || self.inner.services().change_one_time_link(token, terms);
        self.around.around(Operation::CHANGE_ONE_TIME_LINK, call).await
    }

    async fn versions(&self, file: &FileId) -> Result<Vec<FileVersion>> {
        let call = || self.inner.services().versions(file);
        self.around.around(Operation::VERSIONS, call).await
    }

    async fn restore_version(&self, file: &FileId, revision: &str) -> Result<bool> {
        let call = || self.inner.services().restore_version(file, revision);
        self.around.around(Operation::RESTORE_VERSION, call).await
    }

    async fn trash(&self) -> Result<Vec<TrashedItem>> {
        let call = || self.inner.services().trash();
        self.around.around(Operation::TRASH, call).await
    }

    async fn restore_from_trash(&self, items: &[ItemId], folder: &FolderId) -> Result<Restored> {
        let operation = Operation::RESTORE_FROM_TRASH.of_items(items.len(), self.batches());
        let call = || self.inner.services().restore_from_trash(items, folder);
        self.around.around(operation, call).await
    }

    async fn empty_trash(&self) -> Result<bool> {
        let call = || self.inner.services().empty_trash();
        self.around.around(Operation::EMPTY_TRASH, call).await
    }

    async fn works(&self) -> Result<bool> {
        let call = || self.inner.services().works();
        self.around.around(Operation::WORKS, call).await
    }

    async fn recent(&self, most: usize) -> Result<Vec<FileEntry>> {
        let call = || self.inner.services().recent(most);
        self.around.around(Operation::RECENT, call).await
    }

    async fn names_above(&self, folder: &FolderId) -> Result<Vec<String>> {
        let call = || self.inner.services().names_above(folder);
        self.around.around(Operation::NAMES_ABOVE, call).await
    }

    async fn check_zip(&self, items: &[ItemId], terms: ZipTerms) -> Result<()> {
        let call = || self.inner.services().check_zip(items, terms);
        self.around.around(Operation::CHECK_ZIP, call).await
    }

    async fn zip(&self, items: &[ItemId], terms: ZipTerms) -> Result<Archive> {
        let call = || self.inner.services().zip(items, terms);
        self.around.around(Operation::ZIP, call).await
    }

    async fn set_artwork(&self, media: &FileId, image: &FileId) -> Result<()> {
        let call = || self.inner.services().set_artwork(media, image);
        self.around.around(Operation::SET_ARTWORK, call).await
    }

    async fn set_privacy(&self, item: &ItemId, privacy: Privacy, below: bool) -> Result<()> {
        let call = || self.inner.services().set_privacy(item, privacy, below);
        self.around.around(Operation::SET_PRIVACY, call).await
    }

    async fn set_description(&self, item: &ItemId, text: &str) -> Result<()> {
        let call = || self.inner.services().set_description(item, text);
        self.around.around(Operation::SET_DESCRIPTION, call).await
    }

    async fn create_text_file(&self, folder: &FolderId, name: &str) -> Result<FileEntry> {
        let call = || self.inner.services().create_text_file(folder, name);
        self.around.around(Operation::CREATE_TEXT_FILE, call).await
    }
}
