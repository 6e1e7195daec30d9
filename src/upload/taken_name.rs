//! A name that another file bears on the service when an upload is to get it.
//!
//! What the content takes the place of is replaced, or goes. Of any other file nothing is lost: it is kept under another
//! name, once nobody here is at work with it.

use crate::provider::{ErrorKind, FileEntry, FileId, ItemId, without_number};

use super::engine::{Sending, Worker};
use super::journal::take_the_place_of;
use super::outcome::{Failure, PATIENT_TRIES};

/// Why a file does not get its name yet.
pub(super) const BORNE: &str = "a file that is about to get another name bears this one on the service";

impl Worker {
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
        self.check_not_sought(&found, folder)?;
        // After the look: what was at work with it before may have given it its name since the look before.
        self.check_at_rest(file)?;
        self.keep_aside(file, name).await
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
    async fn keep_aside(&self, file: &FileId, name: &str) -> Result<(), Failure> {
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
            _ => Ok(()),
        }
    }
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
