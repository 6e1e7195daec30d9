//! Folders and listings for a service that has none: what was published through here is kept in the catalog of the
//! state, and told from there.
//!
//! [`Catalog`] is laid over a provider that lacks [`Capability::List`]. Its folders are of the user's making and are
//! on this machine alone; renames, moves and removals change the catalog and make no call. Each upload ends with
//! an entry, in one transaction, before the caller hears of its end; one that ended so and was not heard of is
//! found in the catalog when it is announced again. What the service says of its files is asked for now and
//! then: one that is gone there stays in the catalog, marked.

mod ticket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use url::Url;

use self::ticket::Ticket;
use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, ChangeCursor, Changes, Clock, ContentHash, DailyCalls, DeleteMode,
    DownloadLink, Entry, ErrorKind, FileEntry, FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint,
    Listing, NameRules, Pace, Provider, ProviderError, Publication, PublishedState, Result, Retry,
    ShareLinks, UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};
use crate::http::FileRange;
use crate::state::{
    CatalogChange, CatalogFileRow, CatalogFolderRow, CatalogItem, Database, Pins, Sought, StateError,
};

/// How the ids of these folders begin.
const PREFIX: &str = "catalog:";

/// How long what the service said of a file is believed.
const CHECK_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A service that publishes only, with the list of what it was given.
pub struct Catalog {
    service: Arc<dyn Provider>,
    account: String,
    database: Database,
    pins: Option<Pins>,
    clock: Clock,
    /// Files that the service has removed, as far as they were listed or asked after.
    removed: Mutex<HashMap<FileId, String>>,
}

impl Catalog {
    pub fn over(
        service: Arc<dyn Provider>,
        account: &str,
        database: Database,
        pins: Option<Pins>,
        clock: Clock,
    ) -> Arc<dyn Provider> {
        Arc::new(Catalog {
            service,
            account: account.to_owned(),
            database,
            pins,
            clock,
            removed: Mutex::default(),
        })
    }

    async fn rows(&self, files: &[FileId]) -> Result<Vec<CatalogFileRow>> {
        let ids = files.iter().map(|file| file.as_str().to_owned()).collect();
        let rows = self.database.catalog_files(self.account.clone(), ids).await;
        rows.map_err(|error| failed("look into the catalog", error))
    }

    async fn change(&self, changes: Vec<CatalogChange>) -> Result<()> {
        let changed = self.database.change_catalog(self.account.clone(), changes).await;
        changed.map_err(|error| failed("change the catalog", error))
    }

    async fn find(&self, sought: Sought) -> Result<Option<FileEntry>> {
        let found = self.database.find_in_catalog(self.account.clone(), sought).await;
        let found = found.map_err(|error| failed("look into the catalog", error))?;
        Ok(found.map(file_entry))
    }

    async fn check_folder(&self, operation: &'static str, folder: i64) -> Result<()> {
        let found = self
            .database
            .has_catalog_folder(self.account.clone(), folder)
            .await;
        match found.map_err(|error| failed(operation, error))? {
            true => Ok(()),
            false => Err(no_folder(operation)),
        }
    }

    fn mark(&self, file: FileId, status: Option<&str>) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            Some(status) => removed.insert(file, status.to_owned()),
            None => removed.remove(&file),
        };
    }

    /// Ends an upload with its entry, or hands on where it stands.
    async fn note(&self, of: &Ticket, progress: UploadProgress) -> Result<UploadProgress> {
        match progress {
            UploadProgress::Published(publication) => {
                let row = of.row(publication, (self.clock)());
                let entry = file_entry(row.clone());
                let added = self.database.add_to_catalog(self.account.clone(), row).await;
                // The service has it, and it is not in the list: nothing can be said of the upload.
                added.map_err(|error| ProviderError {
                    retry: Retry::OutcomeUnknown,
                    ..failed("note a published file", error)
                })?;
                Ok(UploadProgress::Done(entry))
            }
            UploadProgress::Processing(inner) => Ok(UploadProgress::Processing(of.with(inner).to_ticket()?)),
            progress => Ok(progress),
        }
    }
}

