//! The crawl: folders that nobody looked at yet are listed in the background, so that they are known when somebody
//! does. Off unless the config asks for it, and behind everybody else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::provider::wrap::Urgency;
use crate::state::IndexedAccount;

use super::Vfs;
use super::error::Result;
use super::tree::{AccountIndex, ListingState, Node};

/// Folders taken from the index at a time, and listed side by side.
const AT_A_TIME: usize = 256;
const SIDE_BY_SIDE: usize = 4;
/// How long it waits for the index to learn of what was found, and for new folders when there are none.
const WRITING: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(60);
/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);

impl Vfs {
    /// Lists what is not known of an account, for as long as the filesystem lives.
    pub(super) async fn crawl(self: Arc<Self>, index: AccountIndex) {
        let Some(account) = self.accounts.get(index).cloned() else {
            return;
        };
        let Some(indexed) = account.indexed.filter(|_| account.setup.crawl) else {
            return;
        };
        let mut was_complete = false;
        loop {
            let pause = match self.crawl_once(indexed).await {
                Ok(0) if was_complete => REST,
                Ok(found) => {
                    was_complete = found == 0;
                    WRITING
                }
                Err(error) => {
                    tracing::debug!(account = account.setup.name, %error, "the crawl rests");
                    FAILURE_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One pass over the folders that are not known; how many there were.
    async fn crawl_once(self: &Arc<Self>, account: IndexedAccount) -> Result<usize> {
        let (mut after, mut found) = (0, 0);
        loop {
            let unlisted = self.database.unlisted_folders(account, after, AT_A_TIME).await;
            let unlisted = unlisted?;
            let Some(last) = unlisted.last().copied() else {
                return Ok(found);
            };
            after = last;
            let mut listings =
                futures_util::stream::iter(unlisted.into_iter().map(|ino| self.crawl_folder(ino)))
                    .buffer_unordered(SIDE_BY_SIDE);
            while let Some(listed) = listings.next().await {
                found += usize::from(listed?);
            }
        }
    }

    /// Whether it was unknown until now.
    async fn crawl_folder(self: &Arc<Self>, ino: u64) -> Result<bool> {
        // The account's top folder has another number where it is mounted alone.
        let ino = if self.tree().get(ino).is_none() && self.options.alone && self.is_top(ino) {
            super::ROOT
        } else {
            ino
        };
        // One that went meanwhile is nobody's concern.
        let Ok(_held) = self.hold([ino]).await else {
            return Ok(false);
        };
        let is_unknown = {
            let tree = self.tree();
            let folder = tree.get(ino).and_then(Node::folder);
            folder.is_some_and(|folder| folder.listing == ListingState::Unknown)
        };
        if is_unknown {
            self.refresh_at(Urgency::Crawl, ino).landed().await?;
        }
        Ok(is_unknown)
    }

    fn is_top(&self, ino: u64) -> bool {
        let mut accounts = self.accounts.iter();
        accounts.any(|account| {
            account
                .setup
                .indexed
                .as_ref()
                .is_some_and(|indexed| indexed.top == ino)
        })
    }
}
