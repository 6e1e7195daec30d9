//! Reading files: direct links, ranged GETs, and the bytes around a reader's place in memory.
//!
//! A [`Reader`] hands on only bytes that passed the response gate of [`crate::http`]; a file that was
//! read whole and in order is checked against the hash the service tells. Nothing is fetched before the
//! first byte is wanted, and a reader that is dropped stops its fetches. This room knows no inodes, no
//! kernel and no service.

mod base;
mod body;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "readers come to it with the engine that fetches by blocks"
    )
)]
mod cache;
mod clean;
mod connections;
mod error;
mod links;
mod reader;
mod stream;
mod window;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use cache::BlockCache;
pub use error::DownloadError;
pub use reader::Reader;

use crate::http::DataClient;
use crate::provider::{ContentHash, FileId, Provider};
use body::Fetcher;
use connections::AllConnections;
use links::Links;

/// How reading behaves. The defaults suit a mount.
#[derive(Debug, Clone)]
pub struct Options {
    /// A read fails when no byte came for this long.
    pub stall_timeout: Duration,
    /// How long the first request for a link waits for others to go along.
    pub link_gather: Duration,
    /// Links kept, over all accounts.
    pub links_kept: NonZeroUsize,
    /// Data connections open at a time for one account; fewer where its service says that they are too many.
    pub connections: NonZeroUsize,
    /// Where what was read stays.
    pub cache: Option<Arc<BlockCache>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stall_timeout: Duration::from_secs(30),
            link_gather: Duration::from_millis(3),
            links_kept: NonZeroUsize::MIN.saturating_add(4095),
            connections: NonZeroUsize::MIN.saturating_add(7),
            cache: None,
        }
    }
}

/// A file to read, as the service last told it.
pub struct Source {
    pub account: String,
    pub provider: Arc<dyn Provider>,
    pub file: FileId,
    /// For messages, and to know an HTML file by.
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub hash: Option<ContentHash>,
}

impl Source {
    fn may_be_html(&self) -> bool {
        let extension = self
            .name
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_ascii_lowercase());
        matches!(
            extension.as_deref(),
            Some("html" | "htm" | "xhtml" | "xht" | "shtml")
        )
    }
}

/// The downloads of all accounts of a mount.
pub struct Downloads {
    client: DataClient,
    links: Arc<Links>,
    connections: AllConnections,
    options: Options,
}

impl Downloads {
    pub fn new(client: DataClient, options: Options) -> Arc<Self> {
        let links = Arc::new(Links::new(options.link_gather, options.links_kept));
        Arc::new(Downloads {
            client,
            links,
            connections: AllConnections::new(options.connections),
            options,
        })
    }

    /// Makes an account's provider known for [`Downloads::read_range`]; [`Downloads::open`] does it by itself.
    pub fn register(&self, account: &str, provider: Arc<dyn Provider>) {
        self.links.register(account, provider);
    }

    /// The provider of an account that was registered.
    pub fn provider(&self, account: &str) -> Option<Arc<dyn Provider>> {
        self.links.provider(account)
    }

    /// A reader of one file. Makes no call.
    pub fn open(self: &Arc<Self>, source: Source) -> Arc<Reader> {
        Arc::new(Reader::new(self.fetcher(source)))
    }

    /// Bytes of a file, fetched for themselves, without a window or read-ahead. `range` is cut at the end of
    /// the file.
    pub async fn read_range(&self, source: Source, range: Range<u64>) -> Result<Bytes, DownloadError> {
        let end = range.end.min(source.size);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        self.fetcher(source).fetch(range.start..end).await
    }

    /// Drops what is kept of a file, because it changed or went.
    pub fn forget(&self, account: &str, file: &FileId) {
        self.links.forget(account, file);
    }

    fn fetcher(&self, source: Source) -> Fetcher {
        self.links.introduce(&source.account, &source.provider);
        Fetcher {
            client: self.client.clone(),
            links: Arc::clone(&self.links),
            connections: self.connections.of(&source.account),
            options: self.options.clone(),
            source: Arc::new(source),
            sends_on: Arc::default(),
        }
    }
}
