//! What a mount takes of the system for many programs at once.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::suite::harness::{Mount, World, content};

/// Programs that work at the same time.
const PROGRAMS: u64 = 150;
/// Threads beside those for the disk and one for each processor: for the kernel's requests, the database and the like.
const OTHERS: usize = 20;

fn threads(mount: &Mount) -> usize {
    let all = fs::read_dir(format!("/proc/{}/task", mount.pid()));
    all.expect("the kernel's word").count()
}

#[test]
fn a_mount_has_a_few_dozen_threads_however_many_programs_write_and_read() {
    let world = World::new();
    let mount = world.mount();
    let is_done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let (mount, is_done) = (&mount, &is_done);
        let watching = scope.spawn(move || {
            let mut most = 0;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(threads(mount));
                std::thread::yield_now();
            }
            most
        });
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|program| {
                scope.spawn(move || {
                    for round in 0..4 {
                        let (name, bytes) = (format!("{program}-{round}.bin"), content(program, 40_000));
                        mount.write(&name, &bytes);
                        let file = fs::File::open(mount.path(&name)).expect("what was written");
                        file.sync_all().expect("a sync");
                        assert!(mount.read(&name) == bytes, "{name}");
                    }
                })
            })
            .collect();
        let ended: Vec<_> = programs.into_iter().map(|program| program.join()).collect();
        is_done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.expect("a program"));
        watching.join().expect("a count")
    });
    world.drain();
    let processors = std::thread::available_parallelism().expect("a number").get();
    println!("{most} threads at most on {processors} processors");
    assert!(most <= processors + 32 + OTHERS, "{most} threads");
}
