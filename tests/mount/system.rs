//! What the system sees of a mount, and what it costs in calls.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;
use md5::Digest;

use super::harness::{Call, MEDIA, Tune, World, content, run, sha256_of, snapshot, wait_for};
use crate::KIND;

fn quiet() -> World {
    World::with(|setup| setup.asks_for_nothing())
}

#[test]
fn df_shows_the_quota_of_the_account() {
    let world = World::with(|setup| setup.storage_limit(8 << 30));
    world.put("big.bin", &vec![0; 64 << 20]);
    let mount = world.mount();
    let df = |column: &str| -> u64 {
        let ran = run("df", &[&"-B1", &format!("--output={column}"), &mount.path("")]);
        ran.succeeded();
        ran.stdout
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok())
            .expect("a number")
    };
    wait_for("the quota is known", || df("size") == 8 << 30);
    assert_eq!(df("used"), 64 << 20);
    assert_eq!(df("avail"), (8 << 30) - (64 << 20));
    let source = run("df", &[&"--output=source", &mount.path("")]);
    assert!(source.stdout.contains("lockerfs:media"), "{}", source.stdout);
}

#[test]
fn extended_attributes_tell_id_hash_and_state() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1s\""));
    world.put("stored.bin", b"stored");
    let mount = world.mount();
    let attributes = |path: &str| -> Vec<String> {
        let script = "import os,sys; print('\\n'.join(sorted(os.listxattr(sys.argv[1]))))";
        let ran = run("python3", &[&"-c", &script, &mount.path(path)]);
        ran.succeeded().stdout.lines().map(str::to_owned).collect()
    };
    let hashed = KIND.has(Capability::ContentHash);
    let told = [
        (true, "user.lockerfs.account"),
        (true, "user.lockerfs.id"),
        (hashed, "user.lockerfs.sha256"),
        (KIND.has(Capability::ShortLinks), "user.lockerfs.short_url"),
        (true, "user.lockerfs.state"),
        (KIND.has(Capability::ShareLinks), "user.lockerfs.url"),
    ];
    let told: Vec<_> = told
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect();
    assert_eq!(attributes("stored.bin"), told);
    let stored = world.stored()["stored.bin"].clone();
    assert_eq!(mount.xattr("stored.bin", "id").expect("id"), stored.id);
    if hashed {
        let hash = mount.xattr("stored.bin", "sha256").expect("hash");
        assert_eq!(hash, sha256_of(b"stored"));
    }
    assert_eq!(mount.xattr("stored.bin", "state").expect("state"), "stored");

    mount.write("new.bin", b"new");
    assert_ne!(mount.xattr("new.bin", "state").expect("state"), "stored");
    assert_eq!(
        mount
            .xattr("new.bin", "id")
            .expect_err("no id yet")
            .raw_os_error(),
        Some(libc::ENODATA)
    );
    world.drain();
    wait_for("it is stored", || {
        mount
            .xattr("new.bin", "state")
            .is_ok_and(|state| state == "stored")
    });
    assert_eq!(
        mount.xattr("new.bin", "id").expect("id"),
        world.stored()["new.bin"].id
    );
    // A service that lists no hashes tells one when it takes a file.
    if hashed {
        assert_eq!(mount.xattr("new.bin", "sha256").expect("hash"), sha256_of(b"new"));
    } else {
        let md5 = hex::encode(md5::Md5::digest(b"new"));
        assert_eq!(mount.xattr("new.bin", "md5").expect("hash"), md5);
    }
    let script = "import os,sys; os.setxattr(sys.argv[1], 'user.lockerfs.id', b'x')";
    let ran = run("python3", &[&"-c", &script, &mount.path("new.bin")]);
    assert!(ran.stderr.contains("Operation not supported"), "{}", ran.stderr);
}

#[test]
fn listing_costs_a_call_for_each_part_and_what_is_known_costs_none() {
    let world = quiet();
    for at in 0..3 {
        world.put(&format!("three/{at}.txt"), format!("{at}").as_bytes());
    }
    let mount = world.mount();
    let calls = world.counted(|| assert_eq!(mount.list(""), ["three"]));
    assert!(
        calls.work() <= KIND.budget.root,
        "the root, of which nothing was known: {calls:?}"
    );
    let calls = world.counted(|| assert_eq!(mount.list("three").len(), 3));
    assert_eq!(calls.total(), 1, "a folder known to hold no folders: {calls:?}");
    let calls = world.counted(|| {
        run("ls", &[&"-lR", &mount.path("")]).succeeded();
        run("find", &[&mount.path(""), &"-size", &"+1k"]).succeeded();
        run("stat", &[&mount.path("three/1.txt")]).succeeded();
        assert!(fs::metadata(mount.path("three/missing.txt")).is_err());
        run("df", &[&mount.path("")]).succeeded();
    });
    assert_eq!(calls.total(), 0, "{calls:?}");
}

