//! A bare caller of the emulated publish-only services: puts requests together by hand, so that it shares no idea
//! with the clients.

// Each test crate uses a part of it.
#![allow(dead_code)]

use lockerfs::sandbox::{Account, Options, Sandbox};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::sandbox_caller::{encode, http};

/// A caller of one service.
pub struct Site {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub account: Account,
    _data: Option<tempfile::TempDir>,
}

pub async fn start(account: Account, change: impl FnOnce(&mut Options)) -> Site {
    let data = tempfile::tempdir().unwrap();
    let mut site = start_in(options(data.path(), account, change)).await;
    site._data = Some(data);
    site
}

pub fn options(data: &std::path::Path, account: Account, change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::new(data);
    options.accounts = vec![account, Account::mediafire("mediafire")];
    change(&mut options);
    options
}

pub async fn start_in(options: Options) -> Site {
    let account = options.accounts[0].clone();
    Site {
        sandbox: Sandbox::start(options).await.unwrap(),
        http: http(),
        account,
        _data: None,
    }
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// A multipart body put together by hand; its boundary is `xyz`.
pub fn multipart(fields: &[(&str, &str)], file: Option<(&str, &str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    if let Some((field, name, content)) = file {
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    body
}

impl Site {
    pub fn url(&self, call: &str) -> String {
        format!("{}{call}", self.sandbox.base_url(&self.account.name))
    }

    /// The key, and for MirrorAce the token, before these fields.
    pub fn own<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![
            ("api_key", self.account.api_key.as_str()),
            ("api_token", self.account.api_token.as_str()),
        ];
        all.extend(fields);
        all
    }

    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Response {
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(encode(fields)).send().await.unwrap()
    }

    /// A call with the key, and the whole of its answer.
    pub async fn call(&self, call: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        answer(self.post(&self.url(call), &self.own(fields)).await).await
    }

    pub async fn send(&self, url: &str, range: Option<&str>, body: Vec<u8>) -> Response {
        let mut request = self
            .http
            .post(url)
            .header("content-type", "multipart/form-data; boundary=xyz");
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        request.body(body).send().await.unwrap()
    }

    pub async fn admin(&self, method: Method, page: &str, body: Value) -> Value {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let request = self.http.request(method, url).body(body.to_string());
        let (status, answer) = answer(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        answer
    }

    pub async fn faults(&self, rules: Value) {
        self.admin(Method::POST, "faults", rules).await;
    }

    /// Puts the service's clock ahead, in seconds.
    pub async fn ahead(&self, seconds: i64) {
        self.admin(Method::POST, "clock", json!({ "ahead": seconds }))
            .await;
    }

    /// Path and SHA-256 of what the service holds.
    pub async fn files(&self) -> Vec<(String, String)> {
        let page = format!("files?account={}", self.account.name);
        let files = self.admin(Method::GET, &page, Value::Null).await;
        let files = files.as_array().unwrap().iter();
        files
            .map(|file| (text(&file["path"]), text(&file["sha256"])))
            .collect()
    }

    pub async fn published(&self) -> Value {
        let page = format!("published?account={}", self.account.name);
        self.admin(Method::GET, &page, Value::Null).await
    }
}

pub async fn answer(reply: Response) -> (StatusCode, Value) {
    let status = reply.status();
    let bytes = reply.bytes().await.unwrap();
    let value = serde_json::from_slice(&bytes);
    let value = value.unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&bytes)));
    (status, value)
}