/// Lets go of pinned contents that no entry of any catalog is about. What fails is done at the next time.
pub async fn drop_unlisted(pins: &Pins, database: &Database) {
    let listed = pins.clone();
    let names = tokio::task::spawn_blocking(move || listed.names()).await;
    let names = match names.map_err(std::io::Error::other).and_then(|done| done) {
        Ok(names) if names.is_empty() => return,
        Ok(names) => names,
        Err(error) => return tracing::warn!(%error, "pinned contents cannot be listed"),
    };
    let wanted = match database.all_catalog_files().await {
        Ok(wanted) => wanted,
        Err(error) => return tracing::warn!(%error, "pinned contents stay, whether they are listed or not"),
    };
    let pins = pins.clone();
    let let_go = tokio::task::spawn_blocking(move || {
        let wanted = wanted.iter().map(|(account, id)| (account.as_str(), id.as_str()));
        pins.let_go(names, wanted)
    });
    if let Err(error) = let_go.await.map_err(std::io::Error::other).and_then(|done| done) {
        tracing::warn!(%error, "pinned contents stay that no file is about any more");
    }
}

fn failed(operation: &'static str, error: StateError) -> ProviderError {
    let message = error.to_string();
    ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), operation, message).with_source(error)
}

fn no_folder(operation: &'static str) -> ProviderError {
    let message = "the folder is not in the catalog";
    ProviderError::new(ErrorKind::NotFound, Retry::Never, operation, message)
}

fn folder_id(id: i64) -> FolderId {
    FolderId::new(format!("{PREFIX}{id}"))
}

fn number(operation: &'static str, folder: &FolderId) -> Result<i64> {
    let number = folder.as_str().strip_prefix(PREFIX);
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| no_folder(operation))
}

fn item(operation: &'static str, item: &ItemId) -> Result<CatalogItem> {
    Ok(match item {
        ItemId::File(file) => CatalogItem::File(file.as_str().to_owned()),
        ItemId::Folder(folder) => CatalogItem::Folder(number(operation, folder)?),
    })
}

fn file_entry(row: CatalogFileRow) -> FileEntry {
    FileEntry {
        id: FileId::new(row.id),
        name: row.name,
        size: row.size,
        mtime: Some(row.mtime),
        hash: row.sha256.map(ContentHash::Sha256),
        revision: None,
        parent: Some(folder_id(row.folder)),
    }
}

/// The links that the service told at the end of the upload.
fn share_links(row: Option<&CatalogFileRow>) -> Result<ShareLinks> {
    let missing = |message| ProviderError::new(ErrorKind::NotFound, Retry::Never, "share_links", message);
    let row = row.ok_or_else(|| missing("the file is not in the catalog"))?;
    let page = |text: &Option<String>| {
        let url = text.as_ref().and_then(|text| Url::parse(text).ok());
        url.filter(|url| matches!(url.scheme(), "http" | "https"))
    };
    let (url, short_url) = (page(&row.url), page(&row.short_url));
    match url.or_else(|| short_url.clone()) {
        Some(url) => Ok(ShareLinks { url, short_url }),
        None => Err(missing("the service told no link of the file")),
    }
}

fn folder_entry(row: CatalogFolderRow) -> FolderEntry {
    FolderEntry {
        id: folder_id(row.id),
        name: row.name,
        mtime: Some(row.mtime),
        hint: ListHint::default(),
    }
}

