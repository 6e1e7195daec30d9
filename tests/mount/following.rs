//! What holds where a service tells of changes: conflicts are told.

use serde_json::Value;

use super::suite::conflicts::with_an_edit_that_waits;
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
