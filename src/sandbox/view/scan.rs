//! Finding what people did to the plain files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{Place, Stamp, View};
use crate::sandbox::tree::{Content, Kind, ROOT};

/// A change that was made by hand, to be taken up by the account. The view has already noted it.
#[derive(Debug)]
pub enum Found {
    Folder {
        key: String,
        parent: String,
        name: String,
        created: i64,
    },
    File {
        key: String,
        parent: String,
        name: String,
        content: Content,
        created: i64,
    },
    Changed {
        key: String,
        content: Content,
        created: i64,
    },
    Moved {
        kind: Kind,
        key: String,
        parent: String,
        name: String,
    },
    Removed {
        kind: Kind,
        key: String,
    },
}

/// Live nodes that have no place on disk by the view's notes, by parent and name: after a crash the disk
/// may hold them all the same.
pub type Unplaced = HashMap<(String, String), (Kind, String, Option<Content>)>;

pub struct ScanRules<'a> {
    /// A file is left alone until it has been still for this long.
    pub quiet: Duration,
    /// Look at every file, not only into directories whose time moved.
    pub thorough: bool,
    pub unplaced: &'a Unplaced,
    pub mint: &'a dyn Fn(Kind) -> String,
}

struct Stranger {
    parent: String,
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

#[derive(Default)]
struct Sighting {
    strangers: Vec<Stranger>,
    missing: Vec<(Kind, String)>,
    changed: Vec<(String, PathBuf, Stamp)>,
    /// Directories that must be listed again since something in them was not ripe.
    unripe: HashSet<String>,
}

impl View {
    /// Compares the disk with the view's notes. Blocks.
    pub fn scan(&mut self, rules: &ScanRules<'_>) -> Vec<Found> {
        if std::fs::create_dir_all(&self.root).is_err() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut sighting = Sighting::default();
        self.look(ROOT, rules, &mut sighting);
        let mut lost = HashMap::new();
        self.note_lost(&sighting.missing, &mut lost);
        let mut strangers: VecDeque<Stranger> = sighting.strangers.drain(..).collect();
        while let Some(stranger) = strangers.pop_front() {
            let taken = if stranger.metadata.is_dir() {
                let folder = self.take_folder(&stranger, rules, &mut lost, &mut found);
                let mut inside = Sighting::default();
                self.look(&folder, rules, &mut inside);
                self.note_lost(&inside.missing, &mut lost);
                strangers.extend(inside.strangers);
                sighting.changed.extend(inside.changed);
                sighting.missing.extend(inside.missing);
                Ok(true)
            } else {
                self.take_file(&stranger, rules, &mut lost, &mut found)
            };
            if !matches!(taken, Ok(true)) {
                sighting.unripe.insert(stranger.parent);
            }
        }
        for (key, path, stamp) in std::mem::take(&mut sighting.changed) {
            if !matches!(self.take_change(&key, path, stamp, rules, &mut found), Ok(true))
                && let Some(place) = self.places.files.get(&key)
            {
                sighting.unripe.insert(place.parent.clone());
            }
        }
        let moved: HashSet<(Kind, String)> = found
            .iter()
            .filter_map(|found| match found {
                Found::Moved { kind, key, .. } => Some((*kind, key.clone())),
                _ => None,
            })
            .collect();
        for (kind, key) in sighting.missing {
            if !moved.contains(&(kind, key.clone())) && self.place_of(kind, &key).is_some() {
                if kind == Kind::Folder {
                    self.forget_below(&key);
                }
                self.unplace(kind, &key);
                found.push(Found::Removed { kind, key });
            }
        }
        for folder in sighting.unripe {
            self.listed.remove(&folder);
        }
        self.steps += found.len() as u64;
        found
    }

    /// Notes by inode what is not where it was: it may turn up elsewhere.
    fn note_lost(&self, missing: &[(Kind, String)], lost: &mut HashMap<u64, (Kind, String)>) {
        for (kind, key) in missing {
            if let Some(place) = self.place_of(*kind, key) {
                lost.insert(place.inode, (*kind, key.clone()));
            }
        }
    }

    fn place_of(&self, kind: Kind, key: &str) -> Option<&Place> {
        match kind {
            Kind::File => self.places.files.get(key),
            Kind::Folder => self.places.folders.get(key),
        }
    }

    /// Looks into a folder and, breadth first, into the known folders below it.
    fn look(&mut self, folder: &str, rules: &ScanRules<'_>, sighting: &mut Sighting) {
        let mut queue = VecDeque::from([folder.to_owned()]);
        while let Some(key) = queue.pop_front() {
            if let Err(error) = self.look_into(&key, rules, sighting, &mut queue) {
                tracing::debug!(%error, "a live folder could not be listed");
                sighting.unripe.insert(key);
            }
        }
    }

