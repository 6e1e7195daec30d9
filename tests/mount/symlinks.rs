//! Symbolic links where `symlinks = true` says so: small files on the service that are links here, on any machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::harness::{Call, Mount, Setup, World, run, wait_for};

const MARK: &str = "lockerfs symbolic link to:\n";

fn world() -> World {
    world_with(|_| {})
}

fn world_with(adjust: impl FnOnce(&mut Setup)) -> World {
    World::with(|setup| {
        setup.option("symlinks", "true");
        adjust(setup);
    })
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.expect_err("a refusal").raw_os_error()
}

fn link(mount: &Mount, name: &str) -> PathBuf {
    fs::read_link(mount.path(name)).unwrap_or_else(|error| panic!("readlink {name}: {error}"))
}

/// A link to each kind of thing: relative, absolute, into a folder, to nothing, to itself, with odd characters.
const LINKS: [(&str, &str); 7] = [
    ("absolute", "/etc/hostname"),
    ("dangling", "no/such/thing"),
    ("itself", "itself"),
    ("name with ü.txt", "sub/../file.txt"),
    ("odd", " a\nb <c> "),
    ("relative", "file.txt"),
    ("to-folder", "sub"),
];

fn make_links(mount: &Mount) {
    for (name, target) in LINKS {
        symlink(target, mount.path(name)).expect("symlink");
    }
}

#[track_caller]
fn assert_links(mount: &Mount, when: &str) {
    for (name, target) in LINKS {
        let stat = fs::symlink_metadata(mount.path(name)).unwrap_or_else(|e| panic!("{when}: {name}: {e}"));
        assert!(stat.is_symlink(), "{when}: {name}");
        assert_eq!(stat.len(), target.len() as u64, "{when}: {name}");
        assert_eq!(stat.mode() & 0o7777, 0o777, "{when}: {name}");
        assert_eq!(link(mount, name), Path::new(target), "{when}: {name}");
    }
    let types = fs::read_dir(mount.path("")).expect("list").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        (name, entry.file_type().expect("a type"))
    });
    let types: BTreeMap<_, _> = types.collect();
    for (name, _) in LINKS {
        assert!(types[name].is_symlink(), "{when}: {name}");
    }
    assert!(types["file.txt"].is_file() && types["sub"].is_dir(), "{when}");
    assert_eq!(types.len(), LINKS.len() + 2, "{when}: {types:?}");
    // Followed.
    assert_eq!(mount.read("relative"), b"the file", "{when}");
    assert_eq!(mount.read("name with ü.txt"), b"the file", "{when}");
    assert_eq!(mount.read("to-folder/inner"), b"inner", "{when}");
    assert_eq!(
        errno(fs::read(mount.path("dangling"))),
        Some(libc::ENOENT),
        "{when}"
    );
    assert_eq!(errno(fs::read(mount.path("itself"))), Some(libc::ELOOP), "{when}");
}

fn with_targets(world: &World) -> Mount {
    world.put("file.txt", b"the file");
    world.put("sub/inner", b"inner");
    let mount = world.mount();
    make_links(&mount);
    mount
}

#[test]
fn links_are_there_at_once_and_over_kills_uploads_and_remounts_and_on_another_machine() {
    let world = world_with(|setup| setup.option("upload_delay", "\"3s\""));
    let mount = with_targets(&world);
    assert_links(&mount, "made");
    mount.kill();
    let mount = world.mount();
    assert_links(&mount, "killed before the upload");
    world.drain();
    assert_links(&mount, "uploaded");
    let stored = world.stored();
    assert_eq!(stored.len(), LINKS.len() + 2, "{stored:?}");
    for (name, target) in LINKS {
        let file = &stored[&format!("{name}.lockerfs-link")];
        assert_eq!(file.size, (MARK.len() + target.len()) as u64, "{name}");
    }
    mount.kill();
    let mount = world.mount();
    assert_links(&mount, "killed after the upload");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_links(&mount, "mounted again");
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    assert_links(&mount, "on another machine");
    mount.unmount(&world.config());

    // Without the option they are files that say what they are, and links cannot be made.
    let plain = world.config_text().replace("symlinks = true", "symlinks = false");
    world.write_config(&plain);
    let mount = world.mount();
    let name = "relative.lockerfs-link";
    assert!(fs::symlink_metadata(mount.path(name)).expect("stat").is_file());
    assert_eq!(mount.read(name), format!("{MARK}file.txt").as_bytes());
    assert!(!mount.list("").contains(&"relative".to_owned()));
    assert_eq!(errno(symlink("a", mount.path("b"))), Some(libc::EPERM));
    mount.unmount(&world.config());
}

