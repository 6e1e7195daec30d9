//! The rooms of a mount put together.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Plan;
use super::health::Health;
use super::point::SOURCE;
use super::{succession, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::failure::Failure;
use crate::config::{AccountConfig, ConfigError, Connected, FsyncMode, OnClose, clock, session_dir};
use crate::control::{AccountState, AccountStatus, CallsStatus, HeldBack, HeldBackStatus, Server};
use crate::download::{self, BlockCache, Downloads};
use crate::fuse::{self, Mounted};
use crate::http::DataClient;
use crate::provider::wrap::Wrapped;
use crate::provider::{self, Capability, Catalog, Exchange, Pace, Provider};
use crate::state::{AccountIndexed, Database, Pins, StateDir};
use crate::upload::{self, Uploads};
use crate::vfs::{self, LocalFolders, Vfs};

/// A mount that serves, and all that has to be ended with it.
pub(super) struct Assembled {
    pub vfs: Arc<Vfs>,
    pub mounted: Mounted,
    /// Listens already; nobody is answered before it runs.
    pub server: Arc<Server>,
    pub uploads: Arc<Uploads>,
    pub accounts: Vec<Account>,
    pub database: Database,
    pub pins: Pins,
    /// Holds the lock on the state directory.
    pub state_dir: StateDir,
    /// Tasks that end with this.
    pub watches: Vec<AbortOnDropHandle<()>>,
}

/// An account of the mount.
#[derive(Clone)]
pub(super) struct Account {
    pub name: String,
    pub kind: &'static str,
    pub provider: Arc<dyn Provider>,
    /// Where the service's client can be changed for one with other secrets.
    pub exchange: Arc<Exchange>,
    /// Tells it from other accounts of its name.
    pub identity: String,
    pub health: Health,
}

impl Account {
    pub async fn status(&self, vfs: &Vfs, uploads: &Uploads) -> AccountStatus {
        let (state, message): (AccountState, _) = self.health.get();
        let info = vfs.account_info(&self.name).unwrap_or_default();
        AccountStatus {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            state,
            paused: uploads.is_paused(&self.name),
            message,
            storage_used: info.storage_used,
            storage_limit: info.storage_limit,
            calls: self.provider.daily_calls().await.map(|calls| CallsStatus {
                limit: calls.limit,
                spent: calls.spent,
                renewed: super::seconds(calls.renewed),
            }),
            held_back: held_back(self.provider.pace(), SystemTime::now()),
        }
    }
}

fn held_back(pace: Pace, now: SystemTime) -> Option<HeldBackStatus> {
    let (why, left) = match (pace.away, pace.rests, pace.calls_per_second) {
        (Some(left), rests, _) => (HeldBack::Away, Some(rests.map_or(left, |rests| rests.max(left)))),
        (None, rests, rate) if rests.is_some() || rate.is_some() => (HeldBack::AskedForFewer, rests),
        _ => return None,
    };
    let ms = |left: Duration| {
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + left;
        u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small and not negative"
    )]
    let calls = pace.calls_per_second.map(|rate| (rate * 100.0).round() as u64);
    Some(HeldBackStatus {
        why,
        until_ms: left.map(ms),
        calls_per_100_seconds: calls,
    })
}

