//! The ticket of an upload that ends with an entry: the service's own, and what the entry is to say.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::provider::{ErrorKind, ProviderError, Result, Retry, UploadRequest, UploadTicket};

/// It outlives the process.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// The service's own.
    pub inner: Option<String>,
    pub folder: i64,
    pub name: String,
    pub sha256: Option<[u8; 32]>,
    seconds: u64,
    nanoseconds: u32,
}

impl Ticket {
    pub fn of(request: &UploadRequest, folder: i64) -> Self {
        let since = request.mtime.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ticket {
            inner: None,
            folder,
            name: request.name.clone(),
            sha256: request.sha256,
            seconds: since.as_secs(),
            nanoseconds: since.subsec_nanos(),
        }
    }

    pub fn with(&self, inner: UploadTicket) -> Self {
        Ticket {
            inner: Some(inner.as_str().to_owned()),
            ..self.clone()
        }
    }

    pub fn mtime(&self) -> SystemTime {
        UNIX_EPOCH + Duration::new(self.seconds, self.nanoseconds % 1_000_000_000)
    }

    pub fn to_ticket(&self) -> Result<UploadTicket> {
        let text = serde_json::to_string(self).map_err(|error| {
            let message = format!("the ticket of an upload cannot be kept: {error}");
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, "upload", message)
        })?;
        Ok(UploadTicket::new(text))
    }

    /// What was kept, and the service's own ticket in it.
    pub fn read(ticket: &UploadTicket) -> Option<(Self, UploadTicket)> {
        let kept: Ticket = serde_json::from_str(ticket.as_str()).ok()?;
        let inner = UploadTicket::new(kept.inner.clone()?);
        Some((kept, inner))
    }
}
