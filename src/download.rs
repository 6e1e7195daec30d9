//! Reading files: direct links, ranged GETs ahead of the reader, and the cache of blocks on disk.
//!
//! A [`Reader`] hands on only bytes that passed the response gate of [`crate::http`]; a file that was
//! read whole is checked against the hash the service tells. Nothing is fetched before the first byte is
//! wanted, no block twice at a time, and a reader that is dropped stops its fetches. Memory is bounded by
//! [`Options`]. This room knows no inodes, no kernel and no service.

mod base;
mod body;
mod cache;
mod check;
mod clean;
mod connections;
mod content;
mod error;
mod flight;
mod heads;
mod links;
mod memory;
mod on_disk;
mod pattern;
mod reader;
mod wanted;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

pub use cache::BlockCache;
pub use error::DownloadError;
pub use heads::Heads;
pub use reader::Reader;

use crate::http::DataClient;
use crate::provider::{ContentHash, FileId, Provider};
use crate::state::Pins;
use body::Fetcher;
use cache::ContentKey;
use connections::AllConnections;
use content::Content;
use links::Links;
use memory::{ContentNumber, Memory};

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
    /// Bytes of blocks kept in memory, over all accounts.
    pub memory: u64,
    /// The most that is fetched ahead of a reader in order, in bytes.
    pub read_ahead: u64,
    /// Where what was read stays.
    pub cache: Option<Arc<BlockCache>>,
    /// Contents that stay for good.
    pub pins: Option<Pins>,
    /// Accounts whose sent contents are to be such.
    pub pinning: HashSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stall_timeout: Duration::from_secs(30),
            link_gather: Duration::from_millis(3),
            links_kept: NonZeroUsize::MIN.saturating_add(4095),
            connections: NonZeroUsize::MIN.saturating_add(11),
            memory: 48 * 1024 * 1024,
            read_ahead: 96 * 1024 * 1024,
            cache: None,
            pins: None,
            pinning: HashSet::new(),
        }
    }
}

/// A file to read, as the service last told it.
#[derive(Clone)]
pub struct Source {
    pub account: String,
    pub provider: Arc<dyn Provider>,
    pub file: FileId,
    /// For messages, and to know an HTML file by.
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub hash: Option<ContentHash>,
    /// Changes with the content, where the service tells it.
    pub revision: Option<String>,
}

impl Source {
    /// What tells its content from others. Where a service tells neither hash nor revision, it gives each content an
    /// id of its own.
    fn key(&self) -> ContentKey {
        let version = match (self.hash, &self.revision) {
            (Some(hash), _) => hash.to_hex(),
            (None, Some(revision)) => revision.clone(),
            (None, None) => String::new(),
        };
        ContentKey {
            space: self.provider.id_space(),
            file: self.file.clone(),
            version,
            size: self.size,
        }
    }

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
    memory: Arc<Memory>,
    contents: Mutex<Contents>,
    options: Options,
}

/// The contents that are open.
#[derive(Default)]
struct Contents {
    open: HashMap<ContentKey, Weak<Content>>,
    /// Contents opened so far.
    count: u64,
}

impl Downloads {
    pub fn new(client: DataClient, options: Options) -> Arc<Self> {
        let links = Arc::new(Links::new(options.link_gather, options.links_kept));
        Arc::new(Downloads {
            client,
            links,
            connections: AllConnections::new(options.connections),
            memory: Arc::new(Memory::new(options.memory)),
            contents: Mutex::default(),
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
    pub fn open(&self, source: Source) -> Arc<Reader> {
        Arc::new(Reader::new(self.content(source), self.options.read_ahead))
    }

    /// The content of a file, shared by all who have it open.
    fn content(&self, source: Source) -> Arc<Content> {
        let key = source.key();
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let known = contents.open.get(&key).and_then(Weak::upgrade);
        if let Some(content) = known.filter(|content| !content.is_wrong()) {
            return content;
        }
        contents.open.retain(|_, content| content.strong_count() > 0);
        contents.count += 1;
        let content = Content::new(
            ContentNumber(contents.count),
            self.fetcher(source),
            Arc::clone(&self.memory),
            self.options.cache.clone(),
            key.clone(),
        );
        contents.open.insert(key, Arc::downgrade(&content));
        content
    }

    /// Bytes of a file, fetched for themselves. `range` is cut at the end of the file.
    pub async fn read_range(&self, source: Source, range: Range<u64>) -> Result<Bytes, DownloadError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let reader = Reader::new(self.content(source), 0);
        reader.read(range.start, length).await
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
