//! `lockerfs queue`: what waits, and what a person can do about it.

mod export;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::seen::{self, Seen};
use super::{Global, Outcome, block_on, json, output, report, text};
use crate::control::{Choice, Client, ControlError, PendingState, PendingStatus};

/// Files that are shown before a person is asked about them.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
An ITEM is an id from the list, a path in the mount, or ACCOUNT:PATH; a folder stands for all that is in it.

Examples:
  lockerfs queue list                      what waits, and why
  lockerfs queue retry                     try all again that failed
  lockerfs queue cancel 17                 give up one file; what the service has stays
  lockerfs queue export media:a.txt /tmp   save a copy of what is not uploaded
  lockerfs queue pause --account media     upload nothing more to it until `resume`";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all that waits; also without a mount
    List(ListArgs),
    /// Try again now what failed
    Retry(ChoiceArgs),
    /// Give up what waits or needs you; what the service has is shown again
    Cancel(CancelArgs),
    /// Save a copy of a file that is not uploaded; also without a mount
    Export(export::ExportArgs),
    /// Begin no more uploads until `resume`, after a remount either; reading goes on
    Pause(AccountArgs),
    /// Go on with what `pause` stopped
    Resume(AccountArgs),
}

#[derive(Args)]
struct ChoiceArgs {
    /// Of this account alone
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// All of it, which is also meant where nothing is named
    #[arg(long, conflicts_with = "items")]
    all: bool,
    #[arg(value_name = "ITEM")]
    items: Vec<String>,
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct CancelArgs {
    /// Of this account alone
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// All that waits or needs you
    #[arg(long, conflicts_with = "items")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[arg(value_name = "ITEM", required_unless_present_any = ["all", "account"])]
    items: Vec<String>,
}

#[derive(Args)]
struct AccountArgs {
    /// Of this account alone
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

pub(super) fn run(global: &Global, args: QueueArgs) -> Outcome {
    match args.command {
        Command::List(args) => list(global, args),
        Command::Retry(args) => retry(global, args.account, args.items),
        Command::Cancel(args) => cancel(global, args),
        Command::Export(args) => export::run(global, args),
        Command::Pause(args) => pause(global, args.account, true),
        Command::Resume(args) => pause(global, args.account, false),
    }
}

fn list(global: &Global, args: ListArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    let choice = choice(args.choice.account, args.choice.items);
    let rows = block_on(find(&state_dir, choice))?;
    if args.json {
        return json::print(&rows);
    }
    if rows.is_empty() {
        putln!("Nothing waits.");
        return Ok(());
    }
    let now = SystemTime::now();
    let mut table = vec![["  ID", "FILE", "SIZE", "STATE"].map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(|file| report::row(file, now)));
    put!("{}", text::table(&table));
    Ok(())
}

/// What is chosen: of the running mount, or of the journal where none runs.
async fn find(state_dir: &Path, choice: Choice) -> Result<Vec<PendingStatus>, Failure> {
    match Client::connect(state_dir).await {
        Ok(client) => return Ok(client.find(choice).await?),
        Err(ControlError::NotRunning(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match seen::look(state_dir, None).await? {
        Seen::Running(report) => of_list(report.pending, &choice),
        Seen::Resting(resting) => of_list(resting.pending, &choice),
    }
}

/// What a choice means where only ids and names are known.
fn of_list(pending: Vec<PendingStatus>, choice: &Choice) -> Result<Vec<PendingStatus>, Failure> {
    let is_meant = |file: &PendingStatus, item: &String| {
        let named = item.split_once(':');
        file.id == *item || named == Some((&file.account, &file.path))
    };
    if let Some(item) = choice
        .items
        .iter()
        .find(|item| !pending.iter().any(|file| is_meant(file, item)))
    {
        return Err(Failure::new(format!(
            "{item} is not pending: `lockerfs queue list` shows what is (while nothing is mounted, by id or ACCOUNT:NAME)"
        )));
    }
    let chosen = pending.into_iter().filter(|file| {
        let of_account = choice.account.as_ref().is_none_or(|name| *name == file.account);
        let named = choice.items.is_empty() || choice.items.iter().any(|item| is_meant(file, item));
        of_account && named
    });
    Ok(chosen.collect())
}

/// Tries what failed again: what is named, or all of an account, or all.
pub(super) fn retry(global: &Global, account: Option<String>, items: Vec<String>) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    block_on(async {
        let client = Client::connect(&state_dir).await?;
        match client.retry(choice(account, items)).await? {
            0 => putln!("Nothing has failed."),
            files => putln!("Trying {} again.", report::files(files)),
        }
        Ok(())
    })
}

fn cancel(global: &Global, args: CancelArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    let named = !args.items.is_empty();
    let choice = choice(args.account, args.items);
    block_on(async {
        let client = Client::connect(&state_dir).await?;
        let mut found = client.find(choice.clone()).await?;
        if !named {
            found.retain(|file| file.state != PendingState::Kept);
        }
        if found.is_empty() {
            putln!("Nothing waits.");
            return Ok(());
        }
        if !args.yes && !ask(&found)? {
            putln!("Nothing was given up.");
            return Ok(());
        }
        // A folder's files as they were shown, whatever came since.
        let choice = match named {
            true => Choice {
                account: None,
                items: found.into_iter().map(|file| file.id).collect(),
            },
            false => choice,
        };
        let client = Client::connect(&state_dir).await?;
        let files = client.cancel(choice).await?;
        putln!("Gave up {}.", report::files(files));
        Ok(())
    })
}

/// Asks a person whether these files may go.
fn ask(files: &[PendingStatus]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            "giving up uploads cannot be undone: say --yes where nobody can be asked",
        ));
    }
    let shown: Vec<_> = files.iter().take(SHOWN).collect();
    output::ask(&format!(
        "{}Give up {}? What is on this machine alone is gone then. [y/N] ",
        report::rows(&shown, files.len() as u64, SystemTime::now()),
        report::files(files.len() as u64)
    ))?;
    let failed = |e| Failure::new(format!("cannot ask: {e}"));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn pause(global: &Global, account: Option<String>, paused: bool) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    block_on(async {
        let of = account.clone().unwrap_or_else(|| "all accounts".to_owned());
        let changed = Client::connect(&state_dir).await?.pause(account, paused).await?;
        putln!(
            "{}",
            match (paused, changed) {
                (true, 0) => format!("Uploads of {of} are paused already."),
                (true, _) => format!("Uploads of {of} are paused, until `lockerfs queue resume`."),
                (false, 0) => format!("Uploads of {of} are not paused."),
                (false, _) => format!("Uploads of {of} go on."),
            }
        );
        Ok(())
    })
}

fn choice(account: Option<String>, items: Vec<String>) -> Choice {
    Choice {
        account,
        items: items.into_iter().map(item).collect(),
    }
}

/// An item as the mount is told of it: a path is made absolute, an id or `account:path` stays.
fn item(text: String) -> String {
    let is_id = text
        .trim_start_matches(['d', 'r'])
        .bytes()
        .all(|byte| byte.is_ascii_digit());
    let path = Path::new(&text);
    if is_id || (text.contains(':') && !path.exists()) {
        return text;
    }
    // Where nothing is there any more, the name is all there is to go by.
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
    whole.map_or(text, |whole| whole.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_places_in_an_account_stay_and_paths_are_made_whole() {
        for kept in ["17", "d12", "r3", "media:no/such file"] {
            assert_eq!(item(kept.to_owned()), kept);
        }
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let whole = |name: &str| here.join(name).to_string_lossy().into_owned();
        assert_eq!(item("Cargo.toml".to_owned()), whole("Cargo.toml"));
        assert_eq!(item("no such file".to_owned()), whole("no such file"));
    }
}
