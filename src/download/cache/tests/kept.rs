//! What was kept is read as it was, or not at all: blocks, their maps, versions.

use super::*;

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
