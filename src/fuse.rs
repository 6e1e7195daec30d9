//! The kernel's side: requests in, replies and invalidations out. The only room that knows fuser.
//!
//! It decides nothing about files: each request becomes one call of [`Vfs`], answered in the handler where
//! memory is enough, else from a task within a deadline. A panic in one request becomes `EIO` for that
//! request alone.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, INodeNo, MountOption, Notifier, Session, SessionACL};

use crate::vfs::{KernelCache, Vfs};

mod adapter;
mod dispatch;
mod filesystem;
mod in_flight;
mod kernel;
mod reply;
mod system_call;

use adapter::Adapter;
use in_flight::InFlight;

/// Threads that take requests from the kernel.
const THREADS: usize = 3;

/// How a mount looks to the system.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Let users other than the owner in.
    pub allow_other: bool,
    pub read_only: bool,
    /// Let no program be started from it.
    pub no_exec: bool,
    /// The source that `df` and `mount` show.
    pub source: String,
    /// How long an operation may wait for the network before it fails with `ETIMEDOUT`.
    pub deadline: Duration,
}

/// A mounted filesystem. Dropping it unmounts.
pub struct Mounted {
    /// Present until it is unmounted.
    session: Option<BackgroundSession>,
    mount_point: PathBuf,
    /// Whether we have to take down ourselves what the session serves.
    by_system_call: bool,
}

/// Mounts `vfs` at `mount_point` and serves it from threads of its own.
pub fn mount(vfs: Arc<Vfs>, mount_point: &Path, options: &MountOptions) -> io::Result<Mounted> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        MountOption::Subtype("lockerfs".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    if options.read_only {
        config.mount_options.push(MountOption::RO);
    }
    if options.no_exec {
        config.mount_options.push(MountOption::NoExec);
    }
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let in_flight = Arc::new(InFlight::default());
    let adapter = Adapter::new(vfs.clone(), in_flight.clone(), options.deadline);
    let device = match system_call::is_for_us() {
        true => system_call::mount(mount_point, options)
            .map(Some)
            .or_else(|error| {
                // Root without the right to mount, as in a container, may still have fusermount3.
                match error.raw_os_error() {
                    Some(libc::EPERM) => Ok(None),
                    _ => Err(error),
                }
            })?,
        false => None,
    };
    let by_system_call = device.is_some();
    let served = match device {
        Some(device) => Session::from_fd(adapter, device, config.acl, config)
            .and_then(Session::spawn)
            .inspect_err(|_| take_down(mount_point)),
        None => Session::new(adapter, mount_point, &config).and_then(Session::spawn),
    };
    let session = served?;
    let notifier = session.notifier();
    vfs.set_kernel_cache(Caches { notifier, in_flight })?;
    kernel::widen_read_ahead(mount_point);
    Ok(Mounted {
        session: Some(session),
        mount_point: mount_point.to_owned(),
        by_system_call,
    })
}

fn take_down(mount_point: &Path) {
    if let Err(error) = kernel::detach(mount_point) {
        tracing::warn!(%error, mount_point = %mount_point.display(), "cannot unmount");
    }
}

impl Mounted {
    /// Returns when the mount was ended from outside, as by `fusermount3 -u`.
    pub async fn wait_ended(&self) {
        while !self.is_ended() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn is_ended(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.guard.is_finished())
    }

    /// Takes the mount down; while programs still use it, it vanishes from the tree and ends with them.
    /// Blocks.
    pub fn unmount(mut self) -> io::Result<()> {
        let is_ended = self.is_ended();
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        if is_ended {
            return session.join();
        }
        let unmounted = match self.by_system_call {
            true => system_call::unmount(&self.mount_point),
            false => return session.umount_and_join().or_else(|error| self.detach(&error)),
        };
        match unmounted {
            Ok(()) => session.join(),
            Err(error) => self.detach(&error),
        }
    }

    fn detach(&self, error: &io::Error) -> io::Result<()> {
        tracing::info!(%error, "the mount is in use; detaching it");
        kernel::detach(&self.mount_point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.by_system_call && !self.is_ended() {
            take_down(&self.mount_point);
        }
    }
}

/// Tells the kernel what it must not believe any more.
struct Caches {
    notifier: Notifier,
    in_flight: Arc<InFlight>,
}

impl KernelCache for Caches {
    fn forget_name(&self, parent: u64, name: &str) {
        self.in_flight.wait_until_free(parent);
        ignore_unknown(self.notifier.inval_entry(INodeNo(parent), OsStr::new(name)));
    }

    fn forget_content(&self, ino: u64) {
        self.in_flight.wait_until_free(ino);
        ignore_unknown(self.notifier.inval_inode(INodeNo(ino), 0, 0));
    }

    fn forget_attributes(&self, ino: u64) {
        // A negative offset leaves the cached pages alone.
        ignore_unknown(self.notifier.inval_inode(INodeNo(ino), -1, 0));
    }
}

/// The kernel answers `ENOENT` when it had nothing cached.
fn ignore_unknown(result: io::Result<()>) {
    if let Err(error) = result
        && error.raw_os_error() != Some(libc::ENOENT)
    {
        tracing::debug!(%error, "an invalidation was not taken");
    }
}
