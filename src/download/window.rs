//! A contiguous part of a file in memory, fed at its end and let go at its start.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Bytes `start..end` of a file, in the pieces in which they arrived.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Each piece with the offset of its first byte.
    pieces: VecDeque<(u64, Bytes)>,
    start: u64,
    end: u64,
}

impl Window {
    /// An empty window that will be fed from `offset` on.
    pub fn at(offset: u64) -> Self {
        Window {
            pieces: VecDeque::new(),
            start: offset,
            end: offset,
        }
    }

    /// A window of one piece.
    pub fn of(offset: u64, bytes: Bytes) -> Self {
        let mut window = Window::at(offset);
        window.push(bytes);
        window
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let offset = self.end;
            self.end += bytes.len() as u64;
            self.pieces.push_back((offset, bytes));
        }
    }

    /// Lets go of whole pieces that end at or before `offset`.
    pub fn drop_before(&mut self, offset: u64) {
        while let Some((at, piece)) = self.pieces.front() {
            if at + piece.len() as u64 > offset {
                return;
            }
            self.start = at + piece.len() as u64;
            self.pieces.pop_front();
        }
    }

    /// The bytes of `range`, where the window holds all of them. Costs a copy only where the range spans
    /// pieces.
    pub fn get(&self, range: Range<u64>) -> Option<Bytes> {
        if range.start < self.start || range.end > self.end || range.is_empty() {
            return None;
        }
        let first = self
            .pieces
            .partition_point(|(at, piece)| at + piece.len() as u64 <= range.start);
        let mut parts = self.pieces.range(first..).map_while(|(at, piece)| {
            let from = range.start.saturating_sub(*at) as usize;
            let to = (range.end.saturating_sub(*at) as usize).min(piece.len());
            (*at < range.end).then(|| piece.slice(from..to))
        });
        let head = parts.next()?;
        let wanted = (range.end - range.start) as usize;
        if head.len() == wanted {
            return Some(head);
        }
        let mut joined = BytesMut::with_capacity(wanted);
        joined.extend_from_slice(&head);
        for part in parts {
            joined.extend_from_slice(&part);
        }
        Some(joined.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let mut window = Window::at(100);
        window.push(Bytes::from_static(b"abcd"));
        window.push(Bytes::from_static(b"efgh"));
        window.push(Bytes::from_static(b"ij"));
        window
    }

    #[test]
    fn a_range_within_and_across_pieces_is_served() {
        let window = window();
        assert_eq!(window.get(101..103).as_deref(), Some(&b"bc"[..]));
        assert_eq!(window.get(102..109).as_deref(), Some(&b"cdefghi"[..]));
        assert_eq!(window.get(100..110).as_deref(), Some(&b"abcdefghij"[..]));
    }

    #[test]
    fn what_is_not_held_is_not_served() {
        let mut window = window();
        assert_eq!(window.get(99..101), None);
        assert_eq!(window.get(108..111), None);
        window.drop_before(105);
        assert_eq!(window.start(), 104);
        assert_eq!(window.get(103..105), None);
        assert_eq!(window.get(104..106).as_deref(), Some(&b"ef"[..]));
    }

    #[test]
    fn an_emptied_window_goes_on_where_it_was() {
        let mut window = window();
        window.drop_before(500);
        assert_eq!((window.start(), window.end(), window.len()), (110, 110, 0));
        window.push(Bytes::from_static(b"k"));
        assert_eq!(window.get(110..111).as_deref(), Some(&b"k"[..]));
    }
}
