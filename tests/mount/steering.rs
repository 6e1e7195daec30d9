//! What a person sees of the queue and does with it.

use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileExt;

use lockerfs::provider::Capability;

use super::harness::{Call, Mount, Watching, World, content, sha256_of, wait_for};
use crate::KIND;

/// A mount whose uploads are paused, so that what is written waits.
fn paused(world: &World) -> Mount {
    let mount = world.mount();
    let told = world.lockerfs(&["queue", "pause"]);
    assert!(told.succeeded().stdout.contains("are paused"), "{}", told.stdout);
    mount
}

fn id_of(world: &World, path: &str) -> String {
    let pending = world.pending();
    let file = pending.iter().find(|file| file["path"] == path);
    let file = file.unwrap_or_else(|| panic!("{path} in {pending:?}"));
    file["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_pause_stops_uploads_and_no_reads_survives_a_remount_and_ends_when_told() {
    let world = World::new();
    world.put("old.txt", b"from the service");
    let mount = paused(&world);
    let calls = world.counted(|| {
        mount.write("new.txt", b"waits");
        assert_eq!(mount.read("old.txt"), b"from the service");
    });
    assert_eq!(calls.of(Call::AnyUpload), 0, "{calls:?}");
    let status = world.lockerfs(&["status"]);
    assert!(
        status.succeeded().stdout.contains("queue resume --account media"),
        "{}",
        status.stdout
    );
    // It returns, and says that not all is there.
    world
        .lockerfs(&["drain"])
        .failed(1, &["1 file is not uploaded", "paused"]);
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_eq!(world.status()["accounts"][0]["paused"], true);
    assert_eq!(mount.read("new.txt"), b"waits");
    world.lockerfs(&["drain"]).failed(1, &["paused"]);
    assert!(!world.stored().contains_key("new.txt"));
    let ran = world.lockerfs(&["queue", "pause", "--account", "nobody"]);
    ran.failed(1, &["no account nobody is mounted; there are media"]);
    world
        .lockerfs(&["queue", "resume", "--account", "media"])
        .succeeded();
    world.drain();
    assert_eq!(world.stored()["new.txt"].size, 5);
}

#[test]
fn a_close_that_waits_for_the_service_does_not_wait_for_a_person() {
    let world = World::with(|setup| setup.option("on_close", "\"wait\""));
    let mount = paused(&world);
    let file = File::create(mount.path("waits.txt")).expect("create");
    file.write_all_at(b"kept", 0).expect("write");
    // SAFETY: the descriptor is ours, and nobody uses it afterwards.
    let closed = unsafe { libc::close(file.into_raw_fd()) };
    let error = std::io::Error::last_os_error();
    assert_eq!(
        (closed, error.raw_os_error()),
        (-1, Some(libc::EAGAIN)),
        "{error}"
    );
    world.lockerfs(&["queue", "resume"]).succeeded();
    world.drain();
    assert_eq!(world.stored()["waits.txt"].size, 4);
}

#[test]
fn a_pause_lets_a_large_file_rest_and_a_resume_sends_what_is_missing() {
    if (KIND.calls)(Call::UploadUnit).is_empty() {
        return;
    }
    let world = World::with(|setup| setup.option("workers", "1"));
    let slow = serde_json::json!({"fault": "delay", "milliseconds": 400});
    world.service.faults(&[(Call::UploadUnit, slow)]);
    let mount = world.mount();
    let body = content(3, 24 << 20);
    mount.write("large.bin", &body);
    wait_for("a part is sent", || {
        world
            .pending()
            .first()
            .is_some_and(|file| file["sent"].as_u64() > Some(0))
    });
    world.lockerfs(&["queue", "pause"]).succeeded();
    wait_for("it rests", || {
        mount
            .xattr("large.bin", "state")
            .is_ok_and(|state| state == "queued")
    });
    assert!(!world.stored().contains_key("large.bin"));
    world.service.faults(&[]);
    let rest = world.counted(|| {
        world.lockerfs(&["queue", "resume"]).succeeded();
        world.drain();
    });
    assert_eq!(world.stored()["large.bin"].sha256, sha256_of(&body));
    // What was sent before the pause was not sent again.
    let whole = world.counted(|| {
        mount.write("as large.bin", &content(4, 24 << 20));
        world.drain();
    });
    let (rest, whole) = (rest.of(Call::UploadUnit), whole.of(Call::UploadUnit));
    assert!(0 < rest && rest < whole, "{rest} of {whole}");
}

#[test]
fn cancelling_drops_a_new_file_and_shows_again_what_the_service_has_of_an_edited_one() {
    let world = World::new();
    world.put("edited.txt", b"on the service");
    let mount = paused(&world);
    fs::create_dir(mount.path("sub")).expect("mkdir");
    mount.write("edited.txt", b"changed here");
    mount.write("sub/new.txt", b"new");
    mount.write("sub/newer.txt", b"newer");
    let asked = world.lockerfs(&["queue", "cancel", "media:sub"]);
    asked.failed(1, &["--yes"]);
    assert_eq!(world.pending().len(), 3);
    let folder = mount.path("sub");
    let folder = folder.to_str().expect("a UTF-8 path");
    let gone = world.lockerfs(&["queue", "cancel", "--yes", folder]);
    assert!(
        gone.succeeded().stdout.contains("Gave up 2 files."),
        "{}",
        gone.stdout
    );
    assert_eq!(mount.list("sub"), [] as [&str; 0]);
    let id = id_of(&world, "edited.txt");
    world.lockerfs(&["queue", "cancel", "--yes", &id]).succeeded();
    assert_eq!(mount.read("edited.txt"), b"on the service");
    assert_eq!(mount.xattr("edited.txt", "state").expect("a state"), "stored");
    assert_eq!(fs::metadata(mount.path("edited.txt")).expect("stat").len(), 14);
    world
        .lockerfs(&["queue", "cancel", "--yes", &id])
        .failed(1, &["is not pending"]);

    // While a program writes, it is that program's.
    let file = File::create(mount.path("open.txt")).expect("create");
    file.write_all_at(b"half", 0).expect("write");
    file.sync_all().expect("fsync");
    world
        .lockerfs(&["queue", "cancel", "--yes", "media:open.txt"])
        .failed(1, &["open for writing"]);
    drop(file);
    world.lockerfs(&["queue", "resume"]).succeeded();
    world.drain();
    let stored: Vec<_> = world.stored().into_keys().collect();
    assert_eq!(stored, ["edited.txt", "open.txt"]);
    assert_eq!(world.stored()["edited.txt"].sha256, sha256_of(b"on the service"));
}

#[test]
fn an_export_is_the_whole_newest_content_with_and_without_a_mount() {
    let world = World::new();
    let old = content(1, 300_000);
    world.put("large.bin", &old);
    let mount = paused(&world);
    let mut expected = old;
    expected[1000..1004].copy_from_slice(b"here");
    let file = File::options()
        .write(true)
        .open(mount.path("large.bin"))
        .expect("open");
    file.write_all_at(b"here", 1000).expect("write");
    drop(file);
    mount.write("plain.txt", b"plain");
    let to = world.folder().join("copy.bin");
    let place = to.to_str().expect("a UTF-8 path").to_owned();
    let large = mount.path("large.bin");
    let export = ["queue", "export", large.to_str().expect("a UTF-8 path"), &place];
    world.lockerfs(&export).succeeded();
    assert_eq!(sha256_of(&fs::read(&to).expect("the copy")), sha256_of(&expected));
    fs::write(&to, b"another's").expect("write");
    world.lockerfs(&export).failed(1, &["exists already", "--force"]);
    assert_eq!(fs::read(&to).expect("the copy"), b"another's");
    world.lockerfs(&[&export[..], &["--force"]].concat()).succeeded();
    assert_eq!(sha256_of(&fs::read(&to).expect("the copy")), sha256_of(&expected));
    mount.unmount(&world.config());

    let listed = world.lockerfs(&["queue", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.succeeded().stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let folder = world.folder().to_str().expect("a UTF-8 path").to_owned();
    world
        .lockerfs(&["queue", "export", "media:plain.txt", &folder])
        .succeeded();
    assert_eq!(
        fs::read(world.folder().join("plain.txt")).expect("the copy"),
        b"plain"
    );
    let missing = world.lockerfs(&["queue", "export", "media:nothing", &folder]);
    missing.failed(1, &["is not pending"]);
}

#[test]
fn what_needs_a_person_is_listed_exported_and_given_up() {
    let Some(refuse_stars) = KIND.refuse_stars else {
        return;
    };
    let world = World::with(|setup| refuse_stars(&mut setup.service));
    let mount = world.mount();
    mount.write("no*file.txt", b"precious");
    mount.write("fine.txt", b"fine");
    world
        .lockerfs(&["drain"])
        .failed(1, &["media:no*file.txt", "1 file is not uploaded"]);
    let listed = world.lockerfs(&["queue", "list"]);
    assert!(
        listed.succeeded().stdout.contains("needs you: "),
        "{}",
        listed.stdout
    );
    assert_eq!(world.status()["totals"]["parked"], 1);
    mount.kill();

    let to = world.folder().join("saved.txt");
    let place = to.to_str().expect("a UTF-8 path").to_owned();
    let item = "media:no*file.txt";
    world.lockerfs(&["status"]).failed(1, &[]);
    world.lockerfs(&["queue", "export", item, &place]).succeeded();
    assert_eq!(fs::read(&to).expect("the copy"), b"precious");

    let mount = world.mount();
    assert_eq!(mount.read("no*file.txt"), b"precious");
    world.lockerfs(&["queue", "cancel", "--yes", item]).succeeded();
    world.lockerfs(&["status"]).succeeded();
    assert_eq!(mount.list(""), ["fine.txt"]);
}

#[test]
fn a_removal_that_the_service_refuses_is_told_listed_and_given_up() {
    // The only service that refuses in words that mean "never".
    if !KIND.has(Capability::Batches) {
        return;
    }
    let world = World::new();
    world.put("stays.txt", b"on the service");
    let mount = world.mount();
    world
        .service
        .faults(&[(Call::Delete, serde_json::json!({"fault": "error", "code": 114}))]);
    fs::remove_file(mount.path("stays.txt")).expect("unlink");
    world
        .lockerfs(&["drain"])
        .failed(1, &["media:stays.txt", "delete: needs you", "1 change"]);
    let told = world.lockerfs(&["status"]);
    assert!(
        told.failed(1, &[]).stdout.contains("1 change needs you:"),
        "{}",
        told.stdout
    );
    let listed = world.lockerfs(&["queue", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.succeeded().stdout).expect("JSON");
    assert_eq!(
        (&listed[0]["action"], &listed[0]["state"]),
        (&"delete".into(), &"parked".into())
    );
    let id = listed[0]["id"].as_str().expect("an id");
    world.lockerfs(&["queue", "cancel", "--yes", id]).succeeded();
    world.lockerfs(&["status"]).succeeded();
    assert_eq!(mount.read("stays.txt"), b"on the service");
}

#[test]
fn a_second_signal_ends_a_mount_at_once_whatever_the_service_does() {
    let world = World::with(|setup| {
        setup.option("stop_timeout", "\"10m\"");
        setup.option("reserve", "\"1MiB\"");
    });
    let mount = world.mount();
    assert!(mount.list("").is_empty());
    world.service.hang();
    mount.write("kept.txt", b"kept");
    wait_for("its upload hangs", || {
        mount
            .xattr("kept.txt", "state")
            .is_ok_and(|state| state == "uploading")
    });
    mount.signal(libc::SIGTERM);
    wait_for("it refuses changes", || {
        fs::create_dir(mount.path("no")).is_err_and(|error| error.raw_os_error() == Some(libc::EROFS))
    });
    assert_eq!(mount.read("kept.txt"), b"kept");
    let asked = std::time::Instant::now();
    mount.signal(libc::SIGINT);
    let log = world.place().log;
    assert!(mount.ended().success());
    let took = asked.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    let log = fs::read_to_string(log).expect("the log");
    assert!(log.contains("1 file is not uploaded yet; kept in "), "{log}");
    assert_eq!(world.status()["totals"]["files"], 1);
}

#[test]
fn a_watched_status_is_told_again_and_again_and_ends_well() {
    let world = World::new();
    let mount = paused(&world);
    for number in 0..40 {
        mount.write(&format!("file {number}.txt"), b"waits");
    }
    let (config, place) = (world.config(), world.place());
    let lines = Watching::start(&config, &place, &["status", "--watch"]);
    wait_for("two blocks", || {
        lines.shown().matches("40 files to upload").count() >= 2
    });
    lines.signal(libc::SIGINT);
    let (status, shown) = lines.ended();
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        !shown.contains('\u{1b}') && shown.contains("  and 30 more (--all shows all)\n"),
        "{shown}"
    );

    let screen = Watching::in_terminal(&config, &place, &["status", "--watch"]);
    wait_for("it is drawn over", || {
        screen.shown().matches("40 files to upload").count() >= 2
    });
    screen.signal(libc::SIGINT);
    let (status, shown) = screen.ended();
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.starts_with("\u{1b}[?25l") && shown.ends_with("\u{1b}[?25h"),
        "{shown:?}"
    );
    let first = shown.split("\u{1b}[J").next().unwrap_or_default();
    assert!(first.lines().count() < 24, "it fits the terminal: {first}");
}

#[test]
fn a_drain_that_is_cut_off_leaves_the_queue_in_peace() {
    let world = World::new();
    let mount = world.mount();
    assert!(mount.list("").is_empty());
    let slow = serde_json::json!({"fault": "delay", "milliseconds": 30_000});
    world.service.faults(&[(Call::AnyUpload, slow)]);
    mount.write("slow.bin", &content(1, 10_000));
    let cut = world.lockerfs(&["drain", "--timeout", "300ms"]);
    cut.failed(
        1,
        &["the time is up: 1 file to upload", "the mount goes on with that"],
    );
    let screen = Watching::in_terminal(&world.config(), &world.place(), &["drain"]);
    wait_for("the bar is drawn", || {
        screen.shown().contains("[-----") && screen.shown().contains("media:slow.bin")
    });
    screen.signal(libc::SIGINT);
    let (status, shown) = screen.ended();
    assert_eq!(status, Some(1), "{shown}");
    assert!(
        shown.contains("\u{1b}[?25h") && shown.contains("stopped waiting: 1 file to upload"),
        "{shown}"
    );
    assert_eq!(world.pending().len(), 1);
    world.service.faults(&[]);
    mount.kill();
    let _mount = world.mount();
    world.drain();
    assert_eq!(world.stored()["slow.bin"].size, 10_000);
}
