//! Programs that walk a tree, folder after folder: `ls -R`, `find`, `du`, `rsync`, a file manager's search.
//!
//! After a few steps the folders that come next are listed ahead, side by side, further ahead with each step. Who only
//! goes down to one place has nothing fetched for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::provider::wrap::Urgency;

use super::Vfs;
use super::tree::{ListingState, Node, Tree};

/// A longer pause between two folders ends a walk.
const PAUSE: Duration = Duration::from_secs(2);
/// Folders that are listed ahead of the walker after one, two, three and more steps: a person who looks into two
/// folders side by side has little fetched in vain.
const AHEAD: [usize; 4] = [0, 2, 8, 32];
/// Nodes that are looked at to find them.
const LOOKED_AT: usize = 4096;

/// How a program walks through an account.
#[derive(Default)]
pub struct Walk(Mutex<Steps>);

#[derive(Default)]
struct Steps {
    last: Option<(u64, Instant)>,
    /// From one folder to one beside it or beside one that it is in.
    aside: usize,
}

impl Walk {
    /// Notes a folder that somebody looks into for the first time; how far ahead it is worth to list.
    fn step(&self, tree: &Tree, folder: u64, now: Instant) -> usize {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = steps.last.replace((folder, now));
        let Some((last, _)) = last.filter(|(_, at)| now.saturating_duration_since(*at) <= PAUSE) else {
            steps.aside = 0;
            return 0;
        };
        let parent = tree.get(folder).and_then(|node| node.parent);
        if parent == Some(last) || last == folder {
            // Down, which anybody goes.
        } else if parent.is_some_and(|parent| tree.is_within(last, parent)) {
            steps.aside = (steps.aside + 1).min(AHEAD.len() - 1);
        } else {
            steps.aside = 0;
        }
        AHEAD[steps.aside]
    }
}

impl Vfs {
    /// Somebody looks into a folder for the first time, whose entries had to be fetched or were fetched ahead.
    pub(super) fn walk_on(self: &Arc<Self>, folder: u64) {
        let next = {
            let tree = self.tree();
            let account = tree.get(folder).and_then(|node| node.account);
            let Some(account) = account.and_then(|index| self.accounts.get(index)) else {
                return;
            };
            let ahead = account.walk.step(&tree, folder, Instant::now());
            tree.unlisted_after(folder, ahead)
        };
        for ino in next {
            let this = Arc::clone(self);
            self.runtime.spawn(async move { this.foresee(ino).await });
        }
    }

    async fn foresee(self: &Arc<Self>, ino: u64) {
        let Ok(_held) = self.hold([ino]).await else { return };
        if self.ensure_loaded(ino).await.is_err() {
            return;
        }
        let is_unknown = {
            let mut tree = self.tree();
            let folder = tree.get_mut(ino).and_then(Node::folder_mut);
            let unknown = folder.filter(|folder| folder.listing == ListingState::Unknown);
            unknown.map(|folder| folder.foreseen = true).is_some()
        };
        if is_unknown && let Err(error) = self.refresh_at(Urgency::Background, ino).landed().await {
            tracing::debug!(%error, "a folder is not listed ahead");
        }
    }
}

impl Tree {
    /// Whether a node is `folder`, or in it however deep.
    fn is_within(&self, ino: u64, folder: u64) -> bool {
        let mut up = std::iter::successors(Some(ino), |at| self.get(*at)?.parent);
        up.any(|at| at == folder)
    }

    /// The first folders that come after one in the order of a walk and whose entries are not known.
    fn unlisted_after(&self, folder: u64, most: usize) -> Vec<u64> {
        let mut found = Vec::new();
        let mut looked = 0;
        if most == 0 {
            return found;
        }
        self.unlisted_in(folder, None, most, &mut looked, &mut found);
        let (mut below, mut at) = (folder, self.get(folder).and_then(|node| node.parent));
        while let Some(ino) = at.filter(|_| found.len() < most && looked < LOOKED_AT) {
            // Not beyond the account.
            let Some(node) = self.get(ino).filter(|node| node.account.is_some()) else {
                break;
            };
            self.unlisted_in(ino, Some(below), most, &mut looked, &mut found);
            (below, at) = (ino, node.parent);
        }
        found
    }

    /// Those among the entries of a folder, of all or of those after one, and below them.
    fn unlisted_in(
        &self,
        folder: u64,
        after: Option<u64>,
        most: usize,
        looked: &mut usize,
        found: &mut Vec<u64>,
    ) {
        use std::ops::Bound;
        let Some(known) = self.get(folder).and_then(Node::folder) else {
            return;
        };
        let from = match after.and_then(|after| self.get(after)) {
            Some(node) => Bound::Excluded(crate::vfs::names::key(&node.name)),
            None => Bound::Unbounded,
        };
        for child in known
            .children
            .range((from, Bound::Unbounded))
            .map(|(_, ino)| *ino)
        {
            *looked += 1;
            if found.len() >= most || *looked >= LOOKED_AT {
                return;
            }
            let Some(folder) = self.get(child).and_then(Node::folder) else {
                continue;
            };
            match folder.listing {
                ListingState::Unknown if folder.id.is_some() => found.push(child),
                ListingState::Unknown => {}
                ListingState::Known { .. } => self.unlisted_in(child, None, most, looked, found),
            }
        }
    }
}
