//! kill -9 at each step of both protocols: the file is published, there is one entry, and the service holds one
//! upload at most beyond what its rules force.

use std::fs;

use serde_json::{Value, json};

use super::{LIST, OTHER, place, world};
use crate::publishing::harness::{MEDIA, Mount, World, sha256_of, wait_for};

/// Publishes a file, kills the mount while this call hangs, before it took effect or after, and goes on.
fn killed_at(account: &str, call: &str, after: bool, skip: u64) -> (usize, Value) {
    let world = world(|setup| {
        setup.service.quirks.mirrorace.max_chunk_size = 100_000;
    });
    let mount = world.mount();
    let fault = match after {
        true => json!({ "match": call, "fault": "stall", "skip": skip, "times": 1 }),
        false => json!({ "match": call, "fault": "delay", "milliseconds": 30_000, "skip": skip, "times": 1 }),
    };
    // What an account is asked for at the start is one of the calls.
    fs::metadata(place(&mount, account, "")).expect("stat");
    world.service.settle();
    world.service.reset_calls();
    world.service.strike(&json!([fault]));
    let content = crate::publishing::harness::content(7, 250_000);
    fs::write(place(&mount, account, "x.bin"), &content).expect("cp");
    wait_for("the call is under way", || {
        world.service.calls().by_name.get(call).copied().unwrap_or(0) > skip
    });
    // Time for an answer to be given, where it is.
    std::thread::sleep(std::time::Duration::from_millis(300));
    mount.kill();
    world.service.strike(&json!([]));
    let mount = world.mount();
    let files = published_once(&world, &mount, account, &content);
    let calls = json!(world.service.calls().by_name);
    mount.unmount(&world.config());
    (files, calls)
}

/// One entry is shown, and it is that of a file with this content; how many files the service holds.
fn published_once(world: &World, mount: &Mount, account: &str, content: &[u8]) -> usize {
    world.drain();
    let entries: Vec<_> = fs::read_dir(place(mount, account, ""))
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != LIST)
        .collect();
    assert_eq!(entries, ["x.bin"], "{account}");
    assert!(fs::read(place(mount, account, "x.bin")).expect("cat") == content);
    let id = mount.xattr(&format!("../{account}/x.bin"), "id").expect("an id");
    let page = format!("files?account={account}");
    let files = world.service.ask(&page);
    let files = files.as_array().expect("a list").clone();
    let ours = files
        .iter()
        .find(|file| file["id"] == json!(id))
        .expect("the entry's file");
    assert_eq!(ours["sha256"], json!(sha256_of(content)), "{account}");
    files.len()
}

#[test]
fn mirrorace_killed_while_it_is_asked_for_variables() {
    let (files, _) = killed_at(MEDIA, "mirrorace/file/upload", false, 0);
    assert_eq!(files, 1);
    let (files, _) = killed_at(MEDIA, "mirrorace/file/upload", true, 0);
    assert_eq!(files, 1);
}

#[test]
fn mirrorace_killed_within_its_chunks() {
    let (files, calls) = killed_at(MEDIA, "mirrorace/upload", true, 1);
    assert_eq!(files, 1);
    assert_eq!(calls["mirrorace/upload"], 5, "from the first byte: {calls}");
}

#[test]
fn mirrorace_killed_between_its_steps_begins_from_the_first_byte() {
    for done in 0..3 {
        let (files, calls) = killed_at(MEDIA, "mirrorace/upload", false, done);
        assert_eq!(files, 1, "after {done} chunks");
        assert_eq!(
            calls["mirrorace/upload"],
            done + 1 + 3,
            "after {done} chunks: {calls}"
        );
    }
}

#[test]
fn mirrorace_killed_after_its_last_chunk_is_published_once_more_at_most() {
    // The service tells of files by their slugs alone, and the slug went with the answer.
    let (files, calls) = killed_at(MEDIA, "mirrorace/upload", true, 2);
    assert_eq!(files, 2);
    assert_eq!(calls["mirrorace/upload"], 6, "{calls}");
}

#[test]
fn mirrored_to_killed_at_its_first_step() {
    let (files, _) = killed_at(OTHER, "mirrored_to/get_upload_info", true, 0);
    assert_eq!(files, 1);
}

#[test]
fn mirrored_to_killed_between_the_first_step_and_the_second_sends_once() {
    let (files, calls) = killed_at(OTHER, "mirrored_to/api_file_upload", false, 0);
    assert_eq!(files, 1);
    assert_eq!(calls["mirrored_to/finish_upload"], 1, "{calls}");
    assert_eq!(calls["mirrored_to/api_file_upload"], 2, "{calls}");
}

