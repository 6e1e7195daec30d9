//! The emulated Mirrored.to seen from outside, over plain HTTP.

#[path = "support/mirror_caller.rs"]
mod mirror_caller;
#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;

use lockerfs::sandbox::{Account, Options};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use mirror_caller::{Site, answer, multipart, text};
use sandbox_caller::sha256;

const SITE: &str = "mirrored_to";

async fn start(change: impl FnOnce(&mut Options)) -> Site {
    mirror_caller::start(Account::mirrored_to(SITE), change).await
}

async fn info(site: &Site) -> Value {
    let (status, mut reply) = site.call("get_upload_info", &[]).await;
    assert_eq!(
        (status, &reply["status"]),
        (StatusCode::OK, &json!(true)),
        "{reply}"
    );
    reply["message"].take()
}

async fn send(site: &Site, info: &Value, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
    let id = text(&info["upload_id"]);
    let body = multipart(&site.own(&[("upload_id", &id)]), Some(("Filedata", name, bytes)));
    answer(site.send(&text(&info["file_upload_url"]), None, body).await).await
}

async fn finish(site: &Site, info: &Value, mirrors: &str) -> (StatusCode, Value) {
    let id = text(&info["upload_id"]);
    site.call("finish_upload", &[("upload_id", &id), ("mirrors", mirrors)])
        .await
}

async fn left(site: &Site) -> u64 {
    let (_, reply) = site.call("get_account_info", &[]).await;
    reply["message"]["api_calls_remaining"].as_u64().unwrap()
}

#[tokio::test]
async fn three_steps_make_a_file() {
    let site = start(|_| {}).await;
    let info = info(&site).await;
    assert_eq!(info["max_filesize"], 500);
    assert_eq!(info["available_mirrors"][4], json!(["dailyuploads", 200]));
    let (status, sent) = send(&site, &info, "my film.bin", b"film").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text(&sent["message"]).starts_with("File successfully uploaded"));
    assert_eq!(site.files().await, [], "no file before the last step");
    let id = text(&info["upload_id"]);
    let fields = [
        ("upload_id", id.as_str()),
        ("mirrors", "gofileio,sendnow"),
        ("password", "P@ssw0rd"),
        ("email", "me@example.com"),
    ];
    let (status, mut made) = site.call("finish_upload", &fields).await;
    let made = made["message"].take();
    assert_eq!(status, StatusCode::OK);
    let file = text(&made["file_id"]);
    assert!(file.len() == 8 && file.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()));
    assert!(text(&made["short_url"]).ends_with(&format!("/mir.cr/{file}")));
    assert!(text(&made["full_url"]).contains(&format!("/files/{file}/")));
    assert_eq!(site.files().await, [("my film.bin".to_owned(), sha256(b"film"))]);
    let note = site.published().await[&file].take();
    assert_eq!(note["mirrors"], json!(["gofileio", "sendnow"]));
    assert_eq!(
        (&note["password"], &note["email"]),
        (&json!("P@ssw0rd"), &json!("me@example.com"))
    );
    let (status, told) = site.call("get_file_info", &[("file_id", &file)]).await;
    assert_eq!(status, StatusCode::OK);
    let told = &told["message"];
    assert_eq!(
        (&told["file_name"], &told["file_size"]),
        (&json!("my film.bin"), &json!("4 B"))
    );
    assert_eq!(told["password_protected"], "Yes");
    let (status, again) = site.call("finish_upload", &fields).await;
    assert_eq!(
        (status, &again["status"]),
        (StatusCode::BAD_REQUEST, &json!(false))
    );
}

#[tokio::test]
async fn a_file_that_is_missing_or_removed_is_told_with_404() {
    let site = start(|_| {}).await;
    let info = info(&site).await;
    send(&site, &info, "x", b"x").await;
    let file = text(&finish(&site, &info, "gofileio").await.1["message"]["file_id"]);
    for id in ["NOBODY00", file.as_str()] {
        let withdrawn = json!({ "account": SITE, "id": id, "status": "removed" });
        site.admin(Method::POST, "withdraw", withdrawn).await;
        let (status, told) = site.call("get_file_info", &[("file_id", id)]).await;
        assert_eq!((status, &told["status"]), (StatusCode::NOT_FOUND, &json!(false)));
    }
}

