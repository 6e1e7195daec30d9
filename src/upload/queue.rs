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
use super::table::{Kind, Pick};
use super::{BaseContent, Options};

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
    small: Arc<Semaphore>,
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
            small: Arc::new(Semaphore::new(workers * FILES_PER_WORKER)),
            large: Arc::new(Semaphore::new((workers / 2).max(1))),
            share: Share::new(workers),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            polls: Polls::default(),
            aside: Arc::new(Semaphore::new(ASIDE)),
            wake,
        }
    }
}

/// The right to work on a file.
pub(super) struct Slot {
    file: Option<OwnedSemaphorePermit>,
    aside: Option<OwnedSemaphorePermit>,
    wake: Arc<Notify>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.file, self.aside) = (None, None);
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
            self.file = None;
            self.wake.notify_one();
        }
    }
}

/// Works on the files of one account until the program stops.
pub(super) async fn serve(uploads: Arc<Uploads>, account: Arc<Account>) {
    loop {
        if uploads.stopping.is_cancelled() {
            return;
        }
        let mut due: Option<Instant> = None;
        let mut begun = false;
        for (kind, slots) in [(Kind::Small, &account.small), (Kind::Large, &account.large)] {
            // Who gives a slot back wakes this loop.
            let Ok(file) = slots.clone().try_acquire_owned() else {
                continue;
            };
            match uploads.update(|table| table.pick(&account.name, kind)) {
                Pick::Run(id) => {
                    let slot = Slot {
                        file: Some(file),
                        aside: None,
                        wake: account.wake.clone(),
                    };
                    uploads.spawn(engine::run(uploads.clone(), account.clone(), id, slot));
                    begun = true;
                }
                Pick::Sleep(next) => due = due.into_iter().chain(next).min(),
            }
        }
        if begun {
            continue;
        }
        uploads.sleep(due, &account.wake).await;
    }
}
