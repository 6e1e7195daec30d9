//! The room on the staging disk: who takes some asks here first, so that a reserve stays free for the journal.
//!
//! Spoken for is what is being written now, what may be written before the next look at the disk, and the bytes that
//! edited files still lack of what they were begun from: they come without anybody who could be told that there is no
//! room. Promised is nothing: other programs write to the disk as well.
//!
//! What is only kept to save a fetch gives way before anybody is told that there is no room.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that may be written between two looks at the free space, at most.
const LOOK_AGAIN: u64 = 32 << 20;

/// Room for less than what the kernel hands over at once counts as none.
const NEXT_TO_NOTHING: u64 = 1 << 20;

/// Bytes for which the cache gives way beyond those that are needed, so that not each write has to ask.
const AND_A_LITTLE_MORE: u64 = 4 << 20;

/// What lies on the staging disk and could be fetched again.
pub trait CleanCache: std::fmt::Debug + Send + Sync {
    /// Bytes of the disk that it takes.
    fn held(&self) -> u64;

    /// Lets go of at least `bytes`, where it can; how many it let go. Blocks while files are taken away.
    fn give_back(&self, bytes: u64) -> u64;

    /// From now on it leaves so many bytes of the disk free.
    fn keep_free(&self, bytes: u64);
}

/// The free space of the staging disk above a reserve. Looks at the disk once for many small writes.
#[derive(Debug)]
pub(super) struct DiskSpace {
    directory: PathBuf,
    /// Bytes that stay free.
    reserve: u64,
    /// Bytes that may be written before the next look.
    budget: AtomicU64,
    /// Bytes that are being written now.
    under_way: AtomicU64,
    /// Bytes that edited files still lack.
    lacking: AtomicU64,
    clean: Option<Arc<dyn CleanCache>>,
}

/// How much room there is for files that wait for their upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes that are free on the disk, with those that the cache would give way for.
    pub free: u64,
    /// Bytes of them that waiting files leave free.
    pub reserve: u64,
    /// Bytes that parts of edited files will take which are still to be fetched.
    pub lacking: u64,
}

impl DiskRoom {
    /// Whether new content is refused, or will be with the next writes.
    pub fn is_full(&self) -> bool {
        let spoken_for = self.reserve.saturating_add(self.lacking);
        self.free < spoken_for.saturating_add(NEXT_TO_NOTHING)
    }
}

/// Room that is taken until the bytes are on the disk.
#[derive(Debug)]
#[must_use = "the room is given back with it"]
pub(super) struct Taken<'a> {
    space: &'a DiskSpace,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.space.under_way.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl DiskSpace {
    pub fn new(directory: PathBuf, reserve: u64) -> Self {
        DiskSpace {
            directory,
            reserve,
            budget: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            lacking: AtomicU64::new(0),
            clean: None,
        }
    }

    /// With what gives way on the same disk.
    pub fn beside(self, clean: Option<Arc<dyn CleanCache>>) -> Self {
        DiskSpace { clean, ..self }
    }

    /// Takes room for `bytes`, or fails with `ENOSPC`.
    pub fn take(&self, bytes: u64) -> io::Result<Taken<'_>> {
        // Before the look, so that two who look at the same time see each other.
        self.under_way.fetch_add(bytes, Ordering::AcqRel);
        let taken = Taken { space: self, bytes };
        let within = |left: u64| left.checked_sub(bytes.max(1));
        let spent = self
            .budget
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, within);
        if spent.is_ok() {
            return Ok(taken);
        }
        let budget = self.budget.load(Ordering::Acquire);
        let left = self.left_or_made(budget)?;
        let more = (left / 4).min(LOOK_AGAIN).max(budget);
        // Where another was faster, its look is as good.
        let _ = self
            .budget
            .compare_exchange(budget, more, Ordering::AcqRel, Ordering::Acquire);
        Ok(taken)
    }

    /// Speaks for `bytes` that an edited file lacks, or fails with `ENOSPC`.
    pub fn take_lacking(&self, bytes: u64) -> io::Result<()> {
        self.lacking.fetch_add(bytes, Ordering::AcqRel);
        self.budget.store(0, Ordering::Release);
        let left = self.left_or_made(0);
        match left {
            Ok(_) => self.tell_cache(),
            Err(_) => self.give_lacking(bytes),
        }
        left.map(drop)
    }

    /// Notes what a file of an earlier life lacks, whether there is room or not.
    pub fn note_lacking(&self, bytes: u64) {
        self.lacking.fetch_add(bytes, Ordering::AcqRel);
        self.tell_cache();
    }

    /// So many bytes are not lacking any more.
    pub fn give_lacking(&self, bytes: u64) {
        self.lacking.fetch_sub(bytes, Ordering::AcqRel);
        self.tell_cache();
    }

    /// Keeps the cache from taking what edited files lack, which looks free until it comes.
    fn tell_cache(&self) {
        if let Some(clean) = &self.clean {
            let lacking = self.lacking.load(Ordering::Acquire);
            clean.keep_free(self.reserve.saturating_mul(2).saturating_add(lacking));
        }
    }

    pub fn room(&self) -> io::Result<DiskRoom> {
        let clean = self.clean.as_ref().map_or(0, |clean| clean.held());
        Ok(DiskRoom {
            free: self.free_bytes()?.saturating_add(clean),
            reserve: self.reserve,
            lacking: self.lacking.load(Ordering::Acquire),
        })
    }

    /// As [`left`](Self::left), after the cache gave way where that is needed.
    fn left_or_made(&self, budget: u64) -> io::Result<u64> {
        let left = self.left(budget);
        let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOSPC);
        let (Some(clean), true) = (&self.clean, left.as_ref().is_err_and(is_full)) else {
            return left;
        };
        let short = self.spoken_for(budget).saturating_sub(self.free_bytes()?);
        // Where it cannot give as much, it would be asked in vain.
        if clean.held() < short || clean.give_back(short.saturating_add(AND_A_LITTLE_MORE)) == 0 {
            return left;
        }
        self.left(budget)
    }

    /// What is left above all that is spoken for. Fails with `ENOSPC` where that is less than nothing, or just
    /// nothing.
    fn left(&self, budget: u64) -> io::Result<u64> {
        self.free_bytes()?
            .checked_sub(self.spoken_for(budget))
            .filter(|left| *left > 0 || self.reserve == 0)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))
    }

    fn spoken_for(&self, budget: u64) -> u64 {
        let parts = [
            self.reserve,
            budget,
            self.under_way.load(Ordering::Acquire),
            self.lacking.load(Ordering::Acquire),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.directory)
    }
}

