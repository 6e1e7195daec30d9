//! Finishing renames: one task for each account, which takes what their owners let go, in this life or the one
//! before, finds out how far it came, and does what is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::provider::{
    Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint, Provider, ProviderError,
};
use crate::state::{ItemKey, RenameRow};

use super::deleter::item_of;
use super::fate::Fate;
use super::handle::Uploads;
use super::renames::{Noted, Source, bearer, needs_name, renamed, target_of};
use super::{PendingId, UploadError};

/// How long the deletion of what stood under a name is waited for before the rename is put off.
const CLEARING: Duration = Duration::from_secs(20);

/// How often a name is given before another one like it is left.
const NAMINGS: u32 = 6;

/// A name for what steps aside, so that another may take the name that it had.
pub fn name_aside(name: &str) -> String {
    format!("{name} (replaced {})", fastrand::u32(..))
}

fn is_aside(name: &str, of: &str) -> bool {
    name.strip_prefix(of)
        .is_some_and(|rest| rest.starts_with(" (replaced ") && rest.ends_with(')'))
}

/// Finishes renames of one account until the program stops.
pub(super) async fn serve(
    uploads: Arc<Uploads>,
    account: String,
    provider: Arc<dyn Provider>,
    wake: Arc<Notify>,
) {
    let renamer = Renamer { uploads, provider };
    let uploads = &renamer.uploads;
    while !uploads.stopping.is_cancelled() {
        let taken = uploads.table().renames.take(&account, Instant::now());
        let due = match taken {
            Ok(rows) => {
                join_all(rows.into_iter().map(|row| renamer.finish(row))).await;
                continue;
            }
            Err(due) => due,
        };
        uploads.sleep(due, &wake).await;
    }
}

struct Renamer {
    uploads: Arc<Uploads>,
    provider: Arc<dyn Provider>,
}

impl Renamer {
    async fn finish(&self, mut row: RenameRow) {
        let was_begun = row.begun;
        let fate = self.advance(&mut row).await;
        let id = row.id;
        let is_refused = matches!(fate, Fate::Refused(_));
        let written = match fate.schedule(row.tries, &self.uploads.options) {
            None => self.uploads.end_rename(id).await,
            Some(next) => {
                let error = next.last_error.as_deref().unwrap_or_default();
                tracing::warn!(
                    account = row.account,
                    name = row.to_name,
                    "a rename has to wait: {error}"
                );
                (row.parked, row.tries) = (next.parked, next.tries);
                (row.next_try, row.last_error) = (next.next_try, next.last_error);
                self.uploads.write_rename(row.clone(), Some(next.failure)).await
            }
        };
        if let Err(error) = written {
            tracing::error!(%error, "the journal cannot be written");
            let due = Instant::now() + self.uploads.options.retry_min;
            self.uploads.update(|table| table.renames.release(id, due));
        }
        if !was_begun || is_refused {
            self.uploads.tell(renamed(&row)).await;
        }
    }

    async fn advance(&self, row: &mut RenameRow) -> Fate {
        let was_cut_short = !row.begun;
        if !row.begun {
            match self.took_effect(row).await {
                Ok(true) => {}
                Ok(false) => return Fate::Done,
                // A look that fails says nothing of the rename.
                Err(error) => return Fate::later(error.kind, error.to_string()),
            }
            match self.note_begun(row).await {
                Ok(true) => {
                    row.begun = true;
                    // What is left may take long.
                    self.uploads.tell(renamed(row)).await;
                }
                Ok(false) => return Fate::Done,
                Err(fate) => return fate,
            }
        }
        if !needs_name(row) {
            return Fate::Done;
        }
        let folder = FolderId::new(row.to_folder.clone());
        let cleared = self
            .uploads
            .wait_until_cleared(&row.account, &folder, &row.to_name, CLEARING)
            .await;
        match cleared {
            Ok(()) => {}
            Err(UploadError::NotDeleted { kind, error }) => return Fate::later(kind, error),
            Err(error) => return Fate::later(ErrorKind::Unavailable, error.to_string()),
        }
        let item = item_of(&bearer(row));
        let is_held = self
            .uploads
            .table()
            .is_place_held(&row.account, &row.to_folder, &row.to_name, None);
        // One that would store twins chooses no name like the wanted one.
        let chooses = !self.provider.name_rules().numbered_twins;
        let replaces = chooses && (row.target.is_some() || row.target_pending.is_some());
        match self.provider.rename(&item, &row.to_name, row.mtime).await {
            Ok(()) if (is_held || was_cut_short || replaces) && row.tries < NAMINGS => {
                self.check_name(row, item).await
            }
            Ok(()) => Fate::Done,
            // Somebody else took it away.
            Err(error) if error.kind == ErrorKind::NotFound => Fate::Done,
            Err(error) => Fate::of(&error),
        }
    }

    /// While another file bears the name still, the service may have given one like it.
    async fn check_name(&self, row: &RenameRow, item: ItemId) -> Fate {
        let ItemId::File(file) = item else {
            return Fate::Done;
        };
        match self.provider.file_info(&[file]).await {
            Err(error) => Fate::of(&error),
            Ok(found) if found.iter().all(|found| found.name == row.to_name) => Fate::Done,
            Ok(_) => Fate::later(ErrorKind::Busy, "another file bears the name still".to_owned()),
        }
    }

