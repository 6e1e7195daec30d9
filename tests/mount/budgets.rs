//! What work costs in calls at most, counted by the service.
//!
//! | work | held in |
//! |---|---|
//! | idle mount | `system`: `an_idle_mount_makes_one_call_an_interval_and_none_without_a_change_feed` |
//! | first listing of a folder by parts | here; of small ones in `system` |
//! | `ls -l`, `find`, `stat` afterwards | here and in `system` |
//! | the same after a remount | here |
//! | `ls -lR` over 200 folders of 50 files | here |
//! | reading 200 small files of a folder | here, in any order |
//! | a new small file, one whose content is known, one of n units | `system`: `storing_costs_few_calls_...`; `known_content` there too |
//! | 500 new small files | `uploading`: `five_hundred_small_files_take_two_calls_each_and_a_few_for_all`; here where files go one a request |
//! | rename, move, both, delete of one, folders | `system`: `changing_names_costs_the_calls_that_it_must` |
//! | `rm` and `rm -r` of 500 files of a folder | here; `deleting`: `a_folder_of_many_files_is_removed_in_few_calls` |
//! | second `rsync -a` | here |
//! | Mirrored.to, one file published | `published` |
//!
//! Where a service lists a whole folder in one answer, tells no changes, or gives one link a call, its own budget stands
//! beside MediaFire's.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;

use super::harness::{Call, MEDIA, Mount, Scratch, World, content, run, snapshot};
use crate::KIND;

fn quiet() -> World {
    World::with(|setup| setup.asks_for_nothing())
}

/// Of a folder of which it is known how many folders and files it holds: a part known to be empty is not asked for.
fn listing_budget(folders: usize, files: usize) -> u64 {
    match KIND.budget.listing_part {
        Some(part) => (folders.div_ceil(part) + files.div_ceil(part)) as u64,
        None => 1,
    }
}

/// What a walk over all facts of a tree finds out.
fn walk(mount: &Mount) -> usize {
    run("ls", &[&"-lR", &mount.path("")]).succeeded();
    let found = run("find", &[&mount.path(""), &"-size", &"+0", &"-type", &"f"]);
    found.succeeded().stdout.lines().count()
}

/// Mounts again and counts what work then costs. Coming up costs no listing where a feed tells what changed; other
/// services are asked what they can, once a mount.
fn counted_after_a_remount(world: &World, work: impl FnOnce(&Mount)) -> Mount {
    world.service.reset_calls();
    let mount = world.mount();
    world.service.settle();
    let calls = world.service.calls();
    let listings = if KIND.has(Capability::ChangeFeed) { 0 } else { 1 };
    assert!(calls.of(Call::Listing) <= listings, "coming up: {calls:?}");
    world.service.reset_calls();
    work(&mount);
    std::thread::sleep(Duration::from_secs(1));
    let calls = world.service.calls();
    let beyond = calls.total() - calls.of(Call::Changes);
    assert_eq!(beyond, 0, "beyond the change probe: {calls:?}");
    mount
}

#[test]
fn the_first_listing_of_a_large_folder_costs_a_call_for_each_part_that_is_not_empty() {
    let world = quiet();
    world.service.grow(MEDIA, 1, 2_001, 10);
    let names: Vec<String> = (0..1_001).map(|at| format!("many folders/{at:04}")).collect();
    for name in &names {
        world.elsewhere("make_folder", name, &[]);
    }
    let mount = world.mount();
    assert_eq!(mount.list(""), ["folder-00000", "many folders"]);
    let calls = world.counted(|| assert_eq!(mount.list("folder-00000").len(), 2_001));
    assert!(calls.work() <= listing_budget(0, 2_001), "files alone: {calls:?}");
    let calls = world.counted(|| assert_eq!(mount.list("many folders").len(), 1_001));
    assert!(
        calls.work() <= listing_budget(1_001, 0),
        "folders alone: {calls:?}"
    );
    let calls = world.counted(|| {
        run("ls", &[&"-l", &mount.path("folder-00000")]).succeeded();
        run("find", &[&mount.path("folder-00000"), &"-size", &"+1k"]).succeeded();
        run("stat", &[&mount.path("folder-00000/file-02000.bin")]).succeeded();
        assert!(fs::metadata(mount.path("folder-00000/none")).is_err());
    });
    assert_eq!(calls.total(), 0, "what is known: {calls:?}");
    let calls = world.counted(|| assert!(mount.list("many folders/0500").is_empty()));
    assert!(
        calls.work() <= listing_budget(0, 0),
        "a folder known to be empty: {calls:?}"
    );
}

