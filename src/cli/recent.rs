//! `lockerfs recent`: the files of an account that changed last.

use std::collections::HashMap;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::session::{self, Session};
use super::{Global, Outcome, json, text};
use crate::provider::{FileEntry, FolderId, NameRules, Provider};
use crate::vfs::names;

const EXAMPLES: &str = "\
Examples:
  lockerfs recent media           the last ten
  lockerfs recent media -n 100
  lockerfs recent media --json

The paths can be handed to other commands: lockerfs link media:album/a.jpg";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RecentArgs {
    /// The account's name in the config
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// So many files at most
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    number: u16,
    /// Print JSON: a list of path, id, size, date and hash
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    /// In the form that commands take.
    path: String,
    id: String,
    size: u64,
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

pub(super) fn run(global: &Global, args: &RecentArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let provider = session.account(&args.account).await?;
        let failed = |error| Failure::of_account(&args.account, &error);
        let files = provider.services().recent(usize::from(args.number)).await;
        let files = files.map_err(failed)?;
        let paths = paths(&*provider, &args.account, &files).await.map_err(failed)?;
        if args.json {
            let shown = files.into_iter().zip(paths).map(|(file, path)| Shown {
                path,
                date: file.mtime.and_then(json::moment),
                size: file.size,
                hash: file.hash.map(|hash| hash.to_hex()),
                id: file.id.to_string(),
            });
            return json::print(&shown.collect::<Vec<_>>());
        }
        if files.is_empty() {
            putln!("Account {} has no files.", args.account);
            return Ok(());
        }
        let mut rows = vec![["DATE", "SIZE", "FILE"].map(str::to_owned).to_vec()];
        rows.extend(files.iter().zip(&paths).map(|(file, path)| {
            let date = file.mtime.map_or_else(|| "not told".to_owned(), text::moment);
            vec![date, text::size(file.size), text::printable(path)]
        }));
        put!("{}", text::table(&rows));
        Ok(())
    })
}

/// Where files are, each as `account:path`; each folder is asked after once.
async fn paths(
    provider: &dyn Provider,
    account: &str,
    files: &[FileEntry],
) -> crate::provider::Result<Vec<String>> {
    let rules = provider.name_rules();
    let mut folders: HashMap<FolderId, String> = HashMap::new();
    let mut paths = Vec::with_capacity(files.len());
    for file in files {
        let folder = file.parent.clone().unwrap_or_else(|| provider.root());
        let above = match folders.get(&folder) {
            Some(above) => above.clone(),
            None => {
                let names = provider.services().names_above(&folder).await?;
                let above: String = names.iter().map(|name| local(name, &rules) + "/").collect();
                folders.insert(folder, above.clone());
                above
            }
        };
        paths.push(format!("{account}:{above}{}", local(&file.name, &rules)));
    }
    Ok(paths)
}

fn local(name: &str, rules: &NameRules) -> String {
    names::to_local(name, rules)
}
