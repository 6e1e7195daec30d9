//! One seed: a load on a mount, kills, and what has to be there afterwards.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::Load;
use super::model::{Content, Operation, State};
use crate::harness::kind::ONE_CLOUD_FILE;
use crate::harness::{MEDIA, Mount, Service, Tune, World, sha256_of};

const CLOUD: &str = "cloud";
/// Where each writer works: account and folder.
const ZONES: [(&str, &str); 4] = [(MEDIA, "a"), (MEDIA, "b"), (CLOUD, "a"), (CLOUD, "b")];
/// Kills in the middle of a load. One without a load follows.
const ROUNDS: u64 = 3;
/// How long a load goes on at most before the kill.
const LONGEST_ROUND: u64 = 900;
/// When a seed counts as hung.
const WATCHDOG: Duration = Duration::from_secs(150);
/// How long all may take to be uploaded at the end.
const DRAIN: Duration = Duration::from_secs(60);
/// How long a rename that was cut short may take until it is finished or taken back.
const SETTLES: Duration = Duration::from_secs(25);
/// How far a mount's view may be behind the end of a rename that was looked up, also where listings have to be tried
/// again: its folders are listed anew, and until then they show what was before. Which of the two states it is, is told
/// by a look after that.
const NEWS: Duration = Duration::from_secs(3);
/// How it is told that a file of a failing service is put away.
pub const SPOILED: &str = "what the service spoiled is removed:";
/// How often what a failing service refused is looked at again.
const LOOKS: u32 = 25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// The services do what they are asked for.
    Fair,
    /// A part of all requests fails, in every way that the emulated services know.
    Foul,
}

/// One of the places that a single writer works in.
struct Zone {
    account: &'static str,
    folder: &'static str,
    /// What it may hold: one state, or several until it was looked at after an operation that was cut short.
    states: Vec<State>,
    cut_short: Option<Operation>,
    weather: Weather,
    log: Vec<String>,
}

/// Runs a seed. The error is a report for a person.
pub fn run(seed: u64, weather: Weather) -> Result<(), String> {
    let mut world = World::with(|setup| {
        setup.guest(&ONE_CLOUD_FILE, CLOUD);
        setup.service.seed = seed;
        setup.service.latency = Duration::from_millis(seed % 4 * 5);
        setup.tune(Tune::Processing(Duration::from_millis(seed % 3 * 40)));
    });
    let mut zones = ZONES.map(|(account, folder)| Zone {
        account,
        folder,
        states: vec![State::default()],
        cut_short: None,
        weather,
        log: Vec::new(),
    });
    let watchdog = Watchdog::start(world.place().mount_point, WATCHDOG);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        play(&world, &watchdog, &mut zones, seed, weather)
    }));
    let mut failure = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("see above"))
        }
    };
    if watchdog.has_struck() {
        failure = format!("it hung for {WATCHDOG:?} and was killed ({failure})");
    }
    let folder = world.keep();
    let mut report = format!("\n===== seed {seed} in {weather:?} weather: {failure}\n");
    for zone in &zones {
        let _ = writeln!(report, "--- {}/{} ---", zone.account, zone.folder);
        zone.log.iter().for_each(|line| {
            let _ = writeln!(report, "{line}");
        });
    }
    let _ = writeln!(
        report,
        "===== seed {seed}: logs and state are kept in {}",
        folder.display()
    );
    Err(report)
}

