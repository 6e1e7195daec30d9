//! A file opened for reading: takes what is at hand, has brought what is not, and looks ahead.
//!
//! The bytes belong to the [`Content`], which all readers of it share; a reader holds the flights that it is
//! served by, so that closing it, or reading on elsewhere, ends those that nobody else waits for.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

use super::connections::Interest;
use super::content::{Admission, Content};
use super::error::DownloadError;
use super::flight::Flight;
use super::pattern::{FIRST, Pattern, Plan};
use super::wanted::Wanted;

/// Longer reads are served in parts.
const MAX_READ: u64 = 1024 * 1024;
/// The least that is fetched ahead by one request, in bytes, and the most.
const MIN_REQUEST: u64 = 256 * 1024;
/// A request of this size is worth its round trip; smaller ones are made only while little is fetched ahead.
const FULL_REQUEST: u64 = 4 * 1024 * 1024;
const MAX_REQUEST: u64 = 32 * 1024 * 1024;
/// The size down to which requests shrink towards the end of a file.
const LAST_REQUEST: u64 = 2 * 1024 * 1024;

/// One open file. Its memory is that of the bytes it is handing out, and of a block for each connection.
pub struct Reader {
    content: Arc<Content>,
    /// The most that is fetched ahead of it, in bytes, when it is alone.
    read_ahead: u64,
    place: Mutex<Place>,
}

struct Place {
    pattern: Pattern,
    /// What is fetched for this reader.
    flights: Vec<Arc<Flight>>,
    /// Counts the reader among those who share the connections, while anything is fetched for it: the flights hold it.
    interest: Weak<Interest>,
}

impl Reader {
    pub(super) fn new(content: Arc<Content>, read_ahead: u64) -> Self {
        let place = Place {
            pattern: Pattern::new(content.size()),
            flights: Vec::new(),
            interest: Weak::new(),
        };
        Reader {
            content,
            read_ahead,
            place: Mutex::new(place),
        }
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// Whether what is fetched first of a file is at hand.
    pub(super) async fn has_head(&self) -> bool {
        self.content.prepare().await;
        self.content.first_gap(0, FIRST.min(self.size())).is_none()
    }

    /// Reads `len` bytes at `offset`; fewer only at the end of the file. Any number of reads may run side by
    /// side. Safe to cancel.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, DownloadError> {
        let end = offset.saturating_add(len as u64).min(self.size());
        if offset >= end {
            return Ok(Bytes::new());
        }
        self.content.prepare().await;
        if end - offset <= MAX_READ {
            return self.read_part(offset..end, end).await;
        }
        let mut joined = BytesMut::with_capacity((end - offset) as usize);
        let mut at = offset;
        while at < end {
            let part = self.read_part(at..(at + MAX_READ).min(end), end).await?;
            at += part.len() as u64;
            joined.extend_from_slice(&part);
        }
        Ok(joined.freeze())
    }

    /// Reads `range`, after which reads up to `until` are sure to follow.
    async fn read_part(&self, range: Range<u64>, until: u64) -> Result<Bytes, DownloadError> {
        let content = &self.content;
        let most = self.most_ahead();
        let mut plan = self.lock().pattern.note(&range, most);
        plan.extend(until);
        let mut epoch = content.epoch();
        let mut wanted = Wanted::new(range.clone(), self.size());
        let mut awaited: Vec<Arc<Flight>> = Vec::new();
        loop {
            let mut changed = std::pin::pin!(content.changed().notified());
            changed.as_mut().enable();
            if let Some(wrong) = content.wrong() {
                return Err(wrong);
            }
            if content.epoch() != epoch {
                epoch = content.epoch();
                wanted = Wanted::new(range.clone(), self.size());
            }
            let need = match content.collect(&mut wanted).await {
                true => match content.may_hand_out(range.end).await? {
                    Admission::HandOut if content.epoch() == epoch => {
                        content.note_handed_out(&wanted);
                        self.look_ahead(&plan);
                        return Ok(wanted.join());
                    }
                    Admission::HandOut => continue,
                    Admission::First(block) => block..(block + MAX_REQUEST).min(self.size()),
                },
                false => wanted.gap().unwrap_or(range.clone()),
            };
            if let Some(failure) = failure(&awaited, need.start) {
                return Err(failure);
            }
            let sends_on = content.fetcher().learn().await?;
            // It may have ended while its link was renewed, for which this one waited too.
            if let Some(failure) = failure(&awaited, need.start) {
                return Err(failure);
            }
            awaited = self.bring(need, &plan, sends_on);
            // Where it came meanwhile there is nothing to wait for.
            if !awaited.is_empty() {
                changed.await;
            }
        }
    }

