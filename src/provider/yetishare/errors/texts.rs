//! The table of the hosts' texts: each is known by how it begins or by words in it.

use super::{Meaning, WAIT};
use crate::provider::{ErrorKind, Retry};

/// How a text is known, in lower case.
enum Sign {
    /// It begins with one of these.
    Starts(&'static [&'static str]),
    /// It has one of these words in it.
    Has(&'static [&'static str]),
    /// It has one word of each list.
    HasBoth(&'static [&'static str], &'static [&'static str]),
}

impl Sign {
    fn fits(&self, text: &str) -> bool {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match self {
            Sign::Starts(beginnings) => beginnings.iter().any(|start| text.starts_with(start)),
            Sign::Has(words) => has(words),
            Sign::HasBoth(some, others) => has(some) && has(others),
        }
    }
}

/// A text of the hosts, and what it means.
struct Text {
    sign: Sign,
    meaning: Meaning,
    kind: ErrorKind,
    retry: Retry,
    /// What a person is told beside it; empty where it says all by itself.
    hint: &'static str,
}

impl Text {
    /// A refusal of the call for what was asked.
    const fn said(sign: Sign, kind: ErrorKind, retry: Retry, hint: &'static str) -> Text {
        let meaning = Meaning::Said;
        Text {
            sign,
            meaning,
            kind,
            retry,
            hint,
        }
    }
}

/// The texts that are known. The first one that fits counts.
static TEXTS: &[Text] = {
    use ErrorKind as K;
    use Retry::{AfterLogin, Never, OutcomeUnknown};
    use Sign::{Has, HasBoth, Starts};
    &[
        Text {
            // The second is what some hosts say of a token that has ended.
            sign: Starts(&["could not validate", "username could not be found"]),
            meaning: Meaning::DeadToken,
            kind: K::PermissionDenied,
            retry: AfterLogin,
            hint: "the session has ended",
        },
        Text {
            sign: Starts(&["please provide the access_token", "please provide the account_id"]),
            meaning: Meaning::FormLost,
            kind: K::Unexpected,
            retry: Never,
            hint: "the host did not read the call's fields",
        },
        Text {
            sign: Starts(&["no method found", "invalid endpoint", "no endpoint"]),
            meaning: Meaning::NoSuchCall,
            kind: K::Unsupported,
            retry: Never,
            hint: "the host does not have this call",
        },
        Text::said(
            Starts(&["could not authenticate"]),
            K::LoginRefused,
            Never,
            "the service refused the login: check the keys (or user name and password); after too many \
             failures it locks the account for a time",
        ),
        Text::said(
            Starts(&["your account level"]),
            K::LoginRefused,
            Never,
            "the account's plan does not include the API: ask the host for access",
        ),
        Text::said(
            Starts(&[
                "please provide key",
                "please provide username",
                "please provide password",
            ]),
            K::LoginRefused,
            Never,
            "the service finds the credentials malformed",
        ),
        Text::said(Starts(&["failed issuing"]), K::Unavailable, WAIT, ""),
        Text::said(Has(&["user must be an admin"]), K::PermissionDenied, Never, ""),
        Text {
            sign: Starts(&[
                "could not find file",
                "could not find folder",
                "could not find the file",
                "could not find the folder",
                "file not found",
                "folder not found",
            ]),
            meaning: Meaning::Gone,
            kind: K::NotFound,
            retry: Never,
            hint: "",
        },
        Text::said(
            Starts(&["could not find the destination"]),
            K::NotFound,
            Never,
            "",
        ),
        Text::said(
            Has(&["no response received"]),
            K::Unavailable,
            OutcomeUnknown,
            "the host could not hand the file on to its file server, or did not hear of it",
        ),
        Text::said(
            HasBoth(
                &["storage", "quota", "disk space", "not enough space"],
                &[
                    "full",
                    "exceed",
                    "enough",
                    "limit",
                    "insufficient",
                    "remaining",
                    "space",
                ],
            ),
            K::QuotaExceeded,
            Never,
            "the account's storage is full",
        ),
        Text::said(
            Has(&[
                "maxfilesize",
                "max file size",
                "maximum file size",
                "too large",
                "too big",
            ]),
            K::TooLarge,
            Never,
            "the file is larger than the service takes",
        ),
        Text::said(
            Has(&["filesize received was zero", "minfilesize", "too small"]),
            K::InvalidArgument,
            Never,
            "the service takes no file this small",
        ),
        Text::said(
            Has(&["did not receive uploaded file"]),
            K::Unexpected,
            Never,
            "the service got the call without the file: it may take no file of this size",
        ),
        Text::said(
            Has(&["mismatch", "expected size", "expected filesize"]),
            K::Corrupt,
            WAIT,
            "",
        ),
        Text::said(
            HasBoth(&["upload"], &["disabled", "not allowed", "no longer"]),
            K::PermissionDenied,
            Never,
            "",
        ),
        Text::said(
            Has(&["keyword", "acceptfiletypes", "file type", "filetype", "extension"]),
            K::InvalidName,
            Never,
            "the service refuses this name",
        ),
        Text::said(
            Has(&[
                "banned",
                "blocked",
                "not permitted",
                "permission",
                "suspended",
                "not allowed",
            ]),
            K::PermissionDenied,
            Never,
            "",
        ),
        Text::said(
            Has(&["rate limit", "request limit", "too many", "concurrent"]),
            K::RateLimited,
            WAIT,
            "",
        ),
        Text::said(Has(&["maintenance", "try again later"]), K::Unavailable, WAIT, ""),
        Text::said(Has(&["already exists", "already a"]), K::AlreadyExists, Never, ""),
        Text::said(Starts(&["please provide"]), K::InvalidArgument, Never, ""),
        Text::said(
            Starts(&["error uploading file"]),
            K::Unexpected,
            OutcomeUnknown,
            "the host had trouble with the file and may have kept it",
        ),
    ]
};

/// What a text means, and what a person is told beside it. An unknown one is a refusal, and tried no more.
pub(super) fn classify(text: &str) -> (Meaning, ErrorKind, Retry, &'static str) {
    let text = text.trim().to_ascii_lowercase();
    match TEXTS.iter().find(|known| known.sign.fits(&text)) {
        Some(known) => (known.meaning, known.kind, known.retry, known.hint),
        None => (Meaning::Said, ErrorKind::Unexpected, Retry::Never, ""),
    }
}