#[test]
fn a_walk_over_200_folders_of_50_files_costs_a_call_for_each_and_none_afterwards() {
    let world = World::with(|setup| {
        setup.asks_for_nothing();
        setup.service.latency = Duration::from_millis(50);
    });
    // Where listings lack the dates, each is asked for in the background, which takes its time.
    let (folders, files) = if KIND.has(Capability::ModificationTime) {
        (200, 50)
    } else {
        (200, 2)
    };
    world.service.grow(MEDIA, folders, files, 10);
    let mount = world.mount();
    let calls = world.counted(|| {
        let began = Instant::now();
        run("ls", &[&"-lR", &mount.path("")]).succeeded();
        println!("ls -lR at 50 ms: {:?}", began.elapsed());
    });
    assert!(calls.work() <= 204, "{calls:?}");
    let calls = world.counted(|| assert_eq!(walk(&mount), folders * files));
    assert_eq!(calls.total(), 0, "warm: {calls:?}");
    mount.unmount(&world.config());
}

#[test]
fn after_a_remount_a_walk_over_what_is_known_costs_the_change_probe_alone() {
    let world = quiet();
    world.service.grow(MEDIA, 20, 50, 10);
    let mount = world.mount();
    assert_eq!(walk(&mount), 1_000);
    mount.unmount(&world.config());
    let mount = counted_after_a_remount(&world, |mount| assert_eq!(walk(mount), 1_000));
    // Neither does a kill cost it.
    mount.kill();
    counted_after_a_remount(&world, |mount| assert_eq!(walk(mount), 1_000));
}

/// A mount that knows a folder of 200 small files, and what reading all of them costs.
fn reading_200_small_files(read_all: impl FnOnce(&Mount, Vec<String>)) {
    let world = quiet();
    let names: Vec<String> = (0..200).map(|at| format!("small/{at:03}.txt")).collect();
    let folder = world.service.files_dir(MEDIA);
    fs::create_dir_all(folder.join("small")).expect("make a folder");
    for name in &names {
        fs::write(folder.join(name), name).expect("write");
    }
    world.service.rescan();
    let mount = world.mount();
    assert_eq!(mount.list("small").len(), 200);
    let calls = world.counted(|| read_all(&mount, names));
    let links = if KIND.has(Capability::Batches) { 4 } else { 200 };
    assert!(calls.of(Call::Download) <= 200, "{calls:?}");
    assert!(calls.of(Call::Link) <= links, "{calls:?}");
    assert!(calls.work() <= 200 + links, "{calls:?}");
    let again = world.counted(|| assert_eq!(snapshot(&mount.path("small")).len(), 200));
    assert_eq!(again.total(), 0, "from the cache: {again:?}");
}

fn read_each(mount: &Mount, names: impl IntoIterator<Item = String>) {
    for name in names {
        assert_eq!(mount.read(&name), name.clone().into_bytes());
    }
}

#[test]
fn reading_200_small_files_of_a_folder_costs_a_download_each_and_few_calls_for_links() {
    reading_200_small_files(read_each);
}

#[test]
fn eight_readers_of_200_small_files_of_a_folder_cost_no_more_than_one() {
    reading_200_small_files(|mount, names| {
        let names = Mutex::new(names.into_iter());
        let next = || names.lock().expect("no reader panics with it").next();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| read_each(mount, std::iter::from_fn(next)));
            }
        });
    });
}

#[test]
fn eight_readers_with_a_part_of_the_folder_each_cost_no_more_than_one() {
    reading_200_small_files(|mount, names| {
        std::thread::scope(|scope| {
            for part in names.chunks(25) {
                scope.spawn(|| read_each(mount, part.to_vec()));
            }
        });
    });
}

