//! Emulators of the file services over HTTP on loopback, for the demo, the tests and the benchmarks.
//!
//! A [`Sandbox`] answers as the services' own pages and public clients describe them, quirks included, keeps
//! what it is given on disk, counts each call by name and misbehaves on demand. Each account's live files
//! stand as plain files under `DIR/<account>/files/`: what a client does shows there at once, and what
//! people do there (add, edit, rename, remove) is taken up into the account within a second or two, or at
//! once on `POST /sandbox/rescan`. These files are copies of the stored content, never links to it, so no
//! edit by hand can harm what the account still holds of it elsewhere.
//!
//! The room knows nothing of this program's own clients, not a type, a parser or a constant: a misreading
//! of a service must not be able to hide in both. What the services have in common (accounts, content, live
//! files, counting, pace, faults, admin pages) stands here; each service has a folder of its own. MediaFire is at
//! the root with all its accounts, and each account of another service is the only one of a host below its name.

mod admin;
mod blobs;
mod calls;
mod content;
mod faults;
mod fetch;
mod form;
mod front;
mod hosts;
mod mediafire;
mod mirrorace;
mod mirrored_to;
mod mishaps;
mod multipart;
mod rate;
mod state;
mod throttle;
mod tree;
mod view;
mod wire;
mod yetishare;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use mirrorace::MirrorAceQuirks;
pub use mirrored_to::MirroredToQuirks;
use state::Shared;
use throttle::Pace;
use wire::{Gate, Line, Wire};
pub use yetishare::quirks::{ErrorShape, YetiShareQuirks};

/// Paths at the root that no host can have.
const RESERVED: [&str; 8] = ["sandbox", "api", "dl", "hop", "file", "view", "listen", "watch"];

const GIB: u64 = 1 << 30;

/// How a sandbox is set up.
#[derive(Clone)]
pub struct Options {
    /// Where accounts and their content are kept; made if missing. One sandbox at a time.
    pub data: PathBuf,
    /// The port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// From a request's last byte to its answer's first.
    pub latency: Duration,
    /// Bytes a second that one connection carries, each way.
    pub per_connection: Option<u64>,
    /// Bytes a second that all connections carry together, both ways.
    pub total: Option<u64>,
    /// The share of calls, 0 to 1, that a mishap befalls.
    pub fail_rate: f64,
    /// Makes the mishaps of `fail_rate` the same in each run.
    pub seed: u64,
    /// One line a request on standard error, without secrets.
    pub log_requests: bool,
    pub accounts: Vec<Account>,
    pub quirks: Quirks,
}

impl Options {
    /// A quick, faultless sandbox on a free port with one MediaFire account named `mediafire`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            port: 0,
            latency: Duration::ZERO,
            per_connection: None,
            total: None,
            fail_rate: 0.0,
            seed: 0,
            log_requests: false,
            accounts: vec![Account::mediafire("mediafire")],
            quirks: Quirks::default(),
        }
    }
}

/// The services that can be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    MediaFire,
    /// The script behind 1CloudFile, KoramaUp and others: its API version 2.
    YetiShare,
    /// Publishes to many mirrors; API version 1.
    MirrorAce,
    /// Publishes to many mirrors, in three steps; API version 1.
    MirroredTo,
}

/// An account that the sandbox offers. Its password protects made-up data only.
#[derive(Clone)]
pub struct Account {
    /// Names the account's directory and stands in the admin pages; not known to the service.
    pub name: String,
    pub service: Service,
    /// MediaFire: the login's name, and unique.
    pub email: String,
    /// YetiShare: the login's name, where a client has no keys.
    pub username: String,
    pub password: String,
    /// YetiShare: 64 characters, one half of the login.
    pub key1: String,
    /// YetiShare: 64 characters, the other half of the login.
    pub key2: String,
    /// MirrorAce and Mirrored.to: what proves who calls.
    pub api_key: String,
    /// MirrorAce: what goes with the key.
    pub api_token: String,
    /// Bytes. YetiShare: 0 for no limit. The publish-only services have none.
    pub storage_limit: u64,
    /// The largest file in bytes; YetiShare: 0 for no limit. MediaFire has [`Quirks::max_upload_size`].
    pub max_upload_size: u64,
}

