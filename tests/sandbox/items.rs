//! Files and folders: listings, changes, jobs, the trash, one-time links.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::sandbox_caller::{start, wait_for};

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
