//! Mounting as root, by the system call itself.
//!
//! The type is `fuse.lockerfs` then, as it is where fusermount3 mounts for others, so that the table of mounts tells
//! whose the mount is and umount(8) finds its helper. The crate would say plain `fuse`.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::MountOptions;

const TYPE: &std::ffi::CStr = c"fuse.lockerfs";

/// Whether this process may mount by itself, as far as its user tells.
pub fn is_for_us() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Mounts at a directory and returns the kernel's end of it. Nothing is mounted where it fails.
pub fn mount(mount_point: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let mode = File::open(mount_point)?.metadata()?.permissions().mode();
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    // SAFETY: these calls only read the process's own ids and cannot fail.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let mut data = format!(
        "fd={},rootmode={mode:o},user_id={user},group_id={group},default_permissions",
        device.as_raw_fd()
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOATIME;
    if options.read_only {
        flags |= libc::MS_RDONLY;
    }
    if options.no_exec {
        flags |= libc::MS_NOEXEC;
    }
    let source = CString::new(options.source.as_bytes())?;
    let target = CString::new(mount_point.as_os_str().as_bytes())?;
    let data = CString::new(data)?;
    // SAFETY: all four are strings that end with NUL and live through the call, which keeps none of them.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            TYPE.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    match result {
        0 => Ok(device.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes such a mount down, unless it is in use.
pub fn unmount(mount_point: &Path) -> io::Result<()> {
    let target = CString::new(mount_point.as_os_str().as_bytes())?;
    // SAFETY: `target` is a string that ends with NUL and lives through the call.
    match unsafe { libc::umount2(target.as_ptr(), libc::UMOUNT_NOFOLLOW) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
