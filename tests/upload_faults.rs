//! What the uploads promise on a service that fails, lies and loses answers, and over crashes.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::{Duration, SystemTime};

use lockerfs::provider::{ErrorKind, FileId, FolderId, Retry};
use lockerfs::upload::{UploadError, UploadStatus};
use upload_bench::memory_provider::{Fault, MemoryService};
use upload_bench::{Bench, Life, long, only};

#[test]
fn a_crash_at_any_call_loses_nothing_and_makes_no_twin() {
    for operation in ["begin", "whole", "unit", "poll", "rename", "delete"] {
        for after in [false, true] {
            for keeps_ids in [false, true] {
                crash_at(operation, after, keeps_ids);
            }
        }
    }
}

fn crash_at(operation: &'static str, after: bool, keeps_ids: bool) {
    let context = format!("{operation}, after {after}, keeps ids {keeps_ids}");
    let bench = Bench::new(2, keeps_ids);
    let old = bench.service.put("root", "old", b"old content");
    let small = if operation == "unit" {
        long(3)
    } else {
        b"small".to_vec()
    };
    let gate = if after {
        bench.service.pause_after(operation)
    } else {
        bench.service.pause_before(operation)
    };
    let replaced = bench.life(async |life| {
        let id = life.add_over("old", &small, &old).await;
        if operation == "rename" {
            let began = bench.service.pause_before("begin");
            began.reached().await;
            life.uploads
                .rename(id, FolderId::new("root"), "renamed".into(), None, None)
                .await
                .unwrap();
            began.open();
        }
        let reached = tokio::time::timeout(Duration::from_secs(5), gate.reached()).await;
        // Where ids are kept, nothing is deleted.
        assert!(
            reached.is_ok() || (operation == "delete" && keeps_ids),
            "{context}"
        );
        life.uploads.pending().len()
    });
    bench.service.clear_faults();
    bench.life(async |life| {
        // It may have gone on already.
        assert!(life.uploads.pending().len() <= replaced, "{context}");
        life.uploads.drain().await;
        assert!(
            life.uploads.pending().is_empty(),
            "{context}: {:?}",
            life.uploads.pending()
        );
        life.uploads.stop().await;
    });
    let name = if operation == "rename" { "renamed" } else { "old" };
    assert_eq!(bench.service.files(), only(name, &small), "{context}");
    assert_eq!(
        (bench.staged_files(), bench.recovered_files()),
        (0, 0),
        "{context}"
    );
}

#[test]
fn a_file_that_was_there_already_is_kept_under_another_name() {
    let bench = Bench::new(0, false);
    let other = bench.service.put("root", "report.pdf", b"somebody else's");
    bench.life(async |life| {
        life.add("report.pdf", b"mine").await;
        life.uploads.drain().await;
    });
    let kept = bench.service.file(&other).unwrap();
    assert_eq!(kept.content, b"somebody else's");
    assert!(
        kept.name.starts_with("report (conflict ") && kept.name.ends_with(").pdf"),
        "{}",
        kept.name
    );
    assert_eq!(bench.service.files().len(), 2);
    assert_eq!(bench.service.files()[1], only("report.pdf", b"mine")[0]);
}

#[test]
fn a_lost_answer_makes_no_twin() {
    for polls in [0, 2] {
        for (operation, content) in [
            ("whole", b"content".to_vec()),
            ("unit", long(3)),
            ("begin", long(1)),
        ] {
            let bench = Bench::new(polls, false);
            bench.service.fault(operation, Fault::LoseReply);
            bench.life(async |life| {
                life.add("f", &content).await;
                life.uploads.drain().await;
            });
            assert_eq!(bench.service.files(), only("f", &content), "{operation}");
            assert!(bench.service.calls("whole") <= 1);
        }
    }
}

#[test]
fn only_missing_units_are_sent_after_a_crash() {
    let bench = Bench::new(1, false);
    let content = long(9);
    let gates: Vec<_> = (0..4).map(|_| bench.service.pause_after("unit")).collect();
    gates[..3].iter().for_each(|gate| gate.open());
    bench.life_with(
        |options| options.pace.workers = 1,
        async |life| {
            life.add("f", &content).await;
            gates[3].reached().await;
        },
    );
    assert_eq!(bench.service.calls("unit"), 4);
    bench.service.clear_faults();
    bench.life(async |life| life.uploads.drain().await);
    assert_eq!(bench.service.calls("unit"), 10);
    assert_eq!(bench.service.files(), only("f", &content));
}

