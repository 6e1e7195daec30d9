#![no_main]

#[path = "../targets/data.rs"]
mod data;
#[path = "../targets/host.rs"]
mod host;

libfuzzer_sys::fuzz_target!(|input: &[u8]| data::run(input));
