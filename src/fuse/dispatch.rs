//! How requests are run: in the handler or in a task, within a deadline, with panics contained.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fuser::Errno;
use tokio::runtime::Handle;

use crate::vfs::{Error, Result};

/// Runs `work` in the handler's thread. A panic becomes `EIO`.
pub fn now<T>(operation: &'static str, work: impl FnOnce() -> Result<T>) -> std::result::Result<T, Errno> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
    result.map_err(|error| tell(operation, &error))
}

/// Like [`now`], for work that may find that it has to wait (`None`).
pub fn now_if_known<T>(
    operation: &'static str,
    work: impl FnOnce() -> Option<Result<T>>,
) -> Option<std::result::Result<T, Errno>> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Some(Err(panicked())));
    result.map(|result| result.map_err(|error| tell(operation, &error)))
}

/// Runs `work` in a task and hands its result to `reply`; after `deadline` the reply is `ETIMEDOUT` and
/// the work goes on by itself, so that it is never cut in the middle. What it then brings the kernel does not
/// know of: `undo` gives it back.
pub fn later<T: Send + 'static>(
    runtime: &Handle,
    operation: &'static str,
    deadline: Option<Duration>,
    work: impl Future<Output = Result<T>> + Send + 'static,
    reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
    undo: impl FnOnce(T) + Send + 'static,
) {
    let mut task = runtime.spawn(work);
    runtime.spawn(async move {
        let joined = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, &mut task).await,
            None => Ok((&mut task).await),
        };
        let Ok(joined) = joined else {
            let error = Error::told(libc::ETIMEDOUT, "no answer within the deadline");
            reply(Err(tell(operation, &error)));
            if let Ok(Ok(late)) = task.await {
                undo(late);
            }
            return;
        };
        let result = joined.unwrap_or_else(|_| Err(panicked()));
        reply(result.map_err(|error| tell(operation, &error)));
    });
}

fn panicked() -> Error {
    Error::told(
        libc::EIO,
        "this is a bug in lockerfs: the request's handler panicked",
    )
}

/// Writes a failure worth telling to the log, and gives the errno for the kernel.
fn tell(operation: &'static str, error: &Error) -> Errno {
    if error.message.is_some() {
        tracing::warn!("{operation}: {error}");
    }
    Errno::from_i32(error.errno.0)
}
