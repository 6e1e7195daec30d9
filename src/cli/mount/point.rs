//! The directory to mount on: what stands there, and how it is freed.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::failure::Failure;

/// The source name that marks a mount as ours; the accounts follow it after a colon.
pub(in crate::cli) const SOURCE: &str = "lockerfs";

/// What is mounted at a directory.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum MountPoint {
    Free,
    /// A mount of lockerfs.
    Ours,
    /// A mount of lockerfs whose process is gone.
    Dead,
    /// A mount of something else, of this type.
    Other(String),
}

/// The path as the kernel writes it. The last part is not looked at, since a dead mount cannot be.
pub(in crate::cli) fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: io::Error| Failure::new(format!("{}: {e}", path.display()));
    if let Ok(whole) = path.canonicalize() {
        return Ok(whole);
    }
    let absolute = std::path::absolute(path).map_err(failed)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => match parent.canonicalize() {
            Ok(parent) => Ok(parent.join(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absolute),
            Err(error) => Err(failed(error)),
        },
        _ => Ok(absolute),
    }
}

/// Says what is mounted at a resolved path.
pub(in crate::cli) fn look(place: &Path) -> Result<MountPoint, Failure> {
    let table = std::fs::read("/proc/self/mountinfo")
        .map_err(|e| Failure::new(format!("cannot read the table of mounts: {e}")))?;
    let Some(mount) = topmost(&table, place) else {
        return Ok(MountPoint::Free);
    };
    if !mount.is_ours() {
        return Ok(MountPoint::Other(mount.kind));
    }
    Ok(if is_dead(place) {
        MountPoint::Dead
    } else {
        MountPoint::Ours
    })
}

/// Asks by `statfs`: the kernel answers a `stat` of a dead mount from what it has cached.
fn is_dead(place: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(place.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `statfs` holds plain numbers, which may be zero; both pointers live through the call.
    let failed = unsafe { libc::statfs(path.as_ptr(), &mut std::mem::zeroed()) } == -1;
    failed && io::Error::last_os_error().raw_os_error() == Some(libc::ENOTCONN)
}

/// Makes sure that `place` is a directory to mount on. Clears away what a killed lockerfs left there.
pub(in crate::cli) fn prepare(place: &Path) -> Result<(), Failure> {
    let shown = place.display();
    match look(place)? {
        MountPoint::Free => {}
        MountPoint::Dead => unmount(place)?,
        MountPoint::Ours => {
            let message =
                format!("lockerfs is mounted at {shown} already: run `lockerfs unmount {shown}` first");
            return Err(Failure::new(message));
        }
        MountPoint::Other(kind) => {
            return Err(Failure::new(format!(
                "{shown} is taken by a mount of {kind}: choose another directory"
            )));
        }
    }
    match std::fs::metadata(place) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format!(
            "the mount point {shown} is not a directory"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::new(format!(
            "the mount point {shown} does not exist: run `mkdir -p {shown}` first"
        ))),
        Err(error) => Err(Failure::new(format!(
            "the mount point {shown} cannot be used: {error}"
        ))),
    }
}

/// Unmounts; where something uses the mount still, it goes when that ends.
pub(in crate::cli) fn unmount(place: &Path) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(format!("cannot unmount {}: {why}", place.display()));
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return detach_as_root(place).map_err(|e| failed(e.to_string()));
    }
    let output = Command::new("fusermount3")
        .args(["-u", "-z", "--"])
        .arg(place)
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(format!(
            "fusermount3: {error} (is the package fuse3 installed?)"
        ))),
    }
}

fn detach_as_root(place: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(place.as_os_str().as_bytes())?;
    // SAFETY: `path` is a string that ends with NUL and lives through the call.
    match unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    source: String,
}

impl Mount {
    fn is_ours(&self) -> bool {
        let named = self.source == SOURCE || self.source.starts_with("lockerfs:");
        self.kind == "fuse.lockerfs" || (self.kind.starts_with("fuse") && named)
    }
}

/// The last mount at `place` in the kernel's table, which hides the others there.
fn topmost(table: &[u8], place: &Path) -> Option<Mount> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| parse(line, place))
        .next_back()
}

fn parse(line: &[u8], place: &Path) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mount_point = unescape(fields.nth(4)?);
    if Path::new(&std::ffi::OsString::from_vec(mount_point)) != place {
        return None;
    }
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    Some(Mount {
        kind: text(rest.next()?),
        source: text(rest.next()?),
    })
}

/// Blanks, tabs, newlines and backslashes stand as octal in the table.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 8).ok())) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        40 22 0:50 / /mnt/my\\040drive rw,nosuid - fuse lockerfs:media rw,user_id=0\n\
        41 22 0:51 / /mnt/x rw shared:5 master:2 - fuse.lockerfs lockerfs rw\n\
        42 22 0:52 / /mnt/x rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_topmost_mount_counts() {
        let mount = topmost(TABLE, Path::new("/mnt/x")).expect("a mount");
        assert_eq!(
            mount,
            Mount {
                kind: "tmpfs".to_owned(),
                source: "tmpfs".to_owned()
            }
        );
        assert!(!mount.is_ours());
    }

    #[test]
    fn a_mount_of_ours_is_known_by_its_source() {
        assert!(
            topmost(TABLE, Path::new("/mnt/my drive"))
                .expect("a mount")
                .is_ours()
        );
        assert_eq!(topmost(TABLE, Path::new("/mnt")), None);
    }
}
