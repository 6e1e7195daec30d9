//! `upload/add_web_upload` and `upload/get_web_uploads`: files that the service fetches by itself.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use super::envelope::{Fail, Reply, fields, text, yes};
use super::params::Params;
use super::upload::{Aim, Stage, Upload};
use super::{Context, random_key, shape};
use crate::sandbox::fetch;
use crate::sandbox::state::{Shared, millis};
use crate::sandbox::tree::Content;

/// Web uploads remembered at most.
const REMEMBERED: usize = 1000;

/// How far a fetch has come.
enum Progress {
    Entered,
    Transferring,
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
    let url = shared.with(|world| {
        let upload = world.mediafire.web.0.get_mut(key)?;
        upload.progress = Progress::Transferring;
        Some(upload.url.clone())
    });
    let Some(url) = url else { return };
    let fetched = async { shared.blobs.keep(fetch::fetch(&shared.blobs, &url).await?).await };
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
                let upload = Upload::simple(
                    web.account.clone(),
                    web.name.clone(),
                    content,
                    web.aim.clone(),
                    stage,
                );
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
        let (code, status, error) = match (&web.progress, upload.map(|upload| &upload.stage)) {
            (Progress::Entered, _) => (1, "Entered", String::new()),
            (Progress::Transferring, _) => (3, "Transferring", String::new()),
            (Progress::Failed(error), _) => (99, "Failed", error.clone()),
            (_, Some(Stage::Done { .. })) => (99, "Done", String::new()),
            (_, Some(Stage::Failed { code })) => (99, "Failed", format!("error {code}")),
            _ => (6, "Verifying", String::new()),
        };
        let active = code != 99;
        if !active && !all && wanted.is_none() {
            continue;
        }
        let quickkey = match upload.map(|upload| &upload.stage) {
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
            "size": text(upload.map_or(0, |upload| upload.content.size)),
            "percentage": text(if active { 0 } else { 100 }),
        }));
    }
    Ok(fields(json!({ "web_uploads": told })))
}
