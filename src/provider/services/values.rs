//! The values that pass between a person's commands and a service.

use std::time::{Duration, SystemTime};

use url::Url;

use crate::provider::{ContentHash, FolderId, ItemId};

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebLink {
    /// Looking at a file, or listening to it, in a browser.
    View,
    /// Editing it there.
    Edit,
    /// Playing it in another program.
    Stream,
}

impl WebLink {
    /// As the end of "has no links ...".
    pub fn purpose(self) -> &'static str {
        match self {
            WebLink::View => "for viewing a file",
            WebLink::Edit => "for editing a file",
            WebLink::Stream => "for playing a file",
        }
    }
}

/// Who may see an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    Public,
    /// Whoever has the link, and nobody finds it otherwise.
    Unlisted,
    Private,
}

/// What a service tells of an item. What it does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    pub item: ItemId,
    pub name: String,
    /// Bytes; of a folder, of all below it.
    pub size: Option<u64>,
    pub hash: Option<ContentHash>,
    pub created: Option<SystemTime>,
    pub revision: Option<String>,
    pub privacy: Option<Privacy>,
    pub description: Option<String>,
    pub mime_type: Option<String>,
    pub downloads: Option<u64>,
    pub views: Option<u64>,
    pub owner: Option<String>,
    /// The folder that it is in, where it is in none of the trash.
    pub parent: Option<FolderId>,
    pub is_trashed: bool,
    /// Of a folder: files and folders directly in it.
    pub holds: Option<(u64, u64)>,
    /// By the service's names for them.
    pub links: Vec<(String, Url)>,
    /// What else it tells, by our names, for a person.
    pub more: Vec<(&'static str, String)>,
}

impl Details {
    /// Of which nothing but this is told.
    pub fn of(item: ItemId, name: String) -> Self {
        Details {
            item,
            name,
            size: None,
            hash: None,
            created: None,
            revision: None,
            privacy: None,
            description: None,
            mime_type: None,
            downloads: None,
            views: None,
            owner: None,
            parent: None,
            is_trashed: false,
            holds: None,
            links: Vec::new(),
            more: Vec::new(),
        }
    }
}

/// One content that a file has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    pub revision: String,
    pub date: Option<SystemTime>,
    /// Whether it is the present one.
    pub is_head: bool,
}

/// Something in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashedItem {
    pub item: ItemId,
    pub name: String,
    /// Bytes, of a file.
    pub size: Option<u64>,
    /// When it was put there, in the words of the service.
    pub deleted: Option<String>,
}

/// What came of taking items out of the trash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// It goes on after the answer.
    pub goes_on: bool,
    /// New names of items whose own were taken.
    pub renamed: Vec<String>,
}

/// What a one-time link allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OneTimeTerms {
    /// How long it is good for; as long as the service has it where absent.
    pub duration: Option<Duration>,
    /// A mail goes to the owner when the file is downloaded.
    pub notify: bool,
    /// From which addresses alone it may be used: addresses, masks or ranges, by commas.
    pub bind_ip: Option<String>,
    /// It is good for more than one download; with `bind_ip` alone.
    pub keep: bool,
    /// What the service is to call when the file was downloaded, and when that failed.
    pub success_url: Option<Url>,
    pub error_url: Option<Url>,
}

/// Links made today, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OneTimeCounts {
    pub made: Option<u64>,
    pub most: Option<u64>,
}

/// A new one-time link. Whoever has it gets the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeLink {
    pub token: String,
    pub download: Url,
    /// For looking at the file, where the service has such a link.
    pub view: Option<Url>,
    pub counts: OneTimeCounts,
}

/// What a person agrees to where an archive is large, or costs traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZipTerms {
    pub large: bool,
    pub own_bandwidth: bool,
}
