//! `pin = true`: what was published stays readable here for good.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::{OTHER, place, world};
use crate::publishing::harness::{MEDIA, Mount, World, content, sha256_of, wait_for};

/// A cache that holds next to nothing.
const SMALL: &str = "\"16MiB\"";

fn pinned_files(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.place().state.join("pinned"));
    entries
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn pinned(world: &World) -> Option<(u64, u64)> {
    let pinned = world.status()["pinned"].clone();
    Some((pinned["files"].as_u64()?, pinned["bytes"].as_u64()?))
}

fn hash(mount: &Mount, account: &str, name: &str) -> String {
    sha256_of(&fs::read(place(mount, account, name)).expect("cat"))
}

#[test]
fn a_pinned_copy_outlives_the_cache_and_goes_with_its_entry() {
    let world = world(|setup| {
        setup.option("pin", "true");
        setup.option("cache_size", SMALL);
        setup.asks_for_nothing();
    });
    let mount = world.mount();
    assert_eq!(pinned(&world), None);
    let size = |seed: u64| 3_000_000 + usize::try_from(seed).expect("small");
    for account in [MEDIA, OTHER] {
        // Together more than the cache may hold.
        for seed in 0..6 {
            let name = format!("{seed}.bin");
            fs::write(place(&mount, account, &name), content(seed, size(seed))).expect("cp");
        }
    }
    world.drain();
    let bytes = 2 * (0..6).map(|seed| size(seed) as u64).sum::<u64>();
    assert_eq!(pinned(&world), Some((12, bytes)));
    let shown = world.lockerfs(&["status"]).stdout;
    assert!(
        shown.contains("Kept here for good (`pin`): 12 files, 36.0 MB"),
        "{shown}"
    );
    let check = |mount: &Mount, when: &str| {
        for account in [MEDIA, OTHER] {
            for seed in 0..6 {
                let wanted = sha256_of(&content(seed, size(seed)));
                assert_eq!(
                    hash(mount, account, &format!("{seed}.bin")),
                    wanted,
                    "{account} {seed} {when}"
                );
            }
        }
    };
    check(&mount, "at once");
    let copies = pinned_files(&world);
    let staging = fs::read_dir(world.place().state.join("staging")).expect("list");
    assert_eq!(
        (copies.len(), staging.count()),
        (12, 0),
        "the copy is the staged file itself"
    );
    mount.unmount(&world.config());
    fs::remove_dir_all(world.place().cache).expect("lose the cache");
    // It is where it was, whether more is to be pinned or not.
    let text = world.config_text();
    world.write_config(&text.replace("pin = true", "pin = false"));
    let mount = world.mount();
    check(&mount, "after a remount without the cache");
    fs::write(place(&mount, OTHER, "late.bin"), "late").expect("cp");
    world.drain();
    assert_eq!(pinned(&world), Some((12, bytes)));
    // A rename takes it along, an edit begins from it, and a removal lets it go.
    fs::rename(place(&mount, MEDIA, "0.bin"), place(&mount, MEDIA, "zero.bin")).expect("mv");
    assert_eq!(hash(&mount, MEDIA, "zero.bin"), sha256_of(&content(0, size(0))));
    let mut open = fs::File::open(place(&mount, MEDIA, "zero.bin")).expect("open");
    fs::remove_file(place(&mount, MEDIA, "zero.bin")).expect("rm");
    world.drain();
    wait_for("its copy goes", || pinned_files(&world).len() == 11);
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut read).expect("read on");
    assert!(read == content(0, size(0)), "who has it open reads on");
    let at = place(&mount, MEDIA, "1.bin");
    let mut file = fs::File::options().append(true).open(at).expect("open");
    file.write_all(b" and more").expect("append");
    drop(file);
    world.drain();
    let wanted = sha256_of(&[content(1, size(1)), b" and more".to_vec()].concat());
    let files = world.service.ask(&format!("files?account={MEDIA}"));
    let mut files = files.as_array().expect("a list").iter();
    assert!(
        files.any(|file| file["sha256"] == wanted.as_str()),
        "it was published"
    );
    wait_for("the copy of the old content goes", || {
        pinned_files(&world).len() == 10
    });
    mount.unmount(&world.config());
}

