//! What the uploads promise on a service that does what it is asked: nothing committed is lost, whatever is
//! renamed, edited or removed meanwhile.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::pin::pin;
use std::time::{Duration, SystemTime};

use lockerfs::provider::{ErrorKind, FolderId, Retry};
use lockerfs::state::JournalTransaction;
use lockerfs::upload::{Base, Hold, Options, PendingFile, PendingId, UploadError, UploadEvent, UploadStatus};
use upload_bench::memory_provider::{Fault, Gate};
use upload_bench::{Bench, Life, long, new, only};

#[test]
fn a_committed_file_is_uploaded_and_then_forgotten() {
    for polls in [0, 3] {
        let bench = Bench::new(polls, false);
        bench.life(async |life| {
            let id = life.add("a.txt", b"hello").await;
            life.add("empty", b"").await;
            life.add("long", &long(5)).await;
            life.uploads.drain().await;
            assert!(life.uploads.pending().is_empty());
            let entry = life.uploads.finished(id).unwrap();
            assert_eq!((entry.name.as_str(), entry.size), ("a.txt", 5));
            assert_eq!(entry.mtime, Some(new("", None).mtime));
            let done = async {
                loop {
                    match life.events.recv().await.unwrap() {
                        UploadEvent::Done { id: done, entry, .. } if done == id => return entry,
                        _ => {}
                    }
                }
            };
            assert_eq!(done.await, entry);
            life.uploads.stop().await;
        });
        assert_eq!(bench.service.files().len(), 3);
        assert_eq!(bench.service.files()[2].1, long(5));
        assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 0));
    }
}

#[test]
fn after_a_crash_before_the_upload_all_files_are_there() {
    let bench = Bench::new(1, false);
    let names: Vec<_> = (0..40).map(|i| format!("file {i:02}")).collect();
    bench.life_with(
        |options| options.pace.upload_delay = Duration::from_secs(3600),
        async |life| {
            let commits = names.iter().map(|name| life.add(name, name.as_bytes()));
            futures_util::future::join_all(commits).await;
        },
    );
    assert!(bench.service.files().is_empty());
    bench.life(async |life| {
        assert_eq!(life.uploads.pending().len(), names.len());
        life.uploads.drain().await;
    });
    let expected: Vec<_> = names
        .iter()
        .map(|name| (format!("root/{name}"), name.as_bytes().to_vec()))
        .collect();
    assert_eq!(bench.service.files(), expected);
}

#[test]
fn unfinished_writes_are_kept_aside_and_lost_contents_are_told() {
    let bench = Bench::new(0, false);
    let id = bench.life_with(
        |options| options.pace.upload_delay = Duration::from_secs(3600),
        async |life| {
            life.write(b"never closed");
            life.uploads.new_staged().unwrap();
            life.add("lost", b"lost").await
        },
    );
    for entry in std::fs::read_dir(bench.folder.path().join("state/staging")).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read(&path).unwrap() == b"lost" {
            std::fs::remove_file(path).unwrap();
        }
    }
    bench.life(async |life| {
        assert!(
            life.parked(id)
                .await
                .contains("missing from the staging directory")
        );
        life.uploads.drain().await;
        life.uploads.remove(id).await.unwrap();
    });
    assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 1));
}

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
fn a_content_that_a_newer_one_replaced_this_moment_does_not_take_its_place_again() {
    const MOMENT: Duration = Duration::from_millis(500);
    let bench = Bench::new(0, true);
    bench.life(async |life| {
        let first = life.write(b"first");
        let (id, hold) = life.uploads.commit_held(&first, new("f", None)).await.unwrap();
        let (older, _hold) = life.uploads.edit(id).await.unwrap();
        older.write_at(0, b"older").unwrap();
        let (newer, _hold) = life.uploads.rewrite(id).await.unwrap();
        newer.write_at(0, b"newer").unwrap();
        // Both wait for the journal before either is in it.
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (go_on, is_free) = std::sync::mpsc::channel::<()>();
        let database = life.database.clone();
        let hindrance = tokio::spawn(async move {
            let wait = move |_: &JournalTransaction<'_>| {
                begun.send(()).unwrap();
                let _ = is_free.recv();
                Ok(())
            };
            database.journal("wait", wait, |()| {}).await
        });
        is_begun.await.unwrap();
        let now = SystemTime::now();
        let mut commits_newer = pin!(life.uploads.recommit(id, &newer, now));
        assert!(tokio::time::timeout(MOMENT, &mut commits_newer).await.is_err());
        let mut commits_older = pin!(life.uploads.recommit(id, &older, now));
        assert!(tokio::time::timeout(MOMENT, &mut commits_older).await.is_err());
        drop(go_on);
        hindrance.await.unwrap().unwrap();
        commits_newer.await.unwrap();
        let told = commits_older.await;
        assert!(matches!(told, Err(UploadError::Outdated)), "{told:?}");
        drop(hold);
    });
    bench.life(async |life| life.drained().await);
    assert_eq!(bench.service.files(), only("f", b"newer"));
}

