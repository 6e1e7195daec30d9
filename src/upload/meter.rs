//! How fast bytes go: the one rate meter, for a file and for all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::http::Taken;

/// The window over which a rate is the mean.
const SLOTS: usize = 16;
const SLOT: Duration = Duration::from_millis(500);

/// Bytes a second over the last seconds.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    slots: [u64; SLOTS],
    /// The slot that is counted into, by its number since the start.
    newest: u64,
    /// When the first byte after a silence came, since the start.
    since: Duration,
}

impl Meter {
    pub fn new() -> Self {
        Meter {
            start: Instant::now(),
            window: Mutex::default(),
        }
    }

    pub fn add(&self, bytes: u64) {
        self.window().add(bytes, self.start.elapsed());
    }

    pub fn rate(&self) -> u64 {
        self.window().rate(self.start.elapsed())
    }

    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn add(&mut self, bytes: u64, now: Duration) {
        self.advance(now);
        if self.slots.iter().all(|slot| *slot == 0) {
            self.since = now;
        }
        let slot = (self.newest % SLOTS as u64) as usize;
        self.slots[slot] = self.slots[slot].saturating_add(bytes);
    }

    fn rate(&mut self, now: Duration) -> u64 {
        self.advance(now);
        let bytes: u64 = self.slots.iter().fold(0, |sum, slot| sum.saturating_add(*slot));
        let elapsed = now.saturating_sub(self.since).clamp(SLOT, SLOT * SLOTS as u32);
        (bytes as f64 / elapsed.as_secs_f64()) as u64
    }

    /// Empties the slots that passed without a byte.
    fn advance(&mut self, now: Duration) {
        let number = (now.as_millis() / SLOT.as_millis()) as u64;
        let passed = number.saturating_sub(self.newest).min(SLOTS as u64);
        for slot in (number + 1 - passed)..=number {
            self.slots[(slot % SLOTS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(number);
    }
}

/// How far the sending of one file is.
#[derive(Debug)]
pub(super) struct Progress {
    sent: AtomicU64,
    meter: Meter,
    /// That of all files.
    all: Arc<Meter>,
}

impl Progress {
    pub fn new(all: Arc<Meter>) -> Self {
        Progress {
            sent: AtomicU64::new(0),
            meter: Meter::new(),
            all,
        }
    }

    /// So many bytes are on the service, and nothing is told of when they were sent.
    pub fn begin_at(&self, bytes: u64) {
        self.sent.store(bytes, Ordering::Relaxed);
    }

    pub fn add(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.meter.add(bytes);
        self.all.add(bytes);
    }

    /// One body of `length` bytes, which count as they are taken, and no more once it is dropped unfinished.
    pub fn part(self: &Arc<Self>, length: u64) -> Part {
        Part(Arc::new(Counted {
            progress: self.clone(),
            length,
            taken: AtomicU64::new(0),
        }))
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.meter.rate()
    }
}

/// A body that is sent.
pub(super) struct Part(Arc<Counted>);

struct Counted {
    progress: Arc<Progress>,
    length: u64,
    taken: AtomicU64,
}

impl Part {
    pub fn count(&self) -> Arc<dyn Taken> {
        self.0.clone()
    }

    /// The service has all of it.
    pub fn finish(self) {
        self.0.taken(self.0.length);
        // Nothing is left to be taken back.
        self.0.taken.store(0, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let taken = self
            .0
            .taken
            .swap(self.0.length, Ordering::Relaxed)
            .min(self.0.length);
        let sent = &self.0.progress.sent;
        let _ = sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sent| {
            Some(sent.saturating_sub(taken))
        });
    }
}

impl Taken for Counted {
    /// What is sent a second time counts once.
    fn taken(&self, bytes: u64) {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed).min(self.length);
        self.progress.add(bytes.min(self.length - before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_mean_of_the_last_seconds_and_falls_to_nothing_in_silence() {
        let seconds = Duration::from_secs;
        let mut window = Window::default();
        assert_eq!(window.rate(seconds(3)), 0);
        // From the first byte on, and not from the start.
        window.add(1000, seconds(100));
        window.add(1000, seconds(101));
        assert_eq!(window.rate(seconds(102)), 1000);
        for second in 102..130 {
            window.add(500, seconds(second));
        }
        let rate = window.rate(seconds(130));
        assert!((400..=600).contains(&rate), "{rate}");
        assert_eq!(window.rate(seconds(150)), 0);
        window.add(700, seconds(200));
        assert_eq!(window.rate(seconds(201)), 700);
    }

    #[test]
    fn a_body_counts_once_however_often_it_is_sent_and_not_where_it_failed() {
        let progress = Arc::new(Progress::new(Arc::new(Meter::new())));
        progress.begin_at(100);
        let part = progress.part(50);
        part.count().taken(20);
        assert_eq!(progress.sent(), 120);
        part.count().taken(40);
        assert_eq!(progress.sent(), 150);
        part.finish();
        assert_eq!(progress.sent(), 150);
        let failed = progress.part(50);
        let late = failed.count();
        late.taken(30);
        drop(failed);
        late.taken(20);
        assert_eq!(progress.sent(), 150);
    }
}
