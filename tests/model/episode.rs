//! One sequence of operations, done on a mount and on a local folder, with comparisons.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::calls::{self, Outcome, Stat};
use super::differences::{Differences, REFUSED};
use super::durable::{Durable, sum};
use super::operation::{Operation, SLOTS};
use super::side::{Seen, Side, read_file};
use crate::harness::kind::ONE_CLOUD_FILE;
use crate::harness::{Kind, MEDIA, MEDIAFIRE, Mount, Tune, World, sha256_of};

const CLOUD: &str = "cloud";
/// Operations between two comparisons of the whole trees.
const COMPARED_EACH: usize = 50;
/// How long all may take to be uploaded.
const DRAIN: Duration = Duration::from_secs(60);
/// How far times may be apart that nobody set, beside the longest time that any operation took.
const SLACK: i64 = 3;

/// How long a mount may show what was before.
const BEHIND: Duration = Duration::from_secs(8);

/// Where an episode is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    MediaFire,
    OneCloudFile,
}

impl Host {
    pub fn kind(self) -> &'static Kind {
        match self {
            Host::MediaFire => &MEDIAFIRE,
            Host::OneCloudFile => &ONE_CLOUD_FILE,
        }
    }

    fn account(self) -> &'static str {
        match self {
            Host::MediaFire => MEDIA,
            Host::OneCloudFile => CLOUD,
        }
    }
}

/// What went wrong, after which operations.
#[derive(Debug)]
pub struct Failure {
    pub done: Vec<Operation>,
    pub text: String,
    /// Only what was done shows it, and not what came after.
    pub at_the_end: bool,
}

/// Plays the operations that `next` gives, and compares all at the end, with the service too.
pub fn play(
    host: Host,
    mut next: impl FnMut(&Side) -> Option<Operation>,
    to_the_end: bool,
) -> Result<usize, Failure> {
    let mut done = Vec::new();
    let mut at_the_end = false;
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut episode = Episode::new(host);
        let result = (|| {
            while let Some(operation) = next(&episode.reference) {
                done.push(operation.clone());
                episode.step(&operation)?;
                if done.len() % COMPARED_EACH == 0 {
                    episode.compare("after an operation")?;
                }
            }
            at_the_end = true;
            if to_the_end {
                episode.end()
            } else {
                episode.compare("at the end")
            }
        })();
        episode.clear_up(result.is_err());
        result
    }));
    let text = match played {
        Ok(Ok(())) => return Ok(done.len()),
        Ok(Err(text)) => text,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("see above"))
        }
    };
    Err(Failure {
        done,
        text,
        at_the_end,
    })
}

/// In what the trees differ.
enum Wrong {
    Time(String),
    /// With its path.
    Added(String, String),
    Other(String),
}

impl Wrong {
    fn text(&self) -> &str {
        match self {
            Wrong::Time(text) | Wrong::Added(_, text) | Wrong::Other(text) => text,
        }
    }
}

struct Episode {
    host: Host,
    mount: Option<Mount>,
    mounted: Side,
    reference: Side,
    durable: Durable,
    differences: Differences,
    /// Files of the reference, by inode number, of whose times nothing is known.
    undated: HashSet<u64>,
    /// Sums of all contents that there were.
    history: HashSet<u64>,
    longest: Duration,
    world: World,
}

/// What is known of a file before an operation changes it.
struct Before {
    stat: Stat,
    sum: u64,
    /// Whether the slot is open for writing.
    writes: bool,
}

impl Episode {
    fn new(host: Host) -> Episode {
        let world = World::with(|setup| {
            setup.guest(&ONE_CLOUD_FILE, CLOUD);
            setup.option("upload_delay", "\"20ms\"");
            setup.option("listing_age", "\"1s\"");
            setup.option("local_only", "[]");
            // Where a host does not tell it, only the state directory knows which folders are in the trash.
            setup.service.quirks.yetishare.folder_status = true;
            setup.tune(Tune::Processing(Duration::from_millis(5)));
        });
        let mount = world.mount();
        let reference = world.folder().join("reference");
        std::fs::create_dir(&reference).expect("make a folder");
        Episode {
            host,
            mounted: Side::new(mount.mount_point().join(host.account())),
            mount: Some(mount),
            reference: Side::new(reference),
            durable: Durable::default(),
            differences: Differences::of(host.kind()),
            undated: HashSet::new(),
            history: HashSet::new(),
            longest: Duration::ZERO,
            world,
        }
    }

