//! Folders of this machine, laid over those of a service.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use globset::GlobSet;
use url::Url;

use crate::http::FileRange;
use crate::provider::services::FileServices;
use crate::provider::{
    AccountInfo, Capabilities, ChangeCursor, Changes, DailyCalls, DeleteMode, DownloadLink, Entry, ErrorKind,
    FileEntry, FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint, Listing, NameRules, Pace,
    Provider, ProviderError, PublishedState, Result, Retry, SentUpload, ShareLinks, UploadPlan,
    UploadProgress, UploadRequest, UploadTicket,
};
use crate::state::{Database, LocalFolderRow, StateError};
use crate::vfs::names;

/// How the ids of these folders begin; no service gives such ids.
const PREFIX: &str = "local:";

/// Whether a folder is on this machine alone.
pub fn is_local(folder: &FolderId) -> bool {
    number(folder).is_some()
}

fn number(folder: &FolderId) -> Option<i64> {
    folder.as_str().strip_prefix(PREFIX)?.parse().ok()
}

/// A service with folders of this machine among its own. Calls that are about them never reach it.
pub struct LocalFolders {
    service: Arc<dyn Provider>,
    account: String,
    names: GlobSet,
    database: Database,
}

impl LocalFolders {
    /// A new folder whose name is one of `names` stays here, with all that is put into it.
    pub fn over(
        service: Arc<dyn Provider>,
        account: &str,
        names: GlobSet,
        database: Database,
    ) -> Arc<dyn Provider> {
        Arc::new(LocalFolders {
            service,
            account: account.to_owned(),
            names,
            database,
        })
    }

    async fn within(&self, parent: &FolderId) -> Result<Vec<Entry>> {
        let account = self.account.clone();
        let rows = self
            .database
            .local_folders(account, parent.as_str().to_owned())
            .await;
        let rows = rows.map_err(|error| failed("list folders of this machine", error))?;
        Ok(rows.into_iter().map(|row| Entry::Folder(entry(row))).collect())
    }

    async fn change(&self, id: i64, change: impl FnOnce(&mut LocalFolderRow) + Send + 'static) -> Result<()> {
        let changed = self.database.change_local_folder(id, change).await;
        changed.map_err(|error| failed("change a folder of this machine", error))
    }
}

fn local_item(item: &ItemId) -> Option<i64> {
    match item {
        ItemId::Folder(folder) => number(folder),
        ItemId::File(_) => None,
    }
}

fn entry(row: LocalFolderRow) -> FolderEntry {
    FolderEntry {
        id: FolderId::new(format!("{PREFIX}{}", row.id)),
        name: row.name,
        mtime: Some(row.mtime),
        hint: ListHint::default(),
    }
}

fn failed(operation: &'static str, error: StateError) -> ProviderError {
    let message = error.to_string();
    ProviderError::new(ErrorKind::Unexpected, Retry::Never, operation, message).with_source(error)
}

#[async_trait]
impl Provider for LocalFolders {
    fn kind(&self) -> &'static str {
        self.service.kind()
    }

    fn id_space(&self) -> String {
        self.service.id_space()
    }

    fn services(&self) -> &dyn FileServices {
        self.service.services()
    }

    fn capabilities(&self) -> Capabilities {
        self.service.capabilities()
    }

    fn name_rules(&self) -> NameRules {
        self.service.name_rules()
    }

    fn root(&self) -> FolderId {
        self.service.root()
    }

    fn newest_file(&self, folder: &FolderId) -> Option<FileId> {
        self.service.newest_file(folder)
    }

    fn came_after(&self, file: &FileId, before: &FileId) -> bool {
        self.service.came_after(file, before)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.service.account_info().await
    }

    async fn list(&self, folder: &FolderId, hint: ListHint) -> Result<Listing> {
        let mut listing = match is_local(folder) {
            true => Listing::default(),
            false => self.service.list(folder, hint).await?,
        };
        listing.entries.extend(self.within(folder).await?);
        Ok(listing)
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        self.service.file_info(files).await
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        self.service.links(files).await
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        self.service.share_links(files).await
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        let shown = names::to_local(name, &self.service.name_rules());
        if !is_local(parent) && !self.names.is_match(shown) {
            return self.service.create_folder(parent, name).await;
        }
        let (account, parent) = (self.account.clone(), parent.as_str().to_owned());
        let made = self
            .database
            .make_local_folder(account, parent, name.to_owned())
            .await;
        made.map(entry)
            .map_err(|error| failed("make a folder on this machine", error))
    }

    async fn rename(&self, item: &ItemId, name: &str, mtime: Option<SystemTime>) -> Result<()> {
        match local_item(item) {
            None => self.service.rename(item, name, mtime).await,
            Some(id) => {
                let name = name.to_owned();
                self.change(id, move |row| row.name = name).await
            }
        }
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        let (local, others): (Vec<_>, Vec<_>) =
            items.iter().cloned().partition(|item| local_item(item).is_some());
        if !others.is_empty() {
            self.service.move_to(&others, folder).await?;
        }
        for id in local.iter().filter_map(local_item) {
            let parent = folder.as_str().to_owned();
            self.change(id, move |row| row.parent = parent).await?;
        }
        Ok(())
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        self.service.copy_file(file, folder).await
    }

    async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<()> {
        match local_item(item) {
            None => self.service.set_mtime(item, mtime).await,
            Some(id) => self.change(id, move |row| row.mtime = mtime).await,
        }
    }

    async fn replace_content(&self, new: &FileId, old: &FileId) -> Result<()> {
        self.service.replace_content(new, old).await
    }

    async fn delete(&self, items: &[ItemId], mode: DeleteMode) -> Result<()> {
        let (local, others): (Vec<_>, Vec<_>) =
            items.iter().cloned().partition(|item| local_item(item).is_some());
        for id in local.iter().filter_map(local_item) {
            let removed = self.database.remove_local_folder(id).await;
            removed.map_err(|error| failed("remove a folder of this machine", error))?;
        }
        match others.is_empty() {
            true => Ok(()),
            false => self.service.delete(&others, mode).await,
        }
    }

    async fn folder_states(&self, folders: &[FolderId]) -> Result<Vec<FolderState>> {
        self.service.folder_states(folders).await
    }

    async fn changes(&self, since: Option<&ChangeCursor>) -> Result<Changes> {
        self.service.changes(since).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        self.service.upload_begin(request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        self.service.upload_whole(request, body).await
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        self.service.upload_unit(request, index, sha256, body).await
    }

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        self.service.upload_range(request, session, body).await
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        self.service.published(files).await
    }

    fn published_state(&self, file: &FileId) -> Option<PublishedState> {
        self.service.published_state(file)
    }

    async fn check_published(&self, most: usize) -> Result<usize> {
        self.service.check_published(most).await
    }

    async fn daily_calls(&self) -> Option<DailyCalls> {
        self.service.daily_calls().await
    }

    fn pace(&self) -> Pace {
        self.service.pace()
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        self.service.upload_from_link(request, link).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        self.service.upload_poll(ticket).await
    }

    async fn upload_poll_many(&self, uploads: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
        self.service.upload_poll_many(uploads).await
    }

    async fn close(&self) {
        self.service.close().await;
    }
}
