//! The sandbox seen from outside, over plain HTTP: logins, tokens, folders, uploads, limits.

#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;

use std::time::Duration;

use lockerfs::sandbox::{Account, Options};
use md5::Md5;
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Digest;

use sandbox_caller::{Service, encode, envelope, sha256, start, start_in, wait_for};

const UNIT: usize = 2 << 20;

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
async fn units_are_told_in_words_of_16_bits_and_an_upload_is_taken_up_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let options = || {
        let mut options = Options::new(data.path());
        options.quirks.processing = Duration::from_millis(20);
        options
    };
    let service = start_in(options()).await;
    // 18 units, the last one short: files from 16 MiB on come in units of 2 MiB.
    let content: Vec<u8> = (0..17 * UNIT + 1000).map(|at| (at / 4096 % 251) as u8).collect();
    let (size, hash) = (content.len().to_string(), sha256(&content));
    let whole = (content.as_slice(), hash.as_str());
    let check = [
        ("filename", "big.bin"),
        ("size", &size),
        ("hash", &hash),
        ("resumable", "yes"),
    ];
    let asked = service.call("upload/check", &check).await;
    assert_eq!(
        (&asked["hash_exists"], &asked["file_exists"]),
        (&json!("no"), &json!("no"))
    );
    let plan = &asked["resumable_upload"];
    assert_eq!(
        (&plan["number_of_units"], &plan["unit_size"]),
        (&json!("18"), &json!("2097152"))
    );
    assert_eq!(plan["bitmap"], json!({ "count": "2", "words": ["0", "0"] }));

    for id in [0, 3, 16] {
        let reply = send_unit(&service, whole, id, None).await;
        assert_eq!(reply["doupload"]["result"], "0", "{reply}");
    }
    let wrong = send_unit(&service, whole, 5, Some(&sha256(b"something else"))).await;
    assert_eq!(wrong["error"], 304);
    let told = service.call("upload/check", &check).await;
    assert_eq!(told["resumable_upload"]["bitmap"]["words"], json!(["9", "1"]));
    assert_eq!(told["resumable_upload"]["all_units_ready"], "no");

    service.sandbox.stop().await;
    let service = start_in(options()).await;
    let told = service.call("upload/check", &check).await;
    assert_eq!(told["resumable_upload"]["bitmap"]["words"], json!(["9", "1"]));
    let mut last = Value::Null;
    for id in (0..18).filter(|id| ![0, 3, 16].contains(id)) {
        last = send_unit(&service, whole, id, None).await;
    }
    assert_eq!(last["resumable_upload"]["all_units_ready"], "yes");
    // The content may exist by now; whoever asks again still hears of the units.
    let told = service.call("upload/check", &check).await;
    assert_eq!(told["resumable_upload"]["all_units_ready"], "yes");
    let done = service.outcome(&last).await;
    assert_eq!(
        (&done["hash"], &done["filename"]),
        (&json!(hash), &json!("big.bin"))
    );
    assert_eq!(std::fs::read(service.files().join("big.bin")).unwrap(), content);
    service.sandbox.stop().await;
}

/// Sends a unit of a file as `whole`, its size and hash, describe it; `lie` takes the place of the unit's hash.
async fn send_unit(service: &Service, whole: (&[u8], &str), id: usize, lie: Option<&str>) -> Value {
    let bytes = whole.0[id * UNIT..].chunks(UNIT).next().unwrap();
    let params = encode(&[("session_token", &service.token), ("response_format", "json")]);
    // As some clients do it: no x-filename, and a form in which the file has a name of no meaning.
    let mut body =
        b"--sep\r\nContent-Disposition: form-data; name=\"file\"; filename=\"chunk\"\r\n\r\n".to_vec();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--sep--\r\n");
    let request = service
        .http
        .post(service.url(&format!("api/1.5/upload/resumable.php?{params}")))
        .header("content-type", "multipart/form-data; boundary=sep")
        .header("x-filesize", whole.0.len())
        .header("x-filehash", whole.1)
        .header("x-unit-id", id)
        .header("x-unit-size", bytes.len())
        .header("x-unit-hash", lie.map_or_else(|| sha256(bytes), str::to_owned));
    envelope(request.body(body).send().await.unwrap()).await
}

