//! `lockerfs account rename`: gives an account another name, and all that is kept under the old one with it.

use std::path::Path;

use clap::Args;

use super::resting::{self, Held, State};
use crate::cli::failure::Failure;
use crate::cli::{Global, Outcome, block_on};
use crate::config::{Config, Draft, SecretPlace, secret_variable};
use crate::state::{Pins, StateError};

const HELP: &str = "\
The account's directory in the mount has the new name from the next mount on. What waits to be \
uploaded, what was published and what is pinned goes with it; secrets stay where they are, and what \
the cache holds stays of use.

Exit status: 0 when it was renamed, 1 when not, and nothing has changed, 2 for wrong use.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RenameArgs {
    /// The account's name in the config
    #[arg(value_name = "OLD")]
    old: String,
    /// Its name from now on
    #[arg(value_name = "NEW")]
    new: String,
}

pub(super) fn run(global: &Global, args: &RenameArgs) -> Outcome {
    let paths = global.paths()?;
    block_on(rename(&paths.config, &paths.state_dir, args))
}

async fn rename(path: &Path, state_dir: &Path, args: &RenameArgs) -> Outcome {
    let RenameArgs { old, new } = args;
    let config = Config::load(path)?;
    let account = config.account(old)?;
    if config.account(new).is_ok() {
        return Err(Failure::new(format!(
            "there is an account {new} already: choose another name"
        )));
    }
    let mut draft = Draft::open(path)?;
    draft.rename_account(old, new)?;
    draft.config()?;
    match resting::take(state_dir).await? {
        State::Empty => drop(draft.write()?),
        State::Mounted(mount) => {
            let place = mount.mount_point.display();
            return Err(Failure::new(format!(
                "a mount runs at {place} with the state directory: run `lockerfs unmount {place}` first"
            )));
        }
        State::Held(held) => {
            let renamed = in_state(&held, draft, old, new).await;
            held.database.close().await;
            renamed?;
        }
    }
    putln!("Renamed {old} to {new}; the next mount shows it so.");
    for secret in account.secrets() {
        if let SecretPlace::Environment(variable) = secret.place() {
            putln!("{variable} is now {}.", secret_variable(new, secret.name()));
        }
    }
    Ok(())
}

/// Renames in the state and in the config: in both, or in none.
async fn in_state(held: &Held, draft: Draft, old: &str, new: &str) -> Outcome {
    let pins = held.directory.pins();
    let published = held.database.all_catalog_files().await?;
    let ids: Vec<String> = published
        .into_iter()
        .filter(|(account, _)| account == old)
        .map(|(_, id)| id)
        .collect();
    for id in &ids {
        if let Err(error) = pins.share(old, new, id) {
            let_go(&pins, new, &ids);
            return Err(Failure::new(format!("what is pinned cannot be renamed: {error}")));
        }
    }
    let (told, written) = std::sync::mpsc::channel();
    let last = move || {
        let written = draft.write().map_err(|error| StateError::GivenUp {
            why: error.to_string(),
        })?;
        // The other side waits for the end of this.
        let _ = told.send(written);
        Ok(())
    };
    match held.database.rename_account(old, new, last).await {
        Ok(()) => {
            let_go(&pins, old, &ids);
            Ok(())
        }
        Err(error) => {
            let_go(&pins, new, &ids);
            if let Ok(written) = written.try_recv()
                && let Err(undo) = written.undo()
            {
                return Err(Failure::new(format!(
                    "{error}; the config could not be put back: {undo}"
                )));
            }
            Err(error.into())
        }
    }
}

/// What stays is let go by the next mount.
fn let_go(pins: &Pins, account: &str, ids: &[String]) {
    for id in ids {
        let _ = pins.remove(account, id);
    }
}
