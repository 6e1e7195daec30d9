//! What a service notes beside the accounts' trees where each account is the only one of a host.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What is noted of one host.
pub trait Stamped: Default {
    /// Moves with every change that must outlive a restart.
    fn stamp(&self) -> u64;
}

/// The hosts of one service, by their accounts' names.
#[derive(Default, Serialize, Deserialize)]
pub struct Hosts<T> {
    hosts: HashMap<String, T>,
}

impl<T: Stamped> Hosts<T> {
    pub fn stamp(&self) -> u64 {
        self.hosts.values().map(Stamped::stamp).sum()
    }

    pub fn host(&mut self, account: &str) -> &mut T {
        self.hosts.entry(account.to_owned()).or_default()
    }

    /// One that was noted before.
    pub fn known(&self, account: &str) -> Option<&T> {
        self.hosts.get(account)
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.hosts.values()
    }
}