#[tokio::test]
async fn mirrors_go_by_exact_name_and_each_has_a_limit() {
    let site = start(|options| options.quirks.mirrored_to.max_mirrors = 2).await;
    let info = info(&site).await;
    let (status, early) = finish(&site, &info, "gofileio").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{early}");
    send(&site, &info, "x", &vec![7; 21 << 20]).await;
    for (mirrors, told) in [
        ("Gofileio", "Invalid mirror"),
        ("gofileio, krakenfiles", "Invalid mirror"),
        ("sendnow", "too large"),
        ("gofileio,krakenfiles,megaupnet", "up to 2"),
        ("", "provide"),
    ] {
        let (status, reply) = finish(&site, &info, mirrors).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{mirrors}");
        assert!(text(&reply["message"]).contains(told), "{mirrors}: {reply}");
    }
    assert_eq!(finish(&site, &info, "gofileio").await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_upload_ends_after_two_hours() {
    let site = start(|_| {}).await;
    let info = info(&site).await;
    send(&site, &info, "x", b"x").await;
    site.ahead(2 * 3600 + 60).await;
    let (status, late) = finish(&site, &info, "gofileio").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text(&late["message"]).contains("expired"), "{late}");
    assert_eq!(send(&site, &info, "x", b"x").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn five_hundred_calls_make_a_day() {
    let site = start(|_| {}).await;
    let (status, _) = answer(
        site.post(&site.url("get_account_info"), &[("api_key", "x")])
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(left(&site).await, 499);
    let info = info(&site).await;
    send(&site, &info, "x", b"x").await;
    assert_eq!(left(&site).await, 496, "an upload counts");
    site.admin(Method::POST, "calls_left", json!({ "account": SITE, "left": 1 }))
        .await;
    assert_eq!(left(&site).await, 0);
    let (status, spent) = site.call("get_upload_info", &[]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(text(&spent["message"]).contains("limit"));
    site.ahead(24 * 3600).await;
    assert_eq!(left(&site).await, 499);

    let site = start(|options| options.quirks.mirrored_to.uploads_count = false).await;
    let info = self::info(&site).await;
    send(&site, &info, "x", b"x").await;
    assert_eq!(left(&site).await, 498);
}

#[tokio::test]
async fn a_remote_upload_fetches_from_loopback_only() {
    let site = start(|_| {}).await;
    let info = info(&site).await;
    let id = text(&info["upload_id"]);
    let remote = async |url: &str| {
        let fields = site.own(&[("upload_id", &id), ("remote_url", url)]);
        answer(site.post(&text(&info["remote_upload_url"]), &fields).await).await
    };
    assert_eq!(remote("https://example.org/x").await.0, StatusCode::BAD_REQUEST);
    let url = format!("http://{}/sandbox/accounts", site.sandbox.address());
    assert_eq!(remote(&url).await.0, StatusCode::OK);
    assert_eq!(finish(&site, &info, "gofileio").await.0, StatusCode::OK);
    assert_eq!(site.files().await[0].0, "accounts");
}

#[tokio::test]
async fn a_remote_upload_counts_as_one_with_bytes_does() {
    for (counts, remaining) in [(true, 497), (false, 498)] {
        let site = start(|options| options.quirks.mirrored_to.uploads_count = counts).await;
        let info = info(&site).await;
        let (id, url) = (
            text(&info["upload_id"]),
            format!("http://{}/sandbox/accounts", site.sandbox.address()),
        );
        let fields = site.own(&[("upload_id", &id), ("remote_url", &url)]);
        let reply = site.post(&text(&info["remote_upload_url"]), &fields).await;
        assert_eq!(answer(reply).await.0, StatusCode::OK);
        assert_eq!(left(&site).await, remaining, "uploads count: {counts}");
    }
}

#[tokio::test]
async fn calls_uploads_and_files_outlive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let options = |text: bool| {
        mirror_caller::options(data.path(), Account::mirrored_to(SITE), |options| {
            options.quirks.mirrored_to.text_numbers = text;
        })
    };
    let site = mirror_caller::start_in(options(false)).await;
    let info = info(&site).await;
    send(&site, &info, "x", b"kept").await;
    site.sandbox.stop().await;
    let site = mirror_caller::start_in(options(true)).await;
    assert_eq!(finish(&site, &info, "gofileio").await.0, StatusCode::OK);
    assert_eq!(site.files().await, [("x".to_owned(), sha256(b"kept"))]);
    let (_, reply) = site.call("get_account_info", &[]).await;
    assert_eq!(reply["message"]["api_calls_remaining"], "496");
    site.sandbox.stop().await;
}

#[tokio::test]
async fn mishaps_befall_it_as_well() {
    let site = start(|_| {}).await;
    site.faults(json!([
        { "match": "mirrored_to/get_upload_info", "fault": "say", "text": "Maintenance.", "times": 1 },
        { "match": "mirrored_to/finish_upload", "fault": "status", "status": 503, "times": 1 },
    ]))
    .await;
    let (status, said) = site.call("get_upload_info", &[]).await;
    assert_eq!(
        (status, &said["message"]),
        (StatusCode::BAD_REQUEST, &json!("Maintenance."))
    );
    let info = info(&site).await;
    send(&site, &info, "x", b"x").await;
    let fields = site.own(&[]);
    let down = site.post(&site.url("finish_upload"), &fields).await;
    assert_eq!(down.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(finish(&site, &info, "gofileio").await.0, StatusCode::OK);
}
