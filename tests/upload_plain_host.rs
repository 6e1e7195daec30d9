//! What the uploads promise on a host that takes a file in one request, tells no hash of it later, stores a
//! second file of a name as `name (2).ext` and keeps no times.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use std::time::{Duration, SystemTime};

use lockerfs::provider::{Capability, ErrorKind, FileId, FolderId, ItemId, Provider, Retry};
use lockerfs::state::{ItemFacts, ItemKey};
use lockerfs::upload::{Options, PendingFile, UploadStatus};
use md5::{Digest, Md5};
use upload_bench::memory_provider::{Fault, MemoryProvider};
use upload_bench::{Bench, Life, new, only};

/// A failure after which nobody knows whether the content arrived. It did not.
const NOT_ARRIVED: Fault = Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown);

fn big(last: u8) -> Vec<u8> {
    let mut content = vec![7; 3 << 20];
    content.push(last);
    content
}

/// Names of live files with their contents.
fn files(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    bench.service.files()
}

async fn drained(life: &Life) {
    life.drained().await;
}

async fn facts(life: &Life, id: &FileId) -> Option<ItemFacts> {
    let key = ItemKey::File(id.as_str().to_owned());
    let mut known = life.database.facts("memory", vec![key.clone()]).await.unwrap();
    known.remove(&key)
}

#[test]
fn a_new_file_is_one_call_and_a_replaced_one_is_three() {
    let bench = Bench::plain();
    bench.life(async |life| {
        life.add("first.txt", b"first").await;
        drained(life).await;
        // The first asks what there is, to know its own from others.
        assert_eq!((bench.service.calls("list"), bench.service.all_calls()), (1, 2));
        life.add("new.txt", b"new").await;
        drained(life).await;
        assert_eq!((bench.service.calls("whole"), bench.service.all_calls()), (2, 3));
        let old = bench.service.put("root", "f.txt", b"old");
        life.add_over("f.txt", b"newer", &old).await;
        drained(life).await;
    });
    for operation in ["delete", "rename"] {
        assert_eq!(bench.service.calls(operation), 1, "{operation}");
    }
    assert_eq!((bench.service.calls("whole"), bench.service.all_calls()), (3, 6));
    assert_eq!(files(&bench)[0], only("f.txt", b"newer")[0]);
    assert_eq!(files(&bench).len(), 3);
    assert_eq!(bench.service.trash(), [b"old"]);
}

#[test]
fn a_replaced_file_goes_only_after_the_new_one_is_there() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"old");
    let (delete, rename) = (
        bench.service.pause_before("delete"),
        bench.service.pause_before("rename"),
    );
    bench.life(async |life| {
        let id = life.add_over("f.txt", b"new", &old).await;
        delete.reached().await;
        let stored = [("root/f (2).txt".to_owned(), b"new".to_vec())];
        assert_eq!(files(&bench), [&stored[..], &only("f.txt", b"old")].concat());
        let uploaded = life.uploads.get(id).unwrap().uploaded.unwrap();
        assert_eq!(bench.service.file(&uploaded).unwrap().content, b"new");
        delete.open();
        rename.reached().await;
        assert_eq!(files(&bench), stored);
        rename.open();
        drained(life).await;
    });
    assert_eq!(files(&bench), only("f.txt", b"new"));
}

#[test]
fn a_crash_in_a_replace_ends_with_the_new_file_alone() {
    for operation in ["whole", "delete", "rename"] {
        for after in [false, true] {
            let context = format!("{operation}, after {after}");
            let bench = Bench::plain();
            let old = bench.service.put("root", "f.txt", b"old");
            let gate = if after {
                bench.service.pause_after(operation)
            } else {
                bench.service.pause_before(operation)
            };
            bench.life(async |life| {
                life.add_over("f.txt", b"new", &old).await;
                gate.reached().await;
            });
            bench.service.clear_faults();
            bench.life(async |life| {
                drained(life).await;
                life.uploads.stop().await;
            });
            assert_eq!(files(&bench), only("f.txt", b"new"), "{context}");
            let sent_again = operation == "whole" && !after;
            assert_eq!(
                bench.service.calls("whole"),
                1 + usize::from(sent_again),
                "{context}"
            );
            assert_eq!(
                (bench.staged_files(), bench.recovered_files()),
                (0, 0),
                "{context}"
            );
        }
    }
}

#[test]
fn what_arrived_without_an_answer_is_not_sent_again() {
    for replaced in [false, true] {
        for content in [b"content".to_vec(), big(1)] {
            let bench = Bench::plain();
            let old = replaced.then(|| bench.service.put("root", "f.txt", b"old"));
            bench.service.fault("whole", Fault::LoseReply);
            bench.life(async |life| {
                let staged = life.write(&content);
                life.uploads.commit(&staged, new("f.txt", old)).await.unwrap();
                drained(life).await;
            });
            assert_eq!(files(&bench), only("f.txt", &content), "replaced {replaced}");
            assert_eq!(bench.service.calls("whole"), 1);
        }
    }
}

