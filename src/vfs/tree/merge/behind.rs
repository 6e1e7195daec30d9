//! What a listing says of files that have newer content here.

use crate::provider::{ContentHash, FileEntry};

use super::super::{Node, Remote, Tree};
use super::{Claims, Merged};

impl Tree {
    /// Parts newer content here from the file that it was to replace, where that was changed or moved elsewhere: both are
    /// shown, and the upload keeps both. Not where something of it may be on the service already.
    pub(super) fn part(
        &mut self,
        ino: u64,
        folder: u64,
        entry: &FileEntry,
        claimed: &Claims,
        merged: &mut Merged,
    ) -> bool {
        let was_moved = self.is_elsewhere(ino, folder);
        let node = self.get(ino).filter(|node| node.pin.is_none());
        let Some(file) = node.and_then(Node::file) else {
            return false;
        };
        let (Some(local), Some(old)) = (&file.local, &file.remote) else {
            return false;
        };
        let Some(row) = local.pending else {
            return false;
        };
        let Some(sent) = claimed.unannounced.get(&row) else {
            return false;
        };
        let is_ours = |hash| matches!(hash, ContentHash::Sha256(hash) if sent.contains(&hash));
        let was_changed = old
            .hash
            .zip(entry.hash)
            .is_some_and(|(old, new)| old != new && !is_ours(new));
        if old.id != entry.id || !(was_changed || was_moved) {
            return false;
        }
        merged.parted.push((row, entry.id.clone()));
        self.set_remote(ino, None);
        true
    }

    /// Notes what the service says of a file that has newer content here, which is shown already: under a name
    /// that is claimed, or in another folder. Whether there is such content. It may be the upload of what is here, of
    /// which nobody was told yet, so who has the file open reads on.
    pub(super) fn note_behind_local(&mut self, ino: u64, entry: &FileEntry) -> bool {
        let Some(file) = self.file_mut(ino).filter(|file| file.local.is_some()) else {
            return false;
        };
        let fresh = Remote::of(entry).dated_as(file.remote.as_ref());
        if file.remote.as_ref().is_some_and(|old| !old.same_content(&fresh)) {
            file.cached_is_true = false;
        }
        self.set_remote(ino, Some(fresh));
        true
    }
}
