//! `lockerfs artwork`: the image of an audio or video file.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::session::{self, Session};
use super::{Global, Outcome};

const EXAMPLES: &str = "\
The image is a file of the same account.

Example:
  lockerfs artwork ~/cloud/media/song.mp3 ~/cloud/media/cover.jpg

A PATH leads into a mount, or names an account of the config and a path in it (media:song.mp3).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ArtworkArgs {
    /// An audio or video file in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// An image in the same account
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
}

pub(super) fn run(global: &Global, args: &ArtworkArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        let image = session.find(&args.image).await?;
        if !image.is_beside(&target) {
            return Err(Failure::new(format!(
                "{} is in account {}: the image must be in {}, as the file is",
                image.shown, image.account, target.account
            )));
        }
        let set = target.services().set_artwork(target.file()?, image.file()?).await;
        set.map_err(|error| target.failed(&error))?;
        session.changed(&target);
        putln!("{} is the artwork of {}.", image.shown, target.shown);
        Ok(())
    })
}
