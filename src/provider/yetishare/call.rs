//! One call: its URL, its envelope, its token. A call that finds its token dead gets another one and is made
//! once more after a login; nothing else is repeated here. It also keeps what all calls learn of the host: its clock, the
//! calls that it lacks, the size of the largest request. It knows no operation's meaning.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use url::Url;

use super::account::Account;
use super::errors::{Failure, Meaning, by_status, clean, dead_token, no_such_call, said, transport, unclear};
use super::graves::Graves;
use super::newest::Newest;
use super::probe::Probe;
use super::session::{Lease, Sessions};
use super::uploads::PostLimit;
use super::wire::{Node, Params, zone_offset};
use super::{OFFERED, Settings};
use crate::http::{ApiAnswer, ApiClient, ApiRequest, Multipart, check_url};
use crate::provider::json::{self, Fields, Parsed};
use crate::provider::wrap::turn_for_a_call;
use crate::provider::{Capabilities, Capability, ErrorKind, ProviderError, Result, Retry};

pub(super) type Answer = std::result::Result<Parsed, Failure>;

const LISTING: &str = "folder/listing";
/// What is read of a listing, with what any answer may be told by.
const LISTED: &[&str] = &[
    "_datetime",
    "_status",
    "child_folder_count",
    "data",
    "date_added",
    "date_updated",
    "error",
    "fileSize",
    "file_count",
    "file_id",
    "file_status",
    "filename",
    "files",
    "filesize",
    "folderId",
    "folderName",
    "folders",
    "id",
    "message",
    "name",
    "parentId",
    "response",
    "result",
    "size",
    "status",
    "success",
    "totalSize",
];

/// Which capability an account loses where the host lacks a call.
const NEEDED: [(&str, Capability); 12] = [
    ("folder/listing", Capability::List),
    ("file/download", Capability::Read),
    ("file/upload", Capability::Write),
    ("folder/create", Capability::CreateFolder),
    ("file/edit", Capability::Rename),
    ("folder/edit", Capability::Rename),
    // An edit of a folder must repeat what is not to change.
    ("folder/info", Capability::Rename),
    ("file/move", Capability::Move),
    ("folder/move", Capability::Move),
    ("file/copy", Capability::Copy),
    ("file/delete", Capability::Trash),
    ("folder/delete", Capability::Trash),
];

/// Sends requests to the host and opens the envelope of its answers.
pub(super) struct Transport {
    client: ApiClient,
    /// Ends in `/`.
    base: Url,
    /// Seconds by which the host's clock is ahead of UTC.
    zone: AtomicI64,
}

impl Transport {
    fn new(client: ApiClient, base: &Url) -> Result<Self> {
        let invalid =
            |message| ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, "base_url", message);
        check_url(base).map_err(|error| invalid(error.to_string()))?;
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Ok(Transport {
            client,
            base,
            zone: AtomicI64::new(0),
        })
    }

    /// A call by `POST`, its parameters in the body.
    pub(super) async fn form(&self, operation: &'static str, text: String) -> Answer {
        let request = ApiRequest::form(self.url(operation)?, text);
        self.send(operation, request).await
    }

    async fn send(&self, operation: &'static str, request: ApiRequest) -> Answer {
        turn_for_a_call().await?;
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| transport(operation, error))?;
        let turn = json::turn(&answer.body).await;
        let value = open(operation, &answer, turn)?;
        if let Some(zone) = Node(&value)
            .text("_datetime")
            .and_then(|told| zone_offset(&told, SystemTime::now()))
        {
            self.zone.store(zone, Ordering::Relaxed);
        }
        Ok(value)
    }

    fn url(&self, operation: &'static str) -> Result<Url> {
        self.base.join(operation).map_err(|error| {
            ProviderError::new(
                ErrorKind::InvalidArgument,
                Retry::Never,
                operation,
                error.to_string(),
            )
        })
    }
}

/// A listing is a whole folder, with some 500 bytes for each file.
fn max_answer(operation: &str) -> Option<usize> {
    (operation == LISTING).then_some(128 << 20)
}

/// What is read of an answer.
fn fields(operation: &str) -> Fields {
    if operation == LISTING {
        Fields::Named(LISTED)
    } else {
        Fields::All
    }
}

