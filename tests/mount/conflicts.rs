//! A file is changed here and elsewhere, and neither knows of the other: the edit made here has its name in the end, what
//! came from elsewhere is kept beside it as `name (conflict DATE)`, and nothing of either is lost.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::elsewhere::{SOON, lists, reads, seen_soon};
use super::harness::{MEDIA, Mount, World, sha256_of};

/// A mount in which a local edit of `home/report.txt` waits, and the service has what it had.
fn with_an_edit_that_waits() -> (World, Mount) {
    let world = World::with(|setup| setup.option("upload_delay", "\"6s\""));
    world.elsewhere("write", "home/report.txt", &[("content", "as it was")]);
    let mount = world.mount();
    assert!(reads(&mount, "home/report.txt", "as it was"));
    mount.write("home/report.txt", b"edited here");
    (world, mount)
}

/// Where the service holds this content.
fn holds(world: &World, content: &str) -> Vec<String> {
    let hash = sha256_of(content.as_bytes());
    let stored = world.service.all_stored(MEDIA).into_iter();
    let with = stored.filter(|(_, file)| file.sha256 == hash);
    with.map(|(path, _)| path).collect()
}

fn all(world: &World) -> String {
    format!("{:#?}", world.service.all_stored(MEDIA))
}

/// Everything that `status` says of files and events, to look for a name in it.
fn told(world: &World) -> String {
    let mut status: Value = world.status();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("config");
    }
    status.to_string()
}

#[track_caller]
fn assert_both_are_there(world: &World, mount: &Mount, other: &str) {
    world.drain();
    assert_eq!(
        holds(world, "edited here"),
        ["home/report.txt"],
        "{:?}",
        all(world)
    );
    let kept = holds(world, other);
    assert!(
        matches!(kept.as_slice(), [path] if path.starts_with("home/report (conflict ")),
        "{other:?} is in {kept:?} of {}",
        all(world)
    );
    assert!(reads(mount, "home/report.txt", "edited here"));
    seen_soon(vec![(
        "the other in the mount",
        Box::new(|| reads(mount, &kept[0], other)),
    )]);
}

#[test]
fn a_change_elsewhere_to_a_file_with_an_edit_that_waits_is_kept_beside_it() {
    let (world, mount) = with_an_edit_that_waits();
    world.write_elsewhere("home/report.txt", "changed elsewhere");
    assert_both_are_there(&world, &mount, "changed elsewhere");
    let told = told(&world);
    assert!(
        told.contains("report (conflict "),
        "the status tells nothing of it: {told}"
    );
    mount.unmount(&world.config());
}

#[test]
fn a_file_made_elsewhere_under_the_name_of_one_that_waits_is_kept_beside_it() {
    let world = World::with(|setup| setup.option("upload_delay", "\"6s\""));
    world.elsewhere("make_folder", "home", &[]);
    let mount = world.mount();
    assert!(lists(&mount, "home", &[]));
    mount.write("home/report.txt", b"edited here");
    world.elsewhere("write", "home/report.txt", &[("content", "made elsewhere")]);
    assert_both_are_there(&world, &mount, "made elsewhere");
    mount.unmount(&world.config());
}

#[test]
fn an_edit_that_waits_outlives_the_removal_of_its_file_elsewhere() {
    for what in ["trash", "purge"] {
        let (world, mount) = with_an_edit_that_waits();
        world.elsewhere(what, "home/report.txt", &[]);
        world.drain();
        assert_eq!(holds(&world, "edited here"), ["home/report.txt"], "{what}");
        assert!(reads(&mount, "home/report.txt", "edited here"), "{what}");
        mount.unmount(&world.config());
    }
}

/// The reason for which a file needs a person, as soon as one does.
#[track_caller]
fn parked_soon(world: &World) -> String {
    let began = Instant::now();
    loop {
        let ran = world.lockerfs(&["status", "--json"]);
        let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        if status["totals"]["parked"] == 1 {
            return status["pending"].to_string();
        }
        assert!(
            began.elapsed() < SOON * 4,
            "nobody was told: {:#}\n{}",
            status["pending"],
            all(world)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_edit_that_waits_outlives_the_removal_of_its_folder_elsewhere() {
    let (world, mount) = with_an_edit_that_waits();
    world.elsewhere("trash", "home", &[]);
    let reason = parked_soon(&world);
    assert!(reason.contains("move the file to another one"), "{reason}");
    let nowhere: [&str; 0] = [];
    assert_eq!(holds(&world, "edited here"), nowhere, "{}", all(&world));
    assert!(reads(&mount, "home/report.txt", "edited here"));
    mount.kill();

    let mount = world.mount();
    assert!(reads(&mount, "home/report.txt", "edited here"), "after a restart");
    assert!(parked_soon(&world).contains("move the file to another one"));
    std::fs::create_dir(mount.path("other")).expect("a folder");
    std::fs::rename(mount.path("home/report.txt"), mount.path("other/report.txt")).expect("moved");
    world.drain();
    assert_eq!(
        holds(&world, "edited here"),
        ["other/report.txt"],
        "{}",
        all(&world)
    );
    assert!(reads(&mount, "other/report.txt", "edited here"));
    mount.unmount(&world.config());
}

#[test]
fn an_edit_that_waits_keeps_its_name_when_its_file_gets_another_elsewhere() {
    for (what, to) in [("rename", "elsewhere.txt"), ("move", "other/elsewhere.txt")] {
        let (world, mount) = with_an_edit_that_waits();
        world.elsewhere(what, "home/report.txt", &[("to", to)]);
        world.drain();
        let held = holds(&world, "edited here");
        assert_eq!(held.len(), 1, "{what}: {}", all(&world));
        let shown = held[0].as_str();
        seen_soon(vec![(
            "the edit in the mount, where the service has it",
            Box::new(|| reads(&mount, shown, "edited here")),
        )]);
        assert_eq!(shown, "home/report.txt", "{what}");
        mount.unmount(&world.config());
    }
}
