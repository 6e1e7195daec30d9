//! The files and folders of one account, with revisions, trash and change log.
//!
//! Pure state: no clock, no disk, no protocol. Keys are handed in by the service's own room, which also
//! decides what a name may be; here only the shape of the tree is kept right. A file's key and a folder's
//! may be equal. Folders may even be moved into a circle, where nothing finds them any more. Each change
//! notes what the live view on disk has to do ([`ViewOp`]), in order.

mod change;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// The key of the root folder, which no service's own keys can collide with (they are longer, or numbers).
pub const ROOT: &str = "root";

/// What a file holds: the blob's SHA-256 (lower-case hex) and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub sha256: String,
    pub size: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    pub revision: u64,
    pub content: Content,
    /// Seconds since the epoch.
    pub date: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    pub key: String,
    pub name: String,
    pub parent: String,
    pub description: String,
    pub private: bool,
    pub created: i64,
    pub downloads: u64,
    pub revision: u64,
    pub deleted: Option<i64>,
    pub artwork: Option<String>,
    pub content: Content,
    /// It is one of too many to stand as a plain file on the disk.
    #[serde(default)]
    pub unseen: bool,
    /// Oldest first; the last one is the head.
    pub versions: Vec<Version>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Folder {
    pub key: String,
    pub name: String,
    pub parent: String,
    pub description: String,
    pub private: bool,
    pub created: i64,
    /// Moves with every change of the folder and of what it directly holds.
    pub revision: u64,
    /// The revision of the last change of the folder itself: what the change feed tells.
    pub changed: u64,
    pub deleted: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    File,
    Folder,
}

/// What stands at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File(String),
    Folder(String),
}

/// One step for the live view on disk. Steps are in causal order: a parent is put before its children.
#[derive(Clone, Debug)]
pub enum ViewOp {
    PutFolder {
        key: String,
        parent: String,
        name: String,
    },
    PutFile {
        key: String,
        parent: String,
        name: String,
        content: Content,
        created: i64,
    },
    DropFolder {
        key: String,
    },
    DropFile {
        key: String,
    },
}

/// Keys of what a folder holds, ordered by name and then by key.
#[derive(Default)]
pub struct Children {
    pub folders: BTreeSet<(String, String)>,
    pub files: BTreeSet<(String, String)>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Tree {
    folders: HashMap<String, Folder>,
    files: HashMap<String, Box<File>>,
    /// How many of the files are not on the disk.
    #[serde(skip)]
    unseen: usize,
    revision: u64,
    root_revision: u64,
    #[serde(skip)]
    children: HashMap<String, Children>,
    #[serde(skip)]
    feed: BTreeMap<u64, (Kind, String)>,
    #[serde(skip)]
    trash: Children,
    #[serde(skip)]
    ops: Vec<ViewOp>,
    #[serde(skip)]
    used: u64,
}

impl Tree {
    /// Builds again what is not stored. Call once after loading.
    pub fn index(&mut self) {
        self.children = HashMap::new();
        self.feed = BTreeMap::new();
        self.trash = Children::default();
        for folder in self.folders.values() {
            self.feed
                .insert(folder.changed, (Kind::Folder, folder.key.clone()));
            let entry = (folder.name.clone(), folder.key.clone());
            if folder.deleted.is_some() {
                self.trash.folders.insert(entry);
            } else {
                self.children
                    .entry(folder.parent.clone())
                    .or_default()
                    .folders
                    .insert(entry);
            }
        }
        for file in self.files.values() {
            self.feed.insert(file.revision, (Kind::File, file.key.clone()));
            let entry = (file.name.clone(), file.key.clone());
            if file.deleted.is_some() {
                self.trash.files.insert(entry);
            } else {
                self.children
                    .entry(file.parent.clone())
                    .or_default()
                    .files
                    .insert(entry);
            }
        }
        self.unseen = self.files().filter(|file| file.unseen).count();
        self.used = self
            .files
            .values()
            .filter(|file| self.is_live_file(&file.key))
            .map(|file| file.content.size)
            .sum();
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Bytes of the live files. What lies in the trash does not count.
    pub fn used(&self) -> u64 {
        self.used
    }

    pub fn file(&self, key: &str) -> Option<&File> {
        self.files.get(key).map(Box::as_ref)
    }

    pub fn folder(&self, key: &str) -> Option<&Folder> {
        self.folders.get(key)
    }

    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values().map(Box::as_ref)
    }

