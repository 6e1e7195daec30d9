//! What the hosts' texts, HTTP's numbers and the network's failures mean in the terms that all services share.
//! The hosts have no error numbers: a text is known by how it begins or by a word in it. Nothing else in this
//! folder judges a text.

mod texts;

use crate::http::{ApiAnswer, HttpError, HttpErrorKind};
use crate::provider::{ErrorKind, ProviderError, Retry};

use self::texts::classify;

const WAIT: Retry = Retry::AfterWait(None);

/// Characters of a host's text that are kept.
const LONGEST_TEXT: usize = 200;
/// A run of letters and digits of this length may be a token or a key.
const SECRET_LENGTH: usize = 32;

/// What a failure means to the calls themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The token is not known any more: a new login may help.
    DeadToken,
    /// The item is not there (any more).
    Gone,
    /// The host does not have this call at all.
    NoSuchCall,
    /// The host did not read the fields of the form, so the request was larger than it takes.
    FormLost,
    /// The host refused the call in words of its own.
    Said,
    /// Anything that is not the host's own word on the call: the network, gateways, web pages.
    Unheard,
}

/// A failed call.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) meaning: Meaning,
    pub(super) error: ProviderError,
}

impl Failure {
    pub(super) fn is(&self, meaning: Meaning) -> bool {
        self.meaning == meaning
    }

    /// Whether the host itself refused the call, for a reason that lies in what was asked.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.meaning, Meaning::Said | Meaning::Gone) && !self.waits()
    }

    /// Whether a call fails for a reason that the next one would meet as well: the login, or what passes.
    pub(super) fn is_general(&self) -> bool {
        self.waits() || self.error.kind == ErrorKind::LoginRefused
    }

    fn waits(&self) -> bool {
        matches!(self.error.retry, Retry::AfterWait(_) | Retry::OutcomeUnknown)
    }

    /// Whether no answer came, from the host or anything before it.
    pub(super) fn is_unanswered(&self) -> bool {
        let source = self.error.source.as_deref();
        source.is_some_and(|source| source.is::<HttpError>())
    }

    /// Whether the host's words are known ones.
    pub(super) fn is_understood(&self) -> bool {
        !(self.is(Meaning::Said) && self.error.kind == ErrorKind::Unexpected)
    }

    #[must_use]
    pub(super) fn with_context(mut self, key: &'static str, value: impl std::fmt::Display) -> Self {
        self.error = self.error.with_context(key, value);
        self
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Failure {
            meaning: Meaning::Unheard,
            error,
        }
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// An error that the host told in words.
pub(super) fn said(operation: &'static str, text: &str) -> Failure {
    let (meaning, kind, retry, hint) = classify(text);
    let said = clean(text);
    let message = match (hint, said.as_str()) {
        ("", "") => "the service refused the call".to_owned(),
        ("", said) => said.to_owned(),
        (hint, "") => hint.to_owned(),
        (hint, said) => format!("{hint} (the service says: {said})"),
    };
    let error = ProviderError::new(kind, retry, operation, message);
    Failure { meaning, error }
}

/// An answer that calls itself neither a success nor an error; its words count where they are known.
pub(super) fn unclear(operation: &'static str, text: &str) -> Failure {
    let failure = said(operation, text);
    if failure.is_understood() {
        return failure;
    }
    let message = "the service gave neither success nor error";
    let error = ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, operation, message);
    match clean(text) {
        said if said.is_empty() => error.into(),
        said => Failure {
            meaning: Meaning::Said,
            error: error.with_context("answer", said),
        },
    }
}

/// Whether a second call after one that took effect makes a second file.
fn makes_twins(operation: &str) -> bool {
    matches!(operation, "file/upload" | "file/copy")
}