fn play(
    world: &World,
    watchdog: &Watchdog,
    zones: &mut [Zone; 4],
    seed: u64,
    weather: Weather,
) -> Result<(), String> {
    let began = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut mount = watchdog.mount(world)?;
    for zone in zones.iter() {
        fs::create_dir(zone.root(&mount)).map_err(|e| format!("make {}: {e}", zone.folder))?;
    }
    if weather == Weather::Foul {
        world.service.strike(&mishaps());
    }
    for round in 0..=ROUNDS {
        let killed = AtomicBool::new(false);
        let load_ends = Duration::from_millis(dice.u64(20..LONGEST_ROUND));
        let loaded = round < ROUNDS;
        let results: Vec<_> = std::thread::scope(|scope| {
            let root = mount.mount_point().to_owned();
            let (killed, service) = (&killed, &world.service);
            let writers: Vec<_> = (0..)
                .zip(zones.iter_mut())
                .filter(|_| loaded)
                .map(|(at, zone)| {
                    let load = Load::new(seed * 1000 + round * 10 + at);
                    let root = root.join(zone.account).join(zone.folder);
                    scope.spawn(move || zone.work(service, load, &root, killed, began, weather))
                })
                .collect();
            std::thread::sleep(load_ends);
            killed.store(true, Ordering::SeqCst);
            watchdog.kill(mount);
            let join = |writer: std::thread::ScopedJoinHandle<'_, Result<(), String>>| {
                writer
                    .join()
                    .unwrap_or_else(|_| Err("a writer panicked".to_owned()))
            };
            writers.into_iter().map(join).collect()
        });
        results.into_iter().collect::<Result<Vec<()>, String>>()?;
        // What was on its way when the process died is done or not by then.
        world.service.settle();
        mount = watchdog.mount(world)?;
        for zone in zones.iter_mut() {
            zone.note(began, &format!("killed in round {round} and started again"));
            let root = zone.root(&mount);
            zone.resolve(Some(world), &world.service, &root, weather, "after a kill")?;
        }
    }
    drain(world)?;
    world.service.strike(&json!([]));
    for zone in zones.iter_mut() {
        let root = zone.root(&mount);
        zone.resolve(
            Some(world),
            &world.service,
            &root,
            Weather::Fair,
            "after all was uploaded",
        )?;
    }
    // Copies may have been removed.
    drain(world)?;
    watchdog.unmount(mount, world);
    compare_with_the_services(world, zones)?;
    world.forget();
    watchdog.watch_place(world.place().mount_point);
    let fresh = watchdog.mount(world)?;
    for zone in zones.iter() {
        let found = look(&zone.root(&fresh), Weather::Fair)?;
        tell_differences(
            &zone.on_service(),
            &found,
            zone,
            "in a mount that knows nothing of before",
        )?;
    }
    watchdog.unmount(fresh, world);
    Ok(())
}

/// About one request of twenty fails.
fn mishaps() -> serde_json::Value {
    json!([
        {"match": "*", "fault": "status", "status": 503, "rate": 0.008},
        {"match": "*", "fault": "status", "status": 429, "retry_after": 1, "rate": 0.003},
        {"match": "*", "fault": "status", "status": 500, "rate": 0.004},
        {"match": "*", "fault": "reset", "rate": 0.008},
        {"match": "*", "fault": "truncate", "rate": 0.008},
        {"match": "*", "fault": "html", "rate": 0.008},
        {"match": "*", "fault": "lost_reply", "rate": 0.010},
        {"match": "*", "fault": "expire_token", "rate": 0.002},
        {"match": "*", "fault": "delay", "milliseconds": 200, "rate": 0.004},
        {"match": "v2/file/upload", "fault": "store_wrong", "what": "hash", "rate": 0.005},
        {"match": "v2/file/upload", "fault": "store_wrong", "what": "size", "rate": 0.005},
    ])
}

/// Waits until nothing is left to be uploaded. What failed is tried again at once, as a person may do.
fn drain(world: &World) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let pending = world.pending();
        if pending.is_empty() {
            return Ok(());
        }
        if began.elapsed() > DRAIN {
            return Err(format!("not uploaded within {DRAIN:?}: {pending:#?}"));
        }
        world.lockerfs(&["retry"]).succeeded();
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn compare_with_the_services(world: &World, zones: &[Zone; 4]) -> Result<(), String> {
    for account in [MEDIA, CLOUD] {
        let stored = world.service.stored(account);
        let folders = folders_below(&world.service.files_dir(account));
        let mut wrong = Vec::new();
        let (mut files, mut places) = (0, 0);
        for zone in zones.iter().filter(|zone| zone.account == account) {
            let state = zone.on_service();
            (files, places) = (files + state.files.len(), places + 1 + state.folders.len());
            for (path, content) in &state.files {
                let path = format!("{}/{}", zone.folder, zone.stored_path(path));
                let hash = stored.get(&path).map(|stored| stored.sha256.as_str());
                if hash != Some(&sha256_of(content)) {
                    wrong.push(format!("{path} is {hash:?} there"));
                }
            }
            for path in &state.folders {
                let path = format!("{}/{path}", zone.folder);
                if !folders.contains(&path) {
                    wrong.push(format!("the folder {path} is missing"));
                }
            }
        }
        if !wrong.is_empty() || stored.len() != files || folders.len() != places {
            let all: Vec<_> = stored.keys().collect();
            return Err(format!(
                "the service of {account} holds something else: {wrong:#?}\nfiles there: {all:#?}\nfolders \
                 there: {folders:#?}"
            ));
        }
    }
    Ok(())
}

fn folders_below(top: &Path) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(top.join(&folder)).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = folder.join(entry.file_name());
                found.push(path.to_string_lossy().into_owned());
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

impl Zone {
    fn root(&self, mount: &Mount) -> PathBuf {
        mount.mount_point().join(self.account).join(self.folder)
    }

