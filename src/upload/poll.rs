//! Waiting for the service to finish an upload whose bytes it has.

use tokio::time::Instant;

use crate::provider::{ErrorKind, FileEntry, UploadProgress, UploadTicket};

use super::engine::Worker;
use super::outcome::Failure;
use super::table::Step;

impl Worker {
    /// Polls until the file is there. `None` where the service lost the upload, or took too long.
    pub async fn poll(&mut self, ticket: UploadTicket) -> Result<Option<FileEntry>, Failure> {
        self.slot.step_aside(&self.account);
        self.set_step(Step::Verifying);
        let options = &self.uploads.options;
        let end = Instant::now() + options.poll_limit;
        let mut pause = options.poll_first;
        let mut ticket = ticket;
        while Instant::now() < end {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
            }
            let _permit = self
                .account
                .polls
                .acquire()
                .await
                .map_err(|_| Failure::Superseded)?;
            match self.provider().upload_poll(&ticket).await {
                Ok(UploadProgress::Done(entry)) => {
                    self.sent_here = true;
                    return Ok(Some(entry));
                }
                Ok(UploadProgress::Processing(next)) => ticket = next,
                Ok(UploadProgress::StartAgain | UploadProgress::UnitTaken) => return Ok(None),
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            pause = (pause * 2).min(options.poll_max);
        }
        Ok(None)
    }
}
