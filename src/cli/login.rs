//! `lockerfs login`: gives an account its secret anew, and a running mount takes it up at once.

use std::path::Path;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::account::{login_check, taken_back};
use super::ask::{Asker, UNCHANGED};
use super::failure::Failure;
use super::{Global, Outcome, block_on, text};
use crate::config::{
    AccountConfig, Config, Draft, Entry, Keeper, Kept, KeyringError, NewPlace, SecretPlace, check_keyring,
};
use crate::control::{Client, ControlError};

const HELP: &str = "\
For a changed password, a session token that has ended, or new API keys. The secret is asked for; \
where standard input is no terminal it is read from there, one line for each secret, in this order:

  mediafire                        password, or session_token where the account has one
  1cloudfile, koramaup, yetishare  key1, key2; password where the account has a username
  mirrorace                        api_key, api_token
  mirrored_to                      api_key

It is stored where the old one was, after the service took it. What a command of the config prints \
is not asked for: the command is run again. A mount that runs uses the new login at once, and what \
waited for it goes on.

Exit status: 0 when the new login is in use, 1 when not, 2 for wrong use. Where the service did not \
take it, nothing has changed.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct LoginArgs {
    /// The account's name in the config
    #[arg(value_name = "NAME")]
    name: String,
}

/// A secret that was given, and where it goes.
struct Given {
    name: &'static str,
    place: SecretPlace,
    /// Where there was none before.
    new: Option<NewPlace>,
    secret: SecretString,
}

pub(super) fn run(global: &Global, args: &LoginArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let paths = global.paths()?;
    block_on(async {
        let mut asker = Asker::new()?;
        store(&mut asker, &paths.config, &args.name).await?;
        let so_far = "the new secret is stored; a mount may not use it yet";
        asker
            .unless_stopped(so_far, tell_mount(&paths.state_dir, &args.name))
            .await
    })
}

/// Asks for the secrets of the login, tries them, and stores them.
async fn store(asker: &mut Asker, path: &Path, name: &str) -> Outcome {
    let mut config = Config::load(path)?;
    config.account(name)?;
    let mut draft = Draft::open(path)?;
    let Some(account) = config.accounts.iter_mut().find(|account| account.name == name) else {
        return Err(Failure::new(format!("no account {name}")));
    };
    let mut given = Vec::new();
    for (secret, place) in wanted(account)? {
        let new = match &place {
            SecretPlace::Command => continue,
            SecretPlace::Nowhere => {
                let keeper = asker.unless_stopped(UNCHANGED, keeper()).await?;
                let place = NewPlace::choose(keeper, name, secret);
                place.check(path)?;
                Some(place)
            }
            SecretPlace::Keyring(_) => {
                let unlocked = async { check_keyring().await.map_err(|e| Failure::new(e.to_string())) };
                asker.unless_stopped(UNCHANGED, unlocked).await?;
                None
            }
            _ => None,
        };
        let typed = asker
            .secret(secret, &format!("New {} of {name}", words(secret)))
            .await?;
        account.give(secret, typed.clone());
        given.push(Given {
            name: secret,
            place,
            new,
            secret: typed,
        });
    }
    asker.tell("Logging in ...");
    let account = config.account(name)?;
    let info = asker
        .unless_stopped(UNCHANGED, login_check::log_in(&config, account))
        .await?;
    for secret in &given {
        match (&secret.place, &secret.new) {
            (SecretPlace::Config, _) => {
                let value = Entry::Text(secret.secret.expose_secret().to_owned());
                draft.set(name, secret.name, &value)?;
            }
            (_, Some(place)) => {
                let (key, value) = place.entry();
                draft.set(name, &key, &value)?;
            }
            _ => {}
        }
    }
    keep(path, name, draft, &given).await?;
    putln!("The login works: {}.", login_check::owner(account, &info));
    Ok(())
}

/// The secrets of the login by name, and where they are.
fn wanted(account: &AccountConfig) -> Result<Vec<(&'static str, SecretPlace)>, Failure> {
    let wanted = account.login().into_iter().map(|secret| match secret.place() {
        SecretPlace::Environment(variable) => Err(Failure::new(format!(
            "the environment variable {variable} holds this secret and goes before all others: unset it, or change it \
             there and mount again"
        ))),
        place => Ok((secret.name(), place)),
    });
    wanted.collect()
}

/// As a person calls it.
fn words(secret: &str) -> String {
    match secret {
        "api_key" => "API key".to_owned(),
        "api_token" => "API token".to_owned(),
        "key1" => "API key 1".to_owned(),
        "key2" => "API key 2".to_owned(),
        name => name.replace('_', " "),
    }
}

/// Where a secret goes that had no place.
async fn keeper() -> Result<Keeper, Failure> {
    match check_keyring().await {
        Ok(()) => Ok(Keeper::Keyring),
        Err(KeyringError::Absent(_)) => Ok(Keeper::File),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// All of it, or nothing.
async fn keep(path: &Path, account: &str, draft: Draft, given: &[Given]) -> Outcome {
    let mut kept = Kept::beside(path);
    let mut is_in_config = false;
    let mut done = Ok(());
    for secret in given {
        if done.is_err() {
            break;
        }
        done = match (&secret.place, &secret.new) {
            (SecretPlace::Config, _) => {
                is_in_config = true;
                Ok(())
            }
            (_, Some(place)) => {
                is_in_config = true;
                kept.put(place, &secret.secret).await
            }
            (place, None) => kept.replace(place, account, secret.name, &secret.secret).await,
        };
    }
    if is_in_config {
        done = done.and_then(|()| draft.write().map(drop));
    }
    match done {
        Ok(()) => Ok(()),
        Err(error) => Err(taken_back(kept, error).await),
    }
}

/// Lets a mount that runs with the account use the new login.
async fn tell_mount(state_dir: &Path, name: &str) -> Outcome {
    let mounted = match Client::connect(state_dir).await {
        Ok(client) => client.status(Some(0)).await,
        Err(error) => Err(error),
    };
    let mounted = match mounted {
        Ok(report) => report.accounts.iter().any(|account| account.name == name),
        Err(ControlError::NotRunning(_)) => false,
        Err(error) => return Err(untold(name, &error)),
    };
    if !mounted {
        putln!("The next mount uses it.");
        return Ok(());
    }
    let client = Client::connect(state_dir)
        .await
        .map_err(|error| untold(name, &error))?;
    let going_on = client.log_in(name.to_owned()).await;
    match going_on.map_err(|error| untold(name, &error))? {
        0 => putln!("The mount uses it."),
        number => putln!(
            "The mount uses it; {} on.",
            text::count(number, "file or change goes", "files and changes go")
        ),
    }
    Ok(())
}

fn untold(name: &str, error: &ControlError) -> Failure {
    Failure::new(format!(
        "the new secret of {name} is stored, but the mount does not use it: {error}; unmount it and mount again"
    ))
}
