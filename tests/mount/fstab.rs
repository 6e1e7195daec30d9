//! Lines of fstab: mount(8) and umount(8) find lockerfs by its helpers and do with it what they do with any type.
//!
//! Each script runs in a namespace of its own, where the helpers stand in place of the system's, and all that it
//! leaves running ends with it.

use std::fmt::Write;

use super::suite::harness::{Ran, World, run, sha256_of};

const HELPERS: [&str; 4] = [
    "mount.lockerfs",
    "mount.fuse.lockerfs",
    "umount.lockerfs",
    "umount.fuse.lockerfs",
];

/// Runs a shell script in which `$DIR` has a line in `$FSTAB` with these options.
fn script(world: &World, source: &str, kind: &str, options: &str, commands: &str) -> Ran {
    let place = world.place();
    place.prepare();
    let fstab = world.folder().join("fstab");
    let line = format!(
        "{source} {} {kind} _netdev,noatime,config={},state_dir={},cache_dir={},{options} 0 0\n",
        place.mount_point.display(),
        world.config().display(),
        place.state.display(),
        place.cache.display(),
    );
    std::fs::write(&fstab, line).expect("an fstab");
    let mut whole = String::from("mount -t tmpfs none /usr/sbin\n");
    for name in HELPERS {
        let _ = writeln!(whole, "ln -s {} /usr/sbin/{name}", env!("CARGO_BIN_EXE_lockerfs"));
    }
    let _ = writeln!(
        whole,
        "DIR={} FSTAB={}\n{commands}",
        place.mount_point.display(),
        fstab.display()
    );
    let namespace = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"60", &"unshare"];
    args.extend(namespace.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
    args.extend([&"sh" as &dyn AsRef<std::ffi::OsStr>, &"-ec", &whole]);
    run("timeout", &args)
}

#[test]
fn a_line_of_fstab_mounts_and_unmounts_and_umount_uploads_what_waits() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1h\""));
    let ran = script(
        &world,
        "lockerfs:",
        "lockerfs",
        "umask=077",
        "mount --fstab $FSTAB $DIR
        findmnt -no SOURCE,FSTYPE $DIR
        stat -c %a $DIR/media
        echo kept > $DIR/media/note.txt
        mount --fstab $FSTAB -a
        umount $DIR
        ! findmnt $DIR
        ls $DIR
        mount --fstab $FSTAB $DIR
        cat $DIR/media/note.txt
        umount $DIR",
    );
    let expected = "lockerfs: fuse.lockerfs\n700\nkept\n";
    assert_eq!(ran.succeeded().stdout, expected);
    assert_eq!(world.stored()["note.txt"].sha256, sha256_of(b"kept\n"));
}

#[test]
fn an_account_alone_is_mounted_read_only_by_either_name_of_the_type() {
    for kind in ["lockerfs", "fuse.lockerfs"] {
        let world = World::new();
        world.put("there.txt", b"there");
        let ran = script(
            &world,
            "lockerfs:media",
            kind,
            "ro",
            "mount --fstab $FSTAB $DIR
            cat $DIR/there.txt
            touch $DIR/new.txt 2>&1 || echo refused
            umount $DIR",
        );
        let out = &ran.succeeded().stdout;
        assert!(out.starts_with("there") && out.ends_with("refused\n"), "{out}");
        assert!(out.contains("Read-only file system"), "{out}");
    }
}

#[test]
fn after_an_unmount_that_did_not_wait_the_next_mount_waits_for_the_uploads() {
    let world = World::with(|setup| {
        setup.option("upload_delay", "\"1h\"");
        setup.service.latency = std::time::Duration::from_millis(300);
    });
    let ran = script(
        &world,
        "lockerfs:",
        "lockerfs",
        "on_close=queue",
        "mount --fstab $FSTAB $DIR
        echo kept > $DIR/media/note.txt
        umount --internal-only $DIR
        mount --fstab $FSTAB $DIR
        cat $DIR/media/note.txt
        umount $DIR",
    );
    assert_eq!(ran.succeeded().stdout, "kept\n");
    assert_eq!(world.stored()["note.txt"].sha256, sha256_of(b"kept\n"));
}

#[test]
fn a_line_that_cannot_be_mounted_is_told_in_one_sentence_and_leaves_nothing() {
    let world = World::new();
    for (source, options, words) in [
        (
            "lockerfs:",
            "on_clos=wait",
            "the mount option on_clos: unknown key; did you mean on_close?",
        ),
        ("lockerfs:", "umask=999", "is no umask"),
        ("lockerfs:nobody", "ro", "no account nobody"),
    ] {
        let ran = script(&world, source, "lockerfs", options, "mount --fstab $FSTAB $DIR");
        ran.failed(32, &[words]);
        assert_eq!(ran.stderr.trim().lines().count(), 1, "{}", ran.stderr);
        assert!(!world.place().state.join("state.db").exists(), "{options}");
    }
}
