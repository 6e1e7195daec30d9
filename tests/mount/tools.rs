//! Programs that make many files, or change parts of one, and want to find all of it right: version control, a database,
//! archives, rsync in all its ways. Each ends with the right content on the service, read through a mount that knows
//! nothing of it.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use lockerfs::provider::Capability;

use super::harness::{Mount, Ran, World, assert_same, content, run, snapshot, wait_for};
use crate::KIND;

fn world() -> World {
    World::with(|setup| setup.option("upload_delay", "\"150ms\""))
}

/// Uploads all, and mounts as another machine would.
fn elsewhere(world: &World, mount: Mount) -> Mount {
    world.drain();
    mount.unmount(&world.config());
    world.forget();
    world.mount()
}

/// A tree with files of several sizes, one of which hosts may not take: an empty one.
fn tree(world: &World, name: &str) -> std::path::PathBuf {
    let root = world.folder().join(name);
    for folder in ["src/deep", "data"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for (number, name) in ["README", "src/main.rs", "src/deep/x.rs", "data/blob.bin"]
        .iter()
        .enumerate()
    {
        fs::write(root.join(name), content(number as u64, 100 + number * 50_000)).expect("a file");
    }
    root
}

fn git(folder: &Path, args: &[&str]) -> Ran {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"-C", &folder];
    let settings = [
        "user.name=A",
        "user.email=a@example.org",
        "gc.auto=0",
        "safe.directory=*",
    ];
    for setting in &settings {
        all.push(&"-c");
        all.push(setting);
    }
    all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    run("git", &all)
}

#[test]
fn git_clones_commits_collects_and_finds_nothing_wrong() {
    let world = world();
    let origin = tree(&world, "origin");
    git(&origin, &["init", "-q", "-b", "main"]).succeeded();
    git(&origin, &["add", "."]).succeeded();
    git(&origin, &["commit", "-qm", "first"]).succeeded();
    let mount = world.mount();
    let from = format!("file://{}", origin.display());
    git(&mount.path(""), &["clone", "-q", &from, "work"]).succeeded();
    let work = mount.path("work");
    assert_eq!(git(&work, &["status", "--porcelain"]).succeeded().stdout, "");
    fs::write(work.join("README"), b"changed").expect("write");
    fs::write(work.join("new.txt"), b"new").expect("write");
    git(&work, &["add", "-A"]).succeeded();
    git(&work, &["commit", "-qm", "second"]).succeeded();
    git(&work, &["gc", "-q"]).succeeded();
    git(&work, &["fsck", "--strict"]).succeeded();
    assert_eq!(git(&work, &["status", "--porcelain"]).succeeded().stdout, "");
    let wanted = git(&work, &["rev-parse", "HEAD"]).succeeded().stdout.clone();

    let mount = elsewhere(&world, mount);
    let copy = world.folder().join("copy");
    run("cp", &[&"-r", &mount.path("work"), &copy]).succeeded();
    assert_eq!(fs::read(copy.join("README")).expect("read"), b"changed");
    if KIND.has(Capability::EmptyFiles) {
        git(&copy, &["fsck", "--strict"]).succeeded();
        assert_eq!(git(&copy, &["rev-parse", "HEAD"]).succeeded().stdout, wanted);
    }
}

#[test]
fn a_database_commits_rolls_back_and_is_whole_elsewhere() {
    let world = world();
    let mount = world.mount();
    let database = mount.path("notes.db");
    let sql = |text: &str| run("sqlite3", &[&database, &text]);
    sql("create table note(id integer primary key, text); insert into note(text) values ('first');")
        .succeeded();
    for number in 0..20 {
        sql(&format!(
            "begin; insert into note(text) values (hex(randomblob({}))); commit;",
            number * 400
        ))
        .succeeded();
    }
    sql("begin; delete from note; rollback;").succeeded();
    assert_eq!(sql("select count(*) from note;").succeeded().stdout.trim(), "21");
    sql("vacuum;").succeeded();
    let mount = elsewhere(&world, mount);
    let copy = world.folder().join("copy.db");
    fs::copy(mount.path("notes.db"), &copy).expect("copy");
    let checked = run(
        "sqlite3",
        &[&copy, &"pragma integrity_check; select count(*) from note;"],
    );
    assert_eq!(checked.succeeded().stdout, "ok\n21\n");
    assert_eq!(world.stored().len(), 1, "{:?}", world.stored().keys());
}

#[test]
fn rsync_in_place_through_a_folder_of_its_own_and_with_deletions_leaves_just_the_source() {
    let world = world();
    let source = tree(&world, "source");
    let from = format!("{}/", source.display());
    let mount = world.mount();
    let target = mount.path("copy");
    run("rsync", &[&"-a", &from, &target]).succeeded();
    world.drain();
    fs::write(source.join("README"), content(77, 3000)).expect("write");
    run("rsync", &[&"-a", &"--inplace", &from, &target]).succeeded();
    world.drain();
    assert_same(&snapshot(&target), &snapshot(&source), "in place");
    fs::write(source.join("src/main.rs"), content(78, 70_000)).expect("write");
    let temporary = world.folder().join("temporary");
    fs::create_dir(&temporary).expect("a folder");
    run("rsync", &[&"-a", &"--temp-dir", &temporary, &from, &target]).succeeded();
    fs::remove_dir_all(source.join("data")).expect("remove");
    fs::write(source.join("late.txt"), b"late").expect("write");
    run("rsync", &[&"-a", &"--delete", &from, &target]).succeeded();
    let mount = elsewhere(&world, mount);
    assert_same(&snapshot(&mount.path("copy")), &snapshot(&source), "elsewhere");
    assert!(!mount.path("copy/data").exists());
}

#[test]
fn an_archive_is_updated_in_the_mount() {
    let world = world();
    let source = tree(&world, "source");
    let mount = world.mount();
    let archive = mount.path("all.zip");
    run("zip", &[&"-q", &"-r", &"-b", &world.folder(), &archive, &source]).succeeded();
    world.drain();
    fs::write(source.join("README"), b"newer").expect("write");
    run("touch", &[&"-d", &"+1 hour", &source.join("README")]).succeeded();
    run("zip", &[&"-q", &"-r", &"-u", &archive, &source]).succeeded();
    let mount = elsewhere(&world, mount);
    let out = world.folder().join("out");
    wait_for("the archive is whole", || {
        run("unzip", &[&"-tq", &mount.path("all.zip")]).status.success()
    });
    run("unzip", &[&"-q", &mount.path("all.zip"), &"-d", &out]).succeeded();
    let unpacked = out.join(source.strip_prefix("/").expect("an absolute path"));
    assert_same(&snapshot(&unpacked), &snapshot(&source), "unpacked");
    assert_eq!(world.stored().len(), 1, "{:?}", world.stored().keys());
}

#[test]
fn a_tree_is_copied_with_its_attributes_and_moved_within_and_out_of_the_mount() {
    let world = world();
    let source = tree(&world, "source");
    let mount = world.mount();
    run("cp", &[&"-a", &source, &mount.path("copy")]).succeeded();
    world.drain();
    run("mv", &[&mount.path("copy"), &mount.path("moved")]).succeeded();
    let mount = elsewhere(&world, mount);
    assert_eq!(mount.list(""), ["moved"]);
    assert_same(&snapshot(&mount.path("moved")), &snapshot(&source), "moved");
    let out = world.folder().join("out");
    run("mv", &[&mount.path("moved"), &out]).succeeded();
    assert_same(&snapshot(&out), &snapshot(&source), "moved out");
    world.drain();
    assert!(world.stored().is_empty(), "{:?}", world.stored().keys());
}
