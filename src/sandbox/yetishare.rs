//! The YetiShare script's API version 2, as the hosts' own pages, other hosts' and public clients describe it.
//!
//! Each account is the only one on a host of its own, below its name:
//! - `/<account>/api/v2/<endpoint>[/<method>]` is the API; its calls are counted as `v2/<endpoint>[/<method>]`;
//! - `/<account>/<short>[/<name>]?download_token=...` gives a file, counted as `v2/download` (and a `HEAD`
//!   request as `v2/download_head`);
//! - `/<account>/error?e=...` (`v2/error`) is where links lead that give nothing, and all else is a page for
//!   people (`v2/page`).
//!
//! Ids are numbers that rise, of files and of folders each on their own, so that a file and a folder may have
//! the same.
//!
//! What the sources leave open is decided once, in [`quirks`] where it matters to a client:
//! - a file in the trash still has its `file/info`, with the status `trash`, and can be deleted again; all
//!   other calls do not find it. A folder in the trash has its `folder/info` and its listing, without files;
//! - an upload into a folder in the trash lands in the root;
//! - a folder may be created below any id, and is then found nowhere;
//! - `folder/edit` ignores an unknown parent, as `file/edit` does;
//! - a copy keeps its name beside an equal one, or is numbered;
//! - an endpoint that does not exist is told with the status 404.
//!
//! Left out: `file/url_upload_*`, `package/listing` and the calls for administrators. They do not exist here.

mod account;
mod envelope;
mod file;
mod folder;
mod names;
mod params;
pub mod quirks;
mod serve;
mod session;
mod shape;
mod upload;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::Account;
use super::faults::Fault;
use super::hosts::{Hosts, Stamped};
use super::state::{AccountState, Shared, World, now};
use super::tree::{File, Kind, Tree};
use envelope::{Fail, Reply};
use params::{Form, Params};
use quirks::YetiShareQuirks;

const API: &str = "/api/v2/";
const UPLOAD: &str = "v2/file/upload";

/// Endpoints that have methods, and those that are called themselves.
const GROUPS: [&str; 3] = ["account", "file", "folder"];
const PLAIN: [&str; 2] = ["authorize", "disable_access_token"];

const METHODS: [&str; 15] = [
    "account/info",
    "account/package",
    "file/copy",
    "file/delete",
    "file/download",
    "file/edit",
    "file/info",
    "file/move",
    "file/upload",
    "folder/create",
    "folder/delete",
    "folder/edit",
    "folder/info",
    "folder/listing",
    "folder/move",
];

/// What the service notes beside the accounts' trees.
pub type State = Hosts<Host>;

/// What one host notes.
#[derive(Serialize, Deserialize)]
pub struct Host {
    next_file: u64,
    next_folder: u64,
    folders: HashMap<String, FolderNote>,
    /// Counts changes.
    stamp: u64,
    #[serde(skip)]
    session: session::Session,
    #[serde(skip)]
    links: serve::Links,
    #[serde(skip)]
    downloads: Arc<AtomicU32>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            next_file: 1001,
            next_folder: 1001,
            folders: HashMap::new(),
            stamp: 0,
            session: session::Session::default(),
            links: serve::Links::default(),
            downloads: Arc::default(),
        }
    }
}

impl Stamped for Host {
    fn stamp(&self) -> u64 {
        self.stamp
    }
}

impl Host {
    /// Ends all logins.
    pub(super) fn end_sessions(&mut self) {
        self.session.end();
    }

    /// The next id.
    pub fn mint(&mut self, kind: Kind) -> String {
        self.stamp += 1;
        let next = match kind {
            Kind::File => &mut self.next_file,
            Kind::Folder => &mut self.next_folder,
        };
        let id = *next;
        *next += 1;
        id.to_string()
    }

    fn folder_note(&self, key: &str) -> FolderNote {
        self.folders.get(key).cloned().unwrap_or_default()
    }

    fn edit_folder_note(&mut self, key: &str, edit: impl FnOnce(&mut FolderNote)) {
        self.stamp += 1;
        edit(self.folders.entry(key.to_owned()).or_default());
    }
}

/// What a folder has on this service alone.
#[derive(Clone, Default, Serialize, Deserialize)]
struct FolderNote {
    is_public: u64,
    access_password: Option<String>,
    /// Seconds since the epoch.
    updated: Option<i64>,
}

/// Whether a folder, or one above it, was deleted.
fn is_trashed_folder(tree: &Tree, key: &str) -> bool {
    tree.chain(key).iter().any(|folder| folder.deleted.is_some())
}

fn is_trashed_file(tree: &Tree, file: &File) -> bool {
    file.deleted.is_some() || is_trashed_folder(tree, &file.parent)
}

/// The host's root, for links, with a slash at the end.
pub fn site_url(address: SocketAddr, account: &Account) -> String {
    format!("http://{address}/{}/", shape::link_name(&account.name))
}

/// The API's root, with a slash at the end.
pub fn api_url(address: SocketAddr, account: &Account) -> String {
    format!("{}{}", site_url(address, account).trim_end_matches('/'), API)
}

