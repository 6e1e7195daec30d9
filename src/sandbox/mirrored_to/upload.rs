//! The three steps of an upload.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{MIB, Note, Reply, Stored, Upload, date, number, refuse};
use crate::sandbox::Account;
use crate::sandbox::blobs::Receiver;
use crate::sandbox::fetch;
use crate::sandbox::form::{Form, Sent, name_in};
use crate::sandbox::state::{Shared, World};
use crate::sandbox::tree::ROOT;
use crate::sandbox::yetishare::site_url;

const UPLOADED: &str = "File successfully uploaded to our server. You may generate download URL by calling \
    finish_upload api method and providing the mirrors list.";

const TOO_LARGE: &str = "The file is larger than max_filesize.";

/// The first step.
pub fn info(shared: &Shared, world: &mut World, account: &Account) -> Reply {
    let quirks = &shared.options.quirks.mirrored_to;
    let now = shared.clock();
    let expires = now + quirks.upload_life.as_secs() as i64;
    let id = format!("{:032x}", fastrand::u128(..));
    let host = world.mirrored_to.host(&account.name);
    host.stamp += 1;
    host.uploads.retain(|_, upload| upload.expires >= now);
    let upload = Upload { expires, sent: None };
    host.uploads.insert(id.clone(), upload);
    let server = format!("{}up/api/v1/", site_url(shared.address, account));
    let list = |mirrors: &[(String, u64)]| -> Value {
        let mirrors = mirrors
            .iter()
            .map(|(name, most)| json!([name, number(*most, quirks)]));
        mirrors.collect()
    };
    let all = &quirks.mirrors;
    let own = all.len().saturating_sub(quirks.user_mirrors);
    Ok(json!({
        "upload_id": id,
        "file_upload_url": format!("{server}api_file_upload"),
        "remote_upload_url": format!("{server}api_remote_upload"),
        "upload_expiry": date(expires),
        "max_filesize": number(account.max_upload_size / MIB, quirks),
        "max_mirrors": number(quirks.max_mirrors, quirks),
        "available_mirrors": list(all),
        "default_mirrors": list(all.get(..quirks.default_mirrors).unwrap_or(all)),
        "user_mirrors": list(all.get(own..).unwrap_or_default()),
    }))
}

/// Whether an upload with this id is under way.
fn known(
    shared: &Shared,
    world: &mut World,
    account: &Account,
    id: &str,
) -> Result<(), (StatusCode, String)> {
    let now = shared.clock();
    let host = world.mirrored_to.host(&account.name);
    match host.uploads.get(id) {
        None => refuse("Invalid upload_id."),
        Some(upload) if upload.expires < now => refuse("Your upload_id has expired."),
        Some(_) => Ok(()),
    }
}

/// The second step. The service goes on with it even when the sender does not wait for the answer.
pub async fn file(shared: &Arc<Shared>, account: &Account, mut form: Form) -> Reply {
    let id = form.get("upload_id").to_owned();
    shared.with(|world| known(shared, world, account, &id))?;
    let Some(Sent {
        file_name, receiver, ..
    }) = form.sent.take()
    else {
        return refuse("No file was uploaded.");
    };
    let (shared, account) = (Arc::clone(shared), account.clone());
    let work = tokio::spawn(async move { store(&shared, &account, &id, file_name, receiver).await });
    work.await
        .unwrap_or_else(|_| refuse("The file could not be stored."))
}

/// The second step, with a file that the service fetches, from loopback only. It goes on with that even when nobody
/// waits for the answer.
pub async fn remote(shared: &Arc<Shared>, account: &Account, form: &Form) -> Reply {
    let id = form.get("upload_id").to_owned();
    shared.with(|world| known(shared, world, account, &id))?;
    let Ok(url) = url::Url::parse(form.get("remote_url")) else {
        return refuse("Invalid remote_url.");
    };
    let (shared, account) = (Arc::clone(shared), account.clone());
    let work = tokio::spawn(async move {
        let fetched = fetch::fetch(&shared, &url, account.max_upload_size).await;
        let receiver = fetched.or_else(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => refuse(TOO_LARGE),
            _ => refuse(format!("The file could not be fetched: {error}.")),
        })?;
        store(&shared, &account, &id, name_in(&url), receiver).await
    });
    work.await
        .unwrap_or_else(|_| refuse("The file could not be fetched."))
}

async fn store(shared: &Shared, account: &Account, id: &str, name: String, receiver: Receiver) -> Reply {
    if receiver.size() == 0 {
        return refuse("The file is empty.");
    }
    if receiver.size() > account.max_upload_size {
        return refuse(TOO_LARGE);
    }
    let content = shared.blobs.keep(receiver).await.or_else(|error| {
        tracing::warn!(%error, "the sandbox could not store an upload");
        refuse("The file could not be stored.")
    })?;
    shared.with(|world| {
        let host = world.mirrored_to.host(&account.name);
        host.stamp += 1;
        let Some(upload) = host.uploads.get_mut(id) else {
            return refuse("Invalid upload_id.");
        };
        upload.sent = Some(Stored { name, content });
        Ok(json!(UPLOADED))
    })
}

/// The third step: a file is made of what was sent.
pub fn finish(shared: &Shared, world: &mut World, index: usize, form: &Form) -> Reply {
    let quirks = &shared.options.quirks.mirrored_to;
    let Some(account) = shared.options.accounts.get(index) else {
        return refuse("No such account.");
    };
    let id = form.get("upload_id");
    known(shared, world, account, id)?;
    let host = world.mirrored_to.host(&account.name);
    let sent = host.uploads.get(id).and_then(|upload| upload.sent.clone());
    let Some(Stored { name, content }) = sent else {
        return refuse("No file was uploaded for this upload_id.");
    };
    let mirrors: Vec<String> = form
        .get("mirrors")
        .split(',')
        .filter(|mirror| !mirror.is_empty())
        .map(str::to_owned)
        .collect();
    if mirrors.is_empty() {
        return refuse("Please provide the mirrors.");
    }
    if mirrors.len() as u64 > quirks.max_mirrors {
        return refuse(format!("You may choose up to {} mirrors.", quirks.max_mirrors));
    }
    for mirror in &mirrors {
        match quirks.mirrors.iter().find(|(known, _)| known == mirror) {
            None => return refuse(format!("Invalid mirror: {mirror}.")),
            Some((_, most)) if content.size > most * MIB => {
                return refuse(format!("The file is too large for the mirror {mirror}."));
            }
            Some(_) => {}
        }
    }
    let filled = |name: &str| {
        let value = form.get(name);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let note = Note {
        mirrors,
        password: filled("password"),
        email: filled("email"),
        withdrawn: false,
    };
    host.uploads.remove(id);
    let file = host.mint();
    host.notes.insert(file.clone(), note);
    let now = shared.clock();
    if let Some(state) = world.accounts.get_mut(index) {
        state.tree.add_file(&file, ROOT, &name, content, now, now);
    }
    let site = site_url(shared.address, account);
    let shown: String =
        percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).collect();
    Ok(json!({
        "file_id": file,
        "full_url": format!("{site}files/{file}/{shown}_links"),
        "short_url": format!("{site}mir.cr/{file}"),
    }))
}
