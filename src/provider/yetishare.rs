//! The hosts that run the YetiShare script, by its API version 2: 1CloudFile, KoramaUp and others.
//!
//! [`YetiShare`] promises what [`Provider`] promises: no sleep, no retry but one login and one replay when the
//! host declared a token dead. The hosts' pages tell of few calls; which of the others a host has is asked
//! once, and what is missing is missing from [`Provider::capabilities`] from then on. Hosts take one item in
//! a call, so that operations on many make many calls, a few side by side. Nothing here knows inodes, staging
//! or reqwest.

mod account;
mod call;
mod errors;
mod files;
mod folders;
mod graves;
mod newest;
mod probe;
mod services;
mod session;
mod token_file;
mod uploads;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::call::Api;
use super::form::FORBIDDEN;
use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, DeleteMode, DownloadLink, ErrorKind, FileEntry, FileId,
    FolderEntry, FolderId, ItemId, ListHint, Listing, NameRules, Provider, ProviderError, Result, Retry,
    ShareLinks, UploadPlan, UploadProgress, UploadRequest,
};
use crate::http::{ApiClient, FileRange};
use crate::state::Database;

/// Characters of each half of a key pair.
const KEY_LENGTH: usize = 64;

/// Calls of one operation at once.
const SIDE_BY_SIDE: usize = 4;

/// What a host can do that lacks nothing.
const OFFERED: [Capability; 10] = [
    Capability::List,
    Capability::Read,
    Capability::Write,
    Capability::CreateFolder,
    Capability::Rename,
    Capability::Move,
    Capability::Copy,
    Capability::ShareLinks,
    Capability::ShortLinks,
    Capability::Trash,
];

/// How to reach an account. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The account kind as written in the config.
    pub kind: &'static str,
    /// The API's root: `https://1cloudfile.com/api/v2/`.
    pub base_url: Url,
    pub credentials: Credentials,
    /// Where the processes of this user share the account's token. Without it, each logs in by itself, and so
    /// ends the sessions of the others.
    pub token_dir: Option<PathBuf>,
    /// Where deleted folders are noted, which hosts go on to list.
    pub tombstones: Option<Database>,
}

/// What proves who we are. `Debug` shows no secret.
#[derive(Clone)]
pub enum Credentials {
    /// As made in the account's settings on the host's web site.
    Keys { key1: SecretString, key2: SecretString },
    /// For hosts that are set so.
    Password {
        username: String,
        password: SecretString,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Keys { .. } => f.write_str("Keys(..)"),
            Credentials::Password { username, .. } => f
                .debug_struct("Password")
                .field("username", username)
                .finish_non_exhaustive(),
        }
    }
}

/// One account of one YetiShare host.
pub struct YetiShare {
    kind: &'static str,
    id_space: String,
    api: Api,
}

impl fmt::Debug for YetiShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YetiShare")
            .field("kind", &self.kind)
            .field("host", &self.api.base().host_str())
            .finish_non_exhaustive()
    }
}

impl YetiShare {
    /// Makes no call. Fails on a `base_url` that is neither https nor loopback, and on keys that cannot be any.
    pub fn new(settings: Settings, client: ApiClient) -> Result<Self> {
        if let Credentials::Keys { key1, key2 } = &settings.credentials {
            for (name, key) in [("key1", key1), ("key2", key2)] {
                check_key(name, key)?;
            }
        }
        Ok(YetiShare {
            kind: settings.kind,
            id_space: settings.base_url.as_str().to_owned(),
            api: Api::new(&settings, client)?,
        })
    }
}

fn check_key(name: &'static str, key: &SecretString) -> Result<()> {
    let length = key.expose_secret().chars().count();
    if length == KEY_LENGTH {
        return Ok(());
    }
    let message = format!(
        "{name} must have exactly {KEY_LENGTH} characters and has {length}: make both keys on the host's web \
         site, in the account's settings under API access, and save the account there"
    );
    Err(ProviderError::new(
        ErrorKind::InvalidArgument,
        Retry::Never,
        "credentials",
        message,
    ))
}

#[async_trait]
impl Provider for YetiShare {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn id_space(&self) -> String {
        self.id_space.clone()
    }

    fn services(&self) -> &dyn FileServices {
        self
    }

    fn newest_file(&self, folder: &FolderId) -> Option<FileId> {
        self.api.newest.get(folder)
    }

    fn came_after(&self, file: &FileId, before: &FileId) -> bool {
        newest::came_after(file, before)
    }

    fn capabilities(&self) -> Capabilities {
        self.api.capabilities()
    }

    fn name_rules(&self) -> NameRules {
        NameRules {
            max_chars: 255,
            forbidden: FORBIDDEN,
            edge_blanks: false,
            leading_dot: false,
            numbered_twins: true,
        }
    }

