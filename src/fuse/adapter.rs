//! The filesystem as fuser holds it, and how its requests go to tasks.

use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, ReplyEmpty, ReplyEntry};
use tokio::runtime::Handle;

use crate::vfs::{Attributes, Result, Vfs};

use super::dispatch::later;
use super::in_flight::{InFlight, Unanswered};
use super::reply::{done, entered};

pub struct Adapter {
    pub vfs: Arc<Vfs>,
    pub in_flight: Arc<InFlight>,
    runtime: Handle,
    deadline: Duration,
}

impl Adapter {
    pub fn new(vfs: Arc<Vfs>, in_flight: Arc<InFlight>, deadline: Duration) -> Self {
        let runtime = vfs.runtime().clone();
        Adapter {
            vfs,
            in_flight,
            runtime,
            deadline,
        }
    }

    /// How long a request may take until it is answered without its work.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Work that is done while these inodes stay in memory, wherever they were before.
    pub fn holding<T: Send + 'static, const N: usize>(
        &self,
        inodes: [u64; N],
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let vfs = self.vfs.clone();
        async move {
            let _held = vfs.hold(inodes).await?;
            work.await
        }
    }

    /// Runs work in a task, within the deadline.
    pub fn later<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
        reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
    ) {
        later(&self.runtime, operation, Some(self.deadline), work, reply, drop);
    }

    /// Like [`Adapter::later`], for work that is done or fails.
    pub fn later_done(
        &self,
        operation: &'static str,
        held: Unanswered,
        reply: ReplyEmpty,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.later(operation, work, move |result| {
            done(reply, result);
            drop(held);
        });
    }

    /// Like [`Adapter::later`], for work that gives the kernel an entry to hold.
    pub fn later_entered(
        &self,
        operation: &'static str,
        held: Unanswered,
        reply: ReplyEntry,
        work: impl Future<Output = Result<Attributes>> + Send + 'static,
    ) {
        let vfs = self.vfs.clone();
        let undo = move |late: Attributes| vfs.forget(late.ino, 1);
        let reply = move |result| {
            entered(reply, result);
            drop(held);
        };
        later(&self.runtime, operation, Some(self.deadline), work, reply, undo);
    }

    /// Like [`Adapter::later`], for work that opens a file. `held` tells the handle, and the inode of which
    /// the kernel is to hold a reference.
    pub fn later_opened<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
        reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
        held: impl FnOnce(T) -> (u64, Option<u64>) + Send + 'static,
    ) {
        let vfs = self.vfs.clone();
        let undo = move |late| {
            let (handle, entry) = held(late);
            if let Some(ino) = entry {
                vfs.forget(ino, 1);
            }
            vfs.runtime()
                .clone()
                .spawn(async move { vfs.release(handle).await });
        };
        later(&self.runtime, operation, Some(self.deadline), work, reply, undo);
    }

    /// Runs work that may take as long as an upload.
    pub fn later_unbounded<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
        reply: impl FnOnce(std::result::Result<T, Errno>) + Send + 'static,
    ) {
        later(&self.runtime, operation, None, work, reply, drop);
    }
}