#[tokio::test]
async fn early_polls_tell_little_and_need_no_token() {
    let service = start(|options| {
        options.quirks.processing = Duration::from_millis(400);
        options.quirks.sparse_polls = true;
    })
    .await;
    let sent = service.send("slow.txt", b"slow", &[]).await;
    let key = sent["doupload"]["key"].as_str().unwrap();
    assert_eq!(key.len(), 11);
    let first = service.bare("upload/poll_upload", &[("key", key)]).await;
    assert_ne!(first["doupload"]["status"], "99");
    for absent in ["quickkey", "filename", "hash", "description"] {
        assert_eq!(first["doupload"][absent], Value::Null, "{absent}");
    }
    assert!(
        service.names("files", "myfiles").await.is_empty(),
        "not ready, and yet listed"
    );
    let done = service.outcome(&sent).await;
    assert_eq!(done["quickkey"].as_str().unwrap().len(), 15);
    assert_eq!(done["size"], "4");
    let unknown = service
        .bare("upload/poll_upload", &[("key", "aaaaaaaaaaa")])
        .await;
    assert_eq!(unknown["doupload"]["result"], "-80");
}

#[tokio::test]
async fn names_given_twice_are_kept_replaced_or_skipped() {
    let service = start(|_| {}).await;
    let first = service.upload("a.txt", b"one", &[]).await;
    let kept = service
        .upload("a.txt", b"two", &[("action_on_duplicate", "keep")])
        .await;
    assert_eq!(kept["filename"], "a(2).txt");
    let skipped = service
        .upload("a.txt", b"three", &[("action_on_duplicate", "skip")])
        .await;
    assert_eq!(
        (&skipped["fileerror"], &skipped["quickkey"]),
        (&json!("13"), &json!(""))
    );
    let replaced = service
        .upload(
            "a.txt",
            b"four",
            &[
                ("action_on_duplicate", "replace"),
                ("mtime", "2001-02-03T04:05:06Z"),
            ],
        )
        .await;
    assert_eq!(replaced["quickkey"], first["quickkey"]);
    assert_eq!(replaced["created_utc"], "2001-02-03T04:05:06Z");
    let key = first["quickkey"].as_str().unwrap();
    let versions = service.call("file/get_versions", &[("quick_key", key)]).await;
    let versions = versions["file_versions"].as_array().unwrap().clone();
    assert_eq!((versions.len(), &versions[0]["head"]), (2, &json!("yes")));
    let old = versions[1]["revision"].as_str().unwrap();
    service
        .call("file/restore", &[("quick_key", key), ("revision", old)])
        .await;
    assert_eq!(std::fs::read(service.files().join("a.txt")).unwrap(), b"one");
    assert_eq!(service.send("empty", b"", &[]).await["error"], 169);
    let nothing = sha256(b"");
    let empty = service
        .call(
            "upload/instant",
            &[
                ("filename", "empty"),
                ("size", "0"),
                ("hash", &nothing),
                ("folder_key", ""),
            ],
        )
        .await;
    assert_eq!(empty["result"], "Success");
    assert_eq!(
        service.names("files", "myfiles").await,
        ["a(2).txt", "a.txt", "empty"]
    );
}

#[tokio::test]
async fn listings_come_in_chunks() {
    let service = start(|_| {}).await;
    for number in 0..105 {
        service.folder(&format!("f{number:03}"), "myfiles").await;
    }
    let first = service.call("folder/get_content", &[]).await["folder_content"].take();
    assert_eq!(
        (&first["more_chunks"], &first["chunk_size"]),
        (&json!("yes"), &json!("100"))
    );
    assert_eq!(first["folders"].as_array().unwrap().len(), 100);
    assert_eq!(first["files"], Value::Null, "only what was asked for is there");
    let second = service.call("folder/get_content", &[("chunk", "2")]).await["folder_content"].take();
    assert_eq!(second["more_chunks"], "no");
    assert_eq!(second["folders"][0]["name"], "f100");
    assert_eq!(second["folders"].as_array().unwrap().len(), 5);
    let all = service
        .call("folder/get_content", &[("chunk_size", "1000")])
        .await["folder_content"]
        .take();
    assert_eq!(all["folders"].as_array().unwrap().len(), 105);
    let calls = service.admin(Method::GET, "calls", Value::Null).await;
    assert_eq!(
        (
            &calls["calls"]["folder/create"],
            &calls["calls"]["folder/get_content"]
        ),
        (&json!(105), &json!(3))
    );
}

