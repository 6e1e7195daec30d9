//! Hashes of staged contents, computed on threads for blocking work.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::UploadError;
use super::journal::blocking;

const BUFFER: usize = 256 << 10;

/// The SHA-256 of `length` bytes from `offset`.
pub(super) async fn sha256(file: Arc<File>, offset: u64, length: u64) -> Result<[u8; 32], UploadError> {
    blocking("read a staged file", move || {
        let mut hash = Sha256::new();
        each_part(&file, offset, length, |part| hash.update(part))?;
        Ok(hash.finalize().into())
    })
    .await
}

/// The MD5 of the first `length` bytes.
pub(super) async fn md5(file: Arc<File>, length: u64) -> Result<[u8; 16], UploadError> {
    blocking("read a staged file", move || {
        let mut hash = Md5::new();
        each_part(&file, 0, length, |part| hash.update(part))?;
        Ok(hash.finalize().into())
    })
    .await
}

/// Reads `length` bytes from `offset` in parts.
pub(super) fn each_part(
    file: &File,
    offset: u64,
    length: u64,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER.min(usize::try_from(length).unwrap_or(BUFFER))];
    let mut done = 0;
    while done < length {
        let wanted = (length - done).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..wanted], offset + done)?;
        take(&buffer[..wanted]);
        done += wanted as u64;
    }
    Ok(())
}
