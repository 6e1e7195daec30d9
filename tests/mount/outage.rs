//! A service that goes away while people work: no operation hangs, what is here goes on, and all is well by itself once
//! it is back. `LOCKERFS_OUTAGE` says for how many seconds it stays away.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::harness::{MEDIA, Mount, World, content, run, sha256_of, wait_for};

/// The option, and what an operation may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(8);

const FOLDERS: usize = 8;
const FILES: usize = 8;
const MORE: usize = 400;
const PIECE: usize = 64 << 10;
const LARGE: usize = 3 << 20;

fn outage() -> Duration {
    let told = std::env::var("LOCKERFS_OUTAGE").ok();
    let seconds = told.map(|told| told.parse().expect("LOCKERFS_OUTAGE is a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(7))
}

fn world() -> World {
    let world = World::with(|setup| {
        setup.option("deadline", &format!("\"{}s\"", DEADLINE.as_secs()));
        setup.option("read_timeout", "\"5s\"");
        setup.service.latency = Duration::from_millis(5);
    });
    for folder in 0..FOLDERS {
        for file in 0..FILES {
            for kind in ["known", "unknown"] {
                let path = small(kind, folder, file);
                world.elsewhere("write", &path, &[("content", &path)]);
            }
        }
    }
    // More than are fetched ahead of somebody who walks.
    for at in 0..MORE {
        let path = format!("more-{at:03}/file");
        world.elsewhere("write", &path, &[("content", "x")]);
    }
    for at in 0..2 {
        world.put(&format!("cached-{at}.bin"), &content(at, LARGE));
        world.put(&format!("remote-{at}.bin"), &content(100 + at, LARGE));
    }
    world
}

fn small(kind: &str, folder: usize, file: usize) -> String {
    format!("{kind}-{folder}/file-{file}.txt")
}

/// Lists and reads what is to be known when the service goes.
fn get_to_know(mount: &Mount) {
    assert!(mount.list("").len() >= 2 * FOLDERS + MORE + 4);
    for folder in 0..FOLDERS {
        assert_eq!(mount.list(&format!("known-{folder}")).len(), FILES);
        for file in 0..FILES {
            let path = small("known", folder, file);
            assert_eq!(mount.read(&path), path.as_bytes());
        }
    }
    for at in 0..2 {
        assert!(mount.read(&format!("cached-{at}.bin")) == content(at, LARGE));
    }
}

/// What was done so far, and how long the slowest of each kind took.
#[derive(Default)]
struct Diary {
    slowest: BTreeMap<&'static str, (Duration, u64, u64)>,
    wrong: Vec<String>,
    /// Hash of what a `close()` confirmed, by path.
    written: BTreeMap<String, String>,
}

struct Work<'a> {
    mount: &'a Mount,
    diary: &'a Mutex<Diary>,
    ends: &'a AtomicBool,
}

impl Work<'_> {
    fn diary(&self) -> std::sync::MutexGuard<'_, Diary> {
        self.diary.lock().expect("no thread panics with it")
    }

    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    /// One operation: its time is noted, and what it fails with where that is nothing an absent service gives.
    fn operation<T>(
        &self,
        kind: &'static str,
        act: impl FnOnce() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let began = Instant::now();
        let done = act();
        let took = began.elapsed();
        let mut diary = self.diary();
        let noted = diary.slowest.entry(kind).or_default();
        noted.0 = noted.0.max(took);
        noted.1 += 1;
        noted.2 += u64::from(done.is_err());
        if took > LIMIT {
            diary.wrong.push(format!("{kind} took {took:?}"));
        }
        if let Err(error) = &done {
            let clear = [libc::EHOSTUNREACH, libc::ETIMEDOUT].map(Some);
            if !clear.contains(&error.raw_os_error()) {
                diary.wrong.push(format!("{kind} failed with {error}"));
            }
        }
        done
    }

    /// As [`Work::operation`], for what needs no service.
    fn must(&self, kind: &'static str, act: impl FnOnce() -> std::io::Result<bool>) {
        let done = self.operation(kind, act);
        if !matches!(done, Ok(true)) {
            self.diary().wrong.push(format!("{kind}: {done:?}"));
        }
    }

    fn count(&self, folder: &str) -> std::io::Result<usize> {
        let entries = fs::read_dir(self.mount.path(folder))?;
        Ok(entries.collect::<Result<Vec<_>, _>>()?.len())
    }

    fn browse(&self, seed: u64) {
        let mut dice = fastrand::Rng::with_seed(seed);
        while self.goes_on() {
            let (folder, file) = (dice.usize(..FOLDERS), dice.usize(..FILES));
            match dice.u8(..8) {
                0..=2 => {
                    let path = self.mount.path(&small("known", folder, file));
                    self.must("stat of a known name", || {
                        fs::metadata(path).map(|facts| facts.is_file())
                    });
                }
                3..=4 => {
                    let folder = format!("known-{folder}");
                    // Others write into it.
                    self.must("listing of a known folder", || {
                        self.count(&folder).map(|count| count >= FILES)
                    });
                }
                5 => {
                    let folder = format!("unknown-{folder}");
                    let listed = self.operation("listing of an unknown folder", || self.count(&folder));
                    if listed.is_ok_and(|count| count != FILES) {
                        self.diary().wrong.push(format!("{folder} is cut short"));
                    }
                }
                6 => {
                    let path = self.mount.path(&small("unknown", folder, file));
                    let _ = self.operation("stat of an unknown name", || fs::metadata(path));
                }
                _ => {
                    let path = self.mount.path("known-0/no such file");
                    self.must("stat of what is known not to be there", || {
                        Ok(fs::metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound))
                    });
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read_cached(&self) {
        let wanted = content(0, LARGE);
        let mut dice = fastrand::Rng::with_seed(3);
        while self.goes_on() {
            let at = dice.usize(..LARGE - PIECE);
            self.must("read of what is cached", || {
                let mut got = vec![0; PIECE];
                File::open(self.mount.path("cached-0.bin"))?.read_exact_at(&mut got, at as u64)?;
                Ok(got == wanted[at..at + PIECE])
            });
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Of a file that the kernel and the cache on the disk hold a growing part of.
    fn read_remote(&self) {
        let wanted = content(101, LARGE);
        let mut at = 0;
        while self.goes_on() {
            let mut got = vec![0; PIECE];
            let read = self.operation("read of what is not cached", || {
                File::open(self.mount.path("remote-1.bin"))?.read_exact_at(&mut got, at as u64)
            });
            match read {
                Ok(()) if got != wanted[at..at + PIECE] => {
                    self.diary().wrong.push(format!("wrong bytes at {at}"));
                }
                Ok(()) => at = (at + PIECE) % (LARGE - PIECE),
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(60));
        }
    }

    fn write(&self) {
        let mut number = 0;
        while self.goes_on() {
            let path = format!("known-{}/written-{number}.bin", number % FOLDERS);
            let bytes = content(1000 + number as u64, 3000);
            let target = self.mount.path(&path);
            let staged = self.operation("write of a new file", || fs::write(&target, &bytes));
            if staged.is_ok() {
                self.must(
                    "read of what was just written",
                    || Ok(fs::read(&target)? == bytes),
                );
                self.diary().written.insert(path, sha256_of(&bytes));
            } else {
                self.diary()
                    .wrong
                    .push(format!("{path} was not staged: {staged:?}"));
            }
            number += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_service_that_goes_away_under_a_load_costs_no_more_than_the_deadline_and_all_is_well_once_it_is_back() {
    let world = world();
    let mount = world.mount();
    get_to_know(&mount);
    let (diary, ends) = (Mutex::default(), AtomicBool::new(false));
    let work = Work {
        mount: &mount,
        diary: &diary,
        ends: &ends,
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work.read_cached());
        scope.spawn(|| work.read_remote());
        scope.spawn(|| work.write());
        for seed in [1, 2] {
            let work = &work;
            scope.spawn(move || work.browse(seed));
        }
        std::thread::sleep(Duration::from_millis(800));
        world.service.stop();
        std::thread::sleep(outage());
        world.service.come_back();
        std::thread::sleep(Duration::from_secs(2));
        ends.store(true, Ordering::Relaxed);
    });
    let diary = diary.into_inner().expect("no thread panicked");
    println!("slowest, how often, failed: {:#?}", diary.slowest);
    assert!(diary.wrong.is_empty(), "{:#?}\n{}", diary.wrong, mount.log());
    assert!(diary.written.len() > 10, "hardly anything was written");

    is_well(&world, &mount, &diary.written);
    mount.unmount(&world.config());
}

/// By itself: nobody does anything but look.
fn is_well(world: &World, mount: &Mount, written: &BTreeMap<String, String>) {
    for folder in 0..FOLDERS {
        let folder = format!("unknown-{folder}");
        wait_for("every folder is listed again", || {
            fs::read_dir(mount.path(&folder)).is_ok_and(|entries| entries.count() == FILES)
        });
    }
    for at in 0..2 {
        wait_for("all is read again", || {
            let read = |name: String| fs::read(mount.path(&name));
            read(format!("remote-{at}.bin")).is_ok_and(|read| read == content(100 + at, LARGE))
                && read(format!("cached-{at}.bin")).is_ok_and(|read| read == content(at, LARGE))
        });
    }
    wait_for("all that was written is uploaded", || {
        let stored = world.service.stored(MEDIA);
        written
            .iter()
            .all(|(path, hash)| stored.get(path).is_some_and(|file| file.sha256 == *hash))
    });
    world.drain();
    let stored = world.stored_sha256();
    let kept = 2 * FOLDERS * FILES + MORE + 4;
    assert_eq!(
        stored.len(),
        written.len() + kept,
        "nothing is there twice: {stored:#?}"
    );
}

fn names_below(folder: &Path) -> Vec<String> {
    let ran = run("find", &[&folder, &"-printf", &"%P %s\\n"]);
    let mut lines: Vec<_> = ran.succeeded().stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_mount_comes_up_while_the_service_is_away_with_all_that_is_known_and_recovers_by_itself() {
    let world = world();
    let mount = world.mount();
    get_to_know(&mount);
    let known: Vec<Vec<String>> = (0..FOLDERS)
        .map(|at| names_below(&mount.path(&format!("known-{at}"))))
        .collect();
    mount.unmount(&world.config());
    world.service.stop();

    let began = Instant::now();
    let mount = world.mount();
    println!("the mount came up in {:?}", began.elapsed());
    let quickly = |what: &str, act: &dyn Fn()| {
        let began = Instant::now();
        act();
        assert!(began.elapsed() < LIMIT, "{what} took {:?}", began.elapsed());
    };
    quickly("the root", &|| {
        assert!(mount.list("").len() >= 2 * FOLDERS + MORE + 4)
    });
    for (at, known) in known.iter().enumerate() {
        let folder = format!("known-{at}");
        quickly(&folder, &|| {
            assert_eq!(names_below(&mount.path(&folder)), *known);
            let path = small("known", at, 1);
            assert_eq!(mount.read(&path), path.as_bytes());
        });
    }
    quickly("a cached file", &|| {
        assert!(mount.read("cached-1.bin") == content(1, LARGE));
    });
    let mut written = BTreeMap::new();
    quickly("a write", &|| {
        mount.write("known-0/written.bin", b"written offline")
    });
    written.insert("known-0/written.bin".to_owned(), sha256_of(b"written offline"));
    assert_eq!(mount.read("known-0/written.bin"), b"written offline");
    let clear = [libc::EHOSTUNREACH, libc::ETIMEDOUT].map(Some);
    quickly("an unknown folder", &|| {
        let listed =
            fs::read_dir(mount.path("more-399")).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let error = listed.expect_err("nobody can know");
        assert!(clear.contains(&error.raw_os_error()), "{error}");
    });
    quickly("what is not cached", &|| {
        let error = fs::read(mount.path("remote-0.bin")).expect_err("nobody can know");
        assert!(clear.contains(&error.raw_os_error()), "{error}");
    });

    world.service.come_back();
    is_well(&world, &mount, &written);
    mount.unmount(&world.config());
}
