//! Each mishap that the emulated service knows befalls each thing that people do, for as long as that goes on: it ends
//! as the table in docs/SEMANTICS.md says, in time, and when the mishap is over nothing is lost, doubled or wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;
use serde_json::{Value, json};

use super::harness::{Call, Mount, World, content, sha256_of, wait_for};
use crate::KIND;

/// In the order of the table's columns.
const WORK: [Work; 7] = [
    Work::List,
    Work::Read,
    Work::SmallUpload,
    Work::LargeUpload,
    Work::Rename,
    Work::Delete,
    Work::Login,
];

/// A cell for what a mishap cannot befall.
const NEVER: &str = "–";

/// How long anything may take with a deadline of two seconds. Generous: machines are busy.
const IN_TIME: Duration = Duration::from_secs(25);

/// How long an upload is given to come to grief.
const GRIEF: Duration = Duration::from_secs(4);

/// Worlds at a time. They wait most of the time.
const SIDE_BY_SIDE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    List,
    Read,
    SmallUpload,
    LargeUpload,
    Rename,
    Delete,
    Login,
}

impl Work {
    /// The calls that a mishap strikes.
    fn calls(self) -> &'static [Call] {
        match self {
            Work::List => &[Call::Listing],
            Work::Read => &[Call::Link, Call::Download],
            Work::SmallUpload | Work::LargeUpload => &[Call::AnyUpload],
            Work::Rename => &[Call::Rename],
            Work::Delete => &[Call::Delete],
            Work::Login => &[Call::Session],
        }
    }
}

/// The mishaps by the names that the table has for them.
fn mishaps() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("HTTP 503", json!({"fault": "status", "status": 503})),
        (
            "HTTP 429",
            json!({"fault": "status", "status": 429, "retry_after": 1}),
        ),
        ("connection breaks", json!({"fault": "reset"})),
        ("answer cut short", json!({"fault": "truncate"})),
        ("answer stops half way", json!({"fault": "stall"})),
        ("another part of the file", json!({"fault": "wrong_range"})),
        ("a wrong byte", json!({"fault": "wrong_byte"})),
        ("web page as answer", json!({"fault": "html"})),
        ("done, but no answer", json!({"fault": "lost_reply"})),
        (
            "answers half a second late",
            json!({"fault": "delay", "milliseconds": 500}),
        ),
        (
            "done, and answered half a second late",
            json!({"fault": "late_reply", "milliseconds": 500}),
        ),
        (
            "no answer for a long time",
            json!({"fault": "delay", "milliseconds": 12_000}),
        ),
    ];
    if KIND.has(Capability::ChangeFeed) {
        all.extend([
            ("login expires each time", json!({"fault": "expire_token"})),
            (
                "the service's error 100 (internal)",
                json!({"fault": "error", "code": 100}),
            ),
            (
                "the service's error 114 (denied)",
                json!({"fault": "error", "code": 114}),
            ),
            (
                "no link for the file",
                json!({"fault": "link_error", "code": 110}),
            ),
            (
                "upload fails when assembled",
                json!({"fault": "file_error", "code": 10}),
            ),
        ]);
    } else {
        all.extend([
            // One that ends each session is asked ever more seldom, and the program would be away for minutes.
            ("login expires once", json!({"fault": "expire_token", "times": 1})),
            (
                "the host says \"Could not do it.\"",
                json!({"fault": "say", "text": "Could not do it."}),
            ),
            (
                "stored with another size",
                json!({"fault": "store_wrong", "what": "size"}),
            ),
            (
                "stored with another byte",
                json!({"fault": "store_wrong", "what": "hash"}),
            ),
            ("stored in the top folder", json!({"fault": "wrong_folder"})),
        ]);
    }
    all
}

/// The table's cells for this kind of account, by mishap.
fn table() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SEMANTICS.md");
    let text = fs::read_to_string(path).expect("read docs/SEMANTICS.md");
    let heading = if KIND.has(Capability::ChangeFeed) {
        "| MediaFire |"
    } else {
        "| YetiShare hosts |"
    };
    let rows = text.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('`', ""));
            let name = cells.next().unwrap_or_default();
            (name, cells.collect())
        })
        .collect()
}

