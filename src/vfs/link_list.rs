//! `links.txt`: a file in each folder of an account that publishes, with the link of each file that is published there.
//!
//! It is made when somebody looks, of the tree and of what the catalog tells, without a call; it is never uploaded and
//! has no row anywhere. It can be read, copied and removed (it comes back with the next change of what it says), and
//! neither written nor made nor renamed. Something of the service's that bears its name already stands in its place.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::Vfs;
use super::error::{Error, Result};
use super::local::is_local;
use super::tree::{ListPlace, Node, Tree};
use crate::provider::{FileId, PublishedState, Result as Told, ShareLinks};

pub(super) const NAME: &str = "links.txt";

/// What a line is made of, beside the links.
#[derive(Hash)]
struct Published {
    name: String,
    file: FileId,
    /// In the service's words, where it is gone there.
    removed: Option<String>,
}

impl Vfs {
    /// Whether a name of a listed folder stands for its list of links.
    pub(super) fn is_link_list(&self, parent: u64, name: &str) -> bool {
        name == NAME && self.has_link_list(&self.tree(), parent)
    }

    fn has_link_list(&self, tree: &Tree, folder: u64) -> bool {
        let node = tree.get(folder);
        let account = node.and_then(|node| self.accounts.get(node.account?));
        let publishes = account.is_some_and(|account| account.setup.links_file);
        let id = node.and_then(|node| node.folder()?.id.as_ref());
        publishes && id.is_some_and(|id| !is_local(id)) && tree.child(folder, NAME).is_none()
    }

    /// Refuses to make, replace or rename something under the list's name. Who removed the list to make room for it has it
    /// back.
    pub(super) fn refuse_link_list(&self, parent: u64, name: &str) -> Result<()> {
        if !self.is_link_list(parent, name) {
            return Ok(());
        }
        let mut tree = self.tree();
        if let ListPlace::Removed { .. } = tree.link_list(parent) {
            tree.put_link_list(parent, ListPlace::Unmade);
        }
        Err(refusal(&tree.path(parent)))
    }

    /// Refuses to change an inode that is a list of links.
    pub(super) fn refuse_change_of_list(&self, ino: u64) -> Result<()> {
        let tree = self.tree();
        let parent = tree.get(ino).filter(|node| node.link_list().is_some());
        match parent {
            Some(node) => Err(refusal(&node.parent.map_or_else(String::new, |at| tree.path(at)))),
            None => Ok(()),
        }
    }

    /// The inode of a folder's list as it is now, made if need be; `None` where there is none.
    pub(super) async fn link_list(self: &Arc<Self>, folder: u64) -> Result<Option<u64>> {
        let files = {
            let tree = self.tree();
            if !self.has_link_list(&tree, folder) {
                return Ok(None);
            }
            published_in(&tree, folder)
        };
        let (_, account) = self.account_of(folder)?;
        let provider = account.provider();
        let files: Vec<_> = files
            .into_iter()
            .map(|(name, file)| {
                let removed = match provider.published_state(&file) {
                    Some(PublishedState::Removed(status)) => Some(status),
                    Some(PublishedState::Active) | None => None,
                };
                Published { name, file, removed }
            })
            .collect();
        let of = fingerprint(&files);
        if let Some(known) = self.known_list(folder, of) {
            return Ok(known);
        }
        let ids: Vec<_> = files.iter().map(|published| published.file.clone()).collect();
        let links = match ids.is_empty() {
            true => Vec::new(),
            false => provider.share_links(&ids).await?,
        };
        let content = files.iter().zip(links).map(|(file, links)| line(file, links));
        let content: String = content.collect();
        // Another may have been as fast.
        if let Some(known) = self.known_list(folder, of) {
            return Ok(known);
        }
        Ok(self.tree().show_link_list(folder, of, NAME, content.into()))
    }

    /// The list of a folder, where it was made of the same or removed since.
    fn known_list(&self, folder: u64, now: u64) -> Option<Option<u64>> {
        match self.tree().link_list(folder) {
            ListPlace::Shown { ino, of } if of == now => Some(Some(ino)),
            ListPlace::Removed { of } if of == now => Some(None),
            _ => None,
        }
    }

