//! How the client of the YetiShare hosts takes what is peculiar about them: one token for each account, roots
//! in three spellings, deleted folders that come back, names that change, calls that are missing.

#[path = "support/scripted_host.rs"]
mod scripted_host;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockerfs::http::{ApiClient, ApiOptions, FileRange};
use lockerfs::provider::yetishare::{Credentials, Settings, YetiShare};
use lockerfs::provider::{
    Capability, ContentHash, DeleteMode, Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint,
    Provider, Retry, UploadProgress, UploadRequest,
};
use lockerfs::state::Database;
use scripted_host::{KEY1, KEY2, ScriptedHost, as_usual, error, ok};
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
    FileRange {
        file: Arc::new(file),
        offset: 0,
        length: size,
    }
}

fn request(folder: &str, size: u64) -> UploadRequest {
    UploadRequest {
        folder: FolderId::new(folder),
        name: "näme.bin".to_owned(),
        size,
        sha256: [9; 32],
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

#[tokio::test]
async fn a_token_is_shared_through_its_directory_also_after_it_was_renewed() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let (first, second) = (sharing(&host, place.path()), sharing(&host, place.path()));
    listed(&first).await;
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 1);

    host.expire();
    listed(&first).await;
    // The token that it holds is dead; the one that the other got is not.
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 2);
    listed(&sharing(&host, place.path())).await;
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn a_dead_token_in_the_directory_costs_one_login_however_many_find_it() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let providers: Vec<_> = (0..4).map(|_| sharing(&host, place.path())).collect();
    futures_util::future::join_all(providers.iter().map(listed)).await;
    assert_eq!(host.calls("authorize").len(), 1);
    host.expire();
    futures_util::future::join_all(providers.iter().map(listed)).await;
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn only_the_last_user_disables_the_token() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let (first, second) = (sharing(&host, place.path()), sharing(&host, place.path()));
    listed(&first).await;
    listed(&second).await;
    first.close().await;
    assert_eq!(host.calls("disable_access_token").len(), 0);
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 1);
    second.close().await;
    let disabled = host.calls("disable_access_token");
    assert_eq!(disabled.len(), 1);
    assert_eq!(disabled[0]["access_token"], "token0");
    let kept = std::fs::read_dir(place.path().join("tokens")).unwrap();
    let tokens = kept.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "token");
    assert_eq!(tokens.count(), 0);
}

#[tokio::test]
async fn a_token_of_its_own_is_disabled_at_the_end() {
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let provider = host.provider();
    provider.close().await;
    assert!(host.names().is_empty(), "no token was ever got");
    listed(&provider).await;
    provider.close().await;
    assert_eq!(host.calls("disable_access_token").len(), 1);
}

#[tokio::test]
async fn a_token_that_dies_at_once_costs_no_second_replay() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => error("Could not validate access_token, please reauthenticate or try again."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(failure.retry, Retry::AfterLogin, "{failure}");
    assert_eq!(host.calls("authorize").len(), 2);
    assert_eq!(host.calls("folder/listing").len(), 2);
}

#[tokio::test]
async fn a_form_that_was_thrown_away_means_too_large_and_no_login() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => error("Please provide the access_token param."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = upload(&provider, "0", 5000).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.retry),
        (ErrorKind::TooLarge, Retry::Never),
        "{failure}"
    );
    assert_eq!(host.calls("authorize").len(), 1);
    assert_eq!(host.calls("file/upload").len(), 1);
    assert_eq!(
        provider.account_info().await.unwrap().max_file_size,
        Some(4999),
        "what was too large is known from now on"
    );
    let failure = provider.upload_begin(&request("0", 5000)).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::TooLarge, "{failure}");
    assert_eq!(host.calls("file/upload").len(), 1);
}

