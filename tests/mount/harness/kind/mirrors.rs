//! The services that publish only.

#![allow(dead_code, reason = "each test binary takes one kind")]

use lockerfs::provider::{Capabilities, Capability};
use lockerfs::sandbox::{Account, Options};

use super::{Call, Kind, MEDIAFIRE, Tune};

pub const MIRRORACE: Kind = Kind {
    name: "mirrorace",
    capabilities: CATALOG,
    account: |name| Account::mirrorace(name),
    quirks: |_| {},
    credentials: |account| {
        format!(
            "api_key = \"{}\"\napi_token = \"{}\"\n",
            account.api_key, account.api_token
        )
    },
    secret: "api_key",
    refusal: "API key",
    secrets: |account| vec![account.api_key.clone(), account.api_token.clone()],
    wrong_secret: "wrongwrongwrongwrongwrongwrongwr",
    owner: |_| "an account without a name".to_owned(),
    listed: |_| "API key and token".to_owned(),
    sessions: &[""],
    alters: |name| {
        let altered = |c: char| c.is_control() || "\"'<>\\".contains(c);
        name.trim() != name || name.starts_with('.') || name.chars().any(altered)
    },
    refuse_stars: None,
    tune,
    calls: |call| match call {
        Call::Session | Call::BeginUpload => &["mirrorace/file/upload"],
        Call::AnyUpload => &["mirrorace/file/upload", "mirrorace/upload"],
        Call::Upload | Call::UploadUnit => &["mirrorace/upload"],
        _ => &[],
    },
    ..MEDIAFIRE
};

pub const MIRRORED_TO: Kind = Kind {
    name: "mirrored_to",
    account: |name| Account::mirrored_to(name),
    credentials: |account| format!("api_key = \"{}\"\n", account.api_key),
    refusal: "api_key",
    secrets: |account| vec![account.api_key.clone()],
    owner: |account| account.username.clone(),
    listed: |_| "API key".to_owned(),
    calls: |call| match call {
        Call::Session => &["mirrored_to/get_account_info"],
        Call::BeginUpload => &["mirrored_to/get_upload_info"],
        Call::Upload => &["mirrored_to/api_file_upload"],
        Call::PollUpload => &["mirrored_to/finish_upload"],
        Call::AnyUpload => &[
            "mirrored_to/get_upload_info",
            "mirrored_to/api_file_upload",
            "mirrored_to/finish_upload",
        ],
        _ => &[],
    },
    ..MIRRORACE
};

/// What an account has with its catalog.
const CATALOG: Capabilities = Capabilities::none()
    .with(Capability::List)
    .with(Capability::Write)
    .with(Capability::CreateFolder)
    .with(Capability::Rename)
    .with(Capability::Move)
    .with(Capability::Trash)
    .with(Capability::Purge)
    .with(Capability::ModificationTime)
    .with(Capability::ShareLinks);

fn tune(options: &mut Options, tune: Tune) {
    if let Tune::LargestFile(size) = tune {
        for account in &mut options.accounts {
            account.max_upload_size = size;
        }
    }
}
