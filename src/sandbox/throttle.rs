//! How fast bytes may pass.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may pass at once before the pace is felt, as time at the full rate.
const SLACK: Duration = Duration::from_millis(20);

/// The most that one step takes, so that a slow pace stays even.
const STEP: u64 = 64 * 1024;

/// An even pace in bytes a second, for one stream or shared by many.
pub struct Pace {
    rate: u64,
    /// When the bytes let through so far are paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    pub fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            paid: Mutex::new(Instant::now()),
        }
    }

    /// How long to wait before the next bytes may pass; none when they may pass now.
    pub fn wait(&self) -> Option<Duration> {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        paid.checked_duration_since(Instant::now())
            .filter(|debt| *debt > SLACK)
    }

    pub fn spend(&self, bytes: usize) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        *paid = (*paid).max(Instant::now()) + cost;
    }

    /// The largest step that keeps the pace even.
    pub fn step(&self) -> usize {
        (self.rate / 20).clamp(1, STEP) as usize
    }
}
