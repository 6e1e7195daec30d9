//! Whatever a service answers, nothing panics, hangs or comes out that the rest could not bear: the targets of
//! `fuzz/`, run over answers of the sandbox, over nasty ones, and over a number of mutations of both that is the
//! same each time. `LOCKERFS_FUZZ_ROUNDS` sets how many mutations of each target there are;
//! `LOCKERFS_FUZZ_SEEDS=DIR` writes the seeds there, a folder for each target, for `scripts/fuzz`.

#[path = "../fuzz/targets/calls.rs"]
mod calls;
#[path = "../fuzz/targets/contract.rs"]
mod contract;
#[path = "../fuzz/targets/data.rs"]
mod data;
#[path = "../fuzz/targets/host.rs"]
mod host;
#[path = "../fuzz/targets/mediafire.rs"]
mod mediafire;
#[path = "../fuzz/targets/mirrors.rs"]
mod mirrors;
#[path = "../fuzz/targets/names.rs"]
mod names;
#[path = "../fuzz/targets/yetishare.rs"]
mod yetishare;

#[path = "support/provider_of.rs"]
mod provider_of;
#[path = "hostile_answers/recorded.rs"]
mod recorded;
#[path = "hostile_answers/seeds.rs"]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::seeds::{Mutator, with_head};

/// Mutations of each target where nobody says otherwise.
const ROUNDS: usize = 1500;

fn rounds() -> usize {
    match std::env::var("LOCKERFS_FUZZ_ROUNDS") {
        Ok(text) => text.parse().expect("LOCKERFS_FUZZ_ROUNDS is a number"),
        Err(_) => ROUNDS,
    }
}

/// Runs a target over its seeds, and over mutations of them. What fails is told as a text of Rust.
fn hold(target: &str, run: fn(&[u8]), seeds: Vec<Vec<u8>>) {
    if let Some(folder) = std::env::var_os("LOCKERFS_FUZZ_SEEDS") {
        let folder = std::path::Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).expect("make a folder for seeds");
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:04}")), seed).expect("write a seed");
        }
    }
    let tried = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
            eprintln!("the input was b\"{}\"", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    };
    seeds.iter().for_each(|seed| tried(seed));
    let mut mutator = Mutator::new(target, seeds);
    for _ in 0..rounds() {
        tried(&mutator.next());
    }
}

fn scripts(heads: &[u8]) -> Vec<u8> {
    let all = heads
        .iter()
        .flat_map(|head| (0..calls::SCRIPTS).map(move |script| head | script));
    all.collect()
}

#[test]
fn mediafires_answers_break_nothing() {
    let mut seeds = recorded::mediafire();
    seeds.extend(with_head(
        &scripts(&[0, mediafire::LOGIN]),
        seeds::API,
        seeds::MEDIAFIRE,
    ));
    hold("mediafire", mediafire::run, seeds);
}

#[test]
fn the_answers_of_yetishare_hosts_break_nothing() {
    let mut seeds = recorded::yetishare();
    seeds.extend(with_head(
        &scripts(&[0, yetishare::LOGIN]),
        seeds::API,
        seeds::YETISHARE,
    ));
    hold("yetishare", yetishare::run, seeds);
}

#[test]
fn the_answers_of_services_that_publish_break_nothing() {
    let mut seeds = recorded::mirrors();
    seeds.extend(with_head(
        &scripts(&[0, mirrors::MIRRORED_TO]),
        seeds::API,
        seeds::MIRRORS,
    ));
    hold("mirrors", mirrors::run, seeds);
}

#[test]
fn servers_of_files_give_the_bytes_asked_for_or_an_error() {
    hold("data", data::run, seeds::data());
}

#[test]
fn names_can_stand_in_a_directory_and_come_back_as_they_went() {
    hold("names", names::run, seeds::names());
}

/// The memory that this process took at most, from the kernel.
#[test]
fn a_small_answer_takes_no_large_memory() {
    let bomb = seeds::gzip_bomb();
    let before = peak();
    for target in [mediafire::run, yetishare::run, mirrors::run] {
        for script in 0..calls::SCRIPTS {
            target(&[&[script], bomb.as_slice()].concat());
        }
    }
    data::run(&[&[0, 0, 255, 0], bomb.as_slice()].concat());
    let grown = peak().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes");
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel's word");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a number")
        << 10
}
