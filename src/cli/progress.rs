//! How the uploads go, while a person waits for them: in place on a terminal, else in lines.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use super::screen::Screen;
use super::{report, text};
use crate::control::{Action, DrainProgress, PendingState, PendingStatus};

/// Files under way that have a line of their own.
const ROWS: usize = 8;
/// Where progress is told in lines, the least time between two of them.
const LINES_APART: Duration = Duration::from_secs(5);

fn of_state(pending: &[PendingStatus], state: PendingState) -> impl Iterator<Item = &PendingStatus> {
    pending.iter().filter(move |file| file.state == state)
}

/// The progress as it is told: in place on a terminal, else in lines.
pub(super) struct Progress {
    screen: Option<Screen<io::Stderr>>,
    /// Bytes that went since it began.
    done: u64,
    last: Option<DrainProgress>,
    line_at: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            screen: Screen::on_stderr(),
            done: 0,
            last: None,
            line_at: None,
        }
    }

    pub fn tell(&mut self, progress: &DrainProgress) {
        let before = self.last.replace(progress.clone());
        let left_before = before.as_ref().map_or(0, |before| before.totals.left());
        self.done += left_before.saturating_sub(progress.totals.left());
        match &mut self.screen {
            Some(screen) => {
                let columns = screen.size().columns;
                screen.draw(&picture(progress, self.done, columns));
            }
            None => {
                let is_new = before.is_none_or(|before| before.totals.files != progress.totals.files);
                let is_due = self.line_at.is_none_or(|at| at.elapsed() >= LINES_APART);
                // The end has a sentence of its own.
                if is_new && is_due && !progress.totals.is_nothing() {
                    tell!("{}", report::summary(&progress.totals));
                    self.line_at = Some(Instant::now());
                }
            }
        }
    }
}

/// The whole as a bar, then a line for each file that is under way, then what needs a person.
fn picture(progress: &DrainProgress, done: u64, columns: usize) -> String {
    let totals = &progress.totals;
    let (left, all) = (totals.left(), done.saturating_add(totals.left()));
    // With nothing to send but empty files, or what is sent and not verified, there is no share to tell.
    let percent = match (all, totals.files) {
        (0, 1..) => 0,
        _ => text::percent(done, all),
    };
    let bar = text::bar(percent, (columns / 4).clamp(10, 40));
    let mut line = format!("{bar} {percent:3}%");
    if all > 0 {
        line.push_str(&format!("  {} of {}", text::size(all - left), text::size(all)));
    }
    if totals.rate > 0 {
        line.push_str(&format!("  {}", report::rate(totals.rate)));
    }
    if let Some(seconds) = totals.seconds_left.filter(|_| left > 0) {
        line.push_str(&format!("  {} left", text::duration(seconds)));
    }
    let now = SystemTime::now();
    let of_state = |state| {
        let uploads = of_state(&progress.pending, state);
        uploads.filter(|file| file.action == Action::Upload)
    };
    let under_way = of_state(PendingState::Uploading).chain(of_state(PendingState::Verifying));
    let rows: Vec<_> = under_way.take(ROWS).map(|file| report::row(file, now)).collect();
    let mut counts = format!("{} left", report::files(totals.files));
    if totals.waiting > 0 {
        counts.push_str(&format!(", {} failed for now", report::files(totals.waiting)));
    }
    if totals.operations > 0 {
        let changes = text::count(totals.operations, "change", "changes");
        counts.push_str(&format!(", {changes} to tell the service"));
    }
    if totals.needing() > 0 {
        counts.push_str(&format!(", {}", report::needing(totals)));
    }
    format!("{line}\n{}{counts}\n", text::table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Totals;

    #[test]
    fn the_bar_counts_what_went_since_the_drain_began_and_lists_what_is_under_way() {
        let mut totals = Totals::default();
        totals.add(PendingState::Uploading, 1, 4_000_000, 1_000_000);
        totals.add(PendingState::Parked, 1, 0, 0);
        let file = PendingStatus {
            id: "7".to_owned(),
            action: Action::Upload,
            to: None,
            account: "box".to_owned(),
            path: "film".to_owned(),
            size: 4_000_000,
            sent: 1_000_000,
            rate: 0,
            state: PendingState::Uploading,
            error: None,
            tries: 0,
            next_try: None,
        };
        let progress = DrainProgress {
            totals: totals.at_rate(500_000),
            pending: vec![file],
        };
        assert_eq!(
            picture(&progress, 1_000_000, 40),
            "[##--------]  25%  1.0 MB of 4.0 MB  500.0 kB/s  6 s left\n  \
              7  box:film  4.0 MB  uploading, 25% sent\n\
             2 files left, 1 file needs you\n"
        );
    }
}
