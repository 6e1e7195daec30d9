//! MediaFire in the sandbox, as a target of the contract suite.

// Each test crate uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::Provider;
use lockerfs::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Admin, Fault, Step, Target};

const ACCOUNT: &str = "media";

/// A sandbox of its own with one account.
pub struct MediaFireTarget {
    sandbox: Sandbox,
    version: TokenVersion,
    account: Account,
    application_id: String,
    api_key: Option<String>,
    admin: Admin,
    _data: TempDir,
}

impl MediaFireTarget {
    pub async fn start(version: TokenVersion) -> Self {
        Self::start_with(version, |_| {}).await
    }

    pub async fn start_with(version: TokenVersion, adjust: impl FnOnce(&mut Options)) -> Self {
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path());
        let account = Account {
            storage_limit: 1 << 30,
            ..Account::mediafire(ACCOUNT)
        };
        options.accounts = vec![account.clone()];
        options.quirks.processing = std::time::Duration::from_millis(30);
        options.quirks.sparse_polls = true;
        adjust(&mut options);
        let application_id = options.quirks.application_id.clone();
        let api_key = options.quirks.api_key.clone();
        let sandbox = Sandbox::start(options).await.unwrap();
        MediaFireTarget {
            admin: Admin::of(sandbox.address()),
            sandbox,
            version,
            account,
            application_id,
            api_key,
            _data: data,
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            base_url: self.sandbox.base_url(ACCOUNT).parse().unwrap(),
            credentials: Credentials::Password {
                email: self.account.email.clone(),
                password: self.account.password.clone().into(),
            },
            application_id: self.application_id.clone(),
            api_key: self.api_key.clone().map(Into::into),
            token_version: self.version,
        }
    }

    pub fn provider_with(&self, settings: Settings) -> Arc<dyn Provider> {
        Arc::new(MediaFire::new(settings, ApiClient::new(ApiOptions::default()).unwrap()).unwrap())
    }

    pub fn files_dir(&self) -> PathBuf {
        self.sandbox.files_dir(ACCOUNT)
    }

    /// Sets the sandbox's rules for faults, in its own words.
    pub async fn rules(&self, rules: Value) {
        self.admin.post("faults", rules).await;
    }

    /// Calls by the service's name.
    pub async fn count(&self, name: &str) -> u64 {
        self.admin.count(name).await
    }
}

fn call(step: Step) -> &'static str {
    match step {
        Step::Login => "user/get_session_token",
        Step::List => "folder/get_content",
        Step::CreateFolder => "folder/create",
        Step::Copy => "file/copy",
        Step::DeleteFiles => "file/delete",
        Step::UploadWhole => "upload/simple",
        Step::UploadUnit => "upload/resumable",
        Step::UploadRemote => "upload/add_web_upload",
    }
}

#[async_trait]
impl Target for MediaFireTarget {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(self.settings())
    }

    fn refused_provider(&self) -> Arc<dyn Provider> {
        let credentials = Credentials::Password {
            email: self.account.email.clone(),
            password: "not the password".into(),
        };
        self.provider_with(Settings {
            credentials,
            ..self.settings()
        })
    }

    async fn seed(&self, files: Vec<(String, Vec<u8>)>) {
        self.admin.seed(&self.files_dir(), files).await;
    }

    async fn inject(&self, faults: &[(Step, Fault)]) {
        self.admin
            .inject(faults, call, json!({"fault": "file_error", "code": 6}))
            .await;
    }

    async fn calls(&self) -> u64 {
        self.admin.calls().await
    }

    async fn calls_of(&self, step: Step) -> u64 {
        self.count(call(step)).await
    }

    async fn bytes_sent(&self) -> u64 {
        self.admin.bytes_sent().await
    }

    async fn contents(&self) -> Vec<String> {
        self.admin.contents(ACCOUNT).await
    }

    fn quota(&self) -> u64 {
        self.account.storage_limit
    }

    async fn stop(self: Box<Self>) {
        self.sandbox.stop().await;
    }
}
