//! What is copied here from an account of the mount is fetched by the service itself, from a direct link.

use std::path::PathBuf;

use lockerfs::sandbox::Options;
use serde_json::json;

use super::{LIST, OTHER, place};
use crate::publishing::harness::kind::{MIRRORED_TO, ONE_CLOUD_FILE};
use crate::publishing::harness::{MEDIA, MEDIAFIRE, Mount, Setup, World, content, run, sha256_of, wait_for};

/// Accounts to copy from.
const FIRE: &str = "fire";
const CLOUD: &str = "cloud";

const ORIGINALS: [(&str, &str); 2] = [(FIRE, "big.bin"), (CLOUD, "large.bin")];

const SIZE: usize = 5 << 20;

/// Calls that carry the content of files, in the bodies of requests or of answers.
const CARRY: &[&str] = &[
    "mirrorace/upload",
    "mirrored_to/api_file_upload",
    "upload/simple",
    "upload/resumable",
    "v2/file/upload",
];

struct Both {
    world: World,
    mount: Mount,
    body: Vec<u8>,
}

impl Both {
    fn new() -> Both {
        Both::with(|_| {})
    }

    /// A mount of all kinds, with a file in each of the accounts that give links.
    fn with(adjust: impl FnOnce(&mut Setup)) -> Both {
        let world = World::with(|setup| {
            adjust(setup);
            setup.guest(&MIRRORED_TO, OTHER);
            setup.guest(&MEDIAFIRE, FIRE);
            setup.guest(&ONE_CLOUD_FILE, CLOUD);
            setup.asks_for_nothing();
            (ONE_CLOUD_FILE.quirks)(&mut setup.service as &mut Options);
        });
        let body = content(1, SIZE);
        for (account, name) in ORIGINALS {
            let file = world.service.files_dir(account).join(name);
            std::fs::write(file, &body).expect("put a file into the service");
        }
        world.service.rescan();
        for (account, name) in ORIGINALS {
            wait_for("the service takes up the file", || {
                world.service.stored(account).contains_key(name)
            });
        }
        let mount = world.mount();
        Both { world, mount, body }
    }

    fn at(&self, account: &str, path: &str) -> PathBuf {
        place(&self.mount, account, path)
    }

    fn cp(&self, (from, original): (&str, &str), to: &str, name: &str) {
        run("cp", &[&self.at(from, original), &self.at(to, name)]).succeeded();
    }

    fn assert_stored(&self, account: &str, name: &str) {
        let stored = self.world.service.stored(account);
        let hash = stored.get(name).map(|stored| stored.sha256.clone());
        assert_eq!(hash, Some(sha256_of(&self.body)), "{account}: {stored:?}");
    }
}

#[test]
fn a_file_that_is_copied_here_from_another_account_is_fetched_by_the_service_and_no_byte_passes_through_here()
{
    let both = Both::new();
    for (original, to) in ORIGINALS
        .into_iter()
        .flat_map(|original| [(original, MEDIA), (original, OTHER)])
    {
        let name = format!("from {}.bin", original.0);
        let calls = both.world.counted(|| {
            both.cp(original, to, &name);
            both.world.drain();
        });
        for call in CARRY {
            assert_eq!(calls.by_name.get(*call), None, "{original:?} to {to}: {calls:?}");
        }
        let log = both.world.service.ask("calls");
        // The service's own, and no other: what went out in all is that, and answers of some kilobytes.
        assert_eq!(log["fetched"].as_u64(), Some(SIZE as u64), "{log}");
        let out = log["bytes_out"].as_u64().expect("bytes");
        let sent = log["bytes_in"].as_u64().expect("bytes");
        assert!(out < SIZE as u64 + 100_000 && sent < 100_000, "{log}");
        let list = std::fs::read_to_string(both.at(to, LIST)).expect("the list of links");
        assert!(list.contains(&name) && list.contains("http://"), "{list}");
    }
    for (account, count) in [(MEDIA, 2), (OTHER, 2)] {
        let stored = both.world.service.stored(account);
        assert_eq!(stored.len(), count, "{stored:?}");
        assert!(
            stored.values().all(|of| of.sha256 == sha256_of(&both.body)),
            "{stored:?}"
        );
    }
    both.mount.unmount(&both.world.config());
}

