//! What the host does not keep is kept here: times and empty files.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::suite::harness::{Call, MEDIA, Mount, Scratch, World, content, run, sha256_of, wait_for};

fn mtime(mount: &Mount, path: &str) -> i64 {
    fs::metadata(mount.path(path)).expect("stat").mtime()
}

fn names(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

/// Puts a folder into the account in one go, so that the service never sees a file without its time.
fn uploaded_elsewhere(world: &World, name: &str, fill: impl FnOnce(&Scratch)) {
    let scratch = Scratch::new(world.folder().join("elsewhere"));
    fill(&scratch);
    let target = world.service.files_dir(MEDIA).join(name);
    fs::rename(&scratch.path, target).expect("move into the account");
    world.service.rescan();
}

/// An album of files that were uploaded each on its day.
fn album(world: &World, count: usize) {
    uploaded_elsewhere(world, "album", |scratch| {
        for at in 0..count {
            let name = format!("{at:04}.jpg");
            scratch.dated_file(&name, name.as_bytes(), day(at) as u64);
        }
    });
    wait_for("the service takes up all files", || world.stored().len() == count);
}

fn day(at: usize) -> i64 {
    1_500_000_000 + at as i64 * 3_601
}

#[test]
fn a_large_folder_costs_one_call_and_its_dates_come_behind_at_their_pace_and_stay() {
    const FILES: usize = 1000;
    const PACE: u64 = 80;
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.option("dates_per_second", &PACE.to_string());
    });
    album(&world, FILES);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["album"]);
    world.service.settle();
    world.service.reset_calls();
    let began = Instant::now();
    let listed = run("ls", &[&"-l", &mount.path("album")]);
    let lines = listed.succeeded().stdout.lines().count();
    let calls = world.service.calls();
    assert_eq!((lines, calls.total()), (FILES + 1, 1), "{calls:?}");

    let asked = || world.service.calls().of(Call::Dates);
    wait_for("all dates are asked for", || {
        let most = (began.elapsed().as_secs() + 2) * PACE;
        assert!(asked() <= most, "{} in {:?}", asked(), began.elapsed());
        asked() >= FILES as u64
    });
    let wrong = |mount: &Mount| {
        (0..FILES)
            .map(|at| (at, mtime(mount, &format!("album/{at:04}.jpg"))))
            .find(|(at, time)| *time != day(*at))
    };
    let began = Instant::now();
    while wrong(&mount).is_some() {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", wrong(&mount));
        std::thread::sleep(Duration::from_millis(200));
    }
    run("ls", &[&"-lR", &mount.path("")]).succeeded();
    world.service.settle();
    let calls = world.service.calls();
    assert_eq!(
        (calls.total(), calls.of(Call::Dates)),
        (1, FILES as u64),
        "each was asked for once: {calls:?}"
    );
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_eq!(mount.list("album").len(), FILES);
    assert_eq!(wrong(&mount), None, "mounted again");
    world.service.settle();
    assert_eq!(world.service.calls().of(Call::Dates), FILES as u64);
}

#[test]
fn dates_are_not_asked_for_where_nobody_wants_them() {
    let world = World::with(|setup| setup.option("dates_per_second", "0"));
    album(&world, 5);
    let mount = world.mount();
    let calls = world.counted(|| {
        run("ls", &[&"-l", &mount.path("album")]).succeeded();
    });
    assert_eq!(calls.of(Call::Dates), 0, "{calls:?}");
}

#[test]
fn a_time_before_1970_or_centuries_off_is_shown_and_kept() {
    let world = World::new();
    uploaded_elsewhere(&world, "odd", |scratch| {
        scratch.dated_file("odd.txt", b"odd", 15_000_000_000);
    });
    wait_for("the service takes it up", || {
        world.stored().contains_key("odd/odd.txt")
    });
    let mount = world.mount();
    assert_eq!(mount.list("odd"), ["odd.txt"]);
    assert_eq!(mount.read("odd/odd.txt"), b"odd");
    wait_for("its date is shown", || {
        mtime(&mount, "odd/odd.txt") == 15_000_000_000
    });

    mount.write("old.txt", b"old");
    mount.write("new.txt", b"new");
    world.drain();
    let times = [
        ("old.txt", "1961-04-12 06:07:00 UTC", -275_248_380),
        ("new.txt", "2150-01-01 UTC", 5_680_281_600),
    ];
    for (name, text, _) in times {
        run("touch", &[&"-d", &text, &mount.path(name)]).succeeded();
    }
    let shown = |mount: &Mount| times.map(|(name, _, _)| mtime(mount, name));
    let wanted = times.map(|(_, _, seconds)| seconds);
    assert_eq!(shown(&mount), wanted);
    mount.unmount(&world.config());
    assert_eq!(shown(&world.mount()), wanted, "mounted again");
}