#[test]
fn listing_and_stat_of_links_look_into_none_and_following_looks_once() {
    let world = world_with(|setup| setup.asks_for_nothing());
    let mount = with_targets(&world);
    world.drain();
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    let looked = world.counted(|| {
        let listed = run("find", &[&mount.path(""), &"-type", &"l", &"-size", &"-1000c"]);
        assert_eq!(listed.succeeded().stdout.lines().count(), LINKS.len());
    });
    assert_eq!(looked.of(Call::Download), 0, "{looked:?}");
    let followed = world.counted(|| assert_eq!(link(&mount, "relative"), Path::new("file.txt")));
    assert_eq!(followed.of(Call::Download), 1, "{followed:?}");
    let again = world.counted(|| assert_eq!(link(&mount, "relative"), Path::new("file.txt")));
    assert_eq!(again.total(), 0, "{again:?}");
    mount.unmount(&world.config());
}

#[test]
fn links_are_renamed_moved_replaced_and_removed_like_files() {
    let world = world();
    world.put("sub/inner", b"inner");
    let mount = world.mount();
    for name in ["a", "b", "c", "d", "e"] {
        symlink(format!("to {name}"), mount.path(name)).expect("symlink");
    }
    mount.write("file", b"file");
    mount.write("other", b"other");
    world.drain();
    symlink("to f", mount.path("f")).expect("symlink");
    fs::rename(mount.path("a"), mount.path("a2")).expect("rename");
    fs::rename(mount.path("b"), mount.path("sub/b2")).expect("move");
    fs::rename(mount.path("c"), mount.path("file")).expect("a link over a file");
    fs::rename(mount.path("other"), mount.path("d")).expect("a file over a link");
    fs::rename(mount.path("f"), mount.path("e")).expect("a link over a link");
    symlink("gone", mount.path("gone")).expect("symlink");
    fs::remove_file(mount.path("gone")).expect("unlink");
    let check = |mount: &Mount, when: &str| {
        assert_eq!(mount.list(""), ["a2", "d", "e", "file", "sub"], "{when}");
        assert_eq!(mount.list("sub"), ["b2", "inner"], "{when}");
        for (name, target) in [
            ("a2", "to a"),
            ("sub/b2", "to b"),
            ("file", "to c"),
            ("e", "to f"),
        ] {
            assert_eq!(link(mount, name), Path::new(target), "{when}: {name}");
        }
        assert!(fs::symlink_metadata(mount.path("d")).expect("stat").is_file());
        assert_eq!(mount.read("d"), b"other", "{when}");
    };
    check(&mount, "at once");
    world.drain();
    check(&mount, "on the service");
    let names: Vec<_> = world.stored().into_keys().collect();
    let wanted = [
        "a2.lockerfs-link",
        "d",
        "e.lockerfs-link",
        "file.lockerfs-link",
        "sub/b2.lockerfs-link",
        "sub/inner",
    ];
    assert_eq!(names, wanted);
    mount.kill();
    let mount = world.mount();
    check(&mount, "mounted again");
    run("rm", &[&"-r", &mount.path("sub"), &mount.path("e")]).succeeded();
    world.drain();
    assert_eq!(mount.list(""), ["a2", "d", "file"]);
    mount.unmount(&world.config());
}

/// What a folder holds: contents, and what links lead to.
fn tree_of(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("list") {
            let path = entry.expect("an entry").path();
            let stat = fs::symlink_metadata(&path).expect("stat");
            let what = if stat.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("readlink").display())
            } else if stat.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else {
                fs::read_to_string(&path).expect("read")
            };
            tree.insert(path.strip_prefix(root).expect("below").to_owned(), what);
        }
    }
    tree
}

