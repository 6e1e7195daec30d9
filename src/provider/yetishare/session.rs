//! Who we are to the host: login, token, the end of both.
//!
//! One token serves any number of calls at once. Only one login is under way at a time, in this process and,
//! where tokens are kept in a directory, among all processes of this user: who finds another token there than
//! the dead one takes it. After the host refused the credentials no login is made until a person asks
//! ([`Sessions::forgive`]), and not often then, since hosts lock accounts after too many refusals. A login whose
//! token is refused at once is not followed by another for a while, which grows: somebody else may log in with
//! the same credentials. Where the directory cannot be used, the token is held by this process alone.

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
/// From a login that brought nothing to the next, and at most.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

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
    pause: Pause,
    /// Whether it was told that the token's file cannot be used.
    told_unshared: bool,
    /// Logins so far, and how the last one failed, if it did.
    logins: u64,
    failure: Option<ProviderText>,
}

struct Held {
    lease: Lease,
    /// Whether it lies in the file.
    shared: bool,
    /// When it was last known to be good.
    good: Option<Instant>,
    /// Whether the host gave its word on a call with it: that it takes the token, or that it does not.
    tried: bool,
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

/// How long no login is made after one whose token was refused before any call was good with it.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    fn lengthen(&mut self, now: Instant) {
        let long_ago = self.until.is_none_or(|until| now > until + LONGEST_PAUSE);
        self.length = if long_ago {
            PAUSE
        } else {
            (self.length * 2).min(LONGEST_PAUSE)
        };
        self.until = Some(now + self.length);
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        self.until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

/// The token for one call.
#[derive(Clone)]
pub(super) struct Lease {
    token: Token,
    generation: u64,
    of_our_login: bool,
}

impl Lease {
    /// Whether this process got the token by a login, so that it was good then.
    pub(super) fn is_of_our_login(&self) -> bool {
        self.of_our_login
    }

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
            && held.lease.generation == lease.generation
        {
            held.good = Some(Instant::now());
            held.tried = true;
        }
    }

    /// The host did not take the token.
    pub(super) fn note_dead(&self, lease: &Lease) {
        let mut state = self.state();
        let Some(held) = &mut state.held else {
            return;
        };
        if held.lease.generation != lease.generation {
            return;
        }
        held.good = None;
        if !std::mem::replace(&mut held.tried, true) && lease.of_our_login {
            state.pause.lengthen(Instant::now());
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
        if let Some(refused) = &self.state().refused {
            return Err(again(refused));
        }
        let locked = self.lock().await?;
        let kept = match &locked {
            Some(locked) => locked.read().await.unwrap_or_else(|error| {
                self.tell_unshared(&error);
                None
            }),
            None => None,
        };
        let known_dead = |token: &Token| dead.is_some_and(|dead| dead.token.is(token));
        let (token, of_our_login) = match kept {
            Some(token) if !known_dead(&token) => (token, false),
            _ => (self.log_in(transport).await?, true),
        };
        let mut shared = !of_our_login;
        if let Some(locked) = &locked {
            let written = if of_our_login {
                locked.write(&token).await
            } else {
                Ok(())
            };
            shared = written.map_err(|error| self.tell_unshared(&error)).is_ok();
            if let Err(error) = self.note_use(locked).await {
                self.tell_unshared(&error);
            }
        }
        Ok(self.hold(token, of_our_login, shared))
    }

    /// The lock on the token's file; `None` where there is none, or none that can be used.
    async fn lock(&self) -> Result<Option<Locked>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        match file.lock(LOCK_WAIT).await {
            Ok(locked) => Ok(Some(locked)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(file_error(&error)),
            Err(error) => {
                self.tell_unshared(&error);
                Ok(None)
            }
        }
    }

    fn tell_unshared(&self, error: &io::Error) {
        if !std::mem::replace(&mut self.state().told_unshared, true) {
            tracing::warn!(%error, "the token is not shared with other processes");
        }
    }

    async fn note_use(&self, locked: &Locked) -> io::Result<()> {
        if self.state().in_use.is_none() {
            let in_use = locked.note_use().await?;
            self.state().in_use = Some(in_use);
        }
        Ok(())
    }

    /// The token, unless it is the dead one.
    fn usable(&self, dead: Option<&Lease>) -> Option<Lease> {
        let state = self.state();
        let held = state.held.as_ref()?;
        let good = dead.is_none_or(|dead| dead.generation != held.lease.generation);
        good.then(|| held.lease.clone())
    }

    fn hold(&self, token: Token, of_our_login: bool, shared: bool) -> Lease {
        let mut state = self.state();
        state.generation += 1;
        let lease = Lease {
            token,
            generation: state.generation,
            of_our_login,
        };
        state.held = Some(Held {
            lease: lease.clone(),
            shared,
            tried: false,
            good: of_our_login.then(Instant::now),
        });
        lease
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
        if let Some(left) = self.state().pause.left(Instant::now()) {
            let message =
                "the service ends each session at once: another program may use the same credentials";
            let retry = Retry::AfterWait(Some(left));
            return Err(ProviderError::new(ErrorKind::Unavailable, retry, LOGIN, message));
        }
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
            Err(error) if error.kind == ErrorKind::LoginRefused => {
                state.refused = state.failure.clone();
                state.held = None;
            }
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
        let result = match (&self.file, in_use, held) {
            (_, _, Some(held)) if !held.shared => disable(transport, &held.lease.token).await,
            (Some(file), Some(in_use), _) => close_shared(transport, file, &in_use).await,
            // No token was ever got.
            _ => Ok(()),
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
    // What a host says against a login may be in any words, and hosts lock accounts after too many.
    let in_words = matches!(failure.meaning, Meaning::Said | Meaning::Gone)
        && !matches!(failure.error.kind, ErrorKind::Unavailable | ErrorKind::Corrupt);
    let mut error = before_call(failure.error);
    match failure.meaning {
        Meaning::NoSuchCall => {
            error.message = "the host has no API at this address: check base_url".to_owned();
        }
        Meaning::DeadToken => {
            error.message = "the service refused the login".to_owned();
            refuse(&mut error);
        }
        _ if in_words && error.kind != ErrorKind::LoginRefused => {
            error.message = format!("the service refused the login: {}", error.message);
            refuse(&mut error);
        }
        _ => {}
    }
    error
}

fn refuse(error: &mut ProviderError) {
    error.kind = ErrorKind::LoginRefused;
    error.retry = Retry::Never;
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
    let message = format!("the kept token: {error}");
    ProviderError::new(ErrorKind::Unavailable, Retry::AfterWait(None), LOGIN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_logins_in_vain_grows_to_an_end_and_is_forgotten() {
        let mut now = Instant::now();
        let mut pause = Pause::default();
        assert_eq!(pause.left(now), None);
        let mut lengths = Vec::new();
        for _ in 0..9 {
            pause.lengthen(now);
            let left = pause.left(now).unwrap();
            lengths.push(left.as_secs());
            now += left;
            assert_eq!(pause.left(now), None);
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        now += LONGEST_PAUSE + Duration::from_secs(1);
        pause.lengthen(now);
        assert_eq!(pause.left(now), Some(PAUSE));
    }

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
