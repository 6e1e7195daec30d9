//! Nothing that was closed is lost, and nothing is stored twice, whatever breaks.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;

use super::harness::{Call, Mount, Tune, World, assert_same, content, sha256_of, snapshot, wait_for};

/// 200 small files and a few of several units, with their hashes.
fn write_many(mount: &Mount) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    fs::create_dir(mount.path("batch")).expect("mkdir");
    let big = (0..3).map(|at| {
        (
            format!("batch/big-{at}.bin"),
            content(500 + at, (5 << 20) + at as usize),
        )
    });
    let small = (0..200).map(|at| {
        (
            format!("batch/small-{at:03}.bin"),
            content(at, 100 + at as usize * 37),
        )
    });
    for (path, content) in big.chain(small) {
        mount.write(&path, &content);
        wanted.insert(path, sha256_of(&content));
    }
    wanted
}

#[test]
fn killed_in_the_middle_of_200_uploads_it_stores_each_file_once() {
    let world = World::with(|setup| setup.service.latency = Duration::from_millis(25));
    // Some uploads pass and all others hang.
    let hang = json!({"fault": "delay", "milliseconds": 300_000, "skip": 20});
    let stuck = || world.service.faults(&[(Call::Upload, hang.clone())]);
    stuck();
    let mut mount = world.mount();
    let wanted = write_many(&mount);
    for round in 1..=2 {
        wait_for("some more are uploaded and others are under way", || {
            world.service.calls().of(Call::Upload) > 20 && world.stored().len() >= 20 * round
        });
        assert!(world.stored().len() < wanted.len());
        mount.kill();
        world.service.reset_calls();
        stuck();
        mount = world.mount();
    }
    world.service.faults(&[]);
    assert_same(&snapshot(&mount.path("")), &wanted, "while they wait");
    world.drain();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
    mount.unmount(&world.config());
}

#[test]
fn a_file_closed_just_before_a_kill_is_there_again_and_is_uploaded() {
    let world = World::with(|setup| setup.option("upload_delay", "\"20s\""));
    world.put("edited.txt", b"the old content");
    let mount = world.mount();
    let body = content(1, 70_000);
    mount.write("fresh.bin", &body);
    let file = fs::OpenOptions::new()
        .append(true)
        .open(mount.path("edited.txt"))
        .expect("open");
    std::io::Write::write_all(&mut &file, b" and more").expect("append");
    drop(file);
    fs::create_dir(mount.path("folder")).expect("mkdir");
    mount.write("folder/renamed-from", b"moved");
    fs::rename(mount.path("folder/renamed-from"), mount.path("folder/renamed-to")).expect("rename");
    mount.write("removed", b"removed");
    fs::remove_file(mount.path("removed")).expect("unlink");
    mount.kill();
    assert!(
        !world.stored().contains_key("fresh.bin"),
        "it was not uploaded yet"
    );

    let mount = world.mount();
    assert_eq!(mount.list(""), ["edited.txt", "folder", "fresh.bin"]);
    assert!(mount.read("fresh.bin") == body);
    assert_eq!(mount.read("edited.txt"), b"the old content and more");
    assert_eq!(mount.list("folder"), ["renamed-to"]);
    mount.unmount(&world.config());
    let wanted = [
        ("edited.txt", sha256_of(b"the old content and more")),
        ("folder/renamed-to", sha256_of(b"moved")),
        ("fresh.bin", sha256_of(&body)),
    ];
    assert_eq!(
        world.stored_sha256(),
        wanted.map(|(path, hash)| (path.to_owned(), hash)).into()
    );
}

#[test]
fn what_was_synced_but_not_closed_survives_a_kill() {
    let world = World::with(|setup| setup.option("upload_delay", "\"20s\""));
    let mount = world.mount();
    let mut file = fs::File::create(mount.path("journal")).expect("create");
    std::io::Write::write_all(&mut file, b"synced").expect("write");
    file.sync_all().expect("fsync");
    mount.kill();
    drop(file);
    let mount = world.mount();
    assert_eq!(mount.read("journal"), b"synced");
    mount.unmount(&world.config());
    assert_eq!(world.stored()["journal"].sha256, sha256_of(b"synced"));
}

