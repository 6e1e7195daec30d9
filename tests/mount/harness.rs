//! One test's world: an emulated service on a port of its own, a config, and mounts of the built program.
//!
//! Whatever a test does, and however it ends, its mounts are taken down, its processes end and its folder
//! goes. A mount that hangs is killed by a watchdog, so that the test fails instead of waiting for ever.

mod files;
mod http;
pub mod kind;
mod process;
mod service;

pub use files::{Scratch, assert_same, content, sha256_of, snapshot, wait_for};
pub use kind::{Call, Kind, MEDIAFIRE, Tune};
#[allow(unused_imports, reason = "each test binary takes what it needs")]
pub use process::detach;
pub use process::{Daemon, Mount, Place, Ran, Watching, is_mount_point, run};
pub use service::{Calls, Service};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockerfs::provider::Capability;
use lockerfs::sandbox::{Account, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::KIND;

/// The account that tests use unless they say otherwise; also its directory in the mount.
pub const MEDIA: &str = "media";

/// How a world is set up.
pub struct Setup {
    pub service: Options,
    /// The top of the config file; each line holds for all accounts.
    pub options: BTreeMap<&'static str, String>,
    /// Added to each account of the config.
    pub account_lines: String,
    /// Of accounts, by name.
    kinds: BTreeMap<String, &'static Kind>,
}

impl Setup {
    pub fn option(&mut self, name: &'static str, value: &str) {
        self.options.insert(name, value.to_owned());
    }

    /// A second account of the same service, named `other`.
    pub fn second_account(&mut self) {
        self.guest(KIND, "other");
    }

    /// The room that the account has, in bytes.
    pub fn storage_limit(&mut self, limit: u64) {
        for account in &mut self.service.accounts {
            account.storage_limit = limit;
        }
    }

    pub fn tune(&mut self, tune: Tune) {
        (KIND.tune)(&mut self.service, tune);
    }

    /// Another account, of whatever kind.
    pub fn guest(&mut self, kind: &'static Kind, name: &str) {
        self.service.accounts.push((kind.account)(name));
        self.kinds.insert(name.to_owned(), kind);
    }

    /// The mount asks for nothing by itself, so that every call has a known cause.
    pub fn asks_for_nothing(&mut self) {
        self.option("poll_interval", "\"1h\"");
        self.option("listing_age", "\"1h\"");
        self.tune(Tune::Processing(Duration::ZERO));
    }
}

/// What the service holds under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub size: u64,
    pub sha256: String,
    pub id: String,
}

impl Stored {
    /// It took the place of `before`: under the same id where the service can do that, else under another.
    #[track_caller]
    pub fn replaces(&self, before: &Stored) {
        let kept = self.id == before.id;
        assert_eq!(
            kept,
            KIND.has(Capability::ReplaceKeepsId),
            "{before:?} became {self:?}"
        );
    }
}

pub struct World {
    pub service: Service,
    setup_options: BTreeMap<&'static str, String>,
    account_lines: String,
    accounts: Vec<Account>,
    kinds: BTreeMap<String, &'static Kind>,
    place: RefCell<Place>,
    places: RefCell<usize>,
    folder: TempDir,
}

impl World {
    /// One account, quick uploads, changes made elsewhere seen soon, no limit to the pace of calls.
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(adjust: impl FnOnce(&mut Setup)) -> World {
        let folder = tempfile::Builder::new()
            .prefix("lockerfs-mount-")
            .tempdir()
            .expect("a temporary folder");
        let mut service = Options::new(folder.path().join("service"));
        service.accounts = vec![(KIND.account)(MEDIA)];
        for kind in [&MEDIAFIRE, KIND] {
            (kind.quirks)(&mut service);
        }
        // Nothing else tells of changes where there is no feed.
        let listing_age = if KIND.has(Capability::ChangeFeed) {
            "\"30s\""
        } else {
            "\"1s\""
        };
        let options = [
            ("upload_delay", "\"50ms\""),
            ("poll_interval", "\"1s\""),
            ("listing_age", listing_age),
            ("dates_per_second", "99"),
            ("calls_per_second", "999"),
            ("burst", "1000"),
        ];
        let options = options.map(|(name, value)| (name, value.to_owned())).into();
        let mut setup = Setup {
            service,
            options,
            account_lines: String::new(),
            kinds: [(MEDIA.to_owned(), KIND)].into(),
        };
        adjust(&mut setup);
        let accounts = setup.service.accounts.clone();
        let service = Service::start(setup.service);
        let place = Place::new(folder.path(), 1);
        place.prepare();
        let world = World {
            service,
            setup_options: setup.options,
            account_lines: setup.account_lines,
            accounts,
            kinds: setup.kinds,
            place: RefCell::new(place),
            places: RefCell::new(1),
            folder,
        };
        world.write_config(&world.config_text());
        world
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder on the disk, with the logs and the state in it, and tells where it is.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    pub fn config_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.setup_options {
            text += &format!("{name} = {value}\n");
        }
        for account in &self.accounts {
            let kind = self.kinds[&account.name];
            text += &format!(
                "\n[accounts.{}]\nkind = \"{}\"\nbase_url = \"{}\"\n{}{}",
                account.name,
                kind.name,
                self.service.base_url(&account.name),
                (kind.credentials)(account),
                self.account_lines,
            );
        }
        text
    }

    /// The config with secrets that the service does not know.
    pub fn config_with_wrong_secrets(&self) -> String {
        let secrets = self.accounts.iter().flat_map(|account| (KIND.secrets)(account));
        secrets.fold(self.config_text(), |text, secret| {
            text.replace(&secret, KIND.wrong_secret)
        })
    }