#[test]
fn times_stay_through_rename_move_and_replacement() {
    let world = World::new();
    fs::create_dir_all(world.service.files_dir(MEDIA).join("sub")).expect("a folder");
    world.service.rescan();
    let mount = world.mount();
    mount.write("file.txt", b"one");
    world.drain();
    run("touch", &[&"-d", &"@1000000000", &mount.path("file.txt")]).succeeded();
    fs::rename(mount.path("file.txt"), mount.path("renamed.txt")).expect("rename");
    fs::rename(mount.path("renamed.txt"), mount.path("sub/moved.txt")).expect("move");
    assert_eq!(mtime(&mount, "sub/moved.txt"), 1_000_000_000);
    let scratch = Scratch::new(world.folder().join("source"));
    let source = scratch.dated_file("moved.txt", b"two", 1_100_000_000);
    run("cp", &[&"-p", &source, &mount.path("sub/moved.txt")]).succeeded();
    world.drain();
    run("touch", &[&"-d", &"@1200000000", &mount.path("sub")]).succeeded();
    let wanted = [("sub/moved.txt", 1_100_000_000), ("sub", 1_200_000_000)];
    let shown = |mount: &Mount| wanted.map(|(path, _)| (path, mtime(mount, path)));
    assert_eq!(shown(&mount), wanted);
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list("sub"), ["moved.txt"]);
    assert_eq!(shown(&mount), wanted, "mounted again");
}

#[test]
fn rsync_of_200_files_sends_nothing_again_and_nothing_after_a_remount() {
    let world = World::with(|setup| setup.option("listing_age", "\"1h\""));
    let scratch = Scratch::new(world.folder().join("source"));
    for at in 0..200u64 {
        let path = format!("{}/file {at:03}.bin", at % 4);
        scratch.dated_file(&path, &content(at, 100 + at as usize), 1_300_000_000 + at * 1009);
    }
    scratch.dated_file("0/empty", b"", 1_200_000_000);
    let rsync = |mount: &Mount| {
        let (source, target) = (format!("{}/", scratch.path.display()), mount.path("copy"));
        let ran = run("rsync", &[&"-a", &"--itemize-changes", &source, &target]);
        ran.succeeded();
        ran.stdout
    };
    let mount = world.mount();
    let first = rsync(&mount);
    assert!(first.lines().count() > 200, "{first}");
    world.drain();
    assert_eq!(world.stored().len(), 200);
    let nothing = |mount: &Mount, when: &str| {
        let calls = world.counted(|| assert_eq!(rsync(mount), "", "{when}"));
        let bytes = calls.of(Call::AnyUpload) + calls.of(Call::Download) + calls.of(Call::Link);
        assert_eq!(bytes, 0, "{when}: {calls:?}");
    };
    nothing(&mount, "at once");
    mount.unmount(&world.config());
    let mount = world.mount();
    nothing(&mount, "mounted again");
    assert_eq!(world.stored().len(), 200);
}

#[test]
fn empty_files_are_renamed_moved_deleted_and_filled() {
    let world = World::new();
    world.put("sub/stored.txt", b"stored");
    let mount = world.mount();
    for name in ["one", "two", "three", "four"] {
        File::create(mount.path(name)).expect("create");
    }
    world.drain();
    fs::rename(mount.path("one"), mount.path("uno")).expect("rename");
    fs::rename(mount.path("two"), mount.path("sub/two")).expect("move");
    fs::remove_file(mount.path("three")).expect("unlink");
    world.drain();
    for path in ["uno", "sub/two", "four"] {
        world.assert_empty_file(&mount, path);
    }
    assert_eq!(world.kept().len(), 3, "{:?}", world.kept());
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_eq!(mount.list(""), ["four", "sub", "uno"]);
    assert_eq!(mount.list("sub"), ["stored.txt", "two"]);
    mount.write("four", b"filled");
    // An empty file takes the place of one that the service holds, and the other way round.
    fs::rename(mount.path("uno"), mount.path("sub/stored.txt")).expect("rename over");
    world.drain();
    world.assert_empty_file(&mount, "sub/stored.txt");
    assert_eq!(names(&world), ["four"]);
    fs::rename(mount.path("four"), mount.path("sub/two")).expect("rename over");
    world.drain();
    assert_eq!(mount.read("sub/two"), b"filled");
    assert_eq!(world.stored()["sub/two"].sha256, sha256_of(b"filled"));
    assert_eq!(names(&world), ["sub/two"]);
    assert_eq!(mount.list("sub"), ["stored.txt", "two"]);
    run("rm", &[&"-r", &mount.path("sub")]).succeeded();
    world.drain();
    assert!(world.kept().is_empty(), "{:?}", world.kept());
    assert_eq!(names(&world), [] as [&str; 0]);
}

#[test]
fn an_empty_file_is_no_reason_to_wait() {
    let world = World::with(|setup| {
        setup.option("on_close", "\"wait\"");
        setup.option("fsync", "\"remote\"");
    });
    let mount = world.mount();
    let file = File::create(mount.path("empty")).expect("create");
    file.sync_all().expect("fsync");
    drop(file);
    world.drain();
    world.assert_empty_file(&mount, "empty");
    let status = world.lockerfs(&["status"]);
    assert!(status.stdout.contains("empty"), "{}", status.stdout);
    assert!(world.pending().is_empty(), "{:?}", world.pending());
    mount.unmount(&world.config());
}
