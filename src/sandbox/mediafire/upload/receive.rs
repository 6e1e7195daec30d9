//! `upload/simple` and `upload/resumable`: bodies, streamed to the disk.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::super::envelope::{self, Fail, Reply, fields, text};
use super::super::params::Params;
use super::super::session::{self, Identity};
use super::super::{Answered, Context, Signed};
use super::record::{Aim, Stage, Upload};
use super::{MISMATCH, bitmap, hash_of, unit_size};
use crate::sandbox::blobs::Growing;
use crate::sandbox::faults::Fault;
use crate::sandbox::multipart::{Multipart, Piece};
use crate::sandbox::state::{Shared, millis, now, private_dir};
use crate::sandbox::tree::Content;

/// What the call says before its body, checked.
struct Announced {
    account: String,
    aim: Aim,
    name: Option<String>,
    size: Option<u64>,
    hash: Option<String>,
    doom: Option<i64>,
}

/// A body, raw or inside a form, whose first file counts.
struct Incoming {
    body: BodyDataStream,
    form: Option<Multipart>,
    at: Place,
    file_name: Option<String>,
}

/// Where a form has come to, seen from its first file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

impl Incoming {
    /// The next bytes of content; `None` at its end. An error when the body broke off or is malformed.
    async fn next(&mut self) -> Option<Result<Vec<u8>, Fail>> {
        let bytes = match self.body.next().await? {
            Ok(bytes) => bytes,
            Err(_) => return Some(Err(Fail::new(169))),
        };
        let Some(form) = &mut self.form else {
            return Some(Ok(bytes.to_vec()));
        };
        let Some(pieces) = form.feed(&bytes) else {
            return Some(Err(Fail::new(129)));
        };
        let mut content = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Part(part) => {
                    self.at = match self.at {
                        Place::Before if part.file_name.is_some() => Place::Inside,
                        Place::Before => Place::Before,
                        Place::Inside | Place::Behind => Place::Behind,
                    };
                    if self.at == Place::Inside {
                        self.file_name = part.file_name;
                    }
                }
                Piece::Data(data) if self.at == Place::Inside => content.extend(data),
                Piece::Data(_) => {}
            }
        }
        Some(Ok(content))
    }

    async fn drain(&mut self) {
        while let Some(Ok(_)) = self.body.next().await {}
    }

    fn broke_off(&self) -> bool {
        self.form.as_ref().is_some_and(|form| !form.is_complete())
    }
}

pub async fn receive(shared: &Arc<Shared>, call: &str, request: Request, fault: Option<Fault>) -> Response {
    let (parts, body) = request.into_parts();
    let kind = header(&parts.headers, "content-type").unwrap_or_default();
    let mut incoming = Incoming {
        body: body.into_data_stream(),
        form: Multipart::of(&kind),
        at: Place::Before,
        file_name: None,
    };
    let query = parts.uri.query().unwrap_or_default();
    let params = Params::parse(query);
    let signed = Signed {
        path: parts.uri.path(),
        text: query,
    };
    let mut new_key = false;
    let mut account = None;
    let announced = shared.with(|world| {
        let identity = session::identify(world, call, &params, &signed, fault.as_ref())?;
        let Identity {
            account: who,
            new_key: moved,
        } = identity;
        new_key = moved;
        account = who
            .and_then(|who| world.accounts.get(who))
            .map(|account| account.config.name.clone());
        if let Some(Fault::Error { code }) = fault {
            return Err(Fail::new(code));
        }
        let mut context = Context {
            shared,
            world,
            who,
            params: &params,
            fault: fault.clone(),
            now: now(),
        };
        announce(&mut context, &parts)
    });
    let reply = match announced {
        Ok(announced) if call == "upload/simple" => simple(shared, announced, &mut incoming).await,
        Ok(announced) => resumable(shared, announced, &params, &parts, &mut incoming).await,
        Err(fail) => Err(fail),
    };
    if reply.is_err() {
        // The client hears an answer only after it could send everything.
        incoming.drain().await;
    }
    shared.catch_up().await;
    envelope::render(
        call,
        &params,
        Answered {
            reply,
            new_key,
            account,
        },
        shared,
    )
}

/// A header's text; names come as raw UTF-8.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    String::from_utf8(bytes.to_vec())
        .ok()
        .filter(|text| !text.is_empty())
}

fn announce(context: &mut Context<'_>, parts: &Parts) -> Result<Announced, Fail> {
    let account = context.account_name()?;
    let headers = &parts.headers;
    let name = header(headers, "x-filename").or(context.params.filled("filename").map(str::to_owned));
    if let Some(name) = &name {
        context.check_name(name, 118)?;
    }
    let size = match header(headers, "x-filesize") {
        Some(size) => Some(size.trim().parse().map_err(|_| Fail::new(129))?),
        None => None,
    };
    if size.is_some_and(|size: u64| size > context.shared.options.quirks.max_upload_size) {
        return Err(Fail::new(282));
    }
    let hash = hash_of(header(headers, "x-filehash").as_deref())?;
    let doom = match context.fault {
        Some(Fault::FileError { code }) => Some(code),
        _ => None,
    };
    Ok(Announced {
        account,
        aim: context.aim(false)?,
        name,
        size,
        hash,
        doom,
    })
}