    fn root(&self) -> FolderId {
        wire::root()
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        self.api.forgive();
        let info = account::info(&self.api).await?;
        probe::run(&self.api).await;
        Ok(info)
    }

    async fn list(&self, folder: &FolderId, hint: ListHint) -> Result<Listing> {
        self.api.need(Capability::List, "folder/listing")?;
        folders::list(&self.api, folder, hint).await
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        files::info(&self.api, files).await
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        self.api.need(Capability::Read, "file/download")?;
        files::links(&self.api, files).await
    }

    async fn share_links(&self, files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        self.api.need(Capability::ShareLinks, "file/info")?;
        files::share_links(&self.api, files).await
    }

    async fn create_folder(&self, parent: &FolderId, name: &str) -> Result<FolderEntry> {
        self.api.need(Capability::CreateFolder, "folder/create")?;
        folders::create(&self.api, parent, name).await
    }

    async fn rename(&self, item: &ItemId, name: &str, _: Option<SystemTime>) -> Result<()> {
        self.api.need(Capability::Rename, "edit")?;
        match item {
            ItemId::File(file) => files::rename(&self.api, file, name).await,
            ItemId::Folder(folder) => folders::rename(&self.api, folder, name).await,
        }
    }

    async fn move_to(&self, items: &[ItemId], folder: &FolderId) -> Result<()> {
        self.api.need(Capability::Move, "move")?;
        let moves = items.iter().map(|item| match item {
            ItemId::File(file) => files::move_to(&self.api, file, folder).boxed(),
            ItemId::Folder(moved) => folders::move_to(&self.api, moved, folder).boxed(),
        });
        change(moves.collect()).await
    }

    async fn copy_file(&self, file: &FileId, folder: &FolderId) -> Result<FileId> {
        self.api.need(Capability::Copy, "file/copy")?;
        files::copy(&self.api, file, folder).await
    }

    async fn delete(&self, items: &[ItemId], mode: DeleteMode) -> Result<()> {
        if mode == DeleteMode::Purge {
            return Err(ProviderError::unsupported("delete", Capability::Purge));
        }
        self.api.need(Capability::Trash, "delete")?;
        let deletions = items.iter().map(|item| match item {
            ItemId::File(file) => files::delete(&self.api, file).boxed(),
            ItemId::Folder(folder) => folders::delete(&self.api, folder).boxed(),
        });
        change(deletions.collect()).await
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        uploads::begin(&self.api, request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        uploads::whole(&self.api, request, body).await
    }

    async fn close(&self) {
        self.api.close().await;
    }
}

/// Makes the calls for each of many items, a few side by side; what they give, in the same order, or the
/// first failure.
async fn all<T>(calls: Vec<BoxFuture<'_, Result<T>>>) -> Result<Vec<T>> {
    futures_util::stream::iter(calls)
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

/// Makes changes, a few side by side. After one failed no other begins, and those under way are waited for, so
/// that what they did is known.
async fn change(calls: Vec<BoxFuture<'_, Result<()>>>) -> Result<()> {
    let mut calls = calls.into_iter();
    loop {
        let some: Vec<_> = calls.by_ref().take(SIDE_BY_SIDE).collect();
        if some.is_empty() {
            return Ok(());
        }
        let results = futures_util::future::join_all(some).await;
        results.into_iter().collect::<Result<()>>()?;
    }
}

/// Orders ids as they were given out: by their length, then by their digits.
fn by_age(id: &str) -> (usize, String) {
    let digits = id.trim_start_matches('0');
    (digits.len(), digits.to_owned())
}

/// Whether an item got the name that it was to get.
fn check_name(operation: &'static str, wanted: &str, stored: Option<String>) -> Result<()> {
    match stored {
        Some(stored) if stored == wanted => Ok(()),
        Some(stored) => {
            let message = format!("the service made \"{}\" of the name", errors::clean(&stored));
            Err(ProviderError::new(
                ErrorKind::InvalidName,
                Retry::Never,
                operation,
                message,
            ))
        }
        None => Err(errors::incomplete(
            operation,
            Retry::OutcomeUnknown,
            "the new name",
        )),
    }
}

/// Whether an item went to where it was to go, where that was told.
fn check_place(operation: &'static str, wanted: &FolderId, told: Option<FolderId>) -> Result<()> {
    match told {
        Some(place) if place != *wanted => {
            let message = "the service put the item into another folder";
            Err(
                ProviderError::new(ErrorKind::Unexpected, Retry::Never, operation, message)
                    .with_context("wanted", wanted)
                    .with_context("folder", place),
            )
        }
        _ => Ok(()),
    }
}
