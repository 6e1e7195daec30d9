//! `upload/*`: asking, sending, and waiting until a file is there.
//!
//! An upload is noted under its key from the first check or byte on. When all its bytes are in and hashed it
//! waits for [`super::super::Quirks::processing`], and then [`settle`] puts it into its folder. What can go
//! wrong at that point is told to whoever polls, as the service does it.

mod receive;
mod record;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::envelope::{Fail, Reply, fields, text, yes};
use super::{Context, mint, shape};
use crate::sandbox::Quirks;
use crate::sandbox::blobs::EMPTY_SHA256;
use crate::sandbox::state::{Shared, World, millis, now};
use crate::sandbox::tree::{Content, Kind, ROOT, Tree};

pub use receive::receive;
use record::OnDuplicate;
pub use record::{Aim, Stage, Upload, Uploads};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Numbers of `fileerror`.
const SIZE_ZERO: i64 = 2;
const MISMATCH: i64 = 7;
const NAME_EXISTS: i64 = 13;
const NO_FOLDER: i64 = 14;
const NO_STORAGE: i64 = 15;

/// How large the units of a file are.
fn unit_size(size: u64) -> u64 {
    match size {
        _ if size < 4 * MIB => 4 * MIB,
        _ if size < 16 * MIB => MIB,
        _ if size < 64 * MIB => 2 * MIB,
        _ if size < 256 * MIB => 4 * MIB,
        _ if size < GIB => 8 * MIB,
        _ if size < 4 * GIB => 16 * MIB,
        _ if size < 16 * GIB => 32 * MIB,
        _ => 64 * MIB,
    }
}

impl Context<'_> {
    /// Where an upload goes: the folder, by key or by a path below it whose folders are made on demand, and
    /// what the call says of the name, time and twins.
    pub fn aim(&mut self, make_folders: bool) -> Result<Aim, Fail> {
        if let Some(key) = self.params.filled("quick_key").or(self.params.filled("quickkey")) {
            let key = self.own_file(key)?;
            if !self.tree()?.is_live_file(&key) {
                return Err(Fail::new(211));
            }
            let mtime = self.params.filled("mtime").map(|_| self.mtime()).transpose()?;
            let folder = self
                .tree()?
                .file(&key)
                .map_or(ROOT, |file| &file.parent)
                .to_owned();
            let on_duplicate = OnDuplicate::Replace;
            return Ok(Aim {
                folder,
                path: None,
                quick_key: Some(key),
                on_duplicate,
                mtime,
            });
        }
        if self.params.filled("filedrop_key").is_some() {
            return Err(Fail::new(214));
        }
        let mut folder = match self.params.filled("folder_key") {
            Some(key) => self.own_folder(key)?,
            None => ROOT.to_owned(),
        };
        let mut left = None;
        if let Some(path) = self.params.filled("path") {
            let mut names = path.split('/').filter(|name| !name.is_empty());
            while let Some(name) = names.next() {
                self.check_name(name, 185)?;
                let now = self.now;
                let tree = self.tree()?;
                let known = tree.folder_named(&folder, name).map(|folder| folder.key.clone());
                folder = match known {
                    Some(key) => key,
                    None if make_folders => {
                        let key = mint(Kind::Folder);
                        tree.add_folder(&key, &folder, name, now);
                        key
                    }
                    None => {
                        left = Some(names.fold(name.to_owned(), |path, name| format!("{path}/{name}")));
                        break;
                    }
                };
            }
        }
        let on_duplicate = match self.params.filled("action_on_duplicate").unwrap_or("keep") {
            "skip" => OnDuplicate::Skip,
            "keep" => OnDuplicate::Keep,
            "replace" => OnDuplicate::Replace,
            _ => return Err(Fail::new(129)),
        };
        let mtime = self.params.filled("mtime").map(|_| self.mtime()).transpose()?;
        Ok(Aim {
            folder,
            path: left,
            quick_key: None,
            on_duplicate,
            mtime,
        })
    }

    pub fn account_name(&self) -> Result<String, Fail> {
        let account = self.world.accounts.get(self.account()?).ok_or(Fail::new(104))?;
        Ok(account.config.name.clone())
    }
}

/// A hash parameter in the form in which the store knows it.
fn hash_of(text: Option<&str>) -> Result<Option<String>, Fail> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(Some(text.to_lowercase()))
    } else {
        Err(Fail::new(265))
    }
}

