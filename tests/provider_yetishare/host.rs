//! What is learnt of a host and its account: missing calls, limits, spellings, its clock.

use super::*;

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
async fn a_call_that_hangs_does_not_hold_up_what_is_told_of_the_account() {
    let host = ScriptedHost::start(|call, _, before| match call {
        "file/copy" if before == 0 => silence(),
        "file/copy" => (404, json!("Invalid endpoint.").to_string()),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let info = tokio::time::timeout(Duration::from_secs(15), provider.account_info());
    info.await.expect("the account's facts were there").unwrap();
    assert!(provider.capabilities().has(Capability::Copy));
    provider.account_info().await.unwrap();
    assert!(!provider.capabilities().has(Capability::Copy));
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
    for missing in [
        error("Could not load account."),
        (404, json!("Invalid endpoint.").to_string()),
        (404, "<html>Not Found</html>".to_owned()),
        (404, String::new()),
        (403, String::new()),
    ] {
        let told = missing.clone();
        let host = ScriptedHost::start(move |call, _, _| match call {
            "account/info" | "account/package" => told.clone(),
            "file/upload" => ok(uploaded("1")),
            _ => as_usual(),
        })
        .await;
        // The token is one of unknown age, of which it is made sure first.
        let big = 8 * (1 << 20) + 1;
        upload(&host.provider(), "0", big).await.unwrap();
        let provider = host.provider();
        let info = provider.account_info().await.unwrap();
        assert_eq!(
            (info.owner, info.storage_limit, info.max_file_size),
            (None, None, None),
            "{missing:?}"
        );
        provider.upload_begin(&request("0", 10)).await.unwrap();
        upload(&provider, "0", 10).await.unwrap();
    }
}
