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

mod folder;
mod kept;
mod limit;

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
