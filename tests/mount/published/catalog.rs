//! Folders and files of the catalog, through the mount.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{LIST, OTHER, place, world};
use crate::publishing::harness::{MEDIA, sha256_of, wait_for};

/// The names in a folder beside the list of its links.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("list");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert!(names.contains(&LIST.to_owned()), "{names:?}");
    names.retain(|name| name != LIST);
    names.sort();
    names
}

#[test]
fn files_are_published_kept_in_folders_renamed_and_taken_out() {
    let world = world(|_| {});
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let at = |path: &str| place(&mount, account, path);
        fs::create_dir_all(at("pictures/2024")).expect("mkdir");
        fs::write(at("pictures/2024/sun.png"), "a sunset").expect("cp");
        fs::write(at("note.txt"), "a note").expect("cp");
        world.drain();
        let stored = world.service.stored(account);
        assert_eq!(
            stored.keys().collect::<Vec<_>>(),
            ["note.txt", "sun.png"],
            "{account}"
        );
        assert_eq!(stored["sun.png"].sha256, sha256_of(b"a sunset"));
        assert_eq!(names(&at("")), ["note.txt", "pictures"]);
        assert_eq!(fs::metadata(at("pictures/2024/sun.png")).expect("stat").len(), 8);
        // Names and places are the catalog's alone.
        fs::rename(at("pictures/2024/sun.png"), at("dusk.png")).expect("mv");
        fs::rename(at("pictures"), at("albums")).expect("mv");
        fs::remove_file(at("note.txt")).expect("rm");
        world.drain();
        assert_eq!(names(&at("")), ["albums", "dusk.png"]);
        assert_eq!(names(&at("albums")), ["2024"]);
        fs::remove_dir(at("albums/2024")).expect("rmdir");
        let left = world.service.stored(account);
        assert_eq!(left, stored, "the service keeps what it has");
    }
    mount.unmount(&world.config());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let at = |path: &str| place(&mount, account, path);
        assert_eq!(names(&at("")), ["albums", "dusk.png"], "{account}");
        assert!(names(&at("albums")).is_empty());
    }
    mount.unmount(&world.config());
}

#[test]
fn listing_and_stat_make_no_call() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        fs::create_dir(place(&mount, account, "folder")).expect("mkdir");
        fs::write(place(&mount, account, "folder/x.bin"), "x").expect("cp");
    }
    world.drain();
    let id = world.service.stored(OTHER)["x.bin"].id.clone();
    mount.unmount(&world.config());
    let mount = world.mount();
    let calls = world.counted(|| {
        for account in [MEDIA, OTHER] {
            assert_eq!(names(&place(&mount, account, "folder")), ["x.bin"]);
            assert_eq!(
                fs::metadata(place(&mount, account, "folder/x.bin"))
                    .expect("stat")
                    .size(),
                1
            );
        }
        assert_eq!(mount.xattr("../other/folder/x.bin", "id").expect("an id"), id);
    });
    // What is asked for once in a session is how large a file may be.
    let known = ["mirrorace/file/upload", "mirrored_to/get_account_info"];
    let work: Vec<_> = calls
        .by_name
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    assert!(work.is_empty(), "{calls:?}");
    mount.unmount(&world.config());
}

#[test]
fn what_was_copied_in_is_read_from_the_cache_and_else_refused_with_a_reason() {
    let world = world(|_| {});
    let mount = world.mount();
    let content = crate::publishing::harness::content(1, 300_000);
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "x.bin"), &content).expect("cp");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        assert!(
            fs::read(place(&mount, account, "x.bin")).expect("cat") == content,
            "{account}"
        );
    }
    mount.unmount(&world.config());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        assert!(
            fs::read(place(&mount, account, "x.bin")).expect("cat") == content,
            "{account}"
        );
    }
    mount.unmount(&world.config());
    fs::remove_dir_all(world.place().cache).expect("lose the cache");
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let error = fs::read(place(&mount, account, "x.bin")).expect_err("nothing to read");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{account}: {error}");
        // It can be replaced all the same.
        fs::write(place(&mount, account, "x.bin"), "new").expect("cp");
    }
    assert!(mount.log().contains("publishes only"), "{}", mount.log());
    world.drain();
    for account in [MEDIA, OTHER] {
        assert_eq!(fs::read(place(&mount, account, "x.bin")).expect("cat"), b"new");
    }
    mount.unmount(&world.config());
}

#[test]
fn a_file_that_the_service_removed_is_marked_and_not_hidden() {
    let world = world(|setup| setup.option("poll_interval", "\"1s\""));
    let ahead = world.folder().join("ahead");
    fs::write(&ahead, "0").expect("a clock");
    let under = format!("LOCKERFS_CLOCK_AHEAD={}", ahead.display());
    let mount =
        crate::publishing::harness::Mount::start_under(&["env", &under], &world.config(), &world.place());
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "good.bin"), "good").expect("cp");
        fs::write(place(&mount, account, "bad.bin"), "bad").expect("cp");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        let id = &world.service.stored(account)["bad.bin"].id;
        let withdrawn = json!({ "account": account, "id": id, "status": "copyright removed" });
        world.service.tell("withdraw", &withdrawn);
    }
    fs::write(&ahead, (25 * 3600).to_string()).expect("a clock");
    for (account, told) in [(MEDIA, "copyright removed"), (OTHER, "not found")] {
        let bad = format!("../{account}/bad.bin");
        wait_for("the file is marked", || {
            mount.xattr(&bad, "status").is_ok_and(|status| status == told)
        });
        assert_eq!(
            mount
                .xattr(&format!("../{account}/good.bin"), "status")
                .expect("a status"),
            "active"
        );
        assert_eq!(names(&place(&mount, account, "")), ["bad.bin", "good.bin"]);
    }
    mount.unmount(&world.config());
}