    fn step(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Pause { milliseconds } => {
                std::thread::sleep(Duration::from_millis(*milliseconds));
                Ok(())
            }
            Operation::Drain => self.drain(),
            Operation::Remount => self.remount(),
            Operation::Kill => self.kill(),
            Operation::Forget => self.forget(),
            Operation::Compare => self.compare("when asked"),
            Operation::Open { slot, .. } => {
                self.on_files(&Operation::Close { slot: *slot })?;
                self.on_files(operation)
            }
            _ => self.on_files(operation),
        }
    }

    fn on_files(&mut self, operation: &Operation) -> Result<(), String> {
        let is_removed = self.is_removed(operation);
        if is_removed && self.differences.leaves_out(operation) {
            return Ok(());
        }
        let began = Instant::now();
        let before = self.before(operation);
        let target = self.replaced(operation);
        let sums = [&before, &target].into_iter().flatten().map(|before| before.sum);
        self.history.extend(sums);
        let existed = self
            .made_by(operation)
            .is_some_and(|path| self.ino(&path).is_some());
        let Some(mut wanted) = self.reference.perform(operation) else {
            return Ok(());
        };
        // What it lists twice while the folder changes, a mount lists once.
        if let (Operation::ListWhileChanging { .. }, Ok(Seen::Names(names))) = (operation, &mut wanted) {
            names.values_mut().for_each(|times| *times = 1);
        }
        if REFUSED.contains(&name_of(operation)) && wanted.is_ok() {
            wanted = self.refused(operation);
        }
        let took = began.elapsed();
        self.note(operation, &wanted, before, target, existed);
        let got = self.mounted.perform(operation).expect("the same operation");
        self.longest = self.longest.max(began.elapsed() - took);
        if wanted != got && !self.differences.allow(operation, is_removed, &wanted, &got) {
            return Err(format!(
                "{operation}\n  on a local disk: {}\n  in the mount:    {}",
                told(&wanted),
                told(&got)
            ));
        }
        if let Operation::Attributes { path } = operation {
            self.check_attributes(path)?;
        }
        Ok(())
    }

    /// Whether an operation reads an open file whose name is gone.
    fn is_removed(&self, operation: &Operation) -> bool {
        let (Operation::ReadAt { slot, .. }
        | Operation::Map { slot, .. }
        | Operation::CopyRange { from: slot, .. }) = operation
        else {
            return false;
        };
        let file = self.reference.open_file(*slot);
        file.is_some_and(|file| calls::stat_open(&file.fd).links == 0)
    }

    fn ino(&self, path: &str) -> Option<u64> {
        calls::stat(&self.reference.path(path)).ok().map(|stat| stat.ino)
    }

    /// The path at which an operation may make a file.
    fn made_by(&self, operation: &Operation) -> Option<String> {
        match operation {
            Operation::Open { path, .. } | Operation::WriteFile { path, .. } => Some(path.clone()),
            Operation::CopyFile { to, .. } => Some(to.clone()),
            _ => None,
        }
    }

    /// The file whose content an operation may change.
    fn before(&self, operation: &Operation) -> Option<Before> {
        let of_path = |path: &str| {
            let path = self.reference.path(path);
            let stat = calls::stat(&path).ok().filter(|stat| !stat.is_folder)?;
            let sum = sum(&read_file(&path).ok()?);
            let writes = false;
            Some(Before { stat, sum, writes })
        };
        match operation {
            Operation::WriteAt { slot, .. }
            | Operation::Write { slot, .. }
            | Operation::Cut { slot, .. }
            | Operation::Map { slot, .. }
            | Operation::Sync { slot }
            | Operation::TouchOpen { slot, .. }
            | Operation::Close { slot }
            | Operation::CopyRange { to: slot, .. } => self.of_slot(*slot),
            Operation::Open { path, .. }
            | Operation::CutPath { path, .. }
            | Operation::Touch { path, .. }
            | Operation::WriteFile { path, .. }
            | Operation::CopyFile { to: path, .. } => of_path(path),
            Operation::Rename { from, .. } => of_path(from),
            _ => None,
        }
    }

    fn of_slot(&self, slot: usize) -> Option<Before> {
        let file = self.reference.open_file(slot)?;
        let stat = calls::stat_open(&file.fd);
        let content = content_of(&file.fd).filter(|_| !stat.is_folder)?;
        Some(Before {
            stat,
            sum: sum(&content),
            writes: file.writes,
        })
    }

    /// The file that a rename replaces.
    fn replaced(&self, operation: &Operation) -> Option<Before> {
        let Operation::Rename { to, .. } = operation else {
            return None;
        };
        let path = self.reference.path(to);
        let stat = calls::stat(&path).ok().filter(|stat| !stat.is_folder)?;
        let sum = sum(&read_file(&path).ok()?);
        let writes = false;
        Some(Before { stat, sum, writes })
    }

    /// What a local disk can do and a mount refuses is undone, and is to be refused with this.
    fn refused(&mut self, operation: &Operation) -> Outcome<Seen> {
        match operation {
            Operation::Symlink { path } | Operation::Fifo { path } => {
                std::fs::remove_file(self.reference.path(path)).expect("undo");
                Err(libc::EPERM)
            }
            Operation::Link { to, .. } => {
                std::fs::remove_file(self.reference.path(to)).expect("undo");
                Err(libc::EPERM)
            }
            _ => Err(libc::EOPNOTSUPP),
        }
    }

    /// Keeps account of what was changed, and of what is safe.
    fn note(
        &mut self,
        operation: &Operation,
        outcome: &Outcome<Seen>,
        before: Option<Before>,
        replaced: Option<Before>,
        existed: bool,
    ) {
        let ino = before.as_ref().map(|before| before.stat.ino);
        match operation {
            Operation::Open { slot, path, how } if outcome.is_ok() => {
                if !existed && let Some(ino) = self.ino(path) {
                    self.durable.made(ino);
                    self.undated.remove(&ino);
                }
                if existed && how.contains('t') {
                    self.changed_in(*slot, before);
                }
            }
            Operation::WriteAt { slot, .. }
            | Operation::Write { slot, .. }
            | Operation::Cut { slot, .. }
            | Operation::Map { slot, .. }
            | Operation::CopyRange { to: slot, .. } => self.changed_in(*slot, before),
            Operation::Sync { .. } | Operation::Close { .. } => {
                let is_safe = |before: &Before| before.writes || matches!(operation, Operation::Sync { .. });
                if let Some(before) = before.filter(is_safe) {
                    self.durable.committed(before.stat.ino);
                }
            }
            Operation::Touch { .. } | Operation::TouchOpen { .. } if outcome.is_ok() => {
                if let Some(ino) = ino {
                    self.undated.remove(&ino);
                }
            }
            Operation::CutPath { path, .. } if outcome.is_ok() => {
                if let Some(before) = before {
                    let now = sum(&read_file(&self.reference.path(path)).unwrap_or_default());
                    let ino = before.stat.ino;
                    if now != before.sum {
                        self.undated.remove(&ino);
                    }
                    match self.is_written(ino) {
                        true => self.durable.changed(ino, before.sum, now),
                        false => self.durable.committed(ino),
                    }
                }
            }
            Operation::WriteFile { path, .. } | Operation::CopyFile { to: path, .. } if outcome.is_ok() => {
                if let Some(ino) = self.ino(path) {
                    self.durable.committed(ino);
                    self.undated.remove(&ino);
                }
            }
            Operation::Rename { .. } if outcome.is_ok() => {
                if let (Some(ino), Some(replaced)) = (ino, replaced)
                    && replaced.stat.ino != ino
                {
                    self.durable.renamed_over(ino, replaced.stat.ino, replaced.sum);
                }
            }
            _ => {}
        }
    }

    fn changed_in(&mut self, slot: usize, before: Option<Before>) {
        let Some(before) = before else { return };
        // A change to what is there already still is one of the time.
        if let Some(now) = self.of_slot(slot)
            && (before.sum, before.stat.changed) != (now.sum, now.stat.changed)
        {
            self.undated.remove(&now.stat.ino);
            self.durable.changed(now.stat.ino, before.sum, now.sum);
        }
    }

    /// Whether somebody has a file open for writing.
    fn is_written(&self, ino: u64) -> bool {
        let mut open = (0..SLOTS).filter_map(|slot| self.reference.open_file(slot));
        open.any(|file| file.writes && calls::stat_open(&file.fd).ino == ino)
    }

    /// Each attribute that is listed can be read, but for those that come and go with an upload; a hash is that of the
    /// content.
    fn check_attributes(&self, path: &str) -> Result<(), String> {
        let (local, path) = (self.reference.path(path), self.mounted.path(path));
        let Ok(names) = calls::attributes(&path) else {
            return Ok(());
        };
        let Ok(wanted) = calls::stat(&local) else {
            return Ok(());
        };
        if !wanted.is_folder && !names.iter().any(|name| name == "user.lockerfs.state") {
            return Err(format!("{path:?} tells no state: {names:?}"));
        }
        match calls::attribute(&path, "user.other") {
            Err(libc::ENODATA) => {}
            other => return Err(format!("an attribute that {path:?} has not: {other:?}")),
        }
        for name in names {
            let value = match calls::attribute(&path, &name) {
                Err(libc::ENODATA) => continue,
                value => value.map_err(|error| format!("{name} of {path:?}: {}", words(error)))?,
            };
            let hash = sha256_of(&read_file(&local).unwrap_or_default());
            if name == "user.lockerfs.sha256" && value != hash {
                return Err(format!("{name} of {path:?} is {value} and not {hash}"));
            }
        }
        Ok(())
    }

    /// Closes all slots on both sides, as a program does that ends well.
    fn close_all(&mut self) -> Result<(), String> {
        for slot in 0..SLOTS {
            self.on_files(&Operation::Close { slot })?;
        }
        // The kernel tells the mount a little after `close()` that nobody has a file open any more.
        self.durable.forget_all();
        Ok(())
    }

    /// Waits until all is uploaded but what is open for writing.
    fn drain(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let ran = self.world.lockerfs(&["drain", "--timeout", "20s"]);
            let is_open =
                (0..SLOTS).any(|slot| self.reference.open_file(slot).is_some_and(|file| file.writes));
            if ran.status.success() || is_open && ran.stderr.contains("still open") {
                return Ok(());
            }
            if began.elapsed() > DRAIN {
                return Err(format!("not uploaded within {DRAIN:?}: {ran:#?}"));
            }
        }
    }

    fn remount(&mut self) -> Result<(), String> {
        self.close_all()?;
        if let Some(mount) = self.mount.take() {
            mount.unmount(&self.world.config());
        }
        self.mount_again();
        self.compare("after a remount")
    }

    fn mount_again(&mut self) {
        let mount = self.world.mount();
        self.mounted.root = mount.mount_point().join(self.host.account());
        self.mount = Some(mount);
    }

    fn kill(&mut self) -> Result<(), String> {
        if let Some(mount) = self.mount.take() {
            mount.kill();
        }
        self.mounted.abandon();
        self.reference.abandon();
        self.mount_again();
        self.take_what_is_left()?;
        self.durable.forget_all();
        self.compare("after a kill")
    }

    /// Where a kill may leave one thing or another, the reference takes what it left.
    fn take_what_is_left(&mut self) -> Result<(), String> {
        for (path, stat) in walk(&self.reference)? {
            if stat.is_folder {
                continue;
            }
            let local = self.reference.path(&path);
            let now = sum(&read_file(&local).map_err(words)?);
            let found = match read_file(&self.mounted.path(&path)) {
                Ok(content) => Some(content),
                Err(libc::ENOENT) => None,
                Err(error) => return Err(format!("read {path} after a kill: {}", words(error))),
            };
            if !self.durable.allows(stat.ino, now, found.as_deref().map(sum)) {
                let found = found.map_or("nothing".to_owned(), |content| Seen::Bytes(content).to_string());
                let whether = if self.durable.is_open(stat.ino) {
                    "being written"
                } else {
                    "closed"
                };
                let was = Seen::Bytes(read_file(&local).map_err(words)?);
                return Err(format!(
                    "{path}, which was {whether} with {was}, is left with {found} by a kill"
                ));
            }
            if !self.durable.is_open(stat.ino) {
                continue;
            }
            match found {
                None => std::fs::remove_file(&local).map_err(|e| e.to_string())?,
                Some(found) => {
                    std::fs::write(&local, found).map_err(|e| e.to_string())?;
                    self.undated.insert(stat.ino);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), String> {
        self.close_all()?;
        self.drain()?;
        self.compare("after all was uploaded")?;
        if let Some(mount) = self.mount.take() {
            mount.unmount(&self.world.config());
        }
        self.compare_with_the_service()?;
        self.world.forget();
        self.mount_again();
        for (path, stat) in walk(&self.reference)? {
            if stat.is_folder {
                continue;
            }
            if !self.differences.keeps_times() {
                self.undated.insert(stat.ino);
            }
            if stat.size == 0 && !self.differences.takes_empty_files() {
                std::fs::remove_file(self.reference.path(&path)).map_err(|e| e.to_string())?;
            }
        }
        self.compare("in a mount that knows nothing of before")
    }

    /// The service holds each content as often as there are files of it, and nothing else.
    fn compare_with_the_service(&self) -> Result<(), String> {
        let mut wanted = BTreeMap::<String, Vec<String>>::new();
        for (path, stat) in walk(&self.reference)? {
            if stat.is_folder || stat.size == 0 && !self.differences.takes_empty_files() {
                continue;
            }
            let content = read_file(&self.reference.path(&path)).map_err(words)?;
            wanted.entry(sha256_of(&content)).or_default().push(path);
        }
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for (path, stored) in self.world.service.all_stored(self.host.account()) {
            found.entry(stored.sha256).or_default().push(path);
        }
        let counts = |all: &BTreeMap<String, Vec<String>>| -> Vec<(String, usize)> {
            all.iter()
                .map(|(hash, paths)| (hash.clone(), paths.len()))
                .collect()
        };
        if counts(&wanted) == counts(&found) {
            return Ok(());
        }
        wanted.retain(|hash, paths| found.get(hash).is_none_or(|found| found.len() != paths.len()));
        Err(format!(
            "the service holds something else; of the reference: {wanted:#?}, of the service: {found:#?}"
        ))
    }

    fn end(&mut self) -> Result<(), String> {
        self.compare("at the end")?;
        self.forget()?;
        if let Some(mount) = self.mount.take() {
            mount.unmount(&self.world.config());
        }
        Ok(())
    }

    /// Names, kinds, sizes, contents and times. What a mount may show a moment late is looked at again.
    fn compare(&mut self, when: &str) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let wrong = self.differing()?;
            if wrong.is_empty() {
                return Ok(());
            }
            let is_late = |wrong: &Wrong| match wrong {
                Wrong::Time(_) => self.differences.may_show_former_times(when),
                Wrong::Added(path, _) => self.is_left_behind(path),
                Wrong::Other(_) => false,
            };
            if !wrong.iter().all(is_late) || began.elapsed() > BEHIND {
                let wrong: Vec<_> = wrong.iter().map(Wrong::text).collect();
                return Err(format!("the trees differ {when}: {wrong:#?}"));
            }
            for wrong in wrong {
                if let Wrong::Added(path, text) = wrong {
                    let removed = std::fs::remove_file(self.mounted.path(&path));
                    eprintln!("what a replaced file left is removed: {text} {removed:?}");
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether something in the mount is a content that a file had before another took its place, under a name that
    /// tells so.
    fn is_left_behind(&self, path: &str) -> bool {
        let content = read_file(&self.mounted.path(path)).unwrap_or_default();
        self.differences.may_be_left_behind(path) && self.history.contains(&sum(&content))
    }

    fn differing(&self) -> Result<Vec<Wrong>, String> {
        let (wanted, found) = (walk(&self.reference)?, walk(&self.mounted)?);
        let mut wrong = Vec::new();
        let paths: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        for path in paths {
            match (wanted.get(path), found.get(path)) {
                (Some(wanted), Some(found)) => self.compare_one(path, wanted, found, &mut wrong),
                (Some(_), None) => wrong.push(Wrong::Other(format!("{path} is missing"))),
                (None, Some(found)) => {
                    wrong.push(Wrong::Added(path.clone(), format!("{path} is there: {found:?}")));
                }
                (None, None) => {}
            }
        }
        Ok(wrong)
    }

    fn compare_one(&self, path: &str, wanted: &Stat, found: &Stat, wrong: &mut Vec<Wrong>) {
        if wanted.is_folder != found.is_folder || !wanted.is_folder && wanted.size != found.size {
            wrong.push(Wrong::Other(format!("{path}: {wanted:?} is {found:?}")));
            return;
        }
        if wanted.is_folder {
            return;
        }
        let read = |side: &Side| read_file(&side.path(path)).map_err(words);
        match (read(&self.reference), read(&self.mounted)) {
            (Ok(wanted), Ok(found)) if wanted == found => {}
            (Ok(wanted), Ok(found)) => {
                let (wanted, found) = (Seen::Bytes(wanted), Seen::Bytes(found));
                wrong.push(Wrong::Other(format!("{path}: {wanted} is {found}")));
            }
            (wanted, found) => wrong.push(Wrong::Other(format!(
                "{path} cannot be read: {:?} on a local disk, {:?} in the mount",
                wanted.err(),
                found.err()
            ))),
        }
        let slack = SLACK + self.longest.as_secs() as i64;
        if (wanted.mtime - found.mtime).abs() > slack && !self.undated.contains(&wanted.ino) {
            wrong.push(Wrong::Time(format!(
                "{path} is of {} and should be of {}",
                found.mtime, wanted.mtime
            )));
        }
    }

    fn clear_up(&mut self, failed: bool) {
        self.mounted.abandon();
        if let Some(mount) = self.mount.take() {
            if failed && std::env::var_os("LOCKERFS_MODEL_LOG").is_some() {
                eprintln!("{}", mount.log());
            }
            drop(mount);
        }
    }
}

fn content_of(fd: &std::os::fd::OwnedFd) -> Option<Vec<u8>> {
    use std::os::fd::AsRawFd;
    // By its own path, since it may not be open for reading, or have no name any more.
    std::fs::read(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}

/// All entries below, by path.
fn walk(side: &Side) -> Result<BTreeMap<String, Stat>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(folder) = left.pop() {
        let names = calls::list(&side.path(&folder), || {});
        let names = names.map_err(|error| format!("list {folder:?}: {}", words(error)))?;
        for (name, times) in names {
            let path = match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            if times != 1 {
                return Err(format!("{path} is listed {times} times"));
            }
            let stat = calls::stat(&side.path(&path));
            let stat = stat.map_err(|error| format!("{path} is listed, but stat says: {}", words(error)))?;
            if stat.is_folder {
                left.push(path.clone());
            }
            found.insert(path, stat);
        }
    }
    Ok(found)
}

fn told(outcome: &Outcome<Seen>) -> String {
    match outcome {
        Ok(seen) => seen.to_string(),
        Err(error) => words(*error),
    }
}

fn words(error: i32) -> String {
    std::io::Error::from_raw_os_error(error).to_string()
}

pub fn name_of(operation: &Operation) -> &'static str {
    match operation {
        Operation::Symlink { .. } => "symlink",
        Operation::Link { .. } => "link",
        Operation::Fifo { .. } => "fifo",
        Operation::SetAttribute { .. } => "set_attribute",
        _ => "",
    }
}
