//! The program as its users meet it: the binary, a real mount, and an emulated KoramaUp behind it.

#[path = "mount/hosts.rs"]
mod hosts;
#[path = "mount/preset.rs"]
mod suite;

const KIND: &suite::harness::Kind = &suite::harness::kind::KORAMAUP;
