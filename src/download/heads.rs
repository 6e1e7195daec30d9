//! The beginnings of files that will be opened one after the other, fetched ahead.
//!
//! A program that goes through a folder file by file would wait for a link and an answer each time. Here links
//! are asked for by many in one call, and the heads of the next files are fetched side by side; how many is bounded by
//! where the program is. All of it ends with the value.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::{Downloads, Source};

/// Files for which a link is asked at a time.
const LINKS: usize = 100;
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
    /// Begins to fetch the heads of `files` in their order.
    pub fn fetch_heads(self: &Arc<Self>, files: Vec<Source>) -> Heads {
        let (reached, watched) = watch::channel(0);
        let task = tokio::spawn(run(Arc::clone(self), files, watched));
        Heads {
            reached,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn run(downloads: Arc<Downloads>, files: Vec<Source>, mut reached: watch::Receiver<usize>) {
    let mut kept = VecDeque::new();
    let mut heads = JoinSet::new();
    for (place, file) in files.iter().enumerate() {
        if place % LINKS == 0 {
            ask_for_links(&downloads, &files[place..files.len().min(place + LINKS)]).await;
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
    has_come(&mut reached, |reached| reached >= files.len()).await;
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

/// Has the links of the files whose head has to be fetched, by one call.
async fn ask_for_links(downloads: &Arc<Downloads>, files: &[Source]) {
    let looks = files.iter().map(async |file| {
        let has_head = downloads.open(file.clone()).has_head().await;
        (!has_head).then_some(file)
    });
    let lacking = join_all(looks).await;
    let links = lacking
        .into_iter()
        .flatten()
        .map(|file| downloads.links.get(&file.account, &file.file));
    // What fails here is asked for again by who reads.
    join_all(links).await;
}
