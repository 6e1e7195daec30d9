//! What a file host can do for lockerfs: the trait [`Provider`] and one folder per service.
//!
//! A provider turns typed requests into the calls of one service and its answers into typed values,
//! once, at the border: tolerant of what the service sends, strict in what it hands on. It never
//! sleeps, retries or counts: the wrappers in [`wrap`] do that around any provider. It knows nothing
//! of inodes, staging or the kernel.

mod capability;
mod catalog;
mod error;
mod exchange;
mod form;
mod json;
pub mod mediafire;
pub mod mirrorace;
pub mod mirrored_to;
mod numbered;
mod publish;
pub mod services;
mod types;
pub mod wrap;
pub mod yetishare;

pub use capability::{Capabilities, Capability};
pub use catalog::{Catalog, drop_unlisted};
pub use error::{ErrorKind, ProviderError, Result, Retry};
pub use exchange::Exchange;
pub use numbered::{is_numbered_twin, without_number};
pub use publish::Clock;
pub use types::{
    AccountInfo, ChangeCursor, Changed, Changes, ContentHash, DailyCalls, DeleteMode, DownloadLink, Entry,
    FileEntry, FileId, FolderEntry, FolderId, FolderState, ItemId, ListHint, Listing, NameRules, Pace,
    Publication, PublishedState, Refusal, SentUpload, ServerHabits, ShareLinks, UploadPlan, UploadProgress,
    UploadRequest, UploadTicket,
};

use std::time::SystemTime;

use async_trait::async_trait;
use url::Url;

use self::types::{sensible_size, sensible_text};
use crate::http::FileRange;
use services::FileServices;

/// Polls under way at once where a service takes one upload in each.
const POLLS_AT_ONCE: usize = 8;

fn lacks<T>(operation: &'static str, capability: Capability) -> Result<T> {
    Err(ProviderError::unsupported(operation, capability))
}

/// For the ways of an upload that no plan of the service asks for.
fn another_way<T>(operation: &'static str) -> Result<T> {
    refuse(operation, "the service takes uploads in another way")
}

fn refuse<T>(operation: &'static str, message: &str) -> Result<T> {
    Err(ProviderError::new(
        ErrorKind::Unsupported,
        Retry::Never,
        operation,
        message,
    ))
}