#[test]
fn reading_200_small_files_in_an_order_of_its_own_costs_no_more() {
    reading_200_small_files(|mount, mut names| {
        fastrand::Rng::with_seed(7).shuffle(&mut names);
        read_each(mount, names);
    });
}

#[test]
fn copying_200_small_files_out_of_a_folder_costs_no_more() {
    reading_200_small_files(|mount, names| {
        let copied = tempfile::tempdir().expect("a temporary folder");
        run("cp", &[&"-r", &mount.path("small"), &copied.path()]).succeeded();
        for name in names {
            assert_eq!(
                fs::read(copied.path().join(&name)).expect("a copy"),
                name.into_bytes()
            );
        }
    });
}

#[test]
fn new_small_files_cost_what_one_costs_each() {
    // In a batch they cost less, which has a test of its own.
    if KIND.has(Capability::Batches) {
        return;
    }
    let world = quiet();
    let source = Scratch::new(world.folder().join("many"));
    for at in 0..60 {
        source.file(&format!("{at:02}.bin"), &content(at, 500));
    }
    let mount = world.mount();
    mount.list("");
    let calls = world.counted(|| {
        run("cp", &[&"-r", &source.path, &mount.path("")]).succeeded();
        world.drain();
    });
    assert_eq!(world.stored().len(), 60);
    let budget = 60 * KIND.budget.new_file_in_folder + KIND.budget.create_folder;
    assert!(calls.work() <= budget, "{calls:?}");
}

#[test]
fn removing_500_files_of_a_folder_costs_up_to_three_calls_where_they_go_in_batches() {
    let files = if KIND.has(Capability::Batches) { 500 } else { 40 };
    let world = quiet();
    world.service.grow(MEDIA, 1, files, 10);
    let mount = world.mount();
    assert_eq!(mount.list("folder-00000").len(), files);
    let calls = world.counted(|| {
        for at in 0..files {
            let name = format!("folder-00000/file-{at:05}.bin");
            fs::remove_file(mount.path(&name)).expect("unlink");
        }
        world.drain();
    });
    assert!(world.stored().is_empty());
    let budget = if KIND.has(Capability::Batches) {
        3
    } else {
        files as u64
    };
    assert!(calls.work() <= budget, "{calls:?}");
}

fn sync(source: &Path, mount: &Mount) -> String {
    let source = format!("{}/", source.display());
    let ran = run(
        "rsync",
        &[&"-a", &"--itemize-changes", &source, &mount.path("tree")],
    );
    ran.succeeded().stdout.clone()
}

fn grow(source: &Scratch) {
    for at in 0..60 {
        let path = format!("{}/{}/{at}.bin", at % 3, at % 5);
        source.dated_file(&path, &content(at, 700), 1_000_000_000 + at);
    }
}

#[test]
fn a_second_rsync_of_an_unchanged_tree_costs_no_call() {
    let world = quiet();
    let source = Scratch::new(world.folder().join("source"));
    grow(&source);
    let mount = world.mount();
    sync(&source.path, &mount);
    world.drain();
    let calls = world.counted(|| assert_eq!(sync(&source.path, &mount), "", "there was something to do"));
    assert_eq!(calls.total(), 0, "{calls:?}");
}

/// A mount that was told its own changes by the feed before it ended has nothing to learn when it comes back.
#[test]
fn a_second_rsync_after_a_remount_costs_the_change_probe_alone() {
    let world = World::with(|setup| setup.option("listing_age", "\"1h\""));
    let source = Scratch::new(world.folder().join("source"));
    grow(&source);
    let mount = world.mount();
    sync(&source.path, &mount);
    world.drain();
    // What uploads left unclear is looked at when they have come to rest.
    std::thread::sleep(Duration::from_secs(6));
    mount.unmount(&world.config());
    counted_after_a_remount(&world, |mount| {
        assert_eq!(sync(&source.path, mount), "", "after a remount");
    });
}
