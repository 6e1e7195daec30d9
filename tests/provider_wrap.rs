//! What the wrappers around a provider promise.

#[path = "support/scripted.rs"]
mod scripted;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use lockerfs::http::FileRange;
use lockerfs::provider::wrap::{Options, Urgency, at, standard};
use lockerfs::provider::{
    ErrorKind, FileId, FolderId, ItemId, ListHint, Pace, Provider, Retry, UploadRequest,
};
use scripted::{Act, Scripted};

const BUSY: Act = Act::Fail(ErrorKind::Busy, Retry::AfterWait(None));
const LIMITED: Act = Act::Fail(ErrorKind::RateLimited, Retry::AfterWait(None));
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
    provider.upload_begin(&upload().0).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(45),
        "uploads wait for renames"
    );
}

#[tokio::test]
async fn all_calls_of_an_account_together_keep_to_its_limit_in_each_second() {
    let options = Options {
        calls_per_second: 20.0,
        upload_calls_per_second: 20.0,
        burst: 2,
        ..quick()
    };
    let (scripted, provider) = wrapped([], &options);
    let (request, _) = upload();
    let uploads = join_all((0..25).map(|_| provider.upload_begin(&request)));
    let background = at(
        Urgency::Background,
        join_all((0..15).map(|_| provider.changes(None))),
    );
    let item = item();
    let renames = join_all((0..15).map(|_| provider.rename(&item, "n", None)));
    let (uploads, background, renames) = futures_util::join!(uploads, background, renames);
    assert!(uploads.iter().all(Result::is_ok) && background.iter().all(Result::is_ok));
    assert!(renames.iter().all(Result::is_ok));
    let times: Vec<_> = scripted.attempts().into_iter().map(|(_, at)| at).collect();
    let busiest = times.iter().map(|from| {
        let second = *from..*from + Duration::from_secs(1);
        times.iter().filter(|at| second.contains(*at)).count()
    });
    let busiest = busiest.max().unwrap();
    assert!(busiest <= 22, "{busiest} calls within a second");
}

#[tokio::test]
async fn a_program_that_waits_goes_before_uploads_and_crawls_that_came_first() {
    let options = Options {
        calls_per_second: 50.0,
        upload_calls_per_second: 50.0,
        burst: 1,
        ..quick()
    };
    let (scripted, provider) = wrapped([], &options);
    let (request, _) = upload();
    let uploads = join_all((0..20).map(|_| provider.upload_begin(&request)));
    let crawl = at(Urgency::Crawl, join_all((0..20).map(|_| provider.account_info())));
    let item = item();
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..5 {
            provider.rename(&item, "n", None).await.unwrap();
        }
        scripted.attempts().len()
    };
    let (_, _, gone) = futures_util::join!(uploads, crawl, late);
    assert!(
        gone <= 20,
        "{gone} calls started before the last that a program waited for"
    );
    assert_eq!(scripted.attempts().len(), 45);
}

#[tokio::test]
async fn a_dropped_operation_gives_its_place_back() {
    let options = Options {
        calls_per_second: 10.0,
        upload_calls_per_second: 10.0,
        burst: 1,
        ..quick()
    };
    let (scripted, provider) = wrapped([], &options);
    provider.changes(None).await.unwrap();
    let many = join_all((0..100).map(|_| provider.changes(None)));
    let dropped = tokio::time::timeout(Duration::from_millis(20), many).await;
    assert!(dropped.is_err());
    let start = Instant::now();
    provider.changes(None).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(scripted.attempts().len(), 2);
}

#[tokio::test]
async fn a_walk_of_two_hundred_folders_goes_through_the_default_budget_without_a_wait() {
    let (scripted, provider) = wrapped([], &Options::default());
    let hint = ListHint {
        files: Some(50),
        folders: Some(0),
    };
    let root = provider.root();
    provider.list(&root, ListHint::default()).await.unwrap();
    let start = Instant::now();
    join_all((0..202).map(|_| provider.list(&root, hint))).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(scripted.attempts().len(), 203);
    assert_eq!(provider.pace(), Pace::default());
}

#[tokio::test]
async fn no_call_of_any_kind_starts_before_the_time_that_the_service_asked_for() {
    let asked = Duration::from_millis(600);
    let acts = [Act::Fail(ErrorKind::RateLimited, Retry::AfterWait(Some(asked)))];
    let (scripted, provider) = wrapped(acts, &quick());
    let (request, _) = upload();
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let pace = provider.pace();
        assert!(
            pace.rests.is_some() && pace.calls_per_second.is_some(),
            "{pace:?}"
        );
        let item = item();
        let (upload, rename) =
            futures_util::join!(provider.upload_begin(&request), provider.rename(&item, "n", None));
        assert!(upload.is_ok() && rename.is_ok());
    };
    let (changes, ()) = futures_util::join!(provider.changes(None), others);
    changes.unwrap();
    let attempts = scripted.attempts();
    assert_eq!(attempts.len(), 4);
    for (method, at) in &attempts[1..] {
        assert!(*at - attempts[0].1 >= asked, "{method} started too early");
    }
    assert_eq!(provider.pace().rests, None);
}

