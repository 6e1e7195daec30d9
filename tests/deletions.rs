//! What is removed is gone here at once and on the service in the end, whatever breaks; and what the service
//! refuses comes back.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::{Duration, Instant, SystemTime};

use lockerfs::provider::{Capability, DeleteMode, ErrorKind, FileId, FolderId, ItemId, Retry};
use lockerfs::state::{DeletionRow, ItemKey, JournalTransaction};
use lockerfs::upload::{
    OperationId, OperationKind, OperationState, PendingOperation, Unwanted, UploadError, UploadEvent,
};
use upload_bench::memory_provider::Fault;
use upload_bench::{Bench, Life, only};

const LONG: Duration = Duration::from_secs(20);

fn root() -> FolderId {
    FolderId::new("root")
}

fn unwanted(name: &str, file: &FileId) -> Unwanted {
    Unwanted {
        account: "media".to_owned(),
        folder: root(),
        name: name.to_owned(),
        item: Some(ItemId::File(file.clone())),
        size: 3,
        mode: DeleteMode::Trash,
    }
}

async fn remove(life: &Life, name: &str, file: &FileId) {
    life.uploads
        .discard_file(None, unwanted(name, file))
        .await
        .unwrap();
}

fn only_operation(life: &Life) -> PendingOperation {
    let operations = life.uploads.operations();
    assert_eq!(operations.len(), 1, "{operations:?}");
    operations.into_iter().next().unwrap()
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

fn is_parked(operation: &PendingOperation) -> bool {
    matches!(operation.state, OperationState::Parked { .. })
}

#[test]
fn many_that_are_removed_go_in_one_call_where_the_service_takes_many() {
    let bench = Bench::new(0, false);
    bench.service.take_many();
    let files: Vec<_> = (0..500)
        .map(|at| bench.service.put("root", &format!("{at}"), b"old"))
        .collect();
    bench.life(async |life| {
        for (at, file) in files.iter().enumerate() {
            remove(life, &at.to_string(), file).await;
        }
        life.uploads
            .wait_until_emptied("media", &root(), LONG)
            .await
            .unwrap();
        assert!(life.uploads.operations().is_empty());
        assert_eq!(life.uploads.unfinished(), 0);
    });
    assert!(bench.service.files().is_empty());
    assert_eq!(bench.service.trash().len(), 500);
    assert!(
        bench.service.calls("delete") <= 2,
        "{}",
        bench.service.calls("delete")
    );
}

#[test]
fn what_was_removed_before_a_kill_is_deleted_in_the_next_life() {
    for many in [false, true] {
        let bench = Bench::new(0, false);
        if many {
            bench.service.take_many();
        }
        let files: Vec<_> = (0..40)
            .map(|at| bench.service.put("root", &format!("{at}"), b"old"))
            .collect();
        let gate = bench.service.pause_before("delete");
        bench.life(async |life| {
            for (at, file) in files.iter().enumerate() {
                remove(life, &at.to_string(), file).await;
            }
            gate.reached().await;
        });
        // Of calls that go side by side, one stood still.
        assert!(bench.service.files().len() >= 37);
        bench.life(async |life| {
            assert!(life.uploads.operations().len() <= 40);
            let watch = life.uploads.watch_deletions("media");
            let items: Vec<_> = files.iter().cloned().map(ItemId::File).collect();
            assert!(watch.are_gone(items.iter()).into_iter().all(|gone| gone));
            life.drained().await;
        });
        assert!(bench.service.files().is_empty(), "many: {many}");
    }
}

#[test]
fn one_that_is_gone_already_is_deleted() {
    let bench = Bench::new(0, false);
    let file = bench.service.put("root", "a", b"old");
    bench.life(async |life| {
        bench.service.remove(&file);
        bench
            .service
            .fault("delete", Fault::Fail(ErrorKind::NotFound, Retry::Never));
        remove(life, "a", &file).await;
        life.drained().await;
    });
}

#[test]
fn a_lost_answer_and_an_outage_are_told_and_tried_again() {
    let bench = Bench::new(0, false);
    bench.service.take_many();
    let file = bench.service.put("root", "a", b"old");
    let away = Fault::Fail(
        ErrorKind::Unavailable,
        Retry::AfterWait(Some(Duration::from_secs(30))),
    );
    bench.service.fault("delete", away);
    bench.service.fault("delete", Fault::LoseReply);
    bench.life(async |life| {
        remove(life, "a", &file).await;
        until("it waits", || {
            matches!(only_operation(life).state, OperationState::Waiting { .. })
        })
        .await;
        let waits = only_operation(life);
        assert_eq!(
            (waits.kind, waits.name.as_str(), waits.tries),
            (OperationKind::Delete, "a", 1)
        );
        // Who needs the place need not wait for the next try, and hears of the failure.
        let failed = life.uploads.wait_until_cleared("media", &root(), "a", LONG).await;
        assert!(
            matches!(failed, Err(UploadError::NotDeleted { .. })),
            "{failed:?}"
        );
        life.drained().await;
    });
    assert!(bench.service.files().is_empty());
    assert_eq!(bench.service.trash().len(), 1);
}

#[test]
fn of_many_only_what_the_service_refuses_comes_back() {
    for many in [false, true] {
        let bench = Bench::new(0, false);
        if many {
            bench.service.take_many();
        }
        let files: Vec<_> = (0..50)
            .map(|at| bench.service.put("root", &format!("{at}"), b"old"))
            .collect();
        bench.service.keep(&[files[7].clone(), files[33].clone()]);
        bench.life(async |life| {
            for (at, file) in files.iter().enumerate() {
                remove(life, &at.to_string(), file).await;
            }
            life.uploads.drain().await;
            let parked = life.uploads.operations();
            assert_eq!(parked.len(), 2, "many: {many}: {parked:?}");
            assert!(parked.iter().all(is_parked), "{parked:?}");
            assert_eq!(life.uploads.unfinished(), 2);
            for operation in &parked {
                assert!(["7", "33"].contains(&operation.name.as_str()), "{operation:?}");
            }
            let watch = life.uploads.watch_deletions("media");
            let items = [ItemId::File(files[7].clone()), ItemId::File(files[8].clone())];
            assert_eq!(watch.are_gone(items.iter()), [false, false]);
            let mut told = 0;
            while told < 2 {
                if let Some(UploadEvent::Deletion { shown, size, .. }) = life.events.recv().await {
                    assert_eq!((shown, size), (true, 3));
                    told += 1;
                }
            }
        });
        assert_eq!(bench.service.files().len(), 2);
        // A parked one waits for a person in the next life, too.
        bench.life(async |life| {
            life.uploads.drain().await;
            let parked = life.uploads.operations();
            assert!(parked.len() == 2 && parked.iter().all(is_parked), "{parked:?}");
            bench.service.keep(&[]);
            assert!(life.uploads.retry_operation(parked[0].id).await.unwrap());
            life.uploads.drain().await;
            assert!(life.uploads.cancel_operation(parked[1].id).await.unwrap());
            assert!(!life.uploads.cancel_operation(parked[1].id).await.unwrap());
            assert!(
                !life
                    .uploads
                    .retry_operation(OperationId::Delete(9999))
                    .await
                    .unwrap()
            );
            life.drained().await;
        });
        assert_eq!(bench.service.files().len(), 1);
    }
}

#[test]
fn one_that_is_given_up_before_the_service_was_told_stays() {
    let bench = Bench::new(0, false);
    let file = bench.service.put("root", "a", b"old");
    let away = Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(Some(LONG)));
    bench.service.fault("delete", away);
    bench.life(async |life| {
        remove(life, "a", &file).await;
        until("it waits", || {
            matches!(only_operation(life).state, OperationState::Waiting { .. })
        })
        .await;
        let id = only_operation(life).id;
        assert!(life.uploads.cancel_operation(id).await.unwrap());
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("a", b"old"));
}

#[test]
fn a_new_file_of_the_name_waits_until_the_old_one_is_deleted() {
    for plain in [false, true] {
        let bench = if plain {
            Bench::plain()
        } else {
            Bench::new(0, false)
        };
        let file = bench.service.put("root", "a", b"old");
        let gate = bench.service.pause_before("delete");
        bench.life(async |life| {
            remove(life, "a", &file).await;
            let id = life.add("a", b"new").await;
            gate.reached().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(bench.service.calls("begin") + bench.service.calls("whole"), 0);
            gate.open();
            life.uploaded(id).await;
            life.drained().await;
        });
        assert_eq!(bench.service.files(), only("a", b"new"));
        assert_eq!(bench.service.trash(), [b"old"]);
    }
}

#[test]
fn a_refused_deletion_keeps_no_new_file_from_its_place() {
    let bench = Bench::new(0, false);
    let file = bench.service.put("root", "a", b"old");
    bench.service.keep(std::slice::from_ref(&file));
    bench.life(async |life| {
        remove(life, "a", &file).await;
        let id = life.add("a", b"new").await;
        life.uploaded(id).await;
    });
    let contents: Vec<_> = bench
        .service
        .files()
        .into_iter()
        .map(|(_, content)| content)
        .collect();
    assert_eq!(contents.len(), 2, "{:?}", bench.service.files());
    assert!(contents.contains(&b"old".to_vec()) && contents.contains(&b"new".to_vec()));
}

#[test]
fn a_pending_file_goes_with_all_that_it_stood_for() {
    let bench = Bench::new(0, false);
    let (old, older) = (
        bench.service.put("root", "a", b"old"),
        bench.service.put("root", "b", b"older"),
    );
    bench.life_with(
        |options| options.pace.upload_delay = Duration::from_secs(3600),
        async |life| {
            let id = life.add_over("a", b"new", &old).await;
            let replaces = Some(Some(older.clone()));
            life.uploads
                .rename(id, root(), "b".into(), replaces, None)
                .await
                .unwrap();
            life.uploads
                .discard_file(Some(id), unwanted("b", &older))
                .await
                .unwrap();
            let gone = life.uploads.discard_file(Some(id), unwanted("b", &older)).await;
            assert!(matches!(gone, Err(UploadError::Gone)), "{gone:?}");
            assert!(life.uploads.pending().is_empty());
            life.drained().await;
        },
    );
    assert!(bench.service.files().is_empty(), "{:?}", bench.service.files());
    assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 0));
}

