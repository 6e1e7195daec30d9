//! The staging directory: new files in it, files found there, and the space that is left on its disk.
//!
//! No name is given twice, and nothing that a person may want is deleted: what the journal does not know is moved to
//! where it can be found. It does not know what a content is for.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::disk_space::{CleanCache, DiskRoom, DiskSpace};
use super::prefix::Follower;
use super::ranges::RangeSet;
use super::staged_file::{Base, StagedFile};

/// Bytes of a staged file that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;

/// The directory, and the names given in it.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    space: Arc<DiskSpace>,
    /// Names are unique in the directory over all lives of the program: the time of opening and a count.
    prefix: String,
    count: AtomicU64,
    follower: Follower,
}

impl Staging {
    /// `clean` is what gives way on the same disk.
    pub fn new(directory: PathBuf, reserve: u64, clean: Option<Arc<dyn CleanCache>>) -> Self {
        let opened = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let space = DiskSpace::new(directory.clone(), reserve).beside(clean);
        let prefix = format!("{:x}", opened.as_micros());
        Staging {
            directory,
            space: Arc::new(space),
            prefix,
            count: AtomicU64::new(0),
            follower: Follower::start(),
        }
    }

    /// An empty file, or one of the size of `base` with all of it missing.
    pub fn create(&self, base: Option<Base>) -> io::Result<StagedFile> {
        let len = base.as_ref().map_or(0, |base| base.size);
        self.create_of(base, len)
    }

    /// The first `len` bytes of `base`, all of them missing.
    pub fn create_of(&self, base: Option<Base>, len: u64) -> io::Result<StagedFile> {
        let _room = self.space.take(0)?;
        let missing = std::iter::once(0..len).collect();
        self.create_with(len, missing, base, |_| Ok(()))
    }

    /// A copy of the present content, apart from what a writer changes meanwhile. What the source lacks of
    /// its base, the copy lacks as well.
    pub fn copy(&self, source: &StagedFile) -> io::Result<StagedFile> {
        let (len, missing) = (source.len(), source.all_missing());
        let missing: RangeSet = missing.into_iter().collect();
        let base = source.base().cloned();
        let mut present: RangeSet = std::iter::once(0..len).collect();
        missing.iter().for_each(|range| present.remove(range));
        let bytes = present.iter().map(|range| range.end - range.start).sum();
        let _room = self.space.take(bytes)?;
        self.create_with(len, missing, base, |file| {
            let from = source.file()?;
            present.iter().try_for_each(|range| copy_range(from, file, range))
        })
    }

    /// A file of an earlier life, as its row tells it. `None` where it is not there.
    pub fn adopt(&self, name: &str, missing: RangeSet, base: Option<Base>) -> io::Result<Option<StagedFile>> {
        let path = self.directory.join(name);
        let len = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?.len(),
        };
        let mut missing = missing;
        missing.remove(len..u64::MAX);
        // Nothing of the base is in what was cut to nothing.
        let base = base.filter(|_| len > 0);
        let (space, name) = (self.space.clone(), name.to_owned());
        let staged = StagedFile::new(None, path, name, space, len, missing, base).followed_by(&self.follower);
        staged.mark_entry_synced();
        staged.mark_journaled();
        // What a service may still copy by itself takes no room here.
        if staged.untouched_copy().is_none() {
            staged.note_lacking();
        }
        Ok(Some(staged))
    }

    /// A new file of this length, filled by `fill`. Where that fails nothing of it stays.
    fn create_with(
        &self,
        len: u64,
        missing: RangeSet,
        base: Option<Base>,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<StagedFile> {
        let (file, path, name) = self.create_file()?;
        if let Err(error) = file.set_len(len).and_then(|()| fill(&file)) {
            // What cannot be removed either is found by the next start.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let space = self.space.clone();
        let staged = StagedFile::new(Some(file), path, name, space, len, missing, base);
        Ok(staged.followed_by(&self.follower))
    }

    /// How much room there is on the disk.
    pub fn room(&self) -> io::Result<DiskRoom> {
        self.space.room()
    }

    /// The names of all files in the directory.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Deletes a file that nobody needs. A failure is told in the log: the next start tries again.
    pub fn delete(&self, name: &str) -> bool {
        match fs::remove_file(self.directory.join(name)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                tracing::warn!(name, %error, "cannot delete a staged file that is not needed any more");
                false
            }
        }
    }

    /// Moves a file of which the journal knows nothing to where a person finds it. An empty one goes.
    pub fn recover(&self, name: &str, recovered: &Path) -> io::Result<()> {
        let from = self.directory.join(name);
        if fs::metadata(&from)?.len() == 0 {
            return fs::remove_file(from);
        }
        fs::create_dir_all(recovered)?;
        let to = recovered.join(name);
        fs::rename(&from, &to)?;
        tracing::warn!(file = %to.display(), "a file that was being written when lockerfs ended was kept here");
        Ok(())
    }

    fn create_file(&self) -> io::Result<(File, PathBuf, String)> {
        loop {
            let name = format!("{}-{:x}", self.prefix, self.count.fetch_add(1, Ordering::Relaxed));
            let path = self.directory.join(&name);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return Ok((other?, path, name)),
            }
        }
    }
}

