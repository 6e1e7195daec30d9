//! Waiting for the service to finish uploads whose bytes it has.
//!
//! The uploads of an account wait in one group and are asked after together: each by itself while they are
//! few, all in a call or two where they are many and the service can tell of many at once. Looks at an upload
//! become rarer the longer it takes. A worker hands its upload to the group and sleeps until the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::provider::{
    Capability, ErrorKind, FileEntry, ProviderError, Refusal, SentUpload, UploadProgress, UploadTicket,
};
use crate::state::AttemptRow;

use super::Options;
use super::engine::{Worker, request};
use super::handle::Uploads;
use super::outcome::Failure;
use super::queue::Account;
use super::table::Step;

/// Uploads from which on they are asked after together.
const MANY: usize = 4;
/// Polls of single uploads under way at once.
const AT_ONCE: usize = 8;
/// Bytes in a second at which a service is expected to put a file together at least: a first look that comes
/// before that is a call in vain.
const ASSEMBLED: u64 = 256 << 20;
/// When an upload that is asked after with others is asked after by itself for the first time.
const ALONE: Duration = Duration::from_secs(3);
/// The longest time between two such looks.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// What became of an upload whose bytes the service has.
pub(super) enum Polled {
    Done(FileEntry),
    /// The service lost it, or took too long.
    Lost,
    /// Nothing came of it, and nothing will.
    GivenUp(Refusal),
}

type Answer = Result<UploadProgress, ProviderError>;

/// The uploads of an account that the service works on.
#[derive(Default)]
pub(super) struct Polls {
    group: Mutex<Group>,
    /// Signalled when the group grows.
    grown: Notify,
}

#[derive(Default)]
struct Group {
    waiting: Vec<Waiting>,
    next_number: u64,
    /// When many may be asked after together again.
    together: Option<Instant>,
}

struct Waiting {
    number: u64,
    upload: SentUpload,
    until: Instant,
    look: Instant,
    pause: Duration,
    alone: Instant,
    alone_pause: Duration,
    answer: oneshot::Sender<Answer>,
}

/// Which uploads are asked after now, by their numbers.
#[derive(Default)]
struct Round {
    together: Vec<(u64, SentUpload)>,
    alone: Vec<(u64, UploadTicket)>,
}

impl Polls {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, upload: SentUpload, options: &Options) -> oneshot::Receiver<Answer> {
        let (answer, taken) = oneshot::channel();
        let now = Instant::now();
        let assembling = Duration::from_secs_f64(upload.request.size as f64 / ASSEMBLED as f64);
        let first = (options.poll_first + assembling).min(options.poll_max.max(options.poll_first));
        let mut group = self.group();
        let number = group.next_number;
        group.next_number += 1;
        group.waiting.push(Waiting {
            number,
            upload,
            until: now + options.poll_limit,
            look: now + first,
            pause: options.poll_first,
            alone: now + ALONE + assembling,
            alone_pause: ALONE,
            answer,
        });
        drop(group);
        self.grown.notify_one();
        taken
    }
}

impl Group {
    /// When the next look is due.
    fn due(&self, batches: bool) -> Option<Instant> {
        let look = self.waiting.iter().map(|one| one.look).min()?;
        match self.together {
            Some(together) if self.is_many(batches) => Some(look.max(together)),
            _ => Some(look),
        }
    }

    fn is_many(&self, batches: bool) -> bool {
        batches && self.waiting.len() >= MANY
    }

    /// Takes those that are due, and sets the times of their next looks.
    fn round(&mut self, batches: bool, options: &Options) -> Round {
        let now = Instant::now();
        self.waiting.retain(|one| !one.answer.is_closed());
        let mut round = Round::default();
        let many = self.is_many(batches);
        for one in &mut self.waiting {
            if many && one.alone > now {
                round.together.push((one.number, one.upload.clone()));
            } else if many || one.look <= now {
                round.alone.push((one.number, one.upload.ticket.clone()));
                one.alone = now + one.alone_pause;
                one.alone_pause = (one.alone_pause * 2).min(ALONE_MAX);
            } else {
                continue;
            }
            if one.look <= now {
                one.look = now + one.pause;
                one.pause = (one.pause * 2).min(options.poll_max);
            }
        }
        round
    }

    fn settle(&mut self, number: u64, answer: Answer) {
        let Some(place) = self.waiting.iter().position(|one| one.number == number) else {
            return;
        };
        match answer {
            Ok(UploadProgress::Processing(_)) if Instant::now() >= self.waiting[place].until => {
                let one = self.waiting.swap_remove(place);
                let _ = one.answer.send(Ok(UploadProgress::StartAgain));
            }
            Ok(UploadProgress::Processing(ticket)) => self.waiting[place].upload.ticket = ticket,
            answer => {
                let one = self.waiting.swap_remove(place);
                // A worker that was stopped does not wait any more.
                let _ = one.answer.send(answer);
            }
        }
    }
}

/// Asks after the uploads of an account until the program stops.
pub(super) async fn serve(uploads: Arc<Uploads>, account: Arc<Account>) {
    let (polls, options) = (&account.polls, &uploads.options);
    loop {
        let batches = account.provider.capabilities().has(Capability::Batches);
        let due = polls.group().due(batches);
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = polls.grown.notified() => continue,
            () = uploads.stopping.cancelled() => return,
        }
        let round = polls.group().round(batches, options);
        tokio::select! {
            () = look(&account, round) => {}
            () = uploads.stopping.cancelled() => return,
        }
        polls.group().together = Some(Instant::now() + options.poll_first);
    }
}

async fn look(account: &Account, round: Round) {
    let Round { together, alone } = round;
    let provider = &account.provider;
    let mut polls = Vec::with_capacity(alone.len());
    for (number, ticket) in alone {
        polls.push(async move {
            let answer = provider.upload_poll(&ticket).await;
            account.polls.group().settle(number, answer);
        });
    }
    let single = futures_util::stream::iter(polls)
        .buffer_unordered(AT_ONCE)
        .collect::<()>();
    let many = async {
        if together.is_empty() {
            return;
        }
        let (numbers, asked): (Vec<_>, Vec<_>) = together.into_iter().unzip();
        match provider.upload_poll_many(&asked).await {
            Ok(answers) => {
                let mut group = account.polls.group();
                for (number, answer) in numbers.into_iter().zip(answers) {
                    group.settle(number, answer);
                }
            }
            // Nothing is lost by it: each is asked after by itself as well.
            Err(error) => tracing::debug!(account = account.name, %error, "uploads could not be asked after"),
        }
    };
    tokio::join!(single, many);
}

impl Worker {
    /// Waits until the service has made a file of what was sent, or gave it up.
    pub async fn poll(&mut self, attempt: &AttemptRow, ticket: UploadTicket) -> Result<Polled, Failure> {
        self.slot.step_aside(&self.account);
        self.set_step(Step::Verifying);
        let request = request(attempt, true);
        let answer = self
            .account
            .polls
            .join(SentUpload { ticket, request }, &self.uploads.options);
        let answer = tokio::select! {
            answer = answer => answer.map_err(|_| Failure::Superseded)?,
            () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
        };
        match answer {
            Ok(UploadProgress::Done(entry)) => {
                self.sent_here = true;
                Ok(Polled::Done(entry))
            }
            Ok(UploadProgress::GivenUp(refusal)) => Ok(Polled::GivenUp(refusal)),
            Ok(_) => Ok(Polled::Lost),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Polled::Lost),
            Err(error) => Err(error.into()),
        }
    }
}
