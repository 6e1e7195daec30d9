//! How the MediaFire client takes answers that are odd, old, partial or hostile.

#[path = "provider_mediafire/endless.rs"]
mod endless;
#[path = "support/odd_service.rs"]
mod odd_service;
#[path = "provider_mediafire/services.rs"]
mod services;
#[path = "provider_mediafire/web.rs"]
mod web;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockerfs::provider::mediafire::{Credentials, Settings, TokenVersion};
use lockerfs::provider::{
    ContentHash, DeleteMode, Entry, ErrorKind, FileId, FolderId, ItemId, ListHint, Refusal, Retry,
    UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};
use md5::{Digest, Md5};
use odd_service::{OddService, as_usual, error, ok};
use serde_json::{Value, json};

const FILES_ONLY: ListHint = ListHint {
    files: None,
    folders: Some(0),
};

fn root() -> FolderId {
    FolderId::new("myfiles")
}

fn file(key: usize) -> Value {
    json!({"quickkey": format!("k{key}"), "filename": format!("n{key}"), "size": key.to_string()})
}

fn request(size: u64) -> UploadRequest {
    UploadRequest {
        folder: root(),
        name: "näme".to_owned(),
        size,
        sha256: Some([9; 32]),
        mtime: UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        replaces: None,
        sent_before: false,
    }
}

#[tokio::test]
async fn more_chunks_without_end_are_an_error() {
    for entries in [json!([]), json!([file(1)]), json!("")] {
        let service = OddService::start(move |call, _, _| match call {
            "folder/get_content" => ok(json!({"folder_content": {"files": entries, "more_chunks": "yes"}})),
            _ => as_usual(),
        })
        .await;
        let error = service.provider().list(&root(), FILES_ONLY).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::Unexpected, Retry::Never),
            "{error}"
        );
        assert!(service.calls("folder/get_content").len() <= 2);
    }
}

#[tokio::test]
async fn a_folder_that_changes_between_chunks_is_listed_again() {
    let service = OddService::start(|call, params, before| match call {
        "folder/get_content" => {
            let chunk: usize = params["chunk"].parse().unwrap();
            let revision = if before == 0 { "1" } else { "2" };
            let more = if chunk < 3 { "yes" } else { "no" };
            ok(json!({"folder_content": {"files": [file(chunk)], "more_chunks": more, "revision": revision}}))
        }
        _ => as_usual(),
    })
    .await;
    let listing = service.provider().list(&root(), FILES_ONLY).await.unwrap();
    assert_eq!(listing.entries.len(), 3);
    assert_eq!(service.calls("folder/get_content").len(), 5);
}

#[tokio::test]
async fn a_folder_that_never_rests_is_busy_after_a_bounded_number_of_calls() {
    let service = OddService::start(|call, params, before| match call {
        "folder/get_content" => {
            let chunk: usize = params["chunk"].parse().unwrap();
            ok(json!({"folder_content": {"files": [file(chunk)], "more_chunks": "yes", "revision": before}}))
        }
        _ => as_usual(),
    })
    .await;
    let error = service.provider().list(&root(), FILES_ONLY).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Busy, Retry::AfterWait(None))
    );
    assert!(service.calls("folder/get_content").len() <= 10);
}

#[tokio::test]
async fn entries_are_read_whatever_the_types_of_their_fields() {
    let service = OddService::start(|call, _, _| match call {
        "folder/get_content" => ok(json!({"folder_content": {"more_chunks": false, "files": [
            {"quickkey": "a", "filename": "a", "size": 12, "created": "2015-01-01 00:00:00", "hash": null, "flag": 2},
            {"quickkey": "b", "filename": "b", "size": "13", "created_utc": "2001-09-09T01:46:40Z", "revision": 7,
             "hash": "D41D8CD98F00B204E9800998ECF8427E", "permissions": ""},
            {"filename": "without key", "size": "1"},
            "not even an object",
        ]}})),
        _ => as_usual(),
    })
    .await;
    let listing = service.provider().list(&root(), FILES_ONLY).await.unwrap();
    let [Entry::File(a), Entry::File(b)] = listing.entries.as_slice() else {
        panic!("{listing:?}")
    };
    assert_eq!((a.size, a.mtime, a.hash), (12, None, None));
    assert_eq!((b.size, b.revision.as_deref()), (13, Some("7")));
    assert_eq!(b.mtime, Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)));
    assert!(matches!(b.hash, Some(ContentHash::Md5(_))));
}

