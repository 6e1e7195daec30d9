//! What hosts alter, refuse or lack, and what a user gets then.

use std::fs;

use crate::suite::harness::{Call, World, content, run, sha256_of, wait_for};

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn names_that_the_host_spoils_at_upload_come_back_as_they_were() {
    let world = World::with(|setup| setup.service.quirks.yetishare.names_altered = true);
    let mount = world.mount();
    let wanted = [
        "#1 & [x].txt",
        "na\u{ef}ve.txt",
        "plain.txt",
        "\u{65e5}\u{672c}\u{8a9e}.txt",
    ];
    fs::create_dir(mount.path("\u{fc}berma\u{df}")).expect("mkdir");
    for name in wanted {
        mount.write(name, name.as_bytes());
        mount.write(&format!("\u{fc}berma\u{df}/{name}"), name.as_bytes());
    }
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    for name in wanted {
        assert_eq!(mount.read(name), name.as_bytes());
    }
    assert_eq!(mount.list("\u{fc}berma\u{df}"), wanted);
    assert_eq!(world.stored().len(), 2 * wanted.len());
}

#[test]
fn a_call_that_the_host_lacks_is_told_as_such_and_loses_nothing() {
    let missing = ["file/move", "folder/move"].map(str::to_owned);
    let world = World::with(|setup| setup.service.quirks.yetishare.missing = missing.to_vec());
    world.put("file.txt", b"file");
    world.put("sub/x", b"x");
    let ran = world.lockerfs(&["account", "check", "media"]);
    assert!(ran.succeeded().stdout.contains("cannot move"), "{}", ran.stdout);
    let mount = world.mount();
    let moved = fs::rename(mount.path("file.txt"), mount.path("sub/file.txt"));
    assert_eq!(errno(moved), Some(libc::EOPNOTSUPP));
    assert_eq!(mount.read("file.txt"), b"file");
    fs::rename(mount.path("file.txt"), mount.path("renamed.txt")).expect("rename is there");
    mount.write("new.txt", b"new");
    world.drain();
    let names: Vec<String> = world.stored().into_keys().collect();
    assert_eq!(names, ["new.txt", "renamed.txt", "sub/x"]);
}

#[test]
fn a_request_that_is_too_large_for_the_host_is_no_reason_to_log_in_again() {
    let world = World::with(|setup| setup.service.quirks.yetishare.post_limit = Some(1 << 20));
    let mount = world.mount();
    mount.write("fits.bin", &content(1, 900_000));
    world.drain();
    let before = world.service.calls();
    let body = content(2, 2 << 20);
    mount.write("huge.bin", &body);
    wait_for("the refusal is told", || {
        mount
            .xattr("huge.bin", "state")
            .is_ok_and(|state| state == "parked")
    });
    let error = mount.xattr("huge.bin", "error").expect("a reason");
    assert!(error.contains("larger"), "{error}");
    assert!(mount.read("huge.bin") == body, "it is not lost");
    let after = world.service.calls();
    assert_eq!(after.of(Call::Login), before.of(Call::Login));
    assert_eq!(
        after.of(Call::Upload),
        before.of(Call::Upload) + 1,
        "it is sent once"
    );
    wait_for("the limit is known, and told at the write", || {
        let again = fs::write(mount.path("as huge.bin"), &body);
        fs::remove_file(mount.path("as huge.bin")).expect("unlink");
        errno(again) == Some(libc::EFBIG)
    });
}

#[test]
fn few_downloads_at_once_are_enough_to_read_many_files() {
    let world = World::with(|setup| setup.service.quirks.yetishare.concurrent_downloads = Some(2));
    for at in 0..8u64 {
        world.put(&format!("{at}.bin"), &content(at, 700_000));
    }
    let mount = world.mount();
    std::thread::scope(|scope| {
        for at in 0..8u64 {
            let mount = &mount;
            scope.spawn(move || assert!(mount.read(&format!("{at}.bin")) == content(at, 700_000), "{at}"));
        }
    });
}

#[test]
fn a_deleted_folder_does_not_come_back_at_the_top() {
    let world = World::with(|setup| setup.service.quirks.yetishare.trash_flattens = true);
    world.put("outer/inner/deep/file.txt", b"x");
    world.put("stays/file.txt", b"y");
    let mount = world.mount();
    assert_eq!(mount.list("outer/inner/deep"), ["file.txt"]);
    run("rm", &[&"-r", &mount.path("outer/inner")]).succeeded();
    fs::remove_dir(mount.path("outer")).expect("rmdir");
    let listings = world.service.calls().of(Call::Listing);
    wait_for("it was listed anew", || {
        assert_eq!(mount.list(""), ["stays"]);
        world.service.calls().of(Call::Listing) > listings + 1
    });
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list(""), ["stays"], "mounted again");
}

#[test]
fn purging_deletes_into_the_trash_where_there_is_nothing_else() {
    let world = World::with(|setup| setup.option("delete", "\"purge\""));
    world.put("file.txt", b"x");
    world.put("folder/file.txt", b"x");
    let mount = world.mount();
    run("rm", &[&"-r", &mount.path("file.txt"), &mount.path("folder")]).succeeded();
    assert!(mount.list("").is_empty() && world.stored().is_empty());
}

#[test]
fn a_key_that_cannot_be_one_is_told_by_its_name() {
    let world = World::new();
    let key = &(crate::KIND.secrets)(&(crate::KIND.account)("media"))[1];
    let text = world.config_text();
    world.write_config(&text.replace(key.as_str(), &key[1..]));
    let ran = world.lockerfs(&["account", "check", "media"]);
    ran.failed(1, &["media", "key2", "64"]);
}

#[test]
fn room_that_is_used_up_is_told_at_the_write() {
    let world = World::with(|setup| setup.storage_limit(1 << 20));
    // Whole blocks, as `df` counts.
    world.put("big.bin", &content(1, 900 << 10));
    let mount = world.mount();
    let df = || run("df", &[&"-B1", &"--output=used", &mount.path("")]).stdout;
    wait_for("the quota is known", || df().contains("921600"));
    let written = fs::write(mount.path("more.bin"), content(2, 400_000));
    assert_eq!(errno(written), Some(libc::EDQUOT));
    assert_eq!(
        world.stored()["big.bin"].sha256,
        sha256_of(&content(1, 900 << 10))
    );
}