async fn simple(shared: &Arc<Shared>, announced: Announced, incoming: &mut Incoming) -> Reply {
    let mut receiver = shared.blobs.receive().await.map_err(disk)?;
    while let Some(bytes) = incoming.next().await {
        receiver.write(&bytes?).await.map_err(disk)?;
        if receiver.size() > shared.options.quirks.max_upload_size {
            return Err(Fail::new(282));
        }
    }
    if receiver.size() == 0 || incoming.broke_off() {
        return Err(Fail::new(169));
    }
    let inner = incoming.file_name.take();
    let name = announced.name.or(inner).ok_or(Fail::new(128))?;
    let content = shared.blobs.keep(receiver).await.map_err(disk)?;
    let promised = Content {
        sha256: announced.hash.unwrap_or_default(),
        size: announced.size.unwrap_or(content.size),
    };
    let ready_at = millis() + shared.options.quirks.processing.as_millis() as u64;
    let stage = Stage::Waiting { content, ready_at };
    let mut upload = Upload::simple(announced.account, name, promised, announced.aim, stage);
    upload.doom = announced.doom;
    let key = shared.with(|world| world.mediafire.uploads.begin(upload));
    Ok(fields(json!({ "doupload": { "result": "0", "key": key } })))
}

fn disk(error: std::io::Error) -> Fail {
    tracing::warn!(%error, "the sandbox could not store an upload");
    Fail::new(169)
}

/// What a unit's headers say of it.
struct Unit {
    id: usize,
    size: u64,
    hash: Option<String>,
}

impl Unit {
    fn of(headers: &HeaderMap) -> Result<Self, Fail> {
        let number = |name: &str| header(headers, name).and_then(|text| text.trim().parse::<u64>().ok());
        let id = number("x-unit-id")
            .and_then(|id| usize::try_from(id).ok())
            .ok_or(Fail::new(128))?;
        let size = number("x-unit-size").ok_or(Fail::new(128))?;
        Ok(Self {
            id,
            size,
            hash: hash_of(header(headers, "x-unit-hash").as_deref())?,
        })
    }
}

async fn resumable(
    shared: &Arc<Shared>,
    announced: Announced,
    params: &Params,
    parts: &Parts,
    incoming: &mut Incoming,
) -> Reply {
    let unit = Unit::of(&parts.headers)?;
    let size = announced.size.ok_or(Fail::new(128))?;
    let hash = announced.hash.clone().ok_or(Fail::new(264))?;
    let content = Content { sha256: hash, size };
    let key = shared.with(|world| find_upload(world, &announced, &content, params))?;
    let Some(upload) = shared.with(|world| world.mediafire.uploads.get(&key).cloned()) else {
        return Err(Fail::new(175));
    };
    let start = (unit.id as u64)
        .checked_mul(upload.unit_size)
        .ok_or(Fail::new(129))?;
    let due = size.saturating_sub(start).min(upload.unit_size);
    let have = *upload.units.get(unit.id).ok_or(Fail::new(129))?;
    if unit.size != due {
        return Err(Fail::new(129));
    }
    if have {
        incoming.drain().await;
    } else {
        write_unit(shared, &key, &unit, start, incoming).await?;
    }
    let (complete, told) = shared.with(|world| {
        let uploads = &mut world.mediafire.uploads;
        uploads.edit(&key, |upload| {
            if let Some(have) = upload.units.get_mut(unit.id) {
                *have = true;
            }
            if matches!(upload.stage, Stage::Receiving) {
                // The last call's word on where and how counts, as the name of one sent does.
                upload.aim = announced.aim;
                upload.doom = announced.doom.or(upload.doom);
                if let Some(name) = announced.name {
                    upload.name = name;
                }
            }
        });
        let Some(upload) = uploads.get(&key) else {
            return (false, fields(json!({})));
        };
        let complete = matches!(upload.stage, Stage::Receiving) && upload.units.iter().all(|have| *have);
        let mut told = bitmap(upload.unit_size, &upload.units);
        told.insert("upload_key".to_owned(), Value::from(key.as_str()));
        if complete {
            uploads.set_stage(&key, Stage::Assembling);
        }
        (complete, told)
    });
    if complete {
        assemble(shared, key.clone());
    } else {
        hash_ahead(shared, key.clone());
    }
    Ok(fields(
        json!({ "doupload": { "result": "0", "key": text(&key) }, "resumable_upload": told }),
    ))
}

