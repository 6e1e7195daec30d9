//! What the uploads promise of places: in the end each file stands under the name and in the folder that it was given
//! last, and nothing that came there meanwhile is overwritten.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::{Duration, SystemTime};

use lockerfs::provider::{ErrorKind, FolderId, Retry};
use lockerfs::upload::{Hold, Options, PendingFile, PendingId, UploadError, UploadStatus};
use upload_bench::memory_provider::{Fault, Gate};
use upload_bench::{Bench, Life, only};

#[test]
fn a_rename_during_the_upload_is_caught_up_with() {
    for operation in ["begin", "whole", "poll"] {
        let bench = Bench::new(2, false);
        let gate = bench.service.pause_after(operation);
        bench.life(async |life| {
            let id = life.add("before", b"content").await;
            gate.reached().await;
            let folder = FolderId::new("elsewhere");
            life.uploads
                .rename(id, folder, "after".into(), None, None)
                .await
                .unwrap();
            let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_200_000_000);
            life.uploads.set_mtime(id, later).await.unwrap();
            gate.open();
            let entry = life.uploaded(id).await;
            assert_eq!(
                (entry.name.as_str(), entry.mtime),
                ("after", Some(later)),
                "{operation}"
            );
            assert_eq!(bench.service.file(&entry.id).unwrap().mtime, later);
        });
        assert_eq!(
            bench.service.files(),
            [("elsewhere/after".to_owned(), b"content".to_vec())]
        );
        assert_eq!(bench.service.calls("whole"), 1);
    }
}

#[test]
fn a_rename_over_a_pending_file_leaves_one() {
    for in_flight in [false, true] {
        let bench = Bench::new(1, false);
        let old = bench.service.put("root", "target", b"oldest");
        let gate = in_flight.then(|| bench.service.pause_after("whole"));
        bench.life_with(
            |options| options.pace.upload_delay = Duration::from_millis(200),
            async |life| {
                let target = life.add_over("target", b"older", &old).await;
                if let Some(gate) = &gate {
                    gate.reached().await;
                }
                let id = life.add("temporary", b"newest").await;
                let root = FolderId::new("root");
                life.uploads
                    .rename(id, root, "target".into(), None, Some(target))
                    .await
                    .unwrap();
                assert_eq!(life.uploads.get(target), None);
                assert_eq!(life.uploads.get(id).unwrap().replaces, Some(old.clone()));
                gate.inspect(|gate| gate.open());
                life.uploads.drain().await;
                assert!(life.uploads.pending().is_empty());
            },
        );
        assert_eq!(
            bench.service.files(),
            only("target", b"newest"),
            "in flight {in_flight}"
        );
    }
}

#[test]
fn a_rename_over_a_file_that_was_uploaded_this_moment_is_told_so_and_changes_nothing() {
    let bench = Bench::new(1, false);
    bench.life_with(
        |options| options.pace.upload_delay = Duration::from_millis(500),
        async |life| {
            let target = life.add("target", b"old").await;
            life.uploaded(target).await;
            let id = life.add("temporary", b"new").await;
            let root = FolderId::new("root");
            let renamed = life
                .uploads
                .rename(id, root, "target".into(), None, Some(target))
                .await;
            assert!(matches!(renamed, Err(UploadError::Gone)), "{renamed:?}");
            assert_eq!(life.uploads.get(id).unwrap().name, "temporary");
        },
    );
}

#[test]
fn a_file_that_is_renamed_while_it_is_sent_bears_its_name_although_the_service_found_it_taken() {
    let bench = Bench::new(1, false);
    bench.service.number_twins();
    let sent = bench.service.pause_after("whole");
    bench.life(async |life| {
        let id = life.add("temporary", b"ours").await;
        sent.reached().await;
        bench.service.put("root", "name", b"another's");
        let root = FolderId::new("root");
        life.uploads
            .rename(id, root, "name".into(), None, None)
            .await
            .unwrap();
        sent.open();
        life.drained().await;
    });
    let files = bench.service.files();
    let ours: Vec<_> = files.iter().filter(|(_, content)| content == b"ours").collect();
    assert_eq!(ours, [&("root/name".to_owned(), b"ours".to_vec())], "{files:?}");
    assert!(
        files
            .iter()
            .any(|(name, content)| name.contains("conflict") && content == b"another's")
    );
}

