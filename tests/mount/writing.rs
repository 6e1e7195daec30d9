//! Writing in all the ways in which programs write.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use lockerfs::provider::Capability;

use super::harness::{Call, MEDIA, Mount, Scratch, World, content, run, sha256_of, wait_for};
use crate::KIND;

/// The content that the service holds at a path.
fn held(world: &World, path: &str) -> Vec<u8> {
    fs::read(world.service.files_dir(MEDIA).join(path))
        .unwrap_or_else(|e| panic!("the service lacks {path}: {e}"))
}

/// A world whose service holds this file, and its mount.
fn with_file(path: &str, content: &[u8]) -> (World, Mount) {
    let world = World::new();
    world.put(path, content);
    let mount = world.mount();
    assert_eq!(
        fs::metadata(mount.path(path)).expect("stat").len(),
        content.len() as u64
    );
    (world, mount)
}

fn no_more_than(world: &World, names: &[&str]) {
    let stored: Vec<String> = world.stored().into_keys().collect();
    assert_eq!(stored, names);
}

#[test]
fn appending_to_a_remote_file_adds_to_its_end() {
    let (world, mount) = with_file("log.txt", b"first\n");
    for line in ["second\n", "third\n"] {
        let mut file = OpenOptions::new()
            .append(true)
            .open(mount.path("log.txt"))
            .expect("open");
        file.write_all(line.as_bytes()).expect("append");
        drop(file);
        assert!(mount.read("log.txt").ends_with(line.as_bytes()));
    }
    world.drain();
    assert_eq!(held(&world, "log.txt"), b"first\nsecond\nthird\n");
    assert_eq!(mount.read("log.txt"), b"first\nsecond\nthird\n");
    no_more_than(&world, &["log.txt"]);
}

#[test]
fn truncating_down_and_up_keeps_what_remains_and_fills_with_zeros() {
    let old = content(1, 100_000);
    let (world, mount) = with_file("data.bin", &old);
    let file = OpenOptions::new()
        .write(true)
        .open(mount.path("data.bin"))
        .expect("open");
    file.set_len(60_000).expect("cut");
    file.set_len(90_000).expect("extend");
    drop(file);
    let wanted = [&old[..60_000], &vec![0; 30_000]].concat();
    assert!(mount.read("data.bin") == wanted);
    world.drain();
    assert!(held(&world, "data.bin") == wanted);

    run("truncate", &[&"-s", &"1000", &mount.path("data.bin")]).succeeded();
    world.drain();
    assert!(held(&world, "data.bin") == old[..1000]);

    run("truncate", &[&"-s", &"0", &mount.path("data.bin")]).succeeded();
    world.drain();
    world.assert_empty_file(&mount, "data.bin");
    assert_eq!(mount.list(""), ["data.bin"]);
}

#[test]
fn truncating_by_path_without_an_open_file_is_uploaded() {
    let (world, mount) = with_file("note.txt", b"0123456789");
    let path = std::ffi::CString::new(mount.path("note.txt").to_str().expect("UTF-8")).expect("a path");
    // SAFETY: `path` is a valid C string.
    assert_eq!(unsafe { libc::truncate(path.as_ptr(), 4) }, 0);
    assert_eq!(mount.read("note.txt"), b"0123");
    world.drain();
    assert_eq!(held(&world, "note.txt"), b"0123");
}

#[test]
fn a_file_that_is_cut_to_the_size_that_it_has_keeps_its_time_and_is_not_uploaded() {
    let (world, mount) = with_file("kept.txt", b"eight...");
    let path = mount.path("kept.txt");
    run("touch", &[&"-d", &"2001-02-03T04:05:06Z", &path]).succeeded();
    let name = std::ffi::CString::new(path.to_str().expect("a UTF-8 path")).expect("a path");
    let calls = world.counted(|| {
        // SAFETY: `name` is a valid C string for the time of the call.
        assert_eq!(unsafe { libc::truncate(name.as_ptr(), 8) }, 0);
        world.drain();
    });
    assert_eq!(calls.of(Call::AnyUpload), 0, "{calls:?}");
    assert_eq!(fs::metadata(&path).expect("stat").mtime(), 981_173_106);
}

