//! One sequence of operations, done on a mount and on a local folder, with comparisons.

mod account;
mod compare;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use self::compare::walk;
use super::calls::{self, Outcome};
use super::differences::{Differences, REFUSED};
use super::durable::{Durable, sum};
use super::operation::{Operation, SLOTS};
use super::side::{Seen, Side, read_file};
use crate::harness::kind::ONE_CLOUD_FILE;
use crate::harness::{Kind, MEDIA, MEDIAFIRE, Mount, Tune, World};

const CLOUD: &str = "cloud";
/// Operations between two comparisons of the whole trees.
const COMPARED_EACH: usize = 50;
/// How long all may take to be uploaded.
const DRAIN: Duration = Duration::from_secs(60);

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

struct Episode {
    host: Host,
    mount: Option<Mount>,
    mounted: Side,
    reference: Side,
    durable: Durable,
    differences: Differences,
    /// Files of the reference, by inode number, of whose times nothing is known.
    undated: HashSet<u64>,
    longest: Duration,
    world: World,
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

    fn end(&mut self) -> Result<(), String> {
        self.compare("at the end")?;
        self.forget()?;
        if let Some(mount) = self.mount.take() {
            mount.unmount(&self.world.config());
        }
        Ok(())
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
