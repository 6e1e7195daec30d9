//! What MirrorAce and Mirrored.to ask of a client beyond the contract of all providers.

// Only a part of the contract suite's support is used here.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "support/contract.rs"]
mod contract;
#[path = "provider_mirrors/links.rs"]
mod links;
#[path = "support/mirror_target.rs"]
mod mirror_target;

use std::sync::Arc;

use contract::{Content, Fault, Step, Target};
use lockerfs::provider::{
    ErrorKind, FileId, FolderId, Provider, PublishedState, Retry, UploadPlan, UploadProgress, UploadRequest,
    UploadTicket,
};
use lockerfs::sandbox::{Account, Options};
use lockerfs::state::Database;
use mirror_target::MirrorTarget;
use serde_json::json;

async fn mirrorace(chunk: u64) -> MirrorTarget {
    MirrorTarget::start(
        |name| Account::mirrorace(name),
        |options| options.quirks.mirrorace.max_chunk_size = chunk,
    )
    .await
}

async fn mirrored_to(adjust: impl FnOnce(&mut Options)) -> MirrorTarget {
    MirrorTarget::start(|name| Account::mirrored_to(name), adjust).await
}

async fn ranges(provider: &Arc<dyn Provider>, request: &UploadRequest) -> UploadTicket {
    match provider.upload_begin(request).await.unwrap() {
        UploadPlan::Ranges { session, .. } => session,
        plan => panic!("{plan:?}"),
    }
}

fn hash(request: &UploadRequest) -> String {
    hex::encode(request.sha256.expect("a hash"))
}

#[tokio::test]
async fn chunks_carry_all_fields_and_make_the_content() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(1, 2_500);
    let request = content.request(&provider.root(), "ä film.bin");
    let file = contract::upload(&provider, &request, &content).await;
    assert_eq!(file.size, 2_500);
    assert_eq!(target.files().await, [("ä film.bin".to_owned(), hash(&request))]);
    assert_eq!(target.count("mirrorace/upload").await, 3);
    assert_eq!(target.count("mirrorace/file/upload").await, 1);
    let note = &target.published().await[file.id.as_str()];
    assert_eq!(note["password"], "the file's password");
    assert_eq!(note["mirrors"], json!(["1", "2", "3"]), "as set in the account");
}

#[tokio::test]
async fn a_failed_chunk_ends_the_upload_and_the_next_one_begins_at_its_first_byte() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(2, 2_500);
    let request = content.request(&provider.root(), "x.bin");
    let part = |offset, length| {
        let whole = content.whole();
        lockerfs::http::FileRange::new(whole.file, offset, length)
    };
    let session = ranges(&provider, &request).await;
    provider
        .upload_range(&request, &session, part(0, 1_000))
        .await
        .unwrap();
    target.inject(&[(Step::UploadUnit, Fault::LostReply)]).await;
    let lost = provider
        .upload_range(&request, &session, part(1_000, 1_000))
        .await;
    assert_eq!(lost.unwrap_err().retry, Retry::OutcomeUnknown);
    let sent = target.count("mirrorace/upload").await;
    let again = provider
        .upload_range(&request, &session, part(1_000, 1_000))
        .await;
    assert!(again.is_err(), "it may be there already");
    assert_eq!(target.count("mirrorace/upload").await, sent, "no call for it");
    // A chunk that is not the next one is not sent either.
    let session = ranges(&provider, &request).await;
    assert!(
        provider
            .upload_range(&request, &session, part(1_000, 1_000))
            .await
            .is_err()
    );
    assert_eq!(target.count("mirrorace/upload").await, sent);
    contract::upload(&provider, &request, &content).await;
    assert_eq!(target.files().await, [("x.bin".to_owned(), hash(&request))]);
}

#[tokio::test]
async fn what_somebody_else_sends_under_the_name_is_noticed() {
    let target = mirrorace(1_000).await;
    let (one, two) = (target.provider(), target.provider());
    let content = Content::random(3, 4_000);
    let request = content.request(&one.root(), "x.bin");
    let part = |offset| lockerfs::http::FileRange::new(content.whole().file, offset, 1_000);
    let (first, second) = (ranges(&one, &request).await, ranges(&two, &request).await);
    one.upload_range(&request, &first, part(0)).await.unwrap();
    two.upload_range(&request, &second, part(0)).await.unwrap();
    one.upload_range(&request, &first, part(1_000)).await.unwrap();
    let error = two
        .upload_range(&request, &second, part(1_000))
        .await
        .unwrap_err();
    assert!(matches!(error.retry, Retry::AfterWait(_)), "{error}");
    assert_eq!(target.files().await, []);
}

