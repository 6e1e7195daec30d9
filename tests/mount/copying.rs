//! A file that is copied inside the mount is copied by the service: no byte passes through here, and what `cp` was told
//! to be done depends on its original no more.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockerfs::provider::Capability;
use serde_json::{Value, json};

use super::harness::{Call, World, content, run, sha256_of, wait_for};
use crate::KIND;

const SIZE: usize = 3 << 20;

fn cp(from: &Path, to: &Path) {
    run("cp", &[&from, &to]).succeeded();
}

/// `copy_file_range` of a whole file, as `cp` does it; what the kernel says.
fn copy_range(from: &File, to: &File) -> std::io::Result<u64> {
    // SAFETY: both descriptors are open, and no offset is passed.
    let copied = unsafe {
        libc::copy_file_range(
            from.as_raw_fd(),
            std::ptr::null_mut(),
            to.as_raw_fd(),
            std::ptr::null_mut(),
            1 << 40,
            0,
        )
    };
    u64::try_from(copied).map_err(|_| std::io::Error::last_os_error())
}

/// Waits until the service was asked for so many copies. Calls alone do not tell: a host of which little is documented is
/// asked with the first call of a mount, without the ids that it needs, whether it has the call.
fn await_asked(world: &World, copies: usize) {
    wait_for("the service was asked for each copy", || {
        let pending = world.pending();
        let begun = |file: &&Value| file["state"] == "uploading";
        pending.iter().filter(begun).count() == copies
    });
    world.service.settle();
    assert!(world.service.calls().of(Call::MakeCopy) >= copies as u64);
}

/// Waits for what was deleted to be gone, and tells what is stored.
fn stored(world: &World, wanted: &[(&str, &[u8])]) {
    world.drain();
    let wanted = wanted
        .iter()
        .map(|(path, body)| ((*path).to_owned(), sha256_of(body)))
        .collect();
    assert_eq!(world.stored_sha256(), wanted);
}

#[test]
fn cp_inside_an_account_moves_no_byte_and_gives_name_and_time() {
    let world = World::new();
    let body = content(1, SIZE);
    world.put("original.bin", &body);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["original.bin"]);
    fs::create_dir(mount.path("folder")).expect("mkdir");
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    File::open(mount.path("original.bin"))
        .and_then(|file| file.set_modified(then))
        .expect("a time");
    let calls = world.counted(|| {
        cp(&mount.path("original.bin"), &mount.path("beside.bin"));
        cp(&mount.path("original.bin"), &mount.path("folder/original.bin"));
        run(
            "cp",
            &[&"-p", &mount.path("original.bin"), &mount.path("folder/other")],
        )
        .succeeded();
        world.drain();
    });
    for call in [Call::Download, Call::Upload, Call::UploadUnit] {
        assert_eq!(calls.of(call), 0, "{calls:?}");
    }
    assert_eq!(calls.of(Call::MakeCopy), 3, "{calls:?}");
    let time = fs::metadata(mount.path("folder/other")).and_then(|of| of.modified());
    assert_eq!(time.expect("a time"), then);
    stored(
        &world,
        &[
            ("original.bin", &body),
            ("beside.bin", &body),
            ("folder/original.bin", &body),
            ("folder/other", &body),
        ],
    );
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["original.bin", "other"]);
    assert!(mount.read("folder/other") == body);
    mount.unmount(&world.config());
}

#[test]
fn a_copy_over_a_file_takes_its_place() {
    let world = World::new();
    let (body, old) = (content(2, SIZE), content(3, 5000));
    world.put("new.bin", &body);
    world.put("old.bin", &old);
    let mount = world.mount();
    let before = world.stored()["old.bin"].clone();
    let calls = world.counted(|| {
        cp(&mount.path("new.bin"), &mount.path("old.bin"));
        world.drain();
    });
    assert_eq!(calls.of(Call::Download) + calls.of(Call::Upload), 0, "{calls:?}");
    assert!(mount.read("old.bin") == body);
    stored(&world, &[("new.bin", &body), ("old.bin", &body)]);
    world.stored()["old.bin"].replaces(&before);
    mount.unmount(&world.config());
}

