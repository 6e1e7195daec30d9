//! Accounts side by side: of two services in one mount, and one account in two mounts.

use std::fs;

use crate::suite::harness::{
    Call, MEDIA, MEDIAFIRE, Scratch, World, assert_same, content, run, sha256_of, snapshot, wait_for,
};

#[test]
fn files_are_copied_between_accounts_of_two_services() {
    let world = World::with(|setup| setup.guest(&MEDIAFIRE, "fire"));
    let (large, small) = (content(1, 5_000_000), content(2, 3_000));
    world.put("here/large.bin", &large);
    world.put("here/plain.txt", b"plain");
    let mount = world.mount();
    let fire = mount.mount_point().join("fire");
    fs::write(fire.join("small.bin"), &small).expect("write");
    fs::write(fire.join(".hidden \"quoted\" <x>.txt"), b"odd name").expect("write");
    run("cp", &[&"-r", &mount.path("here"), &fire.join("there")]).succeeded();
    run("cp", &[&fire.join("small.bin"), &mount.path("small.bin")]).succeeded();
    run("mv", &[&fire.join(".hidden \"quoted\" <x>.txt"), &mount.path("")]).succeeded();
    world.drain();
    let stored = world.service.stored("fire");
    assert_eq!(stored["there/large.bin"].sha256, sha256_of(&large));
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert_eq!(world.stored()["small.bin"].sha256, sha256_of(&small));
    mount.unmount(&world.config());

    world.forget();
    let mount = world.mount();
    assert!(mount.read("here/large.bin") == large && mount.read("small.bin") == small);
    assert_eq!(mount.read(".hidden \"quoted\" <x>.txt"), b"odd name");
    let there = fs::read(mount.mount_point().join("fire/there/large.bin")).expect("read");
    assert!(there == large);
    for account in [MEDIA, "fire"] {
        run("df", &[&mount.mount_point().join(account)]).succeeded();
    }
}

#[test]
fn two_mounts_of_one_account_share_a_login_and_lose_nothing() {
    let world = World::new();
    let first = world.mount();
    let place = world.another_place();
    let second = world.mount_in(&place);
    let scratch = Scratch::new(world.folder().join("source"));
    for at in 0..40u64 {
        scratch.file(&format!("{at:02}.bin"), &content(at, 500 + at as usize));
    }
    let wanted = snapshot(&scratch.path);
    fs::create_dir(first.path("shared")).expect("mkdir");
    wait_for("the other mount shows the folder", || {
        second.list("") == ["shared"]
    });
    std::thread::scope(|scope| {
        for (mount, half) in [(&first, 0), (&second, 1)] {
            let wanted = &wanted;
            let scratch = &scratch;
            scope.spawn(move || {
                for name in wanted.keys().skip(half).step_by(2) {
                    let target = mount.path(&format!("shared/{name}"));
                    fs::copy(scratch.path.join(name), target).expect("copy");
                }
            });
        }
    });
    world.drain();
    world.lockerfs_in(&place, &["drain"]).succeeded();
    let stored = world.stored_sha256();
    let stored = stored
        .into_iter()
        .map(|(path, hash)| (path.replace("shared/", ""), hash))
        .collect();
    assert_same(&stored, &wanted, "on the service");
    for mount in [&first, &second] {
        wait_for("each shows what the other wrote", || {
            mount.list("shared").len() == 40
        });
        assert_same(&snapshot(&mount.path("shared")), &wanted, "in both mounts");
    }
    fs::remove_file(first.path("shared/00.bin")).expect("unlink");
    wait_for("the other hears of it", || second.list("shared").len() == 39);
    let logins = world.service.calls().of(Call::Login);
    assert!(logins <= 2, "{logins} logins");
    first.unmount(&world.config());
    second.write("shared/after.txt", b"the first one took no token with it");
    world.lockerfs_in(&place, &["drain"]).succeeded();
    assert!(world.stored().contains_key("shared/after.txt"));
    let logins = world.service.calls().of(Call::Login);
    assert!(logins <= 2, "{logins} logins");
}

#[test]
fn a_login_from_another_machine_is_not_noticed() {
    let world = World::new();
    world.put("file.txt", b"file");
    let mount = world.mount();
    assert_eq!(mount.list(""), ["file.txt"]);
    // Another machine shares no file with this one, so that it must log in.
    let mut elsewhere = world.another_place();
    elsewhere.runtime = world.folder().join("another machine");
    fs::create_dir(&elsewhere.runtime).expect("mkdir");
    for round in 0..3 {
        let before = world.service.calls().of(Call::Login);
        world
            .lockerfs_in(&elsewhere, &["account", "check", MEDIA])
            .succeeded();
        assert!(world.service.calls().of(Call::Login) > before, "it did log in");
        let name = format!("round {round}.txt");
        mount.write(&name, b"x");
        world.drain();
        assert_eq!(mount.read("file.txt"), b"file");
        fs::remove_file(mount.path(&name)).expect("unlink");
    }
    // The two take the login from each other while both are at work, and then it is quiet.
    let logins = world.service.calls().of(Call::Login);
    assert!(logins <= 15, "{logins} logins");
    let calls = world.counted(|| assert_eq!(mount.read("file.txt"), b"file"));
    assert_eq!(calls.of(Call::Login), 0, "{calls:?}");
}
