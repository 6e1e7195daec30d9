//! Files that the account had no room, no calls or no login for, and what is done about them once it has.
//!
//! Those without room are parked, since only a person can make room: by deleting here, which is known at once, or elsewhere,
//! of which the account's figures tell.

use std::sync::Arc;

use super::handle::Uploads;
use super::{OperationState, UploadError};

impl Uploads {
    /// There is more room on an account than there was: files that it had no room for are tried now. How many
    /// there are.
    pub async fn room_was_made(self: &Arc<Self>, account: &str) -> Result<usize, UploadError> {
        let ids = self.table().without_room(account);
        let mut count = 0;
        for id in ids {
            count += usize::from(self.retry(id).await?);
        }
        Ok(count)
    }

    /// An account takes calls again of which it had too many: files that wait for that are tried now. How many there
    /// are.
    pub async fn calls_are_left(self: &Arc<Self>, account: &str) -> Result<usize, UploadError> {
        let ids = self.table().without_calls(account);
        let mut count = 0;
        for id in ids {
            count += usize::from(self.retry(id).await?);
        }
        Ok(count)
    }

    /// The service takes the login of an account again: what waits is tried now, whatever it waits for, since a journal
    /// does not tell that. How many files and operations there are.
    pub async fn login_works(self: &Arc<Self>, account: &str) -> Result<usize, UploadError> {
        let ids = self.table().waiting_of(account);
        let mut count = 0;
        for id in ids {
            count += usize::from(self.retry(id).await?);
        }
        for operation in self.operations() {
            let waits = matches!(operation.state, OperationState::Waiting { .. });
            if operation.account == account && waits {
                count += usize::from(self.retry_operation(operation.id).await?);
            }
        }
        Ok(count)
    }
}
