//! What a sandbox knows, and how it is kept.
//!
//! One lock guards the accounts and the services' own notes; it is held for computing only, never over
//! disk or network. Changes of the live views are carried out afterwards, by [`Shared::catch_up`], before a
//! call is answered. State is written behind, as a whole and atomically, and once more at the stop.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::blobs::Blobs;
use super::calls::Calls;
use super::faults::Faults;
use super::rate::Rate;
use super::tree::{Kind, ROOT, Tree, ViewOp};
use super::view::{Found, Places, ScanRules, Unplaced, View};
use super::wire::Line;
use super::{Account, Options, Service, mediafire, mirrorace, mirrored_to, yetishare};

/// How often state is written at most.
const WRITE_BEHIND: Duration = Duration::from_millis(100);

/// Files that are not on the disk, beyond which state is written at the stop only.
const VAST: usize = 100_000;

/// How often the live directories are looked at, and how often every file in them.
const GLANCE: Duration = Duration::from_secs(1);
const THOROUGH: Duration = Duration::from_secs(5);

/// How long a plain file must have been still before a scan on its own takes it up.
const STILL: Duration = Duration::from_millis(500);

pub struct AccountState {
    pub config: Account,
    pub tree: Tree,
    /// The view was handed steps that it may not have carried out yet.
    behind: bool,
}

impl AccountState {
    /// What the view has to do. Whoever holds the view asks, and says so when it is done.
    fn hand_out(&mut self) -> Vec<ViewOp> {
        let ops = self.tree.take_ops();
        self.behind |= !ops.is_empty();
        ops
    }
}

pub struct World {
    pub accounts: Vec<AccountState>,
    pub mediafire: mediafire::State,
    pub yetishare: yetishare::State,
    pub mirrorace: mirrorace::State,
    pub mirrored_to: mirrored_to::State,
    /// Accounts that an earlier run had and this one does not offer: kept for a later one.
    dormant: HashMap<String, Tree>,
}

impl World {
    pub fn account(&self, name: &str) -> Option<usize> {
        self.accounts
            .iter()
            .position(|account| account.config.name == name)
    }

    /// An account with the login that it has now.
    pub fn config(&self, name: &str) -> Option<&Account> {
        let account = self.accounts.iter().find(|account| account.config.name == name)?;
        Some(&account.config)
    }

    /// The accounts of one service, each with its place among all.
    pub fn accounts_of(&self, service: Service) -> impl Iterator<Item = (usize, &AccountState)> {
        let accounts = self.accounts.iter().enumerate();
        accounts.filter(move |(_, account)| account.config.service == service)
    }

    /// A number that moves with every change that must outlive a restart.
    fn stamp(&self) -> u64 {
        let trees: u64 = self.accounts.iter().map(|account| account.tree.revision()).sum();
        trees
            + self.mediafire.stamp()
            + self.yetishare.stamp()
            + self.mirrorace.stamp()
            + self.mirrored_to.stamp()
    }

