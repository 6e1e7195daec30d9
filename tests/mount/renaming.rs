//! A rename over a file ends with one file of the name, and with its content: never with two, never with none,
//! whatever breaks between its steps.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

use lockerfs::provider::Capability;
use serde_json::{Value, json};

use super::harness::{Call, Mount, World, sha256_of, snapshot, wait_for};
use crate::KIND;

const OLD: &[u8] = b"what is replaced";
const NEW: &[u8] = b"what replaces it";

type Rules = Vec<(Call, Value)>;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn slow() -> Value {
    json!({"fault": "delay", "milliseconds": 60_000})
}

fn lost() -> Value {
    json!({"fault": "lost_reply", "times": 1})
}

/// How a rename that was broken off may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Renamed,
    NotRenamed,
}

/// Renames `from` over `to`, kills the mount when so many calls of a kind came, mounts again, and looks.
fn killed(from: &str, to: &str, rules: Rules, at: (Call, u64), end: End) {
    let world = World::new();
    world.put(from, NEW);
    world.put(to, OLD);
    let mount = world.mount();
    assert_eq!((mount.read(from), mount.read(to)), (NEW.to_vec(), OLD.to_vec()));
    world.service.faults(&rules);
    world.service.reset_calls();
    let (source, target) = (mount.path(from), mount.path(to));
    let renaming = std::thread::spawn(move || fs::rename(source, target));
    let (call, count) = at;
    wait_for("the step is reached", || world.service.calls().of(call) >= count);
    mount.kill();
    // Its connection ended with the mount.
    let _ = renaming.join().expect("the thread that renames");

    world.service.faults(&[]);
    let mount = world.mount();
    world.drain();
    world.service.settle();
    let mut wanted: BTreeMap<String, String> = [(to.to_owned(), sha256_of(NEW))].into();
    if end == End::NotRenamed {
        wanted = [(from.to_owned(), sha256_of(NEW)), (to.to_owned(), sha256_of(OLD))].into();
    }
    assert_eq!(world.stored_sha256(), wanted, "on the service: {from} to {to}");
    wait_for("the mount shows it", || {
        let shown = fs::read(mount.path(to)).is_ok_and(|read| sha256_of(&read) == wanted[to]);
        shown && fs::metadata(mount.path(from)).is_ok() == wanted.contains_key(from)
    });
    mount.unmount(&world.config());
}

/// Other endings, so that no service puts the content under the id of the target.
const IN_FOLDER: (&str, &str) = ("folder/new.txt", "folder/old.dat");
const TO_FOLDER: (&str, &str) = ("one/same.txt", "two/same.dat");

#[test]
fn killed_before_the_first_step_of_a_rename_over_a_file() {
    let (from, to) = IN_FOLDER;
    killed(
        from,
        to,
        vec![(Call::Rename, slow())],
        (Call::Rename, 1),
        End::NotRenamed,
    );
    let (from, to) = TO_FOLDER;
    killed(
        from,
        to,
        vec![(Call::Move, slow())],
        (Call::Move, 1),
        End::NotRenamed,
    );
}

#[test]
fn killed_when_the_answer_to_the_first_step_was_lost() {
    let (from, to) = IN_FOLDER;
    let rules = vec![(Call::Rename, lost()), (Call::Rename, slow())];
    killed(from, to, rules, (Call::Rename, 2), End::Renamed);
    let (from, to) = TO_FOLDER;
    let rules = vec![(Call::Move, lost()), (Call::Move, slow())];
    killed(from, to, rules, (Call::Move, 2), End::Renamed);
}

#[test]
fn killed_before_the_replaced_file_was_deleted() {
    for (from, to) in [IN_FOLDER, TO_FOLDER] {
        killed(
            from,
            to,
            vec![(Call::Delete, slow())],
            (Call::Delete, 1),
            End::Renamed,
        );
    }
}

#[test]
fn killed_before_the_last_step() {
    let (from, to) = IN_FOLDER;
    let second = json!({"fault": "delay", "milliseconds": 60_000, "skip": 1});
    killed(
        from,
        to,
        vec![(Call::Rename, second)],
        (Call::Rename, 2),
        End::Renamed,
    );
    let (from, to) = TO_FOLDER;
    killed(
        from,
        to,
        vec![(Call::Rename, slow())],
        (Call::Rename, 1),
        End::Renamed,
    );
}

