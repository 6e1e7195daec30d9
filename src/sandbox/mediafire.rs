//! MediaFire's REST API 1.5, as its own pages and its public clients describe it.
//!
//! What the sources leave open is decided once, in [`super::Quirks`] where it matters to a client:
//! - a folder created, copied or moved onto a sibling's name is kept beside it as `name(2)`;
//! - files in the trash take no storage, and leave it by `file/move` or `folder/move`, as nothing else is told;
//! - each kind of file has one page to look at it; plain text has one to edit it, audio and video are streamed;
//! - `upload/simple` and `upload/resumable` with `replace` keep the quickkey, the old content stays a version;
//! - an unsigned call with an action token is good for `upload/*` only;
//! - times without a zone are read, and `created` is told, in US Central time.
//!
//! `upload/add_web_upload` fetches from plain HTTP on loopback only, and forgets what it was fetching at a stop.
//!
//! Left out: patches (`upload/patch`, `device/get_patch`), contacts, sharing, avatars, filedrops, and logins by
//! Facebook, Twitter or browser cookies. They answer error 253.

mod device;
mod envelope;
mod file;
mod file_change;
mod folder;
mod folder_change;
mod links;
mod params;
mod serve;
mod session;
mod shape;
mod system;
mod upload;
mod user;
mod web;
mod zip;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Service;
use super::faults::Fault;
use super::front::Outcome;
use super::state::{Shared, World, now};
use super::tree::{Kind, ROOT, Tree};
use envelope::{Fail, Reply};
use params::Params;
use session::Identity;

pub use upload::settle;

/// The largest urlencoded body of a call, in bytes.
const MAX_FORM: usize = 4 << 20;

/// How many keys one call takes.
const MAX_KEYS: usize = 500;

/// How deep folders may nest.
const MAX_DEPTH: usize = 130;

/// By the account's place among the others.
type Jobs = std::collections::HashMap<usize, std::time::Instant>;

/// What the service notes beside the accounts' trees.
#[derive(Default, Serialize, Deserialize)]
pub struct State {
    uploads: upload::Uploads,
    #[serde(skip)]
    sessions: session::Sessions,
    #[serde(skip)]
    links: links::Links,
    #[serde(skip)]
    web: web::WebUploads,
    /// Until when an account's bulk job counts as running.
    #[serde(skip)]
    jobs: Jobs,
}

impl State {
    /// Ends all sessions of an account.
    pub(super) fn end_sessions(&mut self, account: usize) {
        self.sessions.end(account);
    }

    /// Moves with every change that must outlive a restart.
    pub fn stamp(&self) -> u64 {
        self.uploads.stamp()
    }

    /// What an account's links are, beyond what can be made anew at any time.
    pub fn one_time_links(&self, account: usize) -> Value {
        self.links.one_time_of(account)
    }

    /// Content that uploads on their way still need.
    pub fn contents(&self) -> std::collections::HashSet<String> {
        self.uploads.contents()
    }

    /// Builds again what is not stored.
    pub fn revive(&mut self) {
        self.uploads.revive();
    }
}

/// Gets ready to serve: stores the content that the service itself gives, and goes on with interrupted uploads.
pub fn begin(shared: &Arc<Shared>) -> std::io::Result<()> {
    shared.blobs.put_bytes(file_change::TEXT)?;
    upload::resume(shared);
    Ok(())
}

/// A fresh key: 15 characters for a file, 13 for a folder.
pub fn mint(kind: Kind) -> String {
    match kind {
        Kind::File => random_key(15),
        Kind::Folder => random_key(13),
    }
}

fn random_key(length: usize) -> String {
    std::iter::repeat_with(|| {
        let digit = fastrand::u8(0..36);
        char::from(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        })
    })
    .take(length)
    .collect()
}

