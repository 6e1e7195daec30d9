//! The folder on the disk: taken over files, the survey, who may have it.

use super::*;

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
    let room = Room::new(dir.path().to_owned(), of_bytes(3 * MIB / 2), 0, false, lock);
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
