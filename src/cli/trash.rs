//! `lockerfs trash`: what was deleted and can be had back.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::confirm::confirm;
use super::failure::Failure;
use super::session::{self, Session};
use super::{Global, Outcome, json, text};
use crate::provider::services::TrashedItem;
use crate::provider::{FolderId, ItemId, Provider};
use crate::vfs::names;

const EXAMPLES: &str = "\
`rm` in a mount puts files into the trash of their service, unless the config says delete = \"purge\".

Examples:
  lockerfs trash list media
  lockerfs trash restore media letter.txt              into the account's top folder
  lockerfs trash restore media letter.txt --to album   into the folder album of the account
  lockerfs trash empty media                           asks first; --yes where nobody can be asked";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrashArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List what is in the trash of an account
    List(ListArgs),
    /// Take files and folders out of the trash
    Restore(RestoreArgs),
    /// Delete for good all that is in the trash of an account
    Empty(EmptyArgs),
}

#[derive(Args)]
struct ListArgs {
    /// The account's name in the config
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Print JSON: a list of id, kind, name, size and deleted
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RestoreArgs {
    /// The account's name in the config
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Ids or names from the list
    #[arg(value_name = "ITEM", required = true)]
    items: Vec<String>,
    /// A folder of the account to put them into: the service does not tell where they were [default: the top folder]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

#[derive(Args)]
struct EmptyArgs {
    /// The account's name in the config
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(global: &Global, args: TrashArgs) -> Outcome {
    session::with(global, async |session: &mut Session| match args.command {
        Command::List(args) => list(session, &args).await,
        Command::Restore(args) => restore(session, &args).await,
        Command::Empty(args) => empty(session, &args).await,
    })
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    kind: &'static str,
    name: &'a str,
    size: Option<u64>,
    deleted: Option<&'a str>,
}

fn shown(item: &TrashedItem) -> Shown<'_> {
    Shown {
        id: id_of(item),
        kind: match item.item {
            ItemId::File(_) => "file",
            ItemId::Folder(_) => "folder",
        },
        name: &item.name,
        size: item.size,
        deleted: item.deleted.as_deref(),
    }
}

fn id_of(item: &TrashedItem) -> &str {
    match &item.item {
        ItemId::File(file) => file.as_str(),
        ItemId::Folder(folder) => folder.as_str(),
    }
}

async fn list(session: &mut Session, args: &ListArgs) -> Outcome {
    let provider = session.account(&args.account).await?;
    let items = in_trash(&*provider, &args.account).await?;
    if args.json {
        return json::print(&items.iter().map(shown).collect::<Vec<_>>());
    }
    if items.is_empty() {
        putln!("The trash of {} is empty.", args.account);
        return Ok(());
    }
    let mut rows = vec![["ID", "NAME", "SIZE", "DELETED"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(|item| {
        let is_folder = matches!(item.item, ItemId::Folder(_));
        let slash = if is_folder { "/" } else { "" };
        vec![
            text::printable(id_of(item)),
            text::printable(&item.name) + slash,
            item.size.map(text::size).unwrap_or_default(),
            item.deleted.as_deref().map(text::printable).unwrap_or_default(),
        ]
    }));
    put!("{}", text::table(&rows));
    Ok(())
}

async fn in_trash(provider: &dyn Provider, account: &str) -> Result<Vec<TrashedItem>, Failure> {
    let items = provider.services().trash().await;
    items.map_err(|error| Failure::of_account(account, &error))
}

async fn restore(session: &mut Session, args: &RestoreArgs) -> Outcome {
    let provider = session.account(&args.account).await?;
    let items = in_trash(&*provider, &args.account).await?;
    let mut chosen: Vec<&TrashedItem> = Vec::new();
    for wanted in &args.items {
        let item = choose(&items, wanted, &args.account)?;
        if !chosen.iter().any(|known| known.item == item.item) {
            chosen.push(item);
        }
    }
    let (folder, into) = match &args.to {
        None => (provider.root(), format!("{}:/", args.account)),
        Some(to) => destination(session, &args.account, to).await?,
    };
    let ids: Vec<ItemId> = chosen.iter().map(|item| item.item.clone()).collect();
    let restored = provider.services().restore_from_trash(&ids, &folder).await;
    let restored = restored.map_err(|error| Failure::of_account(&args.account, &error))?;
    session.changed_in(&args.account);
    session
        .wait_for(&args.account, &provider, restored.goes_on)
        .await?;
    let items = text::count(ids.len() as u64, "item", "items");
    putln!("Restored {items} into {into}.");
    let rules = provider.name_rules();
    for name in &restored.renamed {
        let name = text::printable(&names::to_local(name, &rules));
        putln!("One has the name {name} now, since its own was taken.");
    }
    Ok(())
}

/// The item of an id, or of a name that one alone has.
fn choose<'a>(items: &'a [TrashedItem], wanted: &str, account: &str) -> Result<&'a TrashedItem, Failure> {
    if let Some(item) = items.iter().find(|item| id_of(item) == wanted) {
        return Ok(item);
    }
    let named: Vec<&TrashedItem> = items.iter().filter(|item| item.name == wanted).collect();
    let shown = text::printable(wanted);
    match named[..] {
        [item] => Ok(item),
        [] => Err(Failure::new(format!(
            "{shown} is not in the trash of {account}: `lockerfs trash list {account}` shows what is"
        ))),
        _ => {
            let ids: Vec<&str> = named.iter().map(|item| id_of(item)).collect();
            Err(Failure::new(format!(
                "{shown} is the name of {} in the trash of {account}: say which by id, {}",
                text::count(named.len() as u64, "item", "items"),
                ids.join(" or ")
            )))
        }
    }
}

/// A folder of the account: a path in a mount, `account:path`, or a path in the account alone.
async fn destination(session: &mut Session, account: &str, to: &Path) -> Result<(FolderId, String), Failure> {
    let is_whole = to.is_absolute() || to.symlink_metadata().is_ok() || session::is_in_account(to);
    let named = match is_whole {
        true => to.to_owned(),
        false => PathBuf::from(format!("{account}:{}", to.to_string_lossy())),
    };
    let target = session.find(&named).await?;
    if !session.is_in(&target, account) {
        return Err(Failure::new(format!(
            "{} is in account {}: name a folder of {account}",
            target.shown, target.account
        )));
    }
    Ok((target.folder()?.clone(), target.shown))
}

async fn empty(session: &mut Session, args: &EmptyArgs) -> Outcome {
    let provider = session.account(&args.account).await?;
    let items = in_trash(&*provider, &args.account).await?;
    if items.is_empty() {
        putln!("The trash of {} is empty.", args.account);
        return Ok(());
    }
    let count = text::count(items.len() as u64, "item", "items");
    let question = format!("Delete {count} of the trash of {} for good?", args.account);
    if !confirm(args.yes, "emptying the trash", &[], &question)? {
        putln!("Nothing was deleted.");
        return Ok(());
    }
    let emptied = provider.services().empty_trash().await;
    let goes_on = emptied.map_err(|error| Failure::of_account(&args.account, &error))?;
    session.changed_in(&args.account);
    session.wait_for(&args.account, &provider, goes_on).await?;
    putln!("Deleted {count} for good.");
    Ok(())
}
