//! What is removed is gone here at once, and on the service a moment later, whatever breaks; and nothing of it
//! is in the way of what comes after it.

use std::fs;
use std::time::Duration;

use lockerfs::provider::Capability;
use serde_json::json;

use super::harness::{Call, Tune, World, run, sha256_of, wait_for};
use crate::KIND;

fn names(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

#[test]
fn a_file_is_removed_while_the_service_is_away_and_deleted_when_it_is_back() {
    let world = World::new();
    for name in ["folder/a", "folder/b", "folder/c"] {
        world.put(name, b"x");
    }
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["a", "b", "c"]);
    world.service.stop();
    fs::remove_file(mount.path("folder/a")).expect("unlink without a service");
    fs::remove_file(mount.path("folder/b")).expect("unlink without a service");
    assert_eq!(mount.list("folder"), ["c"]);
    assert!(fs::metadata(mount.path("folder/a")).is_err());
    mount.kill();
    world.service.come_back();
    assert_eq!(names(&world), ["folder/a", "folder/b", "folder/c"]);

    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["c"], "mounted again");
    world.drain();
    assert_eq!(names(&world), ["folder/c"]);
    assert_eq!(mount.list("folder"), ["c"]);
    mount.unmount(&world.config());
}

#[test]
fn a_mount_that_ends_deletes_first_what_was_removed() {
    let world = World::new();
    world.put("a", b"x");
    let mount = world.mount();
    assert_eq!(mount.list(""), ["a"]);
    fs::remove_file(mount.path("a")).expect("unlink");
    mount.unmount(&world.config());
    assert!(names(&world).is_empty());
}

#[test]
fn a_mount_that_ends_clears_away_first_what_the_upload_of_a_removed_file_left() {
    if !KIND.has(Capability::Batches) {
        return;
    }
    // The service works on it for a while after it has all the bytes.
    let world = World::with(|setup| setup.tune(Tune::Processing(Duration::from_millis(1500))));
    let mount = world.mount();
    mount.write("a", b"content");
    let is_sent = || world.pending().iter().any(|row| row["state"] == "verifying");
    wait_for("the service has the bytes", is_sent);
    fs::remove_file(mount.path("a")).expect("unlink");
    mount.unmount(&world.config());
    assert!(names(&world).is_empty());
    std::thread::sleep(Duration::from_secs(2));
    assert!(names(&world).is_empty(), "nor later");
}

#[test]
fn a_folder_is_removed_with_what_the_upload_of_a_renamed_and_removed_file_left_in_it() {
    // Nobody lists anything but who removes the folder.
    let world = World::with(|setup| setup.option("listing_age", "\"1h\""));
    world.put("folder/other", b"other");
    let mount = world.mount();
    let late = |fault: &str, milliseconds| json!({"fault": fault, "milliseconds": milliseconds, "times": 1});
    let rules = [
        (Call::Upload, late("delay", 1500)),
        (Call::Rename, late("late_reply", 2500)),
    ];
    fs::remove_file(mount.path("folder/other")).expect("unlink");
    world.drain();
    world.service.faults(&rules);
    world.service.reset_calls();
    mount.write("folder/sent", b"content");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    fs::rename(mount.path("folder/sent"), mount.path("folder/renamed")).expect("rename");
    wait_for("it is given its name", || {
        world.service.calls().of(Call::Rename) == 1
    });
    fs::remove_file(mount.path("folder/renamed")).expect("unlink");
    // The listing shows it still when it comes, and by then it is deleted.
    let rules = [(Call::Listing, late("late_reply", 4000))];
    world.service.faults(&rules);
    fs::remove_dir(mount.path("folder")).expect("rmdir");
    world.drain();
    assert!(mount.list("").is_empty() && names(&world).is_empty());
}

#[test]
fn a_file_that_is_made_anew_under_the_name_of_a_removed_one_is_there_once() {
    let world = World::new();
    world.put("report.txt", b"the old content");
    let mount = world.mount();
    assert_eq!(mount.read("report.txt"), b"the old content");
    world
        .service
        .faults(&[(Call::Delete, json!({"fault": "delay", "milliseconds": 1000}))]);
    fs::remove_file(mount.path("report.txt")).expect("unlink");
    mount.write("report.txt", b"the new content");
    assert_eq!(mount.read("report.txt"), b"the new content");
    world.drain();
    let wanted = [("report.txt".to_owned(), sha256_of(b"the new content"))].into();
    assert_eq!(world.stored_sha256(), wanted);
    assert_eq!(mount.list(""), ["report.txt"]);
    world.forget();
    let fresh = world.mount();
    assert_eq!(fresh.list(""), ["report.txt"]);
}