#[test]
fn overwriting_a_part_of_a_remote_file_fetches_only_the_rest() {
    let old = content(2, 24 << 20);
    let (world, mount) = with_file("image.bin", &old);
    let fresh = content(3, 20 << 20);
    let mut wanted = old.clone();
    wanted[2 << 20..22 << 20].copy_from_slice(&fresh);
    let calls = world.counted(|| {
        let file = OpenOptions::new()
            .write(true)
            .open(mount.path("image.bin"))
            .expect("open");
        file.write_all_at(&fresh, 2 << 20).expect("overwrite");
        drop(file);
        world.drain();
    });
    assert_eq!(sha256_of(&held(&world, "image.bin")), sha256_of(&wanted));
    assert!(
        calls.bytes_out < (4 << 20) + 2 * KIND.budget.overshoot,
        "4 MiB were missing in two places, {} bytes were fetched",
        calls.bytes_out
    );
    assert_eq!(sha256_of(&mount.read("image.bin")), sha256_of(&wanted));
}

#[test]
fn overwriting_at_random_places_of_a_remote_file_changes_just_these() {
    let mut wanted = content(4, 3_000_000);
    let (world, mount) = with_file("table.db", &wanted);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mount.path("table.db"))
        .expect("open");
    let mut dice = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        let at = dice.usize(..wanted.len() - 20_000);
        let fresh = content(100 + round, dice.usize(1..20_000));
        file.write_all_at(&fresh, at as u64).expect("write");
        wanted[at..at + fresh.len()].copy_from_slice(&fresh);
        let look = dice.usize(..wanted.len() - 5000);
        let mut got = vec![0; 5000];
        file.read_exact_at(&mut got, look as u64)
            .expect("read between writes");
        assert!(got == wanted[look..look + 5000], "at {look} in round {round}");
    }
    drop(file);
    assert!(mount.read("table.db") == wanted);
    world.drain();
    assert_eq!(sha256_of(&held(&world, "table.db")), sha256_of(&wanted));
}

#[test]
fn writing_through_a_mapping_reaches_the_service() {
    let mut wanted = content(6, 400_000);
    let (world, mount) = with_file("mapped.bin", &wanted);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mount.path("mapped.bin"))
        .expect("open");
    // SAFETY: the mapping is of a file of this length, and is not used after it is unmapped.
    unsafe {
        let (protection, length) = (libc::PROT_READ | libc::PROT_WRITE, wanted.len());
        let start = libc::mmap(
            std::ptr::null_mut(),
            length,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let bytes = std::slice::from_raw_parts_mut(start.cast::<u8>(), length);
        assert!(bytes == wanted);
        bytes[123_456..123_461].copy_from_slice(b"hello");
        assert_eq!(
            libc::msync(start, length, libc::MS_SYNC),
            0,
            "{}",
            std::io::Error::last_os_error()
        );
        bytes[399_990..].copy_from_slice(b"the end!!!");
        assert_eq!(libc::munmap(start, length), 0);
    }
    drop(file);
    wanted[123_456..123_461].copy_from_slice(b"hello");
    wanted[399_990..].copy_from_slice(b"the end!!!");
    assert!(mount.read("mapped.bin") == wanted);
    wait_for("the mapped bytes are on the service", || {
        world.drain();
        held(&world, "mapped.bin") == wanted
    });
}

#[test]
fn rewriting_a_file_fetches_nothing_and_keeps_its_id_where_it_can() {
    let (world, mount) = with_file("report.txt", &content(7, 500_000));
    let before = world.stored()["report.txt"].clone();
    let calls = world.counted(|| {
        mount.write("report.txt", b"all new");
        world.drain();
    });
    assert_eq!(calls.of(Call::Download) + calls.of(Call::Link), 0, "{calls:?}");
    assert_eq!(held(&world, "report.txt"), b"all new");
    world.stored()["report.txt"].replaces(&before);
    no_more_than(&world, &["report.txt"]);
}

