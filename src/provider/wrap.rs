//! What goes around any provider: tracing, retries, a call budget, a circuit breaker, deadlines.
//!
//! Each wrapper is an [`Around`]: one function through which every operation passes, told by an
//! [`Operation`] what it is. [`Wrapped`] makes a [`Provider`] of it, so a new method of the trait is one line
//! here and none in the wrappers. Nothing here knows a service.

mod breaker;
mod budget;
mod deadline;
mod lanes;
mod operation;
mod retry;
mod services;
mod tracing;
mod urgency;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use url::Url;

pub use self::breaker::{Breaker, Circuit};
pub use self::budget::{Budget, turn_for_a_call};
pub use self::deadline::Deadline;
pub use self::operation::{CallClass, Operation};
pub use self::retry::Retrying;
pub use self::tracing::Tracing;
pub use self::urgency::{Urgency, at, urgency};

use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, ChangeCursor, Changes, DailyCalls, DeleteMode, DownloadLink,
    FileEntry, FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint, Listing, NameRules, Pace,
    Provider, PublishedState, Result, SentUpload, ShareLinks, UploadPlan, UploadProgress, UploadRequest,
    UploadTicket,
};
use crate::http::FileRange;

/// Limits of the wrappers around one account.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Calls other than those of uploads that may start in a second, in the long run.
    pub calls_per_second: f64,
    /// The same for uploads, of which one small file takes two or three. All calls together keep to the larger of
    /// both.
    pub upload_calls_per_second: f64,
    /// Calls that may start at once after a rest.
    pub burst: u32,
    /// The longest wait for the budget; what would wait longer fails as rate-limited.
    pub budget_wait: Duration,
    /// Times that an operation is tried at most, those aside for which the service was called too often.
    pub attempts: u32,
    /// The first wait between attempts, which doubles from one to the next.
    pub backoff: Duration,
    /// The longest wait between attempts, unless the service asks for more.
    pub max_backoff: Duration,
    /// For an operation with all its attempts and waits; a multiple of it where an operation is made of many
    /// calls. It does not cut a body under way.
    pub operation_deadline: Duration,
    /// For one attempt, or the same multiple. Bodies have their own limits, by progress.
    pub call_deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            calls_per_second: 50.0,
            upload_calls_per_second: 400.0,
            burst: 300,
            budget_wait: Duration::from_secs(30),
            attempts: 4,
            backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(10),
            operation_deadline: Duration::from_secs(45),
            call_deadline: Duration::from_secs(20),
        }
    }
}

/// The wrappers in the order in which lockerfs uses them: tracing around retries around the budget around the
/// circuit breaker around the deadline of each attempt.
pub fn standard(provider: Arc<dyn Provider>, account_name: &str, options: &Options) -> Arc<dyn Provider> {
    let (budget, circuit) = (Budget::new(options), Arc::new(Circuit::default()));
    let saved = budget.clone();
    let provider = Wrapped::new(provider, Deadline::new(options.call_deadline));
    let breaker = Breaker::new(Arc::clone(&circuit), move || saved.spend_savings());
    let provider = Wrapped::new(provider, breaker);
    let provider = Wrapped::new(provider, budget);
    let provider = Wrapped::new(provider, Retrying::new(account_name, options, circuit));
    Wrapped::new(provider, Tracing::new(account_name))
}

/// What a wrapper does around each operation.
pub trait Around: Send + Sync + 'static {
    /// Runs `call`, as often as it sees fit, and answers for it. Each run of `call` is one attempt.
    fn around<'a, T, F>(
        &'a self,
        operation: Operation,
        call: F,
    ) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a;

    /// Adds what this wrapper knows of the pace of the calls.
    fn tell(&self, _: &mut Pace) {}
}

/// A provider with a wrapper around it.
pub struct Wrapped<A> {
    inner: Arc<dyn Provider>,
    around: A,
}

impl<A: Around> Wrapped<A> {
    #[expect(clippy::new_ret_no_self, reason = "it is used as a provider only")]
    pub fn new(inner: Arc<dyn Provider>, around: A) -> Arc<dyn Provider> {
        Arc::new(Wrapped { inner, around })
    }

    fn batches(&self) -> bool {
        self.inner.capabilities().has(Capability::Batches)
    }

    fn one(&self, operation: Operation) -> Operation {
        operation.of_items(1, self.batches())
    }
}

