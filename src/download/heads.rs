//! The beginnings of files that will be opened one after the other, fetched ahead.
//!
//! A program that goes through a folder file by file would wait for a link and an answer each time. Here links
//! are asked for by many in one call, where the service takes that, and the heads of the next files are fetched side by
//! side; how many is bounded by where the program is. All of it ends with the value.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::links::Foreseen;
use super::{Downloads, Source};
use crate::provider::Capability;

/// Files for which a link is asked at a time, where that is one call. Elsewhere each head asks for its own.
const LINKS: usize = 250;
/// Heads fetched before the file that is opened, and at a time.
const AHEAD: usize = 32;
const AT_A_TIME: usize = 12;
/// Heads kept of files that were passed.
const BEHIND: usize = 8;
/// How long the program may rest before it counts as gone.
const REST: Duration = Duration::from_secs(5);

/// Files whose heads are fetched ahead. Dropping it ends the fetches and lets go of what was fetched for
/// nobody.
pub struct Heads {
    reached: watch::Sender<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Heads {
    /// Notes that the files before this one, in the order in which they were given, were passed.
    pub fn reach(&self, place: usize) {
        self.reached.send_if_modified(|reached| {
            let further = place > *reached;
            *reached = place.max(*reached);
            further
        });
    }
}

impl Downloads {
    /// Begins to fetch the heads of `files` in their order. Links are asked for of those `beside` them as well,
    /// where that costs no call of its own. All are of one account.
    pub fn fetch_heads(self: &Arc<Self>, files: Vec<Source>, beside: Vec<Source>) -> Heads {
        let (reached, watched) = watch::channel(0);
        // Before anything is waited for: who wants one of these links from now on goes along.
        let links = self.foresee_links(beside.into_iter().chain(files.iter().take(LINKS).cloned()));
        let task = tokio::spawn(run(Arc::clone(self), files, links, watched));
        Heads {
            reached,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn foresee_links(&self, files: impl Iterator<Item = Source>) -> Option<LinksToAsk> {
        let batches = |file: &Source| file.provider.capabilities().has(Capability::Batches);
        let files: Vec<Source> = files.filter(batches).collect();
        let account = &files.first()?.account;
        let ids = files.iter().map(|file| file.file.clone());
        let foreseen = self.links.foresee(account, ids)?;
        Some(LinksToAsk { foreseen, files })
    }
}

/// Links that are to be asked for by one call.
struct LinksToAsk {
    foreseen: Foreseen,
    files: Vec<Source>,
}

impl LinksToAsk {
    /// Asks for those of the files whose head has to be fetched. What fails is asked for again by who reads.
    async fn ask(self, downloads: &Downloads) {
        let looks = self.files.into_iter().map(async |file| {
            let id = file.file.clone();
            let has_head = downloads.open(file).has_head().await;
            (!has_head).then_some(id)
        });
        let lacking: HashSet<_> = join_all(looks).await.into_iter().flatten().collect();
        self.foreseen.ask(&lacking);
    }
}

async fn run(
    downloads: Arc<Downloads>,
    files: Vec<Source>,
    mut links: Option<LinksToAsk>,
    mut reached: watch::Receiver<usize>,
) {
    let mut kept = VecDeque::new();
    let mut heads = JoinSet::new();
    for (place, file) in files.iter().enumerate() {
        if place > 0 && place % LINKS == 0 {
            links = downloads.foresee_links(files.iter().skip(place).take(LINKS).cloned());
        }
        if let Some(links) = links.take() {
            links.ask(&downloads).await;
        }
        if !has_come(&mut reached, |reached| place < reached + AHEAD).await {
            return;
        }
        while heads.len() >= AT_A_TIME {
            heads.join_next().await;
        }
        let reader = downloads.open(file.clone());
        kept.push_back(Arc::clone(&reader));
        if kept.len() > AHEAD + BEHIND {
            kept.pop_front();
        }
        heads.spawn(async move {
            if let Err(error) = reader.read(0, 1).await {
                tracing::debug!(%error, "a head was not fetched ahead");
            }
        });
    }
    if has_come(&mut reached, |reached| reached >= files.len()).await {
        while heads.join_next().await.is_some() {}
    }
}

/// Whether the program comes to a place before it is gone.
async fn has_come(reached: &mut watch::Receiver<usize>, holds: impl Fn(usize) -> bool) -> bool {
    loop {
        if holds(*reached.borrow_and_update()) {
            return true;
        }
        match tokio::time::timeout(REST, reached.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return false,
        }
    }
}