#[tokio::test]
async fn refused_credentials_are_tried_again_only_when_a_person_asks_and_then_rarely() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "authorize" => error(
            "Could not authenticate user. The key pair may be invalid or your account may be locked from too \
             many failed logins.",
        ),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for logins in [1, 2, 2, 2] {
        let failure = provider.account_info().await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::LoginRefused, Retry::Never),
            "{failure}"
        );
        assert_eq!(host.calls("authorize").len(), logins);
    }
}

#[tokio::test]
async fn a_token_that_could_not_be_issued_may_be_asked_for_again() {
    let host = ScriptedHost::start(|call, _, before| match call {
        "authorize" if before == 0 => error("Failed issuing access token."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.retry),
        (ErrorKind::Unavailable, Retry::AfterWait(None))
    );
    listed(&provider).await;
}

#[tokio::test]
async fn keys_and_addresses_that_cannot_be_right_are_refused_without_a_call() {
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let client = || ApiClient::new(ApiOptions::default()).unwrap();
    let short = Settings {
        credentials: Credentials::Keys {
            key1: KEY1.into(),
            key2: "hunter2".into(),
        },
        ..host.settings()
    };
    assert!(!format!("{short:?}").contains("hunter2"));
    let failure = YetiShare::new(short, client()).unwrap_err();
    assert!(
        failure
            .message
            .starts_with("key2 must have exactly 64 characters"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("hunter2"));
    let plain = Settings {
        base_url: "http://example.org/api/v2/".parse().unwrap(),
        ..host.settings()
    };
    YetiShare::new(plain, client()).unwrap_err();
    assert!(host.names().is_empty());
}

#[tokio::test]
async fn secrets_are_never_in_a_url_nor_in_a_shown_value() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => ok(uploaded("1")),
        _ => as_usual(),
    })
    .await;
    for credentials in [
        Credentials::Keys {
            key1: KEY1.into(),
            key2: KEY2.into(),
        },
        Credentials::Password {
            username: "me".to_owned(),
            password: "hunter2".into(),
        },
    ] {
        let settings = Settings {
            credentials,
            token_dir: Some(place.path().join("tokens")),
            ..host.settings()
        };
        let shown = format!("{settings:?}");
        for secret in [KEY1, KEY2, "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let provider = host.provider_with(settings);
        provider.account_info().await.unwrap();
        upload(&provider, "0", 10).await.unwrap();
        provider
            .delete(&[file_item("1")], DeleteMode::Trash)
            .await
            .unwrap_err();
        provider.close().await;
    }
    assert_eq!(host.faults(), Vec::<String>::new());
    let logins = host.calls("authorize");
    assert_eq!(
        (logins[0]["key1"].as_str(), logins[0]["key2"].as_str()),
        (KEY1, KEY2)
    );
    assert_eq!(
        (logins[1]["username"].as_str(), logins[1]["password"].as_str()),
        ("me", "hunter2")
    );
}

fn with_folders(folders: Value) -> scripted_host::Answer {
    ok(json!({"data": {"folders": folders, "files": []}}))
}

#[tokio::test]
async fn a_deleted_folder_is_not_shown_again_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => with_folders(json!([
            {"id": "12", "folderName": "deleted"}, {"id": 13, "folderName": "kept"}])),
        "folder/delete" => ok(json!({"response": "Folder deleted."})),
        _ => as_usual(),
    })
    .await;
    let open = || Database::open(&place.path().join("state.db")).unwrap();
    let with = |database: &Database| {
        host.provider_with(Settings {
            tombstones: Some(database.clone()),
            ..host.settings()
        })
    };
    let database = open();
    let provider = with(&database);
    assert_eq!(listed(&provider).await, ["deleted", "kept"]);
    provider
        .delete(&[folder_item("12")], DeleteMode::Trash)
        .await
        .unwrap();
    assert_eq!(listed(&provider).await, ["kept"]);
    database.close().await;

    let database = open();
    assert_eq!(listed(&with(&database)).await, ["kept"]);
    database.close().await;
    // Without a database the note lives as long as the client.
    let provider = host.provider();
    provider
        .delete(&[folder_item("12")], DeleteMode::Trash)
        .await
        .unwrap();
    assert_eq!(listed(&provider).await, ["kept"]);
}

