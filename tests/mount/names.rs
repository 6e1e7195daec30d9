//! Names: renaming in every state a file can be in, and names that make trouble.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::json;

use super::harness::{Call, Mount, World, content, run, sha256_of, wait_for};
use crate::KIND;

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn names(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

/// The next upload of a small file takes its time.
fn slow_upload(world: &World) {
    world.service.faults(&[(
        Call::Upload,
        json!({"fault": "delay", "milliseconds": 1500, "times": 1}),
    )]);
}

#[test]
fn files_are_renamed_in_a_folder_and_across_folders() {
    let world = World::new();
    world.put("a/one.txt", b"one");
    world.put("b/two.txt", b"two");
    let mount = world.mount();
    let id = world.stored()["a/one.txt"].id.clone();
    fs::rename(mount.path("a/one.txt"), mount.path("a/uno.txt")).expect("rename");
    assert_eq!(names(&world), ["a/uno.txt", "b/two.txt"]);
    fs::rename(mount.path("a/uno.txt"), mount.path("b/uno.txt")).expect("move");
    assert_eq!(names(&world), ["b/two.txt", "b/uno.txt"]);
    fs::rename(mount.path("b/uno.txt"), mount.path("a/eins.txt")).expect("move and rename");
    assert_eq!(names(&world), ["a/eins.txt", "b/two.txt"]);
    assert_eq!(world.stored()["a/eins.txt"].id, id);
    assert_eq!(mount.read("a/eins.txt"), b"one");
    assert_eq!(
        (mount.list("a"), mount.list("b")),
        (vec!["eins.txt".to_owned()], vec!["two.txt".to_owned()])
    );
    assert_eq!(errno(fs::metadata(mount.path("a/one.txt"))), Some(libc::ENOENT));
}

#[test]
fn a_file_renamed_over_another_takes_its_place() {
    let world = World::new();
    world.put("new.txt", b"new");
    world.put("old.txt", b"old");
    world.put("sub/other.txt", b"other");
    let mount = world.mount();
    fs::rename(mount.path("new.txt"), mount.path("old.txt")).expect("rename over");
    assert_eq!(mount.read("old.txt"), b"new");
    assert_eq!(names(&world), ["old.txt", "sub/other.txt"]);
    fs::rename(mount.path("old.txt"), mount.path("sub/other.txt")).expect("move over");
    assert_eq!(mount.read("sub/other.txt"), b"new");
    assert_eq!(names(&world), ["sub/other.txt"]);
    assert_eq!(world.stored()["sub/other.txt"].sha256, sha256_of(b"new"));
    wait_for("a listing later it is the same", || {
        assert_eq!(mount.list("sub"), ["other.txt"]);
        let calls = world.service.calls();
        calls.of(Call::Changes).max(calls.of(Call::Listing)) > 3
    });
}

#[test]
fn a_file_renamed_over_one_of_another_kind_or_of_the_same_content_takes_its_place() {
    let world = World::new();
    world.put("letter.txt~", b"new");
    world.put("letter.txt", b"old");
    world.put("same-1.txt", b"same");
    world.put("same-2.txt", b"same");
    world.put("folder/x", b"x");
    let mount = world.mount();
    fs::rename(mount.path("letter.txt~"), mount.path("letter.txt")).expect("rename over");
    fs::rename(mount.path("same-1.txt"), mount.path("same-2.txt")).expect("rename over the same");
    fs::create_dir(mount.path("empty")).expect("mkdir");
    fs::rename(mount.path("folder"), mount.path("empty")).expect("rename over an empty folder");
    assert_eq!(names(&world), ["empty/x", "letter.txt", "same-2.txt"]);
    assert_eq!(mount.read("letter.txt"), b"new");
    assert_eq!(
        (mount.read("same-2.txt"), mount.read("empty/x")),
        (b"same".to_vec(), b"x".to_vec())
    );
    assert_eq!(
        errno(fs::rename(mount.path("letter.txt"), mount.path("empty"))),
        Some(libc::EISDIR)
    );
    assert_eq!(
        errno(fs::rename(mount.path("empty"), mount.path("letter.txt"))),
        Some(libc::ENOTDIR)
    );
}

#[test]
fn content_replaced_with_cp_or_rsync_keeps_the_id_where_it_can() {
    let world = World::new();
    world.put("shared.pdf", &content(1, 10_000));
    let mount = world.mount();
    for (seed, tool) in [(2, "cp"), (3, "rsync")] {
        let before = world.stored()["shared.pdf"].clone();
        let source = world.folder().join("shared.pdf");
        fs::write(&source, content(seed, 12_000 + seed as usize)).expect("write");
        run(tool, &[&source, &mount.path("shared.pdf")]).succeeded();
        world.drain();
        let stored = world.stored();
        assert_eq!(stored.len(), 1, "{tool}: {stored:?}");
        assert_eq!(
            stored["shared.pdf"].sha256,
            sha256_of(&content(seed, 12_000 + seed as usize)),
            "{tool}"
        );
        stored["shared.pdf"].replaces(&before);
    }
}

#[test]
fn a_folder_is_renamed_and_moved_with_all_that_is_in_it() {
    let world = World::with(|setup| setup.option("upload_delay", "\"400ms\""));
    world.put("old/deep/stored.txt", b"stored");
    world.put("target/x", b"x");
    let mount = world.mount();
    mount.write("old/deep/pending.txt", b"pending");
    fs::rename(mount.path("old"), mount.path("new")).expect("rename a folder");
    assert_eq!(mount.read("new/deep/stored.txt"), b"stored");
    assert_eq!(mount.read("new/deep/pending.txt"), b"pending");
    fs::rename(mount.path("new"), mount.path("target/moved")).expect("move a folder");
    fs::rename(mount.path("target/moved"), mount.path("target/there")).expect("rename there");
    fs::rename(mount.path("target/there"), mount.path("target/moved")).expect("and back");
    assert_eq!(mount.list("target/moved/deep"), ["pending.txt", "stored.txt"]);
    world.drain();
    assert_eq!(
        names(&world),
        [
            "target/moved/deep/pending.txt",
            "target/moved/deep/stored.txt",
            "target/x"
        ]
    );
    assert_eq!(
        errno(fs::rename(mount.path("target"), mount.path("target/moved/t"))),
        Some(libc::EINVAL)
    );
}

#[test]
fn a_file_renamed_while_it_is_uploaded_ends_under_its_new_name() {
    let world = World::new();
    world.put("folder/x", b"x");
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["x"]);
    for (name, target) in [("first.txt", "renamed.txt"), ("second.txt", "folder/moved.txt")] {
        slow_upload(&world);
        world.service.reset_calls();
        mount.write(name, name.as_bytes());
        wait_for("the upload is under way", || {
            world.service.calls().of(Call::Upload) == 1
        });
        fs::rename(mount.path(name), mount.path(target)).expect("rename");
        assert_eq!(mount.read(target), name.as_bytes());
        assert_eq!(errno(fs::metadata(mount.path(name))), Some(libc::ENOENT));
        world.drain();
        assert_eq!(world.stored()[target].sha256, sha256_of(name.as_bytes()));
        assert!(!world.stored().contains_key(name), "{:?}", names(&world));
    }
    assert_eq!(names(&world), ["folder/moved.txt", "folder/x", "renamed.txt"]);
    assert_eq!(
        (mount.list(""), mount.list("folder")),
        (
            vec!["folder".to_owned(), "renamed.txt".to_owned()],
            vec!["moved.txt".to_owned(), "x".to_owned()],
        )
    );
}

