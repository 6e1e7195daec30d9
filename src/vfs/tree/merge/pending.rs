//! Rows of the journal for a folder that is being merged, which are shown before anything that is listed.

use std::sync::Arc;

use crate::provider::ItemId;
use crate::vfs::{names, symlinks};

use super::super::{AccountIndex, File, Form, Kind, Local, Node, Tree};
use super::{Claims, MergeRules, Merged, PendingHere};

impl Tree {
    /// Shows a row under its name, by the file of the service that it is to replace where there is one.
    pub(super) fn show_pending(
        &mut self,
        account: AccountIndex,
        folder: u64,
        row: PendingHere,
        rules: MergeRules<'_>,
        claimed: &mut Claims,
        merged: &mut Merged,
    ) {
        if let Some(ino) = self.by_pending(row.id) {
            // Another folder showed it, before a rename that was cut short proved to hold.
            if !self.is_in(ino, folder) {
                let is_link = self.get(ino).is_some_and(Node::is_link);
                let name = symlinks::shown(&row.name, is_link, rules.names);
                let name = claimed.free_name(name, &format!("pending {}", row.id));
                merged.names.extend(self.place(ino, folder, &name, row.mtime));
                claimed.children.insert(names::key(&name), ino);
            }
            // An older content of its own that was uploaded may be what it replaces by now.
            let replaced = row.replaces.map(|id| (ItemId::File(id), ino));
            claimed.replaced.extend(replaced);
            return;
        }
        if self.is_being_committed(&row, claimed) {
            return;
        }
        let is_link = symlinks::may_be(&row.name, row.staged.len(), rules.links);
        let name = symlinks::shown(&row.name, is_link, rules.names);
        let name = claimed.free_name(name, &format!("pending {}", row.id));
        let local = Local {
            staged: row.staged,
            pending: Some(row.id),
            hold: None,
            dirty: false,
        };
        let replaced = row
            .replaces
            .clone()
            .and_then(|id| self.by_item(account, &ItemId::File(id)));
        let ino = match replaced {
            Some(ino) => {
                self.set_local(ino, Some(local));
                self.set_form(ino, is_link, true);
                ino
            }
            None => {
                let file = File {
                    remote: None,
                    local: Some(local),
                    writers: 0,
                    cached_is_true: true,
                    foreign: 0,
                    form: Form::of(is_link),
                };
                self.add(Some(account), &name, row.mtime, Kind::File(file))
            }
        };
        if let Some(node) = self.get_mut(ino) {
            node.mode = row.mode;
        }
        let left = self.place(ino, folder, &name, row.mtime);
        merged.names.extend(left);
        claimed.children.insert(names::key(&name), ino);
        claimed
            .replaced
            .extend(row.replaces.map(|id| (ItemId::File(id), ino)));
    }

    /// Whether the row is so new that the file of the folder whose content it is has not been told of it yet.
    fn is_being_committed(&self, row: &PendingHere, claimed: &Claims) -> bool {
        claimed.children.values().any(|ino| {
            let local = self
                .get(*ino)
                .and_then(Node::file)
                .and_then(|file| file.local.as_ref());
            local.is_some_and(|local| local.pending.is_none() && Arc::ptr_eq(&local.staged, &row.staged))
        })
    }
}
