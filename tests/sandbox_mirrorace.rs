//! The emulated MirrorAce seen from outside, over plain HTTP.

#[path = "support/mirror_caller.rs"]
mod mirror_caller;
#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;

use std::time::Duration;

use lockerfs::sandbox::{Account, Options};
use reqwest::StatusCode;
use serde_json::{Value, json};

use mirror_caller::{Site, answer, multipart, text};
use sandbox_caller::sha256;

const SITE: &str = "mirrorace";

async fn start(change: impl FnOnce(&mut Options)) -> Site {
    mirror_caller::start(Account::mirrorace(SITE), |options| {
        options.quirks.mirrorace.max_chunk_size = 10;
        change(options);
    })
    .await
}

async fn variables(site: &Site) -> Value {
    let (_, mut reply) = site.call("file/upload", &[]).await;
    assert_eq!(reply["status"], "success", "{reply}");
    reply["result"].take()
}

/// Sends one chunk by these variables.
async fn chunk(site: &Site, with: &Value, name: &str, range: Option<&str>, bytes: &[u8]) -> Value {
    let (tracker, key) = (text(&with["cTracker"]), text(&with["upload_key"]));
    let fields = site.own(&[
        ("cTracker", &tracker),
        ("upload_key", &key),
        ("mirrors[1]", "1"),
        ("mirrors[2]", "2"),
    ]);
    let body = multipart(&fields, Some(("files", name, bytes)));
    let (status, reply) = answer(site.send(&text(&with["server_file"]), range, body).await).await;
    assert_eq!(status, StatusCode::OK);
    reply
}

async fn publish(site: &Site, name: &str, bytes: &[u8]) -> Value {
    let with = variables(site).await;
    let mut reply = chunk(site, &with, name, None, bytes).await;
    assert_eq!(reply["result"]["info"], "complete", "{reply}");
    reply["result"].take()
}

#[tokio::test]
async fn variables_are_fresh_each_time_and_their_numbers_are_texts() {
    let site = start(|_| {}).await;
    let (first, second) = (variables(&site).await, variables(&site).await);
    assert_eq!(first["max_chunk_size"], "10");
    assert_eq!(first["max_file_size"], "10737418240");
    assert_eq!(first["max_mirrors"], "100");
    assert_eq!(
        first["mirrors"],
        json!({ "1": true, "2": true, "3": true, "4": true, "5": true, "6": false })
    );
    assert_eq!(first["default_mirrors"], json!(["1", "2", "3"]));
    for key in ["upload_key", "cTracker"] {
        assert_ne!(first[key], second[key], "{key}");
    }
    assert!(text(&first["server_file"]).starts_with(&text(&first["server"])));
    let wrong = [("api_key", "x"), ("api_token", site.account.api_token.as_str())];
    let (status, reply) = answer(site.post(&site.url("file/upload"), &wrong).await).await;
    assert_eq!((status, &reply["status"]), (StatusCode::OK, &json!("error")));
}

#[tokio::test]
async fn chunks_in_order_become_one_file() {
    let site = start(|_| {}).await;
    let with = variables(&site).await;
    let first = chunk(&site, &with, "a b.bin", Some("bytes 0-9/25"), b"0123456789").await;
    assert_eq!(
        first["result"],
        json!({ "name": "a b.bin", "size": "10", "info": "continue" })
    );
    chunk(&site, &with, "a b.bin", Some("bytes 10-19/25"), b"abcdefghij").await;
    let last = chunk(&site, &with, "a b.bin", Some("bytes 20-24/25"), b"VWXYZ").await["result"].take();
    assert_eq!((&last["info"], &last["size"]), (&json!("complete"), &json!("25")));
    assert!(text(&last["url"]).ends_with(&format!("/m/{}", text(&last["slug"]))));
    let whole = sha256(b"0123456789abcdefghijVWXYZ");
    assert_eq!(site.files().await, [("a b.bin".to_owned(), whole)]);
    let note = site.published().await[text(&last["slug"])].take();
    assert_eq!(note["mirrors"], json!(["1", "2"]));
    let again = chunk(&site, &with, "a b.bin", None, b"x").await;
    assert_eq!(again["result"], "Invalid upload key.");
}

#[tokio::test]
async fn a_chunk_that_is_sent_twice_is_appended_and_one_at_zero_begins_anew() {
    let site = start(|_| {}).await;
    let with = variables(&site).await;
    let send = async |range: &str, bytes: &[u8]| chunk(&site, &with, "x", Some(range), bytes).await;
    send("bytes 0-9/20", b"0123456789").await;
    send("bytes 0-9/20", b"0123456789").await;
    let twice = send("bytes 10-14/20", b"abcde").await;
    assert_eq!(twice["result"]["size"], "15");
    let spoiled = send("bytes 10-14/20", b"abcde").await;
    assert_eq!(
        spoiled["result"]["info"], "complete",
        "the place is never looked at"
    );
    let content = sha256(b"0123456789abcdeabcde");
    assert_eq!(site.files().await, [("x".to_owned(), content)]);
}