    /// Takes the list out of its folder, until it says something else.
    pub(super) async fn remove_link_list(self: &Arc<Self>, folder: u64) -> Result<()> {
        self.link_list(folder).await?;
        let mut tree = self.tree();
        let ListPlace::Shown { of, .. } = tree.link_list(folder) else {
            return Err(Error::plain(libc::ENOENT));
        };
        tree.put_link_list(folder, ListPlace::Removed { of });
        Ok(())
    }
}

fn refusal(folder: &str) -> Error {
    let message = format!(
        "{NAME} in {folder:?} is made by lockerfs and lists the links of the files there: choose another name, or set \
         links_file = false"
    );
    Error::told(libc::EPERM, message)
}

/// The files of a folder whose content the service has, in the order in which they are listed.
fn published_in(tree: &Tree, folder: u64) -> Vec<(String, FileId)> {
    let children = tree
        .get(folder)
        .and_then(Node::folder)
        .map(|folder| &folder.children);
    let nodes = children.into_iter().flatten();
    let nodes = nodes.filter_map(|(_, ino)| tree.get(*ino));
    let files = nodes.filter_map(|node| {
        let file = node.file()?;
        let stored = file.remote.as_ref().filter(|_| file.local.is_none())?;
        Some((node.name.clone(), stored.id.clone()))
    });
    files.collect()
}

fn fingerprint(files: &[Published]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// Name, link and short link, which may be empty, and for a file that is gone on its service a fourth field.
fn line(file: &Published, links: Told<ShareLinks>) -> String {
    let links = links.ok();
    let url = links.as_ref().map(|links| links.url.as_str());
    let short = links.as_ref().and_then(|links| links.short_url.as_ref());
    let mark = file
        .removed
        .as_ref()
        .map(|status| format!("removed: {}", escaped(status)));
    let mut fields = vec![
        escaped(&file.name),
        url.unwrap_or_default().to_owned(),
        short.map_or_else(String::new, ToString::to_string),
        mark.unwrap_or_default(),
    ];
    while fields.len() > 2 && fields.last().is_some_and(String::is_empty) {
        fields.pop();
    }
    fields.join("\t") + "\n"
}

/// A text that cannot end its field or its line: as C writes it, so that `printf %b` gives it back.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{ErrorKind, ProviderError, Retry};

    fn published(name: &str, removed: Option<&str>) -> Published {
        Published {
            name: name.to_owned(),
            file: FileId::new("f1"),
            removed: removed.map(str::to_owned),
        }
    }

    fn links(short: bool) -> Told<ShareLinks> {
        let url = |text: &str| text.parse().expect("a URL");
        Ok(ShareLinks {
            url: url("https://host.example/f1"),
            short_url: short.then(|| url("https://h.example/1")),
        })
    }

    #[test]
    fn each_field_has_its_place() {
        let plain = line(&published("a b.txt", None), links(false));
        assert_eq!(plain, "a b.txt\thttps://host.example/f1\n");
        let short = line(&published("a", None), links(true));
        assert_eq!(short, "a\thttps://host.example/f1\thttps://h.example/1\n");
        let gone = line(&published("a", Some("not\tfound\n")), links(false));
        assert_eq!(gone, "a\thttps://host.example/f1\t\tremoved: not\\tfound\\n\n");
        let error = ProviderError::new(ErrorKind::NotFound, Retry::Never, "share_links", "none");
        assert_eq!(line(&published("a", None), Err(error)), "a\t\n");
    }

    #[test]
    fn no_name_breaks_a_line() {
        for name in [
            "a\nb",
            "a\tb",
            "\r",
            "\\n",
            "\u{85}\u{2028}\u{1b}[2J",
            "ä 日本 😀",
        ] {
            let line = line(&published(name, None), links(false));
            let fields: Vec<_> = line.trim_end_matches('\n').split('\t').collect();
            assert_eq!(fields.len(), 2, "{line:?}");
            assert!(!fields[0].contains(char::is_control), "{line:?}");
            assert_eq!(line.matches('\n').count(), 1);
        }
        assert_ne!(escaped("a\nb"), escaped("a\\nb"), "names stay apart");
    }
}
