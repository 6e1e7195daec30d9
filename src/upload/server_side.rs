//! Contents that were copied from a file of a service and never were here: services are asked to make them, so that
//! no byte passes through this machine.
//!
//! A service that knows contents by their hash is told the hash; one that copies its own files copies; one that
//! fetches from links is given a link. What none of them does is brought here and sent like any other content, and
//! the log says why. The attempt is in the journal before the first call, as for bytes: what became of a call whose
//! answer was lost is looked up, and a copy, which is not idempotent, is never asked for twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::provider::{
    Capability, ContentHash, ErrorKind, FileEntry, FileId, FolderId, Provider, ProviderError, Publication,
    Refusal, Retry, UploadPlan, UploadProgress, UploadTicket,
};
use crate::state::{AttemptRow, JournalRow, RowState};

use super::engine::{Bytes, Seen, Sending, Worker, request};
use super::handle::Uploads;
use super::hydrate::{self, Holder};
use super::journal::{Change, Changed, blocking};
use super::outcome::Failure;
use super::poll::Polled;
use super::staged_file::{Base, StagedFile};
use super::table::Outcome;
use super::{PendingId, UploadError, UploadStatus};

/// Failed tries after which the bytes go through here.
const TRIES: u32 = 3;
/// Announcements in one run, before it is put off.
const ROUNDS: u32 = 6;
/// How long it is tried to bring what a service does not copy now, and how often.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_secs(1);
/// How often who waits for a copy looks whether it has failed for now.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a content with this hash can be made in an account of a file of another, or the same one, with no byte
/// through here.
pub fn can_be_made(
    to: &dyn Provider,
    from: &dyn Provider,
    same_account: bool,
    hash: Option<ContentHash>,
) -> bool {
    let (to, from) = (to.capabilities(), from.capabilities());
    let is_known = matches!(hash, Some(ContentHash::Sha256(_))) && to.has(Capability::ContentHash);
    let is_own = same_account && to.has(Capability::Copy);
    let is_fetched = to.has(Capability::RemoteUpload);
    // Where it comes to nothing, the bytes have to be had.
    from.has(Capability::Read) && to.has(Capability::Write) && (is_known || is_own || is_fetched)
}

/// A content no byte of which is here.
pub(super) struct Copied {
    staged: Arc<StagedFile>,
    /// Modifications of the staged file that the journal knows.
    committed: u64,
    base: Base,
}

/// By what a service can make a content.
#[derive(Debug, Clone, Copy)]
enum Way {
    Hash,
    Copy,
    Link,
}

/// What became of asking a service.
enum Made {
    File(FileEntry),
    /// Nothing, and it is of no use to ask in this way again.
    Nothing(String),
    /// It is not wanted any more.
    Unwanted,
}

impl Worker {
    /// The content of a row, where it is a copy that a service may still make.
    pub fn copied(&self, row: &JournalRow) -> Option<Copied> {
        if self.by_bytes || row.tries >= TRIES || self.account.base.pins(&self.account.name) {
            return None;
        }
        let (staged, committed) = self.staged_now()?;
        let base = staged.untouched_copy()?.clone();
        Some(Copied {
            staged,
            committed,
            base,
        })
    }

    fn staged_now(&self) -> Option<(Arc<StagedFile>, u64)> {
        let table = self.uploads.table();
        let item = table.item(self.id)?;
        Some((item.staged.clone()?, item.committed))
    }

    /// Has a service make the content. `None` where the row changed, or where its bytes have to go through here.
    pub async fn make_there(
        &mut self,
        row: &JournalRow,
        copied: Copied,
    ) -> Result<Option<(AttemptRow, FileEntry)>, Failure> {
        let Copied {
            staged,
            committed,
            base,
        } = copied;
        let holder = Holder::of(&self.uploads, &self.account, &base)?;
        let source = holder.unchanged(&base).await?;
        if staged.modifications() != committed || !self.take_for_sending(row) {
            return Err(Failure::Superseded);
        }
        let mut refused = Vec::new();
        for way in self.ways(row, &holder, &source) {
            let attempt = match row.attempt.clone() {
                Some(before) => before,
                None => self.attempt_at(row, &source, way).await?,
            };
            if !self.write_attempt(&Seen::of(row), &attempt, Bytes::There).await? {
                return Ok(None);
            }
            let mut sending = Sending {
                attempt,
                staged: staged.clone(),
                may_be_there: row.attempt.is_some(),
            };
            let made = match way {
                Way::Hash => self.announce_hash(&mut sending).await?,
                Way::Copy => self.copy_there(&mut sending, &source).await?,
                Way::Link => self.fetch_there(&mut sending, &holder, &source).await?,
            };
            match made {
                Made::File(entry) => {
                    tracing::info!(
                        id = %self.id, account = self.account.name, from = holder.name, name = row.name,
                        size = row.size, "a file was copied by the services, with no byte through here"
                    );
                    return Ok(Some((sending.attempt, entry)));
                }
                Made::Unwanted => return self.clear_attempt().await.map(|()| None),
                Made::Nothing(why) => refused.push(why),
            }
            // What an earlier run began is looked for still, with the bytes at hand.
            if !sending.may_be_there {
                self.clear_attempt().await?;
            }
        }
        if refused.is_empty() {
            refused.push("an earlier try may have made it, and is looked for by the bytes".to_owned());
        }
        self.say_by_bytes(row, &refused.join("; "));
        Ok(None)
    }

