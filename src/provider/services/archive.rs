//! A ZIP archive that comes as the service makes it.

use std::fmt;

use bytes::Bytes;

use crate::http::{ApiStream, HttpError};
use crate::provider::{ErrorKind, ProviderError, Result, Retry};

const OPERATION: &str = "zip";

/// How an archive may begin: with a file, or with the end where it holds none.
const BEGINS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// How its last record begins, the bytes that it has, and the most of the comment at its end.
const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 65_535;

/// The bytes of an archive, in order. What is no archive is never handed on, and one that ends before its last
/// record is an error.
pub struct Archive {
    first: Option<Bytes>,
    body: ApiStream,
    /// The last bytes handed on, in which the last record must be.
    tail: Vec<u8>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Whether a body that begins so may be an archive.
    pub(in crate::provider) fn begins(bytes: &[u8]) -> bool {
        BEGINS.iter().any(|begin| bytes.starts_with(begin))
    }

    /// Of a body whose first bytes were read.
    pub(in crate::provider) fn new(first: Bytes, body: ApiStream) -> Self {
        Archive {
            first: Some(first),
            body,
            tail: Vec::new(),
        }
    }

    /// Bytes of the whole, where the service tells.
    pub fn length(&self) -> Option<u64> {
        self.body.length
    }

    /// The next bytes; `None` after the last of a whole archive.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.body.chunk().await.map_err(broken)?,
        };
        match &next {
            Some(bytes) => self.keep(bytes),
            None if is_whole(&self.tail) => {}
            None => return Err(cut("the archive ends before its last record")),
        }
        Ok(next)
    }

    fn keep(&mut self, bytes: &[u8]) {
        const MOST: usize = END_LENGTH + LONGEST_COMMENT;
        self.tail.extend_from_slice(bytes);
        // Not with each chunk, which may be small.
        if self.tail.len() > 4 * MOST {
            self.tail.drain(..self.tail.len() - MOST);
        }
    }
}

/// Whether the last record is there and ends with the bytes.
fn is_whole(tail: &[u8]) -> bool {
    let Some(last) = tail.len().checked_sub(END_LENGTH) else {
        return false;
    };
    let earliest = last.saturating_sub(LONGEST_COMMENT);
    (earliest..=last).rev().any(|at| {
        let record = tail.get(at..at + END_LENGTH).unwrap_or_default();
        let comment = match record {
            [.., low, high] => usize::from(u16::from_le_bytes([*low, *high])),
            _ => return false,
        };
        record.starts_with(END) && at + END_LENGTH + comment == tail.len()
    })
}

fn broken(error: HttpError) -> ProviderError {
    cut(&error.message.clone()).with_source(error)
}

fn cut(message: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Corrupt, Retry::AfterWait(None), OPERATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(comment: &[u8]) -> Vec<u8> {
        let mut record = [END, &[0; 16]].concat();
        record.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        record.extend(comment);
        record
    }

    #[test]
    fn an_archive_is_whole_where_its_last_record_ends_it() {
        let body = [b"PK\x03\x04 some file".as_slice(), &end(b"")].concat();
        assert!(is_whole(&body) && Archive::begins(&body));
        assert!(is_whole(&end(b"a comment with PK\x05\x06 in it")));
        assert!(Archive::begins(&end(b"")));
        for cut in 1..END_LENGTH {
            assert!(!is_whole(&body[..body.len() - cut]), "{cut} bytes are missing");
        }
        assert!(!is_whole(&[body.as_slice(), b"more"].concat()));
        assert!(!is_whole(b"") && !Archive::begins(b"<html>") && !Archive::begins(b"{"));
    }
}
