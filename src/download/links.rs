//! Direct links: asked for together, kept while they live, renewed when they turn out to be dead.
//!
//! Requests for links of one account that arrive within a moment go to the service as one call, and no
//! file's link is asked for twice at a time.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lru::LruCache;
use tokio::sync::oneshot;
use url::Url;

use super::error::DownloadError;
use crate::provider::{DownloadLink, ErrorKind, FileId, Provider};

/// The most files asked for in one call of [`Provider::links`].
const MAX_BATCH: usize = 500;
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
        let known = lock(&self.known).get(&key).cloned();
        match known {
            Some(link) if link.expires > SystemTime::now() + MARGIN => Ok(link),
            _ => self.ask(account, file).await,
        }
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
        let gathers = account.enqueue(file, sender);
        if gathers {
            let links = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(links.gather).await;
                links.call(&account).await;
            });
        }
        // The sender is dropped unused only when the runtime ends.
        answer
            .await
            .unwrap_or_else(|_| Err(DownloadError::new(ErrorKind::Unavailable, "lockerfs is ending")))
    }

    async fn call(&self, account: &Account) {
        loop {
            let files = account.next_batch();
            if files.is_empty() {
                return;
            }
            let answers = ask_provider(account, &files).await;
            for (file, answer) in files.into_iter().zip(answers) {
                if let Ok(link) = &answer {
                    lock(&self.known).put((account.name.clone(), file.clone()), link.clone());
                }
                account.answer(&file, &answer);
            }
        }
    }
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
        requests.queue.push(file.clone());
        requests.queue.len() == 1
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