    fn say_by_bytes(&mut self, row: &JournalRow, why: &str) {
        self.by_bytes = true;
        tracing::warn!(
            id = %self.id, account = self.account.name, name = row.name, size = row.size,
            "a copy cannot be made by the services, so its bytes go through here: {why}"
        );
    }

    /// What can be asked for, the surest first.
    fn ways(&self, row: &JournalRow, holder: &Holder, source: &FileEntry) -> Vec<Way> {
        let is_own = holder.name == self.account.name;
        let mut ways = Vec::new();
        if matches!(source.hash, Some(ContentHash::Sha256(_))) && self.can(Capability::ContentHash) {
            ways.push(Way::Hash);
        }
        if is_own && self.can(Capability::Copy) && row.attempt.is_none() {
            ways.push(Way::Copy);
        }
        let can_be_read = holder.provider.capabilities().has(Capability::Read);
        if !is_own && can_be_read && self.can(Capability::RemoteUpload) {
            ways.push(Way::Link);
        }
        ways
    }

    async fn attempt_at(
        &self,
        row: &JournalRow,
        source: &FileEntry,
        way: Way,
    ) -> Result<AttemptRow, Failure> {
        let sha256 = match source.hash {
            Some(ContentHash::Sha256(hash)) => Some(hash),
            _ => None,
        };
        let (name, replaces) = match way {
            Way::Hash => (&row.name, row.replaces.clone()),
            // A copy bears the name of what it is a copy of, until it is given its own.
            Way::Copy => (&source.name, None),
            Way::Link => (&row.name, None),
        };
        Ok(AttemptRow {
            sent_after: self.newest_file(&row.folder).await?,
            generation: row.generation,
            folder: row.folder.clone(),
            name: name.clone(),
            size: row.size,
            mtime: row.mtime,
            sha256,
            replaces,
            unclear: None,
            ticket: None,
            file: None,
        })
    }

    /// Announces the hash of a content that the service may hold, and sends nothing.
    async fn announce_hash(&mut self, sending: &mut Sending) -> Result<Made, Failure> {
        for _ in 0..ROUNDS {
            if !self.is_wanted(&sending.attempt) {
                return self.unwanted_now(sending);
            }
            let wish = request(&sending.attempt, sending.may_be_there);
            let plan = match self.announce(sending, &wish).await {
                Ok(plan) => plan,
                Err(Failure::Provider { error, .. }) => return self.refused(sending, error).await,
                Err(failure) => return Err(failure),
            };
            match plan {
                None => {}
                Some(UploadPlan::Done(entry)) => return Ok(Made::File(entry)),
                Some(UploadPlan::NameTaken(_)) if !self.is_sent_to_its_place(&sending.attempt) => {
                    return Ok(Made::Unwanted);
                }
                Some(UploadPlan::NameTaken(file)) => self.make_way(sending, file).await?,
                Some(_) => return Ok(Made::Nothing("the service does not hold the content".to_owned())),
            }
        }
        Err(Failure::wait("the service does not let the name be used"))
    }

    async fn copy_there(&mut self, sending: &mut Sending, source: &FileEntry) -> Result<Made, Failure> {
        if !self.is_wanted(&sending.attempt) {
            return self.unwanted_now(sending);
        }
        let folder = FolderId::new(sending.attempt.folder.clone());
        let copy = match self.provider().copy_file(&source.id, &folder).await {
            Ok(copy) => copy,
            Err(error) => return self.refused(sending, error).await,
        };
        sending.attempt.file = Some(copy.as_str().to_owned());
        self.set_attempt(sending.attempt.clone()).await?;
        match self.file_now(&copy).await? {
            Some(entry) if entry.size == sending.attempt.size => Ok(Made::File(entry)),
            Some(entry) => {
                let stored = entry.size;
                self.delete(vec![copy]).await?;
                Ok(Made::Nothing(format!("the service's copy has {stored} bytes")))
            }
            None => Ok(Made::Nothing("the service does not show its copy".to_owned())),
        }
    }

