//! What is read is what is stored, and what is stored elsewhere shows up.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::harness::{Call, Mount, Tune, World, content, sha256_of, wait_for};

#[test]
fn a_file_of_many_ranges_is_read_right_from_start_to_end() {
    let world = World::new();
    let wanted = content(1, 25_000_007);
    world.put("video.bin", &wanted);
    let mount = world.mount();
    let mut file = File::open(mount.path("video.bin")).expect("open");
    let mut got = Vec::new();
    let mut piece = vec![0; 77_777];
    loop {
        let count = file.read(&mut piece).expect("read");
        if count == 0 {
            break;
        }
        got.extend_from_slice(&piece[..count]);
    }
    assert_eq!(sha256_of(&got), sha256_of(&wanted));
}

#[test]
fn reads_at_random_places_are_right() {
    let world = World::new();
    let wanted = content(2, 9_000_001);
    world.put("archive.bin", &wanted);
    let mount = world.mount();
    let file = File::open(mount.path("archive.bin")).expect("open");
    let mut dice = fastrand::Rng::with_seed(3);
    for _ in 0..60 {
        let at = dice.usize(..wanted.len());
        let length = dice.usize(1..100_000).min(wanted.len() - at);
        let mut got = vec![0; length];
        file.read_exact_at(&mut got, at as u64).expect("read");
        assert!(got == wanted[at..at + length], "{length} bytes at {at}");
    }
    assert_eq!(
        file.read_at(&mut [0; 10], wanted.len() as u64)
            .expect("read at the end"),
        0
    );
    assert_eq!(
        file.read_at(&mut [0; 10], 1 << 40)
            .expect("read far beyond the end"),
        0
    );
}

#[test]
fn the_tail_of_a_large_file_is_read_without_fetching_the_rest() {
    let world = World::new();
    let wanted = content(4, 20 << 20);
    world.put("movie.mkv", &wanted);
    let mount = world.mount();
    let calls = world.counted(|| {
        let mut file = File::open(mount.path("movie.mkv")).expect("open");
        file.seek(SeekFrom::End(-1000)).expect("seek");
        let mut got = Vec::new();
        file.read_to_end(&mut got).expect("read");
        assert!(got == wanted[wanted.len() - 1000..]);
    });
    assert!(calls.bytes_out < 4 << 20, "fetched {} bytes", calls.bytes_out);
}

#[test]
fn a_link_that_expires_in_the_middle_is_renewed_where_reading_stands() {
    let world = World::with(|setup| setup.tune(Tune::LinkLife(Duration::from_secs(1))));
    let wanted = content(5, 24 << 20);
    world.put("long.bin", &wanted);
    let mount = world.mount();
    let mut file = File::open(mount.path("long.bin")).expect("open");
    let mut got = vec![0; 64 << 10];
    file.read_exact(&mut got).expect("read");
    // The link's life is over by then: this is the cause, not a wait for an effect.
    std::thread::sleep(Duration::from_millis(2500));
    file.read_to_end(&mut got).expect("read on");
    assert_eq!(sha256_of(&got), sha256_of(&wanted));
    assert!(world.service.calls().of(Call::Link) >= 2);
}

#[test]
fn what_is_added_changed_and_deleted_elsewhere_shows_up_by_itself() {
    let world = World::new();
    world.put("folder/old.txt", b"old");
    let mount = world.mount();
    assert_eq!(mount.list("folder"), ["old.txt"]);
    assert_eq!(mount.read("folder/old.txt"), b"old");

    world.put("folder/new.txt", b"new");
    wait_for("the new file is listed", || {
        mount.list("folder") == ["new.txt", "old.txt"]
    });
    assert_eq!(mount.read("folder/new.txt"), b"new");

    let reads = |wanted: &[u8]| std::fs::read(mount.path("folder/old.txt")).is_ok_and(|got| got == wanted);
    world.change("folder/old.txt", b"changed elsewhere");
    wait_for("the changed content is read", || reads(b"changed elsewhere"));
    world.change("folder/old.txt", b"the same length!!");
    wait_for("content of the same length is read anew", || {
        reads(b"the same length!!")
    });

    world.remove("folder/new.txt");
    wait_for("the deleted file is gone", || mount.list("folder") == ["old.txt"]);
    // The kernel is told a little after.
    wait_for("its name is forgotten", || {
        std::fs::metadata(mount.path("folder/new.txt")).is_err()
    });

    std::fs::rename(
        world.service.files_dir("media").join("folder"),
        world.service.files_dir("media").join("renamed"),
    )
    .expect("rename elsewhere");
    wait_for("the renamed folder is shown", || mount.list("") == ["renamed"]);
    assert_eq!(mount.read("renamed/old.txt"), b"the same length!!");
}

/// What the mount tells of a file's content: another id or another hash means another content.
fn version(mount: &Mount, path: &str) -> (Option<String>, Option<String>) {
    (mount.xattr(path, "id").ok(), mount.xattr(path, "sha256").ok())
}

