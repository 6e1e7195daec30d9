//! What the service tells beyond a filesystem's wants, in every shape that it is known to come in.

use std::collections::HashMap;

use lockerfs::provider::services::{OneTimeTerms, Privacy, WebLink, ZipTerms};

use super::*;

/// As [`OddService::start`], with logins that work.
async fn answering(
    handler: impl Fn(&str, &HashMap<String, String>, usize) -> (u16, String) + Send + Sync + 'static,
) -> OddService {
    OddService::start(move |call, params, before| match call.starts_with("user/") {
        true => as_usual(),
        false => handler(call, params, before),
    })
    .await
}

fn key() -> FileId {
    FileId::new("k")
}

fn items() -> Vec<ItemId> {
    vec![ItemId::File(key()), ItemId::Folder(FolderId::new("f"))]
}

#[tokio::test]
async fn versions_come_nested_single_and_not_at_all() {
    let service = answering(|_, _, before| match before {
        0 => ok(json!({"file_versions": {"file_version": [
            {"revision": 162_696, "head": "yes", "date_utc": "2015-05-07T20:46:28Z"},
            {"revision": "162654", "date": "2015-05-05 16:34:41"},
            {"head": "yes"},
        ]}})),
        1 => ok(json!({"file_versions": {"revision": "7", "head": 1}})),
        _ => ok(json!({"file_versions": ""})),
    })
    .await;
    let provider = service.provider();
    let versions = provider.services().versions(&key()).await.unwrap();
    let told: Vec<_> = versions
        .iter()
        .map(|version| (version.revision.as_str(), version.is_head, version.date.is_some()))
        .collect();
    // A date without its zone is not believed.
    assert_eq!(told, [("162696", true, true), ("162654", false, false)]);
    let one = provider.services().versions(&key()).await.unwrap();
    assert_eq!((one.len(), one[0].is_head), (1, true));
    assert!(provider.services().versions(&key()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_trash_is_read_to_its_last_chunk_and_one_without_end_is_an_error() {
    let service = answering(|_, params, _| match (&*params["content_type"], &*params["chunk"]) {
        ("folders", _) => ok(json!({"folders": [], "more_chunks": "no"})),
        (_, "1") => {
            ok(json!({"files": {"file": [{"quickkey": "a", "filename": "A", "size": 3, "delete_date": "then"}]},
            "more_chunks": "yes"}))
        }
        (_, "2") => ok(json!({"files": [{"quickkey": "a", "filename": "A"}, {"quickkey": "b", "filename": "B"},
            {"filename": "no key"}], "more_chunks": "no"})),
        _ => error(129),
    })
    .await;
    let trash = service.provider().services().trash().await.unwrap();
    let names: Vec<_> = trash.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(
        (trash[0].size, trash[0].deleted.as_deref()),
        (Some(3), Some("then"))
    );
    let endless = answering(|_, _, _| {
        ok(json!({"files": [{"quickkey": "a", "filename": "A"}],
        "folders": [{"folderkey": "f", "name": "F"}], "more_chunks": "yes"}))
    })
    .await;
    let error = endless.provider().services().trash().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unexpected, "{error}");
    assert!(endless.calls("device/get_trash").len() < 5);
}

#[tokio::test]
async fn recent_files_keep_their_order_and_are_told_once() {
    let service = answering(|call, _, _| match call {
        "file/recently_modified" => ok(json!({"quickkeys": {"quickkey": ["k3", "k1", "k3", "gone", "k2"]}})),
        _ => ok(json!({"file_infos": [file(1), file(2), file(3)], "skipped": "gone"})),
    })
    .await;
    let recent = service.provider().services().recent(10).await.unwrap();
    let names: Vec<_> = recent.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["n3", "n1", "n2"]);
    assert_eq!(service.calls("file/get_info")[0]["quick_key"], "k3,k1,gone,k2");
}

#[tokio::test]
async fn the_names_above_a_folder_come_from_the_top_whichever_end_the_service_begins_at() {
    let chain = [("c", "C"), ("b", "B"), ("a", "A"), ("myfiles", "myfiles")];
    let service = answering(move |_, _, before| {
        let mut chain: Vec<Value> = chain
            .iter()
            .map(|(key, name)| json!({"folderkey": key, "name": name}))
            .collect();
        if before > 0 {
            chain.reverse();
        }
        ok(json!({"folder_depth": {"depth": "3", "chain_folders": chain}}))
    })
    .await;
    let provider = service.provider();
    for _ in 0..2 {
        let names = provider
            .services()
            .names_above(&FolderId::new("c"))
            .await
            .unwrap();
        assert_eq!(names, ["A", "B", "C"]);
    }
    assert!(provider.services().names_above(&root()).await.unwrap().is_empty());
    assert_eq!(service.calls("folder/get_depth").len(), 2);
}

#[tokio::test]
async fn terms_of_one_time_links_are_sent_whole_and_a_link_without_its_token_is_an_error() {
    let service = answering(|call, _, before| match (call, before) {
        ("file/one_time_key", 0) => ok(
            json!({"links": {"download": "http://127.0.0.1:9/?t", "watch": "http://127.0.0.1:9/watch/t"},
            "token": "t", "one_time_key_request_count": 4, "one_time_key_request_max_count": "100"}),
        ),
        ("file/one_time_key", _) => ok(json!({"links": {"download": "http://127.0.0.1:9/?t"}})),
        _ => error(129),
    })
    .await;
    let provider = service.provider();
    let terms = OneTimeTerms {
        duration: Some(Duration::from_secs(61)),
        bind_ip: Some("10.0.0.1".to_owned()),
        success_url: Some("https://example.org/ok?a=1".parse().unwrap()),
        ..OneTimeTerms::default()
    };
    let link = provider
        .services()
        .make_one_time_link(&key(), &terms)
        .await
        .unwrap();
    assert_eq!((link.counts.made, link.counts.most), (Some(4), Some(100)));
    assert!(link.view.is_some());
    let sent = &service.calls("file/one_time_key")[0];
    for (name, value) in [
        ("duration", "2"),
        ("email_notification", "no"),
        ("bind_ip", "10.0.0.1"),
        ("burn_after_use", "yes"),
        ("success_callback_url", "https://example.org/ok?a=1"),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    let made = provider
        .services()
        .make_one_time_link(&key(), &OneTimeTerms::default())
        .await;
    assert_eq!(made.unwrap_err().retry, Retry::OutcomeUnknown);
    assert!(!service.calls("file/one_time_key")[1].contains_key("burn_after_use"));
    let changed = provider.services().change_one_time_link("t", &terms).await;
    assert_eq!(changed.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn each_kind_of_link_has_its_own_sentence_for_a_file_without_it() {
    let service = answering(|_, _, _| {
        ok(json!({"links": [
            {"quickkey": "k", "watch": "http://127.0.0.1:9/watch/k", "edit_error_message": "File is not editable",
             "streaming_error_message": "Insufficient bandwidth", "streaming_error": "44"},
            {"quickkey": "p", "error": "User lacks permissions"},
        ]}))
    })
    .await;
    let files = [key(), FileId::new("p"), FileId::new("none")];
    for (kind, expected) in [
        (WebLink::View, None),
        (WebLink::Edit, Some(ErrorKind::Unsupported)),
        (WebLink::Stream, Some(ErrorKind::RateLimited)),
    ] {
        let links = service
            .provider()
            .services()
            .web_links(&files, kind)
            .await
            .unwrap();
        let kinds: Vec<_> = links
            .into_iter()
            .map(|link| link.err().map(|error| error.kind))
            .collect();
        let others = [Some(ErrorKind::PermissionDenied), Some(ErrorKind::NotFound)];
        assert_eq!(kinds, [[expected].as_slice(), &others].concat(), "{kind:?}");
    }
}

#[tokio::test]
async fn an_archive_is_handed_on_only_where_it_is_one_from_end_to_end() {
    const END: &str = "PK\u{5}\u{6}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let whole = format!("PK\u{3}\u{4}some files{END}");
    let sent = whole.clone();
    let service = answering(
        move |_, params, before| match (params.contains_key("meta_only"), before) {
            (true, _) => ok(json!({})),
            (_, 1) => (200, sent.clone()),
            (_, 2) => (200, sent[..sent.len() - 1].to_owned()),
            (_, 3) => (
                200,
                "<!DOCTYPE html><html>PK\u{3}\u{4} is not at the start</html>".to_owned(),
            ),
            (_, 4) => ok(json!({})),
            (_, 5) => (403, sent.clone()),
            (_, 6) => error(105),
            (_, 7) => (200, sent.clone()),
            _ => error(150),
        },
    )
    .await;
    let provider = service.provider();
    let services = provider.services();
    services.check_zip(&items(), ZipTerms::default()).await.unwrap();
    let open = async || services.zip(&items(), ZipTerms::default()).await;
    let mut archive = open().await.unwrap();
    let mut came = Vec::new();
    while let Some(bytes) = archive.chunk().await.unwrap() {
        came.extend_from_slice(&bytes);
    }
    assert_eq!(came, whole.as_bytes());
    let mut cut = open().await.unwrap();
    let error = loop {
        match cut.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a part counts as the whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert_eq!(open().await.unwrap_err().kind, ErrorKind::Corrupt, "a page");
    assert_eq!(
        open().await.unwrap_err().kind,
        ErrorKind::Unexpected,
        "success, and nothing"
    );
    assert!(open().await.is_err(), "a refusal that looks like an archive");
    let logins = service.calls("user/get_session_token").len();
    open().await.unwrap();
    assert_eq!(service.calls("user/get_session_token").len(), logins + 1);
    let error = open().await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::TooLarge, Retry::Never));
    let sent = service.calls("file/zip");
    assert_eq!(sent[0]["keys"], "k,f");
    assert!(!sent[0].contains_key("allow_large_download"));
    let agreed = ZipTerms {
        large: true,
        own_bandwidth: true,
    };
    drop(services.zip(&items(), agreed).await);
    let last = service.calls("file/zip").pop().unwrap();
    assert_eq!(
        (&*last["allow_large_download"], &*last["use_own_bandwidth"]),
        ("yes", "yes")
    );
}

#[tokio::test]
async fn a_change_of_privacy_sends_the_time_along_and_no_change_is_a_success() {
    let service = answering(|call, _, _| match call {
        "file/get_info" => ok(
            json!({"file_info": {"quickkey": "k", "filename": "n", "size": "1",
            "created_utc": "2001-09-09T01:46:40Z", "privacy": "public"}}),
        ),
        "folder/get_info" => ok(json!({"folder_info": {"folderkey": "f", "name": "n"}})),
        "file/update" => error(238),
        _ => ok(json!({})),
    })
    .await;
    let provider = service.provider();
    let services = provider.services();
    let file = ItemId::File(key());
    services
        .set_privacy(&file, Privacy::Private, false)
        .await
        .unwrap();
    let sent = &service.calls("file/update")[0];
    assert_eq!(
        (&*sent["privacy"], &*sent["mtime"]),
        ("private", "2001-09-09T01:46:40Z")
    );
    let folder = ItemId::Folder(FolderId::new("f"));
    services
        .set_privacy(&folder, Privacy::Public, true)
        .await
        .unwrap();
    let sent = &service.calls("folder/update")[0];
    assert_eq!(sent["privacy_recursive"], "yes");
    assert!(!sent.contains_key("mtime"), "none was told");
    let refused = services.set_privacy(&file, Privacy::Unlisted, false).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Unsupported);
}
