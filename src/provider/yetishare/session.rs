//! Who we are to the host: login, token, the end of both.
//!
//! One token serves any number of calls at once. Only one login is under way at a time, in this process and,
//! where tokens are kept in a directory, among all processes of this user: who finds another token there than
//! the dead one takes it. After the host refused the credentials no login is made until a person asks
//! ([`Sessions::forgive`]), and not often then, since hosts lock accounts after too many refusals.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::call::Transport;
use super::errors::{Failure, Meaning, before_call, incomplete};
use super::token_file::{InUse, Locked, Token, TokenFile};
use super::wire::{Node, Params};
use super::{Credentials, Settings};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

const LOGIN: &str = "authorize";
const LOGOUT: &str = "disable_access_token";

/// The longest wait for another process that logs in.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// The same at the end, where less depends on it.
const CLOSING_WAIT: Duration = Duration::from_secs(2);
/// From the first login that a person's question may cause after a refusal to the next, and at most.
const FORGIVENESS: Duration = Duration::from_secs(5 * 60);
const LONGEST_FORGIVENESS: Duration = Duration::from_secs(6 * 3600);

/// The session of one account.
pub(super) struct Sessions {
    credentials: Credentials,
    file: Option<TokenFile>,
    state: Mutex<State>,
    /// Held by the one login that may be under way.
    login: Semaphore,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    generation: u64,
    /// Kept while we use a token out of the file.
    in_use: Option<InUse>,
    refused: Option<ProviderText>,
    patience: Patience,
    /// Logins so far, and how the last one failed, if it did.
    logins: u64,
    failure: Option<ProviderText>,
}

struct Held {
    token: Token,
    generation: u64,
    /// When it was last known to be good.
    good: Option<Instant>,
}

type ProviderText = (ErrorKind, Retry, String);

fn again((kind, retry, message): &ProviderText) -> ProviderError {
    ProviderError::new(*kind, *retry, LOGIN, message.clone())
}

/// How often a refusal may be forgiven.
#[derive(Debug, Default)]
struct Patience {
    not_before: Option<Instant>,
    interval: Duration,
}

impl Patience {
    /// Whether it may be forgiven now. The first time it may; then after a time that grows.
    fn forgives(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        self.interval = if self.interval.is_zero() {
            FORGIVENESS
        } else {
            (self.interval * 2).min(LONGEST_FORGIVENESS)
        };
        self.not_before = Some(now + self.interval);
        true
    }
}

/// The token for one call.
#[derive(Clone)]
pub(super) struct Lease {
    token: Token,
    generation: u64,
}

impl Lease {
    /// The fields that every call carries.
    pub(super) fn fields(&self) -> [(&'static str, String); 2] {
        [
            ("access_token", self.token.access_token.expose_secret().to_owned()),
            ("account_id", self.token.account_id.clone()),
        ]
    }

    /// The text of a call with its token.
    pub(super) fn authorize(&self, params: &Params) -> String {
        with_token(params, &self.token)
    }
}

fn with_token(params: &Params, token: &Token) -> String {
    params
        .clone()
        .with("access_token", token.access_token.expose_secret())
        .with("account_id", &token.account_id)
        .into_text()
}

impl Sessions {
    pub(super) fn new(settings: &Settings) -> Self {
        let account = match &settings.credentials {
            Credentials::Keys { key1, .. } => key1.expose_secret(),
            Credentials::Password { username, .. } => username,
        };
        let file = settings
            .token_dir
            .as_deref()
            .map(|directory| TokenFile::new(directory, settings.base_url.as_str(), account));
        Sessions {
            credentials: settings.credentials.clone(),
            file,
            state: Mutex::default(),
            login: Semaphore::new(1),
        }
    }

    /// Lets a login try again after the host had refused the credentials: a person asks.
    pub(super) fn forgive(&self) {
        let mut state = self.state();
        if state.refused.is_some() && state.patience.forgives(Instant::now()) {
            state.refused = None;
        }
    }