/// Builds everything and mounts. Makes no call to a service.
pub(super) async fn assemble(plan: &Plan) -> Result<Assembled, Failure> {
    let state_dir = succession::state_dir(&plan.paths.state_dir, plan.config.mount.stop_timeout).await?;
    let database = Database::open(&state_dir.database_path())?;
    let pins = state_dir.pins();
    let cache = open_cache(plan);
    let options = upload::Options {
        accounts: plan.config.accounts.iter().map(pace).collect(),
        reserve: plan.config.mount.reserve,
        clean: cache.clone().and_then(|cache| gives_way(cache, state_dir.path())),
        ..upload::Options::new(state_dir.staging_path(), state_dir.recovered_path())
    };
    let uploads = Uploads::open(database.clone(), options)
        .await
        .map_err(|e| Failure::new(format!("cannot take up the pending uploads: {e}")))?;
    recover_pins(&pins, &state_dir, &database).await?;
    let client = DataClient::new().map_err(|e| Failure::new(e.to_string()))?;
    let reads = download::Options {
        stall_timeout: plan.config.mount.read_timeout,
        read_ahead: plan.config.mount.read_ahead,
        connections: plan.config.mount.read_connections,
        cache,
        pins: Some(pins.clone()),
        pinning: pinning(plan),
        ..download::Options::default()
    };
    let downloads = Downloads::new(client, reads);
    let mut accounts = Vec::new();
    let mut setups = Vec::new();
    let mut barred = Vec::new();
    for account in &plan.config.accounts {
        let health = Health::new();
        let connected = connect(plan, account, &database, &health, &mut barred).await?;
        let (joined, setup) = join(account, connected, health, &database, &pins).await;
        downloads.register(&joined.name, Arc::clone(&joined.provider));
        setups.push(setup);
        accounts.push(joined);
    }
    if barred.len() == accounts.len()
        && let Some(error) = barred.pop()
    {
        return Err(error.into());
    }
    for error in barred {
        tracing::warn!("an account is mounted without its login: {error}");
    }
    let runtime = tokio::runtime::Handle::current();
    let vfs = Vfs::new(
        shown(plan),
        setups,
        Arc::clone(&uploads),
        Arc::clone(&downloads),
        &database,
        inodes(&database).await,
        runtime,
    );
    vfs.recall_top_modes().await;
    let providers = accounts
        .iter()
        .map(|account| (account.name.clone(), Arc::clone(&account.provider)));
    vfs.start(uploads.start(providers.collect(), downloads));
    let watched = plan.config.accounts.iter().zip(&accounts);
    let watches = watched
        .filter(|(_, account)| !account.provider.capabilities().has(Capability::Read))
        .flat_map(|(config, account)| {
            let published = watch::published(account, config.options.poll_interval);
            [published, watch::day(account, Arc::clone(&uploads))]
        })
        .collect();
    // Before anybody can see the mount, so that whoever does finds the socket.
    let server = Server::bind(state_dir.path(), session_dir().as_deref())
        .map_err(|e| Failure::new(format!("cannot make the control socket: {e}")))?;
    let mounted = mount(plan, Arc::clone(&vfs)).await?;
    Ok(Assembled {
        vfs,
        mounted,
        server: Arc::new(server),
        uploads,
        accounts,
        database,
        pins,
        state_dir,
        watches,
    })
}

/// The service of an account. One whose secret cannot be had now keeps no other back: until `lockerfs login` it does as
/// an account whose login is refused.
async fn connect(
    plan: &Plan,
    account: &AccountConfig,
    database: &Database,
    health: &Health,
    barred: &mut Vec<ConfigError>,
) -> Result<Connected, ConfigError> {
    match plan.config.connect(account, Some(database)).await {
        Err(error) if error.may_pass => {
            let why = format!("the secret cannot be read: {error}");
            health.bar(&why);
            barred.push(error);
            plan.config.connect_barred(account, Some(database), &why).await
        }
        connected => connected,
    }
}

/// An account, and how it takes part in the mount.
async fn join(
    account: &AccountConfig,
    connected: Connected,
    health: Health,
    database: &Database,
    pins: &Pins,
) -> (Account, vfs::AccountSetup) {
    let Connected { provider, exchange } = connected;
    let provider = Wrapped::new(provider, health.clone());
    let publishes = !provider.capabilities().has(Capability::List);
    let provider = match publishes {
        false => provider,
        true => {
            let (database, pins) = (database.clone(), Some(pins.clone()));
            Catalog::over(provider, &account.name, database, pins, clock())
        }
    };
    let names = account.options.local_only.names.clone();
    let provider = LocalFolders::over(provider, &account.name, names, database.clone());
    let indexed = match publishes {
        true => None,
        false => indexed(account, provider.as_ref(), database).await,
    };
    let setup = setup(account, Arc::clone(&provider), publishes, indexed);
    let joined = Account {
        name: account.name.clone(),
        kind: account.kind,
        provider,
        exchange,
        identity: account.identity(),
        health,
    };
    (joined, setup)
}

/// Whose the files are that programs see, and where. Files are the process's own where the config names nobody.
fn shown(plan: &Plan) -> vfs::Options {
    let mount = &plan.config.mount;
    vfs::Options {
        // SAFETY: these calls only read the process's own ids and cannot fail.
        uid: mount.uid.unwrap_or_else(|| unsafe { libc::geteuid() }),
        gid: mount.gid.unwrap_or_else(|| unsafe { libc::getegid() }),
        umask: mount.umask,
        alone: plan.alone,
        state_dir: plan.paths.state_dir.clone(),
        config: plan.paths.config.clone(),
    }
}

/// The cache on the disk. A mount does without it where it cannot be had.
fn open_cache(plan: &Plan) -> Option<Arc<BlockCache>> {
    let mount = &plan.config.mount;
    if mount.cache_size == 0 {
        return None;
    }
    match BlockCache::open_in(&plan.paths.cache_dir, mount.cache_size) {
        Ok(cache) => {
            // What is written comes first, and should not have to ask for room all the time.
            cache.keep_free(mount.reserve.saturating_mul(2));
            Some(cache)
        }
        Err(error) => {
            let directory = plan.paths.cache_dir.display();
            tracing::warn!(%error, %directory, "there is no cache on the disk: what is read twice is fetched twice");
            None
        }
    }
}

