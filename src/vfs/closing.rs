//! The end of writing: what is left to do once nobody writes to a file any more, and nobody is there to be told that
//! it failed.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::Vfs;
use super::error::{Error, Result};
use super::tree::Node;

/// How often it is tried to journal what a program wrote, where that fails for another reason than a full disk.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Vfs {
    /// The last reference to an open file is gone. Returns soon, whatever the disk says: the kernel lets only so many
    /// of these go on at a time, together with the reads that it does ahead.
    pub async fn release(self: &Arc<Self>, handle: u64) {
        let Some(handle) = self.handles.remove_file(handle) else {
            return;
        };
        let ino = handle.ino;
        if handle.write && self.leave(ino) {
            // Nobody can be told; the log was.
            let _ = self.end_writing(ino).await;
        }
        self.drop_handle(ino);
    }

    /// Nobody writes any more: journals what came after the last `close()` (through a mapping), or what that failed
    /// for, and lets the row be uploaded. Where the journal cannot be written now, it is tried again from here on.
    pub(super) async fn end_writing(self: &Arc<Self>, ino: u64) -> Result<()> {
        let committed = self.commit(ino).await.map(drop);
        match &committed {
            Ok(()) => self.let_go(ino).await,
            Err(error) => self.commit_later(ino, error),
        }
        committed
    }

    fn commit_later(self: &Arc<Self>, ino: u64, error: &Error) {
        let path = self.tree().path(ino);
        tracing::error!(path, %error, "cannot journal a closed file; it stays staged and is tried again");
        if !self.late().insert(ino) {
            return;
        }
        // The tree keeps the file as long as somebody has it open.
        if let Some(node) = self.tree().get_mut(ino) {
            node.handles += 1;
        }
        let this = self.clone();
        self.runtime.spawn(async move {
            // Again where another close came in between and left it to this one.
            while this.commit_late(ino).await && this.is_dirty(ino) && this.late().insert(ino) {}
            this.let_go(ino).await;
            this.drop_handle(ino);
        });
    }

    /// Waits until a file is journaled; a full disk is waited for. False where it was given up.
    async fn commit_late(&self, ino: u64) -> bool {
        let mut pause = PAUSE;
        let mut tries = 1;
        let is_done = loop {
            tokio::time::sleep(pause).await;
            let Err(error) = self.commit(ino).await else {
                break true;
            };
            if error.errno.0 != libc::ENOSPC && tries >= TRIES {
                let path = self.tree().path(ino);
                tracing::error!(path, %error, "a closed file was not journaled; it stays staged");
                break false;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        };
        self.late().remove(&ino);
        is_done
    }

    fn late(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody writes to a file, of which the journal does not know all.
    fn is_dirty(&self, ino: u64) -> bool {
        let tree = self.tree();
        let file = tree.get(ino).and_then(Node::file);
        let closed = file.filter(|file| file.writers == 0);
        closed
            .and_then(|file| file.local.as_ref())
            .is_some_and(|local| local.dirty)
            && tree.get(ino).is_some_and(|node| !node.removed)
    }

    fn drop_handle(&self, ino: u64) {
        let mut tree = self.tree();
        if let Some(node) = tree.get_mut(ino) {
            node.handles = node.handles.saturating_sub(1);
        }
        tree.drop_if_unused(ino);
        drop(tree);
        self.sweep();
    }

    /// Lets the row be uploaded, and drops a staged file that was never changed.
    async fn let_go(&self, ino: u64) {
        let _guard = self.locks.one(ino).await;
        let mut tree = self.tree();
        let Some(file) = tree.file_mut(ino) else { return };
        if file.writers > 0 {
            return;
        }
        let Some(local) = file.local.as_mut() else { return };
        let hold = local.hold.take();
        if let Some(remote) = &file.remote
            && local.pending.is_none()
            && !local.dirty
        {
            // Who had it open before the writer came reads what it was then, and no other content.
            let was_changed = local
                .staged
                .begun_from()
                .is_some_and(|base| !remote.same_content_as_base(base));
            file.foreign += u64::from(was_changed);
            tree.set_local(ino, None);
        }
        drop(tree);
        drop(hold);
        self.sweep();
    }
}