#[test]
fn a_unit_that_fails_is_sent_again_alone() {
    let bench = Bench::new(1, false);
    bench.service.fault(
        "unit",
        Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None)),
    );
    bench
        .service
        .fault("unit", Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown));
    bench.life(async |life| {
        life.add("f", &long(5)).await;
        life.uploads.drain().await;
    });
    assert_eq!(
        (bench.service.calls("begin"), bench.service.calls("unit")),
        (2, 8)
    );
    assert_eq!(bench.service.files(), only("f", &long(5)));
}

#[test]
fn what_is_refused_for_good_is_parked_until_a_person_acts() {
    let bench = Bench::new(0, false);
    for kind in [
        ErrorKind::InvalidName,
        ErrorKind::TooLarge,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
    ] {
        bench.service.fault("begin", Fault::Fail(kind, Retry::Never));
        bench.life(async |life| {
            let id = life.add("f", b"content").await;
            let reason = life.parked(id).await;
            assert!(reason.contains("the fault that the test asked for"), "{reason}");
            life.uploads.drain().await;
            assert!(matches!(
                life.uploads.wait(id).await,
                Err(UploadError::Parked { .. })
            ));
        });
        bench.life(async |life| {
            // A restart does not try again by itself, and loses nothing.
            life.uploads.drain().await;
            let parked = life.uploads.pending();
            assert!(matches!(&parked[..], [file] if matches!(file.status, UploadStatus::Parked { .. })));
            let root = FolderId::new("root");
            if kind == ErrorKind::InvalidName {
                life.uploads
                    .rename(parked[0].id, root, "better".into(), None, None)
                    .await
                    .unwrap();
            } else {
                assert_eq!(life.uploads.retry_parked().await.unwrap(), 1);
            }
            life.uploads.drain().await;
            assert!(life.uploads.pending().is_empty());
        });
    }
    let names: Vec<_> = bench.service.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["root/better", "root/f"]);
}

#[test]
fn what_an_account_has_no_room_for_is_parked_until_a_person_retries() {
    let bench = Bench::new(0, false);
    bench
        .service
        .fault("begin", Fault::Fail(ErrorKind::QuotaExceeded, Retry::Never));
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        let parked = life
            .until(id, |file| matches!(file.status, UploadStatus::Parked { .. }))
            .await;
        let UploadStatus::Parked { reason } = parked.status else {
            panic!()
        };
        assert!(reason.contains("the account is full"), "{reason}");
        let waited = life.uploads.wait(id).await;
        let kind = Some(ErrorKind::QuotaExceeded);
        assert!(matches!(waited, Err(UploadError::Parked { kind: told, .. }) if told == kind));
        assert!(life.uploads.retry(id).await.unwrap());
        life.uploads.drain().await;
    });
    assert_eq!(bench.service.files(), only("f", b"content"));
}

#[test]
fn outages_are_outlasted() {
    let bench = Bench::new(1, false);
    for _ in 0..12 {
        bench.service.fault(
            "begin",
            Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None)),
        );
    }
    bench.life(async |life| {
        life.add("f", b"content").await;
        life.uploads.drain().await;
    });
    assert_eq!(bench.service.files(), only("f", b"content"));
}

#[test]
fn what_was_stored_wrong_goes_and_is_sent_again() {
    for (operation, content) in [("whole", b"content".to_vec()), ("unit", long(3))] {
        for keeps_ids in [false, true] {
            let bench = Bench::new(1, keeps_ids);
            let old = bench.service.put("root", "f", b"old");
            bench.service.fault(operation, Fault::StoreWrong);
            bench.life(async |life| {
                life.add_over("f", &content, &old).await;
                life.uploads.drain().await;
            });
            assert_eq!(
                bench.service.files(),
                only("f", &content),
                "{operation}, keeps ids {keeps_ids}"
            );
        }
    }
}

