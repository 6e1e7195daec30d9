//! A service that misbehaves towards readers: the right bytes or an error, never wrong bytes, never a hang.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;
use serde_json::{Value, json};

use super::harness::{Call, World, content, run, sha256_of, wait_for};
use crate::KIND;

/// Reads a file with a fault that strikes a few times: a program may see an error, and never other bytes.
fn right_or_eio(mishap: Value) {
    let world = World::new();
    let wanted = content(1, 6 << 20);
    world.put("data.bin", &wanted);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["data.bin"]);
    world.service.faults(&[(Call::Download, mishap)]);
    let file = File::open(mount.path("data.bin")).expect("open");
    for at in (0..wanted.len()).step_by(512 << 10) {
        let mut got = vec![0; 512 << 10];
        match file.read_exact_at(&mut got, at as u64) {
            Ok(()) => assert!(got == wanted[at..at + got.len()], "wrong bytes at {at}"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "at {at}: {error}"),
        }
    }
    world.service.faults(&[]);
    wait_for("it is read right again", || {
        fs::read(mount.path("data.bin")).is_ok_and(|got| sha256_of(&got) == sha256_of(&wanted))
    });
}

#[test]
fn a_web_page_in_place_of_data_is_never_read_as_content() {
    right_or_eio(json!({"fault": "html", "rate": 0.5}));
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_never_read_as_content() {
    right_or_eio(json!({"fault": "reset", "rate": 0.5}));
}

#[test]
fn a_body_that_ends_too_early_is_never_read_as_content() {
    right_or_eio(json!({"fault": "truncate", "rate": 0.5}));
}

#[test]
fn answers_of_503_are_never_read_as_content() {
    right_or_eio(json!({"fault": "status", "status": 503, "rate": 0.5}));
}

#[test]
fn answers_of_429_are_never_read_as_content() {
    right_or_eio(json!({"fault": "status", "status": 429, "retry_after": 1, "rate": 0.3}));
}

#[test]
fn links_that_run_out_all_the_time_are_never_read_as_content() {
    right_or_eio(json!({"fault": "status", "status": 410, "rate": 0.3}));
}

#[test]
fn a_part_that_is_told_to_be_another_is_never_read_as_content() {
    right_or_eio(json!({"fault": "wrong_range", "rate": 0.3}));
}

#[test]
fn a_body_that_stops_in_the_middle_ends_within_the_deadline() {
    let world = World::with(|setup| setup.option("read_timeout", "\"2s\""));
    let wanted = content(5, 6 << 20);
    world.put("data.bin", &wanted);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["data.bin"]);
    world
        .service
        .faults(&[(Call::Download, json!({"fault": "stall"}))]);
    let begun = Instant::now();
    let error = fs::read(mount.path("data.bin")).expect_err("nothing comes");
    assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error}");
    // Each try that brings bytes begins the time anew.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    world.service.faults(&[]);
    assert!(fs::read(mount.path("data.bin")).expect("read") == wanted);
}

#[test]
fn bytes_that_are_not_those_of_the_hash_are_fetched_once_more_or_refused() {
    if !KIND.has(Capability::ContentHash) {
        return;
    }
    let world = World::new();
    let small = content(6, 200_000);
    let large = content(7, 70 << 20);
    world.put("small.bin", &small);
    world.put("large.bin", &large);
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 2);
    let once = (Call::Download, json!({"fault": "wrong_byte", "times": 1}));
    world.service.faults(std::slice::from_ref(&once));
    assert!(mount.read("small.bin") == small, "the second time it was right");
    world.service.faults(&[once]);
    let error = fs::read(mount.path("large.bin")).expect_err("it is not what was promised");
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    wait_for("the log names the file", || mount.log().contains("large.bin"));
    wait_for("it is read right by who opens it anew", || {
        fs::read(mount.path("large.bin")).is_ok_and(|got| got == large)
    });
    world.change("small.bin", &content(8, 200_001));
    wait_for("the change is seen", || {
        fs::metadata(mount.path("small.bin")).is_ok_and(|meta| meta.len() == 200_001)
    });
    world
        .service
        .faults(&[(Call::Download, json!({"fault": "wrong_byte"}))]);
    let error = fs::read(mount.path("small.bin")).expect_err("it never is what was promised");
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
}

