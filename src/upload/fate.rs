//! What becomes of something that the service was told, beside uploads: it is done, put off, or refused for good.

use std::time::{Duration, SystemTime};

use crate::provider::{ErrorKind, ProviderError, Retry};

use super::Options;
use super::outcome::{REASON, backoff};

#[derive(Clone)]
pub(super) enum Fate {
    /// Nothing is left to be done.
    Done,
    /// At least so long later.
    Later(Failed, Option<Duration>),
    /// Not before a person has mended something.
    AfterPause(Failed),
    Refused(Failed),
}

#[derive(Clone)]
pub(super) struct Failed {
    pub kind: ErrorKind,
    pub text: String,
}

/// When a row is tried again, as its journal has it.
pub(super) struct Schedule {
    pub failure: ErrorKind,
    pub parked: bool,
    pub tries: u32,
    pub next_try: Option<SystemTime>,
    pub last_error: Option<String>,
}

impl Fate {
    /// The fate of something that the service answered with an error.
    pub fn of(error: &ProviderError) -> Fate {
        let failed = Failed {
            kind: error.kind,
            text: error.to_string(),
        };
        match (error.kind, error.retry) {
            (ErrorKind::LoginRefused, _) => Fate::AfterPause(failed),
            (_, Retry::Never) => Fate::Refused(failed),
            (_, Retry::AfterWait(least)) => Fate::Later(failed, least),
            (_, Retry::AfterLogin | Retry::OutcomeUnknown) => Fate::Later(failed, None),
        }
    }

    pub fn later(kind: ErrorKind, text: impl Into<String>) -> Fate {
        let text = text.into();
        Fate::Later(Failed { kind, text }, None)
    }

    pub fn refused(kind: ErrorKind, text: impl Into<String>) -> Fate {
        let text = text.into();
        Fate::Refused(Failed { kind, text })
    }

    /// Whether it would befall others as well that are told now.
    pub fn passes(&self) -> bool {
        matches!(self, Fate::Later(..) | Fate::AfterPause(_))
    }

    /// How it goes on after so many tries; `None` where it is done.
    pub fn schedule(self, tries: u32, options: &Options) -> Option<Schedule> {
        let (failed, wait) = match self {
            Fate::Done => return None,
            Fate::Later(failed, least) => {
                let wait = backoff(options, tries).max(least.unwrap_or_default());
                (failed, Some(wait))
            }
            Fate::AfterPause(failed) => (failed, Some(options.person_pause)),
            Fate::Refused(failed) => (failed, None),
        };
        let now = SystemTime::now();
        Some(Schedule {
            failure: failed.kind,
            parked: wait.is_none(),
            tries: tries.saturating_add(1),
            next_try: wait.map(|wait| now.checked_add(wait).unwrap_or(now + options.retry_max)),
            last_error: Some(failed.text.chars().take(REASON).collect()),
        })
    }
}
