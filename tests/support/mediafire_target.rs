//! MediaFire in the sandbox, as a target of the contract suite.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::Provider;
use lockerfs::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Fault, Step, Target};

const ACCOUNT: &str = "media";

/// A sandbox of its own with one account.
pub struct MediaFireTarget {
    sandbox: Sandbox,
    version: TokenVersion,
    account: Account,
    application_id: String,
    api_key: Option<String>,
    admin: reqwest::Client,
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
        // It installs the TLS that reqwest wants, also for the admin pages.
        ApiClient::new(ApiOptions::default()).unwrap();
        let sandbox = Sandbox::start(options).await.unwrap();
        MediaFireTarget {
            sandbox,
            version,
            account,
            application_id,
            api_key,
            admin: reqwest::Client::new(),
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

    async fn counts(&self) -> Value {
        self.get("calls").await
    }

    async fn get(&self, page: &str) -> Value {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let text = self.admin.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, page: &str, body: String) {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let answer = self.admin.post(url).body(body).send().await.unwrap();
        let status = answer.status();
        assert!(
            status.is_success(),
            "{page}: {status} {}",
            answer.text().await.unwrap()
        );
    }

    /// Sets the sandbox's rules for faults, in its own words.
    pub async fn rules(&self, rules: Value) {
        self.post("faults", rules.to_string()).await;
    }

    /// Calls by the service's name.
    pub async fn count(&self, name: &str) -> u64 {
        self.counts().await["calls"][name].as_u64().unwrap_or(0)
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

fn rule(step: Step, fault: Fault) -> Value {
    let mut rule = match fault {
        Fault::LostReply => json!({"fault": "lost_reply"}),
        Fault::Unavailable { retry_after } => {
            json!({"fault": "status", "status": 503, "retry_after": retry_after})
        }
        Fault::WebPage => json!({"fault": "html"}),
        Fault::Truncated => json!({"fault": "truncate"}),
        Fault::DeadToken => json!({"fault": "expire_token"}),
        Fault::ContentLost => json!({"fault": "file_error", "code": 6}),
    };
    rule["match"] = call(step).into();
    rule["times"] = 1.into();
    rule
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
        let top = self.files_dir();
        for (path, bytes) in files {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        self.post("rescan", String::new()).await;
    }

    async fn inject(&self, faults: &[(Step, Fault)]) {
        let rules: Vec<_> = faults.iter().map(|(step, fault)| rule(*step, *fault)).collect();
        self.rules(rules.into()).await;
    }

    async fn calls(&self) -> u64 {
        let counts = self.counts().await;
        let calls = counts["calls"].as_object().unwrap();
        calls.values().filter_map(Value::as_u64).sum()
    }

    async fn calls_of(&self, step: Step) -> u64 {
        self.count(call(step)).await
    }

    async fn bytes_sent(&self) -> u64 {
        self.counts().await["bytes_in"].as_u64().unwrap()
    }

    async fn contents(&self) -> Vec<String> {
        let files = self.get(&format!("files?account={ACCOUNT}")).await;
        let files = files.as_array().unwrap().iter();
        files
            .map(|file| file["sha256"].as_str().unwrap().to_owned())
            .collect()
    }

    fn quota(&self) -> u64 {
        self.account.storage_limit
    }

    async fn stop(self: Box<Self>) {
        self.sandbox.stop().await;
    }
}
