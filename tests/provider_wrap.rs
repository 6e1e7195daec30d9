//! What the wrappers around a provider promise.

#[path = "support/scripted.rs"]
mod scripted;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockerfs::http::FileRange;
use lockerfs::provider::wrap::{Options, standard};
use lockerfs::provider::{ErrorKind, FileId, FolderId, ItemId, ListHint, Provider, Retry, UploadRequest};
use scripted::{Act, Scripted};

const BUSY: Act = Act::Fail(ErrorKind::Busy, Retry::AfterWait(None));
const LOST: Act = Act::Fail(ErrorKind::Unavailable, Retry::OutcomeUnknown);

fn quick() -> Options {
    Options {
        backoff: Duration::from_millis(2),
        ..Options::default()
    }
}

fn wrapped(acts: impl IntoIterator<Item = Act>, options: &Options) -> (Arc<Scripted>, Arc<dyn Provider>) {
    let scripted = Arc::new(Scripted::new(acts));
    let provider = standard(Arc::clone(&scripted) as Arc<dyn Provider>, "account", options);
    (scripted, provider)
}

fn item() -> ItemId {
    ItemId::File(FileId::new("f"))
}

fn upload() -> (UploadRequest, FileRange) {
    let request = UploadRequest {
        folder: FolderId::new("d"),
        name: "n".to_owned(),
        size: 0,
        sha256: Some([0; 32]),
        mtime: SystemTime::UNIX_EPOCH,
        replaces: None,
        sent_before: false,
    };
    (
        request,
        FileRange::new(Arc::new(tempfile::tempfile().unwrap()), 0, 0),
    )
}

#[tokio::test]
async fn what_had_no_effect_is_tried_again_up_to_the_attempts() {
    let (scripted, provider) = wrapped([BUSY; 3], &quick());
    provider
        .copy_file(&FileId::new("f"), &FolderId::new("d"))
        .await
        .unwrap();
    assert_eq!(scripted.attempts().len(), 4);

    let (scripted, provider) = wrapped([BUSY; 9], &quick());
    assert_eq!(
        provider.rename(&item(), "n", None).await.unwrap_err().kind,
        ErrorKind::Busy
    );
    assert_eq!(scripted.attempts().len(), 4);
}

#[tokio::test]
async fn an_unknown_outcome_repeats_idempotent_methods_only() {
    let (scripted, provider) = wrapped([LOST], &quick());
    provider.rename(&item(), "n", None).await.unwrap();
    assert_eq!(scripted.attempts().len(), 2);

    let (scripted, provider) = wrapped([LOST; 3], &quick());
    let (request, body) = upload();
    let file = FileId::new("f");
    provider.copy_file(&file, &FolderId::new("d")).await.unwrap_err();
    provider.replace_content(&file, &file).await.unwrap_err();
    provider.upload_whole(&request, body.clone()).await.unwrap_err();
    assert_eq!(scripted.attempts().len(), 3);

    let (scripted, provider) = wrapped([LOST], &quick());
    provider
        .upload_unit(&request, 0, &[0; 32], body)
        .await
        .unwrap_err();
    assert_eq!(scripted.attempts().len(), 1);
}

#[tokio::test]
async fn an_outcome_once_unknown_stays_unknown() {
    let refused = || Act::Fail(ErrorKind::InvalidName, Retry::Never);
    let (_, provider) = wrapped([LOST, refused()], &quick());
    let error = provider.upload_begin(&upload().0).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::InvalidName, Retry::OutcomeUnknown)
    );
    let (_, provider) = wrapped([LOST, refused()], &quick());
    let error = provider.file_info(&[FileId::new("f")]).await.unwrap_err();
    assert_eq!(error.retry, Retry::Never);
}

#[tokio::test]
async fn what_cannot_help_is_not_tried_again() {
    for retry in [Retry::Never, Retry::AfterLogin] {
        let (scripted, provider) = wrapped([Act::Fail(ErrorKind::NotFound, retry)], &quick());
        provider
            .list(&provider.root(), ListHint::default())
            .await
            .unwrap_err();
        assert_eq!(scripted.attempts().len(), 1);
    }
}

