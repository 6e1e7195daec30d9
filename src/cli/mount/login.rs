//! A mounted account whose secrets were stored anew, as `lockerfs login` does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::assemble::Account;
use crate::config::{Config, SecretPlace};
use crate::state::Database;
use crate::upload::Uploads;

/// When it is looked once more for what was refused with the login before, which may have been under way.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Lets a client with the secrets of today serve the account, and lets go on what waits: how much that is.
pub(super) async fn take_up(
    config: &Path,
    database: &Database,
    account: &Account,
    uploads: &Arc<Uploads>,
) -> Result<u64, String> {
    let config = Config::load(config).map_err(|e| e.to_string())?;
    let name = account.name.as_str();
    let entry = config.account(name).map_err(|e| e.to_string())?;
    if entry.identity() != account.identity {
        return Err(format!(
            "the config has another account under the name {name} than what is mounted: unmount it, then mount again"
        ));
    }
    let shadowed = entry.login().into_iter().find_map(|secret| match secret.place() {
        SecretPlace::Environment(variable) => Some(variable),
        _ => None,
    });
    if let Some(variable) = shadowed {
        return Err(format!(
            "it was started with {variable} in its environment, which goes before what is stored: start it without"
        ));
    }
    let provider = config.provider(entry, Some(database)).await;
    let before = account.exchange.put(provider.map_err(|e| e.to_string())?);
    // Tokens that it does not give back run out by themselves.
    tokio::spawn(async move { before.close().await });
    let asked = account.provider.account_info().await;
    asked.map_err(|error| format!("the mount tried the new login of {name}: {error}"))?;
    tracing::info!(account = name, "the account has a new login");
    let (name, uploads) = (name.to_owned(), Arc::clone(uploads));
    let going_on = uploads.login_works(&name).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        tokio::time::sleep(STRAGGLERS).await;
        if let Err(error) = uploads.login_works(&name).await {
            tracing::warn!(account = name, %error, "what waited for the login was not taken up");
        }
    });
    Ok(going_on as u64)
}
