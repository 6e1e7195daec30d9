//! What outlives the process: the state directory and the SQLite database in it.
//!
//! A change that a method here reports as done is on the disk (write-ahead log, full sync): a power cut
//! right afterwards does not undo it. This room knows SQLite and nothing else: not what an account, a
//! service or a mount is. It holds no secret.

mod accounts;
mod catalog;
mod daily_calls;
mod database;
mod deletions;
mod directory;
mod error;
mod index;
mod journal;
mod listings;
mod local_folders;
mod modes;
mod pins;
mod renames;
mod schema;
mod steering;

pub use accounts::AccountRows;
pub use catalog::{CatalogChange, CatalogFileRow, CatalogFolderRow, CatalogItem, Sought};
pub use daily_calls::DailyCallsRow;
pub use database::Database;
pub use deletions::DeletionRow;
pub use directory::StateDir;
pub use error::StateError;
pub use index::{ItemFacts, ItemKey};
pub use journal::{AttemptRow, BaseRow, JournalRow, JournalTransaction, RowState};
pub use listings::{
    AccountIndexed, FolderToIndex, IndexedAccount, IndexedEntry, IndexedFolder, ListedFolder, Worth,
};
pub use local_folders::LocalFolderRow;
pub use pins::{PinnedSum, Pins};
pub use renames::RenameRow;
