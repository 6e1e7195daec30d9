//! A bare caller of the sandbox: puts requests together by hand, so that it shares no idea with the clients.

// Each test crate uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lockerfs::sandbox::{Options, Sandbox};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Service {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub token: String,
    _data: Option<tempfile::TempDir>,
}

pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

pub fn encode(params: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(params)
        .finish()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub async fn start(change: impl FnOnce(&mut Options)) -> Service {
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(data.path());
    options.quirks.processing = Duration::from_millis(40);
    change(&mut options);
    let mut service = start_in(options).await;
    service._data = Some(data);
    service
}

pub async fn start_in(options: Options) -> Service {
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut service = Service {
        sandbox,
        http: http(),
        token: String::new(),
        _data: None,
    };
    let login = service.login("demo@example.com", "1").await;
    service.token = login["session_token"].as_str().unwrap_or_default().to_owned();
    service
}

impl Service {
    pub fn url(&self, rest: &str) -> String {
        format!("{}{rest}", self.sandbox.base_url("mediafire"))
    }

    pub fn files(&self) -> PathBuf {
        self.sandbox.files_dir("mediafire")
    }

    pub async fn login(&self, email: &str, version: &str) -> Value {
        let signature = hex::encode(Sha1::digest(format!("{email}demo-password42511")));
        let params = [
            ("email", email),
            ("password", "demo-password"),
            ("application_id", "42511"),
            ("signature", &signature),
            ("token_version", version),
        ];
        self.bare("user/get_session_token", &params).await
    }

    /// A call without token.
    pub async fn bare(&self, call: &str, params: &[(&str, &str)]) -> Value {
        let body = format!("{}&response_format=json", encode(params));
        let url = self.url(&format!("api/1.5/{call}.php"));
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        envelope(request.body(body).send().await.unwrap()).await
    }

    pub async fn call(&self, call: &str, params: &[(&str, &str)]) -> Value {
        let mut all = params.to_vec();
        all.push(("session_token", &self.token));
        self.bare(call, &all).await
    }

    /// Sends content in one piece and gives the upload's key.
    pub async fn send(&self, name: &str, content: &[u8], params: &[(&str, &str)]) -> Value {
        let mut all = params.to_vec();
        all.push(("session_token", &self.token));
        let url = self.url(&format!(
            "api/1.5/upload/simple.php?{}&response_format=json",
            encode(&all)
        ));
        let request = self
            .http
            .post(url)
            .header(
                "x-filename",
                reqwest::header::HeaderValue::from_bytes(name.as_bytes()).unwrap(),
            )
            .header("x-filesize", content.len())
            .header("x-filehash", sha256(content))
            .header("content-type", "application/octet-stream");
        envelope(request.body(content.to_vec()).send().await.unwrap()).await
    }

    /// Asks until the upload has ended.
    pub async fn outcome(&self, sent: &Value) -> Value {
        let key = sent["doupload"]["key"].as_str().unwrap();
        let began = Instant::now();
        loop {
            let poll = self.bare("upload/poll_upload", &[("key", key)]).await["doupload"].take();
            if poll["status"] == "99" {
                return poll;
            }
            assert!(began.elapsed() < PATIENCE, "an upload did not end: {poll}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn upload(&self, name: &str, content: &[u8], params: &[(&str, &str)]) -> Value {
        self.outcome(&self.send(name, content, params).await).await
    }

    pub async fn link(&self, quickkey: &str) -> String {
        let links = self
            .call(
                "file/get_links",
                &[("quick_key", quickkey), ("link_type", "direct_download")],
            )
            .await;
        links["links"][0]["direct_download"].as_str().unwrap().to_owned()
    }

    pub async fn admin(&self, method: Method, page: &str, body: Value) -> Value {
        let request = self.http.request(method, self.url(&format!("sandbox/{page}")));
        let reply = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{page}");
        serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
    }

    pub async fn faults(&self, rules: Value) {
        self.admin(Method::POST, "faults", rules).await;
    }

    pub async fn paths(&self) -> Vec<String> {
        let files = self
            .admin(Method::GET, "files?account=mediafire", Value::Null)
            .await;
        files
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .collect()
    }

    pub async fn names(&self, kind: &str, folder: &str) -> Vec<String> {
        let params = [
            ("content_type", kind),
            ("folder_key", folder),
            ("chunk_size", "1000"),
        ];
        let content = self.call("folder/get_content", &params).await;
        let name = if kind == "files" { "filename" } else { "name" };
        let list = content["folder_content"][kind].as_array().unwrap().clone();
        list.iter()
            .map(|entry| entry[name].as_str().unwrap().to_owned())
            .collect()
    }

    pub async fn folder(&self, name: &str, parent: &str) -> String {
        let made = self
            .call("folder/create", &[("foldername", name), ("parent_key", parent)])
            .await;
        made["folder_key"].as_str().unwrap().to_owned()
    }
}

pub async fn envelope(reply: Response) -> Value {
    let bytes = reply.bytes().await.unwrap();
    let mut body: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&bytes)));
    body["response"].take()
}

pub async fn get(service: &Service, url: &str, range: Option<&str>) -> (StatusCode, Vec<u8>, Option<String>) {
    let mut request = service.http.get(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let reply = request.send().await.unwrap();
    let told = reply
        .headers()
        .get("content-range")
        .map(|range| range.to_str().unwrap().to_owned());
    (reply.status(), reply.bytes().await.unwrap().to_vec(), told)
}

pub async fn wait_for(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !met().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
