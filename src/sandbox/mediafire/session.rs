//! Logins and tokens.
//!
//! A version 1 token is a bearer for ten minutes. A version 2 token is a chain: each call proves the present
//! key by its signature, and each signed call moves the chain on, whatever comes of the call. Two calls at
//! once on one token therefore cannot both be right.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use md5::Md5;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Digest;

use super::envelope::{Fail, Reply, fields};
use super::params::Params;
use super::{Context, Signed};
use crate::sandbox::faults::Fault;
use crate::sandbox::state::{World, millis};
use crate::sandbox::{Account, Service};

/// Tokens kept at most; the eldest makes room.
const MAX_TOKENS: usize = 4096;

/// The longest life of an action token, in minutes.
const MAX_LIFESPAN: u64 = 1440;

enum Grant {
    /// Version 1, good until then.
    Bearer(Instant),
    /// Version 2, with its present key and the login's time as told then.
    Chain { key: u64, time: String },
    /// For uploads (or pictures), good until then.
    Action { upload: bool, until: Instant },
}

struct Token {
    account: usize,
    issued: Instant,
    grant: Grant,
}

#[derive(Default)]
pub struct Sessions(HashMap<String, Token>);

impl Sessions {
    fn issue(&mut self, account: usize, grant: Grant) -> String {
        if self.0.len() >= MAX_TOKENS
            && let Some(eldest) = self
                .0
                .iter()
                .min_by_key(|(_, token)| token.issued)
                .map(|(key, _)| key.clone())
        {
            self.0.remove(&eldest);
        }
        let token: String = std::iter::repeat_with(|| format!("{:016x}", fastrand::u64(..)))
            .take(9)
            .collect();
        self.0.insert(
            token.clone(),
            Token {
                account,
                issued: Instant::now(),
                grant,
            },
        );
        token
    }
}

impl Sessions {
    /// Ends all of an account.
    pub fn end(&mut self, account: usize) {
        self.0.retain(|_, token| token.account != account);
    }
}

/// Who calls, as far as the call tells, and whether its token moved on.
#[derive(Default)]
pub struct Identity {
    pub account: Option<usize>,
    pub new_key: bool,
}

pub fn identify(
    world: &mut World,
    call: &str,
    params: &Params,
    signed: &Signed<'_>,
    fault: Option<&Fault>,
) -> Result<Identity, Fail> {
    if matches!(call, "user/get_session_token") {
        return Ok(Identity::default());
    }
    let Some(name) = params.filled("session_token") else {
        return Ok(Identity::default());
    };
    let tokens = &mut world.mediafire.sessions.0;
    if fault == Some(&Fault::ExpireToken) {
        tokens.remove(name);
    }
    let Some(token) = tokens.get_mut(name) else {
        return Err(Fail::new(105));
    };
    let account = Some(token.account);
    match &mut token.grant {
        Grant::Bearer(until) if *until > Instant::now() => Ok(Identity {
            account,
            new_key: false,
        }),
        Grant::Action { upload: true, until } if *until > Instant::now() && call.starts_with("upload/") => {
            Ok(Identity {
                account,
                new_key: false,
            })
        }
        Grant::Bearer(_) => {
            tokens.remove(name);
            Err(Fail::new(105))
        }
        Grant::Action { .. } => Err(Fail::new(105)),
        Grant::Chain { key, time } => {
            let sent = params.filled("signature").ok_or(Fail::new(215))?;
            let base = format!("{}{time}{}?{}", *key % 256, signed.path, unsigned(signed.text));
            if !hex::encode(Md5::digest(base.as_bytes())).eq_ignore_ascii_case(sent) {
                return Err(Fail::new(127));
            }
            *key = *key * 16807 % 2_147_483_647;
            Ok(Identity {
                account,
                new_key: true,
            })
        }
    }
}

/// The parameters as sent, without the signature.
fn unsigned(text: &str) -> String {
    let parts: Vec<&str> = text
        .split('&')
        .filter(|part| !part.starts_with("signature="))
        .collect();
    parts.join("&")
}