#[test]
fn killed_with_newer_content_of_both_files_waiting_the_replaced_one_is_gone_and_the_other_has_its_name() {
    for (from, to) in [IN_FOLDER, TO_FOLDER] {
        let world = World::with(|setup| setup.option("upload_delay", "\"60s\""));
        world.put(from, b"old");
        world.put(to, b"old as well");
        let mount = world.mount();
        mount.write(from, NEW);
        mount.write(to, OLD);
        let first = if from.starts_with("folder") {
            Call::Rename
        } else {
            Call::Move
        };
        world.service.faults(&[(first, lost()), (first, slow())]);
        world.service.reset_calls();
        let (source, target) = (mount.path(from), mount.path(to));
        let renaming = std::thread::spawn(move || fs::rename(source, target));
        wait_for("the first step was taken", || {
            world.service.calls().of(first) >= 2
        });
        mount.kill();
        let _ = renaming.join().expect("the thread that renames");
        // The mount shows what it knew before it finds out what became of the rename.
        let away = json!({"fault": "status", "status": 503});
        let sends_nothing = (Call::AnyUpload, away.clone());
        world.service.faults(&[(Call::Info, away), sends_nothing.clone()]);
        let mount = world.mount();
        assert_eq!(mount.read(to), OLD);
        world.service.faults(&[sends_nothing]);
        wait_for("the rename is looked up", || {
            world.lockerfs(&["retry"]).succeeded();
            // For the moment until its folder is listed anew there may be none.
            fs::read(mount.path(to)).is_ok_and(|read| read == NEW) && !mount.path(from).exists()
        });
        let shown: Vec<_> = snapshot(&mount.path("")).into_keys().collect();
        assert_eq!(shown, [to], "while the content waits");
        world.service.faults(&[]);
        world.lockerfs(&["retry"]).succeeded();
        world.drain();
        assert_eq!(world.stored_sha256(), [(to.to_owned(), sha256_of(NEW))].into());
        mount.unmount(&world.config());
    }
}

#[test]
fn killed_while_the_content_goes_under_the_id_of_the_target() {
    if !KIND.has(Capability::ReplaceKeepsId) {
        return;
    }
    let (from, to) = ("one/new.txt", "two/old.txt");
    killed(
        from,
        to,
        vec![(Call::Replace, slow())],
        (Call::Replace, 1),
        End::NotRenamed,
    );
    killed(
        from,
        to,
        vec![(Call::Rename, slow())],
        (Call::Rename, 1),
        End::Renamed,
    );
}

#[test]
fn a_move_under_another_name_that_is_killed_between_its_steps_is_finished() {
    let world = World::new();
    world.put("one/new.txt", NEW);
    world.put("two/other.txt", b"other");
    let mount = world.mount();
    assert_eq!((mount.list("one").len(), mount.list("two").len()), (1, 1));
    world.service.faults(&[(Call::Rename, slow())]);
    world.service.reset_calls();
    let (source, target) = (mount.path("one/new.txt"), mount.path("two/renamed.txt"));
    let renaming = std::thread::spawn(move || fs::rename(source, target));
    wait_for("it is moved", || world.service.calls().of(Call::Rename) >= 1);
    mount.kill();
    let _ = renaming.join().expect("the thread that renames");
    world.service.faults(&[]);
    let mount = world.mount();
    world.drain();
    let names: Vec<_> = world.stored().into_keys().collect();
    assert_eq!(names, ["two/other.txt", "two/renamed.txt"]);
    assert_eq!(mount.list("two"), ["other.txt", "renamed.txt"]);
}

#[test]
fn a_listing_from_between_two_steps_of_a_rename_makes_no_second_file_of_it() {
    for replaces in [false, true] {
        let world = World::with(|setup| setup.option("listing_age", "\"1s\""));
        world.put("one/new.txt", NEW);
        world.put("two/other.dat", b"other");
        let mount = world.mount();
        assert_eq!((mount.list("one").len(), mount.list("two").len()), (1, 1));
        // It is moved, and nobody hears of it for a while.
        let late = json!({"fault": "delay", "milliseconds": 5000});
        world.service.faults(&[(Call::Move, lost()), (Call::Move, late)]);
        world.service.reset_calls();
        let target = if replaces {
            "two/other.dat"
        } else {
            "two/renamed.txt"
        };
        let (source, renamed) = (mount.path("one/new.txt"), mount.path(target));
        let renaming = std::thread::spawn(move || fs::rename(source, renamed));
        wait_for("it is moved", || world.service.calls().of(Call::Move) >= 2);
        if KIND.has(Capability::ChangeFeed) {
            wait_for("both folders are listed anew", || {
                world.service.calls().of(Call::Listing) >= 2
            });
        }
        renaming.join().expect("the thread that renames").expect("rename");
        let name = target.trim_start_matches("two/");
        let mut shown = vec!["other.dat", name];
        shown.dedup();
        assert_eq!((mount.list("one").len(), mount.list("two")), (0, names(&shown)));
        assert_eq!(mount.read(target), NEW);
        assert!(fs::metadata(mount.path("two/new.txt")).is_err());
        mount.write("two/new.txt", b"another");
        world.drain();
        assert_eq!(world.stored()[target].sha256, sha256_of(NEW));
        assert_eq!(world.stored()["two/new.txt"].sha256, sha256_of(b"another"));
    }
}

