//! Whether a file of a service is shown as what it is, or as the symbolic link that its content stands for.

use std::sync::Arc;

use crate::provider::{Entry, FileEntry};

use super::{File, MergeRules, Node, Remote, Tree};
use crate::vfs::symlinks;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Form {
    #[default]
    Plain,
    /// By its name and size; with what it leads to, once somebody looked.
    Link(Option<Arc<[u8]>>),
}

impl Form {
    pub fn of(is_link: bool) -> Self {
        match is_link {
            true => Form::Link(None),
            false => Form::Plain,
        }
    }
}

impl File {
    pub fn is_link(&self) -> bool {
        matches!(self.form, Form::Link(_))
    }
}

impl Node {
    pub fn is_link(&self) -> bool {
        self.file().is_some_and(File::is_link)
    }
}

impl Tree {
    /// Whether an entry is shown as a symbolic link. One whose content was found to be another's is not, as long as it
    /// has that content.
    pub(super) fn is_shown_as_link(&self, known: Option<u64>, entry: &Entry, rules: MergeRules<'_>) -> bool {
        let Entry::File(entry) = entry else { return false };
        let file = known.and_then(|ino| self.get(ino)?.file());
        let is_told_plain =
            |file: &File| !file.is_link() && file.remote.as_ref().is_some_and(|old| is_same(old, entry));
        symlinks::may_be(&entry.name, entry.size, rules.links) && !file.is_some_and(is_told_plain)
    }

    /// Notes how a file is shown from now on.
    pub(super) fn set_form(&mut self, ino: u64, is_link: bool, other_content: bool) {
        if let Some(file) = self.file_mut(ino)
            && (other_content || file.is_link() != is_link)
        {
            file.form = Form::of(is_link);
        }
    }
}

fn is_same(old: &Remote, entry: &FileEntry) -> bool {
    old.same_content(&Remote::of(entry))
}
