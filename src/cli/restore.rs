//! `lockerfs restore`: an old content of a file becomes the present one.

use std::path::PathBuf;

use clap::Args;

use super::session::{self, Session};
use super::{Global, Outcome};

const EXAMPLES: &str = "\
What the file holds now stays a version of it, so this can be undone in the same way. For what was deleted, see
`lockerfs trash restore`.

Examples:
  lockerfs versions media:letter.txt         which revisions are there?
  lockerfs restore media:letter.txt 162654

A PATH leads into a mount, or names an account of the config and a path in it (media:letter.txt).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RestoreArgs {
    /// A file in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// A revision that `lockerfs versions` tells
    #[arg(value_name = "REVISION")]
    revision: u64,
}

pub(super) fn run(global: &Global, args: &RestoreArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        let file = target.file()?;
        let revision = args.revision.to_string();
        let restored = target.services().restore_version(file, &revision).await;
        let goes_on = restored.map_err(|error| target.failed(&error))?;
        session.changed(&target);
        session
            .wait_for(&target.account, &target.provider, goes_on)
            .await?;
        putln!("{} holds what it held in revision {revision}.", target.shown);
        Ok(())
    })
}
