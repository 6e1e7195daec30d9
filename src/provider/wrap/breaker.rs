//! Leaves a service alone that is away, and notices that it is back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Around, Operation, Pace};
use crate::http::HttpError;
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

/// Failures in a row after which the service counts as away.
const IN_A_ROW: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A probe without an outcome for so long does not keep the next one from going.
const PROBE: Duration = Duration::from_secs(5);
/// How soon others look again while a probe is under way.
const SOON: Duration = Duration::from_millis(250);
/// The longest pause that an operation still waits for by itself.
pub(super) const SHORT: Duration = Duration::from_secs(2);

/// What is known of an account's service: there, away until a time, or tried again right now.
///
/// After some failures in a row that say that the service is away it is left alone for a pause, which grows from
/// one to the next; then one call goes as a probe. Answers, refusals among them, say that it is there. Errors that
/// the service answers with (5xx) count only where more than one operation gets them: it may be that one alone is
/// broken. Requests with a body count for nothing when they fail: they go to other machines.
pub struct Circuit {
    state: Mutex<State>,
}

struct State {
    failures: u32,
    /// The operation that failed first in this row, while none else did and each time with an answer.
    only: Option<&'static str>,
    pause: Duration,
    /// When the next probe may go; `None` while the service is there.
    wake: Option<Instant>,
    /// Whether a probe is under way until then.
    probing: bool,
}

impl Default for Circuit {
    fn default() -> Self {
        Circuit {
            state: Mutex::new(State {
                failures: 0,
                only: None,
                pause: FIRST_PAUSE,
                wake: None,
                probing: false,
            }),
        }
    }
}

impl Circuit {
    /// How long the service is left alone from now on.
    pub(super) fn away(&self) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left(Instant::now())
    }

    /// Fails where the service is left alone; else the operation goes, and where it is away as its probe.
    fn admit(&self, operation: Operation) -> Result<Option<Probe<'_>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match state.left(now) {
            _ if state.wake.is_none() => Ok(None),
            Some(left) => Err(is_away(operation, left)),
            None => {
                let until = now + PROBE;
                (state.wake, state.probing) = (Some(until), true);
                Ok(Some(Probe { circuit: self, until }))
            }
        }
    }

    /// Notes an outcome; says whether the service is back by it.
    fn note(&self, operation: Operation, is_probe: bool, failure: Option<&ProviderError>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = failure.filter(|error| is_of_absence(error)) else {
            let is_back = state.wake.is_some();
            (state.failures, state.only) = (0, None);
            (state.pause, state.wake, state.probing) = (FIRST_PAUSE, None, false);
            return is_back;
        };
        if operation.carries_body && !is_probe {
            return false;
        }
        let answered = !is_without_answer(error);
        state.only = match state.only {
            _ if !answered => None,
            None if state.failures == 0 => Some(operation.name),
            only => only.filter(|only| *only == operation.name),
        };
        state.failures = state.failures.saturating_add(1);
        let now = Instant::now();
        // What was under way when the pause began says nothing new.
        let opens = state.wake.is_none() && state.failures >= IN_A_ROW && state.only.is_none();
        let again = state.wake.is_some() && is_probe;
        if !opens && !again {
            return false;
        }
        // So that clients that failed together do not come back together.
        let pause = state.pause.mul_f64(0.75 + fastrand::f64() / 4.0);
        let asked = match error.retry {
            Retry::AfterWait(asked) => asked.unwrap_or_default().min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        };
        (state.wake, state.probing) = (Some(now + pause.max(asked)), false);
        state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        tracing::info!(operation = operation.name, ?pause, %error, "the service is away: it is left alone for a while");
        false
    }
}

impl State {
    fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.wake?.saturating_duration_since(now);
        let left = if self.probing { left.min(SOON) } else { left };
        (!left.is_zero()).then_some(left)
    }
}

/// Gives the probe back where it is dropped without an outcome.
struct Probe<'a> {
    circuit: &'a Circuit,
    until: Instant,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let mut state = self.circuit.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.wake == Some(self.until) {
            (state.wake, state.probing) = (Some(Instant::now()), false);
        }
    }
}

/// Whether the error says that nobody is there, and not that somebody refuses.
fn is_of_absence(error: &ProviderError) -> bool {
    matches!(error.kind, ErrorKind::Timeout | ErrorKind::Unavailable)
}

/// Whether nothing came back at all.
fn is_without_answer(error: &ProviderError) -> bool {
    let source = error.source.as_deref();
    let of_transport = source.is_some_and(|source| source.is::<HttpError>());
    of_transport || error.kind == ErrorKind::Timeout
}

pub(super) fn is_away(operation: Operation, left: Duration) -> ProviderError {
    let seconds = left.as_secs_f64().ceil().max(1.0);
    let message = format!("the service is away; it is tried again in {seconds:.0} s");
    let retry = Retry::AfterWait(Some(left));
    ProviderError::new(ErrorKind::Unavailable, retry, operation.name, message)
}

/// Watches each call, and lets none go while the service is left alone.
pub struct Breaker {
    circuit: Arc<Circuit>,
    back: Box<dyn Fn() + Send + Sync>,
}

impl Breaker {
    /// `back` is called when the service is back.
    pub fn new(circuit: Arc<Circuit>, back: impl Fn() + Send + Sync + 'static) -> Self {
        Breaker {
            circuit,
            back: Box::new(back),
        }
    }
}

impl Around for Breaker {
    async fn around<'a, T, F>(&'a self, operation: Operation, call: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let probe = self.circuit.admit(operation)?;
        let result = call().await;
        if self
            .circuit
            .note(operation, probe.is_some(), result.as_ref().err())
        {
            (self.back)();
        }
        drop(probe);
        result
    }

    fn tell(&self, pace: &mut Pace) {
        pace.away = self.circuit.away();
    }
}
