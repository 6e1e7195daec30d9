//! A service in memory: a whole implementation of the provider trait over maps, with faults and pauses on
//! demand. It outlives the providers that talk to it, as a service outlives a crash of its client.

#[path = "memory_client.rs"]
mod client;

pub use client::MemoryProvider;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lockerfs::provider::{
    Capability, ContentHash, ErrorKind, FileEntry, FileId, FolderId, ProviderError, Retry, UploadProgress,
    UploadRequest, UploadTicket,
};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Contents above this go in units of this size.
pub const UNIT: u64 = 1000;

/// What befalls one call.
pub enum Fault {
    /// It fails without an effect.
    Fail(ErrorKind, Retry),
    /// It takes effect, and its answer is lost.
    LoseReply,
    /// It stands still before its effect.
    PauseBefore(Gate),
    /// It takes effect and stands still before its answer.
    PauseAfter(Gate),
    /// The content is stored with one byte changed.
    StoreWrong,
    /// The content is stored without its last byte.
    StoreShort,
}

/// How the content of a call comes to be stored.
#[derive(Clone, Copy)]
enum Stored {
    Right,
    Wrong,
    Short,
}

/// A place where a call stands still.
#[derive(Clone)]
pub struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Gate {
            reached: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until a call stands at the gate.
    pub async fn reached(&self) {
        let reached = self.reached.acquire();
        let within = tokio::time::timeout(std::time::Duration::from_secs(20), reached).await;
        within.expect("no call came to the gate").unwrap().forget();
    }

    pub fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub folder: String,
    pub name: String,
    pub content: Vec<u8>,
    pub mtime: SystemTime,
    pub revision: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, StoredFile>,
    trash: Vec<StoredFile>,
    /// Units by folder, name and hash.
    parts: HashMap<PartKey, BTreeMap<u32, Vec<u8>>>,
    /// Uploads whose bytes are there: the request, the content and how many polls are still to come.
    processing: BTreeMap<String, (UploadRequest, Vec<u8>, u32)>,
    /// Of a service that appends: what came so far, by announcement.
    sessions: HashMap<String, Vec<u8>>,
    calls: BTreeMap<&'static str, usize>,
    faults: Vec<(&'static str, Fault)>,
    withdrawn: Vec<Capability>,
    /// Files that the service does not delete.
    kept: Vec<String>,
    next: u64,
}

pub struct MemoryService {
    state: Mutex<State>,
    id_space: &'static str,
    /// Polls that an upload takes; with none it is done at once.
    polls: u32,
    keeps_ids: bool,
    numbers_twins: AtomicBool,
    tells_of_one: AtomicBool,
    takes_many: AtomicBool,
    /// A host that takes a file in one request and nothing empty, tells a hash in the answer to an upload
    /// alone, keeps no times, and stores a second file of a name as `name (2).ext`.
    is_plain: bool,
    /// Appends the parts of a content as they come, repeated or not.
    appends: bool,
}

impl MemoryService {
    pub fn new(polls: u32, keeps_ids: bool) -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space: "memory",
            polls,
            keeps_ids,
            numbers_twins: AtomicBool::new(false),
            tells_of_one: AtomicBool::new(false),
            takes_many: AtomicBool::new(false),
            is_plain: false,
            appends: false,
        })
    }

    /// A service that takes contents above [`UNIT`] in parts and appends each to what it has.
    pub fn appending(polls: u32) -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space: "memory",
            polls,
            keeps_ids: false,
            numbers_twins: AtomicBool::new(false),
            tells_of_one: AtomicBool::new(false),
            takes_many: AtomicBool::new(false),
            is_plain: false,
            appends: true,
        })
    }

    pub fn plain() -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space: "memory",
            polls: 0,
            keeps_ids: false,
            numbers_twins: AtomicBool::new(false),
            tells_of_one: AtomicBool::new(false),
            takes_many: AtomicBool::new(false),
            is_plain: true,
            appends: false,
        })
    }

    /// Another service of the same kind, whose ids are the same and mean other files.
    pub fn another(&self, id_space: &'static str) -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space,
            numbers_twins: AtomicBool::new(false),
            tells_of_one: AtomicBool::new(false),
            takes_many: AtomicBool::new(false),
            ..*self
        })
    }

    fn told(&self, mut entry: FileEntry) -> FileEntry {
        if self.is_plain {
            (entry.hash, entry.revision) = (None, None);
        }
        entry
    }

    /// From now on a file that is given a taken name gets `name(2)`, as on services without twins.
    pub fn number_twins(&self) {
        self.numbers_twins.store(true, Ordering::Relaxed);
    }

    /// From now on it tells nothing sensible of a file where it is asked for others too, except of the last.
    pub fn tell_of_one(&self) {
        self.tells_of_one.store(true, Ordering::Relaxed);
    }

    /// From now on it takes many items in one call.
    pub fn take_many(&self) {
        self.takes_many.store(true, Ordering::Relaxed);
    }

    /// From now on it refuses to delete these, and with them all that is to go in the same call.
    pub fn keep(&self, files: &[FileId]) {
        self.state().kept = files.iter().map(|id| id.as_str().to_owned()).collect();
    }

    /// Lets the next call of an operation that has no fault yet run into one.
    pub fn fault(&self, operation: &'static str, fault: Fault) {
        self.state().faults.push((operation, fault));
    }

    pub fn pause_before(&self, operation: &'static str) -> Gate {
        let gate = Gate::new();
        self.fault(operation, Fault::PauseBefore(gate.clone()));
        gate
    }

    pub fn pause_after(&self, operation: &'static str) -> Gate {
        let gate = Gate::new();
        self.fault(operation, Fault::PauseAfter(gate.clone()));
        gate
    }

    /// From now on clients are told that the account cannot do this.
    pub fn withdraw(&self, capability: Capability) {
        self.state().withdrawn.push(capability);
    }

    /// Ends what [`withdraw`](Self::withdraw) began.
    pub fn give_back(&self) {
        self.state().withdrawn.clear();
    }

    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    pub fn calls(&self, operation: &'static str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or(0)
    }

    /// All live files as folder/name and content, sorted.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let mut files: Vec<_> = state
            .files
            .values()
            .map(|file| (format!("{}/{}", file.folder, file.name), file.content.clone()))
            .collect();
        files.sort();
        files
    }

    pub fn file(&self, id: &FileId) -> Option<StoredFile> {
        self.state().files.get(id.as_str()).cloned()
    }

    /// Puts a file there, as somebody else would.
    pub fn put(&self, folder: &str, name: &str, content: &[u8]) -> FileId {
        let mut state = self.state();
        let id = state.new_id();
        let file = StoredFile {
            folder: folder.into(),
            name: name.into(),
            content: content.into(),
            mtime: SystemTime::now(),
            revision: 1,
        };
        state.files.insert(id.clone(), file);
        FileId::new(id)
    }

    /// Changes a file, as somebody else would.
    pub fn change(&self, id: &FileId, content: &[u8]) {
        if let Some(file) = self.state().files.get_mut(id.as_str()) {
            file.content = content.into();
            file.revision += 1;
        }
    }

    /// Deletes a file, as somebody else would.
    pub fn remove(&self, id: &FileId) {
        self.state().files.remove(id.as_str());
    }

    pub fn trash(&self) -> Vec<Vec<u8>> {
        self.state()
            .trash
            .iter()
            .map(|file| file.content.clone())
            .collect()
    }

    /// How many calls of any kind were made.
    pub fn all_calls(&self) -> usize {
        self.state().calls.values().sum()
    }

    pub fn entry(&self, id: &FileId) -> Option<FileEntry> {
        self.state().entry(id.as_str())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new_id(&mut self) -> String {
        self.next += 1;
        format!("id{}", self.next)
    }

    fn entry(&self, id: &str) -> Option<FileEntry> {
        self.files.get(id).map(|file| FileEntry {
            id: FileId::new(id),
            name: file.name.clone(),
            size: file.content.len() as u64,
            mtime: Some(file.mtime),
            hash: Some(ContentHash::Sha256(Sha256::digest(&file.content).into())),
            revision: Some(file.revision.to_string()),
            parent: Some(FolderId::new(file.folder.clone())),
        })
    }

    /// As a host without hashes stores it, and as it answers the upload.
    fn store_beside(&mut self, request: &UploadRequest, content: Vec<u8>) -> FileEntry {
        let folder = request.folder.as_str();
        let numbers = 2..;
        let names = std::iter::once(request.name.clone())
            .chain(numbers.map(|number| numbered(&request.name, number)));
        let name = names.into_iter().find(|name| self.named(folder, name).is_empty());
        let file = StoredFile {
            folder: folder.into(),
            name: name.expect("a free name"),
            mtime: SystemTime::now(),
            revision: 1,
            content,
        };
        let id = self.new_id();
        let hash = ContentHash::Md5(Md5::digest(&file.content).into());
        self.files.insert(id.clone(), file);
        let mut entry = self.entry(&id).expect("the file that was stored");
        (entry.hash, entry.revision) = (Some(hash), None);
        entry
    }

    /// What an upload may have made, by name and size.
    fn candidates(&self, request: &UploadRequest) -> Vec<FileEntry> {
        let folder = request.folder.as_str();
        let twins = (2..10).map(|number| numbered(&request.name, number));
        let names: Vec<_> = std::iter::once(request.name.clone()).chain(twins).collect();
        let named = names.iter().flat_map(|name| self.named(folder, name));
        named.filter(|entry| entry.size == request.size).collect()
    }

    /// All files of a name: the service has no rule against twins.
    fn named(&self, folder: &str, name: &str) -> Vec<FileEntry> {
        let files = self
            .files
            .iter()
            .filter(|(_, file)| file.folder == folder && file.name == name);
        files.filter_map(|(id, _)| self.entry(id)).collect()
    }

    fn with_content(&self, request: &UploadRequest) -> Option<FileEntry> {
        let hash = request.sha256.map(ContentHash::Sha256);
        let named = self.named(request.folder.as_str(), &request.name);
        named.into_iter().find(|entry| entry.hash == hash)
    }

    fn store(&mut self, request: &UploadRequest, content: Vec<u8>, keeps_ids: bool) -> Option<FileEntry> {
        let mut file = StoredFile {
            folder: request.folder.as_str().into(),
            name: request.name.clone(),
            content,
            mtime: request.mtime,
            revision: 1,
        };
        let old = request
            .replaces
            .as_ref()
            .filter(|_| keeps_ids)
            .map(|id| id.as_str().to_owned());
        let id = match old.and_then(|id| self.files.get(&id).map(|old| (id.clone(), old.clone()))) {
            Some((id, old)) => {
                (file.folder, file.name, file.revision) = (old.folder, old.name, old.revision + 1);
                id
            }
            None => self.new_id(),
        };
        self.files.insert(id.clone(), file);
        self.entry(&id)
    }

    /// All bytes are there: the file is made, or worked on for a while.
    fn complete(
        &mut self,
        request: &UploadRequest,
        content: Vec<u8>,
        service: &MemoryService,
    ) -> UploadProgress {
        if service.polls == 0 {
            return match self.store(request, content, service.keeps_ids) {
                Some(entry) => UploadProgress::Done(entry),
                None => UploadProgress::StartAgain,
            };
        }
        let ticket = self.new_id();
        self.processing
            .insert(ticket.clone(), (request.clone(), content, service.polls));
        UploadProgress::Processing(UploadTicket::new(ticket))
    }
}

fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem} ({number}).{extension}"),
        None => format!("{name} ({number})"),
    }
}

fn same_upload(a: &UploadRequest, b: &UploadRequest) -> bool {
    (&a.folder, &a.name, a.sha256) == (&b.folder, &b.name, b.sha256)
}

type PartKey = (String, String, Option<[u8; 32]>);

fn part_key(request: &UploadRequest) -> PartKey {
    (
        request.folder.as_str().into(),
        request.name.clone(),
        request.sha256,
    )
}

fn error(kind: ErrorKind, retry: Retry, operation: &'static str) -> ProviderError {
    ProviderError::new(kind, retry, operation, "the fault that the test asked for")
}
