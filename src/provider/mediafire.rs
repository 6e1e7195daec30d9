//! MediaFire, by its REST API 1.5 in JSON.
//!
//! [`MediaFire`] promises what [`Provider`] promises: few calls, no sleep, no retry but one login and one
//! replay when the service declared a token dead. After the service refused the credentials no call goes out
//! until [`Provider::account_info`] asks again. Nothing here knows inodes, staging or reqwest.

mod call;
mod changes;
mod errors;
mod files;
mod folders;
mod services;
mod session;
mod uploads;
mod web;
mod wire;

use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use self::call::Api;
use self::wire::{Node, Params, ROOT};
use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, ChangeCursor, Changes, DeleteMode, DownloadLink, FileEntry,
    FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint, Listing, NameRules, Provider, Result,
    SentUpload, ShareLinks, UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};
use crate::http::{ApiClient, FileRange};

const CONTROL_CHARACTERS: &str = "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{e}\u{f}\u{10}\u{11}\u{12}\u{13}\
    \u{14}\u{15}\u{16}\u{17}\u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f}\u{7f}";

/// Keys in one call, the service's limit.
const MAX_KEYS: usize = 500;

/// How to reach an account. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service's root, to which `api/1.5/` is added: `https://www.mediafire.com/`.
    pub base_url: Url,
    pub credentials: Credentials,
    pub application_id: String,
    /// Where the application has one.
    pub api_key: Option<SecretString>,
    pub token_version: TokenVersion,
}

/// What proves who we are. `Debug` shows no secret.
#[derive(Clone)]
pub enum Credentials {
    Password {
        email: String,
        password: SecretString,
    },
    /// A version 1 token that was got elsewhere. It is renewed in time, but once it has ended only a person
    /// can give another.
    SessionToken(SecretString),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Password { email, .. } => f
                .debug_struct("Password")
                .field("email", email)
                .finish_non_exhaustive(),
            Credentials::SessionToken(_) => f.write_str("SessionToken(..)"),
        }
    }
}

/// The kind of session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenVersion {
    /// Unsigned, 10 minutes long, renewed.
    V1,
    /// Each call signed, without known end.
    #[default]
    V2,
}

/// One MediaFire account.
pub struct MediaFire {
    api: Api,
    /// How far the change feed was read for uploads.
    reading: Mutex<Option<changes::Reading>>,
}

impl fmt::Debug for MediaFire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaFire")
            .field("host", &self.api.base().host_str())
            .finish_non_exhaustive()
    }
}

impl MediaFire {
    /// Makes no call. Fails on a `base_url` that is not https, or not loopback.
    pub fn new(settings: Settings, client: ApiClient) -> Result<Self> {
        Ok(MediaFire {
            api: Api::new(&settings, client)?,
            reading: Mutex::default(),
        })
    }

    /// As [`new`](Self::new), for a few calls: a session token is not renewed, which would end it for others.
    pub fn for_a_moment(settings: Settings, client: ApiClient) -> Result<Self> {
        let account = MediaFire::new(settings, client)?;
        account.api.keep_given_token();
        Ok(account)
    }
}

