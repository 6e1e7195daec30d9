//! A question before something that cannot be undone.

use std::io::{self, IsTerminal};

use super::failure::Failure;
use super::output;

/// Asks a person at the terminal, below the lines of `about`; yes where `yes` was said beforehand. `what` is what cannot
/// be undone, as the beginning of a sentence.
pub(super) fn confirm(yes: bool, what: &str, about: &[String], question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(format!(
            "{what} cannot be undone: say --yes where nobody can be asked"
        )));
    }
    let failed = |e| Failure::new(format!("cannot ask: {e}"));
    for line in about {
        tell!("  {line}");
    }
    output::ask(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