#[test]
fn the_original_may_go_as_soon_as_cp_has_ended() {
    let world = World::with(|setup| {
        setup.second_account();
        setup.option("upload_delay", "\"20s\"");
    });
    let bodies = [content(4, SIZE), content(5, SIZE)];
    world.put("moved.bin", &bodies[0]);
    world.put("copied.bin", &bodies[1]);
    let mount = world.mount();
    let other = mount.mount_point().join("other");
    run("mv", &[&mount.path("moved.bin"), &other.join("moved.bin")]).succeeded();
    cp(&mount.path("copied.bin"), &mount.path("copy.bin"));
    fs::write(mount.path("copied.bin"), b"other").expect("write");
    world.drain();
    stored(&world, &[("copied.bin", b"other"), ("copy.bin", &bodies[1])]);
    let moved = &world.service.stored("other")["moved.bin"];
    assert_eq!(moved.sha256, sha256_of(&bodies[0]));
    mount.unmount(&world.config());
}

#[test]
fn what_the_service_does_not_copy_passes_through_here_and_the_log_says_why() {
    let world = World::new();
    let body = content(6, SIZE);
    world.put("original.bin", &body);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["original.bin"]);
    let refused = match KIND.has(Capability::ContentHash) {
        true => vec![
            json!({"match": "upload/instant", "fault": "error", "code": 114, "times": 1}),
            json!({"match": "file/copy", "fault": "error", "code": 114, "times": 1}),
        ],
        false => vec![json!({"match": "v2/file/copy", "fault": "say", "text": "Copying is switched off."})],
    };
    world.service.strike(&json!(refused));
    cp(&mount.path("original.bin"), &mount.path("copy.bin"));
    world.service.strike(&json!([]));
    stored(&world, &[("original.bin", &body), ("copy.bin", &body)]);
    let log = mount.log();
    assert!(log.contains("its bytes go through here"), "{log}");
    mount.unmount(&world.config());
}

#[test]
fn with_uploads_paused_cp_ends_when_the_bytes_are_here() {
    let world = World::new();
    let body = content(7, SIZE);
    world.put("original.bin", &body);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["original.bin"]);
    world
        .lockerfs(&["queue", "pause", "--account", "media"])
        .succeeded();
    cp(&mount.path("original.bin"), &mount.path("copy.bin"));
    world.service.settle();
    world.remove("original.bin");
    wait_for("the original is gone", || mount.list("") == ["copy.bin"]);
    assert!(mount.read("copy.bin") == body);
    world
        .lockerfs(&["queue", "resume", "--account", "media"])
        .succeeded();
    stored(&world, &[("copy.bin", &body)]);
    mount.unmount(&world.config());
}

#[test]
fn a_lost_answer_to_a_copy_makes_no_second_one() {
    let world = World::new();
    let body = content(8, SIZE);
    world.put("original.bin", &body);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["original.bin"]);
    let lost = json!({"fault": "lost_reply", "times": 1});
    world.service.faults(&[(Call::MakeCopy, lost)]);
    cp(&mount.path("original.bin"), &mount.path("copy.bin"));
    stored(&world, &[("original.bin", &body), ("copy.bin", &body)]);
    assert!(mount.read("copy.bin") == body);
    mount.unmount(&world.config());
}

#[test]
fn killed_while_a_service_copies_it_makes_one_copy() {
    let world = World::new();
    let body = content(9, SIZE);
    world.put("original.bin", &body);
    // Before the service does it, and after it did and the answer does not come.
    for (at, fault) in ["delay", "stall"].into_iter().enumerate() {
        let mount = world.mount();
        assert!(mount.list("").contains(&"original.bin".to_owned()));
        let hang = json!({"fault": fault, "milliseconds": 300_000});
        world.service.faults(&[(Call::MakeCopy, hang)]);
        world.service.reset_calls();
        let name = format!("copy-{at}.bin");
        let (from, to) = (mount.path("original.bin"), mount.path(&name));
        let program = std::thread::spawn(move || std::process::Command::new("cp").args([from, to]).output());
        await_asked(&world, 1);
        mount.kill();
        let cut = program.join().expect("joined").expect("cp");
        assert!(!cut.status.success(), "{cut:?}");
        world.service.faults(&[]);
        let mount = world.mount();
        assert!(mount.list("").contains(&name), "{:?}", mount.list(""));
        wait_for("the copy is made", || world.pending().is_empty());
        assert!(mount.read(&name) == body);
        mount.unmount(&world.config());
    }
    let stored = world.stored_sha256();
    let names: Vec<_> = stored.keys().map(String::as_str).collect();
    assert_eq!(names, ["copy-0.bin", "copy-1.bin", "original.bin"]);
    assert!(stored.values().all(|hash| *hash == sha256_of(&body)));
}

