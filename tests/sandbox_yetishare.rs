//! The emulated YetiShare hosts seen from outside, over plain HTTP.

#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;
#[path = "support/yetishare_caller.rs"]
mod yetishare_caller;

use std::time::{Duration, Instant};

use lockerfs::sandbox::{Account, ErrorShape};
use md5::{Digest, Md5};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use sandbox_caller::{encode, sha256, wait_for};
use yetishare_caller::{HOST, OTHER, header, json_of, multipart, options, start, start_in, text};

const EXPIRED: &str = "Could not validate access_token and account_id, please reauthenticate or try again.";
const LOGIN_REFUSED: &str = "Could not authenticate user. The key pair may be invalid or your account may be \
    locked from too many failed logins.";
const NO_FILE: &str = "Could not find file based on file_id.";
const NO_FOLDER: &str = "Could not find folder based on folder_id.";

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
async fn a_login_ends_the_token_before_it() {
    let mut host = start(|_| {}).await;
    assert_eq!(host.token.len(), 128);
    let first = host.token.clone();
    host.login().await;
    assert_eq!(host.call("account/info", &[]).await["data"]["id"], json!(host.id));
    host.token = first;
    let stale = host.post("account/info", &host.own(&[])).await;
    assert_eq!(stale.status(), StatusCode::OK);
    let stale = json_of(stale).await;
    assert_eq!(
        (&stale["_status"], &stale["response"]),
        (&json!("error"), &json!(EXPIRED))
    );
    let bare = host.bare("account/info", &[]).await;
    assert_eq!(bare["response"], "Please provide the access_token param.");
    let half = host.bare("account/info", &[("access_token", "x")]).await;
    assert_eq!(half["response"], "Please provide the account_id param.");

    let mut host = start(|options| options.quirks.yetishare.one_token = false).await;
    let first = host.token.clone();
    host.login().await;
    host.token = first;
    assert_eq!(host.call("account/info", &[]).await["_status"], "success");
}

#[tokio::test]
async fn a_token_lives_while_it_is_used() {
    let host = start(|options| options.quirks.yetishare.token_life = Duration::from_millis(600)).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(host.call("account/info", &[]).await["_status"], "success");
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(host.call("account/info", &[]).await["response"], EXPIRED);
}

#[tokio::test]
async fn logins_go_by_keys_or_by_name_and_lock_after_failures() {
    let mut host = start(|options| options.quirks.yetishare.lock = Duration::from_millis(500)).await;
    let by_name = [("username", "demo"), ("password", "demo-password")];
    assert_eq!(host.bare("authorize", &by_name).await["_status"], "success");
    let short = host
        .bare("authorize", &[("key1", "short"), ("key2", "short")])
        .await;
    assert_eq!(
        short["response"],
        "Please provide key1. It must be 64 characters in length."
    );
    let wrong = "0".repeat(64);
    let (key1, key2) = (host.account.key1.clone(), host.account.key2.clone());
    for _ in 0..5 {
        let refused = host.bare("authorize", &[("key1", &key1), ("key2", &wrong)]).await;
        assert_eq!(refused["response"], LOGIN_REFUSED);
    }
    let locked = host.bare("authorize", &[("key1", &key1), ("key2", &key2)]).await;
    assert_eq!(locked["response"], LOGIN_REFUSED);
    tokio::time::sleep(Duration::from_millis(700)).await;
    host.login().await;
    let ended = host.call("disable_access_token", &[]).await;
    assert_eq!(ended["response"], "Token removed or no longer available.");
    assert_eq!(host.call("account/info", &[]).await["response"], EXPIRED);
}

#[tokio::test]
async fn accounts_are_hosts_of_their_own() {
    let host = start(|_| {}).await;
    let id = host.file("mine.txt", b"mine", "").await;
    let other = host.sandbox.base_url(OTHER);
    assert_ne!(other, host.sandbox.base_url(HOST));
    let account = Account::yetishare(OTHER);
    assert_ne!(account.key1, host.account.key1);
    let elsewhere = async |endpoint: &str, params: &[(&str, &str)]| {
        let request = host.http.get(format!("{other}{endpoint}?{}", encode(params)));
        json_of(request.send().await.unwrap()).await
    };
    let (key1, key2) = (host.account.key1.as_str(), host.account.key2.as_str());
    let refused = elsewhere("authorize", &[("key1", key1), ("key2", key2)]).await;
    assert_eq!(refused["response"], LOGIN_REFUSED);
    let login = elsewhere("authorize", &[("key1", &account.key1), ("key2", &account.key2)]).await;
    let (token, owner) = (
        text(&login["data"]["access_token"]),
        text(&login["data"]["account_id"]),
    );
    let own = [
        ("access_token", token.as_str()),
        ("account_id", owner.as_str()),
        ("file_id", &id),
    ];
    assert_eq!(elsewhere("file/info", &own).await["response"], NO_FILE);
    assert_eq!(
        elsewhere("Folder/Listing/", &own).await["data"],
        json!({ "folders": [], "files": [] })
    );
    assert_eq!(
        host.call("file/info", &[("file_id", &id)]).await["_status"],
        "success"
    );
    let calls = host.admin(Method::GET, "calls", Value::Null).await;
    assert_eq!(calls["calls"]["v2/folder/listing"], 1);
    assert_eq!(calls["calls"]["v2/file/upload"], 1);
}

