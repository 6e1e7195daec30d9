//! The cache through its interface, on a real disk.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::*;

const MIB: u64 = 1 << 20;

fn key(name: &str, size: u64) -> ContentKey {
    ContentKey {
        space: "media".to_owned(),
        file: FileId::new(name),
        version: "1".to_owned(),
        size,
    }
}

/// Bytes that tell their content and their place in it. They come again after a prime number of bytes.
fn bytes_of(key: &ContentKey, range: Range<u64>) -> Vec<u8> {
    const PERIOD: u64 = 1_048_573;
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(1);
        std::iter::repeat_with(|| random.u8(..))
            .take(PERIOD as usize)
            .collect()
    });
    let seed = u64::from(crc32fast::hash(format!("{key:?}").as_bytes()));
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut at = range.start;
    while at < range.end {
        let from = (at + seed) % PERIOD;
        let count = (range.end - at).min(PERIOD - from);
        bytes.extend_from_slice(&pattern[from as usize..(from + count) as usize]);
        at += count;
    }
    bytes
}

fn store_all(content: &CachedContent, key: &ContentKey) -> u64 {
    content.store(0, &bytes_of(key, 0..key.size))
}

fn assert_reads(content: &CachedContent, key: &ContentKey, range: Range<u64>) {
    let read = content.read(range.clone());
    assert!(
        read.as_deref() == Some(&bytes_of(key, range.clone())[..]),
        "{range:?} of {key:?}: {:?} bytes",
        read.map(|read| read.len())
    );
}

fn opened(dir: &Path, limit: u64) -> Arc<BlockCache> {
    let cache = BlockCache::open(dir, limit).unwrap();
    until("the survey is done", || cache.room.registry().is_complete());
    cache
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All files below, with what they take on the disk.
fn files_below(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path) {
            Ok(facts) if facts.is_dir() => files.extend(files_below(&path)),
            Ok(facts) => files.push((path, files::allocated(&facts))),
            // It went in this moment.
            Err(_) => {}
        }
    }
    files
}

fn contents_below(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = files_below(dir).into_iter().map(|(path, _)| path).collect();
    paths.retain(|path| path.parent() != Some(dir));
    paths.sort();
    paths
}

fn on_disk(dir: &Path) -> u64 {
    let files = files_below(dir).into_iter();
    let contents = files.filter(|(path, _)| path.parent() != Some(dir));
    contents.map(|(_, bytes)| bytes).sum()
}

#[test]
fn what_was_kept_is_read_in_any_part_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 3 * MIB + 12_345);
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    assert!(!content.holds(0..1) && content.read(0..1).is_none());
    let middle = 40 * BLOCK..60 * BLOCK;
    assert_eq!(
        content.store(middle.start, &bytes_of(&key, middle.clone())),
        20 * BLOCK
    );
    assert_reads(&content, &key, middle.start + 5..middle.end - 7);
    assert!(content.holds(middle.clone()) && !content.holds(middle.start - 1..middle.end));
    assert_eq!(
        content.missing(0..u64::MAX),
        [0..middle.start, middle.end..key.size]
    );
    assert_eq!(
        content.missing(50 * BLOCK..60 * BLOCK + 1),
        [60 * BLOCK..61 * BLOCK]
    );
    assert_eq!(store_all(&content, &key), key.size);
    assert!(content.is_whole());
    let used = cache.used();
    drop((content, cache));

    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    assert!(content.is_whole() && content.missing(0..key.size).is_empty());
    for range in [
        0..1,
        key.size - 1..key.size,
        MIB - 3..2 * MIB + 3,
        0..key.size,
        7..7,
    ] {
        assert_reads(&content, &key, range);
    }
    assert_eq!(content.read(0..key.size + 1), None);
    assert_eq!(cache.used(), used);
    assert!(on_disk(dir.path()) <= used);
}