#[async_trait]
impl Provider for Catalog {
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
        self.service
            .capabilities()
            .with(Capability::List)
            .with(Capability::CreateFolder)
            .with(Capability::Rename)
            .with(Capability::Move)
            .with(Capability::Trash)
            .with(Capability::Purge)
            .with(Capability::ModificationTime)
            .with(Capability::ShareLinks)
    }

    fn name_rules(&self) -> NameRules {
        self.service.name_rules()
    }

    fn root(&self) -> FolderId {
        folder_id(0)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.service.account_info().await
    }

    async fn list(&self, folder: &FolderId, _: ListHint) -> Result<Listing> {
        const OPERATION: &str = "list the catalog";
        let number = number(OPERATION, folder)?;
        let held = self.database.catalog(self.account.clone(), number).await;
        let held = held.map_err(|error| failed(OPERATION, error))?;
        let (folders, files) = held.ok_or_else(|| no_folder(OPERATION))?;
        for row in &files {
            self.mark(FileId::new(row.id.as_str()), row.status.as_deref());
        }
        let folders = folders.into_iter().map(|row| Entry::Folder(folder_entry(row)));
        let files = files.into_iter().map(|row| Entry::File(file_entry(row)));
        Ok(Listing {
            entries: folders.chain(files).collect(),
            incomplete: false,
            revision: None,
        })
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        let rows = self.rows(files).await?;
        Ok(rows.into_iter().map(file_entry).collect())
    }

    async fn links(&self, _: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        let message = "the service publishes only and gives nothing back, and the copy that was uploaded is not \
                       kept here any more";
        Err(ProviderError::new(
            ErrorKind::Unsupported,
            Retry::Never,
            "read",
            message,
        ))
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        let rows = self.rows(files).await?;
        let rows: HashMap<_, _> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        let links = |file: &FileId| share_links(rows.get(file.as_str()).copied());
        Ok(files.iter().map(links).collect())
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        const OPERATION: &str = "make a folder of the catalog";
        let parent = number(OPERATION, parent)?;
        let made = self
            .database
            .make_catalog_folder(self.account.clone(), parent, name.to_owned())
            .await;
        let made = made.map_err(|error| failed(OPERATION, error))?;
        made.map(folder_entry).ok_or_else(|| no_folder(OPERATION))
    }

    async fn rename(&self, renamed: &ItemId, name: &str, _: Option<SystemTime>) -> Result<()> {
        let renamed = item("rename in the catalog", renamed)?;
        self.change(vec![CatalogChange::Rename(renamed, name.to_owned())])
            .await
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        const OPERATION: &str = "move in the catalog";
        let to = number(OPERATION, folder)?;
        self.check_folder(OPERATION, to).await?;
        let moves = items
            .iter()
            .map(|moved| Ok(CatalogChange::Move(item(OPERATION, moved)?, to)));
        self.change(moves.collect::<Result<_>>()?).await
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        self.service.copy_file(file, folder).await
    }

    async fn set_mtime(&self, of: &ItemId, mtime: SystemTime) -> Result<()> {
        let of = item("set a time in the catalog", of)?;
        self.change(vec![CatalogChange::Mtime(of, mtime)]).await
    }

    async fn replace_content(&self, new: &FileId, old: &FileId) -> Result<()> {
        self.service.replace_content(new, old).await
    }

    /// Takes entries out of the catalog, and lets their pinned contents go. The service keeps what it has.
    async fn delete(&self, items: &[ItemId], _: DeleteMode) -> Result<()> {
        // A folder that is none of the catalog's is not in it either.
        let removed = items.iter().filter_map(|removed| item("remove", removed).ok());
        self.change(removed.map(CatalogChange::Remove).collect()).await?;
        if let Some(pins) = &self.pins {
            drop_unlisted(pins, &self.database).await;
        }
        Ok(())
    }

    async fn folder_states(&self, folders: &[FolderId]) -> Result<Vec<FolderState>> {
        self.service.folder_states(folders).await
    }

    async fn changes(&self, since: Option<&ChangeCursor>) -> Result<Changes> {
        self.service.changes(since).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        const OPERATION: &str = "announce an upload";
        if request.size == 0 && !self.capabilities().has(Capability::EmptyFiles) {
            return Err(ProviderError::unsupported(OPERATION, Capability::EmptyFiles));
        }
        let folder = number(OPERATION, &request.folder)?;
        self.check_folder(OPERATION, folder).await?;
        if let Some(sha256) = request.sha256.filter(|_| request.sent_before) {
            let sought = Sought::Content {
                folder,
                name: request.name.clone(),
                size: request.size,
                sha256,
            };
            if let Some(entry) = self.find(sought).await? {
                return Ok(UploadPlan::Done(entry));
            }
        }
        self.service.upload_begin(request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        let of = Ticket::of(request, number("upload", &request.folder)?);
        let progress = self.service.upload_whole(request, body).await?;
        self.note(&of, progress).await
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        let of = Ticket::of(request, number("upload", &request.folder)?);
        let progress = self.service.upload_unit(request, index, sha256, body).await?;
        self.note(&of, progress).await
    }

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        let of = Ticket::of(request, number("upload", &request.folder)?);
        let progress = self.service.upload_range(request, session, body).await?;
        self.note(&of, progress).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        const OPERATION: &str = "upload from a link";
        let folder = number(OPERATION, &request.folder)?;
        self.check_folder(OPERATION, folder).await?;
        let progress = self.service.upload_from_link(request, link).await?;
        self.note(&Ticket::of(request, folder), progress).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        let Some((of, inner)) = Ticket::read(ticket) else {
            return Ok(UploadProgress::StartAgain);
        };
        // It ended, and the end was not heard of.
        let sought = Sought::Ticket(inner.as_str().to_owned());
        if let Some(entry) = self.find(sought).await? {
            return Ok(UploadProgress::Done(entry));
        }
        let progress = self.service.upload_poll(&inner).await?;
        self.note(&of, progress).await
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        let rows = self.rows(files).await?;
        let state = |file: &FileId| {
            let row = rows.iter().find(|row| row.id == file.as_str());
            match row.map(|row| row.status.clone()) {
                Some(None) => PublishedState::Active,
                Some(Some(status)) => PublishedState::Removed(status),
                None => PublishedState::Removed("not in the catalog".to_owned()),
            }
        };
        Ok(files.iter().map(state).collect())
    }

    fn published_state(&self, file: &FileId) -> Option<PublishedState> {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match removed.get(file) {
            Some(status) => PublishedState::Removed(status.clone()),
            None => PublishedState::Active,
        })
    }

    async fn check_published(&self, most: usize) -> Result<usize> {
        let now = (self.clock)();
        let before = now.checked_sub(CHECK_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
        let old = self
            .database
            .catalog_unchecked(self.account.clone(), before, most)
            .await;
        let old = old.map_err(|error| failed("look into the catalog", error))?;
        if old.is_empty() {
            return Ok(0);
        }
        let files: Vec<FileId> = old.iter().map(FileId::new).collect();
        let states = self.service.published(&files).await?;
        let changes = old.into_iter().zip(states).map(|(id, state)| {
            let status = match state {
                PublishedState::Active => None,
                PublishedState::Removed(status) => {
                    tracing::warn!(
                        account = self.account,
                        id,
                        status,
                        "the service has removed a published file"
                    );
                    Some(status)
                }
            };
            self.mark(FileId::new(id.as_str()), status.as_deref());
            CatalogChange::Status(id, status, now)
        });
        let changes: Vec<_> = changes.collect();
        let checked = changes.len();
        self.change(changes).await.map(|()| checked)
    }

    async fn daily_calls(&self) -> Option<DailyCalls> {
        self.service.daily_calls().await
    }

    fn pace(&self) -> Pace {
        self.service.pace()
    }

    async fn close(&self) {
        self.service.close().await;
    }
}

impl Ticket {
    fn row(&self, publication: Publication, now: SystemTime) -> CatalogFileRow {
        let Publication {
            entry,
            url,
            short_url,
            mirrors,
        } = publication;
        CatalogFileRow {
            id: entry.id.as_str().to_owned(),
            folder: self.folder,
            name: self.name.clone(),
            // What the service says that it has.
            size: entry.size,
            mtime: self.mtime(),
            sha256: self.sha256,
            published: now,
            ticket: self.inner.clone(),
            url,
            short_url,
            mirrors,
            status: None,
            checked: now,
        }
    }
}