/// A stable stand-in for the keys that the service gives a user.
fn user_key(account: &Account, length: usize) -> String {
    let mut key = hex::encode(Sha1::digest(account.email.as_bytes()));
    key.truncate(length);
    key
}

pub fn get_session_token(context: &mut Context<'_>) -> Reply {
    let params = context.params;
    let quirks = &context.shared.options.quirks;
    let application = params.filled("application_id").ok_or(Fail::new(128))?;
    if application != quirks.application_id {
        return Err(Fail::new(109));
    }
    let password = params.get("password").ok_or(Fail::new(128))?;
    let who = params
        .filled("email")
        .or(params.filled("ekey"))
        .ok_or(Fail::new(128))?;
    let index = context.world.accounts.iter().position(|account| {
        let config = &account.config;
        config.service == Service::MediaFire
            && (config.email == who || user_key(config, 11) == who)
            && config.password == password
    });
    let index = index.ok_or(Fail::new(107))?;
    let signature = params.filled("signature").ok_or(Fail::new(215))?;
    let secret = quirks.api_key.as_deref().unwrap_or_default();
    let base = format!("{who}{password}{application}{secret}");
    if !hex::encode(Sha1::digest(base.as_bytes())).eq_ignore_ascii_case(signature) {
        return Err(Fail::new(127));
    }
    let keys = context.world.accounts.get(index).map(|account| &account.config);
    let mut reply = fields(json!({
        "ekey": keys.map(|account| user_key(account, 11)),
        "pkey": keys.map(|account| user_key(account, 10)),
    }));
    let sessions = &mut context.world.mediafire.sessions;
    let token = match params.get("token_version").unwrap_or("1") {
        "2" => {
            let key = u64::from(fastrand::u32(1..0x7fff_ffff));
            let now = millis();
            let time = format!("{}.{:03}{}", now / 1000, now % 1000, fastrand::u8(1..10));
            reply.insert("secret_key".to_owned(), Value::from(key.to_string()));
            reply.insert("time".to_owned(), Value::from(time.clone()));
            sessions.issue(index, Grant::Chain { key, time })
        }
        "1" => sessions.issue(index, Grant::Bearer(Instant::now() + quirks.token_life)),
        _ => return Err(Fail::new(129)),
    };
    reply.insert("session_token".to_owned(), Value::from(token));
    Ok(reply)
}

pub fn renew_session_token(context: &mut Context<'_>) -> Reply {
    let account = context.account()?;
    let old = context.params.filled("session_token").unwrap_or_default();
    let life = context.shared.options.quirks.token_life;
    let sessions = &mut context.world.mediafire.sessions;
    match sessions.0.get(old).map(|token| &token.grant) {
        Some(Grant::Bearer(_)) => {
            sessions.0.remove(old);
            let token = sessions.issue(account, Grant::Bearer(Instant::now() + life));
            Ok(fields(json!({ "session_token": token })))
        }
        // A chain does not run out; it goes on as it is.
        _ => Ok(fields(json!({ "session_token": old }))),
    }
}

pub fn get_action_token(context: &mut Context<'_>) -> Reply {
    let account = context.account()?;
    let upload = match context.params.filled("type").ok_or(Fail::new(128))? {
        "upload" => true,
        "image" => false,
        _ => return Err(Fail::new(129)),
    };
    let minutes = context
        .params
        .number("lifespan")
        .unwrap_or(1)
        .clamp(1, MAX_LIFESPAN);
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let token = context
        .world
        .mediafire
        .sessions
        .issue(account, Grant::Action { upload, until });
    Ok(fields(json!({ "action_token": token })))
}

pub fn destroy_action_token(context: &mut Context<'_>) -> Reply {
    context.account()?;
    let name = context.params.filled("action_token").ok_or(Fail::new(128))?;
    let tokens = &mut context.world.mediafire.sessions.0;
    match tokens.get(name).map(|token| &token.grant) {
        Some(Grant::Action { .. }) => {
            tokens.remove(name);
            Ok(fields(json!({})))
        }
        _ => Err(Fail::new(100)),
    }
}
