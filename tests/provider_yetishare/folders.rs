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
async fn a_folder_that_was_restored_below_another_is_shown_again_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|call, params, _| match (call, params.get("parent_folder_id")) {
        ("folder/delete", _) => ok(json!({"response": "Folder deleted."})),
        ("folder/listing", Some(parent)) if parent == "4" => {
            with_folders(json!([{"id": "3", "folderName": "n"}]))
        }
        // It was moved to the top folder then.
        ("folder/listing", _) => with_folders(json!([{"id": "3", "folderName": "n", "parentId": null}])),
        _ => tree(call, params),
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
    provider
        .delete(&[folder_item("3")], DeleteMode::Trash)
        .await
        .unwrap();
    assert!(listed(&provider).await.is_empty());
    // The host says that it lies below another.
    provider.rename(&folder_item("3"), "new", None).await.unwrap();
    let listing = provider.list(&folder("4"), ListHint::default()).await.unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listed(&provider).await, ["n"]);
    database.close().await;

    let database = open();
    assert_eq!(listed(&with(&database)).await, ["n"]);
    database.close().await;
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
async fn a_folder_with_entries_that_cannot_be_read_is_not_called_whole() {
    let host = ScriptedHost::start(|call, _, before| match (call, before) {
        ("folder/listing", 0) => ok(json!({"data": {"folders": null, "files": [
            {"id": "1", "filename": "read", "fileSize": "1"},
            {"id": "2", "filename": "in the trash", "fileSize": null, "status": "trash"}]}})),
        ("folder/listing", 1) => {
            ok(json!({"data": {"files": [{"id": "1", "filename": "f", "fileSize": null}]}}))
        }
        ("folder/listing", 2) => with_folders(json!([{"id": "1", "folderName": ""}])),
        ("folder/listing", 3) => with_folders(json!(["no object"])),
        ("folder/listing", 4) => with_folders(json!({"0": 12})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for (entries, incomplete) in [(1, false), (0, true), (0, true), (0, true), (0, true), (0, false)] {
        let listing = provider
            .list(&root(&provider), ListHint::default())
            .await
            .unwrap();
        assert_eq!(
            (listing.entries.len(), listing.incomplete),
            (entries, incomplete),
            "{listing:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_listing_is_not_an_empty_one() {
    let host = ScriptedHost::start(|call, _, before| match call {
        "folder/listing" => ok(json!({"data": match before {
            0 => json!(""),
            1 => json!([]),
            2 => json!({}),
            3 => json!({"folders": [], "files": ""}),
            4 => json!({"folders": false, "files": []}),
            _ => json!({"folders": [], "files": null}),
        }})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for _ in 0..5 {
        let failure = provider
            .list(&root(&provider), ListHint::default())
            .await
            .unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::Unexpected, Retry::AfterWait(None)),
            "{failure}"
        );
    }
    assert!(listed(&provider).await.is_empty());
}

#[tokio::test]
async fn a_folder_may_hold_more_than_fits_into_another_answer() {
    let host = ScriptedHost::start(|call, _, _| {
        let mut answer = match call {
            "folder/listing" => with_folders(json!([{"id": "1", "folderName": "n"}])),
            "file/info" => ok(json!({"data": {"id": "1", "filename": "f", "fileSize": "1"}})),
            _ => return as_usual(),
        };
        answer.1.push_str(&" ".repeat(33 << 20));
        answer
    })
    .await;
    let provider = host.provider();
    assert_eq!(listed(&provider).await, ["n"]);
    let failure = provider.file_info(&[FileId::new("1")]).await.unwrap_err();
    assert_eq!(failure.retry, Retry::Never, "{failure}");
}

#[tokio::test]
async fn a_listing_of_another_folder_is_refused_and_no_folder_lies_in_itself() {
    let host = ScriptedHost::start(|call, params, _| match (call, params.get("parent_folder_id").map_or("", String::as_str)) {
        ("folder/listing", "") => with_folders(json!([
            {"id": "0", "folderName": "top", "parentId": null}, {"id": "5", "folderName": "five", "parentId": ""}])),
        ("folder/listing", "5") => with_folders(json!([
            {"id": 5, "folderName": "five", "parentId": "5"}, {"id": "6", "folderName": "six", "parentId": 5},
            {"id": "7", "folderName": "seven"}, {"id": "8", "folderName": "eight", "parentId": null, "status": "trash"},
        ])),
        ("folder/listing", "6") => with_folders(json!([{"id": "5", "folderName": "five", "parentId": null}])),
        ("folder/listing", _) => ok(json!({"data": {"folders": [], "files": [
            {"id": "1", "filename": "f", "fileSize": "1", "folderId": "5"}]}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let list = async |id: &str| {
        let listing = provider.list(&folder(id), ListHint::default()).await?;
        let names: Vec<_> = listing
            .entries
            .iter()
            .map(|entry| entry.name().to_owned())
            .collect();
        Ok::<_, ProviderError>((names.join(" "), listing.incomplete))
    };
    assert_eq!(list("0").await.unwrap(), ("five".to_owned(), true));
    assert_eq!(list("5").await.unwrap(), ("six seven".to_owned(), true));
    for id in ["6", "9"] {
        let failure = list(id).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::Unexpected, Retry::AfterWait(None)),
            "{failure}"
        );
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
