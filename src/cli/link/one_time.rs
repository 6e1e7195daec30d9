//! One-time links: made, counted, and given other terms.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::print::Form;
use super::{LONGEST, TermArgs, typed};
use crate::cli::failure::Failure;
use crate::cli::session::{self, Session};
use crate::cli::{Global, Outcome, json, text};
use crate::config::Service;
use crate::provider::services::{OneTimeCounts, OneTimeLink, OneTimeTerms};

/// How long a token is at least; what is shorter is a slip.
const SHORTEST_TOKEN: usize = 8;

#[derive(Serialize)]
struct Made {
    path: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    view_url: Option<String>,
    token: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    made_today: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_a_day: Option<u64>,
}

impl From<OneTimeCounts> for Counts {
    fn from(counts: OneTimeCounts) -> Self {
        Counts {
            made_today: counts.made,
            most_a_day: counts.most,
        }
    }
}

/// Addresses, masks and ranges, by commas.
pub(super) fn addresses(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.iter().find(|part| !is_address(part)) {
        None => Ok(parts.join(",")),
        Some(wrong) => Err(format!(
            "{wrong:?} is no address: write for example 192.0.2.7, 192.0.2.0/24 or 192.0.2.1-192.0.2.9"
        )),
    }
}

fn is_address(part: &str) -> bool {
    let is_one = |text: &str| text.trim().parse::<IpAddr>().ok();
    if let Some((from, to)) = part.split_once('-') {
        return matches!((is_one(from), is_one(to)), (Some(from), Some(to)) if from <= to);
    }
    if let Some((address, bits)) = part.split_once('/') {
        let most = match is_one(address) {
            Some(IpAddr::V4(_)) => 32,
            Some(IpAddr::V6(_)) => 128,
            None => return false,
        };
        return bits.parse::<u8>().is_ok_and(|bits| bits <= most);
    }
    is_one(part).is_some()
}

fn terms(args: &TermArgs) -> OneTimeTerms {
    OneTimeTerms {
        duration: args.duration,
        notify: args.notify,
        bind_ip: args.bind_ip.clone(),
        keep: args.keep,
        success_url: args.call_on_success.clone(),
        error_url: args.call_on_failure.clone(),
    }
}

/// What was agreed on, for a person.
fn told(terms: &OneTimeTerms) -> String {
    let life = terms.duration.unwrap_or(LONGEST);
    let times = if terms.keep { "many times" } else { "once" };
    let by = match &terms.bind_ip {
        Some(addresses) => format!(", from {addresses} alone"),
        None => String::new(),
    };
    let mail = if terms.notify { ", with a mail to you" } else { "" };
    format!("good {times}{by}, for {}{mail}", text::duration(life.as_secs()))
}

fn counted(account: &str, counts: OneTimeCounts) -> String {
    let made = counts
        .made
        .map_or_else(|| "not told how many".to_owned(), text::grouped);
    match counts.most {
        Some(most) => format!(
            "{made} of {} one-time links were made today with account {account}.",
            text::grouped(most)
        ),
        None => format!("{made} one-time links were made today with account {account}."),
    }
}

fn no_list(form: Form) -> Outcome {
    match form {
        Form::Plain | Form::Json => Ok(()),
        Form::Markdown | Form::Html => Err(Failure::new(
            "a one-time link is for one person: leave out --markdown and --html",
        )),
    }
}

