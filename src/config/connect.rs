//! From an account of the config to a provider that can be called.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::account::{
    AccountConfig, MediaFireAccount, MirrorAceAccount, MirroredToAccount, Service, YetiShareAccount,
};
use super::clock::clock;
use super::error::ConfigError;
use super::file::Config;
use super::paths::runtime_dir;
use super::secret::SecretSource;
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

/// Where the secrets of a provider come from.
#[derive(Clone, Copy)]
enum Secrets {
    /// From where the config says.
    Kept,
    /// From nowhere: the provider must not be called.
    Withheld,
}

/// What stands for a secret that nobody is ever told. As long as the keys of a YetiShare host, which tell wrong ones by
/// their length.
const NO_SECRET: &str = "----------------------------------------------------------------";

impl Secrets {
    async fn require(self, secret: &SecretSource) -> Result<SecretString> {
        match self {
            Secrets::Kept => secret.require().await,
            Secrets::Withheld => Ok(NO_SECRET.into()),
        }
    }

    async fn fetch(self, secret: &SecretSource) -> Result<Option<SecretString>> {
        match self {
            Secrets::Kept => secret.fetch().await,
            Secrets::Withheld => Ok(secret.is_given().then(|| NO_SECRET.into())),
        }
    }
}

impl Config {
    /// The provider of an account, in its wrappers. Fetches the secrets; makes no call to the service. `index` is
    /// where it keeps what must outlive the process.
    pub async fn connect(&self, account: &AccountConfig, index: Option<&Database>) -> Result<Connected> {
        let provider = self.provider(account, index).await?;
        Ok(connected(account, Exchange::new(provider)))
    }

    /// As [`connect`](Self::connect), of an account whose secrets cannot be had yet: all calls fail for this reason, as
    /// those with a wrong login do, until a provider with secrets is put into the exchange.
    pub async fn connect_barred(
        &self,
        account: &AccountConfig,
        index: Option<&Database>,
        why: &str,
    ) -> Result<Connected> {
        let provider = self.make(account, index, None, Secrets::Withheld).await?;
        Ok(connected(account, Exchange::barred(provider, why)))
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
        let tokens = runtime_dir().join("tokens");
        self.make(account, index, Some(tokens), Secrets::Kept).await
    }

    /// As [`connect`](Self::connect), for finding out whether the secrets are good: it logs in anew, whatever login
    /// other processes hold.
    pub async fn connect_anew(&self, account: &AccountConfig) -> Result<Arc<dyn Provider>> {
        Ok(wrapped(
            account,
            self.make(account, None, None, Secrets::Kept).await?,
        ))
    }

    async fn make(
        &self,
        account: &AccountConfig,
        index: Option<&Database>,
        token_dir: Option<PathBuf>,
        secrets: Secrets,
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
                let settings = mediafire_settings(account, service, secrets, &unusable).await?;
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
                    credentials: yetishare_credentials(service, secrets).await?,
                    token_dir,
                    tombstones: index.cloned(),
                };
                Arc::new(YetiShare::new(settings, client).map_err(refused)?)
            }
            Service::MirrorAce(service) => {
                let settings = mirrorace_settings(account, service, secrets).await?;
                Arc::new(MirrorAce::new(settings, client).map_err(refused)?)
            }
            Service::MirroredTo(service) => {
                let settings = mirrored_to_settings(account, service, secrets, index).await?;
                Arc::new(MirroredTo::new(settings, client).map_err(refused)?)
            }
        })
    }
}

fn connected(account: &AccountConfig, exchange: Exchange) -> Connected {
    let exchange = Arc::new(exchange);
    let inner: Arc<dyn Provider> = exchange.clone();
    Connected {
        provider: wrapped(account, inner),
        exchange,
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

async fn yetishare_credentials(
    account: &YetiShareAccount,
    secrets: Secrets,
) -> Result<yetishare::Credentials> {
    Ok(match &account.username {
        Some(username) => yetishare::Credentials::Password {
            username: username.clone(),
            password: secrets.require(&account.password).await?,
        },
        None => yetishare::Credentials::Keys {
            key1: secrets.require(&account.key1).await?,
            key2: secrets.require(&account.key2).await?,
        },
    })
}

async fn mirrorace_settings(
    config: &AccountConfig,
    account: &MirrorAceAccount,
    secrets: Secrets,
) -> Result<mirrorace::Settings> {
    Ok(mirrorace::Settings {
        base_url: config.base_url.clone(),
        api_key: secrets.require(&account.api_key).await?,
        api_token: secrets.require(&account.api_token).await?,
        mirrors: account.mirrors.clone(),
        file_password: secrets.fetch(&account.file_password).await?,
    })
}

async fn mirrored_to_settings(
    config: &AccountConfig,
    account: &MirroredToAccount,
    secrets: Secrets,
    index: Option<&Database>,
) -> Result<mirrored_to::Settings> {
    Ok(mirrored_to::Settings {
        base_url: config.base_url.clone(),
        api_key: secrets.require(&account.api_key).await?,
        mirrors: account.mirrors.clone(),
        password: secrets.fetch(&account.password).await?,
        email: account.email.clone(),
        daily_calls: account.daily_calls,
        counter: index.cloned(),
        clock: clock(),
    })
}

async fn mediafire_settings(
    config: &AccountConfig,
    account: &MediaFireAccount,
    secrets: Secrets,
    unusable: &impl Fn(String) -> ConfigError,
) -> Result<Settings> {
    let credentials = match (secrets.fetch(&account.session_token).await?, &account.email) {
        (Some(token), _) => Credentials::SessionToken(token),
        (None, Some(email)) => Credentials::Password {
            email: email.clone(),
            password: secrets.require(&account.password).await?,
        },
        (None, None) => return Err(unusable("has neither email nor session_token".to_owned())),
    };
    Ok(Settings {
        base_url: config.base_url.clone(),
        credentials,
        application_id: account.app_id.clone(),
        api_key: secrets.fetch(&account.api_key).await?,
        token_version: if account.token_version == 1 {
            TokenVersion::V1
        } else {
            TokenVersion::V2
        },
    })
}