#[tokio::test]
async fn file_info_is_read_as_one_object_as_a_list_and_as_a_nested_list() {
    for fields in [
        json!({"file_info": file(1)}),
        json!({"file_infos": [file(1)], "skipped": "k2"}),
        json!({"file_infos": {"file_info": [file(1)]}}),
        json!({"file_info": [file(1)]}),
    ] {
        let shape = fields.to_string();
        let service = OddService::start(move |call, _, _| match call {
            "file/get_info" => ok(fields.clone()),
            _ => as_usual(),
        })
        .await;
        let info = service
            .provider()
            .file_info(&[FileId::new("k1"), FileId::new("k2")])
            .await
            .unwrap();
        assert_eq!(
            info.iter().map(|file| file.id.as_str()).collect::<Vec<_>>(),
            ["k1"],
            "{shape}"
        );
        assert_eq!(info[0].parent, Some(root()));
    }
}

#[tokio::test]
async fn many_files_are_asked_for_500_at_a_time() {
    let service = OddService::start(|call, params, _| match call {
        "file/get_info" => {
            let keys: Vec<_> = params["quick_key"].split(',').collect();
            assert!(keys.len() <= 500);
            ok(json!({"file_infos": keys.iter().map(|key| json!({"quickkey": key, "filename": "n", "size": 1})).collect::<Vec<_>>()}))
        }
        _ => as_usual(),
    })
    .await;
    let ids: Vec<_> = (0..1_200).map(|i| FileId::new(format!("k{i}"))).collect();
    assert_eq!(service.provider().file_info(&ids).await.unwrap().len(), 1_200);
    assert_eq!(service.calls("file/get_info").len(), 3);
}

#[tokio::test]
async fn each_call_is_signed_with_the_next_key_also_after_an_error() {
    let service = OddService::start(|call, _, before| match call {
        "folder/update" if before == 0 => (
            200,
            json!({"response": {"result": "Error", "error": 118, "new_key": "yes"}}).to_string(),
        ),
        "folder/update" => ok(json!({"new_key": if before == 1 { "yes" } else { "no" }})),
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let item = ItemId::Folder(FolderId::new("f"));
    for turn in 0..4 {
        assert_eq!(provider.rename(&item, "n ü", None).await.is_err(), turn == 0);
    }
    let mut keys = vec![1000_u64];
    for _ in 0..2 {
        keys.push(keys[keys.len() - 1] * 16807 % 2_147_483_647);
    }
    keys.push(keys[2]);
    let calls = service.calls("folder/update");
    for (key, call) in keys.iter().zip(&calls) {
        let query = "folder_key=f&foldername=n%20%C3%BC&session_token=session0&response_format=json";
        let text = format!("{}1.5/api/1.5/folder/update.php?{query}", key % 256);
        assert_eq!(call["signature"], hex::encode(Md5::digest(text.as_bytes())));
    }
    assert_eq!(
        (calls.len(), service.calls("user/get_session_token").len()),
        (4, 1)
    );
}

#[tokio::test]
async fn a_token_refused_twice_is_an_error_and_not_a_storm() {
    for code in [105, 127] {
        let service = OddService::start(move |call, _, _| match call {
            "user/get_session_token" => as_usual(),
            _ => error(code),
        })
        .await;
        let error = service.provider().list(&root(), FILES_ONLY).await.unwrap_err();
        assert_eq!(error.retry, Retry::AfterLogin, "{error}");
        assert_eq!(service.calls("folder/get_content").len(), 2);
        assert_eq!(service.calls("user/get_session_token").len(), 2);
    }
}

#[tokio::test]
async fn errors_count_under_any_http_status_and_content_type() {
    for status in [200, 400, 403, 404, 500] {
        let service = OddService::start(move |call, _, _| match call {
            "user/get_session_token" => as_usual(),
            _ => (status, error(112).1),
        })
        .await;
        let error = service.provider().list(&root(), FILES_ONLY).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{status}: {error}");
    }
}

#[tokio::test]
async fn a_challenge_page_at_the_login_says_what_it_is_and_had_no_effect() {
    let service = OddService::start(|_, _, _| (403, "<html>Just a moment...</html>".to_owned())).await;
    let error = service.provider().create_folder(&root(), "n").await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Corrupt, Retry::AfterWait(None))
    );
    assert!(error.to_string().contains("web page"), "{error}");
}

