//! Which blocks of a content are held, and who is busy with them. Does no I/O.
//!
//! An extent that somebody reads or writes is pinned; what is pinned is not let go, so that no reader is handed the
//! zeros of a hole and no writer has its bytes punched away. A block that is being written or taken away is busy: it is
//! not held, and whoever wants to keep it waits.

use std::collections::BTreeMap;
use std::ops::Range;

use super::BLOCK;
use super::map::Record;

/// Blocks of an extent.
pub(super) const BLOCKS: u32 = 32;

/// Blocks of one extent, a bit for each.
pub(super) type Mask = u32;

#[derive(Debug)]
pub(super) struct Extent {
    held: Mask,
    /// Held blocks that need no look at their sum: written by this process, or looked at already.
    checked: Mask,
    busy: Mask,
    pins: u32,
    sums: [u32; BLOCKS as usize],
}

/// The extents of a content of which anything is held, or is being written or taken away.
#[derive(Debug, Default)]
pub(super) struct Extents {
    extents: BTreeMap<u32, Extent>,
    held: u64,
}

/// A block of which the sum is still to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unchecked {
    pub block: u32,
    pub sum: u32,
}

/// The extents that a range of blocks touches, with the blocks of each.
pub(super) fn parts(blocks: Range<u32>) -> impl Iterator<Item = (u32, Mask)> {
    let extents = if blocks.is_empty() {
        0..0
    } else {
        blocks.start / BLOCKS..(blocks.end - 1) / BLOCKS + 1
    };
    extents.map(move |extent| {
        let first = extent * BLOCKS;
        let from = blocks.start.saturating_sub(first);
        let to = (blocks.end - first).min(BLOCKS);
        (extent, mask(from..to))
    })
}

/// The bits of the blocks `within`, which are counted from the start of the extent.
pub(super) fn mask(within: Range<u32>) -> Mask {
    let below = |n: u32| ((1_u64 << n) - 1) as u32;
    below(within.end) & !below(within.start)
}

/// The blocks of a mask, counted from the start of the content.
pub(super) fn blocks(extent: u32, mask: Mask) -> impl Iterator<Item = u32> {
    let bits = (0..BLOCKS).filter(move |bit| mask & (1 << bit) != 0);
    bits.map(move |bit| extent * BLOCKS + bit)
}

/// The blocks of a mask in runs without a gap.
pub(super) fn runs(extent: u32, mask: Mask) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for block in blocks(extent, mask) {
        match runs.last_mut() {
            Some(run) if run.end == block => run.end += 1,
            _ => runs.push(block..block + 1),
        }
    }
    runs
}