#[test]
fn what_did_not_arrive_is_sent_again() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"content");
    bench.service.fault("whole", NOT_ARRIVED);
    bench.life(async |life| {
        // The file that is replaced has the very content, and is not the upload for that.
        life.add_over("f.txt", b"content", &old).await;
        drained(life).await;
    });
    assert_eq!(
        (bench.service.calls("whole"), bench.service.calls("look")),
        (2, 1)
    );
    assert_eq!(files(&bench), only("f.txt", b"content"));
    assert_eq!(bench.service.file(&old), None);
}

#[test]
fn a_failure_that_is_certain_costs_no_look() {
    let bench = Bench::plain();
    let fault = Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None));
    bench.service.fault("whole", fault);
    bench.life(async |life| {
        life.add("f", b"content").await;
        drained(life).await;
    });
    assert_eq!(
        (bench.service.calls("whole"), bench.service.calls("look")),
        (2, 0)
    );
}

#[test]
fn another_content_is_told_by_its_first_bytes_and_kept_aside() {
    let bench = Bench::plain();
    let mut other = big(1);
    other[0] = 0;
    bench.service.fault("whole", NOT_ARRIVED);
    let look = bench.service.pause_before("look");
    let at_once = |options: &mut Options| options.late_limit = Duration::ZERO;
    let theirs = bench.life_with(at_once, async |life| {
        life.add("f.bin", &big(1)).await;
        look.reached().await;
        let theirs = bench.service.put("root", "f.bin", &other);
        look.open();
        drained(life).await;
        theirs
    });
    // Once to know whether it is the upload, and once before it is kept aside.
    assert_eq!(bench.service.calls("read"), 2);
    let theirs = bench.service.file(&theirs).unwrap();
    assert!(theirs.name.starts_with("f (conflict "), "{}", theirs.name);
    assert_eq!(theirs.content, other);
    assert_eq!(files(&bench).len(), 2);
    assert_eq!(files(&bench)[1], only("f.bin", &big(1))[0]);
}

#[test]
fn a_numbered_file_of_the_same_content_is_not_taken_for_an_upload_whose_name_was_free() {
    let bench = Bench::plain();
    let copied = bench.service.put("root", "f (2).txt", b"content");
    bench.service.fault("whole", NOT_ARRIVED);
    bench.life(async |life| {
        life.add("f.txt", b"content").await;
        drained(life).await;
    });
    assert_eq!(bench.service.file(&copied).unwrap().name, "f (2).txt");
    assert_eq!(files(&bench).len(), 2);
    assert_eq!(files(&bench)[1], only("f.txt", b"content")[0]);
}

#[test]
fn an_earlier_upload_of_the_same_content_is_not_taken_for_a_later_one() {
    let bench = Bench::plain();
    let earlier = bench.life(async |life| {
        let id = life.add("f (2).txt", b"content").await;
        life.uploaded(id).await.id
    });
    bench.service.fault("whole", NOT_ARRIVED);
    let old = bench.service.put("root", "f.txt", b"old");
    bench.life(async |life| {
        life.add_over("f.txt", b"content", &old).await;
        drained(life).await;
    });
    assert_eq!(bench.service.file(&earlier).unwrap().name, "f (2).txt");
    assert_eq!(files(&bench)[1], only("f.txt", b"content")[0]);
    assert_eq!(files(&bench).len(), 2);
}

#[test]
fn an_upload_that_shows_late_leaves_no_twin() {
    let bench = Bench::plain();
    bench.service.fault("whole", NOT_ARRIVED);
    let again = bench.service.pause_before("whole");
    bench.life(async |life| {
        life.add("f.txt", b"content").await;
        again.reached().await;
        bench.service.put("root", "f.txt", b"content");
        again.open();
        drained(life).await;
    });
    assert_eq!(files(&bench), only("f.txt", b"content"));
}

#[test]
fn a_file_that_is_moved_while_it_is_sent_takes_its_place_and_leaves_others_alone() {
    for known in [false, true] {
        let bench = Bench::plain();
        let other = bench.service.put("elsewhere", "f.txt", b"other");
        let gate = bench.service.pause_after("whole");
        bench.life(async |life| {
            let id = life.add("f.txt", b"content").await;
            gate.reached().await;
            let replaces = known.then(|| Some(other.clone()));
            let folder = FolderId::new("elsewhere");
            life.uploads
                .rename(id, folder, "f.txt".into(), replaces, None)
                .await
                .unwrap();
            gate.open();
            drained(life).await;
        });
        let stored = files(&bench);
        assert_eq!(bench.service.file(&other).is_none(), known);
        assert_eq!(stored.len(), if known { 1 } else { 2 });
        let expected = ("elsewhere/f.txt".to_owned(), b"content".to_vec());
        assert_eq!(stored.last(), Some(&expected), "known {known}");
    }
}