#[tokio::test]
async fn a_failed_login_is_shared_by_all_who_waited_for_it() {
    let service = OddService::start(|call, _, _| match call {
        "user/get_session_token" => {
            std::thread::sleep(Duration::from_millis(100));
            (503, String::from("-"))
        }
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let root = root();
    let calls = (0..4).map(|_| provider.list(&root, FILES_ONLY));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap_err().kind, ErrorKind::Unavailable);
    }
    assert_eq!(service.calls("user/get_session_token").len(), 1);
}

#[tokio::test]
async fn deleting_a_folder_that_ends_in_an_internal_error_has_an_unknown_outcome() {
    let service = OddService::start(|call, _, _| match call {
        "folder/delete" => error(100),
        _ => as_usual(),
    })
    .await;
    let items = [ItemId::Folder(FolderId::new("f"))];
    let error = service
        .provider()
        .delete(&items, DeleteMode::Trash)
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown);
}

#[tokio::test]
async fn a_running_job_is_busy_and_an_absent_item_is_deleted_already() {
    let service =
        OddService::start(
            |call, params, _| match (call, params.get("quick_key").map(String::as_str)) {
                ("file/delete", Some("busy")) => error(208),
                ("file/delete", _) => error(110),
                _ => as_usual(),
            },
        )
        .await;
    let provider = service.provider();
    let delete = async |key: &str| {
        provider
            .delete(&[ItemId::File(FileId::new(key))], DeleteMode::Trash)
            .await
    };
    let error = delete("busy").await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Busy, Retry::AfterWait(None))
    );
    delete("gone").await.unwrap();
}

fn given_up(kind: ErrorKind, message: &str) -> UploadProgress {
    UploadProgress::GivenUp(Refusal {
        kind,
        retry: Retry::Never,
        message: message.to_owned(),
    })
}

#[tokio::test]
async fn polls_are_read_from_their_sparsest_to_their_last() {
    let ticket = UploadTicket::new("key");
    let cases = [
        (json!({}), Some(UploadProgress::Processing(ticket.clone()))),
        (
            json!({"result": "0", "status": "", "fileerror": ""}),
            Some(UploadProgress::Processing(ticket.clone())),
        ),
        (
            json!({"result": 0, "status": 18, "fileerror": 0}),
            Some(UploadProgress::Processing(ticket.clone())),
        ),
        (json!({"result": "-20"}), Some(UploadProgress::StartAgain)),
        (json!({"result": "-80"}), Some(UploadProgress::StartAgain)),
        (
            json!({"result": "0", "fileerror": "6"}),
            Some(UploadProgress::StartAgain),
        ),
        (
            json!({"result": "0", "fileerror": "17"}),
            Some(UploadProgress::StartAgain),
        ),
        (
            json!({"result": "0", "status": "99"}),
            Some(UploadProgress::StartAgain),
        ),
        (
            json!({"result": "0", "fileerror": "15"}),
            Some(given_up(
                ErrorKind::QuotaExceeded,
                "the account's storage is full (upload error 15)",
            )),
        ),
        (
            json!({"result": "0", "fileerror": 5, "description": "Trojan"}),
            Some(given_up(
                ErrorKind::PermissionDenied,
                "the service takes the file for a virus (upload error 5, the service says: Trojan)",
            )),
        ),
    ];
    for (doupload, expected) in cases {
        let shown = doupload.to_string();
        let service = OddService::start(move |call, _, _| match call {
            "upload/poll_upload" => ok(json!({"doupload": doupload})),
            _ => as_usual(),
        })
        .await;
        assert_eq!(
            service.provider().upload_poll(&ticket).await.ok(),
            expected,
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_finished_poll_without_details_asks_for_them() {
    let service = OddService::start(|call, _, _| match call {
        "upload/poll_upload" => ok(json!({"doupload": {"result": "0", "quickkey": "k7", "status": "99"}})),
        "file/get_info" => ok(json!({"file_info": file(7)})),
        _ => as_usual(),
    })
    .await;
    let progress = service
        .provider()
        .upload_poll(&UploadTicket::new("key"))
        .await
        .unwrap();
    let UploadProgress::Done(entry) = progress else {
        panic!("{progress:?}")
    };
    assert_eq!(
        (entry.id.as_str(), entry.name.as_str(), entry.size),
        ("k7", "n7", 7)
    );
}

#[tokio::test]
async fn a_full_account_is_told_by_the_announcement() {
    for fields in [
        json!({"storage_limit_exceeded": "yes"}),
        json!({"available_space": "99"}),
    ] {
        let service = OddService::start(move |call, _, _| match call {
            "upload/check" => ok(fields.clone()),
            _ => as_usual(),
        })
        .await;
        let error = service.provider().upload_begin(&request(100)).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::QuotaExceeded, Retry::Never)
        );
    }
}

#[tokio::test]
async fn an_empty_file_is_made_although_its_announcement_is_refused() {
    let service = OddService::start(|call, _, _| match call {
        "upload/check" => error(129),
        "upload/instant" => ok(json!({"quickkey": "k"})),
        _ => as_usual(),
    })
    .await;
    let plan = service.provider().upload_begin(&request(0)).await.unwrap();
    let UploadPlan::Done(entry) = plan else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (entry.name.as_str(), entry.mtime),
        ("näme", Some(request(0).mtime))
    );
    assert_eq!(
        service.calls("upload/instant")[0]["mtime"],
        "2001-09-09T01:46:40Z"
    );
}

