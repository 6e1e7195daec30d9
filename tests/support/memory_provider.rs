//! A service in memory: a whole implementation of the provider trait over maps, with faults and pauses on
//! demand. It outlives the providers that talk to it, as a service outlives a crash of its client.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use lockerfs::http::FileRange;
use lockerfs::provider::{
    AccountInfo, Capabilities, Capability, ChangeCursor, Changes, ContentHash, DeleteMode, DownloadLink,
    Entry, ErrorKind, FileEntry, FileId, FolderEntry, FolderId, ItemId, ListHint, Listing, NameRules,
    Provider, ProviderError, Result, Retry, UploadPlan, UploadProgress, UploadRequest, UploadTicket,
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
    calls: BTreeMap<&'static str, usize>,
    faults: Vec<(&'static str, Fault)>,
    withdrawn: Vec<Capability>,
    next: u64,
}

pub struct MemoryService {
    state: Mutex<State>,
    id_space: &'static str,
    /// Polls that an upload takes; with none it is done at once.
    polls: u32,
    keeps_ids: bool,
    numbers_twins: AtomicBool,
    /// A host that takes a file in one request and nothing empty, tells a hash in the answer to an upload
    /// alone, keeps no times, and stores a second file of a name as `name (2).ext`.
    is_plain: bool,
}

impl MemoryService {
    pub fn new(polls: u32, keeps_ids: bool) -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space: "memory",
            polls,
            keeps_ids,
            numbers_twins: AtomicBool::new(false),
            is_plain: false,
        })
    }

    pub fn plain() -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space: "memory",
            polls: 0,
            keeps_ids: false,
            numbers_twins: AtomicBool::new(false),
            is_plain: true,
        })
    }

    /// Another service of the same kind, whose ids are the same and mean other files.
    pub fn another(&self, id_space: &'static str) -> Arc<Self> {
        Arc::new(MemoryService {
            state: Mutex::default(),
            id_space,
            numbers_twins: AtomicBool::new(false),
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
        let hash = Some(ContentHash::Sha256(request.sha256));
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

type PartKey = (String, String, [u8; 32]);

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

/// One client of the service.
pub struct MemoryProvider {
    service: Arc<MemoryService>,
    /// The number of the newest file that this client was told of, once it was told anything.
    newest: Mutex<Option<u64>>,
}

fn number(id: &FileId) -> u64 {
    id.as_str().trim_start_matches("id").parse().expect("a number")
}

impl MemoryProvider {
    pub fn new(service: Arc<MemoryService>) -> Self {
        let newest = Mutex::default();
        MemoryProvider { service, newest }
    }

    /// What a client of a plain host learns from entries.
    fn learn<'a>(&self, told: impl IntoIterator<Item = &'a FileEntry>) {
        let told = told.into_iter().map(|entry| number(&entry.id)).max();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(told).or(Some(0));
    }

    /// Counts a call, lets its fault befall it, and does it.
    async fn call<T>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut State, Stored) -> Result<T>,
    ) -> Result<T> {
        let fault = {
            let mut state = self.service.state();
            *state.calls.entry(operation).or_default() += 1;
            let place = state.faults.iter().position(|(name, _)| *name == operation);
            place.map(|place| state.faults.remove(place).1)
        };
        let stored = match fault {
            Some(Fault::StoreWrong) => Stored::Wrong,
            Some(Fault::StoreShort) => Stored::Short,
            _ => Stored::Right,
        };
        match fault {
            Some(Fault::Fail(kind, retry)) => return Err(error(kind, retry, operation)),
            Some(Fault::PauseBefore(gate)) => gate.pass().await,
            Some(Fault::PauseAfter(gate)) => {
                let result = effect(&mut self.service.state(), stored);
                gate.pass().await;
                return result;
            }
            Some(Fault::LoseReply) => {
                effect(&mut self.service.state(), stored)?;
                return Err(error(ErrorKind::Timeout, Retry::OutcomeUnknown, operation));
            }
            Some(Fault::StoreWrong | Fault::StoreShort) | None => {}
        }
        effect(&mut self.service.state(), stored)
    }
}

impl MemoryProvider {
    /// Part of a content, as a download brings it.
    pub async fn read(&self, id: &FileId, range: Range<u64>) -> Result<Bytes> {
        self.call("read", |state, _| {
            let gone = || error(ErrorKind::NotFound, Retry::Never, "read");
            let content = &state.files.get(id.as_str()).ok_or_else(gone)?.content;
            let end = content.len().min(range.end as usize);
            let part = content.get(range.start as usize..end).unwrap_or_default();
            Ok(Bytes::copy_from_slice(part))
        })
        .await
    }
}