/// An answer of which the host's JSON says nothing better than its HTTP status does.
pub(super) fn by_status(operation: &'static str, answer: &ApiAnswer) -> Failure {
    use ErrorKind as K;
    let status = answer.status;
    let page = page(answer);
    let wait = Retry::AfterWait(answer.retry_after);
    let (kind, retry, text) = match status {
        401 if page.is_none() => return dead_token(operation),
        429 => (K::RateLimited, wait, "too many calls".to_owned()),
        // Web servers say so too where a script died midway.
        500.. if makes_twins(operation) => (
            K::Unavailable,
            Retry::OutcomeUnknown,
            "the service failed".to_owned(),
        ),
        503 => (K::Unavailable, wait, "the service is unavailable".to_owned()),
        408 | 504 | 524 => (
            K::Timeout,
            Retry::OutcomeUnknown,
            "the service did not answer its own gateway".to_owned(),
        ),
        521 | 523 | 525 | 526 => (K::Unavailable, wait, "the service is down".to_owned()),
        500.. => (
            K::Unavailable,
            Retry::OutcomeUnknown,
            "the service failed".to_owned(),
        ),
        413 => (
            K::TooLarge,
            Retry::Never,
            "the request is larger than the service takes".to_owned(),
        ),
        401 | 403 => {
            let text = match page {
                Some(page) => format!("{page}: the service seems to block this client"),
                None => "the service forbids the call".to_owned(),
            };
            match page {
                Some(_) => (K::Corrupt, wait, text),
                None => (K::PermissionDenied, Retry::Never, text),
            }
        }
        300..400 => (
            K::Unexpected,
            Retry::Never,
            "the service redirects calls: check base_url".to_owned(),
        ),
        400..500 => (
            K::Unexpected,
            Retry::Never,
            format!(
                "{}: check base_url",
                page.unwrap_or("the service does not know the call")
            ),
        ),
        _ if answer.body.is_empty() => (
            K::Corrupt,
            Retry::OutcomeUnknown,
            "the service sent an empty answer in place of JSON".to_owned(),
        ),
        _ => (
            K::Corrupt,
            Retry::OutcomeUnknown,
            page.unwrap_or("the service sent JSON that is broken").to_owned(),
        ),
    };
    ProviderError::new(kind, retry, operation, text)
        .with_context("HTTP status", status)
        .into()
}

/// The token is dead, told by the HTTP status alone.
pub(super) fn dead_token(operation: &'static str) -> Failure {
    let text = "the session has ended";
    Failure {
        meaning: Meaning::DeadToken,
        error: ProviderError::new(ErrorKind::PermissionDenied, Retry::AfterLogin, operation, text),
    }
}

/// A call that the host does not have.
pub(super) fn no_such_call(operation: &'static str) -> Failure {
    let text = "the host does not have this call";
    Failure {
        meaning: Meaning::NoSuchCall,
        error: ProviderError::new(ErrorKind::Unsupported, Retry::Never, operation, text),
    }
}

/// What kind of web page stands in place of JSON, if one does.
fn page(answer: &ApiAnswer) -> Option<&'static str> {
    let start = answer.body.iter().position(|byte| !byte.is_ascii_whitespace());
    let typed = answer
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.contains("html"));
    let first = start.and_then(|start| answer.body.get(start)).copied();
    if first == Some(b'{') || !(typed || first == Some(b'<')) {
        return None;
    }
    let text = String::from_utf8_lossy(answer.body.get(..8192).unwrap_or(&answer.body)).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    Some(
        if has(&["cloudflare", "captcha", "challenge", "checking your browser"]) {
            "the service sent a web page that asks for a proof of being human, in place of JSON"
        } else if has(&["maintenance"]) {
            "the service sent a web page about maintenance in place of JSON"
        } else if has(&["fatal error", "<b>warning"]) {
            "the service sent a web page with an error of its script in place of JSON"
        } else {
            "the service sent a web page in place of JSON"
        },
    )
}

/// A request that got no whole answer.
pub(super) fn transport(operation: &'static str, error: HttpError) -> Failure {
    use ErrorKind as K;
    let (kind, retry) = match error.kind {
        HttpErrorKind::Connect => (K::Unavailable, Retry::AfterWait(error.retry_after)),
        HttpErrorKind::NoAnswer | HttpErrorKind::Body => (K::Unavailable, Retry::OutcomeUnknown),
        HttpErrorKind::Timeout => (K::Timeout, Retry::OutcomeUnknown),
        HttpErrorKind::AnswerTooLarge if !makes_twins(operation) => (K::Unexpected, Retry::Never),
        HttpErrorKind::InsecureUrl => (K::InvalidArgument, Retry::Never),
        HttpErrorKind::LocalFile => (K::Unexpected, Retry::Never),
        _ => (K::Unexpected, Retry::OutcomeUnknown),
    };
    let message = match (error.kind, operation) {
        (HttpErrorKind::AnswerTooLarge, "folder/listing") => {
            format!("the folder holds more than can be listed: {}", error.message)
        }
        _ => error.message.clone(),
    };
    ProviderError::new(kind, retry, operation, message)
        .with_source(error)
        .into()
}

/// A failure of what had to come before a call: the call itself was not sent, so its outcome is known.
pub(super) fn before_call(mut error: ProviderError) -> ProviderError {
    if error.retry == Retry::OutcomeUnknown {
        error.retry = WAIT;
    }
    error
}