    pub fn write_config(&self, text: &str) {
        use std::io::Write;
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.config());
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("write the config");
    }

    /// Where the program keeps its things, and where it is mounted.
    pub fn place(&self) -> Place {
        self.place.borrow().clone()
    }

    /// Another place, with empty state and cache, without leaving the present one.
    pub fn another_place(&self) -> Place {
        *self.places.borrow_mut() += 1;
        let place = Place::new(self.folder.path(), *self.places.borrow());
        place.prepare();
        place
    }

    /// From now on the program starts with empty state and cache directories.
    pub fn forget(&self) {
        let place = self.another_place();
        self.place.replace(place);
    }

    /// From now on the program starts with the state and cache of a former place.
    pub fn return_to(&self, place: Place) {
        self.place.replace(place);
    }

    /// Mounts at the present place and returns when the mount is there.
    pub fn mount(&self) -> Mount {
        self.mount_in(&self.place())
    }

    pub fn mount_in(&self, place: &Place) -> Mount {
        Mount::start(&self.config(), place)
    }

    /// Runs the program at the present place.
    pub fn lockerfs(&self, args: &[&str]) -> Ran {
        self.lockerfs_in(&self.place(), args)
    }

    pub fn lockerfs_in(&self, place: &Place, args: &[&str]) -> Ran {
        process::lockerfs(&self.config(), place, args)
    }

    /// Waits until all is uploaded.
    pub fn drain(&self) {
        self.lockerfs(&["drain"]).succeeded();
    }

    pub fn status(&self) -> Value {
        let ran = self.lockerfs(&["status", "--json"]);
        let status: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON: {e}: {ran:#?}"));
        let refused = |account: &Value| account["state"] == "login_refused";
        let needs_somebody = ["parked", "parked_operations"]
            .iter()
            .any(|what| status["totals"][what] != 0)
            || status["accounts"]
                .as_array()
                .is_some_and(|accounts| accounts.iter().any(refused));
        assert_eq!(ran.status.code(), Some(i32::from(needs_somebody)), "{ran:#?}");
        status
    }

    /// What waits to be uploaded.
    pub fn pending(&self) -> Vec<Value> {
        self.journaled(|state| state != "kept")
    }

    /// The paths of empty files that the service does not take and that are kept here.
    pub fn kept(&self) -> Vec<String> {
        let kept = self.journaled(|state| state == "kept");
        let path = |file: &Value| file["path"].as_str().expect("a path").to_owned();
        kept.iter().map(path).collect()
    }

    fn journaled(&self, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let mut files = self.status()["pending"].as_array().expect("a list").clone();
        files.retain(|file| wanted(file["state"].as_str().expect("a state")));
        files
    }

    /// A file of no bytes is where it belongs: on the service where that takes such files, else kept here
    /// alone, and `status` says so.
    #[track_caller]
    pub fn assert_empty_file(&self, mount: &Mount, path: &str) {
        let size = std::fs::metadata(mount.path(path)).expect("stat").len();
        assert_eq!((size, mount.read(path)), (0, Vec::new()), "{path}");
        if KIND.has(Capability::EmptyFiles) {
            assert_eq!(self.stored()[path].size, 0, "{path}");
        } else {
            assert!(!self.stored().contains_key(path), "{path} is on the service");
            assert_eq!(mount.xattr(path, "state").expect("a state"), "kept");
            let kept = self.kept();
            assert!(kept.iter().any(|kept| kept.ends_with(path)), "{path} in {kept:?}");
        }
    }

    /// The files that the service holds, by path.
    pub fn stored(&self) -> BTreeMap<String, Stored> {
        self.service.stored(MEDIA)
    }

    pub fn stored_sha256(&self) -> BTreeMap<String, String> {
        self.stored()
            .into_iter()
            .map(|(path, stored)| (path, stored.sha256))
            .collect()
    }

    /// Puts a file into the account behind the program's back.
    pub fn put(&self, path: &str, content: &[u8]) {
        let file = self.service.files_dir(MEDIA).join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("make folders of the service");
        std::fs::write(file, content).expect("put a file into the service");
        self.service.rescan();
        wait_for("the service takes up a file put by hand", || {
            self.stored()
                .get(path)
                .is_some_and(|stored| stored.sha256 == sha256_of(content))
        });
    }

    /// Removes a file of the account behind the program's back.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.service.files_dir(MEDIA).join(path)).expect("remove a file of the service");
        self.service.rescan();
    }

    /// Gives a file of the account other content behind the program's back: under its id, where the service can
    /// do that, else as people do it there, who remove the one and upload the other.
    pub fn change(&self, path: &str, content: &[u8]) {
        if !KIND.has(Capability::ReplaceKeepsId) {
            self.remove(path);
        }
        self.put(path, content);
    }

    /// Does in the account what its owner does on the service's own pages, behind the program's back.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn elsewhere(&self, what: &str, path: &str, more: &[(&str, &str)]) {
        self.service.change(MEDIA, what, path, more);
    }

    /// Gives a file of the account other content on the service's own pages: under its id where the service can do
    /// that, else as another file in its place.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn write_elsewhere(&self, path: &str, content: &str) {
        if !KIND.has(Capability::ReplaceKeepsId) {
            self.elsewhere("trash", path, &[]);
        }
        self.elsewhere("write", path, &[("content", content)]);
    }

    /// Counts the calls that `work` causes, after the mount has come to rest.
    pub fn counted(&self, work: impl FnOnce()) -> Calls {
        self.service.settle();
        self.service.reset_calls();
        work();
        self.service.settle();
        self.service.calls()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for number in 1..=*self.places.borrow() {
            process::detach(&Place::new(self.folder.path(), number).mount_point);
        }
    }
}