#[test]
fn one_mishap_of_each_kind_is_not_noticed() {
    let world = World::new();
    let wanted = content(2, 300_000);
    let mishaps = [
        (Call::Download, json!({"fault": "html", "times": 1})),
        (Call::Download, json!({"fault": "reset", "times": 1})),
        (Call::Download, json!({"fault": "truncate", "times": 1})),
        (
            Call::Download,
            json!({"fault": "status", "status": 404, "times": 1}),
        ),
        (
            Call::Download,
            json!({"fault": "status", "status": 503, "times": 1}),
        ),
        (Call::Link, json!({"fault": "lost_reply", "times": 1})),
        (Call::Link, json!({"fault": "html", "times": 1})),
        (Call::Link, json!({"fault": "truncate", "times": 1})),
        (
            Call::Link,
            json!({"fault": "status", "status": 429, "retry_after": 1, "times": 1}),
        ),
    ];
    for at in 0..mishaps.len() {
        world.put(&format!("{at}.bin"), &wanted);
    }
    let mount = world.mount();
    for (at, mishap) in mishaps.iter().enumerate() {
        world.service.faults(std::slice::from_ref(mishap));
        let got = fs::read(mount.path(&format!("{at}.bin"))).unwrap_or_else(|e| panic!("{mishap:?}: {e}"));
        assert!(got == wanted, "{mishap:?}");
    }
}

#[test]
fn a_listing_that_fails_now_and_then_is_asked_for_again() {
    let world = World::new();
    for at in 0..6 {
        world.put(&format!("folder-{at}/file"), b"x");
    }
    let mount = world.mount();
    world.service.faults(
        &["html", "truncate", "lost_reply"]
            .map(|fault| (Call::Listing, json!({"fault": fault, "rate": 0.2}))),
    );
    let count = |path: &str| -> std::io::Result<usize> {
        let entries = fs::read_dir(mount.path(path))?;
        Ok(entries.collect::<Result<Vec<_>, _>>()?.len())
    };
    for at in 0..6 {
        match count(&format!("folder-{at}")) {
            Ok(entries) => assert_eq!(entries, 1, "a listing that failed is not an empty one"),
            Err(error) => assert_ne!(error.raw_os_error(), Some(libc::ENOENT), "{error}"),
        }
    }
    world.service.faults(&[]);
    for at in 0..6 {
        wait_for("the folder is listed", || {
            count(&format!("folder-{at}")).is_ok_and(|entries| entries == 1)
        });
    }
}

#[test]
fn a_service_that_hangs_costs_the_deadline_and_what_is_known_is_answered_at_once() {
    let world = World::with(|setup| setup.option("deadline", "\"2s\""));
    world.put("folder/data.bin", &content(3, 100_000));
    world.put("unknown/file", b"x");
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["data.bin"]);
    run("df", &[&mount.path("")]).succeeded();
    world.service.settle();
    world.service.hang();

    std::thread::scope(|scope| {
        let hung = scope.spawn(|| {
            let began = Instant::now();
            (fs::read(mount.path("folder/data.bin")), began.elapsed())
        });
        let listing = scope.spawn(|| {
            let began = Instant::now();
            let entries = fs::read_dir(mount.path("unknown"));
            (
                entries.and_then(|entries| entries.collect::<Result<Vec<_>, _>>()),
                began.elapsed(),
            )
        });
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        run("ls", &[&"-l", &mount.path("folder")]).succeeded();
        run("df", &[&mount.path("")]).succeeded();
        mount.write("folder/written meanwhile", b"y");
        assert_eq!(mount.read("folder/written meanwhile"), b"y");
        assert!(
            began.elapsed() < Duration::from_millis(1500),
            "known names took {:?}",
            began.elapsed()
        );

        let (read, took) = hung.join().expect("the reader ends");
        assert_eq!(read.expect_err("no answer").raw_os_error(), Some(libc::ETIMEDOUT));
        assert!(took < Duration::from_secs(15), "the read took {took:?}");
        let (listed, took) = listing.join().expect("the listing ends");
        assert_eq!(
            listed.expect_err("no answer").raw_os_error(),
            Some(libc::ETIMEDOUT)
        );
        assert!(took < Duration::from_secs(15), "the listing took {took:?}");
    });
    world.service.faults(&[]);
    wait_for("it works again", || {
        fs::read(mount.path("folder/data.bin")).is_ok_and(|got| got == content(3, 100_000))
    });
    world.drain();
    assert_eq!(world.stored()["folder/written meanwhile"].sha256, sha256_of(b"y"));
}

#[test]
fn a_service_that_is_away_is_told_as_such_and_is_found_again() {
    let world = World::with(|setup| setup.option("deadline", "\"2s\""));
    world.put("folder/data.bin", &content(4, 100_000));
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["data.bin"]);
    world.service.stop();
    let error = fs::read(mount.path("folder/data.bin")).expect_err("nobody answers");
    let kinds = [libc::EHOSTUNREACH, libc::ETIMEDOUT];
    assert!(
        error.raw_os_error().is_some_and(|code| kinds.contains(&code)),
        "{error}"
    );
    assert_eq!(
        mount.list("folder"),
        ["data.bin"],
        "what is known is still listed"
    );
    let made = fs::create_dir(mount.path("folder/new"));
    assert!(made.is_err(), "no folder is claimed that was not made");
    world.service.come_back();
    wait_for("it is read again", || {
        fs::read(mount.path("folder/data.bin")).is_ok_and(|got| got == content(4, 100_000))
    });
}
