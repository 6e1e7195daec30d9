//! A service that wants fewer calls gets fewer, and everything completes all the same.

use std::fs;

use serde_json::json;

use super::harness::{World, content, sha256_of, wait_for};

#[test]
fn all_work_completes_while_every_third_call_is_one_too_many() {
    let world = World::new();
    let (old, new) = (content(1, 200_000), content(2, 100_000));
    world.put("old.bin", &old);
    let mount = world.mount();
    let refusal = json!([{"match": "*", "fault": "status", "status": 429, "every": 3}]);
    world.service.strike(&refusal);
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
