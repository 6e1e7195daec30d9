//! What the uploads promise on a host that tells no hash and numbers twins, after an answer was lost: what
//! others put there is left alone, and nothing of ours is left twice.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::Duration;

use lockerfs::provider::{ErrorKind, FolderId, Retry};
use lockerfs::upload::{NewPending, Options, PendingFile, UploadStatus};
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
    let slow = |options: &mut Options| {
        options.pace.workers = 1;
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

#[test]
fn what_the_host_is_still_at_work_on_is_waited_for() {
    let bench = Bench::plain();
    bench.service.fault("whole", NOT_ARRIVED);
    let slow = |options: &mut Options| options.late_rate = 1;
    bench.life_with(slow, async |life| {
        let id = life.add("f.txt", &[7; 100]).await;
        let lost = |file: &PendingFile| match &file.status {
            UploadStatus::Waiting { error, .. } => error.contains("still be at work"),
            _ => false,
        };
        life.until(id, lost).await;
        bench.service.put("root", "f.txt", &[7; 100]);
        assert!(life.uploads.retry(id).await.unwrap());
        life.uploaded(id).await;
    });
    assert_eq!(bench.service.files(), only("f.txt", &[7; 100]));
    assert_eq!(bench.service.calls("whole"), 1);
}

#[test]
fn what_never_comes_is_not_waited_for_forever() {
    let bench = Bench::plain();
    bench.service.fault("whole", NOT_ARRIVED);
    let change = |options: &mut Options| {
        options.late_rate = 1;
        options.late_limit = Duration::from_millis(50);
    };
    bench.life_with(change, async |life| {
        life.add("f.txt", &[7; 100]).await;
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("f.txt", &[7; 100]));
}

#[test]
fn what_was_sent_twice_is_there_once_in_the_end() {
    for (replaced, crash) in [(false, false), (true, false), (true, true)] {
        let bench = Bench::plain();
        let old = replaced.then(|| bench.service.put("root", "f.txt", b"old"));
        bench.service.fault("whole", NOT_ARRIVED);
        let again = bench.service.pause_before("whole");
        bench.life(async |life| {
            let staged = life.write(b"content");
            life.uploads.commit(&staged, new("f.txt", old)).await.unwrap();
            again.reached().await;
            let late = if replaced { "f (2).txt" } else { "f.txt" };
            bench.service.put("root", late, b"content");
            let deletes = bench.service.pause_before("delete");
            again.open();
            deletes.reached().await;
            if !crash {
                deletes.open();
                life.drained().await;
            }
        });
        bench.service.clear_faults();
        bench.life(async |life| life.drained().await);
        let context = format!("replaced {replaced}, crash {crash}");
        assert_eq!(bench.service.files(), only("f.txt", b"content"), "{context}");
        assert_eq!(bench.service.calls("whole"), 2, "{context}");
    }
}

#[test]
fn a_twin_leaves_with_a_file_that_is_removed_while_it_is_looked_for() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"old");
    bench.service.fault("whole", NOT_ARRIVED);
    let again = bench.service.pause_before("whole");
    bench.life(async |life| {
        let id = life.add_over("f.txt", b"content", &old).await;
        again.reached().await;
        bench.service.put("root", "f (2).txt", b"content");
        let read = bench.service.pause_before("read");
        again.open();
        read.reached().await;
        let shown = life.uploads.remove(id).await.unwrap();
        assert_eq!(shown, [old]);
        read.open();
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("f.txt", b"old"));
}

#[test]
fn what_goes_with_an_upload_is_told() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"old");
    bench.service.fault("whole", NOT_ARRIVED);
    let again = bench.service.pause_before("whole");
    let twin = bench.life(async |life| {
        let id = life.add_over("f.txt", b"content", &old).await;
        again.reached().await;
        let twin = bench.service.put("root", "f (2).txt", b"content");
        let delete = bench.service.pause_before("delete");
        again.open();
        delete.reached().await;
        let file = life.uploads.get(id).unwrap();
        assert_eq!((file.replaces, file.superseded), (Some(old), vec![twin.clone()]));
        delete.open();
        life.drained().await;
        twin
    });
    assert_eq!(bench.service.file(&twin), None);
}

