//! Files that the service fetches from a link.

use super::*;

fn link() -> url::Url {
    "https://download1.example.com/secret/key/name.bin"
        .parse()
        .unwrap()
}

fn ticket(progress: UploadProgress) -> UploadTicket {
    match progress {
        UploadProgress::Processing(ticket) => ticket,
        progress => panic!("{progress:?}"),
    }
}

fn made(key: &str, folder: &str, size: u64) -> Value {
    json!({"file_info": {"quickkey": key, "filename": "n\u{e4}me", "size": size, "parent_folderkey": folder,
        "hash": hex::encode([9; 32]), "created_utc": "2001-09-09T01:46:40Z"}})
}

#[tokio::test]
async fn a_web_upload_is_followed_from_its_entry_to_its_file() {
    let service = OddService::start(|call, _, before| match (call, before) {
        ("upload/add_web_upload", _) => ok(json!({"upload_key": "w1"})),
        ("upload/get_web_uploads", 0) => ok(json!({"web_uploads": ""})),
        ("upload/get_web_uploads", 1) => ok(
            json!({"web_uploads": {"uploadkey": "w1", "active": "yes", "status_code": "3", "quickkey": ""}}),
        ),
        // The list as a whole, whatever was asked for.
        ("upload/get_web_uploads", _) => ok(json!({"web_uploads": [
            {"uploadkey": "w0", "active": "no", "status_code": "99", "quickkey": "other"},
            {"upload_key": "w1", "active": "no", "status_code": 99, "quickkey": "k"},
        ]})),
        ("file/get_info", _) => ok(made("k", "", 7)),
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let mut request = request(7);
    request.sha256 = None;
    let first = ticket(provider.upload_from_link(&request, &link()).await.unwrap());
    let added = &service.calls("upload/add_web_upload")[0];
    assert_eq!(
        (added["url"].as_str(), added["filename"].as_str()),
        (link().as_str(), "näme")
    );
    assert_eq!(added["folder_key"], "myfiles");
    // The list may lag behind at first.
    assert_eq!(ticket(provider.upload_poll(&first).await.unwrap()), first);
    assert_eq!(ticket(provider.upload_poll(&first).await.unwrap()), first);
    let UploadProgress::Done(entry) = provider.upload_poll(&first).await.unwrap() else {
        panic!()
    };
    assert_eq!((entry.id.as_str(), entry.mtime), ("k", Some(request.mtime)));
    for asked in service.calls("upload/get_web_uploads") {
        assert_eq!(
            (asked["upload_key"].as_str(), asked["key"].as_str()),
            ("w1", "w1")
        );
    }
    assert!(service.calls("file/update").is_empty(), "it has its time already");
}

#[tokio::test]
async fn a_web_upload_that_the_service_forgot_begins_anew_after_a_while() {
    let service = OddService::start(|call, _, before| match (call, before) {
        ("upload/add_web_upload", _) => ok(json!({"upload_key": "w1"})),
        ("upload/get_web_uploads", 0) => ok(json!({})),
        ("upload/get_web_uploads", _) => error(175),
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let fresh = ticket(provider.upload_from_link(&request(7), &link()).await.unwrap());
    let mut text: Value = serde_json::from_str(fresh.as_str()).unwrap();
    text["since"] = json!(text["since"].as_u64().unwrap() - 3600);
    let old = UploadTicket::new(text.to_string());
    for _ in 0..2 {
        assert_eq!(
            provider.upload_poll(&old).await.unwrap(),
            UploadProgress::StartAgain
        );
        assert_eq!(ticket(provider.upload_poll(&fresh).await.unwrap()), fresh);
    }
}

#[tokio::test]
async fn a_web_upload_without_end_is_given_up_after_a_day() {
    let service = OddService::start(|call, _, _| match call {
        "upload/add_web_upload" => ok(json!({"upload_key": "w1"})),
        "upload/get_web_uploads" => {
            ok(json!({"web_uploads": [{"uploadkey": "w1", "active": "yes", "status_code": "3"}]}))
        }
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let fresh = ticket(provider.upload_from_link(&request(7), &link()).await.unwrap());
    assert_eq!(ticket(provider.upload_poll(&fresh).await.unwrap()), fresh);
    let mut text: Value = serde_json::from_str(fresh.as_str()).unwrap();
    text["since"] = json!(text["since"].as_u64().unwrap() - 25 * 3600);
    let old = UploadTicket::new(text.to_string());
    let progress = provider.upload_poll(&old).await.unwrap();
    assert!(matches!(progress, UploadProgress::GivenUp(_)), "{progress:?}");
}

#[tokio::test]
async fn a_web_upload_that_failed_is_given_up_in_the_services_words() {
    let service = OddService::start(|call, _, _| match call {
        "upload/add_web_upload" => ok(json!({"upload_key": "w1"})),
        "upload/get_web_uploads" => ok(json!({"web_uploads": [{"uploadkey": "w1", "active": "no",
            "status_code": "99", "status": "Failed", "quickkey": "",
            "error_status": format!("nothing at {}", link())}]})),
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let sent = ticket(provider.upload_from_link(&request(7), &link()).await.unwrap());
    let upload = lockerfs::provider::SentUpload {
        ticket: sent.clone(),
        request: request(7),
    };
    let many = provider.upload_poll_many(&[upload]).await.unwrap().remove(0);
    for progress in [provider.upload_poll(&sent).await.unwrap(), many.unwrap()] {
        let UploadProgress::GivenUp(refusal) = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(refusal.retry, Retry::Never);
        assert!(
            refusal.message.contains("Failed, nothing at"),
            "{}",
            refusal.message
        );
        assert!(!refusal.message.contains("secret"), "{}", refusal.message);
    }
}

#[tokio::test]
async fn uploads_of_bytes_and_of_links_are_polled_together_in_few_calls() {
    let service = OddService::start(|call, params, _| match call {
        "upload/add_web_upload" => ok(json!({"upload_key": format!("w{}", params["folder_key"])})),
        "upload/get_web_uploads" => ok(json!({"web_uploads": [
            {"uploadkey": "wa", "status_code": "99", "quickkey": "ka"},
            {"uploadkey": "wb", "status_code": "2", "quickkey": ""},
        ]})),
        "device/get_status" => ok(json!({"device_revision": "5"})),
        "device/get_changes" => {
            ok(json!({"device_revision": "5", "updated": {"files": [{"quickkey": "kc"}]}}))
        }
        "file/get_info" if params["quick_key"] == "ka" => ok(made("ka", "a", 7)),
        "file/get_info" => ok(made("kc", "c", 7)),
        _ => as_usual(),
    })
    .await;
    let provider = service.provider();
    let to = |folder: &str| UploadRequest {
        folder: FolderId::new(folder),
        ..request(7)
    };
    let mut uploads = Vec::new();
    for folder in ["b", "a"] {
        let sent = provider.upload_from_link(&to(folder), &link()).await.unwrap();
        uploads.push(lockerfs::provider::SentUpload {
            ticket: ticket(sent),
            request: to(folder),
        });
    }
    let of_bytes = lockerfs::provider::SentUpload {
        ticket: UploadTicket::new("c1234567890"),
        request: to("c"),
    };
    uploads.insert(1, of_bytes);
    let answers = provider.upload_poll_many(&uploads).await.unwrap();
    let ids: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            UploadProgress::Done(file) => file.id.as_str().to_owned(),
            progress => ticket(progress).as_str().to_owned(),
        })
        .collect();
    assert_eq!(ids, [uploads[0].ticket.as_str(), "kc", "ka"]);
    assert_eq!(service.calls("upload/get_web_uploads").len(), 1);
}

#[tokio::test]
async fn a_web_upload_whose_answer_was_lost_is_looked_for_among_those_of_its_name() {
    let listed = |folder: &'static str, size: u64, active: bool| {
        OddService::start(move |call, _, _| match call {
            "upload/add_web_upload" => ok(json!({"upload_key": "new"})),
            "upload/get_web_uploads" => {
                let now = time::OffsetDateTime::now_utc();
                let now = now
                    .format(&time::format_description::well_known::Rfc3339)
                    .unwrap();
                let first = if active {
                    json!({"uploadkey": "busy", "filename": "näme", "status_code": "4", "active": "yes"})
                } else {
                    json!({"uploadkey": "else", "filename": "another", "status_code": "4", "active": "yes"})
                };
                ok(json!({"web_uploads": [first,
                    {"uploadkey": "old", "filename": "näme", "status_code": "99", "quickkey": "x",
                        "created_utc": "2001-01-01T00:00:00Z"},
                    {"uploadkey": "done", "filename": "näme", "status_code": "99", "quickkey": "k", "created_utc": now},
                ]}))
            }
            "file/get_info" => ok(made("k", folder, size)),
            _ => as_usual(),
        })
    };
    let mut request = request(7);
    request.sent_before = true;
    for (folder, size, active, found) in [
        ("", 7, true, "done"),
        ("elsewhere", 7, true, "busy"),
        ("", 8, true, "busy"),
        ("elsewhere", 7, false, "new"),
    ] {
        let service = listed(folder, size, active).await;
        let progress = service
            .provider()
            .upload_from_link(&request, &link())
            .await
            .unwrap();
        match progress {
            UploadProgress::Done(file) => assert_eq!((file.id.as_str(), found), ("k", "done")),
            progress => assert!(
                ticket(progress).as_str().contains(&format!("\"{found}\"")),
                "{found}"
            ),
        }
        let added = usize::from(found == "new");
        assert_eq!(service.calls("upload/add_web_upload").len(), added, "{found}");
        for asked in service.calls("file/get_info") {
            assert_eq!(asked["quick_key"], "k", "the old one is not ours");
        }
    }
}

#[tokio::test]
async fn a_link_that_cannot_become_the_file_is_refused_without_a_call() {
    let service = OddService::start(|_, _, _| as_usual()).await;
    let provider = service.provider();
    let mut replacing = request(7);
    replacing.replaces = Some(FileId::new("k"));
    let with_secret: url::Url = "https://me:hunter2@example.com/f".parse().unwrap();
    for (request, link) in [
        (replacing, link()),
        (request(0), link()),
        (request(7), with_secret),
    ] {
        let error = provider.upload_from_link(&request, &link).await.unwrap_err();
        assert_eq!(error.retry, Retry::Never, "{error}");
        assert!(!format!("{error} {error:?}").contains("example.com"), "{error:?}");
    }
    assert!(service.calls("upload/add_web_upload").is_empty());
}