pub fn check(context: &mut Context<'_>) -> Reply {
    let account = context.account_name()?;
    let name = context
        .params
        .filled("filename")
        .ok_or(Fail::new(128))?
        .to_owned();
    context.check_name(&name, 118)?;
    let size = context.params.number("size");
    let hash = hash_of(context.params.filled("hash"))?;
    if size.unwrap_or(0) > context.shared.options.quirks.max_upload_size {
        return Err(Fail::new(282));
    }
    let resumable = context.params.says_yes("resumable");
    let aim = context.aim(true)?;
    let limit = context
        .world
        .accounts
        .get(context.account()?)
        .map_or(0, |account| account.config.storage_limit);
    let room = context.room()?;
    let known = hash.as_deref().is_some_and(|hash| {
        let held = context.shared.blobs.size_of(hash);
        held.is_some() && size.is_none_or(|size| held == Some(size))
    });
    let tree = context.tree()?;
    let mut reply = fields(json!({
        "hash_exists": yes(known),
        "storage_limit": text(limit),
        "used_storage_size": text(tree.used()),
        "available_space": text(room),
        "storage_limit_exceeded": yes(size.unwrap_or(0) > room),
        "preemptive": "no",
    }));
    if known {
        let hash = hash.as_deref().unwrap_or_default();
        let in_folder = tree.files_in(&aim.folder).any(|file| file.content.sha256 == hash);
        reply.insert("in_account".to_owned(), yes(tree.file_holding(hash).is_some()));
        reply.insert("in_folder".to_owned(), yes(in_folder));
    }
    let twin = tree.file_named(&aim.folder, &name);
    reply.insert("file_exists".to_owned(), yes(twin.is_some()));
    if let Some(twin) = twin {
        let differs = hash.as_deref().is_none_or(|hash| hash != twin.content.sha256);
        reply.insert("different_hash".to_owned(), yes(differs));
        reply.insert("duplicate_quickkey".to_owned(), Value::from(twin.key.as_str()));
    }
    if context.params.filled("path").is_some() {
        reply.insert(
            "folder_key".to_owned(),
            Value::from(shape::folder_key(&aim.folder)),
        );
    }
    let base = context.base_url();
    reply.insert(
        "upload_url".to_owned(),
        json!({
            "simple": format!("{base}api/upload/simple.php"),
            "simple_fallback": format!("{base}api/upload/simple.php"),
            "resumable": format!("{base}api/upload/resumable.php"),
            "resumable_fallback": format!("{base}api/upload/resumable.php"),
        }),
    );
    if resumable {
        let size = size.ok_or(Fail::new(128))?;
        let hash = hash.ok_or(Fail::new(264))?;
        let content = Content { sha256: hash, size };
        reply.insert(
            "resumable_upload".to_owned(),
            resumable_upload(context, &account, name, content, aim, known)?,
        );
    }
    Ok(reply)
}

/// The state of a resumable upload: that of the one under way for the same content and place, or a new one.
fn resumable_upload(
    context: &mut Context<'_>,
    account: &str,
    name: String,
    content: Content,
    aim: Aim,
    known: bool,
) -> Result<Value, Fail> {
    let unit_size = unit_size(content.size);
    let uploads = &mut context.world.mediafire.uploads;
    let underway = uploads.find(account, &content, Some(&name), Some(&aim.folder));
    let key = match underway {
        Some(key) => key,
        None if known => {
            // The content is there already: nothing is missing, and there is no upload to speak of.
            let count = content.size.div_ceil(unit_size).max(1);
            return Ok(Value::from(bitmap(unit_size, &vec![true; count as usize])));
        }
        None => uploads.begin(Upload::resumable(account, name, content, aim, unit_size, now())),
    };
    let upload = uploads.get(&key).ok_or(Fail::new(100))?;
    let mut told = bitmap(unit_size, &upload.units);
    told.insert("upload_key".to_owned(), Value::from(key));
    Ok(Value::from(told))
}

/// Units as the service tells them: words of 16 bits, the first unit in the lowest bit of the first word.
fn bitmap(unit_size: u64, units: &[bool]) -> Map<String, Value> {
    let words: Vec<Value> = units
        .chunks(16)
        .map(|word| {
            let bits = word.iter().enumerate().map(|(bit, have)| u32::from(*have) << bit);
            text(bits.sum::<u32>())
        })
        .collect();
    fields(json!({
        "all_units_ready": yes(units.iter().all(|have| *have)),
        "number_of_units": text(units.len()),
        "unit_size": text(unit_size),
        "bitmap": { "count": text(words.len()), "words": words },
    }))
}

