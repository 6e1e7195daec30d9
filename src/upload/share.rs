//! Who of an account's files may send a request with content next.
//!
//! The connections are shared between small files and large ones alike, and within each kind by file: whoever
//! has fewest goes first, then who came first. So one large file may use all of them, and gives them up one by
//! one when others come; hundreds of small files never keep a large one from going on, nor it them. One
//! connection is kept from large files where there are several, since theirs are taken for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::PendingId;

/// Connections from which on one is kept for small files.
const RESERVING: usize = 4;

/// The connections of one account.
pub(super) struct Share {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections in use, by small files and by large ones.
    used: [usize; 2],
    by_file: HashMap<PendingId, usize>,
    /// In the order of their coming.
    waiting: Vec<Waiter>,
}

struct Waiter {
    file: PendingId,
    large: bool,
    turn: oneshot::Sender<Turn>,
}

/// The right to one request with content. Dropped, it goes to the next.
pub(super) struct Turn {
    share: Arc<Share>,
    file: PendingId,
    large: bool,
}

impl Share {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Share {
            limit: limit.max(1),
            state: Mutex::default(),
        })
    }

    /// Requests at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, file: PendingId, large: bool) -> Turn {
        loop {
            let (turn, taken) = oneshot::channel();
            self.state().waiting.push(Waiter { file, large, turn });
            self.hand_out();
            // The share outlives who waits, so a turn comes in the end.
            if let Ok(turn) = taken.await {
                return turn;
            }
        }
    }

    fn hand_out(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                state.waiting.retain(|waiter| !waiter.turn.is_closed());
                state.take_next(self.limit)
            };
            let Some(Waiter { file, large, turn }) = next else {
                return;
            };
            let share = self.clone();
            // Who went away meanwhile drops the turn, which hands it on.
            drop(turn.send(Turn { share, file, large }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_next(&mut self, limit: usize) -> Option<Waiter> {
        if self.used.iter().sum::<usize>() >= limit {
            return None;
        }
        let for_large = if limit < RESERVING { limit } else { limit - 1 };
        let may = |waiter: &Waiter| !waiter.large || self.used[1] < for_large;
        let of_file = |waiter: &Waiter| self.by_file.get(&waiter.file).copied().unwrap_or(0);
        let (place, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiter)| may(waiter))
            .min_by_key(|(place, waiter)| (self.used[usize::from(waiter.large)], of_file(waiter), *place))?;
        let waiter = self.waiting.remove(place);
        self.used[usize::from(waiter.large)] += 1;
        *self.by_file.entry(waiter.file).or_default() += 1;
        Some(waiter)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.share.state();
            state.used[usize::from(self.large)] -= 1;
            if let Some(count) = state.by_file.get_mut(&self.file) {
                *count -= 1;
                if *count == 0 {
                    state.by_file.remove(&self.file);
                }
            }
        }
        self.share.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets the turns, one after the other, when `asking` ask for all connections at once and each turn ends
    /// before the next is given.
    async fn order(limit: usize, first: &[(i64, bool)], then: &[(i64, bool)]) -> Vec<i64> {
        let share = Share::new(limit);
        let given = Arc::new(Mutex::new(Vec::new()));
        let mut held = std::collections::VecDeque::new();
        let (give, mut taken) = tokio::sync::mpsc::unbounded_channel();
        for &(id, large) in first.iter().chain(then) {
            let (share, give) = (share.clone(), give.clone());
            tokio::spawn(async move {
                let turn = share.turn(PendingId(id), large).await;
                let _ = give.send((id, turn));
            });
            tokio::task::yield_now().await;
        }
        for _ in 0..first.len() + then.len() {
            let next = loop {
                match taken.try_recv() {
                    Ok(next) => break next,
                    Err(_) if held.len() >= limit || taken.is_empty() => {
                        drop(held.pop_front());
                        tokio::task::yield_now().await;
                        tokio::task::yield_now().await;
                    }
                    Err(_) => {}
                }
            };
            given.lock().unwrap().push(next.0);
            held.push_back(next.1);
        }
        std::mem::take(&mut *given.lock().unwrap())
    }

    #[tokio::test]
    async fn a_lone_large_file_uses_all_but_one_connection_and_yields_to_small_ones() {
        let share = Share::new(8);
        let mut turns = Vec::new();
        for _ in 0..7 {
            turns.push(share.turn(PendingId(1), true).await);
        }
        let eighth = share.turn(PendingId(1), true);
        let late = tokio::time::timeout(std::time::Duration::from_millis(20), eighth).await;
        assert!(late.is_err(), "one is kept for small files");
        let small = share.turn(PendingId(2), false).await;
        let (again, other) = (share.turn(PendingId(1), true), share.turn(PendingId(3), false));
        let (mut again, mut other) = (std::pin::pin!(again), std::pin::pin!(other));
        assert!(futures_util::poll!(&mut again).is_pending() && futures_util::poll!(&mut other).is_pending());
        turns.pop();
        let next = tokio::select! {
            biased;
            turn = &mut again => turn,
            turn = &mut other => turn,
        };
        assert_eq!(
            next.file,
            PendingId(3),
            "what ends goes to the small file that came later"
        );
        drop((next, small));
    }

    #[tokio::test]
    async fn small_files_and_a_large_one_take_turns() {
        let units = [(1, true); 20];
        let small: Vec<_> = (100..120).map(|id| (id, false)).collect();
        for (first, then) in [(&units[..], &small[..]), (&small[..], &units[..])] {
            let order = order(2, first, then).await;
            let half: Vec<_> = order.iter().skip(2).take(20).collect();
            let large = half.iter().filter(|id| ***id == 1).count();
            assert!((8..=12).contains(&large), "{order:?}");
        }
    }

    #[tokio::test]
    async fn files_of_a_kind_take_turns_whoever_asks_for_more() {
        let greedy = [(1, true); 12];
        let modest = [(2, true); 4];
        let order = order(2, &greedy, &modest).await;
        let last = order.iter().rposition(|id| *id == 2).unwrap();
        assert!(last < 11, "{order:?}");
    }
}
