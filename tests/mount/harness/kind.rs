//! One kind of account as tests see it: what it can do, how it is set up, and what its calls are called.

mod mediafire;
mod mirrors;
mod yetishare;

pub use mediafire::MEDIAFIRE;
#[allow(unused_imports, reason = "each test binary takes one kind")]
pub use mirrors::{MIRRORACE, MIRRORED_TO};
#[allow(unused_imports, reason = "each test binary takes one kind")]
pub use yetishare::{KORAMAUP, ONE_CLOUD_FILE};

use std::time::Duration;

use lockerfs::provider::{Capabilities, Capability};
use lockerfs::sandbox::{Account, Options};

/// A service, or one preset of it.
pub struct Kind {
    /// As written in the config.
    pub name: &'static str,
    /// As the provider declares them.
    pub capabilities: Capabilities,
    /// An account of this name on the emulated service, with an owner of its own.
    pub account: fn(&str) -> Account,
    /// What the emulated service does in this kind's own way.
    pub quirks: fn(&mut Options),
    /// What the config says of an account beside its kind and `base_url`, one line a field.
    pub credentials: fn(&Account) -> String,
    /// The field of [`Kind::credentials`] that holds a secret.
    pub secret: &'static str,
    /// What a refused login is told with.
    pub refusal: &'static str,
    /// What no output may show.
    pub secrets: fn(&Account) -> Vec<String>,
    /// A secret that is well formed and wrong.
    pub wrong_secret: &'static str,
    /// A part of what `account check` says of the owner.
    pub owner: fn(&Account) -> String,
    /// A part of what `account list` says of an account, beside its name and kind.
    pub listed: fn(&Account) -> String,
    /// Lines for each way in which a session can be held.
    pub sessions: &'static [&'static str],
    /// Whether the service would not hold this name as it is: it is encoded then.
    pub alters: fn(&str) -> bool,
    /// Makes the service refuse names with a star, where a service refuses names at all.
    pub refuse_stars: Option<fn(&mut Options)>,
    pub tune: fn(&mut Options, Tune),
    pub calls: fn(Call) -> &'static [&'static str],
    pub budget: Budget,
}

impl Kind {
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }
}

/// What every service has, in its own way.
#[derive(Debug, Clone, Copy)]
pub enum Tune {
    /// From an upload's last byte until the service has made a file of it.
    Processing(Duration),
    /// The life of a link.
    LinkLife(Duration),
    /// The life of a token, where it has one.
    TokenLife(Duration),
    /// The largest file that the service takes, in bytes.
    LargestFile(u64),
}

/// What a call is for. A kind may have several names for it, or none; a name that ends with `*` stands for all
/// that begin so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Logins, tokens, the quota: what is asked for once in a session.
    Session,
    Login,
    /// What changed since the last time.
    Changes,
    Listing,
    /// The dates of files, asked for in the background where listings lack them.
    Dates,
    /// The facts of single files.
    Info,
    Link,
    /// Of bytes.
    Download,
    /// All that has to do with uploading.
    AnyUpload,
    /// The first call of an upload.
    BeginUpload,
    /// Of a whole file in one request.
    Upload,
    /// Of a part of a file.
    UploadUnit,
    /// Of a file whose content the service has, by hash.
    InstantUpload,
    /// Makes a file on the service of one that is there.
    MakeCopy,
    /// Asks what became of an upload.
    PollUpload,
    CreateFolder,
    Rename,
    Move,
    /// Puts the content of one file under the id of another.
    Replace,
    Delete,
}

/// What work costs in calls at most, without logins and without dates.
pub struct Budget {
    /// The first listing of a root of which nothing is known.
    pub root: u64,
    /// The most entries that one answer lists, of folders and of files each on their own; `None` where one answer
    /// lists all.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub listing_part: Option<usize>,
    /// A new small file in the root.
    pub new_file: u64,
    /// A new small file in a folder, with its date.
    pub new_file_in_folder: u64,
    pub new_empty_file: u64,
    /// A file whose content the account holds already.
    pub known_file: u64,
    /// New content for a file in the root.
    pub replace: u64,
    /// 20 MiB at once.
    pub large_file: u64,
    /// Bytes beyond those asked for that may be on their way when a reader has enough.
    pub overshoot: u64,
    pub rename: u64,
    pub move_to: u64,
    pub move_and_rename: u64,
    pub rename_folder: u64,
    pub delete: u64,
    pub create_folder: u64,
    pub remove_folder: u64,
    /// A time that is set, for a file that is on the service.
    pub touch: u64,
}
