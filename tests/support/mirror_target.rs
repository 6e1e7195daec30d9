//! MirrorAce and Mirrored.to in the sandbox, as targets of the contract suite.

// Each test crate uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::{Provider, mirrorace, mirrored_to};
use lockerfs::sandbox::{Account, Options, Sandbox, Service};
use lockerfs::state::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Admin, Fault, Step, Target};

const ACCOUNT: &str = "mirror";

/// A sandbox of its own with one account.
pub struct MirrorTarget {
    sandbox: Sandbox,
    pub account: Account,
    pub mirrors: Vec<String>,
    pub counter: Option<Database>,
    /// Seconds by which the clients' clock is ahead.
    pub ahead: Arc<AtomicU64>,
    admin: Admin,
    _data: TempDir,
}

impl MirrorTarget {
    pub async fn start(account: fn(&str) -> Account, adjust: impl FnOnce(&mut Options)) -> MirrorTarget {
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path().join("sandbox"));
        options.accounts = vec![account(ACCOUNT)];
        adjust(&mut options);
        let account = options.accounts[0].clone();
        let sandbox = Sandbox::start(options).await.unwrap();
        MirrorTarget {
            admin: Admin::of(sandbox.address()),
            sandbox,
            account,
            mirrors: Vec::new(),
            counter: None,
            ahead: Arc::default(),
            _data: data,
        }
    }

    pub fn mirrorace(&self) -> mirrorace::Settings {
        mirrorace::Settings {
            base_url: self.sandbox.base_url(ACCOUNT).parse().unwrap(),
            api_key: self.account.api_key.clone().into(),
            api_token: self.account.api_token.clone().into(),
            mirrors: self.mirrors.clone(),
            file_password: Some("the file's password".into()),
        }
    }

    pub fn mirrored_to(&self) -> mirrored_to::Settings {
        let ahead = self.ahead.clone();
        mirrored_to::Settings {
            base_url: self.sandbox.base_url(ACCOUNT).parse().unwrap(),
            api_key: self.account.api_key.clone().into(),
            mirrors: self.mirrors.clone(),
            password: Some("the file's password".into()),
            email: Some("me@example.com".to_owned()),
            daily_calls: 500,
            counter: self.counter.clone(),
            clock: Arc::new(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed))),
        }
    }

    fn provider_of(&self, change: impl FnOnce(&mut String)) -> Arc<dyn Provider> {
        let client = ApiClient::new(ApiOptions::default()).unwrap();
        let mut key = self.account.api_key.clone();
        change(&mut key);
        if self.account.service == Service::MirrorAce {
            let settings = mirrorace::Settings {
                api_key: key.into(),
                ..self.mirrorace()
            };
            Arc::new(mirrorace::MirrorAce::new(settings, client).unwrap())
        } else {
            let settings = mirrored_to::Settings {
                api_key: key.into(),
                ..self.mirrored_to()
            };
            Arc::new(mirrored_to::MirroredTo::new(settings, client).unwrap())
        }
    }

    pub async fn get(&self, page: &str) -> Value {
        self.admin.get(page).await
    }

    pub async fn post(&self, page: &str, body: Value) {
        self.admin.post(page, body).await;
    }

    /// Name and SHA-256 of what the service holds.
    pub async fn files(&self) -> Vec<(String, String)> {
        self.admin.files(ACCOUNT).await
    }

    /// Calls by the service's name.
    pub async fn count(&self, name: &str) -> u64 {
        self.admin.count(name).await
    }

    /// Puts the clocks of the service and of the clients ahead.
    pub async fn go_ahead(&self, seconds: u64) {
        let ahead = self.ahead.fetch_add(seconds, Ordering::Relaxed) + seconds;
        self.post("clock", json!({ "ahead": ahead })).await;
    }

    pub async fn published(&self) -> Value {
        self.get(&format!("published?account={ACCOUNT}")).await
    }

    pub async fn withdraw(&self, id: &str, status: &str) {
        let body = json!({ "account": ACCOUNT, "id": id, "status": status });
        self.post("withdraw", body).await;
    }

    fn call(&self, step: Step) -> &'static str {
        match (step, self.account.service) {
            (Step::UploadWhole | Step::UploadUnit, Service::MirrorAce) => "mirrorace/upload",
            (Step::UploadWhole | Step::UploadUnit, _) => "mirrored_to/api_file_upload",
            (Step::UploadRemote, Service::MirrorAce) => "mirrorace/upload/remote",
            (Step::UploadRemote, _) => "mirrored_to/api_remote_upload",
            _ => "a call that neither has",
        }
    }
}

#[async_trait]
impl Target for MirrorTarget {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider_of(|_| {})
    }

    fn refused_provider(&self) -> Arc<dyn Provider> {
        self.provider_of(|key| *key = "x".repeat(32))
    }

    async fn seed(&self, _: Vec<(String, Vec<u8>)>) {
        panic!("what was not uploaded is not there for any client");
    }

    async fn inject(&self, faults: &[(Step, Fault)]) {
        let lost = json!({"fault": "say", "text": "Something."});
        self.admin.inject(faults, |step| self.call(step), lost).await;
    }

    async fn calls(&self) -> u64 {
        self.admin.calls().await
    }

    async fn calls_of(&self, step: Step) -> u64 {
        self.count(self.call(step)).await
    }

    async fn bytes_sent(&self) -> u64 {
        self.admin.bytes_sent().await
    }

    async fn contents(&self) -> Vec<String> {
        self.admin.contents(ACCOUNT).await
    }

    fn quota(&self) -> u64 {
        self.account.max_upload_size
    }

    async fn stop(self: Box<Self>) {
        self.sandbox.stop().await;
    }
}
