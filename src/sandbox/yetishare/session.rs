//! Logins and tokens: one account a host, and as a rule one live token.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use super::Context;
use super::envelope::{Fail, Reply, fields};
use super::shape;
use crate::sandbox::faults::Fault;

/// Tokens kept at most; the one that was unused for longest makes room.
const MAX_TOKENS: usize = 64;

const TOKEN_LENGTH: usize = 128;
const KEY_LENGTH: usize = 64;

#[derive(Default)]
pub struct Session {
    /// When each was last used.
    tokens: HashMap<String, Instant>,
    /// Refused logins in a row.
    failures: u32,
    locked_until: Option<Instant>,
}

impl Session {
    /// Ends all logins.
    pub fn end(&mut self) {
        self.tokens.clear();
    }
}

/// The id of the account, which follows from its name.
pub fn account_id(account: &str) -> u64 {
    let sum = account
        .bytes()
        .fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 900_000);
    100_000 + sum
}

fn random_token() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(TOKEN_LENGTH)
        .collect()
}

pub fn authorize(context: &mut Context<'_>) -> Reply {
    let params = context.params;
    let config = &context.account.config;
    let by_name = params.filled("key1").is_none()
        && params.filled("key2").is_none()
        && params.filled("username").is_some();
    let (right, what) = if by_name {
        let password = params.needed("password")?;
        let right = params.get("username") == config.username && password == config.password;
        (right, "username and password")
    } else {
        for name in ["key1", "key2"] {
            if params.get(name).chars().count() != KEY_LENGTH {
                return Err(Fail::new(format!(
                    "Please provide {name}. It must be {KEY_LENGTH} characters in length."
                )));
            }
        }
        let right = params.get("key1") == config.key1 && params.get("key2") == config.key2;
        (right, "key pair")
    };
    let (name, quirks) = (&config.name, &context.shared.options.quirks.yetishare);
    let session = &mut context.host.session;
    let now = Instant::now();
    let is_locked = session.locked_until.is_some_and(|until| until > now);
    if !right && !is_locked {
        session.failures += 1;
        if session.failures == quirks.failed_logins {
            session.failures = 0;
            session.locked_until = Some(now + quirks.lock);
        }
    }
    if !right || is_locked {
        return Err(Fail::new(format!(
            "Could not authenticate user. The {what} may be invalid or your account may be locked from too \
             many failed logins."
        )));
    }
    session.failures = 0;
    if quirks.one_token {
        session.tokens.clear();
    }
    if session.tokens.len() >= MAX_TOKENS {
        let eldest = session.tokens.iter().min_by_key(|(_, used)| **used);
        if let Some(eldest) = eldest.map(|(token, _)| token.clone()) {
            session.tokens.remove(&eldest);
        }
    }
    let token = random_token();
    session.tokens.insert(token.clone(), now);
    let account_id = shape::number(account_id(name), quirks);
    Ok(fields(json!({
        "data": { "access_token": token, "account_id": account_id },
    })))
}

/// Checks the token that a call came with, which keeps it alive.
pub fn identify(context: &mut Context<'_>, fault: Option<&Fault>) -> Result<(), Fail> {
    let token = context.params.needed("access_token")?;
    let account = context.params.needed("account_id")?;
    let expected = account_id(&context.account.config.name).to_string();
    let life = context.quirks().token_life;
    let tokens = &mut context.host.session.tokens;
    tokens.retain(|_, used| used.elapsed() < life);
    if fault == Some(&Fault::ExpireToken) {
        tokens.remove(token);
    }
    match tokens.get_mut(token).filter(|_| account == expected) {
        Some(used) => {
            *used = Instant::now();
            Ok(())
        }
        None => Err(Fail::new(
            "Could not validate access_token and account_id, please reauthenticate or try again.",
        )),
    }
}

pub fn disable(context: &mut Context<'_>) -> Reply {
    let token = context.params.get("access_token");
    context.host.session.tokens.remove(token);
    Ok(fields(
        json!({ "response": "Token removed or no longer available." }),
    ))
}
