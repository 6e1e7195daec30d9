//! Logins, tokens, hosts, and how answers look.

use std::time::Duration;

use lockerfs::sandbox::{Account, ErrorShape};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox_caller::{encode, wait_for};
use crate::yetishare_caller::{HOST, OTHER, json_of, multipart, start, text};
use crate::{EXPIRED, LOGIN_REFUSED, NO_FILE};

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
    let host = start(|options| options.quirks.yetishare.token_life = Duration::from_millis(1500)).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(host.call("account/info", &[]).await["_status"], "success");
    }
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert_eq!(host.call("account/info", &[]).await["response"], EXPIRED);
}

#[tokio::test]
async fn logins_go_by_keys_or_by_name_and_lock_after_failures() {
    let mut host = start(|options| options.quirks.yetishare.lock = Duration::from_secs(2)).await;
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
    let right = [("key1", key1.as_str()), ("key2", &key2)];
    wait_for("the lock to end", async || {
        host.bare("authorize", &right).await["_status"] == "success"
    })
    .await;
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
