//! `lockerfs account check`: do the logins work?

use clap::Args;
use futures_util::future::join_all;

use super::login_check::{owner, used};
use crate::cli::failure::Failure;
use crate::cli::{Global, Outcome, block_on, text};
use crate::config::{AccountConfig, Config};
use crate::provider::{AccountInfo, Capability};

const HELP: &str = "Exit status: 0 when all logins work, 1 when one does not, 2 for wrong use.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct CheckArgs {
    /// Names of accounts in the config [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
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

pub(super) fn run(global: &Global, args: &CheckArgs) -> Outcome {
    let config = Config::load(&global.paths()?.config)?;
    block_on(async {
        if let [name] = &args.names[..] {
            return check_one(&config, name).await;
        }
        let chosen: Vec<_> = match args.names.is_empty() {
            true => config.accounts.iter().collect(),
            false => args
                .names
                .iter()
                .map(|name| config.account(name))
                .collect::<Result<_, _>>()?,
        };
        check_all(&config, &chosen).await
    })
}

/// A line for each account.
async fn check_all(config: &Config, accounts: &[&AccountConfig]) -> Outcome {
    if accounts.is_empty() {
        putln!(
            "{} has no accounts yet: run `lockerfs account add`.",
            config.path.display()
        );
        return Ok(());
    }
    let checks = accounts.iter().map(|account| check(config, account));
    let checked = join_all(checks).await;
    let rows: Vec<_> = accounts
        .iter()
        .zip(&checked)
        .map(|(account, checked)| {
            let (state, told) = match checked {
                Ok((info, _)) => ("ok", line(account, info)),
                Err(failure) => ("fail", text::printable(&failure.to_string())),
            };
            vec![account.name.clone(), state.to_owned(), told]
        })
        .collect();
    put!("{}", text::table(&rows));
    match checked.iter().all(Result::is_ok) {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

pub(in crate::cli) fn line(account: &AccountConfig, info: &AccountInfo) -> String {
    let used = used(info).map(|used| format!(", {used} used"));
    format!("{}{}", owner(account, info), used.unwrap_or_default())
}

/// What the service says of an account, and what it cannot do.
pub(in crate::cli) async fn check(
    config: &Config,
    account: &AccountConfig,
) -> Result<(AccountInfo, Vec<Capability>), Failure> {
    let provider = config.connect(account, None).await?.provider;
    let info = provider.account_info().await;
    let able = provider.capabilities();
    provider.close().await;
    let info = info.map_err(|error| Failure::of_provider(&account.name, &error))?;
    let missing = DAILY.into_iter().filter(|capability| !able.has(*capability));
    Ok((info, missing.collect()))
}

async fn check_one(config: &Config, name: &str) -> Outcome {
    let account = config.account(name)?;
    let (info, missing) = check(config, account).await?;
    putln!("The login works: {}.", owner(account, &info));
    if let Some(used) = used(&info) {
        putln!("Used: {used}");
    }
    if let Some(largest) = info.max_file_size {
        putln!("Largest file: {}", text::size(largest));
    }
    for missing in missing {
        putln!("This account cannot {}.", missing.describe());
    }
    Ok(())
}
