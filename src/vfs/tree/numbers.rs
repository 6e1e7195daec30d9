//! Inode numbers: each is given out once, over all mounts of a state directory.

use std::ops::Range;

/// Where numbers come from that the index must not hear of, when it cannot be had.
const UNKEPT: u64 = 1 << 62;

/// Below this many left, more are to be brought.
const FEW: u64 = 1 << 15;

/// Numbers that were set apart for this mount.
#[derive(Debug, Default)]
pub struct Numbers {
    now: Range<u64>,
    then: Range<u64>,
    given: u64,
}

impl Numbers {
    pub fn new(set_apart: Range<u64>) -> Self {
        Numbers {
            now: set_apart,
            ..Numbers::default()
        }
    }

    pub fn next(&mut self) -> u64 {
        if self.now.is_empty() {
            self.now = std::mem::take(&mut self.then);
        }
        self.now.next().unwrap_or_else(|| {
            self.given += 1;
            UNKEPT + self.given
        })
    }

    /// Whether more should be set apart.
    pub fn are_few(&self) -> bool {
        self.then.is_empty() && self.now.end.saturating_sub(self.now.start) < FEW
    }

    pub fn add(&mut self, set_apart: Range<u64>) {
        self.then = set_apart;
    }

    /// What is left of the last ones that were set apart.
    pub fn unused(&self) -> Range<u64> {
        if self.then.is_empty() {
            self.now.clone()
        } else {
            self.then.clone()
        }
    }
}

/// Whether an inode may be kept under this number.
pub fn is_kept(ino: u64) -> bool {
    ino < UNKEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice_and_none_is_kept_that_was_not_set_apart() {
        let mut numbers = Numbers::new(5..7);
        assert!(numbers.are_few());
        numbers.add(20..21);
        assert_eq!(numbers.unused(), 20..21);
        let given: Vec<u64> = (0..5).map(|_| numbers.next()).collect();
        assert_eq!(given[..3], [5, 6, 20]);
        assert!(!is_kept(given[3]) && !is_kept(given[4]) && given[3] != given[4]);
        assert!(is_kept(20));
    }
}
