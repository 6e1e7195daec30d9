//! What all contents of a cache share: the folder, the room in it, and who has to go for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ContentKey;
use super::content::CachedContent;
use super::files::Place;
use super::let_go::LetGo;
use super::map::{self, Id};
use super::registry::{Answer, Limit, Registry, Unit};
use crate::upload::free_bytes;

/// How often something that is in use may be met in a row on the search for what can go.
const BUSY_LIMIT: u32 = 32;
/// How long nothing is kept after the disk refused something.
const PAUSE: Duration = Duration::from_secs(10);
/// After so long without trouble the next is told again.
const EPISODE: Duration = Duration::from_secs(600);
/// Bytes that may be kept between two looks at the disk.
const LOOK_AGAIN: u64 = 16 << 20;
/// Contents kept open from which pieces were let go, since the next piece is likely to be theirs as well.
const LINGERING: usize = 4;

pub(super) struct Room {
    directory: PathBuf,
    limit: Limit,
    registry: Mutex<Registry>,
    stopped: AtomicBool,
    keep_free: AtomicU64,
    /// Bytes that may be kept before the next look at the disk.
    budget: AtomicU64,
    trouble: Mutex<Option<Instant>>,
    numbers: AtomicU64,
    lingering: Mutex<Vec<Arc<CachedContent>>>,
    /// The kernel releases it with the last descriptor, however the process ends.
    lock: File,
}

impl Room {
    pub fn new(directory: PathBuf, limit: Limit, now: u64, is_empty: bool, lock: File) -> Arc<Self> {
        Arc::new(Room {
            directory,
            limit,
            registry: Mutex::new(Registry::new(limit, now, is_empty)),
            stopped: AtomicBool::new(false),
            keep_free: AtomicU64::new(0),
            budget: AtomicU64::new(0),
            trouble: Mutex::default(),
            numbers: AtomicU64::new(0),
            lingering: Mutex::default(),
            lock,
        })
    }

    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Bytes.
    pub fn limit(&self) -> u64 {
        self.limit.bytes
    }

    pub fn used(&self) -> u64 {
        self.registry().used()
    }

    pub fn keep_free(&self, bytes: u64) {
        self.keep_free.store(bytes, Ordering::Relaxed);
        self.budget.store(0, Ordering::Release);
        self.budget.store(0, Ordering::Relaxed);
    }