/// A path without the account's name before it; `None` for one that leads to somewhere else.
pub fn inner_path<'a>(account: &Account, path: &'a str) -> Option<&'a str> {
    let path = path.strip_prefix('/')?;
    let (name, inner) = path.split_at(path.find('/').unwrap_or(path.len()));
    let name = percent_decode_str(name).decode_utf8().ok()?;
    (name == account.name).then_some(inner)
}

fn config(shared: &Shared, index: usize) -> Option<&Account> {
    shared.options.accounts.get(index)
}

/// The endpoint and method of an API call, in lower case.
fn endpoint(shared: &Shared, index: usize, path: &str) -> Option<String> {
    let inner = inner_path(config(shared, index)?, path)?;
    let endpoint = inner.strip_prefix(API)?;
    Some(endpoint.trim_matches('/').to_lowercase())
}

/// The name under which a request is counted.
pub fn name_call(shared: &Shared, index: usize, request: &Request) -> String {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if let Some(endpoint) = endpoint(shared, index, path) {
        return format!("v2/{endpoint}");
    }
    let name = match serve::token(query) {
        Some(_) if request.method() == Method::HEAD => "v2/download_head",
        Some(_) => "v2/download",
        None if path.ends_with(serve::ERROR_PATH) => "v2/error",
        None => "v2/page",
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
    let Some(account) = config(shared, index) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(endpoint) = endpoint(shared, index, request.uri().path()) else {
        return serve::answer(shared, index, request).await;
    };
    let quirks = &shared.options.quirks.yetishare;
    if let Some(missing) = missing(&endpoint, quirks) {
        return missing;
    }
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return envelope::send(
            StatusCode::METHOD_NOT_ALLOWED,
            &serde_json::json!("Invalid Method"),
        );
    }
    let (parts, body) = request.into_parts();
    let Some(form) = Form::read(shared, &parts, body, carries_bytes(call), fault.as_ref()).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let reply = if carries_bytes(call) {
        upload::finish(shared, index, form, fault).await
    } else {
        shared.with(|world| {
            let mut context = Context::of(shared, world, index, &form.params)?;
            dispatch(&endpoint, &mut context, fault.as_ref())
        })
    };
    shared.catch_up().await;
    envelope::render(reply, &account.name, quirks)
}

/// The answer to a call that the host does not have.
fn missing(endpoint: &str, quirks: &YetiShareQuirks) -> Option<Response> {
    let group = endpoint.split('/').next().unwrap_or_default();
    let lacks = |name: &str| quirks.missing.iter().any(|missing| missing == name);
    if lacks(group) || !(GROUPS.contains(&group) || PLAIN.contains(&endpoint)) {
        return Some(envelope::render_missing(group, false));
    }
    let known = PLAIN.contains(&endpoint) || METHODS.contains(&endpoint);
    (lacks(endpoint) || !known).then(|| envelope::render_missing(endpoint, true))
}

/// One call under the lock.
struct Context<'a> {
    shared: &'a Shared,
    account: &'a mut AccountState,
    host: &'a mut Host,
    params: &'a Params,
    now: i64,
}

impl<'a> Context<'a> {
    fn of(shared: &'a Shared, world: &'a mut World, index: usize, params: &'a Params) -> Result<Self, Fail> {
        let account = world.accounts.get_mut(index);
        let account = account.ok_or(Fail::new("Could not load the account."))?;
        let host = world.yetishare.host(&account.config.name);
        Ok(Self {
            shared,
            account,
            host,
            params,
            now: now(),
        })
    }

    fn quirks(&self) -> &'a YetiShareQuirks {
        &self.shared.options.quirks.yetishare
    }

    /// The host's root, for links.
    fn site(&self) -> String {
        site_url(self.shared.address, &self.account.config)
    }
}

fn dispatch(endpoint: &str, context: &mut Context<'_>, fault: Option<&Fault>) -> Reply {
    if endpoint != "authorize" {
        session::identify(context, fault)?;
    }
    told(fault)?;
    match endpoint {
        "authorize" => session::authorize(context),
        "disable_access_token" => session::disable(context),
        "account/info" => account::info(context),
        "account/package" => account::package(context),
        "file/copy" => file::copy(context),
        "file/delete" => file::delete(context),
        "file/download" => file::download(context),
        "file/edit" => file::edit(context),
        "file/info" => file::info(context),
        "file/move" => file::move_to(context),
        "folder/create" => folder::create(context),
        "folder/delete" => folder::delete(context),
        "folder/edit" => folder::edit(context),
        "folder/info" => folder::info(context),
        "folder/listing" => folder::listing(context),
        "folder/move" => folder::move_to(context),
        _ => Err(Fail::new("No method found.")),
    }
}

/// The error that a fault makes the service tell.
fn told(fault: Option<&Fault>) -> Result<(), Fail> {
    fault
        .and_then(Fault::words)
        .map_or(Ok(()), |words| Err(Fail::new(words)))
}