/// One account of one service.
///
/// # Contract
///
/// - A method makes as few calls as the service allows and returns when the service has answered. It does
///   not retry, except for one login and one replay after the service declared a token dead.
/// - Names go in and come out as the service holds them; encoding of names is the caller's.
/// - A method whose [`Capability`] is missing returns [`ErrorKind::Unsupported`] without a call. A method that a provider
///   does not write does just that. What only wraps a provider writes all of them.
/// - [`Retry::OutcomeUnknown`] is returned exactly where the request may have taken effect although no
///   answer came: the caller must look before it does the same again.
/// - Methods documented as *idempotent* may be repeated after an unknown outcome.
/// - Dropping the future of a method cancels it; the outcome is then unknown.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The account kind as written in the config, for example `mediafire`.
    fn kind(&self) -> &'static str;

    /// Where the ids of this account are unique: two accounts of one service may share it. What is kept here
    /// about an id is kept under it.
    fn id_space(&self) -> String {
        self.kind().to_owned()
    }

    /// What this account can do, as far as is known: once the service was asked, less may be left of it, never
    /// more. So it is to be asked anew each time.
    fn capabilities(&self) -> Capabilities;

    /// Which names the service takes.
    fn name_rules(&self) -> NameRules;

    /// The id of the account's top folder.
    fn root(&self) -> FolderId;

    /// The newest file that the service told of so far, where its ids rise and the folder was listed lately: what
    /// an upload into it makes from now on [came after](Self::came_after) it. An id before all, where no file
    /// was told. `None` where the folder was not listed lately, and where ids tell no order. Makes no call.
    fn newest_file(&self, _folder: &FolderId) -> Option<FileId> {
        None
    }

    /// Whether a file was made after another, as their ids tell; false where they tell no order.
    fn came_after(&self, _file: &FileId, _before: &FileId) -> bool {
        false
    }

    /// Quota and limits of the account. Idempotent. It logs in where no login is held, so it serves as the
    /// check that the credentials work.
    async fn account_info(&self) -> Result<AccountInfo>;

    /// All entries of a folder. `hint` tells which part is known to be empty, which then costs no call.
    /// Idempotent. Entries in the trash are not listed. Two entries may bear the same name.
    async fn list(&self, _folder: &FolderId, _hint: ListHint) -> Result<Listing> {
        lacks("list", Capability::List)
    }

    /// The present facts of files, in as few calls as the service allows. Files that are gone (or in the trash) are
    /// absent from the answer; so may those be of which the service tells nothing sensible, where it tells of
    /// others. Idempotent.
    async fn file_info(&self, _files: &[FileId]) -> Result<Vec<FileEntry>> {
        lacks("file_info", Capability::List)
    }

    /// Direct links, one for each file, in the order asked; an error in place of a link where that
    /// file has none. As few calls as the service allows. Idempotent.
    async fn links(&self, _files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        lacks("links", Capability::Read)
    }

    /// The pages that a person is sent to for files, one for each file, in the order asked; an error in place of
    /// the links of a file that has none. As few calls as the service allows. Needs [`Capability::ShareLinks`].
    /// Idempotent.
    async fn share_links(&self, _files: &[FileId]) -> Result<Vec<Result<ShareLinks>>> {
        lacks("share_links", Capability::ShareLinks)
    }

    /// Makes a folder, or returns the folder of that name that is there already. Idempotent.
    async fn create_folder(&self, _parent: &FolderId, _name: &str) -> Result<FolderEntry> {
        lacks("create_folder", Capability::CreateFolder)
    }

    /// Gives an item another name in its folder. Idempotent. `mtime` is the time that it has and keeps, where
    /// known: a service may take a rename for a modification. Where the name is taken, the service may hold
    /// twins afterwards, or choose a name that is free, or refuse with [`ErrorKind::AlreadyExists`].
    async fn rename(&self, _item: &ItemId, _name: &str, _mtime: Option<SystemTime>) -> Result<()> {
        lacks("rename", Capability::Rename)
    }

    /// Moves items into another folder, under their names. Idempotent.
    async fn move_to(&self, _items: &[ItemId], _folder: &FolderId) -> Result<()> {
        lacks("move_to", Capability::Move)
    }

    /// Copies a file on the service, under its name, and returns the new id. Where the name is taken in the folder,
    /// as in the file's own, the copy is a twin or has a name that the service chooses, as its facts tell. Not
    /// idempotent.
    async fn copy_file(&self, _file: &FileId, _folder: &FolderId) -> Result<FileId> {
        lacks("copy_file", Capability::Copy)
    }

    /// Sets the modification time that the service keeps for an item. Idempotent.
    async fn set_mtime(&self, _item: &ItemId, _mtime: SystemTime) -> Result<()> {
        lacks("set_mtime", Capability::ModificationTime)
    }

    /// Replaces the content of `old` by that of `new`, which vanishes, keeping the id of `old`. Needs
    /// [`Capability::ReplaceKeepsId`]; the service may refuse pairs of files, with
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::InvalidArgument`]. Not idempotent.
    async fn replace_content(&self, _new: &FileId, _old: &FileId) -> Result<()> {
        lacks("replace_content", Capability::ReplaceKeepsId)
    }

    /// Deletes items; folders with all that is in them. An item that is gone already is a success.
    /// Idempotent.
    async fn delete(&self, _items: &[ItemId], mode: DeleteMode) -> Result<()> {
        lacks(
            "delete",
            match mode {
                DeleteMode::Trash => Capability::Trash,
                DeleteMode::Purge => Capability::Purge,
            },
        )
    }

    /// What folders are like now, in as few calls as the service allows. Those that are gone are absent from the
    /// answer. Needs [`Capability::ChangeFeed`]. Idempotent.
    async fn folder_states(&self, _folders: &[FolderId]) -> Result<Vec<FolderState>> {
        lacks("folder_states", Capability::ChangeFeed)
    }

    /// What changed since `since`; `None` asks for the present cursor only. One cheap call when nothing
    /// changed. Needs [`Capability::ChangeFeed`]. Idempotent.
    async fn changes(&self, _since: Option<&ChangeCursor>) -> Result<Changes> {
        lacks("changes", Capability::ChangeFeed)
    }

    /// Announces an upload and says how it goes on. Idempotent: asked again after a crash or a lost answer, with
    /// [`UploadRequest::sent_before`] set, it says what the service already holds. May finish at once where
    /// the service has the content.
    async fn upload_begin(&self, _request: &UploadRequest) -> Result<UploadPlan> {
        lacks("upload_begin", Capability::Write)
    }

    /// Sends the whole content in one request, for [`UploadPlan::Whole`]. Not idempotent.
    async fn upload_whole(&self, _request: &UploadRequest, _body: FileRange) -> Result<UploadProgress> {
        another_way("upload_whole")
    }

    /// Sends one unit, for [`UploadPlan::Units`]; `index` counts from 0 and `sha256` is that of the unit's
    /// bytes. Units go in any order and side by side. Not idempotent, since the last one missing ends the
    /// upload: a lost answer is looked up by announcing the upload again.
    async fn upload_unit(
        &self,
        _request: &UploadRequest,
        _index: u32,
        _sha256: &[u8; 32],
        _body: FileRange,
    ) -> Result<UploadProgress> {
        another_way("upload_unit")
    }

    /// Sends the next part, for [`UploadPlan::Ranges`]: the bytes from `body.offset` on, which is where the part
    /// before ended. The part that holds the last byte ends the upload. Not idempotent, and never repeated: what
    /// became of the last part is looked up by announcing the upload again.
    async fn upload_range(
        &self,
        _request: &UploadRequest,
        _session: &UploadTicket,
        _body: FileRange,
    ) -> Result<UploadProgress> {
        another_way("upload_range")
    }

    /// Has the service fetch the content from a direct link by itself, in place of an announcement and bytes. The
    /// link carries its own permission and is told to the service. The file made may bear another name, which its
    /// entry tells. Needs [`Capability::RemoteUpload`]. Not idempotent; with [`UploadRequest::sent_before`] set, what
    /// an earlier call began is gone on with where the service tells of it. What the service cannot fetch is refused
    /// with [`Retry::Never`], or given up when polled: the bytes can then be sent as those of any upload.
    async fn upload_from_link(&self, _request: &UploadRequest, _link: &Url) -> Result<UploadProgress> {
        lacks("upload_from_link", Capability::RemoteUpload)
    }

    /// Asks how far the service has come with an upload whose bytes it has. Idempotent.
    async fn upload_poll(&self, _ticket: &UploadTicket) -> Result<UploadProgress> {
        another_way("upload_poll")
    }

    /// As [`upload_poll`](Self::upload_poll) for many at once, in the order asked and in as few calls as the
    /// service allows. It may miss what became of one and say that it is still being processed, so each is to be
    /// polled by itself as well, now and then. Idempotent.
    async fn upload_poll_many(&self, uploads: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
        let mut answers = Vec::with_capacity(uploads.len());
        for some in uploads.chunks(POLLS_AT_ONCE) {
            let mut polls = Vec::with_capacity(some.len());
            for upload in some {
                polls.push(self.upload_poll(&upload.ticket));
            }
            answers.extend(futures_util::future::join_all(polls).await);
        }
        Ok(answers)
    }

    /// What became of files that a service without [`Capability::List`] published, in the order asked and in as few
    /// calls as it allows. Idempotent.
    async fn published(&self, _files: &[FileId]) -> Result<Vec<PublishedState>> {
        refuse("published", "the service lists what it has")
    }

    /// What is known of a published file without asking; `None` where the service lists its files by itself. Makes
    /// no call.
    fn published_state(&self, _file: &FileId) -> Option<PublishedState> {
        None
    }

    /// Asks a service without [`Capability::List`] what became of some of its files that it was not asked after
    /// lately, and notes it; how many there were. Idempotent.
    async fn check_published(&self, _most: usize) -> Result<usize> {
        Ok(0)
    }

    /// How the calls of the day stand, where the service allows so many only. Makes no call.
    async fn daily_calls(&self) -> Option<DailyCalls> {
        None
    }

    /// How calls are held back at present, where this was put into [`wrap::standard`]. Makes no call.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// What else the account does with files, for those who ask by name.
    fn services(&self) -> &dyn FileServices {
        &services::Nothing
    }

    /// Gives back what the login took (tokens), at a clean end. Best effort.
    async fn close(&self) {}
}
