//! Files of a service that had to be renamed, since a file from here has their name: what a person should hear of.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::provider::FolderId;

/// How many are remembered; older ones are in the log.
const REMEMBERED: usize = 100;

/// A file that was changed or made elsewhere and is kept under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAside {
    pub account: String,
    pub folder: FolderId,
    /// The name that it had, which a file from here has now.
    pub name: String,
    pub aside: String,
    pub at: SystemTime,
}

/// Those of this mount, oldest first.
#[derive(Debug, Default)]
pub(super) struct Asides(Mutex<VecDeque<KeptAside>>);

impl Asides {
    pub fn note(&self, kept: KeptAside) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(kept);
    }

    pub fn all(&self) -> Vec<KeptAside> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}
