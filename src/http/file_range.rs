//! A part of a local file as the body of a request.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// Is told how many more bytes a connection has taken.
pub trait Taken: Send + Sync {
    fn taken(&self, bytes: u64);
}

/// A part of a file on the local disk, streamed as a request's body. Cheap to clone, so that a request
/// can be sent again.
#[derive(Clone)]
pub struct FileRange {
    pub file: Arc<File>,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Told of each byte, and again when the request is sent again.
    pub count: Option<Arc<dyn Taken>>,
}

impl FileRange {
    pub fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        FileRange {
            file,
            offset,
            length,
            count: None,
        }
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({}+{})", self.offset, self.length)
    }
}