impl Account {
    /// A MediaFire account of `demo@example.com` with the password `demo-password` and room for 50 GiB.
    pub fn mediafire(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: Service::MediaFire,
            email: "demo@example.com".to_owned(),
            username: String::new(),
            password: "demo-password".to_owned(),
            key1: String::new(),
            key2: String::new(),
            api_key: String::new(),
            api_token: String::new(),
            storage_limit: 50 * GIB,
            max_upload_size: 0,
        }
    }

    /// An account that is the only one on a YetiShare host of its own, with keys that follow from its name,
    /// the user name `demo`, the password `demo-password`, room for 50 GiB and files of up to 5 GiB.
    pub fn yetishare(name: impl Into<String>) -> Self {
        let name = name.into();
        let key = |half: &str| hex::encode(Sha256::digest(format!("{half} of {name}")));
        Self {
            service: Service::YetiShare,
            email: "demo@example.com".to_owned(),
            username: "demo".to_owned(),
            password: "demo-password".to_owned(),
            key1: key("key1"),
            key2: key("key2"),
            api_key: String::new(),
            api_token: String::new(),
            storage_limit: 50 * GIB,
            max_upload_size: 5 * GIB,
            name,
        }
    }

    /// An account that is the only one of an emulated MirrorAce, with a key and a token that follow from its name.
    pub fn mirrorace(name: impl Into<String>) -> Self {
        Self {
            max_upload_size: 10 * GIB,
            ..Self::publishing(name.into(), Service::MirrorAce)
        }
    }

    /// An account that is the only one of an emulated Mirrored.to, with a key that follows from its name.
    pub fn mirrored_to(name: impl Into<String>) -> Self {
        Self {
            max_upload_size: 500 << 20,
            ..Self::publishing(name.into(), Service::MirroredTo)
        }
    }

    fn publishing(name: String, service: Service) -> Self {
        let secret = |what: &str| {
            let mut text = hex::encode(Sha256::digest(format!("{what} of {name}")));
            text.truncate(32);
            text
        };
        Self {
            service,
            username: "demo".to_owned(),
            password: String::new(),
            api_key: secret("api_key"),
            api_token: secret("api_token"),
            ..Self::mediafire(name)
        }
    }
}

/// What the services do in their own way, and what nobody knows for sure about them. All that stands directly here
/// is MediaFire's.
#[derive(Clone)]
pub struct Quirks {
    /// Life of a version 1 session token.
    pub token_life: Duration,
    /// Life of a direct link.
    pub link_life: Duration,
    /// From an upload's last byte until the file is there.
    pub processing: Duration,
    /// The application id that may log in.
    pub application_id: String,
    /// The application's secret, where it has one: part of the login's signature then.
    pub api_key: Option<String>,
    /// Characters that a name may not hold, beside control characters.
    pub refused_characters: String,
    /// The longest name, in characters.
    pub name_limit: usize,
    /// A rename to another file extension is refused (error 106).
    pub extension_change_refused: bool,
    /// The largest file that may be uploaded, in bytes.
    pub max_upload_size: u64,
    /// A poll of an upload that is not ready lacks even its file name, as it did in 2019.
    pub sparse_polls: bool,
    /// A direct link answers 302 to another path that carries the data.
    pub redirect_links: bool,
    /// Direct links ignore `Range` and always answer the whole file with 200.
    pub ignore_ranges: bool,
    /// How long deleting, purging, moving and copying folders and emptying the trash count as running: the call
    /// answers `asynchronous` then, and another of them is refused (error 208). The effect is there at once.
    pub bulk_job: Duration,
    /// The HTTP status of answers that tell an API error other than a refused login or token (403).
    pub error_status: u16,
    /// Those of the YetiShare hosts.
    pub yetishare: YetiShareQuirks,
    pub mirrorace: MirrorAceQuirks,
    pub mirrored_to: MirroredToQuirks,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            token_life: Duration::from_secs(10 * 60),
            link_life: Duration::from_secs(60 * 60),
            processing: Duration::from_millis(200),
            application_id: "42511".to_owned(),
            api_key: None,
            refused_characters: "\0/".to_owned(),
            name_limit: 255,
            extension_change_refused: false,
            max_upload_size: 20 * GIB + 100,
            sparse_polls: false,
            redirect_links: false,
            ignore_ranges: false,
            bulk_job: Duration::ZERO,
            error_status: 200,
            yetishare: YetiShareQuirks::default(),
            mirrorace: MirrorAceQuirks::default(),
            mirrored_to: MirroredToQuirks::default(),
        }
    }
}