#[test]
fn what_one_handle_writes_another_reads_at_once() {
    let world = World::new();
    let mount = world.mount();
    let mut writer = File::create(mount.path("shared.txt")).expect("create");
    let reader = File::open(mount.path("shared.txt")).expect("open");
    for round in 0..20u8 {
        let line = vec![b'a' + round; 1000];
        writer.write_all(&line).expect("write");
        let mut got = vec![0; 1000];
        reader
            .read_exact_at(&mut got, u64::from(round) * 1000)
            .expect("read");
        assert!(got == line, "round {round}");
        assert_eq!(
            fs::metadata(mount.path("shared.txt")).expect("stat").len(),
            (u64::from(round) + 1) * 1000
        );
    }
    let second = OpenOptions::new()
        .write(true)
        .open(mount.path("shared.txt"))
        .expect("open");
    second.write_all_at(b"second", 0).expect("write");
    drop(writer);
    second
        .write_all_at(b"SECOND", 10_000)
        .expect("write after the other closed");
    drop(second);
    world.drain();
    let stored = held(&world, "shared.txt");
    assert_eq!(
        (&stored[..6], &stored[10_000..10_006], stored.len()),
        (&b"second"[..], &b"SECOND"[..], 20_000)
    );
}

#[test]
fn a_file_that_is_written_again_while_it_is_uploaded_ends_with_the_last_content() {
    let world = World::new();
    let mount = world.mount();
    world.service.faults(&[(
        Call::Upload,
        serde_json::json!({"fault": "delay", "milliseconds": 700, "times": 2}),
    )]);
    for round in 0..5 {
        mount.write("draft.txt", format!("version {round}").as_bytes());
        std::thread::sleep(Duration::from_millis(150));
    }
    world.drain();
    assert_eq!(held(&world, "draft.txt"), b"version 4");
    assert_eq!(mount.read("draft.txt"), b"version 4");
    no_more_than(&world, &["draft.txt"]);
}

#[test]
fn a_file_that_is_deleted_while_open_is_read_on_and_never_uploaded() {
    let world = World::new();
    let mount = world.mount();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(mount.path("temp"))
        .expect("open");
    file.write_all(b"scratch").expect("write");
    fs::remove_file(mount.path("temp")).expect("unlink");
    assert!(mount.list("").is_empty());
    file.write_all(b" data").expect("write after unlink");
    let mut got = vec![0; 12];
    file.read_exact_at(&mut got, 0).expect("read after unlink");
    assert_eq!(got, b"scratch data");
    drop(file);
    world.drain();
    no_more_than(&world, &[]);
    assert_eq!(world.service.calls().of(Call::AnyUpload), 0);
}

#[test]
fn copying_a_file_onto_itself_harms_nothing() {
    let old = content(8, 50_000);
    let (world, mount) = with_file("self.bin", &old);
    let ran = run("cp", &[&mount.path("self.bin"), &mount.path("self.bin")]);
    assert!(!ran.status.success());
    run("cp", &[&mount.path("self.bin"), &mount.path("twin.bin")]).succeeded();
    world.drain();
    assert!(mount.read("self.bin") == old && mount.read("twin.bin") == old);
    no_more_than(&world, &["self.bin", "twin.bin"]);
}

#[test]
fn sed_in_place_edits_a_remote_file() {
    let (world, mount) = with_file("conf.ini", b"color = red\nsize = 3\n");
    let before = world.stored()["conf.ini"].clone();
    run("sed", &[&"-i", &"s/red/blue/", &mount.path("conf.ini")]).succeeded();
    assert_eq!(mount.read("conf.ini"), b"color = blue\nsize = 3\n");
    world.drain();
    assert_eq!(held(&world, "conf.ini"), b"color = blue\nsize = 3\n");
    world.stored()["conf.ini"].replaces(&before);
    no_more_than(&world, &["conf.ini"]);
}

#[test]
fn an_editor_that_keeps_a_backup_while_it_saves_loses_nothing() {
    let (world, mount) = with_file("letter.txt", b"Dear Ann\n");
    // What vim does with backupcopy=no.
    File::create_new(mount.path("4913")).expect("a probe");
    fs::remove_file(mount.path("4913")).expect("remove the probe");
    fs::rename(mount.path("letter.txt"), mount.path("letter.txt~")).expect("rename to the backup");
    let mut file = File::create_new(mount.path("letter.txt")).expect("create");
    file.write_all(b"Dear Bob\n").expect("write");
    file.sync_all().expect("fsync");
    drop(file);
    fs::remove_file(mount.path("letter.txt~")).expect("remove the backup");
    assert_eq!(mount.list(""), ["letter.txt"]);
    assert_eq!(mount.read("letter.txt"), b"Dear Bob\n");
    world.drain();
    assert_eq!(held(&world, "letter.txt"), b"Dear Bob\n");
    no_more_than(&world, &["letter.txt"]);
}

