//! `lockerfs create`: an empty text file, made by the service itself.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::session::{self, Session};
use super::{Global, Outcome, text};

const EXAMPLES: &str = "\
The service makes the file in one call, without an upload, so that it has a link at once. It makes text files
alone: the name ends with .txt.

Examples:
  lockerfs create ~/cloud/media/notes.txt
  lockerfs create media:album/notes.txt

A PATH leads into a mount, or names an account of the config and a path in it (media:notes.txt).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CreateArgs {
    /// A new file in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) fn run(global: &Global, args: &CreateArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let shown = text::printable(&args.path.to_string_lossy());
        let is_text = args
            .path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("txt"));
        if !is_text {
            return Err(Failure::new(format!(
                "{shown}: the service makes text files alone: end the name with .txt"
            )));
        }
        let (folder, name) = session.find_room(&args.path).await?;
        let made = folder.services().create_text_file(folder.folder()?, &name).await;
        let made = made.map_err(|error| Failure::of_item(&folder.account, &shown, &error))?;
        session.changed(&folder);
        match made.name == name {
            true => putln!("Made {shown}."),
            false => putln!(
                "Made {} in place of {shown}: the service had a file of that name.",
                text::printable(&made.name)
            ),
        }
        Ok(())
    })
}
