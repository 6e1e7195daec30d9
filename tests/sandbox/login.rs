//! Logins, tokens, and what is refused.

use std::time::Duration;

use lockerfs::sandbox::Account;
use md5::Md5;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Digest;

use crate::sandbox_caller::{Service, encode, envelope, sha256, start};

/// A version 2 token as its holder knows it.
struct Chain {
    token: String,
    key: u64,
    time: String,
}

async fn signed(service: &Service, chain: &Chain, call: &str, params: &[(&str, &str)]) -> Value {
    let query = format!(
        "{}&response_format=json&session_token={}",
        encode(params),
        chain.token
    );
    let path = format!("/api/1.5/{call}.php");
    let base = format!("{}{}{path}?{query}", chain.key % 256, chain.time);
    let signature = hex::encode(Md5::digest(base));
    let url = service.url(&format!("{}?{query}&signature={signature}", &path[1..]));
    envelope(service.http.get(url).send().await.unwrap()).await
}

#[tokio::test]
async fn a_version_2_token_moves_on_with_every_signed_call() {
    let service = start(|_| {}).await;
    let login = service.login("demo@example.com", "2").await;
    let mut chain = Chain {
        token: login["session_token"].as_str().unwrap().to_owned(),
        key: login["secret_key"].as_str().unwrap().parse().unwrap(),
        time: login["time"].as_str().unwrap().to_owned(),
    };
    let advance = |chain: &mut Chain| chain.key = chain.key * 16807 % 0x7fff_ffff;

    let info = signed(&service, &chain, "user/get_info", &[]).await;
    assert_eq!(
        (&info["result"], &info["new_key"]),
        (&json!("Success"), &json!("yes"))
    );
    let stale = signed(&service, &chain, "user/get_info", &[]).await;
    assert_eq!((&stale["error"], &stale["new_key"]), (&json!(127), &Value::Null));
    advance(&mut chain);
    // A refused call moves the key on as well, and parameters count as they were sent.
    let refused = signed(
        &service,
        &chain,
        "file/get_info",
        &[("quick_key", "no such, key & ü")],
    )
    .await;
    assert_eq!(
        (&refused["error"], &refused["new_key"]),
        (&json!(110), &json!("yes"))
    );
    advance(&mut chain);
    let again = signed(&service, &chain, "folder/get_content", &[]).await;
    assert_eq!(again["result"], "Success");
    advance(&mut chain);
    let both = tokio::join!(
        signed(&service, &chain, "user/get_info", &[]),
        signed(&service, &chain, "user/get_info", &[])
    );
    let errors = [&both.0["error"], &both.1["error"]];
    assert!(
        errors.contains(&&json!(127)) && errors.contains(&&Value::Null),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_version_1_token_runs_out_and_can_be_renewed() {
    let mut service = start(|options| options.quirks.token_life = Duration::from_millis(600)).await;
    let renewed = service.call("user/renew_session_token", &[]).await;
    let old = std::mem::replace(
        &mut service.token,
        renewed["session_token"].as_str().unwrap().to_owned(),
    );
    assert_ne!(old, service.token);
    assert_eq!(service.call("user/get_info", &[]).await["result"], "Success");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(service.call("user/get_info", &[]).await["error"], 105);
}

#[tokio::test]
async fn logins_are_refused_for_the_right_reason() {
    let service = start(|options| options.quirks.api_key = Some("s3cret".to_owned())).await;
    assert_eq!(service.login("demo@example.com", "1").await["error"], 127);
    let signature = hex::encode(Sha1::digest("demo@example.comdemo-password42511s3cret"));
    let mut params = [
        ("email", "demo@example.com"),
        ("password", "demo-password"),
        ("application_id", "42511"),
        ("signature", signature.as_str()),
    ];
    assert_eq!(
        service.bare("user/get_session_token", &params).await["result"],
        "Success"
    );
    params[1].1 = "wrong";
    assert_eq!(
        service.bare("user/get_session_token", &params).await["error"],
        107
    );
    params[2].1 = "1";
    assert_eq!(
        service.bare("user/get_session_token", &params).await["error"],
        109
    );
    assert_eq!(service.bare("user/get_info", &[]).await["error"], 104);
    assert_eq!(service.bare("user/no_such_call", &[]).await["error"], 253);
}

#[tokio::test]
async fn an_action_token_uploads_unsigned_and_does_nothing_else() {
    let mut service = start(|_| {}).await;
    let action = service
        .call("user/get_action_token", &[("type", "upload"), ("lifespan", "5")])
        .await;
    let action = action["action_token"].as_str().unwrap().to_owned();
    let session = std::mem::replace(&mut service.token, action.clone());
    let done = service.upload("a.txt", b"by action token", &[]).await;
    assert_eq!(done["fileerror"], "");
    assert_eq!(service.call("user/get_info", &[]).await["error"], 105);
    service.token = session;
    let destroyed = service
        .call("user/destroy_action_token", &[("action_token", &action)])
        .await;
    assert_eq!(destroyed["result"], "Success");
    let again = service
        .call("user/destroy_action_token", &[("action_token", &action)])
        .await;
    assert_eq!(again["error"], 100);
}

#[tokio::test]
async fn accounts_on_one_port_do_not_see_each_other() {
    let mut service = start(|options| {
        let mut other = Account::mediafire("other");
        other.email = "other@example.com".to_owned();
        options.accounts.push(other);
    })
    .await;
    let key = service.upload("mine.txt", b"mine", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    service.token = service.login("other@example.com", "1").await["session_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(service.names("files", "myfiles").await.is_empty());
    assert_eq!(
        service.call("file/delete", &[("quick_key", &key)]).await["error"],
        114
    );
    let links = service.call("file/get_links", &[("quick_key", &key)]).await;
    assert_eq!(links["links"][0]["direct_download_error"], "45");
    let check = [("filename", "x"), ("size", "4"), ("hash", &sha256(b"mine"))];
    let asked = service.call("upload/check", &check).await;
    assert_eq!(
        (&asked["hash_exists"], &asked["in_account"]),
        (&json!("yes"), &json!("no"))
    );
}

#[tokio::test]
async fn wrong_use_is_told_by_number() {
    let service = start(|options| options.quirks.refused_characters.push(':')).await;
    let folder = service.folder("a", "myfiles").await;
    let inner = service.folder("b", &folder).await;
    let created = service
        .call("file/create", &[("filename", "n.txt"), ("type", "text")])
        .await;
    let key = created["fileinfo"]["quickkey"].as_str().unwrap().to_owned();
    assert_eq!(created["fileinfo"]["size"], "2");
    let long = "x".repeat(256);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], i64);
    let cases: &[Case<'_>] = &[
        ("folder/create", &[("foldername", "a:b")], 185),
        (
            "folder/create",
            &[("foldername", ".."), ("parent_key", &folder)],
            185,
        ),
        (
            "folder/create",
            &[("foldername", "x"), ("parent_key", "nosuchfolder0")],
            112,
        ),
        (
            "folder/create",
            &[("foldername", "x"), ("parent_path", "a/none")],
            259,
        ),
        (
            "folder/create",
            &[("foldername", "x"), ("mtime", "sometime")],
            116,
        ),
        (
            "folder/move",
            &[("folder_key_src", &folder), ("folder_key_dst", &inner)],
            115,
        ),
        ("file/update", &[("quick_key", &key), ("filename", &long)], 118),
        ("file/update", &[("filename", "y")], 111),
        ("file/get_info", &[("file_path", "a/none.txt")], 260),
        ("file/restore", &[("quick_key", &key), ("revision", "1")], 223),
        ("file/zip", &[("keys", &inner)], 151),
        (
            "upload/instant",
            &[("filename", "x"), ("size", "1"), ("hash", &sha256(b"never sent"))],
            265,
        ),
        (
            "upload/check",
            &[("filename", "x"), ("size", "99999999999999")],
            282,
        ),
        ("folder/get_content", &[("chunk", "0")], 129),
    ];
    for (call, params, error) in cases {
        assert_eq!(
            service.call(call, params).await["error"],
            *error,
            "{call} {params:?}"
        );
    }
    service.call("file/delete", &[("quick_key", &key)]).await;
    assert_eq!(
        service.call("file/delete", &[("quick_key", &key)]).await["error"],
        210
    );
    let changed = [("quick_key", key.as_str()), ("description", "x")];
    assert_eq!(service.call("file/update", &changed).await["error"], 211);
    let both = service
        .call(
            "file/get_info",
            &[("quick_key", &format!("{key},nosuchkey000000"))],
        )
        .await;
    assert_eq!(
        (&both["file_infos"][0]["quickkey"], &both["skipped"]),
        (&json!(key), &json!("nosuchkey000000"))
    );
}
