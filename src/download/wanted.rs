//! The blocks that a read wants, as they are found one by one. What was found stays, whatever is let go elsewhere.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::cache::BLOCK;

pub(super) struct Wanted {
    /// What was asked for, in bytes of the file.
    range: Range<u64>,
    /// Bytes of the whole file, where the last block ends.
    size: u64,
    /// From the block where the range begins to the one where it ends.
    blocks: Vec<Option<Bytes>>,
}

impl Wanted {
    /// `range` is not empty and within `size`.
    pub fn new(range: Range<u64>, size: u64) -> Self {
        let count = range.end.div_ceil(BLOCK) - range.start / BLOCK;
        Wanted {
            range,
            size,
            blocks: vec![None; count as usize],
        }
    }

    fn offset(&self, index: usize) -> u64 {
        (self.range.start / BLOCK + index as u64) * BLOCK
    }

    /// The blocks that are not found yet, by offset.
    pub fn lacking(&mut self) -> impl Iterator<Item = (u64, &mut Option<Bytes>)> {
        let first = self.range.start / BLOCK;
        let blocks = self.blocks.iter_mut().enumerate();
        blocks
            .filter(|(_, block)| block.is_none())
            .map(move |(index, block)| ((first + index as u64) * BLOCK, block))
    }

    /// The blocks that are found, with their offsets.
    pub fn found(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        let blocks = self.blocks.iter().enumerate();
        blocks.filter_map(|(index, block)| Some((self.offset(index), block.as_ref()?)))
    }

    pub fn are_complete(&self) -> bool {
        self.blocks.iter().all(Option::is_some)
    }

    /// From the first block that is lacking to the end of the last one.
    pub fn gap(&self) -> Option<Range<u64>> {
        let first = self.blocks.iter().position(Option::is_none)?;
        let last = self.blocks.iter().rposition(Option::is_none)?;
        Some(self.offset(first)..(self.offset(last) + BLOCK).min(self.size))
    }

    /// The first lacking blocks in a row for which `holds`.
    pub fn gap_where(&self, holds: impl Fn(u64) -> bool) -> Option<Range<u64>> {
        let fits = |index: &usize| self.blocks[*index].is_none() && holds(self.offset(*index));
        let first = (0..self.blocks.len()).find(fits)?;
        let count = (first..self.blocks.len()).take_while(fits).count();
        Some(self.offset(first)..self.offset(first + count).min(self.size))
    }

    /// Fills in the bytes of whole blocks, the first of which is at `offset`.
    pub fn fill(&mut self, offset: u64, bytes: &Bytes) {
        let first = (offset / BLOCK - self.range.start / BLOCK) as usize;
        let mut rest = bytes.clone();
        for block in &mut self.blocks[first..] {
            if rest.is_empty() {
                return;
            }
            *block = Some(rest.split_to(rest.len().min(BLOCK as usize)));
        }
    }

    /// What was asked for, once all blocks are found. Costs a copy only where it spans blocks.
    pub fn join(&self) -> Bytes {
        let mut parts = self.found().map(|(offset, block)| {
            let start = self.range.start.saturating_sub(offset) as usize;
            let end = ((self.range.end - offset) as usize).min(block.len());
            block.slice(start..end)
        });
        if self.blocks.len() == 1 {
            return parts.next().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity((self.range.end - self.range.start) as usize);
        for part in parts {
            joined.extend_from_slice(&part);
        }
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * BLOCK + 50;

    fn content() -> Bytes {
        (0..SIZE).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn a_read_is_joined_from_the_blocks_that_it_touches() {
        for range in [
            0..SIZE,
            10..20,
            BLOCK - 1..BLOCK + 1,
            3 * BLOCK + 10..SIZE,
            0..BLOCK,
        ] {
            let mut wanted = Wanted::new(range.clone(), SIZE);
            let gap = wanted.gap().expect("nothing is found yet");
            assert_eq!(gap.start, range.start / BLOCK * BLOCK);
            wanted.fill(gap.start, &content().slice(gap.start as usize..gap.end as usize));
            assert!(wanted.are_complete() && wanted.gap().is_none());
            assert_eq!(
                wanted.join(),
                content().slice(range.start as usize..range.end as usize)
            );
        }
    }

    #[test]
    fn gaps_are_told_until_they_are_filled() {
        let mut wanted = Wanted::new(5..SIZE, SIZE);
        for (offset, block) in wanted.lacking() {
            if offset == BLOCK {
                *block = Some(content().slice(BLOCK as usize..2 * BLOCK as usize));
            }
        }
        assert_eq!(wanted.gap(), Some(0..SIZE));
        assert_eq!(wanted.gap_where(|offset| offset > 0), Some(2 * BLOCK..SIZE));
        assert_eq!(wanted.gap_where(|_| true), Some(0..BLOCK));
        assert_eq!(wanted.found().count(), 1);
    }
}
