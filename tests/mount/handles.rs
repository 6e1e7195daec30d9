//! Several open files on one, and open files whose name is gone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use lockerfs::provider::Capability;
use serde_json::json;

use super::harness::{Call, World, content, sha256_of, wait_for};
use crate::KIND;

fn edited(mount: &super::harness::Mount, path: &str) -> File {
    let file = File::options().read(true).write(true).open(mount.path(path));
    file.unwrap_or_else(|e| panic!("open {path} for writing: {e}"))
}

#[test]
fn a_removed_file_is_written_on_by_who_synced_it_before() {
    let world = World::with(|setup| setup.option("deadline", "\"5s\""));
    let old = content(1, 9000);
    world.put("edited.bin", &old);
    let mount = world.mount();
    let file = edited(&mount, "edited.bin");
    file.write_all_at(b"first", 100).expect("write");
    file.sync_all().expect("fsync");
    fs::remove_file(mount.path("edited.bin")).expect("unlink");
    file.write_all_at(b"second", 5000)
        .expect("write to what was removed");
    let mut read = vec![0; 6];
    file.read_exact_at(&mut read, 5000).expect("read it back");
    assert_eq!(read, b"second");
    file.set_len(0).expect("cut to nothing");
    file.write_all_at(b"third", 0).expect("write once more");
    assert_eq!(file.metadata().expect("stat").len(), 5);
    drop(file);
    world.drain();
    assert!(world.stored().is_empty(), "what was removed is not uploaded");
}

#[test]
fn a_sync_by_who_only_reads_makes_safe_what_another_wrote() {
    let world = World::with(|setup| setup.option("upload_delay", "\"20s\""));
    let mount = world.mount();
    let writer = File::create(mount.path("log.txt")).expect("create");
    writer.write_all_at(b"a line", 0).expect("write");
    let reader = File::open(mount.path("log.txt")).expect("open");
    reader.sync_all().expect("fsync");
    mount.kill();
    drop((writer, reader));
    let mount = world.mount();
    assert_eq!(mount.read("log.txt"), b"a line");
}

#[test]
fn who_has_a_file_open_reads_on_when_its_upload_is_listed_before_its_end_is_told() {
    if !KIND.has(Capability::ChangeFeed) {
        return;
    }
    let world = World::new();
    world.put("open.bin", &content(1, 40_000));
    let mount = world.mount();
    assert_eq!(mount.list(""), ["open.bin"]);
    let late = json!({"fault": "delay", "milliseconds": 4_000});
    world.service.faults(&[(Call::PollUpload, late)]);
    let new = content(2, 50_000);
    mount.write("open.bin", &new);
    let file = File::open(mount.path("open.bin")).expect("open");
    wait_for("the service has it", || {
        world
            .stored_sha256()
            .get("open.bin")
            .is_some_and(|hash| *hash == sha256_of(&new))
    });
    // The feed is asked each second.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(mount.list(""), ["open.bin"]);
    world.service.faults(&[]);
    world.drain();
    let mut read = vec![0; new.len()];
    file.read_exact_at(&mut read, 0)
        .expect("read on in what was uploaded from here");
    assert!(read == new);
}

#[test]
fn a_removed_file_that_is_open_takes_a_time() {
    let world = World::new();
    world.put("read.bin", &content(1, 9000));
    let mount = world.mount();
    let file = File::open(mount.path("read.bin")).expect("open");
    fs::remove_file(mount.path("read.bin")).expect("unlink");
    world.drain();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(time).expect("set a time");
    let told = file.metadata().expect("stat").modified().expect("a time");
    assert_eq!(told, time);
}