#[test]
fn only_whole_blocks_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    let key = key("a", 2 * BLOCK + 10);
    let content = cache.content(&key);
    assert_eq!(content.store(1, &bytes_of(&key, 1..key.size)), 0);
    assert_eq!(content.store(0, &bytes_of(&key, 0..BLOCK + 1)), BLOCK);
    assert_eq!(content.missing(0..key.size), [BLOCK..key.size]);
    assert_eq!(
        content.store(2 * BLOCK, &bytes_of(&key, 2 * BLOCK..key.size - 1)),
        0
    );
    assert_eq!(content.store(2 * BLOCK, &bytes_of(&key, 2 * BLOCK..key.size)), 10);
    assert_eq!(content.store(4 * BLOCK, b"beyond"), 0);
    assert_eq!(content.missing(0..key.size), [BLOCK..2 * BLOCK]);
}

#[test]
fn an_empty_content_is_whole_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key("a", 0));
    assert!(content.is_whole());
    assert_eq!(content.read(0..0).as_deref(), Some(&b""[..]));
    assert_eq!(content.store(0, b""), 0);
    assert_eq!((cache.used(), on_disk(dir.path())), (0, 0));
}

#[test]
fn openers_share_a_content_and_another_version_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    let old = key("a", 100_000);
    let content = cache.content(&old);
    assert!(Arc::ptr_eq(&content, &cache.content(&old)));
    store_all(&content, &old);
    let newer = ContentKey {
        version: "2".to_owned(),
        ..old.clone()
    };
    let other = ContentKey {
        space: "cloud".to_owned(),
        ..old.clone()
    };
    for changed in [newer, other, key("b", 100_000), key("a", 100_001)] {
        let content = cache.content(&changed);
        assert_eq!(content.missing(0..changed.size), [0..changed.size]);
        store_all(&content, &changed);
        assert_reads(&content, &changed, 0..changed.size);
    }
    assert_reads(&content, &old, 0..old.size);
}

#[test]
fn the_map_of_another_content_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (key("a", 100_000), key("b", 100_000));
    let cache = opened(dir.path(), 100 * MIB);
    for key in [&first, &second] {
        store_all(&cache.content(key), key);
    }
    drop(cache);
    // As if both had one digest.
    let (from, to) = (
        files::Place::of(dir.path(), map::Id::of(&first)),
        files::Place::of(dir.path(), map::Id::of(&second)),
    );
    fs::copy(&from.map, &to.map).unwrap();
    fs::copy(&from.data, &to.data).unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    assert_eq!(cache.content(&second).read(0..10), None);
    assert_reads(&cache.content(&first), &first, 0..first.size);
}

#[test]
fn a_map_cut_anywhere_gives_right_bytes_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 6 * BLOCK + 100);
    let place = files::Place::of(dir.path(), map::Id::of(&key));
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    for block in [3, 0, 6, 1] {
        let range = block * BLOCK..((block + 1) * BLOCK).min(key.size);
        content.store(range.start, &bytes_of(&key, range));
    }
    drop((content, cache));
    let map = fs::read(&place.map).unwrap();
    let data = fs::read(&place.data).unwrap();
    let mut most = 0;
    for len in 0..=map.len() {
        place.make_folder().unwrap();
        fs::write(&place.map, &map[..len]).unwrap();
        fs::write(&place.data, &data).unwrap();
        let cache = opened(dir.path(), 100 * MIB);
        let content = cache.content(&key);
        let held: Vec<u64> = (0..7)
            .filter(|block| content.holds(block * BLOCK..block * BLOCK + 1))
            .collect();
        assert!(held.len() >= most, "a longer map held less");
        most = held.len();
        for block in held {
            assert_reads(&content, &key, block * BLOCK..((block + 1) * BLOCK).min(key.size));
        }
        // It goes on from there.
        assert_eq!(store_all(&content, &key), key.size, "cut at {len}");
        drop((content, cache));
        let cache = opened(dir.path(), 100 * MIB);
        assert_reads(&cache.content(&key), &key, 0..key.size);
    }
    assert_eq!(most, 4);
}

