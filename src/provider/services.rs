//! What services do with files beyond what a filesystem asks for: the trait [`FileServices`] and its values.
//!
//! It stands beside [`Provider`](super::Provider), is reached by [`Provider::services`](super::Provider::services), and
//! keeps the same contract: typed at the border, no sleep, no retry, names and ids as the service holds them. The
//! same wrappers go around it. It knows nothing of mounts, or of the words that a person types.

mod archive;
mod values;

pub use archive::Archive;
pub use values::{
    Details, FileVersion, OneTimeCounts, OneTimeLink, OneTimeTerms, Privacy, Restored, TrashedItem, WebLink,
    ZipTerms,
};

use async_trait::async_trait;
use url::Url;

use super::{FileEntry, FileId, FolderId, ItemId, Result, refuse};

/// The services of an account to those who ask for them by name.
///
/// # Contract
///
/// - What the service does not offer returns [`ErrorKind::Unsupported`](super::ErrorKind::Unsupported), with a sentence
///   that says so, and without a call. A method that a service does not write does just that. What only wraps
///   services writes all of them.
/// - Methods documented as *idempotent* may be repeated after an unknown outcome.
/// - What may go on at the service after the answer says so by `true`; whether it still does is told by
///   [`FileServices::works`].
#[async_trait]
pub trait FileServices: Send + Sync {
    /// All that the service tells of an item, in the trash as well. Idempotent.
    async fn details(&self, _item: &ItemId) -> Result<Details> {
        refuse("details", "the service tells nothing of its files and folders")
    }

    /// Links of one kind, one for each file, in the order asked; an error in place of the link of a file that has
    /// none. As few calls as the service allows. Idempotent.
    async fn web_links(&self, _files: &[FileId], kind: WebLink) -> Result<Vec<Result<Url>>> {
        refuse("links", &format!("the service has no links {}", kind.purpose()))
    }

    /// How many one-time links were made today. Idempotent; makes none.
    async fn one_time_counts(&self) -> Result<OneTimeCounts> {
        refuse("one-time links", NO_ONE_TIME)
    }

    /// Makes a link that serves once. Not idempotent: each counts.
    async fn make_one_time_link(&self, _file: &FileId, _terms: &OneTimeTerms) -> Result<OneTimeLink> {
        refuse("one-time links", NO_ONE_TIME)
    }

    /// Gives a one-time link other terms; those that are not told become what they are by default. Idempotent.
    async fn change_one_time_link(&self, _token: &str, _terms: &OneTimeTerms) -> Result<OneTimeCounts> {
        refuse("one-time links", NO_ONE_TIME)
    }

    /// The contents that a file has had, newest first. Idempotent.
    async fn versions(&self, _file: &FileId) -> Result<Vec<FileVersion>> {
        refuse("versions", "the service keeps no former versions of files")
    }

    /// Makes a former version the present one; true where that goes on after the answer. Not idempotent.
    async fn restore_version(&self, _file: &FileId, _revision: &str) -> Result<bool> {
        refuse("restore", "the service keeps no former versions of files")
    }

    /// All that lies in the trash. Idempotent.
    async fn trash(&self) -> Result<Vec<TrashedItem>> {
        refuse("trash", NO_TRASH)
    }

    /// Takes items out of the trash, into a folder, under their names or names that are free. Idempotent.
    async fn restore_from_trash(&self, _items: &[ItemId], _folder: &FolderId) -> Result<Restored> {
        refuse("trash", NO_TRASH)
    }

    /// Deletes for good all that lies in the trash; true where that goes on after the answer. Idempotent.
    async fn empty_trash(&self) -> Result<bool> {
        refuse("trash", NO_TRASH)
    }

    /// Whether the service still works on something that was asked for. Idempotent.
    async fn works(&self) -> Result<bool> {
        Ok(false)
    }

    /// The files that changed last, at most so many, newest first. Idempotent.
    async fn recent(&self, _most: usize) -> Result<Vec<FileEntry>> {
        refuse(
            "recent files",
            "the service does not tell which files changed last",
        )
    }

    /// The names of a folder and of those above it, from the top down; none for the top folder. Idempotent.
    async fn names_above(&self, _folder: &FolderId) -> Result<Vec<String>> {
        refuse("path", "the service does not tell the path of a folder")
    }

    /// Whether the service would pack these into one archive; an error says why not. Idempotent; packs nothing.
    async fn check_zip(&self, _items: &[ItemId], _terms: ZipTerms) -> Result<()> {
        refuse("zip", NO_ZIP)
    }

    /// Packs files and folders into one archive, which comes as it is made. Idempotent.
    async fn zip(&self, _items: &[ItemId], _terms: ZipTerms) -> Result<Archive> {
        refuse("zip", NO_ZIP)
    }

    /// Gives an audio or video file an image of the account as its artwork. Idempotent.
    async fn set_artwork(&self, _media: &FileId, _image: &FileId) -> Result<()> {
        refuse("artwork", "the service keeps no artwork of files")
    }

    /// Says who may see an item; with `below`, all in a folder as well. Idempotent.
    async fn set_privacy(&self, _item: &ItemId, _privacy: Privacy, _below: bool) -> Result<()> {
        refuse(
            "privacy",
            "the service does not let it be chosen who may see a file",
        )
    }

    /// Sets the text that the service shows with an item; an empty one takes it away. Idempotent.
    async fn set_description(&self, _item: &ItemId, _text: &str) -> Result<()> {
        refuse("description", "the service keeps no descriptions")
    }

    /// Makes an empty text file without an upload. It may bear another name where this one is taken. Not idempotent.
    async fn create_text_file(&self, _folder: &FolderId, _name: &str) -> Result<FileEntry> {
        refuse("create", "the service makes no files by itself")
    }
}

const NO_ONE_TIME: &str = "the service has no one-time links";
const NO_TRASH: &str = "the service does not let its trash be seen or emptied from here: use its web site";
const NO_ZIP: &str = "the service packs no archives";

/// Those of a service that has none.
pub(super) struct Nothing;

impl FileServices for Nothing {}
