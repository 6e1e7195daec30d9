//! Sets of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of bytes, kept as ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    /// Start to end (exclusive).
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back()
            && e >= start
        {
            self.ranges.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.ranges.insert(start, end);
    }

    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.ranges.range(..range.end).next_back()
            && e > range.start
        {
            self.ranges.remove(&s);
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
            if s < range.start {
                self.ranges.insert(s, range.start);
            }
        }
    }

    /// The parts of `range` that are in the set.
    pub fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() {
            return Vec::new();
        }
        let first = self
            .ranges
            .range(..=range.start)
            .next_back()
            .map_or(range.start, |(&start, _)| start);
        self.ranges
            .range(first..range.end)
            .map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = RangeSet::default();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(set(&[0..2, 4..6, 2..4]).iter().collect::<Vec<_>>(), vec![0..6; 1]);
        assert_eq!(set(&[5..9, 0..1, 3..6]).iter().collect::<Vec<_>>(), [0..1, 3..9]);
    }

    #[test]
    fn removing_the_middle_leaves_both_ends() {
        let mut ranges = set(&[0..10, 20..30]);
        ranges.remove(5..25);
        assert_eq!(ranges, set(&[0..5, 25..30]));
        assert_eq!(ranges.within(4..26), [4..5, 25..26]);
        assert!(ranges.within(5..25).is_empty());
    }

    #[test]
    fn it_agrees_with_a_map_of_single_bytes() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut ranges, mut bytes) = (RangeSet::default(), [false; 64]);
        for _ in 0..20_000 {
            let (a, b) = (random.usize(0..=64), random.usize(0..=64));
            let (start, end) = (a.min(b), a.max(b));
            let add = random.bool();
            bytes[start..end].fill(add);
            if add {
                ranges.insert(start as u64..end as u64);
            } else {
                ranges.remove(start as u64..end as u64);
            }
            let expected: RangeSet = (0..64).filter(|i| bytes[*i as usize]).map(|i| i..i + 1).collect();
            assert_eq!(ranges, expected);
            let (a, b) = (random.u64(0..=64), random.u64(0..=64));
            let part = a.min(b)..a.max(b);
            let inside: u64 = ranges
                .within(part.clone())
                .iter()
                .map(|range| range.end - range.start)
                .sum();
            assert_eq!(inside, part.filter(|i| bytes[*i as usize]).count() as u64);
        }
    }
}
