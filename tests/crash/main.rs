//! Nothing is lost, torn or misplaced, at whatever moment the program is killed.
//!
//! Each seed has an emulated MediaFire and an emulated 1CloudFile, both in one mount of the built program. Four
//! writers at once create, rewrite, append, edit, rename and remove files and folders there, while the process is
//! killed at a random moment and started again with the same state, several times. After each start the mount has
//! to show what a model says; at the end so do the services themselves, and a mount that knows nothing of
//! what was before.
//!
//! Where the services fail, they also store other bytes than they were sent. What one of them spoiled in the moment of
//! a kill nobody can tell from another's file, so it is kept under the name of a conflict; the test removes such a
//! file, says so, and wants all else to be exact. On services that do what they are asked for nothing is tolerated.
//!
//! `LOCKERFS_CRASH_SEEDS=200` runs that many seeds of each kind, `LOCKERFS_CRASH_SEED=17` this one alone. What a
//! seed does is always the same; when the process is killed in it is not, since that is a matter of time. Each seed
//! has a process of its own: to start a program copies the open files of all threads and closes the copies, which
//! commits what a writer has half done.

mod load;
mod model;
#[path = "../mount"]
mod mount {
    #[allow(
        dead_code,
        unused_imports,
        reason = "each test binary takes what it needs of it"
    )]
    pub mod harness;
}
mod seed;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mount::harness;
use seed::Weather;

/// The harness's own account; the other one is a guest.
const KIND: &harness::Kind = &harness::MEDIAFIRE;

const SEEDS: u64 = 12;
/// Seeds that run at once. They wait for the services and the disk most of the time.
const SIDE_BY_SIDE: usize = 5;

const ONE_SEED: &str = "LOCKERFS_CRASH_SEED";
const COUNT: &str = "LOCKERFS_CRASH_SEEDS";

#[test]
fn killed_at_any_moment_it_loses_tears_and_misplaces_nothing() {
    run(
        "killed_at_any_moment_it_loses_tears_and_misplaces_nothing",
        0,
        Weather::Fair,
    );
}

#[test]
fn killed_at_any_moment_on_services_that_fail_in_every_way_it_loses_tears_and_misplaces_nothing() {
    run(
        "killed_at_any_moment_on_services_that_fail_in_every_way_it_loses_tears_and_misplaces_nothing",
        10_000,
        Weather::Foul,
    );
}

/// Runs one seed where one is asked for, or else all, each in a process of its own that runs this test alone.
fn run(test: &str, first: u64, weather: Weather) {
    if let Some(seed) = number(ONE_SEED) {
        if let Err(report) = seed::run(seed, weather) {
            panic!("{report}");
        }
        return;
    }
    let seeds = first..first + number(COUNT).unwrap_or(SEEDS);
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

/// Runs one seed in another process. The error is what that said.
fn run_apart(test: &str, seed: u64) -> Result<(), String> {
    let program = std::env::current_exe().expect("the path of this test");
    let ran = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(ONE_SEED, seed.to_string())
        .output()
        .expect("a test in another process");
    let said = String::from_utf8_lossy(&ran.stderr);
    if ran.status.success() {
        said.lines()
            .filter(|line| line.contains(seed::SPOILED))
            .for_each(|line| eprintln!("seed {seed}: {line}"));
        return Ok(());
    }
    Err(format!("seed {seed} ended with {}\n{said}", ran.status))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse::<u64>();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
