//! Links: direct ones, minted at each call and good for a while, and one-time keys.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::envelope::{Fail, Reply, fields, text};
use super::params::Params;
use super::{Context, random_key, shape};
use crate::sandbox::faults::Fault;
use crate::sandbox::tree::File;

/// Links kept at most; those that ran out are dropped first.
const MAX_LINKS: usize = 100_000;

/// One-time keys that a user may ask for in 24 hours.
const MAX_ONE_TIME: u64 = 100;

/// How long a one-time key lives when the call does not tell, in minutes: 30 days.
const ONE_TIME_MINUTES: u64 = 43_200;

struct Link {
    quickkey: String,
    until: Instant,
}

struct OneTime {
    account: usize,
    quickkey: String,
    minutes: u64,
    until: Instant,
    burn: bool,
    /// The owner is to have a mail; none is sent.
    notify: bool,
    /// Whom it serves; everybody where it is empty.
    addresses: String,
}

#[derive(Default)]
pub struct Links {
    direct: HashMap<String, Link>,
    one_time: HashMap<String, OneTime>,
    one_time_count: HashMap<usize, u64>,
}

impl Links {
    fn mint(&mut self, quickkey: &str, life: Duration) -> String {
        if self.direct.len() >= MAX_LINKS {
            let now = Instant::now();
            self.direct.retain(|_, link| link.until > now);
            if self.direct.len() >= MAX_LINKS {
                self.direct.clear();
            }
        }
        let random = random_key(12);
        let until = Instant::now() + life;
        self.direct.insert(
            random.clone(),
            Link {
                quickkey: quickkey.to_owned(),
                until,
            },
        );
        random
    }

    /// Whether a direct link still leads to this file.
    pub fn leads_to(&self, random: &str, quickkey: &str) -> bool {
        self.direct
            .get(random)
            .is_some_and(|link| link.quickkey == quickkey && link.until > Instant::now())
    }

    pub fn one_time_target(&self, token: &str) -> Option<&str> {
        let link = self
            .one_time
            .get(token)
            .filter(|link| link.until > Instant::now())?;
        Some(&link.quickkey)
    }

    /// The one-time keys of an account, by token.
    pub fn one_time_of(&self, account: usize) -> Value {
        let own = self.one_time.iter().filter(|(_, link)| link.account == account);
        let told = own.map(|(token, link)| {
            let told = json!({
                "quickkey": link.quickkey,
                "minutes": link.minutes,
                "burn": link.burn,
                "notify": link.notify,
                "addresses": link.addresses,
            });
            (token.clone(), told)
        });
        Value::Object(told.collect())
    }

    /// The file that a one-time key gives to somebody on this machine; the key is spent by it unless it may be used
    /// again.
    pub fn redeem(&mut self, token: &str) -> Option<String> {
        let key = self.one_time_target(token)?.to_owned();
        if !self
            .one_time
            .get(token)
            .is_some_and(|link| serves(&link.addresses))
        {
            return None;
        }
        if self.one_time.get(token).is_some_and(|link| link.burn) {
            self.one_time.remove(token);
        }
        Some(key)
    }
}

pub fn get_links(context: &mut Context<'_>) -> Reply {
    let keys = context.file_keys()?;
    let wanted: Vec<String> = context
        .params
        .filled("link_type")
        .map(|types| types.split(',').map(|kind| kind.trim().to_owned()).collect())
        .unwrap_or_default();
    let wants = |kind: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == kind);
    let single = keys.len() == 1;
    let mut links = Vec::new();
    for key in keys {
        let seen = context
            .seen_file(&key)
            .map(|(index, file)| (Some(index) == context.who, file.clone()));
        let (own, file) = match seen {
            Ok(seen) => seen,
            Err(fail) if fail.code == 114 => {
                links.push(json!({ "quickkey": key, "error": "User lacks permissions" }));
                continue;
            }
            Err(fail) if single => return Err(fail),
            Err(_) => continue,
        };
        links.push(tell(context, &file, own, &wants));
    }
    if links.is_empty() {
        return Err(Fail::new(110));
    }
    let who = context.who;
    let mut reply = fields(json!({ "links": links }));
    if let Some(who) = who {
        let count = context
            .world
            .mediafire
            .links
            .one_time_count
            .get(&who)
            .copied()
            .unwrap_or(0);
        reply.insert("one_time_key_request_count".to_owned(), text(count));
        reply.insert("one_time_key_request_max_count".to_owned(), text(MAX_ONE_TIME));
        reply.insert("direct_download_free_bandwidth".to_owned(), text(51200));
    }
    Ok(reply)
}