    /// A fresh key in the manner of the account's service.
    pub fn mint(&mut self, index: usize, kind: Kind) -> String {
        let Some(config) = self.accounts.get(index).map(|account| &account.config) else {
            return mediafire::mint(kind);
        };
        match config.service {
            Service::MediaFire => mediafire::mint(kind),
            Service::YetiShare => self.yetishare.host(&config.name).mint(kind),
            Service::MirrorAce => self.mirrorace.host(&config.name).mint(),
            Service::MirroredTo => self.mirrored_to.host(&config.name).mint(),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    accounts: HashMap<String, Tree>,
    mediafire: mediafire::State,
    #[serde(default)]
    yetishare: yetishare::State,
    #[serde(default)]
    mirrorace: mirrorace::State,
    #[serde(default)]
    mirrored_to: mirrored_to::State,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    accounts: HashMap<&'a str, &'a Tree>,
    mediafire: &'a mediafire::State,
    yetishare: &'a yetishare::State,
    mirrorace: &'a mirrorace::State,
    mirrored_to: &'a mirrored_to::State,
}

pub struct Shared {
    pub options: Options,
    pub address: SocketAddr,
    pub blobs: Arc<Blobs>,
    pub calls: Calls,
    pub faults: Faults,
    pub rate: Rate,
    /// SHA-256 of contents that a mishap had stored in the place of what was sent.
    pub spoiled: Mutex<BTreeSet<String>>,
    pub line: Arc<Line>,
    /// Seconds by which the clock of the publish-only services is ahead.
    pub ahead: AtomicI64,
    world: Mutex<World>,
    /// In the order of the accounts.
    views: Vec<Arc<tokio::sync::Mutex<View>>>,
    dormant_places: HashMap<String, Places>,
    stored: tokio::sync::Mutex<(u64, u64)>,
}

pub fn now() -> i64 {
    (millis() / 1000) as i64
}

pub fn millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl Shared {
    /// Loads or begins the state below `options.data`, takes up what was done to the live files meanwhile
    /// and brings them in step.
    pub fn open(options: Options, address: SocketAddr, line: Arc<Line>) -> io::Result<Self> {
        let private = private_dir(&options.data);
        std::fs::create_dir_all(&private)?;
        let blobs = Arc::new(Blobs::open(&private)?);
        let mut stored: Stored = load(&private.join("state.json"))?;
        let mut places: HashMap<String, Places> = load(&private.join("views.json"))?;
        let mut accounts = Vec::new();
        for config in &options.accounts {
            let mut tree = stored.accounts.remove(&config.name).unwrap_or_default();
            tree.index();
            accounts.push(AccountState {
                config: config.clone(),
                tree,
                behind: false,
            });
        }
        if stored.accounts.is_empty() {
            let wanted: std::collections::HashSet<&str> = accounts
                .iter()
                .flat_map(|account| account.tree.contents())
                .collect();
            let mut uploads = stored.mediafire.contents();
            uploads.extend(mirrored_to::contents(&stored.mirrored_to));
            blobs.retain(|hash| wanted.contains(hash) || uploads.contains(hash))?;
        }
        let mut views = Vec::new();
        for account in &accounts {
            let root = files_dir(&options.data, &account.config.name);
            let places = places.remove(&account.config.name).unwrap_or_default();
            views.push(Arc::new(tokio::sync::Mutex::new(View::open(
                root,
                Arc::clone(&blobs),
                places,
            )?)));
        }
        let faults = Faults::new(options.fail_rate, options.seed);
        stored.mediafire.revive();
        let world = Mutex::new(World {
            accounts,
            mediafire: stored.mediafire,
            yetishare: stored.yetishare,
            mirrorace: stored.mirrorace,
            mirrored_to: stored.mirrored_to,
            dormant: stored.accounts,
        });
        Ok(Self {
            options,
            address,
            blobs,
            calls: Calls::default(),
            spoiled: Mutex::default(),
            faults,
            rate: Rate::default(),
            line,
            ahead: AtomicI64::new(0),
            world,
            views,
            dormant_places: places,
            stored: tokio::sync::Mutex::new((u64::MAX, u64::MAX)),
        })
    }

    /// The time as the publish-only services have it, in seconds since the epoch.
    pub fn clock(&self) -> i64 {
        now() + self.ahead.load(Ordering::Relaxed)
    }

    /// Runs `act` on the state, uploads that are due settled first. Computes only.
    pub fn with<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        mediafire::settle(&mut world, &self.options.quirks, millis());
        act(&mut world)
    }

    /// Carries the account's changes out on the live files. On return, all that happened before the call
    /// stands on disk.
    pub async fn catch_up(&self) {
        for (index, view) in self.views.iter().enumerate() {
            if !self.with(|world| {
                let account = world.accounts.get(index);
                account.is_some_and(|account| account.tree.has_ops() || account.behind)
            }) {
                continue;
            }
            // Others may be at work on the view: waiting for it is waiting for them.
            let view = Arc::clone(view).lock_owned().await;
            let ops = self.hand_out(index);
            self.carry_out(index, view, ops).await;
        }
    }

    fn hand_out(&self, index: usize) -> Vec<ViewOp> {
        self.with(|world| world.accounts.get_mut(index).map(AccountState::hand_out))
            .unwrap_or_default()
    }

    async fn carry_out(&self, index: usize, mut view: OwnedMutexGuard<View>, ops: Vec<ViewOp>) {
        let applied = tokio::task::spawn_blocking(move || {
            view.apply(ops);
            view
        });
        let view = applied.await;
        self.with(|world| {
            if let Some(account) = world.accounts.get_mut(index) {
                account.behind = false;
            }
        });
        drop(view);
    }

    /// Takes up at once what was done to the live files, however fresh. Runs to its end even when its caller
    /// goes away: a scan that is half taken up would leave files that nobody knows.
    pub async fn rescan(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let _ = tokio::spawn(async move { shared.scan(Duration::ZERO, true, false).await }).await;
    }

    /// The scan at the start: as [`Shared::rescan`], and then the live files are made what the accounts say.
    pub async fn reconcile(self: &Arc<Self>) {
        self.scan(Duration::ZERO, true, true).await;
    }

    async fn scan(self: &Arc<Self>, quiet: Duration, thorough: bool, reconcile: bool) {
        for (index, view) in self.views.iter().enumerate() {
            let mut view = Arc::clone(view).lock_owned().await;
            let ops = self.hand_out(index);
            let unplaced = if reconcile {
                self.unplaced(index, view.places())
            } else {
                Unplaced::new()
            };
            let shared = Arc::clone(self);
            let scanned = tokio::task::spawn_blocking(move || {
                view.apply(ops);
                let found = view.scan(&ScanRules {
                    quiet,
                    thorough,
                    unplaced: &unplaced,
                    mint: &|kind| shared.with(|world| world.mint(index, kind)),
                });
                (view, found)
            })
            .await;
            let Ok((view, found)) = scanned else { continue };
            let ops = self.with(|world| {
                let Some(account) = world.accounts.get_mut(index) else {
                    return Vec::new();
                };
                for found in found {
                    take_up(account, found);
                }
                let mut ops = account.hand_out();
                if reconcile {
                    ops.extend(account.tree.all_ops());
                }
                ops
            });
            self.carry_out(index, view, ops).await;
        }
    }

    fn unplaced(&self, index: usize, places: &Places) -> Unplaced {
        self.with(|world| {
            let mut unplaced = Unplaced::new();
            let Some(tree) = world.accounts.get(index).map(|account| &account.tree) else {
                return unplaced;
            };
            for key in tree.subtree(ROOT) {
                if let Some(folder) = tree
                    .folder(&key)
                    .filter(|folder| !places.holds(Kind::Folder, &folder.key))
                {
                    let address = (folder.parent.clone(), folder.name.clone());
                    unplaced.insert(address, (Kind::Folder, folder.key.clone(), None));
                }
                for file in tree
                    .files_in(&key)
                    .filter(|file| !file.unseen && !places.holds(Kind::File, &file.key))
                {
                    let address = (file.parent.clone(), file.name.clone());
                    unplaced.insert(
                        address,
                        (Kind::File, file.key.clone(), Some(file.content.clone())),
                    );
                }
            }
            unplaced
        })
    }

    /// Whether writing the state would hold up calls for long: it then waits for the stop.
    fn is_vast(&self) -> bool {
        self.with(|world| world.accounts.iter().any(|account| account.tree.unseen() > VAST))
    }

    /// Writes the state if it moved since it was last written.
    pub async fn store(&self) -> io::Result<()> {
        let mut stored = self.stored.lock().await;
        let state = self.with(|world| {
            let stamp = world.stamp();
            (stamp != stored.0).then(|| {
                let accounts = world
                    .accounts
                    .iter()
                    .map(|account| (account.config.name.as_str(), &account.tree))
                    .chain(world.dormant.iter().map(|(name, tree)| (name.as_str(), tree)))
                    .collect();
                let bytes = serde_json::to_vec(&StoredRef {
                    accounts,
                    mediafire: &world.mediafire,
                    yetishare: &world.yetishare,
                    mirrorace: &world.mirrorace,
                    mirrored_to: &world.mirrored_to,
                });
                (stamp, bytes)
            })
        });
        let private = private_dir(&self.options.data);
        if let Some((stamp, bytes)) = state {
            write_atomically(private.join("state.json"), bytes?).await?;
            stored.0 = stamp;
        }
        let mut steps = 0;
        let mut guards = Vec::new();
        for view in &self.views {
            let view = Arc::clone(view).lock_owned().await;
            steps += view.steps();
            guards.push(view);
        }
        if steps != stored.1 {
            let names = self.options.accounts.iter().map(|account| account.name.as_str());
            let dormant = self
                .dormant_places
                .iter()
                .map(|(name, places)| (name.as_str(), places));
            let places: HashMap<&str, &Places> = names
                .zip(guards.iter().map(|view| view.places()))
                .chain(dormant)
                .collect();
            let bytes = serde_json::to_vec(&places)?;
            drop(places);
            drop(guards);
            write_atomically(private.join("views.json"), bytes).await?;
            stored.1 = steps;
        }
        Ok(())
    }

    /// What runs beside the calls until the stop: settling uploads, following by hand made changes, writing behind.
    pub async fn tend(self: Arc<Self>) {
        let mut glanced = Instant::now();
        let mut combed = Instant::now();
        let mut pause = WRITE_BEHIND;
        let stop = self.line.stop.clone();
        while stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
        {
            if glanced.elapsed() >= GLANCE {
                let thorough = combed.elapsed() >= THOROUGH;
                self.scan(STILL, thorough, false).await;
                glanced = Instant::now();
                if thorough {
                    combed = glanced;
                }
            }
            self.catch_up().await;
            let began = Instant::now();
            if self.is_vast() {
                continue;
            }
            if let Err(error) = self.store().await {
                tracing::warn!(%error, "the sandbox's state could not be written");
            }
            // A big state takes long to write; most of the time is then left to the calls.
            pause = WRITE_BEHIND.max(began.elapsed() * 10);
        }
    }
}

/// Does to the account what somebody did to its plain files.
fn take_up(account: &mut AccountState, found: Found) {
    let tree = &mut account.tree;
    match found {
        Found::Folder {
            key,
            parent,
            name,
            created,
        } => {
            if tree.is_live_folder(&parent) {
                tree.add_folder(&key, &parent, &name, created);
            }
        }
        Found::File {
            key,
            parent,
            name,
            content,
            created,
        } => {
            if tree.is_live_folder(&parent) {
                tree.add_file(&key, &parent, &name, content, created, now());
            }
        }
        Found::Changed {
            key,
            content,
            created,
        } => match tree.file(&key) {
            Some(file) if file.content != content => tree.put_content(&key, content, created, now()),
            Some(file) if file.created != created => tree.edit_file(&key, |file| file.created = created),
            _ => {}
        },
        Found::Moved {
            kind: Kind::File,
            key,
            parent,
            name,
        } => {
            if tree.is_live_file(&key) && tree.is_live_folder(&parent) {
                tree.place_file(&key, &parent, &name);
            }
        }
        Found::Moved {
            kind: Kind::Folder,
            key,
            parent,
            name,
        } => {
            if tree.is_live_folder(&key) && !tree.chain(&parent).iter().any(|folder| folder.key == key) {
                tree.place_folder(&key, &parent, &name);
            }
        }
        Found::Removed {
            kind: Kind::File,
            key,
        } => tree.trash_file(&key, now()),
        Found::Removed {
            kind: Kind::Folder,
            key,
        } => tree.trash_folder(&key, now()),
    }
}

pub fn private_dir(data: &Path) -> PathBuf {
    data.join(".sandbox")
}

pub fn files_dir(data: &Path, account: &str) -> PathBuf {
    data.join(account).join("files")
}

fn load<T: Default + serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

async fn write_atomically(path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(fresh, path)
    });
    written.await.map_err(io::Error::other)?
}