#[tokio::test]
async fn what_a_host_tells_of_an_entrys_state_is_believed() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => ok(json!({"data": {
        "folders": [
            {"id": "1", "folderName": "in the trash", "status": "trash"},
            {"id": "2", "folderName": "restored", "status": "active"},
        ],
        "files": [
            {"id": "1", "filename": "gone", "fileSize": "1", "status": "trash"},
            {"id": "2", "filename": "here", "fileSize": "1", "status": "Active"},
        ]}})),
        "folder/delete" => ok(json!({"response": "Folder deleted."})),
        "file/info" => {
            ok(json!({"data": {"id": "1", "filename": "gone", "fileSize": 1, "file_status": "trash"}}))
        }
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider
        .delete(&[folder_item("2")], DeleteMode::Trash)
        .await
        .unwrap();
    assert_eq!(listed(&provider).await, ["restored", "here"]);
    assert!(provider.file_info(&[FileId::new("1")]).await.unwrap().is_empty());
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

#[tokio::test]
async fn a_folder_is_not_moved_into_itself_nor_below() {
    let host = ScriptedHost::start(|call, params, _| tree(call, params)).await;
    let provider = host.provider();
    for target in ["1", "2", "3"] {
        let failure = provider
            .move_to(&[folder_item("1")], &folder(target))
            .await
            .unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::InvalidArgument, Retry::Never),
            "{failure}"
        );
    }
    assert!(host.calls("folder/move").is_empty());
    provider.move_to(&[folder_item("1")], &folder("4")).await.unwrap();
    assert_eq!(host.calls("folder/move").len(), 1);
    // It has no folders to fall into.
    let asked = host.calls("folder/info").len();
    provider.move_to(&[folder_item("4")], &folder("3")).await.unwrap();
    assert_eq!(host.calls("folder/info").len() - asked, 1);
}

#[tokio::test]
async fn a_folder_that_is_there_already_is_not_moved() {
    let host = ScriptedHost::start(|call, params, _| tree(call, params)).await;
    let provider = host.provider();
    let items = [folder_item("1"), folder_item("4")];
    provider.move_to(&items, &root(&provider)).await.unwrap();
    assert!(host.calls("folder/move").is_empty());
}

