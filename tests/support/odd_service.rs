//! A MediaFire that answers what a test says, call by call, for answers that a well-behaved service never
//! gives. It logs in anybody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::Provider;
use lockerfs::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use serde_json::{Value, json};

/// The parameters of a call, from its query or its body.
pub type Params = HashMap<String, String>;

/// An HTTP status and a body.
pub type Answer = (u16, String);

type Handler = dyn Fn(&str, &Params, usize) -> Answer + Send + Sync;

#[derive(Clone)]
struct Shared {
    handler: Arc<Handler>,
    calls: Arc<Mutex<Vec<(String, Params)>>>,
}

pub struct OddService {
    base: String,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for OddService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A successful answer with these fields.
pub fn ok(fields: Value) -> Answer {
    envelope("Success", fields)
}

/// The service's own error.
pub fn error(code: u32) -> Answer {
    envelope("Error", json!({"error": code, "message": "so it is"}))
}

fn envelope(result: &str, mut fields: Value) -> Answer {
    fields["result"] = result.into();
    (200, json!({"response": fields}).to_string())
}

impl OddService {
    /// Answers each call but logins by `handler`, told the call's name, its parameters and how many calls of
    /// that name came before.
    pub async fn start(handler: impl Fn(&str, &Params, usize) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            handler: Arc::new(handler),
            calls: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        OddService { base, shared, server }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            base_url: self.base.parse().unwrap(),
            credentials: Credentials::Password {
                email: "me@example.org".to_owned(),
                password: "hunter2".into(),
            },
            application_id: "42511".to_owned(),
            api_key: None,
            token_version: TokenVersion::V2,
        }
    }

    pub fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(self.settings())
    }

    pub fn provider_with(&self, settings: Settings) -> Arc<dyn Provider> {
        Arc::new(MediaFire::new(settings, ApiClient::new(ApiOptions::default()).unwrap()).unwrap())
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
}

async fn answer(
    State(shared): State<Shared>,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> impl IntoResponse {
    let name = uri
        .path()
        .trim_start_matches("/api/1.5/")
        .trim_end_matches(".php")
        .to_owned();
    let text = query.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    let params: Params = url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect();
    let before = {
        let mut calls = shared.calls.lock().unwrap();
        let before = calls.iter().filter(|(call, _)| *call == name).count();
        calls.push((name.clone(), params.clone()));
        before
    };
    let (status, body) = match name.as_str() {
        "user/get_session_token" => {
            let first = (shared.handler)(&name, &params, before);
            if first.1.is_empty() { login(before) } else { first }
        }
        "user/get_action_token" => ok(json!({"action_token": format!("action{before}")})),
        _ => (shared.handler)(&name, &params, before),
    };
    let kind = if body.starts_with('<') {
        "text/html"
    } else {
        "text/xml"
    };
    (
        StatusCode::from_u16(status).unwrap(),
        [(header::CONTENT_TYPE, kind)],
        body,
    )
}

/// What a handler returns for a login that it has no opinion on.
pub fn as_usual() -> Answer {
    (200, String::new())
}

fn login(before: usize) -> Answer {
    ok(json!({"session_token": format!("session{before}"), "secret_key": "1000", "time": "1.5", "ekey": "e"}))
}
