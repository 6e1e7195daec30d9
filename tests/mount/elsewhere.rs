//! What is done on the service behind the mount's back is seen in the mount within the poll interval, or the
//! listing's age where the service tells no changes, whatever the kernel remembers. Who has a file open reads on in
//! what it opened, or gets an error.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::harness::{Mount, World, content};

/// The interval is a second in these tests; machines are busy.
pub const SOON: Duration = Duration::from_secs(15);

pub type Seen<'a> = (&'a str, Box<dyn Fn() -> bool + 'a>);

/// Waits until all is seen, and tells all that was not.
#[track_caller]
pub fn seen_soon(mut wanted: Vec<Seen>) {
    let began = Instant::now();
    loop {
        wanted.retain(|(_, seen)| !seen());
        if wanted.is_empty() {
            return;
        }
        if began.elapsed() > SOON {
            let missed: Vec<_> = wanted.iter().map(|(what, _)| what).collect();
            panic!("not seen after {:?}: {missed:#?}", began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn reads(mount: &Mount, path: &str, wanted: &str) -> bool {
    let is_read = fs::read(mount.path(path)).is_ok_and(|read| read == wanted.as_bytes());
    is_read && fs::metadata(mount.path(path)).is_ok_and(|facts| facts.len() == wanted.len() as u64)
}

fn is_gone(mount: &Mount, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stat = fs::metadata(mount.path(path)).map_err(|error| error.kind());
    let is_listed = fs::read_dir(mount.path(folder)).is_ok_and(|entries| {
        let mut names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
        names.any(|found| found == name)
    });
    stat.is_err_and(|kind| kind == std::io::ErrorKind::NotFound) && !is_listed
}

pub fn lists(mount: &Mount, folder: &str, wanted: &[&str]) -> bool {
    fs::read_dir(mount.path(folder)).is_ok() && mount.list(folder) == wanted
}

/// A file of this content that stands in the trash of the service, and was never seen here.
fn in_the_trash(world: &World, path: &str) {
    world.elsewhere("write", path, &[("content", path)]);
    world.elsewhere("trash", path, &[]);
}

/// Fills the kernel's caches: names, facts, contents, and the absence of what is not there.
fn warm(mount: &Mount, files: &[&str], absent: &[&str]) {
    for _ in 0..2 {
        for path in files {
            assert!(reads(mount, path, path), "{path} before");
        }
        for path in absent {
            assert!(is_gone(mount, path), "{path} before");
        }
    }
}

#[test]
fn what_is_done_to_files_elsewhere_is_seen_where_the_kernel_remembered_them() {
    let world = World::new();
    let files = [
        "home/changed",
        "home/longer",
        "home/renamed",
        "home/moved",
        "home/both",
        "home/trashed",
    ];
    for path in files {
        world.elsewhere("write", path, &[("content", path)]);
    }
    world.elsewhere("write", "other/here", &[("content", "other/here")]);
    in_the_trash(&world, "home/restored");
    let absent = [
        "home/added",
        "home/restored",
        "home/new name",
        "other/moved",
        "other/new",
    ];
    let mount = world.mount();
    warm(&mount, &files, &absent);

    world.elsewhere("write", "home/added", &[("content", "added")]);
    world.write_elsewhere("home/changed", "HOME/CHANGED");
    world.write_elsewhere("home/longer", "it is longer than before");
    world.elsewhere("rename", "home/renamed", &[("to", "new name")]);
    world.elsewhere("move", "home/moved", &[("to", "other/moved")]);
    world.elsewhere("move", "home/both", &[("to", "other/new")]);
    world.elsewhere("trash", "home/trashed", &[]);
    world.elsewhere("restore", "home/restored", &[]);
    seen_soon(vec![
        ("added", Box::new(|| reads(&mount, "home/added", "added"))),
        (
            "changed, of the same size",
            Box::new(|| reads(&mount, "home/changed", "HOME/CHANGED")),
        ),
        (
            "changed, of another size",
            Box::new(|| reads(&mount, "home/longer", "it is longer than before")),
        ),
        (
            "the new name",
            Box::new(|| reads(&mount, "home/new name", "home/renamed")),
        ),
        ("the old name", Box::new(|| is_gone(&mount, "home/renamed"))),
        (
            "moved to here",
            Box::new(|| reads(&mount, "other/moved", "home/moved")),
        ),
        ("moved from here", Box::new(|| is_gone(&mount, "home/moved"))),
        (
            "moved and renamed to here",
            Box::new(|| reads(&mount, "other/new", "home/both")),
        ),
        (
            "moved and renamed from here",
            Box::new(|| is_gone(&mount, "home/both")),
        ),
        ("trashed", Box::new(|| is_gone(&mount, "home/trashed"))),
        (
            "restored",
            Box::new(|| reads(&mount, "home/restored", "home/restored")),
        ),
        (
            "the listing of the one folder",
            Box::new(|| {
                let names = ["added", "changed", "longer", "new name", "restored"];
                lists(&mount, "home", &names)
            }),
        ),
        (
            "the listing of the other",
            Box::new(|| lists(&mount, "other", &["here", "moved", "new"])),
        ),
    ]);
    mount.unmount(&world.config());
}

#[test]
fn what_is_done_to_folders_elsewhere_is_seen_where_the_kernel_remembered_them() {
    let world = World::new();
    let files = ["home/renamed/f", "home/moved/f", "home/trashed/f", "home/kept/f"];
    for path in files {
        world.elsewhere("write", path, &[("content", path)]);
    }
    world.elsewhere("write", "home/restored/f", &[("content", "home/restored/f")]);
    world.elsewhere("trash", "home/restored", &[]);
    world.elsewhere("make_folder", "other", &[]);
    let absent = ["home/added", "home/restored", "home/new name", "other/moved"];
    let mount = world.mount();
    warm(&mount, &files, &absent);

    world.elsewhere("make_folder", "home/added", &[]);
    world.elsewhere("write", "home/kept/inner/new", &[("content", "new")]);
    world.elsewhere("rename", "home/renamed", &[("to", "new name")]);
    world.elsewhere("move", "home/moved", &[("to", "other/moved")]);
    world.elsewhere("trash", "home/trashed", &[]);
    world.elsewhere("restore", "home/restored", &[]);
    seen_soon(vec![
        ("added", Box::new(|| lists(&mount, "home/added", &[]))),
        (
            "a folder in a folder",
            Box::new(|| reads(&mount, "home/kept/inner/new", "new")),
        ),
        (
            "the new name",
            Box::new(|| reads(&mount, "home/new name/f", "home/renamed/f")),
        ),
        ("the old name", Box::new(|| is_gone(&mount, "home/renamed"))),
        (
            "moved to here",
            Box::new(|| reads(&mount, "other/moved/f", "home/moved/f")),
        ),
        ("moved from here", Box::new(|| is_gone(&mount, "home/moved"))),
        ("trashed", Box::new(|| is_gone(&mount, "home/trashed"))),
        (
            "restored",
            Box::new(|| reads(&mount, "home/restored/f", "home/restored/f")),
        ),
        (
            "the listing",
            Box::new(|| lists(&mount, "home", &["added", "kept", "new name", "restored"])),
        ),
    ]);
    mount.unmount(&world.config());
}

/// The change feed never tells what was purged: only revisions rise.
#[test]
fn a_file_purged_elsewhere_is_gone_where_the_kernel_remembered_it() {
    let world = World::new();
    let files = ["home/inner/purged", "home/inner/kept"];
    for path in files {
        world.elsewhere("write", path, &[("content", path)]);
    }
    let mount = world.mount();
    warm(&mount, &files, &[]);
    world.elsewhere("purge", "home/inner/purged", &[]);
    seen_soon(vec![
        ("purged", Box::new(|| is_gone(&mount, "home/inner/purged"))),
        ("the listing", Box::new(|| lists(&mount, "home/inner", &["kept"]))),
    ]);
    mount.unmount(&world.config());
}

#[test]
fn a_folder_purged_elsewhere_is_gone_where_the_kernel_remembered_it() {
    let world = World::new();
    let files = ["home/purged/inner/f", "home/kept/f"];
    for path in files {
        world.elsewhere("write", path, &[("content", path)]);
    }
    let mount = world.mount();
    warm(&mount, &files, &[]);
    world.elsewhere("purge", "home/purged", &[]);
    seen_soon(vec![
        ("purged", Box::new(|| is_gone(&mount, "home/purged"))),
        ("what was in it", {
            let path = mount.path("home/purged/inner/f");
            Box::new(move || fs::metadata(&path).is_err())
        }),
        ("the listing", Box::new(|| lists(&mount, "home", &["kept"]))),
    ]);
    mount.unmount(&world.config());
}

/// By names that nobody changes: what the mount knows when it comes back is not what was done while it was away.
#[test]
fn what_was_done_elsewhere_while_nothing_was_mounted_is_seen_after_a_remount() {
    let world = World::new();
    let files = [
        "home/changed",
        "home/renamed",
        "home/moved",
        "home/trashed",
        "home/purged",
    ];
    for path in files {
        world.elsewhere("write", path, &[("content", path)]);
    }
    world.elsewhere("make_folder", "other", &[]);
    let mount = world.mount();
    warm(&mount, &files, &["other/moved"]);
    mount.unmount(&world.config());
    world.elsewhere("write", "home/added", &[("content", "added")]);
    world.write_elsewhere("home/changed", "HOME/CHANGED");
    world.elsewhere("rename", "home/renamed", &[("to", "new name")]);
    world.elsewhere("move", "home/moved", &[("to", "other/moved")]);
    world.elsewhere("trash", "home/trashed", &[]);
    world.elsewhere("purge", "home/purged", &[]);
    let mount = world.mount();
    seen_soon(vec![
        ("added", Box::new(|| reads(&mount, "home/added", "added"))),
        (
            "changed",
            Box::new(|| reads(&mount, "home/changed", "HOME/CHANGED")),
        ),
        (
            "renamed",
            Box::new(|| reads(&mount, "home/new name", "home/renamed")),
        ),
        ("moved", Box::new(|| reads(&mount, "other/moved", "home/moved"))),
        ("trashed", Box::new(|| is_gone(&mount, "home/trashed"))),
        ("purged", Box::new(|| is_gone(&mount, "home/purged"))),
        (
            "the listing",
            Box::new(|| lists(&mount, "home", &["added", "changed", "new name"])),
        ),
    ]);
    mount.unmount(&world.config());
}

/// Reads here and there, until the change is known and for a while after. Before it is known nobody can tell whose
/// bytes the service gives.
fn reads_on(what: &str, file: &File, wanted: &[u8], is_known: impl Fn() -> bool) {
    let (began, mut known) = (Instant::now(), None);
    let mut dice = fastrand::Rng::with_seed(7);
    let mut errors = 0;
    loop {
        if known.is_none() && is_known() {
            known = Some(Instant::now());
        }
        let at = dice.usize(..wanted.len() - 4096);
        let mut got = vec![0; 4096];
        match file.read_exact_at(&mut got, at as u64) {
            Ok(()) => assert!(
                known.is_none() || got == wanted[at..at + 4096],
                "{what}: other bytes at {at}"
            ),
            Err(error) => {
                let told = [libc::EIO, libc::ENOENT, libc::ESTALE].map(Some);
                assert!(told.contains(&error.raw_os_error()), "{what}: {error}");
                errors += 1;
            }
        }
        if known.is_some_and(|known: Instant| known.elapsed() > Duration::from_secs(2)) {
            println!("{errors} reads failed");
            return;
        }
        assert!(began.elapsed() < SOON * 2, "the change is never known");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_has_a_file_open_reads_on_in_what_it_opened_or_gets_an_error() {
    readers_of(&["changed", "renamed", "moved"]);
}

#[test]
fn who_has_a_file_open_that_is_removed_elsewhere_reads_on_or_is_told_that_it_is_gone() {
    readers_of(&["trashed", "purged"]);
}

/// Opens a file for each of these changes, and reads in it while it is made.
fn readers_of(names: &[&str]) {
    const SIZE: usize = 12 << 20;
    let world = World::new();
    for (seed, name) in names.iter().enumerate() {
        world.put(&format!("home/{name}"), &content(seed as u64, SIZE));
    }
    world.elsewhere("make_folder", "other", &[]);
    let mount = world.mount();
    for (seed, name) in names.iter().enumerate() {
        let path = format!("home/{name}");
        let wanted = content(seed as u64, SIZE);
        let file = File::open(mount.path(&path)).expect("open");
        let mut head = vec![0; 4096];
        file.read_exact_at(&mut head, 0).expect("read the head");
        assert!(head == wanted[..4096]);
        assert!(mount.list("other").len() <= 2);
        match *name {
            "changed" => world.change(&path, &content(99, SIZE)),
            "renamed" => world.elsewhere("rename", &path, &[("to", "new name")]),
            "moved" => world.elsewhere("move", &path, &[("to", "other/moved")]),
            "trashed" => world.elsewhere("trash", &path, &[]),
            _ => world.elsewhere("purge", &path, &[]),
        }
        let is_known = || match *name {
            "changed" => {
                let opened = File::open(mount.path(&path));
                let mut head = vec![0; 4096];
                opened.is_ok_and(|file| file.read_exact_at(&mut head, 0).is_ok())
                    && head == content(99, SIZE)[..4096]
            }
            _ => is_gone(&mount, &path),
        };
        reads_on(name, &file, &wanted, is_known);
    }
    mount.unmount(&world.config());
}