fn read(body: &FileRange) -> Vec<u8> {
    let mut content = vec![0; body.length as usize];
    body.file
        .read_exact_at(&mut content, body.offset)
        .expect("the body of an upload");
    content
}

fn spoil(mut content: Vec<u8>, stored: Stored) -> Vec<u8> {
    match stored {
        Stored::Right => {}
        Stored::Wrong => content[0] ^= 1,
        Stored::Short => content.truncate(content.len() - 1),
    }
    content
}

#[async_trait]
impl Provider for MemoryProvider {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn id_space(&self) -> String {
        self.service.id_space.to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        let plain = [
            Capability::List,
            Capability::Write,
            Capability::Rename,
            Capability::Move,
            Capability::Trash,
        ];
        let more = [
            Capability::EmptyFiles,
            Capability::ModificationTime,
            Capability::ContentHash,
        ];
        let more = more.iter().filter(|_| !self.service.is_plain);
        let withdrawn = self.service.state().withdrawn.clone();
        let all = plain.iter().chain(more).filter(|one| !withdrawn.contains(one));
        all.fold(Capabilities::none(), |all, one| all.with(*one))
    }

    fn name_rules(&self) -> NameRules {
        NameRules {
            max_chars: 255,
            forbidden: "",
            edge_blanks: true,
            leading_dot: true,
            numbered_twins: self.service.is_plain,
        }
    }

    fn root(&self) -> FolderId {
        FolderId::new("root")
    }

