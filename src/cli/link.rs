//! `lockerfs link`: the addresses under which people find files on their services.
//!
//! Pages are asked of the mount by extended attributes, which takes no config and works for any mount that this user
//! can read, whatever its state directory. Other kinds of links, and files that are named by their account, take a
//! login of the command's own.

mod one_time;
mod page;
mod print;
mod typed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use url::Url;

use self::print::Form;
use super::failure::Failure;
use super::{Global, Outcome, session};
use crate::config::parse_duration;

const EXAMPLES: &str = "\
A link leads to the file's page on its service, for people; whoever has it may get the file.

Examples:
  lockerfs link ~/cloud/media/trip.zip              one link
  lockerfs link ~/cloud/media/*.jpg                 one a line
  lockerfs link -r --markdown ~/cloud/media/album   a list to paste, of all files below
  lockerfs link --json ~/cloud/media/*.jpg          path, url and short_url, for scripts
  lockerfs link media:trip.zip                      without a mount
  lockerfs link --type download media:trip.zip      the bytes themselves, for some hours at most

One-time links (MediaFire) serve once, and count: the service allows so many a day.
  lockerfs link --one-time --duration 2h media:trip.zip
  lockerfs link --one-time --bind-ip 192.0.2.0/24 --keep media:trip.zip
  lockerfs link --change TOKEN --duration 30m       other terms for a link that was made
  lockerfs link --made-today media                  how many were made today

A PATH leads into a mount, or names an account of the config and a path in it (media:trip.zip).
Exit status: 0 when each file has its link; 1 when one has none, which is told, and the others are printed.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LinkArgs {
    /// Files in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH", required_unless_present_any = ["change", "made_today"])]
    paths: Vec<PathBuf>,
    /// Of a directory, all files below it
    #[arg(short, long)]
    recursive: bool,
    /// What the link is for, in place of the file's page
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "one_time")]
    kind: Option<typed::Kind>,
    /// Make a link that serves for one download
    #[arg(long, conflicts_with_all = ["change", "made_today"])]
    one_time: bool,
    /// Give a one-time link that was made other terms; those that are not named become the usual ones
    #[arg(long, value_name = "TOKEN|URL", conflicts_with_all = ["paths", "kind", "recursive", "made_today"])]
    change: Option<String>,
    /// Tell how many one-time links of an account were made today
    #[arg(long, value_name = "ACCOUNT", conflicts_with_all = ["paths", "kind", "recursive"])]
    made_today: Option<String>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    terms: TermArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Terms of a one-time link")]
struct TermArgs {
    /// How long it is good for, in whole minutes, 30 days at most [default: 30 days]
    #[arg(long, value_name = "DURATION", value_parser = minutes)]
    duration: Option<Duration>,
    /// Serve these addresses alone: addresses, masks (192.0.2.0/24) or ranges (A-B), by commas
    #[arg(long, value_name = "MASK", value_parser = one_time::addresses)]
    bind_ip: Option<String>,
    /// Serve more than once, those addresses alone
    #[arg(long, requires = "bind_ip")]
    keep: bool,
    /// Send the account's owner a mail at the download
    #[arg(long)]
    notify: bool,
    /// An address that the service calls after a download
    #[arg(long, value_name = "URL", value_parser = callback)]
    call_on_success: Option<Url>,
    /// An address that the service calls after a download that failed
    #[arg(long, value_name = "URL", value_parser = callback)]
    call_on_failure: Option<Url>,
    /// The account of a one-time link, where the config has several that have such links
    #[arg(long, value_name = "ACCOUNT", requires = "change")]
    account: Option<String>,
}

#[derive(Args)]
#[group(multiple = false)]
struct FormArgs {
    /// Print JSON: a list of path, url, and short_url where there is one
    #[arg(long)]
    json: bool,
    /// Print a Markdown list of names that lead to their files
    #[arg(long)]
    markdown: bool,
    /// Print an HTML list of names that lead to their files
    #[arg(long)]
    html: bool,
}

/// A file, and where a person is sent to for it.
#[derive(serde::Serialize)]
struct Link {
    path: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<String>,
}

impl Link {
    fn name(&self) -> &str {
        match (self.path.rsplit_once('/'), self.path.split_once(':')) {
            (Some((_, name)), _) => name,
            (None, Some((_, name))) if session::is_in_account(Path::new(&self.path)) => name,
            _ => &self.path,
        }
    }
}

/// The longest life of a one-time link.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

fn minutes(text: &str) -> Result<Duration, String> {
    let duration = match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => Duration::from_secs(days.saturating_mul(24 * 3600)),
        _ => parse_duration(text)?,
    };
    match duration {
        duration if duration.is_zero() => Err("a link is good for a minute at least".to_owned()),
        duration if duration > LONGEST => Err("a link is good for 30 days at most".to_owned()),
        duration => Ok(duration),
    }
}

fn callback(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("is no address that begins with https:// or http://".to_owned()),
    }
}

impl TermArgs {
    /// Whether any is named.
    fn are_named(&self) -> bool {
        self.duration.is_some()
            || self.bind_ip.is_some()
            || self.notify
            || self.call_on_success.is_some()
            || self.call_on_failure.is_some()
    }
}

pub(super) fn run(global: &Global, args: LinkArgs) -> Outcome {
    let form = match args.form {
        FormArgs { json: true, .. } => Form::Json,
        FormArgs { markdown: true, .. } => Form::Markdown,
        FormArgs { html: true, .. } => Form::Html,
        _ => Form::Plain,
    };
    if let Some(account) = &args.made_today {
        return one_time::count(global, account, form);
    }
    if let Some(link) = &args.change {
        return one_time::change(global, link, &args.terms, form);
    }
    if args.terms.are_named() && !args.one_time {
        return Err(Failure::new(
            "a duration, addresses and mails are terms of one-time links: say --one-time, or --change and the link",
        ));
    }
    match (args.one_time, args.kind) {
        (true, _) => one_time::make(global, &args.paths, args.recursive, &args.terms, form),
        (false, Some(kind)) => typed::run(global, &args.paths, args.recursive, kind, form),
        (false, None) => page::run(global, &args.paths, args.recursive, form),
    }
}

/// Prints what was found; a failure where something is missing in it, of which a person was told.
fn end(form: Form, links: &[Link], missing: bool) -> Outcome {
    print::print(form, links)?;
    match missing {
        false => Ok(()),
        true => Err(Failure::told()),
    }
}