#[test]
fn blocks_whose_data_did_not_reach_the_disk_are_forgotten_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 4 * BLOCK);
    let place = files::Place::of(dir.path(), map::Id::of(&key));
    let cache = opened(dir.path(), 100 * MIB);
    store_all(&cache.content(&key), &key);
    drop(cache);
    let data = File::options().write(true).open(&place.data).unwrap();
    data.write_all_at(&[0; BLOCK as usize], BLOCK).unwrap();
    data.set_len(4 * BLOCK - 1).unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    let before = cache.used();
    assert!(content.is_whole(), "nothing was looked at yet");
    assert_reads(&content, &key, 0..BLOCK);
    assert_eq!(content.read(0..2 * BLOCK), None);
    assert_eq!(content.read(3 * BLOCK..4 * BLOCK), None);
    assert_eq!(
        content.missing(0..key.size),
        [BLOCK..2 * BLOCK, 3 * BLOCK..4 * BLOCK]
    );
    assert_reads(&content, &key, 2 * BLOCK..3 * BLOCK);
    assert!(cache.used() < before && on_disk(dir.path()) <= cache.used());
    drop((content, cache));
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    assert_eq!(content.missing(0..key.size).len(), 2);
    store_all(&content, &key);
    assert_reads(&content, &key, 0..key.size);
}

#[test]
fn that_a_content_was_verified_outlives_the_process_but_not_a_lost_block() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 3 * MIB);
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    content.store(0, &bytes_of(&key, 0..MIB));
    content.set_verified();
    assert!(!content.is_verified(), "it is not whole");
    store_all(&content, &key);
    content.set_verified();
    drop((content, cache));
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    assert!(content.is_verified());
    cache.give_back(1);
    assert!(!content.is_whole() && !content.is_verified());
    store_all(&content, &key);
    assert!(content.is_whole() && !content.is_verified());
    drop((content, cache));
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    assert!(content.is_whole() && !content.is_verified());
}

#[test]
fn a_discarded_content_is_gone_from_the_disk_and_can_be_kept_anew() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 2 * MIB);
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&key);
    store_all(&content, &key);
    content.discard();
    assert_eq!(content.read(0..1), None);
    assert_eq!((cache.used(), on_disk(dir.path())), (0, 0));
    store_all(&content, &key);
    assert_reads(&content, &key, 0..key.size);
    content.discard();
    drop((content, cache));
    let cache = opened(dir.path(), 100 * MIB);
    assert!(!cache.content(&key).holds(0..1));
}

#[test]
fn the_limit_holds_at_every_moment_under_many_writers() {
    const LIMIT: u64 = 20 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), LIMIT);
    let (is_done, highest) = (AtomicBool::new(false), AtomicU64::new(0));
    let kept = AtomicU64::new(0);
    // The disk is looked at between the writes, since a walk takes longer than many of them.
    let gate = std::sync::RwLock::new(());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (cache, kept, gate) = (&cache, &kept, &gate);
                scope.spawn(move || {
                    let key = key(&format!("large {writer}"), 20 * MIB);
                    let content = cache.content(&key);
                    for at in (0..key.size).step_by(MIB as usize / 2) {
                        let _writing = gate.read().unwrap();
                        let range = at..at + MIB / 2;
                        kept.fetch_add(content.store(at, &bytes_of(&key, range)), Ordering::Relaxed);
                        let small = self::key(&format!("small {writer} {at}"), 70_000);
                        let content = cache.content(&small);
                        if store_all(&content, &small) == small.size {
                            // May be let go already.
                            let read = content.read(0..small.size);
                            assert!(read.is_none_or(|read| read == bytes_of(&small, 0..small.size)));
                        }
                    }
                })
            })
            .collect();
        let (cache, is_done, highest, gate, dir) = (&cache, &is_done, &highest, &gate, &dir);
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                highest.fetch_max(cache.used(), Ordering::Relaxed);
                let _nobody_writes = gate.write().unwrap();
                let on_disk = on_disk(dir.path());
                assert!(on_disk <= cache.used(), "{on_disk} of {}", cache.used());
            }
            assert!(on_disk(dir.path()) <= cache.used());
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
    });
    let (highest, kept) = (highest.into_inner(), kept.into_inner());
    assert!(highest <= LIMIT, "{highest}");
    assert!(highest > LIMIT * 8 / 10, "{highest}");
    assert!(kept > 150 * MIB, "{kept} of 160 MiB were kept");
}