/// A running sandbox. Dropped without [`Sandbox::stop`], it ends its service, but the changes of the last
/// moments may be missing on disk.
pub struct Sandbox {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Sandbox {
    /// Begins to serve. On return the sandbox can be called.
    pub async fn start(options: Options) -> io::Result<Self> {
        check(&options)?;
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let line = Arc::new(Line {
            stop: stop.clone(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            per_connection: options.per_connection,
            total: options.total.map(Pace::new),
        });
        let opened = {
            let line = Arc::clone(&line);
            tokio::task::spawn_blocking(move || Shared::open(options, address, line))
        };
        let shared = Arc::new(opened.await.map_err(io::Error::other)??);
        shared.reconcile().await;
        mediafire::begin(&shared)?;
        let service = axum::Router::new()
            .fallback(front::answer)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Wire>();
        let ended = stop.clone();
        let server = tokio::spawn(async move {
            let serve = axum::serve(Gate { listener, line }, service);
            if let Err(error) = serve.with_graceful_shutdown(ended.cancelled_owned()).await {
                tracing::warn!(%error, "the sandbox stopped serving");
            }
        });
        let tender = tokio::spawn(Arc::clone(&shared).tend());
        Ok(Self {
            shared,
            stop,
            tasks: vec![server, tender],
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What a client of this account takes as the service's root, with a slash at the end. For MediaFire,
    /// `api/1.5/...` is added to it; for the others the names of their calls.
    pub fn base_url(&self, account: &str) -> String {
        let mut accounts = self.shared.options.accounts.iter();
        let account = accounts.find(|found| found.name == account);
        let address = self.shared.address;
        match account.map(|account| (account, account.service)) {
            Some((account, Service::YetiShare)) => yetishare::api_url(address, account),
            Some((account, Service::MirrorAce | Service::MirroredTo)) => {
                format!("{}api/v1/", yetishare::site_url(address, account))
            }
            Some((_, Service::MediaFire)) | None => format!("http://{}/", self.shared.address),
        }
    }

    /// Where the account's live files stand as plain files.
    pub fn files_dir(&self, account: &str) -> PathBuf {
        state::files_dir(&self.shared.options.data, account)
    }

    /// Takes up at once what was done to the live files by hand.
    pub async fn rescan(&self) {
        self.shared.rescan().await;
    }

    /// Breaks all connections, ends the service and writes the state.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
        self.shared.catch_up().await;
        if let Err(error) = self.shared.store().await {
            tracing::warn!(%error, "the sandbox's state could not be written");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn check(options: &Options) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    for (at, account) in options.accounts.iter().enumerate() {
        let name = &account.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return refuse(format!(
                "\"{name}\" cannot name a sandbox account: it names a directory"
            ));
        }
        let earlier = options.accounts.iter().take(at);
        if earlier.clone().any(|other| other.name == *name) {
            return refuse(format!("two sandbox accounts are named \"{name}\""));
        }
        if account.service != Service::MediaFire && RESERVED.contains(&name.as_str()) {
            return refuse(format!(
                "\"{name}\" cannot name such an account: MediaFire has that path"
            ));
        }
        if account.service == Service::MediaFire
            && earlier
                .clone()
                .any(|other| other.service == account.service && other.email == account.email)
        {
            return refuse(format!(
                "two sandbox accounts have the e-mail address {}",
                account.email
            ));
        }
    }
    Ok(())
}
