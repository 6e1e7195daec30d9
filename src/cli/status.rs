//! `lockerfs status`: the accounts of the running mount and the files that are not uploaded yet.

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::{Global, Outcome, block_on, text};
use crate::control::{
    AccountState, AccountStatus, Client, ControlError, PendingState, PendingStatus, StatusReport,
};
use crate::state::{Database, JournalRow, RowState, StateDir, StateError};

/// How long a mount may take between holding the journal and answering, at its start and at its end.
const STARTING_OR_ENDING: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    running: bool,
    #[serde(flatten)]
    mount: Option<&'a StatusReport>,
    /// What the journal holds, where no mount runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<&'a [PendingStatus]>,
}

pub(super) fn run(global: &Global, args: &StatusArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    block_on(async {
        let mut patience = STARTING_OR_ENDING;
        loop {
            let asked = match Client::connect(&state_dir).await {
                Ok(client) => client.status().await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(report) => return print_running(&report, args),
                Err(ControlError::NotRunning(_)) => {}
                Err(error) => return Err(error.into()),
            }
            match from_journal(&state_dir).await? {
                Some(pending) => return print_resting(&state_dir, &pending, args),
                None if patience.is_zero() => {
                    return Err(Failure::new(
                        "a mount is starting or ending: ask again in a moment",
                    ));
                }
                None => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    patience = patience.saturating_sub(LOOK_AGAIN);
                }
            }
        }
    })
}

fn print_running(report: &StatusReport, args: &StatusArgs) -> Outcome {
    if args.json {
        return print_json(&Shown {
            running: true,
            mount: Some(report),
            pending: None,
        });
    }
    print_report(report);
    Ok(())
}

fn print_resting(state_dir: &Path, pending: &[PendingStatus], args: &StatusArgs) -> Outcome {
    if args.json {
        return print_json(&Shown {
            running: false,
            mount: None,
            pending: Some(pending),
        });
    }
    println!("No mount runs with the state directory {}.", state_dir.display());
    print_pending(pending);
    if pending.iter().any(|file| file.state != PendingState::Kept) {
        println!("The next mount goes on with them.");
    }
    Ok(())
}

fn print_json(shown: &Shown<'_>) -> Outcome {
    let text = serde_json::to_string_pretty(shown);
    println!(
        "{}",
        text.map_err(|e| Failure::new(format!("cannot write JSON: {e}")))?
    );
    Ok(())
}

/// What waits while no mount runs; `None` while one holds the journal. Makes nothing.
async fn from_journal(path: &Path) -> Result<Option<Vec<PendingStatus>>, Failure> {
    if !path.exists() {
        return Ok(Some(Vec::new()));
    }
    let directory = match StateDir::open(path) {
        Err(StateError::InUse { .. }) => return Ok(None),
        directory => directory?,
    };
    if !directory.database_path().exists() {
        return Ok(Some(Vec::new()));
    }
    let database = Database::open(&directory.database_path())?;
    let rows = database.journal_rows().await?;
    database.close().await;
    let waiting = rows.into_iter().filter(|row| row.state != RowState::Removed);
    Ok(Some(waiting.map(of_row).collect()))
}

fn of_row(row: JournalRow) -> PendingStatus {
    let state = match row.state {
        RowState::Parked => PendingState::Parked,
        RowState::Kept => PendingState::Kept,
        _ if row.last_error.is_some() => PendingState::Waiting,
        _ => PendingState::Queued,
    };
    PendingStatus {
        account: row.account,
        path: row.name,
        size: row.size,
        sent: 0,
        state,
        error: row.last_error,
        tries: row.tries,
        next_try: row.next_try.map(super::mount::seconds),
    }
}

fn print_report(report: &StatusReport) {
    println!(
        "lockerfs {} serves {} (process {})",
        report.version,
        report.mount_point.display(),
        report.pid
    );
    let mut rows = vec![["ACCOUNT", "KIND", "STATE", "USED"].map(str::to_owned).to_vec()];
    rows.extend(report.accounts.iter().map(account_row));
    print!("{}", text::table(&rows));
    for account in &report.accounts {
        if let Some(message) = &account.message {
            println!("{}: {message}", account.name);
        }
    }
    print_pending(&report.pending);
}

