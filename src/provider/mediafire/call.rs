//! One call: its URL, its envelope, its token. A call that finds its token dead gets a new one and is made
//! once more; nothing else is repeated here. It knows no operation's meaning.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::Settings;
use super::errors::{Failure, clean, foreign_answer, service_failure, transport_error};
use super::session::{Sessions, before_call, with_token};
use super::wire::{Node, Params};
use crate::http::{
    ApiAnswer, ApiClient, ApiRequest, ApiStream, FileRange, HttpError, HttpErrorKind, check_url,
};
use crate::provider::json::{self, Fields, Parsed};
use crate::provider::wrap::turn_for_a_call;
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

const ACTION_TOKEN: &str = "user/get_action_token";
/// Minutes; the longest that clients are known to ask for.
const ACTION_LIFE: u64 = 1440;

/// How long the service may take to begin a body that it has to make first.
const BODY_PATIENCE: Duration = Duration::from_secs(120);
/// Bytes by which a body is known for what it is.
const FIRST_BYTES: usize = 4;
/// The most that is read, in bytes, of what stands in the place of a body.
const ENVELOPE: usize = 1 << 20;

/// What became of the key of a version 2 token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyState {
    Kept,
    Rotated,
    Unknown,
}

/// The answer to one request.
pub(super) struct Reply {
    /// What stands under `response`.
    pub(super) result: std::result::Result<Parsed, Failure>,
    pub(super) key: KeyState,
}

/// Sends requests to the service and opens the envelope of its answers.
pub(super) struct Transport {
    client: ApiClient,
    /// Ends in `/`.
    base: Url,
}

impl Transport {
    fn new(client: ApiClient, base: &Url) -> Result<Self> {
        let invalid = |message: String| {
            ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, "base_url", message)
        };
        check_url(base).map_err(|error| invalid(error.to_string()))?;
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Ok(Transport { client, base })
    }

    /// The path that signatures cover.
    pub(super) fn signed_path(operation: &str) -> String {
        format!("/api/1.5/{operation}.php")
    }

    fn url(&self, operation: &'static str) -> Result<Url> {
        self.base
            .join(&format!("api/1.5/{operation}.php"))
            .map_err(|error| {
                ProviderError::new(
                    ErrorKind::InvalidArgument,
                    Retry::Never,
                    operation,
                    error.to_string(),
                )
            })
    }

    /// A call by `POST`, its parameters in the body.
    pub(super) async fn form(&self, operation: &'static str, text: String) -> Reply {
        match self.url(operation) {
            Ok(url) => {
                let mut request = ApiRequest::form(url, text);
                request.max_answer = max_answer(operation);
                self.send(operation, request).await
            }
            Err(error) => Reply {
                result: Err(error.into()),
                key: KeyState::Kept,
            },
        }
    }

    /// A call by `POST` that is answered by a body of its own where its first bytes are `wanted`; else by what stands in
    /// its place.
    async fn body(
        &self,
        operation: &'static str,
        text: String,
        wanted: fn(&[u8]) -> bool,
    ) -> std::result::Result<(Bytes, ApiStream), Reply> {
        let before = |error: ProviderError| Reply {
            result: Err(error.into()),
            key: KeyState::Kept,
        };
        let mut request = ApiRequest::form(self.url(operation).map_err(before)?, text);
        request.answer_timeout = Some(BODY_PATIENCE);
        turn_for_a_call().await.map_err(before)?;
        let failed = |error: HttpError| lost(operation, error);
        let mut stream = self.client.open(request).await.map_err(failed)?;
        let mut body = Bytes::new();
        // A server may send the first bytes one by one.
        let mut most = FIRST_BYTES;
        while body.len() < most {
            match stream.chunk().await.map_err(failed)? {
                Some(more) => body = [body, more].concat().into(),
                None => break,
            }
            if body.len() >= FIRST_BYTES {
                if stream.status == 200 && wanted(&body) {
                    return Ok((body, stream));
                }
                most = ENVELOPE;
            }
        }
        let answer = ApiAnswer {
            status: stream.status,
            content_type: stream.content_type.take(),
            retry_after: stream.retry_after,
            body,
        };
        let turn = json::turn(&answer.body).await;
        Err(open(operation, &answer, turn))
    }

    async fn send(&self, operation: &'static str, request: ApiRequest) -> Reply {
        if let Err(error) = turn_for_a_call().await {
            return Reply {
                result: Err(error.into()),
                key: KeyState::Kept,
            };
        }
        match self.client.send(request).await {
            Ok(answer) => {
                let turn = json::turn(&answer.body).await;
                open(operation, &answer, turn)
            }
            Err(error) => lost(operation, error),
        }
    }
}

