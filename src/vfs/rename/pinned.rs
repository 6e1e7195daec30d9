//! What keeps a listing from showing a rename half done.

use super::Rename;
use crate::vfs::Vfs;

/// Keeps what a rename is about in its place while it is between two of its steps on the service: a listing from then
/// would show it under a name, or in a folder, that it is not to have, and a program could write to it there.
pub(super) struct Pinned<'a> {
    vfs: &'a Vfs,
    inodes: [Option<u64>; 2],
    folders: [u64; 2],
}

impl<'a> Pinned<'a> {
    pub fn new(vfs: &'a Vfs, rename: &Rename<'_>) -> Self {
        let inodes = [Some(rename.ino), rename.target];
        let mut tree = vfs.tree();
        for ino in inodes.into_iter().flatten() {
            tree.pin(ino);
        }
        drop(tree);
        let folders = [rename.old_parent, rename.new_parent];
        Pinned { vfs, inodes, folders }
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        let mut tree = self.vfs.tree();
        let overruled = self.inodes.into_iter().flatten().map(|ino| tree.unpin(ino));
        if overruled.fold(false, |any, this| any | this) {
            for folder in self.folders {
                tree.doubt(folder);
            }
        }
    }
}