#[test]
fn a_listing_that_comes_late_shows_nothing_that_went_meanwhile() {
    let bench = Bench::new(0, false);
    let file = bench.service.put("root", "a", b"old");
    bench.life(async |life| {
        let items = [ItemId::File(file.clone())];
        let before = life.uploads.watch_deletions("media");
        remove(life, "a", &file).await;
        life.drained().await;
        assert_eq!(before.are_gone(items.iter()), [true]);
        // One that is asked for now is right: the file may have been restored.
        let after = life.uploads.watch_deletions("media");
        assert_eq!(after.are_gone(items.iter()), [false]);
    });
}

#[test]
fn an_account_that_cannot_delete_is_told_so() {
    let bench = Bench::new(0, false);
    let file = bench.service.put("root", "a", b"old");
    bench.service.withdraw(Capability::Trash);
    let refused = Fault::Fail(ErrorKind::Unsupported, Retry::Never);
    bench.service.fault("delete", refused);
    bench.life(async |life| {
        remove(life, "a", &file).await;
        life.uploads.drain().await;
        assert!(is_parked(&only_operation(life)));
    });
}

#[test]
fn a_file_that_came_back_and_is_written_anew_is_not_deleted_by_a_later_retry() {
    for keeps_ids in [true, false] {
        let bench = Bench::new(0, keeps_ids);
        let file = bench.service.put("root", "a", b"old");
        bench.service.keep(std::slice::from_ref(&file));
        bench.life(async |life| {
            remove(life, "a", &file).await;
            life.uploads.drain().await;
            let parked = only_operation(life);
            assert!(is_parked(&parked));
            bench.service.keep(&[]);
            let id = life.add_over("a", b"new", &file).await;
            assert!(life.uploads.operations().is_empty());
            assert!(!life.uploads.retry_operation(parked.id).await.unwrap());
            life.uploaded(id).await;
            life.drained().await;
        });
        assert_eq!(bench.service.files(), only("a", b"new"), "keeps ids: {keeps_ids}");
    }
}

