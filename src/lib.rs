//! lockerfs mounts file-host accounts as a drive.
//!
//! Each module below is a room with one task. Dependencies run downward in the order in which the
//! rooms stand here; `tests/architecture.rs` fails when one looks up. `docs/DESIGN.md` follows one
//! read and one write through them.

pub mod cli;
pub mod config;
pub mod fuse;
pub mod vfs;

pub mod download;
pub mod upload;

pub mod provider;

pub mod http;

pub mod state;

pub mod control;

pub mod sandbox;