    fn newest_file(&self) -> Option<FileId> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest
            .filter(|_| self.service.is_plain)
            .map(|newest| FileId::new(format!("id{newest}")))
    }

    fn came_after(&self, file: &FileId, before: &FileId) -> bool {
        self.service.is_plain && number(file) > number(before)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        Ok(AccountInfo::default())
    }

    async fn list(&self, folder: &FolderId, _hint: ListHint) -> Result<Listing> {
        self.call("list", |state, _| {
            let ids = state
                .files
                .iter()
                .filter(|(_, file)| file.folder == folder.as_str());
            let found: Vec<_> = ids.filter_map(|(id, _)| state.entry(id)).collect();
            self.learn(&found);
            let entries = found
                .into_iter()
                .map(|entry| Entry::File(self.service.told(entry)))
                .collect();
            Ok(Listing {
                entries,
                incomplete: false,
            })
        })
        .await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        self.call("info", |state, _| {
            let found: Vec<_> = files.iter().filter_map(|id| state.entry(id.as_str())).collect();
            self.learn(&found);
            Ok(found.into_iter().map(|entry| self.service.told(entry)).collect())
        })
        .await
    }

    async fn links(&self, _files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        Err(ProviderError::unsupported("links", Capability::Read))
    }

    async fn create_folder(&self, _parent: &FolderId, _name: &str) -> Result<FolderEntry> {
        Err(ProviderError::unsupported(
            "create_folder",
            Capability::CreateFolder,
        ))
    }

    async fn rename(&self, item: &ItemId, name: &str, _: Option<SystemTime>) -> Result<()> {
        let ItemId::File(id) = item else {
            return Err(error(ErrorKind::NotFound, Retry::Never, "rename"));
        };
        let numbers_twins = self.service.numbers_twins.load(Ordering::Relaxed);
        self.call("rename", |state, _| {
            let Some(folder) = state.files.get(id.as_str()).map(|file| file.folder.clone()) else {
                return Err(error(ErrorKind::NotFound, Retry::Never, "rename"));
            };
            let twins = state.named(&folder, name);
            let taken = numbers_twins && twins.iter().any(|twin| twin.id != *id);
            if let Some(file) = state.files.get_mut(id.as_str()) {
                file.name = if taken { format!("{name}(2)") } else { name.into() };
            }
            Ok(())
        })
        .await
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        self.call("move", |state, _| {
            for item in items {
                let ItemId::File(id) = item else { continue };
                let file = state.files.get_mut(id.as_str());
                let file = file.ok_or_else(|| error(ErrorKind::NotFound, Retry::Never, "move"))?;
                file.folder = folder.as_str().into();
            }
            Ok(())
        })
        .await
    }

    async fn copy_file(&self, _file: &FileId, _folder: &FolderId) -> Result<FileId> {
        Err(ProviderError::unsupported("copy", Capability::Copy))
    }

    async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<()> {
        if self.service.is_plain {
            return Err(ProviderError::unsupported(
                "set_mtime",
                Capability::ModificationTime,
            ));
        }
        self.call("mtime", |state, _| {
            if let ItemId::File(id) = item
                && let Some(file) = state.files.get_mut(id.as_str())
            {
                file.mtime = mtime;
            }
            Ok(())
        })
        .await
    }

    async fn replace_content(&self, _new: &FileId, _old: &FileId) -> Result<()> {
        Err(ProviderError::unsupported("replace", Capability::ReplaceKeepsId))
    }

    async fn delete(&self, items: &[ItemId], _mode: DeleteMode) -> Result<()> {
        self.call("delete", |state, _| {
            for item in items {
                let ItemId::File(id) = item else { continue };
                let file = state.files.remove(id.as_str());
                state.trash.extend(file);
            }
            Ok(())
        })
        .await
    }

    async fn changes(&self, _since: Option<&ChangeCursor>) -> Result<Changes> {
        Err(ProviderError::unsupported("changes", Capability::ChangeFeed))
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        let request = request.clone();
        if self.service.is_plain {
            if !request.sent_before {
                return Ok(UploadPlan::Whole);
            }
            let look = |state: &mut State, _| {
                let found: Vec<_> = state.candidates(&request);
                self.learn(&found);
                let found: Vec<_> = found.into_iter().map(|entry| self.service.told(entry)).collect();
                Ok(match found.is_empty() {
                    true => UploadPlan::Whole,
                    false => UploadPlan::Candidates(found),
                })
            };
            return self.call("look", look).await;
        }
        self.call("begin", |state, _| {
            if let Some(found) = state.with_content(&request) {
                return Ok(UploadPlan::Done(found));
            }
            let named = state.named(request.folder.as_str(), &request.name);
            if let Some(other) = named
                .into_iter()
                .find(|entry| request.replaces.as_ref() != Some(&entry.id))
            {
                return Ok(UploadPlan::NameTaken(other.id));
            }
            let under_way = state
                .processing
                .iter()
                .find(|(_, (other, ..))| same_upload(other, &request));
            if let Some((ticket, _)) = under_way {
                let ticket = Some(UploadTicket::new(ticket.clone()));
                return Ok(UploadPlan::Units {
                    unit_size: UNIT,
                    missing: Vec::new(),
                    ticket,
                });
            }
            if request.size <= UNIT {
                return Ok(UploadPlan::Whole);
            }
            let have = state.parts.entry(part_key(&request)).or_default();
            let count = request.size.div_ceil(UNIT) as u32;
            let missing = (0..count).filter(|index| !have.contains_key(index)).collect();
            Ok(UploadPlan::Units {
                unit_size: UNIT,
                missing,
                ticket: None,
            })
        })
        .await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        let content = read(&body);
        let call = self.call("whole", |state, stored| {
            if self.service.is_plain && content.is_empty() {
                return Err(error(ErrorKind::InvalidArgument, Retry::Never, "whole"));
            }
            if self.service.is_plain {
                let entry = state.store_beside(request, spoil(content, stored));
                return Ok(UploadProgress::Done(entry));
            }
            Ok(state.complete(request, spoil(content, stored), &self.service))
        });
        let answer = call.await;
        if let Ok(UploadProgress::Done(entry)) = &answer {
            self.learn([entry]);
        }
        answer
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        let content = read(&body);
        assert_eq!(
            <[u8; 32]>::from(Sha256::digest(&content)),
            *sha256,
            "the hash of unit {index}"
        );
        self.call("unit", |state, stored| {
            let have = state.parts.entry(part_key(request)).or_default();
            have.insert(index, spoil(content, stored));
            if (have.len() as u64) < request.size.div_ceil(UNIT) {
                return Ok(UploadProgress::UnitTaken);
            }
            let whole = state.parts.remove(&part_key(request)).unwrap_or_default();
            Ok(state.complete(request, whole.into_values().flatten().collect(), &self.service))
        })
        .await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        self.call("poll", |state, _| {
            let Some((request, content, left)) = state.processing.get_mut(ticket.as_str()) else {
                return Ok(UploadProgress::StartAgain);
            };
            *left = left.saturating_sub(1);
            if *left > 0 {
                return Ok(UploadProgress::Processing(ticket.clone()));
            }
            let (request, content) = (request.clone(), content.clone());
            // A ticket that was polled to its end goes on to tell of its file, as services do.
            match state.with_content(&request) {
                Some(entry) => Ok(UploadProgress::Done(entry)),
                None => {
                    state.processing.remove(ticket.as_str());
                    let entry = state.store(&request, content, self.service.keeps_ids);
                    Ok(entry.map_or(UploadProgress::StartAgain, UploadProgress::Done))
                }
            }
        })
        .await
    }
}
