//! A command's own way to the services: the accounts of the config, the items that a person named, and the running
//! mount, which hears of what was changed.
//!
//! Each account is connected once for a command, with a login of its own, and given back at the end.

mod catalog;
mod mounted;
mod resolve;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::text::printable;
use super::{Global, Outcome, block_on, which};
use crate::config::{Config, Paths};
use crate::control::{Client, ControlError};
use crate::provider::services::FileServices;
use crate::provider::{Capability, FileId, FolderId, ItemId, Provider, ProviderError};
pub(super) use mounted::reason;
use mounted::{StoredItem, of_mount, stored_in_mount};

/// How long a service may take at the end to give back its tokens.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often, and for how long, a service is asked whether it has finished something.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Session {
    paths: Paths,
    /// The config was named, and holds for all mounts as well.
    is_config_named: bool,
    /// By their paths.
    configs: BTreeMap<PathBuf, Config>,
    connected: BTreeMap<Login, Connected>,
    /// Accounts that were changed, each with the state directory of a mount that may serve it.
    changed: BTreeSet<(PathBuf, String)>,
    catalogs: catalog::Catalogs,
}

/// An account of a config, with the list of what was published with it or without.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Login {
    config: PathBuf,
    account: String,
    in_mount: bool,
}

struct Connected {
    provider: Arc<dyn Provider>,
    /// What is published with it is listed on this machine alone.
    publishes: bool,
}

/// An item on a service that a person named.
pub(super) struct Target {
    /// As it was named, fit for a terminal.
    pub shown: String,
    pub account: String,
    /// The config that names the account.
    config: PathBuf,
    pub provider: Arc<dyn Provider>,
    pub item: ItemId,
    /// Where it is in a mount, if it was named so.
    pub place: Option<PathBuf>,
    /// Its path in the account, if it was named so.
    path: Option<String>,
    /// The state directory of its mount, or of the one that may serve its account.
    state_dir: PathBuf,
    /// Its account publishes only.
    pub publishes: bool,
}

/// Starts logging, runs a command's work, and ends what the work began.
pub(super) fn with(global: &Global, work: impl AsyncFnOnce(&mut Session) -> Outcome) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    block_on(async {
        let mut session = Session::open(global)?;
        let outcome = work(&mut session).await;
        session.end().await;
        outcome
    })
}

impl Session {
    pub fn open(global: &Global) -> Result<Self, Failure> {
        let paths = global.paths()?;
        let catalogs = catalog::Catalogs::of(&paths.state_dir);
        Ok(Session {
            paths,
            is_config_named: global.config.is_some(),
            configs: BTreeMap::new(),
            connected: BTreeMap::new(),
            changed: BTreeSet::new(),
            catalogs,
        })
    }

    /// The accounts that a person names.
    pub fn config(&mut self) -> Result<&Config, Failure> {
        let path = self.paths.config.clone();
        self.config_at(&path)
    }

