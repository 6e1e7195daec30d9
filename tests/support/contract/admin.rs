//! The pages of a sandbox for whoever runs it.

use std::net::SocketAddr;
use std::path::Path;

use lockerfs::http::{ApiClient, ApiOptions};
use serde_json::{Value, json};

use super::{Fault, Step};

pub struct Admin {
    address: SocketAddr,
    http: reqwest::Client,
}

impl Admin {
    pub fn of(address: SocketAddr) -> Admin {
        // It installs the TLS that reqwest wants.
        ApiClient::new(ApiOptions::default()).unwrap();
        Admin {
            address,
            http: reqwest::Client::new(),
        }
    }

    pub async fn get(&self, page: &str) -> Value {
        let url = format!("http://{}/sandbox/{page}", self.address);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub async fn post(&self, page: &str, body: Value) {
        let url = format!("http://{}/sandbox/{page}", self.address);
        let answer = self.http.post(url).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        assert!(
            status.is_success(),
            "{page}: {status} {}",
            answer.text().await.unwrap()
        );
    }

    /// Lets faults befall calls once each: `call` names them, and `lost` is how the service loses content.
    pub async fn inject(&self, faults: &[(Step, Fault)], call: impl Fn(Step) -> &'static str, lost: Value) {
        let rules = faults.iter().map(|(step, fault)| {
            let mut rule = match fault {
                Fault::LostReply => json!({"fault": "lost_reply"}),
                Fault::Unavailable { retry_after } => {
                    json!({"fault": "status", "status": 503, "retry_after": retry_after})
                }
                Fault::WebPage => json!({"fault": "html"}),
                Fault::Truncated => json!({"fault": "truncate"}),
                Fault::DeadToken => json!({"fault": "expire_token"}),
                Fault::ContentLost => lost.clone(),
            };
            rule["match"] = call(*step).into();
            rule["times"] = 1.into();
            rule
        });
        self.post("faults", rules.collect()).await;
    }

    /// Calls so far.
    pub async fn calls(&self) -> u64 {
        self.get("calls").await["total"].as_u64().unwrap()
    }

    /// Calls by the service's name.
    pub async fn count(&self, name: &str) -> u64 {
        self.get("calls").await["calls"][name].as_u64().unwrap_or(0)
    }

    pub async fn bytes_sent(&self) -> u64 {
        self.get("calls").await["bytes_in"].as_u64().unwrap()
    }

    /// Path and SHA-256 of what an account holds.
    pub async fn files(&self, account: &str) -> Vec<(String, String)> {
        let files = self.get(&format!("files?account={account}")).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let files = files.as_array().unwrap().iter();
        files
            .map(|file| (text(&file["path"]), text(&file["sha256"])))
            .collect()
    }

    pub async fn contents(&self, account: &str) -> Vec<String> {
        let files = self.files(account).await;
        files.into_iter().map(|(_, sha256)| sha256).collect()
    }

    /// Puts files into an account by way of its live files.
    pub async fn seed(&self, top: &Path, files: Vec<(String, Vec<u8>)>) {
        for (path, bytes) in files {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        self.post("rescan", json!({})).await;
    }
}
