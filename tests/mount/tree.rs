//! Whole trees, there and back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use lockerfs::provider::Capability;

use super::harness::{Call, MEDIA, Place, Scratch, World, assert_same, content, run, sha256_of, snapshot};
use crate::KIND;

/// Some 300 files in nested folders, with the names that make trouble.
fn grow(scratch: &Scratch) {
    let mut seconds = 1_000_000_000;
    let mut grown = 0;
    let mut add = |path: &str, size: usize| {
        seconds += 86_413;
        grown += 1;
        scratch.dated_file(path, &content(grown, size), seconds);
    };
    for folder in 0..12 {
        for file in 0..22 {
            let size = 1 + (folder * 22 + file) * 97 % 9_000;
            add(&format!("plain/{}/{folder}/file {file:02}.bin", folder % 3), size);
        }
    }
    // One word in both Unicode forms, in different folders.
    add("forms/composed/r\u{e9}sum\u{e9}.txt", 100);
    add("forms/decomposed/re\u{301}sume\u{301}.txt", 101);
    add(
        "\u{fc}berma\u{df}/\u{65e5}\u{672c}\u{8a9e}/\u{1f9ca} ice.txt",
        102,
    );
    add("Case.txt", 10);
    add("case.txt", 11);
    for (at, name) in [
        "'single'",
        "\"double\"",
        "back`tick",
        "a&b;c|d",
        "100% #1 [x] {y} $z",
        "tab\tend",
        "~tilde",
    ]
    .iter()
    .enumerate()
    {
        add(&format!("quotes/{name}.txt"), 200 + at);
    }
    add(".hidden/.dotfile", 12);
    add("edges/ leading", 13);
    add("edges/trailing ", 14);
    add("edges/dot.", 15);
    add("no extension", 16);
    add(&format!("long/{}.txt", "n".repeat(200)), 17);
    add("deep/a/b/c/d/e/f/g/h/i/file", 18);
    add("empty file", 0);
    add("big/nine megabytes.bin", 9 << 20);
    std::fs::create_dir_all(scratch.path.join("folder without files")).expect("make a folder");
}

/// Returns the place of the mount that took the copy too; the present one has seen the tree but not its birth.
fn comes_back_whole(copy: impl Fn(&Scratch, &str)) -> (World, Scratch, Place) {
    let world = World::new();
    let scratch = Scratch::new(world.folder().join("source"));
    grow(&scratch);
    let wanted = snapshot(&scratch.path);
    assert!(wanted.len() > 280);

    let mount = world.mount();
    copy(&scratch, mount.path("tree").to_str().expect("a UTF-8 path"));
    assert_same(
        &snapshot(&mount.path("tree")),
        &wanted,
        "while files are uploaded",
    );
    mount.unmount(&world.config());
    assert_eq!(world.pending(), [] as [serde_json::Value; 0]);

    // What the service does not take is where it was written.
    let mut wanted = wanted;
    if !KIND.has(Capability::EmptyFiles) {
        let mount = world.mount();
        assert_same(&snapshot(&mount.path("tree")), &wanted, "mounted again");
        world.assert_empty_file(&mount, "tree/empty file");
        mount.unmount(&world.config());
        wanted.retain(|_, hash| *hash != sha256_of(b""));
    }

    // By content, since names that the service cannot hold are kept by it under look-alikes.
    let by_content = |files: BTreeMap<String, String>| -> BTreeMap<String, String> {
        files.into_iter().map(|(path, hash)| (hash, path)).collect()
    };
    let (stored, local) = (by_content(world.stored_sha256()), by_content(wanted.clone()));
    let lost: Vec<_> = local
        .iter()
        .filter(|(hash, _)| !stored.contains_key(*hash))
        .collect();
    assert!(lost.is_empty(), "the service lacks {lost:#?}");
    assert_eq!(
        world.stored().len(),
        wanted.len(),
        "the service holds each file once"
    );

    let place = world.place();
    world.forget();
    let mount = world.mount();
    assert_same(&snapshot(&mount.path("tree")), &wanted, "in a fresh mount");
    assert!(mount.path("tree/folder without files").is_dir());
    mount.unmount(&world.config());
    (world, scratch, place)
}

