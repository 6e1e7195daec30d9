//! Which uploads are under way: one of each name at a time, since the server collects chunks by the name.
//!
//! A session may be ended at any time when no chunk of it is on its way: whoever goes on with it is told so and
//! begins anew, with the first byte. One that nobody goes on with is ended by who wants the name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::call::Variables;
use crate::provider::{ErrorKind, ProviderError, Result, Retry, UploadRequest, UploadTicket};

/// An upload of which no chunk came for so long gives its name away.
const IDLE: Duration = Duration::from_secs(60);
/// The wait for another upload of the same name.
const TURN: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    by_name: HashMap<String, Session>,
}

struct Session {
    number: u64,
    /// Who uploads under the name: folder and content.
    folder: String,
    /// Absent while a chunk is on its way, or the variables are asked for.
    variables: Option<Variables>,
    /// Bytes that the server has.
    sent: u64,
    touched: Instant,
}

/// The right to send under a name, until it is dropped: then the upload has ended, unless it was kept.
pub(super) struct Hold<'a> {
    sessions: &'a Sessions,
    name: String,
    number: u64,
    pub sent: u64,
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a new upload, in place of an earlier one of the same file.
    pub fn begin(&self, operation: &'static str, request: &UploadRequest) -> Result<Hold<'_>> {
        let mut state = self.state();
        if let Some(other) = state.by_name.get(&request.name) {
            let is_own = other.folder == request.folder.as_str();
            let is_left = other.touched.elapsed() >= IDLE;
            if other.variables.is_none() || !(is_own || is_left) {
                let message = "another file of the same name is being uploaded";
                let retry = Retry::AfterWait(Some(TURN));
                return Err(ProviderError::new(ErrorKind::Busy, retry, operation, message));
            }
        }
        state.next += 1;
        let number = state.next;
        let session = Session {
            number,
            folder: request.folder.as_str().to_owned(),
            variables: None,
            sent: 0,
            touched: Instant::now(),
        };
        state.by_name.insert(request.name.clone(), session);
        Ok(Hold {
            sessions: self,
            name: request.name.clone(),
            number,
            sent: 0,
        })
    }

    /// Goes on with an upload that was kept.
    pub fn resume(&self, name: &str, ticket: &UploadTicket) -> Option<(Hold<'_>, Variables)> {
        let mut state = self.state();
        let session = state.by_name.get_mut(name)?;
        if session.number.to_string() != ticket.as_str() {
            return None;
        }
        let variables = session.variables.take()?;
        let hold = Hold {
            sessions: self,
            name: name.to_owned(),
            number: session.number,
            sent: session.sent,
        };
        Some((hold, variables))
    }
}

impl Hold<'_> {
    /// Leaves the upload to its next chunk.
    pub fn keep(self, variables: Variables) -> UploadTicket {
        let mut state = self.sessions.state();
        if let Some(session) = state.by_name.get_mut(&self.name) {
            session.variables = Some(variables);
            session.sent = self.sent;
            session.touched = Instant::now();
        }
        UploadTicket::new(self.number.to_string())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        let session = state.by_name.get(&self.name);
        if session.is_some_and(|session| session.number == self.number && session.variables.is_none()) {
            state.by_name.remove(&self.name);
        }
    }
}
