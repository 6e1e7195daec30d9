//! A provider that answers from a script, for the tests of what goes around a provider.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use lockerfs::http::FileRange;
use lockerfs::provider::{
    AccountInfo, Capabilities, ChangeCursor, Changes, DeleteMode, DownloadLink, ErrorKind, FileEntry, FileId,
    FolderEntry, FolderId, ItemId, ListHint, Listing, NameRules, Provider, ProviderError, Result, Retry,
    UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};

/// What one attempt does.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Fail(ErrorKind, Retry),
    Take(Duration),
}

/// Acts as told, attempt by attempt, and succeeds at once when the script is over.
#[derive(Default)]
pub struct Scripted {
    acts: Mutex<VecDeque<Act>>,
    attempts: Mutex<Vec<(&'static str, Instant)>>,
}

impl Scripted {
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Scripted {
            acts: Mutex::new(acts.into_iter().collect()),
            ..Scripted::default()
        }
    }

    /// The method and the time of each attempt so far.
    pub fn attempts(&self) -> Vec<(&'static str, Instant)> {
        self.attempts.lock().unwrap().clone()
    }

    async fn act<T>(&self, method: &'static str, value: T) -> Result<T> {
        self.attempts.lock().unwrap().push((method, Instant::now()));
        let act = self.acts.lock().unwrap().pop_front();
        match act {
            Some(Act::Fail(kind, retry)) => Err(ProviderError::new(kind, retry, method, "as scripted")),
            Some(Act::Take(time)) => {
                tokio::time::sleep(time).await;
                Ok(value)
            }
            None => Ok(value),
        }
    }
}

#[async_trait]
impl Provider for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    fn name_rules(&self) -> NameRules {
        NameRules {
            max_chars: 255,
            forbidden: "",
            edge_blanks: true,
            leading_dot: true,
            numbered_twins: false,
        }
    }

    fn root(&self) -> FolderId {
        FolderId::new("root")
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.act("account_info", AccountInfo::default()).await
    }

    async fn list(&self, _: &FolderId, _: ListHint) -> Result<Listing> {
        self.act("list", Listing::default()).await
    }

    async fn file_info(&self, _: &[FileId]) -> Result<Vec<FileEntry>> {
        self.act("file_info", Vec::new()).await
    }

    async fn links(&self, _: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        self.act("links", Vec::new()).await
    }

    async fn create_folder(&self, _: &FolderId, name: &str) -> Result<FolderEntry> {
        let hint = ListHint::default();
        self.act(
            "create_folder",
            FolderEntry {
                id: FolderId::new("f"),
                name: name.to_owned(),
                mtime: None,
                hint,
            },
        )
        .await
    }

    async fn rename(&self, _: &ItemId, _: &str, _: Option<SystemTime>) -> Result<()> {
        self.act("rename", ()).await
    }

    async fn move_to(&self, _: &[ItemId], _: &FolderId) -> Result<()> {
        self.act("move_to", ()).await
    }

    async fn copy_file(&self, _: &FileId, _: &FolderId) -> Result<FileId> {
        self.act("copy_file", FileId::new("copy")).await
    }

    async fn set_mtime(&self, _: &ItemId, _: SystemTime) -> Result<()> {
        self.act("set_mtime", ()).await
    }

    async fn replace_content(&self, _: &FileId, _: &FileId) -> Result<()> {
        self.act("replace_content", ()).await
    }

    async fn delete(&self, _: &[ItemId], _: DeleteMode) -> Result<()> {
        self.act("delete", ()).await
    }

    async fn changes(&self, _: Option<&ChangeCursor>) -> Result<Changes> {
        let cursor = ChangeCursor::new("1");
        self.act(
            "changes",
            Changes {
                cursor,
                folders: Vec::new(),
                files: Vec::new(),
                untold: false,
                everything: false,
            },
        )
        .await
    }

    async fn upload_begin(&self, _: &UploadRequest) -> Result<UploadPlan> {
        self.act("upload_begin", UploadPlan::Whole).await
    }

    async fn upload_whole(&self, _: &UploadRequest, _: FileRange) -> Result<UploadProgress> {
        self.act("upload_whole", UploadProgress::StartAgain).await
    }

    async fn upload_unit(
        &self,
        _: &UploadRequest,
        _: u32,
        _: &[u8; 32],
        _: FileRange,
    ) -> Result<UploadProgress> {
        self.act("upload_unit", UploadProgress::UnitTaken).await
    }

    async fn upload_poll(&self, _: &UploadTicket) -> Result<UploadProgress> {
        self.act("upload_poll", UploadProgress::StartAgain).await
    }
}