#[test]
fn readers_never_see_the_hole_that_is_made_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 6 * MIB);
    let key = key("a", 8 * MIB);
    let content = cache.content(&key);
    let is_done = AtomicBool::new(false);
    let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (content, key) = (&content, &key);
            let (is_done, hits, misses) = (&is_done, &hits, &misses);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !is_done.load(Ordering::Relaxed) {
                    let start = random.u64(0..key.size - 300_000);
                    let range = start..start + random.u64(1..300_000);
                    match content.read(range.clone()) {
                        Some(read) => {
                            assert!(read == bytes_of(key, range.clone()), "wrong bytes in {range:?}");
                            hits.fetch_add(1, Ordering::Relaxed);
                        }
                        None => _ = misses.fetch_add(1, Ordering::Relaxed),
                    }
                }
            });
        }
        let writers: Vec<_> = (10..12)
            .map(|seed| {
                let (cache, content, key) = (&cache, &content, &key);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for round in 0..400 {
                        let first = random.u64(0..key.size / BLOCK - 20);
                        let range = first * BLOCK..(first + random.u64(1..20)) * BLOCK;
                        content.store(range.start, &bytes_of(key, range));
                        match round % 20 {
                            7 => _ = cache.give_back(2 * MIB),
                            13 if round > 300 => content.discard(),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(hits.into_inner() > 100 && misses.into_inner() > 100);
    assert!(on_disk(dir.path()) <= cache.used() && cache.used() <= 6 * MIB);
    drop((content, cache));
    // What the map says after all that is right as well.
    let cache = opened(dir.path(), 6 * MIB);
    let content = cache.content(&key);
    let mut held = 0;
    for block in 0..key.size / BLOCK {
        let range = block * BLOCK..(block + 1) * BLOCK;
        if content.holds(range.clone()) {
            assert_reads(&content, &key, range);
            held += 1;
        }
    }
    assert!(held > 0);
}

#[test]
fn what_was_used_last_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 4 * MIB);
    let keys: Vec<_> = (0..40).map(|n| key(&format!("{n}"), 100_000)).collect();
    for key in &keys[..30] {
        store_all(&cache.content(key), key);
    }
    assert_reads(&cache.content(&keys[0]), &keys[0], 0..10);
    for key in &keys[30..] {
        store_all(&cache.content(key), key);
    }
    assert!(cache.content(&keys[0]).is_whole(), "it was read");
    assert!(cache.content(&keys[39]).is_whole());
    assert!(!cache.content(&keys[1]).holds(0..1), "it was the oldest");
    drop(cache);
    // The order outlives the process, and a lowered limit is kept.
    let cache = opened(dir.path(), MIB);
    until("the limit is kept", || cache.used() <= MIB);
    assert!(cache.content(&keys[39]).is_whole());
    assert!(!cache.content(&keys[5]).holds(0..1));
    assert!(on_disk(dir.path()) <= MIB);
}

#[test]
fn of_a_large_content_only_pieces_go_and_its_head_last() {
    let dir = tempfile::tempdir().unwrap();
    let large = key("large", 20 * MIB);
    let cache = opened(dir.path(), 24 * MIB);
    store_all(&cache.content(&large), &large);
    drop(cache);
    let cache = opened(dir.path(), 24 * MIB);
    for n in 0..8 {
        let key = key(&format!("{n}"), MIB);
        assert_eq!(store_all(&cache.content(&key), &key), MIB);
    }
    let content = cache.content(&large);
    assert!(content.holds(0..10 * MIB), "{:?}", content.missing(0..large.size));
    assert!(!content.is_whole());
    assert_reads(&content, &large, 0..10 * MIB);
    assert!(cache.used() <= 24 * MIB && on_disk(dir.path()) <= cache.used());
}

#[test]
fn a_file_larger_than_the_limit_passes_through() {
    const LIMIT: u64 = 10 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), LIMIT);
    let key = key("a", 300 * MIB);
    let content = cache.content(&key);
    for at in (0..key.size).step_by(4 * BLOCK as usize) {
        let range = at..at + 4 * BLOCK;
        assert_eq!(content.store(at, &bytes_of(&key, range.clone())), 4 * BLOCK);
        assert_reads(&content, &key, range);
        assert!(cache.used() <= LIMIT);
    }
    assert!(on_disk(dir.path()) <= LIMIT);
    let place = files::Place::of(dir.path(), map::Id::of(&key));
    let map = fs::metadata(&place.map).unwrap().len();
    assert!(map < 32 * 1024, "the map has {map} bytes after 9,600 blocks");
}

