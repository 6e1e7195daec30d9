//! A rename that was begun ends with one file of the name, whatever breaks between its steps.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::sync::Mutex;
use std::time::Duration;

use lockerfs::provider::{DeleteMode, ErrorKind, FileId, FolderId, ItemId, Provider, Retry};
use lockerfs::upload::{
    NewRename, Noted, OperationKind, OperationState, PendingId, RenameIntent, Unwanted, UploadError,
    UploadEvent,
};
use upload_bench::memory_provider::{Fault, MemoryProvider};
use upload_bench::{Bench, Life, only};

const LONG: Duration = Duration::from_secs(20);

fn place(name: &str) -> (FolderId, String) {
    (FolderId::new("root"), name.to_owned())
}

fn file(id: &FileId) -> ItemId {
    ItemId::File(id.clone())
}

fn unwanted(name: &str, id: &FileId) -> Unwanted {
    Unwanted {
        account: "media".to_owned(),
        folder: FolderId::new("root"),
        name: name.to_owned(),
        item: Some(file(id)),
        size: 3,
        mode: DeleteMode::Trash,
    }
}

/// The rename of `new` to the name of `old`, which it replaces.
fn over(new: &FileId, old: &FileId) -> NewRename {
    NewRename {
        account: "media".to_owned(),
        item: file(new),
        from: place("new"),
        to: place("old"),
        mtime: None,
        pending: None,
        target: Some((unwanted("old", old), None)),
        in_place: false,
    }
}

async fn first_step(bench: &Bench, new: &FileId) {
    let provider = MemoryProvider::new(bench.service.clone());
    provider.rename(&file(new), "old", None).await.unwrap();
}

/// A rename of `new` over `old` whose first step was taken and noted.
async fn begun(bench: &Bench, life: &Life, new: &FileId, old: &FileId) -> RenameIntent {
    let intent = life.uploads.begin_rename(over(new, old)).await.unwrap();
    first_step(bench, new).await;
    let noted = intent.begun(Some((unwanted("old", old), None))).await.unwrap();
    assert_eq!(noted, Noted::Begun);
    intent
}

fn two_files(bench: &Bench) -> (FileId, FileId) {
    let old = bench.service.put("root", "old", b"old");
    (bench.service.put("root", "new", b"new"), old)
}

#[test]
fn killed_before_its_first_step_nothing_is_renamed() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        std::mem::forget(life.uploads.begin_rename(over(&new, &old)).await.unwrap());
        assert_eq!(life.uploads.operations().len(), 1);
    });
    let before = bench.service.files();
    bench.life(async |life| life.drained().await);
    assert_eq!((bench.service.files().len(), bench.service.files()), (2, before));
}

#[test]
fn killed_after_its_first_step_it_is_finished_in_the_next_life() {
    for (is_noted, numbers_twins) in [(false, false), (true, false), (false, true), (true, true)] {
        let bench = Bench::new(0, false);
        if numbers_twins {
            bench.service.number_twins();
        }
        let (new, old) = two_files(&bench);
        let gate = bench.service.pause_before("delete");
        bench.life(async |life| {
            let intent = life.uploads.begin_rename(over(&new, &old)).await.unwrap();
            first_step(&bench, &new).await;
            if is_noted {
                let noted = intent.begun(Some((unwanted("old", &old), None))).await.unwrap();
                assert_eq!(noted, Noted::Begun);
                gate.reached().await;
            }
            std::mem::forget(intent);
        });
        gate.open();
        assert_eq!(bench.service.files().len(), 2, "never neither");
        bench.life(async |life| {
            life.drained().await;
            assert!(life.uploads.operations().is_empty());
        });
        assert_eq!(
            bench.service.files(),
            only("old", b"new"),
            "{is_noted} {numbers_twins}"
        );
        assert_eq!(bench.service.trash(), [b"old"]);
    }
}

