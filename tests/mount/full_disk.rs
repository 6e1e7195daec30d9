//! A local disk that is full: nobody is told that something is kept which is not, and what is kept goes its way.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::suite::harness::{Mount, Place, World, assert_same, content, sha256_of, wait_for};

const MIB: usize = 1 << 20;
/// What stays free of it for the database.
const RESERVE: &str = "\"4MiB\"";

/// A disk of its own for state and cache, in memory. It is unmounted however the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf, mebibytes: usize) -> SmallDisk {
        fs::create_dir(&path).expect("make a mount point");
        let target = CString::new(path.as_os_str().as_bytes()).expect("a path");
        let options = CString::new(format!("size={mebibytes}m,mode=0700")).expect("options");
        // SAFETY: all are valid C strings for the time of the call.
        let mounted = unsafe {
            let kind = c"tmpfs".as_ptr();
            libc::mount(kind, target.as_ptr(), kind, 0, options.as_ptr().cast())
        };
        let error = std::io::Error::last_os_error();
        assert_eq!(
            mounted, 0,
            "this test mounts a small disk, for which it has to run as root: {error}"
        );
        SmallDisk(path)
    }

    fn free(&self) -> u64 {
        let path = CString::new(self.0.as_os_str().as_bytes()).expect("a path");
        // SAFETY: a `statvfs` of zeros is valid, and `path` is a valid C string for the time of the call.
        unsafe {
            let mut told: libc::statvfs = std::mem::zeroed();
            assert_eq!(libc::statvfs(path.as_ptr(), &mut told), 0);
            told.f_bavail * told.f_frsize
        }
    }

    /// Bytes that the files of a folder take.
    fn used_below(&self, folder: &str) -> u64 {
        let mut folders = vec![self.0.join(folder)];
        let mut used = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                // It may go in this moment.
                let Ok(facts) = fs::symlink_metadata(&path) else {
                    continue;
                };
                if facts.is_dir() {
                    folders.push(path);
                } else {
                    used += facts.blocks() * 512;
                }
            }
        }
        used
    }

    /// Another program takes all that is left, to the last block.
    fn taken_by_another(&self) -> PathBuf {
        let path = self.0.join("of another program");
        let mut file = File::create(&path).expect("create");
        let block = vec![1; 4096];
        loop {
            match file.write(&block) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(self.free(), 0);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let target = CString::new(self.0.as_os_str().as_bytes()).expect("a path");
        // SAFETY: `target` is a valid C string.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

/// A world whose program keeps its things on a small disk and uploads nothing before it is told to. The disk
/// comes first, so that the mount of the test ends before it.
fn world(mebibytes: usize) -> (World, SmallDisk) {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.option("upload_delay", "\"10m\"");
        setup.option("reserve", RESERVE);
        setup.option("local_only", "[\"*.here\"]");
    });
    let disk = SmallDisk::new(world.folder().join("disk"), mebibytes);
    world.return_to(Place {
        state: disk.0.join("state"),
        cache: disk.0.join("cache"),
        ..world.place()
    });
    (world, disk)
}

/// How a file was written.
struct Wrote {
    /// Bytes, of which the program was told that they are written.
    size: usize,
    write: Option<i32>,
    close: Option<i32>,
}

fn errno(error: &std::io::Error) -> Option<i32> {
    Some(error.raw_os_error().unwrap_or_default())
}

/// `close()` with its result, which a drop does not tell.
fn close(file: File) -> Option<i32> {
    // SAFETY: the descriptor was just given up by its owner.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => None,
        _ => errno(&std::io::Error::last_os_error()),
    }
}

