//! `lockerfs describe`: the text that a service shows with a file or a folder.

use std::path::PathBuf;

use clap::Args;

use super::session::{self, Session};
use super::{Global, Outcome};

const EXAMPLES: &str = "\
`lockerfs info` tells the text.

Examples:
  lockerfs describe ~/cloud/media/trip.zip \"Pictures of our trip, 2019\"
  lockerfs describe media:trip.zip \"\"          takes it away

A PATH leads into a mount, or names an account of the config and a path in it (media:trip.zip).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DescribeArgs {
    /// A file or directory in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The text; an empty one takes away what is there
    #[arg(value_name = "TEXT")]
    text: String,
}

pub(super) fn run(global: &Global, args: &DescribeArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        target.below_top()?;
        let set = target.services().set_description(&target.item, &args.text).await;
        set.map_err(|error| target.failed(&error))?;
        session.changed(&target);
        match args.text.is_empty() {
            true => putln!("{} has no description.", target.shown),
            false => putln!("{} has the description.", target.shown),
        }
        Ok(())
    })
}
