//! What holds on accounts that publish only.

#[allow(dead_code, unused_imports, reason = "this binary takes what it needs")]
pub mod harness;
mod published;
