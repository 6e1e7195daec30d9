//! How files get there: in chunks, in steps, within the calls of a day.

use std::fs;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{LIST, OTHER, place, world};
use crate::publishing::harness::{MEDIA, wait_for};

#[test]
fn a_large_file_goes_in_three_chunks_and_begins_anew_where_one_fails() {
    let world = world(|setup| setup.option("upload_delay", "\"0s\""));
    let mount = world.mount();
    // How large a file may be is one of the questions.
    fs::metadata(place(&mount, MEDIA, "")).expect("stat");
    world.service.settle();
    world.service.reset_calls();
    world.service.strike(&json!([
        { "match": "mirrorace/upload", "fault": "status", "status": 503, "skip": 1, "times": 1 },
    ]));
    let mut file = fs::File::create(place(&mount, MEDIA, "big.bin")).expect("create");
    let mut hash = Sha256::new();
    let mut random = fastrand::Rng::with_seed(250);
    let mut block = vec![0; 1 << 20];
    for _ in 0..250 {
        random.fill(&mut block);
        hash.update(&block);
        file.write_all(&block).expect("write");
    }
    drop(file);
    world.drain();
    let stored = world.service.stored(MEDIA);
    assert_eq!(stored["big.bin"].sha256, hex::encode(hash.finalize()));
    assert_eq!(stored.len(), 1);
    let calls = world.service.calls();
    // One that came, one that failed, and three of the upload that began anew.
    assert_eq!(calls.by_name["mirrorace/upload"], 5, "{calls:?}");
    assert_eq!(
        calls.by_name["mirrorace/file/upload"], 2,
        "fresh variables for the second try: {calls:?}"
    );
    let sent = world.service.ask("calls")["bodies"]["mirrorace/upload"]
        .as_u64()
        .expect("a count");
    let (whole, chunk) = (250 << 20, 100_000_000);
    let least = whole + chunk;
    assert!(
        sent > least && sent < least + chunk + (1 << 20),
        "all from the first byte on: {sent}"
    );
    wait_for("the mount knows of it", || mount.xattr("big.bin", "id").is_ok());
    mount.unmount(&world.config());
}

#[test]
fn a_file_on_mirrored_to_costs_three_calls() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    fs::write(place(&mount, OTHER, "first.bin"), "first").expect("cp");
    world.drain();
    let calls = world.counted(|| {
        fs::write(place(&mount, OTHER, "second.bin"), "second").expect("cp");
        world.drain();
    });
    let expected = [
        ("mirrored_to/api_file_upload".to_owned(), 1),
        ("mirrored_to/finish_upload".to_owned(), 1),
        ("mirrored_to/get_upload_info".to_owned(), 1),
    ];
    assert_eq!(calls.by_name, expected.into());
    mount.unmount(&world.config());
}

#[test]
fn a_spent_day_lets_uploads_wait_for_the_next_and_they_go_on_by_themselves() {
    let world = world(|setup| setup.asks_for_nothing());
    let ahead = world.folder().join("ahead");
    // At noon, so that no day turns by itself.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    let noon = 86_400 + 43_200 - now % 86_400;
    let set_clock = |seconds: u64| {
        world.service.tell("clock", &json!({ "ahead": seconds }));
        fs::write(&ahead, seconds.to_string()).expect("a clock");
    };
    set_clock(noon);
    let under = format!("LOCKERFS_CLOCK_AHEAD={}", ahead.display());
    let mount_anew =
        || crate::publishing::harness::Mount::start_under(&["env", &under], &world.config(), &world.place());
    let mount = mount_anew();
    for number in 0..200 {
        fs::write(
            place(&mount, OTHER, &format!("{number}.bin")),
            format!("content {number}"),
        )
        .expect("cp");
    }
    let waiting = || {
        let status = world.status();
        let files = status["pending"].as_array().expect("a list");
        files.iter().filter(|file| file["state"] == "waiting").count()
    };
    wait_for("the day is spent", || {
        world.service.stored(OTHER).len() == 166 && waiting() == 34
    });
    let shown = world.lockerfs(&["status"]).stdout;
    assert!(shown.contains("of 500 calls are left for today"), "{shown}");
    assert!(shown.contains("00:00 UTC"), "{shown}");
    let status = world.status();
    let account = status["accounts"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["name"] == OTHER);
    let renewed = account.expect("the account")["calls"]["renewed"]
        .as_u64()
        .expect("a time");
    assert_eq!(renewed % 86_400, 0);
    for file in status["pending"].as_array().expect("a list") {
        let next = file["next_try"].as_u64().expect("the hour of the next try");
        let next = next + noon;
        assert!(next >= renewed && next < renewed + 300, "{file}");
    }
    let calls = world.service.calls().by_name;
    assert_eq!(calls["mirrored_to/finish_upload"], 166, "{calls:?}");
    // A restart makes no difference.
    mount.kill();
    let mount = mount_anew();
    world.lockerfs(&["queue", "retry"]).succeeded();
    world.service.settle();
    assert_eq!(world.service.stored(OTHER).len(), 166);
    // The next day, as after a machine has slept: no timer has run, and nobody says anything.
    set_clock(noon + 43_200 + 60);
    wait_for("all go on by themselves", || {
        world.service.stored(OTHER).len() == 200
    });
    world.drain();
    let calls = world.service.calls().by_name;
    assert_eq!(calls["mirrored_to/finish_upload"], 200, "{calls:?}");
    assert!(
        mount.log().contains("another day: uploads go on"),
        "{}",
        mount.log()
    );
    let list = fs::read_to_string(place(&mount, OTHER, LIST)).expect("the list of links");
    assert_eq!(list.lines().count(), 200);
    mount.unmount(&world.config());
}

#[test]
fn account_check_tells_what_such_an_account_can_do() {
    let world = world(|_| {});
    for account in [MEDIA, OTHER] {
        let ran = world.lockerfs(&["account", "check", account]);
        ran.succeeded().tells_no_secret();
        assert!(ran.stdout.contains("Largest file:"), "{}", ran.stdout);
        assert!(ran.stdout.contains("cannot read files back"), "{}", ran.stdout);
    }
    let wrong = world.config_with_wrong_secrets();
    world.write_config(&wrong);
    world
        .lockerfs(&["account", "check", MEDIA])
        .failed(1, &["api key"]);
}

#[test]
fn files_of_one_name_in_many_folders_all_arrive_whole() {
    let world = world(|setup| setup.service.quirks.mirrorace.max_chunk_size = 10_000);
    let mount = world.mount();
    let content = |number: usize| crate::publishing::harness::content(number as u64, 25_000 + number);
    for number in 0..5 {
        fs::create_dir(place(&mount, MEDIA, &format!("{number}"))).expect("mkdir");
        fs::write(
            place(&mount, MEDIA, &format!("{number}/same.bin")),
            content(number),
        )
        .expect("cp");
    }
    world.drain();
    let files = world.service.ask(&format!("files?account={MEDIA}"));
    let files = files.as_array().expect("a list");
    let mut sent: Vec<_> = files
        .iter()
        .map(|file| file["sha256"].as_str().expect("a hash").to_owned())
        .collect();
    let mut wanted: Vec<_> = (0..5)
        .map(|number| crate::publishing::harness::sha256_of(&content(number)))
        .collect();
    sent.sort();
    wanted.sort();
    assert_eq!(sent, wanted);
    mount.unmount(&world.config());
}