#[test]
fn a_sent_file_is_taken_over_and_let_go_without_harm_to_who_still_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 6 * MIB + 77);
    let staged = dir.path().join("staged");
    fs::write(&staged, bytes_of(&key, 0..key.size)).unwrap();
    let cache = opened(&dir.path().join("blocks"), 20 * MIB);
    let content = cache.content(&key);
    let file = File::open(&staged).unwrap();
    assert!(content.adopt(&file));
    assert!(content.is_whole() && !content.is_verified());
    content.set_verified();
    fs::remove_file(&staged).unwrap();
    assert_reads(&content, &key, 0..key.size);
    assert_eq!(on_disk(&dir.path().join("blocks")) / MIB, 6);
    drop(content);
    assert!(cache.give_back(1) > 0);
    assert!(on_disk(&dir.path().join("blocks")) <= cache.used());
    let mut whole = vec![0; key.size as usize];
    file.read_exact_at(&mut whole, 0).unwrap();
    assert!(whole == bytes_of(&key, 0..key.size), "the sent file has a hole");
}

#[test]
fn a_file_of_another_size_or_of_half_the_cache_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[1; 100_000]).unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    assert!(!cache.content(&key("a", 100_001)).adopt(&file));
    assert!(
        cache.content(&key("a", 100_000)).adopt(&file),
        "without a name it is copied"
    );
    file.set_len(60 * MIB).unwrap();
    assert!(!cache.content(&key("b", 60 * MIB)).adopt(&file));
    assert!(cache.used() < MIB);
}

#[test]
fn a_taken_over_file_that_was_changed_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 100_000);
    let staged = dir.path().join("staged");
    fs::write(&staged, bytes_of(&key, 0..key.size)).unwrap();
    let cache = opened(&dir.path().join("blocks"), 20 * MIB);
    let content = cache.content(&key);
    assert!(content.adopt(&File::open(&staged).unwrap()));
    File::options()
        .write(true)
        .open(&staged)
        .unwrap()
        .write_all_at(b"changed", 50_000)
        .unwrap();
    assert_eq!(content.read(40_000..60_000), None);
    assert!(!content.holds(0..1));
    assert_eq!(
        fs::metadata(&staged).unwrap().len(),
        key.size,
        "the file itself is left alone"
    );
}

#[test]
fn the_survey_finds_all_and_keeps_nobody_waiting() {
    const CONTENTS: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let limit = 1 << 30;
    let cache = opened(dir.path(), limit);
    for n in 0..CONTENTS {
        let key = key(&format!("{n}"), 3000);
        store_all(&cache.content(&key), &key);
    }
    let used = cache.used();
    drop(cache);
    let begun = Instant::now();
    let cache = BlockCache::open(dir.path(), limit).unwrap();
    let opening = begun.elapsed();
    // Before it is done, what is there can be read.
    let known = key("77", 3000);
    assert_reads(&cache.content(&known), &known, 0..3000);
    let reading = begun.elapsed();
    until("the survey is done", || cache.room.registry().is_complete());
    let surveying = begun.elapsed();
    assert!(
        opening < surveying / 4,
        "opened in {opening:?}, surveyed in {surveying:?}"
    );
    println!("opened in {opening:?}, read in {reading:?}, surveyed in {surveying:?}");
    let found = cache.used();
    assert!(found <= used && found >= used * 9 / 10, "{found} of {used}");
    assert!(on_disk(dir.path()) <= found);
}

