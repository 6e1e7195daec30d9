//! How many calls the MediaFire client makes for common work, as the service counts them. Logins and the action
//! token, which come once a day at most, are made before the counting begins.

#[path = "support/contract.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only a part of the suite's tools is used here"
)]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use contract::{Content, Target, upload};
use lockerfs::provider::mediafire::{Credentials, Settings, TokenVersion};
use lockerfs::provider::{DeleteMode, Entry, FileId, FolderId, ItemId, ListHint, Provider};
use mediafire_target::MediaFireTarget;

struct Bench {
    target: MediaFireTarget,
    provider: Arc<dyn Provider>,
    root: FolderId,
}

/// A service that is done with an upload by the time of the first poll, and a client with all its tokens.
async fn bench() -> Bench {
    let target = MediaFireTarget::start_with(TokenVersion::V2, |options| {
        options.quirks.processing = Duration::ZERO;
        options.quirks.sparse_polls = false;
    })
    .await;
    let provider = target.provider();
    let root = provider.root();
    let lists = (0..8).map(|_| provider.list(&root, ListHint::default()));
    futures_util::future::join_all(lists).await;
    let content = Content::random(0, 1);
    upload(&provider, &content.request(&root, "first"), &content).await;
    Bench {
        target,
        provider,
        root,
    }
}

/// The calls that `work` costs.
macro_rules! cost {
    ($bench:expr, $work:expr) => {{
        let before = $bench.target.calls().await;
        let value = $work;
        (value, $bench.target.calls().await - before)
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_small_file_costs_3_calls() {
    let bench = bench().await;
    let content = Content::random(1, 1000);
    let request = content.request(&bench.root, "small");
    let (_, calls) = cost!(bench, upload(&bench.provider, &request, &content).await);
    assert_eq!(calls, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_of_n_units_costs_one_announcement_n_units_and_its_polls() {
    let bench = bench().await;
    let content = Content::random(2, 6 << 20);
    let request = content.request(&bench.root, "six units");
    let polls = bench.target.count("upload/poll_upload").await;
    let (_, calls) = cost!(bench, upload(&bench.provider, &request, &content).await);
    let polls = bench.target.count("upload/poll_upload").await - polls;
    // How many polls it takes is up to the pace of the service and of the test.
    assert_eq!(
        (calls - polls, bench.target.count("upload/resumable").await),
        (6 + 1, 6)
    );
    assert!(polls >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_costs_a_call_for_each_1000_of_a_kind() {
    let bench = bench().await;
    let mut seeds: Vec<_> = (0..1_001).map(|i| (format!("many/{i}"), Vec::new())).collect();
    seeds.push(("many/folder/file".to_owned(), Vec::new()));
    bench.target.seed(seeds).await;
    let listing = bench
        .provider
        .list(&bench.root, ListHint::default())
        .await
        .unwrap();
    let many = listing.entries.iter().find_map(|entry| match entry {
        Entry::Folder(folder) if folder.name == "many" => Some(folder.clone()),
        _ => None,
    });
    let many = many.unwrap();
    assert_eq!((many.hint.files, many.hint.folders), (Some(1_001), Some(1)));
    let (_, calls) = cost!(bench, bench.provider.list(&many.id, many.hint).await.unwrap());
    assert_eq!(calls, 3);
    let hint = ListHint {
        folders: Some(0),
        ..many.hint
    };
    let (_, calls) = cost!(bench, bench.provider.list(&many.id, hint).await.unwrap());
    assert_eq!(calls, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_on_500_files_costs_one_call_each() {
    let bench = bench().await;
    bench
        .target
        .seed((0..500).map(|i| (format!("f{i}"), vec![1])).collect())
        .await;
    let place = bench.provider.create_folder(&bench.root, "place").await.unwrap();
    let listing = bench
        .provider
        .list(&bench.root, ListHint::default())
        .await
        .unwrap();
    let ids: Vec<FileId> = listing
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::File(file) if file.name.starts_with('f') && file.name != "first" => Some(file.id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 500);
    let items: Vec<_> = ids.iter().cloned().map(ItemId::File).collect();
    let provider = &bench.provider;
    assert_eq!(cost!(bench, provider.file_info(&ids).await.unwrap()).1, 1);
    assert_eq!(cost!(bench, provider.links(&ids).await.unwrap()).1, 1);
    assert_eq!(
        cost!(bench, provider.move_to(&items, &place.id).await.unwrap()).1,
        1
    );
    assert_eq!(
        cost!(bench, provider.rename(&items[0], "renamed", None).await.unwrap()).1,
        1
    );
    assert_eq!(
        cost!(bench, provider.delete(&items, DeleteMode::Trash).await.unwrap()).1,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_1_token_that_ended_costs_one_login_for_all_who_used_it() {
    let target = MediaFireTarget::start_with(TokenVersion::V1, |options| {
        options.quirks.token_life = Duration::from_millis(300);
    })
    .await;
    let provider = target.provider();
    provider.account_info().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let root = provider.root();
    let lists = (0..10).map(|_| {
        provider.list(
            &root,
            ListHint {
                files: None,
                folders: Some(0),
            },
        )
    });
    for listing in futures_util::future::join_all(lists).await {
        listing.unwrap();
    }
    assert_eq!(target.count("user/get_session_token").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_token_that_ended_is_renewed_in_the_middle_of_an_upload() {
    let bench = bench().await;
    for call in ["upload/check", "upload/simple", "upload/poll_upload"] {
        let rules = serde_json::json!([{"match": call, "fault": "expire_token", "times": 1}]);
        bench.target.rules(rules).await;
        let before = bench.target.count("user/get_action_token").await;
        let content = Content::new(format!("over {call}").into_bytes());
        let file = upload(
            &bench.provider,
            &content.request(&bench.root, &content_name(call)),
            &content,
        )
        .await;
        assert_eq!(file.mtime, Some(UNIX_EPOCH + Duration::from_secs(1_234_567_890)));
        assert_eq!(
            bench.target.count("user/get_action_token").await,
            before + 1,
            "{call}"
        );
    }
}

fn content_name(call: &str) -> String {
    format!("{}.txt", call.replace('/', " "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_session_token_is_kept_alive() {
    let target = MediaFireTarget::start(TokenVersion::V1).await;
    let token = {
        let client = lockerfs::http::ApiClient::new(lockerfs::http::ApiOptions::default()).unwrap();
        let mut url = target.settings().base_url;
        url.set_path("/api/1.5/user/get_session_token.php");
        let signature = hex::encode(<sha1::Sha1 as sha1::Digest>::digest(
            b"demo@example.comdemo-password42511",
        ));
        let form = format!(
            "email=demo%40example.com&password=demo-password&application_id=42511&signature={signature}\
             &response_format=json"
        );
        let answer = client
            .send(lockerfs::http::ApiRequest::form(url, form))
            .await
            .unwrap();
        let reply: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        reply["response"]["session_token"].as_str().unwrap().to_owned()
    };
    let credentials = Credentials::SessionToken(token.into());
    let provider = target.provider_with(Settings {
        credentials,
        ..target.settings()
    });
    for _ in 0..3 {
        provider.account_info().await.unwrap();
    }
    assert_eq!(target.count("user/renew_session_token").await, 1);
    assert_eq!(target.count("user/get_session_token").await, 1);
}
