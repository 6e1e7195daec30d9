//! The live files of one account as plain files on disk, kept in step both ways.
//!
//! Changes of the account arrive as [`ViewOp`]s and are carried out in order. Changes that people make to
//! the plain files are found by [`View::scan`] and handed back as [`Found`]. A live file is a copy of its
//! blob (a reflink where the file system has them), never a hard link: an edit in place by hand therefore
//! cannot reach the blob store. Folders are renamed and moved as one directory rename.
//!
//! A name that the disk cannot hold, or that a sibling has already, is shown with the key added:
//! `name (key).ext`. That name stays while the entry lives.

mod scan;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::tree::{Content, Kind, ROOT, ViewOp};
pub use scan::{Found, ScanRules, Unplaced};

/// The longest name that common file systems hold, in bytes.
const NAME_MAX: usize = 255;

/// What tells one state of a plain file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            size: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            inode: metadata.ino(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    parent: String,
    /// The account's name for it.
    name: String,
    /// Its name on disk.
    disk: String,
    inode: u64,
    /// Files only.
    held: Option<(Content, Stamp)>,
}

/// Where each live node stands on disk. Stored beside the account's state.
#[derive(Default, Serialize, Deserialize)]
pub struct Places {
    folders: HashMap<String, Place>,
    files: HashMap<String, Place>,
}

impl Places {
    pub fn holds(&self, kind: Kind, key: &str) -> bool {
        match kind {
            Kind::File => self.files.contains_key(key),
            Kind::Folder => self.folders.contains_key(key),
        }
    }
}

pub struct View {
    root: PathBuf,
    blobs: Arc<Blobs>,
    places: Places,
    /// Who stands under a name on disk, by parent key and name.
    taken: BTreeMap<(String, String), (Kind, String)>,
    /// The modification time of each directory when it was last listed.
    listed: HashMap<String, (i64, i64)>,
    /// Counts what was carried out, so that an unchanged view need not be stored again.
    steps: u64,
}