#[test]
fn listing_an_empty_root_costs_no_more_than_another_root() {
    let world = quiet();
    let mount = world.mount();
    let calls = world.counted(|| assert!(mount.list("").is_empty()));
    assert!(calls.work() <= KIND.budget.root, "{calls:?}");
    let calls = world.counted(|| assert!(mount.list("").is_empty()));
    assert_eq!(calls.total(), 0, "{calls:?}");
}

#[test]
fn reading_a_small_file_costs_a_link_and_a_download() {
    let world = quiet();
    world.put("small.txt", b"small");
    let mount = world.mount();
    assert_eq!(mount.list(""), ["small.txt"]);
    let calls = world.counted(|| assert_eq!(mount.read("small.txt"), b"small"));
    assert_eq!(
        (calls.of(Call::Link), calls.of(Call::Download), calls.total()),
        (1, 1, 2),
        "{calls:?}"
    );
}

#[test]
fn storing_costs_few_calls_and_known_content_no_bytes_where_hashes_are_told() {
    let world = quiet();
    fs::create_dir_all(world.service.files_dir(MEDIA).join("folder")).expect("a folder");
    world.service.rescan();
    let mount = world.mount();
    assert_eq!(mount.list(""), ["folder"]);
    assert!(mount.list("folder").is_empty());
    let store = |name: &str, content: &[u8]| {
        world.counted(|| {
            mount.write(name, content);
            world.drain();
        })
    };
    let budget = &KIND.budget;
    let first = store("first.bin", &content(1, 5000));
    assert!(first.work() <= budget.new_file, "{first:?}");
    let second = store("second.bin", &content(2, 5000));
    assert!(
        second.total() <= budget.new_file,
        "logins and tokens are there already: {second:?}"
    );
    let known = store("copy of first.bin", &content(1, 5000));
    assert!(known.total() <= budget.known_file, "{known:?}");
    let sent = known.of(Call::Upload) + known.of(Call::UploadUnit);
    assert_eq!(sent, u64::from(!KIND.has(Capability::ContentHash)), "{known:?}");
    let rewritten = store("first.bin", &content(3, 6000));
    assert!(rewritten.total() <= budget.replace, "{rewritten:?}");
    let inside = store("folder/third.bin", &content(5, 5000));
    let all = inside.total() + inside.of(Call::Dates);
    assert!(all <= budget.new_file_in_folder, "{inside:?}");
    let empty = store("empty.bin", b"");
    assert!(empty.total() <= budget.new_empty_file, "{empty:?}");
    let touched = world.counted(|| {
        run("touch", &[&"-d", &"@1000000000", &mount.path("second.bin")]).succeeded();
        world.drain();
    });
    assert_eq!(touched.total(), budget.touch, "{touched:?}");
    let large = store("large.bin", &content(4, 20 << 20));
    assert!(large.total() <= budget.large_file, "{large:?}");
    let mut wanted: BTreeMap<String, String> = [
        ("copy of first.bin", content(1, 5000)),
        ("first.bin", content(3, 6000)),
        ("folder/third.bin", content(5, 5000)),
        ("large.bin", content(4, 20 << 20)),
        ("second.bin", content(2, 5000)),
    ]
    .map(|(name, content)| (name.to_owned(), sha256_of(&content)))
    .into();
    if KIND.has(Capability::EmptyFiles) {
        wanted.insert("empty.bin".to_owned(), sha256_of(b""));
    }
    assert_eq!(world.stored_sha256(), wanted);
}

#[test]
fn changing_names_costs_the_calls_that_it_must() {
    let world = quiet();
    world.put("a/file.txt", b"x");
    world.put("b/other.txt", b"y");
    let mount = world.mount();
    assert_eq!(snapshot(&mount.path("")).len(), 2);
    let budget = &KIND.budget;
    let renamed = |from: &str, to: &str| {
        world.counted(|| fs::rename(mount.path(from), mount.path(to)).expect("rename"))
    };
    let calls = renamed("a/file.txt", "a/renamed.txt");
    assert_eq!(calls.total(), budget.rename, "rename: {calls:?}");
    let calls = renamed("a/renamed.txt", "b/renamed.txt");
    assert_eq!(calls.total(), budget.move_to, "move: {calls:?}");
    let calls = renamed("b/renamed.txt", "a/both.txt");
    assert_eq!(
        calls.total(),
        budget.move_and_rename,
        "move and rename: {calls:?}"
    );
    let calls = renamed("a", "c");
    assert_eq!(
        calls.total(),
        budget.rename_folder,
        "rename of a folder: {calls:?}"
    );
    let calls = world.counted(|| fs::remove_file(mount.path("c/both.txt")).expect("unlink"));
    assert_eq!(calls.total(), budget.delete, "delete: {calls:?}");
    let calls = world.counted(|| fs::create_dir(mount.path("new")).expect("mkdir"));
    assert_eq!(calls.total(), budget.create_folder, "mkdir: {calls:?}");
    let calls = world.counted(|| assert!(mount.list("new").is_empty()));
    assert_eq!(
        calls.total(),
        0,
        "a folder made here is known to be empty: {calls:?}"
    );
    let calls = world.counted(|| fs::remove_dir(mount.path("new")).expect("rmdir"));
    assert_eq!(calls.total(), budget.remove_folder, "rmdir: {calls:?}");
}

