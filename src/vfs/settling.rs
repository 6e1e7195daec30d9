//! The moment between the end of an upload and its news.
//!
//! The queue drops a row when the service holds the file and then tells so. An operation that finds the
//! row gone waits for the news and looks again.

use std::time::Duration;

use super::error::{Error, Result};

const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Default)]
pub struct Settling(u32);

impl Settling {
    /// Waits a moment; fails when the news are overdue by far.
    pub async fn pause(&mut self) -> Result<()> {
        self.0 += 1;
        if self.0 > TRIES {
            return Err(Error::told(
                libc::EIO,
                "the queue did not tell what became of an upload",
            ));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