#[test]
fn a_file_deleted_while_it_is_uploaded_is_gone_in_the_end() {
    let world = World::new();
    let mount = world.mount();
    slow_upload(&world);
    mount.write("regret.txt", b"no");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    fs::remove_file(mount.path("regret.txt")).expect("unlink");
    assert!(mount.list("").is_empty());
    wait_for("the upload is over and undone", || {
        world.drain();
        world.service.settle();
        names(&world).is_empty()
    });
    assert!(mount.list("").is_empty());
}

#[test]
fn a_pending_file_renamed_over_a_pending_one_takes_its_place() {
    let world = World::with(|setup| setup.option("upload_delay", "\"600ms\""));
    let mount = world.mount();
    mount.write("target.txt", b"old");
    mount.write("source.txt", b"new");
    fs::rename(mount.path("source.txt"), mount.path("target.txt")).expect("rename over");
    assert_eq!(mount.list(""), ["target.txt"]);
    assert_eq!(mount.read("target.txt"), b"new");
    world.drain();
    assert_eq!(
        world.stored_sha256(),
        [("target.txt".to_owned(), sha256_of(b"new"))].into()
    );
    assert_eq!(world.service.calls().of(Call::Upload), 1);
}

#[test]
fn a_file_renamed_over_one_that_is_being_uploaded_takes_its_place() {
    let world = World::new();
    let mount = world.mount();
    slow_upload(&world);
    mount.write("target.txt", b"old");
    wait_for("the upload is under way", || {
        world.service.calls().of(Call::Upload) == 1
    });
    mount.write("source.txt", b"new");
    fs::rename(mount.path("source.txt"), mount.path("target.txt")).expect("rename over");
    assert_eq!(mount.read("target.txt"), b"new");
    wait_for("one file is left, the new", || {
        world.drain();
        world.service.settle();
        world.stored_sha256() == [("target.txt".to_owned(), sha256_of(b"new"))].into()
    });
    assert_eq!(mount.list(""), ["target.txt"]);
    assert_eq!(mount.read("target.txt"), b"new");
}