/// Accounts whose published files stay here.
fn pinning(plan: &Plan) -> HashSet<String> {
    let accounts = plan.config.accounts.iter();
    let pinning = accounts.filter(|account| account.options.pin && account.publishes());
    pinning.map(|account| account.name.clone()).collect()
}

/// Clears up what a crash left of contents that stay here. The uploads are open and nobody writes yet.
async fn recover_pins(pins: &Pins, state_dir: &StateDir, database: &Database) -> Result<(), Failure> {
    let (recovered, staging) = (pins.clone(), state_dir.staging_path());
    tokio::task::spawn_blocking(move || recovered.recover(&staging))
        .await
        .map_err(std::io::Error::other)
        .and_then(|done| done)
        .map_err(|e| {
            Failure::new(format!(
                "cannot look at the pinned contents in the state directory: {e}"
            ))
        })?;
    provider::drop_unlisted(pins, database).await;
    Ok(())
}

/// The cache, if it lies on the disk of the state directory.
fn gives_way(cache: Arc<BlockCache>, state_dir: &Path) -> Option<Arc<dyn upload::CleanCache>> {
    match cache.is_on_the_disk_of(state_dir) {
        Ok(true) => Some(cache),
        Ok(false) => None,
        Err(error) => {
            tracing::warn!(%error, "the cache does not give way to what is written");
            None
        }
    }
}

fn pace(account: &AccountConfig) -> (String, upload::Pace) {
    let (upload_delay, workers) = (account.options.upload_delay, account.options.workers);
    (
        account.name.clone(),
        upload::Pace {
            upload_delay,
            workers,
        },
    )
}

/// What the index knows of an account, as long as it is the same one on the same service. Without it, as on a full
/// disk, what is listed is not kept.
async fn indexed(
    account: &AccountConfig,
    provider: &dyn Provider,
    database: &Database,
) -> Option<AccountIndexed> {
    let (login, top) = (account.identity(), provider.root());
    match database
        .indexed_account(&account.name, &login, top.as_str())
        .await
    {
        Ok(indexed) => Some(indexed),
        Err(error) => {
            tracing::warn!(account = account.name, %error, "the account does without an index");
            None
        }
    }
}

/// Numbers for new inodes.
async fn inodes(database: &Database) -> Range<u64> {
    database.set_inodes_apart().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "new entries get inode numbers that are not kept");
        0..0
    })
}

fn setup(
    account: &AccountConfig,
    provider: Arc<dyn Provider>,
    publishes: bool,
    indexed: Option<AccountIndexed>,
) -> vfs::AccountSetup {
    vfs::AccountSetup {
        name: account.name.clone(),
        provider,
        delete: account.options.delete,
        links_file: publishes && account.options.links_file,
        symlinks: account.options.symlinks,
        local_only: account.options.local_only.names.clone(),
        on_close_wait: account.options.on_close == OnClose::Wait,
        fsync_remote: account.options.fsync == FsyncMode::Remote,
        poll_interval: account.options.poll_interval,
        listing_age: account.options.listing_age,
        dates_per_second: account.options.dates_per_second,
        indexed,
        crawl: account.options.crawl,
    }
}

async fn mount(plan: &Plan, vfs: Arc<Vfs>) -> Result<Mounted, Failure> {
    let names: Vec<&str> = plan
        .config
        .accounts
        .iter()
        .map(|account| account.name.as_str())
        .collect();
    let options = fuse::MountOptions {
        allow_other: plan.allow_other,
        read_only: plan.read_only,
        no_exec: plan.no_exec,
        deadline: plan
            .config
            .accounts
            .iter()
            .map(|account| account.options.deadline)
            .max()
            .unwrap_or_default(),
        // Commas separate mount options, so that none may stand in a value.
        source: match &plan.source {
            Some(source) => source.clone(),
            None => format!("{SOURCE}:{}", names.join("+").replace(',', "_")),
        },
    };
    let place = plan.mount_point.clone();
    let mounted = tokio::task::spawn_blocking(move || fuse::mount(vfs, &place, &options)).await;
    let place = plan.mount_point.display();
    mounted
        .map_err(|e| Failure::new(format!("cannot mount at {place}: {e}")))?
        .map_err(|e| Failure::new(format!("cannot mount at {place}: {e}{}", remedy(&e))))
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => " (is the package fuse3 installed, and is there a /dev/fuse?)",
        std::io::ErrorKind::PermissionDenied => " (may you open /dev/fuse, and write to the directory?)",
        _ => "",
    }
}
