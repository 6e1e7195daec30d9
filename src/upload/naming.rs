//! The name that an upload is to get, and which another file may bear on the service.
//!
//! What the content takes the place of is replaced, or goes. Of any other file nothing is lost: it is kept under another
//! name, once nobody here is at work with it.

use std::time::{Duration, SystemTime};

use crate::provider::{
    Entry, ErrorKind, FileEntry, FileId, FolderId, ItemId, ListHint, ProviderError, Retry, without_number,
};
use crate::state::{AttemptRow, JournalRow};

use super::asides::KeptAside;
use super::engine::{Sending, Worker};
use super::journal::take_the_place_of;
use super::outcome::{Failure, PATIENT_TRIES};
use super::replaced::obsolete;

/// How long a place is waited for at which a removed file is being cleared away, before the file is put off.
const CLEARING: Duration = Duration::from_secs(2);

/// Why a file does not get its name yet.
pub(super) const BORNE: &str = "a file that is about to get another name bears this one on the service";

impl Worker {
    /// Gives the file the name that the row says, and makes sure that it bears it: a service that finds the name
    /// taken may say yes and choose one like it.
    pub async fn give_name(&self, row: &JournalRow, entry: &mut FileEntry) -> Result<(), Failure> {
        let is_held = self.ask_for_name(row, entry).await?;
        if self.has_numbered_twins() && !is_held {
            return Ok(());
        }
        for is_last in [false, true] {
            let Some(found) = self.file_now(&entry.id).await? else {
                return self.note_vanished(None).await;
            };
            entry.name = found.name;
            if !self.is_named_otherwise(row, entry) {
                return Ok(());
            }
            // Of two that want each other's names one goes first.
            if is_held || is_last {
                break;
            }
            self.make_room(row, entry).await?;
            self.ask_for_name(row, entry).await?;
        }
        Err(Failure::wait(BORNE))
    }

    /// Renames the file to what the row says. Returns whether another pending file is known to bear the name.
    pub async fn ask_for_name(&self, row: &JournalRow, entry: &mut FileEntry) -> Result<bool, Failure> {
        let item = ItemId::File(entry.id.clone());
        self.await_place(&row.folder, &row.name).await?;
        let is_held = self.is_held_by_another(row);
        if is_held && row.tries < PATIENT_TRIES {
            return Err(Failure::wait(BORNE));
        }
        let mut renamed = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
        if matches!(&renamed, Err(error) if error.kind == ErrorKind::AlreadyExists) {
            self.make_room(row, entry).await?;
            renamed = self.provider().rename(&item, &row.name, Some(row.mtime)).await;
        }
        if matches!(&renamed, Err(error) if is_refused(error)) && can_go_anew(row, entry) {
            return self.announce_anew(entry).await;
        }
        self.check(renamed, entry).await?;
        entry.name = row.name.clone();
        Ok(is_held)
    }

    fn is_held_by_another(&self, row: &JournalRow) -> bool {
        let table = self.uploads.table();
        table.is_place_held(&self.account.name, &row.folder, &row.name, Some(self.id))
    }

    /// Gives other names to files of which nothing is known here and that bear the name that ours is to get,
    /// on a service that would store twins.
    pub async fn clear_name(&self, row: &JournalRow, entry: &mut FileEntry) -> Result<(), Failure> {
        self.await_place(&row.folder, &row.name).await?;
        for other in self.bearers(row, entry).await? {
            self.set_aside(&other.id, &row.folder, &row.name).await?;
        }
        Ok(())
    }

    /// Another file bears the name that ours is to get, on a service that has no twins.
    async fn make_room(&self, row: &JournalRow, entry: &mut FileEntry) -> Result<(), Failure> {
        for other in self.bearers(row, entry).await? {
            if obsolete(row, entry).contains(&other.id) {
                self.delete(vec![other.id]).await?;
            } else {
                self.set_aside(&other.id, &row.folder, &row.name).await?;
            }
        }
        Ok(())
    }

    /// Other files of the row's name in its folder. The name that ours has there is noted in `entry`.
    async fn bearers(&self, row: &JournalRow, entry: &mut FileEntry) -> Result<Vec<FileEntry>, Failure> {
        let folder = FolderId::new(row.folder.clone());
        let listing = self.provider().list(&folder, ListHint::default()).await?;
        let mut bearers = Vec::new();
        for file in listing.entries {
            match file {
                Entry::File(ours) if ours.id == entry.id => entry.name = ours.name,
                Entry::File(other) if other.name == row.name => bearers.push(other),
                _ => {}
            }
        }
        Ok(bearers)
    }

    /// A removed file that looks for its remains at a place would take ours for them.
    pub async fn await_place(&self, folder: &str, name: &str) -> Result<(), Failure> {
        let cleared = self
            .uploads
            .is_cleared(&self.account.name, folder, name, Some(self.id), CLEARING);
        if cleared.await {
            Ok(())
        } else {
            Err(Failure::wait(
                "a removed file of this name is being cleared away on the service first",
            ))
        }
    }

