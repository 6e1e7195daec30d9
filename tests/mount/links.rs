//! Links to hand on: as attributes of files, and by `lockerfs link`.

use std::fs;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;
use serde_json::Value;

use super::harness::{Mount, Ran, World, run, wait_for};
use crate::KIND;

/// Twenty files in a folder, in a mount that asks for nothing by itself.
fn twenty() -> World {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.option("dates_per_second", "0");
    });
    for at in 0..20 {
        world.put(&format!("album/p {at:02}.jpg"), &[at; 100]);
    }
    world
}

/// The calls for the pages of so many files.
fn calls_for(files: u64) -> u64 {
    if KIND.has(Capability::Batches) { 1 } else { files }
}

fn all_calls(world: &World, work: impl FnOnce()) -> u64 {
    let calls = world.counted(work);
    calls.of(super::harness::Call::Dates) + calls.work()
}

fn link(world: &World, mount: &Mount, args: &[&str], paths: &[&str]) -> Ran {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| mount.path(path).to_string_lossy().into_owned())
        .collect();
    let mut all = vec!["link"];
    all.extend(args);
    all.extend(paths.iter().map(String::as_str));
    world.lockerfs(&all)
}

fn assert_errno(result: std::io::Result<String>, errno: i32) {
    assert_eq!(result.expect_err("no such attribute").raw_os_error(), Some(errno));
}

#[test]
fn the_attributes_of_a_folder_full_of_files_cost_few_calls() {
    let world = twenty();
    let mount = world.mount();
    let paths: Vec<_> = (0..20).map(|at| format!("album/p {at:02}.jpg")).collect();
    assert_eq!(mount.list("album").len(), 20);
    let names = "import os,sys; print([os.listxattr(p) for p in sys.argv[1:]])";
    let listed = all_calls(&world, || {
        let album: Vec<_> = paths.iter().map(|path| mount.path(path)).collect();
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"-c", &names];
        args.extend(album.iter().map(|path| path as &dyn AsRef<std::ffi::OsStr>));
        let ran = run("python3", &args);
        let told = &ran.succeeded().stdout;
        assert_eq!(told.matches("'user.lockerfs.url'").count(), 20, "{told}");
        let short = if KIND.has(Capability::ShortLinks) { 20 } else { 0 };
        assert_eq!(told.matches("'user.lockerfs.short_url'").count(), short, "{told}");
    });
    assert_eq!(listed, 0, "names alone cost no call");
    let mut urls = Vec::new();
    let asked = all_calls(&world, || {
        urls.extend(paths.iter().map(|path| mount.xattr(path, "url").expect("a url")));
    });
    assert_eq!(asked, calls_for(20));
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 20, "each has its own");
    let again = all_calls(&world, || {
        for path in &paths {
            let url = mount.xattr(path, "url").expect("a url");
            match mount.xattr(path, "short_url") {
                Ok(short) => assert!(url.starts_with(&short) && short.len() < url.len(), "{short}"),
                Err(error) => {
                    assert!(!KIND.has(Capability::ShortLinks), "{error}");
                    assert_eq!(error.raw_os_error(), Some(libc::ENODATA));
                }
            }
        }
    });
    assert_eq!(again, 0, "what was told is kept");
}

#[test]
fn what_is_not_stored_has_no_link_until_it_is() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1h\""));
    world.put("edited.txt", b"edited");
    fs::create_dir(world.service.files_dir(super::harness::MEDIA).join("folder")).expect("mkdir");
    world.service.rescan();
    let mount = world.mount();
    let before = mount.xattr("edited.txt", "url").expect("a url");
    mount.write("new.txt", b"new");
    mount.write("edited.txt", b"edited again");
    for name in ["new.txt", "edited.txt"] {
        assert_errno(mount.xattr(name, "url"), libc::ENODATA);
        assert_errno(mount.xattr(name, "short_url"), libc::ENODATA);
        let ran = link(&world, &mount, &[], &[name]);
        ran.failed(1, &[name, "waits for its upload", "lockerfs drain"]);
        assert_eq!(ran.stdout, "");
    }
    assert_errno(mount.xattr("folder", "url"), libc::ENODATA);
    world.drain();
    wait_for("both have links", || {
        ["new.txt", "edited.txt"]
            .iter()
            .all(|name| mount.xattr(name, "url").is_ok())
    });
    let after = mount.xattr("edited.txt", "url").expect("a url");
    assert_eq!(
        after == before,
        KIND.has(Capability::ReplaceKeepsId),
        "{before} {after}"
    );
    fs::rename(mount.path("new.txt"), mount.path("renamed.txt")).expect("rename");
    wait_for("the link has the new name", || {
        mount
            .xattr("renamed.txt", "url")
            .is_ok_and(|url| url.contains("renamed"))
    });
}

