//! What uploads cost: calls for many files and for large ones, and nothing sent twice after a kill.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::suite::harness::{Call, MEDIA, Scratch, Tune, World, content, run, sha256_of, wait_for};

const SMALL: usize = 4096;

/// A folder with so many small files, all different.
fn many_files(world: &World, count: u64) -> PathBuf {
    let scratch = Scratch::new(world.folder().join("source"));
    for file in 0..count {
        scratch.file(&format!("many/f{file:03}.bin"), &content(file + 1, SMALL));
    }
    world.folder().join("source/many")
}

fn assert_all_stored(world: &World, count: u64) {
    let stored = world.stored();
    assert_eq!(stored.len() as u64, count, "{:?}", stored.keys());
    for file in 0..count {
        let sha256 = sha256_of(&content(file + 1, SMALL));
        assert_eq!(
            stored[&format!("many/f{file:03}.bin")].sha256,
            sha256,
            "file {file}"
        );
    }
}

#[test]
fn five_hundred_small_files_take_two_calls_each_and_a_few_for_all() {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.tune(Tune::Processing(Duration::from_millis(200)));
    });
    let source = many_files(&world, 500);
    let mount = world.mount();
    mount.list("");
    let calls = world.counted(|| {
        run("cp", &[&"-r", &source, &mount.path("")]).succeeded();
        world.drain();
    });
    assert_all_stored(&world, 500);
    assert_eq!((calls.of(Call::BeginUpload), calls.of(Call::Upload)), (500, 500));
    assert!(calls.work() <= 1_100, "{calls:?}");
}

#[test]
fn rsync_of_200_files_sends_200_files_under_their_own_names() {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.option("upload_delay", "\"1s\"");
    });
    let source = many_files(&world, 200);
    let mount = world.mount();
    mount.list("");
    let calls = world.counted(|| {
        run("rsync", &[&"-a", &source, &mount.path("")]).succeeded();
        world.drain();
    });
    assert_all_stored(&world, 200);
    assert_eq!(calls.of(Call::Upload), 200, "{calls:?}");
    // The folder's time, where it is another than that of its making.
    assert!(calls.of(Call::Rename) <= 1, "{calls:?}");
    assert!(calls.work() <= 450, "{calls:?}");
}

#[test]
fn what_fails_among_many_is_put_right_and_no_bytes_that_the_service_has_are_sent_again() {
    let world = World::new();
    let source = many_files(&world, 60);
    let mount = world.mount();
    let mishaps = [
        json!({"fault": "file_error", "code": 7, "times": 3}),
        json!({"fault": "lost_reply", "times": 2}),
    ];
    world
        .service
        .faults(&mishaps.map(|mishap| (Call::Upload, mishap)));
    world.service.reset_calls();
    run("cp", &[&"-r", &source, &mount.path("")]).succeeded();
    world.drain();
    assert_all_stored(&world, 60);
    let calls = world.service.calls();
    assert_eq!(
        (calls.of(Call::Upload), calls.of(Call::InstantUpload)),
        (60, 3),
        "{calls:?}"
    );
}

#[test]
fn an_upload_that_the_service_gives_up_waits_and_goes_through_when_it_is_tried_again() {
    let world = World::new();
    let mount = world.mount();
    for (code, name) in [(15, "full.bin"), (5, "virus.bin")] {
        world.service.faults(&[(
            Call::Upload,
            json!({"fault": "file_error", "code": code, "times": 1}),
        )]);
        let body = content(code, SMALL);
        mount.write(name, &body);
        wait_for("the refusal is told", || {
            mount
                .xattr(name, "error")
                .is_ok_and(|error| error.contains(&format!("upload error {code}")))
        });
        assert!(!world.stored().contains_key(name) && mount.read(name) == body);
        world.lockerfs(&["retry"]).succeeded();
        wait_for("it is on the service", || world.stored().contains_key(name));
        assert_eq!(world.stored()[name].sha256, sha256_of(&body));
    }
}

#[test]
fn units_that_the_service_has_are_not_sent_again_after_a_kill() {
    const UNITS: u64 = 12;
    let world = World::with(|setup| {
        setup.option("workers", "1");
        setup.service.per_connection = Some(8 << 20);
    });
    let body = content(7, UNITS as usize * (2 << 20));
    let mount = world.mount();
    world.service.reset_calls();
    mount.write("large.bin", &body);
    wait_for("half of the units are sent", || {
        world.service.calls().of(Call::UploadUnit) > UNITS / 2
    });
    mount.kill();
    let begun = world.service.calls().of(Call::UploadUnit);
    assert!(begun < UNITS, "it was killed too late to tell anything: {begun}");
    world.service.reset_calls();
    let mount = world.mount();
    world.drain();
    let after = world.service.calls();
    // One at a time: all but the one that was under way had been taken.
    assert!(
        after.of(Call::UploadUnit) <= UNITS - (begun - 1),
        "{begun} before, {after:?}"
    );
    assert_eq!(world.service.stored(MEDIA)["large.bin"].sha256, sha256_of(&body));
    assert_eq!(
        fs::metadata(mount.path("large.bin")).expect("stat").len(),
        body.len() as u64
    );
}

#[test]
fn a_small_file_is_sent_while_a_large_one_takes_long() {
    let world = World::with(|setup| setup.service.per_connection = Some(768 << 10));
    let mount = world.mount();
    mount.write("large.bin", &content(1, 40 << 20));
    wait_for("the large one is being sent", || {
        world.service.calls().of(Call::UploadUnit) > 0
    });
    for file in 0..20 {
        mount.write(&format!("small-{file}.bin"), &content(file + 10, SMALL));
    }
    wait_for("the small ones are on the service", || world.stored().len() >= 20);
    assert!(!world.stored().contains_key("large.bin"), "they overtook it");
    world.drain();
    assert_eq!(world.stored().len(), 21);
}
