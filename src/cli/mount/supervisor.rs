//! What a mount tells the service manager that started it, where there is one: that it serves, that it ends, and
//! that the end takes a while.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often a long end asks for more time.
pub(super) const MORE_TIME_EVERY: Duration = Duration::from_secs(5);
/// How much it asks for: enough for what follows the uploads as well.
const MORE_TIME: Duration = Duration::from_secs(60);

pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// The end goes on: it is not to be killed for taking its time.
pub(super) fn still_stopping() {
    let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(more)]);
}

/// Does nothing where nobody listens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
