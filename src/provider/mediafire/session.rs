//! Who we are to the service: login, session tokens of both versions, signatures.
//!
//! A version 1 token serves any number of calls at once and is renewed before it ends. A version 2 token
//! signs each call and changes its key with it, so it is lent to one call at a time from a small pool that
//! grows when a call finds none free. A token whose answer was lost or not awaited is dropped, since its key
//! is unknown then. Only one login is under way at a time, and none after the service refused the
//! credentials, until [`Sessions::forgive`]. It knows no call but those of `user/`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::call::{KeyState, Transport};
use super::errors::Failure;
use super::wire::{Node, Params};
use super::{Credentials, Settings, TokenVersion};
use crate::provider::json::Parsed;
use crate::provider::{ErrorKind, ProviderError, Retry};

const LOGIN: &str = "user/get_session_token";
const RENEW: &str = "user/renew_session_token";

/// A version 1 token lives for 10 minutes.
const RENEW_AFTER: Duration = Duration::from_secs(8 * 60);
/// How long the service is known to lock an account.
const LOCKED: Duration = Duration::from_secs(10 * 60);
/// Version 2 tokens, and so signed calls at once: as many as the service's own client for C++ holds.
const POOL: usize = 10;

/// The sessions of one account.
pub(super) struct Sessions {
    transport: Arc<Transport>,
    credentials: Credentials,
    application_id: String,
    api_key: Option<SecretString>,
    version: TokenVersion,
    state: Mutex<State>,
    /// Held by the one login that may be under way.
    login: Semaphore,
    /// One for each version 2 token in use.
    lendable: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// Version 1.
    shared: Option<Shared>,
    /// Version 2, those not lent.
    idle: Vec<Signing>,
    refused: Option<Refusal>,
    generation: u64,
    /// Logins so far, and how the last one failed, if it did.
    logins: u64,
    failure: Option<(ErrorKind, Retry, String)>,
}

/// The service refused the credentials: no login is tried until a person asks, or until a lock ends.
struct Refusal {
    why: String,
    until: Option<Instant>,
}

struct Shared {
    token: SecretString,
    renew_at: Instant,
    generation: u64,
}

/// A version 2 token.
struct Signing {
    token: SecretString,
    key: u64,
    time: String,
}

/// A token for one call.
pub(super) struct Lease(Lent);

enum Lent {
    Shared {
        token: SecretString,
        generation: u64,
    },
    Signing {
        token: Signing,
        permit: OwnedSemaphorePermit,
    },
}

impl Lease {
    /// The text of a call with its token, and its signature where the token asks for one.
    pub(super) fn authorize(&self, operation: &str, params: &Params) -> String {
        match &self.0 {
            Lent::Shared { token, .. } => with_token(params, token).into_text(),
            Lent::Signing { token, .. } => {
                let params = with_token(params, &token.token);
                let signature = token.sign(operation, params.as_text());
                params.with("signature", &signature).into_text()
            }
        }
    }
}

/// The parameters in the form in which every call sends them.
pub(super) fn with_token(params: &Params, token: &SecretString) -> Params {
    params
        .clone()
        .with("session_token", token.expose_secret())
        .with("response_format", "json")
}

impl Signing {
    fn sign(&self, operation: &str, query: &str) -> String {
        let text = format!(
            "{}{}{}?{query}",
            self.key % 256,
            self.time,
            Transport::signed_path(operation)
        );
        hex::encode(Md5::digest(text.as_bytes()))
    }

    fn rotate(&mut self) {
        const MODULUS: u64 = 2_147_483_647;
        self.key = self.key % MODULUS * 16807 % MODULUS;
    }
}

impl Sessions {
    pub(super) fn new(settings: &Settings, transport: Arc<Transport>) -> Self {
        let given = match &settings.credentials {
            // Its age is unknown, so it is renewed at its first use.
            Credentials::SessionToken(token) => Some(Shared {
                token: token.clone(),
                renew_at: Instant::now(),
                generation: 0,
            }),
            Credentials::Password { .. } => None,
        };
        let version = if given.is_some() {
            TokenVersion::V1
        } else {
            settings.token_version
        };
        Sessions {
            transport,
            credentials: settings.credentials.clone(),
            application_id: settings.application_id.clone(),
            api_key: settings.api_key.clone(),
            version,
            state: Mutex::new(State {
                shared: given,
                ..State::default()
            }),
            login: Semaphore::new(1),
            lendable: Arc::new(Semaphore::new(POOL)),
        }
    }

    /// Uses a session token that was given as it is: renewing it would end it for who has it as well.
    pub(super) fn keep_given(&self) {
        if let Some(given) = &mut self.state().shared {
            given.renew_at = Instant::now() + RENEW_AFTER;
        }
    }