#[test]
fn a_rename_whose_last_steps_fail_for_now_holds_and_is_finished_later() {
    let world = World::new();
    let (from, to) = IN_FOLDER;
    world.put(from, NEW);
    world.put(to, OLD);
    let mount = world.mount();
    assert_eq!(mount.list("folder").len(), 2);
    world
        .service
        .faults(&[(Call::Delete, json!({"fault": "status", "status": 503}))]);
    fs::rename(mount.path(from), mount.path(to)).expect("the first step took effect");
    assert_eq!(mount.list("folder"), ["old.dat"]);
    assert_eq!(mount.read(to), NEW);
    world.service.faults(&[]);
    wait_for("it is finished", || {
        world.lockerfs(&["retry"]).succeeded();
        std::thread::sleep(Duration::from_millis(200));
        world.stored_sha256() == [(to.to_owned(), sha256_of(NEW))].into()
    });
    world.drain();
    assert_eq!(mount.list("folder"), ["old.dat"]);
}

/// A file that was renamed while its upload deleted what it replaces, of which nobody hears for a while.
fn renamed_while_the_replaced_is_deleted() -> (World, Mount) {
    let world = World::new();
    world.put("two/old.dat", OLD);
    world.put("three/other.dat", b"other");
    let mount = world.mount();
    for folder in ["", "two", "three"] {
        mount.list(folder);
    }
    // What is known is written down, with the file that is replaced.
    std::thread::sleep(Duration::from_secs(2));
    let late = |fault: &str| json!({"fault": fault, "milliseconds": 1500, "times": 1});
    let rules = [(Call::Upload, late("delay")), (Call::Delete, late("late_reply"))];
    world.service.faults(&rules);
    world.service.reset_calls();
    mount.write("new.txt", NEW);
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    fs::rename(mount.path("new.txt"), mount.path("two/old.dat")).expect("rename over");
    wait_for("what it replaces is deleted", || {
        world.service.calls().of(Call::Delete) == 1
    });
    fs::rename(mount.path("two/old.dat"), mount.path("three/later.dat")).expect("rename");
    (world, mount)
}

#[test]
fn what_an_upload_replaces_is_not_brought_back_by_a_rename_in_that_moment() {
    let (world, mount) = renamed_while_the_replaced_is_deleted();
    world.drain();
    world.service.settle();
    let wanted = [("three/later.dat", NEW), ("three/other.dat", b"other")];
    let wanted = wanted.map(|(path, content)| (path.to_owned(), sha256_of(content)));
    assert_eq!(world.stored_sha256(), wanted.into());
    assert_eq!(mount.list("three"), ["later.dat", "other.dat"]);
    assert_eq!(
        (mount.read("three/later.dat"), mount.list("two").len()),
        (NEW.to_vec(), 0)
    );
}

#[test]
fn killed_after_a_rename_in_that_moment_the_old_folder_shows_nothing_of_the_file() {
    let (world, mount) = renamed_while_the_replaced_is_deleted();
    wait_for("it has its name", || {
        let named = world.stored().contains_key("three/later.dat");
        named && world.pending().is_empty()
    });
    mount.kill();
    let mount = world.mount();
    assert!(mount.list("two").is_empty());
    assert_eq!(mount.list("three"), ["later.dat", "other.dat"]);
    assert_eq!(mount.read("three/later.dat"), NEW);
}

#[test]
fn the_former_name_of_a_file_that_is_still_written_can_be_given_to_another() {
    the_former_name_is_free(|_| {});
    // What is synced is a newer content than that which is being uploaded.
    the_former_name_is_free(|log| log.sync_all().expect("sync"));
}

