//! The sandbox seen from outside: links, faults, pace, and the live files on disk.

#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use lockerfs::sandbox::Options;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use sandbox_caller::{Service, encode, get, sha256, start, start_in, wait_for};

#[tokio::test]
async fn update_file_takes_the_content_and_destroys_its_source() {
    let service = start(|_| {}).await;
    let key = |done: Value| done["quickkey"].as_str().unwrap().to_owned();
    let to = key(service.upload("to.txt", b"old", &[]).await);
    let from = key(service.upload("from.txt", b"new", &[]).await);
    let picture = key(service.upload("p.png", b"png", &[]).await);
    let update = async |from: &str, to: &str| {
        service
            .call(
                "file/update_file",
                &[("from_quickkey", from), ("to_quickkey", to)],
            )
            .await
    };
    assert_eq!(update(&picture, &to).await["error"], 142);
    assert_eq!(update(&to, &to).await["error"], 238);
    assert_eq!(update(&from, &to).await["result"], "Success");
    assert_eq!(
        service.call("file/get_info", &[("quick_key", &from)]).await["error"],
        110
    );
    assert_eq!(std::fs::read(service.files().join("to.txt")).unwrap(), b"new");
    assert!(!service.files().join("from.txt").exists());
}

#[tokio::test]
async fn links_serve_ranges_and_end_in_a_web_page() {
    let service = start(|options| options.quirks.link_life = Duration::from_millis(900)).await;
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let key = service.upload("data.bin", &content, &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let link = service.link(&key).await;
    assert_ne!(link, service.link(&key).await, "each call mints a link");
    let (status, body, told) = get(&service, &link, Some("bytes=1000-1999")).await;
    assert_eq!(
        (status, told.as_deref()),
        (StatusCode::PARTIAL_CONTENT, Some("bytes 1000-1999/300000"))
    );
    assert_eq!(body, content[1000..2000]);
    let (_, tail, _) = get(&service, &link, Some("bytes=-10")).await;
    assert_eq!(tail, content[299_990..]);
    let (status, _, told) = get(&service, &link, Some("bytes=300000-")).await;
    assert_eq!(
        (status, told.as_deref()),
        (StatusCode::RANGE_NOT_SATISFIABLE, Some("bytes */300000"))
    );
    let (status, whole, _) = get(&service, &link, None).await;
    assert!(status == StatusCode::OK && whole == content);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let reply = service
        .http
        .get(&link)
        .header("range", "bytes=0-9")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    assert!(
        reply.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
}

#[tokio::test]
async fn a_link_may_lead_to_another_host_first() {
    let service = start(|options| options.quirks.redirect_links = true).await;
    let key = service.upload("a.txt", b"behind a redirect", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let reply = service.http.get(service.link(&key).await).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::FOUND);
    let next = reply.headers()["location"]
        .to_str()
        .unwrap()
        .trim_start_matches('/')
        .to_owned();
    assert_eq!(
        get(&service, &service.url(&next), None).await.1,
        b"behind a redirect"
    );
}

#[tokio::test]
async fn faults_strike_as_told() {
    let service = start(|_| {}).await;
    let folder = service.url(&format!(
        "api/1.5/folder/create.php?foldername=made&response_format=json&session_token={}",
        service.token
    ));
    service
        .faults(json!([{"match": "folder/create", "fault": "lost_reply", "times": 1}]))
        .await;
    assert!(
        service.http.get(&folder).send().await.is_err(),
        "the reply was to be lost"
    );
    assert_eq!(
        service.names("folders", "myfiles").await,
        ["made"],
        "a lost reply is no lost call"
    );

    service.faults(json!([{"match": "folder/create", "fault": "status", "status": 503, "retry_after": 7, "times": 1}])).await;
    let reply = service.http.get(&folder).send().await.unwrap();
    assert_eq!(
        (reply.status(), &reply.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"7".parse().unwrap())
    );
    assert_eq!(
        service.names("folders", "myfiles").await,
        ["made"],
        "a refused call has no effect"
    );

    service.faults(json!([{"match": "user/*", "fault": "truncate", "times": 1}, {"match": "user/*", "fault": "html"}])).await;
    for _ in 0..2 {
        let url = service.url(&format!(
            "api/user/get_info.php?response_format=json&session_token={}",
            service.token
        ));
        let bytes = service.http.get(url).send().await.unwrap().bytes().await.unwrap();
        assert!(serde_json::from_slice::<Value>(&bytes).is_err(), "{bytes:?}");
    }
    service
        .faults(json!([{"match": "folder/get_info", "fault": "error", "code": 261}]))
        .await;
    assert_eq!(service.call("folder/get_info", &[]).await["error"], 261);

    let done = service.upload("a.bin", &vec![7; 500_000], &[]).await;
    let link = service.link(done["quickkey"].as_str().unwrap()).await;
    service
        .faults(json!([{"match": "download", "fault": "reset", "times": 1}]))
        .await;
    // Before or after its head, as it happens.
    let broken = async { service.http.get(&link).send().await?.bytes().await };
    assert!(broken.await.is_err(), "the download was to break off");
    assert_eq!(get(&service, &link, None).await.1.len(), 500_000);

    service
        .faults(json!([{"match": "upload/simple", "fault": "file_error", "code": 12}]))
        .await;
    assert_eq!(service.upload("b.txt", b"doomed", &[]).await["fileerror"], "12");
    service
        .faults(json!([{"match": "*", "fault": "expire_token", "times": 1}]))
        .await;
    assert_eq!(service.call("user/get_info", &[]).await["error"], 105);
    assert_eq!(service.call("user/get_info", &[]).await["error"], 105);
}

#[tokio::test]
async fn live_files_follow_the_account() {
    let service = start(|_| {}).await;
    let files = service.files();
    let folder = service.folder("a", "myfiles").await;
    let inner = service.folder("b", &folder).await;
    let key = service.upload("ü.txt", b"text", &[("folder_key", &inner)]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(std::fs::read(files.join("a/b/ü.txt")).unwrap(), b"text");
    service
        .call("folder/update", &[("folder_key", &folder), ("foldername", "c")])
        .await;
    service
        .call(
            "folder/move",
            &[("folder_key_src", &inner), ("folder_key_dst", "myfiles")],
        )
        .await;
    service
        .call(
            "file/update",
            &[
                ("quick_key", &key),
                ("filename", "v.txt"),
                ("mtime", "2001-02-03T04:05:06Z"),
            ],
        )
        .await;
    assert!(!files.join("a").exists() && files.join("c").is_dir());
    let seconds = std::fs::metadata(files.join("b/v.txt"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(
        seconds.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
        981_173_106
    );
    // Twins by name stand side by side: the second one shows its key.
    let other = service.upload("w.txt", b"other", &[("folder_key", &inner)]).await;
    let other = other["quickkey"].as_str().unwrap();
    service
        .admin(
            Method::POST,
            "touch",
            json!({"account": "mediafire", "path": "b/v.txt", "content": "touched"}),
        )
        .await;
    assert_eq!(std::fs::read(files.join("b/v.txt")).unwrap(), b"touched");
    service
        .call(
            "folder/create",
            &[("foldername", "w.txt"), ("parent_key", &inner)],
        )
        .await;
    let twins = std::fs::read_dir(files.join("b")).unwrap().count();
    assert_eq!(
        (twins, std::fs::read(files.join("b/w.txt")).unwrap()),
        (3, b"other".to_vec())
    );
    service.call("file/delete", &[("quick_key", other)]).await;
    service.call("folder/delete", &[("folder_key", &inner)]).await;
    assert!(!files.join("b").exists());
}

#[tokio::test]
async fn the_account_follows_its_live_files() {
    let service = start(|_| {}).await;
    let files = service.files();
    let write = |path: &str, content: &str| {
        std::fs::create_dir_all(files.join(path).parent().unwrap()).unwrap();
        std::fs::write(files.join(path), content).unwrap();
    };
    write("by hand/deep/a.txt", "first");
    service.admin(Method::POST, "rescan", Value::Null).await;
    assert_eq!(service.paths().await, ["by hand/deep/a.txt"]);
    let info = service
        .call("file/get_info", &[("file_path", "by hand/deep/a.txt")])
        .await["file_info"]
        .take();
    assert_eq!(info["hash"], sha256(b"first"));
    let key = info["quickkey"].as_str().unwrap().to_owned();

    // An edit is a new revision of the same file; a rename keeps the key too.
    write("by hand/deep/a.txt", "second, longer");
    service.admin(Method::POST, "rescan", Value::Null).await;
    std::fs::rename(files.join("by hand/deep"), files.join("moved")).unwrap();
    std::fs::rename(files.join("moved/a.txt"), files.join("moved/b.txt")).unwrap();
    service.admin(Method::POST, "rescan", Value::Null).await;
    assert_eq!(service.paths().await, ["moved/b.txt"]);
    let info = service.call("file/get_info", &[("quick_key", &key)]).await["file_info"].take();
    assert_eq!(
        (&info["hash"], &info["filename"]),
        (&json!(sha256(b"second, longer")), &json!("b.txt"))
    );
    let versions = service.call("file/get_versions", &[("quick_key", &key)]).await;
    assert_eq!(versions["file_versions"].as_array().unwrap().len(), 2);

    // Without being told, it looks by itself within a few seconds.
    write("unasked.txt", "x");
    std::fs::remove_file(files.join("moved/b.txt")).unwrap();
    wait_for("the plain files to be taken up", async || {
        service.paths().await == ["unasked.txt"]
    })
    .await;
}

#[tokio::test]
async fn a_large_sparse_file_takes_little_room_and_keeps_its_content() {
    let service = start(|_| {}).await;
    let path = service.files().join("sparse.img");
    let file = std::fs::File::create(&path).unwrap();
    // Data between two holes, and a hole at the end.
    file.write_all_at(b"in the middle", 20_000_000).unwrap();
    file.set_len(40_000_000).unwrap();
    drop(file);
    service.admin(Method::POST, "rescan", Value::Null).await;
    let info = service
        .call("file/get_info", &[("file_path", "sparse.img")])
        .await["file_info"]
        .take();
    let content = std::fs::read(&path).unwrap();
    assert_eq!(info["hash"], sha256(&content));
    let link = service.link(info["quickkey"].as_str().unwrap()).await;
    let (_, body, _) = get(&service, &link, None).await;
    assert!(body == content, "the file comes back as it is");
    let mut blocks = 0;
    let store = service.files().join("../../.sandbox/blobs");
    for shelf in std::fs::read_dir(store).unwrap() {
        for blob in std::fs::read_dir(shelf.unwrap().path()).unwrap() {
            blocks += blob.unwrap().metadata().unwrap().blocks();
        }
    }
    assert!(blocks * 512 < 4_000_000, "{blocks} blocks of 512 bytes");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let service = start_in(Options::new(data.path())).await;
    let folder = service.folder("kept", "myfiles").await;
    service.upload("a.txt", b"kept", &[("folder_key", &folder)]).await;
    let gone = service.upload("gone.txt", b"gone", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    service.call("file/delete", &[("quick_key", &gone)]).await;
    // Sent, but not yet ready when the sandbox stops.
    service.send("late.txt", b"late", &[]).await;
    let before = service.call("device/get_status", &[]).await["device_revision"].take();
    let files = service.files();
    service.sandbox.stop().await;
    edit_while_stopped(&files);

    let service = start_in(Options::new(data.path())).await;
    wait_for("the late upload", async || {
        service.paths().await.contains(&"late.txt".to_owned())
    })
    .await;
    let mut paths = service.paths().await;
    paths.sort();
    assert_eq!(paths, ["kept/a.txt", "kept/added.txt", "late.txt"]);
    let info = service.call("file/get_info", &[("quick_key", &gone)]).await["file_info"].take();
    assert_eq!(info["parent_folderkey"], "trash");
    let after = service.call("device/get_status", &[]).await["device_revision"].take();
    let number = |revision: &Value| revision.as_str().unwrap().parse::<u64>().unwrap();
    assert!(number(&after) > number(&before));
    assert_eq!(service.names("folders", "myfiles").await, ["kept"]);
    service.sandbox.stop().await;
}

fn edit_while_stopped(files: &Path) {
    std::fs::write(files.join("kept/added.txt"), "added").unwrap();
}

#[tokio::test]
async fn latency_and_pace_are_kept() {
    let service = start(|options| {
        options.latency = Duration::from_millis(100);
        options.per_connection = Some(1_000_000);
    })
    .await;
    let began = Instant::now();
    service.call("user/get_info", &[]).await;
    assert!(began.elapsed() >= Duration::from_millis(100));
    let began = Instant::now();
    let done = service.upload("a.bin", &vec![1; 500_000], &[]).await;
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "too fast up: {:?}",
        began.elapsed()
    );
    let link = service.link(done["quickkey"].as_str().unwrap()).await;
    let began = Instant::now();
    assert_eq!(get(&service, &link, None).await.1.len(), 500_000);
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "too fast down: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn an_archive_holds_files_and_folders() {
    let service = start(|_| {}).await;
    let folder = service.folder("docs", "myfiles").await;
    service
        .upload("in ü.txt", b"inside", &[("folder_key", &folder)])
        .await;
    let key = service.upload("out.txt", b"outside", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let keys = format!("{folder},{key}");
    let params = encode(&[
        ("keys", &keys),
        ("session_token", &service.token),
        ("response_format", "json"),
    ]);
    let url = service.url(&format!("api/1.5/file/zip.php?{params}"));
    let archive = service
        .http
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(archive.starts_with(b"PK\x03\x04"));
    for part in ["docs/in ü.txt", "inside", "out.txt", "outside"] {
        assert!(
            archive
                .windows(part.len())
                .any(|window| window == part.as_bytes()),
            "{part}"
        );
    }
    let meta = service
        .call("file/zip", &[("keys", &keys), ("meta_only", "yes")])
        .await;
    assert_eq!(meta["result"], "Success");
}

/// What becomes of a web upload in the end.
async fn web_upload(service: &Service, params: &[(&str, &str)]) -> Value {
    let added = service.call("upload/add_web_upload", params).await;
    let upload = added["upload_key"].as_str().unwrap().to_owned();
    let mut told = Value::Null;
    wait_for("the web upload", async || {
        let asked = [("key", upload.as_str()), ("all_web_uploads", "yes")];
        let list = service.call("upload/get_web_uploads", &asked).await;
        told = list["web_uploads"][0].clone();
        told["status_code"] == "99"
    })
    .await;
    told
}

#[tokio::test]
async fn a_web_upload_goes_to_its_folder_and_keeps_beside_what_has_its_name() {
    let service = start(|_| {}).await;
    let folder = service.folder("there", "myfiles").await;
    let source = service.upload("source.txt", b"fetched", &[]).await;
    let link = service.link(source["quickkey"].as_str().unwrap()).await;
    let params = [
        ("url", link.as_str()),
        ("filename", "copy.txt"),
        ("folder_key", &folder),
    ];
    let first = web_upload(&service, &params).await;
    assert_eq!(
        (&first["size"], &first["percentage"]),
        (&json!("7"), &json!("100"))
    );
    let second = web_upload(&service, &params).await;
    assert_ne!(first["quickkey"], second["quickkey"]);
    let mut names = service.names("files", &folder).await;
    names.sort();
    assert_eq!(names, ["copy(2).txt", "copy.txt"]);
    let calls = service.admin(reqwest::Method::GET, "calls", Value::Null).await;
    assert_eq!(
        (&calls["calls"]["download"], &calls["fetched"]),
        (&json!(2), &json!(14))
    );
}

#[tokio::test]
async fn a_web_upload_that_fails_says_why() {
    let service = start(|_| {}).await;
    let source = service.upload("source.txt", b"fetched", &[]).await;
    let key = source["quickkey"].as_str().unwrap();
    let ended = async |url: &str| {
        let told = web_upload(&service, &[("url", url), ("filename", "copy.txt")]).await;
        assert_eq!(
            (&told["active"], &told["quickkey"]),
            (&json!("no"), &json!("")),
            "{told}"
        );
        told["error_status"].as_str().unwrap().to_owned()
    };
    let page = ended(&service.url(&format!("file/{key}/source.txt"))).await;
    assert!(page.contains("web page"), "{page}");
    let missing = ended(&service.url("sandbox/nothing")).await;
    assert!(missing.contains("404"), "{missing}");
    let rule = |what: Value| {
        let mut rule = what;
        rule["times"] = json!(1);
        json!([rule])
    };
    let link = service.link(key).await;
    service
        .faults(rule(json!({"match": "download", "fault": "reset"})))
        .await;
    assert_ne!(ended(&link).await, "");
    service
        .faults(rule(
            json!({"match": "upload/add_web_upload", "fault": "file_error", "code": 15}),
        ))
        .await;
    let link = service.link(key).await;
    assert_eq!(ended(&link).await, "error 15");
    service
        .faults(rule(
            json!({"match": "upload/add_web_upload", "fault": "error", "code": 253}),
        ))
        .await;
    let refused = service
        .call("upload/add_web_upload", &[("url", link.as_str())])
        .await;
    assert_eq!(refused["error"], 253);
    assert_eq!(service.names("files", "myfiles").await, ["source.txt"]);
}

#[tokio::test]
async fn a_file_is_fetched_by_its_url_from_loopback_only() {
    let service = start(|options| options.quirks.redirect_links = true).await;
    let key = service.upload("source.txt", b"fetched", &[]).await["quickkey"]
        .as_str()
        .unwrap()
        .to_owned();
    let link = service.link(&key).await;
    let far = service
        .call(
            "upload/add_web_upload",
            &[("url", "http://192.0.2.1/x"), ("filename", "x")],
        )
        .await;
    assert_eq!(far["error"], 174);
    let added = service
        .call(
            "upload/add_web_upload",
            &[("url", &link), ("filename", "copy.txt")],
        )
        .await;
    let upload = added["upload_key"].as_str().unwrap().to_owned();
    wait_for("the web upload", async || {
        let list = service
            .call("upload/get_web_uploads", &[("upload_key", &upload)])
            .await;
        list["web_uploads"][0]["status_code"] == "99"
    })
    .await;
    assert_eq!(
        std::fs::read(service.files().join("copy.txt")).unwrap(),
        b"fetched"
    );
}
