//! MirrorAce, by its API version 1: a service that takes a file, spreads it over many hosts, and gives a link.
//!
//! [`MirrorAce`] promises what [`Provider`] promises. It publishes only: the service lists, reads, renames and
//! deletes nothing. Each upload has variables of its own, and its chunks go strictly in order, since the server
//! appends what comes; never are two uploads of one name under way at once, since it collects chunks by the name.
//! Nothing here knows inodes, staging or reqwest.

mod call;
mod services;
mod sessions;
mod uploads;

use std::fmt;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use self::call::Api;
use self::sessions::Sessions;
use super::publish::{NAME_RULES, Node};
use super::services::FileServices;
use super::{
    AccountInfo, Capabilities, Capability, FileEntry, FileId, FolderId, NameRules, Provider, PublishedState,
    Result, UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};
use crate::http::{ApiClient, FileRange};

/// Slugs that the service takes in one call.
const SLUGS: usize = 50;

/// How to reach an account. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    /// The API's root: `https://mirrorace.com/api/v1/`.
    pub base_url: Url,
    pub api_key: SecretString,
    pub api_token: SecretString,
    /// Ids of mirrors; those that are set in the account where there are none.
    pub mirrors: Vec<String>,
    /// What visitors of a link need to know.
    pub file_password: Option<SecretString>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.base_url.host_str())
            .field("mirrors", &self.mirrors)
            .finish_non_exhaustive()
    }
}

/// One account of MirrorAce.
pub struct MirrorAce {
    id_space: String,
    api: Api,
    sessions: Sessions,
}

impl fmt::Debug for MirrorAce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorAce")
            .field("id_space", &self.id_space)
            .finish_non_exhaustive()
    }
}

impl MirrorAce {
    /// Makes no call. Fails on a `base_url` that is neither https nor loopback.
    pub fn new(settings: Settings, client: ApiClient) -> Result<Self> {
        Ok(MirrorAce {
            id_space: settings.base_url.as_str().to_owned(),
            api: Api::new(settings, client)?,
            sessions: Sessions::default(),
        })
    }
}

#[async_trait]
impl Provider for MirrorAce {
    fn kind(&self) -> &'static str {
        "mirrorace"
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

    async fn account_info(&self) -> Result<AccountInfo> {
        Ok(AccountInfo {
            max_file_size: self.api.max_file_size().await?,
            ..AccountInfo::default()
        })
    }

    async fn file_info(&self, files: &[FileId]) -> Result<Vec<FileEntry>> {
        let mut found = Vec::new();
        for some in files.chunks(SLUGS) {
            let told = self.api.info(some).await?;
            for file in some {
                let node = Node(&told).get(file.as_str());
                found.extend(node.filter(|node| is_active(*node)).and_then(|node| {
                    Some(FileEntry {
                        id: file.clone(),
                        name: node.text("name")?,
                        size: node.number("size")?,
                        mtime: None,
                        hash: None,
                        revision: None,
                        parent: None,
                    })
                }));
            }
        }
        Ok(found)
    }

    async fn published(&self, files: &[FileId]) -> Result<Vec<PublishedState>> {
        let mut states = Vec::with_capacity(files.len());
        for some in files.chunks(SLUGS) {
            let told = self.api.info(some).await?;
            for file in some {
                let status = Node(&told)
                    .get(file.as_str())
                    .and_then(|node| node.text("status"))
                    .ok_or_else(|| super::publish::incomplete(call::INFO, "a file's status"))?;
                states.push(match status.eq_ignore_ascii_case("active") {
                    true => PublishedState::Active,
                    false => PublishedState::Removed(super::publish::clean(&status)),
                });
            }
        }
        Ok(states)
    }

    async fn upload_begin(&self, request: &UploadRequest) -> Result<UploadPlan> {
        uploads::begin(&self.api, &self.sessions, request).await
    }

    async fn upload_range(
        &self,
        request: &UploadRequest,
        session: &UploadTicket,
        body: FileRange,
    ) -> Result<UploadProgress> {
        uploads::range(&self.api, &self.sessions, request, session, body).await
    }

    async fn upload_from_link(&self, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
        uploads::from_link(&self.api, &self.sessions, request, link).await
    }
}

fn is_active(node: Node<'_>) -> bool {
    let status = node.text("status");
    status.is_some_and(|status| status.eq_ignore_ascii_case("active"))
}