#[tokio::test]
async fn a_known_twin_of_the_holder_of_a_name_is_replaced() {
    let service = OddService::start(|call, _, _| match call {
        "upload/check" => ok(json!({"file_exists": "yes", "different_hash": "yes", "duplicate_quickkey": "other"})),
        "file/get_info" => {
            ok(json!({"file_info": {"quickkey": "known", "filename": "näme", "size": "1", "parent_folderkey": ""}}))
        }
        _ => as_usual(),
    })
    .await;
    let mut request = request(100);
    request.replaces = Some(FileId::new("known"));
    assert_eq!(
        service.provider().upload_begin(&request).await.unwrap(),
        UploadPlan::Whole
    );
    request.name = "another name".to_owned();
    let taken = UploadPlan::NameTaken(FileId::new("other"));
    assert_eq!(service.provider().upload_begin(&request).await.unwrap(), taken);
}

#[tokio::test]
async fn each_link_has_its_own_error() {
    let service = OddService::start(|call, _, _| match call {
        "file/get_links" => ok(json!({"links": [
            {"quickkey": "d", "error": "User lacks permissions"},
            {"quickkey": "c", "direct_download_error": "44", "direct_download_error_message": "Insufficient bandwidth"},
            {"quickkey": "b", "direct_download_error": 45},
            {"quickkey": "a", "direct_download": "http://127.0.0.1:9/x"},
            {"quickkey": "e", "direct_download": "http://download1.mediafire.com/x"},
        ]})),
        _ => as_usual(),
    })
    .await;
    let ids: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(FileId::new).into();
    let links = service.provider().links(&ids).await.unwrap();
    let kinds: Vec<_> = links
        .iter()
        .map(|link| link.as_ref().err().map(|error| error.kind))
        .collect();
    use ErrorKind::{NotFound, PermissionDenied, RateLimited, Unexpected};
    // A link in the clear to anything but this machine is not used.
    let expected = [
        None,
        Some(PermissionDenied),
        Some(RateLimited),
        Some(PermissionDenied),
        Some(Unexpected),
        Some(NotFound),
    ];
    assert_eq!(kinds, expected);
    assert!(links[0].as_ref().unwrap().expires > SystemTime::now());
}

#[tokio::test]
async fn a_given_session_token_is_renewed_at_first_and_its_end_is_told() {
    let service = OddService::start(|call, params, before| match call {
        "user/renew_session_token" if before == 0 => ok(json!({"session_token": "renewed"})),
        "folder/update" if params["session_token"] == "renewed" && before == 0 => ok(json!({})),
        _ => error(105),
    })
    .await;
    let provider = service.provider_with(Settings {
        credentials: Credentials::SessionToken("given".into()),
        token_version: TokenVersion::V2,
        ..service.settings()
    });
    let item = ItemId::Folder(FolderId::new("f"));
    provider.rename(&item, "n", None).await.unwrap();
    for _ in 0..3 {
        let error = provider.rename(&item, "n", None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::LoginRefused, "{error}");
    }
    assert_eq!(service.calls("folder/update").len(), 2);
    assert!(service.calls("user/get_session_token").is_empty());
}

#[tokio::test]
async fn no_secret_stands_in_settings_or_errors() {
    let service = OddService::start(|_, _, _| error(107)).await;
    assert!(!format!("{:?}", service.settings()).contains("hunter2"));
    let error = service.provider().account_info().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let mut settings = service.settings();
    settings.base_url = "http://example.org/".parse().unwrap();
    let client = lockerfs::http::ApiClient::new(lockerfs::http::ApiOptions::default()).unwrap();
    assert!(lockerfs::provider::mediafire::MediaFire::new(settings, client).is_err());
}