#[tokio::test]
async fn the_change_feed_ends_at_multiples_of_500_and_forgets_what_was_purged() {
    let service = start(|_| {}).await;
    let mut keys = Vec::new();
    for number in 0..520 {
        keys.push(service.folder(&number.to_string(), "myfiles").await);
    }
    let changes = async |revision: &str| {
        service
            .call("device/get_changes", &[("revision", revision)])
            .await
    };
    let first = changes("0").await;
    assert_eq!(
        (
            &first["device_revision"],
            first["updated"]["folders"].as_array().unwrap().len()
        ),
        (&json!("520"), 500)
    );
    let second = changes("500").await;
    assert_eq!(second["updated"]["folders"].as_array().unwrap().len(), 20);
    service.call("folder/delete", &[("folder_key", &keys[0])]).await;
    service.call("folder/purge", &[("folder_key", &keys[1])]).await;
    let third = changes("520").await;
    assert_eq!(third["deleted"]["folders"][0]["folderkey"], keys[0].as_str());
    assert_eq!(third["deleted"]["folders"].as_array().unwrap().len(), 1);
    assert_eq!(third["updated"]["folders"], json!([]));
    let trash = service
        .call("device/get_trash", &[("content_type", "folders")])
        .await;
    assert_eq!(trash["folders"][0]["name"], "0");
    assert_eq!(
        service.call("folder/delete", &[("folder_key", &keys[0])]).await["error"],
        209
    );
    assert_eq!(
        service.call("folder/delete", &[("folder_key", &keys[1])]).await["error"],
        112
    );
}

