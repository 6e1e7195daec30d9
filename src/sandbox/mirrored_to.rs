//! Mirrored.to, API version 1, as its own page and public clients describe it.
//!
//! Each account is the only one of a site of its own, below its name: `/<account>/api/v1/<call>`, where the calls of
//! uploads are at `/<account>/up/api/v1/<call>`, as `get_upload_info` tells; counted as `mirrored_to/<call>`. All
//! else is a page for people (`mirrored_to/page`).
//!
//! What the sources leave open is decided here:
//! - a refused key is told with 401, a refused value with 400, a spent day with 429; a call that is refused for
//!   its key does not count;
//! - whether an upload, by bytes or from a URL, counts as a call is a quirk; it does by default;
//! - a second upload for one id takes the place of the first, and an id is spent when its upload is finished;
//! - a file without bytes is refused.

mod upload;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Account;
use super::faults::Fault;
use super::form::{Form, rising_id};
use super::front::{self, Outcome};
use super::hosts::{Hosts, Stamped};
use super::state::{Shared, World};
use super::tree::Content;
use super::yetishare::inner_path;

const DAY: i64 = 24 * 60 * 60;
const MIB: u64 = 1 << 20;

const CALLS: [&str; 6] = [
    "get_account_info",
    "get_upload_info",
    "api_file_upload",
    "api_remote_upload",
    "finish_upload",
    "get_file_info",
];
const UPLOAD: &str = "mirrored_to/api_file_upload";
const REMOTE: &str = "mirrored_to/api_remote_upload";

/// How an emulated Mirrored.to behaves.
#[derive(Clone)]
pub struct MirroredToQuirks {
    /// Calls a day (UTC).
    pub daily_calls: u64,
    /// An upload, by bytes or from a URL, counts as a call.
    pub uploads_count: bool,
    /// How long an upload may take from its first step to its last.
    pub upload_life: Duration,
    /// Numbers are strings; otherwise JSON numbers.
    pub text_numbers: bool,
    /// Mirrors by name, each with its largest file in MB.
    pub mirrors: Vec<(String, u64)>,
    /// How many of the first mirrors are the site's default, and how many of the last ones the account's own.
    pub default_mirrors: usize,
    pub user_mirrors: usize,
    /// Mirrors for one file at most.
    pub max_mirrors: u64,
}

impl Default for MirroredToQuirks {
    fn default() -> Self {
        let mirrors = [
            ("gofileio", 500),
            ("krakenfiles", 500),
            ("megaupnet", 500),
            ("onefichier", 500),
            ("dailyuploads", 200),
            ("sendnow", 20),
        ];
        Self {
            daily_calls: 500,
            uploads_count: true,
            upload_life: Duration::from_secs(2 * 60 * 60),
            text_numbers: false,
            mirrors: mirrors.map(|(name, most)| (name.to_owned(), most)).to_vec(),
            default_mirrors: 3,
            user_mirrors: 0,
            max_mirrors: 14,
        }
    }
}

/// What the service notes beside the accounts' trees.
pub type State = Hosts<Site>;

/// What uploads hold that are not finished.
pub fn contents(state: &State) -> impl Iterator<Item = String> {
    let uploads = state.all().flat_map(|host| host.uploads.values());
    uploads.filter_map(|upload| Some(upload.sent.as_ref()?.content.sha256.clone()))
}

/// What one site notes.
#[derive(Default, Serialize, Deserialize)]
pub struct Site {
    stamp: u64,
    next: u64,
    /// The day that the calls were counted on, in days since the epoch.
    day: i64,
    calls: u64,
    uploads: HashMap<String, Upload>,
    notes: BTreeMap<String, Note>,
}

#[derive(Serialize, Deserialize)]
struct Upload {
    /// Seconds since the epoch.
    expires: i64,
    sent: Option<Stored>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    name: String,
    content: Content,
}

/// What a published file has on this service alone.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    mirrors: Vec<String>,
    password: Option<String>,
    email: Option<String>,
    withdrawn: bool,
}

impl Stamped for Site {
    fn stamp(&self) -> u64 {
        self.stamp
    }
}

impl Site {
    /// The next file id.
    pub fn mint(&mut self) -> String {
        self.stamp += 1;
        self.next += 1;
        rising_id(self.next, 8).to_uppercase()
    }

    pub fn withdraw(&mut self, id: &str) {
        self.stamp += 1;
        self.notes.entry(id.to_owned()).or_default().withdrawn = true;
    }

    pub fn published(&self) -> Value {
        json!(self.notes)
    }

    pub fn set_calls(&mut self, now: i64, calls: u64) {
        self.stamp += 1;
        (self.day, self.calls) = (now.div_euclid(DAY), calls);
    }

    /// Calls made on the day of this moment.
    fn calls(&self, now: i64) -> u64 {
        if self.day == now.div_euclid(DAY) {
            self.calls
        } else {
            0
        }
    }
}

/// What a successful call tells, or the status and the text of its error.
type Reply = Result<Value, (StatusCode, String)>;

fn refuse<T>(text: impl Into<String>) -> Result<T, (StatusCode, String)> {
    Err((StatusCode::BAD_REQUEST, text.into()))
}

