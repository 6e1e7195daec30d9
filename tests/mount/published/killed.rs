//! kill -9 at each step of both protocols: the file is published, there is one entry, and the service holds one
//! upload at most beyond what its rules force.

use std::fs;

use serde_json::{Value, json};

use super::{OTHER, place, world};
use crate::publishing::harness::{MEDIA, sha256_of, wait_for};

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