/// The upload that a unit belongs to: the one it names, the one under way for its content, or a new one.
fn find_upload(
    world: &mut crate::sandbox::state::World,
    announced: &Announced,
    content: &Content,
    params: &Params,
) -> Result<String, Fail> {
    let uploads = &mut world.mediafire.uploads;
    if let Some(key) = params.filled("key") {
        let known = uploads
            .get(key)
            .filter(|upload| upload.account == announced.account);
        return match known {
            Some(upload) if upload.content == *content => Ok(key.to_owned()),
            _ => Err(Fail::new(175)),
        };
    }
    let folder = Some(announced.aim.folder.as_str());
    let name = announced.name.as_deref();
    let found = uploads
        .find(&announced.account, content, name, folder)
        .or_else(|| uploads.find(&announced.account, content, name, None));
    match (found, name) {
        (Some(key), _) => Ok(key),
        (None, Some(name)) => Ok(uploads.begin(Upload::resumable(
            &announced.account,
            name.to_owned(),
            content.clone(),
            announced.aim.clone(),
            unit_size(content.size),
            now(),
        ))),
        (None, None) => Err(Fail::new(128)),
    }
}

fn part_path(shared: &Shared, key: &str) -> PathBuf {
    private_dir(&shared.options.data).join("parts").join(key)
}

/// Writes a unit straight to its place in the file to be. It counts only once its hash is right.
async fn write_unit(
    shared: &Shared,
    key: &str,
    unit: &Unit,
    start: u64,
    incoming: &mut Incoming,
) -> Result<(), Fail> {
    let path = part_path(shared, key);
    if let Some(parts) = path.parent() {
        tokio::fs::create_dir_all(parts).await.map_err(disk)?;
    }
    let options = tokio::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .await;
    let mut file = options.map_err(disk)?;
    file.seek(SeekFrom::Start(start)).await.map_err(disk)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    while let Some(bytes) = incoming.next().await {
        let bytes = bytes?;
        size += bytes.len() as u64;
        if size > unit.size {
            return Err(Fail::new(129));
        }
        hasher.update(&bytes);
        file.write_all(&bytes).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    let hash = hex::encode(hasher.finalize());
    if size != unit.size || incoming.broke_off() || unit.hash.as_ref().is_some_and(|sent| *sent != hash) {
        return Err(Fail::new(304));
    }
    Ok(())
}

/// Removes parts on disk that belong to no upload under way.
pub fn sweep(shared: &Shared) {
    let Ok(parts) = std::fs::read_dir(part_path(shared, "")) else {
        return;
    };
    for part in parts.flatten() {
        let wanted = shared.with(|world| {
            let upload = part
                .file_name()
                .into_string()
                .ok()
                .and_then(|key| world.mediafire.uploads.get(&key).cloned());
            upload.is_some_and(|upload| matches!(upload.stage, Stage::Receiving | Stage::Assembling))
        });
        if !wanted && let Err(error) = std::fs::remove_file(part.path()) {
            tracing::warn!(%error, "a left over part of an upload could not be removed");
        }
    }
}

/// Hashes the units that are there from the first on, so that the whole hash is not long in coming at the end.
fn hash_ahead(shared: &Arc<Shared>, key: String) {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        // Whoever hashes it at the moment, or the end, does this part as well.
        let growing = shared.with(|world| world.mediafire.uploads.growing(&key));
        if let Ok(mut growing) = growing.try_lock()
            && let Err(error) = hash_units(&shared, &key, &mut growing)
        {
            tracing::debug!(%error, "units could not be hashed ahead");
        }
    });
}

fn hash_units(shared: &Shared, key: &str, growing: &mut Growing) -> std::io::Result<()> {
    let Some(upload) = shared.with(|world| world.mediafire.uploads.get(key).cloned()) else {
        return Ok(());
    };
    let there = upload.units.iter().take_while(|have| **have).count() as u64;
    let end = there.saturating_mul(upload.unit_size).min(upload.content.size);
    growing.read_to(&std::fs::File::open(part_path(shared, key))?, end)
}

/// Puts a complete upload together in the background: the whole hash decides.
pub fn assemble(shared: &Arc<Shared>, key: String) {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        let Some(upload) = shared.with(|world| world.mediafire.uploads.get(&key).cloned()) else {
            return;
        };
        let done = put_together(&shared, &key, &upload.content);
        let ready_at = millis() + shared.options.quirks.processing.as_millis() as u64;
        let stage = match done {
            Ok(true) => Stage::Waiting {
                content: upload.content,
                ready_at,
            },
            Ok(false) => Stage::Failed { code: MISMATCH },
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not assemble an upload");
                Stage::Failed { code: 10 }
            }
        };
        shared.with(|world| world.mediafire.uploads.set_stage(&key, stage));
    });
}

/// Moves the units of an upload into the store; false where they are not what was promised.
fn put_together(shared: &Shared, key: &str, promised: &Content) -> std::io::Result<bool> {
    let growing = shared.with(|world| world.mediafire.uploads.growing(key));
    let mut growing = growing.lock().unwrap_or_else(PoisonError::into_inner);
    hash_units(shared, key, &mut growing)?;
    let path = part_path(shared, key);
    if growing.content() != *promised || path.metadata()?.len() != promised.size {
        std::fs::remove_file(path)?;
        return Ok(false);
    }
    shared.blobs.move_in(path, promised)?;
    Ok(true)
}
