//! Names that are never sent: usable like any other, kept over remounts and crashes, and unknown to the service.

use std::fs::{self, File};

use super::harness::{Call, Mount, World, assert_same, content, run, sha256_of, snapshot};

const JUNK: [&str; 4] = [".DS_Store", ".notes.txt.swp", ".~lock.letter.odt#", "Thumbs.db"];

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.expect_err("a refusal").raw_os_error()
}

fn state(mount: &Mount, path: &str) -> String {
    mount.xattr(path, "state").expect("a state")
}

/// What the service holds, without what a mount writes besides.
fn on_service(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

#[test]
fn files_on_the_list_are_kept_here_over_remounts_and_kills_and_never_sent() {
    let world = World::new();
    let mount = world.mount();
    mount.write("notes.txt", b"sent");
    world.drain();
    let calls = world.counted(|| {
        for name in JUNK {
            mount.write(name, name.as_bytes());
        }
        // Rewritten, lengthened and removed as on any disk.
        mount.write(JUNK[0], b"other");
        File::options()
            .write(true)
            .open(mount.path(JUNK[1]))
            .and_then(|file| file.set_len(3))
            .expect("cut");
        fs::remove_file(mount.path(JUNK[3])).expect("unlink");
        world.drain();
    });
    assert_eq!(calls.of(Call::AnyUpload) + calls.of(Call::Delete), 0, "{calls:?}");
    assert_eq!(state(&mount, JUNK[0]), "local");
    let told = |world: &World| {
        let status = world.lockerfs(&["status"]);
        assert!(
            status
                .succeeded()
                .stdout
                .contains("Never sent, by name (`local_only`): 3 files, "),
            "{}",
            status.stdout
        );
        assert!(world.pending().is_empty());
        assert_eq!(world.status()["totals"]["local"], 3);
    };
    told(&world);
    mount.unmount(&world.config());
    told(&world);
    let mount = world.mount();
    mount.kill();
    let mount = world.mount();
    assert_eq!(mount.read(JUNK[0]), b"other");
    assert_eq!(mount.read(JUNK[1]), b".no");
    assert_eq!(mount.read(JUNK[2]), JUNK[2].as_bytes());
    assert_eq!(mount.list("").len(), 4);
    world.drain();
    assert_eq!(on_service(&world), ["notes.txt"]);
}

#[test]
fn a_folder_on_the_list_holds_a_tree_and_is_a_folder_like_any_other() {
    let world = World::with(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    assert!(mount.list("").is_empty());
    let calls = world.counted(|| {
        fs::create_dir(mount.path(".Trash-1000")).expect("mkdir");
        fs::create_dir(mount.path(".Trash-1000/files")).expect("mkdir");
        fs::create_dir(mount.path(".Trash-1000/info")).expect("mkdir");
        for number in 0..20 {
            mount.write(&format!(".Trash-1000/files/{number}.bin"), &content(number, 2000));
        }
        mount.write(".Trash-1000/info/0.trashinfo", b"[Trash Info]");
        fs::create_dir(mount.path(".Trash-1000/old")).expect("mkdir");
        fs::rename(
            mount.path(".Trash-1000/files/3.bin"),
            mount.path(".Trash-1000/old/3.bin"),
        )
        .expect("move");
        fs::rename(mount.path(".Trash-1000/old"), mount.path(".Trash-1000/older")).expect("rename");
        assert_eq!(
            errno(fs::remove_dir(mount.path(".Trash-1000/older"))),
            Some(libc::ENOTEMPTY)
        );
        world.drain();
    });
    assert_eq!(calls.total(), 0, "{calls:?}");
    assert_eq!(state(&mount, ".Trash-1000"), "local");
    let before = snapshot(&mount.path(""));
    assert_eq!(before.len(), 21);
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_same(&snapshot(&mount.path("")), &before, "mounted again");
    assert_eq!(mount.list(".Trash-1000"), ["files", "info", "older"]);
    // Out of it, everything becomes what the service is to hold; a folder by a copy.
    fs::rename(mount.path(".Trash-1000/files/4.bin"), mount.path("restored.bin")).expect("move out");
    fs::create_dir(mount.path("sub")).expect("mkdir");
    let out = mount.path("sub/older");
    assert_eq!(
        errno(fs::rename(mount.path(".Trash-1000/older"), &out)),
        Some(libc::EXDEV)
    );
    run("mv", &[&mount.path(".Trash-1000/older"), &out]).succeeded();
    world.drain();
    let stored = world.stored();
    assert_eq!(stored["restored.bin"].sha256, sha256_of(&content(4, 2000)));
    assert_eq!(stored["sub/older/3.bin"].sha256, sha256_of(&content(3, 2000)));
    run("rm", &[&"-r", &mount.path(".Trash-1000")]).succeeded();
    world.drain();
    assert_eq!(mount.list(""), ["restored.bin", "sub"]);
    assert_eq!(on_service(&world), ["restored.bin", "sub/older/3.bin"]);
    mount.unmount(&world.config());
    assert_eq!(world.mount().list(""), ["restored.bin", "sub"]);
}

#[test]
fn a_rename_decides_what_is_sent_and_loses_nothing() {
    let world = World::with(|setup| {
        setup.option("local_only", "[\"*.part\", \"keep-*\"]");
        setup.option("upload_delay", "\"10m\"");
    });
    world.put("stored.txt", b"on the service");
    world.put("target.txt", b"to be replaced");
    let mount = world.mount();
    // As a browser does it: one upload, of the right name.
    let body = content(9, 50_000);
    mount.write("film.mkv.part", &body);
    assert_eq!(state(&mount, "film.mkv.part"), "local");
    fs::rename(mount.path("film.mkv.part"), mount.path("film.mkv")).expect("rename");
    mount.write("new.part", b"new content");
    fs::rename(mount.path("new.part"), mount.path("target.txt")).expect("rename over");
    // What waits becomes one that stays, and what is on the service is copied by `mv`.
    mount.write("waits.txt", b"waits");
    fs::rename(mount.path("waits.txt"), mount.path("keep-waits")).expect("rename");
    assert_eq!(state(&mount, "keep-waits"), "local");
    let kept = mount.path("keep-stored");
    assert_eq!(
        errno(fs::rename(mount.path("stored.txt"), &kept)),
        Some(libc::EXDEV)
    );
    run("mv", &[&mount.path("stored.txt"), &kept]).succeeded();
    world.drain();
    let stored = world.stored();
    assert_eq!(stored["film.mkv"].sha256, sha256_of(&body));
    assert_eq!(stored["target.txt"].sha256, sha256_of(b"new content"));
    assert_eq!(on_service(&world), ["film.mkv", "target.txt"]);
    mount.kill();
    let mount = world.mount();
    assert_eq!(mount.read("keep-waits"), b"waits");
    assert_eq!(mount.read("keep-stored"), b"on the service");
    assert_eq!(
        mount.list(""),
        ["film.mkv", "keep-stored", "keep-waits", "target.txt"]
    );
}

#[test]
fn what_the_service_holds_under_such_a_name_is_an_ordinary_file() {
    let world = World::new();
    world.put("Thumbs.db", b"from elsewhere");
    let mount = world.mount();
    assert_eq!(mount.read("Thumbs.db"), b"from elsewhere");
    mount.write("Thumbs.db", b"changed here");
    world.drain();
    assert_eq!(world.stored()["Thumbs.db"].sha256, sha256_of(b"changed here"));
    // The kernel closes a file a moment after its program did.
    super::harness::wait_for("it is closed", || state(&mount, "Thumbs.db") == "stored");
}

#[test]
fn a_name_that_is_taken_from_the_list_goes_up_with_the_next_mount() {
    let world = World::new();
    let mount = world.mount();
    mount.write("Thumbs.db", b"pictures");
    world.drain();
    assert!(world.stored().is_empty());
    mount.unmount(&world.config());
    world.write_config(&format!("local_only = []\n{}", world.config_text()));
    let mount = world.mount();
    super::harness::wait_for("it is stored", || world.stored().contains_key("Thumbs.db"));
    assert_eq!(mount.read("Thumbs.db"), b"pictures");
    world.write_config(&format!("local_only = [\"a/b\"]\n{}", world.config_text()));
    let place = world.another_place();
    let point = place.mount_point.to_str().expect("a UTF-8 path").to_owned();
    let refused = world.lockerfs_in(&place, &["mount", &point]);
    refused.failed(1, &["local_only", "is no pattern of a name"]);
}

#[test]
fn what_stays_here_asks_nothing_of_the_account() {
    let world = World::with(|setup| {
        setup.storage_limit(1000);
        setup.option("on_close", "\"wait\"");
    });
    let mount = world.mount();
    run("df", &[&mount.path("")]).succeeded();
    world.service.settle();
    let larger = content(1, 50_000);
    mount.write(".DS_Store", &larger);
    assert!(mount.read(".DS_Store") == larger);
}

/// Emacs marks a file that it changes by a link `.#NAME`, or where none can be made by a file, which gets the name by a
/// rename that must replace nothing.
#[test]
fn an_editors_lock_stays_here_as_a_link_or_as_a_file() {
    const OWNER: &str = "me@desk.4711:1700000000";
    for links in [false, true] {
        let world = World::with(|setup| setup.option("symlinks", if links { "true" } else { "false" }));
        let mount = world.mount();
        mount.write("notes.txt", b"notes");
        world.drain();
        let lock = mount.path(".#notes.txt");
        let calls = world.counted(|| {
            let made = std::os::unix::fs::symlink(OWNER, &lock);
            match links {
                true => made.expect("a link"),
                false => {
                    assert_eq!(errno(made), Some(libc::EPERM));
                    mount.write(".#-emacsA1b2C3", OWNER.as_bytes());
                    rename_to_free(&mount, ".#-emacsA1b2C3", ".#notes.txt").expect("the lock's name");
                    // Who wants the lock as well finds it taken.
                    mount.write(".#-emacsD4e5F6", b"you@lap.1:2");
                    let taken = rename_to_free(&mount, ".#-emacsD4e5F6", ".#notes.txt");
                    assert_eq!(errno(taken), Some(libc::EEXIST));
                    fs::remove_file(mount.path(".#-emacsD4e5F6")).expect("unlink");
                }
            }
            world.drain();
        });
        assert_eq!(calls.of(Call::AnyUpload) + calls.of(Call::Rename), 0, "{calls:?}");
        assert_eq!(world.status()["totals"]["local"], 1);
        mount.kill();
        let mount = world.mount();
        let owner = match links {
            true => fs::read_link(&lock)
                .expect("a link")
                .into_os_string()
                .into_string()
                .expect("text"),
            false => fs::read_to_string(&lock).expect("a file"),
        };
        assert_eq!(owner, OWNER);
        world.drain();
        assert_eq!(on_service(&world), ["notes.txt"]);
        fs::remove_file(&lock).expect("unlink");
        assert_eq!(mount.list(""), ["notes.txt"]);
        world.drain();
        assert_eq!(world.status()["totals"]["local"], 0);
        mount.unmount(&world.config());
    }
}

fn rename_to_free(mount: &Mount, from: &str, to: &str) -> std::io::Result<()> {
    let path = |name: &str| {
        let path = mount.path(name).into_os_string().into_encoded_bytes();
        std::ffi::CString::new(path).expect("a path")
    };
    let (from, to) = (path(from), path(to));
    // SAFETY: both are paths that end with a zero.
    let done = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