    /// How many files do not stand on the disk.
    pub fn unseen(&self) -> usize {
        self.unseen
    }

    pub fn is_live_folder(&self, key: &str) -> bool {
        let mut key = key;
        let mut steps = 0;
        while key != ROOT {
            match self.folders.get(key) {
                Some(folder) if folder.deleted.is_none() && steps < 10_000 => key = &folder.parent,
                _ => return false,
            }
            steps += 1;
        }
        true
    }

    pub fn is_live_file(&self, key: &str) -> bool {
        self.files
            .get(key)
            .is_some_and(|file| file.deleted.is_none() && self.is_live_folder(&file.parent))
    }

    pub fn folder_revision(&self, key: &str) -> u64 {
        if key == ROOT {
            self.root_revision
        } else {
            self.folders.get(key).map_or(0, |folder| folder.revision)
        }
    }

    pub fn folders_in(&self, parent: &str) -> impl Iterator<Item = &Folder> {
        self.children
            .get(parent)
            .into_iter()
            .flat_map(|children| &children.folders)
            .filter_map(|(_, key)| self.folders.get(key))
    }

    pub fn files_in(&self, parent: &str) -> impl Iterator<Item = &File> {
        self.children
            .get(parent)
            .into_iter()
            .flat_map(|children| &children.files)
            .filter_map(|(_, key)| self.file(key))
    }

    /// The files of a folder after the first `start`, by name.
    pub fn files_from(&self, parent: &str, start: usize) -> impl Iterator<Item = &File> {
        self.children
            .get(parent)
            .into_iter()
            .flat_map(move |children| children.files.iter().skip(start))
            .filter_map(|(_, key)| self.file(key))
    }

    /// How many folders and files a folder directly holds.
    pub fn counts(&self, parent: &str) -> (usize, usize) {
        self.children
            .get(parent)
            .map_or((0, 0), |children| (children.folders.len(), children.files.len()))
    }

    pub fn trashed_files(&self) -> impl Iterator<Item = &File> {
        let trashed = self.trash.files.iter();
        trashed.filter_map(|(_, key)| self.file(key))
    }

    pub fn trashed_folders(&self) -> impl Iterator<Item = &Folder> {
        let trashed = self.trash.folders.iter();
        trashed.filter_map(|(_, key)| self.folders.get(key))
    }

    pub fn file_named(&self, parent: &str, name: &str) -> Option<&File> {
        let first = (name.to_owned(), String::new());
        let (found, key) = self.children.get(parent)?.files.range(first..).next()?;
        if found == name { self.file(key) } else { None }
    }

    pub fn folder_named(&self, parent: &str, name: &str) -> Option<&Folder> {
        let first = (name.to_owned(), String::new());
        let (found, key) = self.children.get(parent)?.folders.range(first..).next()?;
        if found == name {
            self.folders.get(key)
        } else {
            None
        }
    }

    /// A live file anywhere in the account that holds this content.
    pub fn file_holding(&self, sha256: &str) -> Option<&File> {
        self.files()
            .find(|file| file.content.sha256 == sha256 && self.is_live_file(&file.key))
    }

    /// What stands at an absolute path; slashes at its ends and doubled ones do not matter.
    pub fn resolve(&self, path: &str) -> Option<Node> {
        let mut key = ROOT.to_owned();
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            match self.folder_named(&key, part) {
                Some(folder) => key = folder.key.clone(),
                None if parts.peek().is_none() => {
                    return self
                        .file_named(&key, part)
                        .map(|file| Node::File(file.key.clone()));
                }
                None => return None,
            }
        }
        Some(Node::Folder(key))
    }

    /// The file at a path, even where a folder of that name stands beside it.
    pub fn resolve_file(&self, path: &str) -> Option<&File> {
        let path = path.trim_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.resolve(parent)? {
            Node::Folder(key) => self.file_named(&key, name),
            Node::File(_) => None,
        }
    }

