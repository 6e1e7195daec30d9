//! The config file: accounts, their credentials, and options.
//!
//! What is read here is checked here: whoever holds a [`Config`] holds known kinds, possible values and
//! URLs that may carry credentials. Secrets are looked up only when an account is connected, and stand
//! in no error. A file that other people can read is refused. What is changed here, by [`Draft`] and [`Kept`], is
//! changed whole or not at all.

mod account;
mod clock;
mod connect;
mod draft;
mod error;
mod file;
mod keep;
mod keyring;
mod local_only;
mod options;
mod paths;
mod secret;
mod section;
mod suggest;
mod values;

pub use account::{
    AccountConfig, KINDS, Kind, MediaFireAccount, MirrorAceAccount, MirroredToAccount, Service,
    YetiShareAccount, kind,
};
pub use clock::clock;
pub use connect::Connected;
pub use draft::{Draft, Entry, Written};
pub use error::ConfigError;
pub use file::Config;
pub use keep::{Keeper, Kept, NewPlace, forget_secret};
pub use keyring::{KeyringError, check_keyring};
pub use local_only::LocalOnly;
pub use options::{AccountOptions, FsyncMode, LOCAL_ONLY, MountOptions, OnClose};
pub use paths::{Paths, runtime_dir, session_dir};
pub use secret::{SecretPlace, SecretSource, secret_variable};
pub use values::{parse_duration, parse_size};
