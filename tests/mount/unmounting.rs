//! `lockerfs unmount`: it finds the mount by its directory, shows how the uploads go, and can be told not to wait.

use serde_json::json;

use super::suite::harness::{Call, Watching, World, content, is_mount_point, sha256_of, wait_for};

fn pending(world: &World) -> usize {
    world.pending().len()
}

/// A world whose uploads take their time, so that an unmount has to wait for them.
fn slow() -> World {
    World::with(|setup| {
        setup.option("upload_delay", "\"1h\"");
        setup.option("max_rate", "\"400kB\"");
    })
}

#[test]
fn unmount_finds_the_mount_by_its_directory_whatever_state_directory_it_has() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1h\""));
    let mount = world.mount();
    mount.write("late.txt", b"late");
    let elsewhere = world.another_place();
    let point = mount.mount_point().to_str().expect("UTF-8").to_owned();
    world.lockerfs_in(&elsewhere, &["unmount", &point]).succeeded();
    assert!(mount.ended().success());
    assert_eq!(world.stored()["late.txt"].sha256, sha256_of(b"late"));
}

#[test]
fn on_a_terminal_an_unmount_shows_a_bar_and_the_file_that_is_under_way() {
    let world = slow();
    let mount = world.mount();
    let body = content(3, 800_000);
    mount.write("film.bin", &body);
    let point = mount.mount_point().to_str().expect("UTF-8").to_owned();
    let screen = Watching::in_terminal(&world.config(), &world.place(), &["unmount", &point]);
    wait_for("the progress is shown", || {
        let shown = screen.shown();
        shown.contains("% sent") && shown.contains("film.bin") && shown.contains("kB/s")
    });
    let (status, shown) = screen.ended();
    assert_eq!(status, Some(0), "{shown}");
    assert!(mount.ended().success());
    assert_eq!(world.stored()["film.bin"].sha256, sha256_of(&body));
}

#[test]
fn unmount_now_keeps_what_waits_for_the_next_mount() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1h\""));
    let mount = world.mount();
    mount.write("kept.txt", b"kept");
    let point = mount.mount_point().to_str().expect("UTF-8").to_owned();
    let ran = world.lockerfs(&["unmount", "--now", &point]);
    assert!(
        ran.succeeded()
            .stdout
            .contains("1 file is not uploaded yet; kept in"),
        "{ran:?}"
    );
    mount.ended();
    assert!(!is_mount_point(&world.place().mount_point));
    assert!(world.stored().is_empty());
    assert_eq!(pending(&world), 1);
    let mount = world.mount();
    assert_eq!(mount.read("kept.txt"), b"kept");
    world.drain();
    assert_eq!(world.stored()["kept.txt"].sha256, sha256_of(b"kept"));
}

#[test]
fn an_unmount_that_waits_is_cut_short_by_another_that_does_not() {
    let world = World::with(|setup| {
        setup.option("upload_delay", "\"1h\"");
        setup.option("stop_timeout", "\"90s\"");
    });
    let mount = world.mount();
    mount.write("kept.txt", b"kept");
    world
        .service
        .faults(&[(Call::BeginUpload, json!({"fault": "stall"}))]);
    let point = mount.mount_point().to_str().expect("UTF-8").to_owned();
    let first = Watching::start(&world.config(), &world.place(), &["unmount", &point]);
    wait_for("the first waits", || first.shown().contains("1 file to upload"));
    let second = world.lockerfs(&["unmount", "--now", &point]);
    let told = "1 file is not uploaded yet";
    assert!(second.succeeded().stdout.contains(told), "{second:?}");
    let (status, shown) = first.ended();
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains(told), "{shown}");
    mount.ended();
    assert_eq!(pending(&world), 1);
}
