//! What a person types, and what comes back: exit codes, and sentences that name the thing and the remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::harness::{Call, Daemon, Ran, Tune, World, content, is_mount_point, run, sha256_of, wait_for};
use crate::KIND;

fn point(world: &World) -> String {
    world
        .place()
        .mount_point
        .to_str()
        .expect("a UTF-8 path")
        .to_owned()
}

/// The program's mount in the background, and the guard of its process.
fn daemon(world: &World) -> Daemon {
    world.lockerfs(&["mount", "--daemon", &point(world)]).succeeded();
    let pid = world.status()["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    Daemon(pid.expect("a process id"))
}

/// A refusal to mount is one sentence with these words, and nothing is mounted.
#[track_caller]
fn refuses_to_mount(world: &World, words: &[&str]) -> Ran {
    let ran = world.lockerfs(&["mount", &point(world)]);
    one_sentence(&ran, words);
    let ran = world.lockerfs(&["mount", "--daemon", &point(world)]);
    one_sentence(&ran, words);
    ran
}

#[track_caller]
fn one_sentence(ran: &Ran, words: &[&str]) {
    ran.failed(1, words);
    let lines: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    assert_eq!(lines.len(), 1, "more than a sentence: {}", ran.stderr);
}

#[test]
fn in_the_background_it_returns_when_mounted_and_unmount_uploads_all() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1s\""));
    let daemon = daemon(&world);
    assert!(is_mount_point(&world.place().mount_point));
    let file = world.place().mount_point.join("media/note.txt");
    fs::write(&file, "note").expect("write");
    assert!(daemon.is_running());
    world.lockerfs(&["unmount", &point(&world)]).succeeded();
    assert!(!is_mount_point(&world.place().mount_point));
    assert_eq!(world.stored()["note.txt"].sha256, sha256_of(b"note"));
    wait_for("the process ends", || !daemon.is_running());
}

#[test]
fn sigterm_and_sigint_upload_what_waits_and_unmount() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let world = World::with(|setup| setup.option("upload_delay", "\"2s\""));
        let mount = world.mount();
        let body = content(1, 200_000);
        mount.write("late.bin", &body);
        mount.signal(signal);
        assert!(mount.ended().success());
        assert!(!is_mount_point(&world.place().mount_point));
        assert_eq!(world.stored()["late.bin"].sha256, sha256_of(&body));
    }
}

#[test]
fn an_end_without_the_service_keeps_what_waits_for_the_next_mount() {
    let world = World::with(|setup| setup.option("drain_timeout", "\"1s\""));
    let mount = world.mount();
    assert!(mount.list("").is_empty());
    world.service.stop();
    mount.write("kept.txt", b"kept");
    mount.signal(libc::SIGTERM);
    let place = world.place();
    mount.ended();
    assert!(!is_mount_point(&place.mount_point));
    let status = world.lockerfs(&["status"]);
    assert!(
        status.succeeded().stdout.contains("kept.txt"),
        "{}",
        status.stdout
    );
    let pending = world.status()["pending"].clone();
    assert_eq!(pending.as_array().map(Vec::len), Some(1), "{pending}");
    world.service.come_back();
    let mount = world.mount();
    assert_eq!(mount.read("kept.txt"), b"kept");
    world.drain();
    assert_eq!(world.stored()["kept.txt"].sha256, sha256_of(b"kept"));
}