#[test]
fn without_a_pin_a_copy_goes_when_its_room_is_needed() {
    let world = world(|setup| {
        setup.option("cache_size", SMALL);
        setup.asks_for_nothing();
    });
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        for seed in 0..6 {
            let name = format!("{seed}.bin");
            fs::write(place(&mount, account, &name), content(seed, 3_000_000)).expect("cp");
            world.drain();
        }
    }
    assert_eq!(pinned(&world), None);
    let gone = fs::read(place(&mount, MEDIA, "0.bin")).expect_err("its room was needed");
    assert_eq!(gone.raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(hash(&mount, OTHER, "5.bin"), sha256_of(&content(5, 3_000_000)));
    mount.unmount(&world.config());
}

#[test]
fn a_pinned_copy_is_there_without_any_cache_and_when_a_kill_comes_between() {
    let world = world(|setup| {
        setup.option("pin", "true");
        setup.option("cache_size", "\"0\"");
        setup.service.latency = std::time::Duration::from_millis(20);
        setup.option("workers", "2");
    });
    let mut random = fastrand::Rng::with_seed(5);
    let mut mount = world.mount();
    for account in [MEDIA, OTHER] {
        for seed in 0..12 {
            fs::write(
                place(&mount, account, &format!("{seed}.bin")),
                content(seed, 90_000),
            )
            .expect("cp");
        }
    }
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(random.u64(50..500)));
        mount.kill();
        mount = world.mount();
    }
    world.drain();
    assert_eq!(pinned(&world), Some((24, 24 * 90_000)));
    for account in [MEDIA, OTHER] {
        for seed in 0..12 {
            assert_eq!(
                hash(&mount, account, &format!("{seed}.bin")),
                sha256_of(&content(seed, 90_000))
            );
        }
        fs::remove_file(place(&mount, account, "3.bin")).expect("rm");
    }
    mount.kill();
    // Whatever the kill left undone is done by the next life.
    let mount = world.mount();
    wait_for("the copies go", || pinned(&world) == Some((22, 22 * 90_000)));
    mount.unmount(&world.config());
}

#[test]
fn a_pinned_copy_that_was_damaged_is_an_error_and_never_taken_for_the_file() {
    let world = world(|setup| {
        setup.option("pin", "true");
        setup.asks_for_nothing();
    });
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "x.bin"), content(1, 200_000)).expect("cp");
    }
    world.drain();
    mount.unmount(&world.config());
    for copy in pinned_files(&world) {
        let mut bytes = fs::read(&copy).expect("read");
        bytes[100_000] ^= 1;
        fs::write(&copy, bytes).expect("damage");
    }
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        fs::read(place(&mount, account, "x.bin")).expect_err("not what was stored");
    }
    assert_eq!(pinned_files(&world).len(), 2, "a person may want to look at it");
    assert!(
        mount.log().contains("are not those that the service promised"),
        "{}",
        mount.log()
    );
    mount.unmount(&world.config());
}

#[test]
fn pin_is_for_accounts_that_publish() {
    let world = world(|_| {});
    let text = world
        .config_text()
        .replace("[accounts.other]\n", "[accounts.other]\npin = \"yes\"\n");
    world.write_config(&text);
    let ran = world.lockerfs(&["account", "list"]);
    ran.failed(
        1,
        &["accounts.other.pin", "must be true or false, without quotes"],
    );
    let alone = world
        .config_text()
        .replace("kind = \"mirrored_to\"", "pin = true\nkind = \"1cloudfile\"");
    world.write_config(&alone);
    let ran = world.lockerfs(&["account", "list"]);
    ran.failed(1, &["cannot have pin, which is for accounts that publish only"]);
}
