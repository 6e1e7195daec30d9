//! `lockerfs account list`: what the config says of accounts. Asks no service and fetches no secret.

use clap::Args;
use serde::Serialize;

use crate::cli::{Global, Outcome, json, text};
use crate::config::{AccountConfig, Config, SecretPlace, Service};

#[derive(Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    kind: &'a str,
    /// Who logs in, where that is no secret.
    login: Option<&'a str>,
    base_url: &'a str,
    publishes: bool,
    secrets: Vec<Secret>,
}

#[derive(Serialize)]
struct Secret {
    name: &'static str,
    /// Where it comes from.
    from: &'static str,
}

pub(super) fn run(global: &Global, args: &ListArgs) -> Outcome {
    let config = Config::load(&global.paths()?.config)?;
    if args.json {
        return print_json(&config);
    }
    if config.accounts.is_empty() {
        putln!(
            "{} has no accounts yet: run `lockerfs account add`.",
            config.path.display()
        );
        return Ok(());
    }
    let head = ["NAME", "KIND", "LOGIN", "SERVICE", "SECRET IN"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(config.accounts.iter().map(|account| {
        let login = login(account).unwrap_or(match &account.service {
            Service::MediaFire(_) => "session token",
            Service::YetiShare(_) => "API keys",
            Service::MirrorAce(_) => "API key and token",
            Service::MirroredTo(_) => "API key",
        });
        let place = account.login().first().map_or("", |secret| from(&secret.place()));
        vec![
            account.name.clone(),
            account.kind.to_owned(),
            login.to_owned(),
            account.base_url.to_string(),
            place.to_owned(),
        ]
    }));
    put!("{}", text::table(&rows));
    Ok(())
}

fn login(account: &AccountConfig) -> Option<&str> {
    match &account.service {
        Service::MediaFire(service) => service.email.as_deref(),
        Service::YetiShare(service) => service.username.as_deref(),
        Service::MirrorAce(_) | Service::MirroredTo(_) => None,
    }
}

pub(in crate::cli) fn from(place: &SecretPlace) -> &'static str {
    match place {
        SecretPlace::Nowhere => "nothing",
        SecretPlace::Environment(_) => "environment",
        SecretPlace::Config => "config",
        SecretPlace::File(_) => "file",
        SecretPlace::Command => "command",
        SecretPlace::Keyring(_) => "keyring",
    }
}

fn print_json(config: &Config) -> Outcome {
    let shown: Vec<_> = config
        .accounts
        .iter()
        .map(|account| Shown {
            name: &account.name,
            kind: account.kind,
            login: login(account),
            base_url: account.base_url.as_str(),
            publishes: account.publishes(),
            secrets: account
                .secrets()
                .into_iter()
                .filter(|secret| secret.is_given())
                .map(|secret| Secret {
                    name: secret.name(),
                    from: from(&secret.place()),
                })
                .collect(),
        })
        .collect();
    json::print(&shown)
}