    async fn fetch_there(
        &mut self,
        sending: &mut Sending,
        holder: &Holder,
        source: &FileEntry,
    ) -> Result<Made, Failure> {
        if !self.is_wanted(&sending.attempt) {
            return self.unwanted_now(sending);
        }
        let links = holder.provider.links(std::slice::from_ref(&source.id)).await;
        let link = match links.map(|links| links.into_iter().next()) {
            Ok(Some(Ok(link))) => link,
            Ok(Some(Err(error))) | Err(error) => return self.refused(sending, error).await,
            Ok(None) => return Ok(Made::Nothing(format!("{} gives no link", holder.name))),
        };
        let wish = request(&sending.attempt, sending.may_be_there);
        match self.provider().upload_from_link(&wish, &link.url).await {
            Ok(
                UploadProgress::Done(entry)
                | UploadProgress::Beside(entry)
                | UploadProgress::Published(Publication { entry, .. }),
            ) => {
                self.sent_here = true;
                Ok(Made::File(entry))
            }
            Ok(UploadProgress::Processing(ticket)) => self.await_fetched(sending, ticket).await,
            Ok(UploadProgress::GivenUp(refusal)) => Ok(Made::Nothing(refusal.message)),
            Ok(UploadProgress::UnitTaken | UploadProgress::StartAgain) => {
                Ok(Made::Nothing("the service does not fetch it".to_owned()))
            }
            Err(error) => self.refused(sending, error).await,
        }
    }

    async fn await_fetched(&mut self, sending: &mut Sending, ticket: UploadTicket) -> Result<Made, Failure> {
        sending.attempt.ticket = Some(ticket.as_str().to_owned());
        self.set_attempt(sending.attempt.clone()).await?;
        let why = match self.poll(&sending.attempt, ticket).await? {
            Polled::Done(entry) => {
                self.sent_here = true;
                return Ok(Made::File(entry));
            }
            Polled::Lost => "the service lost what it was to fetch".to_owned(),
            Polled::GivenUp(refusal) => refusal.message,
        };
        sending.attempt.ticket = None;
        self.set_attempt(sending.attempt.clone()).await?;
        Ok(Made::Nothing(why))
    }

    fn unwanted_now(&self, sending: &Sending) -> Result<Made, Failure> {
        if self.is_held_back() || sending.may_be_there {
            return Err(Failure::Superseded);
        }
        Ok(Made::Unwanted)
    }

    /// What a failed call means: that this way is none, or that it is tried again later.
    async fn refused(&mut self, sending: &mut Sending, error: ProviderError) -> Result<Made, Failure> {
        if error.retry == Retry::OutcomeUnknown {
            self.note_unclear(sending).await?;
            return Err(error.into());
        }
        let would_fail_anyway = matches!(
            error.kind,
            ErrorKind::QuotaExceeded | ErrorKind::LoginRefused | ErrorKind::TooLarge | ErrorKind::InvalidName
        );
        if would_fail_anyway || matches!(error.retry, Retry::AfterWait(_) | Retry::AfterLogin) {
            let clear = !sending.may_be_there;
            return Err(Failure::Provider { error, clear });
        }
        Ok(Made::Nothing(error.to_string()))
    }

    /// The service made nothing of an upload that it had taken: of what it was to fetch by itself, the bytes go
    /// through here.
    pub async fn given_up(&mut self, row: &JournalRow, refusal: Refusal) -> Result<(), Failure> {
        if self
            .staged_now()
            .is_none_or(|(staged, _)| staged.untouched_copy().is_none())
        {
            return Err(Failure::given_up(refusal));
        }
        self.say_by_bytes(row, &refusal.message);
        self.clear_attempt().await
    }
}

