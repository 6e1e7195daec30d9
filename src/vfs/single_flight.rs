//! One piece of work for all who want the same thing at the same time.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::error::{Error, Result};

type Outcome = Option<Result<()>>;

/// Runs at most one task for a key. The task goes on when those who wait for it give up.
pub struct SingleFlight<K> {
    flights: Arc<Mutex<HashMap<K, watch::Receiver<Outcome>>>>,
}

impl<K: Hash + Eq + Clone + Send + 'static> SingleFlight<K> {
    pub fn new() -> Self {
        SingleFlight {
            flights: Arc::default(),
        }
    }

    /// Whether work is under way for a key.
    pub fn is_under_way(&self, key: &K) -> bool {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.contains_key(key)
    }

    /// Joins the flight of `key`, or starts one.
    pub fn fly<F>(&self, runtime: &tokio::runtime::Handle, key: K, work: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = flights.get(&key) {
            return Flight(outcome.clone());
        }
        let (tell, outcome) = watch::channel(None);
        flights.insert(key.clone(), outcome.clone());
        let landing = Landing {
            flights: self.flights.clone(),
            key,
        };
        let work = work();
        runtime.spawn(async move {
            let result = work.await;
            drop(landing);
            tell.send_replace(Some(result));
        });
        Flight(outcome)
    }
}

/// Takes the flight off the list, also when the work panics.
struct Landing<K: Hash + Eq> {
    flights: Arc<Mutex<HashMap<K, watch::Receiver<Outcome>>>>,
    key: K,
}

impl<K: Hash + Eq> Drop for Landing<K> {
    fn drop(&mut self) {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

/// A running piece of work.
pub struct Flight(watch::Receiver<Outcome>);

impl Flight {
    pub async fn landed(mut self) -> Result<()> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::told(libc::EIO, "the work that was waited for broke off")),
        }
    }
}
