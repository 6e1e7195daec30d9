//! Asks a host which of the calls it has that its own pages do not tell of.
//!
//! Each call goes out without the ids that it needs, so it can have no effect: a host that has it asks for
//! them. One that it lacks takes a capability away, before a person relies on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};

use super::SIDE_BY_SIDE;
use super::call::Api;
use super::errors::Meaning;
use super::wire::Params;

/// For one call: somebody waits for the account's facts meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

const UNDOCUMENTED: [&str; 9] = [
    "file/copy",
    "file/delete",
    "file/download",
    "file/edit",
    "file/move",
    "folder/delete",
    "folder/edit",
    "folder/info",
    "folder/move",
];

/// The calls of which it is not known yet whether the host has them.
pub(super) struct Probe(Mutex<Vec<&'static str>>);

impl Default for Probe {
    fn default() -> Self {
        Probe(Mutex::new(UNDOCUMENTED.to_vec()))
    }
}

impl Probe {
    fn open(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for what is not known yet. What gets no answer stays open for the next time.
pub(super) async fn run(api: &Api) {
    let open = api.probe.open().clone();
    let calls: Vec<_> = open
        .into_iter()
        .map(|operation| ask(api, operation).boxed())
        .collect();
    let mut asked = futures_util::stream::iter(calls).buffer_unordered(SIDE_BY_SIDE);
    while asked.next().await.is_some() {}
}

async fn ask(api: &Api, operation: &'static str) {
    let asked = tokio::time::timeout(PATIENCE, api.call(operation, &Params::new())).await;
    let answered = match asked {
        Ok(Ok(_)) => true,
        Ok(Err(failure)) => failure.is(Meaning::NoSuchCall) || failure.is_refusal(),
        Err(_) => false,
    };
    if answered {
        api.probe.open().retain(|waiting| *waiting != operation);
    }
}
