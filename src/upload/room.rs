//! Files that the account had no room for, and what is done about them once there is room.
//!
//! They are parked, since only a person can make room: by deleting here, which is known at once, or elsewhere,
//! of which the account's figures tell.

use std::sync::Arc;

use super::UploadError;
use super::handle::Uploads;

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
}
