//! Uploads, changes of files, mishaps, and the plain files.

use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::EXPIRED;
use crate::sandbox_caller::{sha256, wait_for};
use crate::yetishare_caller::{HOST, header, json_of, multipart, options, start, start_in, text};

#[tokio::test]
async fn an_upload_is_told_listed_informed_of_and_read_back() {
    let host = start(|_| {}).await;
    let folder = host.folder("Docs & more", "").await;
    let reply = host.send("Report.TXT", b"all of it", &folder).await;
    assert_eq!(reply["response"], "File uploaded");
    let entry = &reply["data"][0];
    assert_eq!(entry["name"], "Report.TXT");
    assert_eq!(entry["size"], "9");
    assert_eq!(entry["error"], Value::Null);
    assert_eq!(entry["hash"], hex::encode(Md5::digest(b"all of it")));
    assert_eq!(text(&entry["unique_hash"]).len(), 64);
    let id = text(&entry["file_id"]);

    let listing = host.listing(&folder).await;
    let listed = &listing["files"][0];
    assert_eq!(listed["id"], json!(id));
    assert_eq!(
        (&listed["fileSize"], &listed["status"]),
        (&json!("9"), &json!("active"))
    );
    assert_eq!(
        (&listed["folderId"], &listed["extension"]),
        (&json!(folder), &json!("txt"))
    );
    assert!(listed.get("uploadedDate").is_none(), "{listed}");

    let info = host.call("file/info", &[("file_id", &id)]).await;
    assert_eq!(info["data"]["file_status"], "active");
    assert_eq!(text(&info["data"]["uploadedDate"]).len(), 19);
    let reply = host.get(&host.link(&id).await, None).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.bytes().await.unwrap().as_ref(), b"all of it");
    let plain = host.sandbox.files_dir(HOST).join("Docs & more/Report.TXT");
    assert_eq!(std::fs::read(plain).unwrap(), b"all of it");
}

#[tokio::test]
async fn uploads_never_overwrite_and_their_names_are_cleaned() {
    let host = start(|_| {}).await;
    let mut stored = Vec::new();
    for name in [
        "a.tar.gz",
        "a.tar.gz",
        "a.tar.gz",
        ".hidden",
        "it's.txt",
        "dir/sub.txt",
        "C:\\\\x.txt",
    ] {
        stored.push(text(&host.upload(name, b"x", "").await["name"]));
    }
    let expected = [
        "a.tar.gz",
        "a.tar (2).gz",
        "a.tar (3).gz",
        "hidden",
        "its.txt",
        "sub.txt",
        "x.txt",
    ];
    assert_eq!(stored, expected);
    let empty = host.send("empty.txt", b"", "").await;
    assert_eq!(empty["response"], "Filesize received was zero.");
    let lost = text(&host.upload("lost.txt", b"x", "999999").await["file_id"]);
    let info = host.call("file/info", &[("file_id", &lost)]).await;
    assert_eq!(info["data"]["folderId"], Value::Null);
    let none = json_of(host.send_body(multipart(&host.own(&[]), None)).await).await;
    assert_eq!(none["response"], "Did not receive uploaded file.");

    let host = start(|options| options.quirks.yetishare.names_altered = true).await;
    assert_eq!(host.upload("ä & b.txt", b"x", "").await["name"], "_ _ b.txt");
}

#[tokio::test]
async fn a_body_beyond_the_post_limit_loses_all_its_fields() {
    let host = start(|options| options.quirks.yetishare.post_limit = Some(4000)).await;
    host.file("fits.bin", &[1; 1000], "").await;
    let lost = host.send("large.bin", &[1; 5000], "").await;
    assert_eq!(lost["response"], "Please provide the access_token param.");
    assert_eq!(host.names("files", "").await, ["fits.bin"]);
}

#[tokio::test]
async fn limits_of_the_package_are_told_and_kept() {
    let host = start(|options| {
        options.accounts[1].max_upload_size = 3000;
        options.accounts[1].storage_limit = 5000;
    })
    .await;
    let package = host.call("account/package", &[]).await["data"].take();
    assert_eq!(package["max_upload_size"], "3000");
    assert_eq!(package["max_storage_bytes"], "5000");
    let large = text(&host.send("large.bin", &[1; 3001], "").await["response"]);
    assert!(
        large.starts_with("Error on: http://") && large.ends_with(". maxFileSize"),
        "{large}"
    );
    let first = host.file("one.bin", &[1; 3000], "").await;
    let full = text(&host.send("two.bin", &[1; 3000], "").await["response"]);
    assert!(
        full.starts_with("Error on: http://") && full.contains("Storage full"),
        "{full}"
    );
    host.call("file/delete", &[("file_id", &first)]).await;
    host.file("two.bin", &[1; 3000], "").await;
}