    /// The path of a folder, without a slash at either end; the root's is empty.
    pub fn folder_path(&self, key: &str) -> String {
        let mut names: Vec<&str> = self
            .chain(key)
            .iter()
            .map(|folder| folder.name.as_str())
            .collect();
        names.reverse();
        names.join("/")
    }

    pub fn file_path(&self, file: &File) -> String {
        let folder = self.folder_path(&file.parent);
        if folder.is_empty() {
            file.name.clone()
        } else {
            format!("{folder}/{}", file.name)
        }
    }

    /// The folder and those above it, the root left out, innermost first.
    pub fn chain(&self, key: &str) -> Vec<&Folder> {
        let mut chain = Vec::new();
        let mut key = key;
        while let Some(folder) = self.folders.get(key) {
            chain.push(folder);
            key = &folder.parent;
            if chain.len() > 10_000 {
                break;
            }
        }
        chain
    }

    pub fn depth(&self, key: &str) -> usize {
        self.chain(key).len()
    }

    /// Keys of all folders under `key`, without the trash: itself first, parents before children, each once.
    pub fn subtree(&self, key: &str) -> Vec<String> {
        let mut found = vec![key.to_owned()];
        let mut at = 0;
        while let Some(parent) = found.get(at).cloned() {
            // A circle of folders leads back to where it began, and nowhere else.
            let below = self.folders_in(&parent).filter(|folder| folder.key != key);
            found.extend(below.map(|folder| folder.key.clone()));
            at += 1;
        }
        found
    }

    /// Total of folders, files and bytes under a folder.
    pub fn totals(&self, key: &str) -> (usize, usize, u64) {
        let folders = self.subtree(key);
        let mut files = 0;
        let mut bytes = 0;
        for folder in &folders {
            for file in self.files_in(folder) {
                files += 1;
                bytes += file.content.size;
            }
        }
        (folders.len() - 1, files, bytes)
    }

    /// `name`, or the first of `name(2).ext`, `name(3).ext`, ... that the folder does not hold yet.
    pub fn free_name(&self, parent: &str, name: &str, kind: Kind) -> String {
        let taken = |name: &str| match kind {
            Kind::File => self.file_named(parent, name).is_some(),
            Kind::Folder => self.folder_named(parent, name).is_some(),
        };
        if !taken(name) {
            return name.to_owned();
        }
        let (stem, extension) = match name.rfind('.') {
            Some(at) if at > 0 && kind == Kind::File => name.split_at(at),
            _ => (name, ""),
        };
        (2..)
            .map(|number: u64| format!("{stem}({number}){extension}"))
            .find(|name| !taken(name))
            .unwrap_or_else(|| name.to_owned())
    }

    /// What changed after `after`, up to and with `until`: each node once, with its present state.
    pub fn changes(&self, after: u64, until: u64) -> impl Iterator<Item = &(Kind, String)> {
        let start = after.saturating_add(1);
        (start <= until)
            .then(|| self.feed.range(start..=until))
            .into_iter()
            .flatten()
            .map(|(_, node)| node)
    }

    /// All content that any file, live, trashed or past, still names.
    pub fn contents(&self) -> HashSet<&str> {
        self.files
            .values()
            .flat_map(|file| {
                file.versions
                    .iter()
                    .map(|version| &version.content)
                    .chain([&file.content])
            })
            .map(|content| content.sha256.as_str())
            .collect()
    }

    pub fn take_ops(&mut self) -> Vec<ViewOp> {
        std::mem::take(&mut self.ops)
    }

    pub fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    /// Steps that build the whole live tree: what a view at start is brought in step with.
    pub fn all_ops(&self) -> Vec<ViewOp> {
        self.ops_below(ROOT)
    }

    fn ops_below(&self, key: &str) -> Vec<ViewOp> {
        let mut ops = Vec::new();
        for key in self.subtree(key) {
            if let Some(folder) = self.folders.get(&key) {
                ops.push(change::put_folder(folder));
            }
            let seen = self.files_in(&key).filter(|file| !file.unseen);
            ops.extend(seen.map(change::put_file));
        }
        ops
    }
}