    /// The token for a call, after a login where none is held.
    pub(super) async fn lease(&self, transport: &Transport) -> Result<Lease> {
        self.lease_other_than(transport, None).await
    }

    /// A token in place of one that the host does not take any more.
    pub(super) async fn replace(&self, transport: &Transport, dead: &Lease) -> Result<Lease> {
        self.lease_other_than(transport, Some(dead)).await
    }

    /// The host took the token just now.
    pub(super) fn note_good(&self, lease: &Lease) {
        if let Some(held) = &mut self.state().held
            && held.generation == lease.generation
        {
            held.good = Some(Instant::now());
        }
    }

    /// How long ago the token was last known to be good; `None` where it never was.
    pub(super) fn idle(&self) -> Option<Duration> {
        let state = self.state();
        state.held.as_ref()?.good.map(|good| good.elapsed())
    }

    async fn lease_other_than(&self, transport: &Transport, dead: Option<&Lease>) -> Result<Lease> {
        if let Some(lease) = self.usable(dead) {
            return Ok(lease);
        }
        let _one = self.one_login().await?;
        if let Some(lease) = self.usable(dead) {
            return Ok(lease);
        }
        self.state().held = None;
        if let Some(refused) = &self.state().refused {
            return Err(again(refused));
        }
        let Some(file) = &self.file else {
            let token = self.log_in(transport).await?;
            return Ok(self.hold(token, Some(Instant::now())));
        };
        let locked = file.lock(LOCK_WAIT).await.map_err(|error| file_error(&error))?;
        let kept = locked.read().await.map_err(|error| file_error(&error))?;
        let known_dead = |token: &Token| dead.is_some_and(|dead| dead.token.is(token));
        let (token, good) = match kept {
            Some(token) if !known_dead(&token) => (token, None),
            _ => {
                let token = self.log_in(transport).await?;
                if let Err(error) = locked.write(&token).await {
                    // Failing would cost a login for each call.
                    tracing::warn!(%error, "the token is not shared with other processes");
                }
                (token, Some(Instant::now()))
            }
        };
        self.note_use(&locked).await?;
        Ok(self.hold(token, good))
    }

    async fn note_use(&self, locked: &Locked) -> Result<()> {
        if self.state().in_use.is_none() {
            let in_use = locked.note_use().await.map_err(|error| file_error(&error))?;
            self.state().in_use = Some(in_use);
        }
        Ok(())
    }

    /// The token, unless it is the dead one.
    fn usable(&self, dead: Option<&Lease>) -> Option<Lease> {
        let state = self.state();
        let held = state.held.as_ref()?;
        let good = dead.is_none_or(|dead| dead.generation != held.generation);
        good.then(|| Lease {
            token: held.token.clone(),
            generation: held.generation,
        })
    }

    fn hold(&self, token: Token, good: Option<Instant>) -> Lease {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        state.held = Some(Held {
            token: token.clone(),
            generation,
            good,
        });
        Lease { token, generation }
    }

    /// The right to log in. Where the login that this call waited for failed, its failure stands for all
    /// who waited.
    async fn one_login(&self) -> Result<SemaphorePermit<'_>> {
        let before = self.state().logins;
        let permit = self.login.acquire().await.map_err(|_| {
            let message = "the account is closed";
            ProviderError::new(ErrorKind::Unavailable, Retry::Never, LOGIN, message)
        })?;
        let state = self.state();
        match &state.failure {
            Some(failure) if state.logins != before => Err(again(failure)),
            _ => Ok(permit),
        }
    }

