//! Sending a content to a service that appends what comes: part by part, one at a time, strictly in order.
//!
//! No part is ever sent twice in one announcement, or the service might append it twice. Whatever goes wrong
//! before the last part leaves nothing that counts: the content is announced again and begins at its first byte.
//! What became of the last part is looked up first.

use crate::http::FileRange;
use crate::provider::{Retry, UploadProgress, UploadRequest, UploadTicket};

use super::engine::{Sending, Worker};
use super::outcome::Failure;
use super::table::LARGE;
use super::transfer::{Sent, may_pass};

impl Worker {
    pub async fn send_in_order(
        &mut self,
        sending: &mut Sending,
        wish: &UploadRequest,
        max_chunk: u64,
        session: &UploadTicket,
    ) -> Result<Sent, Failure> {
        if max_chunk == 0 {
            return Err(Failure::wait("the service takes parts of no bytes only"));
        }
        self.reset_progress();
        let mut offset = 0;
        loop {
            // A turn for each part, so that other files come between.
            let turn = self.account.share.turn(self.id, wish.size > LARGE).await;
            if !self.is_wanted(&sending.attempt) {
                return Ok(Sent::Unwanted);
            }
            let length = max_chunk.min(wish.size - offset);
            let is_last = offset + length == wish.size;
            // From here on it may become a file, whatever is told.
            sending.may_be_there |= is_last;
            let part = self.progress.part(length);
            let body = FileRange {
                count: Some(part.count()),
                ..FileRange::new(sending.staged.opened()?, offset, length)
            };
            let answer = self.provider().upload_range(wish, session, body).await;
            drop(turn);
            offset += length;
            if answer.is_ok() {
                part.finish();
            }
            match answer {
                Ok(UploadProgress::UnitTaken) if !is_last => {}
                // It has all of it and made no file: what it has is looked up.
                Ok(UploadProgress::UnitTaken) => return Ok(Sent::Unclear),
                Ok(progress) => return Ok(Sent::Progress(progress)),
                Err(error) if is_last && error.retry == Retry::OutcomeUnknown => {
                    tracing::debug!(id = %self.id, %error, "the last part's answer was lost: looking it up");
                    if self.has_numbered_twins() {
                        // It may still be at work on it, and would store it twice.
                        self.note_unclear(sending).await?;
                        return Err(error.into());
                    }
                    return Ok(Sent::Unclear);
                }
                Err(error) if may_pass(&error) => {
                    tracing::debug!(id = %self.id, offset, %error, "an upload in order broke off: it begins anew");
                    return Ok(Sent::Broken(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
