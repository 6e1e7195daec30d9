//! Whether an account's secrets are good: one login, and what the service says of the account.

use crate::cli::failure::Failure;
use crate::cli::text;
use crate::config::{AccountConfig, Config, KINDS};
use crate::provider::{AccountInfo, ErrorKind, ProviderError, Retry};

/// Logs in with what the config says and with nothing that another process holds.
pub(in crate::cli) async fn log_in(config: &Config, account: &AccountConfig) -> Result<AccountInfo, Failure> {
    let provider = config.connect_anew(account).await?;
    let info = provider.account_info().await;
    provider.close().await;
    info.map_err(|error| failure(account, &error))
}

/// For a login whose secrets were given just now.
fn failure(account: &AccountConfig, error: &ProviderError) -> Failure {
    match error.kind {
        ErrorKind::LoginRefused if error.retry == Retry::Never => Failure::new(format!(
            "account {}: {error}; nothing was changed: check what you gave",
            account.name
        )),
        _ => Failure::of_provider(&account.name, error),
    }
}

/// Whose account it is, on which service.
pub(in crate::cli) fn owner(account: &AccountConfig, info: &AccountInfo) -> String {
    let service = KINDS
        .iter()
        .find(|kind| kind.name == account.kind)
        .map_or(account.kind, |kind| kind.service);
    let owner = info.owner.as_deref().unwrap_or("an account without a name");
    format!("{} on {service}", text::printable(owner))
}

/// How much of its room is used, as far as the service tells.
pub(in crate::cli) fn used(info: &AccountInfo) -> Option<String> {
    Some(match (info.storage_used?, info.storage_limit) {
        (used, Some(limit)) => format!("{} of {}", text::size(used), text::size(limit)),
        (used, None) => text::size(used),
    })
}