#[test]
fn what_is_to_stay_readable_here_passes_through_here() {
    let both = Both::with(|setup| setup.option("pin", "true"));
    for to in [MEDIA, OTHER] {
        both.cp(ORIGINALS[0], to, "big.bin");
    }
    both.world.drain();
    for to in [MEDIA, OTHER] {
        both.assert_stored(to, "big.bin");
        assert!(std::fs::read(both.at(to, "big.bin")).expect("cat") == both.body);
    }
    assert_eq!(both.world.status()["pinned"]["files"], 2);
    both.mount.unmount(&both.world.config());
}

#[test]
fn where_the_service_refuses_to_fetch_the_bytes_pass_through_here_and_the_log_says_why() {
    let both = Both::new();
    both.world.service.strike(&json!([
        { "match": "mirrorace/upload/remote", "fault": "html" },
        { "match": "mirrored_to/api_remote_upload", "fault": "status", "status": 400 },
    ]));
    for to in [MEDIA, OTHER] {
        both.cp(ORIGINALS[0], to, "big.bin");
    }
    both.world.drain();
    for to in [MEDIA, OTHER] {
        both.assert_stored(to, "big.bin");
        assert_eq!(both.world.service.stored(to).len(), 1);
    }
    let log = both.mount.log();
    assert_eq!(log.matches("its bytes go through here").count(), 2, "{log}");
    both.mount.unmount(&both.world.config());
}

#[test]
fn what_a_mirror_gives_back_to_nobody_is_copied_from_here_while_it_is_here() {
    let both = Both::new();
    let body = content(2, 300_000);
    std::fs::write(both.at(MEDIA, "published.bin"), &body).expect("cp");
    both.world.drain();
    for to in [FIRE, OTHER] {
        run(
            "cp",
            &[&both.at(MEDIA, "published.bin"), &both.at(to, "again.bin")],
        )
        .succeeded();
    }
    both.world.drain();
    for to in [FIRE, OTHER] {
        let stored = both.world.service.stored(to);
        assert_eq!(stored["again.bin"].sha256, sha256_of(&body), "{to}");
    }
    both.mount.unmount(&both.world.config());
}

#[test]
fn mediafire_fetches_from_a_host_that_tells_no_hash_and_takes_bytes_where_it_cannot() {
    let both = Both::new();
    let calls = both.world.counted(|| {
        both.cp(ORIGINALS[1], FIRE, "fetched.bin");
        both.world.drain();
    });
    assert_eq!(calls.by_name.get("upload/add_web_upload"), Some(&1), "{calls:?}");
    for call in CARRY {
        assert_eq!(calls.by_name.get(*call), None, "{calls:?}");
    }
    both.assert_stored(FIRE, "fetched.bin");
    let reader = std::fs::read(both.at(FIRE, "fetched.bin")).expect("read");
    assert!(reader == both.body);
    // A link that the service finds bad.
    both.world.service.strike(&json!([
        { "match": "upload/add_web_upload", "fault": "error", "code": 174 },
    ]));
    both.cp(ORIGINALS[1], FIRE, "sent.bin");
    both.world.drain();
    both.assert_stored(FIRE, "sent.bin");
    assert!(both.mount.log().contains("its bytes go through here"));
    both.mount.unmount(&both.world.config());
}

#[test]
fn killed_while_a_service_fetches_there_is_one_entry_in_the_end() {
    let both = Both::new();
    let Both { world, mount, body } = both;
    let mut mount = mount;
    for (to, call) in [
        (MEDIA, "mirrorace/upload/remote"),
        (OTHER, "mirrored_to/api_remote_upload"),
        (FIRE, "upload/add_web_upload"),
    ] {
        world
            .service
            .strike(&json!([{ "match": call, "fault": "stall" }]));
        world.service.reset_calls();
        let (from, copy) = (place(&mount, CLOUD, "large.bin"), place(&mount, to, "copy.bin"));
        let program =
            std::thread::spawn(move || std::process::Command::new("cp").args([from, copy]).output());
        wait_for("the service was asked", || {
            world.service.calls().by_name.contains_key(call)
        });
        mount.kill();
        program.join().expect("joined").expect("cp");
        world.service.strike(&json!([]));
        mount = world.mount();
        world.drain();
        assert!(world.pending().is_empty());
        let listed = std::fs::read_dir(place(&mount, to, "")).expect("a listing");
        let names = listed.map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.filter(|name| name == "copy.bin").count(), 1);
    }
    // MediaFire lists what it has, so that nothing is left there twice.
    let stored = world.service.stored(FIRE);
    let names: Vec<_> = stored.keys().map(String::as_str).collect();
    assert_eq!(names, ["big.bin", "copy.bin"]);
    assert_eq!(stored["copy.bin"].sha256, sha256_of(&body));
    mount.unmount(&world.config());
}