    fn config_at(&mut self, path: &Path) -> Result<&Config, Failure> {
        match self.configs.entry(path.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Config::load(path)?)),
        }
    }

    /// An account of the config.
    pub async fn account(&mut self, name: &str) -> Result<Arc<dyn Provider>, Failure> {
        Ok(Arc::clone(&self.connect(self.named(name)).await?.provider))
    }

    fn named(&self, account: &str) -> Login {
        Login {
            config: self.paths.config.clone(),
            account: account.to_owned(),
            in_mount: false,
        }
    }

    async fn connect(&mut self, login: Login) -> Result<&Connected, Failure> {
        if !self.connected.contains_key(&login) {
            self.config_at(&login.config)?;
            let config = self.configs.get(&login.config);
            let config = config.ok_or_else(|| Failure::new("the config is not there any more"))?;
            let account = config.account(&login.account)?;
            let plain = config.connect_once(account, None).await?;
            let publishes = !plain.capabilities().has(Capability::List);
            let provider = match publishes && !login.in_mount {
                false => plain,
                true => self.catalogs.over(config, account, plain).await?,
            };
            let connected = Connected { provider, publishes };
            self.connected.insert(login.clone(), connected);
        }
        let connected = self.connected.get(&login);
        connected.ok_or_else(|| Failure::new(format!("account {} is not connected", login.account)))
    }

    /// The item that a person named: in a mount where something is there under the name, else in an account.
    pub async fn find(&mut self, named: &Path) -> Result<Target, Failure> {
        let shown = printable(&named.to_string_lossy());
        match place_of(named) {
            Place::Mount(path) => self.in_mount(path, shown).await,
            Place::Account { account, path } => self.in_account(&account, &path, shown).await,
        }
    }

    /// All that were named; the first that is none ends it, before anything is done to the others.
    pub async fn find_all(&mut self, named: &[PathBuf]) -> Result<Vec<Target>, Failure> {
        let mut found = Vec::with_capacity(named.len());
        for named in named {
            found.push(self.find(named).await?);
        }
        Ok(found)
    }

    async fn in_mount(&mut self, path: PathBuf, shown: String) -> Result<Target, Failure> {
        let stored = stored_in_mount(&path).map_err(|why| Failure::new(format!("{shown} {why}")))?;
        let StoredItem { account, item } = stored;
        let usual = |told: Option<PathBuf>, usual: &PathBuf| told.unwrap_or_else(|| usual.clone());
        let config = match self.is_config_named {
            true => self.paths.config.clone(),
            false => usual(of_mount(&path, which::config_told_by), &self.paths.config),
        };
        let state_dir = usual(of_mount(&path, which::told_by), &self.paths.state_dir);
        let login = Login {
            config: config.clone(),
            account: account.clone(),
            in_mount: true,
        };
        let connected = self.connect(login).await?;
        Ok(Target {
            shown,
            provider: Arc::clone(&connected.provider),
            publishes: connected.publishes,
            account,
            config,
            item,
            state_dir,
            place: Some(path),
            path: None,
        })
    }

    async fn in_account(&mut self, account: &str, path: &str, shown: String) -> Result<Target, Failure> {
        let connected = self.connect(self.named(account)).await?;
        let (provider, publishes) = (Arc::clone(&connected.provider), connected.publishes);
        if !provider.capabilities().has(Capability::List) {
            // Only the mount that holds the list can tell.
            return match self.catalogs.place_in_mount(account, path).await? {
                Some(place) => self.in_mount(place, shown).await,
                None => Err(Failure::new(format!(
                    "{shown} is not there: nothing was published with account {account} from here"
                ))),
            };
        }
        let item = resolve::item(&*provider, account, path).await;
        Ok(Target {
            item: item.map_err(|unmet| unmet.told(account, &shown))?,
            shown,
            account: account.to_owned(),
            config: self.paths.config.clone(),
            provider,
            place: None,
            path: Some(path.trim_matches('/').to_owned()),
            state_dir: self.paths.state_dir.clone(),
            publishes,
        })
    }

    /// All files below a folder that was named by its account, in the order of their paths.
    pub async fn files_below(&self, folder: &Target) -> Result<Vec<Target>, Failure> {
        let path = folder.path.clone().unwrap_or_default();
        let files = resolve::files_below(&*folder.provider, folder.folder()?, &path).await;
        let files = files.map_err(|error| folder.failed(&error))?;
        let target = |(path, file): (String, FileId)| Target {
            shown: printable(&format!("{}:{path}", folder.account)),
            account: folder.account.clone(),
            config: folder.config.clone(),
            provider: Arc::clone(&folder.provider),
            item: ItemId::File(file),
            place: None,
            path: Some(path),
            state_dir: folder.state_dir.clone(),
            publishes: folder.publishes,
        };
        Ok(files.into_iter().map(target).collect())
    }

    /// The folder that something is to be in, and the name that it is to have there on the service. Refused where the
    /// name is taken.
    pub async fn find_room(&mut self, named: &Path) -> Result<(Target, String), Failure> {
        let shown = printable(&named.to_string_lossy());
        let taken = || Failure::new(format!("{shown} exists already"));
        let none = || Failure::new(format!("{shown} is no name of a file"));
        let (folder, name) = match place_of(named) {
            Place::Mount(path) => {
                if path.symlink_metadata().is_ok() {
                    return Err(taken());
                }
                let path = std::path::absolute(&path).map_err(|_| none())?;
                let name = path.file_name().and_then(OsStr::to_str).ok_or_else(none)?;
                let folder = path.parent().ok_or_else(none)?.to_owned();
                let shown = printable(&folder.to_string_lossy());
                (self.in_mount(folder, shown).await?, name.to_owned())
            }
            Place::Account { account, path } => {
                let path = path.trim_matches('/');
                let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                let shown_folder = printable(&format!("{account}:{folder}"));
                let folder = self.in_account(&account, folder, shown_folder).await?;
                let id = folder.folder()?.clone();
                match resolve::within(&*folder.provider, &id, name).await {
                    Ok(_) => return Err(taken()),
                    Err(resolve::Unmet::Missing(_)) => {}
                    Err(unmet) => return Err(unmet.told(&account, &shown)),
                }
                (folder, name.to_owned())
            }
        };
        folder.folder()?;
        let rules = folder.provider.name_rules();
        let remote = crate::vfs::names::to_remote(&name, &rules).map_err(|_| none())?;
        Ok((folder, remote))
    }

    /// Whether the running mount holds something below a folder that is not on the service yet.
    pub async fn waits_below(target: &Target) -> Result<bool, Failure> {
        if matches!(target.item, ItemId::File(_)) {
            return Ok(false);
        }
        let report = match Client::connect(&target.state_dir).await {
            Ok(client) => client.status(None).await?,
            Err(ControlError::NotRunning(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let folder = match (&target.path, &target.place) {
            (Some(path), _) => path.clone(),
            (None, Some(place)) => {
                let place = place.canonicalize().unwrap_or_else(|_| place.clone());
                let Ok(below) = place.strip_prefix(&report.mount_point) else {
                    return Ok(false);
                };
                // One account alone has no directory of its own.
                below
                    .strip_prefix(&target.account)
                    .unwrap_or(below)
                    .to_string_lossy()
                    .into_owned()
            }
            (None, None) => return Ok(false),
        };
        let is_below = |path: &str| {
            let rest = path.strip_prefix(&folder);
            folder.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let mut waiting = report.pending.iter();
        Ok(waiting.any(|file| file.account == target.account && is_below(&file.path)))
    }

    /// Whether an item is in an account that a person named.
    pub fn is_in(&self, target: &Target, account: &str) -> bool {
        target.account == account && target.config == self.paths.config
    }

    /// Notes that something of an account was changed, which a running mount hears of at the end.
    pub fn changed_in(&mut self, account: &str) {
        let usual = self.paths.state_dir.clone();
        self.changed.insert((usual, account.to_owned()));
    }

    /// Notes that an item was changed, which its mount and the usual one hear of at the end.
    pub fn changed(&mut self, target: &Target) {
        self.changed_in(&target.account);
        self.changed
            .insert((target.state_dir.clone(), target.account.clone()));
    }

    /// Waits until the service has done what it said would go on.
    pub async fn wait_for(&self, account: &str, provider: &Arc<dyn Provider>, goes_on: bool) -> Outcome {
        if !goes_on {
            return Ok(());
        }
        let begun = Instant::now();
        let mut told = false;
        loop {
            let works = provider.services().works().await;
            if !works.map_err(|error| Failure::of_provider(account, &error))? {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "account {account}: the service has not finished within {} minutes; it goes on by itself",
                    PATIENCE.as_secs() / 60
                )));
            }
            if !told && begun.elapsed() > FAREWELL {
                told = true;
                tell!("The service works on it; ^C ends the waiting only.");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Tells the running mount what was changed, and gives back what the logins took.
    pub async fn end(self) {
        for (state_dir, account) in &self.changed {
            let told = match Client::connect(state_dir).await {
                Ok(client) => client.refresh(account.clone()).await.map(drop),
                Err(ControlError::NotRunning(_)) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tell!("lockerfs: the mount shows the change a little later: {error}");
            }
        }
        let farewells = self
            .connected
            .values()
            .map(|connected| connected.provider.close());
        // Tokens that are not given back run out by themselves.
        let _ = tokio::time::timeout(FAREWELL, futures_util::future::join_all(farewells)).await;
        self.catalogs.close().await;
    }
}

impl Target {
    pub fn services(&self) -> &dyn FileServices {
        self.provider.services()
    }

    /// The file that it is.
    pub fn file(&self) -> Result<&FileId, Failure> {
        match &self.item {
            ItemId::File(file) => Ok(file),
            ItemId::Folder(_) => Err(Failure::new(format!(
                "{} is a directory: name a file",
                self.shown
            ))),
        }
    }

    /// The folder that it is.
    pub fn folder(&self) -> Result<&FolderId, Failure> {
        match &self.item {
            ItemId::Folder(folder) => Ok(folder),
            ItemId::File(_) => Err(Failure::new(format!(
                "{} is a file: name a directory",
                self.shown
            ))),
        }
    }

    /// Whether both are in one account.
    pub fn is_beside(&self, other: &Target) -> bool {
        self.account == other.account && self.config == other.config
    }

    /// Refuses the top folder of an account, with which nothing can be done but to look.
    pub fn below_top(&self) -> Outcome {
        match &self.item {
            ItemId::Folder(folder) if *folder == self.provider.root() => Err(Failure::new(format!(
                "{} is the whole account: name something in it",
                self.shown
            ))),
            _ => Ok(()),
        }
    }

    pub fn failed(&self, error: &ProviderError) -> Failure {
        Failure::of_item(&self.account, &self.shown, error)
    }
}

/// Where a person says that something is.
enum Place {
    Mount(PathBuf),
    Account { account: String, path: String },
}

fn place_of(named: &Path) -> Place {
    if named.symlink_metadata().is_err()
        && let Some((account, path)) = named.to_str().and_then(|text| text.split_once(':'))
        && !account.is_empty()
        && !account.contains('/')
    {
        return Place::Account {
            account: account.to_owned(),
            path: path.to_owned(),
        };
    }
    Place::Mount(named.to_owned())
}

/// Whether a person names a place in an account, which takes a login of the command's own.
pub(super) fn is_in_account(named: &Path) -> bool {
    matches!(place_of(named), Place::Account { .. })
}

/// The file that was named, or with `recursive` all that are below a directory of an account.
pub(super) async fn or_files_below(
    session: &Session,
    target: Target,
    recursive: bool,
) -> Result<Vec<Target>, Failure> {
    match (&target.item, recursive) {
        (ItemId::File(_), _) => Ok(vec![target]),
        (ItemId::Folder(_), true) if target.place.is_none() => session.files_below(&target).await,
        (ItemId::Folder(_), _) => Err(Failure::new(format!(
            "{} is a directory: name files in it, or say -r for all files below it",
            target.shown
        ))),
    }
}
