//! Two mounts of one account, with state of their own, at work at the same time. What a `close()` confirmed and nobody
//! replaced or removed is there at the end, and both show what the service holds. `LOCKERFS_TWO_MOUNTS` says for how many
//! seconds they work, `LOCKERFS_SEED` makes them do the same again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockerfs::provider::Capability;

use super::harness::{MEDIA, Mount, Place, World, sha256_of, snapshot};
use crate::KIND;

/// From the last change until both mounts must show it: intervals are a second, machines are busy.
const AGREEMENT: Duration = Duration::from_secs(40);

fn duration() -> Duration {
    let told = std::env::var("LOCKERFS_TWO_MOUNTS").ok();
    let seconds = told.map(|told| told.parse().expect("LOCKERFS_TWO_MOUNTS is a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(6))
}

fn seed() -> u64 {
    let told = std::env::var("LOCKERFS_SEED").ok();
    let seed = told.map_or_else(
        || fastrand::u64(..1_000_000),
        |told| told.parse().expect("a number"),
    );
    println!("LOCKERFS_SEED={seed}");
    seed
}

/// Files that this writer alone makes, changes, renames and removes: by path, the hash of what it last closed.
type Model = BTreeMap<String, String>;

/// What both writers tell each other.
#[derive(Default)]
struct Board {
    /// Files that their maker leaves to the other.
    given: Vec<(usize, String, String)>,
    /// Contents that were written under a name that the other writer uses too, and that nobody replaces.
    clashing: BTreeSet<String>,
    /// Contents that writers wrote over whatever stood there, by name.
    contested: HashMap<String, Vec<String>>,
    /// Those of them that a writer saw before it wrote over them.
    replaced: BTreeSet<String>,
}

struct Writer<'a> {
    number: usize,
    mount: &'a Mount,
    board: &'a Mutex<Board>,
    dice: fastrand::Rng,
    model: Model,
    made: usize,
    folders: Vec<String>,
    /// Files that are to be the other's once the service has them: who makes a file names it.
    gifts: Vec<(String, String)>,
}

impl Writer<'_> {
    fn content(&mut self) -> Vec<u8> {
        self.made += 1;
        let size = self.dice.usize(..3000);
        let mut bytes = format!("content {} of writer {}\n", self.made, self.number).into_bytes();
        bytes.extend(std::iter::repeat_with(|| self.dice.alphanumeric() as u8).take(size));
        bytes
    }

    fn write(&mut self, path: &str) -> String {
        let bytes = self.content();
        self.mount.write(path, &bytes);
        sha256_of(&bytes)
    }

    fn new_path(&mut self) -> String {
        let folder = self.dice.usize(..self.folders.len());
        format!("{}/w{}-{}", self.folders[folder], self.number, self.made)
    }

    fn known(&mut self) -> Option<String> {
        let count = self.model.len();
        let at = (count > 0).then(|| self.dice.usize(..count))?;
        self.model.keys().nth(at).cloned()
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().expect("no writer panics with it")
    }

    fn step(&mut self) {
        match self.dice.u8(..20) {
            0..=5 => {
                let path = self.new_path();
                let hash = self.write(&path);
                self.model.insert(path, hash);
            }
            6..=8 => {
                if let Some(path) = self.known() {
                    let hash = self.write(&path);
                    self.model.insert(path, hash);
                }
            }
            9..=11 => {
                if let Some(from) = self.known() {
                    self.made += 1;
                    let to = self.new_path();
                    let renamed = fs::rename(self.mount.path(&from), self.mount.path(&to));
                    renamed.unwrap_or_else(|e| panic!("rename {from} to {to}: {e}; {}", self.trace(&from)));
                    let hash = self.model.remove(&from).expect("a known file");
                    self.model.insert(to, hash);
                }
            }
            12..=13 => {
                if let Some(path) = self.known() {
                    let removed = fs::remove_file(self.mount.path(&path));
                    removed.unwrap_or_else(|e| panic!("remove {path}: {e}; {}", self.trace(&path)));
                    self.model.remove(&path);
                }
            }
            14 => {
                self.made += 1;
                let (kind, number) = (self.dice.usize(..self.folders.len()), self.made);
                let folder = format!("{}/w{}-folder-{number}", self.folders[kind], self.number);
                fs::create_dir(self.mount.path(&folder)).unwrap_or_else(|e| panic!("mkdir {folder}: {e}"));
                self.folders.push(folder);
            }
            15 => {
                self.made += 1;
                let path = format!("shared/gift-{}-{}", self.number, self.made);
                let hash = self.write(&path);
                self.gifts.push((path, hash));
            }
            16 => self.take_a_gift(),
            17 => self.make_a_clash(),
            18 => self.contest(),
            _ => {
                let folder = self.dice.usize(..self.folders.len());
                assert!(
                    fs::read_dir(self.mount.path(&self.folders[folder])).is_ok(),
                    "list {}",
                    self.folders[folder]
                );
            }
        }
    }

    /// What became of a file that ought to be there.
    fn trace(&self, path: &str) -> String {
        let state = |mount: &Mount| mount.xattr(path, "state");
        let (at_once, began) = (state(self.mount), Instant::now());
        while state(self.mount).is_err() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        format!(
            "its state: {at_once:?}, and after {:?} {:?}\n{}",
            began.elapsed(),
            state(self.mount),
            self.mount.log()
        )
    }

    /// Gives away what the service has by now.
    fn give(&mut self) {
        let is_stored = |path: &str| {
            self.mount
                .xattr(path, "state")
                .is_ok_and(|state| state == "stored")
        };
        let (stored, waiting) = self.gifts.drain(..).partition(|(path, _)| is_stored(path));
        self.gifts = waiting;
        let number = self.number;
        let stored: Vec<(String, String)> = stored;
        let given = stored.into_iter().map(|(path, hash)| (number, path, hash));
        self.board().given.extend(given);
    }

    /// Renames or removes a file that the other one made, once it is seen here.
    fn take_a_gift(&mut self) {
        self.give();
        let number = self.number;
        let found = {
            let mut board = self.board();
            let at = board.given.iter().position(|(maker, ..)| *maker != number);
            at.map(|at| board.given.remove(at))
        };
        let Some((maker, path, hash)) = found else { return };
        let is_seen = fs::read(self.mount.path(&path)).is_ok_and(|bytes| sha256_of(&bytes) == hash);
        if !is_seen {
            self.board().given.push((maker, path, hash));
            return;
        }
        if self.dice.bool() {
            fs::remove_file(self.mount.path(&path)).unwrap_or_else(|e| panic!("remove {path}: {e}"));
        } else {
            let to = self.new_path();
            self.made += 1;
            fs::rename(self.mount.path(&path), self.mount.path(&to))
                .unwrap_or_else(|e| panic!("rename {path} to {to}: {e}"));
            self.model.insert(to, hash);
        }
    }

    /// Makes a file under a name that the other one takes too, where none is seen yet.
    fn make_a_clash(&mut self) {
        let path = format!("shared/clash-{}", self.dice.u8(..40));
        let file = fs::File::options()
            .write(true)
            .create_new(true)
            .open(self.mount.path(&path));
        match file {
            Ok(mut file) => {
                let bytes = self.content();
                std::io::Write::write_all(&mut file, &bytes).unwrap_or_else(|e| panic!("write {path}: {e}"));
                drop(file);
                self.board().clashing.insert(sha256_of(&bytes));
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{path}: {error}"),
        }
    }

    /// Writes over whatever stands there, seen or not.
    fn contest(&mut self) {
        let path = format!("shared/contested-{}", self.dice.u8(..4));
        let seen = fs::read(self.mount.path(&path));
        let hash = self.write(&path);
        let mut board = self.board();
        board.contested.entry(path).or_default().push(hash);
        board.replaced.extend(seen.map(|seen| sha256_of(&seen)));
    }
}

/// The files below a folder, by path, while the other mount is still changing it: `None` where one went meanwhile.
fn shown(mount: &Mount) -> Option<Model> {
    let below = |folder: &Path| -> std::io::Result<Model> {
        let (mut found, mut folders) = (Model::new(), vec![PathBuf::new()]);
        while let Some(relative) = folders.pop() {
            for entry in fs::read_dir(folder.join(&relative))? {
                let path = relative.join(entry?.file_name());
                if fs::metadata(folder.join(&path))?.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.to_str().expect("a UTF-8 name").to_owned();
                    found.insert(name, sha256_of(&fs::read(folder.join(&path))?));
                }
            }
        }
        Ok(found)
    };
    below(&mount.path("")).ok()
}