#[test]
fn a_removed_file_lets_its_name_go_although_what_may_be_left_cannot_be_read() {
    for retry in [Retry::Never, Retry::OutcomeUnknown] {
        let bench = Bench::plain();
        let gate = bench.service.pause_after("whole");
        for _ in 0..1000 {
            bench
                .service
                .fault("read", Fault::Fail(ErrorKind::Unavailable, retry));
        }
        bench.life(async |life| {
            let id = life.add("f.txt", b"content").await;
            gate.reached().await;
            life.uploads.remove(id).await.unwrap();
        });
        bench.life(async |life| {
            life.uploads.drain().await;
            let later = life.add("f.txt", b"later").await;
            life.uploaded(later).await;
        });
        assert!(bench.service.calls("read") < 40, "{retry:?}");
        // The upload of the later one found the name taken.
        let stored: Vec<_> = bench
            .service
            .files()
            .into_iter()
            .map(|(_, content)| content)
            .collect();
        assert_eq!(stored, [&b"content"[..], b"later"], "{retry:?}");
    }
}

#[test]
fn a_large_content_that_was_removed_is_not_sent_to_its_end() {
    let bench = Bench::plain();
    let gate = bench.service.pause_before("whole");
    let at_once = |options: &mut Options| options.late_limit = Duration::ZERO;
    bench.life_with(at_once, async |life| {
        let id = life.add("f.iso", &vec![1; 5 << 20]).await;
        gate.reached().await;
        life.uploads.remove(id).await.unwrap();
        // The gate stays shut.
        life.drained().await;
    });
    assert!(bench.service.files().is_empty());
}

#[test]
fn what_was_sent_twice_is_there_once_although_the_second_was_stored_wrong() {
    let bench = Bench::plain();
    bench.service.fault("whole", NOT_ARRIVED);
    bench.service.fault("whole", Fault::StoreWrong);
    let look = bench.service.pause_after("look");
    bench.life(async |life| {
        life.add("f.txt", b"content").await;
        look.reached().await;
        bench.service.put("root", "f.txt", b"content");
        look.open();
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("f.txt", b"content"));
    assert_eq!(bench.service.calls("whole"), 3);
}

#[test]
fn an_equal_file_that_was_uploaded_before_a_crash_is_not_taken_for_a_copy() {
    let bench = Bench::plain();
    let gate = bench.service.pause_before("whole");
    let other = bench.life(async |life| {
        life.add("f.txt", b"content").await;
        gate.reached().await;
        // Nobody told its hash: it was found after its answer was lost.
        bench.service.fault("whole", Fault::LoseReply);
        let other = life.add("f (2).txt", b"content").await;
        life.uploaded(other).await.id
    });
    bench.life(async |life| life.drained().await);
    assert_eq!(
        bench.service.file(&other).map(|file| file.name),
        Some("f (2).txt".to_owned())
    );
    let mut expected = only("f (2).txt", b"content");
    expected.extend(only("f.txt", b"content"));
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn what_was_sent_under_a_taken_name_is_found_after_the_name_is_free_again() {
    let bench = Bench::plain();
    let holder = bench.service.put("root", "f.txt", b"another's");
    let stored = bench.service.pause_after("whole");
    bench.life(async |life| {
        life.add("f.txt", b"content").await;
        stored.reached().await;
    });
    stored.open();
    bench.service.remove(&holder);
    bench.life(async |life| life.drained().await);
    assert_eq!(bench.service.files(), only("f.txt", b"content"));
    assert_eq!(bench.service.calls("whole"), 1);
}
