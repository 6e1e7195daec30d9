//! A journal with many thousand rows: the mount comes up with all of them shown, and works as ever.

use std::collections::HashSet;
use std::fs;

use lockerfs::state::{Database, JournalRow};

use crate::suite::harness::{Mount, Place, World, wait_for};

const FOLDERS: usize = 20;
const FILES: usize = 1000;
const ALL: u64 = (FOLDERS * FILES) as u64;
/// Of a mount of one account, whatever waits: those of files that were read are among them.
const DESCRIPTORS: usize = 200;
/// Those of files that are worked on, or that the service works on, come on top.
const DESCRIPTORS_AT_WORK: usize = DESCRIPTORS + 300;
/// Uploads that show that the queue goes on, and what stays open of them.
const UPLOADS: u64 = 1000;

fn folder(at: usize) -> String {
    format!("folder{at:02}")
}

fn name(at: usize) -> String {
    format!("file{at:04}.txt")
}

fn text(at_folder: usize, at: usize) -> String {
    format!("{} {}", folder(at_folder), name(at))
}

/// Puts copies of each folder's first row into the journal of a place that nobody uses.
fn lengthen(place: &Place) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let lengthen = async {
        let database = Database::open(&place.state.join("state.db")).expect("open the journal");
        let first = database.journal_rows().await.expect("read the journal");
        assert_eq!(first.len(), FOLDERS, "{first:?}");
        let mut rows: Vec<JournalRow> = Vec::new();
        for (at_folder, row) in first.into_iter().enumerate() {
            for at in 1..FILES {
                let (staging, text) = (format!("made-{at_folder}-{at}"), text(at_folder, at));
                fs::write(place.state.join("staging").join(&staging), &text).expect("stage a file");
                rows.push(JournalRow {
                    name: name(at),
                    size: text.len() as u64,
                    staging: Some(staging),
                    ..row.clone()
                });
            }
        }
        database
            .journal(
                "test",
                move |journal| rows.iter().try_for_each(|row| journal.insert(row).map(drop)),
                |()| {},
            )
            .await
            .expect("write the journal");
        database.close().await;
    };
    runtime.block_on(lengthen);
}

fn assert_all_there(mount: &Mount) {
    let names: HashSet<_> = (0..FILES).map(name).collect();
    for at_folder in 0..FOLDERS {
        let listed = mount.list(&folder(at_folder));
        assert_eq!(listed.len(), FILES, "{}", folder(at_folder));
        assert_eq!(listed.into_iter().collect::<HashSet<_>>(), names);
        for at in [0, 1, 500 + at_folder, FILES - 1] {
            let path = format!("{}/{}", folder(at_folder), name(at));
            let stat = fs::metadata(mount.path(&path)).expect("stat");
            assert_eq!(stat.len(), text(at_folder, at).len() as u64, "{path}");
            assert_eq!(mount.read(&path), text(at_folder, at).as_bytes(), "{path}");
        }
    }
}

#[track_caller]
fn assert_descriptors(mount: &Mount, limit: usize) {
    let open = fs::read_dir(format!("/proc/{}/fd", mount.pid())).expect("its descriptors");
    // One may be closed this moment.
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let open: Vec<_> = open.collect();
    assert!(open.len() < limit, "{}: {open:?}", open.len());
}

fn waiting(world: &World) -> u64 {
    world.status()["totals"]["files"].as_u64().expect("a count")
}

#[test]
fn a_mount_with_many_thousand_waiting_files_shows_them_all_and_goes_on_with_them() {
    let world = World::with(|setup| setup.option("stop_timeout", "\"0s\""));
    let mount = world.mount();
    world.lockerfs(&["queue", "pause"]).succeeded();
    for at in 0..FOLDERS {
        fs::create_dir(mount.path(&folder(at))).expect("mkdir");
        mount.write(&format!("{}/{}", folder(at), name(0)), text(at, 0).as_bytes());
    }
    assert_eq!(waiting(&world), FOLDERS as u64);
    mount.unmount(&world.config());
    lengthen(&world.place());

    let mount = world.mount();
    assert_eq!(waiting(&world), ALL);
    let status = world.status();
    let shown = status["pending"].as_array().map_or(0, Vec::len);
    assert_eq!(shown as u64, ALL);
    assert_eq!(status["totals"]["parked"], 0);
    assert_all_there(&mount);
    assert_descriptors(&mount, DESCRIPTORS);

    world.lockerfs(&["queue", "resume"]).succeeded();
    wait_for("uploads go on", || waiting(&world) <= ALL - UPLOADS);
    assert_descriptors(&mount, DESCRIPTORS_AT_WORK);
    world.lockerfs(&["queue", "pause"]).succeeded();
    // What is new waits in the same queue, and is as near as ever.
    mount.write("folder00/new.txt", b"new");
    assert_eq!(mount.read("folder00/new.txt"), b"new");
    fs::rename(mount.path("folder00/new.txt"), mount.path("folder01/new.txt")).expect("rename");
    fs::remove_file(mount.path("folder01/new.txt")).expect("remove");
    wait_for("nothing is sent any more", || {
        world.status()["totals"]["under_way"] == 0
    });
    assert_all_there(&mount);
    let (left, stored) = (waiting(&world), world.stored());
    assert_eq!(left + stored.len() as u64, ALL);
    for (path, file) in &stored {
        assert_eq!(file.size, path.replace('/', " ").len() as u64, "{path}");
    }
    // A second life counts the same.
    mount.unmount(&world.config());
    let mount = world.mount();
    assert_eq!(waiting(&world), left);
    assert_descriptors(&mount, DESCRIPTORS);
    assert_all_there(&mount);
}
