//! Announcing an upload and sending its bytes, until the service has made a file of them.
//!
//! Nothing is sent before the service was asked what it has; and after any answer that was lost it is asked again. What
//! becomes of the row afterwards is no matter of this module: it hands on a file, or why there is none.

use std::time::SystemTime;

use crate::http::FileRange;
use crate::provider::{
    ErrorKind, FileEntry, FileId, ProviderError, Publication, Retry, UploadPlan, UploadProgress,
    UploadRequest, UploadTicket,
};
use crate::state::{AttemptRow, JournalRow, RowState};

use super::engine::{Sending, Worker, request};
use super::journal::Change;
use super::outcome::Failure;
use super::poll::Polled;
use super::table::LARGE;

/// Announcements in one run, before it is put off.
const ROUNDS: u32 = 6;
/// Uploads in order that break off in one run, before it is put off.
const BROKEN: u32 = 3;
/// Bytes up to which a content that is sent in one request is sent to its end although nobody wants it.
const STOPPABLE: u64 = 4 << 20;

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
    /// What is about to be put into a file is no change made elsewhere, for whoever takes its place before the end of the
    /// upload is told.
    fn note_content(&self, attempt: &AttemptRow) {
        if let (Some(file), Some(sha256)) = (&attempt.replaces, attempt.sha256) {
            self.uploads
                .sent_contents
                .note(&FileId::new(file.clone()), sha256);
        }
    }

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
            self.note_content(&sending.attempt);
            let wish = request(&sending.attempt, sending.may_be_there);
            let Some(plan) = self.announce(sending, &wish).await? else {
                continue;
            };
            let sent = match plan {
                UploadPlan::Done(entry) => return Ok(Some(entry)),
                UploadPlan::Units {
                    missing,
                    ticket: Some(ticket),
                    ..
                } if missing.is_empty() => return self.wait_for(sending, ticket).await,
                // The service has not got it, so nothing is left to look up, nothing is sent, and nobody else's file
                // gets another name for it.
                _ if !self.is_wanted(&sending.attempt) => return self.abandon().await,
                UploadPlan::NameTaken(_) if !self.is_sent_to_its_place(&sending.attempt) => {
                    return self.clear_attempt().await.map(|()| None);
                }
                UploadPlan::NameTaken(file) => {
                    self.make_way(sending, file).await?;
                    continue;
                }
                UploadPlan::Units {
                    unit_size, missing, ..
                } => self.send_units(sending, &wish, unit_size, missing).await,
                UploadPlan::Ranges { max_chunk, session } => {
                    self.send_in_order(sending, &wish, max_chunk, &session).await
                }
                UploadPlan::Whole => self.send_whole(sending, &wish).await,
                UploadPlan::Candidates(_) => {
                    return Err(Failure::wait(
                        "the service cannot tell whether it has the content",
                    ));
                }
            };
            let sent = match sent {
                Ok(sent) => sent,
                Err(failure) => {
                    self.check_transfer(sending, failure).await?;
                    continue;
                }
            };
            match sent {
                Sent::Unwanted => return self.abandon().await,
                Sent::Progress(
                    UploadProgress::Done(entry) | UploadProgress::Published(Publication { entry, .. }),
                ) => {
                    self.sent_here = true;
                    return Ok(Some(entry));
                }
                Sent::Progress(UploadProgress::Beside(entry)) => {
                    self.sent_here = true;
                    self.replace_nothing(sending).await?;
                    return Ok(Some(entry));
                }
                Sent::Progress(UploadProgress::Processing(ticket)) => {
                    return self.wait_for(sending, ticket).await;
                }
                Sent::Progress(UploadProgress::GivenUp(refusal)) => return Err(Failure::given_up(refusal)),
                Sent::Broken(error) if broken + 1 >= BROKEN => {
                    let clear = !sending.may_be_there;
                    return Err(Failure::Provider { error, clear });
                }
                Sent::Broken(_) => broken += 1,
                Sent::Progress(UploadProgress::UnitTaken | UploadProgress::StartAgain) | Sent::Unclear => {}
            }
            self.let_it_land().await?;
        }
        Err(Failure::wait(
            "the service takes the content but does not finish the upload",
        ))
    }

    /// Asks the service how the content is to be sent, and among the files that may be an earlier try's looks for it.
    /// `None` where the file to be replaced is gone: it is announced again, without that.
    pub async fn announce(
        &self,
        sending: &mut Sending,
        wish: &UploadRequest,
    ) -> Result<Option<UploadPlan>, Failure> {
        let plan = match self.provider().upload_begin(wish).await {
            Ok(UploadPlan::Candidates(found)) => match self.find_own(&sending.attempt, found).await? {
                Some(entry) => UploadPlan::Done(entry),
                // It is not there: the plan is that of a content which was never sent.
                None => {
                    let anew = request(&sending.attempt, false);
                    self.provider().upload_begin(&anew).await?
                }
            },
            Ok(plan) => plan,
            Err(error) => {
                let clear = !sending.may_be_there && error.retry != Retry::OutcomeUnknown;
                return self.check_refused(sending, error, clear).await.map(|()| None);
            }
        };
        if matches!(plan, UploadPlan::Whole | UploadPlan::Ranges { .. }) {
            self.check_patience(&sending.attempt)?;
        }
        Ok(Some(plan))
    }

    /// Fails with what a transfer failed with, but where that is mended by announcing the content again: some
    /// services look for the file to be replaced only when the bytes come.
    async fn check_transfer(&self, sending: &mut Sending, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Provider { error, clear } => {
                let clear = clear || !sending.may_be_there;
                self.check_refused(sending, error, clear).await
            }
            failure => Err(failure),
        }
    }

    /// Fails with what the service answered, but where it misses the file to be replaced, and that is gone indeed.
    /// `clear` as in [`Failure::Provider`].
    async fn check_refused(
        &self,
        sending: &mut Sending,
        error: ProviderError,
        clear: bool,
    ) -> Result<(), Failure> {
        if error.kind == ErrorKind::NotFound && sending.attempt.replaces.is_some() {
            return self.check_replaced(sending, error, clear).await;
        }
        Err(Failure::Provider { error, clear })
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
    pub fn is_sent_to_its_place(&self, attempt: &AttemptRow) -> bool {
        self.is_its_place(&attempt.folder, &attempt.name)
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
        let sent = self.send_in_one(sending, wish).await;
        // The service did not have it, and what fails for sure leaves nothing.
        let has_no_effect = matches!(&sent, Err(failure) if failure.is_without_effect());
        sending.may_be_there = self.is_unclear(&sending.attempt) || !has_no_effect;
        sent
    }

    async fn send_in_one(&mut self, sending: &mut Sending, wish: &UploadRequest) -> Result<Sent, Failure> {
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

    /// The file that was to be replaced, or the folder, is not there. Without the file, the content
    /// becomes a new one. A file that is told of still while its folder is there is one that nothing can be done with,
    /// such as in the trash: it goes when the content is there. `clear` as in [`Failure::Provider`]: what is moved to
    /// another folder, since its own is gone, begins anew there.
    async fn check_replaced(
        &self,
        sending: &mut Sending,
        error: ProviderError,
        clear: bool,
    ) -> Result<(), Failure> {
        let Some(old) = sending.attempt.replaces.clone() else {
            return Err(error.into());
        };
        let is_left = self.file_now(&FileId::new(old.clone())).await?.is_some();
        if is_left && !self.is_folder_there(&sending.attempt.folder).await? {
            return Err(Failure::Provider { error, clear });
        }
        sending.attempt.replaces = None;
        self.note_replaced(sending.attempt.clone(), move |row| {
            let replaced = row.replaces.take_if(|replaced| *replaced == old);
            row.superseded.extend(replaced.filter(|_| is_left));
        })
        .await
    }

    /// What was to be replaced is gone, and another file bears its name: nothing is replaced, and whose the name is to be
    /// is settled as for a new file. Not where that other may be an older content of this one, or another of the files here.
    async fn replace_nothing(&self, sending: &mut Sending) -> Result<(), Failure> {
        let attempt = &mut sending.attempt;
        let is_sure =
            self.is_sent_to_its_place(attempt) && self.row().is_some_and(|row| row.superseded.is_empty());
        let Some(old) = attempt.replaces.take_if(|_| is_sure) else {
            return Ok(());
        };
        self.note_replaced(attempt.clone(), move |row| {
            row.replaces.take_if(|replaced| *replaced == old);
        })
        .await
    }

    /// Writes down what an attempt replaces by now, with what that changes in the row.
    pub async fn note_replaced(
        &self,
        attempt: AttemptRow,
        change: impl FnOnce(&mut JournalRow) + Send + 'static,
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
