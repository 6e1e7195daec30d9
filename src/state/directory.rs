//! The state directory: who may use it and where things lie in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Pins, StateError};

/// How long a directory may be another's before it is told to be in use.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The state directory, owned by this process as long as the value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Holds the lock; the kernel releases it with the last descriptor, however the process ends.
    _lock: File,
}

impl StateDir {
    /// Makes the directory (for the owner alone) where it is missing, and takes it for this process.
    pub fn open(path: &Path) -> Result<StateDir, StateError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io {
                operation,
                path,
                source,
            }
        };
        let made_in = first_that_exists(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("make the state directory", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(failed("make the state directory private:", path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        lock_patiently(&lock).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StateError::InUse {
                directory: path.to_owned(),
            },
            _ => StateError::Io {
                operation: "lock",
                path: lock_path.clone(),
                source,
            },
        })?;
        let directory = StateDir {
            path: path.to_owned(),
            _lock: lock,
        };
        for part in [directory.staging_path(), directory.recovered_path()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(failed("make", &part))?;
        }
        // What is promised in the directory is nothing worth if a power cut takes the directory itself.
        let new = path
            .ancestors()
            .take_while(|ancestor| *ancestor != made_in && !ancestor.as_os_str().is_empty());
        for directory in std::iter::once(made_in).chain(new) {
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(failed("sync", directory))?;
        }
        Ok(directory)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database_path(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// Where contents wait for their upload.
    pub fn staging_path(&self) -> PathBuf {
        self.path.join("staging")
    }

    /// Contents that stay here for good.
    pub fn pins(&self) -> Pins {
        Pins::new(self.path.join("pinned"))
    }

    /// Where contents go of which the journal knows nothing, for a person to look at.
    pub fn recovered_path(&self) -> PathBuf {
        self.path.join("recovered")
    }
}

/// The path, or where the first part of it that is missing would be made.
fn first_that_exists(path: &Path) -> &Path {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("."))
}

/// Locks, after the moment that a command needs to look into a journal that no mount holds.
fn lock_patiently(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match lock_exclusively(file) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOCK_PAUSE),
            result => return result,
        }
    }
    lock_exclusively(file)
}

fn lock_exclusively(file: &File) -> io::Result<()> {
    // SAFETY: flock takes a descriptor, which `file` keeps open during the call, and no pointer.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_with_all_that_leads_to_it_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/state");
        for _ in 0..2 {
            let taken = StateDir::open(&path).unwrap();
            assert!(taken.staging_path().is_dir());
        }
        assert_eq!(first_that_exists(&path), path);
        assert_eq!(first_that_exists(&path.join("x/y")), path);
        assert_eq!(first_that_exists(Path::new("missing/x")), Path::new("."));
    }

    #[test]
    fn a_second_owner_is_refused_and_told_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = StateDir::open(&path).unwrap_err();
        assert!(
            matches!(&refused, StateError::InUse { directory } if *directory == path),
            "{refused}"
        );
        assert!(refused.to_string().contains(&path.display().to_string()));
        drop(first);
        StateDir::open(&path).unwrap();
    }
}