#[tokio::test]
async fn a_file_that_is_there_already_may_be_refused_to_be_moved() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/move" => error("The file is in that folder."),
        "file/info" => ok(json!({"data": {"id": "5", "filename": "f", "fileSize": "1", "folderId": "9"}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider.move_to(&[file_item("5")], &folder("9")).await.unwrap();
    provider
        .move_to(&[file_item("5")], &folder("8"))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_renamed_folder_keeps_its_place_its_password_and_who_may_see_it() {
    let host = ScriptedHost::start(|call, params, _| tree(call, params)).await;
    let provider = host.provider();
    provider.rename(&folder_item("3"), "new", None).await.unwrap();
    let edit = host.calls("folder/edit").remove(0);
    assert_eq!(edit["parent_id"], "2");
    assert_eq!(edit["is_public"], "1");
    assert_eq!(edit["access_password"], "d9729feb74992cc3482b350163a1a010");
    provider
        .rename(&folder_item("3"), "folder 3", None)
        .await
        .unwrap();
    assert_eq!(host.calls("folder/edit").len(), 1, "it has that name already");
}

#[tokio::test]
async fn the_top_folder_is_spelled_as_each_call_wants_it() {
    let host = ScriptedHost::start(|call, params, _| match call {
        "folder/create" => ok(json!({"data": {"id": "77", "folderName": "new"}})),
        "file/upload" => ok(uploaded("5")),
        "file/move" => ok(json!({"data": {"id": "5", "folderId": null}})),
        "file/copy" => ok(json!({"new_file": {"id": "6", "folderId": null}})),
        _ => tree(call, params),
    })
    .await;
    let provider = host.provider();
    let top = root(&provider);
    listed(&provider).await;
    provider.create_folder(&top, "new").await.unwrap();
    let file = upload(&provider, top.as_str(), 10).await.unwrap();
    assert_eq!(file.parent.as_ref(), Some(&top));
    provider.move_to(&[file_item("5")], &top).await.unwrap();
    provider.move_to(&[folder_item("3")], &top).await.unwrap();
    provider.rename(&folder_item("1"), "new", None).await.unwrap();
    provider.copy_file(&file.id, &top).await.unwrap();
    for (call, field, expected) in [
        ("folder/listing", "parent_folder_id", ""),
        ("folder/create", "parent_id", ""),
        ("file/upload", "folder_id", ""),
        ("file/move", "new_parent_folder_id", "null"),
        ("folder/move", "new_parent_folder_id", "null"),
        ("folder/edit", "parent_id", "null"),
        ("file/copy", "copy_to_folder_id", "null"),
    ] {
        assert_eq!(host.calls(call)[0][field], expected, "{call}");
    }
    for item in [ItemId::Folder(top.clone())] {
        provider.rename(&item, "x", None).await.unwrap_err();
        provider
            .move_to(std::slice::from_ref(&item), &folder("3"))
            .await
            .unwrap_err();
        provider.delete(&[item], DeleteMode::Trash).await.unwrap_err();
    }
    assert!(host.calls("folder/delete").is_empty());
}

#[tokio::test]
async fn a_copy_to_the_top_folder_that_went_elsewhere_is_moved_there() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/copy" => ok(json!({"original_file": {"id": "5"}, "new_file": {"id": "6", "folderId": "3"}})),
        "file/move" => ok(json!({"data": {"id": "6", "folderId": null}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let copy = provider
        .copy_file(&FileId::new("5"), &root(&provider))
        .await
        .unwrap();
    assert_eq!(copy, FileId::new("6"));
    let moves = host.calls("file/move");
    assert_eq!(moves.len(), 1);
    assert_eq!(
        (
            moves[0]["file_id"].as_str(),
            moves[0]["new_parent_folder_id"].as_str()
        ),
        ("6", "null")
    );
}

#[tokio::test]
async fn an_upload_that_fell_into_the_top_folder_says_so() {
    let host =
        ScriptedHost::start(
            |call, params, _| match (call, params.get("file_id").map(String::as_str)) {
                ("file/upload", _) => ok(uploaded(if params["folder_id"] == "9" { "5" } else { "6" })),
                ("file/info", Some("5")) => {
                    ok(json!({"data": {"id": "5", "filename": "n", "fileSize": "1", "folderId": null}}))
                }
                ("file/info", Some(_)) => (502, "<html>".to_owned()),
                _ => as_usual(),
            },
        )
        .await;
    let provider = host.provider();
    let file = upload(&provider, "9", 10).await.unwrap();
    assert_eq!(file.parent, Some(root(&provider)));
    // Where nobody says where it went, it is there all the same.
    let file = upload(&provider, "8", 10).await.unwrap();
    assert_eq!((file.id.as_str(), file.parent), ("6", None));
}

#[tokio::test]
async fn what_was_stored_is_told_as_it_was_stored() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => ok(
            json!({"data": [{"name": "name (2).bin", "size": 9, "error": "", "file_id": 1253,
            "hash": "2F4105BC2C626232544275C2D890168B"}]}),
        ),
        _ => as_usual(),
    })
    .await;
    let file = upload(&host.provider(), "0", 10).await.unwrap();
    assert_eq!(
        (file.id.as_str(), file.name.as_str(), file.size),
        ("1253", "name (2).bin", 9)
    );
    assert_eq!(
        file.hash,
        ContentHash::from_hex("2f4105bc2c626232544275c2d890168b")
    );
    let sent = host.calls("file/upload").remove(0);
    assert_eq!(sent["upload_file"], "näme.bin");
    assert_eq!(sent["access_token"], "token0");
}

#[tokio::test]
async fn an_upload_with_a_dead_token_is_sent_again_once() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => ok(uploaded("1")),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    listed(&provider).await;
    host.expire();
    upload(&provider, "0", 10).await.unwrap();
    assert_eq!(host.calls("file/upload").len(), 2);
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn a_big_upload_is_not_the_first_to_try_a_token_of_unknown_age() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => ok(uploaded("1")),
        _ => as_usual(),
    })
    .await;
    let first = sharing(&host, place.path());
    listed(&first).await;
    host.expire();
    let big = 8 * (1 << 20) + 1;
    // It finds the dead token in the directory.
    upload(&sharing(&host, place.path()), "0", big).await.unwrap();
    assert_eq!(host.calls("file/upload").len(), 1, "the bytes went out twice");
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn an_upload_that_the_host_refuses_says_why() {
    for (text, kind, retry) in [
        (
            "Filesize received was zero.",
            ErrorKind::InvalidArgument,
            Retry::Never,
        ),
        (
            "Error on: http://fs. maxFileSize",
            ErrorKind::TooLarge,
            Retry::Never,
        ),
        (
            "No response received from: http://fs",
            ErrorKind::Unavailable,
            Retry::OutcomeUnknown,
        ),
    ] {
        let in_entry = AtomicBool::new(false);
        let host = ScriptedHost::start(move |call, _, _| match call {
            "file/upload" if in_entry.fetch_not(Ordering::Relaxed) => {
                ok(json!({"data": [{"name": "n", "size": 0, "error": text, "file_id": null}]}))
            }
            "file/upload" => error(text),
            _ => as_usual(),
        })
        .await;
        let provider = host.provider();
        for _ in 0..2 {
            let failure = upload(&provider, "0", 10).await.unwrap_err();
            assert_eq!((failure.kind, failure.retry), (kind, retry), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_name_that_the_host_altered_is_an_error_that_tells_it() {
    let host = ScriptedHost::start(|call, params, _| match call {
        "file/edit" => ok(json!({"data": {"id": "5", "filename": params["filename"].replace('!', "")}})),
        "folder/edit" => ok(json!({"data": {"folderName": "other"}})),
        _ => tree(call, params),
    })
    .await;
    let provider = host.provider();
    provider.rename(&file_item("5"), "good.txt", None).await.unwrap();
    for (item, made) in [(file_item("5"), "bad.txt"), (folder_item("3"), "other")] {
        let failure = provider.rename(&item, "bad!.txt", None).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::InvalidName, "{failure}");
        assert!(failure.to_string().contains(made), "{failure}");
    }
}

#[tokio::test]
async fn calls_that_a_host_lacks_become_missing_capabilities() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/copy" => (
            404,
            json!({"0": "No method found on endpoint.", "_status": "error"}).to_string(),
        ),
        "folder/move" => (404, json!("Invalid endpoint.").to_string()),
        "folder/delete" => error("No method found."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider.account_info().await.unwrap();
    let capabilities = provider.capabilities();
    for lost in [Capability::Copy, Capability::Move, Capability::Trash] {
        assert!(!capabilities.has(lost), "{lost:?}");
    }
    for kept in [
        Capability::Rename,
        Capability::Read,
        Capability::Write,
        Capability::List,
    ] {
        assert!(capabilities.has(kept), "{kept:?}");
    }
    let calls = host.names().len();
    let top = root(&provider);
    for failure in [
        provider.copy_file(&FileId::new("1"), &top).await.unwrap_err(),
        provider.move_to(&[file_item("1")], &top).await.unwrap_err(),
        provider
            .delete(&[file_item("1")], DeleteMode::Trash)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(failure.kind, ErrorKind::Unsupported, "{failure}");
    }
    assert_eq!(host.names().len(), calls);
    provider.account_info().await.unwrap();
    assert_eq!(host.calls("file/copy").len(), 1, "it was asked once");
}

#[tokio::test]
async fn a_call_that_gave_no_answer_is_not_missing_and_is_asked_for_again() {
    let host = ScriptedHost::start(|call, _, before| match call {
        "file/copy" if before == 0 => (502, "<html>".to_owned()),
        "file/copy" => (404, json!("Invalid endpoint.").to_string()),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider.account_info().await.unwrap();
    assert!(provider.capabilities().has(Capability::Copy));
    provider.account_info().await.unwrap();
    assert!(!provider.capabilities().has(Capability::Copy));
    assert_eq!(host.calls("file/move").len(), 1);
}

#[tokio::test]
async fn a_host_that_cannot_list_says_so_and_is_asked_no_more() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => (404, json!("Invalid endpoint.").to_string()),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let top = root(&provider);
    for _ in 0..2 {
        let failure = provider.list(&top, ListHint::default()).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unsupported, "{failure}");
    }
    assert_eq!(host.calls("folder/listing").len(), 1);
    assert_eq!(provider.account_info().await.unwrap().storage_used, None);
}

#[tokio::test]
async fn entries_are_read_whatever_the_types_of_their_fields() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => ok(json!({"data": {
        "folders": {"3": {"id": 7, "folderName": "d", "totalSize": 30, "date_added": "2001-09-09 01:46:40",
            "date_updated": null, "child_folder_count": "2", "file_count": 0}},
        "files": [
            {"id": "1", "filename": "a", "fileSize": "12", "folderId": null},
            {"id": 2, "filename": "b", "size": 13},
            {"filename": "without id", "fileSize": "1"},
            "not even an object",
        ]}})),
        "account/info" => ok(json!({"data": {"storageLimitOverride": 100}})),
        "account/package" => ok(json!({"data": {"max_upload_size": 50, "can_upload": "0"}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let listing = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap();
    let [Entry::Folder(d), Entry::File(a), Entry::File(b)] = listing.entries.as_slice() else {
        panic!("{listing:?}")
    };
    assert_eq!(
        (d.id.as_str(), d.hint.files, d.hint.folders),
        ("7", Some(0), Some(2))
    );
    assert_eq!(d.mtime, Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)));
    assert_eq!((a.id.as_str(), a.size, b.id.as_str(), b.size), ("1", 12, "2", 13));

    let info = provider.account_info().await.unwrap();
    assert_eq!((info.storage_limit, info.storage_used), (Some(100), Some(55)));
    assert_eq!(info.max_file_size, Some(50));
    assert!(
        !provider.capabilities().has(Capability::Write),
        "its plan has no uploads"
    );
}

#[tokio::test]
async fn times_are_read_by_the_clock_of_the_host() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/info" => {
            let ahead = SystemTime::now() + Duration::from_secs(5 * 3600 + 1800 + 20);
            let now = time::OffsetDateTime::from(ahead);
            let text = format!(
                "{} {:02}:{:02}:{:02}",
                now.date(),
                now.hour(),
                now.minute(),
                now.second()
            );
            ok(
                json!({"_datetime": text, "data": {"id": "1", "filename": "f", "fileSize": "1",
                "uploadedDate": "2001-09-09 07:16:40", "folderId": "3"}}),
            )
        }
        _ => as_usual(),
    })
    .await;
    let info = host.provider().file_info(&[FileId::new("1")]).await.unwrap();
    assert_eq!(
        info[0].mtime,
        Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    );
    assert_eq!(info[0].parent, Some(folder("3")));
}

