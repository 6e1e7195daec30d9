//! What an account can do, as a set that callers ask before they call.

/// One thing that a service may or may not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Capability {
    /// List folders.
    List = 1,
    /// Give direct links for reading.
    Read = 1 << 1,
    /// Take uploads.
    Write = 1 << 2,
    /// Make folders.
    CreateFolder = 1 << 3,
    /// Rename items.
    Rename = 1 << 4,
    /// Move items between folders.
    Move = 1 << 5,
    /// Copy a file without its bytes passing through here.
    Copy = 1 << 6,
    /// Delete items into a trash.
    Trash = 1 << 7,
    /// Delete items for good.
    Purge = 1 << 8,
    /// Tell what changed since a cursor.
    ChangeFeed = 1 << 9,
    /// Hold files of no bytes.
    EmptyFiles = 1 << 10,
    /// Keep a modification time that the client gives.
    ModificationTime = 1 << 11,
    /// Give a file new content under its old id.
    ReplaceKeepsId = 1 << 12,
    /// Tell a content hash in listings, and take a content that is known there already by its hash alone.
    ContentHash = 1 << 13,
    /// Take many items in one call.
    Batches = 1 << 14,
    /// Tell the pages of files, for people to be sent to.
    ShareLinks = 1 << 15,
    /// Tell them in fewer characters as well.
    ShortLinks = 1 << 16,
    /// Fetch a file from a link by itself.
    RemoteUpload = 1 << 17,
}

impl Capability {
    /// What is missing, as the end of "This account cannot ...".
    pub fn describe(self) -> &'static str {
        match self {
            Capability::List => "list folders",
            Capability::Read => "read files back",
            Capability::Write => "take uploads",
            Capability::CreateFolder => "make folders",
            Capability::Rename => "rename",
            Capability::Move => "move",
            Capability::Copy => "copy on the service",
            Capability::Trash => "delete into a trash",
            Capability::Purge => "delete for good",
            Capability::ChangeFeed => "tell what changed",
            Capability::EmptyFiles => "hold empty files",
            Capability::ModificationTime => "keep modification times",
            Capability::ReplaceKeepsId => "replace content under the same id",
            Capability::ContentHash => "tell content hashes",
            Capability::Batches => "take many items in one call",
            Capability::ShareLinks => "give links to hand on",
            Capability::ShortLinks => "give short links",
            Capability::RemoteUpload => "fetch files from links",
        }
    }
}

/// A set of [`Capability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u32);

impl Capabilities {
    pub const fn none() -> Self {
        Capabilities(0)
    }

    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Capabilities(self.0 | capability as u32)
    }

    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Capabilities(self.0 & !(capability as u32))
    }

    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u32 != 0
    }
}