#[test]
fn mirrored_to_killed_at_its_second_step_makes_no_second_file() {
    let (files, calls) = killed_at(OTHER, "mirrored_to/api_file_upload", true, 0);
    assert_eq!(files, 1);
    assert_eq!(calls["mirrored_to/finish_upload"], 1, "{calls}");
}

#[test]
fn mirrored_to_killed_between_the_second_step_and_the_third_does_not_send_again() {
    let (files, calls) = killed_at(OTHER, "mirrored_to/finish_upload", false, 0);
    assert_eq!(files, 1);
    assert_eq!(calls["mirrored_to/api_file_upload"], 1, "{calls}");
}

#[test]
fn mirrored_to_killed_after_its_third_step_is_published_once_more_at_most() {
    // The service tells of files by their ids alone, and the id went with the answer.
    let (files, calls) = killed_at(OTHER, "mirrored_to/finish_upload", true, 0);
    assert_eq!(files, 2);
    assert_eq!(calls["mirrored_to/api_file_upload"], 2, "{calls}");
}

#[test]
fn mirrored_to_killed_before_the_third_step_sends_again_after_two_hours_alone() {
    for (later, sent) in [(7_000, 1), (7_300, 2)] {
        let world = world(|setup| setup.asks_for_nothing());
        let ahead = world.folder().join("ahead");
        let set_clock = |seconds: u64| {
            world.service.tell("clock", &json!({ "ahead": seconds }));
            fs::write(&ahead, seconds.to_string()).expect("a clock");
        };
        set_clock(0);
        let under = format!("LOCKERFS_CLOCK_AHEAD={}", ahead.display());
        let mount_anew = || Mount::start_under(&["env", &under], &world.config(), &world.place());
        let mount = mount_anew();
        let third = "mirrored_to/finish_upload";
        world.service.settle();
        world.service.reset_calls();
        world.service.strike(&json!([
            { "match": third, "fault": "delay", "milliseconds": 30_000, "times": 1 },
        ]));
        let content = crate::publishing::harness::content(8, 50_000);
        fs::write(place(&mount, OTHER, "x.bin"), &content).expect("cp");
        wait_for("the third step is under way", || {
            world.service.calls().by_name.contains_key(third)
        });
        mount.kill();
        world.service.strike(&json!([]));
        set_clock(later);
        let mount = mount_anew();
        assert_eq!(published_once(&world, &mount, OTHER, &content), 1, "{later}");
        let calls = world.service.calls().by_name;
        assert_eq!(
            calls["mirrored_to/api_file_upload"], sent,
            "after {later} s: {calls:?}"
        );
        mount.unmount(&world.config());
    }
}

/// Lets nobody write to the state database, until it is dropped.
struct Locked(std::process::Child);

impl Locked {
    fn of(world: &World) -> Locked {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let lock = "import sqlite3,sys,time; c=sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None); \
                    c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(60)";
        let mut child = Command::new("python3")
            .args(["-c", lock])
            .arg(world.place().state.join("state.db"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3, which this test needs");
        let mut told = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut told)
            .expect("a line");
        assert_eq!(told, "locked\n");
        Locked(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("end it");
    }
}

#[test]
fn killed_before_the_entry_is_committed_it_is_published_once_more_at_most() {
    for (account, last, skip) in [
        (MEDIA, "mirrorace/upload", 2),
        (OTHER, "mirrored_to/finish_upload", 0),
    ] {
        let world = world(|setup| {
            setup.asks_for_nothing();
            setup.service.quirks.mirrorace.max_chunk_size = 100_000;
        });
        let mount = world.mount();
        let slow =
            json!({ "match": last, "fault": "delay", "milliseconds": 1_500, "skip": skip, "times": 1 });
        world.service.settle();
        world.service.reset_calls();
        world.service.strike(&json!([slow]));
        let content = crate::publishing::harness::content(9, 250_000);
        fs::write(place(&mount, account, "x.bin"), &content).expect("cp");
        wait_for("the last step is under way", || {
            world.service.calls().by_name.get(last).copied().unwrap_or(0) > skip
        });
        let locked = Locked::of(&world);
        wait_for("the service has the file", || {
            !world.service.stored(account).is_empty()
        });
        // Time for the answer.
        std::thread::sleep(std::time::Duration::from_millis(500));
        mount.kill();
        drop(locked);
        let mount = world.mount();
        // The id that the service gave went with the answer.
        assert_eq!(published_once(&world, &mount, account, &content), 2, "{account}");
        mount.unmount(&world.config());
    }
}

#[test]
fn killed_after_the_entry_is_committed_nothing_is_sent_again() {
    let world = world(|setup| {
        setup.asks_for_nothing();
        setup.option("pin", "true");
    });
    let mount = world.mount();
    let content = crate::publishing::harness::content(10, 250_000);
    // What comes between the entry and the end of the upload fails.
    let pinned = world.place().state.join("pinned");
    fs::write(&pinned, "in the way").expect("write");
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "x.bin"), &content).expect("cp");
    }
    wait_for("both are published and wait", || {
        let pending = world.pending();
        let told = |file: &Value| {
            file["error"]
                .as_str()
                .unwrap_or_default()
                .contains("keep the copy")
        };
        pending.len() == 2 && pending.iter().all(told)
    });
    for account in [MEDIA, OTHER] {
        assert_eq!(world.service.stored(account).len(), 1);
        let entries = fs::read_dir(place(&mount, account, "")).expect("list");
        assert_eq!(entries.count(), 2, "one entry and the list of links");
    }
    mount.kill();
    fs::remove_file(&pinned).expect("rm");
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        assert_eq!(published_once(&world, &mount, account, &content), 1, "{account}");
    }
    assert_eq!(fs::read_dir(&pinned).expect("list").count(), 2);
    mount.unmount(&world.config());
}