#[test]
fn a_file_that_is_still_written_can_be_renamed() {
    let world = World::new();
    world.put("sub/x", b"x");
    let mount = world.mount();
    let mut file = fs::File::create(mount.path("draft")).expect("create");
    file.write_all(b"half").expect("write");
    fs::rename(mount.path("draft"), mount.path("sub/final")).expect("rename");
    file.write_all(b" and half").expect("write on");
    drop(file);
    world.drain();
    assert_eq!(names(&world), ["sub/final", "sub/x"]);
    assert_eq!(world.stored()["sub/final"].sha256, sha256_of(b"half and half"));
}

#[test]
fn a_folder_with_something_in_it_is_not_removed() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1s\""));
    world.put("stored/file", b"x");
    let mount = world.mount();
    assert_eq!(errno(fs::remove_dir(mount.path("stored"))), Some(libc::ENOTEMPTY));
    fs::create_dir(mount.path("pending")).expect("mkdir");
    mount.write("pending/file", b"y");
    assert_eq!(
        errno(fs::remove_dir(mount.path("pending"))),
        Some(libc::ENOTEMPTY)
    );
    fs::create_dir(mount.path("empty")).expect("mkdir");
    assert_eq!(errno(fs::create_dir(mount.path("empty"))), Some(libc::EEXIST));
    fs::remove_dir(mount.path("empty")).expect("rmdir");
    assert_eq!(errno(fs::metadata(mount.path("empty"))), Some(libc::ENOENT));
    // Added elsewhere a moment ago, and not known here yet.
    fs::create_dir(mount.path("later")).expect("mkdir");
    assert!(mount.list("later").is_empty());
    world.service.touch("media", "later/surprise", "!");
    assert_eq!(errno(fs::remove_dir(mount.path("later"))), Some(libc::ENOTEMPTY));
    run(
        "rm",
        &[
            &"-r",
            &mount.path("stored"),
            &mount.path("pending"),
            &mount.path("later"),
        ],
    )
    .succeeded();
    assert!(mount.list("").is_empty());
    world.drain();
    assert_eq!(names(&world), Vec::<String>::new());
    assert!(!world.service.files_dir("media").join("stored").exists());
}

