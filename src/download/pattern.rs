//! How a reader goes through its file, and what that says about what it will want.
//!
//! Reads that go on from one another are a run. A reader may have several, as a player does that takes sound and
//! picture from two places. A run from the start of a file is believed at once, one that begins elsewhere when it has
//! a length: random reads then cost what they ask for. The further a run has come, the further ahead it is
//! served. Pure: it fetches nothing and knows no time.

use std::collections::VecDeque;
use std::ops::Range;

use super::cache::BLOCK;

/// The first fetch of a file that is read from its start, in bytes.
pub(super) const FIRST: u64 = 128 * 1024;
/// A file of at most this size is fetched whole, wherever its first read is.
const SMALL: u64 = 256 * 1024;
/// How far a read may leap over bytes and still go on a run.
const LEAP: u64 = 128 * 1024;
/// How far behind the end of a run a read may begin and still belong to it: reads of several threads come out of
/// order.
const LATE: u64 = 2 * 1024 * 1024;
/// How long a run must be that did not begin at the start, before anything is fetched ahead of it.
const BELIEVED: u64 = 256 * 1024;
/// How many times what a run has read is fetched ahead of it.
const GROWTH: u64 = 3;
/// The most that is fetched before a run that goes backwards.
const BACKWARDS: u64 = 1024 * 1024;
const MAX_RUNS: usize = 4;
/// Reads elsewhere after which nothing is fetched for a run any more.
const LEFT: u32 = 8;
/// Reads at equal distances after which the next ones are foreseen, and how many of them.
const STRIDES: usize = 3;
const STRIDES_AHEAD: u64 = 3;
/// The longest distance that counts as a stride.
const MAX_STRIDE: u64 = 64 * 1024 * 1024;

pub(super) struct Pattern {
    /// Bytes of the file.
    size: u64,
    /// The last used one comes last.
    runs: VecDeque<Run>,
    /// Where the last runs began.
    starts: VecDeque<u64>,
}

struct Run {
    start: u64,
    end: u64,
    /// Bytes read.
    read: u64,
    /// Bytes by which it goes backwards.
    backwards: u64,
    /// Up to where it is known to be served.
    served: u64,
    /// Reads since its last one.
    idle: u32,
}

impl Run {
    fn came_to(&self, at: u64) -> bool {
        (self.start..=self.end).contains(&at)
    }

    /// Whether a read begins about where the run ends, or ends about where it begins.
    fn is_gone_on_by(&self, range: &Range<u64>) -> bool {
        let leap = self.read.clamp(LEAP, LATE);
        let ahead = range.start <= self.end.saturating_add(leap);
        let late = range.start.saturating_add(LATE) >= self.end && range.start >= self.start;
        let before = range.start < self.start && range.end.saturating_add(LEAP) >= self.start;
        ahead && late || before
    }
}

/// What a read wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// What to fetch where it is not at hand: the read and what belongs to it.
    pub fetch: Range<u64>,
    /// What to have at hand or on its way ahead of need. May be empty.
    pub ahead: Range<u64>,
    /// Places of reads that are foreseen, each with its length.
    pub foreseen: Vec<Range<u64>>,
}

impl Pattern {
    pub fn new(size: u64) -> Self {
        Pattern {
            size,
            runs: VecDeque::new(),
            starts: VecDeque::new(),
        }
    }

    /// Notes a read, which is not empty and within the file. `most` is how far ahead of it may be fetched, in bytes.
    pub fn note(&mut self, range: &Range<u64>, most: u64) -> Plan {
        if self.size <= SMALL {
            return Plan::of(0..self.size);
        }
        for run in &mut self.runs {
            run.idle = run.idle.saturating_add(1);
        }
        match self.runs.iter().rposition(|run| run.is_gone_on_by(range)) {
            Some(index) if range.start < self.runs[index].start => self.go_back(index, range),
            Some(index) => self.go_on(index, range, most),
            None => self.begin(range),
        }
    }

    /// Whether a fetch of these bytes may still be of use.
    pub fn may_want(&self, range: &Range<u64>, most: u64) -> bool {
        self.size <= SMALL
            || self.runs.iter().filter(|run| run.idle < LEFT).any(|run| {
                let near = run
                    .start
                    .saturating_sub(BACKWARDS)
                    .max(run.end.saturating_sub(LATE))
                    ..run.end.saturating_add(most.max(FIRST));
                range.start < near.end && near.start < range.end
            })
    }