#[test]
fn until_the_survey_is_done_nothing_new_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key("old", MIB), key("new", MIB));
    let cache = opened(dir.path(), 100 * MIB);
    store_all(&cache.content(&old), &old);
    drop(cache);
    let lock = super::lock(&dir.path().join("lock"), 1).unwrap();
    let room = Room::new(dir.path().to_owned(), 3 * MIB / 2, 0, false, lock);
    let content = room.content(&new);
    assert_eq!(store_all(&content, &new), 0);
    survey::run(&room);
    assert_eq!(store_all(&content, &new), MIB);
    assert!(on_disk(dir.path()) <= 3 * MIB / 2);
}

#[test]
fn strays_go_and_no_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, blocks) = (dir.path().join("outside"), dir.path().join("blocks"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), b"precious").unwrap();
    let (kept, half) = (key("kept", 100_000), key("half", 100_000));
    let cache = opened(&blocks, 100 * MIB);
    for key in [&kept, &half] {
        store_all(&cache.content(key), key);
    }
    drop(cache);
    let folder = files::Place::of(&blocks, map::Id::of(&kept)).data;
    let folder = folder.parent().unwrap();
    fs::remove_file(files::Place::of(&blocks, map::Id::of(&half)).map).unwrap();
    fs::write(folder.join("noise"), b"x").unwrap();
    fs::write(blocks.join("noise"), b"x").unwrap();
    std::os::unix::fs::symlink(outside.join("precious"), folder.join("link")).unwrap();
    // Where the folder of a third content would be.
    let linked = (0..).map(|n| key(&format!("{n}"), 50_000)).find(|key| {
        let place = files::Place::of(&blocks, map::Id::of(key));
        !place.data.parent().unwrap().exists()
    });
    let linked = linked.unwrap();
    let place = files::Place::of(&blocks, map::Id::of(&linked));
    std::os::unix::fs::symlink(&outside, place.data.parent().unwrap()).unwrap();
    let cache = opened(&blocks, 100 * MIB);
    let content = cache.content(&linked);
    assert_eq!(store_all(&content, &linked), linked.size);
    assert_reads(&content, &linked, 0..linked.size);
    assert_reads(&cache.content(&kept), &kept, 0..kept.size);
    let outside: Vec<_> = files_below(&outside).into_iter().map(|(path, _)| path).collect();
    assert_eq!(outside, [dir.path().join("outside/precious")]);
    assert_eq!(contents_below(&blocks).len(), 4, "{:?}", contents_below(&blocks));
    assert!(!blocks.join("noise").exists());
}

#[test]
fn all_is_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = dir.path().join("a/blocks");
    let key = key("a", 100_000);
    let cache = opened(&blocks, 100 * MIB);
    store_all(&cache.content(&key), &key);
    for (path, _) in files_below(&blocks) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
        let folder = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.mode() & 0o777, 0o700);
    }
    assert!(blocks.join(survey::TAG).exists());
}

#[test]
fn a_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), MIB);
    let refused = BlockCache::open(dir.path(), MIB).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    drop(cache);
    opened(dir.path(), MIB);
}

#[test]
fn a_second_process_takes_a_folder_of_its_own_in_the_same_cache_directory() {
    let dir = tempfile::tempdir().unwrap();
    let key = key("a", 100_000);
    let first = BlockCache::open_in(dir.path(), MIB).unwrap();
    let second = BlockCache::open_in(dir.path(), MIB).unwrap();
    for cache in [&first, &second] {
        store_all(&cache.content(&key), &key);
        assert_reads(&cache.content(&key), &key, 0..key.size);
    }
    assert!(dir.path().join("blocks").exists() && dir.path().join("blocks-2").exists());
    drop((first, second));
    let again = BlockCache::open_in(dir.path(), MIB).unwrap();
    assert_reads(&again.content(&key), &key, 0..key.size);
    assert!(!dir.path().join("blocks-3").exists());
    assert!(again.is_on_the_disk_of(dir.path()).unwrap());
    assert!(!again.is_on_the_disk_of(Path::new("/proc")).unwrap());
    assert!(BlockCache::open_in(Path::new("/proc/none"), MIB).is_err());
}

