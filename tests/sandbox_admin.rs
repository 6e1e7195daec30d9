//! The sandbox's pages for whoever runs it: limits, changes behind a client's back, very many files.

#[path = "support/sandbox_caller.rs"]
mod sandbox_caller;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockerfs::sandbox::Account;
use reqwest::Method;
use serde_json::{Value, json};

use sandbox_caller::{Service, start};

impl Service {
    async fn change(&self, account: &str, what: &str, path: &str, more: Value) -> String {
        let mut change = json!({ "account": account, "do": what, "path": path });
        for (name, value) in more.as_object().unwrap() {
            change[name] = value.clone();
        }
        let done = self.admin(Method::POST, "change", change).await;
        done["id"].as_str().unwrap().to_owned()
    }

    async fn paths_of(&self, account: &str) -> Vec<String> {
        let page = format!("files?account={account}");
        let files = self.admin(Method::GET, &page, Value::Null).await;
        let files = files.as_array().unwrap();
        files
            .iter()
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn number(&self, call: &str, params: &[(&str, &str)], pointer: &str) -> u64 {
        let told = self.call(call, params).await;
        told.pointer(pointer).unwrap().as_str().unwrap().parse().unwrap()
    }

    async fn device_revision(&self) -> u64 {
        self.number("device/get_status", &[], "/device_revision").await
    }

    /// By the folder's own facts, and by the listing of it, which must agree.
    async fn folder_revision(&self, key: &str) -> u64 {
        let params = [("folder_key", key)];
        let known = self
            .number("folder/get_info", &params, "/folder_info/revision")
            .await;
        let listed = self
            .number("folder/get_content", &params, "/folder_content/revision")
            .await;
        assert_eq!(known, listed);
        known
    }

    /// The keys that the feed tells after a revision.
    async fn told_since(&self, revision: u64) -> BTreeSet<String> {
        let changes = self
            .call("device/get_changes", &[("revision", &revision.to_string())])
            .await;
        let mut told = BTreeSet::new();
        for how in ["updated", "deleted"] {
            for (kind, key) in [("files", "quickkey"), ("folders", "folderkey")] {
                let nodes = changes[how][kind].as_array().unwrap();
                told.extend(nodes.iter().map(|node| node[key].as_str().unwrap().to_owned()));
            }
        }
        told
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_as_it_says_and_counted() {
    let service = start(|_| {}).await;
    let reset = || service.admin(Method::POST, "calls/reset", json!({}));
    service
        .admin(
            Method::POST,
            "limit",
            json!({"calls_per_second": 5, "answer": "261"}),
        )
        .await;
    // On a busy machine eight calls may take longer than the second that they are meant for.
    let refused = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        reset().await;
        let began = Instant::now();
        let mut refused = 0;
        for _ in 0..8 {
            refused += u64::from(service.call("device/get_status", &[]).await["error"] == 261);
        }
        if began.elapsed() < Duration::from_secs(1) {
            break refused;
        }
    };
    assert_eq!(refused, 3);
    let calls = service.admin(Method::GET, "calls", Value::Null).await;
    assert_eq!(
        (&calls["total"], &calls["refused"], &calls["busiest_second"]),
        (&json!(8), &json!(3), &json!(8))
    );
    service
        .admin(
            Method::POST,
            "limit",
            json!({"calls_per_second": 1, "answer": "429", "retry_after": 7}),
        )
        .await;
    service.call("device/get_status", &[]).await;
    let url = service.url("api/1.5/device/get_status.php");
    let reply = service.http.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 429);
    assert_eq!(reply.headers()["retry-after"], "7");
    service
        .admin(
            Method::POST,
            "limit",
            json!({"calls_per_second": 0, "answer": "429"}),
        )
        .await;
    assert_eq!(service.call("device/get_status", &[]).await["result"], "Success");
}

#[tokio::test]
async fn a_tree_is_changed_by_path_behind_a_clients_back() {
    let service = start(|options| options.accounts.push(Account::yetishare("locker"))).await;
    for account in ["mediafire", "locker"] {
        let change = |what, path, more| service.change(account, what, path, more);
        let file = change("write", "a/b/file.txt", json!({"content": "one"})).await;
        let again = change("write", "a/b/file.txt", json!({"content": "two"})).await;
        assert_eq!(file, again);
        let renamed = change("rename", "a/b/file.txt", json!({"to": "other.txt"})).await;
        assert_eq!(file, renamed);
        change("move", "a/b/other.txt", json!({"to": "c/moved.txt"})).await;
        assert_eq!(service.paths_of(account).await, ["c/moved.txt"]);
        change("rename", "c", json!({"to": "d"})).await;
        change("move", "d", json!({"to": "a/e"})).await;
        change("make_folder", "empty/inside", json!({})).await;
        assert_eq!(service.paths_of(account).await, ["a/e/moved.txt"]);
        assert!(service.sandbox.files_dir(account).join("empty/inside").is_dir());
        change("trash", "a/e/moved.txt", json!({})).await;
        assert_eq!(service.paths_of(account).await, [""; 0]);
        change("restore", "a/e/moved.txt", json!({})).await;
        change("trash", "a", json!({})).await;
        assert_eq!(service.paths_of(account).await, [""; 0]);
        change("restore", "a", json!({})).await;
        assert_eq!(service.paths_of(account).await, ["a/e/moved.txt"]);
        let plain = service.sandbox.files_dir(account).join("a/e/moved.txt");
        assert_eq!(std::fs::read(plain).unwrap(), b"two");
        change("purge", "a/e", json!({})).await;
        assert_eq!(service.paths_of(account).await, [""; 0]);
        let nothing = json!({ "account": account, "do": "restore", "path": "a/e" });
        let url = service.url("sandbox/change");
        let reply = service
            .http
            .post(url)
            .body(nothing.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 404);
    }
}

/// What the client of a change feed must live with: only revisions rise.
#[tokio::test]
async fn what_is_purged_is_never_told_but_raises_the_revisions() {
    let service = start(|_| {}).await;
    let write = |path| service.change("mediafire", "write", path, json!({"content": "x"}));
    for trashed_first in [false, true] {
        let file = write("home/file.txt").await;
        let inner = write("home/sub/inner.txt").await;
        let home = service
            .change("mediafire", "make_folder", "home", json!({}))
            .await;
        let sub = service
            .change("mediafire", "make_folder", "home/sub", json!({}))
            .await;
        if trashed_first {
            service.call("file/delete", &[("quick_key", &file)]).await;
            service.call("folder/delete", &[("folder_key", &sub)]).await;
        }
        let purges = [
            ("file/purge", "quick_key", &file),
            ("folder/purge", "folder_key", &sub),
        ];
        for (call, param, key) in purges {
            let (device, folder) = (
                service.device_revision().await,
                service.folder_revision(&home).await,
            );
            assert_eq!(service.call(call, &[(param, key)]).await["result"], "Success");
            assert!(service.device_revision().await > device, "{call}");
            assert!(service.folder_revision(&home).await > folder, "{call}");
            let told = service.told_since(0).await;
            assert!(!told.contains(key), "{call} was told");
            assert!(service.told_since(device).await.is_empty(), "{call}");
        }
        assert!(!service.told_since(0).await.contains(&inner));
        let unknown = service.call("file/get_info", &[("quick_key", &file)]).await;
        assert_eq!(unknown["error"], 110);
    }
}

#[tokio::test]
async fn very_many_files_are_there_at_once_and_not_on_the_disk() {
    let service = start(|_| {}).await;
    let grow = json!({"account": "mediafire", "folders": 3, "files": 1500, "size": 10});
    service.admin(Method::POST, "grow", grow).await;
    let folders = service.names("folders", "myfiles").await;
    assert_eq!(folders, ["folder-00000", "folder-00001", "folder-00002"]);
    let listed = service.call("folder/get_content", &[]).await;
    let listed = &listed["folder_content"]["folders"][1];
    assert_eq!(listed["file_count"], "1500");
    let key = listed["folderkey"].as_str().unwrap();
    assert_eq!(service.names("files", key).await.len(), 1000);
    let second = [
        ("content_type", "files"),
        ("folder_key", key),
        ("chunk_size", "1000"),
        ("chunk", "2"),
    ];
    let second = service.call("folder/get_content", &second).await["folder_content"].take();
    assert_eq!(second["more_chunks"], "no");
    let files = second["files"].as_array().unwrap();
    assert_eq!(
        (files.len(), &files[0]["filename"]),
        (500, &json!("file-01000.bin"))
    );
    let link = service.link(files[0]["quickkey"].as_str().unwrap()).await;
    let (_, bytes, _) = sandbox_caller::get(&service, &link, None).await;
    assert_eq!(bytes, b"0123456789");
    let on_disk = |name: &str| service.files().join(name);
    assert!(!on_disk("folder-00001/file-01000.bin").exists());
    let written = json!({"content": "own"});
    service
        .change("mediafire", "write", "folder-00001/file-01000.bin", written)
        .await;
    assert_eq!(
        std::fs::read(on_disk("folder-00001/file-01000.bin")).unwrap(),
        b"own"
    );
    service.admin(Method::POST, "rescan", json!({})).await;
    assert_eq!(service.paths().await.len(), 4500);
}

#[tokio::test]
async fn a_changed_login_ends_sessions_and_is_the_only_one_that_is_taken() {
    let service = start(|_| {}).await;
    let result = |answer: &Value| answer["result"].as_str().unwrap().to_owned();
    assert_eq!(result(&service.call("user/get_info", &[]).await), "Success");
    let change = json!({ "account": "mediafire", "password": "changed" });
    service.admin(Method::POST, "login", change).await;
    let ended = service.call("user/get_info", &[]).await;
    assert_eq!(
        (result(&ended), &ended["error"]),
        ("Error".to_owned(), &json!(105))
    );
    let refused = service.login("demo@example.com", "1").await;
    assert_eq!(
        (result(&refused), &refused["error"]),
        ("Error".to_owned(), &json!(107))
    );
    let back = json!({ "account": "mediafire", "password": "demo-password" });
    service.admin(Method::POST, "login", back).await;
    assert_eq!(result(&service.login("demo@example.com", "1").await), "Success");
}