#[tokio::test]
async fn one_name_is_uploaded_once_at_a_time() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(4, 500);
    let here = content.request(&FolderId::new("a"), "x.bin");
    let there = content.request(&FolderId::new("b"), "x.bin");
    let session = ranges(&provider, &here).await;
    let error = provider.upload_begin(&there).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(matches!(error.retry, Retry::AfterWait(Some(_))));
    // The same file anew takes the place of its earlier try.
    let newer = ranges(&provider, &here).await;
    assert!(
        provider
            .upload_range(&here, &session, content.whole())
            .await
            .is_err()
    );
    let done = provider
        .upload_range(&here, &newer, content.whole())
        .await
        .unwrap();
    assert!(matches!(done, UploadProgress::Published(_)), "{done:?}");
    contract::upload(&provider, &there, &content).await;
    assert_eq!(target.files().await.len(), 2);
}

#[tokio::test]
async fn a_key_that_expired_costs_new_variables_and_nothing_else() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(5, 500);
    let request = content.request(&provider.root(), "x.bin");
    let session = ranges(&provider, &request).await;
    target.go_ahead(3_700).await;
    let error = provider
        .upload_range(&request, &session, content.whole())
        .await
        .unwrap_err();
    assert!(matches!(error.retry, Retry::AfterWait(_)), "{error}");
    contract::upload(&provider, &request, &content).await;
    assert_eq!(target.files().await.len(), 1);
}

#[tokio::test]
async fn many_files_are_asked_after_in_few_calls() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let mut files: Vec<FileId> = (0..60)
        .map(|number| FileId::new(format!("none{number}")))
        .collect();
    let content = Content::random(6, 10);
    let request = content.request(&provider.root(), "x.bin");
    let published = contract::upload(&provider, &request, &content).await;
    files.push(published.id.clone());
    let states = provider.published(&files).await.unwrap();
    assert_eq!(states.len(), 61);
    assert_eq!(states[60], PublishedState::Active);
    assert_eq!(target.count("mirrorace/file/info").await, 2);
    target.withdraw(published.id.as_str(), "copyright removed").await;
    let states = provider.published(&files[60..]).await.unwrap();
    assert_eq!(states, [PublishedState::Removed("copyright removed".to_owned())]);
    assert!(provider.file_info(&files).await.unwrap().is_empty());
}

#[tokio::test]
async fn mirrors_that_are_not_open_are_told_before_a_byte_is_sent() {
    for (wanted, told) in [(vec!["6"], "mirror 6"), (vec!["1", "77"], "mirror 77")] {
        let mut target = mirrorace(1_000).await;
        target.mirrors = wanted.into_iter().map(str::to_owned).collect();
        let provider = target.provider();
        let content = Content::random(7, 10);
        let request = content.request(&provider.root(), "x.bin");
        let error = provider.upload_begin(&request).await.unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::InvalidArgument, Retry::Never)
        );
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn no_secret_is_shown() {
    let target = mirrorace(1_000).await;
    let other = mirrored_to(|_| {}).await;
    let secrets = [
        &target.account.api_key,
        &target.account.api_token,
        &other.account.api_key,
    ];
    let mut shown = format!("{:?} {:?}", target.mirrorace(), other.mirrored_to());
    for target in [&target, &other] {
        target
            .post(
                "faults",
                json!([{ "match": "mirror*", "fault": "say", "text": format!("No {} {}", secrets[0], secrets[2]) }]),
            )
            .await;
        let provider = target.provider();
        let content = Content::random(8, 10);
        let request = content.request(&provider.root(), "x.bin");
        let error = provider.upload_begin(&request).await.unwrap_err();
        shown += &format!(" {error} {error:?}");
        target.post("faults", json!([])).await;
        shown += &format!(" {:?}", provider.upload_begin(&request).await.unwrap());
    }
    for secret in secrets {
        assert!(!shown.contains(secret.as_str()), "{shown}");
    }
    assert!(!shown.contains("password\": \"the file"), "{shown}");
}

#[tokio::test]
async fn an_upload_that_was_cut_before_its_last_step_is_finished_by_the_next_process() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let content = Content::random(9, 1_000);
    let request = content.request(&provider.root(), "x.bin");
    assert_eq!(provider.upload_begin(&request).await.unwrap(), UploadPlan::Whole);
    let sent = provider.upload_whole(&request, content.whole()).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    assert!(!ticket.as_str().contains(&target.account.api_key), "{ticket}");
    assert!(!ticket.as_str().contains("password"), "{ticket}");
    assert_eq!(target.files().await, []);
    drop(provider);
    target.go_ahead(7_000).await;
    let done = target.provider().upload_poll(&ticket).await.unwrap();
    let UploadProgress::Published(publication) = done else {
        panic!("{done:?}")
    };
    assert_eq!(publication.entry.size, 1_000);
    assert!(
        publication
            .short_url
            .unwrap()
            .contains(publication.entry.id.as_str())
    );
    assert_eq!(target.files().await, [("x.bin".to_owned(), hash(&request))]);
    let note = &target.published().await[publication.entry.id.as_str()];
    assert_eq!(
        (&note["password"], &note["email"]),
        (&json!("the file's password"), &json!("me@example.com"))
    );
    assert_eq!(target.calls().await, 3);
}