#[test]
fn trees_with_links_are_copied_synced_and_unpacked_as_they_are() {
    let world = world();
    let source = world.folder().join("source");
    fs::create_dir_all(source.join("deep/er")).expect("folders");
    fs::write(source.join("deep/file"), "content").expect("write");
    for (name, target) in [
        ("up", "deep/file"),
        ("deep/er/back", "../../up"),
        ("deep/dangling", "nowhere"),
        ("absolute", "/usr"),
    ] {
        symlink(target, source.join(name)).expect("symlink");
    }
    let wanted = tree_of(&source);
    let mount = world.mount();
    run("cp", &[&"-a", &source, &mount.path("copied")]).succeeded();
    let synced = format!("{}/", source.display());
    let rsync = |mount: &Mount| {
        let ran = run(
            "rsync",
            &[&"-a", &"--itemize-changes", &synced, &mount.path("synced")],
        );
        ran.succeeded().stdout.clone()
    };
    assert!(rsync(&mount).lines().count() > 5);
    let archive = world.folder().join("source.tar");
    run("tar", &[&"-cf", &archive, &"-C", &source, &"."]).succeeded();
    fs::create_dir(mount.path("unpacked")).expect("mkdir");
    run("tar", &[&"-xf", &archive, &"-C", &mount.path("unpacked")]).succeeded();
    let check = |mount: &Mount, when: &str| {
        for copy in ["copied", "synced", "unpacked"] {
            assert_eq!(tree_of(&mount.path(copy)), wanted, "{copy}, {when}");
        }
        assert_eq!(rsync(mount), "", "{when}");
    };
    check(&mount, "at once");
    world.drain();
    check(&mount, "uploaded");
    mount.unmount(&world.config());
    let mount = world.mount();
    check(&mount, "mounted again");
    fs::rename(mount.path("copied"), mount.path("renamed")).expect("rename a folder");
    assert_eq!(tree_of(&mount.path("renamed")), wanted);
    run(
        "cp",
        &[&"-a", &mount.path("renamed"), &world.folder().join("back")],
    )
    .succeeded();
    assert_eq!(tree_of(&world.folder().join("back")), wanted, "out of the mount");
    mount.unmount(&world.config());
}

#[test]
fn a_file_that_is_only_called_like_a_link_is_shown_as_the_file_that_it_is() {
    let world = world();
    let nul = format!("{MARK}a\0b");
    let too_long = format!("{MARK}{}", "x".repeat(4096));
    let other = "something else of about that size";
    let files = [
        ("nul", nul.as_str()),
        ("too long", too_long.as_str()),
        ("other", other),
        ("empty target", MARK),
    ];
    for (name, content) in files {
        world.put(&format!("{name}.lockerfs-link"), content.as_bytes());
    }
    let check = |mount: &Mount, when: &str| {
        // By its whole name it is the file from the first look on.
        for (name, content) in files {
            let path = format!("{name}.lockerfs-link");
            let stat =
                fs::symlink_metadata(mount.path(&path)).unwrap_or_else(|e| panic!("{when} {path}: {e}"));
            assert!(stat.is_file(), "{when}: {path}");
            assert_eq!(mount.read(&path), content.as_bytes(), "{when}: {path}");
            assert_eq!(
                errno(fs::symlink_metadata(mount.path(name))),
                Some(libc::ENOENT),
                "{when}"
            );
        }
        assert_eq!(mount.list("").len(), files.len(), "{when}");
    };
    let mount = world.mount();
    check(&mount, "first");
    mount.unmount(&world.config());
    let mount = world.mount();
    // Followed as a link it is no link, and a file from then on.
    assert_eq!(errno(fs::read_link(mount.path("other"))), Some(libc::EINVAL));
    check(&mount, "mounted again");
    // Listed again, it stays so; changed here, too.
    world.put("new", b"new");
    wait_for("the folder is listed again", || {
        mount.list("").contains(&"new".to_owned())
    });
    fs::remove_file(mount.path("new")).expect("unlink");
    check(&mount, "listed again");
    mount.write("other.lockerfs-link", other.as_bytes());
    mount.write("mine.lockerfs-link", other.as_bytes());
    world.drain();
    let mine = ["mine.lockerfs-link", "other.lockerfs-link"];
    for name in mine {
        assert_eq!(mount.read(name), other.as_bytes());
    }
    mount.kill();
    let mount = world.mount();
    for name in mine {
        assert_eq!(mount.read(name), other.as_bytes(), "mounted again");
    }
    mount.unmount(&world.config());
}

#[test]
fn a_link_and_a_file_never_come_to_one_name_on_the_service() {
    let world = world();
    let mount = world.mount();
    symlink("target", mount.path("link")).expect("symlink");
    mount.write("file.lockerfs-link", b"a file");
    mount.write("plain", b"plain");
    let refused = [
        fs::write(mount.path("link.lockerfs-link"), b"x"),
        symlink("target", mount.path("file")),
        fs::rename(mount.path("plain"), mount.path("link.lockerfs-link")),
        fs::rename(mount.path("link"), mount.path("file")),
        symlink("target", mount.path("link")),
        symlink("target", mount.path("plain")),
    ];
    for result in refused {
        assert_eq!(errno(result), Some(libc::EEXIST));
    }
    // No service holds the name of its file.
    assert_eq!(
        errno(symlink("target", mount.path(&"n".repeat(255)))),
        Some(libc::ENAMETOOLONG)
    );
    assert_eq!(
        errno(symlink("x".repeat(4096), mount.path("far"))),
        Some(libc::ENAMETOOLONG)
    );
    // A target is bytes.
    let target = PathBuf::from(OsString::from_vec(vec![b'/', 0xff, 0xfe]));
    symlink(&target, mount.path("bytes")).expect("symlink");
    // Under its own long name a link is a link still.
    fs::rename(mount.path("link"), mount.path("link.lockerfs-link")).expect("rename");
    world.drain();
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(link(&mount, "bytes"), target);
    assert_eq!(link(&mount, "link.lockerfs-link"), Path::new("target"));
    assert_eq!(mount.read("file.lockerfs-link"), b"a file");
    mount.unmount(&world.config());
}

