//! `upload/add_web_upload` and `upload/get_web_uploads`: files that the service fetches by itself.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::envelope::{Fail, Reply, fields, text, yes};
use super::params::Params;
use super::upload::{Aim, Stage, Upload};
use super::{Context, random_key, shape};
use crate::sandbox::faults::Fault;
use crate::sandbox::fetch;
use crate::sandbox::state::{Shared, millis};
use crate::sandbox::tree::Content;

/// Web uploads remembered at most.
const REMEMBERED: usize = 1000;

/// How far a fetch has come.
enum Progress {
    Entered,
    Started,
    /// Bytes that came, and how many there are to be, where that is told.
    Transferring(u64, Option<u64>),
    Downloaded(u64),
    /// Stored, and gone on as an ordinary upload under this key.
    Stored(String),
    Failed(String),
}

struct WebUpload {
    account: String,
    url: Url,
    name: String,
    aim: Aim,
    begun: i64,
    /// The error that a fault has in store for its end.
    doom: Option<i64>,
    progress: Progress,
}

#[derive(Default)]
pub struct WebUploads(HashMap<String, WebUpload>);

pub fn add(context: &mut Context<'_>) -> Reply {
    let url = context.params.filled("url").ok_or(Fail::new(128))?;
    let url = Url::parse(url).map_err(|_| Fail::new(174))?;
    fetch::address(&url).map_err(|_| Fail::new(174))?;
    let name = match context.params.filled("filename") {
        Some(name) => name.to_owned(),
        None => {
            let last = url
                .path_segments()
                .and_then(|mut parts| parts.next_back())
                .unwrap_or_default();
            percent_encoding::percent_decode_str(last)
                .decode_utf8_lossy()
                .into_owned()
        }
    };
    context.check_name(&name, 118)?;
    let aim = context.aim(true)?;
    let account = context.account_name()?;
    let begun = context.now;
    let doom = match context.fault {
        Some(Fault::FileError { code }) => Some(code),
        _ => None,
    };
    let uploads = &mut context.world.mediafire.web.0;
    if uploads.len() >= REMEMBERED
        && let Some(eldest) = uploads
            .iter()
            .min_by_key(|(_, upload)| upload.begun)
            .map(|(key, _)| key.clone())
    {
        uploads.remove(&eldest);
    }
    let key = random_key(11);
    let progress = Progress::Entered;
    uploads.insert(
        key.clone(),
        WebUpload {
            account,
            url,
            name,
            aim,
            begun,
            doom,
            progress,
        },
    );
    Ok(fields(json!({ "upload_key": key })))
}

/// Begins the fetch that a successful [`add`] entered.
pub fn begin(shared: &Arc<Shared>, reply: &Reply) {
    let Ok(reply) = reply else { return };
    let Some(key) = reply.get("upload_key").and_then(Value::as_str).map(str::to_owned) else {
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let stop = shared.line.stop.clone();
        stop.run_until_cancelled(run(&shared, &key)).await;
    });
}

async fn run(shared: &Shared, key: &str) {
    let note = |progress| {
        shared.with(|world| {
            let upload = world.mediafire.web.0.get_mut(key)?;
            upload.progress = progress;
            Some(upload.url.clone())
        })
    };
    let Some(url) = note(Progress::Started) else {
        return;
    };
    let most = shared.options.quirks.max_upload_size;
    let fetched = async {
        let incoming = fetch::open(&url).await?;
        let length = incoming.length;
        note(Progress::Transferring(0, length));
        let came = |bytes| {
            note(Progress::Transferring(bytes, length));
        };
        let receiver = incoming.store(shared, most, came).await?;
        note(Progress::Downloaded(receiver.size()));
        shared.blobs.keep(receiver).await
    };
    let fetched: std::io::Result<Content> = fetched.await;
    let ready_at = millis() + shared.options.quirks.processing.as_millis() as u64;
    shared.with(|world| {
        let state = &mut world.mediafire;
        let Some(web) = state.web.0.get_mut(key) else {
            return;
        };
        web.progress = match fetched {
            Ok(content) => {
                let stage = Stage::Waiting {
                    content: content.clone(),
                    ready_at,
                };
                let mut upload = Upload::simple(
                    web.account.clone(),
                    web.name.clone(),
                    content,
                    web.aim.clone(),
                    stage,
                );
                upload.doom = web.doom;
                Progress::Stored(state.uploads.begin(upload))
            }
            Err(error) => Progress::Failed(error.to_string()),
        };
    });
}

pub fn list(context: &mut Context<'_>) -> Reply {
    let account = context.account_name()?;
    let params: &Params = context.params;
    let wanted = params.filled("upload_key").or(params.filled("key"));
    let all = params.says_yes("all_web_uploads");
    let state = &context.world.mediafire;
    let mut told = Vec::new();
    for (key, web) in &state.web.0 {
        if web.account != account || wanted.is_some_and(|wanted| wanted != key) {
            continue;
        }
        let upload = match &web.progress {
            Progress::Stored(key) => state.uploads.get(key),
            _ => None,
        };
        let stage = upload.map(|upload| &upload.stage);
        let (code, status, error) = match (&web.progress, stage) {
            (Progress::Entered, _) => (1, "Entered", String::new()),
            (Progress::Started, _) => (2, "Started", String::new()),
            (Progress::Transferring(..), _) => (3, "Transferring", String::new()),
            (Progress::Downloaded(_), _) => (4, "Downloaded", String::new()),
            (Progress::Failed(error), _) => (99, "Failed", error.clone()),
            (_, Some(Stage::Done { .. })) => (99, "Done", String::new()),
            (_, Some(Stage::Failed { code })) => (99, "Failed", format!("error {code}")),
            _ => (6, "Verifying", String::new()),
        };
        let (size, percentage) = match (&web.progress, upload) {
            (Progress::Transferring(came, Some(length)), _) => (*length, came * 100 / (*length).max(1)),
            (Progress::Downloaded(size), _) => (*size, 100),
            (_, Some(upload)) => (upload.content.size, 100),
            _ => (0, 0),
        };
        let active = code != 99;
        if !active && !all && wanted.is_none() {
            continue;
        }
        let quickkey = match stage {
            Some(Stage::Done { quickkey }) => quickkey.as_str(),
            _ => "",
        };
        told.push(json!({
            "uploadkey": key,
            "active": yes(active),
            "quickkey": quickkey,
            "filename": web.name,
            "created": shape::local_time(web.begun),
            "created_utc": shape::utc_time(web.begun),
            "status_code": text(code),
            "status": status,
            "error_status": error,
            "url": web.url.as_str(),
            "eta": "0",
            "size": text(size),
            "percentage": text(percentage),
        }));
    }
    Ok(fields(json!({ "web_uploads": told })))
}
