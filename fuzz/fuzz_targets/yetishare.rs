#![no_main]

#[path = "../targets/calls.rs"]
mod calls;
#[path = "../targets/contract.rs"]
mod contract;
#[path = "../targets/host.rs"]
mod host;
#[path = "../targets/yetishare.rs"]
mod yetishare;

libfuzzer_sys::fuzz_target!(|input: &[u8]| yetishare::run(input));