fn the_former_name_is_free(written_on: impl Fn(&fs::File)) {
    let world = World::new();
    world.put("other", OLD);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["other"]);
    let slow = json!({"fault": "delay", "milliseconds": 1500, "times": 1});
    world.service.faults(&[(Call::Upload, slow)]);
    world.service.reset_calls();
    mount.write("log", b"begun");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    fs::rename(mount.path("log"), mount.path("log.1")).expect("rename");
    let open = fs::File::options().append(true).open(mount.path("log.1"));
    let mut log = open.expect("open");
    log.write_all(b", and written on").expect("write");
    written_on(&log);
    wait_for("what was begun is uploaded", || world.stored().len() == 2);
    fs::rename(mount.path("other"), mount.path("log")).expect("rename to the former name");
    log.write_all(b" after that").expect("write");
    drop(log);
    world.drain();
    world.service.settle();
    let wanted = [("log", OLD), ("log.1", b"begun, and written on after that")];
    let wanted = wanted.map(|(path, content)| (path.to_owned(), sha256_of(content)));
    assert_eq!(world.stored_sha256(), wanted.into());
    assert_eq!(mount.list(""), ["log", "log.1"]);
}

#[test]
fn the_former_name_of_a_file_that_was_emptied_while_it_was_uploaded_can_be_given_to_another() {
    let world = World::new();
    world.put("other", OLD);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["other"]);
    let slow = json!({"fault": "delay", "milliseconds": 1500, "times": 1});
    world.service.faults(&[(Call::Upload, slow)]);
    world.service.reset_calls();
    mount.write("log", b"begun");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    mount.write("log", b"");
    world.drain();
    fs::rename(mount.path("log"), mount.path("log.1")).expect("rename");
    fs::rename(mount.path("other"), mount.path("log")).expect("rename to the former name");
    world.drain();
    assert_eq!(mount.list(""), ["log", "log.1"]);
    assert_eq!(world.stored()["log"].sha256, sha256_of(OLD));
}

#[test]
fn what_an_upload_puts_into_a_file_whose_place_is_taken_meanwhile_is_no_change_made_elsewhere() {
    let world = World::new();
    world.put("name.dat", OLD);
    let mount = world.mount();
    assert_eq!(mount.read("name.dat"), OLD);
    let slow = json!({"fault": "delay", "milliseconds": 1500, "times": 1});
    // Its end is told late, where it is asked for at all.
    let late = json!({"fault": "delay", "milliseconds": 5000, "times": 1});
    world
        .service
        .faults(&[(Call::Upload, slow), (Call::PollUpload, late)]);
    world.service.reset_calls();
    mount.write("name.dat", b"between");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    let mut newer = fs::File::create(mount.path("name.tmp")).expect("create");
    newer.write_all(NEW).expect("write");
    newer.sync_all().expect("sync");
    fs::rename(mount.path("name.tmp"), mount.path("name.dat")).expect("rename over");
    if KIND.has(Capability::ReplaceKeepsId) {
        wait_for("the upload arrives", || {
            world.service.settle();
            world.stored_sha256()["name.dat"] == sha256_of(b"between")
        });
    }
    // The service tells of it, and the folder is listed anew.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(mount.list(""), ["name.dat"]);
    drop(newer);
    world.drain();
    world.service.settle();
    let wanted = [("name.dat".to_owned(), sha256_of(NEW))].into();
    assert_eq!(world.stored_sha256(), wanted);
}

#[test]
fn a_rename_that_the_service_does_not_answer_fails_and_changes_nothing() {
    let world = World::new();
    let (from, to) = IN_FOLDER;
    world.put(from, NEW);
    world.put(to, OLD);
    let mount = world.mount();
    assert_eq!(mount.list("folder").len(), 2);
    world.service.stop();
    fs::rename(mount.path(from), mount.path(to)).expect_err("nobody answers");
    assert_eq!(mount.list("folder"), ["new.txt", "old.dat"]);
    world.service.come_back();
    world.drain();
    assert_eq!(world.stored().len(), 2);
    // A service that was away is tried again within seconds.
    wait_for("it answers again", || {
        fs::rename(mount.path(from), mount.path(to)).is_ok()
    });
    world.drain();
    assert_eq!(world.stored_sha256(), [(to.to_owned(), sha256_of(NEW))].into());
}

#[test]
fn a_folder_takes_the_place_of_an_empty_one() {
    let world = World::new();
    world.put("one/file.txt", NEW);
    let mount = world.mount();
    fs::create_dir(mount.path("two")).expect("mkdir");
    fs::rename(mount.path("one"), mount.path("two")).expect("rename");
    world.drain();
    assert_eq!(world.stored().into_keys().collect::<Vec<_>>(), ["two/file.txt"]);
    assert_eq!(
        (mount.list(""), mount.list("two")),
        (vec!["two".to_owned()], vec!["file.txt".to_owned()])
    );
    mount.unmount(&world.config());
    assert_eq!(world.mount().list(""), ["two"], "mounted again");
}