#[test]
fn what_is_larger_than_the_service_takes_is_refused_when_it_is_written() {
    let world = world(|setup| {
        setup.tune(crate::publishing::harness::Tune::LargestFile(2 << 20));
    });
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        // Once the account was asked.
        fs::metadata(place(&mount, account, "")).expect("stat");
        wait_for("the limit is known", || {
            let at = place(&mount, account, "large.bin");
            let written = fs::write(&at, vec![1; 3 << 20]);
            let refused = written.is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG));
            let _ = fs::remove_file(&at);
            refused
        });
        fs::write(place(&mount, account, "fits.bin"), vec![1; 2 << 20]).expect("cp");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        assert!(world.service.stored(account).contains_key("fits.bin"));
    }
    mount.unmount(&world.config());
}

#[test]
fn an_empty_file_is_kept_here() {
    let world = world(|_| {});
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "empty.txt"), "").expect("touch");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        assert!(world.service.stored(account).is_empty());
        assert_eq!(
            mount
                .xattr(&format!("../{account}/empty.txt"), "state")
                .expect("a state"),
            "kept"
        );
    }
    mount.unmount(&world.config());
}

#[test]
fn an_edit_begins_from_the_cached_copy_or_is_refused() {
    let world = world(|_| {});
    let mount = world.mount();
    let append = |mount: &crate::publishing::harness::Mount, account: &str| {
        let mut file = fs::File::options()
            .append(true)
            .open(place(mount, account, "x.txt"))?;
        std::io::Write::write_all(&mut file, b" and more")
    };
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "x.txt"), "some").expect("cp");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        append(&mount, account).expect("append");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        assert_eq!(
            fs::read(place(&mount, account, "x.txt")).expect("cat"),
            b"some and more"
        );
        let files = world.service.ask(&format!("files?account={account}"));
        let hashes: Vec<_> = files
            .as_array()
            .expect("a list")
            .iter()
            .map(|file| &file["sha256"])
            .collect();
        assert!(hashes.contains(&&json!(sha256_of(b"some and more"))), "{files}");
        assert_eq!(names(&place(&mount, account, "")), ["x.txt"]);
    }
    mount.unmount(&world.config());
    fs::remove_dir_all(world.place().cache).expect("lose the cache");
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let error = append(&mount, account).expect_err("nothing to begin from");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{account}: {error}");
    }
    world.drain();
    assert!(world.pending().is_empty());
    mount.unmount(&world.config());
}

#[test]
fn a_second_rsync_finds_nothing_to_do() {
    let world = world(|setup| setup.asks_for_nothing());
    let from = world.folder().join("from");
    fs::create_dir_all(from.join("inner")).expect("mkdir");
    for name in ["a.txt", "inner/b.txt", "inner/c d.txt"] {
        fs::write(from.join(name), name).expect("write");
    }
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let to = place(&mount, account, "copy");
        let rsync = || {
            let (from, to) = (format!("{}/", from.display()), format!("{}/", to.display()));
            let ran =
                crate::publishing::harness::run("rsync", &[&"-a", &"--no-owner", &"--no-group", &from, &to]);
            ran.succeeded();
        };
        rsync();
        world.drain();
        assert_eq!(world.service.stored(account).len(), 3);
        let calls = world.counted(|| {
            rsync();
            world.drain();
        });
        assert_eq!(calls.by_name.len(), 0, "{account}: {calls:?}");
    }
    mount.unmount(&world.config());
}

#[test]
fn links_are_printed_and_told_as_attributes_without_a_call() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        fs::create_dir(place(&mount, account, "pictures")).expect("mkdir");
        fs::write(place(&mount, account, "pictures/sun set.png"), "a sunset").expect("cp");
    }
    world.drain();
    mount.unmount(&world.config());
    let mount = world.mount();
    for (account, has_short) in [(MEDIA, false), (OTHER, true)] {
        let path = place(&mount, account, "pictures/sun set.png");
        let id = world.service.stored(account)["sun set.png"].id.clone();
        let inner = format!("../{account}/pictures/sun set.png");
        // The listing is what a look at the file takes, of the catalog alone.
        let calls = world.counted(|| {
            let url = mount.xattr(&inner, "url").expect("a link");
            assert!(url.contains(&id), "{url}");
            assert_eq!(mount.xattr(&inner, "short_url").is_ok(), has_short, "{account}");
            let ran = world.lockerfs(&["link", path.to_str().expect("UTF-8")]);
            ran.succeeded();
            assert_eq!(ran.stdout.trim(), url);
        });
        let known = ["mirrorace/file/upload", "mirrored_to/get_account_info"];
        let others = calls
            .by_name
            .keys()
            .filter(|name| !known.contains(&name.as_str()));
        assert_eq!(others.count(), 0, "{calls:?}");
    }
    mount.unmount(&world.config());
}
