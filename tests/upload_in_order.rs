//! What the uploads promise on a service that appends whatever comes: each content is there once and right,
//! although a part that is sent twice would be in it twice.

#[path = "support/upload_bench.rs"]
mod upload_bench;

use lockerfs::provider::{ErrorKind, Retry};
use upload_bench::memory_provider::Fault;
use upload_bench::{Bench, long, only};

const PARTS: usize = 6;

fn content() -> Vec<u8> {
    long(PARTS as u64 - 1)
}

#[test]
fn the_parts_of_a_content_come_in_order_and_those_of_several_side_by_side() {
    for polls in [0, 2] {
        let bench = Bench::appending(polls);
        bench.life(async |life| {
            for file in 0..8 {
                life.add(&format!("f{file}"), &[&[file], &content()[..]].concat())
                    .await;
            }
            life.add("small", b"in one request").await;
            life.add("empty", b"").await;
            life.drained().await;
        });
        assert_eq!(
            (bench.service.calls("range"), bench.service.calls("whole")),
            (8 * PARTS, 2)
        );
        assert_eq!(bench.service.calls("begin"), 10);
        for (name, stored) in bench
            .service
            .files()
            .into_iter()
            .filter(|(_, stored)| stored.len() > 100)
        {
            let file = name.trim_start_matches("root/f").parse().unwrap();
            assert_eq!(stored, [&[file], &content()[..]].concat(), "{name}");
        }
    }
}

/// Faults of the first parts, then nothing; how many requests with content and announcements it takes.
fn after(faults: Vec<Option<Fault>>) -> (usize, usize) {
    let bench = Bench::appending(1);
    let gates = faults.len();
    for fault in faults {
        match fault {
            Some(fault) => bench.service.fault("range", fault),
            None => bench.service.pause_before("range").open(),
        }
    }
    bench.life(async |life| {
        life.add("f", &content()).await;
        life.drained().await;
    });
    assert_eq!(
        bench.service.files(),
        only("f", &content()),
        "after {gates} parts"
    );
    (bench.service.calls("range"), bench.service.calls("begin"))
}

#[test]
fn a_part_that_fails_or_whose_answer_is_lost_is_never_sent_again_but_all_of_it() {
    let refused = || Fault::Fail(ErrorKind::Unavailable, Retry::AfterWait(None));
    assert_eq!(after(vec![Some(refused())]), (1 + PARTS, 2));
    assert_eq!(after(vec![None, None, Some(refused())]), (3 + PARTS, 2));
    assert_eq!(after(vec![None, None, Some(Fault::LoseReply)]), (3 + PARTS, 2));
    let broken = Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown);
    assert_eq!(
        after(vec![None, Some(broken), Some(Fault::LoseReply)]),
        (3 + PARTS, 3)
    );
}

#[test]
fn what_became_of_the_last_part_is_looked_up_before_anything_is_sent_again() {
    let last = |fault| (1..PARTS).map(|_| None).chain([Some(fault)]).collect();
    assert_eq!(after(last(Fault::LoseReply)), (PARTS, 2));
    let lost = Fault::Fail(ErrorKind::Timeout, Retry::OutcomeUnknown);
    assert_eq!(after(last(lost)), (2 * PARTS, 2));
}

#[test]
fn a_content_that_is_stored_wrongly_is_sent_again_and_the_wrong_one_goes() {
    assert_eq!(after(vec![None, Some(Fault::StoreWrong)]).0, 2 * PARTS);
}

#[test]
fn after_a_crash_the_content_begins_anew_unless_it_is_there() {
    for (stands_at, more) in [(2, PARTS), (PARTS, 0)] {
        let bench = Bench::appending(0);
        let gates: Vec<_> = (0..stands_at)
            .map(|_| bench.service.pause_after("range"))
            .collect();
        gates[..stands_at - 1].iter().for_each(|gate| gate.open());
        bench.life(async |life| {
            life.add("f", &content()).await;
            gates[stands_at - 1].reached().await;
        });
        bench.service.clear_faults();
        bench.life(async |life| life.drained().await);
        assert_eq!(
            bench.service.calls("range"),
            stands_at + more,
            "after part {stands_at}"
        );
        assert_eq!(bench.service.files(), only("f", &content()));
    }
}

#[test]
fn a_content_that_is_not_wanted_any_more_is_not_sent_to_its_end() {
    let bench = Bench::appending(0);
    let gate = bench.service.pause_after("range");
    bench.life(async |life| {
        let id = life.add("f", &content()).await;
        gate.reached().await;
        life.uploads.remove(id).await.unwrap();
        gate.open();
        life.drained().await;
    });
    assert_eq!(bench.service.calls("range"), 1);
    assert!(bench.service.files().is_empty());
}