#[test]
fn status_shows_what_waits_and_drain_ends_when_nothing_does() {
    let world = World::with(|setup| setup.option("upload_delay", "\"1500ms\""));
    let mount = world.mount();
    mount.write("waiting.bin", &content(2, 12_345));
    let status = world.status();
    let pending = status["pending"].as_array().expect("a list");
    assert_eq!(pending.len(), 1, "{status}");
    assert_eq!(
        (&pending[0]["account"], &pending[0]["size"]),
        (&"media".into(), &12_345.into()),
        "{status}"
    );
    assert!(
        pending[0]["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("waiting.bin")),
        "{status}"
    );
    assert_eq!(status["mount_point"].as_str(), Some(point(&world).as_str()));
    let table = world.lockerfs(&["status"]);
    assert!(
        table.stdout.contains("waiting.bin") && table.stdout.contains("media"),
        "{}",
        table.stdout
    );

    world.lockerfs(&["drain"]).succeeded();
    assert_eq!(world.stored()["waiting.bin"].size, 12_345);
    assert_eq!(world.status()["pending"].as_array().map(Vec::len), Some(0));
    assert_eq!(world.status()["accounts"][0]["name"], "media");
    assert_eq!(world.status()["accounts"][0]["state"], "online");
}

#[test]
fn what_needs_a_running_mount_says_that_there_is_none() {
    let world = World::new();
    world.lockerfs(&["drain"]).failed(1, &["mount"]);
    world
        .lockerfs(&["unmount", &point(&world)])
        .failed(1, &["nothing is mounted", &point(&world)]);
    world.lockerfs(&["status"]).succeeded();
}

#[test]
fn wrong_use_is_told_with_exit_status_2() {
    let world = World::new();
    assert_eq!(world.lockerfs(&["mount"]).status.code(), Some(2));
    assert_eq!(world.lockerfs(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(
        world.lockerfs(&["mount", "--no-such-flag", "x"]).status.code(),
        Some(2)
    );
    world.lockerfs(&["--help"]).succeeded();
}

#[test]
fn account_check_logs_in_and_account_list_shows_the_config() {
    let world = World::with(|setup| setup.second_account());
    let (media, other) = ((KIND.account)("media"), (KIND.account)("other"));
    let ran = world.lockerfs(&["account", "check", "media"]);
    ran.succeeded().tells_no_secret();
    assert!(ran.stdout.contains(&(KIND.owner)(&media)), "{}", ran.stdout);
    let ran = world.lockerfs(&["account", "list"]);
    ran.succeeded().tells_no_secret();
    let listed = (KIND.listed)(&other);
    for word in ["media", "other", KIND.name, &listed] {
        assert!(ran.stdout.contains(word), "no {word}: {}", ran.stdout);
    }
    world
        .lockerfs(&["account", "check", "nobody"])
        .failed(1, &["nobody"]);
}

#[test]
fn a_wrong_secret_is_told_by_the_account_s_name_and_loses_nothing() {
    let world = World::new();
    world.write_config(&world.config_with_wrong_secrets());
    let ran = world.lockerfs(&["account", "check", "media"]);
    ran.failed(1, &["media", KIND.refusal]);

    // A mount comes up all the same, as it does without a network, and says what is wrong.
    let mount = world.mount();
    let listed = fs::read_dir(mount.path("")).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let error = listed.expect_err("no listing without a login");
    assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
    let status = world.lockerfs(&["status"]);
    assert_eq!(status.status.code(), Some(1), "a login needs somebody");
    assert!(status.stdout.contains("refused"), "{}", status.stdout);
    assert!(!mount.log().contains(KIND.wrong_secret));
    drop(mount);
    let logins = world.service.calls().of(Call::Login);
    assert!(logins <= 3, "{logins} logins with a secret that was refused");
}

#[test]
fn a_secret_that_becomes_wrong_keeps_what_waits_until_it_is_right_again() {
    let world = World::with(|setup| {
        setup.option("upload_delay", "\"20s\"");
        setup.option("drain_timeout", "\"1s\"");
    });
    let good = world.config_text();
    let mount = world.mount();
    mount.write("kept.txt", b"kept");
    mount.kill();
    world.write_config(&world.config_with_wrong_secrets().replace("20s", "50ms"));
    let mount = world.mount();
    wait_for("the refusal is told", || {
        let status = world.status();
        status["pending"]
            .as_array()
            .is_some_and(|pending| pending.len() == 1 && !pending[0]["error"].is_null())
    });
    mount.signal(libc::SIGTERM);
    mount.ended();
    world.write_config(&good.replace("20s", "50ms"));
    let _mount = world.mount();
    world.drain();
    assert_eq!(world.stored()["kept.txt"].sha256, sha256_of(b"kept"));
}

#[test]
fn a_config_that_is_wrong_is_told_with_line_and_remedy() {
    let world = World::new();
    let good = world.config_text();
    let config = world.config().display().to_string();
    let (kind, misspelt) = (KIND.name, format!("{}x", KIND.name));
    world.write_config(&good.replace(&format!("\"{kind}\""), &format!("\"{misspelt}\"")));
    refuses_to_mount(&world, &[&config, "media", &misspelt, kind]);
    world.write_config(&good.replace("upload_delay", "uplod_delay"));
    refuses_to_mount(&world, &[&config, "uplod_delay", "upload_delay", "unknown key"]);
    world.write_config(&good.replace("base_url", "base_ulr"));
    refuses_to_mount(&world, &[&config, "accounts.media"]);
    world.write_config("");
    refuses_to_mount(&world, &[&config, "no accounts"]);
    world.write_config("[accounts.media\n");
    refuses_to_mount(&world, &[&config]);
    fs::remove_file(world.config()).expect("remove the config");
    refuses_to_mount(&world, &[&config]);
}

#[test]
fn a_config_or_secret_that_others_can_read_is_refused() {
    let world = World::new();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(&world.config(), 0o644);
    refuses_to_mount(&world, &[&world.config().display().to_string(), "chmod 600"]);
    mode(&world.config(), 0o600);
    let secret = world.folder().join("media.secret");
    let (field, value) = (KIND.secret, &(KIND.secrets)(&(KIND.account)("media"))[0]);
    fs::write(&secret, format!("{value}\n")).expect("write");
    let text = world.config_text();
    let (inline, by_file) = (
        format!("{field} = \"{value}\""),
        format!("{field}_file = \"media.secret\""),
    );
    assert!(text.contains(&inline));
    world.write_config(&text.replace(&inline, &by_file));
    mode(&secret, 0o640);
    world
        .lockerfs(&["account", "check", "media"])
        .failed(1, &["media.secret", "chmod 600"]);
    mode(&secret, 0o600);
    world.lockerfs(&["account", "check", "media"]).succeeded();
}

#[test]
fn a_mount_point_that_cannot_be_used_is_told_by_its_name() {
    let world = World::new();
    let missing = world.folder().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    one_sentence(&world.lockerfs(&["mount", missing]), &[missing, "mkdir"]);
    let file = world.folder().join("a-file");
    fs::write(&file, "x").expect("write");
    one_sentence(
        &world.lockerfs(&["mount", file.to_str().expect("UTF-8")]),
        &["a-file", "directory"],
    );
}

#[test]
fn a_second_mount_at_the_same_place_or_with_the_same_state_is_refused() {
    let world = World::new();
    let mount = world.mount();
    let here = point(&world);
    let elsewhere = world.another_place();
    // The same place, another state.
    one_sentence(
        &world.lockerfs_in(&elsewhere, &["mount", &here]),
        &[&here, "mounted"],
    );
    // Another place, the same state.
    let there = elsewhere.mount_point.to_str().expect("UTF-8");
    let state = world.place().state.display().to_string();
    one_sentence(&world.lockerfs(&["mount", there]), &[&state, "another"]);
    one_sentence(
        &world.lockerfs(&["mount", "--daemon", there]),
        &[&state, "another"],
    );
    mount.write("still.txt", b"works");
    assert_eq!(mount.read("still.txt"), b"works");
}

#[test]
fn an_account_that_is_full_says_so_and_loses_nothing() {
    let world = World::with(|setup| setup.storage_limit(1 << 20));
    let mount = world.mount();
    run("df", &[&mount.path("")]).succeeded();
    mount.write("fits.bin", &content(3, 700_000));
    world.drain();
    // Told at the write where the quota is known, else by the file's state.
    match fs::write(mount.path("too much.bin"), content(4, 600_000)) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EDQUOT), "{error}"),
        Ok(()) => {
            wait_for("the refusal is told", || {
                mount.xattr("too much.bin", "error").is_ok()
            });
            let error = mount.xattr("too much.bin", "error").expect("a reason");
            assert!(
                error.to_lowercase().contains("full") || error.contains("storage"),
                "{error}"
            );
            assert_eq!(
                sha256_of(&mount.read("too much.bin")),
                sha256_of(&content(4, 600_000))
            );
        }
    }
    assert_eq!(world.stored()["fits.bin"].sha256, sha256_of(&content(3, 700_000)));
}