#[test]
fn nothing_is_sent_while_it_cannot_be_told_whether_it_is_there() {
    let bench = Bench::plain();
    bench.service.fault("whole", Fault::LoseReply);
    for retry in [Retry::AfterWait(None), Retry::Never] {
        bench
            .service
            .fault("read", Fault::Fail(ErrorKind::Unavailable, retry));
    }
    let slow = |options: &mut Options| options.retry_min = Duration::from_millis(50);
    bench.life_with(slow, async |life| {
        let id = life.add("f", b"content").await;
        let waiting = |file: &PendingFile| matches!(file.status, UploadStatus::Waiting { .. });
        assert!(life.until(id, waiting).await.announced);
        drained(life).await;
    });
    assert_eq!(
        (bench.service.calls("read"), bench.service.calls("whole")),
        (3, 1)
    );
    assert_eq!(files(&bench), only("f", b"content"));
}

#[test]
fn a_removed_file_is_cleared_away_by_its_content() {
    for arrived in [false, true] {
        let bench = Bench::plain();
        let gate = if arrived {
            bench.service.pause_after("whole")
        } else {
            bench.service.pause_before("whole")
        };
        let theirs = bench.life(async |life| {
            let id = life.add("f.txt", b"content").await;
            gate.reached().await;
            life.uploads.remove(id).await.unwrap();
            bench.service.put("root", "f (2).txt", b"CONTENT")
        });
        bench.service.clear_faults();
        bench.life(async |life| drained(life).await);
        assert_eq!(files(&bench), only("f (2).txt", b"CONTENT"), "arrived {arrived}");
        assert!(bench.service.file(&theirs).is_some());
    }
}

#[test]
fn what_was_stored_wrong_is_deleted_and_sent_again() {
    for (fault, crash) in [
        (Fault::StoreWrong, false),
        (Fault::StoreShort, false),
        (Fault::StoreWrong, true),
        (Fault::StoreShort, true),
    ] {
        let bench = Bench::plain();
        bench.service.fault("whole", fault);
        let gate = bench.service.pause_before("delete");
        bench.life(async |life| {
            let id = life.add("f.txt", b"content").await;
            gate.reached().await;
            if crash {
                return;
            }
            let again = bench.service.pause_before("whole");
            gate.open();
            again.reached().await;
            assert!(files(&bench).is_empty());
            again.open();
            life.uploaded(id).await;
        });
        bench.service.clear_faults();
        bench.life(async |life| drained(life).await);
        assert_eq!(files(&bench), only("f.txt", b"content"), "crash {crash}");
        assert_eq!(bench.service.calls("whole"), 2);
    }
}

#[test]
fn a_host_that_spoils_every_upload_is_tried_less_and_less_and_says_why() {
    let bench = Bench::plain();
    for _ in 0..100 {
        bench.service.fault("whole", Fault::StoreShort);
    }
    bench.life_with(
        |options| options.retry_max = Duration::from_secs(3600),
        async |life| {
            let id = life.add("f", b"content").await;
            let file = life
                .until(id, |file| {
                    file.tries == 4 && matches!(file.status, UploadStatus::Waiting { .. })
                })
                .await;
            let UploadStatus::Waiting { error, .. } = file.status else {
                panic!()
            };
            assert!(
                error.contains("stored other bytes than were sent (6 bytes of 7)"),
                "{error}"
            );
        },
    );
    assert!(files(&bench).is_empty());
}

#[test]
fn the_index_learns_what_the_host_does_not_keep() {
    for crash in [false, true] {
        let bench = Bench::plain();
        let old = bench.service.put("root", "f", b"old");
        let gate = bench.service.pause_after("rename");
        bench.life(async |life| {
            let known = ItemFacts {
                mtime: Some(SystemTime::UNIX_EPOCH),
                hash: None,
            };
            let key = ItemKey::File(old.as_str().to_owned());
            life.database
                .note_facts("memory", vec![(key, known)])
                .await
                .unwrap();
            life.add_over("f", b"content", &old).await;
            gate.reached().await;
            if !crash {
                gate.open();
                drained(life).await;
            }
        });
        bench.service.clear_faults();
        bench.life(async |life| {
            drained(life).await;
            let listed = bench.service.put("root", "x", b"");
            let new_id = (0..9).map(|number| FileId::new(format!("id{number}")));
            let new_id = new_id
                .filter(|id| *id != listed)
                .find(|id| bench.service.file(id).is_some())
                .unwrap();
            let expected = ItemFacts {
                mtime: Some(new("", None).mtime),
                hash: Some(hex::encode(Md5::digest(b"content"))),
            };
            assert_eq!(facts(life, &new_id).await, Some(expected), "crash {crash}");
            assert_eq!(facts(life, &old).await, None, "crash {crash}");
        });
    }
}

