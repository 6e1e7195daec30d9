//! What the uploads promise on a service that does what it is asked: nothing committed is lost, whatever is
//! renamed, edited or removed meanwhile.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::pin::pin;
use std::time::{Duration, SystemTime};

use lockerfs::provider::{ErrorKind, Retry};
use lockerfs::state::JournalTransaction;
use lockerfs::upload::{Base, PendingFile, UploadError, UploadEvent, UploadStatus};
use upload_bench::memory_provider::Fault;
use upload_bench::{Bench, long, new, only};

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
        // Some may have gone on already.
        let pending = life.uploads.pending().len();
        assert!(pending + bench.service.files().len() >= names.len());
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
                        account: None,
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
            account: None,
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
fn a_retry_in_the_moment_in_which_a_try_ends_is_not_put_off_by_that_end() {
    const ROUNDS: usize = 40;
    let bench = Bench::new(0, false);
    let later = Retry::AfterWait(Some(Duration::from_secs(3600)));
    for _ in 0..3 * ROUNDS {
        bench.service.fault("begin", Fault::Fail(ErrorKind::Busy, later));
    }
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        let waits = |file: &PendingFile| matches!(file.status, UploadStatus::Waiting { .. });
        for _ in 0..ROUNDS {
            life.until(id, waits).await;
            // The second time it is asked for while it is tried, until that has just failed.
            for _ in 0..2 {
                while !life.uploads.retry(id).await.unwrap() {}
            }
        }
        life.until(id, waits).await;
    });
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