/// Parts that the source lacks stay holes, so that they take no room.
fn copy_range(from: &File, to: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; COPIED_AT_ONCE.min((range.end - range.start) as usize)];
    let mut at = range.start;
    while at < range.end {
        let wanted = buffer.len().min((range.end - at) as usize);
        match from.read_at(&mut buffer[..wanted], at) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all_at(&buffer[..count], at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::FileId;

    fn base(size: u64) -> Base {
        Base {
            file: FileId::new("f"),
            size,
            hash: None,
            revision: None,
            account: None,
        }
    }

    fn staging(folder: &tempfile::TempDir) -> Staging {
        Staging::new(folder.path().to_owned(), 0, None)
    }

    #[test]
    fn a_fill_never_overwrites_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = staging(&folder).create(Some(base(10))).unwrap();
        file.write_at(3, b"xyz").unwrap();
        assert_eq!(file.missing(0..10), [0..3, 6..10]);
        file.fill(0, b"0123456789").unwrap();
        assert!(file.missing(0..10).is_empty());
        assert_eq!(file.read_at(0, 100).unwrap(), b"012xyz6789");
    }

    #[test]
    fn bytes_that_another_is_putting_in_are_not_said_to_be_there() {
        const LENGTH: usize = 16 << 20;
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(&folder);
        let content = vec![7; LENGTH];
        for _ in 0..10 {
            let file = staging.create(Some(base(LENGTH as u64))).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        if file.fill_if_there_is_room(0, &content).unwrap() {
                            assert!(file.read_at(0, LENGTH).unwrap() == content);
                        }
                    });
                }
            });
            assert!(file.read_at(0, LENGTH).unwrap() == content);
        }
    }

    #[test]
    fn cutting_drops_missing_parts_and_lengthening_adds_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let file = staging(&folder).create(Some(base(10))).unwrap();
        file.set_len(4).unwrap();
        file.set_len(8).unwrap();
        assert_eq!(file.missing(0..100), vec![0..4; 1]);
        file.fill(0, b"0123456789").unwrap();
        assert_eq!(file.read_at(0, 100).unwrap(), b"0123\0\0\0\0");
        file.write_at(10, b"!").unwrap();
        assert_eq!(file.read_at(6, 100).unwrap(), b"\0\0\0\0!");
        assert!(file.read_at(50, 3).unwrap().is_empty());
    }

    #[test]
    fn writes_and_fills_from_many_threads_do_not_cross() {
        const SIZE: u64 = 64 << 10;
        let folder = tempfile::tempdir().unwrap();
        let file = staging(&folder).create(Some(base(SIZE))).unwrap();
        std::thread::scope(|scope| {
            for half in 0..2 {
                let file = &file;
                scope.spawn(move || {
                    for block in (half..SIZE / 512).step_by(2).filter(|block| block % 3 == 0) {
                        file.write_at(block * 512, &[b'w'; 512]).unwrap();
                    }
                });
                scope.spawn(move || {
                    for offset in (0..SIZE).step_by(1000) {
                        file.fill(offset, &[b'b'; 1500]).unwrap();
                    }
                });
            }
        });
        for range in file.missing(0..SIZE) {
            file.fill(range.start, &vec![b'b'; (range.end - range.start) as usize])
                .unwrap();
        }
        for block in 0..SIZE / 512 {
            let expected = if block % 3 == 0 { b'w' } else { b'b' };
            assert_eq!(
                file.read_at(block * 512, 512).unwrap(),
                vec![expected; 512],
                "block {block}"
            );
        }
    }

    #[test]
    fn the_hash_is_that_of_the_content_whatever_was_written_where_and_when() {
        use sha2::{Digest as _, Sha256};
        const MIB: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(&folder);
        let mut random = fastrand::Rng::with_seed(11);
        let block: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3 * MIB).collect();
        for round in 0..30 {
            let file = staging
                .create((round % 3 == 2).then(|| base(7 * MIB as u64)))
                .unwrap();
            let mut expected = vec![0; file.len() as usize];
            for _ in 0..random.usize(4..24) {
                let len = expected.len();
                match random.u32(0..20) {
                    0 => file.set_len(0).map(|()| expected.clear()).unwrap(),
                    1 => {
                        let cut = random.usize(0..=len);
                        file.set_len(cut as u64).unwrap();
                        expected.truncate(cut);
                    }
                    2 => {
                        let longer = len + random.usize(0..2 * MIB);
                        file.set_len(longer as u64).unwrap();
                        expected.resize(longer, 0);
                    }
                    3 => std::thread::sleep(std::time::Duration::from_millis(random.u64(0..5))),
                    // Mostly at the end, as programs write.
                    4.. => {
                        let offset = if random.u32(0..20) == 0 {
                            random.usize(0..=len + 1000)
                        } else {
                            len
                        };
                        let bytes = &block[random.usize(0..MIB)..][..random.usize(1..2 * MIB)];
                        file.write_at(offset as u64, bytes).unwrap();
                        expected.resize(len.max(offset + bytes.len()), 0);
                        expected[offset..offset + bytes.len()].copy_from_slice(bytes);
                    }
                }
                if random.u32(0..8) == 0 && file.missing(0..u64::MAX).is_empty() {
                    let hash: [u8; 32] = Sha256::digest(&expected).into();
                    assert_eq!(file.sha256(expected.len() as u64).unwrap(), hash, "round {round}");
                }
            }
            for part in file.missing(0..u64::MAX) {
                file.fill(part.start, &vec![0; (part.end - part.start) as usize])
                    .unwrap();
            }
            let hash: [u8; 32] = Sha256::digest(&expected).into();
            assert_eq!(file.len() as usize, expected.len());
            // The second time it is known.
            for _ in 0..2 {
                assert_eq!(file.sha256(file.len()).unwrap(), hash, "round {round}");
            }
        }
    }

    #[test]
    fn a_content_written_in_order_is_hashed_when_its_writer_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = staging(&folder).create(None).unwrap();
        let block = vec![7; 1 << 20];
        for at in 0..32 {
            file.write_at(at << 20, &block).unwrap();
        }
        let hashed = || file.hashed_ahead();
        for _ in 0..2000 {
            if hashed() >= 24 << 20 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(hashed() >= 24 << 20, "{}", hashed());
        file.write_at(5, b"!").unwrap();
        assert_eq!(hashed(), 0, "what was hashed does not count any more");
    }

    #[test]
    fn no_write_makes_wrong_what_the_journal_is_being_told_of_the_missing_parts() {
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(&folder);
        let staged = staging.create(Some(base(1000))).unwrap();
        staged.write_at(500, &[1; 100]).unwrap();
        assert!(staged.seal() && !staged.seal());
        staged.sync().unwrap();
        let told = staged.durable().missing;
        let refused = [staged.write_at(100, &[2; 50]), staged.set_len(10)];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        assert!(staged.wants_copy(false));
        assert_eq!(staged.all_missing(), told);
        // What comes from the base changes nothing that was promised.
        staged.fill(0, &[0; 500]).unwrap();
        // The journal was told nothing after all.
        staged.unseal();
        staged.write_at(100, &[2; 50]).unwrap();
        assert!(!staged.wants_copy(false));
    }

    #[test]
    fn files_of_an_earlier_life_take_no_descriptors_until_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(&folder);
        for at in 0..50 {
            fs::write(folder.path().join(format!("f{at}")), b"content").unwrap();
        }
        let adopt = |at: usize| staging.adopt(&format!("f{at}"), RangeSet::default(), None);
        let adopted: Vec<_> = (0..50).map(|at| adopt(at).unwrap().unwrap()).collect();
        let open = || {
            let ours = |entry: &fs::DirEntry| {
                fs::read_link(entry.path()).is_ok_and(|file| file.starts_with(folder.path()))
            };
            let all = fs::read_dir("/proc/self/fd").unwrap();
            all.filter_map(|entry| entry.ok().filter(ours)).count()
        };
        assert_eq!(open(), 0);
        assert_eq!(adopted[7].len(), 7);
        adopted[7].keep_open().unwrap();
        fs::remove_file(folder.path().join("f7")).unwrap();
        assert_eq!(adopted[7].read_at(0, 10).unwrap(), b"content");
        assert_eq!(open(), 1);
        adopted[8].write_at(7, b"!").unwrap();
        assert_eq!(fs::read(folder.path().join("f8")).unwrap(), b"content!");
    }

    #[test]
    fn what_an_edited_file_lacks_is_spoken_for_from_its_first_change_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(&folder);
        let lacking = || staging.room().unwrap().lacking;
        let file = staging.create(Some(base(1000))).unwrap();
        assert_eq!(lacking(), 0, "it is only open");
        file.write_at(100, &[1; 50]).unwrap();
        assert_eq!(lacking(), 950);
        file.fill(0, &[0; 300]).unwrap();
        assert_eq!(lacking(), 700);
        file.set_len(500).unwrap();
        assert_eq!(lacking(), 200);
        drop(file);
        assert_eq!(lacking(), 0);
        // What is cut off first is never spoken for.
        let file = staging.create(Some(base(8 << 40))).unwrap();
        let no_room = file.write_at(5, b"x").unwrap_err();
        assert_eq!(no_room.raw_os_error(), Some(libc::ENOSPC));
        file.set_len(10).unwrap();
        file.write_at(5, b"x").unwrap();
        assert_eq!(lacking(), 9);
        let one = std::iter::once(0..70).collect();
        fs::write(folder.path().join("earlier"), [0; 100]).unwrap();
        let adopted = staging.adopt("earlier", one, Some(base(100))).unwrap();
        assert_eq!(lacking(), 79);
        drop((adopted, file));
        assert_eq!(lacking(), 0);
    }

    #[test]
    fn below_the_reserve_a_write_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let roomy = staging(&folder).create(None).unwrap();
        roomy.write_at(0, b"fits").unwrap();
        let full = Staging::new(folder.path().to_owned(), u64::MAX / 2, None);
        let refused = full.create(None).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    }
}
