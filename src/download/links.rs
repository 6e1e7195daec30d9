//! Direct links: asked for together, kept while they live, renewed when they turn out to be dead.
//!
//! Requests for links of one account that arrive within a moment go to the service as one call, and no
//! file's link is asked for twice at a time. Links of files that will probably be read are foreseen: whoever wants one of
//! them meanwhile goes along with the call for all.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use lru::LruCache;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use url::Url;

use super::error::DownloadError;
use crate::provider::{Capability, DownloadLink, ErrorKind, FileId, Provider};

/// The most files asked for in one call of [`Provider::links`].
const MAX_BATCH: usize = 500;
/// Calls at a time where each gives one link.
const SIDE_BY_SIDE: usize = 8;
/// A link this close to its end counts as dead.
const MARGIN: Duration = Duration::from_secs(5);

type Answer = Result<DownloadLink, DownloadError>;

/// The links of all accounts.
pub(super) struct Links {
    /// How long the first request of a batch waits for others.
    gather: Duration,
    known: Mutex<LruCache<(String, FileId), DownloadLink>>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

struct Account {
    name: String,
    provider: Arc<dyn Provider>,
    requests: Mutex<Requests>,
}

#[derive(Default)]
struct Requests {
    /// Files for the next call. Not empty while a task gathers.
    queue: Vec<FileId>,
    /// Who waits for which file, asked for already or not.
    waiting: HashMap<FileId, Vec<oneshot::Sender<Answer>>>,
    /// Files whose links may be asked for in a moment: who wants one is not asked for before.
    foreseen: HashSet<FileId>,
}

/// Files whose links will be asked for together. Dropping it has those asked for that somebody waits for.
pub(super) struct Foreseen {
    links: Arc<Links>,
    account: Arc<Account>,
    files: Vec<FileId>,
    runtime: Handle,
}

impl Links {
    pub fn new(gather: Duration, capacity: NonZeroUsize) -> Self {
        Links {
            gather,
            known: Mutex::new(LruCache::new(capacity)),
            accounts: Mutex::default(),
        }
    }

    /// Makes an account known, or gives it another provider.
    pub fn register(&self, account: &str, provider: Arc<dyn Provider>) {
        let entry = Account {
            name: account.to_owned(),
            provider,
            requests: Mutex::default(),
        };
        lock(&self.accounts).insert(account.to_owned(), Arc::new(entry));
    }

    /// Makes an account known if it is not.
    pub fn introduce(&self, account: &str, provider: &Arc<dyn Provider>) {
        lock(&self.accounts).entry(account.to_owned()).or_insert_with(|| {
            let provider = Arc::clone(provider);
            Arc::new(Account {
                name: account.to_owned(),
                provider,
                requests: Mutex::default(),
            })
        });
    }

    pub fn provider(&self, account: &str) -> Option<Arc<dyn Provider>> {
        lock(&self.accounts)
            .get(account)
            .map(|account| Arc::clone(&account.provider))
    }

    /// A link that lives, as far as known.
    pub async fn get(self: &Arc<Self>, account: &str, file: &FileId) -> Answer {
        let key = (account.to_owned(), file.clone());
        let known = lock(&self.known).get(&key).filter(|link| lives(link)).cloned();
        match known {
            Some(link) => Ok(link),
            None => self.ask(account, file).await,
        }
    }

    /// Announces that links of these files will be asked for by one call, as far as none is known or on its way. Nothing
    /// for an account that is not mounted.
    pub fn foresee(
        self: &Arc<Self>,
        account: &str,
        files: impl IntoIterator<Item = FileId>,
    ) -> Option<Foreseen> {
        let account = lock(&self.accounts).get(account).cloned()?;
        let lacking: Vec<FileId> = {
            let known = lock(&self.known);
            let is_known = |file: &FileId| {
                let link = known.peek(&(account.name.clone(), file.clone()));
                link.is_some_and(lives)
            };
            files.into_iter().filter(|file| !is_known(file)).collect()
        };
        let files = account.foresee(lacking);
        Some(Foreseen {
            links: Arc::clone(self),
            account,
            files,
            runtime: Handle::current(),
        })
    }

    /// A link other than `dead`: that of a reader who was faster, or a new one.
    pub async fn renew(self: &Arc<Self>, account: &str, file: &FileId, dead: &Url) -> Answer {
        {
            let key = (account.to_owned(), file.clone());
            let mut known = lock(&self.known);
            if known.peek(&key).is_some_and(|link| link.url == *dead) {
                known.pop(&key);
            }
        }
        self.get(account, file).await
    }

    pub fn forget(&self, account: &str, file: &FileId) {
        lock(&self.known).pop(&(account.to_owned(), file.clone()));
    }

