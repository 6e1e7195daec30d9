//! The upload server: chunks that are collected by name, and files that it fetches itself.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::{Note, Reply, date, identify, is_open, link, number};
use crate::sandbox::blobs::Receiver;
use crate::sandbox::faults::Fault;
use crate::sandbox::fetch;
use crate::sandbox::form::{Form, Sent, name_in};
use crate::sandbox::state::Shared;
use crate::sandbox::tree::{Content, ROOT};

/// What has come of files so far, by their names alone. Each is appended to by one request at a time.
pub type Collections = HashMap<String, Arc<tokio::sync::Mutex<Option<Receiver>>>>;

/// Where a chunk is told to belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing is told: the file is whole.
    Whole,
    /// The end is told too, and never looked at.
    Chunk { start: u64, total: u64 },
}

impl Place {
    pub fn read(headers: &HeaderMap) -> Result<Self, String> {
        let Some(told) = headers.get(header::CONTENT_RANGE) else {
            return Ok(Self::Whole);
        };
        let told = told.to_str().ok().and_then(Self::parse);
        told.ok_or("Invalid Content-Range.".to_owned())
    }

    fn parse(told: &str) -> Option<Self> {
        let (range, total) = told.strip_prefix("bytes")?.trim().split_once('/')?;
        let (start, _) = range.split_once('-')?;
        Some(Self::Chunk {
            start: start.trim().parse().ok()?,
            total: total.trim().parse().ok()?,
        })
    }
}

/// What a request for an upload names beside the file.
struct Wanted {
    upload_key: String,
    mirrors: Vec<String>,
    password: Option<String>,
}

/// Checks all that comes with a file, and begins the upload.
fn admit(shared: &Shared, index: usize, form: &Form, fault: Option<&Fault>) -> Result<Wanted, String> {
    let account = shared.options.accounts.get(index).ok_or("No such account.")?;
    let quirks = &shared.options.quirks.mirrorace;
    let now = shared.clock();
    let upload_key = form.get("upload_key").to_owned();
    shared.with(|world| {
        identify(world, account, form, fault)?;
        let site = world.mirrorace.host(&account.name);
        if fault == Some(&Fault::ExpireToken) {
            site.keys.remove(&upload_key);
        }
        let key = site.keys.get_mut(&upload_key).ok_or("Invalid upload key.")?;
        if !key.begun && key.expires < now {
            return Err(format!("The upload key expired at {}.", date(key.expires)));
        }
        if key.tracker != form.get("cTracker") {
            return Err("Invalid cTracker.".to_owned());
        }
        key.begun = true;
        Ok(())
    })?;
    let mirrors: Vec<String> = form.list("mirrors").into_iter().map(str::to_owned).collect();
    if mirrors.is_empty() {
        return Err("The mirrors field is required.".to_owned());
    }
    if mirrors.len() > quirks.max_mirrors as usize {
        return Err(format!("You may select up to {} mirrors.", quirks.max_mirrors));
    }
    let closed = mirrors
        .iter()
        .find(|mirror| !mirror.parse().is_ok_and(|mirror| is_open(mirror, quirks)));
    if let Some(closed) = closed {
        return Err(format!("The mirror {closed} is not available."));
    }
    let password = form.get("file_password");
    Ok(Wanted {
        upload_key,
        mirrors,
        password: (!password.is_empty()).then(|| password.to_owned()),
    })
}

/// Takes a chunk. The service goes on with it even when the sender does not wait for the answer.
pub async fn chunk(
    shared: &Arc<Shared>,
    index: usize,
    mut form: Form,
    place: Place,
    fault: Option<Fault>,
) -> Reply {
    let wanted = admit(shared, index, &form, fault.as_ref())?;
    let sent = form.sent.take().ok_or("The files field is required.")?;
    let shared = Arc::clone(shared);
    let work = tokio::spawn(async move { collect(&shared, index, wanted, sent, place).await });
    work.await
        .unwrap_or_else(|_| Err("The file could not be stored.".to_owned()))
}

