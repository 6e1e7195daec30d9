//! Waiting for open renames, and the names that they are yet to give.

use std::collections::HashMap;
use std::time::Duration;

use crate::provider::{ErrorKind, ItemId};
use crate::upload::UploadError;
use crate::upload::deleter::key_of;
use crate::upload::handle::Uploads;

use super::open::Standing;

impl Uploads {
    /// The names that items of an account are still to be given by renames that took effect: whoever shows the
    /// items shows them under these.
    pub fn names_to_come(&self, account: &str) -> HashMap<ItemId, String> {
        self.table().renames.names(account)
    }

    /// Waits until no earlier rename of an item is open, whatever keeps it; fails as soon as the service does.
    pub async fn wait_until_renamed(
        &self,
        account: &str,
        item: &ItemId,
        limit: Duration,
    ) -> Result<(), UploadError> {
        let open = self.table().renames.of_item(account, &key_of(item));
        let Some(id) = open else { return Ok(()) };
        self.update(|table| table.renames.urge(id));
        self.wait_for_rename(id, limit).await
    }

    pub(super) async fn wait_for_rename(&self, id: i64, limit: Duration) -> Result<(), UploadError> {
        let mut changed = self.changed.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(limit));
        loop {
            let standing = self.table().renames.standing(id);
            match standing {
                Standing::Over => return Ok(()),
                Standing::Failed { kind, error, parked } => {
                    return Err(UploadError::NotRenamed { kind, error, parked });
                }
                Standing::Open => {}
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience => {
                    let error = "the service has not answered yet".to_owned();
                    return Err(UploadError::NotRenamed { kind: ErrorKind::Busy, error, parked: false });
                }
                () = self.stopping.cancelled() => return Err(UploadError::Stopped),
            }
        }
    }
}