    fn note(&mut self, began: Instant, what: &str) {
        self.log
            .push(format!("{:8.3} {what}", began.elapsed().as_secs_f64()));
    }

    /// Works until the mount is killed.
    fn work(
        &mut self,
        service: &Service,
        mut load: Load,
        root: &Path,
        killed: &AtomicBool,
        began: Instant,
        weather: Weather,
    ) -> Result<(), String> {
        while !killed.load(Ordering::SeqCst) {
            let before = self.states[0].clone();
            let operation = load.next(&before);
            self.note(began, &operation.to_string());
            match operation.perform(root, &before) {
                Ok(()) => self.states = vec![operation.after(&before)],
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(format!("{}/{}: {operation}: {error}", self.account, self.folder));
                }
                Err(error) => {
                    self.note(began, &format!("    {error}"));
                    self.states = operation.outcomes(&before);
                    self.cut_short = Some(operation.clone());
                    if killed.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    if weather == Weather::Fair {
                        return Err(format!("{}/{}: {operation}: {error}", self.account, self.folder));
                    }
                    // What became of it is known a moment later; until then it may be either way.
                    if matches!(operation, Operation::Rename { .. }) {
                        return Ok(());
                    }
                    if let Err(failure) = self.resolve(None, service, root, weather, "after an error")
                        && !killed.load(Ordering::SeqCst)
                    {
                        return Err(failure);
                    }
                    if self.states.len() > 1 {
                        return Ok(());
                    }
                }
            }
            std::thread::sleep(load.pause());
        }
        Ok(())
    }

    /// Looks which of the possible states it is. A rename of several steps that was cut short is looked up, and is
    /// finished or taken back a moment later; until then the names that it is about may be in between, and nothing
    /// else.
    fn resolve(
        &mut self,
        world: Option<&World>,
        service: &Service,
        root: &Path,
        weather: Weather,
        when: &str,
    ) -> Result<(), String> {
        let began = Instant::now();
        let renames = matches!(self.cut_short.take(), Some(Operation::Rename { .. }));
        let mut may_be_behind = renames && world.is_some();
        let mut put_away = false;
        loop {
            let is_open =
                renames && began.elapsed() < SETTLES && world.is_some_and(|world| self.renames(world));
            let found = look(root, weather);
            let found = found.map_err(|e| format!("{}/{} {when}: {e}", self.account, self.folder))?;
            let settles = renames && began.elapsed() < SETTLES;
            if is_open && self.keeps_the_rest(&found) {
                may_be_behind = true;
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            if self.states.contains(&found) && std::mem::take(&mut may_be_behind) {
                std::thread::sleep(NEWS);
                continue;
            }
            if self.states.contains(&found) {
                self.states = vec![found];
                return Ok(());
            }
            let spoiled = self.spoiled(&found, service);
            if !spoiled.is_empty() && began.elapsed() < SETTLES {
                for path in spoiled {
                    let removed = fs::remove_file(root.join(&path));
                    let told = format!("{SPOILED} {path} {removed:?}");
                    eprintln!("{told}");
                    self.log.push(format!("         {told}"));
                }
                put_away = true;
                continue;
            }
            // What stood beside a spoiled file of its name gets the name with the next listing.
            if put_away && began.elapsed() < SETTLES {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            if settles && self.keeps_the_rest(&found) {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            let mut report = format!(
                "{}/{} {when} is none of the states it may be in",
                self.account, self.folder
            );
            for (at, state) in self.states.iter().enumerate().take(6) {
                let _ = write!(report, "\n  against {at}: {:#?}", state.differences(&found));
            }
            return Err(report);
        }
    }

    /// What a failing service made of an upload and no state has: it stored other bytes than it was sent, and the program
    /// was killed before it heard of it. Nobody can tell such a file from another's, so it is kept.
    fn spoiled(&self, found: &State, service: &Service) -> Vec<String> {
        if self.weather == Weather::Fair {
            return Vec::new();
        }
        let spoiled = service.spoiled();
        let expected = |path: &String, content: &Content| {
            self.states
                .iter()
                .any(|state| state.files.get(path) == Some(content))
        };
        let is_spoiled = |(path, content): &(&String, &Content)| {
            spoiled.contains(&sha256_of(content)) && !expected(path, content)
        };
        let files = found.files.iter().filter(is_spoiled);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Whether a rename of the account is not at its end.
    fn renames(&self, world: &World) -> bool {
        let is_rename = |row: &serde_json::Value| row["action"] == "rename" && row["account"] == self.account;
        world.pending().iter().any(is_rename)
    }

    /// Whether all is there, and right, that is the same in all possible states.
    fn keeps_the_rest(&self, found: &State) -> bool {
        let (first, others) = self.states.split_first().expect("a state");
        let same_file = |path: &String| {
            others
                .iter()
                .all(|state| state.files.get(path) == first.files.get(path))
        };
        let same_folder = |path: &String| others.iter().all(|state| state.folders.contains(path));
        let mut files = first.files.iter().filter(|(path, _)| same_file(path));
        let mut folders = first.folders.iter().filter(|path| same_folder(path));
        files.all(|(path, content)| found.files.get(path) == Some(content))
            && folders.all(|path| found.folders.contains(path))
    }

    /// How the service holds a name that it would alter.
    fn stored_path(&self, path: &str) -> String {
        match path.rsplit_once('/').unwrap_or(("", path)) {
            (folder, name) if self.account == CLOUD && name.starts_with('.') => {
                let slash = if folder.is_empty() { "" } else { "/" };
                format!("{folder}{slash}\u{ff0e}{}", &name[1..])
            }
            _ => path.to_owned(),
        }
    }

    /// What the service has to hold of it: all but what it does not take.
    fn on_service(&self) -> State {
        let mut state = self.states[0].clone();
        if self.account == CLOUD {
            state.files.retain(|_, content| !content.is_empty());
        }
        state
    }
}

fn tell_differences(wanted: &State, found: &State, zone: &Zone, when: &str) -> Result<(), String> {
    let differences = wanted.differences(found);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}/{} {when}: {differences:#?}",
        zone.account, zone.folder
    ))
}

/// What a mount shows below a folder. Where services fail, a look may fail as well, and is taken again.
fn look(root: &Path, weather: Weather) -> Result<State, String> {
    let mut looks = 0;
    loop {
        match try_look(root) {
            Ok(state) => return Ok(state),
            Err(_) if weather == Weather::Foul && looks < LOOKS => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(error),
        }
    }
}

fn try_look(root: &Path) -> Result<State, String> {
    let mut state = State::default();
    let mut left = vec![String::new()];
    while let Some(folder) = left.pop() {
        let failed = |error: io::Error| format!("list {folder:?}: {error}");
        for entry in fs::read_dir(root.join(&folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            if entry.file_type().map_err(failed)?.is_dir() {
                state.folders.insert(path.clone());
                left.push(path);
            } else {
                let content: Content =
                    Arc::new(fs::read(root.join(&path)).map_err(|e| format!("read {path}: {e}"))?);
                state.files.insert(path, content);
            }
        }
    }
    Ok(state)
}

/// Ends a seed that hangs: kills the mount's process and takes the mount away, so that whatever waits in it
/// gets an error.
struct Watchdog {
    shared: Arc<Watched>,
}

struct Watched {
    place: Mutex<(Option<u32>, PathBuf)>,
    struck: AtomicBool,
    over: AtomicBool,
}

impl Watchdog {
    fn start(mount_point: PathBuf, patience: Duration) -> Watchdog {
        let shared = Arc::new(Watched {
            place: Mutex::new((None, mount_point)),
            struck: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let watched = shared.clone();
        std::thread::spawn(move || {
            let began = Instant::now();
            while began.elapsed() < patience {
                std::thread::sleep(Duration::from_millis(200));
                if watched.over.load(Ordering::SeqCst) {
                    return;
                }
            }
            watched.strike();
        });
        Watchdog { shared }
    }

    fn has_struck(&self) -> bool {
        self.shared.struck.load(Ordering::SeqCst)
    }

    fn mount(&self, world: &World) -> Result<Mount, String> {
        if self.has_struck() {
            return Err("the time is up".to_owned());
        }
        let mount = world.mount();
        self.shared.place().0 = Some(mount.pid());
        Ok(mount)
    }

    fn kill(&self, mount: Mount) {
        self.shared.place().0 = None;
        mount.kill();
    }

    fn unmount(&self, mount: Mount, world: &World) {
        mount.unmount(&world.config());
        self.shared.place().0 = None;
    }

    fn watch_place(&self, mount_point: PathBuf) {
        self.shared.place().1 = mount_point;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

impl Watched {
    fn place(&self) -> std::sync::MutexGuard<'_, (Option<u32>, PathBuf)> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self) {
        self.struck.store(true, Ordering::SeqCst);
        let (process, mount_point) = self.place().clone();
        if let Some(process) = process {
            // SAFETY: sends a signal to the child whose end nobody has waited for.
            unsafe { libc::kill(process as i32, libc::SIGKILL) };
        }
        crate::harness::detach(&mount_point);
    }
}
