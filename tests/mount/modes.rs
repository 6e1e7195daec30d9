//! Permission bits that programs give are kept here, whatever becomes of a file on its service, and cost no call.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::harness::{Call, MEDIA, Mount, Scratch, World, run, wait_for};

fn mode_at(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("stat").mode() & 0o7777
}

fn mode(mount: &Mount, path: &str) -> u32 {
    mode_at(&mount.path(path))
}

fn chmod(mount: &Mount, path: &str, mode: u32) {
    fs::set_permissions(mount.path(path), Permissions::from_mode(mode)).expect("chmod");
}

#[track_caller]
fn assert_modes(mount: &Mount, wanted: &[(&str, u32)], when: &str) {
    let show = |modes: &[(&str, u32)]| {
        let lines = modes.iter().map(|(path, mode)| format!("{path} {mode:04o}"));
        lines.collect::<Vec<_>>()
    };
    let shown: Vec<_> = wanted
        .iter()
        .map(|(path, _)| (*path, mode(mount, path)))
        .collect();
    assert_eq!(show(&shown), show(wanted), "{when}");
}

/// Of inode change.
fn ctime(path: &Path) -> (i64, i64) {
    let stat = fs::symlink_metadata(path).expect("stat");
    (stat.ctime(), stat.ctime_nsec())
}

fn mtime(path: &Path) -> (i64, i64) {
    let stat = fs::symlink_metadata(path).expect("stat");
    (stat.mtime(), stat.mtime_nsec())
}

#[test]
fn bits_outlive_upload_rename_move_edit_and_remount_and_cost_no_call() {
    let world = World::with(|setup| setup.asks_for_nothing());
    world.put("stored.txt", b"stored");
    world.put("plain.txt", b"plain");
    let mount = world.mount();
    fs::create_dir(mount.path("folder")).expect("mkdir");
    mount.write("waits.txt", b"waits");
    assert_eq!(mount.list(""), ["folder", "plain.txt", "stored.txt", "waits.txt"]);
    let usual = [("plain.txt", 0o644), ("stored.txt", 0o644), ("folder", 0o755)];
    assert_modes(&mount, &usual, "as nobody touched them");
    world.drain();
    let calls = world.counted(|| {
        chmod(&mount, "stored.txt", 0o600);
        chmod(&mount, "folder", 0o700);
        chmod(&mount, "waits.txt", 0o755);
        chmod(&mount, "", 0o750);
    });
    assert_eq!(calls.total(), 0, "{calls:?}");
    let mut wanted = vec![
        ("", 0o750),
        ("plain.txt", 0o644),
        ("stored.txt", 0o600),
        ("folder", 0o700),
        ("waits.txt", 0o755),
    ];
    assert_modes(&mount, &wanted, "given");
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_modes(&mount, &wanted, "mounted again");
    OpenOptions::new()
        .append(true)
        .open(mount.path("stored.txt"))
        .and_then(|mut file| file.write_all(b" and more"))
        .expect("append");
    world.drain();
    fs::rename(mount.path("stored.txt"), mount.path("renamed.txt")).expect("rename");
    fs::rename(mount.path("waits.txt"), mount.path("folder/moved.txt")).expect("move");
    fs::rename(mount.path("folder"), mount.path("directory")).expect("rename");
    wanted = vec![
        ("renamed.txt", 0o600),
        ("directory", 0o700),
        ("directory/moved.txt", 0o755),
    ];
    assert_modes(&mount, &wanted, "edited and renamed");
    world.drain();
    mount.unmount(&world.config());

    let mount = world.mount();
    assert_modes(&mount, &wanted, "renamed and mounted again");
    chmod(&mount, "renamed.txt", 0o644);
    mount.kill();
    let mount = world.mount();
    assert_modes(&mount, &[("renamed.txt", 0o644)], "given the usual ones again");
    // Modes are this machine's: another one shows the usual ones.
    mount.unmount(&world.config());
    world.forget();
    let mount = world.mount();
    let elsewhere = [("directory", 0o755), ("directory/moved.txt", 0o644)];
    assert_modes(&mount, &elsewhere, "on another machine");
    mount.unmount(&world.config());
}

#[test]
fn bits_given_when_something_is_made_or_chmodded_survive_a_kill_before_and_after_the_upload() {
    let world = World::with(|setup| setup.option("upload_delay", "\"2s\""));
    let mount = world.mount();
    let make = |name: &str, mode: u32| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(mount.path(name));
        file.and_then(|mut file| file.write_all(name.as_bytes()))
            .expect("create");
    };
    make("script.sh", 0o755);
    make("secret", 0o600);
    make("reading only", 0o444);
    make("later", 0o644);
    chmod(&mount, "later", 0o640);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(mount.path("private"))
        .expect("mkdir");
    // A program that is still open gives it other bits.
    let open = File::create(mount.path("open")).expect("create");
    open.set_permissions(Permissions::from_mode(0o601))
        .expect("fchmod");
    open.sync_all().expect("fsync");
    let wanted = [
        ("later", 0o640),
        ("open", 0o601),
        ("private", 0o700),
        ("reading only", 0o444),
        ("script.sh", 0o755),
        ("secret", 0o600),
    ];
    assert_modes(&mount, &wanted, "made");
    mount.kill();
    drop(open);

    let mount = world.mount();
    assert_modes(&mount, &wanted, "killed before the upload");
    world.drain();
    assert_modes(&mount, &wanted, "uploaded");
    mount.kill();
    let mount = world.mount();
    assert_modes(&mount, &wanted, "killed after the upload");
    mount.unmount(&world.config());
}