#[test]
fn link_prints_what_can_be_pasted_and_says_what_it_leaves_out() {
    let world = twenty();
    let mount = world.mount();
    let (first, second) = ("album/p 00.jpg", "album/p 01.jpg");
    let urls = [first, second].map(|path| mount.xattr(path, "url").expect("a url"));
    let plain = link(&world, &mount, &[], &[first, second]);
    assert_eq!(plain.succeeded().stdout, format!("{}\n{}\n", urls[0], urls[1]));

    let json = link(&world, &mount, &["--json"], &[second, first]);
    let told: Value = serde_json::from_str(&json.succeeded().stdout).expect("JSON");
    assert_eq!(told[0]["url"], urls[1].as_str());
    assert_eq!(told[1]["path"], mount.path(first).to_string_lossy().as_ref());
    assert_eq!(
        told[0]["short_url"].is_string(),
        KIND.has(Capability::ShortLinks),
        "{told}"
    );
    let markdown = link(&world, &mount, &["--markdown"], &[first]);
    assert_eq!(
        markdown.succeeded().stdout,
        format!("- [p 00.jpg](<{}>)\n", urls[0])
    );
    let html = link(&world, &mount, &["--html"], &[first]);
    let item = format!("<a href=\"{}\">p 00.jpg</a>", urls[0]);
    assert!(html.succeeded().stdout.contains(&item), "{}", html.stdout);

    let folder = link(&world, &mount, &[], &["album", first]);
    folder.failed(1, &["is a directory", "-r"]);
    assert_eq!(
        folder.stdout,
        format!("{}\n", urls[0]),
        "the others are told all the same"
    );
    let missing = link(&world, &mount, &[], &["album/none.jpg"]);
    missing.failed(1, &["none.jpg is not there"]);
    let outside = world.folder().join("outside.txt");
    fs::write(&outside, b"x").expect("write");
    let ran = world.lockerfs(&["link", &outside.to_string_lossy()]);
    ran.failed(1, &["outside.txt is not in a mount of lockerfs"]);
    world
        .lockerfs(&["link", "--json", "--html", "x"])
        .failed(2, &["cannot be used with"]);
    world.lockerfs(&["link"]).failed(2, &["<PATH>"]);
}

#[test]
fn link_of_a_whole_folder_takes_few_calls() {
    let world = twenty();
    let mount = world.mount();
    assert_eq!(mount.list("album").len(), 20);
    let mut told = String::new();
    let calls = all_calls(&world, || {
        told = link(&world, &mount, &["--recursive"], &[""])
            .succeeded()
            .stdout
            .clone();
    });
    assert_eq!(told.lines().count(), 20, "{told}");
    let most = calls_for(20) + 1;
    assert!(calls <= most, "{calls} calls: the pages, and perhaps a listing");
}

#[test]
fn a_service_that_is_away_delays_nobody_else() {
    let world = twenty();
    let mount = world.mount();
    assert_eq!(mount.list("album").len(), 20);
    world.service.stop();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| mount.xattr("album/p 00.jpg", "url"));
        for _ in 0..200 {
            assert_eq!(
                fs::metadata(mount.path("album/p 01.jpg")).expect("stat").len(),
                100
            );
            assert_eq!(mount.xattr("album/p 01.jpg", "state").expect("a state"), "stored");
        }
        let error = asking.join().expect("no panic").expect_err("no service");
        assert_ne!(
            error.raw_os_error(),
            Some(libc::ENODATA),
            "it may have a link: {error}"
        );
    });
    let began = Instant::now();
    let ran = link(&world, &mount, &["-r"], &["album"]);
    ran.failed(1, &["p 00.jpg has no link now", "p 19.jpg has no link now"]);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "the service is waited for once: {took:?}"
    );
    world.service.come_back();
    wait_for("the link is told", || {
        mount.xattr("album/p 00.jpg", "url").is_ok()
    });
}
