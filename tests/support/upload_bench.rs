//! Lives of the uploads over a service in memory. A crash is the end of a runtime with all its tasks,
//! without a word to the uploads.

#![allow(dead_code)] // Each of the tests that share it uses a part of it.

#[path = "memory_provider.rs"]
pub mod memory_provider;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lockerfs::provider::{FileEntry, FileId, FolderId, Provider, Result as ProviderResult};
use lockerfs::state::{Database, StateDir};
use lockerfs::upload::{
    Base, BaseContent, NewPending, Options, PendingFile, PendingId, StagedFile, UploadEvent, UploadStatus,
    Uploads,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use memory_provider::{MemoryProvider, MemoryService, UNIT};

const ACCOUNT: &str = "media";
/// An account of a service of the same kind, whose ids are the same.
pub const OTHER_ACCOUNT: &str = "other";

/// A state directory and a service, which outlive the program.
pub struct Bench {
    pub folder: TempDir,
    pub service: Arc<MemoryService>,
    pub other_service: Arc<MemoryService>,
}

/// One life of the program.
pub struct Life {
    pub uploads: Arc<Uploads>,
    pub database: Database,
    pub events: mpsc::UnboundedReceiver<UploadEvent>,
    _directory: StateDir,
}

struct FromService(HashMap<String, Arc<MemoryService>>);

#[async_trait::async_trait]
impl BaseContent for FromService {
    async fn read(&self, account: &str, base: &Base, range: Range<u64>) -> ProviderResult<Bytes> {
        let service = self.0[account].clone();
        MemoryProvider::new(service).read(&base.file, range).await
    }

    fn keep_sent(&self, _: &str, _: &FileEntry, _: &std::fs::File, _: bool) {}
}

impl Bench {
    pub fn new(polls: u32, keeps_ids: bool) -> Self {
        Bench::of(MemoryService::new(polls, keeps_ids))
    }

    /// With a host that takes a file in one request and tells no hash of it later.
    pub fn plain() -> Self {
        Bench::of(MemoryService::plain())
    }

    /// With a service that takes contents in parts, in order, and appends each to what it has.
    pub fn appending(polls: u32) -> Self {
        Bench::of(MemoryService::appending(polls))
    }

    fn of(service: Arc<MemoryService>) -> Self {
        Bench {
            folder: tempfile::tempdir().unwrap(),
            other_service: service.another("other memory"),
            service,
        }
    }

    /// Lives for as long as `work` goes, and then ends without a word.
    pub fn life<T>(&self, work: impl AsyncFnOnce(&mut Life) -> T) -> T {
        self.life_with(|_| {}, work)
    }

    pub fn life_with<T>(
        &self,
        change: impl FnOnce(&mut Options),
        work: impl AsyncFnOnce(&mut Life) -> T,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (result, database) = runtime.block_on(async {
            let mut life = self.open(change).await;
            let uploads = life.uploads.clone();
            let work = tokio::time::timeout(Duration::from_secs(60), work(&mut life)).await;
            let result = work.unwrap_or_else(|_| panic!("it hangs: {:?}", uploads.pending()));
            (result, life.database.clone())
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        let last = tokio::runtime::Builder::new_current_thread().build().unwrap();
        last.block_on(database.close());
        result
    }

    async fn open(&self, change: impl FnOnce(&mut Options)) -> Life {
        let directory = StateDir::open(&self.folder.path().join("state")).unwrap();
        let database = Database::open(&directory.database_path()).unwrap();
        let mut options = Options::new(directory.staging_path(), directory.recovered_path());
        options.pace.upload_delay = Duration::ZERO;
        options.retry_min = Duration::from_millis(5);
        options.retry_max = Duration::from_millis(50);
        options.poll_first = Duration::from_millis(2);
        options.poll_max = Duration::from_millis(10);
        options.reserve = 0;
        change(&mut options);
        let uploads = Uploads::open(database.clone(), options).await.unwrap();
        let services = HashMap::from([
            (ACCOUNT.to_owned(), self.service.clone()),
            (OTHER_ACCOUNT.to_owned(), self.other_service.clone()),
        ]);
        let provider = |service: &Arc<MemoryService>| -> Arc<dyn Provider> {
            Arc::new(MemoryProvider::new(service.clone()))
        };
        let accounts = services
            .iter()
            .map(|(name, service)| (name.clone(), provider(service)))
            .collect();
        let mut told = uploads.start(accounts, Arc::new(FromService(services)));
        // The uploads wait for a receiver that does not read; most tests do not.
        let (tell, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                let _ = tell.send(event);
            }
        });
        Life {
            uploads,
            database,
            events,
            _directory: directory,
        }
    }

    pub fn staged_files(&self) -> usize {
        count(&self.folder.path().join("state/staging"))
    }

    pub fn recovered_files(&self) -> usize {
        count(&self.folder.path().join("state/recovered"))
    }
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

impl Life {
    pub fn write(&self, content: &[u8]) -> Arc<StagedFile> {
        let staged = self.uploads.new_staged().unwrap();
        staged.write_at(0, content).unwrap();
        staged
    }

    pub async fn add(&self, name: &str, content: &[u8]) -> PendingId {
        self.uploads
            .commit(&self.write(content), new(name, None))
            .await
            .unwrap()
    }

    pub async fn add_over(&self, name: &str, content: &[u8], old: &FileId) -> PendingId {
        self.uploads
            .commit(&self.write(content), new(name, Some(old.clone())))
            .await
            .unwrap()
    }

    /// Waits until the service holds a file.
    pub async fn uploaded(&self, id: PendingId) -> FileEntry {
        self.uploads.wait(id).await.unwrap().expect("it was kept here")
    }

    pub async fn until(&self, id: PendingId, reached: impl Fn(&PendingFile) -> bool) -> PendingFile {
        for _ in 0..4000 {
            if let Some(file) = self.uploads.get(id).filter(|file| reached(file)) {
                return file;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come so far: {:?}", self.uploads.get(id));
    }

    /// Waits until this file alone is left.
    pub async fn until_only(&self, name: &str) {
        for _ in 0..4000 {
            if self.uploads.pending().iter().all(|file| file.name == name) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("others are left: {:?}", self.uploads.pending());
    }

    /// Waits until nothing is left to be done.
    pub async fn drained(&self) {
        self.uploads.drain().await;
        assert_eq!(self.uploads.unfinished(), 0, "{:?}", self.uploads.pending());
    }

    pub async fn parked(&self, id: PendingId) -> String {
        match self
            .until(id, |file| matches!(file.status, UploadStatus::Parked { .. }))
            .await
            .status
        {
            UploadStatus::Parked { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

pub fn new(name: &str, replaces: Option<FileId>) -> NewPending {
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    NewPending {
        account: ACCOUNT.into(),
        folder: FolderId::new("root"),
        name: name.into(),
        mtime,
        mode: None,
        replaces,
        local: false,
    }
}

pub fn long(units: u64) -> Vec<u8> {
    (0..units * UNIT + UNIT / 2)
        .map(|i| (i * 7 % 251) as u8)
        .collect()
}

pub fn only(name: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(format!("root/{name}"), content.to_vec())]
}
