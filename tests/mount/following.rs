//! What holds where a service tells of changes: conflicts are told, and an edit outlives its folder.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::suite::conflicts::{all, holds, with_an_edit_that_waits};
use super::suite::elsewhere::{SOON, reads};
use super::suite::harness::World;

/// Everything that `status` says of files and events, to look for a name in it.
fn told(world: &World) -> String {
    let mut status: Value = world.status();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("config");
    }
    status.to_string()
}

#[test]
fn a_conflict_is_told_by_the_status() {
    let (world, mount) = with_an_edit_that_waits();
    world.write_elsewhere("home/report.txt", "changed elsewhere");
    world.drain();
    let told = told(&world);
    assert!(told.contains("conflict"), "{told}");
    mount.unmount(&world.config());
}

#[test]
fn an_edit_that_waits_outlives_the_removal_of_its_folder_elsewhere() {
    let (world, mount) = with_an_edit_that_waits();
    world.elsewhere("trash", "home", &[]);
    // The service may take it in at another place; else it waits for a person.
    let began = Instant::now();
    let is_settled = || {
        let ran = world.lockerfs(&["status", "--json"]);
        let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        status["totals"]["parked"] == 1 || status["totals"]["files"] == 0
    };
    while !is_settled() {
        assert!(
            began.elapsed() < SOON * 4,
            "never told: {:#}\n{}",
            world.status()["pending"],
            all(&world)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    if !holds(&world, "edited here").is_empty() {
        return;
    }
    assert!(
        reads(&mount, "home/report.txt", "edited here"),
        "it is not in the mount"
    );
    mount.kill();
    let mount = world.mount();
    let is_there = reads(&mount, "home/report.txt", "edited here");
    assert!(is_there, "it is not in the mount after a restart");
}