#[async_trait]
impl Provider for MediaFire {
    fn kind(&self) -> &'static str {
        "mediafire"
    }

    fn services(&self) -> &dyn FileServices {
        self
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .with(Capability::List)
            .with(Capability::Read)
            .with(Capability::Write)
            .with(Capability::CreateFolder)
            .with(Capability::Rename)
            .with(Capability::Move)
            .with(Capability::Copy)
            .with(Capability::Trash)
            .with(Capability::Purge)
            .with(Capability::ChangeFeed)
            .with(Capability::EmptyFiles)
            .with(Capability::ModificationTime)
            .with(Capability::ReplaceKeepsId)
            .with(Capability::ContentHash)
            .with(Capability::Batches)
            .with(Capability::ShareLinks)
            .with(Capability::RemoteUpload)
    }

    /// What the service does with blanks at a name's ends and with control characters is not documented, so
    /// they count as altered.
    fn name_rules(&self) -> NameRules {
        NameRules {
            max_chars: 255,
            forbidden: CONTROL_CHARACTERS,
            edge_blanks: false,
            leading_dot: true,
            numbered_twins: false,
        }
    }

    fn root(&self) -> FolderId {
        FolderId::new(ROOT)
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.api.forgive();
        let reply = self.api.call("user/get_info", &Params::new()).await?;
        let node = Node(&reply);
        let info = node.get("user_info").unwrap_or(node);
        Ok(AccountInfo {
            owner: info.text("email").or_else(|| info.text("display_name")),
            storage_limit: info.number("storage_limit"),
            storage_used: info.number("used_storage_size"),
            max_file_size: info.number("max_upload_size"),
        })
    }

    async fn list(&self, folder: &FolderId, hint: ListHint) -> Result<Listing> {
        folders::list(&self.api, folder, hint).await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        files::info(&self.api, files).await
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        files::links(&self.api, files).await
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        files::share_links(&self.api, files).await
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        folders::create(&self.api, parent, name).await
    }

    async fn rename(&self, item: &ItemId, name: &str, mtime: Option<SystemTime>) -> Result<()> {
        // An update without a time sets the server's.
        let mtime = mtime.map(files::mtime_text).transpose()?;
        let with_time = |name_field| {
            let mut fields = vec![(name_field, name)];
            fields.extend(mtime.as_deref().map(|mtime| ("mtime", mtime)));
            fields
        };
        match item {
            ItemId::File(file) => files::update(&self.api, file, &with_time("filename")).await,
            ItemId::Folder(folder) => folders::update(&self.api, folder, &with_time("foldername")).await,
        }
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        let (files, folders) = by_kind(items);
        files::move_to(&self.api, &files, folder).await?;
        folders::move_to(&self.api, &folders, folder).await
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        files::copy(&self.api, file, folder).await
    }

    async fn set_mtime(&self, item: &ItemId, mtime: SystemTime) -> Result<()> {
        let mtime = files::mtime_text(mtime)?;
        match item {
            ItemId::File(file) => files::update(&self.api, file, &[("mtime", &mtime)]).await,
            ItemId::Folder(folder) => folders::update(&self.api, folder, &[("mtime", &mtime)]).await,
        }
    }

    async fn replace_content(&self, new: &FileId, old: &FileId) -> Result<()> {
        files::replace_content(&self.api, new, old).await
    }

    async fn delete(&self, items: &[ItemId], mode: DeleteMode) -> Result<()> {
        let (files, folders) = by_kind(items);
        files::delete(&self.api, &files, mode).await?;
        folders::delete(&self.api, &folders, mode).await
    }

    async fn folder_states(&self, folders: &[FolderId]) -> Result<Vec<FolderState>> {
        folders::states(&self.api, folders).await
    }

    async fn changes(&self, since: Option<&ChangeCursor>) -> Result<Changes> {
        changes::changes(&self.api, since).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        uploads::begin(&self.api, request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        uploads::whole(&self.api, request, body).await
    }

    async fn upload_unit(
        &self,
        request: &UploadRequest,
        index: u32,
        sha256: &[u8; 32],
        body: FileRange,
    ) -> Result<UploadProgress> {
        uploads::unit(&self.api, request, index, sha256, body).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        web::from_link(&self.api, request, link).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        match web::Ticket::read(ticket) {
            Some(ticket) => web::poll(&self.api, &ticket).await,
            None => uploads::poll(&self.api, ticket).await,
        }
    }

    async fn upload_poll_many(&self, uploads: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
        let is_web = |upload: &SentUpload| web::Ticket::read(&upload.ticket).is_some();
        let (web, sent): (Vec<_>, Vec<_>) = uploads.iter().cloned().partition(is_web);
        let mut of_web = web::poll_many(&self.api, &web).await?.into_iter();
        let mut of_sent = uploads::poll_many(&self.api, &self.reading, &sent)
            .await?
            .into_iter();
        let in_order = uploads.iter().map(|upload| {
            let next = match is_web(upload) {
                true => of_web.next(),
                false => of_sent.next(),
            };
            next.unwrap_or_else(|| Ok(UploadProgress::Processing(upload.ticket.clone())))
        });
        Ok(in_order.collect())
    }

    async fn close(&self) {
        self.api.close().await;
    }
}

fn by_kind(items: &[ItemId]) -> (Vec<FileId>, Vec<FolderId>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            ItemId::File(file) => files.push(file.clone()),
            ItemId::Folder(folder) => folders.push(folder.clone()),
        }
    }
    (files, folders)
}

/// The keys of a batch as the service takes them.
fn joined<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<Vec<_>>().join(",")
}
