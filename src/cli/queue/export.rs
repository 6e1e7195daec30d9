//! `lockerfs queue export`: a copy of a content that is not on the service yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::seen;
use crate::cli::{Global, Outcome, block_on, text};
use crate::control::{Choice, Client, ControlError};
use crate::state::{JournalRow, StateDir};
use crate::upload::save_copy;

#[derive(Args)]
pub(super) struct ExportArgs {
    /// An id, a path in the mount, or ACCOUNT:PATH
    #[arg(value_name = "ITEM")]
    item: String,
    /// A file to write, or a directory to write it into
    #[arg(value_name = "DEST")]
    to: PathBuf,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(global: &Global, args: ExportArgs) -> Outcome {
    crate::cli::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    let item = super::item(args.item);
    let to =
        std::path::absolute(&args.to).map_err(|e| Failure::new(format!("{}: {e}", args.to.display())))?;
    block_on(async {
        let (to, bytes) = match Client::connect(&state_dir).await {
            Ok(client) => from_mount(client, &state_dir, item, to, args.force).await?,
            Err(ControlError::NotRunning(_)) => from_journal(&state_dir, &item, to, args.force).await?,
            Err(error) => return Err(error.into()),
        };
        putln!("Saved {} as {}.", text::size(bytes), to.display());
        Ok(())
    })
}

async fn from_mount(
    client: Client,
    state_dir: &Path,
    item: String,
    to: PathBuf,
    force: bool,
) -> Result<(PathBuf, u64), Failure> {
    let choice = Choice {
        account: None,
        items: vec![item],
    };
    let found = client.find(choice).await?;
    let [file] = &found[..] else {
        return Err(Failure::new(format!(
            "that is {}: export them one by one",
            text::count(found.len() as u64, "file", "files")
        )));
    };
    let to = within(to, file.path.rsplit('/').next().unwrap_or(&file.path));
    let client = Client::connect(state_dir).await?;
    let bytes = client.export(file.id.clone(), to.clone(), force).await?;
    Ok((to, bytes))
}

async fn from_journal(
    state_dir: &Path,
    item: &str,
    to: PathBuf,
    force: bool,
) -> Result<(PathBuf, u64), Failure> {
    // The directory stays ours until the copy is made.
    let held = match seen::journal(state_dir).await? {
        Some(seen::Journal::Rows(held)) => held,
        Some(seen::Journal::None) => return Err(not_pending(item)),
        None => {
            return Err(Failure::new(
                "a mount is starting or ending: ask again in a moment",
            ));
        }
    };
    let is_meant = |row: &&JournalRow| {
        row.id.to_string() == item || item.split_once(':') == Some((&row.account, &row.name))
    };
    let row = held.rows.iter().find(is_meant).ok_or_else(|| not_pending(item))?;
    let to = within(to, &row.name);
    let bytes = copy(&held.directory, row, &to, force)?;
    Ok((to, bytes))
}

fn copy(directory: &StateDir, row: &JournalRow, to: &Path, force: bool) -> Result<u64, Failure> {
    let failed = |why: String| Failure::new(format!("{}:{}: {why}", row.account, row.name));
    if !row.missing.is_empty() {
        return Err(failed(
            "parts of it are on the service alone: mount first, so that they can be fetched".to_owned(),
        ));
    }
    let staging = row.staging.as_ref();
    let staging = staging.ok_or_else(|| failed("its content is not here".to_owned()))?;
    let path = directory.staging_path().join(staging);
    let content = File::open(&path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    // A program that had not finished writing may have lengthened it.
    let length = content.metadata().map_err(|e| failed(e.to_string()))?.len();
    match save_copy(&content, length, to, force, || true) {
        Ok(true) => Ok(length),
        Ok(false) => Err(failed("it became shorter while it was copied".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn not_pending(item: &str) -> Failure {
    Failure::new(format!(
        "{item} is not pending: `lockerfs queue list` shows what is (while nothing is mounted, by id or ACCOUNT:NAME)"
    ))
}

/// A file in a directory that was named, or the file that was named.
fn within(to: PathBuf, name: &str) -> PathBuf {
    if to.is_dir() { to.join(name) } else { to }
}
