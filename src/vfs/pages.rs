//! The pages of files that a person can be sent to, as the attributes `url` and `short_url` tell them.
//!
//! They are asked for when somebody wants one, with those of the files beside it where that costs no more, and
//! are kept for a while. Only what the service holds has a page: content that waits for its upload has none.

use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::Vfs;
use super::account::Account;
use super::error::{Error, Result};
use super::names;
use super::single_flight::SingleFlight;
use super::tree::{AccountIndex, Node, Remote, Tree};
use crate::provider::{Capability, ErrorKind, FileId, ProviderError, ShareLinks};

/// Pages kept at most, some 500 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("more than none");
/// How long a page is told without asking again.
const AGE: Duration = Duration::from_secs(600);
/// The same for a failure, and for what a service has no page for.
const AGE_OF_REFUSALS: Duration = Duration::from_secs(10);
/// Files asked for at once, where one call tells of many.
const TOGETHER: usize = 500;
/// Questions for one file: it may join one that others asked, which need not be about it.
const QUESTIONS: usize = 3;

/// A file by all that its page depends on: hosts write the name into the address.
type Key = (AccountIndex, FileId, String);

/// What was told of pages lately.
pub(super) struct Pages {
    /// Those told last in front.
    told: Mutex<LruCache<Key, Told>>,
    /// By the folder where many are asked for at once, else by the file.
    questions: SingleFlight<u64>,
}

struct Told {
    at: Instant,
    page: Result<ShareLinks>,
}

impl Told {
    /// Whether it is told without asking again.
    fn holds(&self, now: Instant) -> bool {
        let limit = if self.page.is_ok() { AGE } else { AGE_OF_REFUSALS };
        now.saturating_duration_since(self.at) < limit
    }
}

impl Default for Pages {
    fn default() -> Self {
        Pages {
            told: Mutex::new(LruCache::new(KEPT)),
            questions: SingleFlight::new(),
        }
    }
}

impl Pages {
    fn lock(&self) -> MutexGuard<'_, LruCache<Key, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, pages: impl Iterator<Item = (Key, Result<ShareLinks>)>) {
        let at = Instant::now();
        let mut told = self.lock();
        while told.peek_lru().is_some_and(|(_, oldest)| !oldest.holds(at)) {
            told.pop_lru();
        }
        for (key, page) in pages {
            told.put(key, Told { at, page });
        }
    }

    fn known(&self, key: &Key, now: Instant) -> Option<Result<ShareLinks>> {
        let all = self.lock();
        let told = all.peek(key)?;
        told.holds(now).then(|| told.page.clone())
    }
}

/// A file whose content is the service's own.
fn stored(tree: &Tree, ino: u64) -> Option<&Remote> {
    let file = tree.get(ino)?.file()?;
    file.remote.as_ref().filter(|_| file.local.is_none())
}

fn key(account: AccountIndex, remote: &Remote) -> Key {
    (account, remote.id.clone(), remote.name.clone())
}

impl Vfs {
    /// Whether an inode is a file that has a page, as far as can be told without asking.
    pub(super) fn has_page(&self, ino: u64) -> bool {
        let can = |(_, account): (_, &Arc<Account>)| account.can(Capability::ShareLinks);
        self.account_of(ino).is_ok_and(can) && stored(&self.tree(), ino).is_some()
    }

    /// The page of a file, where it is known; `ENODATA` where it can have none.
    pub(super) fn page_known(&self, ino: u64) -> Option<Result<ShareLinks>> {
        match self.page_key(ino) {
            Ok(key) => self.pages.known(&key, Instant::now()),
            Err(error) => Some(Err(error)),
        }
    }

    /// The page of a file, asked for if need be.
    pub(super) async fn page(self: &Arc<Self>, ino: u64) -> Result<ShareLinks> {
        for _ in 0..QUESTIONS {
            if let Some(page) = self.page_known(ino) {
                return page;
            }
            self.ask_for_pages(ino)?.await?;
        }
        let unsettled = || Error::told(libc::EAGAIN, "the file changes while its page is asked for");
        self.page_known(ino).unwrap_or_else(|| Err(unsettled()))
    }

    fn page_key(&self, ino: u64) -> Result<Key> {
        if !self.has_page(ino) {
            return Err(Error::plain(libc::ENODATA));
        }
        let (index, _) = self.account_of(ino)?;
        let tree = self.tree();
        let remote = stored(&tree, ino).ok_or_else(|| Error::plain(libc::ENODATA))?;
        Ok(key(index, remote))
    }

    /// Begins to ask for the page of a file, and for those of its neighbours where one call tells of many, or
    /// joins others who do.
    fn ask_for_pages(self: &Arc<Self>, ino: u64) -> Result<impl Future<Output = Result<()>> + use<>> {
        let (index, account) = self.account_of(ino)?;
        let together = account.can(Capability::Batches);
        let parent = self.tree().get(ino).and_then(|node| node.parent);
        let flight = parent.filter(|_| together).unwrap_or(ino);
        let provider = account.setup.provider.clone();
        let vfs = Arc::clone(self);
        let question = self
            .pages
            .questions
            .fly(&self.runtime, flight, move || async move {
                let wanted = vfs.unknown_pages(index, ino, together);
                let ids: Vec<_> = wanted.iter().map(|(_, id, _)| id.clone()).collect();
                match provider.share_links(&ids).await {
                    Ok(pages) => {
                        let refused = |error: ProviderError| match error.kind {
                            ErrorKind::NotFound => Error::plain(libc::ENODATA),
                            _ => Error::from(error),
                        };
                        let pages = pages.into_iter().map(|page| page.map_err(refused));
                        vfs.pages.note(wanted.into_iter().zip(pages));
                    }
                    // Whoever asks for all of a folder waits for a service that is away once, and not for each file.
                    Err(error) => {
                        let error = Error::from(error);
                        let beside = vfs.unknown_pages(index, ino, true);
                        vfs.pages
                            .note(beside.into_iter().map(|key| (key, Err(error.clone()))));
                    }
                }
                Ok(())
            });
        Ok(question.landed())
    }

    /// A file, and those after it in its folder whose pages are not known either.
    fn unknown_pages(&self, account: AccountIndex, ino: u64, together: bool) -> Vec<Key> {
        let tree = self.tree();
        let Some(first) = tree.get(ino) else {
            return Vec::new();
        };
        let key_of = |ino| stored(&tree, ino).map(|remote| key(account, remote));
        let mut wanted: Vec<Key> = key_of(ino).into_iter().collect();
        let folder = first.parent.and_then(|parent| tree.get(parent)?.folder());
        if let Some(folder) = folder.filter(|_| together) {
            let name = names::key(&first.name);
            let following = folder.children.range((Bound::Excluded(name), Bound::Unbounded));
            let keys = following.filter(|(_, ino)| tree.get(**ino).and_then(Node::file).is_some());
            let keys = keys.filter_map(|(_, ino)| key_of(*ino));
            wanted.extend(keys.take(TOGETHER - 1));
        }
        drop(tree);
        let now = Instant::now();
        let mut place = 0;
        wanted.retain(|key| {
            place += 1;
            place == 1 || self.pages.known(key, now).is_none()
        });
        wanted
    }
}