#[test]
fn who_saves_by_a_rename_gives_the_name_its_own_bits() {
    let world = World::new();
    let mount = world.mount();
    for name in ["waiting", "stored.txt", "both.txt"] {
        mount.write(name, b"old");
        chmod(&mount, name, 0o600);
    }
    world.drain();
    // Each of new and old: waits for its upload, or is on the service.
    for (name, stored_first) in [("stored.txt", false), ("both.txt", true)] {
        mount.write("saved.txt", name.as_bytes());
        chmod(&mount, "saved.txt", 0o755);
        if stored_first {
            world.drain();
        }
        fs::rename(mount.path("saved.txt"), mount.path(name)).expect("rename over");
    }
    mount.write("waiting", b"waits again");
    mount.write("saved", b"usual bits");
    fs::rename(mount.path("saved"), mount.path("waiting")).expect("rename over");
    let wanted = [("both.txt", 0o755), ("stored.txt", 0o755), ("waiting", 0o644)];
    assert_modes(&mount, &wanted, "replaced");
    world.drain();
    assert_modes(&mount, &wanted, "uploaded");
    mount.kill();
    let mount = world.mount();
    assert_eq!(mount.list(""), ["both.txt", "stored.txt", "waiting"]);
    assert_modes(&mount, &wanted, "mounted again");
    assert_eq!(mount.read("both.txt"), b"both.txt");
    assert_eq!(mount.read("waiting"), b"usual bits");
    mount.unmount(&world.config());
}

#[test]
fn a_mask_that_the_config_gives_is_on_all_files_whatever_programs_say() {
    let world = World::with(|setup| setup.option("umask", "\"077\""));
    let mount = world.mount();
    mount.write("file", b"x");
    chmod(&mount, "file", 0o777);
    fs::create_dir(mount.path("folder")).expect("mkdir");
    assert_modes(&mount, &[("file", 0o700), ("folder", 0o700)], "masked");
    mount.unmount(&world.config());
}

#[test]
fn rsync_keeps_bits_and_has_nothing_to_do_a_second_time() {
    let world = World::with(|setup| setup.option("listing_age", "\"1h\""));
    let scratch = Scratch::new(world.folder().join("source"));
    let modes = [
        ("run.sh", 0o755),
        ("secret/key", 0o600),
        ("secret", 0o700),
        ("shared", 0o2775),
        ("shared/read only", 0o444),
        ("plain", 0o644),
    ];
    for (path, mode) in modes
        .into_iter()
        .filter(|(path, _)| !["secret", "shared"].contains(path))
    {
        let file = scratch.dated_file(path, path.as_bytes(), 1_300_000_000);
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("chmod");
    }
    for (path, mode) in modes
        .into_iter()
        .filter(|(path, _)| ["secret", "shared"].contains(path))
    {
        fs::set_permissions(scratch.path.join(path), Permissions::from_mode(mode)).expect("chmod");
    }
    let rsync = |mount: &Mount| {
        let (source, target) = (format!("{}/", scratch.path.display()), mount.path("copy"));
        let ran = run("rsync", &[&"-a", &"--itemize-changes", &source, &target]);
        ran.succeeded();
        ran.stdout
    };
    let wanted = modes.map(|(path, mode)| (format!("copy/{path}"), mode));
    let wanted: Vec<_> = wanted.iter().map(|(path, mode)| (path.as_str(), *mode)).collect();
    let mount = world.mount();
    rsync(&mount);
    assert_modes(&mount, &wanted, "copied");
    world.drain();
    let calls = world.counted(|| assert_eq!(rsync(&mount), "", "at once"));
    assert_eq!(calls.of(Call::AnyUpload), 0, "{calls:?}");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(rsync(&mount), "", "mounted again");
    assert_modes(&mount, &wanted, "mounted again");
    mount.unmount(&world.config());
}