async fn collect(shared: &Shared, index: usize, wanted: Wanted, sent: Sent, place: Place) -> Reply {
    let account = shared.options.accounts.get(index).ok_or("No such account.")?;
    let quirks = &shared.options.quirks.mirrorace;
    let Sent {
        file_name, receiver, ..
    } = sent;
    let (start, total) = match place {
        Place::Whole => (0, receiver.size()),
        Place::Chunk { start, total } => (start, total),
    };
    if receiver.size() == 0 {
        return Err("The file is empty.".to_owned());
    }
    if receiver.size() > quirks.max_chunk_size {
        return Err("The chunk exceeds the maximum chunk size.".to_owned());
    }
    if total > account.max_upload_size {
        return Err("The file exceeds the maximum file size.".to_owned());
    }
    let collection = shared.with(|world| {
        let site = world.mirrorace.host(&account.name);
        Arc::clone(site.collections.entry(file_name.clone()).or_default())
    });
    let mut collection = collection.lock().await;
    let stored = async {
        let mut all = match collection.take() {
            Some(all) if start > 0 => all,
            _ => shared.blobs.receive().await?,
        };
        receiver.append_to(&mut all).await?;
        std::io::Result::Ok(all)
    };
    let all = stored.await.map_err(|error| report(&error))?;
    if all.size() != total {
        let told = json!({ "name": file_name, "size": number(all.size(), quirks), "info": "continue" });
        *collection = Some(all);
        return Ok(told);
    }
    drop(collection);
    let content = shared.blobs.keep(all).await.map_err(|error| report(&error))?;
    Ok(publish(shared, index, wanted, &file_name, content))
}

fn report(error: &std::io::Error) -> String {
    tracing::warn!(%error, "the sandbox could not store an upload");
    "The file could not be stored.".to_owned()
}

/// Fetches a file, from loopback only. The service goes on with it even when nobody waits for the answer.
pub async fn remote(shared: &Arc<Shared>, index: usize, form: Form, fault: Option<Fault>) -> Reply {
    let wanted = admit(shared, index, &form, fault.as_ref())?;
    let url = url::Url::parse(form.get("url")).map_err(|_| "The url is not valid.")?;
    let shared = Arc::clone(shared);
    let work = tokio::spawn(async move { take(&shared, index, wanted, &url).await });
    work.await
        .unwrap_or_else(|_| Err("The file could not be fetched.".to_owned()))
}

async fn take(shared: &Shared, index: usize, wanted: Wanted, url: &url::Url) -> Reply {
    let account = shared.options.accounts.get(index).ok_or("No such account.")?;
    let fetched = fetch::fetch(shared, url, account.max_upload_size).await;
    let receiver = fetched.map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => "The file exceeds the maximum file size.".to_owned(),
        _ => format!("The file could not be fetched: {error}."),
    })?;
    if receiver.size() == 0 {
        return Err("The file is empty.".to_owned());
    }
    let content = shared
        .blobs
        .keep(receiver)
        .await
        .map_err(|error| report(&error))?;
    Ok(publish(shared, index, wanted, &name_in(url), content))
}

/// Makes a file of what came, under a slug of its own.
fn publish(shared: &Shared, index: usize, wanted: Wanted, name: &str, content: Content) -> Value {
    let quirks = &shared.options.quirks.mirrorace;
    let now = shared.clock();
    let size = content.size;
    let slug = shared.with(|world| {
        let account = world.accounts.get_mut(index)?;
        let site = world.mirrorace.host(&account.config.name);
        let slug = site.mint();
        site.keys.remove(&wanted.upload_key);
        let note = Note {
            mirrors: wanted.mirrors,
            password: wanted.password,
            withdrawn: None,
        };
        site.notes.insert(slug.clone(), note);
        account.tree.add_file(&slug, ROOT, name, content, now, now);
        Some(slug)
    });
    let slug = slug.unwrap_or_default();
    let url = shared.options.accounts.get(index);
    let url = url.map(|account| link(shared, account, &slug));
    json!({
        "name": name,
        "size": number(size, quirks),
        "slug": slug,
        "url": url,
        "info": "complete",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_and_the_total_of_a_place_count() {
        let chunk = Some(Place::Chunk { start: 5, total: 12 });
        for told in ["bytes 5-9/12", "bytes5-9/12", "bytes 5-10/12", "bytes 5-/12"] {
            assert_eq!(Place::parse(told), chunk, "{told}");
        }
        for told in ["5-9/12", "bytes 5-9", "bytes x-9/12", "bytes 5-9/*"] {
            assert_eq!(Place::parse(told), None, "{told}");
        }
    }
}