/// What a program sees: `done`, or the error's name.
fn told(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EIO) => "EIO".to_owned(),
            Some(libc::ETIMEDOUT) => "ETIMEDOUT".to_owned(),
            Some(libc::EHOSTUNREACH) => "EHOSTUNREACH".to_owned(),
            Some(libc::EAGAIN) => "EAGAIN".to_owned(),
            Some(libc::EACCES) => "EACCES".to_owned(),
            Some(libc::ENOENT) => "ENOENT".to_owned(),
            Some(libc::EINVAL) => "EINVAL".to_owned(),
            Some(libc::EOPNOTSUPP) => "EOPNOTSUPP".to_owned(),
            _ => error.to_string(),
        },
    }
}

#[test]
fn every_mishap_with_everything_that_people_do_ends_as_the_table_says_and_loses_nothing() {
    let mishaps = mishaps();
    let table = table();
    let next = Mutex::new(mishaps.iter());
    let seen = Mutex::new(BTreeMap::new());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some((name, rule)) = next.lock().expect("a list").next() else {
                        return;
                    };
                    let none = Vec::new();
                    let expected = table.get(*name).unwrap_or(&none);
                    let ended = std::panic::catch_unwind(|| try_all(rule, expected));
                    let (cells, faults) = ended.unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        (Vec::new(), vec![format!("panicked: {text}")])
                    });
                    let mut wrong = wrong.lock().expect("a list");
                    wrong.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
                    seen.lock().expect("a table").insert(*name, cells);
                }
            });
        }
    });
    let seen = seen.into_inner().expect("a table");
    let known: Vec<_> = table.keys().map(String::as_str).collect();
    let wrong = wrong.into_inner().expect("a list");
    let rows = mishaps
        .iter()
        .map(|(name, _)| format!("| {name} | {} |", seen[name].join(" | ")));
    let rows = rows.collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{wrong:#?}; it ended so:\n{rows}");
    let mut tried: Vec<_> = seen.keys().copied().collect();
    tried.sort_unstable();
    assert_eq!(known, tried, "docs/SEMANTICS.md has a row for each mishap");
}

/// Everything under one mishap: how each ended, and what was not as it should be.
fn try_all(rule: &Value, expected: &[String]) -> (Vec<String>, Vec<String>) {
    let world = World::with(|setup| {
        setup.option("deadline", "\"2s\"");
        setup.option("read_timeout", "\"1s\"");
    });
    for path in [
        "unseen/file.bin",
        "seen/read.bin",
        "seen/old.bin",
        "seen/gone.bin",
    ] {
        world.put(path, &content(1, 100_000));
    }
    let mount = world.mount();
    assert_eq!(mount.list("seen").len(), 3);
    world.service.settle();
    let (mut cells, mut faults) = (Vec::new(), Vec::new());
    // One more for each upload, one less when it is removed.
    let mut files = 4;
    for (at, work) in WORK.into_iter().enumerate() {
        let wanted = expected.get(at).map_or("", String::as_str);
        if wanted == NEVER {
            cells.push(NEVER.to_owned());
            continue;
        }
        let began = Instant::now();
        let ended = try_one(&world, &mount, work, rule);
        let took = began.elapsed();
        if !wanted.split(", ").any(|wanted| wanted == ended) {
            faults.push(format!("{work:?} ended with {ended}, not {wanted:?}"));
        }
        if took > IN_TIME {
            faults.push(format!("{work:?} took {took:?}"));
        }
        cells.push(format!("`{ended}`"));
        world.service.faults(&[]);
        recover(&world, &mount, work);
        match work {
            Work::SmallUpload | Work::LargeUpload => files += 1,
            Work::Delete => files -= 1,
            _ => {}
        }
    }
    let stored = world.stored_sha256();
    assert_eq!(stored.len(), files, "{stored:?}");
    (cells, faults)
}

fn try_one(world: &World, mount: &Mount, work: Work, rule: &Value) -> String {
    let rules: Vec<_> = work.calls().iter().map(|call| (*call, rule.clone())).collect();
    if work == Work::Login {
        return log_in(world, &rules);
    }
    world.service.reset_calls();
    world.service.faults(&rules);
    match work {
        Work::List => told(listed(mount, "unseen").map(drop)),
        Work::Read => told(fs::read(mount.path("seen/read.bin")).map(|read| {
            assert!(read == content(1, 100_000), "wrong bytes");
        })),
        Work::SmallUpload => told(upload(world, mount, "seen/small.bin", &content(2, 3_000))),
        Work::LargeUpload => told(upload(world, mount, "seen/large.bin", &content(3, (4 << 20) + 1))),
        Work::Rename => told(fs::rename(mount.path("seen/old.bin"), mount.path("seen/new.bin"))),
        Work::Delete => {
            let removed = fs::remove_file(mount.path("seen/gone.bin"));
            std::thread::sleep(Duration::from_millis(500));
            told(removed)
        }
        Work::Login => unreachable!("done above"),
    }
}