    /// False where there is no rename any more.
    async fn note_begun(&self, row: &RenameRow) -> Result<bool, Fate> {
        let mut target = target_of(row);
        let mut source = Source::Watched;
        loop {
            let noted = self.uploads.note_begun(row.id, target.clone(), source).await;
            let noted = noted.map_err(|error| Fate::later(ErrorKind::Unexpected, error.to_string()))?;
            let pending = match noted {
                Noted::Begun => return Ok(true),
                Noted::Gone => return Ok(false),
                // What was found may be gone with the end of the upload, which made another file of it.
                Noted::SourceEnded => match self.took_effect(row).await {
                    Ok(true) => {
                        source = Source::Found;
                        continue;
                    }
                    Ok(false) => return Ok(false),
                    Err(error) => return Err(Fate::later(error.kind, error.to_string())),
                },
                Noted::TargetEnded => target
                    .as_mut()
                    .map(|(unwanted, pending)| (unwanted, pending.take())),
            };
            let Some((unwanted, Some(pending))) = pending else {
                return Ok(false);
            };
            // Uploaded since: what it became is what is replaced.
            let became = self
                .became(row, pending)
                .await
                .map_err(|error| Fate::of(&error))?;
            if let Some(file) = became {
                (unwanted.item, unwanted.size) = (Some(ItemId::File(file.id)), file.size);
            }
        }
    }

    /// The file of a pending one that was uploaded under the name that a rename gives, in this life or the one before.
    async fn became(&self, row: &RenameRow, pending: PendingId) -> Result<Option<FileEntry>, ProviderError> {
        if let Some(entry) = self.uploads.finished(pending) {
            return Ok(Some(entry));
        }
        let folder = FolderId::new(row.to_folder.clone());
        let listing = match self.provider.list(&folder, ListHint::default()).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            listing => listing?,
        };
        let item = item_of(&row.item);
        Ok(listing.entries.into_iter().find_map(|entry| match entry {
            Entry::File(file) if file.name == row.to_name && ItemId::File(file.id.clone()) != item => {
                Some(file)
            }
            _ => None,
        }))
    }

    /// Whether the first step of a rename took effect whose owner cannot tell.
    async fn took_effect(&self, row: &RenameRow) -> Result<bool, ProviderError> {
        match &row.item {
            ItemKey::File(id) => self.file_took_effect(row, FileId::new(id.clone())).await,
            ItemKey::Folder(id) => self.is_listed_as_renamed(row, id).await,
        }
    }

    async fn file_took_effect(&self, row: &RenameRow, id: FileId) -> Result<bool, ProviderError> {
        let file = self.file_now(&id).await?;
        let target = match &row.target {
            Some(target) => self.file_now(&FileId::new(target.clone())).await?,
            None => None,
        };
        let Some(file) = file else {
            // Its content is under the target's id, or somebody else took it away.
            return Ok(row.in_place && target.is_some());
        };
        if row.in_place {
            return Ok(false);
        }
        let took_effect = match &file.parent {
            Some(parent) => is_renamed(row, parent.as_str(), &file.name),
            None => self.is_listed_as_renamed(row, id.as_str()).await?,
        };
        if !took_effect && let Some(target) = target {
            self.bring_back(row, &target).await?;
        }
        Ok(took_effect)
    }

    /// A file as it is now; `None` where it is gone. Asked for alone: of several, one may be absent from the answer because
    /// the service told nothing sensible of it.
    async fn file_now(&self, id: &FileId) -> Result<Option<FileEntry>, ProviderError> {
        let found = self.provider.file_info(std::slice::from_ref(id)).await?;
        Ok(found.into_iter().find(|file| file.id == *id))
    }

    /// Gives a target its name again that stepped aside for a rename that did not come.
    async fn bring_back(&self, row: &RenameRow, target: &FileEntry) -> Result<(), ProviderError> {
        if !is_aside(&target.name, &row.to_name) {
            return Ok(());
        }
        let item = ItemId::File(target.id.clone());
        self.provider.rename(&item, &row.to_name, target.mtime).await
    }

    async fn is_listed_as_renamed(&self, row: &RenameRow, id: &str) -> Result<bool, ProviderError> {
        let folder = FolderId::new(row.to_folder.clone());
        let listing = match self.provider.list(&folder, ListHint::default()).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
            listing => listing?,
        };
        let is_item = |entry: &&Entry| match (entry, &row.item) {
            (Entry::File(file), ItemKey::File(_)) => file.id.as_str() == id,
            (Entry::Folder(folder), ItemKey::Folder(_)) => folder.id.as_str() == id,
            _ => false,
        };
        let mut entries = listing.entries.iter();
        Ok(entries
            .find(is_item)
            .is_some_and(|entry| is_renamed(row, &row.to_folder, entry.name())))
    }
}

/// Whether an item that was found there is where the first step brings it. Its name may be one like the wanted
/// one, while that is taken.
fn is_renamed(row: &RenameRow, folder: &str, name: &str) -> bool {
    let moved = row.from_folder != row.to_folder;
    folder == row.to_folder && (moved || name != row.from_name || row.from_name == row.to_name)
}
