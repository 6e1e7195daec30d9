//! `lockerfs status`: the accounts of the running mount and the files that are not uploaded yet.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::screen::Screen;
use super::seen::{self, Seen};
use super::signals::Signals;
use super::{Global, Outcome, block_on, json, output, report, which};
use crate::control::{PendingStatus, StatusReport, Totals};

/// Files under each heading, unless all are asked for.
const ROWS: usize = 10;
/// How often a watched status is told anew.
const INTERVAL: Duration = Duration::from_secs(1);

const EXIT_STATUS: &str = "\
Exit status: 0 when nothing needs you, 1 when a file or a refused login does, or the status cannot be \
told. With --watch it is 0 when ^C ends it.";

#[derive(Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct StatusArgs {
    /// Where it is mounted [default: the mount of the state directory]
    #[arg(value_name = "DIR")]
    mount_point: Option<PathBuf>,
    /// Print JSON, with all files
    #[arg(long)]
    json: bool,
    /// Show it again each second, until ^C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Show all files, however many there are
    #[arg(long)]
    all: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    running: bool,
    #[serde(flatten)]
    mount: Option<&'a StatusReport>,
    #[serde(flatten)]
    journal: Option<Journal<'a>>,
}

/// What the journal holds, where no mount runs.
#[derive(Serialize)]
struct Journal<'a> {
    totals: &'a Totals,
    pending: &'a [PendingStatus],
}

pub(super) fn run(global: &Global, args: &StatusArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = which::state_dir(global, args.mount_point.as_deref())?;
    block_on(async {
        if args.watch {
            return watch(&state_dir, args).await;
        }
        let all = args.all || args.json;
        let seen = seen::look(&state_dir, (!all).then_some(ROWS)).await?;
        if args.json {
            print_json(&seen)?;
        } else {
            let rows = if args.all { usize::MAX } else { ROWS };
            put!("{}", report::whole(&seen, rows, SystemTime::now()));
        }
        match seen.totals().needing() > 0 || seen.is_login_refused() {
            false => Ok(()),
            true => Err(Failure::told()),
        }
    })
}

/// Shows the status until a signal: in place on a terminal, else one after the other.
async fn watch(state_dir: &Path, args: &StatusArgs) -> Outcome {
    let mut signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
    let mut screen = Screen::on_stdout();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let looked = tokio::select! {
            _ = signals.next() => return Ok(()),
            looked = seen::look(state_dir, (!args.all).then_some(ROWS)) => looked,
        };
        // A mount that is starting or ending is no reason to look away.
        let text = |rows| match &looked {
            Ok(seen) => report::whole(seen, rows, SystemTime::now()),
            Err(failure) => format!("{failure}\n"),
        };
        match &mut screen {
            Some(screen) => {
                let lines = screen.size().lines;
                let fits = |rows: &usize| text(*rows).lines().count() < lines;
                screen.draw(&text((1..=ROWS).rev().find(fits).unwrap_or(1)));
            }
            None => {
                let rows = if args.all { usize::MAX } else { ROWS };
                putln!("{}", text(rows));
                output::end()?;
            }
        }
    }
}

fn print_json(seen: &Seen) -> Outcome {
    let shown = match seen {
        Seen::Running(report) => Shown {
            running: true,
            mount: Some(report),
            journal: None,
        },
        Seen::Resting(resting) => Shown {
            running: false,
            mount: None,
            journal: Some(Journal {
                totals: &resting.totals,
                pending: &resting.pending,
            }),
        },
    };
    json::print(&shown)
}