#[tokio::test]
async fn the_wait_that_the_service_asks_for_is_kept() {
    let asked = Duration::from_millis(150);
    let acts = [Act::Fail(ErrorKind::RateLimited, Retry::AfterWait(Some(asked)))];
    let (scripted, provider) = wrapped(acts, &quick());
    provider.changes(None).await.unwrap();
    let attempts = scripted.attempts();
    assert!(attempts[1].1 - attempts[0].1 >= asked);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_of_the_whole_is_not_begun() {
    let acts = [Act::Fail(
        ErrorKind::RateLimited,
        Retry::AfterWait(Some(Duration::from_secs(3600))),
    )];
    let (scripted, provider) = wrapped(acts, &quick());
    let start = Instant::now();
    assert_eq!(
        provider.changes(None).await.unwrap_err().kind,
        ErrorKind::RateLimited
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(scripted.attempts().len(), 1);
}

#[tokio::test]
async fn an_attempt_that_hangs_is_ended_and_tried_again() {
    let options = Options {
        call_deadline: Duration::from_millis(50),
        ..quick()
    };
    let (scripted, provider) = wrapped([Act::Take(Duration::from_secs(3600))], &options);
    provider.rename(&item(), "n", None).await.unwrap();
    assert_eq!(scripted.attempts().len(), 2);
}

#[tokio::test]
async fn what_lists_first_on_a_service_without_batches_may_take_longer_than_a_call() {
    let options = Options {
        call_deadline: Duration::from_millis(200),
        ..quick()
    };
    let (scripted, provider) = wrapped([Act::Take(Duration::from_millis(400)); 3], &options);
    provider.account_info().await.unwrap();
    provider.create_folder(&FolderId::new("d"), "n").await.unwrap();
    provider.move_to(&[item()], &FolderId::new("d")).await.unwrap();
    assert_eq!(scripted.attempts().len(), 3);
}

#[tokio::test]
async fn an_operation_that_hangs_ends_at_its_deadline_with_an_unknown_outcome() {
    let options = Options {
        call_deadline: Duration::from_millis(50),
        operation_deadline: Duration::from_millis(120),
        attempts: 1000,
        ..quick()
    };
    let (_, provider) = wrapped([Act::Take(Duration::from_secs(3600)); 1000], &options);
    let error = provider.rename(&item(), "n", None).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Timeout, Retry::OutcomeUnknown)
    );
}

#[tokio::test]
async fn a_body_under_way_is_not_cut_by_a_deadline() {
    let options = Options {
        call_deadline: Duration::from_millis(20),
        operation_deadline: Duration::from_millis(40),
        ..quick()
    };
    let (scripted, provider) = wrapped([Act::Take(Duration::from_millis(200))], &options);
    let (request, body) = upload();
    provider.upload_whole(&request, body).await.unwrap();
    assert_eq!(scripted.attempts().len(), 1);
}

#[tokio::test]
async fn calls_keep_to_the_budget_of_their_class() {
    let options = Options {
        calls_per_second: 20.0,
        burst: 2,
        ..quick()
    };
    let (_, provider) = wrapped([], &options);
    let start = Instant::now();
    for _ in 0..6 {
        provider.rename(&item(), "n", None).await.unwrap();
    }
    // Two of the burst, four at 50 ms each.
    assert!(
        start.elapsed() >= Duration::from_millis(190),
        "{:?}",
        start.elapsed()
    );
    let start = Instant::now();
    provider.account_info().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(45),
        "reads wait for writes"
    );
}

#[tokio::test]
async fn a_budget_used_up_for_long_fails_as_rate_limited_without_a_call() {
    let options = Options {
        calls_per_second: 0.1,
        burst: 1,
        budget_wait: Duration::from_millis(10),
        operation_deadline: Duration::from_secs(1),
        ..quick()
    };
    let (scripted, provider) = wrapped([], &options);
    provider.rename(&item(), "n", None).await.unwrap();
    let error = provider.rename(&item(), "n", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert!(matches!(error.retry, Retry::AfterWait(Some(_))));
    assert_eq!(scripted.attempts().len(), 1);
}