pub fn instant(context: &mut Context<'_>) -> Reply {
    context.account()?;
    let hash = hash_of(context.params.filled("hash"))?.ok_or(Fail::new(264))?;
    let size = context.params.number("size").ok_or(Fail::new(128))?;
    if context.shared.blobs.size_of(&hash) != Some(size) {
        return Err(Fail::new(265));
    }
    let aim = context.aim(true)?;
    let name = match (context.params.filled("filename"), &aim.quick_key) {
        (Some(name), _) => name.to_owned(),
        (None, Some(key)) => context
            .tree()?
            .file(key)
            .map(|file| file.name.clone())
            .unwrap_or_default(),
        (None, None) => return Err(Fail::new(128)),
    };
    context.check_name(&name, 118)?;
    let (room, now) = (context.room()?, context.now);
    let content = Content { sha256: hash, size };
    let tree = context.tree()?;
    let twin = tree.file_named(&aim.folder, &name).map(|file| file.key.clone());
    if aim.on_duplicate == OnDuplicate::Skip
        && let Some(twin) = twin
    {
        let filename = tree.file(&twin).map(|file| file.name.clone());
        return Ok(fields(json!({
            "quickkey": twin,
            "filename": filename,
            "new_device_revision": tree.revision(),
        })));
    }
    if size > room.saturating_add(freed(tree, &aim, &name)) {
        return Err(Fail::new(162));
    }
    let key = put(tree, &aim, &name, content, now).map_err(|_| Fail::new(169))?;
    let filename = tree.file(&key).map(|file| file.name.clone());
    let revision = tree.revision();
    Ok(fields(
        json!({ "quickkey": key, "filename": filename, "new_device_revision": revision }),
    ))
}

/// Bytes of the content that an upload takes the place of.
fn freed(tree: &Tree, aim: &Aim, name: &str) -> u64 {
    let replaced = match (&aim.quick_key, aim.on_duplicate) {
        (Some(key), _) => tree.file(key),
        (None, OnDuplicate::Replace) => tree.file_named(&aim.folder, name),
        _ => None,
    };
    replaced.map_or(0, |file| file.content.size)
}

/// Puts content into a tree as an upload asked for it. The error is a `fileerror`.
fn put(tree: &mut Tree, aim: &Aim, name: &str, content: Content, now: i64) -> Result<String, i64> {
    let created = aim.mtime.unwrap_or(now);
    if let Some(key) = &aim.quick_key {
        if !tree.is_live_file(key) {
            return Err(NO_FOLDER);
        }
        tree.put_content(key, content, created, now);
        return Ok(key.clone());
    }
    let mut folder = aim.folder.clone();
    if !tree.is_live_folder(&folder) {
        return Err(NO_FOLDER);
    }
    for part in aim.path.iter().flat_map(|path| path.split('/')) {
        let known = tree.folder_named(&folder, part).map(|folder| folder.key.clone());
        folder = known.unwrap_or_else(|| {
            let key = mint(Kind::Folder);
            tree.add_folder(&key, &folder, part, now);
            key
        });
    }
    let twin = tree.file_named(&folder, name).map(|file| file.key.clone());
    match (aim.on_duplicate, twin) {
        (OnDuplicate::Skip, Some(_)) => Err(NAME_EXISTS),
        (OnDuplicate::Replace, Some(key)) => {
            tree.put_content(&key, content, created, now);
            Ok(key)
        }
        _ => {
            let key = mint(Kind::File);
            let name = tree.free_name(&folder, name, Kind::File);
            tree.add_file(&key, &folder, &name, content, created, now);
            Ok(key)
        }
    }
}

/// Puts the uploads that have been processed by `at` (milliseconds since the epoch) into their folders.
pub fn settle(world: &mut World, quirks: &Quirks, at: u64) {
    for key in world.mediafire.uploads.due(at) {
        let Some(upload) = world.mediafire.uploads.get(&key).cloned() else {
            continue;
        };
        let Stage::Waiting { content, .. } = &upload.stage else {
            continue;
        };
        let stage = match conclude(world, quirks, &upload, content) {
            Ok(quickkey) => Stage::Done { quickkey },
            Err(code) => Stage::Failed { code },
        };
        world.mediafire.uploads.set_stage(&key, stage);
    }
}

