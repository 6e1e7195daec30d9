//! Which file is worked on when.
//!
//! Each account has a queue of its own, in the order in which files are due. A number of slots limits the
//! files that are worked on at once, a part of them the large ones; which of them sends content next is decided
//! in [`super::share`]. A file that the service works on waits aside and takes no slot.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::provider::Provider;

use super::engine;
use super::handle::Uploads;
use super::poll::Polls;
use super::share::Share;
use super::table::Pick;
use super::{BaseContent, Options};

/// Bytes above which a file is a large one.
pub(super) const LARGE: u64 = 16 << 20;
/// Files that are worked on for each connection: most of a small file's time goes by in announcements and on the
/// local disk.
const FILES_PER_WORKER: usize = 3;
/// Contents hashed at once.
const HASHED_AT_ONCE: usize = 2;
/// Files that may wait aside at once; more keep their slots while they wait.
const ASIDE: usize = 256;

/// One account, as its workers use it.
pub(super) struct Account {
    pub name: String,
    pub provider: Arc<dyn Provider>,
    pub base: Arc<dyn BaseContent>,
    files: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Requests with content.
    pub share: Arc<Share>,
    /// Contents whose hashes are computed.
    pub hashing: Semaphore,
    pub polls: Polls,
    aside: Arc<Semaphore>,
    /// Wakes who picks the next file.
    wake: Arc<Notify>,
}

impl Account {
    pub fn new(
        name: String,
        provider: Arc<dyn Provider>,
        base: Arc<dyn BaseContent>,
        options: &Options,
        wake: Arc<Notify>,
    ) -> Self {
        let workers = options.of_account(&name).workers.max(1);
        Account {
            name,
            provider,
            base,
            files: Arc::new(Semaphore::new(workers * FILES_PER_WORKER)),
            large: Arc::new(Semaphore::new((workers / 2).max(1))),
            share: Share::new(workers),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            polls: Polls::default(),
            aside: Arc::new(Semaphore::new(ASIDE)),
            wake,
        }
    }
}

/// The right to send a file.
pub(super) struct Slot {
    file: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    aside: Option<OwnedSemaphorePermit>,
    wake: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.file, self.large, self.aside) = (None, None, None);
        self.wake.notify_one();
    }
}

impl Slot {
    /// Makes room for another file while this one waits for the service.
    pub fn step_aside(&mut self, account: &Account) {
        if self.aside.is_none()
            && let Ok(permit) = account.aside.clone().try_acquire_owned()
        {
            self.aside = Some(permit);
            (self.file, self.large) = (None, None);
            self.wake.notify_one();
        }
    }
}

/// Works on the files of one account until the program stops.
pub(super) async fn serve(uploads: Arc<Uploads>, account: Arc<Account>) {
    loop {
        let permit = tokio::select! {
            permit = account.files.clone().acquire_owned() => permit,
            () = uploads.stopping.cancelled() => return,
        };
        let Ok(file) = permit else { return };
        let Some(id) = next(&uploads, &account).await else {
            return;
        };
        let is_large = uploads
            .table()
            .item(id.0)
            .is_some_and(|item| item.row.size > LARGE);
        let slot = Slot {
            file: Some(file),
            large: id.1.filter(|_| is_large),
            aside: None,
            wake: account.wake.clone(),
        };
        uploads.spawn(engine::run(uploads.clone(), account.clone(), id.0, slot));
    }
}

async fn next(
    uploads: &Uploads,
    account: &Account,
) -> Option<(super::PendingId, Option<OwnedSemaphorePermit>)> {
    loop {
        if uploads.stopping.is_cancelled() {
            return None;
        }
        let large = account.large.clone().try_acquire_owned().ok();
        let pick = uploads.update(|table| table.pick(&account.name, large.is_some(), LARGE));
        let due = match pick {
            Pick::Run(id) => return Some((id, large)),
            Pick::Sleep(due) => due,
        };
        drop(large);
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep(due.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = account.wake.notified() => {}
            () = uploads.stopping.cancelled() => return None,
        }
    }
}
