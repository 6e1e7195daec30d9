//! Sending a content in units, several side by side, of which only those go that the service lacks.
//!
//! No unit is sent again whose answer was lost: sent twice it could begin a second upload. The next announcement tells
//! which ones the service has.

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::http::FileRange;
use crate::provider::{Retry, UploadProgress, UploadRequest};

use super::engine::{Sending, Worker};
use super::hash;
use super::outcome::Failure;
use super::table::LARGE;
use super::transfer::{Sent, may_pass};

/// Tries of one unit, beside those of the provider's own wrapper.
const UNIT_TRIES: u32 = 3;

impl Worker {
    pub async fn send_units(
        &mut self,
        sending: &mut Sending,
        wish: &UploadRequest,
        unit_size: u64,
        missing: Vec<u32>,
    ) -> Result<Sent, Failure> {
        sending.may_be_there = true;
        let sending = &*sending;
        let total: u64 = missing
            .iter()
            .map(|index| unit_length(wish.size, unit_size, *index))
            .sum();
        if unit_size == 0
            || missing
                .iter()
                .any(|index| unit_start(unit_size, *index) > wish.size)
        {
            return Err(Failure::wait(
                "the service asks for units that the file does not have",
            ));
        }
        self.progress.begin_at(wish.size.saturating_sub(total));
        let this = &*self;
        // One more than can be sent, so that its hash is there when its turn comes.
        let at_once = this.account.share.limit() + 1;
        let mut waiting = missing.into_iter();
        let mut running = FuturesUnordered::new();
        let mut result = UploadProgress::UnitTaken;
        let mut failure = None;
        loop {
            while running.len() < at_once && failure.is_none() && this.is_wanted(&sending.attempt) {
                let Some(index) = waiting.next() else { break };
                running.push(this.send_unit(sending, wish, unit_size, index));
            }
            // Requests under way are always seen to their end: one of them may finish the upload.
            match running.next().await {
                None => break,
                Some(Ok(progress)) => result = further(result, progress),
                Some(Err(error)) => failure = failure.or(Some(error)),
            }
        }
        match (result, failure) {
            (
                done @ (UploadProgress::Done(_) | UploadProgress::Beside(_) | UploadProgress::Processing(_)),
                _,
            ) => Ok(Sent::Progress(done)),
            (_, Some(failure)) => Err(failure),
            (UploadProgress::StartAgain, None) => Err(Failure::wait("the service lost parts of the upload")),
            (progress, None) => Ok(Sent::Progress(progress)),
        }
    }

    async fn send_unit(
        &self,
        sending: &Sending,
        wish: &UploadRequest,
        unit_size: u64,
        index: u32,
    ) -> Result<UploadProgress, Failure> {
        let (offset, length) = (
            unit_start(unit_size, index),
            unit_length(wish.size, unit_size, index),
        );
        let file = sending.staged.opened()?;
        let sha256 = {
            let hashing = self.account.hashing.acquire().await;
            let _one = hashing.map_err(|_| Failure::Superseded)?;
            hash::sha256(file.clone(), offset, length).await?
        };
        let mut tries = 0;
        loop {
            let outcome = {
                let _turn = self.account.share.turn(self.id, wish.size > LARGE).await;
                if !self.is_wanted(&sending.attempt) {
                    return Ok(UploadProgress::UnitTaken);
                }
                let part = self.progress.part(length);
                let body = FileRange {
                    count: Some(part.count()),
                    ..FileRange::new(file.clone(), offset, length)
                };
                let outcome = self.provider().upload_unit(wish, index, &sha256, body).await;
                if outcome.is_ok() {
                    part.finish();
                }
                outcome
            };
            tries += 1;
            match outcome {
                Ok(progress) => {
                    return Ok(progress);
                }
                // Sent again it could begin a second upload where this unit was the last one missing: the
                // next announcement tells.
                Err(error) if error.retry == Retry::OutcomeUnknown => {
                    tracing::debug!(id = %self.id, index, %error, "a unit's answer was lost: looking it up");
                    return Ok(UploadProgress::UnitTaken);
                }
                Err(error) if tries < UNIT_TRIES && may_pass(&error) => {
                    tracing::debug!(id = %self.id, index, %error, "a unit is sent again");
                    let pause = self.uploads.options.retry_min * tries;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Of two answers, the one that tells more of the upload.
fn further(a: UploadProgress, b: UploadProgress) -> UploadProgress {
    let rank = |progress: &UploadProgress| match progress {
        UploadProgress::UnitTaken => 0,
        UploadProgress::StartAgain => 1,
        UploadProgress::GivenUp(_) => 2,
        UploadProgress::Processing(_) => 3,
        UploadProgress::Done(_) | UploadProgress::Beside(_) | UploadProgress::Published(_) => 4,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

fn unit_start(unit_size: u64, index: u32) -> u64 {
    unit_size.saturating_mul(u64::from(index))
}

fn unit_length(size: u64, unit_size: u64, index: u32) -> u64 {
    size.saturating_sub(unit_start(unit_size, index)).min(unit_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_unit_is_the_rest() {
        assert_eq!(unit_length(10, 4, 0), 4);
        assert_eq!(unit_length(10, 4, 2), 2);
        assert_eq!(unit_length(10, 4, 3), 0);
    }
}
