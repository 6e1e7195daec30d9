//! Nothing is lost, torn or misplaced, at whatever moment the program is killed.
//!
//! Each seed has an emulated MediaFire and an emulated 1CloudFile, both in one mount of the built program. Four
//! writers at once create, rewrite, append, edit, rename and remove files and folders there, while the process is
//! killed at a random moment and started again with the same state, several times. After each start the mount has
//! to show what a model says; at the end so do the services themselves, and a mount that knows nothing of
//! what was before.
//!
//! One thing does not hold yet, and is tolerated unless `LOCKERFS_CRASH_STRICT=1` is set: a copy of a file, of its
//! present or an older content or of what a failing service made of it, may stay under the name of a copy
//! (`name (2)`, `name (conflict ...)`) when the program is killed in the middle of an upload. On the host that tells
//! no hash (1CloudFile), see docs/SEMANTICS.md, about one seed of fifty has one; on MediaFire only where the service
//! fails as well, about one of a hundred. The test removes it as a person would and wants all else to be exact, during
//! the load as well as at the end: a file that is missing, is torn, or has another name or place than it should is
//! never tolerated.
//!
//! It is not part of the default run for as long as that is so: `cargo test --test crash -- --ignored` runs it.
//! `LOCKERFS_CRASH_SEEDS=200` runs that many seeds of each kind, `LOCKERFS_CRASH_SEED=17` this one alone. What a
//! seed does is always the same; when the process is killed in it is not, since that is a matter of time.

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

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mount::harness;
use seed::Weather;

/// The harness's own account; the other one is a guest.
const KIND: &harness::Kind = &harness::MEDIAFIRE;

const SEEDS: u64 = 20;
/// Seeds that run at once. They wait for the services and the disk most of the time.
const SIDE_BY_SIDE: usize = 5;

#[test]
#[ignore = "not steady yet: about one seed of fifty still leaves a copy beside a file, or ends a rename late; run it with --ignored"]
fn killed_at_any_moment_it_loses_tears_and_misplaces_nothing() {
    run(0, Weather::Fair);
}

#[test]
#[ignore = "not steady yet: about one seed of fifty still leaves a copy beside a file, or ends a rename late; run it with --ignored"]
fn killed_at_any_moment_on_services_that_fail_in_every_way_it_loses_tears_and_misplaces_nothing() {
    run(10_000, Weather::Foul);
}

fn run(first: u64, weather: Weather) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let number = text.parse::<u64>();
        Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
    };
    let seeds: Range<u64> = match number("LOCKERFS_CRASH_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("LOCKERFS_CRASH_SEEDS").unwrap_or(SEEDS),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    if let Err(report) = seed::run(seed, weather) {
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
