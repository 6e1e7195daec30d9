//! The values that pass between lockerfs and a provider. Ids are opaque and of different types, so
//! that a folder's can never stand for a file's.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use url::Url;

use super::{ErrorKind, ProviderError, Retry};

pub use crate::http::ServerHabits;

/// Bytes of a name or an id.
const LONGEST_TEXT: usize = 4096;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            pub fn new(id: impl Into<String>) -> Self {
                $name(id.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// A folder, in the service's own terms (MediaFire: folderkey).
    FolderId
}
opaque_id! {
    /// A file, in the service's own terms (MediaFire: quickkey).
    FileId
}
opaque_id! {
    /// A place in the service's stream of changes.
    ChangeCursor
}
opaque_id! {
    /// An upload whose bytes the service has and works on. It outlives the process.
    UploadTicket
}

/// A file or a folder, by id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ItemId {
    File(FileId),
    Folder(FolderId),
}

/// A hash of a whole content, of the kind that the service tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentHash {
    Sha256([u8; 32]),
    Md5([u8; 16]),
}

impl ContentHash {
    /// Reads lowercase or uppercase hex of 64 (SHA-256) or 32 (MD5) digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&hex::decode(text.trim()).ok()?)
    }

    /// Of 32 (SHA-256) or 16 (MD5) bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            32 => Some(ContentHash::Sha256(bytes.try_into().ok()?)),
            16 => Some(ContentHash::Md5(bytes.try_into().ok()?)),
            _ => None,
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            ContentHash::Sha256(bytes) => bytes.to_vec(),
            ContentHash::Md5(bytes) => bytes.to_vec(),
        }
    }

    pub fn to_hex(self) -> String {
        match self {
            ContentHash::Sha256(bytes) => hex::encode(bytes),
            ContentHash::Md5(bytes) => hex::encode(bytes),
        }
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The size of a file as a service told it, in bytes, unless it is more than any program can be told of.
pub(super) fn sensible_size(bytes: u64) -> Option<u64> {
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// The name or the id of an item as a service told it, unless it is longer than any service's.
pub(super) fn sensible_text(text: String) -> Option<String> {
    (text.len() <= LONGEST_TEXT).then_some(text)
}

/// A file as the service tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub id: FileId,
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The modification time that the service keeps, or else the time of upload.
    pub mtime: Option<SystemTime>,
    pub hash: Option<ContentHash>,
    /// Changes with each change of the content. Compared for equality only.
    pub revision: Option<String>,
    /// The folder, where the answer tells it (a listing does not).
    pub parent: Option<FolderId>,
}

/// A folder as the service tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    pub id: FolderId,
    pub name: String,
    pub mtime: Option<SystemTime>,
    /// What it holds directly, where told: lets a listing skip a part that is empty.
    pub hint: ListHint,
}

/// What a listing is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File(FileEntry),
    Folder(FolderEntry),
}

impl Entry {
    pub fn name(&self) -> &str {
        match self {
            Entry::File(file) => &file.name,
            Entry::Folder(folder) => &folder.name,
        }
    }

    pub fn item(&self) -> ItemId {
        match self {
            Entry::File(file) => ItemId::File(file.id.clone()),
            Entry::Folder(folder) => ItemId::Folder(folder.id.clone()),
        }
    }
}

/// How many files and folders a folder holds directly, where known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListHint {
    pub files: Option<u64>,
    pub folders: Option<u64>,
}

/// A folder, in the service's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Whether the folder holds more than the entries, in a form that could not be read. It must then not be
    /// taken for empty.
    pub incomplete: bool,
    /// Changes with each change of what is in the folder, where the service tells it. Compared for equality only.
    pub revision: Option<String>,
}

impl Listing {
    /// Gives items the names that are known to come.
    pub fn give_names(&mut self, names: &HashMap<ItemId, String>) {
        if names.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            if let Some(name) = names.get(&entry.item()) {
                match entry {
                    Entry::File(file) => file.name.clone_from(name),
                    Entry::Folder(folder) => folder.name.clone_from(name),
                }
            }
        }
    }

    /// Whether the time of a file is not told.
    pub fn lacks_times(&self) -> bool {
        let lacks = |entry: &Entry| matches!(entry, Entry::File(file) if file.mtime.is_none());
        self.entries.iter().any(lacks)
    }
}

/// A URL from which a file's bytes come without credentials. Its text is a secret of a kind: whoever
/// holds it reads the file; `Debug` shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct DownloadLink {
    pub url: Url,
    /// When to ask for a new one at the latest.
    pub expires: SystemTime,
    /// What is peculiar about the server behind it.
    pub habits: ServerHabits,
}

impl fmt::Debug for DownloadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or("?");
        f.debug_struct("DownloadLink")
            .field("host", &host)
            .field("expires", &self.expires)
            .finish()
    }
}

/// Where a person is sent to for a file: pages of the service, not its bytes. They may be handed on, and stay as
/// they are for as long as the file keeps its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLinks {
    pub url: Url,
    /// The same page in fewer characters; told by services with [`Capability::ShortLinks`](super::Capability::ShortLinks)
    /// alone.
    pub short_url: Option<Url>,
}

/// Quota and limits of an account; `None` where the service does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountInfo {
    /// Who it is, for a person: an e-mail address or a user name.
    pub owner: Option<String>,
    /// Bytes.
    pub storage_limit: Option<u64>,
    /// Bytes.
    pub storage_used: Option<u64>,
    /// Bytes of the largest file that it takes.
    pub max_file_size: Option<u64>,
}

