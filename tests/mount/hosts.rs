//! What holds on hosts that keep no times, no empty files and no ids over a replacement, and that tell neither
//! changes nor hashes.

mod keeping;
mod limits;
mod replacing;
mod sharing;