#[tokio::test]
async fn files_are_renamed_and_moved_without_a_look_at_twins() {
    let host = start(|_| {}).await;
    let folder = host.folder("inner", "").await;
    let (a, b) = (
        host.file("a.txt", b"a", "").await,
        host.file("b.txt", b"b", "").await,
    );
    let edited = host
        .call(
            "file/edit",
            &[("file_id", &b), ("filename", "a.txt"), ("folder_id", "77")],
        )
        .await;
    assert_eq!(
        (&edited["data"]["filename"], &edited["data"]["folderId"]),
        (&json!("a.txt"), &Value::Null)
    );
    assert_eq!(host.names("files", "").await, ["a.txt", "a.txt"]);
    let to = async |target: &str| {
        let params = [("file_id", a.as_str()), ("new_parent_folder_id", target)];
        host.call("file/move", &params).await
    };
    assert_eq!(to(&folder).await["data"]["folderId"], json!(folder));
    assert_eq!(
        to("").await["response"],
        "Please provide the new_parent_folder_id param."
    );
    let zero = text(&to("0").await["response"]);
    assert!(
        zero.starts_with("Could not find the destination folder id"),
        "{zero}"
    );
    assert_eq!(to("null").await["data"]["folderId"], Value::Null);
    let copied = host
        .call("file/copy", &[("file_id", &a), ("copy_to_folder_id", &folder)])
        .await;
    assert!(copied.get("data").is_none(), "{copied}");
    assert_eq!(copied["original_file"]["id"], json!(a));
    assert_eq!(copied["new_file"]["folderId"], json!(folder));
    let url = host.link(&text(&copied["new_file"]["id"])).await;
    assert_eq!(host.get(&url, None).await.text().await.unwrap(), "a");
    let moved = [
        ("file_id", b.as_str()),
        ("folder_id", folder.as_str()),
        ("filename", "c"),
    ];
    host.call("file/edit", &moved).await;
    assert_eq!(host.names("files", &folder).await, ["a.txt", "c"]);
}

#[tokio::test]
async fn an_upload_is_stored_after_a_silence_even_when_nobody_waits() {
    let host = start(|options| options.quirks.yetishare.second_hop = Duration::from_millis(1500)).await;
    let began = Instant::now();
    host.file("patient.txt", b"x", "").await;
    assert!(began.elapsed() >= Duration::from_millis(1500));
    let hasty = tokio::time::timeout(Duration::from_millis(1000), host.send("hasty.txt", b"y", "")).await;
    assert!(hasty.is_err());
    wait_for("the upload that nobody waited for", async || {
        host.names("files", "").await == ["hasty.txt", "patient.txt"]
    })
    .await;
}

#[tokio::test]
async fn mishaps_befall_these_hosts_as_well() {
    let mut host = start(|_| {}).await;
    let folder = host.folder("folder", "").await;
    host.faults(json!([
        { "match": "v2/folder/listing", "fault": "say", "text": "Out of order.", "times": 1 },
        { "match": "v2/account/info", "fault": "expire_token", "times": 1 },
        { "match": "v2/account/package", "fault": "truncate", "times": 1 },
        { "match": "v2/file/info", "fault": "status", "status": 429, "retry_after": 3, "times": 1 },
    ]))
    .await;
    assert_eq!(
        host.call("folder/listing", &[]).await["response"],
        "Out of order."
    );
    assert_eq!(host.call("account/info", &[]).await["response"], EXPIRED);
    host.login().await;
    let cut = host
        .post("account/package", &host.own(&[]))
        .await
        .bytes()
        .await
        .unwrap();
    assert!(serde_json::from_slice::<Value>(&cut).is_err());
    let limited = host.post("file/info", &host.own(&[])).await;
    assert_eq!(
        (limited.status(), header(&limited, "retry-after")),
        (StatusCode::TOO_MANY_REQUESTS, Some("3".to_owned()))
    );

    host.faults(json!([
        { "match": "v2/file/upload", "fault": "store_wrong", "what": "size", "times": 1 },
        { "match": "v2/file/upload", "fault": "store_wrong", "what": "hash", "times": 1 },
        { "match": "v2/file/upload", "fault": "wrong_folder", "times": 1 },
        { "match": "v2/file/upload", "fault": "lost_reply", "times": 1 },
        { "match": "v2/file/upload", "fault": "reset", "times": 1 },
    ]))
    .await;
    let short = host.upload("short.txt", b"abcdef", &folder).await;
    assert_eq!(short["size"], "5");
    assert_eq!(short["hash"], hex::encode(Md5::digest(b"abcde")));
    let altered = host.upload("altered.txt", b"abcdef", &folder).await;
    assert_eq!(altered["size"], "6");
    let link = host.link(&text(&altered["file_id"])).await;
    let stored = host.get(&link, None).await.bytes().await.unwrap();
    assert_ne!(stored.as_ref(), b"abcdef");
    assert_eq!(altered["hash"], hex::encode(Md5::digest(&stored)));
    host.upload("astray.txt", b"x", &folder).await;
    assert_eq!(host.names("files", "").await, ["astray.txt"]);
    for name in ["unheard.txt", "broken.txt"] {
        let body = multipart(&host.own(&[("folder_id", &folder)]), Some((name, b"x")));
        let request = host.http.post(host.url("file/upload"));
        let request = request.header("content-type", "multipart/form-data; boundary=xyz");
        assert!(request.body(body).send().await.is_err(), "{name}");
    }
    assert_eq!(
        host.names("files", &folder).await,
        ["altered.txt", "short.txt", "unheard.txt"]
    );
}

