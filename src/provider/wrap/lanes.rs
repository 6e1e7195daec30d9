//! Who goes next: the tokens of an account, and those that wait for them.
//!
//! Promises an order: a lane goes before all below it, except that each of those gets one call in
//! [`SHARE`] that it has to see pass. Knows no provider and no clock but the one that it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// One of those in line, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Interactive,
    Metadata,
    Upload,
    Crawl,
}

const LANES: usize = 4;
/// How many calls a waiting lane lets pass before it gets one.
const SHARE: u32 = 15;
/// How many wait in one lane at most.
const LONGEST: usize = 4096;

/// How long the service must be content before the rate rises again, and the least time between two cuts: what
/// was under way when the first was made is refused as well and says nothing new.
const RECOVERY: Duration = Duration::from_secs(10);
const ONE_CUT: Duration = Duration::from_secs(1);
/// Calls a second that are never undercut by a service that asks for fewer without saying how few.
const LEAST: f64 = 2.0;
/// The first refusal of an account that makes few calls cuts its rate to half of this.
const FEW: f64 = 16.0;
/// Calls that may go at once while the rate is lowered.
const LOWERED_BURST: f64 = 2.0;

/// What comes in steadily up to the burst.
struct Tokens {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Tokens {
    fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Tokens {
            per_second: per_second.max(f64::MIN_POSITIVE),
            burst,
            level: burst,
            at: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.burst);
        self.at = self.at.max(now);
    }

    /// How long until `calls` may start, after [`fill`](Self::fill). What is more than a burst starts with a full
    /// one and is paid off afterwards.
    fn wait(&self, calls: f64) -> Duration {
        // What rounding loses must not be waited for again and again.
        let lacking = calls.min(self.burst) - self.level - 1e-6;
        Duration::try_from_secs_f64((lacking / self.per_second).max(0.0)).unwrap_or(Duration::MAX)
    }

    fn take(&mut self, calls: f64) {
        // Nobody owes more than a second's calls, or one large operation would keep all others out.
        self.level = (self.level - calls).max(-self.per_second.max(1.0));
    }
}

struct Waiter {
    id: u64,
    calls: f64,
    turn: Arc<Notify>,
}

#[derive(Default)]
struct Line {
    waiters: VecDeque<Waiter>,
    /// Calls of others that started while this one waited.
    passed: u32,
}

/// The line of an account.
pub(super) struct Lanes {
    /// Of all calls together; the one that bends.
    all: Tokens,
    metadata: Tokens,
    uploads: Tokens,
    full_rate: f64,
    full_burst: f64,
    /// When the rate was changed last.
    changed: Instant,
    /// No call starts before.
    rest: Option<Instant>,
    lines: [Line; LANES],
    next_id: u64,
    /// Calls of the second that began then, and of the one before.
    second: (Instant, f64, f64),
}

impl Lanes {
    pub fn new(calls_per_second: f64, upload_calls_per_second: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        let all = calls_per_second.max(upload_calls_per_second);
        Lanes {
            all: Tokens::new(all, burst, now),
            metadata: Tokens::new(calls_per_second, burst, now),
            uploads: Tokens::new(upload_calls_per_second, burst, now),
            full_rate: all.max(f64::MIN_POSITIVE),
            full_burst: burst,
            changed: now,
            rest: None,
            lines: Default::default(),
            next_id: 0,
            second: (now, 0.0, 0.0),
        }
    }

