//! What was read or sent need not be fetched again, and what lies on the disk is never taken for something else.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::harness::{Call, Calls, Mount, Place, World, content, wait_for};

const MIB: usize = 1 << 20;

fn quiet() -> World {
    World::with(|setup| setup.asks_for_nothing())
}

#[track_caller]
fn assert_reads(mount: &Mount, files: &[(&str, Vec<u8>)]) {
    for (name, bytes) in files {
        assert!(mount.read(name) == *bytes, "{name} is read wrong");
    }
}

#[track_caller]
fn assert_fetched_nothing(calls: &Calls) {
    assert_eq!(
        (calls.of(Call::Link), calls.of(Call::Download)),
        (0, 0),
        "{calls:?}"
    );
}

/// The files below a folder that hold more than a map does.
fn contents_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the cache") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents_in(&path));
        } else if fs::metadata(&path).expect("facts").len() > 50_000 {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_was_read_is_read_without_a_download_after_a_remount() {
    let world = quiet();
    let files = [
        ("large.bin", content(1, 9 * MIB + 17)),
        ("small.txt", content(2, 3000)),
    ];
    for (name, bytes) in &files {
        world.put(name, bytes);
    }
    let mount = world.mount();
    assert_reads(&mount, &files);
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 2);
    assert_fetched_nothing(&world.counted(|| assert_reads(&mount, &files)));
    // Neither does a kill cost it.
    mount.kill();
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 2);
    assert_fetched_nothing(&world.counted(|| assert_reads(&mount, &files)));
}

#[test]
fn what_was_sent_is_read_without_a_download() {
    let world = quiet();
    let edited = content(3, 2 * MIB);
    world.put("edited.bin", &edited);
    let mut files = vec![
        ("large.bin", content(1, 9 * MIB + 17)),
        ("small.txt", content(2, 3000)),
    ];
    let mount = world.mount();
    for (name, bytes) in &files {
        mount.write(name, bytes);
    }
    let mut edited = edited;
    edited[MIB..MIB + 5].copy_from_slice(b"a new");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(mount.path("edited.bin"))
        .expect("open");
    file.write_all_at(b"a new", MIB as u64).expect("edit");
    drop(file);
    files.push(("edited.bin", edited));
    world.drain();
    let staging = world.place().state.join("staging");
    wait_for("the staged files are gone", || {
        fs::read_dir(&staging).expect("staging").count() == 0
    });
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 3);
    assert_fetched_nothing(&world.counted(|| assert_reads(&mount, &files)));
}

#[test]
fn what_was_sent_and_then_changed_elsewhere_is_fetched() {
    let world = World::new();
    let mount = world.mount();
    mount.write("a.bin", &content(1, MIB));
    world.drain();
    mount.unmount(&world.config());
    world.change("a.bin", &content(2, MIB));
    let mount = world.mount();
    wait_for("the change shows up", || mount.read("a.bin") == content(2, MIB));
}

#[test]
fn what_was_damaged_on_the_disk_is_fetched_again() {
    let world = quiet();
    let files = [("a.bin", content(1, 4 * MIB))];
    world.put("a.bin", &files[0].1);
    let mount = world.mount();
    assert_reads(&mount, &files);
    mount.unmount(&world.config());
    let found = contents_in(&world.place().cache);
    let [data] = found.as_slice() else {
        panic!("one content is in the cache: {found:?}")
    };
    let file = fs::OpenOptions::new().write(true).open(data).expect("open");
    file.write_all_at(&[0; 5000], 2 * MIB as u64 + 77)
        .expect("damage");
    drop(file);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["a.bin"]);
    let calls = world.counted(|| assert_reads(&mount, &files));
    assert!(calls.of(Call::Download) > 0, "{calls:?}");
    assert_fetched_nothing(&world.counted(|| assert_reads(&mount, &files)));
}

#[test]
fn without_a_cache_on_the_disk_all_is_read_the_same() {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.option("cache_size", "\"0\"");
    });
    let files = [("a.bin", content(1, 4 * MIB))];
    world.put("a.bin", &files[0].1);
    let mount = world.mount();
    assert_reads(&mount, &files);
    assert!(!world.place().cache.join("blocks").exists());
}

#[test]
fn a_cache_directory_that_cannot_be_made_is_told_in_the_log_and_done_without() {
    let world = quiet();
    let files = [("a.bin", content(1, MIB))];
    world.put("a.bin", &files[0].1);
    fs::write(world.folder().join("a file"), b"").expect("a file in the way");
    world.return_to(Place {
        cache: world.folder().join("a file"),
        ..world.place()
    });
    let mount = world.mount();
    assert_reads(&mount, &files);
    assert!(
        mount.log().contains("there is no cache on the disk"),
        "{}",
        mount.log()
    );
}

#[test]
fn two_mounts_with_one_cache_directory_have_a_cache_each() {
    let world = quiet();
    let files = [("a.bin", content(1, 4 * MIB))];
    world.put("a.bin", &files[0].1);
    let second = Place {
        cache: world.place().cache,
        ..world.another_place()
    };
    let mounts = [world.mount(), world.mount_in(&second)];
    for mount in &mounts {
        assert_reads(mount, &files);
    }
    assert_eq!(contents_in(&second.cache).len(), 2);
    let config = world.config();
    mounts.into_iter().for_each(|mount| mount.unmount(&config));
    let mounts = [world.mount(), world.mount_in(&second)];
    let calls = world.counted(|| {
        for mount in &mounts {
            assert_reads(mount, &files);
        }
    });
    assert_eq!(calls.of(Call::Download), 0, "{calls:?}");
}

#[test]
fn kills_in_the_middle_of_reads_leave_right_bytes() {
    let world = quiet();
    let wanted = content(1, 40 * MIB);
    world.put("film.mkv", &wanted);
    for round in 1..6 {
        let mount = world.mount();
        let path = mount.path("film.mkv");
        let reader = std::thread::spawn(move || fs::read(path));
        std::thread::sleep(std::time::Duration::from_millis(20 * round));
        mount.kill();
        // It may have come to its end before.
        if let Ok(read) = reader.join().expect("a reader") {
            assert!(read == wanted, "round {round}");
        }
    }
    let mount = world.mount();
    assert!(mount.read("film.mkv") == wanted);
    mount.unmount(&world.config());
    let mount = world.mount();
    assert!(mount.read("film.mkv") == wanted);
}
