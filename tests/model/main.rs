//! What programs do in a mount ends as it does on a local disk.
//!
//! Random operations are done on a mount and on a folder of the local disk: each has to tell the same result or the same
//! error, and now and then the whole trees are compared: names, kinds, sizes, contents, times. In between the mount is
//! taken down, killed, and begun with an empty state directory, where it shows what the service holds. In what a mount
//! is known to differ stands in `differences.rs`, and nowhere else.
//!
//! `LOCKERFS_MODEL_STEPS=100000` does so many operations on each host, `LOCKERFS_MODEL_SEED=17` begins with that seed. A
//! sequence that fails is made shorter as long as it fails, and is printed as a list; `LOCKERFS_MODEL_REPLAY=FILE` does
//! what is in such a list, and `LOCKERFS_MODEL_LOG=1` prints the log of a mount that failed. A part of a sequence is in a
//! process of its own: to start a program copies the open files of all threads and closes the copies, which commits what
//! a writer has half done.

mod calls;
mod dice;
mod differences;
mod durable;
mod episode;
#[path = "../mount"]
mod mount {
    #[allow(
        dead_code,
        unused_imports,
        reason = "each test binary takes what it needs of it"
    )]
    pub mod harness;
}
mod operation;
mod shrink;
mod side;

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dice::Dice;
use episode::{Failure, Host, play};
use mount::harness;

/// The harness's own account; the other one is a guest.
const KIND: &harness::Kind = &harness::MEDIAFIRE;

/// Operations on each host, in all.
const STEPS: u64 = 5000;
/// Operations of an episode, which begins with an empty account.
const EPISODE: u64 = 500;
/// Episodes that run at once. They wait for the disk most of the time.
const SIDE_BY_SIDE: usize = 3;
/// How long a sequence that fails is made shorter.
const SHRINKING: u64 = 90;

const STEPS_TOLD: &str = "LOCKERFS_MODEL_STEPS";
const SEED_TOLD: &str = "LOCKERFS_MODEL_SEED";
const REPLAY: &str = "LOCKERFS_MODEL_REPLAY";
const SHRINK_TOLD: &str = "LOCKERFS_MODEL_SHRINK";
/// Set for a process that plays one episode.
const EPISODE_TOLD: &str = "LOCKERFS_MODEL_EPISODE";

#[test]
fn what_programs_do_on_mediafire_ends_as_on_a_local_disk() {
    run(
        "what_programs_do_on_mediafire_ends_as_on_a_local_disk",
        Host::MediaFire,
    );
}

#[test]
fn what_programs_do_on_1cloudfile_ends_as_on_a_local_disk() {
    run(
        "what_programs_do_on_1cloudfile_ends_as_on_a_local_disk",
        Host::OneCloudFile,
    );
}

fn run(test: &str, host: Host) {
    if let Some(path) = std::env::var_os(REPLAY) {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path:?}: {e}"));
        let mut operations = operation::parse(&text).into_iter();
        if let Err(failure) = play(host, |_| operations.next(), true) {
            tell_shortened(host, "the list", failure);
        }
        return;
    }
    if let Some(seed) = number(EPISODE_TOLD) {
        play_one(host, seed);
        return;
    }
    let first = number(SEED_TOLD).unwrap_or(0);
    let seeds = first..first + number(STEPS_TOLD).unwrap_or(STEPS).div_ceil(EPISODE);
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    if let Err(report) = run_apart(test, seed) {
                        eprintln!("{report}");
                        failed.lock().expect("a list").push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("a list");
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed: {failed:?}; what each did stands above",
        failed.len(),
        seeds.end - seeds.start
    );
}

fn play_one(host: Host, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut left = EPISODE;
    let played = play(
        host,
        |reference| {
            left = left.checked_sub(1)?;
            Some(dice.next(reference))
        },
        true,
    );
    if let Err(failure) = played {
        tell_shortened(host, &format!("seed {seed}"), failure);
    }
}

/// Fails with a sequence that was made shorter.
fn tell_shortened(host: Host, what: &str, failure: Failure) -> ! {
    eprintln!(
        "{what} failed after {} operations: {}",
        failure.done.len(),
        failure.text
    );
    let budget = Duration::from_secs(number(SHRINK_TOLD).unwrap_or(SHRINKING));
    let failure = shrink::shrink(host, failure, budget);
    panic!("{what}: {}", report(host, &failure));
}

fn report(host: Host, failure: &Failure) -> String {
    let mut text = format!("{host:?}: {}\n{}", failure.text, operation::HEADING);
    for operation in &failure.done {
        let _ = writeln!(text, "{operation}");
    }
    text
}

/// Plays an episode in another process. The error is what that said.
fn run_apart(test: &str, seed: u64) -> Result<(), String> {
    let program = std::env::current_exe().expect("the path of this test");
    let ran = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(EPISODE_TOLD, seed.to_string())
        .output()
        .expect("a test in another process");
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!(
            "===== {SEED_TOLD}={seed} ended with {}\n{}",
            ran.status,
            String::from_utf8_lossy(&ran.stderr)
        )),
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse::<u64>();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
