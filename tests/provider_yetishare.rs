//! How the client of the YetiShare hosts takes what is peculiar about them: one token for each account, roots
//! in three spellings, deleted folders that come back, names that change, calls that are missing.

#[path = "provider_yetishare/folders.rs"]
mod folders;
#[path = "provider_yetishare/host.rs"]
mod host;
#[path = "provider_yetishare/items.rs"]
mod items;
#[path = "support/scripted_host.rs"]
mod scripted_host;
#[path = "provider_yetishare/session.rs"]
mod session;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockerfs::http::{ApiClient, ApiOptions, FileRange};
use lockerfs::provider::yetishare::{Credentials, Settings, YetiShare};
use lockerfs::provider::{
    Capability, ContentHash, DeleteMode, Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint,
    Provider, ProviderError, Retry, UploadPlan, UploadProgress, UploadRequest,
};
use lockerfs::state::Database;
use scripted_host::{KEY1, KEY2, ScriptedHost, as_usual, error, ok, silence};
use serde_json::{Value, json};

fn root(provider: &Arc<dyn Provider>) -> FolderId {
    provider.root()
}

fn folder(id: &str) -> FolderId {
    FolderId::new(id)
}

fn folder_item(id: &str) -> ItemId {
    ItemId::Folder(folder(id))
}

fn file_item(id: &str) -> ItemId {
    ItemId::File(FileId::new(id))
}

async fn listed(provider: &Arc<dyn Provider>) -> Vec<String> {
    let listing = provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
    listing
        .entries
        .iter()
        .map(|entry| entry.name().to_owned())
        .collect()
}

fn content(size: u64) -> FileRange {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; size as usize]).unwrap();
    FileRange::new(Arc::new(file), 0, size)
}

fn request(folder: &str, size: u64) -> UploadRequest {
    UploadRequest {
        folder: FolderId::new(folder),
        name: "näme.bin".to_owned(),
        size,
        sha256: Some([9; 32]),
        mtime: UNIX_EPOCH,
        replaces: None,
        sent_before: false,
    }
}

fn uploaded(id: &str) -> Value {
    json!({"data": [{"name": "näme.bin", "size": "10", "error": null, "file_id": id}]})
}

async fn upload(
    provider: &Arc<dyn Provider>,
    folder: &str,
    size: u64,
) -> lockerfs::provider::Result<FileEntry> {
    match provider
        .upload_whole(&request(folder, size), content(size))
        .await?
    {
        UploadProgress::Done(file) => Ok(file),
        progress => panic!("{progress:?}"),
    }
}

fn sharing(host: &ScriptedHost, directory: &Path) -> Arc<dyn Provider> {
    host.provider_with(Settings {
        token_dir: Some(directory.join("tokens")),
        ..host.settings()
    })
}

fn with_folders(folders: Value) -> scripted_host::Answer {
    ok(json!({"data": {"folders": folders, "files": []}}))
}

/// Folders 1 > 2 > 3, and 4 beside 1.
fn tree(call: &str, params: &scripted_host::Params) -> scripted_host::Answer {
    let id = params.get("folder_id").map_or("", String::as_str);
    let (parent, children) = match id {
        "1" => (json!(null), 1),
        "2" => (json!("1"), 1),
        "3" => (json!(2), 0),
        "4" => (json!(""), 0),
        _ => return as_usual(),
    };
    match call {
        "folder/info" => ok(json!({"data": {
            "id": id, "parentId": parent, "folderName": format!("folder {id}"), "child_folder_count": children,
            "isPublic": "1", "accessPassword": "d9729feb74992cc3482b350163a1a010"}})),
        "folder/edit" => ok(json!({"data": {"id": id, "folderName": params["folder_name"]}})),
        "folder/move" => {
            let target = &params["new_parent_folder_id"];
            let parent = if target == "null" {
                json!(null)
            } else {
                json!(target)
            };
            ok(json!({"data": {"id": id, "parentId": parent}}))
        }
        _ => as_usual(),
    }
}
