//! What the uploads promise on a host that tells no hash and numbers twins, after an answer was lost: what
//! others put there is left alone, and nothing of ours is left twice.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::Duration;

use lockerfs::provider::{ErrorKind, FolderId, Retry};
use lockerfs::upload::NewPending;
use upload_bench::memory_provider::Fault;
use upload_bench::{Bench, OTHER_ACCOUNT, new, only};

/// A failure after which nobody knows whether the content arrived. It did not.
const NOT_ARRIVED: Fault = Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown);

#[test]
fn an_equal_file_that_was_there_before_is_not_taken_for_the_upload() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "photo.jpg", b"photo");
    let theirs = bench.service.put("root", "photo (2).jpg", b"photo");
    bench.service.fault("whole", NOT_ARRIVED);
    bench.life(async |life| {
        life.add_over("photo.jpg", b"photo", &old).await;
        life.drained().await;
    });
    assert_eq!(bench.service.file(&theirs).unwrap().name, "photo (2).jpg");
    assert_eq!(bench.service.files().len(), 2);
    assert_eq!(bench.service.trash().len(), 1);
}

#[test]
fn an_equal_file_that_was_there_before_outlives_the_removal_of_ours() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "photo.jpg", b"photo");
    let theirs = bench.service.put("root", "photo (2).jpg", b"photo");
    let gate = bench.service.pause_before("whole");
    bench.life(async |life| {
        let id = life.add_over("photo.jpg", b"photo", &old).await;
        gate.reached().await;
        life.uploads.remove(id).await.unwrap();
    });
    bench.life(async |life| life.drained().await);
    assert!(bench.service.calls("look") > 0);
    assert!(bench.service.file(&theirs).is_some() && bench.service.file(&old).is_some());
}

#[test]
fn after_a_start_each_folder_is_looked_at_before_anything_is_sent_to_it() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"content");
    bench.life(async |life| {
        let elsewhere = NewPending {
            folder: FolderId::new("elsewhere"),
            ..new("first", None)
        };
        let staged = [life.write(b"first"), life.write(b"content")];
        let _held = (
            life.uploads.commit_held(&staged[0], elsewhere).await.unwrap(),
            life.uploads
                .commit_held(&staged[1], new("f.txt", Some(old)))
                .await
                .unwrap(),
        );
    });
    let theirs = bench.service.put("root", "f (2).txt", b"content");
    let not_now = Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None));
    bench.service.fault("whole", not_now);
    bench.service.fault("whole", NOT_ARRIVED);
    let slow = |options: &mut lockerfs::upload::Options| {
        options.pace.transfers = 1;
        options.retry_min = Duration::from_millis(400);
    };
    bench.life_with(slow, async |life| life.drained().await);
    assert_eq!(bench.service.file(&theirs).unwrap().name, "f (2).txt");
    let mut expected = vec![("elsewhere/first".to_owned(), b"first".to_vec())];
    expected.extend(only("f (2).txt", b"content"));
    expected.extend(only("f.txt", b"content"));
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn an_upload_of_another_account_with_the_same_id_is_not_in_the_way() {
    let bench = Bench::plain();
    bench.other_service.fault("whole", Fault::LoseReply);
    bench.life(async |life| {
        let id = life.add("first.txt", b"first").await;
        let first = life.uploaded(id).await;
        let there = NewPending {
            account: OTHER_ACCOUNT.into(),
            ..new("f.txt", None)
        };
        let id = life.uploads.commit(&life.write(b"content"), there).await.unwrap();
        assert_eq!(life.uploaded(id).await.id, first.id);
    });
    assert_eq!(bench.other_service.files(), only("f.txt", b"content"));
    assert_eq!(bench.other_service.calls("whole"), 1);
}