#[test]
fn an_idle_mount_makes_one_call_an_interval_and_none_without_a_change_feed() {
    let world = World::new();
    world.put("folder/file.txt", b"x");
    let mount = world.mount();
    assert_eq!(snapshot(&mount.path("")).len(), 1);
    let follows = KIND.has(Capability::ChangeFeed);
    if follows {
        wait_for("polling has begun", || {
            world.service.calls().of(Call::Changes) >= 2
        });
    } else {
        world.service.settle();
    }
    let began = Instant::now();
    world.service.reset_calls();
    std::thread::sleep(Duration::from_secs(4));
    let calls = world.service.calls();
    let most = if follows { began.elapsed().as_secs() + 1 } else { 0 };
    assert!(calls.total() <= most, "{calls:?} in {:?}", began.elapsed());
    assert_eq!(calls.total() > 0, follows, "it follows the account where it can");
}

#[test]
fn one_account_can_be_mounted_alone_at_the_mount_point() {
    let world = World::with(|setup| setup.second_account());
    world.put("hello.txt", b"hello");
    let place = world.place();
    let point = place.mount_point.to_str().expect("UTF-8").to_owned();
    let ran = world.lockerfs(&["mount", "--daemon", "--account", "media", &point]);
    ran.succeeded();
    let pid = world.status()["pid"].as_i64().expect("a pid");
    let daemon = super::harness::Daemon(i32::try_from(pid).expect("a pid"));
    assert_eq!(
        fs::read(place.mount_point.join("hello.txt")).expect("read"),
        b"hello"
    );
    fs::write(place.mount_point.join("answer.txt"), b"hi").expect("write");
    world.lockerfs(&["unmount", &point]).succeeded();
    assert_eq!(world.stored()["answer.txt"].sha256, sha256_of(b"hi"));
    wait_for("the process ends", || !daemon.is_running());
}

#[test]
fn every_kind_of_session_serves_beyond_the_life_of_a_token() {
    for lines in KIND.sessions {
        let world = World::with(|setup| {
            setup.account_lines = (*lines).to_owned();
            setup.tune(Tune::TokenLife(Duration::from_secs(2)));
        });
        world.put("a.txt", b"a");
        let mount = world.mount();
        assert_eq!(mount.read("a.txt"), b"a");
        mount.write("b.txt", b"b");
        world.drain();
        // Tokens of limited life are dead by now unless they were renewed.
        std::thread::sleep(Duration::from_millis(2500));
        mount.write("c.txt", b"c");
        fs::rename(mount.path("a.txt"), mount.path("d.txt")).expect("rename");
        world.drain();
        let names: Vec<String> = world.stored().into_keys().collect();
        assert_eq!(names, ["b.txt", "c.txt", "d.txt"], "{lines}");
    }
}

#[test]
fn a_token_that_dies_is_replaced_without_anybody_noticing() {
    let world = World::new();
    world.put("a.txt", b"a");
    let mount = world.mount();
    let struck = [Call::Listing, Call::Link, Call::Rename, Call::BeginUpload];
    world
        .service
        .faults(&struck.map(|call| (call, serde_json::json!({"fault": "expire_token", "times": 1}))));
    assert_eq!(mount.list(""), ["a.txt"]);
    assert_eq!(mount.read("a.txt"), b"a");
    fs::rename(mount.path("a.txt"), mount.path("b.txt")).expect("rename");
    mount.write("c.txt", b"c");
    world.drain();
    assert_eq!(world.stored().into_keys().collect::<Vec<_>>(), ["b.txt", "c.txt"]);
}

#[test]
fn memory_does_not_grow_with_the_size_of_files() {
    let world = World::new();
    let mount = world.mount();
    let peak = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).expect("status");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let through = |name: &str, mebibytes: u64| {
        let body = content(mebibytes, 1 << 20);
        let mut file = fs::File::create(mount.path(name)).expect("create");
        for _ in 0..mebibytes {
            std::io::Write::write_all(&mut file, &body).expect("write");
        }
        drop(file);
        world.drain();
        let mut file = fs::File::open(mount.path(name)).expect("open");
        assert_eq!(
            std::io::copy(&mut file, &mut std::io::sink()).expect("read"),
            mebibytes << 20
        );
    };
    through("small.bin", 16);
    let before = peak();
    through("large.bin", 64);
    assert!(peak() < before + (24 << 10), "from {before} kB to {} kB", peak());
    assert!(peak() < 150 << 10, "{} kB at its peak", peak());
}
