//! The accounts of the config and their services: the clocks, the logins.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use url::Url;

use super::Finding;
use crate::cli::account::check::{check, line};
use crate::cli::text;
use crate::config::{Config, clock};
use crate::http::date_of;

/// How long a service may take to tell the time.
const LIMIT: Duration = Duration::from_secs(10);
/// A difference that comes from whole seconds and slow answers.
const CLOSE: Duration = Duration::from_secs(30);
/// From here on logins and encrypted connections may be refused.
const FAR: Duration = Duration::from_secs(300);

/// A line for each host that has accounts.
pub(super) async fn clocks(config: &Config) -> Vec<Finding> {
    let hosts: BTreeMap<String, &Url> = config
        .accounts
        .iter()
        .map(|account| (host(&account.base_url), &account.base_url))
        .collect();
    join_all(hosts.into_iter().map(|(host, url)| clock_of(host, url))).await
}

fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

async fn clock_of(host: String, url: &Url) -> Finding {
    let check = format!("clock of {host}");
    let clock = clock();
    let before = clock();
    let told = date_of(url, LIMIT).await;
    let after = clock();
    let date = match told {
        Ok(Some(date)) => date,
        Ok(None) => {
            return Finding::warn(
                check,
                "the service tells no time",
                "see that this machine's clock is right",
            );
        }
        Err(error) => return Finding::fail(check, error.to_string(), "is the network up, and the service?"),
    };
    let skew = skew(date, before, after);
    let remedy = "set this machine's clock, for example with `timedatectl set-ntp true`";
    let found = match skew {
        Skew::Ahead(by) => format!("this machine is {} ahead of it", text::duration(by.as_secs())),
        Skew::Behind(by) => format!("this machine is {} behind it", text::duration(by.as_secs())),
    };
    match skew.length() {
        by if by <= CLOSE => Finding::ok(check, "agrees with this machine's"),
        by if by < FAR => Finding::warn(check, found, remedy),
        _ => Finding::fail(check, found, remedy),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Skew {
    fn length(&self) -> Duration {
        match self {
            Skew::Ahead(by) | Skew::Behind(by) => *by,
        }
    }
}

/// How far our clock is from what was told between two moments of it.
fn skew(told: SystemTime, before: SystemTime, after: SystemTime) -> Skew {
    match (before.duration_since(told), told.duration_since(after)) {
        (Ok(ahead), _) => Skew::Ahead(ahead),
        (_, Ok(behind)) => Skew::Behind(behind),
        _ => Skew::Ahead(Duration::ZERO),
    }
}

/// A line for each account.
pub(super) async fn logins(config: &Config) -> Vec<Finding> {
    let logins = config.accounts.iter().map(|account| async move {
        let name = format!("login of {}", account.name);
        match check(config, account).await {
            Ok((info, _)) => Finding::ok(name, line(account, &info)),
            Err(failure) => {
                let told = failure.to_string();
                // It says by itself what to do, after the last semicolon.
                match told.rsplit_once("; ") {
                    Some((found, remedy)) => Finding::fail(name, found, remedy),
                    None => {
                        let remedy = format!("run `lockerfs account check {}` for more", account.name);
                        Finding::fail(name, told, remedy)
                    }
                }
            }
        }
    });
    join_all(logins).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_between_two_looks_at_the_clock_is_no_difference() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(skew(at(11), at(10), at(12)), Skew::Ahead(Duration::ZERO));
        assert_eq!(skew(at(5), at(10), at(12)), Skew::Ahead(Duration::from_secs(5)));
        assert_eq!(skew(at(20), at(10), at(12)), Skew::Behind(Duration::from_secs(8)));
    }
}
