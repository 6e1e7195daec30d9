//! How urgent calls are: whoever makes them says so around them, and the wrappers ask.

use std::future::Future;

/// Who waits for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// A program.
    #[default]
    Interactive,
    /// Nobody yet: what is known is brought up to date.
    Background,
    /// Nobody, perhaps ever.
    Crawl,
}

tokio::task_local! {
    static URGENCY: Urgency;
}

/// Runs `work` with all its calls at this urgency, those of futures that it joins as well. A task that it spawns
/// begins anew.
pub async fn at<F: Future>(urgency: Urgency, work: F) -> F::Output {
    URGENCY.scope(urgency, work).await
}

/// The urgency at which the running task makes its calls.
pub fn urgency() -> Urgency {
    URGENCY.try_with(|urgency| *urgency).unwrap_or_default()
}
