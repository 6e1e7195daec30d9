//! MirrorAce, API version 1, as its own page and public clients describe it.
//!
//! Each account is the only one of a site of its own, below its name:
//! - `/<account>/api/v1/file/upload` and `file/info`, counted as `mirrorace/file/upload` and `mirrorace/file/info`;
//! - `/<account>/m1/api/v1/upload` and `upload/remote`: the server for uploads, which clients have to take from the
//!   answer of `file/upload`; counted as `mirrorace/upload` and `mirrorace/upload/remote`;
//! - all else is a page for people (`mirrorace/page`).
//!
//! What the sources leave open is decided here:
//! - all errors come with the status 200;
//! - chunks are collected by the file's name. One that begins at 0 begins a new collection, any other is appended,
//!   whatever its place is told to be; the file is complete when as many bytes are collected as its total says.
//!   A collection is lost with the sandbox;
//! - an upload key is spent when its file is complete;
//! - a file without bytes is refused;
//! - a file that was removed from the plain files by hand was removed by its user.

mod upload;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::faults::Fault;
use super::form::{Form, rising_id};
use super::front::{self, Outcome};
use super::hosts::{Hosts, Stamped};
use super::state::{Shared, World};
use super::tree::Tree;
use super::yetishare::{inner_path, site_url};
use super::{Account, Service};

/// The parts of a form that may be the file; the official sample and clients differ.
const FILE_FIELDS: [&str; 2] = ["files", "files[]"];

/// Slugs that one call asks for at most.
const MAX_SLUGS: usize = 50;

const UPLOAD: &str = "mirrorace/upload";
const REMOTE: &str = "mirrorace/upload/remote";

/// How an emulated MirrorAce behaves.
#[derive(Clone)]
pub struct MirrorAceQuirks {
    /// The largest chunk in bytes.
    pub max_chunk_size: u64,
    /// How long an upload key waits for its upload to begin.
    pub key_life: Duration,
    /// What of a file that is not found is told as JSON null; otherwise as the word.
    pub plain_null: bool,
    /// Numbers are JSON numbers; otherwise strings.
    pub plain_numbers: bool,
    /// How many mirrors there are, with ids from 1 on. The last one may not be used.
    pub mirrors: u32,
    /// Mirrors for one file at most.
    pub max_mirrors: u32,
    /// Mirrors that the account has chosen.
    pub default_mirrors: Vec<u32>,
}

impl Default for MirrorAceQuirks {
    fn default() -> Self {
        Self {
            max_chunk_size: 99_999_988,
            key_life: Duration::from_secs(60 * 60),
            plain_null: false,
            plain_numbers: false,
            mirrors: 6,
            max_mirrors: 100,
            default_mirrors: vec![1, 2, 3],
        }
    }
}

/// What the service notes beside the accounts' trees.
pub type State = Hosts<Site>;

/// What one site notes.
#[derive(Default, Serialize, Deserialize)]
pub struct Site {
    stamp: u64,
    next: u64,
    keys: HashMap<String, Key>,
    notes: BTreeMap<String, Note>,
    #[serde(skip)]
    collections: upload::Collections,
}

/// An upload key and what goes with it.
#[derive(Clone, Serialize, Deserialize)]
struct Key {
    tracker: String,
    /// Seconds since the epoch; of no matter once the upload began.
    expires: i64,
    begun: bool,
}

/// What a published file has on this service alone.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    mirrors: Vec<String>,
    password: Option<String>,
    withdrawn: Option<String>,
}

impl Stamped for Site {
    fn stamp(&self) -> u64 {
        self.stamp
    }
}

impl Site {
    /// The next slug.
    pub fn mint(&mut self) -> String {
        self.stamp += 1;
        self.next += 1;
        rising_id(self.next, 6)
    }

    pub fn withdraw(&mut self, slug: &str, status: &str) {
        self.stamp += 1;
        self.notes.entry(slug.to_owned()).or_default().withdrawn = Some(status.to_owned());
    }

    pub fn published(&self) -> Value {
        json!(self.notes)
    }
}

/// What a successful call tells, or the text of its error.
type Reply = Result<Value, String>;

fn inner<'a>(account: &Account, path: &'a str) -> Option<&'a str> {
    inner_path(account, path).map(|inner| inner.trim_end_matches('/'))
}

pub fn name_call(shared: &Shared, index: usize, path: &str) -> String {
    let account = shared.options.accounts.get(index);
    let name = match account.and_then(|account| inner(account, path)) {
        Some("/api/v1/file/upload") => "mirrorace/file/upload",
        Some("/api/v1/file/info") => "mirrorace/file/info",
        Some("/m1/api/v1/upload") => UPLOAD,
        Some("/m1/api/v1/upload/remote") => REMOTE,
        _ => "mirrorace/page",
    };
    name.to_owned()
}

/// Whether a call's body is content rather than parameters.
pub fn carries_bytes(call: &str) -> bool {
    call == UPLOAD
}

pub async fn answer(
    shared: &Arc<Shared>,
    index: usize,
    call: &str,
    request: Request,
    fault: Option<Fault>,
) -> Response {
    let Some(account) = shared.options.accounts.get(index) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if call == "mirrorace/page" {
        return front::page(
            "<!DOCTYPE html><html><head><title>MirrorAce</title></head><body>Links</body></html>",
        );
    }
    if request.method() != Method::POST {
        return render(Err("Invalid request method.".to_owned()), account);
    }
    let (parts, body) = request.into_parts();
    let Some(form) = Form::with_file(shared, &parts, body, &FILE_FIELDS, fault.as_ref()).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let reply = match call {
        UPLOAD => match upload::Place::read(&parts.headers) {
            Ok(place) => upload::chunk(shared, index, form, place, fault).await,
            Err(error) => Err(error),
        },
        REMOTE => upload::remote(shared, index, form, fault).await,
        _ => shared.with(|world| {
            identify(world, account, &form, fault.as_ref())?;
            match call {
                "mirrorace/file/upload" => variables(shared, world, account),
                _ => info(shared, world, index, &form),
            }
        }),
    };
    shared.catch_up().await;
    render(reply, account)
}

