//! `lockerfs drain`: wait for the uploads of the running mount.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::failure::Failure;
use super::progress::Progress;
use super::signals::Signals;
use super::{Global, Outcome, block_on, output, report, text, which};
use crate::config::parse_duration;
use crate::control::{Client, DrainProgress, PendingState};

/// Files that are told when they need a person.
const ROWS: usize = 8;

const EXIT_STATUS: &str = "\
Exit status: 0 when all is uploaded; 1 when something is not: it needs you, is still open, is paused, or the
time is up. ^C ends the waiting only: the mount goes on uploading.";

#[derive(Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct DrainArgs {
    /// Where it is mounted [default: the mount of the state directory]
    #[arg(value_name = "DIR")]
    mount_point: Option<PathBuf>,
    /// Wait no longer than this, for example 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run(global: &Global, args: &DrainArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = which::state_dir(global, args.mount_point.as_deref())?;
    block_on(async {
        let mut signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
        let client = Client::connect(&state_dir).await?;
        let mut shown = Progress::new();
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
        putln!("All is uploaded.");
        return Ok(());
    }
    let pending = last.map_or(&[][..], |progress| &progress.pending);
    let parked = pending.iter().filter(|file| file.state == PendingState::Parked);
    let parked: Vec<_> = parked.take(ROWS).collect();
    output::tell(format_args!(
        "{}",
        report::rows(&parked, totals.needing(), SystemTime::now())
    ));
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