    /// Another file bears the name. One whose place the content takes is replaced, or goes where another
    /// is replaced already; any other is kept under another name.
    pub async fn make_way(&self, sending: &mut Sending, file: FileId) -> Result<(), Failure> {
        let Some(row) = self.row() else { return Ok(()) };
        let known = file.as_str().to_owned();
        let is_superseded = row.superseded.contains(&known);
        if row.replaces.as_ref() != Some(&known) && !is_superseded {
            return self
                .set_aside(&file, &sending.attempt.folder, &sending.attempt.name)
                .await;
        }
        if is_superseded && sending.attempt.replaces.is_some() {
            self.delete(vec![file]).await?;
        } else {
            sending.attempt.replaces = Some(known.clone());
        }
        let replaced = sending.attempt.replaces.clone();
        self.note_replaced(sending.attempt.clone(), move |row| {
            if replaced.as_ref() == Some(&known) {
                take_the_place_of(row, &known);
            }
            row.superseded.retain(|old| *old != known);
        })
        .await
    }

    /// Takes a name from a file that is not to be replaced. One that another pending file is about to name otherwise is
    /// waited for; what bears another name by now is left alone.
    pub async fn set_aside(&self, file: &FileId, folder: &str, name: &str) -> Result<(), Failure> {
        let Some(found) = self.file_now(file).await? else {
            return Ok(());
        };
        let parent = found.parent.as_ref();
        if found.name != name || parent.is_some_and(|parent| parent.as_str() != folder) {
            return Ok(());
        }
        // After the look: who took our place meanwhile, or gave the file its name, is not in the way any more.
        if !self.is_its_place(folder, name) {
            return Err(Failure::Superseded);
        }
        self.check_not_sought(&found, folder)?;
        self.check_at_rest(file)?;
        self.keep_aside(file, folder, name).await
    }

    /// Whether the name is the one that ours is to have.
    pub fn is_its_place(&self, folder: &str, name: &str) -> bool {
        let table = self.uploads.table();
        let item = table.live(self.id);
        item.is_some_and(|item| item.row.folder == folder && item.row.name == name)
    }

    /// Fails for now where a file may be what another pending one sent and has not found yet: the service may have
    /// numbered it.
    fn check_not_sought(&self, found: &FileEntry, folder: &str) -> Result<(), Failure> {
        let plain = without_number(&found.name).filter(|_| self.has_numbered_twins());
        let mut names = [Some(found.name.clone()), plain].into_iter().flatten();
        let (account, table) = (&self.account.name, self.uploads.table());
        if names.any(|name| table.is_place_sought(account, folder, &name, found.size, self.id)) {
            return Err(Failure::wait(
                "a file that bears this name may be what was sent of another one, which is looked for",
            ));
        }
        Ok(())
    }

    /// Fails for now where another pending file is at work with a file that bears a name which is wanted here. Two
    /// that want each other's names do not wait for ever: what is put aside gets its own name in its turn.
    fn check_at_rest(&self, file: &FileId) -> Result<(), Failure> {
        let patient = self.row().is_some_and(|row| row.tries < PATIENT_TRIES);
        let table = self.uploads.table();
        if patient && table.is_in_motion(&self.account.name, file.as_str(), self.id) {
            return Err(Failure::wait(BORNE));
        }
        Ok(())
    }

    /// Gives a file of which we know nothing another name, so that nothing of it is lost.
    async fn keep_aside(&self, file: &FileId, folder: &str, name: &str) -> Result<(), Failure> {
        let aside = conflict_name(name, time::OffsetDateTime::now_utc());
        tracing::warn!(
            name,
            aside,
            "a file of this name was on the service already: it is kept aside"
        );
        match self
            .provider()
            .rename(&ItemId::File(file.clone()), &aside, None)
            .await
        {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
            Err(_) => Ok(()),
            Ok(()) => {
                self.uploads.asides.note(KeptAside {
                    account: self.account.name.clone(),
                    folder: FolderId::new(folder),
                    name: name.to_owned(),
                    aside,
                    at: SystemTime::now(),
                });
                Ok(())
            }
        }
    }
}

/// Whether the service will not do this to this file, whenever it is asked.
fn is_refused(error: &ProviderError) -> bool {
    let kind = matches!(error.kind, ErrorKind::Unsupported | ErrorKind::InvalidArgument);
    kind && error.retry == Retry::Never
}

/// Whether the file got its name from an attempt under an older one, and was not replaced in place.
fn can_go_anew(row: &JournalRow, entry: &FileEntry) -> bool {
    let is_older =
        |sent: &AttemptRow| sent.name != row.name && sent.replaces.as_deref() != Some(entry.id.as_str());
    row.attempt.as_ref().is_some_and(is_older) && row.staging.is_some()
}

/// `name (conflict 2026-01-31 235959).ext`, in UTC.
fn conflict_name(name: &str, now: time::OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour][minute][second]");
    let when = now
        .format(format)
        .unwrap_or_else(|_| now.unix_timestamp().to_string());
    match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, extension)) => format!("{stem} (conflict {when}).{extension}"),
        None => format!("{name} (conflict {when})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_kept_aside_keeps_its_extension() {
        let now = time::macros::datetime!(2026-01-31 23:59:58 UTC);
        assert_eq!(
            conflict_name("a.tar.gz", now),
            "a.tar (conflict 2026-01-31 235958).gz"
        );
        assert_eq!(conflict_name("plain", now), "plain (conflict 2026-01-31 235958)");
        assert_eq!(
            conflict_name(".hidden", now),
            ".hidden (conflict 2026-01-31 235958)"
        );
    }
}
