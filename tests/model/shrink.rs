//! Makes a sequence that fails as short as it can be within a while.

use std::time::{Duration, Instant};

use super::episode::{Failure, Host, play};
use super::operation::Operation;

/// How often a shorter sequence may succeed before it counts as one that does not fail.
const TRIES: usize = 2;

pub fn shrink(host: Host, failure: Failure, budget: Duration) -> Failure {
    let began = Instant::now();
    let mut best = failure;
    let mut piece = best.done.len().div_ceil(2);
    while piece > 0 && began.elapsed() < budget {
        let mut at = 0;
        let mut shorter = false;
        while at < best.done.len() && began.elapsed() < budget {
            let mut candidate = best.done.clone();
            candidate.drain(at..candidate.len().min(at + piece));
            match fails(host, &candidate, best.at_the_end) {
                Some(failure) => {
                    best = failure;
                    shorter = true;
                }
                None => at += piece,
            }
        }
        if !shorter || piece > 1 {
            piece = if piece == 1 { 0 } else { piece / 2 };
        }
    }
    best
}

fn fails(host: Host, operations: &[Operation], to_the_end: bool) -> Option<Failure> {
    (0..TRIES).find_map(|_| {
        let mut left = operations.iter().cloned();
        play(host, |_| left.next(), to_the_end).err()
    })
}
