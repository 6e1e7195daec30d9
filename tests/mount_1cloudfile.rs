//! The program as its users meet it: the binary, a real mount, and an emulated 1CloudFile behind it.

#[path = "mount/hosts.rs"]
mod hosts;
#[path = "mount/suite.rs"]
mod suite;

const KIND: &suite::harness::Kind = &suite::harness::kind::ONE_CLOUD_FILE;