    /// Lets logins try again after the service had refused the credentials: a person asks.
    pub(super) fn forgive(&self) {
        self.state().refused = None;
    }

    /// Whether a call can be made without a login.
    pub(super) fn is_logged_in(&self) -> bool {
        let state = self.state();
        state.shared.is_some() || !state.idle.is_empty()
    }

    /// A token for one call. It waits while all are lent, and logs in where none is there.
    pub(super) async fn lease(&self) -> Result<Lease, ProviderError> {
        match self.version {
            TokenVersion::V1 => self.lease_shared(None).await,
            TokenVersion::V2 => {
                let permit = Arc::clone(&self.lendable).acquire_owned().await.map_err(closed)?;
                let idle = self.state().idle.pop();
                if let Some(token) = idle {
                    return Ok(Lease(Lent::Signing { token, permit }));
                }
                let _one = self.one_login().await?;
                // Another call may have given its token back while this one waited.
                let idle = self.state().idle.pop();
                let token = match idle {
                    Some(token) => token,
                    None => self.log_in_signing().await?,
                };
                Ok(Lease(Lent::Signing { token, permit }))
            }
        }
    }

    /// A new token in place of one that the service does not take any more.
    pub(super) async fn replace(&self, dead: Lease) -> Result<Lease, ProviderError> {
        match dead.0 {
            Lent::Shared { generation, .. } => self.lease_shared(Some(generation)).await,
            Lent::Signing { permit, .. } => {
                let _one = self.one_login().await?;
                let token = self.log_in_signing().await?;
                Ok(Lease(Lent::Signing { token, permit }))
            }
        }
    }

    /// Ends a call. A lease that is dropped instead takes its version 2 token with it.
    pub(super) fn give_back(&self, lease: Lease, key: KeyState) {
        if let Lent::Signing { mut token, permit } = lease.0 {
            match key {
                KeyState::Unknown => return,
                KeyState::Rotated => token.rotate(),
                KeyState::Kept => {}
            }
            self.state().idle.push(token);
            drop(permit);
        }
    }

    async fn lease_shared(&self, dead: Option<u64>) -> Result<Lease, ProviderError> {
        if let Some(lease) = self.usable(dead) {
            return Ok(lease);
        }
        let _one = self.one_login().await?;
        if let Some(lease) = self.usable(dead) {
            return Ok(lease);
        }
        let old = self
            .state()
            .shared
            .take_if(|shared| Some(shared.generation) == dead);
        let renewable = if old.is_some() { None } else { self.current() };
        if let Some(token) = renewable {
            match self.renew(&token).await {
                Ok(token) => return Ok(self.store(token)),
                Err(failure) if failure.is_dead_token() => {}
                Err(failure) => return Err(before_call(failure.error)),
            }
        }
        let reply = self.log_in(TokenVersion::V1).await?;
        let token = Node(&reply)
            .text("session_token")
            .ok_or_else(|| incomplete("session_token"))?;
        Ok(self.store(token.into()))
    }

    /// The version 1 token, unless it is the dead one or due to be renewed.
    fn usable(&self, dead: Option<u64>) -> Option<Lease> {
        let state = self.state();
        let shared = state.shared.as_ref()?;
        let good = Some(shared.generation) != dead && Instant::now() < shared.renew_at;
        good.then(|| {
            Lease(Lent::Shared {
                token: shared.token.clone(),
                generation: shared.generation,
            })
        })
    }

    fn current(&self) -> Option<SecretString> {
        self.state().shared.as_ref().map(|shared| shared.token.clone())
    }

    fn store(&self, token: SecretString) -> Lease {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        let renew_at = Instant::now() + RENEW_AFTER;
        state.shared = Some(Shared {
            token: token.clone(),
            renew_at,
            generation,
        });
        Lease(Lent::Shared { token, generation })
    }

    async fn renew(&self, token: &SecretString) -> Result<SecretString, Failure> {
        let text = with_token(&Params::new(), token).into_text();
        let reply = self.transport.form(RENEW, text).await.result?;
        let token = Node(&reply)
            .text("session_token")
            .ok_or_else(|| incomplete("session_token"))?;
        Ok(token.into())
    }

    async fn log_in_signing(&self) -> Result<Signing, ProviderError> {
        let reply = self.log_in(TokenVersion::V2).await?;
        let node = Node(&reply);
        Ok(Signing {
            token: node
                .text("session_token")
                .ok_or_else(|| incomplete("session_token"))?
                .into(),
            key: node
                .number("secret_key")
                .ok_or_else(|| incomplete("secret_key"))?,
            time: node.text("time").ok_or_else(|| incomplete("time"))?,
        })
    }

