//! What is asked of the system beside the FUSE protocol.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// How far the kernel reads ahead of a sequential reader, in KiB.
const READ_AHEAD_KIB: u32 = 1024;

/// Raises the mount's read-ahead, where we may. Without it reading is slower, not wrong.
pub fn widen_read_ahead(mount_point: &Path) {
    let Ok(metadata) = std::fs::metadata(mount_point) else {
        return;
    };
    let device = metadata.dev();
    let setting = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        libc::major(device),
        libc::minor(device)
    );
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(%error, "read-ahead left as it is");
    }
}

/// Takes a mount out of the tree although it is in use.
pub fn detach(mount_point: &Path) -> io::Result<()> {
    let path = CString::new(mount_point.as_os_str().as_bytes())?;
    // SAFETY: `path` is a valid C string for the time of the call, which does not keep it.
    if unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    let status = Command::new("fusermount3")
        .args(["-u", "-z", "--"])
        .arg(mount_point)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other("fusermount3 could not unmount"))
    }
}