/// Opens the envelope: the answer as it is, or what the host says against the call.
fn open(operation: &'static str, answer: &ApiAnswer, turn: json::Turn) -> Answer {
    let good = (200..300).contains(&answer.status);
    let unknown = matches!(answer.status, 404 | 405);
    let is_answer = |value: &Value| match value {
        Value::Object(_) => true,
        Value::String(_) => good || unknown,
        _ => false,
    };
    let value = match json::read(&answer.body, turn, fields(operation)) {
        Ok(value) if is_answer(&value) => value,
        _ => return Err(by_status(operation, answer)),
    };
    let node = Node(&value);
    let told = ["response", "message", "0", "error"]
        .into_iter()
        .find_map(|key| Some((key, node.text(key)?)));
    let (key, text) = match &*value {
        Value::String(text) => (None, text.clone()),
        _ => told.map(|(key, text)| (Some(key), text)).unwrap_or_default(),
    };
    if good {
        return match verdict(node) {
            Verdict::Success => Ok(value),
            Verdict::Error => Err(said(operation, &text)),
            Verdict::Unclear => Err(unclear(operation, &text)),
        };
    }
    Err(match answer.status {
        401 => dead_token(operation),
        429 | 500.. => by_status(operation, answer),
        _ if text.trim().is_empty() => by_status(operation, answer),
        // Gateways use the status too, for what has nothing to do with the item that was asked for.
        _ if unknown => {
            let failure = said(operation, &text);
            if failure.is_understood() {
                failure
            } else if matches!(key, None | Some("0")) {
                no_such_call(operation)
            } else {
                by_status(operation, answer).with_context("answer", clean(&text))
            }
        }
        status => said(operation, &text).with_context("HTTP status", status),
    })
}

/// What an answer says of itself.
enum Verdict {
    Success,
    Error,
    Unclear,
}

/// In a file's facts `status` is the file's own, but those stand below `data`.
fn verdict(node: Node<'_>) -> Verdict {
    let flags = ["result", "success"].map(|key| node.flag(key));
    let status = ["_status", "status"]
        .into_iter()
        .find(|key| node.get(key).is_some())
        .map(|key| node.text(key).unwrap_or_default().trim().to_ascii_lowercase());
    match (status.as_deref(), flags.contains(&Some(false))) {
        (Some("error"), _) | (None, true) => Verdict::Error,
        (Some("success"), false) => Verdict::Success,
        (Some(_), _) => Verdict::Unclear,
        (None, false) if flags.contains(&Some(true)) || node.get("data").is_some() => Verdict::Success,
        (None, false) => Verdict::Unclear,
    }
}