#[async_trait]
impl<A: Around> Provider for Wrapped<A> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn id_space(&self) -> String {
        self.inner.id_space()
    }

    fn services(&self) -> &dyn FileServices {
        self
    }

    fn name_rules(&self) -> NameRules {
        self.inner.name_rules()
    }

    fn root(&self) -> FolderId {
        self.inner.root()
    }

    fn newest_file(&self, folder: &FolderId) -> Option<FileId> {
        self.inner.newest_file(folder)
    }

    fn came_after(&self, file: &FileId, before: &FileId) -> bool {
        self.inner.came_after(file, before)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.around
            .around(self.one(Operation::ACCOUNT_INFO), || self.inner.account_info())
            .await
    }

    async fn list(&self, folder: &FolderId, hint: ListHint) -> Result<Listing> {
        self.around
            .around(Operation::LIST.of_parts(hint), || self.inner.list(folder, hint))
            .await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        let operation = Operation::FILE_INFO.of_items(files.len(), self.batches());
        self.around
            .around(operation, || self.inner.file_info(files))
            .await
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        self.around
            .around(Operation::LINKS.of_items(files.len(), self.batches()), || {
                self.inner.links(files)
            })
            .await
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        let operation = Operation::SHARE_LINKS.of_items(files.len(), self.batches());
        self.around
            .around(operation, || self.inner.share_links(files))
            .await
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        self.around
            .around(self.one(Operation::CREATE_FOLDER), || {
                self.inner.create_folder(parent, name)
            })
            .await
    }

    async fn rename(&self, item: &ItemId, name: &str, mtime: Option<SystemTime>) -> Result<()> {
        self.around
            .around(Operation::RENAME, || self.inner.rename(item, name, mtime))
            .await
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        let operation = Operation::MOVE_TO.of_items(items.len(), self.batches());
        self.around
            .around(operation, || self.inner.move_to(items, folder))
            .await
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        self.around
            .around(Operation::COPY_FILE, || self.inner.copy_file(file, folder))
            .await
    }

    async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<()> {
        self.around
            .around(Operation::SET_MTIME, || self.inner.set_mtime(item, mtime))
            .await
    }

    async fn replace_content(&self, new: &FileId, old: &FileId) -> Result<()> {
        self.around
            .around(Operation::REPLACE_CONTENT, || {
                self.inner.replace_content(new, old)
            })
            .await
    }

    async fn delete(&self, items: &[ItemId], mode: DeleteMode) -> Result<()> {
        let operation = Operation::DELETE.of_items(items.len(), self.batches());
        self.around
            .around(operation, || self.inner.delete(items, mode))
            .await
    }

    async fn folder_states(&self, folders: &[FolderId]) -> Result<Vec<FolderState>> {
        let operation = Operation::FOLDER_STATES.of_items(folders.len(), self.batches());
        self.around
            .around(operation, || self.inner.folder_states(folders))
            .await
    }

    async fn changes(&self, since: Option<&ChangeCursor>) -> Result<Changes> {
        self.around
            .around(Operation::CHANGES, || self.inner.changes(since))
            .await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        self.around
            .around(self.one(Operation::UPLOAD_BEGIN), || {
                self.inner.upload_begin(request)
            })
            .await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        let call = || self.inner.upload_whole(request, body.clone());
        self.around.around(Operation::UPLOAD_WHOLE, call).await
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        let call = || self.inner.upload_unit(request, index, sha256, body.clone());
        self.around.around(Operation::UPLOAD_UNIT, call).await
    }

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        let call = || self.inner.upload_range(request, session, body.clone());
        self.around.around(Operation::UPLOAD_RANGE, call).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        let call = || self.inner.upload_from_link(request, link);
        self.around.around(Operation::UPLOAD_FROM_LINK, call).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        self.around
            .around(Operation::UPLOAD_POLL, || self.inner.upload_poll(ticket))
            .await
    }

    async fn upload_poll_many(&self, uploads: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
        let operation = if self.batches() {
            Operation::UPLOAD_POLL_MANY
        } else {
            Operation::UPLOAD_POLL.of_items(uploads.len(), false)
        };
        self.around
            .around(operation, || self.inner.upload_poll_many(uploads))
            .await
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        let operation = Operation::FILE_INFO.of_items(files.len(), self.batches());
        self.around
            .around(operation, || self.inner.published(files))
            .await
    }

    fn published_state(&self, file: &FileId) -> Option<PublishedState> {
        self.inner.published_state(file)
    }

    async fn check_published(&self, most: usize) -> Result<usize> {
        self.inner.check_published(most).await
    }

    async fn daily_calls(&self) -> Option<DailyCalls> {
        self.inner.daily_calls().await
    }

    fn pace(&self) -> Pace {
        let mut pace = self.inner.pace();
        self.around.tell(&mut pace);
        pace
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
