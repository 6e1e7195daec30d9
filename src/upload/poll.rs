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
    Capability, ErrorKind, FileEntry, ProviderError, Publication, Refusal, SentUpload, UploadProgress,
    UploadTicket,
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
/// Uploads whose looks are due that are worth one for all of them, and how long fewer wait for company: a look at
/// many takes two calls, however many they are.
const WORTH_A_LOOK: usize = 16;
const COMPANY: Duration = Duration::from_secs(1);
/// Polls of single uploads under way at once.
const AT_ONCE: usize = 8;
/// Bytes in a second at which a service is expected to put a file together at least: a first look that comes
/// before that is a call in vain.
const ASSEMBLED: u64 = 256 << 20;
/// Bytes in a second at which a service is expected to get a file ready at least, be it that it fetches it from another.
const READIED: u64 = 1 << 20;
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
    /// Few enough to be looked through: a worker for each.
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

    fn join(&self, upload: SentUpload, options: &Options, now: Instant) -> oneshot::Receiver<Answer> {
        let (answer, taken) = oneshot::channel();
        let assembling = Duration::from_secs_f64(upload.request.size as f64 / ASSEMBLED as f64);
        let readying = Duration::from_secs(upload.request.size / READIED);
        let first = (options.poll_first + assembling).min(options.poll_max.max(options.poll_first));
        let mut group = self.group();
        let number = group.next_number;
        group.next_number += 1;
        group.waiting.push(Waiting {
            number,
            upload,
            until: now + options.poll_limit + readying,
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
        let mut looks: Vec<_> = self.waiting.iter().map(|one| one.look).collect();
        let first = looks.iter().copied().min()?;
        if !self.is_many(batches) {
            return Some(first);
        }
        let lonely = first + COMPANY;
        let due = if looks.len() < WORTH_A_LOOK {
            lonely
        } else {
            let (_, enough, _) = looks.select_nth_unstable(WORTH_A_LOOK - 1);
            lonely.min(*enough)
        };
        Some(self.together.map_or(due, |together| due.max(together)))
    }

    fn is_many(&self, batches: bool) -> bool {
        batches && self.waiting.len() >= MANY
    }

    /// Takes those that are due, and sets the times of their next looks.
    fn round(&mut self, batches: bool, options: &Options, now: Instant) -> Round {
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

    fn settle(&mut self, number: u64, answer: Answer, now: Instant) {
        let Some(place) = self.waiting.iter().position(|one| one.number == number) else {
            return;
        };
        match answer {
            Ok(UploadProgress::Processing(_)) if now >= self.waiting[place].until => {
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
        let round = polls.group().round(batches, options, Instant::now());
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
            account.polls.group().settle(number, answer, Instant::now());
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
                    group.settle(number, answer, Instant::now());
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
        let answer = self.account.polls.join(
            SentUpload { ticket, request },
            &self.uploads.options,
            Instant::now(),
        );
        let answer = tokio::select! {
            answer = answer => answer.map_err(|_| Failure::Superseded)?,
            () = self.uploads.stopping.cancelled() => return Err(Failure::Superseded),
        };
        match answer {
            Ok(
                UploadProgress::Done(entry)
                | UploadProgress::Beside(entry)
                | UploadProgress::Published(Publication { entry, .. }),
            ) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{FolderId, UploadRequest};

    fn polls(count: usize, options: &Options, now: Instant) -> (Polls, Vec<oneshot::Receiver<Answer>>) {
        let polls = Polls::default();
        let sent = |number: usize| SentUpload {
            ticket: UploadTicket::new(format!("t{number}")),
            request: UploadRequest {
                folder: FolderId::new("root"),
                name: format!("f{number}"),
                size: 0,
                sha256: Some([0; 32]),
                mtime: std::time::SystemTime::UNIX_EPOCH,
                replaces: None,
                sent_before: true,
            },
        };
        let answers = (0..count)
            .map(|number| polls.join(sent(number), options, now))
            .collect();
        (polls, answers)
    }

    #[test]
    fn few_are_asked_after_one_by_one_and_many_together_once_enough_are_due() {
        let options = Options::new("a".into(), "b".into());
        let now = Instant::now();
        let (few, _answers) = polls(MANY - 1, &options, now);
        assert_eq!(few.group().due(true), Some(now + options.poll_first));
        let (some, _answers) = polls(MANY, &options, now);
        assert_eq!(some.group().due(true), Some(now + options.poll_first + COMPANY));
        assert_eq!(
            some.group().due(false),
            Some(now + options.poll_first),
            "no batches"
        );
        let (many, mut answers) = polls(WORTH_A_LOOK, &options, now);
        assert_eq!(many.group().due(true), Some(now + options.poll_first));
        let due = now + options.poll_first;
        let round = many.group().round(true, &options, due);
        assert_eq!((round.together.len(), round.alone.len()), (WORTH_A_LOOK, 0));
        // Each is asked after by itself in the end, and who has an answer is not asked after again.
        many.group().settle(3, Ok(UploadProgress::StartAgain), due);
        assert!(matches!(
            answers[3].try_recv(),
            Ok(Ok(UploadProgress::StartAgain))
        ));
        drop(answers.remove(5));
        let later = due + ALONE;
        let round = many.group().round(true, &options, later);
        assert_eq!((round.together.len(), round.alone.len()), (0, WORTH_A_LOOK - 2));
        let round = many.group().round(true, &options, later);
        assert_eq!((round.together.len(), round.alone.len()), (WORTH_A_LOOK - 2, 0));
    }

    #[test]
    fn looks_become_rarer_and_end_with_a_new_announcement() {
        let options = Options::new("a".into(), "b".into());
        let mut now = Instant::now();
        let (polls, mut answers) = polls(1, &options, now);
        let processing = || Ok(UploadProgress::Processing(UploadTicket::new("next")));
        let mut pauses = Vec::new();
        loop {
            let Some(due) = polls.group().due(true) else { break };
            pauses.push(due - now);
            now = due;
            let round = polls.group().round(true, &options, now);
            assert_eq!(round.alone.len(), 1);
            polls.group().settle(0, processing(), now);
        }
        assert!(pauses.is_sorted() && pauses.len() > 100, "{pauses:?}");
        assert_eq!(pauses.last(), Some(&options.poll_max));
        assert!(matches!(
            answers.remove(0).try_recv(),
            Ok(Ok(UploadProgress::StartAgain))
        ));
    }
}