#[test]
fn a_file_that_is_written_anew_when_it_is_killed_keeps_its_old_content() {
    use std::io::Write;
    let world = World::with(|setup| setup.option("upload_delay", "\"20s\""));
    let mount = world.mount();
    let old = content(1, 20_000);
    mount.write("again.bin", &old);
    let mut file = fs::File::create(mount.path("again.bin")).expect("open with truncation");
    file.write_all(&content(2, 9000)).expect("write a part");
    // Who looks meanwhile sees what was written.
    assert_eq!(mount.read("again.bin").len(), 9000);
    mount.kill();
    drop(file);
    let mount = world.mount();
    assert!(
        mount.read("again.bin") == old,
        "the old content is not there whole"
    );
    mount.unmount(&world.config());
    assert_eq!(world.stored()["again.bin"].sha256, sha256_of(&old));
}

#[test]
fn what_changes_after_a_sync_and_before_a_kill_does_not_mix_into_what_was_synced() {
    use std::os::unix::fs::FileExt;
    let world = World::with(|setup| setup.option("upload_delay", "\"20s\""));
    let old = content(1, 2500);
    world.put("edited.bin", &old);
    let mount = world.mount();
    let file = fs::File::options()
        .write(true)
        .open(mount.path("edited.bin"))
        .expect("open");
    file.set_len(219).expect("cut");
    file.sync_all().expect("fsync");
    let new = content(2, 1000);
    file.write_all_at(&new, 176)
        .expect("write over a part that was never fetched");
    let mut whole = old[..176].to_vec();
    whole.extend(&new);
    assert!(mount.read("edited.bin") == whole);
    mount.kill();
    drop(file);
    let mount = world.mount();
    let found = mount.read("edited.bin");
    assert!(
        found == old[..219] || found == whole,
        "{} bytes of both",
        found.len()
    );
    mount.unmount(&world.config());
    assert_eq!(world.stored()["edited.bin"].sha256, sha256_of(&found));
}

#[test]
fn what_was_sent_under_a_former_name_is_not_shown_beside_the_file_after_a_kill() {
    let world = World::new();
    let mount = world.mount();
    fs::create_dir(mount.path("folder")).expect("mkdir");
    // The service has it, and nobody here knows.
    world
        .service
        .faults(&[(Call::Upload, json!({"fault": "lost_reply", "times": 1}))]);
    mount.write("former.bin", &content(1, 3000));
    wait_for("the service has it", || world.stored().contains_key("former.bin"));
    fs::rename(mount.path("former.bin"), mount.path("folder/present.bin")).expect("rename");
    mount.kill();
    world.service.faults(&[(
        Call::AnyUpload,
        json!({"fault": "delay", "milliseconds": 300_000}),
    )]);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["folder"]);
    assert_eq!(mount.list("folder"), ["present.bin"]);
    mount.kill();
    world.service.faults(&[]);
    let mount = world.mount();
    world.drain();
    mount.unmount(&world.config());
    let wanted = [("folder/present.bin".to_owned(), sha256_of(&content(1, 3000)))].into();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
}

#[test]
fn an_older_content_that_was_sent_is_not_shown_beside_the_newer_one_after_a_kill() {
    let world = World::new();
    let mount = world.mount();
    mount.write("note.txt", b"the oldest content");
    world.drain();
    // The service has the next one, under a name like the file's where it numbers them, and nobody here can find out.
    let hang = json!({"fault": "delay", "milliseconds": 300_000});
    let looks = [Call::Link, Call::Download, Call::PollUpload].map(|call| (call, hang.clone()));
    let lost = (Call::Upload, json!({"fault": "lost_reply", "times": 1}));
    world.service.faults(&[[lost].as_slice(), &looks].concat());
    let sent = content(1, 3000);
    mount.write("note.txt", &sent);
    wait_for("the service has it", || {
        world
            .stored_sha256()
            .values()
            .any(|hash| *hash == sha256_of(&sent))
    });
    let newer = content(2, 5000);
    mount.write("note.txt", &newer);
    mount.kill();
    world.service.faults(&looks);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["note.txt"]);
    assert!(mount.read("note.txt") == newer);
    mount.kill();
    world.service.faults(&[]);
    let mount = world.mount();
    world.drain();
    mount.unmount(&world.config());
    let wanted = [("note.txt".to_owned(), sha256_of(&newer))].into();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
}

