//! What the service's numbers and the network's failures mean in the terms that all services share.
//! One table for calls, one for uploads, one for links; nothing else in this folder judges a number.

use std::time::Duration;

use crate::http::{HttpError, HttpErrorKind};
use crate::provider::{ErrorKind, ProviderError, Refusal, Retry};

const WAIT: Retry = Retry::AfterWait(None);

/// A failed call, with the service's own number where it gave one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Option<u32>,
    pub(super) error: ProviderError,
}

impl Failure {
    /// The session token is not known any more, or its key is out of step: a new login may help.
    pub(super) fn is_dead_token(&self) -> bool {
        matches!(self.code, Some(104 | 105 | 127 | 188 | 215))
    }

    /// The item is not there (any more).
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.code, Some(110 | 112 | 209 | 210))
    }

    /// The item is as it was asked to be already.
    pub(super) fn is_no_change(&self) -> bool {
        self.code == Some(238)
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Failure { code: None, error }
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// An answer with `result: Error`.
pub(super) fn service_failure(operation: &'static str, code: u32, message: Option<&str>) -> Failure {
    let (kind, retry, hint) = classify(code);
    let said = message.map(clean).filter(|text| !text.is_empty());
    let text = match (hint, said) {
        ("", Some(said)) => said,
        ("", None) => "the service refused the call".to_owned(),
        (hint, Some(said)) => format!("{hint} (the service says: {said})"),
        (hint, None) => hint.to_owned(),
    };
    let error = ProviderError::new(kind, retry, operation, text).with_context("service error", code);
    Failure {
        code: Some(code),
        error,
    }
}

/// What an error number of the service means: a hint, where the number alone tells one, goes before its own words.
type Meaning = (ErrorKind, Retry, &'static str);

/// The table of the service's error numbers.
fn classify(code: u32) -> Meaning {
    let found = of_logins(code)
        .or_else(|| of_archives(code))
        .or_else(|| of_limits(code));
    found.unwrap_or_else(|| of_calls(code))
}

/// Who may log in, and what the account may do.
fn of_logins(code: u32) -> Option<Meaning> {
    use ErrorKind::{LoginRefused, PermissionDenied};
    use Retry::{AfterLogin, Never};
    Some(match code {
        104 | 105 | 127 | 188 | 215 => (PermissionDenied, AfterLogin, "the session has ended"),
        107 => (
            LoginRefused,
            Never,
            "the service refused the login: check e-mail address and password",
        ),
        108 => (LoginRefused, Never, "the service does not know this user"),
        109 | 145 | 146 => (
            LoginRefused,
            Never,
            "the service refused the application id: check app_id and api_key",
        ),
        114 | 148 | 166 | 186 => (PermissionDenied, Never, ""),
        119..=123 => (
            LoginRefused,
            Never,
            "the service finds e-mail address or password malformed",
        ),
        130 | 168 | 170..=173 | 178..=184 => (
            PermissionDenied,
            Never,
            "the account's plan does not include this",
        ),
        134..=136 | 164 | 165 => (PermissionDenied, Never, "blocked for a copyright claim"),
        161 => (
            PermissionDenied,
            Never,
            "accept the service's terms on its web site first",
        ),
        232 => (
            LoginRefused,
            Never,
            "confirm the account's e-mail address on the service's web site first",
        ),
        243 => (
            LoginRefused,
            // As long as the service's own client waits.
            Retry::AfterWait(Some(Duration::from_secs(600))),
            "the service has locked the account for some minutes",
        ),
        _ => return None,
    })
}

/// What is downloaded as one archive.
fn of_archives(code: u32) -> Option<Meaning> {
    use ErrorKind::{NotFound, QuotaExceeded, TooLarge, Unavailable, Unsupported};
    use Retry::Never;
    Some(match code {
        147 => (Unsupported, Never, "the service packs files of one owner alone"),
        149 | 155 => (
            QuotaExceeded,
            Never,
            "the archive needs the account's own bandwidth: agree to that with --own-bandwidth",
        ),
        150 => (TooLarge, Never, "a file is larger than the service packs"),
        151 => (NotFound, Never, "there is no file to pack in what was named"),
        152 => (Unavailable, WAIT, "none of the files can be packed at this time"),
        153 => (
            TooLarge,
            Never,
            "the archive is larger than the service packs without being told so: say --large",
        ),
        154 => (TooLarge, Never, "there are more files than the service packs"),
        156 | 157 => (
            QuotaExceeded,
            Never,
            "the account has not enough bandwidth left for the archive",
        ),
        _ => return None,
    })
}

/// How much there may be of something.
fn of_limits(code: u32) -> Option<Meaning> {
    use ErrorKind::{Busy, InvalidArgument, QuotaExceeded, RateLimited, TooLarge};
    use Retry::Never;
    Some(match code {
        162 | 176 => (QuotaExceeded, Never, "the account's storage is full"),
        163 | 261 => (RateLimited, WAIT, "too many calls"),
        167 => (
            InvalidArgument,
            Never,
            "folders are nested deeper than the service allows",
        ),
        207 | 242 => (QuotaExceeded, Never, "a limit on the number of items is reached"),
        208 => (
            Busy,
            WAIT,
            "the service still works on an earlier job of this account",
        ),
        282 => (TooLarge, Never, "the file is larger than the service takes"),
        _ => return None,
    })
}

/// Calls, and the items that they name. 100 and 206 are internal errors after which calls were seen to have worked, so
/// their outcome is unknown.
fn of_calls(code: u32) -> Meaning {
    use ErrorKind as K;
    use Retry::{Never, OutcomeUnknown};
    match code {
        100 | 187 | 206 => (K::Unavailable, OutcomeUnknown, "internal error of the service"),
        101..=103 | 111 | 113 | 115 | 116 | 128 | 129 | 174 | 175 => (K::InvalidArgument, Never, ""),
        214 | 216..=231 | 238 | 264..=267 => (K::InvalidArgument, Never, ""),
        106 | 262 | 263 => (
            K::Unsupported,
            Never,
            "the service does not let this extension change",
        ),
        110 | 112 | 209 | 210 | 259 | 260 => (K::NotFound, Never, ""),
        117 | 118 | 185 => (K::InvalidName, Never, "the service refuses this name"),
        124..=126 | 253 => (
            K::Unsupported,
            Never,
            "the service no longer offers this call: lockerfs needs an update",
        ),
        142 => (
            K::Unsupported,
            Never,
            "the service does not take files of this kind for it",
        ),
        143 | 144 | 158 | 159 | 177 => (K::AlreadyExists, Never, ""),
        169 | 304 => (K::Unavailable, WAIT, "the service lost the upload"),
        211 => (K::NotFound, Never, "the item is in the trash"),
        _ => (K::Unexpected, Never, ""),
    }
}

/// A `fileerror` of `upload/poll_upload`: why the service made no file of the bytes it had taken. `None` means
/// that the upload is announced again at once. That holds for 13 too, a name taken since the announcement:
/// announced again, it tells by whom. What cannot be mended by doing it again has [`Retry::Never`].
pub(super) fn refusal(code: u32, description: Option<&str>) -> Option<Refusal> {
    use ErrorKind as K;
    use Retry::Never;
    let (kind, retry, text) = match code {
        1 => (K::TooLarge, Never, "the file is larger than the service takes"),
        2 => (
            K::InvalidArgument,
            Never,
            "the service takes no empty file in this way",
        ),
        3 | 4 | 9 => (K::InvalidArgument, Never, "the service refuses this archive"),
        5 => (
            K::PermissionDenied,
            Never,
            "the service takes the file for a virus",
        ),
        // Lost, or not what was sent; the name is taken; the file to be replaced was changed meanwhile.
        6 | 7 | 13 | 16 | 17 => return None,
        8 | 10 | 12 => (
            K::Unavailable,
            WAIT,
            "internal error of the service while it worked on the upload",
        ),
        14 => (
            K::NotFound,
            Never,
            "the folder that the file was to go into is gone",
        ),
        15 => (K::QuotaExceeded, Never, "the account's storage is full"),
        18 => (K::PermissionDenied, Never, "the service has blocked the account"),
        19 => (K::Unavailable, WAIT, "the service could not make the file's path"),
        _ => (K::Unexpected, Never, "the service gave the upload up"),
    };
    let said = description.map(clean).filter(|text| !text.is_empty());
    let said = said.map_or_else(String::new, |said| format!(", the service says: {said}"));
    Some(Refusal {
        kind,
        retry,
        message: format!("{text} (upload error {code}{said})"),
    })
}

/// A `direct_download_error` of one file.
pub(super) fn link_error(operation: &'static str, code: u64, said: Option<&str>) -> ProviderError {
    use ErrorKind as K;
    let (kind, retry, text) = match code {
        40 => (
            K::Unavailable,
            WAIT,
            "the service has no direct link for this file at present",
        ),
        41 => (
            K::PermissionDenied,
            Retry::Never,
            "the service has suspended the account",
        ),
        44 => (K::RateLimited, WAIT, "the day's download volume is used up"),
        45 => (
            K::PermissionDenied,
            Retry::Never,
            "no permission to download this file",
        ),
        _ => (K::Unexpected, Retry::Never, "the service gave no link"),
    };
    let text = match said.map(clean).filter(|text| !text.is_empty()) {
        Some(said) => format!("{text} (the service says: {said})"),
        None => text.to_owned(),
    };
    ProviderError::new(kind, retry, operation, text).with_context("link error", code)
}

/// A request that got no whole answer.
pub(super) fn transport_error(operation: &'static str, error: HttpError) -> ProviderError {
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

/// An answer that is not the service's JSON: what its status says, or that it says nothing.
pub(super) fn foreign_answer(operation: &'static str, answer: &crate::http::ApiAnswer) -> ProviderError {
    use ErrorKind as K;
    let status = answer.status;
    let page = if is_html(answer) {
        "a web page"
    } else {
        "something other than JSON"
    };
    let wait = Retry::AfterWait(answer.retry_after);
    let (kind, retry, text) = match status {
        429 => (K::RateLimited, wait, "too many calls".to_owned()),
        503 => (K::Unavailable, wait, "the service is unavailable".to_owned()),
        408 | 504 => (
            K::Timeout,
            Retry::OutcomeUnknown,
            "the service did not answer its own gateway".to_owned(),
        ),
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
        401 | 403 => (
            K::Corrupt,
            wait,
            format!("the service sent {page} in place of JSON: it seems to block this client"),
        ),
        300..400 => (
            K::Unexpected,
            Retry::Never,
            "the service redirects calls: check base_url".to_owned(),
        ),
        400..500 => (
            K::Unexpected,
            Retry::Never,
            format!("the service sent {page} in place of JSON: check base_url"),
        ),
        _ if answer.body.is_empty() => (
            K::Corrupt,
            Retry::OutcomeUnknown,
            "the service sent an empty answer in place of JSON".to_owned(),
        ),
        _ if answer.body.first() == Some(&b'{') => (
            K::Corrupt,
            Retry::OutcomeUnknown,
            "the service sent JSON that is broken".to_owned(),
        ),
        _ => (
            K::Corrupt,
            Retry::OutcomeUnknown,
            format!("the service sent {page} in place of JSON"),
        ),
    };
    ProviderError::new(kind, retry, operation, text).with_context("HTTP status", status)
}

fn is_html(answer: &crate::http::ApiAnswer) -> bool {
    let start = answer.body.iter().position(|byte| !byte.is_ascii_whitespace());
    let typed = answer
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.contains("html"));
    typed || start.and_then(|start| answer.body.get(start)) == Some(&b'<')
}

/// A text of the service, fit for one line of a log.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_is_never_retried_and_says_what_to_do() {
        let failure = service_failure(
            "user/get_session_token",
            107,
            Some("The Credentials you entered are invalid"),
        );
        assert_eq!(
            (failure.error.kind, failure.error.retry),
            (ErrorKind::LoginRefused, Retry::Never)
        );
        assert!(
            failure
                .error
                .to_string()
                .contains("check e-mail address and password")
        );
    }

    #[test]
    fn only_dead_tokens_ask_for_a_login() {
        for code in 100..310 {
            let failure = service_failure("x/y", code, None);
            if failure.is_dead_token() {
                assert_eq!(failure.error.retry, Retry::AfterLogin, "{code}");
            }
        }
    }

    #[test]
    fn a_service_text_cannot_break_the_log() {
        let failure = service_failure("x/y", 129, Some(&format!("a\nb\u{1b}[31m{}", "x".repeat(900))));
        assert!(
            failure.error.message.chars().count() <= 200 && !failure.error.message.contains(['\n', '\u{1b}'])
        );
    }
}