#[test]
fn git_finds_nothing_changed_in_a_clone_with_an_executable_file() {
    let world = World::new();
    let origin = world.folder().join("origin");
    let git = |at: &Path, arguments: &[&str]| {
        let ran = Command::new("git")
            .env("HOME", world.folder())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .arg("-C")
            .arg(at)
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "safe.directory=*",
            ])
            .args(arguments)
            .output()
            .expect("git, which scripts/test installs");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    };
    fs::create_dir(&origin).expect("a folder");
    fs::write(origin.join("run.sh"), "#!/bin/sh\necho ran\n").expect("write");
    fs::write(origin.join("plain"), "plain\n").expect("write");
    fs::set_permissions(origin.join("run.sh"), Permissions::from_mode(0o755)).expect("chmod");
    git(&origin, &["init", "-q"]);
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "one"]);
    let mount = world.mount();
    let clone = mount.path("clone");
    git(
        world.folder(),
        &[
            "clone",
            "-q",
            "--no-hardlinks",
            &origin.display().to_string(),
            &clone.display().to_string(),
        ],
    );
    assert_eq!(git(&clone, &["config", "core.filemode"]), "true\n");
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    assert_eq!(mode(&mount, "clone/run.sh"), 0o755);
    world.drain();
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(git(&mount.path("clone"), &["status", "--porcelain"]), "");
    chmod(&mount, "clone/plain", 0o755);
    assert_eq!(
        git(&mount.path("clone"), &["status", "--porcelain"]),
        " M plain\n"
    );
    mount.unmount(&world.config());
}

#[test]
fn times_of_change_move_with_bits_names_content_and_removal() {
    let world = World::new();
    let mount = world.mount();
    fs::create_dir(mount.path("folder")).expect("mkdir");
    mount.write("folder/file", b"content");
    let (folder, file) = (mount.path("folder"), mount.path("folder/file"));
    world.drain();
    let pause = || std::thread::sleep(Duration::from_millis(20));
    // Each step is later than the one before, in what it is to change and in nothing else.
    let step = |what: &str, changes: &Path, keeps: Option<&Path>, work: &dyn Fn()| {
        let (before, kept) = (ctime(changes), keeps.map(ctime));
        pause();
        work();
        assert!(ctime(changes) > before, "{what}");
        assert_eq!(keeps.map(ctime), kept, "{what} changes nothing else");
    };
    step("chmod", &file, Some(&folder), &|| {
        chmod(&mount, "folder/file", 0o600)
    });
    step("a write", &file, Some(&folder), &|| {
        mount.write("folder/file", b"other");
    });
    let named = mtime(&folder);
    step("create", &folder, Some(&file), &|| {
        mount.write("folder/new", b"new");
    });
    assert!(mtime(&folder) > named, "create");
    step("mkdir", &folder, Some(&file), &|| {
        fs::create_dir(mount.path("folder/sub")).expect("mkdir");
    });
    step("rmdir", &folder, Some(&file), &|| {
        fs::remove_dir(mount.path("folder/sub")).expect("rmdir");
    });
    step("unlink", &folder, Some(&file), &|| {
        fs::remove_file(mount.path("folder/new")).expect("unlink");
    });
    let before = ctime(&file);
    step("rename", &folder, None, &|| {
        fs::rename(&file, mount.path("folder/renamed")).expect("rename");
    });
    let file = mount.path("folder/renamed");
    assert!(ctime(&file) > before, "rename");
    let open = File::open(&file).expect("open");
    let before = ctime(&file);
    pause();
    fs::remove_file(&file).expect("unlink");
    let stat = open.metadata().expect("fstat");
    assert!(
        (stat.ctime(), stat.ctime_nsec()) > before,
        "unlink of an open file"
    );
    assert_eq!(stat.nlink(), 0);
    drop(open);
    world.drain();
    mount.unmount(&world.config());
}

#[test]
fn bits_of_what_stays_here_and_of_a_removed_file_are_in_nobodys_way() {
    let world = World::new();
    let mount = world.mount();
    mount.write("Thumbs.db", b"local");
    chmod(&mount, "Thumbs.db", 0o600);
    mount.write("file", b"one");
    chmod(&mount, "file", 0o700);
    world.drain();
    fs::remove_file(mount.path("file")).expect("unlink");
    mount.write("file", b"two");
    world.drain();
    wait_for("the removed file is deleted on the service", || {
        world
            .service
            .all_stored(MEDIA)
            .iter()
            .filter(|(path, _)| path == "file")
            .count()
            == 1
    });
    let wanted = [("Thumbs.db", 0o600), ("file", 0o644)];
    assert_modes(&mount, &wanted, "made anew");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_modes(&mount, &wanted, "mounted again");
    mount.unmount(&world.config());
}

#[test]
fn of_twins_each_has_its_own_bits() {
    let world = World::new();
    // To the service these are two names, here they are two forms of one.
    world.put("caf\u{e9}.txt", b"composed");
    world.put("cafe\u{301}.txt", b"decomposed");
    let mount = world.mount();
    let twins = mount.list("");
    assert_eq!(twins.len(), 2, "{twins:?}");
    chmod(&mount, &twins[0], 0o600);
    chmod(&mount, &twins[1], 0o755);
    let wanted = [(twins[0].as_str(), 0o600), (twins[1].as_str(), 0o755)];
    assert_modes(&mount, &wanted, "given");
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(mount.list(""), twins);
    assert_modes(&mount, &wanted, "mounted again");
    mount.unmount(&world.config());
}