fn account_row(account: &AccountStatus) -> Vec<String> {
    let state = match account.state {
        AccountState::Unknown => "not asked yet",
        AccountState::Online => "online",
        AccountState::Offline => "offline",
        AccountState::LoginRefused => "login refused",
    }
    .to_owned();
    let used = match (account.storage_used, account.storage_limit) {
        (Some(used), Some(limit)) => format!("{} of {}", text::size(used), text::size(limit)),
        (Some(used), None) => text::size(used),
        _ => String::new(),
    };
    vec![account.name.clone(), account.kind.clone(), state, used]
}

fn print_pending(pending: &[PendingStatus]) {
    print!("{}", pending_text(pending, SystemTime::now()));
}

fn pending_text(pending: &[PendingStatus], now: SystemTime) -> String {
    let is_kept = |file: &&PendingStatus| file.state == PendingState::Kept;
    let (kept, waiting): (Vec<_>, Vec<_>) = pending.iter().partition(is_kept);
    let mut shown = match waiting.len() {
        0 => "Nothing waits for its upload.\n".to_owned(),
        count => {
            let bytes = waiting.iter().map(|file| file.size).sum();
            let files = text::count(count, "file", "files");
            format!("{files} to upload, {}:\n", text::size(bytes))
        }
    };
    for files in [waiting, kept] {
        let rows: Vec<_> = files.into_iter().map(|file| pending_row(file, now)).collect();
        shown.push_str(&text::table(&rows));
    }
    if pending.iter().any(|file| file.state == PendingState::Parked) {
        shown.push_str("What needs you stays here until the cause is mended: then run `lockerfs retry`.\n");
    }
    shown
}

fn pending_row(file: &PendingStatus, now: SystemTime) -> Vec<String> {
    let error = file.error.as_deref().unwrap_or("no reason told");
    let tries = text::count(file.tries as usize, "try", "tries");
    let state = match file.state {
        PendingState::Staged => "rests, or is still written".to_owned(),
        PendingState::Queued => "waits for its turn".to_owned(),
        PendingState::Uploading => {
            let share = file
                .sent
                .saturating_mul(100)
                .checked_div(file.size)
                .unwrap_or(100);
            format!("uploading, {share}% sent")
        }
        PendingState::Verifying => "sent, the service checks it".to_owned(),
        PendingState::Waiting => {
            let next = file
                .next_try
                .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
            let next = next
                .map(|at| format!(", again {}", text::until(at, now)))
                .unwrap_or_default();
            format!("failed after {tries}{next}: {error}")
        }
        PendingState::Parked => format!("needs you: {error}"),
        PendingState::Kept => "kept here: empty files are not taken by this service".to_owned(),
    };
    vec![
        format!("  {}", file.account),
        file.path.clone(),
        text::size(file.size),
        state,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, state: PendingState) -> PendingStatus {
        PendingStatus {
            account: "box".to_owned(),
            path: path.to_owned(),
            size: 0,
            sent: 0,
            state,
            error: None,
            tries: 0,
            next_try: None,
        }
    }

    #[test]
    fn an_empty_file_that_is_kept_here_does_not_count_as_waiting() {
        let kept = file("a/empty", PendingState::Kept);
        let row = "  box  a/empty  0 B  kept here: empty files are not taken by this service\n";
        let alone = pending_text(std::slice::from_ref(&kept), SystemTime::UNIX_EPOCH);
        assert_eq!(alone, format!("Nothing waits for its upload.\n{row}"));
        let both = pending_text(&[kept, file("b", PendingState::Queued)], SystemTime::UNIX_EPOCH);
        assert_eq!(
            both,
            format!("1 file to upload, 0 B:\n  box  b  0 B  waits for its turn\n{row}")
        );
    }
}