impl Extents {
    /// Blocks held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The extents that hold anything.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        let extents = self.extents.iter().filter(|(_, extent)| extent.held != 0);
        extents.map(|(index, _)| *index)
    }

    /// Takes up what a map says.
    pub fn replay(records: &[Record], blocks: u32) -> (Self, bool) {
        let mut extents = Extents::default();
        let mut is_verified = false;
        for record in records {
            match *record {
                Record::Held { block, sum } if block < blocks => {
                    let bit = 1 << (block % BLOCKS);
                    let extent = extents.extent(block / BLOCKS);
                    extent.sums[(block % BLOCKS) as usize] = sum;
                    let is_new = extent.held & bit == 0;
                    extent.held |= bit;
                    extents.held += u64::from(is_new);
                }
                Record::Held { .. } => {}
                Record::Gone { first, count } => {
                    is_verified = false;
                    for (index, mask) in parts(first.min(blocks)..first.saturating_add(count).min(blocks)) {
                        extents.take(index, mask);
                        extents.tidy(index);
                    }
                }
                // Only of what is there: a block that came later was not looked at.
                Record::Verified => is_verified = extents.held == u64::from(blocks),
            }
        }
        (extents, is_verified)
    }

    /// What a map would have to say.
    pub fn records(&self) -> Vec<Record> {
        let each = self.extents.iter().flat_map(|(index, extent)| {
            blocks(*index, extent.held).map(|block| Record::Held {
                block,
                sum: extent.sums[(block % BLOCKS) as usize],
            })
        });
        each.collect()
    }

    pub fn holds(&self, blocks: Range<u32>) -> bool {
        parts(blocks).all(|(index, mask)| self.held_of(index) & mask == mask)
    }

    pub fn held_of(&self, index: u32) -> Mask {
        self.extents.get(&index).map_or(0, |extent| extent.held)
    }

    pub fn busy_of(&self, index: u32) -> Mask {
        self.extents.get(&index).map_or(0, |extent| extent.busy)
    }

    /// Whether an extent can be let go now.
    pub fn is_idle(&self, index: u32) -> bool {
        let extent = self.extents.get(&index);
        extent.is_none_or(|extent| extent.pins == 0 && extent.busy == 0)
    }

    /// Pins what a reader wants, if all of it is held. Tells which blocks it must look at.
    pub fn begin_read(&mut self, blocks_wanted: Range<u32>) -> Option<Vec<Unchecked>> {
        if !self.holds(blocks_wanted.clone()) {
            return None;
        }
        let mut unchecked = Vec::new();
        for (index, mask) in parts(blocks_wanted) {
            let extent = self.extent(index);
            extent.pins += 1;
            let sums = extent.sums;
            let look_at = blocks(index, mask & !extent.checked);
            unchecked.extend(look_at.map(|block| Unchecked {
                block,
                sum: sums[(block % BLOCKS) as usize],
            }));
        }
        Some(unchecked)
    }

    /// Ends a read that found these blocks to be as they should.
    pub fn end_read(&mut self, blocks_wanted: Range<u32>, found_right: impl Iterator<Item = u32>) {
        for block in found_right {
            let extent = self.extent(block / BLOCKS);
            extent.checked |= extent.held & (1 << (block % BLOCKS));
        }
        for (index, _) in parts(blocks_wanted) {
            let extent = self.extent(index);
            extent.pins -= 1;
            self.tidy(index);
        }
    }

    /// Pins the extent for a writer of these blocks, which are neither held nor busy.
    pub fn begin_write(&mut self, index: u32, mask: Mask) {
        let extent = self.extent(index);
        extent.busy |= mask;
        extent.pins += 1;
    }

    /// Ends a write; with sums where it was done.
    pub fn end_write(&mut self, index: u32, mask: Mask, sums: Option<&[u32]>) {
        let extent = self.extent(index);
        extent.busy &= !mask;
        extent.pins -= 1;
        if let Some(sums) = sums {
            for (block, sum) in blocks(index, mask).zip(sums) {
                extent.sums[(block % BLOCKS) as usize] = *sum;
            }
            extent.held |= mask;
            extent.checked |= mask;
            self.held += u64::from(mask.count_ones());
        }
        self.tidy(index);
    }

    /// Blocks are held no more, and busy until [`Extents::taken_away`]. Those that were held.
    pub fn begin_taking(&mut self, index: u32, mask: Mask) -> Mask {
        let taken = self.take(index, mask);
        if taken != 0 {
            self.extent(index).busy |= taken;
        }
        taken
    }

    pub fn taken_away(&mut self, index: u32, mask: Mask) {
        self.extent(index).busy &= !mask;
        self.tidy(index);
    }

    /// Takes up the blocks of a whole content.
    pub fn fill(&mut self, sums: &[u32]) {
        for (block, sum) in (0..).zip(sums) {
            let extent = self.extent(block / BLOCKS);
            extent.sums[(block % BLOCKS) as usize] = *sum;
            extent.held |= 1 << (block % BLOCKS);
        }
        self.held = sums.len() as u64;
    }

    fn take(&mut self, index: u32, mask: Mask) -> Mask {
        let Some(extent) = self.extents.get_mut(&index) else {
            return 0;
        };
        let taken = extent.held & mask;
        extent.held &= !taken;
        extent.checked &= !taken;
        self.held -= u64::from(taken.count_ones());
        taken
    }

    fn extent(&mut self, index: u32) -> &mut Extent {
        self.extents.entry(index).or_insert_with(|| Extent {
            held: 0,
            checked: 0,
            busy: 0,
            pins: 0,
            sums: [0; BLOCKS as usize],
        })
    }

    fn tidy(&mut self, index: u32) {
        if let Some(extent) = self.extents.get(&index)
            && extent.held == 0
            && extent.busy == 0
            && extent.pins == 0
        {
            self.extents.remove(&index);
        }
    }
}

/// The bytes that blocks cover in a content of `size`.
pub(super) fn bytes_of(blocks: Range<u32>, size: u64) -> Range<u64> {
    u64::from(blocks.start) * BLOCK..(u64::from(blocks.end) * BLOCK).min(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_blocks_falls_into_extents() {
        assert_eq!(parts(5..5).count(), 0);
        assert_eq!(parts(0..1).collect::<Vec<_>>(), [(0, 1)]);
        let across: Vec<_> = parts(30..66).collect();
        assert_eq!(across, [(0, 0xC000_0000), (1, u32::MAX), (2, 0b11)]);
        assert_eq!(runs(1, 0b1011), [32..34, 35..36]);
    }

    #[test]
    fn the_log_says_the_same_as_what_was_done() {
        let held = |block| Record::Held {
            block,
            sum: block + 7,
        };
        let log = [
            held(0),
            held(1),
            held(40),
            Record::Verified,
            Record::Gone { first: 1, count: 1 },
            held(99),
        ];
        let (extents, is_verified) = Extents::replay(&log, 41);
        assert!(!is_verified);
        assert_eq!(extents.held(), 2, "block 99 is beyond the end");
        assert_eq!(extents.records(), [held(0), held(40)]);
        let (_, is_verified) = Extents::replay(&[held(0), Record::Verified], 1);
        assert!(is_verified);
        let (_, is_verified) = Extents::replay(&[held(0), Record::Verified, held(1)], 2);
        assert!(!is_verified, "not all of it was there");
    }
}