#[test]
fn what_went_to_the_trash_with_the_folder_that_it_was_sent_to_is_sent_again() {
    let bench = Bench::new(1, false);
    let sent = bench.service.pause_after("whole");
    let in_the_trash = Fault::Fail(ErrorKind::NotFound, Retry::Never);
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        sent.reached().await;
        let folder = FolderId::new("elsewhere");
        life.uploads
            .rename(id, folder, "f".into(), None, None)
            .await
            .unwrap();
        bench.service.fault("move", in_the_trash);
        sent.open();
        life.drained().await;
    });
    let expected = [("elsewhere/f".to_owned(), b"content".to_vec())];
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn a_service_that_numbers_twins_holds_the_name_in_the_end() {
    let bench = Bench::new(0, false);
    bench.service.number_twins();
    let old = bench.service.put("root", "target", b"old");
    let gate = bench.service.pause_after("whole");
    bench.life(async |life| {
        let id = life.add("temporary", b"new").await;
        gate.reached().await;
        let root = FolderId::new("root");
        life.uploads
            .rename(id, root, "target".into(), Some(Some(old)), None)
            .await
            .unwrap();
        gate.open();
        life.uploads.drain().await;
    });
    assert_eq!(bench.service.files(), only("target", b"new"));
}

#[test]
fn what_is_replaced_goes_only_after_the_new_file_has_its_name() {
    let bench = Bench::new(0, false);
    let old = bench.service.put("root", "g", b"old");
    let (sent, delete) = (
        bench.service.pause_after("whole"),
        bench.service.pause_before("delete"),
    );
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        sent.reached().await;
        let root = FolderId::new("root");
        life.uploads
            .rename(id, root, "g".into(), Some(Some(old)), None)
            .await
            .unwrap();
        sent.open();
        delete.reached().await;
        let both = [only("g", b"content"), only("g", b"old")].concat();
        assert_eq!(bench.service.files(), both);
        delete.open();
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("g", b"content"));
}

#[test]
fn the_upload_of_a_file_that_was_renamed_over_does_not_overwrite_what_came_in_its_place() {
    let bench = Bench::new(1, true);
    let old = bench.service.put("root", "target", b"oldest");
    let sent = bench.service.pause_before("whole");
    let delay = |options: &mut Options| options.pace.upload_delay = Duration::from_millis(300);
    bench.life_with(delay, async |life| {
        let target = life.add_over("target", b"older", &old).await;
        sent.reached().await;
        let id = life.add("temporary", b"newest").await;
        for (folder, name, over) in [("root", "target", Some(target)), ("elsewhere", "moved", None)] {
            let renamed = life
                .uploads
                .rename(id, FolderId::new(folder), name.into(), None, over);
            renamed.await.unwrap();
        }
        let elsewhere = FolderId::new("elsewhere");
        let hidden = life
            .uploads
            .own_remains("media", &elsewhere, std::iter::once(&old));
        assert!(hidden.is_empty(), "it is in its place there");
        let early = tokio::time::timeout(Duration::from_millis(1000), life.uploaded(id));
        assert!(early.await.is_err(), "it waits for what may be sent before it");
        sent.open();
        life.drained().await;
    });
    let expected = [("elsewhere/moved".to_owned(), b"newest".to_vec())];
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn what_replaces_a_file_that_went_to_the_trash_is_sent_as_a_new_one() {
    for operation in ["begin", "whole"] {
        let bench = Bench::new(1, true);
        let old = bench.service.put("root", "f", b"old");
        bench
            .service
            .fault(operation, Fault::Fail(ErrorKind::NotFound, Retry::Never));
        bench.life(async |life| {
            life.add_over("f", b"new", &old).await;
            life.drained().await;
        });
        assert_eq!(bench.service.files(), only("f", b"new"), "{operation}");
    }
}

#[test]
fn what_was_on_its_way_to_a_folder_that_is_gone_goes_to_the_one_that_it_was_moved_to() {
    let bench = Bench::new(1, false);
    let announced = bench.service.pause_after("begin");
    bench
        .service
        .fault("whole", Fault::Fail(ErrorKind::NotFound, Retry::Never));
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        announced.reached().await;
        let elsewhere = FolderId::new("elsewhere");
        let renamed = life.uploads.rename(id, elsewhere, "f".into(), None, None);
        renamed.await.unwrap();
        announced.open();
        life.drained().await;
    });
    let expected = [("elsewhere/f".to_owned(), b"content".to_vec())];
    assert_eq!(bench.service.files(), expected);
}

