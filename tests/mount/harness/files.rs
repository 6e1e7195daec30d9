//! Made-up content, trees of files, and waiting.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

/// How long anything may take before a test gives up. Generous: machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `reached`.
#[track_caller]
pub fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that do not repeat, the same for the same seed.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

pub fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The files below a folder, by path in it, with the hash of each.
pub fn snapshot(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        for entry in fs::read_dir(folder.join(&relative)).expect("list a folder") {
            let entry = entry.expect("an entry");
            let path = relative.join(entry.file_name());
            if entry.file_type().expect("a file type").is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(folder.join(&path)).unwrap_or_else(|e| panic!("read {path:?}: {e}"));
                found.insert(path.to_str().expect("a UTF-8 name").to_owned(), sha256_of(&bytes));
            }
        }
    }
    found
}

/// Asserts that two sets of files are the same, and shows only how they differ.
#[track_caller]
pub fn assert_same(got: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, when: &str) {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|(path, hash)| got.get(*path) != Some(hash))
        .collect();
    let added: Vec<_> = got
        .iter()
        .filter(|(path, hash)| wanted.get(*path) != Some(hash))
        .collect();
    assert!(
        missing.is_empty() && added.is_empty(),
        "{when}: missing {missing:#?}, but there are {added:#?}"
    );
}

/// A plain local folder to copy from.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("make a folder");
        Scratch { path }
    }

    pub fn file(&self, path: &str, content: &[u8]) -> PathBuf {
        let file = self.path.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("make folders");
        fs::write(&file, content).expect("write a file");
        file
    }

    /// A file with a time of long ago, in whole seconds.
    pub fn dated_file(&self, path: &str, content: &[u8], seconds: u64) -> PathBuf {
        let file = self.file(path, content);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|file| file.set_modified(time))
            .expect("set a time");
        file
    }
}