fn listed(mount: &Mount, path: &str) -> io::Result<usize> {
    let entries = fs::read_dir(mount.path(path))?;
    Ok(entries.collect::<Result<Vec<_>, _>>()?.len())
}

/// `close()` returns before anything is sent; then the mishap is given time to strike.
fn upload(world: &World, mount: &Mount, path: &str, content: &[u8]) -> io::Result<()> {
    let written = fs::write(mount.path(path), content);
    let began = Instant::now();
    while began.elapsed() < GRIEF {
        let pending = world.pending();
        let is_over = pending.is_empty();
        if is_over || pending.iter().any(|file| !file["error"].is_null()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    written
}

/// Another machine of the same person: nothing is known there, not even a token.
fn log_in(world: &World, rules: &[(Call, Value)]) -> String {
    let mut place = world.another_place();
    place.runtime = world.folder().join("elsewhere");
    fs::create_dir_all(&place.runtime).expect("make a folder");
    world.service.faults(rules);
    let mount = world.mount_in(&place);
    let (ended, before) = (told(listed(&mount, "seen").map(drop)), world.stored().len());
    world.service.faults(&[]);
    // What a service refuses for good needs a person, who mounts again.
    let mount = if ended == "EACCES" {
        drop(mount);
        world.mount_in(&place)
    } else {
        mount
    };
    wait_for("it is listed after a login", || {
        // One of them is in another folder.
        listed(&mount, "seen").is_ok_and(|entries| entries + 1 == before)
    });
    ended
}

/// When the mishap is over all is as it was meant to be.
fn recover(world: &World, mount: &Mount, work: Work) {
    let is_right = |path: &str, wanted: &[u8]| fs::read(mount.path(path)).is_ok_and(|read| read == wanted);
    let old = content(1, 100_000);
    match work {
        Work::List => wait_for("the folder is listed", || {
            listed(mount, "unseen").is_ok_and(|entries| entries == 1)
        }),
        Work::Read => wait_for("the file is read", || is_right("seen/read.bin", &old)),
        Work::SmallUpload => {
            let wanted = content(2, 3_000);
            assert!(is_right("seen/small.bin", &wanted), "what waits is read");
            all_sent(world);
            assert_eq!(world.stored()["seen/small.bin"].sha256, sha256_of(&wanted));
        }
        Work::LargeUpload => {
            let wanted = content(3, (4 << 20) + 1);
            assert!(is_right("seen/large.bin", &wanted), "what waits is read");
            all_sent(world);
            assert_eq!(world.stored()["seen/large.bin"].sha256, sha256_of(&wanted));
        }
        Work::Rename => {
            wait_for("the file is renamed", || {
                if !mount.path("seen/new.bin").exists() {
                    // It may have been renamed on the service although nobody could say so.
                    let _ = fs::rename(mount.path("seen/old.bin"), mount.path("seen/new.bin"));
                }
                is_right("seen/new.bin", &old) && !mount.path("seen/old.bin").exists()
            });
            all_sent(world);
            let stored = world.stored();
            assert!(!stored.contains_key("seen/old.bin"), "{stored:?}");
            assert_eq!(stored["seen/new.bin"].sha256, sha256_of(&old));
        }
        Work::Delete => {
            all_sent(world);
            wait_for("the file is gone", || !mount.path("seen/gone.bin").exists());
            assert!(!world.stored().contains_key("seen/gone.bin"));
        }
        Work::Login => {}
    }
    assert!(
        listed(mount, "").is_ok_and(|entries| entries == 2),
        "the mount lives"
    );
}

/// What was refused is tried again at once, as a person may do.
fn all_sent(world: &World) {
    wait_for("nothing waits any more", || {
        world.lockerfs(&["retry"]).succeeded();
        std::thread::sleep(Duration::from_millis(200));
        world.pending().is_empty()
    });
}
