//! Announcing an upload and sending its bytes.

use std::time::SystemTime;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::http::FileRange;
use crate::provider::{
    ErrorKind, FileEntry, FileId, ItemId, ProviderError, Retry, UploadPlan, UploadProgress, UploadRequest,
    UploadTicket, without_number,
};
use crate::state::{AttemptRow, RowState};

use super::engine::{Sending, Worker, request};
use super::hash;
use super::journal::{Change, take_the_place_of};
use super::outcome::Failure;
use super::poll::Polled;
use super::table::LARGE;

/// Announcements in one run, before it is put off.
const ROUNDS: u32 = 6;
/// Uploads in order that break off in one run, before it is put off.
const BROKEN: u32 = 3;
/// Tries in which others are waited for: a name is left to a file that is about to get another one, and what cannot be
/// read is looked at again.
pub(super) const PATIENT_TRIES: u32 = 3;
/// Bytes up to which a content that is sent in one request is sent to its end although nobody wants it.
const STOPPABLE: u64 = 4 << 20;
/// Tries of one unit, beside those of the provider's own wrapper.
const UNIT_TRIES: u32 = 3;

/// What a transfer came to.
pub(super) enum Sent {
    Progress(UploadProgress),
    /// The answer was lost, or not all was sent: announce it again to find out.
    Unclear,
    /// Nothing was sent, or too little to make a file: the content is not wanted any more.
    Unwanted,
    /// Too little was sent to make a file, and it cannot be gone on with: announce it again.
    Broken(ProviderError),
}

impl Worker {
    /// Announces the content and sends what the service lacks. `None` where nothing came of it because the
    /// content is not wanted any more.
    pub async fn send(&mut self, sending: &mut Sending) -> Result<Option<FileEntry>, Failure> {
        let mut broken = 0;
        for _ in 0..ROUNDS {
            if self.is_held_back() {
                return Err(Failure::Superseded);
            }
            if !sending.may_be_there && !self.is_wanted(&sending.attempt) {
                return self.abandon().await;
            }
            let wish = request(&sending.attempt, sending.may_be_there);
            let plan = match self.provider().upload_begin(&wish).await {
                Ok(plan) => plan,
                Err(error) if error.kind == ErrorKind::NotFound && wish.replaces.is_some() => {
                    self.check_replaced(sending, error).await?;
                    continue;
                }
                Err(error) => {
                    let clear = !sending.may_be_there && error.retry != Retry::OutcomeUnknown;
                    return Err(Failure::Provider { error, clear });
                }
            };
            let plan = match plan {
                UploadPlan::Candidates(found) => match self.find_own(&sending.attempt, found).await? {
                    Some(entry) => UploadPlan::Done(entry),
                    // It is not there: the plan is that of a content which was never sent.
                    None => {
                        self.provider()
                            .upload_begin(&request(&sending.attempt, false))
                            .await?
                    }
                },
                plan => plan,
            };
            if matches!(plan, UploadPlan::Whole | UploadPlan::Ranges { .. }) {
                self.check_patience(&sending.attempt)?;
            }
            let sent = match plan {
                UploadPlan::Done(entry) => return Ok(Some(entry)),
                // Before somebody else's file gets another name for it, be sure that the name is still wanted.
                UploadPlan::NameTaken(_) if !self.is_wanted(&sending.attempt) => return self.abandon().await,
                UploadPlan::NameTaken(_) if !self.is_its_place(&sending.attempt) => {
                    return self.clear_attempt().await.map(|()| None);
                }
                UploadPlan::NameTaken(file) => {
                    self.make_way(sending, file).await?;
                    continue;
                }
                UploadPlan::Units {
                    missing,
                    ticket: Some(ticket),
                    ..
                } if missing.is_empty() => Ok(Sent::Progress(UploadProgress::Processing(ticket))),
                // The service has not got it, so nothing is left to look up.
                _ if !self.is_wanted(&sending.attempt) => return self.abandon().await,
                UploadPlan::Units {
                    unit_size, missing, ..
                } => {
                    sending.may_be_there = true;
                    self.send_units(sending, &wish, unit_size, missing).await
                }
                UploadPlan::Ranges { max_chunk, session } => {
                    self.send_in_order(sending, &wish, max_chunk, &session).await
                }
                UploadPlan::Candidates(_) => {
                    return Err(Failure::wait(
                        "the service cannot tell whether it has the content",
                    ));
                }
                UploadPlan::Whole => {
                    let sent = self.send_whole(sending, &wish).await;
                    // The service did not have it, and what fails for sure leaves nothing.
                    sending.may_be_there = self.is_unclear(&sending.attempt)
                        || !matches!(&sent, Err(failure) if failure.is_without_effect());
                    sent
                }
            };
            let sent = match sent {
                Ok(sent) => sent,
                // Some services look for the file to be replaced only when the bytes come.
                Err(Failure::Provider { error, .. })
                    if error.kind == ErrorKind::NotFound && wish.replaces.is_some() =>
                {
                    self.check_replaced(sending, error).await?;
                    continue;
                }
                Err(Failure::Provider { error, clear }) => {
                    let clear = clear || !sending.may_be_there;
                    return Err(Failure::Provider { error, clear });
                }
                Err(failure) => return Err(failure),
            };
            match sent {
                Sent::Unwanted => return self.abandon().await,
                Sent::Broken(error) => {
                    broken += 1;
                    if broken >= BROKEN {
                        let clear = !sending.may_be_there;
                        return Err(Failure::Provider { error, clear });
                    }
                    self.let_it_land().await?;
                }
                Sent::Progress(UploadProgress::Done(entry)) => {
                    self.sent_here = true;
                    return Ok(Some(entry));
                }
                Sent::Progress(UploadProgress::Processing(ticket)) => {
                    return self.wait_for(sending, ticket).await;
                }
                Sent::Progress(UploadProgress::GivenUp(refusal)) => return Err(Failure::given_up(refusal)),
                Sent::Progress(UploadProgress::UnitTaken | UploadProgress::StartAgain) | Sent::Unclear => {
                    self.let_it_land().await?;
                }
            }
        }
        Err(Failure::wait(
            "the service takes the content but does not finish the upload",
        ))
    }

