//! A provider that another one can take the place of while it is used: when the account's secrets have changed.
//!
//! What is under way ends with the one that it began with; what only that one knew in memory is learned anew, as after
//! a restart. It stands inside the wrappers, so that limits and counts go on. Where the secrets cannot be had yet, the
//! place is barred: it tells what the service can do, and refuses every call as the service refuses a wrong login.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use url::Url;

use super::services::{self, FileServices};
use super::{
    AccountInfo, Capabilities, ChangeCursor, Changes, DailyCalls, DeleteMode, DownloadLink, ErrorKind,
    FileEntry, FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint, Listing, NameRules, Pace,
    Provider, ProviderError, PublishedState, Result, Retry, SentUpload, ShareLinks, UploadPlan,
    UploadProgress, UploadRequest, UploadTicket,
};
use crate::http::FileRange;

/// The place of a provider.
pub struct Exchange {
    current: RwLock<Serving>,
}

#[derive(Clone)]
struct Serving {
    provider: Arc<dyn Provider>,
    /// Why it must not be called.
    barred: Option<Arc<str>>,
}

impl Exchange {
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Exchange {
            current: RwLock::new(Serving {
                provider,
                barred: None,
            }),
        }
    }

    /// With a provider that has no secrets: until another is put in its place, all calls fail for this reason.
    pub fn barred(provider: Arc<dyn Provider>, why: &str) -> Self {
        Exchange {
            current: RwLock::new(Serving {
                provider,
                barred: Some(why.into()),
            }),
        }
    }

    /// Lets another provider of the same account serve from now on, and returns the one before.
    pub fn put(&self, provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let next = Serving {
            provider,
            barred: None,
        };
        std::mem::replace(&mut *current, next).provider
    }

    fn serving(&self) -> Serving {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// For what is known without a call.
    fn current(&self) -> Arc<dyn Provider> {
        self.serving().provider
    }

    /// For calls.
    fn called(&self) -> Result<Arc<dyn Provider>> {
        match self.serving() {
            Serving {
                provider,
                barred: None,
            } => Ok(provider),
            Serving {
                barred: Some(why), ..
            } => Err(ProviderError::new(
                ErrorKind::LoginRefused,
                Retry::Never,
                "login",
                &*why,
            )),
        }
    }
}

#[async_trait]
impl Provider for Exchange {
    fn kind(&self) -> &'static str {
        self.current().kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.current().capabilities()
    }

    fn id_space(&self) -> String {
        self.current().id_space()
    }

    /// None: what is used while its secrets change is a mount, which wants no more than a filesystem does.
    fn services(&self) -> &dyn FileServices {
        &services::Nothing
    }

    fn name_rules(&self) -> NameRules {
        self.current().name_rules()
    }

    fn root(&self) -> FolderId {
        self.current().root()
    }

    fn newest_file(&self, folder: &FolderId) -> Option<FileId> {
        self.current().newest_file(folder)
    }

    fn came_after(&self, file: &FileId, before: &FileId) -> bool {
        self.current().came_after(file, before)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.called()?.account_info().await
    }

    async fn list(&self, folder: &FolderId, hint: ListHint) -> Result<Listing> {
        self.called()?.list(folder, hint).await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        self.called()?.file_info(files).await
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        self.called()?.links(files).await
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        self.called()?.share_links(files).await
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        self.called()?.create_folder(parent, name).await
    }

    async fn rename(&self, item: &ItemId, name: &str, mtime: Option<SystemTime>) -> Result<()> {
        self.called()?.rename(item, name, mtime).await
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        self.called()?.move_to(items, folder).await
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        self.called()?.copy_file(file, folder).await
    }

    async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<()> {
        self.called()?.set_mtime(item, mtime).await
    }

    async fn replace_content(&self, new: &FileId, old: &FileId) -> Result<()> {
        self.called()?.replace_content(new, old).await
    }

    async fn delete(&self, items: &[ItemId], mode: DeleteMode) -> Result<()> {
        self.called()?.delete(items, mode).await
    }

    async fn folder_states(&self, folders: &[FolderId]) -> Result<Vec<FolderState>> {
        self.called()?.folder_states(folders).await
    }

    async fn changes(&self, since: Option<&ChangeCursor>) -> Result<Changes> {
        self.called()?.changes(since).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        self.called()?.upload_begin(request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        self.called()?.upload_whole(request, body).await
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        self.called()?.upload_unit(request, index, sha256, body).await
    }

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        self.called()?.upload_range(request, session, body).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        self.called()?.upload_from_link(request, link).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        self.called()?.upload_poll(ticket).await
    }

    async fn upload_poll_many(&self, uploads: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
        self.called()?.upload_poll_many(uploads).await
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        self.called()?.published(files).await
    }

    fn published_state(&self, file: &FileId) -> Option<PublishedState> {
        self.current().published_state(file)
    }

    async fn check_published(&self, most: usize) -> Result<usize> {
        self.called()?.check_published(most).await
    }

    async fn daily_calls(&self) -> Option<DailyCalls> {
        self.current().daily_calls().await
    }

    fn pace(&self) -> Pace {
        self.current().pace()
    }

    async fn close(&self) {
        self.current().close().await;
    }
}