impl View {
    pub fn open(root: PathBuf, blobs: Arc<Blobs>, places: Places) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        let mut taken = BTreeMap::new();
        for (key, place) in &places.folders {
            taken.insert(
                (place.parent.clone(), place.disk.clone()),
                (Kind::Folder, key.clone()),
            );
        }
        for (key, place) in &places.files {
            taken.insert(
                (place.parent.clone(), place.disk.clone()),
                (Kind::File, key.clone()),
            );
        }
        Ok(Self {
            root,
            blobs,
            places,
            taken,
            listed: HashMap::new(),
            steps: 0,
        })
    }

    pub fn places(&self) -> &Places {
        &self.places
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Carries out what happened in the account. A step that the disk refuses is reported to the log and
    /// left out: the account itself is not touched by it. Blocks.
    pub fn apply(&mut self, ops: Vec<ViewOp>) {
        for op in ops {
            self.steps += 1;
            if let Err(error) = self.apply_one(&op) {
                tracing::warn!(%error, ?op, "the live view could not follow a change");
            }
        }
    }

    fn apply_one(&mut self, op: &ViewOp) -> io::Result<()> {
        match op {
            ViewOp::PutFolder { key, parent, name } => self.put_folder(key, parent, name),
            ViewOp::PutFile {
                key,
                parent,
                name,
                content,
                created,
            } => self.put_file(key, parent, name, content, *created),
            ViewOp::DropFolder { key } => self.drop_folder(key),
            ViewOp::DropFile { key } => self.drop_file(key),
        }
    }

    fn put_folder(&mut self, key: &str, parent: &str, name: &str) -> io::Result<()> {
        if let Some(place) = self.places.folders.get(key) {
            if place.parent == parent && place.name == name {
                return Ok(());
            }
            return self.relocate(Kind::Folder, key, parent, name);
        }
        let directory = self.folder_path(parent)?;
        let disk = self.free_name(&directory, parent, name, Kind::Folder, key);
        let path = directory.join(&disk);
        std::fs::create_dir(&path)?;
        let inode = std::fs::symlink_metadata(&path)?.ino();
        self.place(
            Kind::Folder,
            key,
            Place {
                parent: parent.to_owned(),
                name: name.to_owned(),
                disk,
                inode,
                held: None,
            },
        );
        Ok(())
    }

    fn put_file(
        &mut self,
        key: &str,
        parent: &str,
        name: &str,
        content: &Content,
        created: i64,
    ) -> io::Result<()> {
        let placed = self.places.files.get(key).map(|place| {
            let same = place.held.as_ref().is_some_and(|(held, _)| held == content);
            (place.parent == parent && place.name == name, same)
        });
        let path = match placed {
            Some((here, _)) => {
                if !here {
                    self.relocate(Kind::File, key, parent, name)?;
                }
                self.file_path(key)?
            }
            None => {
                let directory = self.folder_path(parent)?;
                directory.join(self.free_name(&directory, parent, name, Kind::File, key))
            }
        };
        if placed.is_none_or(|(_, same)| !same) {
            let temp = tempfile::NamedTempFile::new_in(self.blobs.temp_dir())?.into_temp_path();
            std::fs::copy(self.blobs.path(&content.sha256), &temp)?;
            make_readable(&temp)?;
            temp.persist(&path).map_err(|error| error.error)?;
        }
        set_modified(&path, created)?;
        let stamp = Stamp::of(&std::fs::symlink_metadata(&path)?);
        let disk = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        self.place(
            Kind::File,
            key,
            Place {
                parent: parent.to_owned(),
                name: name.to_owned(),
                disk,
                inode: stamp.inode,
                held: Some((content.clone(), stamp)),
            },
        );
        Ok(())
    }

    fn relocate(&mut self, kind: Kind, key: &str, parent: &str, name: &str) -> io::Result<()> {
        let from = match kind {
            Kind::File => self.file_path(key)?,
            Kind::Folder => self.folder_path(key)?,
        };
        let directory = self.folder_path(parent)?;
        let disk = self.free_name(&directory, parent, name, kind, key);
        std::fs::rename(from, directory.join(&disk))?;
        let Some(mut place) = self.unplace(kind, key) else {
            return Ok(());
        };
        place.parent = parent.to_owned();
        place.name = name.to_owned();
        place.disk = disk;
        self.place(kind, key, place);
        Ok(())
    }

    fn drop_file(&mut self, key: &str) -> io::Result<()> {
        let Ok(path) = self.file_path(key) else {
            return Ok(());
        };
        self.unplace(Kind::File, key);
        ignore_missing(std::fs::remove_file(path))
    }

    fn drop_folder(&mut self, key: &str) -> io::Result<()> {
        let Ok(path) = self.folder_path(key) else {
            return Ok(());
        };
        self.forget_below(key);
        self.unplace(Kind::Folder, key);
        ignore_missing(std::fs::remove_dir_all(path))
    }

    fn forget_below(&mut self, key: &str) {
        for (kind, child) in self.children(key) {
            if kind == Kind::Folder {
                self.forget_below(&child);
            }
            self.unplace(kind, &child);
        }
        self.listed.remove(key);
    }

    fn children(&self, parent: &str) -> Vec<(Kind, String)> {
        self.taken
            .range((parent.to_owned(), String::new())..)
            .take_while(|((found, _), _)| found == parent)
            .map(|(_, child)| child.clone())
            .collect()
    }

    fn place(&mut self, kind: Kind, key: &str, place: Place) {
        self.unplace(kind, key);
        self.taken
            .insert((place.parent.clone(), place.disk.clone()), (kind, key.to_owned()));
        match kind {
            Kind::File => self.places.files.insert(key.to_owned(), place),
            Kind::Folder => self.places.folders.insert(key.to_owned(), place),
        };
    }

    fn unplace(&mut self, kind: Kind, key: &str) -> Option<Place> {
        let place = match kind {
            Kind::File => self.places.files.remove(key),
            Kind::Folder => self.places.folders.remove(key),
        }?;
        let address = (place.parent.clone(), place.disk.clone());
        if self
            .taken
            .get(&address)
            .is_some_and(|holder| *holder == (kind, key.to_owned()))
        {
            self.taken.remove(&address);
        }
        Some(place)
    }

    fn folder_path(&self, key: &str) -> io::Result<PathBuf> {
        let mut names = Vec::new();
        let mut key = key;
        while key != ROOT {
            let place = self.places.folders.get(key).ok_or(io::ErrorKind::NotFound)?;
            names.push(&place.disk);
            key = &place.parent;
        }
        let mut path = self.root.clone();
        path.extend(names.into_iter().rev());
        Ok(path)
    }

    fn file_path(&self, key: &str) -> io::Result<PathBuf> {
        let place = self.places.files.get(key).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.folder_path(&place.parent)?.join(&place.disk))
    }

    /// A name for the disk that nobody has, not even a plain file that waits to be taken up.
    fn free_name(&self, directory: &Path, parent: &str, name: &str, kind: Kind, key: &str) -> String {
        let usable =
            !matches!(name, "" | "." | "..") && name.len() <= NAME_MAX && !name.contains(['/', '\0']);
        let mine = |disk: &str| {
            self.taken
                .get(&(parent.to_owned(), disk.to_owned()))
                .is_some_and(|(held, holder)| (*held, holder.as_str()) == (kind, key))
        };
        if usable && (mine(name) || !directory.join(name).exists()) {
            return name.to_owned();
        }
        let clean: String = name
            .chars()
            .map(|c| if matches!(c, '/' | '\0') { '_' } else { c })
            .collect();
        let (stem, extension) = match clean.rfind('.') {
            Some(at) if at > 0 && clean.len() - at <= 16 => clean.split_at(at),
            _ => (clean.as_str(), ""),
        };
        let mut room = NAME_MAX
            .saturating_sub(key.len() + 3 + extension.len())
            .min(stem.len());
        while !stem.is_char_boundary(room) {
            room -= 1;
        }
        format!("{} ({key}){extension}", stem.get(..room).unwrap_or_default())
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Temporary files are private to their maker; live files are for everybody to look at.
fn make_readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

fn set_modified(path: &Path, seconds: i64) -> io::Result<()> {
    let offset = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(offset)
    } else {
        UNIX_EPOCH.checked_add(offset)
    };
    let file = std::fs::File::options().write(true).open(path)?;
    file.set_modified(time.unwrap_or(SystemTime::UNIX_EPOCH))
}