pub fn name_call(shared: &Shared, index: usize, path: &str) -> String {
    let account = shared.options.accounts.get(index);
    let inner = account.and_then(|account| inner_path(account, path));
    let inner = inner.unwrap_or_default().trim_end_matches('/');
    let api = inner.strip_prefix("/up").map(|call| (true, call));
    let (is_upload, call) = api.unwrap_or((false, inner));
    let call = call.strip_prefix("/api/v1/").unwrap_or_default();
    if CALLS.contains(&call) && call.starts_with("api_") == is_upload {
        format!("mirrored_to/{call}")
    } else {
        "mirrored_to/page".to_owned()
    }
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
    if call == "mirrored_to/page" {
        return front::page(
            "<!DOCTYPE html><html><head><title>Mirrored.to</title></head><body>Links</body></html>",
        );
    }
    if request.method() != Method::POST {
        let wrong = (StatusCode::METHOD_NOT_ALLOWED, "Use POST.".to_owned());
        return render(Err(wrong), account);
    }
    let (parts, body) = request.into_parts();
    let Some(form) = Form::with_file(shared, &parts, body, &["Filedata"], fault.as_ref()).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let reply = match admit(shared, account, call, &form, fault.as_ref()) {
        Err(error) => Err(error),
        Ok(()) if call == UPLOAD => upload::file(shared, account, form).await,
        Ok(()) if call == REMOTE => upload::remote(shared, account, &form).await,
        Ok(()) => shared.with(|world| match call {
            "mirrored_to/get_account_info" => account_info(shared, world, account),
            "mirrored_to/get_upload_info" => upload::info(shared, world, account),
            "mirrored_to/finish_upload" => upload::finish(shared, world, index, &form),
            _ => file_info(shared, world, index, &form),
        }),
    };
    shared.catch_up().await;
    render(reply, account)
}

/// Checks the key, counts the call, and tells the error that a fault makes the service tell.
fn admit(
    shared: &Shared,
    account: &Account,
    call: &str,
    form: &Form,
    fault: Option<&Fault>,
) -> Result<(), (StatusCode, String)> {
    let key = shared.with(|world| world.config(&account.name).map(|account| account.api_key.clone()));
    if Some(form.get("api_key")) != key.as_deref() {
        return Err((StatusCode::UNAUTHORIZED, "Invalid api_key.".to_owned()));
    }
    let quirks = &shared.options.quirks.mirrored_to;
    let now = shared.clock();
    shared.with(|world| {
        let site = world.mirrored_to.host(&account.name);
        if !matches!(call, UPLOAD | REMOTE) || quirks.uploads_count {
            let calls = site.calls(now);
            if calls >= quirks.daily_calls {
                let text = "You have exceeded your daily API calls limit.".to_owned();
                return Err((StatusCode::TOO_MANY_REQUESTS, text));
            }
            site.set_calls(now, calls + 1);
        }
        if fault == Some(&Fault::ExpireToken) {
            site.uploads.remove(form.get("upload_id"));
        }
        Ok(())
    })?;
    fault.and_then(Fault::words).map_or(Ok(()), refuse)
}

fn number(value: u64, quirks: &MirroredToQuirks) -> Value {
    if quirks.text_numbers {
        json!(value.to_string())
    } else {
        json!(value)
    }
}

/// A moment as the service writes it.
fn date(at: i64) -> String {
    let format = time::macros::format_description!(
        "[day] [month repr:short] [year], [hour repr:12]:[minute] [period case:upper]"
    );
    let at = time::OffsetDateTime::from_unix_timestamp(at).ok();
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// A size as people read it: rounded.
fn rounded(size: u64) -> String {
    let mut rest = size as f64;
    for unit in ["B", "KB", "MB"] {
        if rest < 1024.0 {
            return format!("{} {unit}", (rest * 100.0).round() / 100.0);
        }
        rest /= 1024.0;
    }
    format!("{} GB", (rest * 100.0).round() / 100.0)
}

fn account_info(shared: &Shared, world: &mut World, account: &Account) -> Reply {
    let quirks = &shared.options.quirks.mirrored_to;
    let calls = world.mirrored_to.host(&account.name).calls(shared.clock());
    Ok(json!({
        "username": account.username,
        "email": account.email,
        "join_date": date(1_509_644_000),
        "pro_user": "No",
        "max_filesize": number(account.max_upload_size / MIB, quirks),
        "max_mirrors": number(quirks.max_mirrors, quirks),
        "api_calls_remaining": number(quirks.daily_calls.saturating_sub(calls), quirks),
    }))
}

fn file_info(shared: &Shared, world: &mut World, index: usize, form: &Form) -> Reply {
    let missing = (StatusCode::NOT_FOUND, "File not found.".to_owned());
    let account = world.accounts.get(index).ok_or(missing.clone())?;
    let id = form.get("file_id");
    let file = account.tree.file(id).filter(|file| file.deleted.is_none());
    let file = file.ok_or(missing.clone())?;
    let note = world.mirrored_to.known(&account.config.name);
    let note = note.and_then(|site| site.notes.get(id));
    if note.is_some_and(|note| note.withdrawn) {
        return Err(missing);
    }
    let is_protected = note.is_some_and(|note| note.password.is_some());
    Ok(json!({
        "file_name": file.name,
        "file_size": rounded(file.content.size),
        "upload_time": date(file.created),
        "last_downloaded": date(shared.clock()),
        "password_protected": if is_protected { "Yes" } else { "No" },
    }))
}

fn render(reply: Reply, account: &Account) -> Response {
    let (status, error, body) = match reply {
        Ok(message) => (
            StatusCode::OK,
            None,
            json!({ "status": true, "message": message }),
        ),
        Err((status, text)) => {
            let body = json!({ "status": false, "message": text });
            (status, Some(text), body)
        }
    };
    let outcome = Outcome {
        account: Some(account.name.clone()),
        error,
    };
    front::told(status, body.to_string(), Some(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_sizes_look_as_the_service_writes_them() {
        assert_eq!(date(1_704_467_220), "05 Jan 2024, 03:07 PM");
        assert_eq!(rounded(140 << 20), "140 MB");
        assert_eq!(rounded(1536), "1.5 KB");
        assert_eq!(rounded(3), "3 B");
    }
}