    /// Takes a place at the end of a lane, or at its head; `None` where it is full.
    pub fn join(&mut self, lane: Lane, calls: u32, first: bool) -> Option<(u64, Arc<Notify>)> {
        let line = &mut self.lines[lane as usize];
        if line.waiters.len() >= LONGEST {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let turn = Arc::new(Notify::new());
        let waiter = Waiter {
            id,
            calls: f64::from(calls),
            turn: Arc::clone(&turn),
        };
        if first {
            line.waiters.push_front(waiter);
        } else {
            line.waiters.push_back(waiter);
        }
        Some((id, turn))
    }

    /// Gives a place back.
    pub fn leave(&mut self, lane: Lane, id: u64) {
        let line = &mut self.lines[lane as usize];
        line.waiters.retain(|waiter| waiter.id != id);
        if line.waiters.is_empty() {
            line.passed = 0;
        }
        self.wake();
    }

    /// Whether it is this one's turn, in which case its place is gone and its tokens are taken. Else how long
    /// its tokens take to come, where it is the first of its lane.
    pub fn turn(&mut self, lane: Lane, id: u64, now: Instant) -> Result<(), Option<Duration>> {
        self.fill(now);
        let Some(first) = self.lines[lane as usize]
            .waiters
            .front()
            .filter(|first| first.id == id)
        else {
            return Err(None);
        };
        let calls = first.calls;
        let wait = self.wait(lane, calls, now);
        if !wait.is_zero() {
            return Err(Some(wait));
        }
        match self.chosen() {
            Some(chosen) if chosen != lane as usize => {
                // Whoever is chosen wakes this one when it has gone.
                if let Some(first) = self.lines[chosen].waiters.front() {
                    first.turn.notify_one();
                }
                return Err(None);
            }
            _ => {}
        }
        self.go(lane, calls, now);
        Ok(())
    }

    /// How long a call of this lane would wait if it were alone.
    pub fn alone(&mut self, lane: Lane, calls: u32, now: Instant) -> Duration {
        self.fill(now);
        self.wait(lane, f64::from(calls), now)
    }

    /// The service wants fewer calls, and none before the time that it asked for. Returns the rate.
    pub fn cut(&mut self, asked: Option<Duration>, now: Instant) -> f64 {
        self.fill(now);
        if let Some(until) = asked.and_then(|asked| now.checked_add(asked)) {
            self.rest = Some(self.rest.map_or(until, |rest| rest.max(until)));
        }
        let is_lowered = self.lowered(now).is_some();
        if !is_lowered || now.saturating_duration_since(self.changed) >= ONE_CUT {
            // A rate that was never used up says nothing of what the service bears.
            let (_, this, before) = self.second;
            let from = self.all.per_second.min(this.max(before).max(FEW));
            self.all.per_second = (from / 2.0).max(LEAST).min(self.full_rate);
            self.all.burst = self.full_burst.min(LOWERED_BURST);
            self.all.level = self.all.level.min(0.0);
        }
        self.changed = now;
        self.wake();
        self.all.per_second
    }

    /// Forgets what was saved up, so that what waited for a service to come back does not fall upon it at once.
    pub fn spend_savings(&mut self, now: Instant) {
        self.fill(now);
        self.all.level = self.all.level.min(LOWERED_BURST);
    }

    /// The rate, where it is lower than it may be.
    pub fn lowered(&mut self, now: Instant) -> Option<f64> {
        self.fill(now);
        (self.all.burst < self.full_burst || self.all.per_second < self.full_rate)
            .then_some(self.all.per_second)
    }

    /// How long no call starts, since the service asked for it.
    pub fn rests(&self, now: Instant) -> Option<Duration> {
        let left = self.rest?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn fill(&mut self, now: Instant) {
        while self.all.per_second < self.full_rate || self.all.burst < self.full_burst {
            if now.saturating_duration_since(self.changed) < RECOVERY {
                break;
            }
            self.changed += RECOVERY;
            self.all.fill(self.changed.min(now));
            self.all.per_second *= 2.0;
            if self.all.per_second >= self.full_rate {
                (self.all.per_second, self.all.burst) = (self.full_rate, self.full_burst);
            }
        }
        for tokens in [&mut self.all, &mut self.metadata, &mut self.uploads] {
            tokens.fill(now);
        }
        let since = now.saturating_duration_since(self.second.0);
        if since >= ONE_CUT {
            let before = if since < ONE_CUT * 2 { self.second.1 } else { 0.0 };
            self.second = (now, 0.0, before);
        }
    }

    fn own(&self, lane: Lane) -> &Tokens {
        match lane {
            Lane::Upload => &self.uploads,
            Lane::Interactive | Lane::Metadata | Lane::Crawl => &self.metadata,
        }
    }

    fn wait(&self, lane: Lane, calls: f64, now: Instant) -> Duration {
        let rest = self.rests(now).unwrap_or_default();
        let own = self.own(lane).wait(calls);
        own.max(self.all.wait(calls)).max(rest)
    }

    /// The lane that goes next. One that lacks tokens of the account alone is not overtaken by a lower one that
    /// would take them away as they come.
    fn chosen(&self) -> Option<usize> {
        const ORDER: [Lane; LANES] = [Lane::Interactive, Lane::Metadata, Lane::Upload, Lane::Crawl];
        let candidates = ORDER.into_iter().filter(|lane| {
            let first = self.lines[*lane as usize].waiters.front();
            first.is_some_and(|first| self.own(*lane).wait(first.calls).is_zero())
        });
        let mut candidates = candidates.map(|lane| lane as usize);
        let starved = candidates.clone().find(|lane| self.lines[*lane].passed >= SHARE);
        starved.or_else(|| candidates.next())
    }

    fn go(&mut self, lane: Lane, calls: f64, now: Instant) {
        self.rest = self.rest.filter(|rest| *rest > now);
        self.all.take(calls);
        match lane {
            Lane::Upload => self.uploads.take(calls),
            Lane::Interactive | Lane::Metadata | Lane::Crawl => self.metadata.take(calls),
        }
        self.second.1 += calls;
        for (other, line) in self.lines.iter_mut().enumerate() {
            if other == lane as usize {
                line.waiters.pop_front();
                line.passed = 0;
            } else if !line.waiters.is_empty() {
                line.passed = line.passed.saturating_add(1);
            }
        }
        self.wake();
    }

    /// The first of each lane looks again.
    fn wake(&self) {
        for line in &self.lines {
            if let Some(first) = line.waiters.front() {
                first.turn.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lanes in the order in which their calls go, and when the last one does.
    fn order(lanes: &mut Lanes, mut waiting: Vec<(Lane, u64)>, mut now: Instant) -> (Vec<Lane>, Instant) {
        let mut gone = Vec::new();
        while !waiting.is_empty() {
            let next = waiting
                .iter()
                .position(|(lane, id)| lanes.turn(*lane, *id, now).is_ok());
            match next {
                Some(at) => gone.push(waiting.remove(at).0),
                None => now += Duration::from_millis(1),
            }
        }
        (gone, now)
    }

    fn join(lanes: &mut Lanes, lane: Lane, count: usize) -> Vec<(Lane, u64)> {
        let one = |_| (lane, lanes.join(lane, 1, false).expect("room").0);
        (0..count).map(one).collect()
    }

    #[test]
    fn what_a_program_waits_for_goes_first_and_nothing_starves() {
        let now = Instant::now();
        let mut lanes = Lanes::new(100.0, 100.0, 1, now);
        let mut waiting = join(&mut lanes, Lane::Crawl, 4);
        waiting.extend(join(&mut lanes, Lane::Upload, 4));
        waiting.extend(join(&mut lanes, Lane::Metadata, 4));
        waiting.extend(join(&mut lanes, Lane::Interactive, 64));
        let (gone, _) = order(&mut lanes, waiting, now);
        assert!(
            gone[..15].iter().all(|lane| *lane == Lane::Interactive),
            "{gone:?}"
        );
        for lane in [Lane::Metadata, Lane::Upload, Lane::Crawl] {
            assert!(gone[15..40].contains(&lane), "{lane:?} starves: {gone:?}");
        }
        let interactive = gone[..60].iter().filter(|lane| **lane == Lane::Interactive);
        assert!(interactive.count() >= 45, "{gone:?}");
    }

    #[test]
    fn a_call_of_many_is_not_overtaken_by_calls_of_few() {
        let now = Instant::now();
        let mut lanes = Lanes::new(10.0, 10.0, 5, now);
        let spent = join(&mut lanes, Lane::Upload, 5);
        order(&mut lanes, spent, now);
        let mut waiting = join(&mut lanes, Lane::Upload, 10);
        waiting.push((
            Lane::Interactive,
            lanes.join(Lane::Interactive, 5, false).expect("room").0,
        ));
        let (gone, _) = order(&mut lanes, waiting, now);
        assert_eq!(gone[0], Lane::Interactive);
    }

    #[test]
    fn all_lanes_together_keep_to_the_rate() {
        let now = Instant::now();
        let mut lanes = Lanes::new(20.0, 20.0, 2, now);
        let mut waiting = join(&mut lanes, Lane::Upload, 21);
        waiting.extend(join(&mut lanes, Lane::Interactive, 21));
        let (_, end) = order(&mut lanes, waiting, now);
        let took = end - now;
        assert!(
            took >= Duration::from_millis(1990) && took <= Duration::from_millis(2100),
            "{took:?}"
        );
    }

    #[test]
    fn a_refused_rate_falls_once_for_all_that_was_under_way_and_rises_again() {
        let start = Instant::now();
        let mut lanes = Lanes::new(50.0, 400.0, 100, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(lanes.lowered(at(0)), None);
        assert_eq!([lanes.cut(None, at(0)), lanes.cut(None, at(300))], [8.0, 8.0]);
        assert_eq!([lanes.cut(None, at(1400)), lanes.cut(None, at(2500))], [4.0, 2.0]);
        assert_eq!(lanes.cut(None, at(4000)), 2.0, "it never stops");
        assert_eq!(lanes.lowered(at(13_000)), Some(2.0));
        assert_eq!(lanes.lowered(at(14_500)), Some(4.0));
        assert_eq!(lanes.lowered(at(200_000)), None);
    }

    #[test]
    fn nothing_starts_before_the_time_that_the_service_asked_for() {
        let now = Instant::now();
        let mut lanes = Lanes::new(50.0, 400.0, 100, now);
        lanes.cut(Some(Duration::from_secs(7)), now);
        for lane in [Lane::Interactive, Lane::Metadata, Lane::Upload, Lane::Crawl] {
            let id = lanes.join(lane, 1, false).expect("room").0;
            let early = lanes.turn(lane, id, now + Duration::from_millis(6990));
            assert!(early.is_err_and(|wait| wait.is_some()), "{lane:?}");
        }
        let id = lanes.lines[0].waiters[0].id;
        assert!(
            lanes
                .turn(Lane::Interactive, id, now + Duration::from_secs(7))
                .is_ok()
        );
    }

    #[test]
    fn a_lane_has_an_end() {
        let mut lanes = Lanes::new(1.0, 1.0, 1, Instant::now());
        join(&mut lanes, Lane::Crawl, LONGEST);
        assert!(lanes.join(Lane::Crawl, 1, false).is_none());
        assert!(lanes.join(Lane::Interactive, 1, false).is_some());
    }
}