/// Each entry of an account is a file on the service that has the content which was copied in under its name.
fn assert_published(world: &crate::publishing::harness::World, mount: &Mount, account: &str, count: usize) {
    let files = world.service.ask(&format!("files?account={account}"));
    let files = files.as_array().expect("a list");
    let mut found = 0;
    for entry in fs::read_dir(place(mount, account, "")).expect("list") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name == LIST {
            continue;
        }
        let id = mount.xattr(&format!("../{account}/{name}"), "id").expect("an id");
        let file = files.iter().find(|file| file["id"] == json!(id));
        let seed = name.trim_end_matches(".bin").parse().expect("a number");
        let wanted = sha256_of(&content_of(seed));
        assert_eq!(
            file.expect("the entry's file")["sha256"],
            json!(wanted),
            "{account}/{name}"
        );
        found += 1;
    }
    assert_eq!(found, count, "{account}");
}

fn content_of(seed: u64) -> Vec<u8> {
    crate::publishing::harness::content(seed, 1_000 + 13_000 * usize::try_from(seed % 20).expect("small"))
}

#[test]
fn a_service_that_fails_often_gets_everything_in_the_end() {
    let world = world(|setup| {
        setup.service.quirks.mirrorace.max_chunk_size = 50_000;
        setup.service.fail_rate = 0.15;
        setup.service.seed = 3;
    });
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        for seed in 0..12 {
            fs::write(place(&mount, account, &format!("{seed}.bin")), content_of(seed)).expect("cp");
        }
    }
    wait_for("all is uploaded", || {
        world.lockerfs(&["queue", "retry"]);
        world.pending().is_empty()
    });
    for account in [MEDIA, OTHER] {
        assert_published(&world, &mount, account, 12);
    }
    mount.unmount(&world.config());
}

#[test]
fn killed_again_and_again_nothing_is_lost_and_each_kill_costs_an_upload_at_most() {
    const FILES: u64 = 30;
    const KILLS: usize = 8;
    let world = world(|setup| {
        setup.service.quirks.mirrorace.max_chunk_size = 50_000;
        setup.service.latency = std::time::Duration::from_millis(10);
        setup.option("workers", "2");
    });
    let mut random = fastrand::Rng::with_seed(11);
    let mut mount = world.mount();
    for seed in 0..FILES {
        for account in [MEDIA, OTHER] {
            fs::write(place(&mount, account, &format!("{seed}.bin")), content_of(seed)).expect("cp");
        }
    }
    for _ in 0..KILLS {
        std::thread::sleep(std::time::Duration::from_millis(random.u64(50..600)));
        mount.kill();
        mount = world.mount();
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        assert_published(&world, &mount, account, usize::try_from(FILES).expect("small"));
        let files = world.service.ask(&format!("files?account={account}"));
        let held = files.as_array().expect("a list").len();
        // Two uploads are under way at a time.
        assert!(
            held <= usize::try_from(FILES).expect("small") + 2 * KILLS,
            "{account}: {held}"
        );
    }
    mount.unmount(&world.config());
}
