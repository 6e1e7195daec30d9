//! What the publish-only services are made of alike: JSON read tolerantly, errors of the way to them, the waits
//! for large uploads. It knows no service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use url::Url;

use super::form::Params;
use super::json::{self, Fields};
use super::{Capability, ErrorKind, NameRules, ProviderError, Result, Retry, UploadRequest};
use crate::http::{ApiAnswer, ApiClient, ApiRequest, HttpError, HttpErrorKind, check_url};

/// The time, in a form that tests can turn.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A service may be silent after the last byte while it stores the file.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes a second at which it is taken to do so.
const STORE_RATE: u64 = 1_000_000;
const LONGEST_SILENCE: Duration = Duration::from_secs(2 * 3600);

/// Characters of a service's text that are told.
const LONGEST_TEXT: usize = 200;
/// A run of so many letters and digits may be a key.
const SECRET_LENGTH: usize = 24;

/// Names that go through both services as they are, as far as is known: what forms and sites of this kind refuse
/// or cut out is left out.
pub(super) const NAME_RULES: NameRules = NameRules {
    max_chars: 255,
    forbidden: super::form::FORBIDDEN,
    edge_blanks: false,
    leading_dot: false,
    numbered_twins: false,
};

pub(super) fn silence(size: u64) -> Duration {
    (SILENCE + Duration::from_secs(size / STORE_RATE)).min(LONGEST_SILENCE)
}

/// The root of a service's API, with a slash at its end.
pub(super) fn base(url: &Url) -> Result<Url> {
    let invalid = |message| ProviderError::new(ErrorKind::InvalidArgument, Retry::Never, "base_url", message);
    check_url(url).map_err(|error| invalid(error.to_string()))?;
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    Ok(base)
}

/// Refuses what no upload may be: nothing at all, or a name that would arrive as another.
pub(super) fn check_content(operation: &'static str, request: &UploadRequest) -> Result<()> {
    if request.size == 0 {
        return Err(ProviderError::unsupported(operation, Capability::EmptyFiles));
    }
    if request.name.contains(|c| NAME_RULES.forbidden.contains(c)) {
        let message = "the name holds characters that the service alters";
        return Err(refused(ErrorKind::InvalidName, operation, message));
    }
    Ok(())
}

/// Refuses what is larger than the service takes.
pub(super) fn check_size(operation: &'static str, size: u64, most: Option<u64>) -> Result<()> {
    match most.filter(|most| size > *most) {
        None => Ok(()),
        Some(most) => {
            let message = format!("the service takes files of at most {most} bytes");
            Err(refused(ErrorKind::TooLarge, operation, message).with_context("bytes", size))
        }
    }
}

/// What the same request will meet again.
pub(super) fn refused(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> ProviderError {
    ProviderError::new(kind, Retry::Never, operation, message)
}

/// An answer that lacks what it was asked for.
pub(super) fn incomplete(operation: &'static str, what: &str) -> ProviderError {
    let message = format!("the service's answer lacks {what}");
    ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, operation, message)
}

/// Of a call that comes before the one that counts, and makes nothing by itself: nothing is open after it.
pub(super) fn before_call(mut error: ProviderError) -> ProviderError {
    if error.retry == Retry::OutcomeUnknown {
        error.retry = Retry::AfterWait(None);
    }
    error
}

/// The request of a call that stands below the root.
pub(super) fn request(base: &Url, operation: &'static str, params: Params) -> Result<ApiRequest> {
    let url = base.join(operation);
    let url = url.map_err(|error| refused(ErrorKind::InvalidArgument, operation, error.to_string()))?;
    Ok(ApiRequest::form(url, params.into_text()))
}

/// An error in the words of the service.
pub(super) fn said(operation: &'static str, kind: ErrorKind, retry: Retry, words: &str) -> ProviderError {
    let text = match clean(words) {
        text if text.is_empty() => "the service refuses and does not say why".to_owned(),
        text => text,
    };
    ProviderError::new(kind, retry, operation, text)
}

/// Sends a request and reads its answer as JSON, with the answer's status.
pub(super) async fn send(
    client: &ApiClient,
    operation: &'static str,
    request: ApiRequest,
) -> Result<(ApiAnswer, Value)> {
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| transport(operation, error))?;
    let turn = json::turn(&answer.body).await;
    match json::read(&answer.body, turn, Fields::All) {
        Ok(value) if value.is_object() => Ok((answer, value.into_value())),
        _ => Err(by_status(operation, &answer)),
    }
}

/// A request that got no whole answer.
fn transport(operation: &'static str, error: HttpError) -> ProviderError {
    use ErrorKind as K;
    let (kind, retry) = match error.kind {
        HttpErrorKind::Connect => (K::Unavailable, Retry::AfterWait(error.retry_after)),
        HttpErrorKind::NoAnswer | HttpErrorKind::Body => (K::Unavailable, Retry::OutcomeUnknown),
        HttpErrorKind::Timeout => (K::Timeout, Retry::OutcomeUnknown),
        HttpErrorKind::InsecureUrl => (K::InvalidArgument, Retry::Never),
        HttpErrorKind::LocalFile => (K::Unexpected, Retry::Never),
        _ => (K::Unexpected, Retry::OutcomeUnknown),
    };
    ProviderError::new(kind, retry, operation, error.message.clone()).with_source(error)
}

