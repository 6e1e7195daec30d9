//! What is fetched ahead of a reader, and what is not: little for little, much for who goes on, nothing for who has
//! gone.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use lockerfs::provider::Capability;

use super::harness::{Call, World, content, wait_for};
use crate::KIND;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

fn quiet() -> World {
    World::with(|setup| setup.asks_for_nothing())
}

fn head(file: &mut File) -> Vec<u8> {
    let mut head = vec![0; 4 * KIB];
    file.read_exact(&mut head).expect("a head");
    head
}

#[test]
fn the_head_of_a_file_costs_a_link_and_a_small_download() {
    let world = quiet();
    let wanted = content(1, 8 * MIB);
    world.put("film.mkv", &wanted);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["film.mkv"]);
    let calls = world.counted(|| {
        let mut file = File::open(mount.path("film.mkv")).expect("open");
        assert!(head(&mut file) == wanted[..4 * KIB]);
        std::thread::sleep(Duration::from_millis(300));
    });
    assert_eq!(
        (calls.of(Call::Link), calls.of(Call::Download)),
        (1, 1),
        "{calls:?}"
    );
    // A service that sends on fills the buffers of both ends.
    let buffered = if KIND.has(Capability::Batches) {
        0
    } else {
        2 * KIND.budget.overshoot
    };
    let most = 256 * KIB as u64 + buffered;
    assert!(calls.bytes_out <= most, "fetched {} bytes", calls.bytes_out);
}

#[test]
fn a_program_that_sniffs_at_file_after_file_costs_their_heads_and_few_link_calls() {
    let world = quiet();
    let files: Vec<(String, Vec<u8>)> = (0..60)
        .map(|at| (format!("{at:02}.jpg"), content(at, MIB)))
        .collect();
    for (name, bytes) in &files {
        world.put(name, bytes);
    }
    let mount = world.mount();
    assert_eq!(mount.list("").len(), files.len());
    let calls = world.counted(|| {
        for (name, bytes) in &files {
            let mut file = File::open(mount.path(name)).expect("open");
            assert!(head(&mut file) == bytes[..4 * KIB], "{name}");
        }
    });
    assert_eq!(calls.of(Call::Download), 60, "{calls:?}");
    let links = if KIND.has(Capability::Batches) { 4 } else { 60 };
    assert!(calls.of(Call::Link) <= links, "{calls:?}");
    let most = 60 * (150 * KIB as u64 + KIND.budget.overshoot);
    assert!(calls.bytes_out <= most, "fetched {} bytes", calls.bytes_out);
}

#[test]
fn what_was_foreseen_is_not_fetched_once_the_program_has_gone() {
    let world = quiet();
    for at in 0..200 {
        world.put(&format!("{at:03}.txt"), &content(at, 100 * KIB));
    }
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 200);
    let calls = world.counted(|| {
        for at in 0..5 {
            mount.read(&format!("{at:03}.txt"));
        }
        std::thread::sleep(Duration::from_secs(1));
    });
    assert!(calls.of(Call::Download) <= 5 + 32, "{calls:?}");
    let links = if KIND.has(Capability::Batches) { 4 } else { 5 + 32 };
    assert!(calls.of(Call::Link) <= links, "{calls:?}");
}

#[test]
fn two_readers_of_a_file_fetch_it_once() {
    let world = quiet();
    let wanted = content(2, 12 * MIB);
    world.put("film.mkv", &wanted);
    let mount = world.mount();
    assert_eq!(mount.list(""), ["film.mkv"]);
    let path = mount.path("film.mkv");
    let calls = world.counted(|| {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert!(fs::read(&path).expect("read") == wanted));
            }
        });
    });
    let most = 12 * MIB as u64 + MIB as u64 + KIND.budget.overshoot;
    assert!(calls.bytes_out <= most, "fetched {} bytes", calls.bytes_out);
}

#[test]
fn reads_backwards_and_by_strides_fetch_little_more_than_they_want() {
    let world = quiet();
    let wanted = content(3, 48 * MIB);
    world.put("archive.zip", &wanted);
    world.put("film.mkv", &wanted);
    let mount = world.mount();
    assert_eq!(mount.list("").len(), 2);
    let piece = 64 * KIB;
    let check = |file: &File, at: usize| {
        let mut got = vec![0; piece];
        file.read_exact_at(&mut got, at as u64).expect("read");
        assert!(got == wanted[at..at + piece], "wrong bytes at {at}");
    };
    let backwards = world.counted(|| {
        let file = File::open(mount.path("archive.zip")).expect("open");
        for step in 1..=64 {
            check(&file, wanted.len() - step * piece);
        }
    });
    // 4 MiB were read.
    let few = 64;
    assert!(backwards.of(Call::Download) <= few, "{backwards:?}");
    let most = 8 * MIB as u64 + few * KIND.budget.overshoot;
    assert!(
        backwards.bytes_out <= most,
        "fetched {} bytes",
        backwards.bytes_out
    );
    let by_strides = world.counted(|| {
        let file = File::open(mount.path("film.mkv")).expect("open");
        for step in 1..=20 {
            check(&file, step * 2 * MIB);
        }
    });
    let most = 4 * MIB as u64 + 24 * KIND.budget.overshoot;
    assert!(
        by_strides.bytes_out <= most,
        "fetched {} bytes",
        by_strides.bytes_out
    );
}

#[test]
fn a_file_that_is_closed_is_fetched_no_further() {
    let world = quiet();
    world.put("film.mkv", &content(4, 64 * MIB));
    let mount = world.mount();
    assert_eq!(mount.list(""), ["film.mkv"]);
    let before = world.service.calls().bytes_out;
    {
        let mut file = File::open(mount.path("film.mkv")).expect("open");
        let mut piece = vec![0; MIB];
        for _ in 0..4 {
            file.read_exact(&mut piece).expect("read");
        }
    }
    let sent = || world.service.calls().bytes_out - before;
    let mut last = u64::MAX;
    wait_for("no content is sent any more", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = sent();
        // The counts themselves are sent too.
        now.saturating_sub(std::mem::replace(&mut last, now)) < 16 * KIB as u64
    });
    // 4 MiB read, as much again twice ahead, and what lies in the buffers of both ends.
    let most = 24 * MIB as u64 + KIND.budget.overshoot;
    assert!(sent() <= most, "{} bytes sent", sent());
}
