//! A YetiShare host that answers what a test says, call by call, for answers that a well-behaved host never
//! gives. It logs in anybody, takes the newest token alone, and notes what no client may do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::Provider;
use lockerfs::provider::yetishare::{Credentials, Settings, YetiShare};
use serde_json::{Value, json};

/// The parameters of a call.
pub type Params = HashMap<String, String>;

/// An HTTP status and a body.
pub type Answer = (u16, String);

type Handler = dyn Fn(&str, &Params, usize) -> Answer + Send + Sync;

pub const KEY1: &str = "k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1k1";
pub const KEY2: &str = "k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2k2";

#[derive(Clone)]
struct Shared {
    handler: Arc<Handler>,
    calls: Arc<Mutex<Vec<(String, Params)>>>,
    /// Requests by another method than `POST` or with something in their URL.
    faults: Arc<Mutex<Vec<String>>>,
    /// The token that is taken.
    live: Arc<Mutex<Option<String>>>,
}

pub struct ScriptedHost {
    base: String,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for ScriptedHost {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A successful answer with these fields.
pub fn ok(mut fields: Value) -> Answer {
    fields["_status"] = "success".into();
    (200, fields.to_string())
}

/// The host's own error.
pub fn error(text: &str) -> Answer {
    (200, json!({"response": text, "_status": "error"}).to_string())
}

/// What a handler returns for a call that it has no opinion on: an empty account without limits, and an error
/// about missing ids for the rest.
pub fn as_usual() -> Answer {
    (0, String::new())
}

/// No answer, ever.
pub fn silence() -> Answer {
    (1, String::new())
}

fn usual(call: &str) -> Answer {
    match call {
        "account/info" => ok(json!({"data": {"username": "me", "storageLimitOverride": null}})),
        "account/package" => ok(json!({"data": {"max_upload_size": "0", "max_storage_bytes": "0"}})),
        "folder/listing" => ok(json!({"data": {"folders": [], "files": []}})),
        "disable_access_token" => ok(json!({"response": "Token removed or no longer available."})),
        _ => error("Please provide the file_id param."),
    }
}

impl ScriptedHost {
    /// Answers each call with a live token, and each login, by `handler`, told the call's name, its parameters
    /// and how many calls of that name came before.
    pub async fn start(handler: impl Fn(&str, &Params, usize) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            handler: Arc::new(handler),
            calls: Arc::default(),
            faults: Arc::default(),
            live: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api/v2/", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        ScriptedHost { base, shared, server }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            kind: "yetishare",
            base_url: self.base.parse().unwrap(),
            credentials: Credentials::Keys {
                key1: KEY1.into(),
                key2: KEY2.into(),
            },
            token_dir: None,
            tombstones: None,
        }
    }

    pub fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(self.settings())
    }

    pub fn provider_with(&self, settings: Settings) -> Arc<dyn Provider> {
        Arc::new(YetiShare::new(settings, ApiClient::new(ApiOptions::default()).unwrap()).unwrap())
    }

    /// Lets the live token die.
    pub fn expire(&self) {
        *self.shared.live.lock().unwrap() = None;
    }

    /// The calls of this name so far.
    pub fn calls(&self, name: &str) -> Vec<Params> {
        let calls = self.shared.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(call, _)| call == name)
            .map(|(_, params)| params.clone())
            .collect()
    }

    /// The names of all calls so far.
    pub fn names(&self) -> Vec<String> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().map(|(call, _)| call.clone()).collect()
    }

    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let name = uri.path().trim_start_matches("/api/v2/").to_owned();
    if method != Method::POST || uri.query().is_some() {
        shared.faults.lock().unwrap().push(format!("{method} {uri}"));
    }
    let params = read_params(&headers, &body);
    let before = {
        let mut calls = shared.calls.lock().unwrap();
        let before = calls.iter().filter(|(call, _)| *call == name).count();
        calls.push((name.clone(), params.clone()));
        before
    };
    let token = params.get("access_token");
    let dead = name != "authorize" && token != shared.live.lock().unwrap().as_ref();
    let (status, body) = if dead {
        error("Could not validate access_token and account_id, please reauthenticate or try again.")
    } else {
        match (shared.handler)(&name, &params, before) {
            (0, _) if name == "authorize" => {
                let token = format!("token{before}");
                *shared.live.lock().unwrap() = Some(token.clone());
                ok(json!({"data": {"access_token": token, "account_id": 7}}))
            }
            (0, _) => usual(&name),
            (1, _) => std::future::pending().await,
            told => told,
        }
    };
    let kind = if body.starts_with('<') {
        "text/html"
    } else {
        "application/json"
    };
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, kind)],
        body,
    )
}

fn read_params(headers: &HeaderMap, body: &[u8]) -> Params {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let Some((_, boundary)) = kind.split_once("boundary=") else {
        return url::form_urlencoded::parse(body).into_owned().collect();
    };
    let text = String::from_utf8_lossy(body);
    let quoted = |head: &str, field: &str| {
        let (_, rest) = head.split_once(&format!(" {field}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let mut params = Params::new();
    for part in text.split(&format!("--{boundary}")) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let Some(name) = quoted(head, "name") else {
            continue;
        };
        // A file by its name, a field by its value.
        let value = quoted(head, "filename").unwrap_or_else(|| value.trim_end_matches("\r\n").to_owned());
        params.insert(name, value);
    }
    params
}