#[test]
fn between_accounts_rename_is_refused_and_mv_copies() {
    let world = World::with(|setup| setup.second_account());
    world.put("file.bin", &content(4, 100_000));
    let mount = world.mount();
    let other = mount.mount_point().join("other");
    assert_eq!(
        errno(fs::rename(mount.path("file.bin"), other.join("file.bin"))),
        Some(libc::EXDEV)
    );
    assert_eq!(names(&world), ["file.bin"]);
    run("mv", &[&mount.path("file.bin"), &other.join("moved.bin")]).succeeded();
    world.drain();
    assert_eq!(names(&world), Vec::<String>::new());
    let there = world.service.stored("other");
    assert_eq!(there["moved.bin"].sha256, sha256_of(&content(4, 100_000)));
    assert_eq!(
        sha256_of(&fs::read(other.join("moved.bin")).expect("read")),
        there["moved.bin"].sha256
    );
}

#[test]
fn nothing_can_be_made_beside_the_accounts() {
    let world = World::new();
    let mount = world.mount();
    let top = mount.mount_point();
    assert_eq!(errno(fs::write(top.join("file"), b"")), Some(libc::EPERM));
    assert_eq!(errno(fs::create_dir(top.join("folder"))), Some(libc::EPERM));
    assert_eq!(errno(fs::remove_dir(top.join("media"))), Some(libc::EPERM));
    assert_eq!(
        errno(fs::rename(top.join("media"), top.join("other"))),
        Some(libc::EPERM)
    );
}

#[test]
fn of_twins_both_are_shown_and_each_can_be_read() {
    let world = World::new();
    // To the service these are two names, here they are two forms of one.
    world.put("r\u{e9}sum\u{e9}.txt", b"composed");
    world.put("re\u{301}sume\u{301}.txt", b"decomposed");
    let mount = world.mount();
    let shown = mount.list("");
    assert_eq!(shown.len(), 2, "{shown:?}");
    let mut read: Vec<Vec<u8>> = shown.iter().map(|name| mount.read(name)).collect();
    read.sort();
    assert_eq!(read, [b"composed".to_vec(), b"decomposed".to_vec()]);
    let marked: Vec<&String> = shown.iter().filter(|name| name.contains(" (")).collect();
    assert_eq!(marked.len(), 1, "one bears the name: {shown:?}");
    assert!(
        Path::new(marked[0])
            .extension()
            .is_some_and(|extension| extension == "txt"),
        "{marked:?}"
    );
    // Either form of the name finds the one that bears it.
    assert_eq!(
        mount.read("r\u{e9}sum\u{e9}.txt"),
        mount.read("re\u{301}sume\u{301}.txt")
    );

    fs::remove_file(mount.path(marked[0])).expect("unlink the twin");
    world.drain();
    assert_eq!(world.stored().len(), 1);
    assert_eq!(mount.list("").len(), 1);
}

#[test]
fn a_name_that_the_service_refuses_is_told_and_loses_nothing() {
    let Some(refuse_stars) = KIND.refuse_stars else {
        return stars_are_names_like_others();
    };
    let world = World::with(|setup| refuse_stars(&mut setup.service));
    let mount = world.mount();
    assert_eq!(errno(fs::create_dir(mount.path("no*folder"))), Some(libc::EINVAL));
    mount.write("no*file.txt", b"precious");
    wait_for("the refusal is told", || {
        mount
            .xattr("no*file.txt", "state")
            .is_ok_and(|state| state == "parked")
    });
    let error = mount.xattr("no*file.txt", "error").expect("a reason");
    assert!(error.to_lowercase().contains("name"), "{error}");
    let status = world.lockerfs(&["status"]);
    status.failed(1, &[]);
    let told = status
        .stdout
        .lines()
        .skip_while(|line| *line != "1 file needs you:");
    let row = told.take(2).last().unwrap_or_default();
    assert!(row.contains("media:no*file.txt"), "{}", status.stdout);
    assert_eq!(mount.read("no*file.txt"), b"precious");
    let drained = world.lockerfs(&["drain"]);
    drained.failed(1, &["status"]);

    fs::rename(mount.path("no*file.txt"), mount.path("good file.txt")).expect("rename to a good name");
    wait_for("the file is stored under its good name", || {
        names(&world) == ["good file.txt"]
    });
    assert_eq!(world.stored()["good file.txt"].sha256, sha256_of(b"precious"));
}

