//! The program as its users meet it: the binary, a real mount, and an emulated MediaFire behind it.

mod browsing;
mod demo;
mod fstab;
mod full_disk;
mod hostile;
mod long_queue;
#[path = "suite.rs"]
mod suite;
mod supervised;
mod sync_order;
mod threads;
mod unmounting;
mod uploading;

const KIND: &suite::harness::Kind = &suite::harness::MEDIAFIRE;
