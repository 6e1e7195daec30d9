//! How many calls come within a second: what was seen, and what a service takes.
//!
//! Downloads and pages for people are no calls of an API and have no part in either. A call that is refused came all
//! the same, so it counts for what was seen; it does not count against the calls that the service takes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::faults::Fault;

const SECOND: Duration = Duration::from_secs(1);

/// What a service answers beyond the calls that it takes.
#[derive(Clone, Debug, Deserialize)]
pub struct Limit {
    /// 0 for no limit.
    calls_per_second: usize,
    answer: Answer,
    /// Seconds, told with the status 429.
    #[serde(default)]
    retry_after: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Answer {
    #[serde(rename = "429")]
    TooManyRequests,
    /// MediaFire: the request limit has been reached.
    #[serde(rename = "163")]
    RequestLimit,
    /// MediaFire: rate limit exceeded.
    #[serde(rename = "261")]
    RateLimit,
}

impl Limit {
    fn refusal(&self) -> Fault {
        match self.answer {
            Answer::TooManyRequests => Fault::Status {
                status: 429,
                retry_after: self.retry_after,
            },
            Answer::RequestLimit => Fault::Error { code: 163 },
            Answer::RateLimit => Fault::Error { code: 261 },
        }
    }
}

#[derive(Default)]
pub struct Rate(Mutex<State>);

#[derive(Default)]
struct State {
    came: VecDeque<Instant>,
    busiest: usize,
    taken: VecDeque<Instant>,
    limit: Option<Limit>,
    refused: u64,
}

impl Rate {
    pub fn set_limit(&self, limit: Limit) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken.clear();
        state.limit = (limit.calls_per_second > 0).then_some(limit);
    }

    /// Notes that a call came now, and tells how it is refused, if it is.
    pub fn note(&self, call: &str) -> Option<Fault> {
        self.note_at(call, Instant::now())
    }

    fn note_at(&self, call: &str, now: Instant) -> Option<Fault> {
        if !is_of_an_api(call) {
            return None;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        slide(&mut state.came, now);
        state.came.push_back(now);
        state.busiest = state.busiest.max(state.came.len());
        let limit = state.limit.as_ref()?;
        slide(&mut state.taken, now);
        if state.taken.len() >= limit.calls_per_second {
            state.refused += 1;
            return Some(limit.refusal());
        }
        state.taken.push_back(now);
        None
    }

    /// The most calls that came within any one second, and how many were refused.
    pub fn seen(&self) -> (usize, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.busiest, state.refused)
    }

    /// Forgets what was seen. The limit stays.
    pub fn reset(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.came.clear();
        state.busiest = 0;
        state.refused = 0;
    }
}

fn slide(window: &mut VecDeque<Instant>, now: Instant) {
    while window
        .front()
        .is_some_and(|first| now.saturating_duration_since(*first) >= SECOND)
    {
        window.pop_front();
    }
}

fn is_of_an_api(call: &str) -> bool {
    let name = call.strip_prefix("v2/").unwrap_or(call);
    !matches!(
        name,
        "download" | "download_head" | "redirect" | "page" | "error" | "unknown"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(json: serde_json::Value) -> Limit {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_busiest_second_slides() {
        let (rate, began) = (Rate::default(), Instant::now());
        for milliseconds in [0, 600, 900, 1100, 1500, 3000] {
            let _ = rate.note_at("x/y", began + Duration::from_millis(milliseconds));
        }
        for _ in 0..9 {
            let _ = rate.note_at("download", began + Duration::from_millis(1500));
        }
        assert_eq!(rate.seen(), (4, 0));
        rate.reset();
        assert_eq!(rate.seen(), (0, 0));
    }

    #[test]
    fn what_is_beyond_the_limit_is_refused_and_takes_no_place() {
        let (rate, began) = (Rate::default(), Instant::now());
        rate.set_limit(limit(
            serde_json::json!({"calls_per_second": 2, "answer": "429", "retry_after": 3}),
        ));
        let refused = Fault::Status {
            status: 429,
            retry_after: Some(3),
        };
        let note = |milliseconds| rate.note_at("x/y", began + Duration::from_millis(milliseconds));
        assert_eq!([note(0), note(500)], [None, None]);
        assert_eq!(
            [note(600), note(999)],
            [Some(refused.clone()), Some(refused.clone())]
        );
        assert_eq!([note(1000), note(1400)], [None, Some(refused)]);
        assert_eq!(rate.seen().1, 3);
        rate.set_limit(limit(serde_json::json!({"calls_per_second": 0, "answer": "163"})));
        assert_eq!(note(1401), None);
    }
}
