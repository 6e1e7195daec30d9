//! What is to be done on the service beside uploads, as told to others: items to be deleted, and renames that
//! were begun.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::provider::FolderId;

use super::UploadError;
use super::handle::Uploads;

/// A pending operation, as long as it is pending; never used again for another. Shown as `d12` or `r13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationId {
    Delete(i64),
    Rename(i64),
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperationId::Delete(id) => write!(f, "d{id}"),
            OperationId::Rename(id) => write!(f, "r{id}"),
        }
    }
}

/// A text is not the id of an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an operation: {0:?} (they look like d12 or r13)")]
pub struct NoOperationId(String);

impl FromStr for OperationId {
    type Err = NoOperationId;

    fn from_str(text: &str) -> Result<Self, NoOperationId> {
        let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
        let read = match text.split_at_checked(1) {
            Some(("d", id)) => number(id).map(OperationId::Delete),
            Some(("r", id)) => number(id).map(OperationId::Rename),
            _ => None,
        };
        read.ok_or_else(|| NoOperationId(text.to_owned()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    Delete,
    Rename,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    Queued,
    /// The service is being told.
    Running,
    /// The last try failed; the next comes by itself.
    Waiting {
        until: SystemTime,
        error: String,
    },
    /// Only a person can help. What was to be deleted is shown again.
    Parked {
        reason: String,
    },
}

impl OperationState {
    pub(super) fn of(parked: bool, busy: bool, next_try: Option<SystemTime>, error: Option<&str>) -> Self {
        let error = || error.unwrap_or_default().to_owned();
        match next_try {
            _ if parked => OperationState::Parked { reason: error() },
            _ if busy => OperationState::Running,
            Some(until) => OperationState::Waiting {
                until,
                error: error(),
            },
            None => OperationState::Queued,
        }
    }
}

/// A snapshot of something that the service is still to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingOperation {
    pub id: OperationId,
    pub account: String,
    pub kind: OperationKind,
    /// Where the item stands on the service, or stood before a rename.
    pub folder: FolderId,
    /// As the service holds it.
    pub name: String,
    /// Where a rename brings it.
    pub to: Option<(FolderId, String)>,
    pub state: OperationState,
    /// Failed tries.
    pub tries: u32,
}

impl Uploads {
    /// All that the service is still to be told beside uploads, by id.
    pub fn operations(&self) -> Vec<PendingOperation> {
        let mut all = {
            let table = self.table();
            let mut all = table.deletions.snapshots();
            all.extend(table.renames.snapshots());
            all
        };
        all.sort_by_key(|operation| operation.id);
        all
    }

    /// Tries a parked or waiting operation again now. False where there is no such operation.
    pub async fn retry_operation(self: &Arc<Self>, id: OperationId) -> Result<bool, UploadError> {
        match id {
            OperationId::Delete(id) => self.retry_deletion(id).await,
            OperationId::Rename(id) => self.retry_rename(id).await,
        }
    }

    /// Gives an operation up that is not under way: what was to be deleted is shown again. False where there is
    /// no such operation, or the service is being told of it.
    pub async fn cancel_operation(self: &Arc<Self>, id: OperationId) -> Result<bool, UploadError> {
        match id {
            OperationId::Delete(id) => self.cancel_deletion(id).await,
            OperationId::Rename(id) => self.cancel_rename(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        for (id, text) in [(OperationId::Delete(12), "d12"), (OperationId::Rename(3), "r3")] {
            assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
        }
        for wrong in ["", "12", "d", "x3", "d-1", "d1 ", "é1"] {
            assert!(wrong.parse::<OperationId>().is_err(), "{wrong}");
        }
    }
}