#[tokio::test]
async fn of_folders_of_one_name_the_oldest_is_taken_and_none_is_made() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => with_folders(json!([
            {"id": "10", "folderName": "n"}, {"id": "9", "folderName": "n"}, {"id": "1", "folderName": "N"}])),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let made = provider.create_folder(&root(&provider), "n").await.unwrap();
    assert_eq!(made.id, folder("9"));
    assert!(host.calls("folder/create").is_empty());
}

#[tokio::test]
async fn a_refused_link_stands_beside_the_others_and_a_service_that_is_down_fails_all() {
    let down = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&down);
    let host = ScriptedHost::start(move |call, params, _| match call {
        "file/download" if state.load(Ordering::Relaxed) => (503, "<html>".to_owned()),
        "file/download" if params["file_id"] == "2" => error("Could not find file based on file_id."),
        "file/download" => ok(json!({"data": {
            "download_url": format!("http://127.0.0.1:1/x{}?download_token=t", params["file_id"])}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let ids = ["1", "2", "3"].map(FileId::new);
    let links = provider.links(&ids).await.unwrap();
    let urls: Vec<_> = links
        .iter()
        .map(|link| {
            link.as_ref()
                .map(|link| link.url.path().to_owned())
                .map_err(|error| error.kind)
        })
        .collect();
    assert_eq!(
        urls,
        [
            Ok("/x1".to_owned()),
            Err(ErrorKind::NotFound),
            Ok("/x3".to_owned())
        ]
    );
    let link = links[0].as_ref().unwrap();
    assert!(link.habits.open_ended_ranges && link.habits.error_path == Some("error"));
    assert!(link.expires <= SystemTime::now() + Duration::from_secs(23 * 3600));
    down.store(true, Ordering::Relaxed);
    let failure = provider.links(&ids).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unavailable, "{failure}");
}

#[tokio::test]
async fn an_account_that_was_full_is_asked_again_before_an_upload_is_refused() {
    let full = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&full);
    let host = ScriptedHost::start(move |call, _, _| match call {
        "account/package" => ok(json!({"data": {"max_storage_bytes": "1000"}})),
        "folder/listing" => {
            let size = if state.load(Ordering::Relaxed) { 990 } else { 10 };
            with_folders(json!([{"id": "1", "folderName": "n", "totalSize": size}]))
        }
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider.account_info().await.unwrap();
    let failure = provider.upload_begin(&request("0", 100)).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.retry),
        (ErrorKind::QuotaExceeded, Retry::Never),
        "{failure}"
    );
    full.store(false, Ordering::Relaxed);
    provider.upload_begin(&request("0", 100)).await.unwrap();
    let calls = host.names().len();
    provider.upload_begin(&request("0", 100)).await.unwrap();
    assert_eq!(host.names().len(), calls, "all of it is known");
}

#[tokio::test]
async fn an_account_of_which_the_host_tells_nothing_is_used_all_the_same() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "account/info" => error("Could not load account."),
        "account/package" => (404, json!("Invalid endpoint.").to_string()),
        "file/upload" => ok(uploaded("1")),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let info = provider.account_info().await.unwrap();
    assert_eq!(
        (info.owner, info.storage_limit, info.max_file_size),
        (None, None, None)
    );
    provider.upload_begin(&request("0", 10)).await.unwrap();
    upload(&provider, "0", 10).await.unwrap();
}

#[tokio::test]
async fn a_kept_token_that_cannot_be_read_is_no_reason_to_log_in() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let provider = sharing(&host, place.path());
    // It makes the files.
    listed(&provider).await;
    let tokens = place.path().join("tokens");
    let kept = std::fs::read_dir(&tokens)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let token = kept
        .into_iter()
        .find(|path| path.extension().unwrap() == "token")
        .unwrap();
    std::fs::remove_file(&token).unwrap();
    std::fs::create_dir(&token).unwrap();
    host.expire();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("token"), "{failure}");
    assert_eq!(host.calls("authorize").len(), 1, "it may be alive");
}
