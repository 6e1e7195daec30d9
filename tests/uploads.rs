//! What the uploads promise, shown through their public surface on a service in memory. A crash is the end
//! of a runtime with all its tasks, without a word to the uploads.

#[path = "support/memory_provider.rs"]
mod memory_provider;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lockerfs::provider::{ErrorKind, FileId, FolderId, Provider, Result as ProviderResult, Retry};
use lockerfs::state::{Database, StateDir};
use lockerfs::upload::{
    Base, BaseContent, NewPending, Options, PendingFile, PendingId, StagedFile, UploadError, UploadEvent,
    UploadStatus, Uploads,
};
use memory_provider::{Fault, MemoryProvider, MemoryService, UNIT};
use tempfile::TempDir;
use tokio::sync::mpsc;

const ACCOUNT: &str = "media";

/// A state directory and a service, which outlive the program.
struct Bench {
    folder: TempDir,
    service: Arc<MemoryService>,
}

/// One life of the program.
struct Life {
    uploads: Arc<Uploads>,
    database: Database,
    events: mpsc::Receiver<UploadEvent>,
    _directory: StateDir,
}

struct FromService(Arc<MemoryService>);

#[async_trait::async_trait]
impl BaseContent for FromService {
    async fn read(&self, _account: &str, base: &Base, range: Range<u64>) -> ProviderResult<Bytes> {
        let content = self
            .0
            .file(&base.file)
            .map(|file| file.content)
            .unwrap_or_default();
        let end = content.len().min(range.end as usize);
        Ok(Bytes::copy_from_slice(
            content.get(range.start as usize..end).unwrap_or_default(),
        ))
    }
}

impl Bench {
    fn new(polls: u32, keeps_ids: bool) -> Self {
        Bench {
            folder: tempfile::tempdir().unwrap(),
            service: MemoryService::new(polls, keeps_ids),
        }
    }

    /// Lives for as long as `work` goes, and then ends without a word.
    fn life<T>(&self, work: impl AsyncFnOnce(&mut Life) -> T) -> T {
        self.life_with(|_| {}, work)
    }