    async fn log_in(&self, transport: &Transport) -> Result<Token> {
        let params = match &self.credentials {
            Credentials::Keys { key1, key2 } => Params::new()
                .with("key1", key1.expose_secret())
                .with("key2", key2.expose_secret()),
            Credentials::Password { username, password } => Params::new()
                .with("username", username)
                .with("password", password.expose_secret()),
        };
        let reply = transport.form(LOGIN, params.into_text()).await;
        let result = reply.map_err(refusal).and_then(|reply| read_token(&reply));
        let mut state = self.state();
        state.logins += 1;
        state.failure = result
            .as_ref()
            .err()
            .map(|error| (error.kind, error.retry, error.message.clone()));
        match &result {
            Ok(_) => state.patience = Patience::default(),
            Err(error) if error.kind == ErrorKind::LoginRefused => state.refused = state.failure.clone(),
            Err(_) => {}
        }
        result
    }

    /// Disables the token where nobody else uses it.
    pub(super) async fn close(&self, transport: &Transport) {
        let (held, in_use) = {
            let mut state = self.state();
            (state.held.take(), state.in_use.take())
        };
        let result = match (&self.file, in_use) {
            (None, _) => match held {
                Some(held) => disable(transport, &held.token).await,
                None => Ok(()),
            },
            (Some(file), Some(in_use)) => close_shared(transport, file, &in_use).await,
            // No token was ever taken out of the file.
            (Some(_), None) => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the token was not given back");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_shared(transport: &Transport, file: &TokenFile, in_use: &InUse) -> Result<()> {
    let locked = file
        .lock(CLOSING_WAIT)
        .await
        .map_err(|error| file_error(&error))?;
    if !locked.end_use(in_use).map_err(|error| file_error(&error))? {
        return Ok(());
    }
    let token = locked.read().await.map_err(|error| file_error(&error))?;
    locked.remove().await.map_err(|error| file_error(&error))?;
    match token {
        Some(token) => disable(transport, &token).await,
        None => Ok(()),
    }
}

async fn disable(transport: &Transport, token: &Token) -> Result<()> {
    let reply = transport.form(LOGOUT, with_token(&Params::new(), token)).await;
    reply.map(drop).map_err(ProviderError::from)
}

/// A failed login: what stands in the way of the call that needed it.
fn refusal(failure: Failure) -> ProviderError {
    let mut error = before_call(failure.error);
    match failure.meaning {
        Meaning::DeadToken => {
            error.kind = ErrorKind::LoginRefused;
            error.retry = Retry::Never;
            error.message = "the service refused the login".to_owned();
        }
        Meaning::NoSuchCall => {
            error.message = "the host has no API at this address: check base_url".to_owned();
        }
        _ => {}
    }
    error
}

fn read_token(reply: &Value) -> Result<Token> {
    let node = Node(reply);
    let data = node.get("data").unwrap_or(node);
    let field = |name: &str| {
        data.text(name)
            .ok_or_else(|| incomplete(LOGIN, Retry::Never, name))
    };
    Ok(Token {
        access_token: field("access_token")?.into(),
        account_id: field("account_id")?,
    })
}

fn file_error(error: &io::Error) -> ProviderError {
    let (kind, retry) = match error.kind() {
        io::ErrorKind::TimedOut => (ErrorKind::Unavailable, Retry::AfterWait(None)),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, Retry::Never),
        _ => (ErrorKind::Unexpected, Retry::Never),
    };
    ProviderError::new(kind, retry, LOGIN, format!("the kept token: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_forgiven_at_once_and_then_ever_more_rarely() {
        let start = Instant::now();
        let mut patience = Patience::default();
        assert!(patience.forgives(start));
        let minute = Duration::from_secs(60);
        assert!(!patience.forgives(start + minute * 4));
        assert!(patience.forgives(start + minute * 5));
        assert!(!patience.forgives(start + minute * 14));
        let mut now = start + minute * 15;
        assert!(patience.forgives(now));
        for _ in 0..10 {
            now += LONGEST_FORGIVENESS;
            assert!(patience.forgives(now));
        }
        assert!(!patience.forgives(now + LONGEST_FORGIVENESS - minute));
    }
}
