//! Each call that MediaFire's page of `file/*` has is used by a command or by a plain operation in a mount.

use std::process::Command;

use serde_json::json;

use crate::world::{MEDIA, World};

/// The calls of the page.
const CALLS: [&str; 16] = [
    "configure_one_time_key",
    "copy",
    "create",
    "delete",
    "get_info",
    "get_links",
    "get_versions",
    "move",
    "one_time_key",
    "purge",
    "recently_modified",
    "restore",
    "set_artwork",
    "update",
    "update_file",
    "zip",
];

#[test]
fn every_call_of_the_file_api_is_used() {
    let world = World::new();
    for (path, content) in [
        ("a.txt", "one"),
        ("b.txt", "bb"),
        ("song.mp3", "la"),
        ("cover.jpg", "jpg"),
    ] {
        world.put(MEDIA, path, content);
    }
    let id = world.put(MEDIA, "a.txt", "two!");
    let first = world.file(MEDIA, &id)["versions"][0]["revision"].to_string();
    let mount = world.mount();
    let path = |name: &str| mount.path(&format!("media/{name}"));
    for args in [
        &["info", "media:a.txt"][..],
        &["versions", "media:a.txt"],
        &["restore", "media:a.txt", &first],
        &["recent", MEDIA],
        &["artwork", "media:song.mp3", "media:cover.jpg"],
        &["describe", "media:a.txt", "text"],
        &["create", "media:new.txt"],
        &["zip", "media:a.txt", "-o", "a.zip"],
        &["link", "media:a.txt"],
        &["purge", "--yes", "media:cover.jpg"],
    ] {
        world.prints(args);
    }
    let link = world.json(&["link", "--one-time", "--json", "media:a.txt"]);
    let token = link[0]["token"].as_str().unwrap();
    world.prints(&["link", "--change", token, "--duration", "5m"]);
    // The plain operations of a filesystem.
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::rename(path("song.mp3"), path("folder/song.mp3")).unwrap();
    // A content is announced by its hash first, which the service does not take of files from before it had one.
    world.faults(json!([{"match": "upload/check", "fault": "error", "code": 264, "times": 1}]));
    let copied = Command::new("cp")
        .args([path("b.txt"), path("copy.txt")])
        .status();
    assert!(copied.unwrap().success());
    world.prints(&["drain"]);
    std::fs::rename(path("b.txt"), path("a.txt")).unwrap();
    std::fs::remove_file(path("folder/song.mp3")).unwrap();
    world.prints(&["drain"]);
    let calls = world.calls();
    let unused: Vec<&str> = CALLS
        .into_iter()
        .filter(|call| !calls.contains_key(&format!("file/{call}")))
        .collect();
    assert!(unused.is_empty(), "{unused:?} are not used: {calls:?}");
}