/// Which names a service takes unchanged. What breaks a rule by a character is encoded by the caller;
/// what breaks a length is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRules {
    /// Unicode scalar values.
    pub max_chars: usize,
    /// Characters that the service refuses or alters, beside `/` and NUL.
    pub forbidden: &'static str,
    /// Whether a name may begin or end with blanks.
    pub edge_blanks: bool,
    /// Whether a name may begin with a dot.
    pub leading_dot: bool,
    /// Whether an upload whose name is taken is kept beside the other file as `name (2).ext`.
    pub numbered_twins: bool,
}

/// Where deleted items go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteMode {
    #[default]
    Trash,
    Purge,
}

/// What changed on the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where to go on.
    pub cursor: ChangeCursor,
    /// Folders that were made, renamed, moved or removed. Those that they were in before may have changed too.
    pub folders: Vec<Changed<FolderId>>,
    /// Files that were made or changed, moved or removed; the same holds.
    pub files: Vec<Changed<FileId>>,
    /// Something changed that is not told, as when an item is removed for good: folders that are known are to be
    /// [compared](super::Provider::folder_states) with what the service has.
    pub untold: bool,
    /// The service does not tell what happened since: nothing that was known is sure.
    pub everything: bool,
}

/// An item that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    pub id: T,
    /// The folder that it is in now; none where it is in none.
    pub folder: Option<FolderId>,
}

/// What tells whether a folder is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderState {
    pub id: FolderId,
    /// As [`Listing::revision`].
    pub revision: Option<String>,
    pub holds: ListHint,
}

/// A content to be uploaded, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRequest {
    pub folder: FolderId,
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Not known where the service is to [fetch](super::Provider::upload_from_link) a content that was never here.
    pub sha256: Option<[u8; 32]>,
    pub mtime: SystemTime,
    /// The file that the new content is to replace, under the same id where the service can do that. Where
    /// it cannot, the finished upload has another id and the caller deletes the old file.
    pub replaces: Option<FileId>,
    /// Whether it may have been sent before, in part or as a whole, with nobody knowing what came of it.
    pub sent_before: bool,
}

/// An upload whose bytes the service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentUpload {
    pub ticket: UploadTicket,
    pub request: UploadRequest,
}

/// How an upload goes on after it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadPlan {
    /// The service had the content already and made the file.
    Done(FileEntry),
    /// Send the content in one request.
    Whole,
    /// Send the units that are missing. All units but the last have `unit_size` bytes. With none missing,
    /// the service has all bytes and `ticket` is polled.
    Units {
        unit_size: u64,
        missing: Vec<u32>,
        ticket: Option<UploadTicket>,
    },
    /// Send the content in parts of at most `max_chunk` bytes, one at a time and strictly in order. The service
    /// appends what comes, so a part that may have been taken is never sent again: after any failure the upload
    /// begins anew, with an announcement and the first byte.
    Ranges {
        max_chunk: u64,
        /// What the parts of this announcement are told apart by from those of another.
        session: UploadTicket,
    },
    /// A file that the caller does not know of bears the name.
    NameTaken(FileId),
    /// One of these files may be this content, sent before; the service tells no hash to know it by. The caller
    /// compares bytes, and announces the content as one never sent where none is it. Not empty.
    Candidates(Vec<FileEntry>),
}

/// Where an upload stands after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadProgress {
    /// The unit or part was taken; others are missing.
    UnitTaken,
    /// All bytes are there; poll the ticket.
    Processing(UploadTicket),
    /// The file is on the service.
    Done(FileEntry),
    /// The same, under a numbered name, since another file bears the right one: that which was to be replaced is gone.
    Beside(FileEntry),
    /// The file is on a service that cannot list it: who keeps the list notes it, and says that it is done.
    Published(Publication),
    /// The service lost the upload or its bytes: announce it again.
    StartAgain,
    /// The service gave the upload up and made no file of it. The ticket is worth nothing any more: what may
    /// still become of the content begins with an announcement.
    GivenUp(Refusal),
}

/// What a service without listings tells once, at the end of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub entry: FileEntry,
    /// Its page for people.
    pub url: Option<String>,
    pub short_url: Option<String>,
    /// Where it is spread to, by the service's names.
    pub mirrors: Vec<String>,
}

/// What became of a published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedState {
    Active,
    /// In the service's words.
    Removed(String),
}

/// Calls that a service allows in a day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyCalls {
    pub limit: u64,
    pub spent: u64,
    /// When the next day begins.
    pub renewed: SystemTime,
}

/// How the calls of an account are held back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// How long no call is made, since the service asked for fewer.
    pub rests: Option<Duration>,
    /// How long no call is made, since the service is away.
    pub away: Option<Duration>,
    /// The rate, where it is lower than it may be.
    pub calls_per_second: Option<f64>,
}

/// Why a service gave up an upload whose bytes it had taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ErrorKind,
    /// Whether the same upload may succeed later.
    pub retry: Retry,
    /// What the service said, for a person.
    pub message: String,
}

impl From<Refusal> for ProviderError {
    fn from(refusal: Refusal) -> Self {
        ProviderError::new(refusal.kind, refusal.retry, "upload", refusal.message)
    }
}