#[test]
fn links_made_and_changed_elsewhere_are_followed_and_hide_no_file_of_the_name() {
    let world = world();
    world.put("both.lockerfs-link", format!("{MARK}one").as_bytes());
    world.put("both", b"a file of the name");
    let mount = world.mount();
    let names = mount.list("");
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"both".to_owned()), "{names:?}");
    let linked: Vec<_> = names
        .iter()
        .filter_map(|name| fs::read_link(mount.path(name)).ok())
        .collect();
    assert_eq!(linked, [Path::new("one")]);
    world.put("changing.lockerfs-link", format!("{MARK}before").as_bytes());
    wait_for("the new link is shown", || {
        fs::read_link(mount.path("changing")).is_ok_and(|target| target == Path::new("before"))
    });
    world.change("changing.lockerfs-link", format!("{MARK}afterwards").as_bytes());
    wait_for("the changed link is followed", || {
        fs::read_link(mount.path("changing")).is_ok_and(|target| target == Path::new("afterwards"))
    });
    mount.unmount(&world.config());
}

#[test]
fn a_link_whose_upload_has_to_wait_is_one_and_is_sent_when_the_service_is_back() {
    let world = world();
    let mount = world.mount();
    mount.write("file", b"file");
    assert_eq!(mount.list(""), ["file"]);
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list(""), ["file"]);
    world.service.stop();
    symlink("file", mount.path("link")).expect("symlink");
    assert_eq!(mount.list(""), ["file", "link"]);
    assert_eq!(link(&mount, "link"), Path::new("file"));
    mount.kill();
    let mount = world.mount();
    assert_eq!(link(&mount, "link"), Path::new("file"));
    world.service.come_back();
    world.lockerfs(&["retry"]).succeeded();
    world.drain();
    assert!(world.stored().contains_key("link.lockerfs-link"));
    mount.unmount(&world.config());
}

#[test]
fn of_twin_links_both_are_shown_and_each_leads_to_its_own_target() {
    let world = world();
    // To the service these are two names, here they are two forms of one.
    let stored = ["caf\u{e9}.lockerfs-link", "cafe\u{301}.lockerfs-link"];
    for name in stored {
        world.put(name, format!("{MARK}to {}", name.len()).as_bytes());
    }
    let mount = world.mount();
    let names = mount.list("");
    assert_eq!(names.len(), 2, "{names:?}");
    let mut targets: Vec<_> = names.iter().map(|name| link(&mount, name)).collect();
    targets.sort();
    assert_eq!(
        targets,
        stored.map(|name| PathBuf::from(format!("to {}", name.len())))
    );
    let twin = names.iter().find(|name| name.contains(" (")).expect("a twin");
    let target = link(&mount, twin);
    fs::remove_file(mount.path(twin)).expect("unlink");
    world.drain();
    let left: Vec<_> = world.stored().into_keys().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_ne!(target, PathBuf::from(format!("to {}", left[0].len())));
    mount.unmount(&world.config());
}

#[test]
fn a_link_for_which_the_account_has_no_room_is_not_made() {
    let world = world_with(|setup| setup.storage_limit(1 << 20));
    // Whole blocks, as `df` counts: all but three bytes.
    world.put("big", &vec![7; (1 << 20) - 3]);
    let mount = world.mount();
    let df = || run("df", &[&"-B1", &"--output=avail", &mount.path("")]).stdout;
    wait_for("the quota is known", || {
        df().split_whitespace().last() == Some("0")
    });
    let made = || symlink("target", mount.path("link"));
    assert_eq!(errno(made()), Some(libc::EDQUOT));
    assert_eq!(mount.list(""), ["big"]);
    assert_eq!(errno(fs::read_link(mount.path("link"))), Some(libc::ENOENT));
    fs::remove_file(mount.path("big")).expect("unlink");
    world.drain();
    made().expect("there is room");
    assert_eq!(link(&mount, "link"), Path::new("target"));
    mount.unmount(&world.config());
}
