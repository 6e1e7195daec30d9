//! Files that the account had no room for, and what is done about them once there is room.
//!
//! They are parked, since only a person can make room: by deleting here, which is known at once, or elsewhere,
//! of which the account's figures tell.

use std::sync::Arc;

use crate::provider::ErrorKind;
use crate::state::RowState;

use super::handle::Uploads;
use super::table::{Item, Table};
use super::{PendingId, UploadError};

impl Table {
    /// Files of an account for which it had no room when they were tried last in this run of the program.
    fn without_room(&self, account: &str) -> Vec<PendingId> {
        let lacks = |item: &Item| {
            item.row.account == account
                && item.failure == Some(ErrorKind::QuotaExceeded)
                && item.run.is_none()
                && (item.is_waiting() || item.row.state == RowState::Parked)
        };
        let items = self.ids().into_iter();
        items.filter(|id| self.item(*id).is_some_and(lacks)).collect()
    }
}

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