/// Whether a call comes with the account's key and token; and the error that a fault makes the service tell.
fn identify(world: &World, account: &Account, form: &Form, fault: Option<&Fault>) -> Result<(), String> {
    debug_assert!(account.service == Service::MirrorAce);
    let account = world.config(&account.name).unwrap_or(account);
    if form.get("api_key") != account.api_key || form.get("api_token") != account.api_token {
        return Err("Invalid API key or API token.".to_owned());
    }
    fault.and_then(Fault::words).map_or(Ok(()), Err)
}

fn number(value: u64, quirks: &MirrorAceQuirks) -> Value {
    if quirks.plain_numbers {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

/// 32 hexadecimal digits that nobody can guess.
fn secret() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// A moment as the service writes it.
fn date(at: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let at = time::OffsetDateTime::from_unix_timestamp(at).ok();
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// Whether a mirror may be used.
fn is_open(mirror: u32, quirks: &MirrorAceQuirks) -> bool {
    mirror >= 1 && mirror < quirks.mirrors.max(2)
}

fn variables(shared: &Shared, world: &mut World, account: &Account) -> Reply {
    let quirks = &shared.options.quirks.mirrorace;
    let now = shared.clock();
    let expires = now + quirks.key_life.as_secs() as i64;
    let key = Key {
        tracker: secret(),
        expires,
        begun: false,
    };
    let upload_key = secret();
    let tracker = key.tracker.clone();
    let site = world.mirrorace.host(&account.name);
    site.stamp += 1;
    site.keys
        .retain(|_, key| key.begun || key.expires >= now - 86_400);
    site.keys.insert(upload_key.clone(), key);
    let server = format!("{}m1", site_url(shared.address, account));
    let mirrors: Map<String, Value> = (1..=quirks.mirrors)
        .map(|mirror| (mirror.to_string(), json!(is_open(mirror, quirks))))
        .collect();
    let chosen: Vec<String> = quirks.default_mirrors.iter().map(u32::to_string).collect();
    Ok(json!({
        "server": server,
        "server_file": format!("{server}/api/v1/upload"),
        "server_remote": format!("{server}/api/v1/upload/remote"),
        "cTracker": tracker,
        "mirrors": mirrors,
        "default_mirrors": chosen,
        "max_chunk_size": number(quirks.max_chunk_size, quirks),
        "max_file_size": number(account.max_upload_size, quirks),
        "max_mirrors": number(quirks.max_mirrors.into(), quirks),
        "upload_key": upload_key,
        "upload_key_expiry": date(expires),
    }))
}

fn info(shared: &Shared, world: &mut World, index: usize, form: &Form) -> Reply {
    let account = world.accounts.get(index).ok_or("No such account.")?;
    let slugs: Vec<&str> = form.get("files").split(',').map(str::trim).collect();
    if slugs.iter().all(|slug| slug.is_empty()) {
        return Err("The files field is required.".to_owned());
    }
    if slugs.len() > MAX_SLUGS {
        return Err(format!("You may not ask for more than {MAX_SLUGS} files."));
    }
    let (name, tree) = (account.config.name.clone(), &account.tree);
    let site = world.mirrorace.known(&name);
    let told = slugs.into_iter().filter(|slug| !slug.is_empty()).map(|slug| {
        let withdrawn = site
            .and_then(|site| site.notes.get(slug))
            .and_then(|note| note.withdrawn.as_deref());
        (slug.to_owned(), state_of(shared, index, tree, slug, withdrawn))
    });
    Ok(Value::Object(told.collect()))
}

fn state_of(shared: &Shared, index: usize, tree: &Tree, slug: &str, withdrawn: Option<&str>) -> Value {
    let quirks = &shared.options.quirks.mirrorace;
    let account = shared.options.accounts.get(index);
    let found = tree.file(slug).filter(|_| withdrawn != Some("not found"));
    let (Some(file), Some(account)) = (found, account) else {
        let none = if quirks.plain_null {
            Value::Null
        } else {
            json!("null")
        };
        return json!({
            "id": none, "name": none, "slug": none, "size": none, "url": none, "status": "not found",
        });
    };
    let status = match withdrawn {
        Some(status) => status,
        None if file.deleted.is_some() => "user removed",
        None => "active",
    };
    json!({
        "id": number(number_of(slug), quirks),
        "name": file.name,
        "slug": slug,
        "size": number(file.content.size, quirks),
        "url": link(shared, account, slug),
        "status": status,
    })
}

/// The id that goes with a slug.
fn number_of(slug: &str) -> u64 {
    u64::from_str_radix(slug, 36).unwrap_or(0) % 1_000_000
}

fn link(shared: &Shared, account: &Account, slug: &str) -> String {
    format!("{}m/{slug}", site_url(shared.address, account))
}

fn render(reply: Reply, account: &Account) -> Response {
    let outcome = Outcome {
        account: Some(account.name.clone()),
        error: reply.as_ref().err().cloned(),
    };
    let body = match reply {
        Ok(result) => json!({ "status": "success", "result": result }),
        Err(text) => json!({ "status": "error", "result": text }),
    };
    front::told(StatusCode::OK, body.to_string(), Some(outcome))
}