#[test]
fn a_file_of_which_the_service_tells_nothing_sensible_is_not_taken_for_one_that_is_gone() {
    let bench = Bench::new(0, false);
    bench.service.tell_of_one();
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        let intent = life.uploads.begin_rename(over(&new, &old)).await.unwrap();
        first_step(&bench, &new).await;
        std::mem::forget(intent);
    });
    bench.life(async |life| life.drained().await);
    assert_eq!(bench.service.files(), only("old", b"new"));
}

#[test]
fn what_a_rename_would_replace_stays_where_the_upload_of_its_source_makes_another_file_of_it() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    let held = bench.service.pause_before("begin");
    let row = Mutex::new(None);
    bench.life(async |life| {
        let pending = life.add_over("new", b"newer", &new).await;
        *row.lock().unwrap() = Some(pending);
        held.reached().await;
        let along = NewRename {
            pending: Some(pending),
            ..over(&new, &old)
        };
        let intent = life.uploads.begin_rename(along).await.unwrap();
        first_step(&bench, &new).await;
        std::mem::forget(intent);
    });
    held.open();
    // The rename is looked up first, and only then the upload ends.
    let held = bench.service.pause_before("begin");
    let found = bench.service.pause_after("info");
    bench.life(async |life| {
        found.reached().await;
        held.open();
        let pending = row.lock().unwrap().expect("it was added");
        life.uploaded(pending).await;
        found.open();
        life.drained().await;
    });
    let mut left = [only("new", b"newer"), only("old", b"old")].concat();
    left.sort();
    assert_eq!(bench.service.files(), left);
}

#[test]
fn a_source_that_was_uploaded_this_moment_keeps_its_rename() {
    for is_killed in [false, true] {
        let bench = Bench::new(0, true);
        let (new, old) = two_files(&bench);
        let sent = bench.service.pause_after("whole");
        bench.life(async |life| {
            let pending = life.add_over("new", b"newer", &new).await;
            sent.reached().await;
            let along = NewRename {
                pending: Some(pending),
                ..over(&new, &old)
            };
            let intent = life.uploads.begin_rename(along).await.unwrap();
            first_step(&bench, &new).await;
            sent.open();
            life.uploaded(pending).await;
            let target = Some((unwanted("old", &old), None));
            let noted = intent.begun(target.clone()).await.unwrap();
            assert_eq!(noted, Noted::SourceEnded);
            if is_killed {
                std::mem::forget(intent);
                return;
            }
            let anew = life.uploads.begin_rename_anew(over(&new, &old), Some(intent));
            let intent = anew.await.unwrap();
            assert_eq!(life.uploads.operations().len(), 1);
            first_step(&bench, &new).await;
            assert_eq!(intent.begun(target).await.unwrap(), Noted::Begun);
            intent.finish(LONG).await.unwrap();
        });
        bench.life(async |life| life.drained().await);
        assert_eq!(bench.service.files(), only("old", b"newer"), "{is_killed}");
        assert_eq!(bench.service.trash(), [b"old"]);
    }
}

#[test]
fn a_name_that_was_taken_until_the_last_step_is_given_in_the_end() {
    let bench = Bench::new(0, false);
    bench.service.number_twins();
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        let intent = life.uploads.begin_rename(over(&new, &old)).await.unwrap();
        first_step(&bench, &new).await;
        let another = bench.service.pause_before("rename");
        intent.begun(Some((unwanted("old", &old), None))).await.unwrap();
        let finished = tokio::spawn(intent.finish(LONG));
        another.reached().await;
        let holder = bench.service.put("root", "old", b"another's");
        let taken = bench.service.pause_after("rename");
        another.open();
        taken.reached().await;
        bench.service.remove(&holder);
        taken.open();
        let told = finished.await.unwrap();
        assert!(
            matches!(told, Err(UploadError::NotRenamed { parked: false, .. })),
            "{told:?}"
        );
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("old", b"new"));
}