#[test]
fn a_file_that_is_moved_to_the_name_of_a_removed_one_is_there_once() {
    let world = World::new();
    world.put("old/report.txt", b"the old content");
    world.put("new/report.txt", b"the new content");
    let mount = world.mount();
    assert_eq!((mount.list("old").len(), mount.list("new").len()), (1, 1));
    fs::remove_file(mount.path("old/report.txt")).expect("unlink");
    fs::rename(mount.path("new/report.txt"), mount.path("old/report.txt")).expect("move");
    let wanted = [("old/report.txt".to_owned(), sha256_of(b"the new content"))].into();
    assert_eq!(world.stored_sha256(), wanted);
    assert_eq!(mount.list("old"), ["report.txt"]);
}

#[test]
fn a_folder_of_many_files_is_removed_in_few_calls() {
    // Where each takes a call of its own, a few tell as much.
    let files = if KIND.has(Capability::Batches) { 500 } else { 60 };
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.service.latency = Duration::from_millis(50);
    });
    let folder = world.service.files_dir("media").join("many");
    fs::create_dir_all(&folder).expect("mkdir");
    for at in 0..files {
        fs::write(folder.join(format!("{at:03}.txt")), format!("{at}")).expect("write");
    }
    world.service.rescan();
    wait_for("the service takes them up", || world.stored().len() == files);
    let mount = world.mount();
    assert_eq!(mount.list("many").len(), files);
    let calls = world.counted(|| {
        run("rm", &[&"-r", &mount.path("many")]).succeeded();
    });
    world.drain();
    println!("rm -r of {files} files: {calls:?}");
    assert!(mount.list("").is_empty() && world.stored().is_empty());
    if KIND.has(Capability::Batches) {
        assert!(calls.work() <= 4, "{calls:?}");
    } else {
        // Those that were not sent yet went with the folder.
        assert!(calls.of(Call::Delete) <= files as u64 + 1, "{calls:?}");
        assert!(calls.of(Call::Listing) <= 1, "{calls:?}");
    }
}

#[test]
fn a_folder_is_made_anew_right_after_it_and_what_was_in_it_were_removed() {
    let world = World::new();
    world.put("folder/inner/a", b"x");
    world.put("folder/b", b"y");
    let mount = world.mount();
    assert_eq!(mount.list("folder/inner"), ["a"]);
    for round in 0..2 {
        run("rm", &[&"-r", &mount.path("folder")]).succeeded();
        fs::create_dir(mount.path("folder")).expect("mkdir");
        assert!(mount.list("folder").is_empty(), "round {round}");
        mount.write("folder/b", b"new");
        world.drain();
        assert_eq!(names(&world), ["folder/b"]);
        assert_eq!(mount.list("folder"), ["b"]);
    }
    // A file made room for a folder.
    fs::remove_file(mount.path("folder/b")).expect("unlink");
    fs::create_dir(mount.path("folder/b")).expect("mkdir in the place of a file");
    mount.write("folder/b/c", b"in it");
    world.drain();
    assert_eq!(names(&world), ["folder/b/c"]);
}

#[test]
fn a_deletion_that_the_service_refuses_comes_back_into_view_and_is_told() {
    // The only service that refuses in words that mean "never".
    if !KIND.has(Capability::Batches) {
        return;
    }
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.put(name, b"x");
    }
    let mount = world.mount();
    assert_eq!(mount.list(""), ["a", "b", "c"]);
    // Permission denied.
    world
        .service
        .faults(&[(Call::Delete, json!({"fault": "error", "code": 114}))]);
    fs::remove_file(mount.path("b")).expect("unlink");
    assert_eq!(mount.list(""), ["a", "c"]);
    wait_for("it is shown again", || mount.list("") == ["a", "b", "c"]);
    assert_eq!(mount.read("b"), b"x");
    let ran = world.lockerfs(&["drain"]);
    assert!(!ran.status.success(), "a drain tells of it: {ran:?}");
    assert_eq!(names(&world), ["a", "b", "c"]);
    // Removing it once more tries again.
    world.service.faults(&[]);
    fs::remove_file(mount.path("b")).expect("unlink");
    world.drain();
    assert_eq!(names(&world), ["a", "c"]);
    assert_eq!(mount.list(""), ["a", "c"]);
}

#[test]
fn a_removed_file_that_a_person_takes_out_of_the_trash_is_shown_again() {
    let world = World::new();
    world.put("a", b"x");
    let mount = world.mount();
    assert_eq!(mount.list(""), ["a"]);
    fs::remove_file(mount.path("a")).expect("unlink");
    world.drain();
    assert!(mount.list("").is_empty());
    world.put("a", b"x");
    wait_for("it is shown again", || mount.list("") == ["a"]);
}