#[test]
fn a_file_that_was_uploaded_after_its_folder_was_told_to_be_empty_is_listed() {
    let world = World::with(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    fs::create_dir(mount.path("folder")).expect("mkdir");
    let hang = json!({"fault": "delay", "milliseconds": 300_000});
    world.service.faults(&[(Call::AnyUpload, hang)]);
    mount.write("folder/late.bin", b"late");
    mount.kill();
    // Nothing of it arrives before the folder was told to be empty, and nothing hangs afterwards.
    let refuse = json!({"fault": "status", "status": 503});
    world.service.faults(&[(Call::AnyUpload, refuse)]);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["folder"]);
    world.service.faults(&[]);
    wait_for("it is uploaded", || {
        world.lockerfs(&["retry"]).succeeded();
        world.pending().is_empty()
    });
    assert_eq!(mount.list("folder"), ["late.bin"]);
}

#[test]
fn a_service_that_goes_away_in_mid_upload_and_comes_back_gets_everything() {
    let world = World::with(|setup| {
        setup.service.latency = Duration::from_millis(10);
        setup.service.per_connection = Some(20_000_000);
    });
    let mount = world.mount();
    let wanted = write_many(&mount);
    wait_for("uploads are under way", || world.stored().len() > 10);
    world.service.stop();
    mount.write("written-offline.txt", b"offline");
    assert_eq!(mount.read("written-offline.txt"), b"offline");
    let status = world.status();
    assert!(
        status["pending"]
            .as_array()
            .is_some_and(|pending| !pending.is_empty()),
        "{status}"
    );
    std::thread::sleep(Duration::from_millis(500));
    world.service.come_back();
    let mut wanted = wanted;
    wanted.insert("written-offline.txt".to_owned(), sha256_of(b"offline"));
    wait_for("all is uploaded", || world.stored().len() == wanted.len());
    world.drain();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
}

#[test]
fn a_lost_answer_makes_no_twin_and_loses_nothing() {
    let world = World::new();
    world.put("known.bin", &content(1, 30_000));
    let mount = world.mount();
    world.service.faults(&[
        (Call::Upload, json!({"fault": "lost_reply", "times": 2})),
        (Call::UploadUnit, json!({"fault": "lost_reply", "times": 2})),
        (Call::InstantUpload, json!({"fault": "lost_reply", "times": 1})),
        (Call::PollUpload, json!({"fault": "lost_reply", "times": 1})),
        (Call::CreateFolder, json!({"fault": "lost_reply", "times": 1})),
    ]);
    fs::create_dir(mount.path("folder")).expect("mkdir, although the first answer is lost");
    let mut wanted: BTreeMap<String, String> =
        [("known.bin".to_owned(), sha256_of(&content(1, 30_000)))].into();
    let files = [
        ("folder/small-1.bin", content(2, 5000)),
        ("folder/small-2.bin", content(3, 5001)),
        ("units.bin", content(4, 6 << 20)),
        ("same as known.bin", content(1, 30_000)),
    ];
    for (path, content) in &files {
        mount.write(path, content);
        wanted.insert((*path).to_owned(), sha256_of(content));
    }
    world.drain();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
    assert_eq!(
        mount.list(""),
        ["folder", "known.bin", "same as known.bin", "units.bin"]
    );
    // A second mount has no memory that could hide a twin.
    world.forget();
    let fresh = world.mount();
    assert_eq!(
        fresh.list(""),
        ["folder", "known.bin", "same as known.bin", "units.bin"]
    );
    assert_eq!(fresh.list("folder"), ["small-1.bin", "small-2.bin"]);
}