fn differences(one: &Model, other: &Model) -> Vec<String> {
    let only = |a: &Model, b: &Model, whose: &str| -> Vec<String> {
        let missing = a.iter().filter(|(path, hash)| b.get(*path) != Some(hash));
        missing
            .map(|(path, hash)| format!("{whose}: {path} {}", &hash[..8]))
            .collect()
    };
    [only(one, other, "service"), only(other, one, "mount")].concat()
}

fn drain(world: &World, place: &Place) {
    world.lockerfs_in(place, &["drain"]).succeeded();
}

#[test]
fn two_mounts_that_write_at_the_same_time_lose_nothing_and_agree_in_the_end() {
    let seed = seed();
    let world = World::with(|setup| {
        setup.option("upload_delay", "\"100ms\"");
        setup.service.latency = Duration::from_millis(2);
    });
    for folder in ["own-0", "own-1", "shared"] {
        world.elsewhere("make_folder", folder, &[]);
    }
    let places = [world.place(), world.another_place()];
    let mounts = [world.mount_in(&places[0]), world.mount_in(&places[1])];
    let board = Mutex::new(Board::default());
    let models: Vec<Model> = std::thread::scope(|scope| {
        let writers: Vec<_> = mounts
            .iter()
            .enumerate()
            .map(|(number, mount)| {
                let mut writer = Writer {
                    number,
                    mount,
                    board: &board,
                    dice: fastrand::Rng::with_seed(seed + number as u64),
                    model: Model::new(),
                    made: 0,
                    gifts: Vec::new(),
                    folders: vec![format!("own-{number}"), "shared".to_owned()],
                };
                scope.spawn(move || {
                    let began = Instant::now();
                    while began.elapsed() < duration() {
                        writer.step();
                        let pause = writer.dice.u64(..60);
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                    let kept = std::mem::take(&mut writer.gifts);
                    writer.model.extend(kept);
                    println!("writer {number} wrote {} contents", writer.made);
                    writer.model
                })
            })
            .collect();
        let ended = writers.into_iter().map(|writer| writer.join().expect("a writer"));
        ended.collect()
    });
    places.iter().for_each(|place| drain(&world, place));
    // What one has learned of the other may be something to do.
    std::thread::sleep(Duration::from_secs(2));
    places.iter().for_each(|place| drain(&world, place));

    let board = board.into_inner().expect("no writer panicked");
    is_complete(&world, &models, &board);
    agree(&world, &mounts);
    let [one, other] = mounts;
    one.unmount(&world.config());
    other.unmount(&world.config());
}

fn is_complete(world: &World, models: &[Model], board: &Board) {
    let stored = world.service.all_stored(MEDIA);
    let by_path: BTreeMap<&str, &str> = stored
        .iter()
        .map(|(path, file)| (path.as_str(), file.sha256.as_str()))
        .collect();
    let hashes: BTreeSet<&str> = stored.iter().map(|(_, file)| file.sha256.as_str()).collect();
    let mut lost = Vec::new();
    for (path, hash) in models.iter().flatten() {
        if by_path.get(path.as_str()) != Some(&hash.as_str()) {
            let with = stored.iter().filter(|(_, file)| file.sha256 == *hash);
            let found: Vec<&str> = with.map(|(path, _)| path.as_str()).collect();
            lost.push(format!("{path} is in {found:?}"));
        }
    }
    for (_, path, hash) in &board.given {
        if by_path.get(path.as_str()) != Some(&hash.as_str()) {
            lost.push(format!("{path}: given, and not there"));
        }
    }
    let clashed = board
        .clashing
        .iter()
        .filter(|hash| !hashes.contains(hash.as_str()));
    lost.extend(clashed.map(|hash| format!("a clash: {hash} is lost")));
    for (path, written) in &board.contested {
        let unseen = written
            .iter()
            .filter(|hash| !board.replaced.contains(*hash) && !hashes.contains(hash.as_str()));
        println!(
            "{path}: {} of {} contents are gone, and nobody saw them",
            unseen.count(),
            written.len()
        );
        let last = by_path.get(path.as_str());
        if last.is_none_or(|last| !written.iter().any(|hash| hash == last)) {
            lost.push(format!("{path}: holds none of what was written"));
        }
    }
    let conflicts = stored
        .iter()
        .filter(|(path, _)| path.contains(" (conflict "))
        .count();
    println!(
        "{} files, {} clashes, {conflicts} kept as conflicts",
        stored.len(),
        board.clashing.len()
    );
    // One name, one file, where people can see it.
    if KIND.has(Capability::ReplaceKeepsId) && by_path.len() != stored.len() {
        lost.push(format!("{} files have a twin", stored.len() - by_path.len()));
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

fn agree(world: &World, mounts: &[Mount]) {
    let began = Instant::now();
    loop {
        let stored = world.service.all_stored(MEDIA);
        let mut hashes: Vec<&str> = stored.iter().map(|(_, file)| file.sha256.as_str()).collect();
        hashes.sort_unstable();
        let service: Model = stored
            .iter()
            .map(|(path, file)| (path.clone(), file.sha256.clone()))
            .collect();
        let has_twins = service.len() != stored.len();
        let mut apart = Vec::new();
        for (number, mount) in mounts.iter().enumerate() {
            match shown(mount) {
                // Twins bear their ids beside their names in a mount: their contents tell.
                Some(shown) if has_twins => {
                    let mut contents: Vec<&str> = shown.values().map(String::as_str).collect();
                    contents.sort_unstable();
                    if contents != hashes {
                        apart.push(format!("mount {number}: {:#?}", differences(&service, &shown)));
                    }
                }
                Some(shown) if shown == service => {}
                Some(shown) => apart.push(format!("mount {number}: {:#?}", differences(&service, &shown))),
                None => apart.push(format!("mount {number} cannot be walked")),
            }
        }
        if apart.is_empty() {
            break;
        }
        assert!(
            began.elapsed() < AGREEMENT,
            "after {:?}: {apart:#?}",
            began.elapsed()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("they agreed after {:?}", began.elapsed());
    assert_eq!(
        snapshot(&mounts[0].path("")),
        snapshot(&mounts[1].path("")),
        "both show the same names"
    );
}