    /// Has the missing bytes of a read brought, with those that belong to them.
    fn bring(&self, need: Range<u64>, plan: &Plan, sends_on: bool) -> Vec<Arc<Flight>> {
        let (content, size) = (&self.content, self.size());
        let fetch = plan.blocks(size);
        let belongs = fetch.start <= need.start && need.start < fetch.end;
        let start = if belongs { fetch.start } else { need.start };
        let end = if belongs {
            need.end.max(fetch.end)
        } else {
            need.end
        };
        let goes_on = !plan.ahead.is_empty();
        let flights = match (sends_on, goes_on || start == 0) {
            (true, true) => content.bring(start..end, size, plan.ahead.end),
            (false, true) => {
                let request = self.request(plan);
                let reach = start.saturating_add(request).min(plan.ahead.end.max(end));
                content.bring(start..end, reach, u64::MAX)
            }
            (_, false) => content.bring(start..end, end, u64::MAX),
        };
        let mut place = self.lock();
        for flight in &flights {
            if !place.flights.iter().any(|held| Arc::ptr_eq(held, flight)) {
                place.flights.push(Arc::clone(flight));
            }
        }
        drop(place);
        self.look_ahead(plan);
        flights
    }

    /// Fetches ahead of the reader what its plan says, as far as connections are free and its share of them
    /// goes.
    fn look_ahead(&self, plan: &Plan) {
        let (content, most) = (&self.content, self.most_ahead());
        let connections = &content.fetcher().connections;
        let mut guard = self.lock();
        let place = &mut *guard;
        place.flights.retain(|flight| {
            let to_come = flight.progress().to_come();
            let is_wanted = plan.wants(&to_come) || place.pattern.may_want(&to_come, most);
            flight.progress().is_flying() && is_wanted
        });
        if content.fetcher().sends_on() {
            for flight in &place.flights {
                if flight.progress().to_come().start <= plan.ahead.end {
                    flight.progress().raise(plan.ahead.end);
                }
            }
        } else {
            let from = plan.ahead.start;
            let ahead = from.max(place.pattern.served(from))..plan.ahead.end;
            let served = self.fetch_ahead(ahead, self.request(plan), &mut place.flights);
            place.pattern.note_served(from, served);
            for foreseen in &plan.foreseen {
                self.fetch_ahead(
                    foreseen.clone(),
                    MIN_REQUEST.min(foreseen.end - foreseen.start),
                    &mut place.flights,
                );
            }
        }
        let counted = place.interest.upgrade();
        let interest = counted.unwrap_or_else(|| Arc::new(connections.join()));
        for flight in &place.flights {
            flight.progress().count(&interest);
        }
        place.interest = Arc::downgrade(&interest);
    }

    /// Fetches what is missing in `range` by requests of about `request` bytes. Up to where there is nothing to do any
    /// more.
    fn fetch_ahead(&self, range: Range<u64>, request: u64, flights: &mut Vec<Arc<Flight>>) -> u64 {
        let (content, size) = (&self.content, self.size());
        let connections = &content.fetcher().connections;
        let mut from = range.start;
        while let Some(at) = content.first_gap(from, range.end) {
            let crumb = range.end < size && range.end - at < request / 2;
            if crumb || flights.len() >= connections.share() {
                return at;
            }
            let Some(permit) = connections.try_acquire() else {
                return at;
            };
            // The last bytes come over all connections too, not over the one that began last.
            let part_of_rest = (size - at) / connections.share() as u64;
            let end = at.saturating_add(request.min(part_of_rest.max(LAST_REQUEST)));
            let end = if end.saturating_add(request / 2) >= size {
                size
            } else {
                end
            };
            // Where another reader was faster there is nothing to do.
            if let Some(flight) = content.fetch_ahead(at, end, permit) {
                from = flight.progress().to_come().end;
                flights.push(flight);
            }
        }
        range.end.max(from)
    }

    /// How many bytes to ask for at a time: the longer the run and the fewer the connections, the more.
    fn request(&self, plan: &Plan) -> u64 {
        let share = self.content.fetcher().connections.share() as u64;
        let ahead = plan.ahead.end - plan.ahead.start;
        (ahead / share)
            .max((ahead / 2).min(FULL_REQUEST))
            .clamp(MIN_REQUEST, MAX_REQUEST)
    }

    /// How far ahead of a run is fetched at most, in bytes.
    fn most_ahead(&self) -> u64 {
        let readers = self.content.fetcher().connections.readers() as u64;
        let room = (self.content.room() / readers).max(MIN_REQUEST);
        self.read_ahead.min(room)
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a flight that was to bring the byte at `offset` did not.
fn failure(awaited: &[Arc<Flight>], offset: u64) -> Option<DownloadError> {
    awaited
        .iter()
        .filter(|flight| flight.progress().was_to_bring(offset))
        .find_map(|flight| flight.progress().failure().cloned())
}