/// Writes as programs do, until the first error. `None` where it could not even be made for want of room.
fn write(path: &Path, content: &[u8]) -> Option<Wrote> {
    let mut file = match File::create(path) {
        Ok(file) => file,
        Err(error) => {
            assert_eq!(
                error.raw_os_error(),
                Some(libc::ENOSPC),
                "create {path:?}: {error}"
            );
            return None;
        }
    };
    let mut wrote = Wrote {
        size: 0,
        write: None,
        close: None,
    };
    while wrote.size < content.len() {
        let end = content.len().min(wrote.size + 128 * 1024);
        match file.write(&content[wrote.size..end]) {
            Ok(size) => wrote.size += size,
            Err(error) => {
                wrote.write = errno(&error);
                break;
            }
        }
    }
    wrote.close = close(file);
    Some(wrote)
}

/// Writes files of a size until there is no room for one more, and notes what was closed with success.
fn fill(mount: &Mount, prefix: &str, size: usize, kept: &mut BTreeMap<String, String>) {
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let body = content(number + size as u64, size);
        let Some(wrote) = write(&mount.path(&name), &body) else {
            return;
        };
        assert_eq!(
            wrote.close, None,
            "the write has to tell it, not the close of {name}"
        );
        kept.insert(name, sha256_of(&body[..wrote.size]));
        if let Some(error) = wrote.write {
            assert_eq!(error, libc::ENOSPC);
            return;
        }
        assert!(number < 1000, "the disk is never full");
    }
}

#[track_caller]
fn assert_no_room(result: std::io::Result<()>) {
    let error = result.expect_err("there is no room").raw_os_error();
    assert_eq!(error, Some(libc::ENOSPC));
}

#[test]
fn a_full_disk_is_told_at_the_write_and_keeps_nothing_from_going_on() {
    let (world, _disk) = world(24);
    let remote = content(1, 3 * MIB);
    world.put("remote.bin", &remote);
    world.put("stored.txt", b"stored");
    world.put("old.txt", b"old");
    let mount = world.mount();
    let mut kept = BTreeMap::new();
    fill(&mount, "large", 2 * MIB, &mut kept);
    fill(&mount, "small", 4096, &mut kept);
    assert!(kept.len() > 7, "{}", kept.len());

    // Reads, renames, removals and folders go on.
    assert!(mount.read("remote.bin") == remote);
    assert_eq!(sha256_of(&mount.read("large-0")), kept["large-0"]);
    let renamed = kept.remove("large-1").expect("it was kept");
    fs::rename(mount.path("large-1"), mount.path("renamed")).expect("rename what waits");
    kept.insert("renamed".to_owned(), renamed);
    fs::rename(mount.path("stored.txt"), mount.path("moved.txt")).expect("rename what is stored");
    fs::remove_file(mount.path("old.txt")).expect("remove what is stored");
    fs::create_dir(mount.path("folder")).expect("mkdir");
    let status = world.lockerfs(&["status"]).stdout;
    assert!(status.contains("disk") && status.contains("full"), "{status}");
    assert_eq!(world.status()["disk"]["full"], true);

    world.drain();
    kept.insert("remote.bin".to_owned(), sha256_of(&remote));
    kept.insert("moved.txt".to_owned(), sha256_of(b"stored"));
    assert_same(&world.stored_sha256(), &kept, "on the service");
    // What was uploaded made room.
    wait_for("there is room again", || {
        write(&mount.path("after.bin"), &content(2, MIB)).is_some_and(|wrote| wrote.write.is_none())
    });
    assert_eq!(world.status()["disk"]["full"], false);
    assert!(!world.lockerfs(&["status"]).stdout.contains("full"));
    world.drain();
    assert_eq!(world.stored_sha256()["after.bin"], sha256_of(&content(2, MIB)));
}