fn conclude(world: &mut World, quirks: &Quirks, upload: &Upload, content: &Content) -> Result<String, i64> {
    if let Some(code) = upload.doom {
        return Err(code);
    }
    if content.size == 0 && content.sha256 == EMPTY_SHA256 && upload.content.size == 0 {
        return Err(SIZE_ZERO);
    }
    if upload.content.size != content.size
        || (!upload.content.sha256.is_empty() && upload.content.sha256 != content.sha256)
        || content.size > quirks.max_upload_size
    {
        return Err(MISMATCH);
    }
    let index = world.account(&upload.account).ok_or(NO_FOLDER)?;
    let account = world.accounts.get_mut(index).ok_or(NO_FOLDER)?;
    let freed = upload
        .aim
        .quick_key
        .as_ref()
        .and_then(|key| account.tree.file(key));
    let freed = freed.map_or(0, |file| file.content.size);
    let room = account
        .config
        .storage_limit
        .saturating_sub(account.tree.used().saturating_sub(freed));
    if content.size > room {
        return Err(NO_STORAGE);
    }
    put(
        &mut account.tree,
        &upload.aim,
        &upload.name,
        content.clone(),
        now(),
    )
}

pub fn poll(context: &mut Context<'_>) -> Reply {
    let key = context.params.filled("key").ok_or(Fail::new(128))?;
    if key.len() != record::KEY_LENGTH {
        return Ok(fields(json!({ "doupload": { "result": "-20" } })));
    }
    let Some(upload) = context.world.mediafire.uploads.get(key) else {
        return Ok(fields(json!({ "doupload": { "result": "-80" } })));
    };
    let quirks = &context.shared.options.quirks;
    let (status, description) = progress(upload, quirks);
    let mut told = fields(json!({ "result": "0", "status": text(status) }));
    let ready = matches!(upload.stage, Stage::Done { .. } | Stage::Failed { .. });
    if ready || !quirks.sparse_polls {
        told.insert("description".to_owned(), Value::from(description));
        told.insert("filename".to_owned(), Value::from(upload.name.as_str()));
    }
    match &upload.stage {
        Stage::Failed { code } => {
            told.insert("fileerror".to_owned(), text(code));
            told.insert("quickkey".to_owned(), Value::from(""));
            told.insert("size".to_owned(), text(upload.content.size));
        }
        Stage::Done { quickkey } => {
            let file = context
                .world
                .accounts
                .iter()
                .find_map(|account| account.tree.file(quickkey));
            told.insert("fileerror".to_owned(), Value::from(""));
            told.insert("quickkey".to_owned(), Value::from(quickkey.as_str()));
            if let Some(file) = file {
                told.insert("filename".to_owned(), Value::from(file.name.as_str()));
                told.insert("hash".to_owned(), Value::from(file.content.sha256.as_str()));
                told.insert("size".to_owned(), text(file.content.size));
                told.insert("created".to_owned(), Value::from(shape::local_time(file.created)));
                told.insert(
                    "created_utc".to_owned(),
                    Value::from(shape::utc_time(file.created)),
                );
                told.insert("revision".to_owned(), text(file.revision));
            }
        }
        _ => {}
    }
    Ok(fields(json!({ "doupload": told })))
}

/// Status number and its text. A complete upload goes through several before it is ready, and the first tells
/// next to nothing.
fn progress(upload: &Upload, quirks: &Quirks) -> (u32, &'static str) {
    match &upload.stage {
        Stage::Receiving => (17, "Upload is in progress"),
        Stage::Assembling => (19, "Assembling file"),
        Stage::Waiting { ready_at, .. } => {
            let left = ready_at.saturating_sub(millis());
            let whole = quirks.processing.as_millis().max(1) as u64;
            match left * 4 / whole {
                3.. => (0, "Unknown or no status available for this key"),
                2 => (18, "Waiting for assembly"),
                1 => (5, "Waiting for verification"),
                _ => (6, "Verifying file"),
            }
        }
        Stage::Done { .. } | Stage::Failed { .. } => (99, "No more requests for this key"),
    }
}

/// Takes up what a stop interrupted, assembling, and drops the parts of uploads that nobody can go on with.
pub fn resume(shared: &Arc<Shared>) {
    receive::sweep(shared);
    for key in shared.with(|world| world.mediafire.uploads.assembling()) {
        receive::assemble(shared, key);
    }
}
