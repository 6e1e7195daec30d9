//! From an account of the config to a provider that can be called.

use std::path::PathBuf;
use std::sync::Arc;

use super::account::{
    AccountConfig, MediaFireAccount, MirrorAceAccount, MirroredToAccount, Service, YetiShareAccount,
};
use super::clock::clock;
use super::error::ConfigError;
use super::file::Config;
use super::paths::runtime_dir;
use super::section::Result;
use crate::http::{ApiClient, ApiOptions};
use crate::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use crate::provider::mirrorace::{self, MirrorAce};
use crate::provider::mirrored_to::{self, MirroredTo};
use crate::provider::yetishare::{self, YetiShare};
use crate::provider::{Exchange, Provider, ProviderError, wrap};
use crate::state::Database;

/// A provider, and the place inside it where another one can take over once the secrets have changed.
pub struct Connected {
    pub provider: Arc<dyn Provider>,
    pub exchange: Arc<Exchange>,
}

impl Config {
    /// The provider of an account, in its wrappers. Fetches the secrets; makes no call to the service. `index` is
    /// where it keeps what must outlive the process.
    pub async fn connect(&self, account: &AccountConfig, index: Option<&Database>) -> Result<Connected> {
        let exchange = Arc::new(Exchange::new(self.provider(account, index).await?));
        let inner: Arc<dyn Provider> = exchange.clone();
        Ok(Connected {
            provider: wrapped(account, inner),
            exchange,
        })
    }

    /// As [`connect`](Self::connect), for a command that ends before its secrets change.
    pub async fn connect_once(
        &self,
        account: &AccountConfig,
        index: Option<&Database>,
    ) -> Result<Arc<dyn Provider>> {
        Ok(wrapped(account, self.provider(account, index).await?))
    }

    /// The provider of an account, bare.
    pub async fn provider(
        &self,
        account: &AccountConfig,
        index: Option<&Database>,
    ) -> Result<Arc<dyn Provider>> {
        self.make(account, index, Some(runtime_dir().join("tokens")))
            .await
    }

    /// As [`connect`](Self::connect), for finding out whether the secrets are good: it logs in anew, whatever login
    /// other processes hold.
    pub async fn connect_anew(&self, account: &AccountConfig) -> Result<Arc<dyn Provider>> {
        Ok(wrapped(account, self.make(account, None, None).await?))
    }

    async fn make(
        &self,
        account: &AccountConfig,
        index: Option<&Database>,
        token_dir: Option<PathBuf>,
    ) -> Result<Arc<dyn Provider>> {
        let unusable =
            |why: String| ConfigError::new(&self.path, why).at_key(format!("accounts.{}", account.name));
        let options = ApiOptions {
            max_rate: account.options.max_rate,
            ..ApiOptions::default()
        };
        let client = ApiClient::new(options).map_err(|e| unusable(e.to_string()))?;
        let refused = |error: ProviderError| unusable(error.message);
        Ok(match &account.service {
            Service::MediaFire(service) => {
                let settings = mediafire_settings(account, service, &unusable).await?;
                // What keeps nothing here ends soon.
                let account = match index {
                    Some(_) => MediaFire::new(settings, client),
                    None => MediaFire::for_a_moment(settings, client),
                };
                Arc::new(account.map_err(refused)?)
            }
            Service::YetiShare(service) => {
                let settings = yetishare::Settings {
                    kind: account.kind,
                    base_url: account.base_url.clone(),
                    credentials: yetishare_credentials(service).await?,
                    token_dir,
                    tombstones: index.cloned(),
                };
                Arc::new(YetiShare::new(settings, client).map_err(refused)?)
            }
            Service::MirrorAce(service) => {
                let settings = mirrorace_settings(account, service).await?;
                Arc::new(MirrorAce::new(settings, client).map_err(refused)?)
            }
            Service::MirroredTo(service) => {
                let settings = mirrored_to_settings(account, service, index).await?;
                Arc::new(MirroredTo::new(settings, client).map_err(refused)?)
            }
        })
    }
}

fn wrapped(account: &AccountConfig, provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
    let options = wrap::Options {
        calls_per_second: account.options.calls_per_second,
        upload_calls_per_second: account.options.upload_calls_per_second,
        burst: account.options.burst,
        operation_deadline: account.options.deadline,
        ..wrap::Options::default()
    };
    wrap::standard(provider, &account.name, &options)
}

async fn yetishare_credentials(account: &YetiShareAccount) -> Result<yetishare::Credentials> {
    Ok(match &account.username {
        Some(username) => yetishare::Credentials::Password {
            username: username.clone(),
            password: account.password.require().await?,
        },
        None => yetishare::Credentials::Keys {
            key1: account.key1.require().await?,
            key2: account.key2.require().await?,
        },
    })
}

async fn mirrorace_settings(
    config: &AccountConfig,
    account: &MirrorAceAccount,
) -> Result<mirrorace::Settings> {
    Ok(mirrorace::Settings {
        base_url: config.base_url.clone(),
        api_key: account.api_key.require().await?,
        api_token: account.api_token.require().await?,
        mirrors: account.mirrors.clone(),
        file_password: account.file_password.fetch().await?,
    })
}

async fn mirrored_to_settings(
    config: &AccountConfig,
    account: &MirroredToAccount,
    index: Option<&Database>,
) -> Result<mirrored_to::Settings> {
    Ok(mirrored_to::Settings {
        base_url: config.base_url.clone(),
        api_key: account.api_key.require().await?,
        mirrors: account.mirrors.clone(),
        password: account.password.fetch().await?,
        email: account.email.clone(),
        daily_calls: account.daily_calls,
        counter: index.cloned(),
        clock: clock(),
    })
}

async fn mediafire_settings(
    config: &AccountConfig,
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
        base_url: config.base_url.clone(),
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