#[tokio::test]
async fn after_two_hours_an_upload_begins_anew_without_a_call() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let content = Content::random(10, 1_000);
    let request = content.request(&provider.root(), "x.bin");
    provider.upload_begin(&request).await.unwrap();
    let sent = provider.upload_whole(&request, content.whole()).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    target.go_ahead(7_300).await;
    let calls = target.calls().await;
    assert_eq!(
        provider.upload_poll(&ticket).await.unwrap(),
        UploadProgress::StartAgain
    );
    assert_eq!(target.calls().await, calls);
    contract::upload(&provider, &request, &content).await;
    assert_eq!(target.files().await.len(), 1);
}

#[tokio::test]
async fn the_last_step_may_be_repeated_after_an_answer_that_was_none() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let content = Content::random(11, 1_000);
    let request = content.request(&provider.root(), "x.bin");
    provider.upload_begin(&request).await.unwrap();
    let sent = provider.upload_whole(&request, content.whole()).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    target
        .post(
            "faults",
            json!([
                { "match": "mirrored_to/finish_upload", "fault": "status", "status": 503, "times": 1 },
                { "match": "mirrored_to/finish_upload", "fault": "lost_reply", "times": 1, "skip": 0 },
            ]),
        )
        .await;
    let error = provider.upload_poll(&ticket).await.unwrap_err();
    assert!(matches!(error.retry, Retry::AfterWait(_)), "{error}");
    let error = provider.upload_poll(&ticket).await.unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    // The service made a file and does not tell which: the content is published once more.
    assert_eq!(
        provider.upload_poll(&ticket).await.unwrap(),
        UploadProgress::StartAgain
    );
}

#[tokio::test]
async fn mirrors_go_by_their_limits_and_by_their_exact_names() {
    let mut target = mirrored_to(|options| {
        options.quirks.mirrored_to.mirrors = vec![("big".to_owned(), 500), ("small".to_owned(), 1)];
    })
    .await;
    let content = Content::random(12, (1 << 20) + 1);
    target.mirrors = vec!["small".to_owned(), "big".to_owned()];
    let provider = target.provider();
    let request = content.request(&provider.root(), "x.bin");
    let file = contract::upload(&provider, &request, &content).await;
    assert_eq!(
        target.published().await[file.id.as_str()]["mirrors"],
        json!(["big"])
    );
    for (mirror, kind) in [
        ("small", ErrorKind::TooLarge),
        ("Big", ErrorKind::InvalidArgument),
    ] {
        target.mirrors = vec![mirror.to_owned()];
        let error = target.provider().upload_begin(&request).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (kind, Retry::Never), "{error}");
    }
    assert_eq!(target.count("mirrored_to/api_file_upload").await, 1);
}

#[tokio::test]
async fn the_calls_of_a_day_are_counted_over_restarts_and_an_upload_begins_only_if_it_can_end() {
    let mut target = mirrored_to(|_| {}).await;
    let state = tempfile::tempdir().unwrap();
    target.counter = Some(Database::open(&state.path().join("state.db")).unwrap());
    let content = Content::random(13, 10);
    let publish = async |name: String| {
        let provider = target.provider();
        let request = content.request(&provider.root(), &name);
        contract::upload(&provider, &request, &content).await
    };
    // As if others had used most of the day.
    target
        .post("calls_left", json!({ "account": "mirror", "left": 8 }))
        .await;
    target.provider().account_info().await.unwrap();
    target.provider().account_info().await.unwrap();
    assert_eq!(
        target.count("mirrored_to/get_account_info").await,
        1,
        "asked once a day"
    );
    publish("1.bin".to_owned()).await;
    publish("2.bin".to_owned()).await;
    let provider = target.provider();
    let request = content.request(&provider.root(), "3.bin");
    let calls = target.calls().await;
    let error = provider.upload_begin(&request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited, "{error}");
    assert!(error.to_string().contains("00:00 UTC"), "{error}");
    let Retry::AfterWait(Some(wait)) = error.retry else {
        panic!("{error:?}")
    };
    let day = provider.daily_calls().await.unwrap();
    assert_eq!((day.limit, day.spent), (500, 499));
    let until = day.renewed.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(wait >= until && wait.as_secs() <= until.as_secs() + 60);
    assert_eq!(target.calls().await, calls);
    target.go_ahead(24 * 3600).await;
    publish("3.bin".to_owned()).await;
    assert_eq!(target.provider().daily_calls().await.unwrap().spent, 3);
    assert_eq!(target.files().await.len(), 3);
}

#[tokio::test]
async fn a_day_that_the_service_says_is_spent_is_spent() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    target
        .post("calls_left", json!({ "account": "mirror", "left": 0 }))
        .await;
    let content = Content::random(14, 10);
    let request = content.request(&provider.root(), "x.bin");
    for _ in 0..3 {
        let error = provider.upload_begin(&request).await.unwrap_err();
        assert!(matches!(error.retry, Retry::AfterWait(Some(_))), "{error}");
    }
    assert_eq!(target.calls().await, 1);
}