    /// Ends what runs on its own.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // They hold this value.
        let lingering = std::mem::take(&mut *lock(&self.lingering));
        drop(lingering);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the files of a content lie. Fails where somebody took the folder away: what lies there now may be another
    /// process's, and no two may have the same files.
    pub fn place(&self, id: Id) -> io::Result<Place> {
        let (own, there) = (
            self.lock.metadata()?,
            std::fs::symlink_metadata(self.directory.join("lock"))?,
        );
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            return Err(io::Error::new(
                io::ErrorKind::StaleNetworkFileHandle,
                "the folder was replaced",
            ));
        }
        Ok(Place::of(&self.directory, id))
    }

    pub fn content(self: &Arc<Self>, key: &ContentKey) -> Arc<CachedContent> {
        let content = self.handle(Id::of(key));
        if !map::can_be_kept(key) || !content.is_of(key) {
            return CachedContent::of_nothing(self, key);
        }
        content.load();
        content
    }

    /// The content of an id, which may not be loaded.
    pub fn handle(self: &Arc<Self>, id: Id) -> Arc<CachedContent> {
        let make = |token| CachedContent::new(Arc::clone(self), id, token);
        self.registry().handle(id, make)
    }

    /// Takes room for `bytes` of a content, and lets go of others where there is too little.
    pub fn reserve(self: &Arc<Self>, id: Id, bytes: u64) -> bool {
        if bytes > self.limit.bytes || self.is_stopped() || self.is_in_trouble() {
            return false;
        }
        let mut busy = 0;
        loop {
            let answer = self.registry().reserve(id, bytes);
            let gone = match answer {
                Answer::Reserved => break,
                Answer::NotYet => return false,
                Answer::TooManyBytes => self.let_one_go(bytes),
                Answer::TooManyContents => self.let_one_closed_go(),
            };
            match gone {
                Some(LetGo::Bytes(_)) => {}
                Some(LetGo::Busy) if busy < BUSY_LIMIT => busy += 1,
                _ => return false,
            }
        }
        let has_room = self.has_room_on_disk(bytes);
        if !has_room {
            self.registry().release(id, bytes);
        }
        has_room
    }

    pub fn give_back(self: &Arc<Self>, bytes: u64) -> u64 {
        let (mut given, mut busy) = (0, 0);
        while given < bytes {
            match self.let_one_go(bytes - given) {
                Some(LetGo::Bytes(more)) => given += more,
                Some(LetGo::Busy) if busy < BUSY_LIMIT => busy += 1,
                _ => break,
            }
        }
        given
    }

    /// Lets go until the limit is kept, which may have been lowered since the last life.
    pub fn shrink_to_limit(self: &Arc<Self>) {
        while !self.is_stopped() {
            let (excess, used) = {
                let registry = self.registry();
                (registry.excess(), registry.used())
            };
            let is_any_gone = match excess {
                Some(Answer::TooManyContents) => self.let_one_closed_go().is_some(),
                Some(_) => self.give_back(used.saturating_sub(self.limit.bytes)) > 0,
                None => false,
            };
            if !is_any_gone {
                return;
            }
        }
    }

    fn let_one_go(self: &Arc<Self>, wanted: u64) -> Option<LetGo> {
        let (id, unit, charge) = self.registry().pop_oldest()?;
        let content = self.handle(id);
        match unit {
            Unit::Extent(extent) => Some(content.let_extent_go(extent)),
            Unit::Whole => {
                let gone = content.let_closed_go(charge, wanted);
                if content.holds_any() {
                    self.linger(content);
                }
                Some(gone)
            }
        }
    }

    /// Lets all of a content go that nobody has open.
    fn let_one_closed_go(self: &Arc<Self>) -> Option<LetGo> {
        let (id, _, charge) = self.registry().pop_oldest_closed()?;
        Some(self.handle(id).let_closed_go(charge, u64::MAX))
    }

    fn linger(&self, content: Arc<CachedContent>) {
        let mut lingering = lock(&self.lingering);
        lingering.push(content);
        let oldest = (lingering.len() > LINGERING).then(|| lingering.remove(0));
        drop(lingering);
        // Closed without the lock.
        drop(oldest);
    }

    /// Whether the disk has room for more of a cache. Where it has little, the cache does not grow.
    fn has_room_on_disk(self: &Arc<Self>, bytes: u64) -> bool {
        let keep_free = self.keep_free.load(Ordering::Relaxed);
        if keep_free == 0 {
            return true;
        }
        let within = |left: u64| left.checked_sub(bytes);
        let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
        if self.budget.fetch_update(set, get, within).is_ok() {
            return true;
        }
        match free_bytes(&self.directory) {
            Ok(free) => {
                let left = free.saturating_sub(keep_free);
                if left >= bytes {
                    self.budget.store((left / 4).min(LOOK_AGAIN), Ordering::Release);
                    return true;
                }
                self.give_back(bytes) >= bytes
            }
            Err(error) => {
                self.refused("look at the disk of the cache", &error);
                false
            }
        }
    }

    /// Notes that the disk refused something. Told once in an episode.
    pub fn refused(&self, operation: &'static str, error: &io::Error) {
        let now = Instant::now();
        let last = lock(&self.trouble).replace(now);
        if last.is_some_and(|last| now.duration_since(last) < EPISODE) {
            tracing::debug!(operation, %error, "the cache is in trouble");
        } else {
            let folder = self.directory.display();
            tracing::warn!(
                operation, %error, %folder,
                "the cache cannot keep what is read; reading goes on without it, and it is tried again in a while"
            );
        }
    }

    fn is_in_trouble(&self) -> bool {
        let last = *lock(&self.trouble);
        last.is_some_and(|last| last.elapsed() < PAUSE)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
