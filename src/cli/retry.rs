//! `lockerfs retry`: try failed uploads again now, those of an account or all. Short for `lockerfs queue retry`.

use clap::Args;

use super::{Global, Outcome, queue};

#[derive(Args)]
pub(super) struct RetryArgs {
    /// Of this account alone
    #[arg(value_name = "ACCOUNT")]
    account: Option<String>,
}

pub(super) fn run(global: &Global, args: &RetryArgs) -> Outcome {
    queue::retry(global, args.account.clone(), Vec::new())
}