/// The name under which a request is counted.
pub fn name_call(method: &Method, path: &str) -> String {
    if let Some(call) = api_call(path) {
        return call.to_owned();
    }
    let name = match path.split('/').nth(1) {
        Some("dl") if method == Method::HEAD => "download_head",
        Some("dl") => "download",
        Some("hop") => "redirect",
        Some("file" | "view" | "edit" | "listen" | "watch" | "stream") => "page",
        _ => "unknown",
    };
    name.to_owned()
}

/// `group/call` of `/api/[version/]group/call.php`.
fn api_call(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/")?.strip_suffix(".php")?;
    let call = match rest.split_once('/') {
        Some((version, call)) if version.starts_with(|c: char| c.is_ascii_digit()) => call,
        _ => rest,
    };
    (call.matches('/').count() == 1).then_some(call)
}

/// Whether a call's body is content rather than parameters.
pub fn carries_bytes(call: &str) -> bool {
    matches!(call, "upload/simple" | "upload/resumable")
}

pub async fn answer(shared: &Arc<Shared>, call: &str, request: Request, fault: Option<Fault>) -> Response {
    if api_call(request.uri().path()).is_none() {
        return serve::answer(shared, call, request).await;
    }
    if carries_bytes(call) {
        return upload::receive(shared, call, request, fault).await;
    }
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let form = match axum::body::to_bytes(body, MAX_FORM).await {
        Ok(bytes) if is_form(&parts.headers) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(_) => String::new(),
        Err(_) => return envelope::render(call, &Params::default(), Fail::new(129).into(), shared),
    };
    let text = if form.is_empty() { query } else { &form };
    let mut params = Params::parse(text);
    if !form.is_empty() {
        params.add(query);
    }
    let signed = Signed {
        path: parts.uri.path(),
        text,
    };
    let mut answered = perform(shared, call, &params, &signed, fault);
    if call == "file/zip"
        && let Ok(reply) = &mut answered.reply
        && let Some(plan) = zip::Plan::take(reply)
    {
        return zip::stream(shared, plan);
    }
    if call == "upload/add_web_upload" {
        web::begin(shared, &answered.reply);
    }
    shared.catch_up().await;
    envelope::render(call, &params, answered, shared)
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(axum::http::header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"))
}

/// What a signature covers: the path and the parameters exactly as they were sent.
struct Signed<'a> {
    path: &'a str,
    text: &'a str,
}

/// An answer before it is put into its envelope.
struct Answered {
    reply: Reply,
    /// The caller has to move on to the next key of its token.
    new_key: bool,
    account: Option<String>,
}

impl From<Fail> for Answered {
    fn from(fail: Fail) -> Self {
        Self {
            reply: Err(fail),
            new_key: false,
            account: None,
        }
    }
}

impl Answered {
    fn outcome(&self) -> Outcome {
        Outcome {
            account: self.account.clone(),
            error: self.reply.as_ref().err().map(|fail| fail.code.to_string()),
        }
    }
}

/// One call under the lock: who calls, and what comes of it.
struct Context<'a> {
    shared: &'a Shared,
    world: &'a mut World,
    who: Option<usize>,
    params: &'a Params,
    fault: Option<Fault>,
    now: i64,
}

fn perform(
    shared: &Shared,
    call: &str,
    params: &Params,
    signed: &Signed<'_>,
    fault: Option<Fault>,
) -> Answered {
    shared.with(|world| {
        let identity = match session::identify(world, call, params, signed, fault.as_ref()) {
            Ok(identity) => identity,
            Err(fail) => return fail.into(),
        };
        let Identity {
            account: who,
            new_key,
        } = identity;
        let account = who
            .and_then(|who| world.accounts.get(who))
            .map(|account| account.config.name.clone());
        let reply = match fault {
            Some(Fault::Error { code }) => Err(Fail::new(code)),
            fault => {
                let mut context = Context {
                    shared,
                    world,
                    who,
                    params,
                    fault,
                    now: now(),
                };
                dispatch(call, &mut context)
            }
        };
        Answered {
            reply,
            new_key,
            account,
        }
    })
}

