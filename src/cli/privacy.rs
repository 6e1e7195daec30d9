//! `lockerfs privacy`: who may see a file or a folder on its service.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::session::{self, Session};
use super::{Global, Outcome};
use crate::provider::ItemId;
use crate::provider::services::Privacy;

const EXAMPLES: &str = "\
Whoever has the link of a public file may get it; that of a private one serves its owner alone.

Examples:
  lockerfs privacy ~/cloud/media/letter.txt private
  lockerfs privacy -r media:album public      a directory, with all that is in it

MediaFire knows public and private, of files and directories. YetiShare hosts know unlisted as well, and of
directories alone; -r is not for them.

A PATH leads into a mount, or names an account of the config and a path in it (media:album).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PrivacyArgs {
    /// A file or directory in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Who may see it
    #[arg(value_name = "PRIVACY")]
    privacy: Choice,
    /// Of a directory, all that is in it as well
    #[arg(short, long)]
    recursive: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// Everybody
    Public,
    /// Who has the link
    Unlisted,
    /// The owner
    Private,
}

pub(super) fn name(privacy: Privacy) -> &'static str {
    match privacy {
        Privacy::Public => "public",
        Privacy::Unlisted => "unlisted",
        Privacy::Private => "private",
    }
}

pub(super) fn run(global: &Global, args: &PrivacyArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        target.below_top()?;
        if args.recursive && matches!(target.item, ItemId::File(_)) {
            return Err(Failure::new(format!(
                "{} is a file: -r is for directories",
                target.shown
            )));
        }
        let privacy = match args.privacy {
            Choice::Public => Privacy::Public,
            Choice::Unlisted => Privacy::Unlisted,
            Choice::Private => Privacy::Private,
        };
        let set = target
            .services()
            .set_privacy(&target.item, privacy, args.recursive)
            .await;
        set.map_err(|error| target.failed(&error))?;
        session.changed(&target);
        let below = if args.recursive {
            ", with all that is in it"
        } else {
            ""
        };
        putln!("{} is {}{below}.", target.shown, name(privacy));
        Ok(())
    })
}