#[test]
fn what_a_kill_left_to_be_copied_outlives_its_original() {
    let world = World::new();
    let bodies = [content(12, SIZE), content(13, SIZE), content(14, SIZE)];
    let names = ["removed.bin", "changed.bin", "replaced.bin"];
    for (name, body) in names.iter().zip(&bodies) {
        world.put(name, body);
    }
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 3);
    let hang = json!({"fault": "delay", "milliseconds": 300_000});
    world.service.faults(&[(Call::MakeCopy, hang)]);
    world.service.reset_calls();
    let programs: Vec<_> = names
        .iter()
        .map(|name| {
            let (from, to) = (mount.path(name), mount.path(&format!("copy of {name}")));
            std::thread::spawn(move || std::process::Command::new("cp").args([from, to]).output())
        })
        .collect();
    await_asked(&world, 3);
    mount.kill();
    for program in programs {
        program.join().expect("joined").expect("cp");
    }
    // The service copies nothing for now.
    let refuses = json!({"fault": "status", "status": 503});
    world.service.faults(&[(Call::MakeCopy, refuses)]);
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 6);
    mount.write("new.bin", b"new");
    fs::remove_file(mount.path(names[0])).expect("unlink");
    mount.write(names[1], b"changed");
    fs::rename(mount.path("new.bin"), mount.path(names[2])).expect("rename");
    world.service.faults(&[]);
    world.lockerfs(&["retry"]).succeeded();
    world.drain();
    for (name, body) in names.iter().zip(&bodies) {
        assert!(mount.read(&format!("copy of {name}")) == *body, "{name}");
    }
    mount.unmount(&world.config());
    let mut wanted: Vec<_> = names.iter().map(|name| format!("copy of {name}")).collect();
    wanted.extend(["changed.bin".to_owned(), "replaced.bin".to_owned()]);
    let stored = world.stored_sha256();
    assert_eq!(stored.keys().cloned().collect::<Vec<_>>(), {
        wanted.sort();
        wanted
    });
    for (name, body) in names.iter().zip(&bodies) {
        assert_eq!(stored[&format!("copy of {name}")], sha256_of(body), "{name}");
    }
}

#[test]
fn a_copy_can_be_read_and_changed_before_it_is_made() {
    let world = World::new();
    let body = content(10, SIZE);
    world.put("original.bin", &body);
    let mount = world.mount();
    let original = File::open(mount.path("original.bin")).expect("open");
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(mount.path(name)).expect("create")
    };
    let mut copy = open("changed.bin");
    assert_eq!(copy_range(&original, &copy).expect("copied"), SIZE as u64);
    let mut part = vec![0; 10_000];
    copy.read_exact_at(&mut part, 1_000_000).expect("read");
    assert!(part == body[1_000_000..1_010_000]);
    copy.seek(SeekFrom::End(0)).expect("seek");
    copy.write_all(b"and more").expect("append");
    copy.write_all_at(b"changed", 70_000).expect("write");
    drop(copy);
    let mut changed = body.clone();
    changed[70_000..70_007].copy_from_slice(b"changed");
    changed.extend_from_slice(b"and more");
    assert!(mount.read("changed.bin") == changed);

    // Only a part is copied, or to another place: the kernel moves the bytes.
    let mut shifted = open("shifted.bin");
    shifted.write_all(b"head").expect("write");
    let mut original = original;
    original.seek(SeekFrom::Start(100)).expect("seek");
    while copy_range(&original, &shifted).expect("copied") > 0 {}
    drop(shifted);
    let wanted = [b"head", &body[100..]].concat();
    assert!(mount.read("shifted.bin") == wanted);
    stored(
        &world,
        &[
            ("original.bin", &body),
            ("changed.bin", &changed),
            ("shifted.bin", &wanted),
        ],
    );
    mount.unmount(&world.config());
}

#[test]
fn a_copy_whose_original_goes_before_it_is_made_fails_and_says_so() {
    let world = World::new();
    world.put("original.bin", &content(11, SIZE));
    let mount = world.mount();
    let original = File::open(mount.path("original.bin")).expect("open");
    let copy = File::create(mount.path("copy.bin")).expect("create");
    assert_eq!(copy_range(&original, &copy).expect("copied"), SIZE as u64);
    world.remove("original.bin");
    let error = copy.sync_all().expect_err("nothing is there to be copied");
    assert!(
        matches!(error.raw_os_error(), Some(libc::EIO | libc::ENOENT)),
        "{error}"
    );
    let waiting = world.pending();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let why = waiting[0]["error"].as_str().unwrap_or_default();
    assert!(why.contains("a copy of was deleted"), "{waiting:?}");
    drop((copy, original));
    let status = world.lockerfs(&["status"]);
    assert!(
        status.stdout.contains("a copy of was deleted"),
        "{}",
        status.stdout
    );
    fs::remove_file(mount.path("copy.bin")).expect("unlink");
    mount.unmount(&world.config());
}