/// A file that was sent as `name` with the content `same`, and is `other` with `newer` since. It is not sent before
/// what comes along is dropped.
async fn renamed_and_rewritten(life: &Life, sent: &Gate) -> (PendingId, Hold) {
    let first = life.add("name", b"same").await;
    sent.reached().await;
    let root = FolderId::new("root");
    let renamed = life.uploads.rename(first, root, "other".into(), None, None);
    renamed.await.unwrap();
    let (staged, held) = life.uploads.rewrite(first).await.unwrap();
    staged.write_at(0, b"newer").unwrap();
    let now = SystemTime::now();
    life.uploads.recommit(first, &staged, now).await.unwrap();
    (first, held)
}

#[test]
fn a_file_that_another_goes_on_with_is_not_taken_for_a_new_one_of_its_former_name_and_content() {
    let bench = Bench::new(1, false);
    let sent = bench.service.pause_after("whole");
    // It keeps its former name until its next content is sent.
    let away = Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None));
    bench.service.fault("rename", away);
    bench.life(async |life| {
        let (_, held) = renamed_and_rewritten(life, &sent).await;
        let second = life.add("name", b"same").await;
        sent.open();
        let early = tokio::time::timeout(Duration::from_millis(1000), life.uploaded(second));
        let was_early = early.await.is_ok();
        drop(held);
        life.drained().await;
        assert!(!was_early, "it took the other one's file");
    });
    let expected = [only("name", b"same"), only("other", b"newer")].concat();
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn nor_is_a_file_with_which_an_upload_that_waits_for_a_person_is_to_go_on() {
    let bench = Bench::new(1, false);
    let sent = bench.service.pause_after("whole");
    bench.life(async |life| {
        let (first, held) = renamed_and_rewritten(life, &sent).await;
        // Neither its new name nor its new content is taken.
        for operation in ["begin", "rename"] {
            let refusal = Fault::Fail(ErrorKind::PermissionDenied, Retry::Never);
            bench.service.fault(operation, refusal);
        }
        drop(held);
        sent.open();
        let is_parked = |file: &PendingFile| matches!(file.status, UploadStatus::Parked { .. });
        life.until(first, is_parked).await;
        let second = life.add("name", b"same").await;
        let early = tokio::time::timeout(Duration::from_millis(1000), life.uploaded(second));
        let was_early = early.await.is_ok();
        while !life.uploads.retry(first).await.unwrap() {}
        life.drained().await;
        assert!(!was_early, "it took the other one's file");
    });
    let expected = [only("name", b"same"), only("other", b"newer")].concat();
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn a_file_that_was_removed_while_it_looked_who_bears_its_name_takes_it_from_nobody() {
    let bench = Bench::new(0, false);
    bench.service.number_twins();
    bench.life(async |life| {
        let sent = bench.service.pause_after("whole");
        let id = life.add("before", b"content").await;
        sent.reached().await;
        let folder = FolderId::new("root");
        let renamed = life.uploads.rename(id, folder, "after".into(), None, None);
        renamed.await.unwrap();
        bench.service.put("root", "after", b"another's");
        let looked = bench.service.pause_after("info");
        sent.open();
        looked.reached().await;
        life.uploads.remove(id).await.unwrap();
        looked.open();
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("after", b"another's"));
}
