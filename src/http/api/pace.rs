//! An even pace for the bytes of request bodies, shared by all requests of a client.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pieces in a second at least, so that a slow pace is an even one.
const PIECES_PER_SECOND: u64 = 10;
/// Bytes of the smallest piece.
const SMALLEST_PIECE: u64 = 1024;

/// Lets bytes pass at a rate. Those who come at the same time take turns, piece by piece.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u64,
    /// When all that has passed so far is paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: u64) -> Self {
        Pace {
            per_second: per_second.max(1),
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Bytes of the largest piece that keeps the pace even.
    pub(super) fn piece(&self, most: u64) -> u64 {
        (self.per_second / PIECES_PER_SECOND).clamp(SMALLEST_PIECE.min(most), most)
    }

    /// Waits until `bytes` may pass.
    pub(super) async fn pass(&self, bytes: u64) {
        let wait = self.take(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Nothing is saved up: after a rest the bytes pass as slowly as ever.
    fn take(&self, bytes: u64, now: Instant) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.per_second as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*paid).max(now);
        *paid = from + cost;
        from - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_and_a_rest_saves_nothing_up() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        let waits: Vec<_> = (0..4).map(|_| pace.take(500, start).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
        let later = start + Duration::from_secs(60);
        let waits: Vec<_> = (0..3).map(|_| pace.take(500, later).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000]);
    }

    #[test]
    fn pieces_are_small_where_the_pace_is_slow() {
        assert_eq!(Pace::new(10_000).piece(256 << 10), 1024);
        assert_eq!(Pace::new(500_000).piece(256 << 10), 50_000);
        assert_eq!(Pace::new(1 << 30).piece(256 << 10), 256 << 10);
    }
}
