//! How a tree changes: every function keeps the indexes, the change feed and the view's steps in step.

use super::{Children, Content, File, Folder, Kind, ROOT, Tree, Version, ViewOp};

/// How many former contents of a file are kept.
const VERSIONS_KEPT: usize = 20;

pub(super) fn put_folder(folder: &Folder) -> ViewOp {
    ViewOp::PutFolder {
        key: folder.key.clone(),
        parent: folder.parent.clone(),
        name: folder.name.clone(),
    }
}

pub(super) fn put_file(file: &File) -> ViewOp {
    ViewOp::PutFile {
        key: file.key.clone(),
        parent: file.parent.clone(),
        name: file.name.clone(),
        content: file.content.clone(),
        created: file.created,
    }
}

impl Tree {
    fn children_of(&mut self, parent: &str) -> &mut Children {
        self.children.entry(parent.to_owned()).or_default()
    }

    fn bump(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn stir(&mut self, parent: &str) {
        let revision = self.revision;
        if parent == ROOT {
            self.root_revision = revision;
        } else if let Some(folder) = self.folders.get_mut(parent) {
            folder.revision = revision;
        }
    }

    /// Gives the file a new revision and tells the feed and, when it is live, the view.
    fn note_file(&mut self, key: &str) {
        let revision = self.bump();
        let live = self.is_live_file(key);
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        self.feed.remove(&file.revision);
        file.revision = revision;
        self.feed.insert(revision, (Kind::File, key.to_owned()));
        let parent = file.parent.clone();
        if live && !file.unseen {
            self.ops.push(put_file(file));
        }
        self.stir(&parent);
    }

    fn note_folder(&mut self, key: &str) {
        let revision = self.bump();
        let live = self.is_live_folder(key);
        let Some(folder) = self.folders.get_mut(key) else {
            return;
        };
        self.feed.remove(&folder.changed);
        folder.changed = revision;
        folder.revision = revision;
        self.feed.insert(revision, (Kind::Folder, key.to_owned()));
        let parent = folder.parent.clone();
        if live {
            self.ops.push(put_folder(folder));
        }
        self.stir(&parent);
    }

    pub fn add_folder(&mut self, key: &str, parent: &str, name: &str, created: i64) {
        let folder = Folder {
            key: key.to_owned(),
            name: name.to_owned(),
            parent: parent.to_owned(),
            description: String::new(),
            private: false,
            created,
            revision: 0,
            changed: 0,
            deleted: None,
        };
        self.children_of(parent)
            .folders
            .insert((name.to_owned(), key.to_owned()));
        self.folders.insert(key.to_owned(), folder);
        self.note_folder(key);
    }

    /// Adds a file whose name may equal a sibling's. `created` is its time, `now` that of its first version.
    pub fn add_file(
        &mut self,
        key: &str,
        parent: &str,
        name: &str,
        content: Content,
        created: i64,
        now: i64,
    ) {
        self.enter_file(new_file(key, parent, name, content.clone(), created));
        let revision = self.revision;
        if let Some(file) = self.files.get_mut(key) {
            file.versions.push(Version {
                revision,
                content,
                date: now,
            });
        }
    }

    /// Adds one of very many files, which does not stand on the disk until it gets content of its own.
    pub fn add_unseen_file(&mut self, key: &str, parent: &str, name: &str, content: &Content, created: i64) {
        self.enter_file(File {
            unseen: true,
            ..new_file(key, parent, name, content.clone(), created)
        });
    }

    fn enter_file(&mut self, file: File) {
        let key = file.key.clone();
        self.children_of(&file.parent)
            .files
            .insert((file.name.clone(), key.clone()));
        self.used += file.content.size;
        self.unseen += usize::from(file.unseen);
        self.files.insert(key.clone(), Box::new(file));
        self.note_file(&key);
    }

    /// Gives a live file new content under the same key; the former one stays as a version.
    pub fn put_content(&mut self, key: &str, content: Content, created: i64, now: i64) {
        let live = self.is_live_file(key);
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        if live {
            self.used = self
                .used
                .saturating_sub(file.content.size)
                .saturating_add(content.size);
        }
        file.content = content.clone();
        file.created = created;
        self.unseen -= usize::from(std::mem::take(&mut file.unseen));
        self.note_file(key);
        let revision = self.revision;
        if let Some(file) = self.files.get_mut(key) {
            file.versions.push(Version {
                revision,
                content,
                date: now,
            });
            if file.versions.len() > VERSIONS_KEPT {
                file.versions.remove(0);
            }
        }
    }

    /// Changes what is neither name, place nor content.
    pub fn edit_file(&mut self, key: &str, edit: impl FnOnce(&mut File)) {
        if let Some(file) = self.files.get_mut(key) {
            edit(file);
            self.note_file(key);
        }
    }

    /// Changes what is neither name nor place.
    pub fn edit_folder(&mut self, key: &str, edit: impl FnOnce(&mut Folder)) {
        if let Some(folder) = self.folders.get_mut(key) {
            edit(folder);
            self.note_folder(key);
        }
    }

    /// Counts a download; that changes no revision.
    pub fn count_download(&mut self, key: &str) {
        if let Some(file) = self.files.get_mut(key) {
            file.downloads += 1;
        }
    }

    /// Renames and moves in one step.
    pub fn place_file(&mut self, key: &str, parent: &str, name: &str) {
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        let from = std::mem::replace(&mut file.parent, parent.to_owned());
        let old = std::mem::replace(&mut file.name, name.to_owned());
        self.children_of(&from).files.remove(&(old, key.to_owned()));
        self.children_of(parent)
            .files
            .insert((name.to_owned(), key.to_owned()));
        self.note_file(key);
        self.stir(&from);
    }

    /// Renames and moves in one step. Into its own subtree, the folder and all below it are lost from the
    /// root, and a later move out of the circle brings them back.
    pub fn place_folder(&mut self, key: &str, parent: &str, name: &str) {
        let was_live = self.is_live_folder(key);
        let Some(folder) = self.folders.get_mut(key) else {
            return;
        };
        let from = std::mem::replace(&mut folder.parent, parent.to_owned());
        let old = std::mem::replace(&mut folder.name, name.to_owned());
        self.children_of(&from).folders.remove(&(old, key.to_owned()));
        self.children_of(parent)
            .folders
            .insert((name.to_owned(), key.to_owned()));
        self.note_folder(key);
        self.stir(&from);
        match (was_live, self.is_live_folder(key)) {
            (true, false) => {
                self.used = self.used.saturating_sub(self.totals(key).2);
                self.ops.push(ViewOp::DropFolder { key: key.to_owned() });
            }
            (false, true) => {
                self.used = self.used.saturating_add(self.totals(key).2);
                let ops = self.ops_below(key);
                self.ops.extend(ops);
            }
            _ => {}
        }
    }

    pub fn trash_file(&mut self, key: &str, now: i64) {
        if !self.is_live_file(key) {
            return;
        }
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        file.deleted = Some(now);
        let (parent, entry, size) = (
            file.parent.clone(),
            (file.name.clone(), key.to_owned()),
            file.content.size,
        );
        self.used = self.used.saturating_sub(size);
        self.children_of(&parent).files.remove(&entry);
        self.trash.files.insert(entry);
        self.note_file(key);
        self.ops.push(ViewOp::DropFile { key: key.to_owned() });
    }

    pub fn trash_folder(&mut self, key: &str, now: i64) {
        if key == ROOT || !self.is_live_folder(key) {
            return;
        }
        let (_, _, bytes) = self.totals(key);
        let Some(folder) = self.folders.get_mut(key) else {
            return;
        };
        folder.deleted = Some(now);
        let (parent, entry) = (folder.parent.clone(), (folder.name.clone(), key.to_owned()));
        self.used = self.used.saturating_sub(bytes);
        self.children_of(&parent).folders.remove(&entry);
        self.trash.folders.insert(entry);
        self.note_folder(key);
        self.ops.push(ViewOp::DropFolder { key: key.to_owned() });
    }

    /// Takes a file back out of the trash, to where it was.
    pub fn restore_file(&mut self, key: &str) {
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        if file.deleted.take().is_none() {
            return;
        }
        let (parent, entry, size) = (
            file.parent.clone(),
            (file.name.clone(), key.to_owned()),
            file.content.size,
        );
        self.trash.files.remove(&entry);
        self.children_of(&parent).files.insert(entry);
        if self.is_live_file(key) {
            self.used += size;
        }
        self.note_file(key);
    }

    /// Takes a file out of the trash into a folder, under a name.
    pub fn bring_back_file(&mut self, key: &str, parent: &str, name: &str) {
        let Some(file) = self.files.get_mut(key) else {
            return;
        };
        // First where it is to be, since it may come back to a folder that is gone.
        let entry = (std::mem::replace(&mut file.name, name.to_owned()), key.to_owned());
        file.parent = parent.to_owned();
        self.trash.files.remove(&entry);
        self.restore_file(key);
    }

    /// Takes a folder out of the trash into another, under a name, with all below it.
    pub fn bring_back_folder(&mut self, key: &str, parent: &str, name: &str) {
        let Some(folder) = self.folders.get_mut(key) else {
            return;
        };
        let entry = (
            std::mem::replace(&mut folder.name, name.to_owned()),
            key.to_owned(),
        );
        folder.parent = parent.to_owned();
        self.trash.folders.remove(&entry);
        self.restore_folder(key);
    }

    /// Takes a folder back out of the trash, to where it was, with all below it.
    pub fn restore_folder(&mut self, key: &str) {
        let Some(folder) = self.folders.get_mut(key) else {
            return;
        };
        if folder.deleted.take().is_none() {
            return;
        }
        let (parent, entry) = (folder.parent.clone(), (folder.name.clone(), key.to_owned()));
        self.trash.folders.remove(&entry);
        self.children_of(&parent).folders.insert(entry);
        self.note_folder(key);
        if self.is_live_folder(key) {
            self.used += self.totals(key).2;
            let ops = self.ops_below(key);
            self.ops.extend(ops);
        }
    }

    /// Removes a file for good. The feed forgets it, and so never tells.
    pub fn purge_file(&mut self, key: &str) {
        let live = self.is_live_file(key);
        let Some(file) = self.files.remove(key) else {
            return;
        };
        self.unseen -= usize::from(file.unseen);
        self.bump();
        self.feed.remove(&file.revision);
        let entry = (file.name.clone(), file.key.clone());
        self.trash.files.remove(&entry);
        self.children_of(&file.parent).files.remove(&entry);
        self.stir(&file.parent);
        if live {
            self.used = self.used.saturating_sub(file.content.size);
            self.ops.push(ViewOp::DropFile { key: file.key });
        }
    }

    /// Removes a folder and all below it for good.
    pub fn purge_folder(&mut self, key: &str) {
        if key == ROOT || !self.folders.contains_key(key) {
            return;
        }
        self.bump();
        if self.is_live_folder(key) {
            let (_, _, bytes) = self.totals(key);
            self.used = self.used.saturating_sub(bytes);
            self.ops.push(ViewOp::DropFolder { key: key.to_owned() });
        }
        for folder in self.subtree(key) {
            if let Some(children) = self.children.remove(&folder) {
                for (_, file) in children.files {
                    if let Some(file) = self.files.remove(&file) {
                        self.unseen -= usize::from(file.unseen);
                        self.feed.remove(&file.revision);
                    }
                }
            }
            if let Some(folder) = self.folders.remove(&folder) {
                self.feed.remove(&folder.changed);
                let entry = (folder.name, folder.key);
                self.trash.folders.remove(&entry);
                self.children_of(&folder.parent).folders.remove(&entry);
                self.stir(&folder.parent);
            }
        }
        // Children trashed before their folder lie in the trash by themselves and stay there, as orphans
        // of the root: nothing can bring them back to a place that is gone.
        let orphans: Vec<String> = self
            .files
            .values()
            .filter(|file| file.parent != ROOT && !self.folders.contains_key(&file.parent))
            .map(|file| file.key.clone())
            .collect();
        for orphan in orphans {
            if let Some(file) = self.files.get_mut(&orphan) {
                file.parent = ROOT.to_owned();
            }
        }
    }

    pub fn empty_trash(&mut self) {
        let Children { folders, files } = std::mem::take(&mut self.trash);
        for (_, file) in files {
            self.purge_file(&file);
        }
        for (_, folder) in folders {
            self.purge_folder(&folder);
        }
    }
}

/// A file as it comes in, before it has a revision and a version.
fn new_file(key: &str, parent: &str, name: &str, content: Content, created: i64) -> File {
    File {
        key: key.to_owned(),
        name: name.to_owned(),
        parent: parent.to_owned(),
        description: String::new(),
        private: false,
        created,
        downloads: 0,
        revision: 0,
        deleted: None,
        artwork: None,
        content,
        unseen: false,
        versions: Vec::new(),
    }
}