    async fn ask(self: &Arc<Self>, account: &str, file: &FileId) -> Answer {
        let Some(account) = lock(&self.accounts).get(account).cloned() else {
            let message = format!("no account {account} is mounted");
            return Err(DownloadError::new(ErrorKind::Unsupported, message));
        };
        let (sender, answer) = oneshot::channel();
        if account.enqueue(file, sender) {
            self.gather(account, &Handle::current());
        }
        // The sender is dropped unused only when the runtime ends.
        answer
            .await
            .unwrap_or_else(|_| Err(DownloadError::new(ErrorKind::Unavailable, "lockerfs is ending")))
    }

    /// Calls for what is queued, and what will be in a moment.
    fn gather(self: &Arc<Self>, account: Arc<Account>, runtime: &Handle) {
        let links = Arc::clone(self);
        runtime.spawn(async move {
            tokio::time::sleep(links.gather).await;
            links.call(&account).await;
        });
    }

    async fn call(&self, account: &Account) {
        loop {
            let files = account.next_batch();
            if files.is_empty() {
                return;
            }
            if account.provider.capabilities().has(Capability::Batches) {
                self.call_for(account, files).await;
                continue;
            }
            // Each on its own: it is answered when it comes, and one that is refused holds up no other.
            let calls = files.into_iter().map(|file| self.call_for(account, vec![file]));
            let mut calls = stream::iter(calls).buffer_unordered(SIDE_BY_SIDE);
            while calls.next().await.is_some() {}
        }
    }

    async fn call_for(&self, account: &Account, files: Vec<FileId>) {
        let answers = ask_provider(account, &files).await;
        for (file, answer) in files.into_iter().zip(answers) {
            if let Ok(link) = &answer {
                lock(&self.known).put((account.name.clone(), file.clone()), link.clone());
            }
            account.answer(&file, &answer);
        }
    }
}

impl Foreseen {
    /// Has the links of the `wanted` among them asked for, with those that somebody waits for. The others are let go.
    pub fn ask(mut self, wanted: &HashSet<FileId>) {
        self.settle(wanted);
    }

    fn settle(&mut self, wanted: &HashSet<FileId>) {
        let files = std::mem::take(&mut self.files);
        if self.account.settle(&files, wanted) {
            self.links.gather(Arc::clone(&self.account), &self.runtime);
        }
    }
}

impl Drop for Foreseen {
    fn drop(&mut self) {
        self.settle(&HashSet::new());
    }
}

fn lives(link: &DownloadLink) -> bool {
    link.expires > SystemTime::now() + MARGIN
}

async fn ask_provider(account: &Account, files: &[FileId]) -> Vec<Answer> {
    let mut answers: Vec<Answer> = match account.provider.links(files).await {
        Ok(links) => links
            .into_iter()
            .map(|link| link.map_err(|e| DownloadError::of_provider(&e)))
            .collect(),
        Err(error) => vec![Err(DownloadError::of_provider(&error)); files.len()],
    };
    // A provider promises one answer a file; no waiter may hang where it breaks that.
    answers.resize_with(files.len(), || {
        Err(DownloadError::new(
            ErrorKind::Unexpected,
            "the service gave no link for this file",
        ))
    });
    answers
}

impl Account {
    /// Returns whether the caller has to start a call.
    fn enqueue(&self, file: &FileId, sender: oneshot::Sender<Answer>) -> bool {
        let mut requests = lock(&self.requests);
        if let Some(waiting) = requests.waiting.get_mut(file) {
            waiting.push(sender);
            return false;
        }
        requests.waiting.insert(file.clone(), vec![sender]);
        if requests.foreseen.contains(file) {
            return false;
        }
        requests.queue.push(file.clone());
        requests.queue.len() == 1
    }

    /// Returns those of the files that nobody asked for or foresaw before.
    fn foresee(&self, mut files: Vec<FileId>) -> Vec<FileId> {
        let mut guard = lock(&self.requests);
        let requests = &mut *guard;
        files.retain(|file| !requests.waiting.contains_key(file) && requests.foreseen.insert(file.clone()));
        files
    }

    /// Queues those of the foreseen files that are wanted or waited for. Returns whether the caller has to start a
    /// call.
    fn settle(&self, foreseen: &[FileId], wanted: &HashSet<FileId>) -> bool {
        let mut guard = lock(&self.requests);
        let requests = &mut *guard;
        let nobody_gathers = requests.queue.is_empty();
        for file in foreseen {
            requests.foreseen.remove(file);
            if wanted.contains(file) || requests.waiting.contains_key(file) {
                requests.waiting.entry(file.clone()).or_default();
                requests.queue.push(file.clone());
            }
        }
        nobody_gathers && !requests.queue.is_empty()
    }

    fn next_batch(&self) -> Vec<FileId> {
        let mut requests = lock(&self.requests);
        let count = requests.queue.len().min(MAX_BATCH);
        requests.queue.drain(..count).collect()
    }

    fn answer(&self, file: &FileId, answer: &Answer) {
        let waiting = lock(&self.requests).waiting.remove(file).unwrap_or_default();
        for sender in waiting {
            // Who no longer waits needs no answer.
            let _ = sender.send(answer.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