fn dispatch(call: &str, context: &mut Context<'_>) -> Reply {
    match call {
        "user/get_session_token" => session::get_session_token(context),
        "user/renew_session_token" => session::renew_session_token(context),
        "user/get_action_token" => session::get_action_token(context),
        "user/destroy_action_token" => session::destroy_action_token(context),
        "user/get_info" => user::get_info(context),
        "user/get_limits" => user::get_limits(context),
        "user/get_settings" => user::get_settings(context),
        "folder/get_info" => folder::get_info(context),
        "folder/get_content" => folder::get_content(context),
        "folder/get_depth" => folder::get_depth(context),
        "folder/get_siblings" => folder::get_siblings(context),
        "folder/get_revision" => folder::get_revision(context),
        "folder/search" => folder::search(context),
        "folder/create" => folder_change::create(context),
        "folder/delete" => folder_change::delete(context),
        "folder/purge" => folder_change::purge(context),
        "folder/move" => folder_change::move_to(context),
        "folder/copy" => folder_change::copy(context),
        "folder/update" => folder_change::update(context),
        "file/get_info" => file::get_info(context),
        "file/get_versions" => file::get_versions(context),
        "file/recently_modified" => file::recently_modified(context),
        "file/get_links" => links::get_links(context),
        "file/one_time_key" => links::one_time_key(context),
        "file/configure_one_time_key" | "file/configure_one_time_download" => links::configure(context),
        "file/create" => file_change::create(context),
        "file/copy" => file_change::copy(context),
        "file/move" => file_change::move_to(context),
        "file/update" => file_change::update(context),
        "file/update_file" => file_change::update_file(context),
        "file/delete" => file_change::delete(context),
        "file/purge" => file_change::purge(context),
        "file/restore" => file_change::restore(context),
        "file/set_artwork" => file_change::set_artwork(context),
        "file/zip" => zip::zip(context),
        "upload/check" => upload::check(context),
        "upload/instant" => upload::instant(context),
        "upload/poll_upload" => upload::poll(context),
        "upload/add_web_upload" => web::add(context),
        "upload/get_web_uploads" => web::list(context),
        "device/get_status" => device::get_status(context),
        "device/get_changes" => device::get_changes(context),
        "device/get_trash" => device::get_trash(context),
        "device/empty_trash" => device::empty_trash(context),
        "system/get_info" => system::get_info(context),
        "system/get_limits" => system::get_limits(context),
        "system/get_status" => system::get_status(context),
        "system/get_version" => system::get_version(context),
        "system/get_supported_media" => system::get_supported_media(context),
        "system/get_mime_types" => system::get_mime_types(context),
        _ => Err(Fail::new(253)),
    }
}