/// Calls that list. A chunk of a folder is some 600 bytes for each of a thousand entries, with long names much more; how
/// much the others list at once is not told. None of them is made while the answer of another is looked at.
const LISTING: [&str; 3] = ["folder/get_content", "device/get_trash", "upload/get_web_uploads"];

fn max_answer(operation: &str) -> Option<usize> {
    LISTING.contains(&operation).then_some(16 << 20)
}

/// What is known after a request that got no whole answer.
fn lost(operation: &'static str, error: HttpError) -> Reply {
    let unsent = matches!(
        error.kind,
        HttpErrorKind::Connect | HttpErrorKind::InsecureUrl | HttpErrorKind::LocalFile
    );
    Reply {
        key: if unsent { KeyState::Kept } else { KeyState::Unknown },
        result: Err(transport_error(operation, error).into()),
    }
}

/// Opens the envelope. It counts whatever the HTTP status and content type say, since the service is known
/// to send errors under several of both.
fn open(operation: &'static str, answer: &ApiAnswer, turn: json::Turn) -> Reply {
    let parsed = json::read(&answer.body, turn, Fields::All).ok();
    let response = |value| match value {
        Value::Object(mut map) => match map.remove("response") {
            Some(response @ Value::Object(_)) => Some(response),
            _ => map.contains_key("result").then_some(Value::Object(map)),
        },
        _ => None,
    };
    let response = parsed.and_then(|parsed| parsed.part(response));
    let Some(response) = response else {
        let error = foreign_answer(operation, answer);
        // Refused before the service looked at it. Should the key have changed after all, the next call
        // is answered with 127 and gets a new token.
        let refused = matches!(error.retry, Retry::AfterWait(_));
        return Reply {
            result: Err(error.into()),
            key: if refused {
                KeyState::Kept
            } else {
                KeyState::Unknown
            },
        };
    };
    let node = Node(&response);
    let key = if node.flag("new_key") == Some(true) {
        KeyState::Rotated
    } else {
        KeyState::Kept
    };
    let said = node
        .text("result")
        .is_some_and(|result| result.eq_ignore_ascii_case("success"));
    let code = node.number("error").and_then(|code| u32::try_from(code).ok());
    if said && code.is_none_or(|code| code == 0) {
        return Reply {
            result: Ok(response),
            key,
        };
    }
    let mut failure = match code {
        Some(code) => service_failure(operation, code, node.text("message").as_deref()),
        None if answer.status >= 400 => foreign_answer(operation, answer).into(),
        None => {
            let message = node
                .text("message")
                .map(|said| clean(&said))
                .filter(|said| !said.is_empty())
                .unwrap_or_else(|| "the service gave neither success nor error".to_owned());
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, operation, message).into()
        }
    };
    if let (Retry::AfterWait(None), Some(wait)) = (failure.error.retry, answer.retry_after) {
        failure.error.retry = Retry::AfterWait(Some(wait));
    }
    Reply {
        result: Err(failure),
        key,
    }
}

/// The bytes of an upload and the headers that describe them.
#[derive(Clone)]
pub(super) struct UploadBody {
    pub(super) headers: Vec<(&'static str, Vec<u8>)>,
    pub(super) range: FileRange,
}

/// The calls of one account.
pub(super) struct Api {
    transport: Arc<Transport>,
    sessions: Sessions,
    action: Mutex<Option<ActionToken>>,
    /// Held by the one request for an action token that may be under way.
    fetching: Semaphore,
}

#[derive(Clone)]
struct ActionToken {
    token: SecretString,
    renew_at: Instant,
    generation: u64,
}

impl Api {
    pub(super) fn new(settings: &Settings, client: ApiClient) -> Result<Self> {
        let transport = Arc::new(Transport::new(client, &settings.base_url)?);
        let sessions = Sessions::new(settings, Arc::clone(&transport));
        Ok(Api {
            transport,
            sessions,
            action: Mutex::new(None),
            fetching: Semaphore::new(1),
        })
    }

    pub(super) fn base(&self) -> &Url {
        &self.transport.base
    }

    pub(super) fn keep_given_token(&self) {
        self.sessions.keep_given();
    }

    pub(super) fn forgive(&self) {
        self.sessions.forgive();
    }

    /// A call with a session token.
    pub(super) async fn call(
        &self,
        operation: &'static str,
        params: &Params,
    ) -> std::result::Result<Parsed, Failure> {
        let mut lease = self.sessions.lease().await?;
        let mut replayed = false;
        loop {
            let text = lease.authorize(operation, params);
            let reply = self.transport.form(operation, text).await;
            match reply.result {
                Err(failure) if failure.is_dead_token() && !replayed => {
                    tracing::debug!(operation, "the session has ended: logging in again");
                    replayed = true;
                    lease = self.sessions.replace(lease).await?;
                }
                Err(failure) if failure.is_dead_token() => return Err(failure),
                result => {
                    self.sessions.give_back(lease, reply.key);
                    return result;
                }
            }
        }
    }

