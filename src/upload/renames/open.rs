//! The open renames in memory: the journal's rows as committed, who is at each, and when it is due.
//!
//! It promises that a row is handed to one at a time, and that whoever finishes renames is woken when there is one
//! for it. Plain data; it knows neither the journal nor the service.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::provider::{ErrorKind, FolderId, ItemId};
use crate::state::{ItemKey, RenameRow};
use crate::upload::deleter::item_of;
use crate::upload::operations::{OperationId, OperationKind, OperationState, PendingOperation};
use crate::upload::table::to_instant;

use super::row::{bearer, concerns};

struct Rename {
    row: RenameRow,
    due: Instant,
    /// Somebody is at it.
    busy: bool,
    /// Who began it takes its first step.
    is_owned: bool,
    /// What the service answered when it was tried last in this run of the program.
    failure: Option<ErrorKind>,
}

/// There are few: who renames waits for the service.
#[derive(Default)]
pub(in crate::upload) struct Renames {
    rows: HashMap<i64, Rename>,
    wakes: HashMap<String, Arc<Notify>>,
    served: HashSet<String>,
}

/// How far a rename is, for who waits for it.
pub(in crate::upload) enum Standing {
    /// Nothing of it is left to be done.
    Over,
    Open,
    /// The last try failed, and nobody is at it.
    Failed {
        kind: ErrorKind,
        error: String,
        parked: bool,
    },
}

impl Renames {
    pub fn add(&mut self, row: RenameRow, busy: bool) {
        let due = row.next_try.map_or_else(Instant::now, to_instant);
        let rename = Rename {
            due,
            busy,
            is_owned: busy,
            failure: None,
            row,
        };
        self.rows.insert(rename.row.id, rename);
    }

    pub fn serve(&mut self, account: &str) -> Arc<Notify> {
        self.served.insert(account.to_owned());
        self.wakes.entry(account.to_owned()).or_default().clone()
    }

    fn wake(&self, account: &str) {
        if let Some(wake) = self.wakes.get(account) {
            wake.notify_one();
        }
    }

    /// Rows of an account that are due, which are busy from then on; or when the next one is due.
    pub fn take(&mut self, account: &str, now: Instant) -> Result<Vec<RenameRow>, Option<Instant>> {
        let idle = |rename: &&mut Rename| rename.row.account == account && !rename.busy && !rename.row.parked;
        let (mut taken, mut next) = (Vec::new(), None::<Instant>);
        for rename in self.rows.values_mut().filter(idle) {
            if rename.due <= now {
                rename.busy = true;
                taken.push(rename.row.clone());
            } else {
                next = Some(next.map_or(rename.due, |next| next.min(rename.due)));
            }
        }
        if taken.is_empty() { Err(next) } else { Ok(taken) }
    }

    /// Takes a row over as it was committed.
    pub fn set(&mut self, row: RenameRow) {
        if let Some(rename) = self.rows.get_mut(&row.id) {
            rename.row = row;
        }
    }

    /// Notes that a try ended; the row is as committed.
    pub fn put_back(&mut self, row: RenameRow, failure: Option<ErrorKind>) {
        let account = row.account.clone();
        if let Some(rename) = self.rows.get_mut(&row.id) {
            rename.due = row.next_try.map_or_else(Instant::now, to_instant);
            (rename.busy, rename.is_owned) = (false, false);
            (rename.failure, rename.row) = (failure, row);
        }
        self.wake(&account);
    }

    /// Lets whoever finishes renames have a row at `due`.
    pub fn release(&mut self, id: i64, due: Instant) {
        let Some(rename) = self.rows.get_mut(&id) else {
            return;
        };
        (rename.busy, rename.is_owned, rename.due) = (false, false, due);
        let account = rename.row.account.clone();
        self.wake(&account);
    }

    pub fn remove(&mut self, id: i64) {
        self.rows.remove(&id);
    }

    /// An item is to be deleted, and its rows are gone.
    pub fn forget(&mut self, account: &str, item: &ItemKey) {
        self.rows
            .retain(|_, rename| rename.row.account != account || !concerns(&rename.row, item));
    }

    /// Takes a row that nobody is at; it is busy from then on.
    pub fn claim(&mut self, id: i64) -> Option<RenameRow> {
        let rename = self.rows.get_mut(&id).filter(|rename| !rename.busy)?;
        rename.busy = true;
        Some(rename.row.clone())
    }

    /// Whether work is left that goes on by itself.
    pub fn is_busy(&self) -> bool {
        let mut rows = self.rows.values();
        rows.any(|rename| !rename.row.parked && self.served.contains(&rename.row.account))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn snapshots(&self) -> Vec<PendingOperation> {
        self.rows.values().map(Rename::snapshot).collect()
    }

    /// The items whose names are still to be given, with those names.
    pub fn names(&self, account: &str) -> HashMap<ItemId, String> {
        let here = |rename: &&Rename| rename.row.account == account && rename.row.begun && !rename.row.parked;
        let rows = self.rows.values().filter(here).map(|rename| &rename.row);
        rows.map(|row| (item_of(&bearer(row)), row.to_name.clone()))
            .collect()
    }

    /// The parked rows of an item.
    pub fn parked(&self, account: &str, item: &ItemKey) -> Vec<i64> {
        let of_item = |row: &&RenameRow| row.account == account && row.parked && concerns(row, item);
        let rows = self.rows.values().map(|rename| &rename.row);
        rows.filter(of_item).map(|row| row.id).collect()
    }

    /// The rename by which an item is to get another name or place.
    pub fn of_item(&self, account: &str, item: &ItemKey) -> Option<i64> {
        let mut rows = self.rows.values().map(|rename| &rename.row);
        let open = rows.find(|row| row.account == account && !row.parked && concerns(row, item));
        open.map(|row| row.id)
    }

    /// Whether the service is being told to bring an item elsewhere, or will be: not where it is only looked up whether
    /// it was told.
    pub fn is_moving(&self, account: &str, item: &ItemKey) -> bool {
        let mut of_account = self.rows.values().filter(|rename| rename.row.account == account);
        of_account.any(|rename| {
            let goes_on = rename.row.begun || rename.is_owned;
            goes_on && !rename.row.parked && concerns(&rename.row, item)
        })
    }

    /// Has a row tried now, and forgets how its last try failed.
    pub fn urge(&mut self, id: i64) {
        let Some(rename) = self.rows.get_mut(&id).filter(|rename| !rename.busy) else {
            return;
        };
        (rename.due, rename.failure) = (Instant::now(), None);
        let account = rename.row.account.clone();
        self.wake(&account);
    }

    pub fn standing(&self, id: i64) -> Standing {
        let Some(rename) = self.rows.get(&id) else {
            return Standing::Over;
        };
        match rename.failure.filter(|_| !rename.busy) {
            Some(kind) => Standing::Failed {
                kind,
                error: rename.row.last_error.clone().unwrap_or_default(),
                parked: rename.row.parked,
            },
            None => Standing::Open,
        }
    }
}

impl Rename {
    fn snapshot(&self) -> PendingOperation {
        let row = &self.row;
        PendingOperation {
            id: OperationId::Rename(row.id),
            account: row.account.clone(),
            kind: OperationKind::Rename,
            folder: FolderId::new(row.from_folder.clone()),
            name: row.from_name.clone(),
            to: Some((FolderId::new(row.to_folder.clone()), row.to_name.clone())),
            state: OperationState::of(row.parked, self.busy, row.next_try, row.last_error.as_deref()),
            tries: row.tries,
        }
    }
}
