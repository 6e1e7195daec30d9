//! What becomes of a file whose run ended early: it waits, or it is parked. Nothing is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::provider::{ErrorKind, ProviderError, Refusal, Retry};
use crate::state::{JournalRow, RowState};

use super::handle::Uploads;
use super::journal::{Change, Changed};
use super::queue::Account;
use super::table::to_instant;
use super::{Options, PendingId, UploadError};

/// Failed tries to look for the remains of a removed file, some hours, after which they are left on the service.
pub(super) const LAST_LOOK: u32 = 30;
/// Tries in which others are waited for: a name is left to a file that is about to get another one, and what cannot be
/// read is looked at again.
pub(super) const PATIENT_TRIES: u32 = 3;
/// Characters of a reason that are kept.
pub(super) const REASON: usize = 600;

/// Why a run ended before its file was done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The row changed, a writer came, or the program stops: look at it again when it is due.
    Superseded,
    Park(String),
    Wait(String),
    /// At least so long.
    WaitFor(String, Duration),
    /// With `clear`, the attempt is known to have left nothing on the service.
    Provider {
        error: ProviderError,
        clear: bool,
    },
    Local(UploadError),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Failure::Provider { error, clear: false }
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Gone | UploadError::Outdated | UploadError::Stopped => Failure::Superseded,
            error => Failure::Local(error),
        }
    }
}

/// What a failure means for the file.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Park(String),
    /// Until a person mends the account: a long pause.
    Pause(String),
    /// With the least wait that the service asked for.
    Backoff(String, Option<Duration>),
}

impl Failure {
    pub fn wait(sentence: &str) -> Self {
        Failure::Wait(sentence.to_owned())
    }

    /// The service made nothing of what it had taken, and says so.
    pub fn given_up(refusal: Refusal) -> Self {
        Failure::Provider {
            error: refusal.into(),
            clear: true,
        }
    }

    /// Whether the service itself failed, and not the way to it: days offline count for nothing.
    pub fn is_answered(&self) -> bool {
        matches!(
            self,
            Failure::Provider { error, .. }
                if !matches!(error.retry, Retry::AfterWait(_) | Retry::AfterLogin)
                    && error.kind != ErrorKind::LoginRefused
        )
    }

    /// Whether the service is known to have done nothing.
    pub fn is_without_effect(&self) -> bool {
        matches!(self, Failure::Provider { error, .. } if error.retry != Retry::OutcomeUnknown)
    }

    fn verdict(&self, account: &str) -> Option<Verdict> {
        match self {
            Failure::Superseded => None,
            Failure::Park(reason) => Some(Verdict::Park(reason.clone())),
            Failure::Wait(error) => Some(Verdict::Backoff(error.clone(), None)),
            Failure::WaitFor(error, least) => Some(Verdict::Backoff(error.clone(), Some(*least))),
            Failure::Local(error) => Some(Verdict::Backoff(error.to_string(), None)),
            Failure::Provider { error, .. } => Some(judge(account, error)),
        }
    }
}

fn judge(account: &str, error: &ProviderError) -> Verdict {
    let park = |sentence: &str| Verdict::Park(format!("{sentence} ({error})"));
    match (error.kind, error.retry) {
        (ErrorKind::QuotaExceeded, _) => park("the account is full: make room on the service, or get more"),
        (ErrorKind::LoginRefused, Retry::AfterWait(_)) => {
            Verdict::Pause(format!("the service refuses the login for now ({error})"))
        }
        (ErrorKind::LoginRefused, _) => Verdict::Pause(format!(
            "the service refuses the login: run `lockerfs login {account}` ({error})"
        )),
        (ErrorKind::InvalidName, _) => park("the service does not take this name: rename the file"),
        (ErrorKind::TooLarge, _) => park("the file is larger than the service takes"),
        (ErrorKind::InvalidArgument, _) => park("the service does not take this upload"),
        (ErrorKind::Unsupported, _) => park("the service cannot do this"),
        (ErrorKind::PermissionDenied, Retry::AfterLogin) => Verdict::Backoff(error.to_string(), None),
        (ErrorKind::PermissionDenied, _) => park("the account may not upload there"),
        (ErrorKind::NotFound, _) => park("the folder is gone on the service: move the file to another one"),
        (_, Retry::Never) => park("the service refuses the upload"),
        (_, Retry::AfterWait(wait)) => Verdict::Backoff(error.to_string(), wait),
        (_, Retry::AfterLogin | Retry::OutcomeUnknown) => Verdict::Backoff(error.to_string(), None),
    }
}