#[test]
fn a_writer_during_the_upload_gets_a_copy_and_contents_never_mix() {
    for keeps_ids in [false, true] {
        for operation in ["begin", "unit", "poll"] {
            let bench = Bench::new(2, keeps_ids);
            let gate = bench.service.pause_after(operation);
            let first = long(6);
            let mut second = first.clone();
            second[10..14].copy_from_slice(b"EDIT");
            bench.life(async |life| {
                let id = life.add("f", &first).await;
                gate.reached().await;
                let (staged, hold) = life.uploads.edit(id).await.unwrap();
                staged.write_at(10, b"EDIT").unwrap();
                assert_eq!(life.uploads.staged(id).unwrap().read_at(10, 4).unwrap(), b"EDIT");
                life.uploads
                    .recommit(id, &staged, SystemTime::now())
                    .await
                    .unwrap();
                gate.open();
                drop(hold);
                life.uploads.drain().await;
                life.uploads.stop().await;
            });
            assert_eq!(
                bench.service.files(),
                only("f", &second),
                "{operation}, keeps ids {keeps_ids}"
            );
            assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 0));
        }
    }
}

#[test]
fn an_edit_that_changes_nothing_uploads_nothing_again() {
    let bench = Bench::new(1, false);
    let gate = bench.service.pause_after("whole");
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        gate.reached().await;
        let (_staged, hold) = life.uploads.edit(id).await.unwrap();
        gate.open();
        // Held, it stays pending although the service has it.
        assert_eq!(life.uploaded(id).await.size, 7);
        let rests = |file: &PendingFile| file.replaces.is_some() && file.status == UploadStatus::Staged;
        life.until(id, rests).await;
        drop(hold);
        life.uploads.drain().await;
        assert!(life.uploads.finished(id).is_some());
        life.uploads.stop().await;
    });
    assert_eq!(bench.service.calls("whole"), 1);
    assert_eq!(bench.service.files(), only("f", b"content"));
    assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 0));
}

#[test]
fn a_held_file_waits_and_its_writes_are_kept_through_a_crash() {
    let bench = Bench::new(0, false);
    let id = bench.life(async |life| {
        let staged = life.write(b"one");
        let (id, hold) = life.uploads.commit_held(&staged, new("f", None)).await.unwrap();
        life.uploads.drain().await;
        assert!(bench.service.files().is_empty());
        staged.write_at(3, b" two").unwrap();
        life.uploads
            .recommit(id, &staged, SystemTime::now())
            .await
            .unwrap();
        assert_eq!(life.uploads.get(id).unwrap().generation, 2);
        std::mem::forget(hold);
        id
    });
    bench.life(async |life| {
        life.uploads.drain().await;
        assert!(life.uploads.finished(id).is_some() || life.uploads.get(id).is_none());
    });
    assert_eq!(bench.service.files(), only("f", b"one two"));
}

#[test]
fn waiting_uploads_a_file_that_is_held() {
    let bench = Bench::new(1, true);
    bench.life(async |life| {
        let staged = life.write(b"one");
        let (id, hold) = life.uploads.commit_held(&staged, new("f", None)).await.unwrap();
        let first = life.uploaded(id).await;
        assert_eq!(bench.service.files(), only("f", b"one"));
        staged.write_at(3, b" two").unwrap();
        life.uploads
            .recommit(id, &staged, SystemTime::now())
            .await
            .unwrap();
        let second = life.uploaded(id).await;
        assert_eq!((second.id, second.size), (first.id, 7));
        drop(hold);
        life.uploads.drain().await;
        assert!(life.uploads.pending().is_empty());
    });
    assert_eq!(bench.service.files(), only("f", b"one two"));
}

#[test]
fn a_removed_file_leaves_nothing_on_the_service() {
    for crash in [false, true] {
        for (operation, after) in [
            ("begin", true),
            ("whole", false),
            ("whole", true),
            ("poll", false),
        ] {
            let bench = Bench::new(2, false);
            let point = if after {
                bench.service.pause_after(operation)
            } else {
                bench.service.pause_before(operation)
            };
            bench.life(async |life| {
                let id = life.add("f", b"content").await;
                point.reached().await;
                life.uploads.remove(id).await.unwrap();
                assert!(life.uploads.pending().is_empty());
                assert!(matches!(life.uploads.wait(id).await, Err(UploadError::Gone)));
                if !crash {
                    point.open();
                    life.uploads.drain().await;
                }
            });
            bench.life(async |life| {
                life.uploads.drain().await;
                life.uploads.stop().await;
            });
            assert!(
                bench.service.files().is_empty(),
                "{operation}, after {after}, crash {crash}"
            );
            assert_eq!((bench.staged_files(), bench.recovered_files()), (0, 0));
        }
    }
}

