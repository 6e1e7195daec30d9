//! Files: uploads, names, moves, copies, links.

use super::*;

#[tokio::test]
async fn a_form_that_was_thrown_away_means_too_large_and_no_login() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => error("Please provide the access_token param."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = upload(&provider, "0", 2 << 20).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.retry),
        (ErrorKind::TooLarge, Retry::Never),
        "{failure}"
    );
    assert_eq!(host.calls("authorize").len(), 1);
    assert_eq!(host.calls("file/upload").len(), 1);
    assert_eq!(
        provider.account_info().await.unwrap().max_file_size,
        Some((2 << 20) - 1),
        "what was too large is known from now on"
    );
    let failure = provider.upload_begin(&request("0", 2 << 20)).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::TooLarge, "{failure}");
    assert_eq!(host.calls("file/upload").len(), 1);
}

#[tokio::test]
async fn a_small_file_that_was_not_read_is_no_limit_for_others() {
    for answer in [
        error("Please provide the access_token param."),
        (413, "<html>".to_owned()),
    ] {
        let host = ScriptedHost::start(move |call, _, _| match call {
            "file/upload" => answer.clone(),
            _ => as_usual(),
        })
        .await;
        let provider = host.provider();
        let failure = upload(&provider, "0", 1024).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::Unavailable, Retry::AfterWait(None)),
            "{failure}"
        );
        assert_eq!(provider.account_info().await.unwrap().max_file_size, None);
        provider.upload_begin(&request("0", 5000)).await.unwrap();
    }
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
async fn a_file_that_was_numbered_beside_another_than_the_one_to_be_replaced_says_so() {
    let host = ScriptedHost::start(|call, params, _| {
        let file = |id: &str, name: &str| json!({"id": id, "filename": name, "fileSize": "10"});
        let id = params.get("file_id").map_or("", String::as_str);
        match (call, params.get("parent_folder_id").map(String::as_str)) {
            ("file/upload", _) => {
                ok(json!({"data": [{"name": "näme (2).bin", "size": "10", "error": null, "file_id": "5"}]}))
            }
            ("folder/listing", Some("wrong")) => {
                ok(json!({"data": {"folders": [], "files": [file("3", "näme.bin")]}}))
            }
            ("folder/listing", _) => ok(json!({"data": {"folders": [], "files": [
                file("3", "näme.bin"), file("4", "other.bin"), file("5", "näme (2).bin")]}})),
            ("file/info", _) if id == "trashed" => error("Could not find file based on file_id."),
            ("file/info", _) => {
                ok(json!({"data": {"id": id, "filename": "n", "fileSize": "10", "folderId": "8"}}))
            }
            _ => as_usual(),
        }
    })
    .await;
    let provider = host.provider();
    for (replaced, at, is_beside, parent, calls) in [
        ("3", "9", false, Some("9"), vec!["folder/listing"]),
        ("4", "9", false, Some("9"), vec!["folder/listing"]),
        (
            "moved",
            "9",
            false,
            Some("9"),
            vec!["folder/listing", "file/info"],
        ),
        (
            "trashed",
            "9",
            true,
            Some("9"),
            vec!["folder/listing", "file/info"],
        ),
        (
            "trashed",
            "wrong",
            false,
            Some("8"),
            vec!["folder/listing", "file/info"],
        ),
        ("trashed", "never listed", false, Some("8"), vec!["file/info"]),
        ("trashed", "0", false, Some("0"), vec![]),
    ] {
        if at != "never listed" {
            provider.list(&folder(at), ListHint::default()).await.unwrap();
        }
        let before = host.names().len();
        let wish = UploadRequest {
            replaces: Some(FileId::new(replaced)),
            ..request(at, 10)
        };
        let progress = provider.upload_whole(&wish, content(10)).await.unwrap();
        let (file, beside) = match progress {
            UploadProgress::Done(file) => (file, false),
            UploadProgress::Beside(file) => (file, true),
            progress => panic!("{progress:?}"),
        };
        assert_eq!(beside, is_beside, "{replaced} in {at}");
        assert_eq!(file.parent, parent.map(FolderId::new), "{replaced} in {at}");
        let names = host.names();
        let after: Vec<_> = names[before..].iter().map(String::as_str).collect();
        assert_eq!(after[1..], calls, "{replaced} in {at}: {after:?}");
    }
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
async fn a_file_that_was_sent_is_found_although_it_fills_the_account() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "account/package" => ok(json!({"data": {"max_storage_bytes": "1000", "can_upload": "0"}})),
        "folder/listing" => ok(json!({"data": {"folders": [], "files": [
            {"id": "5", "filename": "näme (2).bin", "fileSize": "900"}]}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    provider.account_info().await.unwrap();
    let sent = |size| UploadRequest {
        sent_before: true,
        ..request("0", size)
    };
    let plan = provider.upload_begin(&sent(900)).await.unwrap();
    let UploadPlan::Candidates(candidates) = &plan else {
        panic!("{plan:?}")
    };
    assert_eq!(candidates[0].id, FileId::new("5"));
    provider.upload_begin(&sent(901)).await.unwrap_err();
}

#[tokio::test]
async fn the_word_for_no_error_is_none_and_an_unknown_one_beside_an_id_leaves_it_open() {
    for none in [
        json!(0),
        json!("0"),
        json!(false),
        json!("false"),
        json!(""),
        json!(null),
    ] {
        let entry = json!({"data": [{"name": "n", "size": 10, "error": none, "file_id": "5"}]});
        let host = ScriptedHost::start(move |call, _, _| match call {
            "file/upload" => ok(entry.clone()),
            _ => as_usual(),
        })
        .await;
        let file = upload(&host.provider(), "0", 10).await.unwrap();
        assert_eq!(file.id, FileId::new("5"));
    }
    let host = ScriptedHost::start(|call, _, before| match call {
        "file/upload" => {
            let id = if before == 0 { json!("5") } else { json!(null) };
            ok(json!({"data": [{"name": "n", "size": 10, "error": "Something new.", "file_id": id}]}))
        }
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for retry in [Retry::OutcomeUnknown, Retry::Never] {
        let failure = upload(&provider, "0", 10).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::Unexpected, retry),
            "{failure}"
        );
    }
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
async fn a_refused_link_stands_beside_the_others_and_a_service_that_is_down_fails_all() {
    let down = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&down);
    let host = ScriptedHost::start(move |call, params, _| match call {
        "file/download" if state.load(Ordering::Relaxed) => (503, "<html>".to_owned()),
        "file/download" if params["file_id"] == "2" => error("Could not find file based on file_id."),
        "file/download" if params["file_id"] == "4" => (500, "<html>".to_owned()),
        "file/download" if params["file_id"] == "5" => (200, "<html>".to_owned()),
        "file/download" => ok(json!({"data": {
            "download_url": format!("http://127.0.0.1:1/x{}?download_token=t", params["file_id"])}})),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let ids = ["1", "2", "3", "4", "5"].map(FileId::new);
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
            Ok("/x3".to_owned()),
            Err(ErrorKind::Unavailable),
            Err(ErrorKind::Corrupt),
        ]
    );
    let link = links[0].as_ref().unwrap();
    assert!(link.habits.open_ended_ranges && link.habits.error_path == Some("error"));
    assert!(link.expires <= SystemTime::now() + Duration::from_secs(23 * 3600));
    provider.links(&ids[3..]).await.unwrap_err();
    down.store(true, Ordering::Relaxed);
    let failure = provider.links(&ids).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unavailable, "{failure}");
}

#[tokio::test]
async fn a_file_of_which_nothing_sensible_is_told_stands_in_no_others_way() {
    let host =
        ScriptedHost::start(
            |call, params, _| match (call, params.get("file_id").map(String::as_str)) {
                ("file/info", Some("1")) => {
                    ok(json!({"data": {"id": "1", "filename": "f", "fileSize": null}}))
                }
                ("file/info", Some("2")) => (200, "<html>".to_owned()),
                ("file/info", Some("3")) => {
                    ok(json!({"data": {"id": "3", "filename": "f", "fileSize": "1"}}))
                }
                ("file/info", Some("4")) => error("Could not find file based on file_id."),
                ("file/info", _) => (503, "<html>".to_owned()),
                _ => as_usual(),
            },
        )
        .await;
    let provider = host.provider();
    let ask = async |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().copied().map(FileId::new).collect();
        let told = provider.file_info(&ids).await?;
        Ok::<_, ProviderError>(
            told.into_iter()
                .map(|file| file.id.to_string())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(ask(&["1", "2", "3", "4"]).await.unwrap(), ["3"]);
    assert!(ask(&["1", "4"]).await.unwrap().is_empty());
    ask(&["1", "2"]).await.unwrap_err();
    ask(&["3", "5"]).await.unwrap_err();
    assert!(ask(&[]).await.unwrap().is_empty());
}
