//! From an account of the config to a provider that can be called.

use std::sync::Arc;

use super::account::{AccountConfig, MediaFireAccount, Service};
use super::error::ConfigError;
use super::file::Config;
use super::section::Result;
use crate::http::{ApiClient, ApiOptions};
use crate::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use crate::provider::{Provider, wrap};

impl Config {
    /// The provider of an account, in its wrappers. Fetches the secrets; makes no call to the service.
    pub async fn connect(&self, account: &AccountConfig) -> Result<Arc<dyn Provider>> {
        let unusable =
            |why: String| ConfigError::new(&self.path, why).at_key(format!("accounts.{}", account.name));
        let client = ApiClient::new(ApiOptions::default()).map_err(|e| unusable(e.to_string()))?;
        let provider = match &account.service {
            Service::MediaFire(service) => {
                let settings = mediafire_settings(service, &unusable).await?;
                MediaFire::new(settings, client).map_err(|e| unusable(e.to_string()))?
            }
        };
        let options = wrap::Options {
            calls_per_second: account.options.calls_per_second,
            burst: account.options.burst,
            operation_deadline: account.options.deadline,
            ..wrap::Options::default()
        };
        Ok(wrap::standard(Arc::new(provider), &account.name, &options))
    }
}

async fn mediafire_settings(
    account: &MediaFireAccount,
    unusable: &impl Fn(String) -> ConfigError,
) -> Result<Settings> {
    let credentials = match (account.session_token.fetch().await?, &account.email) {
        (Some(token), _) => Credentials::SessionToken(token),
        (None, Some(email)) => Credentials::Password {
            email: email.clone(),
            password: account.password.require().await?,
        },
        (None, None) => return Err(unusable("has neither email nor session_token".to_owned())),
    };
    Ok(Settings {
        base_url: account.base_url.clone(),
        credentials,
        application_id: account.app_id.clone(),
        api_key: account.api_key.fetch().await?,
        token_version: if account.token_version == 1 {
            TokenVersion::V1
        } else {
            TokenVersion::V2
        },
    })
}