#[test]
fn an_edited_remote_file_is_made_whole_before_it_is_sent() {
    for crash in [false, true] {
        let bench = Bench::new(1, true);
        let old = bench.service.put("root", "f", &long(8));
        let mut expected = long(8);
        expected[4000..4005].copy_from_slice(b"local");
        let delay = if crash {
            Duration::from_secs(3600)
        } else {
            Duration::ZERO
        };
        bench.life_with(
            |options| options.pace.upload_delay = delay,
            async |life| {
                let entry = bench.service.entry(&old).unwrap();
                let (size, hash, revision) = (entry.size, entry.hash, entry.revision);
                let staged = life
                    .uploads
                    .staged_from(Base {
                        file: old.clone(),
                        size,
                        hash,
                        revision,
                    })
                    .unwrap();
                staged.write_at(4000, b"local").unwrap();
                staged.fill(0, &long(8)[..100]).unwrap();
                let id = life
                    .uploads
                    .commit(&staged, new("f", Some(old.clone())))
                    .await
                    .unwrap();
                if !crash {
                    life.uploaded(id).await;
                }
            },
        );
        bench.life(async |life| life.uploads.drain().await);
        assert_eq!(
            bench.service.file(&old).unwrap().content,
            expected,
            "crash {crash}"
        );
        assert_eq!(bench.service.files().len(), 1);
    }
}

#[test]
fn a_base_that_changed_is_not_mixed_with_the_edit() {
    let bench = Bench::new(0, true);
    let old = bench.service.put("root", "f", &long(2));
    bench.life(async |life| {
        let entry = bench.service.entry(&old).unwrap();
        let base = Base {
            file: old.clone(),
            size: entry.size,
            hash: entry.hash,
            revision: entry.revision,
        };
        let staged = life.uploads.staged_from(base).unwrap();
        staged.write_at(0, b"local").unwrap();
        let theirs = vec![b'x'; long(2).len()];
        bench.service.change(&old, &theirs);
        let id = life
            .uploads
            .commit(&staged, new("f", Some(old.clone())))
            .await
            .unwrap();
        assert!(
            life.parked(id)
                .await
                .contains("changed on the service since it was opened")
        );
        assert_eq!(bench.service.file(&old).unwrap().content, theirs);
    });
}

#[test]
fn a_large_file_does_not_keep_small_ones_waiting() {
    let bench = Bench::new(0, false);
    let gates: Vec<_> = (0..3).map(|_| bench.service.pause_before("unit")).collect();
    bench.life_with(
        |options| options.pace.workers = 4,
        async |life| {
            let large = life.add("large", &long(30)).await;
            gates[2].reached().await;
            let mut small = Vec::new();
            for i in 0..50 {
                small.push(life.add(&format!("small {i}"), b"s").await);
            }
            for id in small {
                life.uploaded(id).await;
            }
            assert!(matches!(
                life.uploads.get(large).unwrap().status,
                UploadStatus::Uploading { .. }
            ));
            gates.iter().for_each(|gate| gate.open());
            life.uploads.drain().await;
        },
    );
    assert_eq!(bench.service.files().len(), 51);
}

#[test]
fn stopping_keeps_all_for_the_next_start() {
    let bench = Bench::new(1, false);
    let gate = bench.service.pause_before("unit");
    bench.life_with(
        |options| options.stop_grace = Duration::from_millis(100),
        async |life| {
            life.add("f", &long(4)).await;
            gate.reached().await;
            life.uploads.stop().await;
            assert_eq!(life.uploads.pending().len(), 1);
        },
    );
    bench.life(async |life| life.uploads.drain().await);
    assert_eq!(bench.service.files(), only("f", &long(4)));
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
fn asking_again_and_again_for_a_file_that_waits_takes_none_of_its_patience_back() {
    let bench = Bench::new(1, false);
    for _ in 0..4 {
        let later = Retry::AfterWait(Some(Duration::from_secs(60)));
        bench.service.fault("begin", Fault::Fail(ErrorKind::Busy, later));
    }
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        for tries in [1, 2, 3, 4] {
            let waits = |file: &PendingFile| {
                file.tries >= tries && matches!(file.status, UploadStatus::Waiting { .. })
            };
            life.until(id, waits).await;
            assert!(life.uploads.retry(id).await.unwrap());
        }
        life.drained().await;
    });
    assert_eq!(bench.service.files(), only("f", b"content"));
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