    fn look_into(
        &mut self,
        key: &str,
        rules: &ScanRules<'_>,
        sighting: &mut Sighting,
        queue: &mut VecDeque<String>,
    ) -> io::Result<()> {
        let path = self.folder_path(key)?;
        let metadata = std::fs::symlink_metadata(&path)?;
        let time = (metadata.mtime(), metadata.mtime_nsec());
        if !rules.thorough && self.listed.get(key) == Some(&time) {
            let folders = self
                .children(key)
                .into_iter()
                .filter(|(kind, _)| *kind == Kind::Folder);
            queue.extend(folders.map(|(_, key)| key));
            return Ok(());
        }
        let mut seen = HashSet::new();
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else { continue };
            let known = self.taken.get(&(key.to_owned(), name.clone()));
            match known {
                Some((Kind::Folder, folder)) if metadata.is_dir() => {
                    seen.insert((Kind::Folder, folder.clone()));
                    queue.push_back(folder.clone());
                }
                Some((Kind::File, file)) if metadata.is_file() => {
                    seen.insert((Kind::File, file.clone()));
                    let stamp = Stamp::of(&metadata);
                    let held = self.places.files.get(file).and_then(|place| place.held.as_ref());
                    if held.is_none_or(|(_, held)| *held != stamp) {
                        sighting.changed.push((file.clone(), entry.path(), stamp));
                    }
                }
                _ if metadata.is_dir() || metadata.is_file() => {
                    let parent = key.to_owned();
                    sighting.strangers.push(Stranger {
                        parent,
                        name,
                        path: entry.path(),
                        metadata,
                    });
                }
                _ => {}
            }
        }
        let missing = self
            .children(key)
            .into_iter()
            .filter(|child| !seen.contains(child));
        sighting.missing.extend(missing);
        self.listed.insert(key.to_owned(), time);
        Ok(())
    }

    /// Makes a directory a folder of the account: one that was moved here, one known from before a crash,
    /// or a new one. Answers its key.
    fn take_folder(
        &mut self,
        stranger: &Stranger,
        rules: &ScanRules<'_>,
        lost: &mut HashMap<u64, (Kind, String)>,
        found: &mut Vec<Found>,
    ) -> String {
        let place = self.place_for(stranger, None);
        if let Some((Kind::Folder, key)) = lost.get(&place.inode).cloned() {
            lost.remove(&place.inode);
            self.place(Kind::Folder, &key, place);
            let (parent, name) = (stranger.parent.clone(), stranger.name.clone());
            found.push(Found::Moved {
                kind: Kind::Folder,
                key: key.clone(),
                parent,
                name,
            });
            return key;
        }
        let address = (stranger.parent.clone(), stranger.name.clone());
        if let Some((Kind::Folder, key, _)) = rules.unplaced.get(&address) {
            self.place(Kind::Folder, key, place);
            return key.clone();
        }
        let key = (rules.mint)(Kind::Folder);
        self.place(Kind::Folder, &key, place);
        let (parent, name) = address;
        found.push(Found::Folder {
            key: key.clone(),
            parent,
            name,
            created: stranger.metadata.mtime(),
        });
        key
    }

    /// `false`: not ripe yet.
    fn take_file(
        &mut self,
        stranger: &Stranger,
        rules: &ScanRules<'_>,
        lost: &mut HashMap<u64, (Kind, String)>,
        found: &mut Vec<Found>,
    ) -> io::Result<bool> {
        let stamp = Stamp::of(&stranger.metadata);
        let (parent, name) = (stranger.parent.clone(), stranger.name.clone());
        if let Some((Kind::File, key)) = lost.get(&stamp.inode).cloned()
            && let Some((content, held)) = self.places.files.get(&key).and_then(|place| place.held.clone())
            && held == stamp
        {
            lost.remove(&stamp.inode);
            self.place(Kind::File, &key, self.place_for(stranger, Some((content, stamp))));
            found.push(Found::Moved {
                kind: Kind::File,
                key,
                parent,
                name,
            });
            return Ok(true);
        }
        if !is_still(&stranger.metadata, rules.quiet) {
            return Ok(false);
        }
        let content = self.blobs.copy_in(&stranger.path)?;
        let place = self.place_for(stranger, Some((content.clone(), stamp)));
        let address = (parent, name);
        if let Some((Kind::File, key, Some(held))) = rules.unplaced.get(&address)
            && *held == content
        {
            self.place(Kind::File, key, place);
            return Ok(true);
        }
        let key = (rules.mint)(Kind::File);
        self.place(Kind::File, &key, place);
        let (parent, name) = address;
        found.push(Found::File {
            key,
            parent,
            name,
            content,
            created: stamp.seconds,
        });
        Ok(true)
    }

    fn take_change(
        &mut self,
        key: &str,
        path: PathBuf,
        stamp: Stamp,
        rules: &ScanRules<'_>,
        found: &mut Vec<Found>,
    ) -> io::Result<bool> {
        if !is_still(&std::fs::symlink_metadata(&path)?, rules.quiet) {
            return Ok(false);
        }
        let content = self.blobs.copy_in(&path)?;
        let Some(place) = self.places.files.get_mut(key) else {
            return Ok(true);
        };
        place.inode = stamp.inode;
        place.held = Some((content.clone(), stamp));
        found.push(Found::Changed {
            key: key.to_owned(),
            content,
            created: stamp.seconds,
        });
        Ok(true)
    }

    fn place_for(&self, stranger: &Stranger, held: Option<(Content, Stamp)>) -> Place {
        Place {
            parent: stranger.parent.clone(),
            name: stranger.name.clone(),
            disk: stranger.name.clone(),
            inode: stranger.metadata.ino(),
            held,
        }
    }
}

fn is_still(metadata: &Metadata, quiet: Duration) -> bool {
    quiet.is_zero()
        || metadata.modified().is_ok_and(|modified| {
            SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age >= quiet)
        })
}
