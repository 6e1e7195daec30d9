//! `lockerfs account`: the accounts of the config.

mod add;
pub(super) mod check;
mod list;
pub(super) mod login_check;
mod remove;
mod rename;
mod resting;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Global, Outcome};
use crate::config::{ConfigError, Kept};

const CONFIG_HELP: &str = "\
`lockerfs account add` writes the config. It is a TOML file that only you can read (chmod 600), by
default ~/.config/lockerfs/config.toml, and may be written by hand as well:

    on_close = \"queue\"                 # options stand at the top; an account may override them

    [accounts.media]                   # the directory's name in the mount
    kind = \"mediafire\"
    email = \"you@example.org\"
    password_file = \"media.secret\"     # beside the config, mode 0600, the password alone in it

A secret such as password may also be given by password_command = \"pass show media\", by
password_keyring = \"ENTRY\" (an entry that lockerfs made in the system's keyring), by the environment
variable LOCKERFS_MEDIA_PASSWORD, or as password = \"...\" in the config itself.";

#[derive(Args)]
#[command(after_long_help = CONFIG_HELP)]
pub(super) struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Add an account: ask for what it needs, try the login, write it down
    Add(Box<add::AddArgs>),
    /// List the accounts of the config
    List(list::ListArgs),
    /// Log in to accounts and show owners and quotas
    Check(check::CheckArgs),
    /// Take an account out of the config, with its secrets
    Remove(remove::RemoveArgs),
    /// Give an account another name, with all that is kept under the old one
    Rename(rename::RenameArgs),
}

pub(super) fn run(global: &Global, args: AccountArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    match args.command {
        AccountCommand::Add(args) => add::run(global, *args),
        AccountCommand::List(args) => list::run(global, &args),
        AccountCommand::Check(args) => check::run(global, &args),
        AccountCommand::Remove(args) => remove::run(global, &args),
        AccountCommand::Rename(args) => rename::run(global, &args),
    }
}

/// Takes back what was kept before a failure, and says so where that fails, too.
pub(super) async fn taken_back(kept: Kept, error: ConfigError) -> Failure {
    match kept.undo().await {
        Ok(()) => error.into(),
        Err(left) => Failure::new(format!("{error}; {left}")),
    }
}
