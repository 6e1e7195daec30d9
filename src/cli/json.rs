//! What is printed for scripts.

use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Outcome;
use super::failure::Failure;

/// Prints a value as JSON, and a line's end.
pub(super) fn print(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|e| Failure::new(format!("cannot write JSON: {e}")))?;
    putln!("{text}");
    Ok(())
}

/// A moment, as `2015-05-07T16:07:05Z`.
pub(super) fn moment(at: SystemTime) -> Option<String> {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0).ok()?;
    whole.format(&Rfc3339).ok()
}
