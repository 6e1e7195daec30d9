//! What is printed for scripts.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Outcome;
use super::failure::Failure;

/// Prints a value as JSON, and a line's end.
pub(super) fn print(value: &impl Serialize) -> Outcome {
    let failed = |e: &dyn std::fmt::Display| Failure::new(format!("cannot write JSON: {e}"));
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, value).map_err(|e| failed(&e))?;
    writeln!(out).and_then(|()| out.flush()).map_err(|e| failed(&e))
}

/// A moment, as `2015-05-07T16:07:05Z`.
pub(super) fn moment(at: SystemTime) -> Option<String> {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0).ok()?;
    whole.format(&Rfc3339).ok()
}