#[test]
fn an_open_file_that_is_changed_elsewhere_never_mixes_two_versions() {
    let world = World::new();
    let (old, new) = (vec![b'a'; 24 << 20], vec![b'b'; 24 << 20]);
    world.put("data.bin", &old);
    let mount = world.mount();
    let old_version = version(&mount, "data.bin");
    let file = File::open(mount.path("data.bin")).expect("open");
    let mut piece = vec![0; 64 << 10];
    file.read_exact_at(&mut piece, 0).expect("read the first version");
    assert!(piece.iter().all(|byte| *byte == b'a'));

    world.change("data.bin", &new);
    wait_for("the mount knows of the change", || {
        version(&mount, "data.bin") != old_version
    });
    match file.read_exact_at(&mut piece, 20 << 20) {
        Ok(()) => assert!(
            piece.iter().all(|byte| *byte == b'a'),
            "bytes of two versions through one handle"
        ),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
    }
    let again = mount.read("data.bin");
    assert_eq!(
        sha256_of(&again),
        sha256_of(&new),
        "who opens it now reads the new content"
    );
}

#[test]
fn several_readers_of_one_file_do_not_disturb_each_other() {
    let world = World::new();
    let wanted = content(6, 6 << 20);
    world.put("shared.bin", &wanted);
    let mount = world.mount();
    std::thread::scope(|scope| {
        for reader in 0..6u64 {
            let (wanted, path) = (&wanted, mount.path("shared.bin"));
            scope.spawn(move || {
                let file = File::open(path).expect("open");
                let mut dice = fastrand::Rng::with_seed(reader);
                for _ in 0..20 {
                    let at = dice.usize(..wanted.len() - 50_000);
                    let mut got = vec![0; 50_000];
                    file.read_exact_at(&mut got, at as u64).expect("read");
                    assert!(got == wanted[at..at + 50_000]);
                }
            });
        }
    });
}

#[test]
fn a_link_that_leads_on_to_another_is_followed() {
    let world = World::with(|setup| setup.service.quirks.redirect_links = true);
    let wanted = content(7, 3 << 20);
    world.put("file.bin", &wanted);
    let mount = world.mount();
    assert!(mount.read("file.bin") == wanted);
    let file = File::open(mount.path("file.bin")).expect("open");
    let mut got = vec![0; 5000];
    file.read_exact_at(&mut got, 2_500_000)
        .expect("read in the middle");
    assert!(got == wanted[2_500_000..2_505_000]);
}

#[test]
fn a_service_that_ignores_ranges_is_read_right_or_not_at_all() {
    let world = World::with(|setup| setup.service.quirks.ignore_ranges = true);
    let (small, large) = (content(8, 900_000), content(9, 5 << 20));
    world.put("small.bin", &small);
    world.put("large.bin", &large);
    let mount = world.mount();
    assert!(mount.read("small.bin") == small);
    let file = File::open(mount.path("large.bin")).expect("open");
    for at in (0..large.len()).step_by(512 << 10) {
        let mut got = vec![0; 4096];
        match file.read_exact_at(&mut got, at as u64) {
            Ok(()) => assert!(got == large[at..at + got.len()], "wrong bytes at {at}"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "at {at}"),
        }
    }
}

#[test]
fn a_folder_that_is_deleted_elsewhere_disappears() {
    let world = World::new();
    world.put("outer/inner/file.txt", b"x");
    let mount = world.mount();
    assert_eq!(mount.list("outer"), ["inner"]);
    assert_eq!(mount.list("outer/inner"), ["file.txt"]);
    std::fs::remove_dir_all(world.service.files_dir("media").join("outer/inner")).expect("delete elsewhere");
    wait_for("the folder is gone", || mount.list("outer").is_empty());
}

#[test]
fn a_file_that_is_being_written_outlives_its_folder() {
    let world = World::new();
    world.put("outer/inner/file.txt", b"x");
    let mount = world.mount();
    assert_eq!(mount.list("outer/inner"), ["file.txt"]);
    let mut file = File::create(mount.path("outer/inner/new.txt")).expect("create");
    file.write_all(b"not to be lost").expect("write");
    let before = world.service.calls().of(Call::Listing);
    std::fs::remove_dir_all(world.service.files_dir("media").join("outer/inner")).expect("delete elsewhere");
    wait_for("the mount has looked again", || {
        let _ = std::fs::read_dir(mount.path("outer")).map(Iterator::count);
        world.service.calls().of(Call::Listing) >= before + 2
    });
    drop(file);
    // A service may show at its top what it still knows of a folder that is gone.
    let places = ["outer/inner/new.txt", "inner/new.txt"];
    let mut kept = places.iter().flat_map(|path| std::fs::read(mount.path(path)));
    assert!(kept.any(|kept| kept == b"not to be lost"), "it is gone");
    wait_for("the trouble is told", || {
        let status = world.status();
        status["pending"]
            .as_array()
            .is_some_and(|pending| pending.len() == 1)
    });
}

#[test]
fn a_file_that_is_removed_while_it_is_read_is_never_cut_short() {
    let world = World::new();
    let wanted = content(11, 6 << 20);
    world.put("film.bin", &wanted);
    let mount = world.mount();
    let mut file = File::open(mount.path("film.bin")).expect("open");
    let mut got = vec![0; 64 << 10];
    file.read_exact(&mut got).expect("read");
    std::fs::remove_file(mount.path("film.bin")).expect("remove");
    if file.read_to_end(&mut got).is_ok() {
        assert!(got == wanted, "cut to {} bytes", got.len());
    }
}
