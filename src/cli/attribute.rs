//! Reads an extended attribute of a file.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// More than any value of ours has, in bytes.
const ROOM: usize = 64 * 1024;

/// The attribute's text; `None` where the file has none of the name.
pub(super) fn read(path: &Path, name: &OsStr) -> io::Result<Option<String>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let name = CString::new(name.as_bytes())?;
    let mut value = vec![0u8; ROOM];
    // SAFETY: both strings end with a NUL, and `value` has the room that is told.
    let size = unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    let Ok(size) = usize::try_from(size) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        };
    };
    value.truncate(size);
    let text = String::from_utf8(value);
    text.map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