#[tokio::test]
async fn patience_that_a_service_asks_for_is_not_bounded_by_the_attempts() {
    let (scripted, provider) = wrapped([LIMITED; 7], &quick());
    provider.rename(&item(), "n", None).await.unwrap();
    assert_eq!(scripted.attempts().len(), 8);

    let options = Options {
        operation_deadline: Duration::from_secs(2),
        ..quick()
    };
    let (_, provider) = wrapped([LIMITED; 1000], &options);
    let start = Instant::now();
    let error = provider.rename(&item(), "n", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert!(matches!(error.retry, Retry::AfterWait(_)), "{:?}", error.retry);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn everything_completes_while_every_third_call_is_refused() {
    let passes = Act::Take(Duration::ZERO);
    let acts = (0..300).map(|n| if n % 3 == 2 { LIMITED } else { passes });
    let (_, provider) = wrapped(acts, &quick());
    let (request, _) = upload();
    let root = provider.root();
    let uploads = join_all((0..4).map(|_| provider.upload_begin(&request)));
    let lists = join_all((0..4).map(|_| provider.list(&root, ListHint::default())));
    let changes = at(Urgency::Background, provider.changes(None));
    let (uploads, lists, changes) = futures_util::join!(uploads, lists, changes);
    assert!(uploads.iter().all(Result::is_ok), "{uploads:?}");
    assert!(lists.iter().all(Result::is_ok) && changes.is_ok());
}

#[tokio::test]
async fn a_service_that_is_away_is_left_alone_and_noticed_when_it_is_back() {
    let gone = Act::Fail(ErrorKind::Timeout, Retry::AfterWait(None));
    let options = Options {
        attempts: 1,
        ..quick()
    };
    // Five, and two probes that fail as well: the pause is longer than an operation waits for by itself.
    let (scripted, provider) = wrapped([gone; 8], &options);
    for _ in 0..5 {
        provider.rename(&item(), "n", None).await.unwrap_err();
    }
    assert!(provider.pace().away.is_some());
    let start = Instant::now();
    while scripted.attempts().len() < 8 {
        provider.changes(None).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(start.elapsed() < Duration::from_secs(30), "no probe goes");
    }
    let asked = Instant::now();
    let error = provider.changes(None).await.unwrap_err();
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(
        matches!(error.retry, Retry::AfterWait(Some(_))),
        "{:?}",
        error.retry
    );
    assert!(error.to_string().contains("it is tried again in"), "{error}");
    assert_eq!(
        scripted.attempts().len(),
        8,
        "a call went to a service that is left alone"
    );
    // It is back: noticed within the pause.
    let start = Instant::now();
    while provider.changes(None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            start.elapsed() < Duration::from_secs(16),
            "its return is not noticed"
        );
    }
    assert_eq!(provider.pace().away, None);
}

#[tokio::test]
async fn an_answer_in_between_and_one_broken_operation_do_not_make_a_service_away() {
    let refused = Act::Fail(ErrorKind::NotFound, Retry::Never);
    let gone = Act::Fail(ErrorKind::Timeout, Retry::AfterWait(None));
    let options = Options {
        attempts: 1,
        ..quick()
    };
    let acts = (0..12).map(|n| if n % 4 == 3 { refused } else { gone });
    let (scripted, provider) = wrapped(acts, &options);
    for _ in 0..12 {
        provider.rename(&item(), "n", None).await.unwrap_err();
    }
    assert_eq!(scripted.attempts().len(), 12);

    let broken = Act::Fail(ErrorKind::Unavailable, Retry::AfterWait(None));
    let (scripted, provider) = wrapped([broken; 10], &options);
    for _ in 0..10 {
        provider.rename(&item(), "n", None).await.unwrap_err();
    }
    assert_eq!((scripted.attempts().len(), provider.pace().away), (10, None));
    provider.changes(None).await.unwrap();
}

#[tokio::test]
async fn a_moment_of_absence_is_waited_out() {
    let gone = Act::Fail(ErrorKind::Timeout, Retry::AfterWait(None));
    let (scripted, provider) = wrapped([gone; 5], &quick());
    // Four tries; the next call's first is the fifth failure in a row.
    provider.rename(&item(), "n", None).await.unwrap_err();
    let all = join_all((0..10).map(|_| provider.changes(None))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(scripted.attempts().len(), 15);
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
