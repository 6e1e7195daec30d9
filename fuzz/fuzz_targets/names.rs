#![no_main]

#[allow(dead_code, reason = "the other targets use the rest")]
#[path = "../targets/contract.rs"]
mod contract;
#[path = "../targets/names.rs"]
mod names;

libfuzzer_sys::fuzz_target!(|input: &[u8]| names::run(input));
