//! A bare caller of an emulated YetiShare host: puts requests together by hand, so that it shares no idea with
//! the client.

// Each test crate uses a part of it.
#![allow(dead_code)]

use lockerfs::sandbox::{Account, Options, Sandbox};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::sandbox_caller::{encode, http};

pub const HOST: &str = "1cloudfile";
pub const OTHER: &str = "koramaup";

/// A caller of one host.
pub struct Host {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub account: Account,
    pub token: String,
    pub id: String,
    _data: Option<tempfile::TempDir>,
}

pub async fn start(change: impl FnOnce(&mut Options)) -> Host {
    let data = tempfile::tempdir().unwrap();
    let mut host = start_in(options(data.path(), change)).await;
    host._data = Some(data);
    host
}

pub fn options(data: &std::path::Path, change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::new(data);
    options.accounts = vec![
        Account::mediafire("mediafire"),
        Account::yetishare(HOST),
        Account::yetishare(OTHER),
    ];
    change(&mut options);
    options
}

pub async fn start_in(options: Options) -> Host {
    let account = options.accounts[1].clone();
    let sandbox = Sandbox::start(options).await.unwrap();
    let mut host = Host {
        sandbox,
        http: http(),
        account,
        token: String::new(),
        id: String::new(),
        _data: None,
    };
    host.login().await;
    host
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// A multipart body put together by hand.
pub fn multipart(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .into_bytes(),
        );
    }
    if let Some((name, content)) = file {
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"upload_file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    body
}

impl Host {
    pub fn url(&self, endpoint: &str) -> String {
        format!("{}{endpoint}", self.sandbox.base_url(HOST))
    }

    pub async fn login(&mut self) {
        let (key1, key2) = (self.account.key1.clone(), self.account.key2.clone());
        let reply = self.bare("authorize", &[("key1", &key1), ("key2", &key2)]).await;
        if let Some(token) = reply["data"]["access_token"].as_str() {
            self.token = token.to_owned();
            let id = &reply["data"]["account_id"];
            self.id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        }
    }

    pub async fn post(&self, endpoint: &str, params: &[(&str, &str)]) -> Response {
        let request = self
            .http
            .post(self.url(endpoint))
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(encode(params)).send().await.unwrap()
    }

    pub async fn bare(&self, endpoint: &str, params: &[(&str, &str)]) -> Value {
        json_of(self.post(endpoint, params).await).await
    }

    pub fn own<'a>(&'a self, params: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![
            ("access_token", self.token.as_str()),
            ("account_id", self.id.as_str()),
        ];
        all.extend(params);
        all
    }

    pub async fn call(&self, endpoint: &str, params: &[(&str, &str)]) -> Value {
        self.bare(endpoint, &self.own(params)).await
    }

    pub async fn send(&self, name: &str, content: &[u8], folder: &str) -> Value {
        let body = multipart(&self.own(&[("folder_id", folder)]), Some((name, content)));
        json_of(self.send_body(body).await).await
    }

    pub async fn send_body(&self, body: Vec<u8>) -> Response {
        let request = self
            .http
            .post(self.url("file/upload"))
            .header("content-type", "multipart/form-data; boundary=xyz");
        request.body(body).send().await.unwrap()
    }

    /// Uploads and gives the entry of the reply.
    pub async fn upload(&self, name: &str, content: &[u8], folder: &str) -> Value {
        let mut reply = self.send(name, content, folder).await;
        assert_eq!(reply["_status"], "success", "{reply}");
        reply["data"][0].take()
    }

    pub async fn file(&self, name: &str, content: &[u8], folder: &str) -> String {
        text(&self.upload(name, content, folder).await["file_id"])
    }

    pub async fn folder(&self, name: &str, parent: &str) -> String {
        let reply = self
            .call("folder/create", &[("folder_name", name), ("parent_id", parent)])
            .await;
        text(&reply["data"]["id"])
    }

    pub async fn listing(&self, folder: &str) -> Value {
        self.call("folder/listing", &[("parent_folder_id", folder)]).await["data"].take()
    }

    pub async fn names(&self, kind: &str, folder: &str) -> Vec<String> {
        let listing = self.listing(folder).await;
        let name = if kind == "files" { "filename" } else { "folderName" };
        let list = listing[kind].as_array().unwrap();
        list.iter().map(|entry| text(&entry[name])).collect()
    }

    pub async fn link(&self, file: &str) -> String {
        text(&self.call("file/download", &[("file_id", file)]).await["data"]["download_url"])
    }

    pub async fn get(&self, url: &str, range: Option<&str>) -> Response {
        let mut request = self.http.get(url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        request.send().await.unwrap()
    }

    pub async fn admin(&self, method: Method, page: &str, body: Value) -> Value {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let reply = self
            .http
            .request(method, url)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{page}");
        json_of(reply).await
    }

    pub async fn faults(&self, rules: Value) {
        self.admin(Method::POST, "faults", rules).await;
    }
}

pub async fn json_of(reply: Response) -> Value {
    let bytes = reply.bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&bytes)))
}

pub fn header(reply: &Response, name: &str) -> Option<String> {
    let value = reply.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}