    fn life_with<T>(&self, change: impl FnOnce(&mut Options), work: impl AsyncFnOnce(&mut Life) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (result, database) = runtime.block_on(async {
            let mut life = self.open(change).await;
            let work = work(&mut life);
            let result = tokio::time::timeout(Duration::from_secs(60), work)
                .await
                .expect("it hangs");
            (result, life.database.clone())
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        let last = tokio::runtime::Builder::new_current_thread().build().unwrap();
        last.block_on(database.close());
        result
    }

    async fn open(&self, change: impl FnOnce(&mut Options)) -> Life {
        let directory = StateDir::open(&self.folder.path().join("state")).unwrap();
        let database = Database::open(&directory.database_path()).unwrap();
        let mut options = Options::new(directory.staging_path(), directory.recovered_path());
        options.upload_delay = Duration::ZERO;
        options.retry_min = Duration::from_millis(5);
        options.retry_max = Duration::from_millis(50);
        options.poll_first = Duration::from_millis(2);
        options.poll_max = Duration::from_millis(10);
        options.reserve = 0;
        change(&mut options);
        let uploads = Uploads::open(database.clone(), options).await.unwrap();
        let provider: Arc<dyn Provider> = Arc::new(MemoryProvider(self.service.clone()));
        let accounts = HashMap::from([(ACCOUNT.to_owned(), provider)]);
        let events = uploads.start(accounts, Arc::new(FromService(self.service.clone())));
        Life {
            uploads,
            database,
            events,
            _directory: directory,
        }
    }

    fn staged_files(&self) -> usize {
        count(&self.folder.path().join("state/staging"))
    }

    fn recovered_files(&self) -> usize {
        count(&self.folder.path().join("state/recovered"))
    }
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

impl Life {
    fn write(&self, content: &[u8]) -> Arc<StagedFile> {
        let staged = self.uploads.new_staged().unwrap();
        staged.write_at(0, content).unwrap();
        staged
    }

    async fn add(&self, name: &str, content: &[u8]) -> PendingId {
        self.uploads
            .commit(&self.write(content), new(name, None))
            .await
            .unwrap()
    }

    async fn add_over(&self, name: &str, content: &[u8], old: &FileId) -> PendingId {
        self.uploads
            .commit(&self.write(content), new(name, Some(old.clone())))
            .await
            .unwrap()
    }

    async fn until(&self, id: PendingId, reached: impl Fn(&PendingFile) -> bool) -> PendingFile {
        for _ in 0..4000 {
            if let Some(file) = self.uploads.get(id).filter(|file| reached(file)) {
                return file;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come so far: {:?}", self.uploads.get(id));
    }

    async fn parked(&self, id: PendingId) -> String {
        match self
            .until(id, |file| matches!(file.status, UploadStatus::Parked { .. }))
            .await
            .status
        {
            UploadStatus::Parked { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn new(name: &str, replaces: Option<FileId>) -> NewPending {
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    NewPending {
        account: ACCOUNT.into(),
        folder: FolderId::new("root"),
        name: name.into(),
        mtime,
        replaces,
    }
}

fn long(units: u64) -> Vec<u8> {
    (0..units * UNIT + UNIT / 2)
        .map(|i| (i * 7 % 251) as u8)
        .collect()
}

fn only(name: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![(format!("root/{name}"), content.to_vec())]
}

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
        assert_eq!(life.uploads.pending().len(), replaced, "{context}");
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
fn after_a_crash_before_the_upload_all_files_are_there() {
    let bench = Bench::new(1, false);
    let names: Vec<_> = (0..40).map(|i| format!("file {i:02}")).collect();
    bench.life_with(
        |options| options.upload_delay = Duration::from_secs(3600),
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
        |options| options.upload_delay = Duration::from_secs(3600),
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
            let entry = life.uploads.wait(id).await.unwrap();
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
            |options| options.upload_delay = Duration::from_millis(200),
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
        assert_eq!(life.uploads.wait(id).await.unwrap().size, 7);
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
        let first = life.uploads.wait(id).await.unwrap();
        assert_eq!(bench.service.files(), only("f", b"one"));
        staged.write_at(3, b" two").unwrap();
        life.uploads
            .recommit(id, &staged, SystemTime::now())
            .await
            .unwrap();
        let second = life.uploads.wait(id).await.unwrap();
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
        |options| options.units_per_file = 1,
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
        (1, 8)
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
fn a_full_account_waits_for_room() {
    let bench = Bench::new(0, false);
    bench
        .service
        .fault("begin", Fault::Fail(ErrorKind::QuotaExceeded, Retry::Never));
    bench.life(async |life| {
        let id = life.add("f", b"content").await;
        let waiting = life
            .until(id, |file| matches!(file.status, UploadStatus::Waiting { .. }))
            .await;
        let UploadStatus::Waiting { until, error } = waiting.status else {
            panic!()
        };
        assert!(error.contains("the account is full"), "{error}");
        assert!(until > SystemTime::now() + Duration::from_secs(60));
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
            |options| options.upload_delay = delay,
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
                    life.uploads.wait(id).await.unwrap();
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
fn a_replaced_file_that_vanished_does_not_keep_the_new_one_back() {
    let bench = Bench::new(0, false);
    bench
        .service
        .fault("begin", Fault::Fail(ErrorKind::NotFound, Retry::Never));
    bench.life(async |life| {
        life.add_over("f", b"content", &FileId::new("vanished")).await;
        life.uploads.drain().await;
    });
    assert_eq!(bench.service.files(), only("f", b"content"));
}

#[test]
fn a_large_file_does_not_keep_small_ones_waiting() {
    let bench = Bench::new(0, false);
    let gates: Vec<_> = (0..3).map(|_| bench.service.pause_before("unit")).collect();
    bench.life_with(
        |options| options.transfers = 4,
        async |life| {
            let large = life.add("large", &long(30)).await;
            gates[2].reached().await;
            let mut small = Vec::new();
            for i in 0..50 {
                small.push(life.add(&format!("small {i}"), b"s").await);
            }
            for id in small {
                life.uploads.wait(id).await.unwrap();
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

/// Files by name, as a person who used the mount would expect them.
type Expected = std::collections::BTreeMap<String, Vec<u8>>;

/// A writer, renamer and remover at random, over a service with faults, with crashes in between.
#[test]
fn whatever_happens_the_service_ends_with_what_was_committed_last() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let bench = Bench::new(random.u32(0..3), random.bool());
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
            assert!(
                life.uploads.pending().is_empty(),
                "seed {seed}: {:?}",
                life.uploads.pending()
            );
            life.uploads.stop().await;
        });
        let short = |name: &str, content: &[u8]| format!("{name}: {} {:?}", content.len(), content.get(..4));
        let files = bench.service.files();
        let stored: Vec<_> = files.iter().map(|(name, content)| short(name, content)).collect();
        let wanted = expected
            .iter()
            .map(|(name, content)| short(&format!("root/{name}"), content));
        assert_eq!(stored, wanted.collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(bench.staged_files(), 0, "seed {seed}");
    }
}

fn add_faults(service: &MemoryService, random: &mut fastrand::Rng) {
    for operation in ["begin", "whole", "unit", "poll", "rename", "delete"] {
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
    let length = random.usize(0..4000);
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
