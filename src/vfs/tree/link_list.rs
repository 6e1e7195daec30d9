//! The place in a folder of the file that lists its links. It is no child of the folder: neither listings nor the
//! journal know it, and it keeps no folder from being empty.

use std::time::SystemTime;

use bytes::Bytes;

use super::{Kind, Node, Tree};

/// A list of links as it was made. It never changes: a newer one takes its place as another inode, so that who has it
/// open reads it to its end.
#[derive(Debug)]
pub struct LinkList {
    pub content: Bytes,
}

/// How the list of a folder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListPlace {
    #[default]
    Unmade,
    /// `of` tells what it was made of.
    Shown { ino: u64, of: u64 },
    /// A program removed it. It comes back when it would say something else.
    Removed { of: u64 },
}

impl Tree {
    pub fn link_list(&self, folder: u64) -> ListPlace {
        let folder = self.get(folder).and_then(Node::folder);
        folder.map_or(ListPlace::Unmade, |folder| folder.link_list)
    }

    /// Gives a folder a list, in place of the one that it had. Its inode; `None` where the folder is gone.
    pub fn show_link_list(&mut self, folder: u64, of: u64, name: &str, content: Bytes) -> Option<u64> {
        let account = self.get(folder).filter(|node| node.folder().is_some())?.account;
        let ino = self.add(
            account,
            name,
            SystemTime::now(),
            Kind::LinkList(LinkList { content }),
        );
        self.get_mut(ino)?.parent = Some(folder);
        self.put_link_list(folder, ListPlace::Shown { ino, of });
        Some(ino)
    }

    /// Puts something in the place of a folder's list. Who has that open keeps it.
    pub fn put_link_list(&mut self, folder: u64, place: ListPlace) {
        let Some(folder) = self.get_mut(folder).and_then(Node::folder_mut) else {
            return;
        };
        let before = std::mem::replace(&mut folder.link_list, place);
        if let ListPlace::Shown { ino, .. } = before
            && let Some(node) = self.get_mut(ino)
        {
            node.parent = None;
            self.drop_if_unused(ino);
        }
    }
}
