//! What a person does with a file that waits, as it shows in the tree.

use std::sync::Arc;

use crate::upload::{PendingId, SteerError};

use super::Vfs;
use super::changes::Outdated;
use super::tree::Node;

impl Vfs {
    /// Gives up a file that waits to be uploaded. What the service has under its name is shown again; where it has
    /// nothing, the name goes.
    pub async fn cancel_upload(self: &Arc<Self>, row: PendingId) -> Result<(), SteerError> {
        let Some(ino) = self.tree().by_pending(row) else {
            // Of a folder that nobody has looked into yet.
            return self.uploads.cancel(row).await;
        };
        let _guard = self.locks.one(ino).await;
        let is_written = {
            let tree = self.tree();
            let file = tree.get(ino).and_then(Node::file);
            file.is_some_and(|file| file.writers > 0)
        };
        if is_written {
            return Err(SteerError::Open);
        }
        self.uploads.cancel(row).await?;
        self.show_cancelled(ino);
        Ok(())
    }

    fn show_cancelled(self: &Arc<Self>, ino: u64) {
        let mut tree = self.tree();
        let Some(node) = tree.get(ino) else { return };
        let (parent, name) = (node.parent, node.name.clone());
        let is_stored = node.file().is_some_and(|file| file.remote.is_some());
        if is_stored {
            tree.set_local(ino, None);
            if let Some(file) = tree.file_mut(ino) {
                file.cached_is_true = false;
                // Who has it open read another content.
                file.foreign += 1;
            }
        } else {
            tree.unlink(ino, false);
        }
        drop(tree);
        self.sweep();
        self.tell(Outdated::Content { ino });
        if let Some(parent) = parent {
            if !is_stored {
                self.tell(Outdated::Name { parent, name });
            }
            // Its time and size, and what an upload may have left, are the service's to tell.
            drop(self.refresh_anew(parent));
        }
    }
}