/// What a call carries beside its token.
#[derive(Clone, Copy)]
enum Body<'a> {
    Form(&'a Params),
    File(&'a Multipart, Duration),
}

/// The calls of one account, and what they learnt.
pub(super) struct Api {
    transport: Transport,
    sessions: Sessions,
    /// Capabilities that the host turned out to lack, as bits.
    withdrawn: AtomicU32,
    pub(super) post_limit: PostLimit,
    pub(super) account: Account,
    pub(super) graves: Graves,
    pub(super) newest: Newest,
    pub(super) probe: Probe,
}

impl Api {
    pub(super) fn new(settings: &Settings, client: ApiClient) -> Result<Self> {
        Ok(Api {
            transport: Transport::new(client, &settings.base_url)?,
            sessions: Sessions::new(settings),
            withdrawn: AtomicU32::new(0),
            post_limit: PostLimit::default(),
            account: Account::default(),
            graves: Graves::new(settings),
            newest: Newest::default(),
            probe: Probe::default(),
        })
    }

    pub(super) fn base(&self) -> &Url {
        &self.transport.base
    }

    /// Seconds by which the host's clock is ahead of UTC, as far as is known.
    pub(super) fn zone(&self) -> i64 {
        self.transport.zone.load(Ordering::Relaxed)
    }

    pub(super) fn forgive(&self) {
        self.sessions.forgive();
    }

    /// How long ago the token was last known to be good.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.sessions.idle()
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let withdrawn = self.withdrawn.load(Ordering::Relaxed);
        let mut capabilities = Capabilities::none();
        for capability in OFFERED {
            if withdrawn & capability as u32 == 0 {
                capabilities = capabilities.with(capability);
            }
        }
        capabilities
    }

    /// Fails where the account has turned out to lack the capability.
    pub(super) fn need(&self, capability: Capability, operation: &'static str) -> Result<()> {
        if self.capabilities().has(capability) {
            return Ok(());
        }
        Err(ProviderError::unsupported(operation, capability))
    }

    /// Takes a capability away for good; whether it was there until now.
    pub(super) fn withdraw(&self, capability: Capability) -> bool {
        let bit = capability as u32;
        self.withdrawn.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// A call with the token.
    pub(super) async fn call(&self, operation: &'static str, params: &Params) -> Answer {
        self.with_token(operation, Body::Form(params)).await
    }

    /// A call that brings a file. The host may be silent for `answer_timeout` after the last byte.
    pub(super) async fn send_file(
        &self,
        operation: &'static str,
        form: &Multipart,
        answer_timeout: Duration,
    ) -> Answer {
        self.with_token(operation, Body::File(form, answer_timeout)).await
    }

    async fn with_token(&self, operation: &'static str, body: Body<'_>) -> Answer {
        let mut lease = self.sessions.lease(&self.transport).await?;
        let mut answer = self.send(operation, body, &lease).await;
        // The first token in place of a dead one may be one that another process left, and dead as well.
        for _ in 0..2 {
            if !answer
                .as_ref()
                .is_err_and(|failure| failure.is(Meaning::DeadToken))
            {
                break;
            }
            tracing::debug!(operation, "the session has ended: another one is needed");
            self.sessions.note_dead(&lease);
            lease = self.sessions.replace(&self.transport, &lease).await?;
            answer = self.send(operation, body, &lease).await;
            if lease.is_of_our_login() {
                break;
            }
        }
        match &answer {
            Ok(_) => self.sessions.note_good(&lease),
            Err(failure) if failure.is(Meaning::NoSuchCall) => self.note_missing(operation),
            Err(failure) if failure.is(Meaning::DeadToken) => self.sessions.note_dead(&lease),
            Err(failure) if failure.is_refusal() => self.sessions.note_good(&lease),
            Err(_) => {}
        }
        answer
    }

    async fn send(&self, operation: &'static str, body: Body<'_>, lease: &Lease) -> Answer {
        match body {
            Body::Form(params) => {
                let text = lease.authorize(params);
                let mut request = ApiRequest::form(self.transport.url(operation)?, text);
                request.max_answer = max_answer(operation);
                self.transport.send(operation, request).await
            }
            Body::File(form, answer_timeout) => {
                let mut form = form.clone();
                form.fields.splice(..0, lease.fields());
                let mut request = ApiRequest::multipart(self.transport.url(operation)?, form);
                request.answer_timeout = Some(answer_timeout);
                self.transport.send(operation, request).await
            }
        }
    }

    fn note_missing(&self, operation: &'static str) {
        let needed = NEEDED.iter().find(|(call, _)| *call == operation);
        if let Some((_, capability)) = needed
            && self.withdraw(*capability)
        {
            let host = self.base().host_str();
            let cannot = capability.describe();
            tracing::warn!(
                host,
                "the host lacks {operation}, so this account cannot {cannot}"
            );
        }
    }

    pub(super) async fn close(&self) {
        self.sessions.close(&self.transport).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_text(status: u16, body: &str) -> Answer {
        open_of("x/y", status, body)
    }

    fn open_of(operation: &'static str, status: u16, body: &str) -> Answer {
        let answer = ApiAnswer {
            status,
            content_type: None,
            retry_after: Some(Duration::from_secs(9)),
            body: body.to_owned().into(),
        };
        open(operation, &answer, json::Turn::not_needed())
    }

    #[test]
    fn an_error_is_known_in_each_of_its_shapes() {
        for body in [
            r#"{"response":"Could not find file based on file_id.","_status":"error"}"#,
            r#"{"response":"Could not find file based on file_id.","status":"error"}"#,
            r#"{"message":"Could not find file based on file_id.","result":false}"#,
            r#"{"message":"Could not find file based on file_id.","success":false}"#,
        ] {
            let failure = open_text(200, body).unwrap_err();
            assert!(failure.is(Meaning::Gone), "{body}: {failure:?}");
        }
        for (status, body) in [
            (404, r#"{"0":"No method found on endpoint.","_status":"error"}"#),
            (404, r#"{"0":"Method does not exist.","_status":"error"}"#),
            (404, r#""Invalid endpoint""#),
            (405, r#""Nothing here""#),
            (200, r#""Invalid endpoint""#),
        ] {
            let failure = open_text(status, body).unwrap_err();
            assert!(failure.is(Meaning::NoSuchCall), "{body}: {failure:?}");
        }
    }

    #[test]
    fn only_the_hosts_words_on_an_item_say_that_it_is_gone() {
        let told = r#"{"response":"Could not find folder based on folder_id.","_status":"error"}"#;
        assert!(open_text(404, told).unwrap_err().is(Meaning::Gone));
        for body in [
            r#"{"message":"Unknown action"}"#,
            r#"{"message":"Not Found"}"#,
            r#"{"response":"Could not find action.","_status":"error"}"#,
        ] {
            let failure = open_text(404, body).unwrap_err();
            assert!(!failure.is(Meaning::Gone) && !failure.is_refusal(), "{failure:?}");
            assert!(!failure.is(Meaning::NoSuchCall), "{failure:?}");
        }
    }

    #[test]
    fn a_bare_text_is_a_missing_call_only_where_it_or_the_status_says_so() {
        for (body, kind, retry) in [
            (r#""Maintenance""#, ErrorKind::Unavailable, Retry::AfterWait(None)),
            (r#""""#, ErrorKind::Unexpected, Retry::OutcomeUnknown),
            (r#""Hello.""#, ErrorKind::Unexpected, Retry::OutcomeUnknown),
            (
                r#""Please provide the file_id param.""#,
                ErrorKind::InvalidArgument,
                Retry::Never,
            ),
        ] {
            let failure = open_text(200, body).unwrap_err();
            assert!(!failure.is(Meaning::NoSuchCall), "{body}: {failure:?}");
            assert_eq!((failure.error.kind, failure.error.retry), (kind, retry), "{body}");
        }
    }

    #[test]
    fn only_what_calls_itself_a_success_is_one() {
        for body in [
            r#"{"_status":"failed"}"#,
            r#"{"_status":"failed","data":{"id":1}}"#,
            r#"{"status":403,"error":"Forbidden"}"#,
            r#"{"_status":"success","result":false}"#,
            r#"{"_status":true,"data":{"id":1}}"#,
            r#"{"response":"File removed."}"#,
        ] {
            let error = open_text(200, body).unwrap_err().error;
            let expected = (ErrorKind::Unexpected, Retry::OutcomeUnknown);
            assert_eq!((error.kind, error.retry), expected, "{body}: {error}");
        }
        let failed = r#"{"_status":"failed","response":"Could not validate access_token."}"#;
        assert!(open_text(200, failed).unwrap_err().is(Meaning::DeadToken));
        let failure = open_text(200, r#"{"data":{"id":1},"result":false}"#).unwrap_err();
        assert_eq!(failure.error.retry, Retry::Never);
    }

    #[test]
    fn a_file_that_has_a_status_of_its_own_is_no_error() {
        for body in [
            r#"{"data":{"status":"error"},"_status":"success"}"#,
            r#"{"data":{"file_id":1}}"#,
            r#"{"response":"File removed.","success":true}"#,
        ] {
            open_text(200, body).unwrap();
        }
    }

    #[test]
    fn an_answer_that_is_none_leaves_the_outcome_open() {
        for body in ["", "{}", "{\"data\":", "[]", "null", "<html>challenge</html>"] {
            let failure = open_text(200, body).unwrap_err();
            assert_eq!(failure.error.retry, Retry::OutcomeUnknown, "{body}: {failure:?}");
        }
    }

    #[test]
    fn a_gateways_error_leaves_open_whether_a_file_was_made() {
        for operation in ["file/upload", "file/copy"] {
            for status in [500, 502, 503, 504, 521, 524] {
                for body in [
                    "<html>",
                    r#"{"response":"Something went wrong.","_status":"error"}"#,
                ] {
                    let error = open_of(operation, status, body).unwrap_err().error;
                    assert_eq!(error.retry, Retry::OutcomeUnknown, "{status} {body}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_status_counts_before_the_text_where_it_says_more() {
        use ErrorKind as K;
        let wait = Retry::AfterWait(Some(Duration::from_secs(9)));
        let json = r#"{"response":"Something went wrong.","_status":"error"}"#;
        for (status, body, kind, retry) in [
            (429, json, K::RateLimited, wait),
            (503, json, K::Unavailable, wait),
            (500, json, K::Unavailable, Retry::OutcomeUnknown),
            (504, "", K::Timeout, Retry::OutcomeUnknown),
            (404, json, K::Unexpected, Retry::Never),
            (413, "<html>", K::TooLarge, Retry::Never),
            (403, "<html>", K::Corrupt, wait),
            (404, "<html>", K::Unexpected, Retry::Never),
            (401, json, K::PermissionDenied, Retry::AfterLogin),
            (401, "", K::PermissionDenied, Retry::AfterLogin),
        ] {
            let error = open_text(status, body).unwrap_err().error;
            assert_eq!(
                (error.kind, error.retry),
                (kind, retry),
                "{status} {body}: {error}"
            );
        }
    }
}
