//! The config file: accounts, their credentials, and options.
//!
//! What is read here is checked here: whoever holds a [`Config`] holds known kinds, possible values and
//! URLs that may carry credentials. Secrets are looked up only when an account is connected, and stand
//! in no error. A file that other people can read is refused.

mod account;
mod clock;
mod connect;
mod error;
mod file;
mod local_only;
mod options;
mod paths;
mod secret;
mod section;
mod suggest;
mod values;

pub use account::{
    AccountConfig, KINDS, Kind, MediaFireAccount, MirrorAceAccount, MirroredToAccount, Service,
    YetiShareAccount,
};
pub use clock::clock;
pub use error::ConfigError;
pub use file::Config;
pub use local_only::LocalOnly;
pub use options::{AccountOptions, FsyncMode, LOCAL_ONLY, MountOptions, OnClose};
pub use paths::{Paths, runtime_dir, session_dir};
pub use secret::SecretSource;
pub use values::{parse_duration, parse_size};