#[test]
fn vim_saves_a_remote_file() {
    let (world, mount) = with_file("letter.txt", b"Dear Ann\n");
    for (from, to, copy) in [("Ann", "Bob", "no"), ("Bob", "Cleo", "yes")] {
        let settings = format!("set backup writebackup backupskip= backupcopy={copy} | %s/{from}/{to}/");
        run(
            "vim",
            &[
                &"-u",
                &"NONE",
                &"-es",
                &"-c",
                &settings,
                &"-c",
                &"wq",
                &mount.path("letter.txt"),
            ],
        )
        .succeeded();
        assert_eq!(mount.read("letter.txt"), format!("Dear {to}\n").as_bytes());
    }
    world.drain();
    assert_eq!(held(&world, "letter.txt"), b"Dear Cleo\n");
    assert_eq!(held(&world, "letter.txt~"), b"Dear Bob\n");
    no_more_than(&world, &["letter.txt", "letter.txt~"]);
}

#[test]
fn rsyncs_temporary_name_never_reaches_the_service() {
    let world = World::with(|setup| setup.option("upload_delay", "\"300ms\""));
    let scratch = Scratch::new(world.folder().join("source"));
    let source = scratch.dated_file("song.mp3", &content(9, 300_000), 1_500_000_000);
    let mount = world.mount();
    let calls = world.counted(|| {
        run("rsync", &[&"-a", &source, &mount.path("song.mp3")]).succeeded();
        world.drain();
    });
    assert_eq!(calls.of(Call::Upload), 1, "{calls:?}");
    assert_eq!(calls.of(Call::Rename) + calls.of(Call::Move), 0, "{calls:?}");
    no_more_than(&world, &["song.mp3"]);
    let before = world.stored()["song.mp3"].clone();

    // Again over the file that is there: the new content takes the place of the old.
    let source = scratch.dated_file("song.mp3", &content(10, 200_000), 1_600_000_000);
    run("rsync", &[&"-a", &source, &mount.path("song.mp3")]).succeeded();
    world.drain();
    no_more_than(&world, &["song.mp3"]);
    let stored = world.stored()["song.mp3"].clone();
    assert_eq!(stored.sha256, sha256_of(&content(10, 200_000)));
    stored.replaces(&before);
    assert_eq!(
        fs::metadata(mount.path("song.mp3")).expect("stat").mtime(),
        1_600_000_000
    );
}

#[test]
fn a_download_under_a_part_name_is_uploaded_once_under_its_own() {
    let world = World::with(|setup| setup.option("upload_delay", "\"500ms\""));
    let mount = world.mount();
    let body = content(11, 900_000);
    let calls = world.counted(|| {
        let mut file = File::create(mount.path("disk.iso.part")).expect("create");
        for piece in body.chunks(100_000) {
            file.write_all(piece).expect("write");
            file.flush().expect("flush");
        }
        drop(file);
        fs::rename(mount.path("disk.iso.part"), mount.path("disk.iso")).expect("rename");
        world.drain();
    });
    assert_eq!(calls.of(Call::Upload), 1, "{calls:?}");
    assert_eq!(calls.of(Call::Rename), 0, "{calls:?}");
    no_more_than(&world, &["disk.iso"]);
    assert!(held(&world, "disk.iso") == body);
}

