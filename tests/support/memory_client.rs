//! One client of the service in memory: the calls of the provider trait, and what a client learns by them.

use std::collections::HashSet;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use lockerfs::http::FileRange;
use lockerfs::provider::{
    AccountInfo, Capabilities, Capability, DeleteMode, Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId,
    ListHint, Listing, NameRules, Provider, ProviderError, Result, Retry, UploadPlan, UploadProgress,
    UploadRequest, UploadTicket,
};
use sha2::{Digest, Sha256};

use super::{Fault, MemoryService, State, Stored, UNIT, error, part_key, same_upload};

/// One client of the service.
pub struct MemoryProvider {
    service: Arc<MemoryService>,
    newest: Mutex<Newest>,
}

/// What this client was told.
#[derive(Default)]
struct Newest {
    /// The number of the newest file.
    told: u64,
    listed: HashSet<FolderId>,
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
        newest.told = newest.told.max(told.unwrap_or(0));
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
        let many = self.service.takes_many.load(Ordering::Relaxed);
        let more = more.chain([&Capability::Batches].into_iter().filter(|_| many));
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

    fn newest_file(&self, folder: &FolderId) -> Option<FileId> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = self.service.is_plain && newest.listed.contains(folder);
        is_known.then(|| FileId::new(format!("id{}", newest.told)))
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
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.listed.insert(folder.clone());
            let entries = found
                .into_iter()
                .map(|entry| Entry::File(self.service.told(entry)))
                .collect();
            Ok(Listing {
                entries,
                incomplete: false,
                revision: None,
            })
        })
        .await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        let tells_of_one = self.service.tells_of_one.load(Ordering::Relaxed);
        let told = if tells_of_one {
            files.len().saturating_sub(1)
        } else {
            0
        };
        self.call("info", |state, _| {
            let found: Vec<_> = files[told..]
                .iter()
                .filter_map(|id| state.entry(id.as_str()))
                .collect();
            self.learn(&found);
            Ok(found.into_iter().map(|entry| self.service.told(entry)).collect())
        })
        .await
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

    async fn delete(&self, items: &[ItemId], _mode: DeleteMode) -> Result<()> {
        self.call("delete", |state, _| {
            let kept = |item: &ItemId| matches!(item, ItemId::File(id) if state.kept.iter().any(|kept| kept == id.as_str()));
            if items.iter().any(kept) {
                return Err(error(ErrorKind::PermissionDenied, Retry::Never, "delete"));
            }
            for item in items {
                let ItemId::File(id) = item else { continue };
                let file = state.files.remove(id.as_str());
                state.trash.extend(file);
            }
            Ok(())
        })
        .await
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
            if self.service.appends {
                let session = state.new_id();
                state.sessions.insert(session.clone(), Vec::new());
                return Ok(UploadPlan::Ranges {
                    max_chunk: UNIT,
                    session: UploadTicket::new(session),
                });
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

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        let content = read(&body);
        self.call("range", |state, stored| {
            let Some(have) = state.sessions.get_mut(session.as_str()) else {
                return Err(error(ErrorKind::InvalidArgument, Retry::Never, "range"));
            };
            // Whatever offset it tells of: what comes is appended.
            have.extend(spoil(content, stored));
            if (have.len() as u64) < request.size {
                return Ok(UploadProgress::UnitTaken);
            }
            let whole = state.sessions.remove(session.as_str()).unwrap_or_default();
            Ok(state.complete(request, whole, &self.service))
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