#[test]
fn a_tree_copied_in_with_cp_comes_back_whole() {
    comes_back_whole(|scratch, target| {
        run("cp", &[&"-r", &scratch.path, &target]).succeeded();
    });
}

#[test]
fn a_tree_copied_in_with_rsync_comes_back_whole_and_a_second_rsync_finds_nothing_to_do() {
    let (world, scratch, place) = comes_back_whole(|scratch, target| {
        let source = format!("{}/", scratch.path.display());
        run("rsync", &[&"-a", &source, &target]).succeeded();
    });
    if KIND.has(Capability::ModificationTime) {
        world.forget();
    } else {
        without_times_of_its_own(&world, &scratch);
        world.return_to(place);
    }
    let mount = world.mount();
    let calls = world.counted(|| {
        let source = format!("{}/", scratch.path.display());
        let again = run(
            "rsync",
            &[&"-a", &"--itemize-changes", &source, &mount.path("tree")],
        );
        again.succeeded();
        assert_eq!(again.stdout, "", "the second rsync found something to do");
    });
    assert_eq!(
        calls.of(Call::AnyUpload) + calls.of(Call::Download),
        0,
        "{calls:?}"
    );
    let old = std::fs::metadata(scratch.path.join("no extension")).expect("stat");
    let new = std::fs::metadata(mount.path("tree/no extension")).expect("stat");
    assert_eq!(old.mtime(), new.mtime());
}

/// A mount that knows nothing of the times of a tree compares by size, and sends nothing.
fn without_times_of_its_own(world: &World, scratch: &Scratch) {
    world.forget();
    let mount = world.mount();
    let calls = world.counted(|| {
        let source = format!("{}/", scratch.path.display());
        run("rsync", &[&"-a", &"--size-only", &source, &mount.path("tree")]).succeeded();
        world.drain();
    });
    assert_eq!(
        calls.of(Call::AnyUpload) + calls.of(Call::Download),
        0,
        "{calls:?}"
    );
    mount.unmount(&world.config());
}

#[test]
fn a_tree_is_copied_out_with_the_tools_people_use() {
    let world = World::new();
    let scratch = Scratch::new(world.folder().join("source"));
    for at in 0..20 {
        let content = content(at, 1000 + at as usize);
        world_put(&world, &format!("album/{}/{at}.jpg", at % 3), &content);
        scratch.file(&format!("{}/{at}.jpg", at % 3), &content);
    }
    world.service.rescan();
    let mount = world.mount();
    let (copied, synced) = (world.folder().join("copied"), world.folder().join("synced"));
    run("cp", &[&"-r", &mount.path("album"), &copied]).succeeded();
    run(
        "rsync",
        &[&"-a", &format!("{}/", mount.path("album").display()), &synced],
    )
    .succeeded();
    let wanted = snapshot(&scratch.path);
    assert_same(&snapshot(&copied), &wanted, "cp");
    assert_same(&snapshot(&synced), &wanted, "rsync");
}

fn world_put(world: &World, path: &str, content: &[u8]) {
    let file = world.service.files_dir(MEDIA).join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("make folders");
    std::fs::write(file, content).expect("write a file");
}

#[test]
fn a_folder_that_was_filled_elsewhere_since_it_was_seen_is_not_removed() {
    let world = World::with(|setup| {
        setup.option("listing_age", "\"10m\"");
        setup.option("poll_interval", "\"10m\"");
    });
    let mount = world.mount();
    fs::create_dir_all(mount.path("parent/sub")).expect("mkdir");
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    // The parent's listing tells that the folder is empty.
    assert_eq!(fs::read_dir(mount.path("parent")).expect("list").count(), 1);
    world.put("parent/sub/file.txt", b"put there elsewhere");
    let refused = fs::remove_dir(mount.path("parent/sub")).expect_err("it is not empty");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOTEMPTY));
    assert!(world.stored().contains_key("parent/sub/file.txt"));
    mount.unmount(&world.config());
}