#[test]
fn a_lost_answer_to_an_upload_that_the_service_still_works_on_makes_no_twin() {
    let world = World::with(|setup| setup.tune(Tune::Processing(Duration::from_millis(1500))));
    let mount = world.mount();
    world.service.faults(&[
        (Call::Upload, json!({"fault": "lost_reply", "times": 1})),
        (Call::UploadUnit, json!({"fault": "lost_reply", "times": 1})),
    ]);
    mount.write("small.bin", &content(1, 5000));
    mount.write("units.bin", &content(2, (4 << 20) + 1));
    world.drain();
    // By then the service has worked off all that it was sent.
    std::thread::sleep(Duration::from_millis(2000));
    let wanted = [
        ("small.bin", content(1, 5000)),
        ("units.bin", content(2, (4 << 20) + 1)),
    ];
    let wanted = wanted
        .map(|(path, content)| (path.to_owned(), sha256_of(&content)))
        .into();
    assert_same(&world.stored_sha256(), &wanted, "on the service");
}

#[test]
fn a_lost_answer_while_content_is_replaced_keeps_one_file_and_its_id_where_it_can() {
    let world = World::new();
    world.put("report.txt", b"first");
    let before = world.stored()["report.txt"].clone();
    let mount = world.mount();
    world
        .service
        .faults(&[(Call::Upload, json!({"fault": "lost_reply", "times": 1}))]);
    mount.write("report.txt", b"second");
    world.drain();
    let stored = world.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_eq!(stored["report.txt"].sha256, sha256_of(b"second"));
    stored["report.txt"].replaces(&before);
}

#[test]
fn lost_answers_to_rename_move_and_delete_end_well() {
    let world = World::new();
    world.put("a/one.txt", b"one");
    world.put("b/two.txt", b"two");
    let mount = world.mount();
    assert_eq!((mount.list("a").len(), mount.list("b").len()), (1, 1));
    world.service.faults(
        &[Call::Rename, Call::Move, Call::Delete]
            .map(|call| (call, json!({"fault": "lost_reply", "times": 1}))),
    );
    fs::rename(mount.path("a/one.txt"), mount.path("a/uno.txt")).expect("rename");
    fs::rename(mount.path("a/uno.txt"), mount.path("b/uno.txt")).expect("move");
    fs::remove_file(mount.path("b/two.txt")).expect("unlink");
    assert_eq!(mount.list("b"), ["uno.txt"]);
    world.drain();
    assert_eq!(world.stored().into_keys().collect::<Vec<_>>(), ["b/uno.txt"]);
    assert_eq!(mount.list("b"), ["uno.txt"]);
}

#[test]
fn on_a_service_that_fails_in_every_way_50_files_are_stored_right() {
    let world = World::new();
    let mount = world.mount();
    world.service.faults(&[
        (
            Call::AnyUpload,
            json!({"fault": "status", "status": 503, "rate": 0.08}),
        ),
        (Call::AnyUpload, json!({"fault": "reset", "rate": 0.08})),
        (Call::AnyUpload, json!({"fault": "html", "rate": 0.05})),
        (Call::AnyUpload, json!({"fault": "truncate", "rate": 0.05})),
        (Call::AnyUpload, json!({"fault": "lost_reply", "rate": 0.05})),
        (
            Call::Changes,
            json!({"fault": "status", "status": 503, "rate": 0.2}),
        ),
        (
            Call::Session,
            json!({"fault": "status", "status": 503, "rate": 0.1}),
        ),
    ]);
    let mut wanted = BTreeMap::new();
    for at in 0..50u64 {
        let (path, content) = (format!("file-{at:02}.bin"), content(at, 2000 + at as usize));
        mount.write(&path, &content);
        wanted.insert(path, sha256_of(&content));
    }
    wait_for("all is stored", || {
        // What failed often waits long; a person need not.
        world.lockerfs(&["retry"]).succeeded();
        std::thread::sleep(Duration::from_secs(1));
        world.stored_sha256() == wanted
    });
    world.service.faults(&[]);
    world.drain();
    assert_same(&world.stored_sha256(), &wanted, "nothing twice");
}