pub(super) fn make(
    global: &Global,
    paths: &[PathBuf],
    recursive: bool,
    args: &TermArgs,
    form: Form,
) -> Outcome {
    no_list(form)?;
    let terms = terms(args);
    session::with(global, async |session: &mut Session| {
        let (targets, mut missing) = typed::files(session, paths, recursive).await;
        let mut made = Vec::new();
        for target in &targets {
            let link = target.services().make_one_time_link(target.file()?, &terms).await;
            match link {
                Ok(link) => {
                    let OneTimeLink {
                        token,
                        download,
                        view,
                        counts,
                    } = link;
                    if matches!(form, Form::Plain) {
                        putln!("{download}");
                    }
                    made.push(Made {
                        path: target.shown.clone(),
                        url: download.into(),
                        view_url: view.map(String::from),
                        token,
                        counts: counts.into(),
                    });
                    if let (true, Some(0)) = (
                        matches!(form, Form::Plain),
                        counts
                            .most
                            .zip(counts.made)
                            .map(|(most, made)| most.saturating_sub(made)),
                    ) {
                        tell!(
                            "That was the last one-time link of account {} today.",
                            target.account
                        );
                    }
                }
                Err(error) => {
                    missing = true;
                    tell!("lockerfs: {}", target.failed(&error));
                }
            }
        }
        match form {
            Form::Json => json::print(&made)?,
            _ if made.is_empty() => {}
            _ => tell!("({})", told(&terms)),
        }
        match missing {
            false => Ok(()),
            true => Err(Failure::told()),
        }
    })
}

pub(super) fn count(global: &Global, account: &str, form: Form) -> Outcome {
    no_list(form)?;
    session::with(global, async |session: &mut Session| {
        let provider = session.account(account).await?;
        let counts = provider.services().one_time_counts().await;
        let counts = counts.map_err(|error| Failure::of_account(account, &error))?;
        match form {
            Form::Json => json::print(&Counts::from(counts)),
            _ => {
                putln!("{}", counted(account, counts));
                Ok(())
            }
        }
    })
}

pub(super) fn change(global: &Global, link: &str, args: &TermArgs, form: Form) -> Outcome {
    no_list(form)?;
    let Some(token) = token(link) else {
        return Err(Failure::new(format!(
            "{} is no one-time link: give its token, or the whole link",
            text::printable(link)
        )));
    };
    if !args.are_named() {
        return Err(Failure::new(
            "nothing is to be changed: name terms, for example --duration 30m (those that are not named become the \
             usual ones)",
        ));
    }
    let terms = terms(args);
    session::with(global, async |session: &mut Session| {
        let account = account(session, args.account.as_deref())?;
        let provider = session.account(&account).await?;
        let changed = provider.services().change_one_time_link(&token, &terms).await;
        let counts = changed.map_err(|error| Failure::of_account(&account, &error))?;
        match form {
            Form::Json => json::print(&Counts::from(counts)),
            _ => {
                putln!("The link is {}.", told(&terms));
                Ok(())
            }
        }
    })
}

/// The account that the link is of: the one that is named, or else the only one that has such links.
fn account(session: &mut Session, named: Option<&str>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let accounts = session.config()?.accounts.iter();
    let able: Vec<&str> = accounts
        .filter(|account| matches!(account.service, Service::MediaFire(_)))
        .map(|account| account.name.as_str())
        .collect();
    match able[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(Failure::new(
            "no account of the config has one-time links: they are MediaFire's",
        )),
        _ => Err(Failure::new(format!(
            "the link may be of several accounts: say --account, with one of {}",
            able.join(", ")
        ))),
    }
}

/// The token in a link, or that was given by itself.
fn token(link: &str) -> Option<String> {
    let link = link.trim();
    let last = link.rsplit(['/', '?']).next().unwrap_or(link);
    let is_token = last.len() >= SHORTEST_TOKEN && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_token.then(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_either_link_and_by_itself() {
        let token_of = |text: &str| token(text);
        let bare = "yl1rfx9hdqac8n49oi864ilcyxf1423";
        for link in [
            bare.to_owned(),
            format!("http://www.mediafire.com/?{bare}"),
            format!("https://www.mediafire.com/view/{bare}"),
        ] {
            assert_eq!(token_of(&link).as_deref(), Some(bare), "{link}");
        }
        for wrong in ["", "short", "http://www.mediafire.com/", "a b c d e f g h"] {
            assert_eq!(token_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_are_single_ones_masks_and_ranges() {
        let good = "68.154.11.5/8, 145.230.230.115-145.230.240.33, 78.192.10.10, 2001:db8::/32";
        assert_eq!(addresses(good).unwrap(), good.replace(' ', ""));
        for wrong in [
            "",
            "here",
            "1.2.3.4/33",
            "1.2.3.9-1.2.3.1",
            "1.2.3.4,",
            "1.2.3.4-x",
        ] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }
}
