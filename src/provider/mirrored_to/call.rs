//! One call: its key, its envelope, what an error means.

use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::Settings;
use super::budget::Budget;
use crate::http::{ApiAnswer, ApiClient, ApiRequest};
use crate::provider::form::{Params, without_links};
use crate::provider::publish::{self, Node, by_status, incomplete, refused};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

pub(super) const ACCOUNT: &str = "get_account_info";
pub(super) const BEGIN: &str = "get_upload_info";
pub(super) const SEND: &str = "api_file_upload";
pub(super) const REMOTE: &str = "api_remote_upload";
pub(super) const FINISH: &str = "finish_upload";
pub(super) const INFO: &str = "get_file_info";

/// What the service calls MB.
pub(super) const MIB: u64 = 1 << 20;

/// The calls of one account.
pub(super) struct Api {
    client: ApiClient,
    pub base: Url,
    pub settings: Settings,
    pub budget: Budget,
}

impl Api {
    pub fn new(settings: Settings, client: ApiClient, budget: Budget) -> Result<Self> {
        Ok(Api {
            client,
            base: publish::base(&settings.base_url)?,
            settings,
            budget,
        })
    }

    pub fn own(&self) -> Params {
        Params::new().with("api_key", self.settings.api_key.expose_secret())
    }

    /// A call that is counted here, if `kept` are left for others afterwards.
    pub async fn counted(&self, operation: &'static str, kept: u64, params: Params) -> Result<Value> {
        self.budget.pay(operation, 1, kept).await?;
        self.call(operation, params).await
    }

    /// A call that was counted already.
    pub async fn call(&self, operation: &'static str, params: Params) -> Result<Value> {
        self.send(operation, publish::request(&self.base, operation, params)?)
            .await
    }

    /// Sends a request and opens its envelope.
    pub async fn send(&self, operation: &'static str, request: ApiRequest) -> Result<Value> {
        let (answer, value) = publish::send(&self.client, operation, request).await?;
        match open(operation, &answer, value) {
            Err(Refusal::DaySpent) => Err(self.budget.note_spent(operation).await),
            Err(Refusal::Other(error)) => Err(error),
            Ok(message) => Ok(message),
        }
    }
}

/// What the service says against a call.
enum Refusal {
    /// No calls are left today.
    DaySpent,
    Other(ProviderError),
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Refusal::Other(error)
    }
}

/// Opens the envelope.
fn open(
    operation: &'static str,
    answer: &ApiAnswer,
    mut value: Value,
) -> std::result::Result<Value, Refusal> {
    let status = match value.get("status") {
        Some(Value::Bool(status)) => Some(*status),
        _ => Node(&value)
            .text("status")
            .and_then(|text| text.to_ascii_lowercase().parse().ok()),
    };
    let good = (200..300).contains(&answer.status);
    if good && status == Some(true) {
        let message = value.get_mut("message").map(Value::take);
        return Ok(message.unwrap_or_default());
    }
    let text = Node(&value).text("message").unwrap_or_default();
    if is_spent(answer.status, &text) {
        return Err(Refusal::DaySpent);
    }
    Err(Refusal::Other(match answer.status {
        _ if status != Some(false) && good => incomplete(operation, "its status"),
        429 | 500.. => by_status(operation, answer),
        _ if status.is_none() => by_status(operation, answer),
        404 if operation == INFO => refused(ErrorKind::NotFound, operation, "the file is not there"),
        _ => said(operation, answer.status, &text),
    }))
}

fn is_spent(status: u16, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let names_calls = text.contains("call") || text.contains("api");
    matches!(status, 200 | 400 | 403 | 429)
        && (text.contains("daily") || names_calls && (text.contains("limit") || text.contains("exceed")))
}

/// What an error means by its words, of which the service tells nothing beforehand. What is not understood had
/// no effect, and may pass.
fn said(operation: &'static str, status: u16, text: &str) -> ProviderError {
    use ErrorKind as K;
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let wait = Retry::AfterWait(None);
    let (kind, retry) = if status == 401 || has(&["api_key", "api key", "apikey"]) {
        (K::LoginRefused, Retry::Never)
    } else if has(&["upload_id", "upload id"]) || operation != REMOTE && has(&["expired", "no file was"]) {
        (K::NotFound, wait)
    } else if has(&["filesize", "file size", "too large", "too big", "larger than"]) {
        (K::TooLarge, Retry::Never)
    } else if has(&["mirror"]) {
        (K::InvalidArgument, Retry::Never)
    } else if operation == REMOTE {
        // It did not get the file, and there is another way.
        (K::Unsupported, Retry::Never)
    } else {
        (K::Unavailable, wait)
    };
    let error = match operation {
        REMOTE => publish::said(operation, kind, retry, &without_links(text)),
        _ => publish::said(operation, kind, retry, text),
    };
    error.with_context("HTTP status", status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_text(operation: &'static str, status: u16, body: &str) -> std::result::Result<Value, Refusal> {
        let answer = ApiAnswer {
            status,
            content_type: None,
            retry_after: None,
            body: body.to_owned().into(),
        };
        open(operation, &answer, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn an_error_is_known_by_its_status_and_its_words() {
        use ErrorKind as K;
        assert!(open_text("x", 200, r#"{"status":true,"message":"done"}"#).is_ok());
        assert!(open_text("x", 200, r#"{"status":"true","message":{}}"#).is_ok());
        for (operation, status, body, kind, retry) in [
            (
                INFO,
                404,
                r#"{"status":false,"message":"gone"}"#,
                K::NotFound,
                Retry::Never,
            ),
            (
                "x",
                401,
                r#"{"status":false,"message":"no"}"#,
                K::LoginRefused,
                Retry::Never,
            ),
            (
                FINISH,
                400,
                r#"{"status":false,"message":"Your upload_id has expired."}"#,
                K::NotFound,
                Retry::AfterWait(None),
            ),
            (
                FINISH,
                400,
                r#"{"status":false,"message":"Invalid mirror: x"}"#,
                K::InvalidArgument,
                Retry::Never,
            ),
            (
                "x",
                400,
                r#"{"status":false,"message":"Something."}"#,
                K::Unavailable,
                Retry::AfterWait(None),
            ),
            (
                "x",
                200,
                r#"{"message":"done"}"#,
                K::Unexpected,
                Retry::OutcomeUnknown,
            ),
            (
                "x",
                502,
                r#"{"status":false}"#,
                K::Unavailable,
                Retry::OutcomeUnknown,
            ),
            (
                "x",
                429,
                r#"{"status":false,"message":"slow"}"#,
                K::RateLimited,
                Retry::AfterWait(None),
            ),
        ] {
            match open_text(operation, status, body) {
                Err(Refusal::Other(error)) => {
                    assert_eq!(
                        (error.kind, error.retry),
                        (kind, retry),
                        "{status} {body}: {error}"
                    );
                }
                _ => panic!("{status} {body}"),
            }
        }
        let spent = r#"{"status":false,"message":"You have exceeded your daily API calls limit."}"#;
        for status in [200, 403, 429] {
            assert!(
                matches!(open_text("x", status, spent), Err(Refusal::DaySpent)),
                "{status}"
            );
        }
    }
}