#[test]
fn a_replaced_file_that_vanished_does_not_keep_the_new_one_back() {
    for (operation, content) in [
        ("begin", b"content".to_vec()),
        ("whole", b"content".to_vec()),
        ("unit", long(3)),
    ] {
        let bench = Bench::new(0, false);
        bench
            .service
            .fault(operation, Fault::Fail(ErrorKind::NotFound, Retry::Never));
        bench.life(async |life| {
            life.add_over("f", &content, &FileId::new("vanished")).await;
            life.uploads.drain().await;
        });
        assert_eq!(bench.service.files(), only("f", &content), "{operation}");
    }
}

/// Files by name, as a person who used the mount would expect them.
type Expected = std::collections::BTreeMap<String, Vec<u8>>;

/// A writer, renamer and remover at random, over a service with faults, with crashes in between.
#[test]
fn whatever_happens_the_service_ends_with_what_was_committed_last() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let bench = match seed % 2 {
            0 => Bench::new(random.u32(0..3), random.bool()),
            _ => Bench::plain(),
        };
        let mut expected = Expected::new();
        for _ in 0..6 {
            add_faults(&bench.service, &mut random);
            let changes = random.usize(4..16);
            bench.life(async |life| {
                for _ in 0..changes {
                    change_something(life, &bench.service, &mut random, &mut expected).await;
                    if random.u8(0..3) == 0 {
                        tokio::time::sleep(Duration::from_millis(random.u64(0..12))).await;
                    }
                }
            });
        }
        bench.service.clear_faults();
        bench.life(async |life| {
            life.uploads.drain().await;
            let kept = life.uploads.pending();
            assert_eq!(life.uploads.unfinished(), 0, "seed {seed}: {kept:?}");
            for file in &kept {
                let empty = expected.remove(&file.name);
                assert_eq!(empty.as_deref(), Some(&b""[..]), "seed {seed}: {file:?}");
            }
            life.uploads.stop().await;
            assert_eq!(bench.staged_files(), kept.len(), "seed {seed}");
        });
        let short = |name: &str, content: &[u8]| format!("{name}: {} {:?}", content.len(), content.get(..4));
        let files = bench.service.files();
        let stored: Vec<_> = files.iter().map(|(name, content)| short(name, content)).collect();
        let wanted = expected
            .iter()
            .map(|(name, content)| short(&format!("root/{name}"), content));
        assert_eq!(stored, wanted.collect::<Vec<_>>(), "seed {seed}");
    }
}

fn add_faults(service: &MemoryService, random: &mut fastrand::Rng) {
    for operation in [
        "begin", "look", "read", "whole", "unit", "poll", "rename", "delete",
    ] {
        for _ in 0..random.u8(0..3) {
            let fault = match random.u8(0..3) {
                0 => Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None)),
                1 => Fault::LoseReply,
                _ => Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown),
            };
            service.fault(operation, fault);
        }
    }
}

/// Does one thing to one pending name, or makes a new one. Names that the service has by now are left
/// alone: what the mount does with those is not the uploads'.
async fn change_something(
    life: &Life,
    service: &MemoryService,
    random: &mut fastrand::Rng,
    expected: &mut Expected,
) {
    let length = random.usize(0..4000) * usize::from(random.u8(0..8) > 0);
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    let pending = life.uploads.pending();
    let Some(file) = (!pending.is_empty()).then(|| &pending[random.usize(..pending.len())]) else {
        let name = format!("new {}", random.u32(..));
        life.add(&name, &content).await;
        expected.insert(name, content);
        return;
    };
    let gone = |result: Result<(), UploadError>| match result {
        Ok(()) => false,
        Err(UploadError::Gone) => true,
        Err(error) => panic!("{error}"),
    };
    match random.u8(0..6) {
        0 | 1 => {
            let name = format!("new {}", random.u32(..));
            life.add(&name, &content).await;
            expected.insert(name, content);
        }
        2 | 3 => {
            let Ok((staged, _hold)) = life.uploads.edit(file.id).await else {
                return;
            };
            staged.set_len(0).unwrap();
            staged.write_at(0, &content).unwrap();
            if !gone(life.uploads.recommit(file.id, &staged, SystemTime::now()).await) {
                expected.insert(file.name.clone(), content);
            }
        }
        4 => {
            let name = format!("renamed {}", random.u32(..));
            let root = FolderId::new("root");
            if !gone(life.uploads.rename(file.id, root, name.clone(), None, None).await)
                && let Some(content) = expected.remove(&file.name)
            {
                expected.insert(name, content);
            }
        }
        _ => match life.uploads.remove(file.id).await {
            Ok(stood_for) => {
                stood_for.iter().for_each(|file| service.remove(file));
                expected.remove(&file.name);
            }
            Err(error) => assert!(matches!(error, UploadError::Gone), "{error}"),
        },
    }
}