/// An answer that lacks what it was asked for.
pub(super) fn incomplete(operation: &'static str, retry: Retry, what: &str) -> ProviderError {
    let message = format!("the service's answer lacks {what}");
    ProviderError::new(ErrorKind::Unexpected, retry, operation, message)
}

/// A text of the service, fit for one line of a log: without tags, control characters, queries of URLs and
/// anything that could be a token.
pub(super) fn clean(text: &str) -> String {
    let mut plain = String::with_capacity(text.len().min(4 * LONGEST_TEXT));
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if in_tag => {}
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    let words = plain.split_whitespace().map(|word| {
        let word = match word.split_once('?') {
            Some((before, _)) if before.contains("://") => before,
            _ => word,
        };
        let longest_run = word
            .split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::len)
            .max()
            .unwrap_or(0);
        if longest_run >= SECRET_LENGTH {
            "[...]"
        } else {
            word
        }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> (Meaning, ErrorKind, Retry) {
        let failure = said("x/y", text);
        (failure.meaning, failure.error.kind, failure.error.retry)
    }

    #[test]
    fn only_a_token_that_could_not_be_validated_asks_for_a_login() {
        use ErrorKind as K;
        let never = |kind| (Meaning::Said, kind, Retry::Never);
        for (text, expected) in [
            (
                "Could not validate access_token and account_id, please reauthenticate or try again.",
                (Meaning::DeadToken, K::PermissionDenied, Retry::AfterLogin),
            ),
            (
                "Please provide the access_token param.",
                (Meaning::FormLost, K::Unexpected, Retry::Never),
            ),
            (
                "Could not authenticate user. The key pair may be invalid or your account may be locked from \
                 too many failed logins.",
                never(K::LoginRefused),
            ),
            (
                "Your account level does not have access to the file upload API.",
                never(K::LoginRefused),
            ),
            (
                "Please provide key1. It must be 64 characters in length.",
                never(K::LoginRefused),
            ),
            (
                "Failed issuing access token.",
                (Meaning::Said, K::Unavailable, WAIT),
            ),
            (
                "Could not find file based on file_id.",
                (Meaning::Gone, K::NotFound, Retry::Never),
            ),
            (
                "Could not find the destination folder id within your account.",
                never(K::NotFound),
            ),
            (
                "Error uploading file. No response received from: https://fs2.example.com",
                (Meaning::Said, K::Unavailable, Retry::OutcomeUnknown),
            ),
            (
                "Error uploading file. Something new.",
                (Meaning::Said, K::Unexpected, Retry::OutcomeUnknown),
            ),
            (
                "Error on: https://fs2.example.com. maxFileSize",
                never(K::TooLarge),
            ),
            (
                "You do not have enough storage space left.",
                never(K::QuotaExceeded),
            ),
            ("Error on: x. acceptFileTypes", never(K::InvalidName)),
            ("The filename contains a banned keyword.", never(K::InvalidName)),
            ("This file has been banned.", never(K::PermissionDenied)),
            ("Uploads are currently disabled.", never(K::PermissionDenied)),
            ("Filesize received was zero.", never(K::InvalidArgument)),
            (
                "API user must be an admin user for this endpoint.",
                never(K::PermissionDenied),
            ),
            (
                "No method found on API endpoint.",
                (Meaning::NoSuchCall, K::Unsupported, Retry::Never),
            ),
            ("Something new.", never(K::Unexpected)),
        ] {
            assert_eq!(kind_of(text), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_asked_for_once_and_may_have_made_a_file() {
        let of = |operation| {
            let error = HttpError::new(HttpErrorKind::AnswerTooLarge, "the answer is larger than 9 bytes");
            transport(operation, error).error
        };
        let listing = of("folder/listing");
        assert_eq!(
            (listing.kind, listing.retry),
            (ErrorKind::Unexpected, Retry::Never)
        );
        assert!(
            listing
                .message
                .starts_with("the folder holds more than can be listed"),
            "{listing}"
        );
        assert_eq!(of("file/upload").retry, Retry::OutcomeUnknown);
    }

    #[test]
    fn a_service_text_can_neither_break_the_log_nor_tell_a_secret() {
        let token = "a1B2".repeat(32);
        let text = format!(
            "<p>bad\n\u{1b}[31m</p> {token} https://fs.example.com/x?token=1 {}",
            "w ".repeat(300)
        );
        let text = clean(&text);
        assert!(text.chars().count() <= LONGEST_TEXT, "{text}");
        assert!(
            text.starts_with("bad [31m [...] https://fs.example.com/x w"),
            "{text}"
        );
    }
}
