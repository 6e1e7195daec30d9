//! `lockerfs sandbox`: the emulated services, until ^C.

mod quirk;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::quirk::Quirk;
use super::failure::Failure;
use super::signals::Signals;
use super::{Global, Outcome, output};
use crate::config::{parse_duration, parse_size};
use crate::sandbox::{Account, Options, Quirks, Sandbox, Service};

const EXAMPLES: &str = "\
Examples:
  lockerfs sandbox --data /tmp/services --latency 50ms --fail 0.01 --seed 7 --log
  lockerfs sandbox --data /tmp/services --quirk post-limit=50MB --quirk missing=file/copy";

#[derive(Args)]
#[command(after_help = format!("{}\n{EXAMPLES}", quirk::help()))]
pub(super) struct SandboxArgs {
    /// Where the accounts and their files are kept; made if missing
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The port on 127.0.0.1 [default: any free one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How long each answer takes, for example 50ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    latency: Option<Duration>,
    /// Bytes a second of one connection, for example 12MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    per_connection: Option<u64>,
    /// Bytes a second of all connections together
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    total: Option<u64>,
    /// Bytes that each account may hold, for example 1200KB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    storage: Option<u64>,
    /// The share of calls that fail, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0, hide_default_value = true, value_parser = parse_rate)]
    fail: f64,
    /// Makes the same calls fail in each run
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,
    /// Let the YetiShare hosts behave otherwise; may be given again
    #[arg(long = "quirk", value_name = "NAME[=VALUE]", value_parser = Quirk::parse)]
    quirks: Vec<Quirk>,
    /// Show one line a request
    #[arg(long)]
    log: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

pub(super) fn run(global: &Global, args: SandboxArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| Failure::new(format!("cannot start: {e}")))?;
    runtime.block_on(serve(args))
}

async fn serve(args: SandboxArgs) -> Outcome {
    let data = args.data.display().to_string();
    let mut signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
    let mut accounts = accounts();
    for account in &mut accounts {
        account.storage_limit = args.storage.unwrap_or(account.storage_limit);
    }
    let mut quirks = Quirks::default();
    for quirk in &args.quirks {
        quirk.apply(&mut quirks.yetishare).map_err(Failure::new)?;
    }
    let options = Options {
        quirks,
        port: args.port,
        latency: args.latency.unwrap_or_default(),
        per_connection: args.per_connection,
        total: args.total,
        fail_rate: args.fail,
        seed: args.seed,
        log_requests: args.log,
        accounts: accounts.clone(),
        ..Options::new(args.data)
    };
    let started = Sandbox::start(options).await;
    let sandbox = started.map_err(|e| Failure::new(format!("cannot start the sandbox in {data}: {e}")))?;
    putln!("The sandbox serves until ^C. What its accounts hold stands as plain files in");
    for account in &accounts {
        putln!("  {}", sandbox.files_dir(&account.name).display());
    }
    putln!("and into a config (chmod 600) they go as:\n");
    put!("{}", config_text(&sandbox, &accounts));
    let printed = output::end();
    if printed.is_ok() {
        signals.next().await;
    }
    sandbox.stop().await;
    printed
}

/// An account on each host that a config can name without its address, by the kind's name.
pub(super) fn accounts() -> Vec<Account> {
    vec![
        Account::mediafire("mediafire"),
        Account::yetishare("1cloudfile"),
        Account::yetishare("koramaup"),
        Account::mirrorace("mirrorace"),
        Account::mirrored_to("mirrored_to"),
    ]
}

/// The accounts as tables of a config. Each is named as its kind is.
pub(super) fn config_text(sandbox: &Sandbox, accounts: &[Account]) -> String {
    let tables: Vec<String> = accounts
        .iter()
        .map(|account| config_table(&sandbox.base_url(&account.name), account))
        .collect();
    tables.join("\n")
}

fn config_table(base_url: &str, account: &Account) -> String {
    let Account {
        name,
        email,
        password,
        key1,
        key2,
        api_key,
        api_token,
        ..
    } = account;
    let login = match account.service {
        Service::YetiShare => format!("key1 = \"{key1}\"\nkey2 = \"{key2}\"\n"),
        Service::MirrorAce => format!("api_key = \"{api_key}\"\napi_token = \"{api_token}\"\n"),
        Service::MirroredTo => format!("api_key = \"{api_key}\"\n"),
        _ => format!("email = \"{email}\"\npassword = \"{password}\"\n"),
    };
    format!("[accounts.{name}]\nkind = \"{name}\"\nbase_url = \"{base_url}\"\n{login}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_table_holds_the_login_that_its_service_takes() {
        let tables: Vec<toml::Table> = accounts()
            .iter()
            .map(|account| toml::from_str(&config_table("http://127.0.0.1:1/", account)).unwrap())
            .collect();
        let entry = |at: usize, name: &str| tables[at]["accounts"][name].clone();
        assert_eq!(entry(0, "mediafire")["email"].as_str(), Some("demo@example.com"));
        for (at, name) in [(1, "1cloudfile"), (2, "koramaup")] {
            let entry = entry(at, name);
            assert_eq!(entry["kind"].as_str(), Some(name));
            assert_eq!(entry["base_url"].as_str(), Some("http://127.0.0.1:1/"));
            assert_eq!(entry["key1"].as_str().map(str::len), Some(64));
            assert_ne!(entry["key1"], entry["key2"]);
            assert!(entry.get("email").is_none());
        }
        assert!(entry(3, "mirrorace").get("api_token").is_some());
        let last = entry(4, "mirrored_to");
        assert!(last.get("api_key").is_some() && last.get("api_token").is_none());
    }
}
