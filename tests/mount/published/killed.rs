//! kill -9 at each step of both protocols: the file is published, there is one entry, and the service holds one
//! upload at most beyond what its rules force.

use std::fs;

use serde_json::{Value, json};

use super::{LIST, OTHER, place, world};
use crate::publishing::harness::{MEDIA, Mount, sha256_of, wait_for};

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
    world.drain();
    let entries: Vec<_> = fs::read_dir(place(&mount, account, ""))
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != LIST)
        .collect();
    assert_eq!(entries, ["x.bin"], "{account} {call}");
    assert!(fs::read(place(&mount, account, "x.bin")).expect("cat") == content);
    let id = mount.xattr(&format!("../{account}/x.bin"), "id").expect("an id");
    let page = format!("files?account={account}");
    let files = world.service.ask(&page);
    let files = files.as_array().expect("a list").clone();
    let ours = files
        .iter()
        .find(|file| file["id"] == json!(id))
        .expect("the entry's file");
    assert_eq!(ours["sha256"], json!(sha256_of(&content)), "{account} {call}");
    let calls = json!(world.service.calls().by_name);
    mount.unmount(&world.config());
    (files.len(), calls)
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