#[test]
fn clearing_a_removed_file_away_spares_one_of_the_same_name_and_content() {
    let bench = Bench::new(0, false);
    bench.service.pause_after("begin").open();
    let again = bench.service.pause_before("begin");
    bench
        .service
        .fault("whole", Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown));
    let sent = bench.service.pause_after("whole");
    bench.life(async |life| {
        let over = life.add("target", b"the same").await;
        again.reached().await;
        let id = life.add("temporary", b"the same").await;
        sent.reached().await;
        let root = FolderId::new("root");
        life.uploads
            .rename(id, root.clone(), "target".into(), None, Some(over))
            .await
            .unwrap();
        let short = Duration::from_millis(50);
        let cleared = async |limit| {
            let uploads = &life.uploads;
            uploads.wait_until_cleared("media", &root, "target", limit).await
        };
        assert!(cleared(short).await.is_err());
        sent.open();
        tokio::time::sleep(short * 4).await;
        assert_eq!(bench.service.calls("rename"), 0);
        again.open();
        cleared(Duration::from_secs(20)).await.unwrap();
        life.uploads.drain().await;
    });
    assert_eq!(bench.service.files(), only("target", b"the same"));
}

#[test]
fn a_file_that_cannot_be_renamed_is_uploaded_under_its_new_name() {
    let bench = Bench::new(0, false);
    let gate = bench.service.pause_after("whole");
    bench
        .service
        .fault("rename", Fault::Fail(ErrorKind::Unsupported, Retry::Never));
    bench.life(async |life| {
        let id = life.add("download.part", b"content").await;
        gate.reached().await;
        let root = FolderId::new("root");
        life.uploads
            .rename(id, root, "download.zip".into(), None, None)
            .await
            .unwrap();
        gate.open();
        life.uploaded(id).await;
    });
    assert_eq!(bench.service.files(), only("download.zip", b"content"));
}

#[test]
fn small_files_go_on_although_a_large_one_wants_all_connections_and_it_although_they_do() {
    let large = vec![1; 17 << 20];
    let bench = Bench::new(0, false);
    let gates: Vec<_> = (0..2).map(|_| bench.service.pause_before("unit")).collect();
    bench.life_with(
        |options| options.pace.workers = 2,
        async |life| {
            life.add("large", &large).await;
            gates[0].reached().await;
            gates[1].reached().await;
            for file in 0..5 {
                life.add(&format!("small {file}"), &[file]).await;
            }
            gates[0].open();
            let last = life.uploads.pending().pop().expect("the last small one");
            life.uploaded(last.id).await;
            life.until_only("large").await;
            assert_eq!(bench.service.calls("whole"), 5);
            life.uploads.remove(life.uploads.pending()[0].id).await.unwrap();
            gates[1].open();
            life.drained().await;
        },
    );
    let bench = Bench::new(0, false);
    let gates: Vec<_> = (0..2).map(|_| bench.service.pause_before("whole")).collect();
    let unit = bench.service.pause_before("unit");
    bench.life_with(
        |options| options.pace.workers = 2,
        async |life| {
            for file in 0..60 {
                life.add(&format!("small {file}"), &[file]).await;
            }
            gates[0].reached().await;
            gates[1].reached().await;
            let id = life.add("large", &large).await;
            life.until(id, |file| file.announced).await;
            gates[0].open();
            unit.reached().await;
            assert!(bench.service.files().len() < 50, "small ones were still waiting");
            life.uploads.remove(id).await.unwrap();
            unit.open();
            gates[1].open();
            life.drained().await;
        },
    );
    assert_eq!(bench.service.files().len(), 60);
}
