//! A YetiShare host in the sandbox, as a target of the contract suite.

// Each test crate uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::Provider;
use lockerfs::provider::yetishare::{Credentials, Settings, YetiShare};
use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Admin, Fault, Step, Target};

const ACCOUNT: &str = "yeti";

/// A sandbox of its own with one account.
pub struct YetiShareTarget {
    sandbox: Sandbox,
    kind: &'static str,
    pub account: Account,
    /// Whether its clients share their token.
    pub shares_token: bool,
    admin: Admin,
    data: TempDir,
}

impl YetiShareTarget {
    pub async fn start_with(
        kind: &'static str,
        adjust: impl FnOnce(&mut Account, &mut Options),
    ) -> YetiShareTarget {
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path().join("sandbox"));
        let mut account = Account {
            storage_limit: 1 << 30,
            ..Account::yetishare(ACCOUNT)
        };
        adjust(&mut account, &mut options);
        options.accounts = vec![account.clone()];
        let sandbox = Sandbox::start(options).await.unwrap();
        YetiShareTarget {
            admin: Admin::of(sandbox.address()),
            sandbox,
            kind,
            account,
            shares_token: true,
            data,
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            kind: self.kind,
            base_url: self.sandbox.base_url(ACCOUNT).parse().unwrap(),
            credentials: Credentials::Keys {
                key1: self.account.key1.clone().into(),
                key2: self.account.key2.clone().into(),
            },
            token_dir: self.shares_token.then(|| self.data.path().join("tokens")),
            tombstones: None,
        }
    }

    pub fn provider_with(&self, settings: Settings) -> Arc<dyn Provider> {
        Arc::new(YetiShare::new(settings, ApiClient::new(ApiOptions::default()).unwrap()).unwrap())
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
        Step::Login => "v2/authorize",
        Step::List => "v2/folder/listing",
        Step::CreateFolder => "v2/folder/create",
        Step::Copy => "v2/file/copy",
        Step::DeleteFiles => "v2/file/delete",
        Step::UploadWhole => "v2/file/upload",
        // The service has no units.
        Step::UploadUnit => "v2/file/unit",
        // Its parameters are not known.
        Step::UploadRemote => "v2/file/url_upload_add",
    }
}

#[async_trait]
impl Target for YetiShareTarget {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(self.settings())
    }

    fn refused_provider(&self) -> Arc<dyn Provider> {
        let credentials = Credentials::Keys {
            key1: self.account.key1.clone().into(),
            key2: "x".repeat(64).into(),
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
        let says = "Error uploading file. No response received from: http://fs2.example.com";
        let lost = json!({"fault": "say", "text": says});
        self.admin.inject(faults, call, lost).await;
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
