//! The demo, which brings its own services.

use std::fs;

use crate::suite::harness::{Daemon, is_mount_point, wait_for};

#[test]
fn the_demo_can_be_browsed_and_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("demo");
    let log = fs::File::create(folder.path().join("log")).expect("a log");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockerfs"));
    command
        .arg("demo")
        .arg(&place)
        .env("TMPDIR", folder.path())
        .env("HOME", folder.path());
    command
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    command
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log);
    let mut child = command.spawn().expect("start the demo");
    let pid = i32::try_from(child.id()).expect("a pid");
    let guard = Daemon(pid);
    let told = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    wait_for("the demo is mounted", || {
        assert!(
            child.try_wait().expect("wait").is_none(),
            "the demo ended: {}",
            told()
        );
        place.is_dir() && is_mount_point(&place)
    });
    let accounts: Vec<_> = fs::read_dir(&place)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .collect();
    let name = |account: &std::path::PathBuf| account.file_name().expect("a name").to_owned();
    let mut names: Vec<_> = accounts.iter().map(name).collect();
    names.sort();
    assert_eq!(
        names,
        ["1cloudfile", "koramaup", "mediafire", "mirrorace", "mirrored_to"]
    );
    for account in &accounts {
        // What only publishes shows what is copied into it here.
        let publishes = account.ends_with("mirrorace") || account.ends_with("mirrored_to");
        if !publishes {
            wait_for("sample files are there", || {
                fs::read_dir(account).is_ok_and(|entries| entries.count() > 0)
            });
        }
        fs::write(account.join("mine.txt"), "mine").expect("write");
        assert_eq!(fs::read(account.join("mine.txt")).expect("read"), b"mine");
    }
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let status = child.wait().expect("wait");
    assert!(status.success(), "{status}: {}", told());
    assert!(!place.exists() || !is_mount_point(&place));
    drop(guard);
}