/// Notes how the run of a file ended.
pub(super) async fn end(
    uploads: &Arc<Uploads>,
    account: &Account,
    id: PendingId,
    generation: u64,
    result: Result<(), Failure>,
) {
    let failure = result.err();
    let mut verdict = failure
        .as_ref()
        .and_then(|failure| failure.verdict(&account.name));
    let clear = matches!(failure, Some(Failure::Provider { clear: true, .. }));
    let kind = match &failure {
        Some(Failure::Provider { error, .. }) => Some(error.kind),
        _ => None,
    };
    // What was removed may make the room that was missing.
    if kind == Some(ErrorKind::QuotaExceeded)
        && let Some(Verdict::Park(text)) = &mut verdict
        && uploads.table().deletions.make_room(&account.name)
    {
        verdict = Some(Verdict::Backoff(std::mem::take(text), None));
    }
    let is_answered = failure.as_ref().is_some_and(Failure::is_answered);
    uploads.table().change(id, |item| item.failure = kind);
    let mut noted_for = None;
    let due = match verdict {
        None => None,
        Some(verdict) => {
            let text = match &verdict {
                Verdict::Park(text) | Verdict::Pause(text) | Verdict::Backoff(text, _) => text,
            };
            tracing::warn!(%id, account = account.name, "an upload has to wait: {text}");
            let options = uploads.options.clone();
            let ended = Ended {
                generation,
                clear,
                is_answered,
                kind,
            };
            let noted = uploads
                .change(id, move |row| ended.note(row, verdict, &options))
                .await;
            match noted {
                Ok(Changed::Saved(row)) => {
                    noted_for = Some(row.next_try);
                    row.next_try.map(to_instant)
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(%id, %error, "the journal cannot be written");
                    Some(Instant::now() + uploads.options.retry_min)
                }
            }
        }
    };
    uploads.update(|table| {
        // Somebody may have asked for another try since: that is not put off.
        let next_try = table.item(id).map(|item| item.row.next_try);
        let is_so = noted_for.is_none() || noted_for == next_try;
        table.end_run(id, due.filter(|_| is_so));
    });
    uploads.tell_changed(id);
}

/// What is known of a run that ended early.
struct Ended {
    /// Of the content that was sent.
    generation: u64,
    /// The attempt is known to have left nothing on the service.
    clear: bool,
    is_answered: bool,
    kind: Option<ErrorKind>,
}

impl Ended {
    fn note(&self, row: &mut JournalRow, verdict: Verdict, options: &Options) -> Change {
        let cleared = row.attempt.take_if(|_| self.clear);
        let verdict = match verdict {
            // What is gone is the folder that it was in before.
            Verdict::Park(text)
                if self.kind == Some(ErrorKind::NotFound)
                    && cleared.is_some_and(|sent| sent.folder != row.folder) =>
            {
                Verdict::Backoff(text, None)
            }
            verdict => verdict,
        };
        match (row.state, &verdict) {
            // It is gone for its owner; what the service will not look up is left there.
            (RowState::Removed, Verdict::Park(_)) => return Change::Delete,
            (RowState::Removed, _) if row.attempt.is_none() => return Change::Delete,
            // Its name must not be kept from others for ever.
            (RowState::Removed, _) if self.is_answered && row.tries >= LAST_LOOK => return Change::Delete,
            // A person renamed it so that it stays here.
            (RowState::Local, _) => return Change::Skip,
            (RowState::Removed, _) => {}
            // The failure was that of an older content.
            _ if row.generation != self.generation => return Change::Save,
            (_, Verdict::Park(_)) => row.state = RowState::Parked,
            _ => row.state = RowState::Queued,
        }
        put_off(row, verdict, options);
        Change::Save
    }
}

fn put_off(row: &mut JournalRow, verdict: Verdict, options: &Options) {
    let now = SystemTime::now();
    let (text, wait) = match verdict {
        Verdict::Park(text) => (text, None),
        Verdict::Pause(text) => (text, Some(options.person_pause)),
        Verdict::Backoff(text, least) => {
            let wait = backoff(options, row.tries).max(least.unwrap_or_default());
            (text, Some(wait))
        }
    };
    row.tries = row.tries.saturating_add(1);
    row.next_try = wait.map(|wait| now.checked_add(wait).unwrap_or(now + options.retry_max));
    row.last_error = Some(text.chars().take(REASON).collect());
}

/// Twice as long with each try, and somewhere between half of it and all.
pub(super) fn backoff(options: &Options, tries: u32) -> Duration {
    let full = options
        .retry_min
        .saturating_mul(1 << tries.min(20))
        .min(options.retry_max);
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, retry: Retry) -> ProviderError {
        ProviderError::new(kind, retry, "test", "said so")
    }

    #[test]
    fn what_only_a_person_mends_is_parked_and_a_refused_login_is_tried_again() {
        for kind in [
            ErrorKind::InvalidName,
            ErrorKind::TooLarge,
            ErrorKind::PermissionDenied,
            ErrorKind::QuotaExceeded,
        ] {
            assert!(
                matches!(
                    judge("media", &error(kind, Retry::AfterWait(None))),
                    Verdict::Park(_)
                ),
                "{kind:?}"
            );
        }
        assert!(matches!(
            judge("media", &error(ErrorKind::Unexpected, Retry::Never)),
            Verdict::Park(_)
        ));
        let refused = judge("media", &error(ErrorKind::LoginRefused, Retry::Never));
        assert!(matches!(refused, Verdict::Pause(_)));
        let ended = judge("media", &error(ErrorKind::PermissionDenied, Retry::AfterLogin));
        assert!(matches!(ended, Verdict::Backoff(..)));
        let wait = Some(Duration::from_secs(7));
        let limited = judge("media", &error(ErrorKind::RateLimited, Retry::AfterWait(wait)));
        assert!(matches!(limited, Verdict::Backoff(_, least) if least == wait));
    }

    #[test]
    fn the_backoff_grows_to_its_limit_and_stays_there() {
        let options = Options::new("a".into(), "b".into());
        assert!(backoff(&options, 0) <= options.retry_min);
        for tries in [10, 100, u32::MAX] {
            let wait = backoff(&options, tries);
            assert!(wait >= options.retry_max / 2 && wait <= options.retry_max);
        }
    }
}