/// What an answer means by its status alone.
pub(super) fn by_status(operation: &'static str, answer: &ApiAnswer) -> ProviderError {
    use ErrorKind as K;
    let status = answer.status;
    let page = if is_page(answer) {
        "the service sent a web page in place of JSON"
    } else if answer.body.is_empty() {
        "the service sent an empty answer in place of JSON"
    } else {
        "the service sent JSON that is broken, or none"
    };
    let wait = Retry::AfterWait(answer.retry_after);
    let (kind, retry, text) = match status {
        429 => (K::RateLimited, wait, "too many calls"),
        503 => (K::Unavailable, wait, "the service is unavailable"),
        521 | 523 | 525 | 526 => (K::Unavailable, wait, "the service is down"),
        408 | 504 | 524 => (
            K::Timeout,
            Retry::OutcomeUnknown,
            "the service did not answer its own gateway",
        ),
        500.. => (K::Unavailable, Retry::OutcomeUnknown, "the service failed"),
        413 => (
            K::TooLarge,
            Retry::Never,
            "the request is larger than the service takes",
        ),
        // Seen after some uploads of a day: a block that passes, and no word on the key.
        401 | 403 => (K::RateLimited, wait, "the service blocks this client for now"),
        300..400 => (
            K::Unexpected,
            Retry::Never,
            "the service redirects calls: check base_url",
        ),
        400..500 => (
            K::Unexpected,
            Retry::Never,
            "the service does not know the call: check base_url",
        ),
        _ => (K::Corrupt, Retry::OutcomeUnknown, page),
    };
    ProviderError::new(kind, retry, operation, text).with_context("HTTP status", status)
}

fn is_page(answer: &ApiAnswer) -> bool {
    let typed = answer.content_type.as_deref();
    let first = answer.body.iter().find(|byte| !byte.is_ascii_whitespace());
    typed.is_some_and(|kind| kind.contains("html")) || first == Some(&b'<')
}

/// A text of the service, fit for one line of a log, without what could be a key.
pub(super) fn clean(text: &str) -> String {
    let plain = text.replace(|c: char| c.is_control(), " ");
    let mut words: Vec<&str> = Vec::new();
    for word in plain.split_whitespace() {
        let mut runs = word.split(|c: char| !c.is_ascii_alphanumeric());
        let is_secret = runs.any(|run| run.len() >= SECRET_LENGTH);
        words.push(if is_secret { "[...]" } else { word });
    }
    words.join(" ").chars().take(LONGEST_TEXT).collect()
}

/// A JSON value of unknown shape, where null and the word for it mean that nothing is told.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a Value);

impl<'a> Node<'a> {
    pub(super) fn get(self, key: &str) -> Option<Node<'a>> {
        self.0.get(key).filter(|value| !value.is_null()).map(Node)
    }

    /// A string or a number as text; blank counts as missing.
    pub(super) fn text(self, key: &str) -> Option<String> {
        self.get(key)?.as_text()
    }

    pub(super) fn as_text(self) -> Option<String> {
        let text = match self.0 {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty() && !text.eq_ignore_ascii_case("null")).then_some(text)
    }

    pub(super) fn number(self, key: &str) -> Option<u64> {
        self.get(key)?.as_number()
    }

    pub(super) fn as_number(self) -> Option<u64> {
        let text = self.as_text()?;
        let whole = text.parse::<u64>().ok();
        // PHP writes whole numbers with a fraction now and then.
        whole.or_else(|| Some(text.parse::<f64>().ok().filter(|number| *number >= 0.0)? as u64))
    }

    /// The items of a list, or the values of what PHP makes of a list with gaps.
    pub(super) fn items(self, key: &str) -> Vec<Node<'a>> {
        match self.0.get(key) {
            Some(Value::Array(items)) => items.iter().map(Node).collect(),
            Some(Value::Object(map)) => map.values().map(Node).collect(),
            _ => Vec::new(),
        }
    }

    /// The texts of a list.
    pub(super) fn texts(self, key: &str) -> Vec<String> {
        self.items(key).into_iter().filter_map(Node::as_text).collect()
    }
}

/// Words of a list without repetition, in their order.
pub(super) fn distinct(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words
        .into_iter()
        .filter(|word| seen.insert(word.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_numbers_and_texts_and_null_as_a_word() {
        let value =
            serde_json::json!({ "a": "12", "b": 12, "c": "null", "d": null, "e": " ", "f": 500.0, "g": "x" });
        let node = Node(&value);
        assert_eq!(
            [node.number("a"), node.number("b"), node.number("f")],
            [Some(12), Some(12), Some(500)]
        );
        for key in ["c", "d", "e", "g", "z"] {
            assert_eq!(node.number(key), None, "{key}");
        }
        assert_eq!(node.text("c"), None);
    }

    #[test]
    fn a_text_of_the_service_tells_no_key() {
        let told = clean("The key 0123456789abcdefabcdefabcdefabcd\nis wrong");
        assert_eq!(told, "The key [...] is wrong");
    }
}
