//! What holds on a second preset of a service whose first one goes through the whole suite: all that reads what the
//! service sends, where presets differ in how they write numbers, times and ranges. What is the program's own alone is
//! not looked at once more.

mod crash;
#[allow(dead_code, unused_imports, reason = "this binary takes what it needs")]
pub mod harness;
mod names;
mod reading;
mod reading_ahead;
mod tree;
mod writing;