/// Bytes that are free on the disk of a directory for who is not root.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with NUL and `facts` has room for one statvfs; both live through the call. The zeroed value
    // is a valid statvfs, so it is initialized whatever the call wrote.
    let (result, facts) = unsafe {
        (
            libc::statvfs(path.as_ptr(), facts.as_mut_ptr()),
            facts.assume_init(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With so much above the reserve, as far as other programs leave the disk alone.
    fn with_room(folder: &tempfile::TempDir, room: u64) -> DiskSpace {
        let free = DiskSpace::new(folder.path().to_owned(), 0).free_bytes().unwrap();
        assert!(free > room, "the disk of the tests is full");
        DiskSpace::new(folder.path().to_owned(), free - room)
    }

    #[test]
    fn writers_at_the_same_time_do_not_share_the_same_room() {
        const GIB: u64 = 1 << 30;
        let folder = tempfile::tempdir().unwrap();
        let space = with_room(&folder, 4 * GIB);
        // Nobody writes, so that all of them look at the same free space.
        let barrier = std::sync::Barrier::new(12);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let taken = space.take(GIB);
                        barrier.wait();
                        usize::from(taken.is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(admitted <= 4, "{admitted} GiB were admitted to 4");
        assert_eq!(space.under_way.load(Ordering::Acquire), 0);
    }

    /// A cache of one file on the disk.
    #[derive(Debug)]
    struct OneFile(PathBuf);

    impl CleanCache for OneFile {
        fn held(&self) -> u64 {
            std::fs::metadata(&self.0).map_or(0, |facts| facts.len())
        }

        fn give_back(&self, _bytes: u64) -> u64 {
            let held = self.held();
            std::fs::remove_file(&self.0).map_or(0, |()| held)
        }

        fn keep_free(&self, _bytes: u64) {}
    }

    #[test]
    fn what_could_be_fetched_again_gives_way_where_that_helps() {
        const MIB: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let kept = Arc::new(OneFile(path.clone()));
        std::fs::write(&path, vec![1; 64 << 20]).unwrap();
        let cached = || path.exists();
        let space = with_room(&folder, 0).beside(Some(kept.clone()));
        assert!(!space.room().unwrap().is_full());
        assert!(space.take(1 << 40).is_err());
        assert!(cached(), "it would not have been enough");
        drop(space.take(16 * MIB).unwrap());
        assert!(!cached());
        std::fs::write(&path, vec![1; 64 << 20]).unwrap();
        let space = with_room(&folder, 0).beside(Some(kept));
        space.take_lacking(16 * MIB).unwrap();
        assert!(!cached());
    }

    #[test]
    fn what_edited_files_lack_is_kept_for_them() {
        const GIB: u64 = 1 << 30;
        let folder = tempfile::tempdir().unwrap();
        let space = with_room(&folder, 4 * GIB);
        drop(space.take(1).unwrap());
        space.take_lacking(3 * GIB).unwrap();
        let no_room = space.take(2 * GIB).unwrap_err().raw_os_error();
        assert_eq!(no_room, Some(libc::ENOSPC));
        assert!(space.take_lacking(2 * GIB).is_err());
        assert_eq!(space.room().unwrap().lacking, 3 * GIB);
        space.give_lacking(3 * GIB);
        drop(space.take(2 * GIB).unwrap());
        assert!(!space.room().unwrap().is_full());
    }
}
