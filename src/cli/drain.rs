//! `lockerfs drain`: wait for the uploads of the running mount.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use super::failure::Failure;
use super::screen::Screen;
use super::signals::Signals;
use super::{Global, Outcome, block_on, report, text};
use crate::config::parse_duration;
use crate::control::{Action, Client, DrainProgress, PendingState, PendingStatus};

/// Files under way that have a line of their own, and files that are told when they need a person.
const ROWS: usize = 8;
/// Where progress is told in lines, the least time between two of them.
const LINES_APART: Duration = Duration::from_secs(5);

const EXIT_STATUS: &str = "\
Exit status: 0 when all is uploaded; 1 when something is not: it needs you, is still open, is paused, or the
time is up. ^C ends the waiting only: the mount goes on uploading.";

#[derive(Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct DrainArgs {
    /// Wait no longer than this, for example 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run(global: &Global, args: &DrainArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let paths = global.paths()?;
    block_on(async {
        let mut signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
        let client = Client::connect(&paths.state_dir).await?;
        let mut shown = Shown::new();
        let mut last = None;
        let drained = client.drain(|progress| {
            shown.tell(&progress);
            last = Some(progress);
        });
        let patience = async {
            match args.timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let cut_off = tokio::select! {
            drained = drained => {
                drained?;
                None
            }
            () = patience => Some("the time is up"),
            _ = signals.next() => Some("stopped waiting"),
        };
        drop(shown);
        judge(last.as_ref(), cut_off)
    })
}

/// What the end of the waiting means. `cut_off` says why it ended before the uploads did.
fn judge(last: Option<&DrainProgress>, cut_off: Option<&str>) -> Outcome {
    let totals = last.map(|progress| progress.totals).unwrap_or_default();
    if let Some(why) = cut_off {
        let left = match (last, totals.is_nothing()) {
            (None, _) => "the mount goes on uploading".to_owned(),
            (_, true) => "all is uploaded".to_owned(),
            _ => format!("{}; the mount goes on with that", report::summary(&totals)),
        };
        return Err(Failure::new(format!("{why}: {left}")));
    }
    if totals.is_nothing() {
        println!("All is uploaded.");
        return Ok(());
    }
    let pending = last.map_or(&[][..], |progress| &progress.pending);
    let parked: Vec<_> = of_state(pending, PendingState::Parked).take(ROWS).collect();
    eprint!("{}", report::rows(&parked, totals.needing(), SystemTime::now()));
    let left = match (totals.files, totals.operations) {
        (0, 1) => "1 change of the service is not done".to_owned(),
        (0, changes) => format!(
            "{} of the service are not done",
            text::count(changes, "change", "changes")
        ),
        (1, _) => "1 file is not uploaded".to_owned(),
        (files, _) => format!("{} are not uploaded", report::files(files)),
    };
    let others = (totals.files + totals.operations).saturating_sub(totals.needing());
    let why = match (totals.needing(), others) {
        (_, 0) => "see above why, or `lockerfs status`",
        (0, _) => "still open, or paused: `lockerfs status` tells",
        _ => "some need you, others are still open, or paused: `lockerfs status` tells",
    };
    Err(Failure::new(format!("{left}; {why}")))
}

fn of_state(pending: &[PendingStatus], state: PendingState) -> impl Iterator<Item = &PendingStatus> {
    pending.iter().filter(move |file| file.state == state)
}

/// The progress as it is told: in place on a terminal, else in lines.
struct Shown {
    screen: Option<Screen<io::Stderr>>,
    /// Bytes that went since it began.
    done: u64,
    last: Option<DrainProgress>,
    line_at: Option<Instant>,
}

impl Shown {
    fn new() -> Self {
        Shown {
            screen: Screen::on_stderr(),
            done: 0,
            last: None,
            line_at: None,
        }
    }

    fn tell(&mut self, progress: &DrainProgress) {
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
                    eprintln!("{}", report::summary(&progress.totals));
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
