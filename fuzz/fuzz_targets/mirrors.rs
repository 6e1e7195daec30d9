#![no_main]

#[path = "../targets/calls.rs"]
mod calls;
#[path = "../targets/contract.rs"]
mod contract;
#[path = "../targets/host.rs"]
mod host;
#[path = "../targets/mirrors.rs"]
mod mirrors;

libfuzzer_sys::fuzz_target!(|input: &[u8]| mirrors::run(input));
