//! Files that are never sent: rows that rest for good, because somebody above says so.

use std::sync::Arc;
use std::time::Instant;

use crate::state::RowState;

use super::handle::Uploads;
use super::journal::{Change, Changed};
use super::table::Item;
use super::{PendingId, UploadError};

impl Uploads {
    /// Lets a file stay on this machine for good, or sends it like any other. False, and nothing is changed, where
    /// it is to stay and something of it may be on the service, or is to be replaced there.
    pub async fn keep_local(self: &Arc<Self>, id: PendingId, local: bool) -> Result<bool, UploadError> {
        let changed = self
            .change(id, move |row| {
                let is_there = row.attempt.is_some() || row.replaces.is_some() || !row.superseded.is_empty();
                match (row.state, local) {
                    (RowState::Removed, _) => return Change::Skip,
                    (RowState::Local, true) => return Change::Save,
                    (_, true) if is_there => return Change::Skip,
                    (_, true) => row.state = RowState::Local,
                    (RowState::Local, false) => row.state = RowState::Queued,
                    (_, false) => return Change::Skip,
                }
                (row.tries, row.next_try, row.last_error) = (0, None, None);
                Change::Save
            })
            .await?;
        match changed {
            Changed::Saved(_) if !local => {
                let rest = |item: &mut Item| {
                    item.due = Instant::now() + self.options.of_account(&item.row.account).upload_delay;
                };
                self.update(|table| table.change(id, rest));
                Ok(true)
            }
            Changed::Saved(_) => Ok(true),
            Changed::Skipped | Changed::Deleted => Ok(false),
            Changed::Absent => Err(UploadError::Gone),
        }
    }
}
