//! `lockerfs zip`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::home::Ran;
use crate::world::{CLOUD, MEDIA, World};

/// Name and content of all files in an archive, as Python reads it, sums checked.
fn unpacked(archive: &Path) -> Vec<(String, String)> {
    const SCRIPT: &str = "
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    print(json.dumps([[name, archive.read(name).decode()] for name in sorted(archive.namelist())]))
";
    let ran = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(archive)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// What the folder of the commands holds beside what every home does.
fn left(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.home.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = ["config.toml", "mount", "state", "cache", "run", "tmp"];
    let mut left: Vec<String> = names.filter(|name| !ours.contains(&name.as_str())).collect();
    left.sort();
    left
}

fn full() -> World {
    let world = World::new();
    for (path, content) in [
        ("album/a.txt", "in the album"),
        ("album/sub/b.txt", "below it"),
        ("c.txt", "beside it"),
    ] {
        world.put(MEDIA, path, content);
    }
    world.put(CLOUD, "c.txt", "elsewhere");
    world
}

#[test]
fn files_and_folders_come_in_one_archive_by_account_and_by_mount() {
    let world = full();
    let mount = world.mount();
    let told = world.prints(&["zip", "media:album", &mount.path("media/c.txt"), "-o", "all.zip"]);
    assert!(
        told.starts_with("Saved ") && told.ends_with(" as all.zip.\n"),
        "{told}"
    );
    let expected = [
        ("album/a.txt", "in the album"),
        ("album/sub/b.txt", "below it"),
        ("c.txt", "beside it"),
    ];
    let expected = expected.map(|(name, content)| (name.to_owned(), content.to_owned()));
    assert_eq!(unpacked(&world.home.path("all.zip")), expected);
    assert_eq!(left(&world), ["all.zip"]);
    let output = Command::new(env!("CARGO_BIN_EXE_lockerfs"))
        .arg("--config")
        .arg(world.home.config())
        .args(["zip", "media:c.txt", "-o", "-"])
        .output()
        .unwrap();
    assert!(output.status.success());
    std::fs::write(world.home.path("piped.zip"), output.stdout).unwrap();
    assert_eq!(unpacked(&world.home.path("piped.zip")), expected[2..]);
    // One call that only asks, and one that packs, for each.
    assert_eq!(world.calls()["file/zip"], 4);
}

#[test]
fn what_is_there_is_replaced_only_when_a_person_says_so() {
    let world = full();
    std::fs::write(world.home.path("mine.zip"), "mine").unwrap();
    world.refuses(
        &["zip", "media:album", "-o", "mine.zip"],
        "mine.zip exists already: say --force to replace it",
    );
    world.refuses(&["zip", "media:album", "-o", "mount"], "mount is a directory");
    world.refuses(
        &["zip", "media:album", "-o", "none/x.zip"],
        "there is no directory none",
    );
    assert_eq!(std::fs::read(world.home.path("mine.zip")).unwrap(), b"mine");
    assert!(!world.calls().contains_key("file/zip"), "nothing was asked for");
    world.prints(&["zip", "--force", "media:album", "-o", "mine.zip"]);
    assert_eq!(unpacked(&world.home.path("mine.zip")).len(), 2);
    world.is_wrong_use(&["zip", "media:album"], "--output");
    world.is_wrong_use(&["zip", "-o", "x.zip"], "<PATH>");
}

#[test]
fn an_archive_that_is_none_or_not_whole_is_never_left_under_the_name() {
    let world = full();
    std::fs::write(world.home.path("old.zip"), "old").unwrap();
    // The question before it goes through; then, for good, what comes is something else.
    for (fault, expected) in [
        (json!({"fault": "html"}), "a web page in place of JSON"),
        (json!({"fault": "truncate"}), "broke off"),
        (
            json!({"fault": "error", "code": 157}),
            "not enough bandwidth left",
        ),
    ] {
        let mut rule = fault.clone();
        rule["match"] = "file/zip".into();
        rule["skip"] = 1.into();
        world.faults(json!([rule]));
        let Ran { status, out, err } = world.run(&["zip", "--force", "media:album", "-o", "old.zip"]);
        assert_eq!((status, out.as_str()), (1, ""), "{fault}: {err}");
        assert!(err.contains(expected), "{fault}: {err}");
        assert_eq!(
            std::fs::read(world.home.path("old.zip")).unwrap(),
            b"old",
            "{fault}"
        );
        assert_eq!(left(&world), ["old.zip"], "{fault}");
    }
}

#[test]
fn what_cannot_be_packed_is_told_before_anything_is_written() {
    let world = full();
    world.change(MEDIA, "make_folder", "empty");
    world.refuses(&["zip", "media:empty", "-o", "x.zip"], "there is no file to pack");
    world.refuses(
        &["zip", "media:album", "media:none.txt", "-o", "x.zip"],
        "media:none.txt is not there",
    );
    world.refuses(
        &["zip", "media:album", "cloud:c.txt", "-o", "x.zip"],
        "an archive holds files of one account",
    );
    for (code, expected) in [
        (150, "a file is larger than the service packs"),
        (153, "say --large"),
        (149, "agree to that with --own-bandwidth"),
        (155, "agree to that with --own-bandwidth"),
        (147, "files of one owner"),
        (154, "more files than the service packs"),
    ] {
        world.faults(json!([{"match": "file/zip", "fault": "error", "code": code}]));
        world.refuses(&["zip", "media:album", "-o", "x.zip"], expected);
    }
    assert!(left(&world).is_empty());
}

#[test]
fn what_waits_for_its_upload_is_told_to_be_missing() {
    let world = full();
    let mount = world.mount();
    world.prints(&["queue", "pause"]);
    mount.write("media/album/new.txt", "new");
    let Ran { status, err, .. } = world.run(&["zip", &mount.path("media/album"), "-o", "x.zip"]);
    assert_eq!(status, 0, "{err}");
    assert!(
        err.contains("album wait for their upload: the archive lacks them"),
        "{err}"
    );
    assert_eq!(unpacked(&world.home.path("x.zip")).len(), 2);
    world.prints(&["queue", "resume"]);
    world.prints(&["drain"]);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let world = World::with(|options| options.per_connection = Some(50_000));
    world.put(MEDIA, "album/long.txt", &"long ".repeat(400_000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockerfs"))
        .arg("--config")
        .arg(world.home.config())
        .args(["zip", "media:album", "-o", "x.zip"])
        .current_dir(world.home.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while left(&world).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "no archive was begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is a child that was not waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut told = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert_eq!(told, "lockerfs: stopped: no archive was written\n");
    assert!(left(&world).is_empty());
}

#[test]
fn a_terminal_shows_how_far_it_has_come() {
    let world = World::with(|options| options.per_connection = Some(2_000_000));
    world.put(MEDIA, "album/long.txt", &"long ".repeat(200_000));
    let (status, shown) = world.at_a_terminal(&["zip", "media:album", "-o", "x.zip"], "");
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("% ") && shown.contains(" of about 1.0 MB"),
        "{shown}"
    );
    assert!(shown.contains("Saved 1.0 MB as x.zip."), "{shown}");
    let (status, shown) = world.at_a_terminal(&["zip", "media:album", "-o", "-"], "");
    assert_eq!(status, 1, "{shown}");
    assert!(shown.contains("an archive is nothing for a terminal"), "{shown}");
}