    /// The right to log in. Where the login that this call waited for failed, its failure stands for all
    /// who waited.
    async fn one_login(&self) -> Result<SemaphorePermit<'_>, ProviderError> {
        let before = self.state().logins;
        let permit = self.login.acquire().await.map_err(closed)?;
        let state = self.state();
        match &state.failure {
            Some((kind, retry, why)) if state.logins != before => {
                Err(ProviderError::new(*kind, *retry, LOGIN, why.clone()))
            }
            _ => Ok(permit),
        }
    }

    async fn log_in(&self, version: TokenVersion) -> Result<Parsed, ProviderError> {
        self.check_refusal()?;
        let Credentials::Password { email, password } = &self.credentials else {
            let why = "the service no longer takes the session token: give a new one, or e-mail address and password";
            self.state().refused = Some(Refusal {
                why: why.to_owned(),
                until: None,
            });
            return Err(ProviderError::new(
                ErrorKind::LoginRefused,
                Retry::Never,
                LOGIN,
                why,
            ));
        };
        let params = Params::new()
            .with("email", email)
            .with("password", password.expose_secret())
            .with("application_id", &self.application_id)
            .with("signature", &self.login_signature(email, password))
            .with(
                "token_version",
                if version == TokenVersion::V2 { "2" } else { "1" },
            )
            .with("response_format", "json");
        let result = self.transport.form(LOGIN, params.into_text()).await.result;
        let result = result.map_err(|failure| before_call(failure.error));
        let mut state = self.state();
        state.logins += 1;
        state.failure = result
            .as_ref()
            .err()
            .map(|error| (error.kind, error.retry, error.message.clone()));
        if let Err(error) = &result
            && error.kind == ErrorKind::LoginRefused
        {
            let until = match error.retry {
                Retry::AfterWait(wait) => Some(Instant::now() + wait.unwrap_or(LOCKED)),
                _ => None,
            };
            state.refused = Some(Refusal {
                why: error.message.clone(),
                until,
            });
        }
        result
    }

    fn check_refusal(&self) -> Result<(), ProviderError> {
        let mut state = self.state();
        let Some(refusal) = &state.refused else {
            return Ok(());
        };
        let left = refusal
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            state.refused = None;
            return Ok(());
        }
        let retry = left.map_or(Retry::Never, |left| Retry::AfterWait(Some(left)));
        Err(ProviderError::new(
            ErrorKind::LoginRefused,
            retry,
            LOGIN,
            refusal.why.clone(),
        ))
    }

    fn login_signature(&self, email: &str, password: &SecretString) -> String {
        let api_key = self.api_key.as_ref().map_or("", |key| key.expose_secret());
        let text = format!(
            "{email}{}{}{api_key}",
            password.expose_secret(),
            self.application_id
        );
        hex::encode(Sha1::digest(text.as_bytes()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure of what had to come before a call: the call itself was not sent, so its outcome is known.
pub(super) fn before_call(mut error: ProviderError) -> ProviderError {
    if error.retry == Retry::OutcomeUnknown {
        error.retry = Retry::AfterWait(None);
    }
    error
}

fn incomplete(field: &'static str) -> ProviderError {
    let message = format!("the service's answer to the login lacks {field}");
    ProviderError::new(ErrorKind::Unexpected, Retry::Never, LOGIN, message)
}

fn closed(_: tokio::sync::AcquireError) -> ProviderError {
    ProviderError::new(
        ErrorKind::Unavailable,
        Retry::Never,
        LOGIN,
        "the account is closed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_covers_key_time_path_and_query() {
        let token = Signing {
            token: "t".into(),
            key: 1_000_000,
            time: "1400000000.1234".to_owned(),
        };
        // 1000000 mod 256 is 64.
        let expected = "641400000000.1234/api/1.5/folder/get_info.php?session_token=t&response_format=json";
        let query = with_token(&Params::new(), &token.token).into_text();
        assert_eq!(
            token.sign("folder/get_info", &query),
            hex::encode(Md5::digest(expected.as_bytes()))
        );
    }

    #[test]
    fn the_key_follows_the_published_sequence() {
        let mut token = Signing {
            token: "t".into(),
            key: 1,
            time: String::new(),
        };
        let keys: Vec<u64> = std::iter::repeat_with(|| {
            token.rotate();
            token.key
        })
        .take(3)
        .collect();
        assert_eq!(keys, [16807, 282_475_249, 1_622_650_073]);
    }

    #[test]
    fn the_login_signature_is_that_of_the_published_example() {
        let text = "testemail@domain.com1111119999abcdefghijklmnopqrst";
        assert_eq!(
            hex::encode(Sha1::digest(text.as_bytes())),
            "d9ce3bfaba1e0bef7a5d99bdab706e36b4ee8c71"
        );
    }
}
