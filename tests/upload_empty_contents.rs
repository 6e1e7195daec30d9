//! What the uploads promise for empty contents on a host that takes none: they rest here, and what they take
//! the place of goes from the host.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::SystemTime;

use lockerfs::provider::FolderId;
use lockerfs::upload::{Base, PendingFile, PendingId, UploadEvent, UploadStatus};
use upload_bench::{Bench, Life, new, only};

fn root() -> FolderId {
    FolderId::new("root")
}

async fn kept(life: &Life, id: PendingId) -> PendingFile {
    assert_eq!(life.uploads.wait(id).await.unwrap(), None);
    life.drained().await;
    let file = life.uploads.get(id).unwrap();
    assert_eq!((&file.status, file.tries), (&UploadStatus::Kept, 0));
    assert!(file.replaces.is_none() && !file.announced);
    file
}

#[test]
fn an_empty_file_stays_here_until_it_gets_content() {
    let bench = Bench::plain();
    let id = bench.life(async |life| {
        let id = life.add("empty", b"").await;
        kept(life, id).await;
        id
    });
    bench.life(async |life| {
        kept(life, id).await;
        assert!(!life.uploads.retry(id).await.unwrap());
        life.uploads
            .rename(id, root(), "named".into(), None, None)
            .await
            .unwrap();
        assert_eq!(kept(life, id).await.name, "named");
        assert_eq!((bench.service.all_calls(), bench.staged_files()), (0, 1));
        let (staged, hold) = life.uploads.edit(id).await.unwrap();
        staged.write_at(0, b"content").unwrap();
        life.uploads
            .recommit(id, &staged, SystemTime::now())
            .await
            .unwrap();
        drop(hold);
        assert_eq!(life.uploaded(id).await.size, 7);
        let other = life.add("other", b"").await;
        kept(life, other).await;
        assert_eq!(life.uploads.remove(other).await.unwrap(), []);
        life.uploads.stop().await;
    });
    assert_eq!(bench.service.files(), only("named", b"content"));
    assert_eq!(bench.staged_files(), 0);
}

#[test]
fn a_file_that_became_empty_goes_from_the_host() {
    for crash in [false, true] {
        let bench = Bench::plain();
        let old = bench.service.put("root", "f", b"old");
        let gate = bench.service.pause_before("delete");
        let id = bench.life(async |life| {
            let id = life.add_over("f", b"", &old).await;
            gate.reached().await;
            if !crash {
                gate.open();
                kept(life, id).await;
            }
            id
        });
        bench.service.clear_faults();
        bench.life(async |life| kept(life, id).await);
        assert!(bench.service.files().is_empty(), "crash {crash}");
        assert_eq!(bench.service.trash(), [b"old"]);
    }
}

#[test]
fn what_was_sent_before_the_file_became_empty_goes_too() {
    for crash in [false, true] {
        let bench = Bench::plain();
        let gate = bench.service.pause_after("whole");
        let id = bench.life(async |life| {
            let id = life.add("f", b"content").await;
            gate.reached().await;
            let (staged, _hold) = life.uploads.edit(id).await.unwrap();
            staged.set_len(0).unwrap();
            life.uploads
                .recommit(id, &staged, SystemTime::now())
                .await
                .unwrap();
            if !crash {
                gate.open();
            }
            id
        });
        bench.life(async |life| kept(life, id).await);
        assert!(bench.service.files().is_empty(), "crash {crash}");
        assert_eq!(bench.service.calls("whole"), 1);
    }
}

#[test]
fn a_file_that_was_cut_to_nothing_needs_nothing_of_what_it_was_begun_from() {
    let write = async |life: &mut Life, id| {
        let (staged, _hold) = life.uploads.edit(id).await.unwrap();
        staged.write_at(0, b"y").unwrap();
        life.uploads
            .recommit(id, &staged, SystemTime::now())
            .await
            .unwrap();
    };
    for crash in [false, true] {
        let bench = Bench::plain();
        let old = bench.service.put("root", "log", b"old");
        let id = bench.life(async |life| {
            let base = Base {
                file: old.clone(),
                size: 3,
                hash: None,
                revision: None,
                account: None,
            };
            let staged = life.uploads.staged_from(base).unwrap();
            staged.write_at(3, b"x").unwrap();
            let pending = new("log", Some(old.clone()));
            let (id, hold) = life.uploads.commit_held(&staged, pending).await.unwrap();
            let committed = staged.set_len(0).unwrap_err();
            assert_eq!(committed.kind(), std::io::ErrorKind::WouldBlock);
            let (emptied, anew) = life.uploads.rewrite(id).await.unwrap();
            emptied.set_len(0).unwrap();
            life.uploads
                .recommit(id, &emptied, SystemTime::now())
                .await
                .unwrap();
            drop((hold, anew));
            kept(life, id).await;
            let told = loop {
                if let UploadEvent::Kept { account, id } = life.events.recv().await.unwrap() {
                    break (account, id);
                }
            };
            assert_eq!(told, ("media".to_owned(), id));
            assert!(bench.service.files().is_empty());
            if !crash {
                write(life, id).await;
            }
            id
        });
        if crash {
            bench.life(async |life| write(life, id).await);
        }
        bench.life(async |life| life.drained().await);
        assert_eq!(bench.service.files(), only("log", b"y"), "crash {crash}");
    }
}

#[test]
fn a_kept_file_that_takes_anothers_name_lets_that_one_go() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f", b"old");
    bench.life(async |life| {
        let id = life.add("empty", b"").await;
        kept(life, id).await;
        life.uploads
            .rename(id, root(), "f".into(), Some(Some(old)), None)
            .await
            .unwrap();
        kept(life, id).await;
    });
    assert!(bench.service.files().is_empty());
}