#[test]
fn a_folder_that_was_taken_away_harms_nobody_who_has_another_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = dir.path().join("blocks");
    let (old, new) = (key("old", 2 * MIB), key("new", 100_000));
    let first = opened(&blocks, 100 * MIB);
    let content = first.content(&old);
    store_all(&content, &old);
    fs::remove_dir_all(&blocks).unwrap();
    let second = opened(&blocks, 100 * MIB);
    assert_eq!(store_all(&second.content(&old), &old), old.size);
    assert_eq!(store_all(&first.content(&new), &new), 0, "it has no place for it");
    assert_reads(&content, &old, 0..old.size);
    first.give_back(u64::MAX);
    content.discard();
    assert!(!first.content(&new).holds(0..1));
    assert_reads(&second.content(&old), &old, 0..old.size);
    drop(second);
    let second = opened(&blocks, 100 * MIB);
    assert_reads(&second.content(&old), &old, 0..old.size);
}

#[test]
fn what_cannot_be_written_is_not_kept_and_nothing_else_goes_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, refused) = (key("kept", MIB), key("refused", MIB));
    let cache = opened(dir.path(), 100 * MIB);
    let content = cache.content(&kept);
    store_all(&content, &kept);
    // A folder in the way: not even root can write there.
    let place = files::Place::of(dir.path(), map::Id::of(&refused));
    fs::create_dir_all(place.data.join("in the way")).unwrap();
    let used = cache.used();
    assert_eq!(store_all(&cache.content(&refused), &refused), 0);
    assert_eq!(cache.used(), used);
    assert_reads(&content, &kept, 0..kept.size);
}

#[test]
fn on_a_disk_that_gets_full_the_new_takes_the_place_of_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key("old", 4 * MIB), key("new", 2 * MIB));
    let cache = opened(dir.path(), 100 * MIB);
    cache.keep_free(u64::MAX);
    let refused = cache.content(&old);
    assert_eq!(store_all(&refused, &old), 0, "there is nothing to let go for it");
    assert_eq!((cache.used(), on_disk(dir.path())), (0, 0));
    drop(refused);
    cache.keep_free(0);
    assert_eq!(store_all(&cache.content(&old), &old), old.size);
    cache.keep_free(u64::MAX);
    let used = cache.used();
    let content = cache.content(&new);
    assert_eq!(store_all(&content, &new), new.size);
    assert_reads(&content, &new, 0..new.size);
    assert!(cache.used() <= used && on_disk(dir.path()) <= used);
    assert!(!cache.content(&old).is_whole());
}

#[test]
fn what_is_given_back_is_what_was_asked_for_and_little_more() {
    let dir = tempfile::tempdir().unwrap();
    let cache = opened(dir.path(), 100 * MIB);
    let large = key("large", 30 * MIB);
    let content = cache.content(&large);
    store_all(&content, &large);
    for n in 0..50 {
        let key = key(&format!("{n}"), 100_000);
        store_all(&cache.content(&key), &key);
    }
    let before = (cache.used(), on_disk(dir.path()));
    let given = cache.give_back(10 * MIB);
    assert!((10 * MIB..12 * MIB).contains(&given), "{given}");
    assert_eq!(before.0 - cache.used(), given);
    assert!(before.1 - on_disk(dir.path()) >= 10 * MIB);
    assert!(cache.content(&key("0", 100_000)).is_whole(), "it is newer");
    assert_eq!(cache.give_back(u64::MAX), before.0 - given);
    assert_eq!((cache.used(), on_disk(dir.path())), (0, 0));
    assert!(!content.holds(0..1));
    assert_eq!(cache.give_back(1), 0);
}
