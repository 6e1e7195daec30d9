//! `lockerfs versions` and `lockerfs restore`.

use std::time::Duration;

use serde_json::json;

use crate::world::{MEDIA, World};

#[test]
fn versions_are_listed_newest_first_and_the_present_one_is_marked() {
    let world = World::new();
    let id = world.put(MEDIA, "album/letter.txt", "first");
    world.put(MEDIA, "album/letter.txt", "second");
    let kept = world.file(MEDIA, &id)["versions"].clone();
    let revision = |at: usize| kept[at]["revision"].to_string();

    let told = world.json(&["versions", "--json", "media:/album/letter.txt"]);
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(
        [&told[0]["revision"], &told[1]["revision"]],
        [&json!(revision(1)), &json!(revision(0))]
    );
    assert_eq!([&told[0]["head"], &told[1]["head"]], [true, false]);
    assert!(told[1]["date"].as_str().unwrap().ends_with('Z'), "{told:?}");

    let table = world.prints(&["versions", "media:album/letter.txt"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[1].starts_with(&revision(1)) && lines[1].ends_with("present"),
        "{table}"
    );
    assert!(!lines[2].contains("present"), "{table}");
}

#[test]
fn a_restored_revision_is_the_present_content_and_the_mount_shows_it_at_once() {
    let world = World::new();
    let id = world.put(MEDIA, "letter.txt", "first");
    world.put(MEDIA, "letter.txt", "the second");
    let first = world.file(MEDIA, &id)["versions"][0]["revision"].to_string();
    let mount = world.mount();
    assert_eq!(mount.read("media/letter.txt"), "the second");
    let path = mount.path("media/letter.txt");
    let told = world.prints(&["restore", &path, &first]);
    assert!(told.contains(&format!("in revision {first}")), "{told}");
    assert_eq!(mount.read("media/letter.txt"), "first");
    // What it held before stays a version.
    let versions = world.json(&["versions", "--json", &path]);
    assert_eq!(versions.as_array().unwrap().len(), 3);
    let second = versions[1]["revision"].as_str().unwrap();
    world.prints(&["restore", "media:letter.txt", second]);
    assert_eq!(mount.read("media/letter.txt"), "the second");
}

#[test]
fn a_restore_that_the_service_goes_on_with_is_waited_for() {
    let world = World::with(|options| options.quirks.bulk_job = Duration::from_millis(1500));
    world.put(MEDIA, "a/b.txt", "b");
    // A job of the same account: what comes after it waits too.
    world.change(MEDIA, "trash", "a");
    world.prints(&["trash", "restore", MEDIA, "a"]);
    assert!(world.calls()["device/get_status"] > 1, "it was asked once only");
    assert_eq!(world.json(&["info", "--json", "media:a"])["files"], 1);
}

#[test]
fn what_cannot_be_restored_changes_nothing_and_says_why() {
    let world = World::new();
    world.put(MEDIA, "letter.txt", "first");
    world.put(MEDIA, "album/x.txt", "x");
    world.refuses(&["restore", "media:letter.txt", "987654"], "no revision 987654");
    world.refuses(
        &["restore", "media:album", "1"],
        "media:album is a directory: name a file",
    );
    world.refuses(&["restore", "media:none.txt", "1"], "media:none.txt is not there");
    world.refuses(&["versions", "nobody:a.txt"], "no account nobody");
    world.refuses(&["versions", "none.txt"], "none.txt is not there");
    world.refuses(
        &["versions", "/proc/version"],
        "/proc/version is not in a mount of lockerfs",
    );
    world.is_wrong_use(&["restore", "media:letter.txt", "latest"], "<REVISION>");
    world.is_wrong_use(&["restore", "media:letter.txt"], "<REVISION>");
    world.is_wrong_use(&["versions"], "<PATH>");
}

#[test]
fn a_file_that_waits_for_its_upload_is_refused_with_what_to_do() {
    let world = World::new();
    world.put(MEDIA, "letter.txt", "first");
    let mount = world.mount();
    world.prints(&["queue", "pause"]);
    mount.write("media/letter.txt", "changed here");
    mount.write("media/new.txt", "new here");
    for name in ["letter.txt", "new.txt"] {
        let path = mount.path(&format!("media/{name}"));
        let all: [&[&str]; 7] = [
            &["versions", &path],
            &["restore", &path, "1"],
            &["purge", "--yes", &path],
            &["info", &path],
            &["privacy", &path, "private"],
            &["describe", &path, "text"],
            &["zip", &path, "-o", "out.zip"],
        ];
        for args in all {
            world.refuses(args, "say this again when `lockerfs drain` has ended");
        }
        // A link is refused as it ever was.
        world.refuses(&["link", &path], "waits for its upload");
        world.refuses(&["link", "--one-time", &path], "waits for its upload");
    }
    world.refuses(
        &["purge", "--yes", &mount.path("media")],
        "is the whole account: name something in it",
    );
    world.prints(&["queue", "resume"]);
    world.prints(&["drain"]);
    assert_eq!(
        world
            .json(&["versions", "--json", &mount.path("media/letter.txt")])
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn what_fails_for_a_moment_is_done_again_unless_it_would_then_be_done_twice() {
    let world = World::new();
    let id = world.put(MEDIA, "letter.txt", "first");
    world.put(MEDIA, "letter.txt", "second");
    let first = world.file(MEDIA, &id)["versions"][0]["revision"].to_string();
    world.faults(json!([
        {"match": "file/get_versions", "fault": "status", "status": 503, "times": 1},
        {"match": "file/update", "fault": "lost_reply", "times": 1},
        {"match": "file/restore", "fault": "lost_reply", "times": 1},
    ]));
    world.prints(&["versions", "media:letter.txt"]);
    world.prints(&["describe", "media:letter.txt", "text"]);
    assert_eq!(world.file(MEDIA, &id)["description"], "text");
    let lost = world.run(&["restore", "media:letter.txt", &first]);
    assert_eq!((lost.status, lost.out.as_str()), (1, ""));
    assert!(
        lost.err.contains("is the network up, and the service?"),
        "{}",
        lost.err
    );
    let calls = world.calls();
    let made = ["file/get_versions", "file/update", "file/restore"].map(|call| calls[call]);
    assert_eq!(made, [2, 2, 1]);
}