#[test]
fn an_edit_of_a_remote_file_is_refused_where_the_rest_of_the_file_would_have_no_room() {
    let (world, _disk) = world(24);
    let (large, small) = (content(3, 30 * MIB), content(4, 5 * MIB));
    world.put("large.bin", &large);
    world.put("a.bin", &small);
    world.put("b.bin", &small);
    world.put("c.bin", &small);
    world.put("d.bin", &small);
    let mount = world.mount();
    let edit = |name: &str| {
        let file = OpenOptions::new()
            .write(true)
            .open(mount.path(name))
            .expect("open");
        let wrote = file.write_all_at(b"edited", MIB as u64);
        assert_eq!(close(file), None);
        wrote
    };
    assert_no_room(edit("large.bin"));
    assert!(mount.read("large.bin") == large);
    // Three of them have room together, less the reserve, and no more.
    let edited = ["a.bin", "b.bin", "c.bin", "d.bin"].map(|name| edit(name).map_err(|e| e.raw_os_error()));
    let no_room = Err(Some(libc::ENOSPC));
    assert_eq!(edited, [Ok(()), Ok(()), Ok(()), no_room]);
    // Neither has what is new the room that they were promised.
    let new = write(&mount.path("new.bin"), &content(5, 6 * MIB));
    assert!(new.is_none_or(|wrote| wrote.write == Some(libc::ENOSPC)));
    fs::remove_file(mount.path("new.bin")).ok();
    // Whoever cuts the rest off needs no room for it.
    let file = OpenOptions::new()
        .write(true)
        .open(mount.path("large.bin"))
        .expect("open");
    file.set_len(100).expect("cut");
    file.write_all_at(b"!", 100).expect("write");
    assert_eq!(close(file), None);
    world.drain();
    let stored = world.stored_sha256();
    let mut wanted = small.clone();
    wanted[MIB..MIB + 6].copy_from_slice(b"edited");
    for name in ["a.bin", "b.bin", "c.bin"] {
        assert_eq!(stored[name], sha256_of(&wanted), "{name}");
    }
    assert_eq!(stored["d.bin"], sha256_of(&small));
    assert_eq!(stored["large.bin"], sha256_of(&[&large[..100], b"!"].concat()));
    edit("d.bin").expect("there is room again");
}

#[test]
fn the_cache_gives_way_to_what_is_written() {
    let (world, disk) = world(40);
    let remote = content(1, 20 * MIB);
    world.put("remote.bin", &remote);
    let mount = world.mount();
    assert!(mount.read("remote.bin") == remote);
    let cached = || disk.used_below("cache");
    assert!(cached() > 16 * MIB as u64, "{} bytes are cached", cached());
    assert_eq!(world.status()["disk"]["full"], false);
    // More than there is room for beside the cache and the reserve.
    let written = content(2, 30 * MIB);
    let wrote = write(&mount.path("written.bin"), &written).expect("there is room");
    assert_eq!(
        (wrote.size, wrote.write, wrote.close),
        (written.len(), None, None)
    );
    assert!(cached() < 10 * MIB as u64, "{} bytes are cached", cached());
    // What is fetched now leaves it alone.
    assert!(mount.read("remote.bin") == remote);
    assert!(mount.read("written.bin") == written);
    world.drain();
    assert_eq!(world.stored_sha256()["written.bin"], sha256_of(&written));
}

/// Files that are open with their content written, while another program takes the last block; then they are
/// closed. What of them was closed with success, and with `ENOSPC`.
fn close_without_room(
    mount: &Mount,
    disk: &SmallDisk,
    kept: &mut BTreeMap<String, String>,
) -> (PathBuf, Vec<String>) {
    let open = |number: usize| {
        let name = format!("open-{number}");
        let mut file = File::create(mount.path(&name)).expect("create");
        file.write_all(&content(number as u64, 5000)).expect("write");
        (name, file)
    };
    let files: Vec<_> = (0..400).map(open).collect();
    let another = disk.taken_by_another();
    let mut refused = Vec::new();
    for (number, (name, file)) in files.into_iter().enumerate() {
        match close(file) {
            None => drop(kept.insert(name, sha256_of(&content(number as u64, 5000)))),
            Some(error) => {
                assert_eq!(error, libc::ENOSPC, "{name}");
                refused.push(name);
            }
        }
    }
    (another, refused)
}