#[test]
fn an_owner_that_goes_away_leaves_it_to_be_looked_up() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        drop(life.uploads.begin_rename(over(&new, &old)).await.unwrap());
        life.drained().await;
        assert_eq!(bench.service.files().len(), 2);
        let intent = life.uploads.begin_rename(over(&new, &old)).await.unwrap();
        first_step(&bench, &new).await;
        drop(intent);
        life.drained().await;
        assert_eq!(bench.service.files(), only("old", b"new"));
        let told = async {
            loop {
                if let Some(UploadEvent::Renamed { folders, .. }) = life.events.recv().await {
                    return folders;
                }
            }
        };
        assert_eq!(told.await[0], FolderId::new("root"));
    });
}

#[test]
fn a_last_step_that_fails_for_now_is_told_and_done_later() {
    let bench = Bench::new(0, false);
    bench.service.number_twins();
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        let intent = begun(&bench, life, &new, &old).await;
        let away = Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(Some(LONG)));
        bench.service.fault("rename", away);
        assert_eq!(life.uploads.names_to_come("media")[&file(&new)], "old");
        let failed = intent.finish(LONG).await;
        assert!(
            matches!(failed, Err(UploadError::NotRenamed { parked: false, .. })),
            "{failed:?}"
        );
        let waits = life.uploads.operations();
        assert_eq!(
            (waits.len(), waits[0].kind, waits[0].tries),
            (1, OperationKind::Rename, 1)
        );
        assert!(
            matches!(waits[0].state, OperationState::Waiting { .. }),
            "{waits:?}"
        );
        assert_eq!(waits[0].to, Some(place("old")));
        assert!(life.uploads.retry_operation(waits[0].id).await.unwrap());
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("old", b"new"));
}

#[test]
fn a_refused_last_step_waits_for_a_person_who_may_give_it_up() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        let intent = begun(&bench, life, &new, &old).await;
        let refused = Fault::Fail(ErrorKind::InvalidName, Retry::Never);
        bench.service.fault("rename", refused);
        let failed = intent.finish(LONG).await;
        assert!(
            matches!(failed, Err(UploadError::NotRenamed { parked: true, .. })),
            "{failed:?}"
        );
        life.uploads.drain().await;
        let parked = life.uploads.operations();
        assert_eq!((parked.len(), life.uploads.unfinished()), (1, 1));
        assert!(life.uploads.names_to_come("media").is_empty());
        assert!(life.uploads.cancel_operation(parked[0].id).await.unwrap());
        life.drained().await;
    });
}

#[test]
fn a_pending_file_is_renamed_along_or_the_rename_is_begun_anew() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    bench.life_with(
        |options| options.pace.upload_delay = Duration::from_secs(3600),
        async |life| {
            let id = life.add_over("new", b"newer", &new).await;
            let rename = |pending: PendingId| NewRename {
                pending: Some(pending),
                ..over(&new, &old)
            };
            let intent = life.uploads.begin_rename(rename(id)).await.unwrap();
            first_step(&bench, &new).await;
            intent.begun(Some((unwanted("old", &old), None))).await.unwrap();
            assert_eq!(life.uploads.get(id).unwrap().name, "old");
            intent.finish(LONG).await.unwrap();
            life.drained().await;
            let gone = life.uploads.begin_rename(rename(id)).await.unwrap();
            assert_eq!(gone.begun(None).await.unwrap(), Noted::SourceEnded);
        },
    );
    assert_eq!(bench.service.files(), only("old", b"newer"));
}

#[test]
fn what_is_removed_is_not_renamed_any_more() {
    let bench = Bench::new(0, false);
    let (new, old) = two_files(&bench);
    bench.life(async |life| {
        let intent = life.uploads.begin_rename(over(&new, &old)).await.unwrap();
        life.uploads
            .discard_file(None, unwanted("new", &new))
            .await
            .unwrap();
        assert_eq!(life.uploads.operations().len(), 1);
        drop(intent);
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("old", b"old"));
}