fn tell(context: &mut Context<'_>, file: &File, own: bool, wants: &dyn Fn(&str) -> bool) -> Value {
    let base = context.base_url();
    let name = shape::link_name(&file.name);
    let mut told = fields(json!({ "quickkey": file.key }));
    let mut tell = |kind: &str, value: Value| told.insert(kind.to_owned(), value);
    let kind = shape::media(&file.name).1;
    let page = |page: &str| Value::from(format!("{base}{page}/{}/{name}", file.key));
    let viewer = shape::viewer(kind);
    if let Some(viewer) = viewer.filter(|viewer| wants(viewer)) {
        tell(viewer, page(viewer));
    }
    if wants("edit") {
        match own && shape::is_editable(&file.name) {
            true => tell("edit", page("edit")),
            false => tell("edit_error_message", Value::from("File is not editable")),
        };
    }
    if wants("normal_download") {
        tell(
            "normal_download",
            Value::from(format!("{base}file/{}/{name}/file", file.key)),
        );
    }
    if wants("streaming") {
        if matches!(kind, "audio" | "video") && file.deleted.is_none() {
            tell("streaming", page("stream"));
        } else {
            tell("streaming_error_message", Value::from("Link unavailable"));
            tell("streaming_error", text(40));
        }
    }
    if wants("direct_download") {
        let refusal = match context.fault {
            Some(Fault::LinkError { code }) => Some(code),
            _ if file.deleted.is_some() => Some(40),
            _ if !own => Some(45),
            _ => None,
        };
        if let Some(code) = refusal {
            let why = match code {
                41 => "Account suspended",
                44 => "Insufficient bandwidth",
                45 => "Insufficient Permissions",
                _ => "Link unavailable",
            };
            tell("direct_download_error_message", Value::from(why));
            tell("direct_download_error", text(code));
        } else {
            let quirks = &context.shared.options.quirks;
            let path = if quirks.redirect_links { "hop" } else { "dl" };
            let random = context.world.mediafire.links.mint(&file.key, quirks.link_life);
            tell(
                "direct_download",
                Value::from(format!("{base}{path}/{random}/{}/{name}", file.key)),
            );
        }
    }
    Value::from(told)
}

/// Whether addresses, masks and ranges hold that of this machine, from which every caller comes.
fn serves(addresses: &str) -> bool {
    let here = u32::from(Ipv4Addr::LOCALHOST);
    let one = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(u32::from);
    let holds = |part: &str| -> Option<bool> {
        if let Some((from, to)) = part.split_once('-') {
            return Some((one(from)?..=one(to)?).contains(&here));
        }
        let (address, bits) = part.split_once('/').unwrap_or((part, "32"));
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.trim().parse().ok()?)?);
        let mask = mask.unwrap_or(0);
        Some(one(address)? & mask == here & mask)
    };
    addresses.is_empty() || addresses.split(',').any(|part| holds(part).unwrap_or(false))
}

/// How long a one-time link is to live. Terms that make no sense are refused, as the service's own example has it.
fn minutes(params: &Params) -> Result<u64, Fail> {
    let is_flag = |name: &str| matches!(params.get(name), None | Some("yes" | "no"));
    if !is_flag("email_notification") || !is_flag("burn_after_use") {
        return Err(Fail::new(129));
    }
    match params.filled("duration") {
        None => Ok(ONE_TIME_MINUTES),
        Some(_) => match params.number("duration") {
            Some(minutes @ 1..=ONE_TIME_MINUTES) => Ok(minutes),
            _ => Err(Fail::new(129)),
        },
    }
}

pub fn one_time_key(context: &mut Context<'_>) -> Reply {
    let account = context.account()?;
    let count = context
        .world
        .mediafire
        .links
        .one_time_count
        .get(&account)
        .copied()
        .unwrap_or(0);
    if context.params.says_yes("get_counts_only") {
        return Ok(fields(json!({
            "one_time_key_request_count": text(count),
            "one_time_key_request_max_count": text(MAX_ONE_TIME),
        })));
    }
    let quickkey = context.one_file()?;
    if count >= MAX_ONE_TIME {
        return Err(Fail::new(163));
    }
    let params = context.params;
    let minutes = minutes(params)?;
    let burn = params.filled("bind_ip").is_none() || params.says_yes("burn_after_use");
    let token = random_key(31);
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let links = &mut context.world.mediafire.links;
    links.one_time.insert(
        token.clone(),
        OneTime {
            account,
            quickkey,
            minutes,
            until,
            burn,
            notify: params.says_yes("email_notification"),
            addresses: params.get("bind_ip").unwrap_or_default().to_owned(),
        },
    );
    links.one_time_count.insert(account, count + 1);
    let base = context.base_url();
    Ok(fields(json!({
        "one_time_key_request_count": text(count + 1),
        "one_time_key_request_max_count": text(MAX_ONE_TIME),
        "links": { "download": format!("{base}?{token}"), "view": format!("{base}view/{token}") },
        "token": token,
    })))
}

pub fn configure(context: &mut Context<'_>) -> Reply {
    let account = context.account()?;
    let params = context.params;
    let token = params.filled("token").ok_or(Fail::new(129))?;
    let minutes = minutes(params)?;
    let links = &mut context.world.mediafire.links;
    let link = links
        .one_time
        .get_mut(token)
        .filter(|link| link.account == account)
        .ok_or(Fail::new(129))?;
    link.minutes = minutes;
    link.notify = params.says_yes("email_notification");
    link.addresses = params.get("bind_ip").unwrap_or_default().to_owned();
    link.until = Instant::now() + Duration::from_secs(minutes * 60);
    link.burn = params.filled("bind_ip").is_none() || params.get("burn_after_use").unwrap_or("yes") == "yes";
    let count = links.one_time_count.get(&account).copied().unwrap_or(0);
    Ok(fields(json!({ "one_time_key_request_count": text(count) })))
}
