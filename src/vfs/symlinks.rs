//! Symbolic links, on accounts that are to have them. No service knows such, so a link is a small file there, whose
//! name and content say what it is and which other clients see as that file.
//!
//! A listing tells name and size, and by these a file is shown as a link, of the right size, without a look into it.
//! What it leads to is read when somebody follows it. Where the content proves to be no link's, it is shown as the file
//! that it is from then on; whoever asks for the file by its whole name has that looked up first.

use std::sync::Arc;

use crate::provider::{Capability, NameRules};

use super::account::Account;
use super::changes::Outdated;
use super::error::{Error, Result};
use super::tree::{File, Form, Node, Tree};
use super::{Attributes, Vfs, names};

/// How the name of such a file ends.
const SUFFIX: &str = ".lockerfs-link";

/// What its content begins with; the rest of it is what the link leads to.
const MARK: &[u8] = b"lockerfs symbolic link to:\n";

/// The longest that a link leads to, in bytes: Linux takes no longer one.
const LONGEST: usize = 4095;

/// Whether a file of that name and size on a service may be a link.
pub(super) fn may_be(stored_name: &str, size: u64, links: bool) -> bool {
    let least = MARK.len() as u64 + 1;
    links && strip(stored_name).is_some() && (least..=(MARK.len() + LONGEST) as u64).contains(&size)
}

fn strip(stored_name: &str) -> Option<&str> {
    stored_name.strip_suffix(SUFFIX).filter(|name| !name.is_empty())
}

/// The name under which programs see what a service holds under a name.
pub(super) fn shown(stored_name: &str, is_link: bool, rules: &NameRules) -> String {
    match strip(stored_name).filter(|_| is_link) {
        Some(name) => names::to_local(name, rules),
        None => names::to_local(stored_name, rules),
    }
}

/// How long what a link leads to is, where its file has that size.
pub(super) fn length(size: u64) -> u64 {
    size.saturating_sub(MARK.len() as u64)
}

/// What a link of that content leads to; `None` where the content is another's.
fn target_of(content: &[u8]) -> Option<&[u8]> {
    let target = content.strip_prefix(MARK)?;
    (!target.is_empty() && target.len() <= LONGEST && !target.contains(&0)).then_some(target)
}

impl Account {
    /// Whether what may be links is shown as such.
    pub fn has_links(&self) -> bool {
        self.setup.symlinks && self.can(Capability::Read)
    }

    /// As [`Account::remote_name`], of a file or of a link.
    pub fn stored_name(&self, local: &str, is_link: bool) -> Result<String> {
        let name = self.remote_name(local)?;
        if !is_link {
            return Ok(name);
        }
        let name = name + SUFFIX;
        match name.chars().count() > self.rules.max_chars {
            true => Err(Error::plain(libc::ENAMETOOLONG)),
            false => Ok(name),
        }
    }
}

impl Vfs {
    /// Makes a symbolic link.
    pub async fn make_link(self: &Arc<Self>, parent: u64, name: &str, target: &[u8]) -> Result<Attributes> {
        let (_, account) = self.account_to_change(parent)?;
        if !account.setup.symlinks {
            let name = &account.setup.name;
            let message =
                format!("{name} has no symbolic links: set symlinks = true in its part of the config");
            return Err(Error::told(libc::EPERM, message));
        }
        account.require(Capability::Read)?;
        let content = [MARK, target].concat();
        if target_of(&content).is_none() {
            return Err(Error::plain(libc::EINVAL));
        }
        let form = Form::Link(Some(target.into()));
        let (made, opened) = self.create_as(parent, name, 0o777, form).await?;
        let kept = async {
            self.write(opened.handle, 0, &content).await?;
            self.flush(opened.handle).await
        };
        let kept = kept.await;
        // A link that was not journaled is none. One that was stays, whatever the service says of it.
        let is_lost = kept.is_err() && self.identity(made.ino).1.is_none();
        let removed = match is_lost {
            true => self.unlink(parent, name).await,
            false => Ok(()),
        };
        self.release(opened.handle).await;
        if kept.is_err() {
            // The kernel is told of none.
            self.forget(made.ino, 1);
        }
        kept.and(removed)?;
        self.attributes(made.ino)
    }

    /// What a symbolic link leads to.
    pub async fn read_link(self: &Arc<Self>, ino: u64) -> Result<Arc<[u8]>> {
        let (size, foreign) = {
            let tree = self.tree();
            let node = tree.get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
            match node.file().map(|file| (&file.form, file)) {
                Some((Form::Link(Some(target)), _)) => return Ok(target.clone()),
                Some((Form::Link(None), file)) => (file.size(), file.foreign),
                _ => return Err(Error::plain(libc::EINVAL)),
            }
        };
        let opened = self.open(ino, false, false).await?;
        let content = self.read(opened.handle, 0..size).await;
        self.release(opened.handle).await;
        let content = content?;
        // Whoever changed it elsewhere meanwhile may have made another of it.
        let is_as_read = |file: &File| file.form == Form::Link(None) && file.foreign == foreign;
        match target_of(&content) {
            Some(target) => {
                let target: Arc<[u8]> = target.into();
                if let Some(file) = self.tree().file_mut(ino).filter(|file| is_as_read(file)) {
                    file.form = Form::Link(Some(target.clone()));
                }
                Ok(target)
            }
            None => {
                let is_told = self.tree().get(ino).and_then(Node::file).is_some_and(is_as_read);
                if is_told {
                    self.show_as_file(ino);
                }
                Err(Error::plain(libc::EINVAL))
            }
        }
    }

