//! Mirrored.to, by its API version 1: a service that takes a file in three steps, spreads it over many hosts, and
//! gives a link.
//!
//! [`MirroredTo`] promises what [`Provider`] promises. It publishes only: the service lists, reads, renames and
//! deletes nothing. The first two steps are one upload here, and the third is what is polled for: its ticket is
//! all that is needed, so that an upload that was cut between the two is finished and not sent again. The service
//! counts the calls of a day, and so does this: an upload begins only if there are calls to end it. Nothing here
//! knows inodes, staging or reqwest.

mod budget;
mod call;
mod mirrors;
mod rounded;
mod services;
mod uploads;

use std::fmt;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use self::budget::Budget;
use self::call::{Api, MIB};
use self::uploads::Uploads;
use super::publish::{Clock, NAME_RULES, Node};
use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, DailyCalls, ErrorKind, FileId, FolderId, NameRules, Provider,
    PublishedState, Result, UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};
use crate::http::{ApiClient, FileRange};
use crate::state::Database;

/// How to reach an account. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    /// The API's root: `https://www.mirrored.to/api/v1/`.
    pub base_url: Url,
    pub api_key: SecretString,
    /// Names of mirrors; those that are set in the account where there are none.
    pub mirrors: Vec<String>,
    /// What visitors of a link need to know.
    pub password: Option<SecretString>,
    /// Who is told by mail when a file is on all mirrors.
    pub email: Option<String>,
    /// Calls that the service allows in a day.
    pub daily_calls: u64,
    /// Where the calls of a day are counted, beyond the process.
    pub counter: Option<Database>,
    pub clock: Clock,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.base_url.host_str())
            .field("mirrors", &self.mirrors)
            .field("daily_calls", &self.daily_calls)
            .finish_non_exhaustive()
    }
}

/// One account of Mirrored.to.
pub struct MirroredTo {
    id_space: String,
    api: Api,
    uploads: Uploads,
}

impl fmt::Debug for MirroredTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirroredTo")
            .field("id_space", &self.id_space)
            .finish_non_exhaustive()
    }
}

impl MirroredTo {
    /// Makes no call. Fails on a `base_url` that is neither https nor loopback.
    pub fn new(settings: Settings, client: ApiClient) -> Result<Self> {
        let id_space = settings.base_url.as_str().to_owned();
        // The calls are those of the key, whatever the account is called here.
        let mut whose = hex::encode(Sha256::digest(settings.api_key.expose_secret()));
        whose.truncate(16);
        let budget = Budget::new(
            settings.counter.clone(),
            format!("{id_space}#{whose}"),
            settings.daily_calls,
            settings.clock.clone(),
        );
        Ok(MirroredTo {
            id_space,
            api: Api::new(settings, client, budget)?,
            uploads: Uploads::default(),
        })
    }
}

#[async_trait]
impl Provider for MirroredTo {
    fn kind(&self) -> &'static str {
        "mirrored_to"
    }

    fn id_space(&self) -> String {
        self.id_space.clone()
    }

    fn services(&self) -> &dyn FileServices {
        self
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .with(Capability::Write)
            .with(Capability::RemoteUpload)
    }

    fn name_rules(&self) -> NameRules {
        NAME_RULES
    }

    /// The service has one place for all files.
    fn root(&self) -> FolderId {
        FolderId::new("0")
    }

    /// Asks once a day: each question costs one of the day's calls.
    async fn account_info(&self) -> Result<AccountInfo> {
        let budget = &self.api.budget;
        let known = budget.max_file_size().await?;
        if let Some(known) = known {
            return Ok(AccountInfo {
                max_file_size: Some(known),
                ..AccountInfo::default()
            });
        }
        let told = self.api.counted(call::ACCOUNT, 0, self.api.own()).await?;
        let node = Node(&told);
        let largest = node.number("max_filesize").map(|mb| mb.saturating_mul(MIB));
        budget.note(node.number("api_calls_remaining"), largest).await?;
        Ok(AccountInfo {
            owner: node.text("username").or_else(|| node.text("email")),
            max_file_size: largest,
            ..AccountInfo::default()
        })
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        let mut states = Vec::with_capacity(files.len());
        for file in files {
            let params = self.api.own().with("file_id", file.as_str());
            // Uploads come first.
            let kept = self.api.budget.limit() / 5 * 4;
            states.push(match self.api.counted(call::INFO, kept, params).await {
                Ok(_) => PublishedState::Active,
                Err(error) if error.kind == ErrorKind::NotFound => {
                    PublishedState::Removed("not found".to_owned())
                }
                Err(error) => return Err(error),
            });
        }
        Ok(states)
    }

    async fn daily_calls(&self) -> Option<DailyCalls> {
        self.api.budget.state().await.ok()
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        uploads::begin(&self.api, &self.uploads, request).await
    }

    async fn upload_whole(&self, request: &UploadRequest, body: FileRange) -> Result<UploadProgress> {
        uploads::send(&self.api, &self.uploads, request, body).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        uploads::from_link(&self.api, request, link).await
    }

    async fn upload_poll(&self, ticket: &UploadTicket) -> Result<UploadProgress> {
        uploads::finish(&self.api, &self.uploads, ticket).await
    }
}
