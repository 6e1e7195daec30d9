//! Under a service manager: it is told when the mount serves, and that the end takes its time.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::suite::harness::{Mount, World};

/// What the manager hears until `word` is in it.
fn heard_until(manager: &UnixDatagram, word: &str) -> String {
    let mut heard = String::new();
    let mut message = [0; 4096];
    while !heard.contains(word) {
        let length = manager
            .recv(&mut message)
            .unwrap_or_else(|error| panic!("{word} was not told ({error}), but: {heard}"));
        heard.push_str(&String::from_utf8_lossy(&message[..length]));
        heard.push('\n');
    }
    heard
}

fn manager(world: &World) -> (UnixDatagram, String) {
    let path = world.folder().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a limit");
    (manager, format!("NOTIFY_SOCKET={}", path.display()))
}

#[test]
fn the_service_manager_is_told_of_the_start_and_that_a_long_end_goes_on() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1h\""));
    let (manager, socket) = manager(&world);
    let mount = Mount::start_under(&["env", &socket], &world.config(), &world.place());
    let heard = heard_until(&manager, "READY=1");
    assert!(!heard.contains("STOPPING"), "{heard}");
    assert!(
        heard.contains(&format!("Mounted at {}", mount.mount_point().display())),
        "{heard}"
    );
    mount.write("late.txt", b"late");
    mount.signal(libc::SIGTERM);
    let heard = heard_until(&manager, "EXTEND_TIMEOUT_USEC=");
    assert!(heard.contains("STOPPING=1"), "{heard}");
    assert!(
        heard.contains("STATUS=Uploading 1 file before the end"),
        "{heard}"
    );
    assert!(mount.ended().success());
    assert!(world.stored().contains_key("late.txt"));
}

#[test]
fn a_service_that_is_stopped_without_its_host_keeps_what_waits_for_the_next_start() {
    let world = World::with(|setup| setup.option("stop_timeout", "\"1s\""));
    let (manager, socket) = manager(&world);
    let mount = Mount::start_under(&["env", &socket], &world.config(), &world.place());
    heard_until(&manager, "READY=1");
    assert!(mount.list("").is_empty());
    world.service.stop();
    mount.write("kept.txt", b"kept");
    mount.signal(libc::SIGTERM);
    heard_until(&manager, "STOPPING=1");
    mount.ended();
    world.service.come_back();
    let mount = Mount::start_under(&["env", &socket], &world.config(), &world.place());
    heard_until(&manager, "READY=1");
    assert_eq!(mount.read("kept.txt"), b"kept");
    world.drain();
    assert!(world.stored().contains_key("kept.txt"));
}
