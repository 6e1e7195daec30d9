//! Contents that stay on this machine for good: of files whose service gives nothing back.
//!
//! Each is a file of its own in the state directory, known by account and id on the service. It is on the disk when
//! [`Pins::keep`] returns, and goes only when it is told to. A content that waited for its upload on the same file
//! system gets a second name, and costs nothing. This knows nothing of catalogs, and never changes a content.

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// How the names begin of what is being made.
const NEW: &str = "new-";

/// The pinned contents of a state directory. All clones are one.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: Arc<PathBuf>,
    made: Arc<AtomicU64>,
}

/// How much is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinnedSum {
    pub files: u64,
    pub bytes: u64,
}

impl Pins {
    /// Those in a directory, which is made with the first of them.
    pub(super) fn new(directory: PathBuf) -> Self {
        Pins {
            directory: Arc::new(directory),
            made: Arc::default(),
        }
    }

    fn path(&self, account: &str, id: &str) -> PathBuf {
        self.directory.join(name_of(account, id))
    }

    /// Keeps a content that nobody writes any more, in place of what was kept under that id. Copies it only where it
    /// lies on another file system, or on one that knows no second names. Blocks.
    pub fn keep(&self, account: &str, id: &str, content: &File) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&*self.directory)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let new = self.directory.join(format!("{NEW}{number}"));
        remove(&new)?;
        let kept = bring(content, &new).and_then(|()| fs::rename(&new, self.path(account, id)));
        // A rename leaves both names where they are of one file already. An error from before is the one to tell.
        let tidied = remove(&new);
        kept.and(tidied)?;
        self.sync()?;
        // The directory itself may be new.
        File::open(self.directory.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The content that is kept under an id, if it is one of `size` bytes.
    pub fn open(&self, account: &str, id: &str, size: u64) -> io::Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.path(account, id));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let facts = file.metadata()?;
        Ok((facts.is_file() && facts.len() == size).then_some(file))
    }

    /// Lets a content go. Who reads it reads on.
    pub fn remove(&self, account: &str, id: &str) -> io::Result<()> {
        remove(&self.path(account, id))
    }

    /// Keeps a content under another account's name as well, where there is one.
    pub fn share(&self, old: &str, new: &str, id: &str) -> io::Result<()> {
        match fs::hard_link(self.path(old, id), self.path(new, id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
    }

    /// The names of all that is kept. To be asked before it is found out what is wanted, so that nothing goes that came
    /// meanwhile.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let entries = match fs::read_dir(&*self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    /// Lets go of those of `names` that are not of these accounts and ids; how many there were.
    pub fn let_go<'a>(
        &self,
        names: Vec<OsString>,
        wanted: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<usize> {
        let wanted: HashSet<String> = wanted.map(|(account, id)| name_of(account, id)).collect();
        let is_new = |name: &OsString| name.as_bytes().starts_with(NEW.as_bytes());
        let is_unwanted = |name: &OsString| name.to_str().is_none_or(|name| !wanted.contains(name));
        let unwanted = names
            .into_iter()
            .filter(|name| !is_new(name) && is_unwanted(name));
        let mut count = 0;
        for name in unwanted {
            remove(&self.directory.join(name))?;
            count += 1;
        }
        Ok(count)
    }

    /// Clears away what a crash left: half of a copy, and second names of contents that still are in `staging`, where
    /// somebody may write to them. To be called before anybody does.
    pub fn recover(&self, staging: &Path) -> io::Result<()> {
        let names = self.names()?;
        if names.is_empty() {
            return Ok(());
        }
        let file_of = |facts: &fs::Metadata| (facts.dev(), facts.ino());
        let mut changeable = HashSet::new();
        for entry in fs::read_dir(staging)? {
            changeable.insert(file_of(&entry?.metadata()?));
        }
        for name in names {
            let path = self.directory.join(&name);
            let is_changeable = changeable.contains(&file_of(&fs::symlink_metadata(&path)?));
            if is_changeable || name.as_bytes().starts_with(NEW.as_bytes()) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// How much is kept. Looks at each file.
    pub fn sum(&self) -> io::Result<PinnedSum> {
        let mut sum = PinnedSum::default();
        for name in self.names()? {
            match fs::symlink_metadata(self.directory.join(name)) {
                Ok(facts) => {
                    sum.files += 1;
                    sum.bytes += facts.len();
                }
                // Let go this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&*self.directory)?.sync_all()
    }
}

/// A name that tells nothing of either, and is none that anything else here has.
fn name_of(account: &str, id: &str) -> String {
    let digest = Sha256::new()
        .chain_update((account.len() as u64).to_le_bytes())
        .chain_update(account)
        .chain_update(id)
        .finalize();
    hex::encode(&digest[..16])
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings a content under a name that is free, and onto the disk.
fn bring(content: &File, path: &Path) -> io::Result<()> {
    if link(content, path).is_ok() {
        return content.sync_all();
    }
    // By a descriptor of its own, whose position is nobody else's.
    let mut from = File::open(format!("/proc/self/fd/{}", content.as_raw_fd()))?;
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::copy(&mut from, &mut copy)?;
    copy.sync_all()
}

/// Gives an open file a second name on the same file system.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = CString::new(path.as_os_str().as_bytes())?;
    let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: both paths end with NUL and live through the call.
    match unsafe { libc::linkat(here, from.as_ptr(), here, to.as_ptr(), follow) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn file(path: &Path, content: &str) -> File {
        fs::write(path, content).unwrap();
        File::open(path).unwrap()
    }

    fn text(pins: &Pins, account: &str, id: &str, size: u64) -> Option<String> {
        let mut text = String::new();
        pins.open(account, id, size)
            .unwrap()?
            .read_to_string(&mut text)
            .unwrap();
        Some(text)
    }

    #[test]
    fn a_content_is_kept_when_its_first_name_goes_and_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::new(folder.path().join("pinned"));
        assert_eq!(pins.sum().unwrap(), PinnedSum::default());
        let staged = folder.path().join("staged");
        pins.keep("a", "1", &file(&staged, "old")).unwrap();
        fs::remove_file(&staged).unwrap();
        let first = file(&staged, "first");
        for _ in 0..2 {
            pins.keep("a", "1", &first).unwrap();
        }
        assert_eq!(pins.names().unwrap().len(), 1);
        fs::remove_file(&staged).unwrap();
        pins.keep("b", "1", &file(&staged, "other")).unwrap();
        assert_eq!(text(&pins, "a", "1", 5).as_deref(), Some("first"));
        assert_eq!(text(&pins, "b", "1", 5).as_deref(), Some("other"));
        assert_eq!(text(&pins, "a", "1", 6), None, "of another size");
        assert_eq!(text(&pins, "a", "2", 5), None);
        assert_eq!(pins.sum().unwrap(), PinnedSum { files: 2, bytes: 10 });
        let names = pins.names().unwrap();
        assert_eq!(
            pins.let_go(names, [("a", "1"), ("a", "2")].into_iter()).unwrap(),
            1
        );
        assert_eq!(text(&pins, "b", "1", 5), None);
        pins.remove("a", "1").unwrap();
        assert_eq!(pins.sum().unwrap(), PinnedSum::default());
    }

    #[test]
    fn a_content_that_can_have_no_second_name_is_copied_whole() {
        use std::io::{Seek, Write};
        use std::os::fd::FromRawFd;
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: the name ends with NUL; what is returned is checked, and is nobody else's.
        let mut memory = unsafe {
            let made = libc::memfd_create(c"content".as_ptr(), 0);
            assert!(made >= 0, "{}", io::Error::last_os_error());
            File::from_raw_fd(made)
        };
        memory.write_all(b"of another file system").unwrap();
        memory.seek(io::SeekFrom::Start(5)).unwrap();
        assert!(link(&memory, &folder.path().join("second")).is_err());
        let pins = Pins::new(folder.path().join("pinned"));
        pins.keep("a", "1", &memory).unwrap();
        assert_eq!(
            text(&pins, "a", "1", 22).as_deref(),
            Some("of another file system")
        );
        assert_eq!(
            memory.stream_position().unwrap(),
            5,
            "nobody else's place is moved"
        );
    }

    #[test]
    fn what_somebody_may_still_write_to_is_not_kept_over_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join("staging");
        fs::create_dir(&staging).unwrap();
        let pins = Pins::new(folder.path().join("pinned"));
        pins.keep("a", "1", &file(&staging.join("x"), "pending")).unwrap();
        pins.keep("a", "2", &file(&folder.path().join("y"), "done"))
            .unwrap();
        fs::write(folder.path().join("pinned/new-7"), "half a co").unwrap();
        pins.recover(&staging).unwrap();
        assert_eq!(text(&pins, "a", "1", 7), None);
        assert_eq!(text(&pins, "a", "2", 4).as_deref(), Some("done"));
        assert_eq!(pins.sum().unwrap().files, 1);
    }
}
