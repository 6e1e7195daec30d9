//! Times that a service tells only file by file, fetched behind, with a budget of their own.
//!
//! A listing never waits for them: its files are shown at once, with the time that is known or 1970, and
//! the kernel is told as the times come. The folder that was looked at last goes first. What was told is
//! kept, so that each file is asked for once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::provider::{Capability, ErrorKind, FileEntry, FileId, Retry};

use super::Vfs;
use super::account::Account;
use super::changes::Outdated;
use super::tree::AccountIndex;

/// Folders that wait at most; one that drops out is taken up when it is listed again.
const MAX_FOLDERS: usize = 4096;

/// Files asked for side by side.
const TOGETHER: usize = 4;

/// The pause after a failure, in which the service may recover.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// The folders with files whose times are to be asked for.
#[derive(Default)]
pub struct Dates {
    /// The next one in front.
    folders: Mutex<VecDeque<u64>>,
    wake: Notify,
}

impl Dates {
    /// Puts a folder before all others.
    pub fn want(&self, folder: u64) {
        let mut folders = self.folders();
        folders.retain(|other| *other != folder);
        folders.push_front(folder);
        folders.truncate(MAX_FOLDERS);
        drop(folders);
        self.wake.notify_one();
    }

    /// Puts a folder that is not done behind the one that was looked at since, if there is one.
    fn give_back(&self, folder: u64) {
        let mut folders = self.folders();
        if !folders.contains(&folder) {
            let place = folders.len().min(1);
            folders.insert(place, folder);
        }
    }

    async fn next(&self) -> u64 {
        loop {
            let next = self.folders().pop_front();
            match next {
                Some(folder) => return folder,
                None => self.wake.notified().await,
            }
        }
    }

    fn folders(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the service told what it was asked for, or will not.
enum Told {
    Yes,
    NotNow,
    Never,
}

impl Vfs {
    /// Fetches times for as long as the filesystem lives, at the account's pace.
    pub(super) async fn follow_dates(self: Arc<Self>, index: AccountIndex) {
        let Some(account) = self.accounts.get(index).cloned() else {
            return;
        };
        let pace = account.setup.dates_per_second;
        if account.can(Capability::ModificationTime) || pace <= 0.0 {
            return;
        }
        loop {
            let folder = account.dates.next().await;
            let mut files = self.tree().undated_files(folder);
            if files.len() > TOGETHER {
                files.truncate(TOGETHER);
                account.dates.give_back(folder);
            }
            if files.is_empty() {
                continue;
            }
            match self.fetch_dates(&account, index, &files).await {
                Told::Yes => {}
                Told::NotNow => {
                    account.dates.give_back(folder);
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
                Told::Never => return,
            }
            tokio::time::sleep(Duration::from_secs_f64(files.len() as f64 / pace)).await;
        }
    }

    async fn fetch_dates(&self, account: &Account, index: AccountIndex, files: &[FileId]) -> Told {
        let error = match account.provider().file_info(files).await {
            Ok(told) => {
                account.facts.told(&told).await;
                self.show_dates(index, files, &told);
                return Told::Yes;
            }
            Err(error) => error,
        };
        tracing::debug!(account = account.setup.name, %error, "times of files are not told");
        match (error.kind, error.retry) {
            (ErrorKind::Unsupported, _) => Told::Never,
            (ErrorKind::LoginRefused, _) => Told::NotNow,
            (_, Retry::Never) => {
                self.show_dates(index, files, &[]);
                Told::Yes
            }
            _ => Told::NotNow,
        }
    }

    /// A file that the service did not tell of counts as told of, for as long as it is known.
    fn show_dates(&self, index: AccountIndex, asked: &[FileId], told: &[FileEntry]) {
        let changed: Vec<u64> = {
            let mut tree = self.tree();
            let mut show = |id: &FileId| {
                let entry = told.iter().find(|entry| entry.id == *id);
                tree.set_told_time(index, id, entry.and_then(|entry| entry.mtime))
            };
            asked.iter().filter_map(&mut show).collect()
        };
        for ino in changed {
            self.tell(Outdated::Attributes { ino });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_that_was_looked_at_last_goes_first() {
        let dates = Dates::default();
        dates.want(1);
        dates.want(2);
        assert_eq!(dates.next().await, 2);
        dates.give_back(2);
        dates.want(3);
        dates.want(1);
        let order = [dates.next().await, dates.next().await, dates.next().await];
        assert_eq!(order, [1, 3, 2]);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_done_goes_on_before_older_ones() {
        let dates = Dates::default();
        dates.want(1);
        dates.want(2);
        assert_eq!(dates.next().await, 2);
        dates.want(3);
        dates.give_back(2);
        let order = [dates.next().await, dates.next().await, dates.next().await];
        assert_eq!(order, [3, 2, 1]);
    }
}