    /// Shows what was taken for a link by its name and size as the file that it is.
    fn show_as_file(&self, ino: u64) {
        let mut tree = self.tree();
        let Some(node) = tree.get(ino).filter(|node| node.is_link()) else {
            return;
        };
        let (parent, before) = (node.parent, node.name.clone());
        if let Some(file) = tree.file_mut(ino) {
            file.form = Form::Plain;
        }
        let Some(parent) = parent else { return };
        let name = before.clone() + SUFFIX;
        let name = match tree.child(parent, &name) {
            Some(_) => names::with_suffix(&name, &ino.to_string()),
            None => name,
        };
        tree.detach(ino);
        tree.attach(ino, parent, &name);
        drop(tree);
        for name in [before, name] {
            self.tell(Outdated::Name { parent, name });
        }
    }

    /// Looks whether a file that is taken for a link is the file of that whole name, which it is shown under then.
    pub(super) async fn look_for_file(self: &Arc<Self>, parent: u64, name: &str) -> Result<()> {
        let taken_for_link = unread_link(&self.tree(), parent, name);
        match taken_for_link {
            Some(ino) => match self.read_link(ino).await {
                Err(error) if error.errno.0 != libc::EINVAL => Err(error),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Fails with `EEXIST` where something else of the folder has the name on the service under which `name` would be
    /// stored: a link beside the file that would look like it, or the other way round.
    pub(super) fn refuse_second_of_name(
        &self,
        parent: u64,
        name: &str,
        is_link: bool,
        but: Option<u64>,
    ) -> Result<()> {
        let tree = self.tree();
        let other = match (is_link, strip(name)) {
            (true, _) => tree.child(parent, &format!("{name}{SUFFIX}")),
            (false, Some(link)) => tree.child(parent, link),
            (false, None) => None,
        };
        let is_same = |ino: &u64| {
            but != Some(*ino)
                && tree
                    .get(*ino)
                    .is_some_and(|node| node.file().is_some() && node.is_link() != is_link)
        };
        match other.filter(is_same) {
            Some(_) => Err(Error::plain(libc::EEXIST)),
            None => Ok(()),
        }
    }

    pub(super) fn is_link(&self, ino: u64) -> bool {
        self.tree().get(ino).is_some_and(Node::is_link)
    }
}

/// The file that is shown as a link, and may be the file of that whole name.
pub(super) fn unread_link(tree: &Tree, parent: u64, name: &str) -> Option<u64> {
    let ino = tree.child(parent, strip(name)?)?;
    let file = tree.get(ino)?.file()?;
    (file.form == Form::Link(None)).then_some(ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: NameRules = NameRules {
        max_chars: 255,
        forbidden: "<>",
        edge_blanks: false,
        leading_dot: true,
        numbered_twins: false,
    };

    #[test]
    fn a_link_is_told_by_name_size_and_content() {
        let content = [MARK, b"../x"].concat();
        let size = content.len() as u64;
        assert!(may_be("a.lockerfs-link", size, true));
        assert!(!may_be("a.lockerfs-link", size, false));
        assert!(!may_be("a", size, true));
        assert!(!may_be(".lockerfs-link", size, true));
        assert!(!may_be("a.lockerfs-link", MARK.len() as u64, true));
        assert!(!may_be(
            "a.lockerfs-link",
            (MARK.len() + LONGEST + 1) as u64,
            true
        ));
        assert_eq!(target_of(&content), Some(b"../x".as_slice()));
        assert_eq!(length(size), 4);
        assert_eq!(target_of(b"lockerfs symbolic link to: x"), None);
        assert_eq!(target_of(&[MARK, b"a\0b"].concat()), None);
        assert_eq!(target_of(MARK), None);
        assert_eq!(target_of(&[MARK, &[b'x'; LONGEST + 1]].concat()), None);
    }

    #[test]
    fn the_name_of_a_link_comes_back_as_it_went() {
        for name in ["a", "a <b>", " edge ", "a.lockerfs-link", "ü.txt"] {
            let stored = names::to_remote(name, &RULES).unwrap() + SUFFIX;
            assert_eq!(shown(&stored, true, &RULES), name);
            assert_eq!(shown(&stored, false, &RULES), format!("{name}{SUFFIX}"));
        }
    }
}