    /// A service that is still at work on bytes whose answer was lost may know their content before it shows
    /// their file, and would make a second one of it.
    async fn let_it_land(&self) -> Result<(), Failure> {
        if self.is_held_back() {
            return Err(Failure::Superseded);
        }
        tokio::select! {
            () = tokio::time::sleep(self.uploads.options.retry_min) => Ok(()),
            () = self.uploads.stopping.cancelled() => Err(Failure::Superseded),
        }
    }

    /// Finds the file that an attempt made, if it made one, by announcing it again.
    pub async fn find_announced(&mut self, attempt: &AttemptRow) -> Result<Option<FileEntry>, Failure> {
        match self.provider().upload_begin(&request(attempt, true)).await {
            Ok(UploadPlan::Done(entry)) => Ok(Some(entry)),
            Ok(UploadPlan::Candidates(found)) => self.find_own(attempt, found).await,
            Ok(UploadPlan::Units {
                missing,
                ticket: Some(ticket),
                ..
            }) if missing.is_empty() => match self.poll(attempt, ticket).await? {
                Polled::Done(entry) => Ok(Some(entry)),
                Polled::Lost | Polled::GivenUp(_) => Ok(None),
            },
            Ok(_) => Ok(None),
            // What the service refuses for what it is, it did not make either.
            Err(error) if is_refused_content(&error) => Ok(None),
            // Where it looks for the file before the room for it, nothing was found.
            Err(error) if error.kind == ErrorKind::QuotaExceeded && self.has_numbered_twins() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn has_numbered_twins(&self) -> bool {
        self.provider().name_rules().numbered_twins
    }

    /// Whether the attempt goes where the row wants to be by now.
    fn is_its_place(&self, attempt: &AttemptRow) -> bool {
        let row = self.row();
        row.is_some_and(|row| row.folder == attempt.folder && row.name == attempt.name)
    }

    async fn abandon(&self) -> Result<Option<FileEntry>, Failure> {
        if self.is_held_back() {
            return Err(Failure::Superseded);
        }
        self.clear_attempt().await.map(|()| None)
    }

    async fn wait_for(
        &mut self,
        sending: &mut Sending,
        ticket: UploadTicket,
    ) -> Result<Option<FileEntry>, Failure> {
        sending.attempt.ticket = Some(ticket.as_str().to_owned());
        self.set_attempt(sending.attempt.clone()).await?;
        match self.poll(&sending.attempt, ticket).await? {
            Polled::Done(entry) => Ok(Some(entry)),
            Polled::Lost => self.lost(sending.attempt.clone()).await.map(|()| None),
            Polled::GivenUp(refusal) => Err(Failure::given_up(refusal)),
        }
    }

    async fn send_whole(&mut self, sending: &mut Sending, wish: &UploadRequest) -> Result<Sent, Failure> {
        let _turn = self.account.share.turn(self.id, wish.size > LARGE).await;
        if !self.is_wanted(&sending.attempt) {
            return Ok(Sent::Unwanted);
        }
        self.reset_progress();
        let part = self.progress.part(wish.size);
        let body = FileRange {
            count: Some(part.count()),
            ..FileRange::new(sending.staged.opened()?, 0, wish.size)
        };
        let upload = self.provider().upload_whole(wish, body);
        let answer = if wish.size > STOPPABLE {
            tokio::select! {
                answer = upload => answer,
                () = self.unwanted() => {
                    tracing::debug!(id = %self.id, "an upload is stopped: its content is not wanted any more");
                    self.note_unclear(sending).await?;
                    return Ok(Sent::Unclear);
                }
            }
        } else {
            upload.await
        };
        match answer {
            Ok(progress) => {
                part.finish();
                Ok(Sent::Progress(progress))
            }
            // A service that would store it twice may still be at work on it: it is looked up after a while.
            Err(error) if error.retry == Retry::OutcomeUnknown && self.has_numbered_twins() => {
                self.note_unclear(sending).await?;
                Err(error.into())
            }
            Err(error) if error.retry == Retry::OutcomeUnknown => {
                tracing::debug!(id = %self.id, %error, "an upload's answer was lost: looking it up");
                Ok(Sent::Unclear)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the file is removed. A content that is only outdated is sent to its end: where one is
    /// rewritten all the time, none would ever arrive.
    async fn unwanted(&self) {
        let mut changed = self.uploads.changed.subscribe();
        while self.row().is_some_and(|row| row.state != RowState::Removed) {
            // The sender lives as long as the uploads.
            let _ = changed.changed().await;
        }
    }

    /// Writes down that nobody knows whether what was sent made a file.
    pub async fn note_unclear(&self, sending: &mut Sending) -> Result<(), Failure> {
        sending.attempt.unclear = Some(SystemTime::now());
        self.set_attempt(sending.attempt.clone()).await
    }

    async fn send_units(
        &mut self,
        sending: &Sending,
        wish: &UploadRequest,
        unit_size: u64,
        missing: Vec<u32>,
    ) -> Result<Sent, Failure> {
        let total: u64 = missing
            .iter()
            .map(|index| unit_length(wish.size, unit_size, *index))
            .sum();
        if unit_size == 0
            || missing
                .iter()
                .any(|index| unit_start(unit_size, *index) > wish.size)
        {
            return Err(Failure::wait(
                "the service asks for units that the file does not have",
            ));
        }
        self.progress.begin_at(wish.size.saturating_sub(total));
        let this = &*self;
        // One more than can be sent, so that its hash is there when its turn comes.
        let at_once = this.account.share.limit() + 1;
        let mut waiting = missing.into_iter();
        let mut running = FuturesUnordered::new();
        let mut result = UploadProgress::UnitTaken;
        let mut failure = None;
        loop {
            while running.len() < at_once && failure.is_none() && this.is_wanted(&sending.attempt) {
                let Some(index) = waiting.next() else { break };
                running.push(this.send_unit(sending, wish, unit_size, index));
            }
            // Requests under way are always seen to their end: one of them may finish the upload.
            match running.next().await {
                None => break,
                Some(Ok(progress)) => result = further(result, progress),
                Some(Err(error)) => failure = failure.or(Some(error)),
            }
        }
        match (result, failure) {
            (done @ (UploadProgress::Done(_) | UploadProgress::Processing(_)), _) => Ok(Sent::Progress(done)),
            (_, Some(failure)) => Err(failure),
            (UploadProgress::StartAgain, None) => Err(Failure::wait("the service lost parts of the upload")),
            (progress, None) => Ok(Sent::Progress(progress)),
        }
    }

    async fn send_unit(
        &self,
        sending: &Sending,
        wish: &UploadRequest,
        unit_size: u64,
        index: u32,
    ) -> Result<UploadProgress, Failure> {
        let (offset, length) = (
            unit_start(unit_size, index),
            unit_length(wish.size, unit_size, index),
        );
        let file = sending.staged.opened()?;
        let sha256 = {
            let hashing = self.account.hashing.acquire().await;
            let _one = hashing.map_err(|_| Failure::Superseded)?;
            hash::sha256(file.clone(), offset, length).await?
        };
        let mut tries = 0;
        loop {
            let outcome = {
                let _turn = self.account.share.turn(self.id, wish.size > LARGE).await;
                if !self.is_wanted(&sending.attempt) {
                    return Ok(UploadProgress::UnitTaken);
                }
                let part = self.progress.part(length);
                let body = FileRange {
                    count: Some(part.count()),
                    ..FileRange::new(file.clone(), offset, length)
                };
                let outcome = self.provider().upload_unit(wish, index, &sha256, body).await;
                if outcome.is_ok() {
                    part.finish();
                }
                outcome
            };
            tries += 1;
            match outcome {
                Ok(progress) => {
                    return Ok(progress);
                }
                // Sent again it could begin a second upload where this unit was the last one missing: the
                // next announcement tells.
                Err(error) if error.retry == Retry::OutcomeUnknown => {
                    tracing::debug!(id = %self.id, index, %error, "a unit's answer was lost: looking it up");
                    return Ok(UploadProgress::UnitTaken);
                }
                Err(error) if tries < UNIT_TRIES && may_pass(&error) => {
                    tracing::debug!(id = %self.id, index, %error, "a unit is sent again");
                    let pause = self.uploads.options.retry_min * tries;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The file that was to be replaced, or the folder, is not there. Without the file, the content
    /// becomes a new one.
    async fn check_replaced(&self, sending: &mut Sending, error: ProviderError) -> Result<(), Failure> {
        let Some(old) = sending.attempt.replaces.clone() else {
            return Err(error.into());
        };
        if !self
            .provider()
            .file_info(&[FileId::new(old.clone())])
            .await?
            .is_empty()
        {
            return Err(error.into());
        }
        sending.attempt.replaces = None;
        self.note_replaced(sending.attempt.clone(), move |row| {
            if row.replaces.as_ref() == Some(&old) {
                row.replaces = None;
            }
        })
        .await
    }

    /// Another file bears the name. One whose place the content takes is replaced, or goes where another
    /// is replaced already; any other is kept under another name.
    async fn make_way(&self, sending: &mut Sending, file: FileId) -> Result<(), Failure> {
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
            return Err(Failure::wait(
                "a file that is about to get another name bears this one on the service",
            ));
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

    async fn note_replaced(
        &self,
        attempt: AttemptRow,
        change: impl FnOnce(&mut crate::state::JournalRow) + Send + 'static,
    ) -> Result<(), Failure> {
        self.uploads
            .change(self.id, move |row| {
                if row.attempt.is_none() {
                    return Change::Skip;
                }
                change(row);
                row.attempt = Some(attempt);
                Change::Save
            })
            .await?;
        Ok(())
    }
}

/// Of two answers, the one that tells more of the upload.
fn further(a: UploadProgress, b: UploadProgress) -> UploadProgress {
    let rank = |progress: &UploadProgress| match progress {
        UploadProgress::UnitTaken => 0,
        UploadProgress::StartAgain => 1,
        UploadProgress::GivenUp(_) => 2,
        UploadProgress::Processing(_) => 3,
        UploadProgress::Done(_) => 4,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// Whether the service will never take this content under this name in this folder.
fn is_refused_content(error: &ProviderError) -> bool {
    let kind = matches!(
        error.kind,
        ErrorKind::InvalidName | ErrorKind::TooLarge | ErrorKind::InvalidArgument | ErrorKind::NotFound
    );
    kind && error.retry == Retry::Never
}

pub(super) fn may_pass(error: &ProviderError) -> bool {
    let mended_by_a_person = matches!(error.kind, ErrorKind::QuotaExceeded | ErrorKind::LoginRefused);
    error.retry != Retry::Never && !mended_by_a_person
}

fn unit_start(unit_size: u64, index: u32) -> u64 {
    unit_size.saturating_mul(u64::from(index))
}

fn unit_length(size: u64, unit_size: u64, index: u32) -> u64 {
    size.saturating_sub(unit_start(unit_size, index)).min(unit_size)
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

    #[test]
    fn the_last_unit_is_the_rest() {
        assert_eq!(unit_length(10, 4, 0), 4);
        assert_eq!(unit_length(10, 4, 2), 2);
        assert_eq!(unit_length(10, 4, 3), 0);
    }
}