impl Uploads {
    /// Waits until a pending file that was copied from one of a service depends on that file no more: the content
    /// is on its own service, or all of it is here and the journal knows. Fails where neither can be had for a while;
    /// the file stays pending.
    pub async fn secure(self: &Arc<Self>, id: PendingId) -> Result<(), UploadError> {
        if !self.needs_original(id) {
            return Ok(());
        }
        let Some((mut outcome, _, _hurry)) = self.hurry(id) else {
            return Ok(());
        };
        let begun = Instant::now();
        loop {
            let is_parked = match &*outcome.borrow_and_update() {
                Outcome::Open => false,
                Outcome::Parked { .. } => true,
                Outcome::Done { .. } | Outcome::Kept | Outcome::Removed => return Ok(()),
            };
            if !self.needs_original(id) {
                return Ok(());
            }
            let waits = self.get(id).is_some_and(|pending| {
                matches!(pending.status, UploadStatus::Waiting { .. }) || self.is_paused(&pending.account)
            });
            if waits || is_parked {
                match self.bring(id).await {
                    Ok(()) => {}
                    Err(NotBrought::Now(error)) if begun.elapsed() < PATIENCE => {
                        tracing::debug!(%id, %error, "a copy is still to be made");
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(NotBrought::Now(error) | NotBrought::Ever(error)) => return Err(error),
                }
                continue;
            }
            tokio::select! {
                _ = outcome.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = self.stopping.cancelled() => return Err(UploadError::Stopped),
            }
        }
    }

    /// As [`secure`](Self::secure), for all pending files that are copies of one of a service, which is about to be
    /// deleted or changed from here. A copy that nothing can be made of any more keeps nobody.
    pub async fn secure_copies_of(self: &Arc<Self>, account: &str, file: &FileId) -> Result<(), UploadError> {
        let copies = self.table().copies_of(account, file);
        for id in copies {
            match self.secure(id).await {
                Ok(()) | Err(UploadError::Parked { kind: None, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether bytes of a pending file are, as the journal knows it, still to come from the file of which it is a copy.
    pub fn needs_original(&self, id: PendingId) -> bool {
        let table = self.table();
        let base = table.live(id).and_then(|item| item.row.base.as_ref());
        base.is_some_and(|base| base.account.is_some())
    }

    /// Fetches what a copy lacks, and notes in the journal that it lacks nothing.
    async fn bring(self: &Arc<Self>, id: PendingId) -> Result<(), NotBrought> {
        let ever = |reason: String| NotBrought::Ever(UploadError::Parked { reason, kind: None });
        let found = {
            let table = self.table();
            let item = table.live(id);
            item.and_then(|item| Some((item.staged.clone()?, item.row.clone())))
        };
        let Some((staged, row)) = found else {
            return Ok(());
        };
        let JournalRow {
            account, generation, ..
        } = row;
        let Some(account) = self.account(&account) else {
            return Err(ever(format!("{account} is not mounted")));
        };
        // Asked first: a read of a file that is gone may fail as one does that is to be tried again.
        let brought = async {
            if let Some(base) = staged.base() {
                Holder::of(self, &account, base)?.unchanged(base).await?;
            }
            hydrate::complete(self, &account, &staged).await
        };
        match brought.await {
            Ok(()) => {}
            Err(Failure::Provider { error, .. }) => {
                let kind = Some(error.kind);
                let reason = error.to_string();
                return Err(NotBrought::Now(UploadError::Parked { reason, kind }));
            }
            Err(Failure::Local(error)) => return Err(NotBrought::Now(error)),
            Err(Failure::Park(why)) => return Err(ever(why)),
            Err(Failure::Wait(reason) | Failure::WaitFor(reason, _)) => {
                let kind = Some(ErrorKind::Unexpected);
                return Err(NotBrought::Now(UploadError::Parked { reason, kind }));
            }
            Err(Failure::Superseded) => return Err(NotBrought::Ever(UploadError::Stopped)),
        }
        let why = row.last_error.unwrap_or_else(|| "uploads are paused".to_owned());
        tracing::warn!(
            %id, account = account.name, name = row.name, size = row.size,
            "a copy cannot be made by the services now, so its bytes go through here: {why}"
        );
        let (content, len) = (staged.clone(), row.size);
        let hashed = blocking("read a staged file", move || content.sha256(len));
        let hash = hashed.await.map_err(NotBrought::Now)?;
        // A change by a writer has another generation, and may have brought other missing parts.
        let noted = self.change(id, move |row| {
            if row.state == RowState::Removed || row.generation != generation {
                return Change::Skip;
            }
            (row.base, row.missing) = (None, Vec::new());
            // By it a copy is known whose answer was lost, also when the content has changed since.
            if let Some(attempt) = row.attempt.as_mut().filter(|sent| sent.generation == generation) {
                attempt.sha256.get_or_insert(hash);
            }
            Change::Save
        });
        if let Changed::Saved(_) = noted.await.map_err(NotBrought::Now)? {
            staged.finish_base();
        }
        Ok(())
    }
}

/// Why what a copy lacks is not here.
enum NotBrought {
    /// It may come later.
    Now(UploadError),
    Ever(UploadError),
}