#[tokio::test]
async fn two_uploads_of_one_name_spoil_each_other() {
    let site = start(|_| {}).await;
    let (one, two) = (variables(&site).await, variables(&site).await);
    chunk(&site, &one, "x", Some("bytes 0-3/8"), b"aaaa").await;
    chunk(&site, &two, "x", Some("bytes 0-3/8"), b"bbbb").await;
    chunk(&site, &one, "x", Some("bytes 4-7/8"), b"AAAA").await;
    assert_eq!(site.files().await, [("x".to_owned(), sha256(b"bbbbAAAA"))]);
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_told_and_leaves_nothing() {
    let site = start(|options| options.accounts[0].max_upload_size = 100).await;
    let with = variables(&site).await;
    let said = async |range: Option<&str>, bytes: &[u8]| {
        text(&chunk(&site, &with, "x", range, bytes).await["result"])
    };
    assert!(said(None, &[1; 11]).await.contains("maximum chunk size"));
    assert!(
        said(Some("bytes 0-9/101"), &[1; 10])
            .await
            .contains("maximum file size")
    );
    assert!(said(None, b"").await.contains("empty"));
    assert!(said(Some("0-9/10"), &[1; 10]).await.contains("Content-Range"));
    let (tracker, key) = (text(&with["cTracker"]), text(&with["upload_key"]));
    for (field, value, told) in [
        ("mirrors[]", "", "mirror"),
        ("mirrors[]", "6", "not available"),
        ("none", "", "mirrors field is required"),
    ] {
        let fields = site.own(&[("cTracker", &tracker), ("upload_key", &key), (field, value)]);
        let body = multipart(&fields, Some(("files[]", "x", b"x")));
        let (_, reply) = answer(site.send(&text(&with["server_file"]), None, body).await).await;
        assert!(text(&reply["result"]).contains(told), "{field}={value}: {reply}");
    }
    assert_eq!(site.files().await, []);
}

#[tokio::test]
async fn a_key_expires_where_its_upload_has_not_begun() {
    let site = start(|_| {}).await;
    let (begun, idle) = (variables(&site).await, variables(&site).await);
    chunk(&site, &begun, "x", Some("bytes 0-3/8"), b"aaaa").await;
    site.ahead(3601).await;
    let late = chunk(&site, &idle, "y", None, b"y").await;
    assert!(text(&late["result"]).contains("expired"), "{late}");
    let ended = chunk(&site, &begun, "x", Some("bytes 4-7/8"), b"AAAA").await;
    assert_eq!(ended["result"]["info"], "complete");
}

#[tokio::test]
async fn info_tells_of_fifty_files_by_their_status() {
    let site = start(|options| options.quirks.mirrorace.key_life = Duration::from_secs(60)).await;
    let (kept, gone, bad) = (
        publish(&site, "kept.bin", b"kept").await,
        publish(&site, "gone.bin", b"gone").await,
        publish(&site, "bad.bin", b"bad").await,
    );
    std::fs::remove_file(site.sandbox.files_dir(SITE).join("gone.bin")).unwrap();
    site.sandbox.rescan().await;
    let withdrawn = json!({ "account": SITE, "id": bad["slug"], "status": "copyright removed" });
    site.admin(reqwest::Method::POST, "withdraw", withdrawn).await;
    let slugs = [&kept, &gone, &bad].map(|file| text(&file["slug"]));
    let asked = format!("{},nobody", slugs.join(","));
    let (_, reply) = site.call("file/info", &[("files", &asked)]).await;
    let status = |slug: &str| text(&reply["result"][slug]["status"]);
    assert_eq!(status(&slugs[0]), "active");
    assert_eq!(status(&slugs[1]), "user removed");
    assert_eq!(status(&slugs[2]), "copyright removed");
    assert_eq!(status("nobody"), "not found");
    assert_eq!(reply["result"]["nobody"]["size"], "null", "the word");
    assert_eq!(reply["result"][&slugs[0]]["size"], "4");
    let many = vec!["x"; 51].join(",");
    let (_, refused) = site.call("file/info", &[("files", &many)]).await;
    assert_eq!(refused["status"], "error");

    let site = start(|options| options.quirks.mirrorace.plain_null = true).await;
    let (_, reply) = site.call("file/info", &[("files", "nobody")]).await;
    assert_eq!(reply["result"]["nobody"]["size"], Value::Null);
}

#[tokio::test]
async fn a_remote_upload_fetches_from_loopback_only() {
    let site = start(|_| {}).await;
    let served = site.sandbox.base_url("mediafire");
    let with = variables(&site).await;
    let remote = async |url: &str| {
        let (tracker, key) = (text(&with["cTracker"]), text(&with["upload_key"]));
        let fields = [
            ("cTracker", tracker.as_str()),
            ("upload_key", &key),
            ("mirrors[]", "1"),
            ("url", url),
        ];
        let reply = site.post(&text(&with["server_remote"]), &site.own(&fields)).await;
        answer(reply).await.1
    };
    let far = remote("http://example.org/a.bin").await;
    assert!(text(&far["result"]).contains("not on loopback"), "{far}");
    let near = remote(&format!("{served}sandbox/calls/my%20file.bin")).await;
    assert!(text(&near["result"]).contains("404"), "{near}");
    let page = remote(&format!("{served}file/abc/x")).await;
    assert!(text(&page["result"]).contains("web page"), "{page}");
    let near = remote(&format!("{served}sandbox/accounts")).await;
    assert_eq!(near["result"]["info"], "complete", "{near}");
    assert_eq!(near["result"]["name"], "accounts");
    let calls = site.admin(reqwest::Method::GET, "calls", Value::Null).await;
    assert!(
        calls["bodies"]["mirrorace/upload/remote"].as_u64().unwrap() < 4_000,
        "{calls}"
    );
    let content = site.files().await;
    assert_eq!(content.len(), 1);
    assert!(calls["fetched"].as_u64().unwrap() > 0, "{calls}");
}

#[tokio::test]
async fn a_remote_file_is_bound_by_the_largest_that_is_taken() {
    let site = start(|options| options.accounts[0].max_upload_size = 100).await;
    let url = format!("{}sandbox/accounts", site.sandbox.base_url("mediafire"));
    let with = variables(&site).await;
    let (tracker, key) = (text(&with["cTracker"]), text(&with["upload_key"]));
    let fields = [
        ("cTracker", tracker.as_str()),
        ("upload_key", &key),
        ("mirrors[]", "1"),
        ("url", &url),
    ];
    let reply = site.post(&text(&with["server_remote"]), &site.own(&fields)).await;
    let told = text(&answer(reply).await.1["result"]);
    assert!(told.contains("maximum file size"), "{told}");
    assert_eq!(site.files().await, []);
}

#[tokio::test]
async fn mishaps_befall_it_as_well() {
    let site = start(|_| {}).await;
    site.faults(json!([
        { "match": "mirrorace/upload", "fault": "say", "text": "Server is busy.", "times": 1 },
        { "match": "mirrorace/upload", "fault": "store_wrong", "what": "size", "times": 1 },
        { "match": "mirrorace/upload", "fault": "lost_reply", "times": 1 },
        { "match": "mirrorace/file/info", "fault": "html", "times": 1 },
    ]))
    .await;
    let with = variables(&site).await;
    let said = chunk(&site, &with, "x", None, b"xyz").await;
    assert_eq!(said["result"], "Server is busy.");
    let short = chunk(&site, &with, "x", Some("bytes 0-2/3"), b"xyz").await;
    assert_eq!(short["result"]["size"], "2");
    let with = variables(&site).await;
    let (tracker, key) = (text(&with["cTracker"]), text(&with["upload_key"]));
    let fields = site.own(&[("cTracker", &tracker), ("upload_key", &key), ("mirrors[]", "1")]);
    let request = site.http.post(text(&with["server_file"]));
    let request = request.header("content-type", "multipart/form-data; boundary=xyz");
    let body = multipart(&fields, Some(("files", "lost.bin", b"xyz")));
    assert!(request.body(body).send().await.is_err());
    assert_eq!(site.files().await, [("lost.bin".to_owned(), sha256(b"xyz"))]);
    let page = site.post(&site.url("file/info"), &[]).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=UTF-8");
    let calls = site.admin(reqwest::Method::GET, "calls", Value::Null).await;
    assert_eq!(calls["calls"]["mirrorace/file/upload"], 2);
    assert_eq!(calls["calls"]["mirrorace/upload"], 3);
}

#[tokio::test]
async fn what_was_published_outlives_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let options = || mirror_caller::options(data.path(), Account::mirrorace(SITE), |_| {});
    let site = mirror_caller::start_in(options()).await;
    let slug = text(&publish(&site, "kept.bin", b"kept").await["slug"]);
    site.sandbox.stop().await;
    let site = mirror_caller::start_in(options()).await;
    let (_, reply) = site.call("file/info", &[("files", &slug)]).await;
    assert_eq!(reply["result"][&slug]["status"], "active");
    assert_ne!(text(&publish(&site, "new.bin", b"new").await["slug"]), slug);
    site.sandbox.stop().await;
}