    /// Up to where the bytes ahead of the run that came to `at` are known to be at hand or on their way.
    pub fn served(&self, at: u64) -> u64 {
        let run = self.runs.iter().rfind(|run| run.came_to(at));
        run.map_or(0, |run| run.served)
    }

    pub fn note_served(&mut self, at: u64, to: u64) {
        if let Some(run) = self.runs.iter_mut().rfind(|run| run.came_to(at)) {
            run.served = to;
        }
    }

    fn go_on(&mut self, index: usize, range: &Range<u64>, most: u64) -> Plan {
        let mut run = self.take(index);
        run.idle = 0;
        run.read += range.end - range.start;
        run.backwards = 0;
        let leapt_over = run.end.min(range.start)..range.end;
        run.end = run.end.max(range.end);
        let reach = match run.start == 0 || run.read >= BELIEVED {
            true => run.read.saturating_mul(GROWTH).min(most),
            false => 0,
        };
        let ahead = run.end..run.end.saturating_add(reach).min(self.size);
        self.runs.push_back(run);
        Plan {
            ahead,
            ..Plan::of(leapt_over)
        }
    }

    fn go_back(&mut self, index: usize, range: &Range<u64>) -> Plan {
        let mut run = self.take(index);
        run.idle = 0;
        run.read += range.end - range.start;
        run.backwards += run.start - range.start;
        run.start = range.start;
        let reach = match run.backwards >= BELIEVED / 2 {
            true => run.backwards.min(BACKWARDS),
            false => 0,
        };
        self.runs.push_back(run);
        Plan::of(range.start.saturating_sub(reach)..range.end)
    }

    fn begin(&mut self, range: &Range<u64>) -> Plan {
        if self.runs.len() == MAX_RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Run {
            start: range.start,
            end: range.end,
            read: range.end - range.start,
            backwards: 0,
            served: 0,
            idle: 0,
        });
        if self.starts.len() == STRIDES + 1 {
            self.starts.pop_front();
        }
        self.starts.push_back(range.start);
        if range.start == 0 {
            return Plan::of(0..range.end.max(FIRST).min(self.size));
        }
        Plan {
            foreseen: self.foreseen(range),
            ..Plan::of(range.clone())
        }
    }

    /// The next reads of a reader that goes on by equal strides.
    fn foreseen(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let strides: Vec<i128> = self
            .starts
            .iter()
            .zip(self.starts.iter().skip(1))
            .map(|(from, to)| i128::from(*to) - i128::from(*from))
            .collect();
        let Some(stride) = strides.first().copied() else {
            return Vec::new();
        };
        let alike = strides.len() == STRIDES && strides.iter().all(|other| *other == stride);
        if !alike || stride.unsigned_abs() > u128::from(MAX_STRIDE) {
            return Vec::new();
        }
        (1..=STRIDES_AHEAD)
            .filter_map(|count| u64::try_from(i128::from(range.start) + stride * i128::from(count)).ok())
            .filter(|start| *start < self.size)
            .map(|start| start..start.saturating_add(range.end - range.start).min(self.size))
            .collect()
    }

    fn take(&mut self, index: usize) -> Run {
        // The index was found a moment ago under the same borrow.
        self.runs.remove(index).unwrap_or(Run {
            start: 0,
            end: 0,
            read: 0,
            backwards: 0,
            served: 0,
            idle: 0,
        })
    }
}

impl Plan {
    fn of(fetch: Range<u64>) -> Self {
        let end = fetch.end;
        Plan {
            fetch,
            ahead: end..end,
            foreseen: Vec::new(),
        }
    }

    /// Notes that everything up to `end` will be wanted.
    pub fn extend(&mut self, end: u64) {
        if end > self.fetch.end {
            self.fetch.end = end;
            self.ahead = end.max(self.ahead.start)..end.max(self.ahead.end);
        }
    }

    /// Whether any of these bytes are to be fetched or to be had ahead.
    pub fn wants(&self, range: &Range<u64>) -> bool {
        range.start < self.ahead.end.max(self.fetch.end) && self.fetch.start < range.end
    }