#[test]
fn a_file_that_the_service_has_no_room_for_waits_until_there_is_room() {
    let world = World::with(|setup| setup.storage_limit(1 << 20));
    let mount = world.mount();
    run("df", &[&mount.path("")]).succeeded();
    // Somebody else fills the account, which the mount has not heard of when the file is written.
    world.service.touch("media", "filler.bin", &"x".repeat(900_000));
    let body = content(5, 400_000);
    if let Err(error) = fs::write(mount.path("waits.bin"), &body) {
        assert_eq!(error.raw_os_error(), Some(libc::EDQUOT), "{error}");
        return;
    }
    wait_for("the refusal is told", || {
        mount.xattr("waits.bin", "error").is_ok()
    });
    assert!(mount.read("waits.bin") == body);
    let status = world.lockerfs(&["status"]);
    assert!(status.stdout.contains("waits.bin"), "{}", status.stdout);
    fs::remove_file(mount.path("filler.bin")).expect("make room");
    // There is room, and a person who asks again.
    world.lockerfs(&["retry"]).succeeded();
    wait_for("it is stored", || {
        world
            .stored()
            .get("waits.bin")
            .is_some_and(|file| file.sha256 == sha256_of(&body))
    });
}

#[test]
fn of_many_files_those_that_fit_are_stored_and_the_others_wait_for_a_person() {
    const SIZE: usize = 40_000;
    const FIT: usize = 30;
    let world = World::with(|setup| {
        setup.option("upload_delay", "\"30s\"");
        // A host that looks for room before it takes several at once may take one too many.
        setup.option("workers", "1");
    });
    let mount = world.mount();
    run("df", &[&mount.path("")]).succeeded();
    world.service.settle();
    // The quota changes elsewhere, so that nothing is known of it when the files are written.
    world.service.set_storage("media", (FIT * SIZE) as u64);
    let names: Vec<_> = (0..50).map(|at| format!("f{at:02}.bin")).collect();
    for (seed, name) in (100..).zip(&names) {
        mount.write(name, &content(seed, SIZE));
    }
    let drained = world.lockerfs(&["drain"]);
    assert_eq!(drained.status.code(), Some(1), "{}", drained.stderr);
    assert_eq!(world.stored().len(), FIT);
    let status = world.lockerfs(&["status", "--all"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(status.stdout.contains("20 files need you"), "{}", status.stdout);
    let told = status.stdout.matches("the account is full: make room").count();
    assert_eq!(told, names.len() - FIT, "{}", status.stdout);
    for (seed, name) in (100..).zip(&names) {
        assert!(mount.read(name) == content(seed, SIZE), "{name} while it waits");
    }

    world.service.set_storage("media", 1 << 30);
    world.lockerfs(&["queue", "retry", "--all"]).succeeded();
    world.lockerfs(&["drain"]).succeeded();
    let stored = world.stored();
    for (seed, name) in (100..).zip(&names) {
        assert_eq!(stored[name].sha256, sha256_of(&content(seed, SIZE)), "{name}");
    }
    assert_eq!(stored.len(), names.len());
    world.lockerfs(&["status"]).succeeded();
}

#[test]
fn a_file_too_large_for_the_service_is_refused_when_it_is_written() {
    let world = World::with(|setup| setup.tune(Tune::LargestFile(1 << 20)));
    let mount = world.mount();
    run("df", &[&mount.path("")]).succeeded();
    world.service.settle();
    let error = fs::write(mount.path("huge.bin"), vec![0; 2 << 20]).expect_err("too large");
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{error}");
}
