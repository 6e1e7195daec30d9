//! Uploads in units and whole, and how much an account holds.

use std::time::Duration;

use lockerfs::sandbox::Options;
use serde_json::{Value, json};

use crate::sandbox_caller::{Service, encode, envelope, sha256, start, start_in};

const UNIT: usize = 2 << 20;

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
