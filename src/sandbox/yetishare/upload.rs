//! `file/upload`: one request, one file, and a silence until it is stored.

use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::envelope::{Fail, Reply, fields};
use super::params::{Form, Params};
use super::{Context, names, session, shape, told};
use crate::sandbox::faults::Fault;
use crate::sandbox::form::Sent;
use crate::sandbox::state::Shared;
use crate::sandbox::tree::{Content, Kind, ROOT};

/// The type of a file whose sender names none.
const OCTETS: &str = "application/octet-stream";

/// Stores what was sent. The host goes on with it even when the sender does not wait for the answer.
pub async fn finish(shared: &Arc<Shared>, index: usize, form: Form, fault: Option<Fault>) -> Reply {
    let shared = Arc::clone(shared);
    let work = tokio::spawn(async move { store(&shared, index, form, fault).await });
    work.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "an upload to the sandbox ended early");
        Err(Fail::new("Error uploading file."))
    })
}

async fn store(shared: &Shared, index: usize, form: Form, fault: Option<Fault>) -> Reply {
    let Form { params, sent } = form;
    shared.with(|world| {
        let mut context = Context::of(shared, world, index, &params)?;
        session::identify(&mut context, fault.as_ref())?;
        told(fault.as_ref())
    })?;
    let sent = sent.ok_or(Fail::new("Did not receive uploaded file."))?;
    if sent.receiver.size() == 0 {
        return Err(Fail::new("Filesize received was zero."));
    }
    tokio::time::sleep(shared.options.quirks.yetishare.second_hop).await;
    shared.with(|world| {
        let context = Context::of(shared, world, index, &params)?;
        fits(&context, sent.receiver.size())
    })?;
    let Sent {
        file_name,
        content_type,
        ..
    } = &sent;
    let (file_name, content_type) = (file_name.clone(), content_type.clone());
    let (receiver, md5) = sent.into_parts();
    let content = shared.blobs.keep(receiver).await.map_err(|error| {
        tracing::warn!(%error, "the sandbox could not store an upload");
        Fail::new("Error uploading file. Could not move the file into storage.")
    })?;
    if matches!(fault, Some(Fault::StoreWrong { .. })) {
        let mut spoiled = shared.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        spoiled.insert(content.sha256.clone());
    }
    let received = Received {
        file_name,
        content_type: content_type.unwrap_or_else(|| OCTETS.to_owned()),
        content,
        md5,
    };
    let stays_in_root = fault == Some(Fault::WrongFolder);
    let reply = shared.with(|world| {
        let mut context = Context::of(shared, world, index, &params)?;
        put(&mut context, received, stays_in_root)
    });
    shared.catch_up().await;
    reply
}

/// Whether the account takes so many bytes more.
fn fits(context: &Context<'_>, size: u64) -> Result<(), Fail> {
    let config = &context.account.config;
    let used = context.account.tree.used();
    let exceeds = |limit: u64, size: u64| limit > 0 && size > limit;
    let why = if exceeds(config.max_upload_size, size) {
        "maxFileSize"
    } else if exceeds(config.storage_limit, used.saturating_add(size)) {
        "Storage full."
    } else {
        return Ok(());
    };
    let url = format!("{}ajax/file_upload_handler", context.site());
    Err(Fail::new(format!("Error on: {url}. {why}")))
}

struct Received {
    file_name: String,
    content_type: String,
    content: Content,
    md5: String,
}

/// The folder that an upload asks for; one that is not there, or not the account's own, is the root.
fn folder(context: &Context<'_>, params: &Params) -> String {
    let asked = context.live_folder(params.get("folder_id"));
    asked.unwrap_or_else(|| ROOT.to_owned())
}

fn put(context: &mut Context<'_>, received: Received, stays_in_root: bool) -> Reply {
    let parent = if stays_in_root {
        ROOT.to_owned()
    } else {
        folder(context, context.params)
    };
    let now = context.now;
    let altered = context.quirks().names_altered;
    let name = names::stored_name(&received.file_name, altered, now);
    let tree = &mut context.account.tree;
    let name = names::free_name(&name, |name| tree.file_named(&parent, name).is_some());
    let key = context.host.mint(Kind::File);
    let size = received.content.size;
    tree.add_file(&key, &parent, &name, received.content, now, now);
    let file = context.account.tree.file(&key).ok_or(Fail::no_file())?;
    let account = &context.account.config.name;
    let quirks = context.quirks();
    let [url, info, stats, delete] = context.urls(file);
    Ok(fields(json!({
        "response": "File uploaded",
        "data": [{
            "name": name,
            "size": shape::number(size, quirks),
            "type": received.content_type,
            "error": null,
            "url": url,
            "delete_url": delete,
            "info_url": info,
            "delete_type": "DELETE",
            "delete_hash": shape::delete_hash(account, &key),
            "hash": received.md5,
            "stats_url": stats,
            "short_url": shape::short(&key),
            "file_id": shape::id(&key, quirks),
            "unique_hash": shape::unique_hash(account, &key),
            "url_html": format!("<a href=\"{url}\" target=\"_blank\">{name}</a>"),
            "url_bbcode": format!("[url]{url}[/url]"),
        }],
    })))
}
