//! Counts of calls by name, of the bytes that came in their bodies, and of those that services fetched themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use futures_util::StreamExt;

#[derive(Default)]
pub struct Calls {
    by_name: Mutex<BTreeMap<String, Count>>,
    fetched: AtomicU64,
}

#[derive(Default)]
struct Count {
    calls: u64,
    body: Arc<AtomicU64>,
}

impl Calls {
    /// Counts a call, and the bytes of its body as they are read.
    pub fn count(&self, call: &str, body: Body) -> Body {
        let mut counts = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(call.to_owned()).or_default();
        count.calls += 1;
        let came = Arc::clone(&count.body);
        Body::from_stream(body.into_data_stream().inspect(move |bytes| {
            let size = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            came.fetch_add(size, Ordering::Relaxed);
        }))
    }

    /// Bytes that a service fetched by itself.
    pub fn count_fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn reset(&self) {
        self.by_name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.fetched.store(0, Ordering::Relaxed);
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.told(|count| count.calls)
    }

    /// Bytes of request bodies, by the call's name.
    pub fn bodies(&self) -> BTreeMap<String, u64> {
        self.told(|count| count.body.load(Ordering::Relaxed))
    }

    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    fn told(&self, what: impl Fn(&Count) -> u64) -> BTreeMap<String, u64> {
        let counts = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|(call, count)| (call.clone(), what(count)))
            .collect()
    }
}
