//! Folders: the deleted that come back, circles, what an edit must keep.

use super::*;

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
async fn a_deletion_that_the_host_does_not_know_of_deletes_nothing() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => with_folders(json!([{"id": "12", "folderName": "kept"}])),
        "folder/delete" | "file/delete" => (404, json!({"message": "Not Found"}).to_string()),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for item in [folder_item("12"), file_item("13")] {
        let failure = provider.delete(&[item], DeleteMode::Trash).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unexpected, "{failure}");
    }
    assert_eq!(listed(&provider).await, ["kept"]);
}

#[tokio::test]
async fn a_deletion_that_fails_does_not_cut_off_those_beside_it() {
    let host = ScriptedHost::start(|call, params, _| match call {
        "folder/listing" => with_folders(json!([{"id": "12", "folderName": "deleted"}])),
        "folder/delete" if params["folder_id"] == "12" => {
            // Later than the other's failure.
            std::thread::sleep(Duration::from_millis(100));
            ok(json!({"response": "Folder deleted."}))
        }
        "folder/delete" => error("You have no permission."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    listed(&provider).await;
    let items = [folder_item("11"), folder_item("12")];
    let failure = provider.delete(&items, DeleteMode::Trash).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::PermissionDenied, "{failure}");
    assert!(listed(&provider).await.is_empty());
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
