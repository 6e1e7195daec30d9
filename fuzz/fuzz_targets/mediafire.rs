#![no_main]

#[path = "../targets/calls.rs"]
mod calls;
#[path = "../targets/contract.rs"]
mod contract;
#[path = "../targets/host.rs"]
mod host;
#[path = "../targets/mediafire.rs"]
mod mediafire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| mediafire::run(input));
