//! The program as its users meet it: the binary, a real mount, and an emulated service behind it.

mod command;
mod crash;
mod faults;
mod harness;
mod names;
mod reading;
mod system;
mod tree;
mod writing;