#[tokio::test]
async fn what_is_done_to_the_plain_files_and_by_touch_shows_with_ids_of_the_host() {
    let host = start(|_| {}).await;
    let dir = host.sandbox.files_dir(HOST);
    std::fs::create_dir_all(dir.join("by hand")).unwrap();
    std::fs::write(dir.join("by hand/a.txt"), "by hand").unwrap();
    host.sandbox.rescan().await;
    let touched = json!({ "account": HOST, "path": "by touch/b.txt", "content": "by touch" });
    let touched = text(&host.admin(Method::POST, "touch", touched).await["id"]);
    assert_eq!(host.names("folders", "").await, ["by hand", "by touch"]);
    let root = host.listing("").await;
    let (first, second) = (text(&root["folders"][0]["id"]), text(&root["folders"][1]["id"]));
    assert!(first.parse::<u64>().unwrap() < second.parse::<u64>().unwrap());
    assert_eq!(host.listing(&second).await["files"][0]["id"], json!(touched));
    let found = host.listing(&first).await["files"][0].take();
    assert_eq!(found["filename"], "a.txt");
    let files = host
        .admin(Method::GET, &format!("files?account={HOST}"), Value::Null)
        .await;
    assert_eq!(files[0]["path"], "by hand/a.txt");
    assert_eq!(
        (&files[0]["id"], &files[0]["quickkey"]),
        (&found["id"], &found["id"])
    );
    assert_eq!(files[0]["sha256"], json!(sha256(b"by hand")));
    // A file and a folder of the same id go their own ways.
    let (folder, file) = (first, text(&found["id"]));
    assert_eq!(folder, file);
    std::fs::rename(dir.join("by hand/a.txt"), dir.join("c.txt")).unwrap();
    host.sandbox.rescan().await;
    std::fs::remove_dir(dir.join("by hand")).unwrap();
    host.sandbox.rescan().await;
    let root = host.listing("").await;
    assert_eq!(root["files"][0]["id"], json!(file));
    assert_eq!(
        root["folders"][0]["id"],
        json!(folder),
        "a folder that was removed shows up as a ghost"
    );
    assert_eq!(root["folders"][0]["file_count"], 0);
    let accounts = host.admin(Method::GET, "accounts", Value::Null).await;
    assert_eq!(accounts[1]["service"], "yetishare");
}

#[tokio::test]
async fn ids_rise_over_a_restart_and_nothing_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let host = start_in(options(data.path(), |_| {})).await;
    let folder = host.folder("kept", "").await;
    let gone = host.file("gone.txt", b"gone", "").await;
    let kept = host.file("kept.txt", b"kept", &folder).await;
    host.call("file/delete", &[("file_id", &gone)]).await;
    host.sandbox.stop().await;
    let host = start_in(options(data.path(), |_| {})).await;
    assert_eq!(host.names("files", &folder).await, ["kept.txt"]);
    let new = host.file("new.txt", b"new", "").await;
    assert!(new.parse::<u64>().unwrap() > kept.parse::<u64>().unwrap());
    host.sandbox.stop().await;
}

#[tokio::test]
async fn a_file_and_a_folder_of_one_id_and_one_name_both_stand_on_the_disk() {
    let host = start(|_| {}).await;
    let folder = host.folder("twin", "").await;
    let file = host.file("twin", b"a file", "").await;
    assert_eq!(folder, file);
    host.file("inside", b"inside", &folder).await;
    let dir = host.sandbox.files_dir(HOST);
    assert_eq!(std::fs::read(dir.join("twin/inside")).unwrap(), b"inside");
    assert_eq!(
        std::fs::read(dir.join(format!("twin ({file})"))).unwrap(),
        b"a file"
    );
    host.call("folder/delete", &[("folder_id", &folder)]).await;
    assert!(!dir.join("twin").exists());
    assert_eq!(host.names("files", "").await, ["twin"]);
    assert_eq!(
        host.call("file/info", &[("file_id", &file)]).await["data"]["file_status"],
        "active"
    );
}