#[tokio::test]
async fn what_a_host_lacks_is_told_in_two_ways() {
    let host = start(|options| {
        options.quirks.yetishare.missing = vec!["file/copy".to_owned(), "account".to_owned()];
    })
    .await;
    for method in ["file/copy", "file/fly"] {
        let reply = host.post(method, &host.own(&[])).await;
        assert_eq!(reply.status(), StatusCode::NOT_FOUND);
        let reply = json_of(reply).await;
        assert_eq!(reply["_status"], "error");
        assert!(text(&reply["0"]).starts_with("No method found"), "{reply}");
    }
    for endpoint in ["account/package", "nothing", "nothing/at/all"] {
        let reply = json_of(host.post(endpoint, &host.own(&[])).await).await;
        assert!(reply.is_string(), "{reply}");
    }
    assert_eq!(
        host.call("file/move", &[]).await["response"],
        "Please provide the file_id param."
    );
}

#[tokio::test]
async fn parameters_are_cleaned_and_json_bodies_are_not_read() {
    let host = start(|_| {}).await;
    host.folder("  a<b>c ", "").await;
    assert_eq!(host.names("folders", "").await, ["ac"]);
    let request = host
        .http
        .post(host.url("authorize"))
        .header("content-type", "application/json");
    let keys = json!({ "key1": host.account.key1, "key2": host.account.key2 });
    let refused = json_of(request.body(keys.to_string()).send().await.unwrap()).await;
    assert_eq!(
        refused["response"],
        "Please provide key1. It must be 64 characters in length."
    );
    let body = multipart(&host.own(&[("parent_folder_id", "")]), None);
    let request = host.http.post(host.url("folder/listing"));
    let request = request.header("content-type", "multipart/form-data; boundary=xyz");
    let listing = json_of(request.body(body).send().await.unwrap()).await;
    assert_eq!(listing["data"]["folders"][0]["folderName"], "ac");
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
async fn deleted_files_vanish_and_deleted_folders_show_up_in_the_root() {
    let host = start(|options| options.quirks.yetishare.folder_status = true).await;
    let outer = host.folder("outer", "").await;
    let inner = host.folder("inner", &outer).await;
    let file = host.file("deep.txt", b"deep", &inner).await;
    let link = host.link(&file).await;
    let root = host.listing("").await;
    assert_eq!(
        (&root["folders"][0]["totalSize"], &root["folders"][0]["status"]),
        (&json!("4"), &json!("active"))
    );
    assert_eq!(root["folders"][0]["child_folder_count"], 1);
    assert_eq!(host.listing(&outer).await["folders"][0]["file_count"], 1);

    assert_eq!(
        host.call("folder/delete", &[("folder_id", &inner)]).await["_status"],
        "success"
    );
    assert_eq!(host.names("folders", &outer).await, Vec::<String>::new());
    let root = host.listing("").await;
    let ghost = &root["folders"][0];
    assert_eq!(
        (&ghost["id"], &ghost["parentId"], &ghost["status"]),
        (&json!(inner), &Value::Null, &json!("trash"))
    );
    assert_eq!(host.names("files", &inner).await, Vec::<String>::new());
    let info = host.call("file/info", &[("file_id", &file)]).await;
    assert_eq!(
        (&info["data"]["file_status"], &info["data"]["folderId"]),
        (&json!("trash"), &Value::Null)
    );
    assert_eq!(
        host.call("file/download", &[("file_id", &file)]).await["response"],
        NO_FILE
    );
    let dead = host.get(&link, None).await;
    assert_eq!(dead.status(), StatusCode::FOUND);
    let page = header(&dead, "location").unwrap();
    assert!(page.contains("/1cloudfile/error?e="), "{page}");
    let page = host.get(&page, None).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(header(&page, "content-type").unwrap().starts_with("text/html"));

    let host = start(|_| {}).await;
    let gone = host.folder("gone", "").await;
    host.call("folder/delete", &[("folder_id", &gone)]).await;
    let ghost = host.listing("").await["folders"][0].take();
    assert_eq!(ghost["id"], json!(gone));
    assert!(ghost.get("status").is_none(), "{ghost}");
    assert!(!host.sandbox.files_dir(HOST).join("gone").exists());
}

#[tokio::test]
async fn a_folder_moved_into_its_own_subtree_is_lost_until_it_is_moved_out() {
    let host = start(|_| {}).await;
    let outer = host.folder("outer", "").await;
    let inner = host.folder("inner", &outer).await;
    host.file("a.txt", b"abc", &inner).await;
    let to = async |target: &str| {
        let params = [("folder_id", outer.as_str()), ("new_parent_folder_id", target)];
        host.call("folder/move", &params).await
    };
    assert_eq!(to(&outer).await["_status"], "error");
    assert_eq!(to("0").await["_status"], "error");
    assert_eq!(to(&inner).await["data"]["parentId"], json!(inner));
    assert_eq!(host.names("folders", "").await, Vec::<String>::new());
    let info = host
        .call(
            "folder/info",
            &[("folder_id", &inner), ("parent_folder_id", &inner)],
        )
        .await;
    assert_eq!(
        (&info["data"]["totalSize"], &info["data"]["accessPassword"]),
        (&json!("3"), &Value::Null)
    );
    let docs = host.call("folder/info", &[("parent_folder_id", &inner)]).await;
    assert_eq!(docs["response"], "Please provide the folder_id param.");
    assert!(!host.sandbox.files_dir(HOST).join("outer").exists());
    assert_eq!(to("null").await["data"]["parentId"], Value::Null);
    assert_eq!(host.names("folders", "").await, ["outer"]);
    let plain = host.sandbox.files_dir(HOST).join("outer/inner/a.txt");
    assert_eq!(std::fs::read(plain).unwrap(), b"abc");
    assert_eq!(
        host.call("folder/info", &[("folder_id", "1")]).await["response"],
        NO_FOLDER
    );
}

#[tokio::test]
async fn folders_may_have_equal_names_and_can_be_edited() {
    let host = start(|_| {}).await;
    let (a, b) = (host.folder("same", "").await, host.folder("same", "0").await);
    assert_ne!(a, b);
    let password = "d9729feb74992cc3482b350163a1a010";
    let params = [
        ("folder_id", b.as_str()),
        ("folder_name", "other"),
        ("parent_id", &a),
        ("is_public", "2"),
        ("access_password", password),
    ];
    let edited = host.call("folder/edit", &params).await["data"].take();
    assert_eq!(
        (&edited["folderName"], &edited["parentId"]),
        (&json!("other"), &json!(a))
    );
    assert_eq!(
        (&edited["isPublic"], &edited["accessPassword"]),
        (&json!("2"), &json!(password))
    );
    let params = [
        ("folder_id", b.as_str()),
        ("parent_id", "null"),
        ("access_password", "null"),
    ];
    let edited = host.call("folder/edit", &params).await["data"].take();
    assert_eq!(
        (&edited["folderName"], &edited["parentId"]),
        (&json!("other"), &Value::Null)
    );
    assert_eq!(
        (&edited["isPublic"], &edited["accessPassword"]),
        (&json!("2"), &Value::Null)
    );
    let nowhere = host.folder("nowhere", "999999").await;
    assert!(!nowhere.is_empty());
    assert_eq!(host.names("folders", "").await, ["other", "same"]);
}

#[tokio::test]
async fn the_script_streams_ranges_wrong_where_a_web_server_does_not() {
    let content: Vec<u8> = (0..200).collect();
    let host = start(|_| {}).await;
    let link = host.link(&host.file("range.bin", &content, "").await).await;
    let ask = async |range: &str| {
        let reply = host.get(&link, Some(range)).await;
        let told = (
            reply.status().as_u16(),
            header(&reply, "content-range"),
            header(&reply, "content-length"),
        );
        (told.0, told.1, told.2, reply.bytes().await.unwrap().to_vec())
    };
    let whole = (200, None, Some("200".to_owned()), content.clone());
    for range in ["bytes=0-9", "bytes=0-", "bytes=-10", "bytes=200-"] {
        assert_eq!(ask(range).await, whole, "{range}");
    }
    let open = (
        206,
        Some("bytes 50-199/200".to_owned()),
        Some("150".to_owned()),
        content[50..].to_vec(),
    );
    assert_eq!(ask("bytes=50-").await, open);
    let runaway = (
        206,
        Some("bytes 50-59/200".to_owned()),
        None,
        content[50..].to_vec(),
    );
    assert_eq!(ask("bytes=50-59").await, runaway);
    let (status, _, _, wrong) = ask("bytes=0-1").await;
    assert_eq!((status, wrong.len()), (206, 1));
    let tags = [host.get(&link, None).await, host.get(&link, None).await].map(|reply| header(&reply, "etag"));
    assert_ne!(tags[0], tags[1]);

    let host = start(|options| options.quirks.yetishare.strict_ranges = true).await;
    let link = host.link(&host.file("range.bin", &content, "").await).await;
    for (range, from, to) in [
        ("bytes=0-1", 0, 2),
        ("bytes=50-59", 50, 60),
        ("bytes=-10", 190, 200),
    ] {
        let reply = host.get(&link, Some(range)).await;
        assert_eq!(reply.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            reply.bytes().await.unwrap().as_ref(),
            &content[from..to],
            "{range}"
        );
    }
    assert_eq!(
        host.get(&link, Some("bytes=200-")).await.status(),
        StatusCode::RANGE_NOT_SATISFIABLE
    );
}

#[tokio::test]
async fn links_are_reusable_until_they_run_out() {
    let host = start(|options| options.quirks.yetishare.link_life = Duration::from_millis(700)).await;
    let file = host.file("a b.txt", b"again", "").await;
    let link = host.link(&file).await;
    assert!(link.contains("/a%20b%2Etxt?download_token="), "{link}");
    for _ in 0..2 {
        assert_eq!(host.get(&link, None).await.text().await.unwrap(), "again");
    }
    assert_eq!(host.listing("").await["files"][0]["downloads"], "2");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(host.get(&link, None).await.status(), StatusCode::FOUND);
    let forged = host.get(&link.replace("token=", "token=0"), None).await;
    assert_eq!(forged.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn one_download_too_many_is_refused_while_the_others_run() {
    let host = start(|options| {
        options.quirks.yetishare.concurrent_downloads = Some(1);
        options.per_connection = Some(1 << 20);
    })
    .await;
    let link = host.link(&host.file("slow.bin", &[7; 900_000], "").await).await;
    let running = host.get(&link, None).await;
    let refused = host.get(&link, None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.text().await.unwrap(),
        "Error: Too many concurrent download requests."
    );
    assert_eq!(running.bytes().await.unwrap().len(), 900_000);
    wait_for("the first download to end", async || {
        host.get(&link, None).await.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn numbers_zones_and_errors_come_in_the_shape_that_is_asked_for() {
    let host = start(|options| {
        options.quirks.yetishare.plain_numbers = true;
        options.quirks.yetishare.zone_minutes = -120;
        options.quirks.yetishare.error_shape = ErrorShape::ResultFalse;
    })
    .await;
    let entry = host.upload("a.txt", b"four", "").await;
    assert!(entry["size"] == 4 && entry["file_id"].is_u64(), "{entry}");
    let info = host.call("account/info", &[]).await;
    assert!(info["data"]["id"].is_u64());
    let utc = start(|_| {}).await;
    let hour = |value: &Value| text(&value["_datetime"])[11..13].parse::<i32>().unwrap();
    // The hour may change between the two calls.
    let behind = (hour(&utc.call("account/info", &[]).await) - hour(&info) + 24) % 24;
    assert!((2..=3).contains(&behind), "{behind}");
    let error = host.call("file/info", &[("file_id", "1")]).await;
    assert_eq!(error, json!({ "message": NO_FILE, "result": false }));
    for (shape, field, value) in [
        (ErrorShape::Plain, "status", json!("error")),
        (ErrorShape::SuccessFalse, "success", json!(false)),
    ] {
        let host = start(|options| options.quirks.yetishare.error_shape = shape).await;
        let error = host.call("file/info", &[("file_id", "1")]).await;
        assert_eq!(error[field], value);
        assert!(error.get("_status").is_none(), "{error}");
    }
}

#[tokio::test]
async fn an_upload_is_stored_after_a_silence_even_when_nobody_waits() {
    let host = start(|options| options.quirks.yetishare.second_hop = Duration::from_millis(700)).await;
    let began = Instant::now();
    host.file("patient.txt", b"x", "").await;
    assert!(began.elapsed() >= Duration::from_millis(700));
    let hasty = tokio::time::timeout(Duration::from_millis(300), host.send("hasty.txt", b"y", "")).await;
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
