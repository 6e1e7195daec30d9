//! `lockerfs purge`: delete for good, past the trash.

use std::path::PathBuf;

use clap::Args;

use super::confirm::confirm;
use super::failure::Failure;
use super::session::{self, Session, Target};
use super::{Global, Outcome, text};
use crate::provider::{Capability, DeleteMode, ItemId};

/// Items that are shown before a person is asked about them.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
`rm` in a mount puts files into the trash of their service, where they can be had back from; this does not. A
directory goes with all that is in it.

Examples:
  lockerfs purge ~/cloud/media/secret.txt
  lockerfs purge --yes media:old media:old.zip

A PATH leads into a mount, or names an account of the config and a path in it (media:old).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PurgeArgs {
    /// Files or directories in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(global: &Global, args: &PurgeArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let targets = session.find_all(&args.paths).await?;
        for target in &targets {
            check(target).await?;
        }
        let shown = targets.iter().take(SHOWN).map(|target| target.shown.clone());
        let mut shown: Vec<String> = shown.collect();
        if targets.len() > SHOWN {
            shown.push(format!("... and {} more", targets.len() - SHOWN));
        }
        let count = text::count(targets.len() as u64, "item", "items");
        let question = format!("Delete {count} for good?");
        if !confirm(args.yes, "deleting for good", &shown, &question)? {
            putln!("Nothing was deleted.");
            return Ok(());
        }
        let mut left: Vec<&Target> = targets.iter().collect();
        while let Some(first) = left.first().copied() {
            let (some, others) = left.into_iter().partition(|target| target.is_beside(first));
            left = others;
            delete(session, first, some).await?;
        }
        putln!("Deleted {count} for good.");
        Ok(())
    })
}

/// Deletes items of the account that `first` is in.
async fn delete(session: &mut Session, first: &Target, targets: Vec<&Target>) -> Outcome {
    let items: Vec<ItemId> = targets.iter().map(|target| target.item.clone()).collect();
    for target in targets {
        session.changed(target);
    }
    let deleted = first.provider.delete(&items, DeleteMode::Purge).await;
    deleted.map_err(|error| Failure::of_provider(&first.account, &error))?;
    let has_folders = items.iter().any(|item| matches!(item, ItemId::Folder(_)));
    session
        .wait_for(&first.account, &first.provider, has_folders)
        .await
}

/// Refuses what cannot be deleted for good, before anything is.
async fn check(target: &Target) -> Outcome {
    target.below_top()?;
    let refused = |why: &str| Err(Failure::new(format!("{} {why}", target.shown)));
    if target.publishes {
        return refused(
            "cannot be deleted: its service deletes nothing (`rm` in a mount takes it off the list)",
        );
    }
    if !target.provider.capabilities().has(Capability::Purge) {
        return refused("cannot be deleted for good: its service has a trash alone, into which `rm` puts it");
    }
    if Session::waits_below(target).await? {
        return refused(
            "holds files that wait for their upload: say this again when `lockerfs drain` has ended",
        );
    }
    Ok(())
}
