//! The limit, what goes for it, and a disk that gets full.

use super::*;

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

#[test]
fn of_many_small_contents_no_more_are_kept_than_fit_into_memory() {
    const MOST: usize = 50;
    let limited = |dir: &Path| {
        let limit = Limit {
            bytes: 100 * MIB,
            contents: MOST,
        };
        let cache = BlockCache::open_now(dir, limit, LOCK_TRIES).unwrap();
        until("the survey is done", || cache.room.registry().is_complete());
        cache
    };
    let dir = tempfile::tempdir().unwrap();
    let (old, large) = (key("old", 1), key("large", 6 * MIB));
    let cache = opened(dir.path(), 100 * MIB);
    for key in [&old, &large] {
        assert_eq!(store_all(&cache.content(key), key), key.size);
    }
    for n in 0..3 * MOST {
        let key = key(&format!("{n}"), 1);
        assert_eq!(store_all(&cache.content(&key), &key), 1);
    }
    drop(cache);
    // What an earlier life kept goes down to the limit as well, the oldest first.
    let cache = limited(dir.path());
    let kept = |dir: &Path| contents_below(dir).len() / 2;
    until("the limit is kept", || kept(dir.path()) <= MOST);
    assert_eq!(kept(dir.path()), MOST);
    assert!(!cache.content(&old).is_whole() && !cache.content(&large).holds(0..1));
    let last = |n: usize| key(&format!("{}", 3 * MOST - n), 1);
    assert!(cache.content(&last(1)).is_whole());
    // A content that is open counts once, whatever of it is kept.
    let content = cache.content(&large);
    assert_eq!(store_all(&content, &large), large.size);
    assert_eq!(kept(dir.path()), MOST);
    for n in 0..2 * MOST {
        let key = key(&format!("new {n}"), 1);
        assert_eq!(
            store_all(&cache.content(&key), &key),
            1,
            "the new takes the place of the old"
        );
        assert_eq!(kept(dir.path()), MOST);
    }
    assert!(content.is_whole(), "a piece of it less would be no content less");
    assert!(!cache.content(&last(1)).is_whole());
}
