//! `lockerfs versions`: the contents that a file has had.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::session::{self, Session};
use super::{Global, Outcome, json, text};
use crate::provider::services::FileVersion;

const EXAMPLES: &str = "\
A service may keep what a file held before it was written anew. `lockerfs restore` brings a revision back.

Examples:
  lockerfs versions ~/cloud/media/letter.txt
  lockerfs versions --json media:letter.txt

A PATH leads into a mount, or names an account of the config and a path in it (media:letter.txt).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VersionsArgs {
    /// A file in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print JSON: a list of revision, date, and head for the present one
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    revision: String,
    date: Option<String>,
    head: bool,
}

pub(super) fn run(global: &Global, args: &VersionsArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        let versions = target.services().versions(target.file()?).await;
        let versions = versions.map_err(|error| target.failed(&error))?;
        match args.json {
            true => print_json(versions),
            false => {
                put!("{}", table(&versions));
                Ok(())
            }
        }
    })
}

fn table(versions: &[FileVersion]) -> String {
    if versions.is_empty() {
        return "The service keeps no versions of this file.\n".to_owned();
    }
    let mut rows = vec![["REVISION", "DATE", ""].map(str::to_owned).to_vec()];
    rows.extend(versions.iter().map(|version| {
        let date = version.date.map_or_else(|| "not told".to_owned(), text::moment);
        let head = if version.is_head { "present" } else { "" };
        vec![text::printable(&version.revision), date, head.to_owned()]
    }));
    text::table(&rows)
}

fn print_json(versions: Vec<FileVersion>) -> Outcome {
    let shown = versions.into_iter().map(|version| Shown {
        date: version.date.and_then(json::moment),
        revision: version.revision,
        head: version.is_head,
    });
    json::print(&shown.collect::<Vec<_>>())
}