    /// What to fetch, from the start of a block to the end of one or of the file.
    pub fn blocks(&self, size: u64) -> Range<u64> {
        self.fetch.start / BLOCK * BLOCK..self.fetch.end.next_multiple_of(BLOCK).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * 1024;
    const SIZE: u64 = 8 << 30;
    const MOST: u64 = 64 * MIB;

    fn note(pattern: &mut Pattern, start: u64, len: u64) -> Plan {
        pattern.note(&(start..start + len), MOST)
    }

    #[test]
    fn the_head_of_a_file_costs_little() {
        let mut pattern = Pattern::new(SIZE);
        let plan = note(&mut pattern, 0, 4 * KIB);
        assert_eq!(plan.fetch, 0..FIRST);
        assert!(plan.ahead.is_empty());
        assert!(note(&mut pattern, 4 * KIB, 12 * KIB).ahead.end <= FIRST);
    }

    #[test]
    fn who_goes_on_is_served_further_and_further_ahead() {
        let mut pattern = Pattern::new(SIZE);
        let mut ahead = 0;
        for at in 0..2000 {
            let plan = note(&mut pattern, at * 128 * KIB, 128 * KIB);
            assert_eq!(plan.fetch.start, at * 128 * KIB);
            let now = plan.ahead.end - plan.ahead.start;
            assert!(now >= ahead && now <= MOST);
            ahead = now;
        }
        assert_eq!(ahead, MOST);
    }

    #[test]
    fn reads_that_come_out_of_order_are_one_run() {
        let mut pattern = Pattern::new(SIZE);
        note(&mut pattern, 0, 4 * KIB);
        for at in [2, 0, 3, 1, 5, 4] {
            note(&mut pattern, at * 128 * KIB, 128 * KIB);
        }
        assert_eq!(pattern.runs.len(), 2, "the leap to 256 KiB began a run");
        let plan = note(&mut pattern, 768 * KIB, 128 * KIB);
        assert!(plan.ahead.end - plan.ahead.start >= 512 * KIB);
    }

    #[test]
    fn random_reads_get_what_they_ask_for() {
        let mut pattern = Pattern::new(SIZE);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let at = random.u64(MIB..SIZE - MIB);
            let plan = note(&mut pattern, at, 48 * KIB);
            assert_eq!(plan, Plan::of(at..at + 48 * KIB));
            // The kernel splits a read in two.
            let rest = note(&mut pattern, at + 48 * KIB, 16 * KIB);
            assert_eq!(rest, Plan::of(at + 48 * KIB..at + 64 * KIB));
        }
    }

    #[test]
    fn two_places_read_in_turn_are_two_runs() {
        let mut pattern = Pattern::new(SIZE);
        let mut last = Vec::new();
        for step in 0..100 {
            last = [0, 4 << 30]
                .map(|place| note(&mut pattern, place + step * 64 * KIB, 64 * KIB))
                .to_vec();
        }
        for plan in last {
            assert!(plan.ahead.end - plan.ahead.start > 10 * MIB, "{plan:?}");
        }
    }

    #[test]
    fn a_run_is_served_by_itself_whichever_was_read_last() {
        let mut pattern = Pattern::new(SIZE);
        let far = note(&mut pattern, 4 << 30, MIB).ahead.start;
        let near = note(&mut pattern, 0, MIB).ahead.start;
        pattern.note_served(far, 5 << 30);
        pattern.note_served(near, 2 * MIB);
        assert_eq!((pattern.served(far), pattern.served(near)), (5 << 30, 2 * MIB));
    }

    #[test]
    fn who_reads_backwards_gets_what_comes_before_along() {
        let mut pattern = Pattern::new(SIZE);
        let mut fetched = SIZE;
        let mut fetches = 0;
        for step in 1..=256 {
            let start = SIZE - step * 64 * KIB;
            let plan = note(&mut pattern, start, 64 * KIB);
            if start < fetched {
                fetches += 1;
                fetched = plan.fetch.start;
            }
        }
        assert!(fetches <= 32, "{fetches} fetches for 16 MiB");
    }

    #[test]
    fn equal_strides_are_foreseen() {
        let mut pattern = Pattern::new(SIZE);
        let mut plan = Plan::of(0..0);
        for step in 1..=5 {
            plan = note(&mut pattern, step * 10 * MIB, 32 * KIB);
        }
        let next: Vec<u64> = plan.foreseen.iter().map(|range| range.start).collect();
        assert_eq!(next, [60 * MIB, 70 * MIB, 80 * MIB]);
    }

    #[test]
    fn a_small_file_is_fetched_whole() {
        let mut pattern = Pattern::new(SMALL);
        assert_eq!(note(&mut pattern, 100 * KIB, 4 * KIB).fetch, 0..SMALL);
    }
}