#[test]
fn a_disk_that_another_program_filled_to_the_last_block_loses_nothing_and_is_recovered_from() {
    let (world, disk) = world(24);
    let remote = content(1, MIB);
    world.put("remote.bin", &remote);
    world.put("edited.bin", &content(8, 2 * MIB));
    let mount = world.mount();
    let mut kept = BTreeMap::new();
    mount.write("closed.bin", &content(9, MIB));
    kept.insert("closed.bin".to_owned(), sha256_of(&content(9, MIB)));
    let mut edited = content(8, 2 * MIB);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mount.path("edited.bin"))
        .expect("open");
    file.write_all_at(b"edited", MIB as u64).expect("edit");
    edited[MIB..MIB + 6].copy_from_slice(b"edited");
    let (another, refused) = close_without_room(&mount, &disk, &mut kept);
    assert!(!refused.is_empty(), "the journal had room for all");
    let mut got = vec![0; edited.len()];
    file.read_exact_at(&mut got, 0)
        .expect("read what there is no room to keep");
    assert!(got == edited);
    assert!(close(file).is_none_or(|error| error == libc::ENOSPC));
    kept.insert("edited.bin".to_owned(), sha256_of(&edited));
    assert_no_room(write(&mount.path("new"), b"new").map_or(
        Err(std::io::Error::from_raw_os_error(libc::ENOSPC)),
        |wrote| {
            let error = wrote.write.or(wrote.close);
            error.map_or(Ok(()), |error| Err(std::io::Error::from_raw_os_error(error)))
        },
    ));
    fs::remove_file(mount.path("new")).ok();
    // What the journal has no room for changes nothing, and says why.
    assert_no_room(fs::remove_file(mount.path("closed.bin")));
    assert_no_room(fs::rename(mount.path("closed.bin"), mount.path("other.bin")));
    assert_no_room(fs::create_dir(mount.path("folder.here")));
    assert!(mount.read("remote.bin") == remote, "reading needs no disk");
    for (name, hash) in &kept {
        assert_eq!(&sha256_of(&mount.read(name)), hash, "{name}");
    }
    let status = world.lockerfs(&["status"]).stdout;
    assert!(status.contains("full"), "{status}");

    fs::remove_file(another).expect("the other program makes room");
    // Nobody mounts anew. What was written and could not be journaled is taken up, too.
    for name in refused {
        let number: u64 = name.strip_prefix("open-").unwrap().parse().expect("a number");
        kept.insert(name, sha256_of(&content(number, 5000)));
    }
    wait_for("all is in the journal", || world.pending().len() == kept.len());
    world.drain();
    kept.insert("remote.bin".to_owned(), sha256_of(&remote));
    assert_same(&world.stored_sha256(), &kept, "on the service");
    assert_same(
        &crate::suite::harness::snapshot(&mount.path("")),
        &kept,
        "in the mount",
    );
    mount.write("closed.bin", b"and on it goes");
    fs::remove_file(mount.path("open-0")).expect("unlink");
    world.drain();
    assert_eq!(world.stored_sha256()["closed.bin"], sha256_of(b"and on it goes"));
}

#[test]
fn what_was_closed_survives_a_kill_and_a_mount_on_a_full_disk() {
    let (world, disk) = world(24);
    let mount = world.mount();
    let mut kept = BTreeMap::new();
    mount.write("closed.bin", &content(9, MIB));
    kept.insert("closed.bin".to_owned(), sha256_of(&content(9, MIB)));
    let (another, refused) = close_without_room(&mount, &disk, &mut kept);
    assert!(!refused.is_empty(), "the journal had room for all");
    mount.kill();
    assert_eq!(disk.free(), 0);

    // With not a block left.
    let mount = world.mount();
    for (name, hash) in &kept {
        assert_eq!(&sha256_of(&mount.read(name)), hash, "{name} on the full disk");
    }
    mount.kill();
    fs::remove_file(another).expect("the other program makes room");
    let mount = world.mount();
    world.drain();
    assert_same(&world.stored_sha256(), &kept, "on the service");
    mount.unmount(&world.config());
    // What could not be journaled was not thrown away either.
    let recovered = fs::read_dir(world.place().state.join("recovered")).expect("recovered files");
    assert_eq!(recovered.count(), refused.len());
}
