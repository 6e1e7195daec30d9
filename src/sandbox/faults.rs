//! What goes wrong on purpose: by rules set through the admin page, and by a seeded share of all calls.
//!
//! A rule names a call as `GET /sandbox/calls` counts it, or the beginning of such names with `*` after it. Files that
//! services fetch by themselves are asked for by `upload/add_web_upload`, `mirrorace/upload/remote` and
//! `mirrored_to/api_remote_upload`; the downloads in these are calls of their own, counted as any.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

/// One mishap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// An HTTP status instead of an answer; the call has no effect.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// The connection breaks in the middle of the longer body: the request's, and the call has no effect, or
    /// the answer's, after it took effect.
    Reset,
    /// The answer ends half way: JSON is cut, data ends before its length.
    Truncate,
    /// The answer stops half way, and the connection stays open.
    Stall,
    /// A part of a file that is told to be another part.
    WrongRange,
    /// An answer's first byte is another.
    WrongByte,
    /// A web page in place of an answer; the call has no effect.
    Html,
    /// The call takes effect, then the connection breaks without an answer.
    LostReply,
    /// The token that the call came with dies before the call is looked at.
    ExpireToken,
    /// An error of MediaFire's own kind, by its number.
    Error { code: i64 },
    /// An error of YetiShare's own kind, which has a text and no number.
    Say { text: String },
    /// A link call that succeeds but gives no direct link for the files in it. MediaFire only.
    LinkError { code: i64 },
    /// An upload, by bytes or from a link, that ends with this error when it is assembled. MediaFire only.
    FileError { code: i64 },
    /// An upload of which the service stores something else, and tells so. YetiShare only.
    StoreWrong { what: Wrong },
    /// An upload that lands in the root, whatever folder was asked for. YetiShare only.
    WrongFolder,
    /// The call is held up, then carried out.
    Delay { milliseconds: u64 },
    /// The call is carried out, then its answer is held up.
    LateReply { milliseconds: u64 },
}

/// What is wrong with content that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// Its last byte is missing, or doubled where it is the only one.
    Size,
    /// Its first byte differs.
    Hash,
}

impl Fault {
    /// What a service says whose errors have a text and no number. A rule for any call may be meant for MediaFire: its
    /// number becomes a text.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Say { text } => Some(text.clone()),
            Self::Error { code } => Some(format!("Error {code}.")),
            _ => None,
        }
    }

    pub fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Rule {
    #[serde(rename = "match")]
    matches: String,
    #[serde(flatten)]
    fault: Fault,
    /// How often the rule strikes before it is spent; without it, for ever.
    #[serde(default)]
    times: Option<u64>,
    /// The share of matching calls that it strikes; without it, all.
    #[serde(default)]
    rate: Option<f64>,
    /// How many matching calls pass first.
    #[serde(default)]
    skip: u64,
    /// Of the matching calls after those, only each of this number is struck.
    #[serde(default)]
    every: Option<NonZeroU64>,
    /// The calls that `every` let pass since it last struck.
    #[serde(skip)]
    passed: u64,
}

impl Rule {
    fn matches(&self, call: &str) -> bool {
        match self.matches.strip_suffix('*') {
            Some(prefix) => call.starts_with(prefix),
            None => self.matches == call,
        }
    }
}

pub struct Faults {
    rate: f64,
    state: Mutex<State>,
}

struct State {
    rules: Vec<Rule>,
    dice: fastrand::Rng,
}

impl Faults {
    pub fn new(rate: f64, seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self {
            rate,
            state: Mutex::new(State {
                rules: Vec::new(),
                dice,
            }),
        }
    }

    /// Puts these rules in the place of the former ones.
    pub fn set(&self, rules: Vec<Rule>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rules = rules;
    }

    /// What befalls this call, if anything. The first rule that strikes wins, and then the dice.
    pub fn draw(&self, call: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { rules, dice } = &mut *state;
        for rule in rules.iter_mut().filter(|rule| rule.matches(call)) {
            if rule.times == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.every.is_some_and(|every| rule.passed + 1 < every.get()) {
                rule.passed += 1;
                continue;
            }
            rule.passed = 0;
            if rule.rate.is_some_and(|rate| dice.f64() >= rate) {
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            return Some(rule.fault.clone());
        }
        if self.rate > 0.0 && dice.f64() < self.rate {
            return Some(match dice.u8(0..5) {
                0 => Fault::Status {
                    status: 503,
                    retry_after: None,
                },
                1 => Fault::Reset,
                2 => Fault::Truncate,
                3 => Fault::LostReply,
                _ => Fault::Html,
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: serde_json::Value) -> Vec<Rule> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_rule_skips_strikes_and_is_spent() {
        let faults = Faults::new(0.0, 1);
        faults.set(rules(serde_json::json!([
            {"match": "upload/*", "fault": "status", "status": 503, "retry_after": 1, "times": 1, "skip": 1}
        ])));
        assert_eq!(faults.draw("upload/simple"), None);
        assert_eq!(faults.draw("folder/create"), None);
        let fault = Fault::Status {
            status: 503,
            retry_after: Some(1),
        };
        assert_eq!(faults.draw("upload/simple"), Some(fault));
        assert_eq!(faults.draw("upload/simple"), None);
    }

    #[test]
    fn a_rule_strikes_each_call_of_a_number_until_it_is_spent() {
        let faults = Faults::new(0.0, 1);
        faults.set(rules(serde_json::json!([
            {"match": "*", "fault": "reset", "every": 3, "skip": 1, "times": 2}
        ])));
        let struck: Vec<bool> = (0..13).map(|_| faults.draw("x/y").is_some()).collect();
        let at: Vec<usize> = (0..13).filter(|at| struck[*at]).collect();
        assert_eq!(at, [3, 6]);
    }

    #[test]
    fn the_same_seed_gives_the_same_mishaps() {
        let draws = |seed| {
            let faults = Faults::new(0.3, seed);
            (0..50).map(|_| faults.draw("x/y")).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }
}