    /// A call with a session token that is answered by a body of its own, which begins with bytes that are `wanted`.
    pub(super) async fn body(
        &self,
        operation: &'static str,
        params: &Params,
        wanted: fn(&[u8]) -> bool,
    ) -> std::result::Result<(Bytes, ApiStream), Failure> {
        let mut lease = self.sessions.lease().await?;
        let mut replayed = false;
        loop {
            let text = lease.authorize(operation, params);
            let reply = match self.transport.body(operation, text, wanted).await {
                Ok(body) => {
                    // A body has no room to say so: the key moves on with it.
                    self.sessions.give_back(lease, KeyState::Rotated);
                    return Ok(body);
                }
                Err(reply) => reply,
            };
            match reply.result {
                Err(failure) if failure.is_dead_token() && !replayed => {
                    replayed = true;
                    lease = self.sessions.replace(lease).await?;
                }
                Err(failure) if failure.is_dead_token() => return Err(failure),
                result => {
                    self.sessions.give_back(lease, reply.key);
                    let message = "the service says that all went well and sends nothing";
                    result?;
                    return Err(ProviderError::new(
                        ErrorKind::Unexpected,
                        Retry::AfterWait(None),
                        operation,
                        message,
                    )
                    .into());
                }
            }
        }
    }

    /// An `upload/` call: under the action token, unsigned, so that any number go side by side. With a
    /// body, the parameters stand in the query.
    pub(super) async fn upload_call(
        &self,
        operation: &'static str,
        params: &Params,
        body: Option<UploadBody>,
    ) -> std::result::Result<Parsed, Failure> {
        let mut token = self.action_token(None).await?;
        let mut replayed = false;
        loop {
            let text = with_token(params, &token.token).into_text();
            let reply = match body.clone() {
                None => self.transport.form(operation, text).await,
                Some(body) => {
                    let mut request = ApiRequest::file(self.transport.url(operation)?, text, body.range);
                    request.headers = body.headers;
                    self.transport.send(operation, request).await
                }
            };
            match reply.result {
                Err(failure) if failure.is_dead_token() && !replayed => {
                    replayed = true;
                    token = self.action_token(Some(token.generation)).await?;
                }
                result => return result,
            }
        }
    }

    async fn action_token(&self, dead: Option<u64>) -> Result<ActionToken> {
        if let Some(token) = self.usable_action_token(dead) {
            return Ok(token);
        }
        let _one = self.fetching.acquire().await.map_err(|_| {
            ProviderError::new(
                ErrorKind::Unavailable,
                Retry::Never,
                ACTION_TOKEN,
                "the account is closed",
            )
        })?;
        if let Some(token) = self.usable_action_token(dead) {
            return Ok(token);
        }
        let params = Params::new()
            .with("type", "upload")
            .with("lifespan", &ACTION_LIFE.to_string());
        let reply = self
            .call(ACTION_TOKEN, &params)
            .await
            .map_err(|failure| before_call(failure.error))?;
        let token = Node(&reply).text("action_token").ok_or_else(|| {
            let message = "the service's answer lacks action_token";
            ProviderError::new(ErrorKind::Unexpected, Retry::Never, ACTION_TOKEN, message)
        })?;
        let mut held = self.action.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = ActionToken {
            token: token.into(),
            // Long enough before its end that the slowest request ends under it.
            renew_at: Instant::now() + Duration::from_secs((ACTION_LIFE - 60) * 60),
            generation: held
                .as_ref()
                .map_or(0, |held| held.generation)
                .max(dead.unwrap_or(0))
                + 1,
        };
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    fn usable_action_token(&self, dead: Option<u64>) -> Option<ActionToken> {
        let held = self.action.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = |token: &&ActionToken| Some(token.generation) != dead && Instant::now() < token.renew_at;
        held.as_ref().filter(usable).cloned()
    }

    /// Gives the action token back, where that takes no login.
    pub(super) async fn close(&self) {
        use secrecy::ExposeSecret;
        let held = self.action.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(held) = held.filter(|_| self.sessions.is_logged_in()) else {
            return;
        };
        let params = Params::new().with("action_token", held.token.expose_secret());
        if let Err(failure) = self.call("user/destroy_action_token", &params).await {
            tracing::debug!(error = %failure.error, "the action token was not given back");
        }
    }
}
