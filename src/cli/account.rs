//! `lockerfs account`: the accounts of the config.

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Global, Outcome, block_on, text};
use crate::config::{Config, KINDS, Service};
use crate::provider::Capability;

const CONFIG_HELP: &str = "\
The config is a TOML file that only you can read (chmod 600), by default
~/.config/lockerfs/config.toml:

    on_close = \"queue\"                 # options stand at the top; an account may override them

    [accounts.media]                   # the directory's name in the mount
    kind = \"mediafire\"
    email = \"you@example.org\"
    password_file = \"media.secret\"     # beside the config, mode 0600, the password alone in it

A secret such as password may also be given by password_command = \"pass show media\", by the
environment variable LOCKERFS_MEDIA_PASSWORD, or as password = \"...\" in the config itself.";

#[derive(Args)]
#[command(after_long_help = CONFIG_HELP)]
pub(super) struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// List the accounts of the config
    List,
    /// Log in to an account and show its owner and quota
    Check {
        /// The account's name in the config
        name: String,
    },
}

pub(super) fn run(global: &Global, args: &AccountArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let config = Config::load(&global.paths()?.config)?;
    match &args.command {
        AccountCommand::List => {
            list(&config);
            Ok(())
        }
        AccountCommand::Check { name } => block_on(check(&config, name)),
    }
}

fn list(config: &Config) {
    if config.accounts.is_empty() {
        println!(
            "{} has no accounts yet (see `lockerfs account --help`).",
            config.path.display()
        );
        return;
    }
    let mut rows = vec![["NAME", "KIND", "LOGIN", "SERVICE"].map(str::to_owned).to_vec()];
    rows.extend(config.accounts.iter().map(|account| {
        let (login, otherwise) = match &account.service {
            Service::MediaFire(service) => (&service.email, "session token"),
            Service::YetiShare(service) => (&service.username, "API keys"),
            Service::MirrorAce(_) => (&None, "API key and token"),
            Service::MirroredTo(_) => (&None, "API key"),
        };
        let login = login.clone().unwrap_or_else(|| otherwise.to_owned());
        let url = account.base_url.to_string();
        vec![account.name.clone(), account.kind.to_owned(), login, url]
    }));
    print!("{}", text::table(&rows));
}

/// What a drive is used for each day; a host may have left any of it out.
const DAILY: [Capability; 8] = [
    Capability::List,
    Capability::Read,
    Capability::Write,
    Capability::CreateFolder,
    Capability::Rename,
    Capability::Move,
    Capability::Copy,
    Capability::Trash,
];

async fn check(config: &Config, name: &str) -> Outcome {
    let account = config.account(name)?;
    let provider = config.connect(account, None).await?;
    let info = provider.account_info().await;
    let able = provider.capabilities();
    let missing = DAILY.into_iter().filter(|capability| !able.has(*capability));
    provider.close().await;
    let info = info.map_err(|error| Failure::of_provider(name, &error))?;
    let service = KINDS
        .iter()
        .find(|kind| kind.name == account.kind)
        .map_or(account.kind, |kind| kind.service);
    println!(
        "The login works: {} on {service}.",
        info.owner.as_deref().unwrap_or("an account without a name")
    );
    match (info.storage_used, info.storage_limit) {
        (Some(used), Some(limit)) => println!("Used: {} of {}", text::size(used), text::size(limit)),
        (Some(used), None) => println!("Used: {}", text::size(used)),
        _ => {}
    }
    if let Some(largest) = info.max_file_size {
        println!("Largest file: {}", text::size(largest));
    }
    for missing in missing {
        println!("This account cannot {}.", missing.describe());
    }
    Ok(())
}
