//! `lockerfs retry`: try failed uploads again now.

use clap::Args;

use super::{Global, Outcome, block_on, text};
use crate::control::Client;

#[derive(Args)]
pub(super) struct RetryArgs {
    /// Of this account alone
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
}

pub(super) fn run(global: &Global, args: &RetryArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let paths = global.paths()?;
    block_on(async {
        let client = Client::connect(&paths.state_dir).await?;
        match client.retry(args.account.as_deref()).await? {
            0 => println!("No upload has failed."),
            files => println!("Trying {} again.", text::count(files, "file", "files")),
        }
        Ok(())
    })
}