#[test]
fn many_thousand_deletions_are_taken_up_in_a_moment_and_done() {
    const MANY: usize = 20_000;
    let bench = Bench::new(0, false);
    bench.service.take_many();
    let gate = bench.service.pause_before("delete");
    bench.life(async |life| {
        let add = move |journal: &JournalTransaction<'_>| {
            for at in 0..MANY {
                journal.add_deletion(&DeletionRow {
                    id: 0,
                    account: "media".into(),
                    item: ItemKey::File(format!("gone{at}")),
                    folder: format!("folder{}", at % 100).into(),
                    name: format!("{at}.txt").into(),
                    size: 1,
                    purge: false,
                    parked: false,
                    tries: 0,
                    next_try: None,
                    last_error: None,
                    created: SystemTime::now(),
                })?;
            }
            Ok(())
        };
        life.database.journal("add many", add, |()| {}).await.unwrap();
    });
    let began = Instant::now();
    bench.life(async |life| {
        let ready = began.elapsed();
        println!("ready after {ready:?}");
        assert!(ready < Duration::from_secs(5), "{ready:?}");
        assert_eq!(life.uploads.unfinished(), MANY);
        gate.open();
        life.drained().await;
    });
    println!("all was deleted after {:?}", began.elapsed());
    assert!(bench.service.calls("delete") <= MANY / 500 + 1);
}
