//! `lockerfs account remove`: takes an account out of the config, with its secrets.

use std::path::Path;

use clap::Args;

use super::resting::{self, State};
use crate::cli::failure::Failure;
use crate::cli::{Global, Outcome, block_on, report, text};
use crate::config::{AccountConfig, Config, Draft, SecretPlace, check_keyring, forget_secret};
use crate::control::{Choice, Client};
use crate::state::AccountRows;

const HELP: &str = "\
It takes the account's table out of the config, its entries out of the system's keyring, and removes \
its secret files that stand beside the config. What is known of its folders is forgotten. What it \
published, with links, stays in the state directory and is shown again to an account of the same \
name; the cache lets its content go by itself. Nothing happens on the service.

Exit status: 0 when it was removed, 1 when not, 2 for wrong use.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RemoveArgs {
    /// The account's name in the config
    #[arg(value_name = "NAME")]
    name: String,
    /// Also while files of it wait; they stay in the state directory, for an account of the same name
    #[arg(long)]
    force: bool,
}

pub(super) fn run(global: &Global, args: &RemoveArgs) -> Outcome {
    let paths = global.paths()?;
    block_on(remove(&paths.config, &paths.state_dir, args))
}

async fn remove(path: &Path, state_dir: &Path, args: &RemoveArgs) -> Outcome {
    let name = &args.name;
    let config = Config::load(path)?;
    let account = config.account(name)?;
    let mut draft = Draft::open(path)?;
    draft.remove_account(name)?;
    draft.config()?;
    let state = resting::take(state_dir).await?;
    let rows = match &state {
        State::Empty => AccountRows::default(),
        State::Held(held) => held.database.account_rows(name).await?,
        State::Mounted(mount) if mount.accounts.iter().any(|known| known.name == *name) => {
            let place = mount.mount_point.display();
            return Err(Failure::new(format!(
                "{name} is mounted at {place}: run `lockerfs unmount {place}` first"
            )));
        }
        State::Mounted(_) => waiting(state_dir, name).await?,
    };
    let waiting = rows.files + rows.operations;
    if waiting > 0 && !args.force {
        return Err(Failure::new(format!(
            "{} of {name} are on this machine alone: mount it until `lockerfs status` shows nothing, see \
             `lockerfs queue --help`, or say --force to keep them in {}",
            text::count(waiting, "file or change", "files and changes"),
            state_dir.display()
        )));
    }
    let secrets = own_secrets(&config, account);
    if secrets
        .iter()
        .any(|secret| matches!(secret, SecretPlace::Keyring(_)))
    {
        check_keyring()
            .await
            .map_err(|error| Failure::new(format!("the account's entry cannot be taken out: {error}")))?;
    }
    let written = draft.write()?;
    let mut gone = 0;
    for secret in &secrets {
        match forget_secret(secret).await {
            Ok(was_there) => gone += usize::from(was_there),
            Err(why) if gone == 0 => {
                let undone = written.undo();
                let undone = undone.map_or_else(
                    |e| format!("; the config could not be put back: {e}"),
                    |()| String::new(),
                );
                return Err(Failure::new(format!("{name} was not removed: {why}{undone}")));
            }
            Err(why) => {
                return Err(Failure::new(format!(
                    "{name} was removed, but {why}: remove it by hand"
                )));
            }
        }
    }
    putln!("Removed {name} from {}.", path.display());
    if gone > 0 {
        putln!(
            "Its {} gone.",
            text::count(gone as u64, "secret is", "secrets are")
        );
    }
    if let State::Held(held) = state {
        let forgotten = held.database.forget_account(name).await;
        held.database.close().await;
        drop(held.directory);
        forgotten?;
    }
    if waiting > 0 {
        let kept = report::files(waiting);
        putln!(
            "Kept in {}, for an account of the same name: {kept}.",
            state_dir.display()
        );
    }
    if rows.published > 0 {
        putln!("The list of what it published stays in {}.", state_dir.display());
    }
    Ok(())
}

/// What waits of an account that the running mount does not show.
async fn waiting(state_dir: &Path, name: &str) -> Result<AccountRows, Failure> {
    let all = Client::connect(state_dir).await?.find(Choice::default()).await?;
    let files = all.iter().filter(|file| file.account == *name).count() as u64;
    Ok(AccountRows {
        files,
        ..AccountRows::default()
    })
}

/// Secrets that nobody else uses: entries of the keyring, and files beside the config.
fn own_secrets(config: &Config, account: &AccountConfig) -> Vec<SecretPlace> {
    let others = config.accounts.iter().filter(|other| other.name != account.name);
    let taken: Vec<SecretPlace> = others
        .flat_map(AccountConfig::secrets)
        .map(|secret| secret.kept())
        .collect();
    let folder = config.path.parent().unwrap_or(Path::new("/"));
    let is_own = |place: &SecretPlace| match place {
        SecretPlace::Keyring(_) => true,
        SecretPlace::File(path) => path.parent() == Some(folder),
        _ => false,
    };
    let mut own: Vec<_> = account
        .secrets()
        .into_iter()
        .map(|secret| secret.kept())
        .collect();
    own.retain(|place| is_own(place) && !taken.contains(place));
    // What may be locked goes first.
    own.sort_by_key(|place| !matches!(place, SecretPlace::Keyring(_)));
    own
}