#[test]
fn a_time_that_was_set_while_a_writer_has_the_file_reaches_the_index() {
    let bench = Bench::plain();
    bench.life(async |life| {
        let staged = life.write(b"content");
        let (id, hold) = life.uploads.commit_held(&staged, new("f", None)).await.unwrap();
        let entry = life.uploaded(id).await;
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_300_000_000);
        life.uploads.set_mtime(id, later).await.unwrap();
        drop(hold);
        drained(life).await;
        let known = facts(life, &entry.id).await.unwrap();
        assert_eq!(known.mtime, Some(later));
        assert_eq!(known.hash, Some(hex::encode(Md5::digest(b"content"))));
    });
    assert_eq!(bench.service.calls("whole"), 1);
}

#[test]
fn nothing_is_deleted_for_a_content_that_cannot_get_its_name_or_place() {
    for (lacking, sentence) in [
        (Capability::Rename, "cannot give it its name"),
        (Capability::Move, "cannot move it to its folder"),
        (Capability::Trash, "cannot delete the file that it replaces"),
    ] {
        let bench = Bench::plain();
        let old = bench.service.put("elsewhere", "f.txt", b"old");
        bench.service.put("root", "f.txt", b"another");
        let gate = bench.service.pause_after("whole");
        bench.life(async |life| {
            let id = life.add("f.txt", b"content").await;
            gate.reached().await;
            let folder = FolderId::new("elsewhere");
            life.uploads
                .rename(id, folder, "f.txt".into(), Some(Some(old.clone())), None)
                .await
                .unwrap();
            bench.service.withdraw(lacking);
            gate.open();
            let reason = life.parked(id).await;
            assert!(reason.contains(sentence), "{reason}");
            assert!(reason.contains("f (2).txt"), "{reason}");
            assert_eq!(bench.service.file(&old).unwrap().content, b"old");
            assert!(bench.service.calls("move") + bench.service.calls("rename") == 0);
            bench.service.give_back();
            life.uploads.retry(id).await.unwrap();
            life.uploaded(id).await;
        });
        let expected = [("elsewhere/f.txt".to_owned(), b"content".to_vec())];
        assert_eq!(files(&bench)[..1], expected, "{lacking:?}");
        assert_eq!((files(&bench).len(), bench.service.calls("whole")), (2, 1));
    }
}

#[test]
fn what_a_person_deleted_for_an_account_that_cannot_is_not_asked_for_again() {
    let bench = Bench::plain();
    let old = bench.service.put("root", "f.txt", b"old");
    bench.service.withdraw(Capability::Trash);
    bench.life(async |life| {
        let id = life.add_over("f.txt", b"content", &old).await;
        life.parked(id).await;
        assert_eq!(bench.service.file(&old).unwrap().content, b"old");
        bench.service.remove(&old);
        life.uploads.retry(id).await.unwrap();
        life.uploaded(id).await;
    });
    assert_eq!(files(&bench), only("f.txt", b"content"));
    assert_eq!(bench.service.calls("whole"), 1);
}

#[test]
fn a_file_that_gave_the_name_up_after_the_look_is_left_alone() {
    let bench = Bench::plain();
    let holder = bench.service.put("root", "f.txt", b"another's");
    let sent = bench.service.pause_after("whole");
    bench.life(async |life| {
        life.add("f.txt", b"ours").await;
        sent.reached().await;
        let looked = bench.service.pause_after("list");
        sent.open();
        looked.reached().await;
        let provider = MemoryProvider::new(bench.service.clone());
        let item = ItemId::File(holder.clone());
        provider.rename(&item, "its own", None).await.unwrap();
        looked.open();
        drained(life).await;
    });
    let mut expected = only("f.txt", b"ours");
    expected.extend(only("its own", b"another's"));
    assert_eq!(files(&bench), expected);
}

#[test]
fn what_may_be_another_uploads_and_is_looked_for_is_not_put_aside() {
    let bench = Bench::plain();
    bench.service.put("root", "f.txt", b"another's");
    bench.service.fault("whole", Fault::LoseReply);
    let look = bench.service.pause_before("look");
    bench.life(async |life| {
        life.add("f.txt", b"first").await;
        look.reached().await;
        let second = life.add("f (2).txt", b"second").await;
        life.until(second, |file| file.tries > 0).await;
        look.open();
        drained(life).await;
    });
    let files = files(&bench);
    for ours in [only("f.txt", b"first"), only("f (2).txt", b"second")].concat() {
        assert!(files.contains(&ours), "{files:?}");
    }
    assert_eq!((files.len(), bench.service.calls("whole")), (3, 2), "{files:?}");
}
