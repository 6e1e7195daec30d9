//! A service that wants fewer calls gets fewer, and everything completes all the same.

use std::fs;
use std::sync::Mutex;

use lockerfs::provider::Capability;
use serde_json::{Value, json};

use super::harness::{Mount, World, content, sha256_of, wait_for};
use crate::KIND;

/// Calls of the account that may start in a second, in the long run. The burst that goes with it is two.
const LIMIT: u64 = 10;

fn limited() -> World {
    World::with(|setup| {
        setup.option("calls_per_second", &LIMIT.to_string());
        setup.options.remove("burst");
    })
}

fn every_third_call_is_one_too_many() -> Value {
    json!([{"match": "*", "fault": "status", "status": 429, "every": 3}])
}

fn told(world: &World, what: &str) -> u64 {
    world.service.ask("calls")[what].as_u64().expect("a count")
}

#[track_caller]
fn assert_no_second_was_too_busy(world: &World) {
    let busiest = told(world, "busiest_second");
    println!("the busiest second: {busiest} calls of {}", told(world, "total"));
    assert!(
        busiest <= LIMIT + 2,
        "{busiest} calls: {:?}",
        world.service.calls()
    );
}

/// What eight programs do side by side to a folder of `files` files: all of them are read, copied in, moved away, or
/// deleted. What a read gets of refusals depends on how many of its own requests are among them, so it is repeated.
fn work_of_eight(world: &World, mount: &Mount, files: u64) {
    assert_eq!(mount.list("old").len() as u64, files);
    // Where it takes two calls, the second may be the one too many again and again.
    wait_for("a folder is made", || fs::create_dir(mount.path("new")).is_ok());
    let numbers = Mutex::new(0..files);
    let next = || numbers.lock().expect("no worker panics with it").next();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(at) = next() {
                    let (old, wanted) = (mount.path(&format!("old/{at:02}.bin")), old_content(at));
                    wait_for("a file is read", || fs::read(&old).is_ok_and(|got| got == wanted));
                    fs::write(mount.path(&format!("new/{at:02}.bin")), new_content(at)).expect("a copy in");
                    match at % 4 {
                        0 => fs::remove_file(&old).expect("unlink"),
                        1 => fs::rename(&old, mount.path(&format!("old/{at:02}.moved"))).expect("rename"),
                        _ => {}
                    }
                }
            });
        }
    });
    world.drain();
    let stored = world.stored_sha256();
    for at in 0..files {
        let new = stored.get(&format!("new/{at:02}.bin"));
        assert_eq!(new, Some(&sha256_of(&new_content(at))), "new {at}");
        let name = match at % 4 {
            0 => continue,
            1 => format!("old/{at:02}.moved"),
            _ => format!("old/{at:02}.bin"),
        };
        assert_eq!(stored.get(&name), Some(&sha256_of(&old_content(at))), "{name}");
    }
    assert_eq!(stored.len() as u64, 2 * files - files.div_ceil(4));
}

fn old_content(at: u64) -> Vec<u8> {
    content(at, 3_000)
}

fn new_content(at: u64) -> Vec<u8> {
    content(1_000 + at, 2_000)
}

fn with_old_files(world: World, files: u64) -> World {
    for at in 0..files {
        world.put(&format!("old/{at:02}.bin"), &old_content(at));
    }
    world.service.reset_calls();
    world
}

#[test]
fn no_second_sees_more_calls_than_the_account_may_make() {
    let world = with_old_files(limited(), 24);
    let mount = world.mount();
    work_of_eight(&world, &mount, 24);
    // Files deleted together go in one call where the service takes that, else in one each.
    for at in 0..24 {
        fs::remove_file(mount.path(&format!("new/{at:02}.bin"))).expect("unlink");
    }
    world.drain();
    let least = if KIND.has(Capability::Batches) { 30 } else { 100 };
    assert!(
        told(&world, "total") >= least,
        "too little to tell: {:?}",
        world.service.calls()
    );
    assert_no_second_was_too_busy(&world);
}

#[test]
fn nor_does_it_while_every_third_call_is_one_too_many() {
    let world = with_old_files(limited(), 4);
    let mount = world.mount();
    world.service.strike(&every_third_call_is_one_too_many());
    work_of_eight(&world, &mount, 4);
    world.service.strike(&json!([]));
    assert_no_second_was_too_busy(&world);
}

#[test]
fn all_work_completes_while_every_third_call_is_one_too_many() {
    let world = World::new();
    let (old, new) = (content(1, 200_000), content(2, 100_000));
    world.put("old.bin", &old);
    let mount = world.mount();
    world.service.strike(&every_third_call_is_one_too_many());
    assert_eq!(mount.list(""), ["old.bin"]);
    fs::write(mount.path("new.bin"), &new).expect("a copy in");
    // What a read gets of the refusals depends on how many of its own requests are among them.
    wait_for("it is read", || {
        fs::read(mount.path("old.bin")).is_ok_and(|got| sha256_of(&got) == sha256_of(&old))
    });
    world.drain();
    assert_eq!(world.stored_sha256().get("new.bin"), Some(&sha256_of(&new)));
    let account = &world.status()["accounts"][0];
    assert_eq!(account["held_back"]["why"], "asked_for_fewer", "{account}");
    assert!(
        account["held_back"]["calls_per_100_seconds"].is_u64(),
        "{account}"
    );
    world.service.strike(&json!([]));
}
