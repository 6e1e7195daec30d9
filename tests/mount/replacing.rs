//! Content is replaced in steps, and after a kill at any of them exactly one file is left: the new one.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::suite::harness::{Call, Tune, World, sha256_of, wait_for};

const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"the new content, which is longer";

/// Replaces a file, kills the mount when `reached`, mounts again, and looks.
fn killed_when(setup: impl FnOnce(&World), reached: impl Fn(&World) -> bool) {
    let world = World::new();
    world.put("folder/report.txt", OLD);
    world.put("folder/other.txt", b"not to be touched");
    let mount = world.mount();
    assert_eq!(mount.read("folder/report.txt"), OLD);
    setup(&world);
    world.service.reset_calls();
    mount.write("folder/report.txt", NEW);
    wait_for("the step is reached", || {
        assert_eq!(mount.read("folder/report.txt"), NEW, "while it is replaced");
        reached(&world)
    });
    assert_eq!(mount.list("folder"), ["other.txt", "report.txt"]);
    mount.kill();

    world.service.faults(&[]);
    let mount = world.mount();
    assert_eq!(mount.read("folder/report.txt"), NEW, "mounted again");
    assert_eq!(mount.list("folder"), ["other.txt", "report.txt"]);
    world.drain();
    world.service.settle();
    let wanted = [
        ("folder/other.txt", sha256_of(b"not to be touched")),
        ("folder/report.txt", sha256_of(NEW)),
    ];
    let wanted = wanted.map(|(path, hash)| (path.to_owned(), hash)).into();
    assert_eq!(world.stored_sha256(), wanted, "on the service");
    assert_eq!(mount.list("folder"), ["other.txt", "report.txt"]);
    mount.unmount(&world.config());

    world.forget();
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["other.txt", "report.txt"]);
    assert_eq!(mount.read("folder/report.txt"), NEW, "in a fresh mount");
}

fn fault(call: Call, rule: Value) -> impl FnOnce(&World) {
    move |world| world.service.faults(&[(call, rule)])
}

fn slow() -> Value {
    json!({"fault": "delay", "milliseconds": 60_000})
}

fn lost() -> Value {
    json!({"fault": "lost_reply", "times": 1})
}

fn names(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

fn holds_both(world: &World) -> bool {
    world.stored().len() == 3
}

/// The old file is gone, and the new one does not bear its name yet.
fn holds_numbered(world: &World) -> bool {
    names(world) == ["folder/other.txt", "folder/report (2).txt"]
}

#[test]
fn killed_before_the_new_content_was_sent() {
    killed_when(fault(Call::Upload, slow()), |world| {
        world.service.calls().of(Call::Upload) == 1
    });
}

#[test]
fn killed_while_the_service_stores_the_new_content_no_more_than_a_copy_of_it_stays() {
    // The service goes on with what it was sent, and nothing shows that it does.
    let world = World::with(|setup| setup.tune(Tune::Processing(Duration::from_secs(1))));
    world.put("report.txt", OLD);
    let mount = world.mount();
    assert_eq!(mount.read("report.txt"), OLD);
    world.service.reset_calls();
    mount.write("report.txt", NEW);
    wait_for("the new content is sent", || {
        world.service.calls().of(Call::Upload) == 1
    });
    // The request is small and comes in one piece.
    std::thread::sleep(Duration::from_millis(200));
    mount.kill();
    let mount = world.mount();
    assert_eq!(mount.read("report.txt"), NEW, "mounted again");
    world.drain();
    wait_for("the service has stored all that it was sent", || {
        let stored = world.stored_sha256();
        stored.values().all(|hash| *hash == sha256_of(NEW)) && stored.contains_key("report.txt")
    });
    std::thread::sleep(Duration::from_millis(1500));
    let stored = world.stored_sha256();
    assert_eq!(stored["report.txt"], sha256_of(NEW));
    assert!(stored.values().all(|hash| *hash == sha256_of(NEW)), "{stored:?}");
    assert!(stored.len() <= 2, "{stored:?}");
    assert_eq!(mount.read("report.txt"), NEW);
}

#[test]
fn killed_when_the_answer_to_the_new_content_was_lost() {
    killed_when(fault(Call::Upload, lost()), holds_both);
}

#[test]
fn killed_before_the_old_file_was_deleted() {
    killed_when(fault(Call::Delete, slow()), |world| {
        holds_both(world) && world.service.calls().of(Call::Delete) == 1
    });
}

#[test]
fn killed_when_the_answer_to_the_deletion_was_lost() {
    let rules = |world: &World| {
        world
            .service
            .faults(&[(Call::Delete, lost()), (Call::Rename, slow())]);
    };
    killed_when(rules, holds_numbered);
}

#[test]
fn killed_before_the_new_file_got_its_name() {
    killed_when(fault(Call::Rename, slow()), |world| {
        holds_numbered(world) && world.service.calls().of(Call::Rename) == 1
    });
}

#[test]
fn killed_when_the_answer_to_the_rename_was_lost() {
    killed_when(fault(Call::Rename, lost()), |world| {
        names(world) == ["folder/other.txt", "folder/report.txt"]
            && world.service.calls().of(Call::Rename) >= 1
    });
}

#[test]
fn stored_other_than_it_was_sent_it_is_sent_again() {
    for what in ["size", "hash"] {
        let world = World::new();
        world.put("report.txt", OLD);
        let mount = world.mount();
        assert_eq!(mount.read("report.txt"), OLD);
        let wrong = json!({"fault": "store_wrong", "what": what, "times": 1});
        world.service.faults(&[(Call::Upload, wrong)]);
        mount.write("report.txt", NEW);
        world.drain();
        let wanted = [("report.txt".to_owned(), sha256_of(NEW))].into();
        assert_eq!(world.stored_sha256(), wanted, "{what}");
    }
}

#[test]
fn a_file_that_lands_in_another_folder_is_brought_where_it_belongs() {
    let world = World::new();
    world.put("folder/report.txt", OLD);
    world.put("report.txt", b"of the same name");
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["report.txt"]);
    world
        .service
        .faults(&[(Call::Upload, json!({"fault": "wrong_folder", "times": 2}))]);
    mount.write("folder/report.txt", NEW);
    mount.write("folder/new.txt", b"new");
    world.drain();
    let wanted = [
        ("folder/new.txt", sha256_of(b"new")),
        ("folder/report.txt", sha256_of(NEW)),
        ("report.txt", sha256_of(b"of the same name")),
    ];
    let wanted = wanted.map(|(path, hash)| (path.to_owned(), hash)).into();
    assert_eq!(world.stored_sha256(), wanted);
    assert_eq!(mount.list(""), ["folder", "report.txt"]);
}

#[test]
fn a_name_that_was_taken_elsewhere_meanwhile_overwrites_nothing_unseen() {
    let world = World::with(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    assert!(mount.list("").is_empty());
    world.put("report.txt", b"made elsewhere");
    mount.write("report.txt", NEW);
    world.drain();
    let stored: Vec<String> = world.stored_sha256().into_values().collect();
    for content in [&b"made elsewhere"[..], NEW] {
        assert!(stored.contains(&sha256_of(content)), "{:?}", world.stored());
    }
    world.forget();
    let mount = world.mount();
    let shown = mount.list("");
    assert_eq!(shown.len(), 2, "{shown:?}");
    let mut read: Vec<Vec<u8>> = shown
        .iter()
        .map(|name| fs::read(mount.path(name)).expect("read"))
        .collect();
    read.sort();
    assert_eq!(read, [b"made elsewhere".to_vec(), NEW.to_vec()]);
}