#[test]
fn a_modification_time_set_before_or_after_the_upload_is_kept() {
    let world = World::with(|setup| setup.option("upload_delay", "\"300ms\""));
    let mount = world.mount();
    mount.write("before.txt", b"one");
    run(
        "touch",
        &[&"-d", &"2001-02-03 04:05:06 UTC", &mount.path("before.txt")],
    )
    .succeeded();
    mount.write("after.txt", b"two");
    world.drain();
    run(
        "touch",
        &[&"-d", &"2010-11-12 13:14:15 UTC", &mount.path("after.txt")],
    )
    .succeeded();
    let times = [("before.txt", 981_173_106), ("after.txt", 1_289_567_655)];
    for (name, seconds) in times {
        assert_eq!(
            fs::metadata(mount.path(name)).expect("stat").mtime(),
            seconds,
            "{name}"
        );
    }
    mount.unmount(&world.config());
    assert_eq!(world.service.calls().of(Call::Upload), 2);
    if !KIND.has(Capability::ModificationTime) {
        keep_their_times_here_alone(&world, &times);
        return;
    }
    world.forget();
    let mount = world.mount();
    for (name, seconds) in times {
        assert_eq!(
            fs::metadata(mount.path(name)).expect("stat").mtime(),
            seconds,
            "{name} in a fresh mount"
        );
    }
}

/// Where the service keeps no times, the mount that was told them does; to others files are as old as their upload.
fn keep_their_times_here_alone(world: &World, times: &[(&str, i64)]) {
    let mount = world.mount();
    for (name, seconds) in times {
        let time = fs::metadata(mount.path(name)).expect("stat").mtime();
        assert_eq!(time, *seconds, "{name} after a remount");
    }
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time");
    for (name, _) in times {
        wait_for("the date of the upload is shown", || {
            let time = fs::metadata(mount.path(name)).expect("stat").mtime();
            now.as_secs().abs_diff(time as u64) < 600
        });
    }
}

#[test]
fn touching_a_file_never_uploads_it() {
    let (world, mount) = with_file("still.txt", b"as it was");
    let calls = world.counted(|| {
        run("touch", &[&mount.path("still.txt")]).succeeded();
        run("touch", &[&"-d", &"2015-01-01 UTC", &mount.path("still.txt")]).succeeded();
        world.drain();
    });
    assert_eq!(
        calls.of(Call::AnyUpload) + calls.of(Call::Download),
        0,
        "{calls:?}"
    );
    assert_eq!(
        fs::metadata(mount.path("still.txt")).expect("stat").mtime(),
        1_420_070_400
    );
    assert_eq!(held(&world, "still.txt"), b"as it was");
}

#[test]
fn an_empty_file_and_a_file_of_one_byte_are_stored_or_kept() {
    let world = World::new();
    let mount = world.mount();
    run("touch", &[&mount.path("empty")]).succeeded();
    mount.write("one", b"1");
    world.drain();
    world.assert_empty_file(&mount, "empty");
    assert_eq!(held(&world, "one"), b"1");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list(""), ["empty", "one"]);
    world.assert_empty_file(&mount, "empty");
    mount.write("empty", b"no more");
    mount.write("one", b"");
    world.drain();
    assert_eq!(held(&world, "empty"), b"no more");
    world.assert_empty_file(&mount, "one");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list(""), ["empty", "one"]);
    assert_eq!(mount.read("empty"), b"no more");
    world.assert_empty_file(&mount, "one");
}

#[test]
fn close_that_waits_returns_when_the_file_is_stored() {
    let world = World::with(|setup| setup.option("on_close", "\"wait\""));
    let mount = world.mount();
    let body = content(12, 20_000);
    mount.write("sure.bin", &body);
    assert_eq!(world.stored()["sure.bin"].sha256, sha256_of(&body));
    let mut got = Vec::new();
    File::open(mount.path("sure.bin"))
        .and_then(|mut file| file.read_to_end(&mut got))
        .expect("read");
    assert!(got == body);
}

#[test]
fn a_sparse_file_is_stored_with_its_zeros() {
    let world = World::new();
    let mount = world.mount();
    let file = File::create(mount.path("sparse.img")).expect("create");
    file.write_all_at(b"head", 0).expect("write");
    file.write_all_at(b"tail", 6_000_000).expect("write");
    drop(file);
    world.drain();
    let stored = held(&world, "sparse.img");
    assert_eq!(stored.len(), 6_000_004);
    assert!(stored.starts_with(b"head") && stored.ends_with(b"tail"));
    assert!(stored[4..6_000_000].iter().all(|byte| *byte == 0));
}
