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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::{Once, mpsc};

    use super::*;

    thread_local! {
        static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// What is logged meanwhile by this thread. The log is that of all tests: one that comes and goes is passed by where
    /// another thread comes to a place first.
    fn logged(work: impl FnOnce()) -> Vec<String> {
        static LOG: Once = Once::new();
        LOG.call_once(|| {
            let log = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(|| Lines)
                .finish();
            tracing::subscriber::set_global_default(log).expect("the first log");
        });
        LOGGED.take();
        work();
        let text = String::from_utf8(LOGGED.take()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    struct Lines;

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    /// What the kernel is told of work that is done in a task.
    fn answer(
        runtime: &tokio::runtime::Runtime,
        deadline: Option<Duration>,
        work: impl Future<Output = Result<u8>> + Send + 'static,
    ) -> std::result::Result<u8, i32> {
        let (send, told) = mpsc::channel();
        let reply = move |result: std::result::Result<u8, Errno>| send.send(result).unwrap();
        later(runtime.handle(), "test", deadline, work, reply, drop);
        let told = told.recv_timeout(Duration::from_secs(30)).expect("an answer");
        told.map_err(|errno| errno.code())
    }

    #[test]
    fn a_handler_that_panics_is_an_io_error_and_the_next_one_is_served() {
        let code = |result: std::result::Result<u8, Errno>| result.map_err(|errno| errno.code());
        assert_eq!(code(now("test", || panic!("on purpose"))), Err(libc::EIO));
        assert_eq!(code(now("test", || Ok(1))), Ok(1));
        let told = now_if_known::<u8>("test", || panic!("on purpose"));
        assert_eq!(told.map(code), Some(Err(libc::EIO)));
        assert!(now_if_known::<u8>("test", || None).is_none());
    }

    #[test]
    fn a_task_that_panics_is_an_io_error_and_the_next_one_is_served() {
        let runtime = runtime();
        for deadline in [None, Some(Duration::from_secs(20))] {
            let at_once = async { panic!("on purpose") };
            assert_eq!(answer(&runtime, deadline, at_once), Err(libc::EIO));
            let later = async {
                tokio::task::yield_now().await;
                panic!("on purpose")
            };
            assert_eq!(answer(&runtime, deadline, later), Err(libc::EIO));
            assert_eq!(answer(&runtime, deadline, async { Ok(1) }), Ok(1));
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log_which_names_the_operation() {
        let of_one = |work: &dyn Fn()| {
            let logged = logged(work);
            let [line] = &logged[..] else {
                panic!("{logged:?}");
            };
            let told = "readlink: this is a bug in lockerfs: the request's handler panicked";
            assert!(line.contains("WARN") && line.contains(told), "{line}");
        };
        of_one(&|| assert!(now::<u8>("readlink", || panic!("on purpose")).is_err()));
        of_one(&|| assert!(now_if_known::<u8>("readlink", || panic!("on purpose")).is_some()));
        of_one(&|| {
            // In this thread, whose log is looked at.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (send, told) = tokio::sync::oneshot::channel();
            let reply = move |result: std::result::Result<u8, Errno>| send.send(result).unwrap();
            let work = async { panic!("on purpose") };
            later(runtime.handle(), "readlink", None, work, reply, drop);
            let told = runtime.block_on(told).unwrap();
            assert_eq!(told.map_err(|errno| errno.code()), Err(libc::EIO));
        });
    }

    #[test]
    fn a_task_that_panics_after_its_deadline_harms_nobody() {
        let runtime = runtime();
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            panic!("on purpose")
        };
        let short = Some(Duration::from_millis(5));
        assert_eq!(answer(&runtime, short, late), Err(libc::ETIMEDOUT));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(answer(&runtime, None, async { Ok(1) }), Ok(1));
    }
}