impl Context<'_> {
    /// The service's root, for links.
    fn base_url(&self) -> String {
        format!("http://{}/", self.shared.address)
    }

    fn job_runs(&self) -> bool {
        let until = self.who.and_then(|who| self.world.mediafire.jobs.get(&who));
        until.is_some_and(|until| *until > std::time::Instant::now())
    }

    /// Asks to begin a bulk job: refused while one runs. The answer tells whether it goes on after the call.
    fn begin_job(&mut self) -> Result<Value, Fail> {
        let who = self.account()?;
        if self.job_runs() {
            return Err(Fail::new(208));
        }
        let life = self.shared.options.quirks.bulk_job;
        if !life.is_zero() {
            self.world
                .mediafire
                .jobs
                .insert(who, std::time::Instant::now() + life);
        }
        Ok(envelope::yes(!life.is_zero()))
    }

    fn account(&self) -> Result<usize, Fail> {
        self.who.ok_or(Fail::new(104))
    }

    /// The caller's own tree.
    fn tree(&mut self) -> Result<&mut Tree, Fail> {
        let who = self.account()?;
        self.world
            .accounts
            .get_mut(who)
            .map(|account| &mut account.tree)
            .ok_or(Fail::new(104))
    }

    /// A file of the caller's by its key. One of somebody else's is refused (114), an unknown one 110.
    fn own_file(&mut self, key: &str) -> Result<String, Fail> {
        let who = self.account()?;
        let holder = self
            .world
            .accounts_of(Service::MediaFire)
            .find(|(_, account)| account.tree.file(key).is_some())
            .map(|(index, _)| index);
        match holder {
            Some(holder) if holder == who => Ok(key.to_owned()),
            Some(_) => Err(Fail::new(114)),
            None => Err(Fail::new(110)),
        }
    }

    /// The folder that a key parameter, or else a path parameter, names; the root when both are absent.
    fn folder_or_root(&mut self, key_name: &str, path_name: &str) -> Result<String, Fail> {
        match self.params.filled(key_name) {
            Some(key) => self.own_folder(key),
            None => match self.params.filled(path_name) {
                Some(path) => match self.tree()?.resolve(path) {
                    Some(super::tree::Node::Folder(key)) => Ok(key),
                    _ => Err(Fail::new(259)),
                },
                None => Ok(ROOT.to_owned()),
            },
        }
    }

    /// A live folder of the caller's; `myfiles` is the root.
    fn own_folder(&mut self, key: &str) -> Result<String, Fail> {
        if matches!(key, "myfiles" | "0") {
            return Ok(ROOT.to_owned());
        }
        let who = self.account()?;
        let holder = self
            .world
            .accounts_of(Service::MediaFire)
            .find(|(_, account)| account.tree.folder(key).is_some())
            .map(|(index, _)| index);
        match holder {
            Some(holder) if holder != who => Err(Fail::new(114)),
            Some(_) if key == ROOT => Err(Fail::new(112)),
            Some(_) if self.tree()?.is_live_folder(key) => Ok(key.to_owned()),
            Some(_) => Err(Fail::new(209)),
            None => Err(Fail::new(112)),
        }
    }

    /// The keys in a comma separated parameter, or the one file at `file_path`.
    fn file_keys(&mut self) -> Result<Vec<String>, Fail> {
        if let Some(keys) = self.params.filled("quick_key") {
            return split_keys(keys);
        }
        match self.params.filled("file_path") {
            Some(path) => Ok(vec![self.file_at(path)?]),
            None => Err(Fail::new(111)),
        }
    }

    fn file_at(&mut self, path: &str) -> Result<String, Fail> {
        self.tree()?
            .resolve_file(path)
            .map(|file| file.key.clone())
            .ok_or(Fail::new(260))
    }

    /// The one live file of the caller's that a call is about.
    fn one_file(&mut self) -> Result<String, Fail> {
        let key = self.file_keys()?.into_iter().next().ok_or(Fail::new(111))?;
        let key = self.own_file(&key)?;
        if self.tree()?.is_live_file(&key) {
            Ok(key)
        } else {
            Err(Fail::new(211))
        }
    }

    /// Bytes that still fit into the caller's account.
    fn room(&self) -> Result<u64, Fail> {
        let account = self.world.accounts.get(self.account()?).ok_or(Fail::new(104))?;
        Ok(account.config.storage_limit.saturating_sub(account.tree.used()))
    }

    /// The time that a parameter gives, or now.
    fn mtime(&self) -> Result<i64, Fail> {
        match self.params.filled("mtime") {
            Some(text) => shape::parse_time(text).ok_or(Fail::new(116)),
            None => Ok(self.now),
        }
    }

    fn check_name(&self, name: &str, code: i64) -> Result<(), Fail> {
        let quirks = &self.shared.options.quirks;
        let length = name.chars().count();
        let bad = length == 0
            || length > quirks.name_limit
            || matches!(name, "." | "..")
            || name
                .chars()
                .any(|c| c.is_control() || quirks.refused_characters.contains(c));
        if bad { Err(Fail::new(code)) } else { Ok(()) }
    }
}

fn split_keys(keys: &str) -> Result<Vec<String>, Fail> {
    let keys: Vec<String> = keys
        .split(',')
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect();
    if keys.len() > MAX_KEYS {
        Err(Fail::new(129))
    } else {
        Ok(keys)
    }
}
