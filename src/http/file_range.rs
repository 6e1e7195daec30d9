//! A part of a local file as the body of a request.

use std::fs::File;
use std::sync::Arc;

/// A part of a file on the local disk, streamed as a request's body. Cheap to clone, so that a request
/// can be sent again.
#[derive(Debug, Clone)]
pub struct FileRange {
    pub file: Arc<File>,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}