fn stars_are_names_like_others() {
    let world = World::new();
    let mount = world.mount();
    fs::create_dir(mount.path("a*folder")).expect("mkdir");
    mount.write("a*folder/a*file.txt", b"precious");
    world.drain();
    assert_eq!(names(&world), ["a*folder/a*file.txt"]);
}

#[test]
fn names_that_are_too_long_or_not_unicode_are_refused_at_once() {
    let world = World::new();
    let mount = world.mount();
    let long = "n".repeat(256);
    assert_eq!(
        errno(fs::write(mount.path(&long), b"x")),
        Some(libc::ENAMETOOLONG)
    );
    assert_eq!(errno(fs::create_dir(mount.path(&long))), Some(libc::ENAMETOOLONG));
    let binary = mount.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    assert_eq!(errno(fs::write(&binary, b"")), Some(libc::EILSEQ));
    assert_eq!(errno(fs::create_dir(&binary)), Some(libc::EILSEQ));
    mount.write(&"n".repeat(255), b"just fits");
    world.drain();
    assert_eq!(names(&world), ["n".repeat(255)]);
}

#[test]
fn names_keep_blanks_dots_case_and_what_the_service_would_alter() {
    let world = World::new();
    let mount = world.mount();
    let mut wanted = [
        " lead",
        "\"double\"",
        "'single'",
        "..two dots",
        ".dot",
        "<b>bold.txt",
        "CASE",
        "Case",
        "back\\slash",
        "case",
        "line\nbreak",
        "mid  dle",
        "one < two",
        "tab\tbed",
        "trail ",
        "trail.",
        "＊look／alike‛",
    ];
    wanted.sort_unstable();
    for name in wanted {
        mount.write(name, name.as_bytes());
        fs::create_dir(mount.path(&format!("{name} folder"))).expect("mkdir");
        mount.write(&format!("{name} folder/{name}"), name.as_bytes());
    }
    let all = |mount: &Mount| {
        for name in wanted {
            assert_eq!(mount.read(name), name.as_bytes());
            assert_eq!(mount.list(&format!("{name} folder")), [name]);
        }
        assert_eq!(mount.list("").len(), 2 * wanted.len());
    };
    all(&mount);
    mount.unmount(&world.config());
    let stored = world.stored();
    assert_eq!(stored.len(), 2 * wanted.len());
    for name in wanted {
        let as_it_is = stored.contains_key(name);
        assert!(!as_it_is || !(KIND.alters)(name), "{name:?}: {:?}", names(&world));
    }
    for plain in ["CASE", "Case", "case", "mid  dle"] {
        assert!(stored.contains_key(plain), "{plain:?}: {:?}", names(&world));
    }
    world.forget();
    all(&world.mount());
}

#[test]
fn a_slash_in_a_name_of_the_service_is_shown_by_a_look_alike() {
    let world = World::with(|setup| setup.service.quirks.refused_characters = "\0".to_owned());
    let mount = world.mount();
    mount.write("AC／DC.mp3", b"loud");
    world.drain();
    // Typed here, the look-alike is the character itself; it must not become a slash on its way.
    assert_eq!(mount.list(""), ["AC／DC.mp3"]);
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    assert_eq!(mount.list(""), ["AC／DC.mp3"]);
    assert_eq!(mount.read("AC／DC.mp3"), b"loud");
}

#[test]
fn what_cannot_exist_on_a_service_is_refused_with_eperm() {
    let world = World::new();
    world.put("file", b"x");
    let mount = world.mount();
    assert_eq!(
        errno(std::os::unix::fs::symlink("file", mount.path("soft"))),
        Some(libc::EPERM)
    );
    assert_eq!(
        errno(fs::hard_link(mount.path("file"), mount.path("hard"))),
        Some(libc::EPERM)
    );
    let pipe = std::ffi::CString::new(mount.path("pipe").as_os_str().as_bytes()).expect("a path");
    // SAFETY: `pipe` is a valid C string.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
    run("chmod", &[&"600", &mount.path("file")]).succeeded();
    assert_eq!(mount.list(""), ["file"]);
}