#[tokio::test]
async fn an_account_holds_no_more_than_its_limit() {
    let service = start(|options| options.accounts[0].storage_limit = 1000).await;
    let first = service.upload("a.txt", &[1; 700], &[]).await;
    assert_eq!(service.upload("b.txt", &[2; 400], &[]).await["fileerror"], "15");
    let key = first["quickkey"].as_str().unwrap();
    assert_eq!(
        service.call("file/copy", &[("quick_key", key)]).await["error"],
        162
    );
    let asked = service
        .call("upload/check", &[("filename", "c"), ("size", "301")])
        .await;
    assert_eq!(
        (&asked["storage_limit_exceeded"], &asked["available_space"]),
        (&json!("yes"), &json!("300"))
    );
    service.call("file/delete", &[("quick_key", key)]).await;
    assert_eq!(service.upload("b.txt", &[2; 400], &[]).await["fileerror"], "");
    let info = service.call("user/get_info", &[]).await;
    assert_eq!(info["user_info"]["used_storage_size"], "400");
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
async fn bulk_jobs_run_one_at_a_time() {
    let service = start(|options| options.quirks.bulk_job = Duration::from_millis(600)).await;
    let (first, second) = (
        service.folder("1", "myfiles").await,
        service.folder("2", "myfiles").await,
    );
    let deleted = service.call("folder/delete", &[("folder_key", &first)]).await;
    assert_eq!(deleted["asynchronous"], "yes");
    assert_eq!(
        service.call("folder/delete", &[("folder_key", &second)]).await["error"],
        208
    );
    assert_eq!(
        service.call("device/get_status", &[]).await["async_jobs_in_progress"],
        "yes"
    );
    wait_for("the job's end", async || {
        service.call("device/get_status", &[]).await["async_jobs_in_progress"] == "no"
    })
    .await;
    assert_eq!(
        service.call("folder/delete", &[("folder_key", &second)]).await["result"],
        "Success"
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

#[tokio::test]
async fn what_is_moved_out_of_the_trash_is_there_again_with_all_below_it() {
    let service = start(|_| {}).await;
    let folder = service.folder("old", "myfiles").await;
    service
        .upload("inner.txt", b"inner", &[("folder_key", &folder)])
        .await;
    let key = service.upload("a.txt", b"a", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = service.folder("target", "myfiles").await;
    service
        .upload("a.txt", b"taken", &[("folder_key", &target)])
        .await;
    service.call("file/delete", &[("quick_key", &key)]).await;
    service.call("folder/delete", &[("folder_key", &folder)]).await;
    let before = service.call("user/get_info", &[]).await["user_info"]["used_storage_size"].clone();
    let moved = service
        .call("file/move", &[("quick_key", &key), ("folder_key", &target)])
        .await;
    assert_eq!(moved["new_names"][&key], "a(2).txt");
    let moved = service
        .call(
            "folder/move",
            &[("folder_key_src", &folder), ("folder_key_dst", &target)],
        )
        .await;
    assert_eq!(moved["result"], "Success");
    assert_eq!(service.names("folders", &target).await, ["old"]);
    assert_eq!(service.names("files", &folder).await, ["inner.txt"]);
    let trash = service.call("device/get_trash", &[]).await;
    assert_eq!(
        (&trash["file_count"], &trash["folder_count"]),
        (&json!("0"), &json!("0"))
    );
    let after = service.call("user/get_info", &[]).await["user_info"]["used_storage_size"].clone();
    let bytes = |told: &Value| told.as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(bytes(&after), bytes(&before) + 6, "it takes room again");
}

#[tokio::test]
async fn terms_of_one_time_links_that_make_no_sense_are_refused_and_addresses_hold() {
    let service = start(|_| {}).await;
    let key = service.upload("a.txt", b"a", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    for wrong in [
        ("duration", "0"),
        ("duration", "soon"),
        ("duration", "43201"),
        ("email_notification", "maybe"),
        ("burn_after_use", ""),
    ] {
        let made = service
            .call("file/one_time_key", &[("quick_key", &key), wrong])
            .await;
        assert_eq!(made["error"], 129, "{wrong:?}");
    }
    for (addresses, status) in [
        ("10.0.0.0/8", 404),
        ("10.0.0.1-10.0.0.9, 127.0.0.1", 200),
        ("127.0.0.1/8", 200),
        ("126.0.0.0-128.0.0.0", 200),
        ("0.0.0.0/0", 200),
        ("nonsense", 404),
    ] {
        let made = service
            .call(
                "file/one_time_key",
                &[("quick_key", &key), ("bind_ip", addresses)],
            )
            .await;
        let link = made["links"]["download"].as_str().unwrap();
        let answer = service.http.get(link).send().await.unwrap();
        assert_eq!(answer.status(), status, "{addresses}");
    }
}

#[tokio::test]
async fn names_in_the_way_get_a_number_when_moved_or_copied() {
    let service = start(|_| {}).await;
    let folder = service.folder("target", "myfiles").await;
    service
        .upload("a.txt", b"there", &[("folder_key", &folder)])
        .await;
    let key = service.upload("a.txt", b"here", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let copied = service
        .call("file/copy", &[("quick_key", &key), ("folder_key", &folder)])
        .await;
    assert_eq!(copied["new_quickkeys"].as_array().unwrap().len(), 1);
    let moved = service
        .call("file/move", &[("quick_key", &key), ("folder_key", &folder)])
        .await;
    assert_eq!(moved["new_names"][&key], "a(3).txt");
    assert_eq!(
        service.names("files", &folder).await,
        ["a(2).txt", "a(3).txt", "a.txt"]
    );
    let copy = service.call("folder/copy", &[("folder_key_src", &folder)]).await;
    let copy = copy["new_folderkeys"][0].as_str().unwrap().to_owned();
    assert_eq!(service.names("folders", "myfiles").await, ["target", "target(2)"]);
    assert_eq!(
        service.names("files", &copy).await,
        ["a(2).txt", "a(3).txt", "a.txt"]
    );
    let depth = service.call("folder/get_depth", &[("folder_key", &copy)]).await;
    assert_eq!(depth["folder_depth"]["depth"], "1");
    let found = service.call("folder/search", &[("search_text", "a(3)")]).await;
    assert_eq!(found["results_count"], "2");
}
