//! MediaFire.

use lockerfs::provider::{Capabilities, Capability};
use lockerfs::sandbox::{Account, Options};

use super::{Budget, Call, Kind, Tune};

pub const MEDIAFIRE: Kind = Kind {
    name: "mediafire",
    capabilities: Capabilities::none()
        .with(Capability::List)
        .with(Capability::Read)
        .with(Capability::Write)
        .with(Capability::CreateFolder)
        .with(Capability::Rename)
        .with(Capability::Move)
        .with(Capability::Copy)
        .with(Capability::Trash)
        .with(Capability::Purge)
        .with(Capability::ChangeFeed)
        .with(Capability::EmptyFiles)
        .with(Capability::ModificationTime)
        .with(Capability::ReplaceKeepsId)
        .with(Capability::ContentHash)
        .with(Capability::Batches)
        .with(Capability::ShareLinks),
    account,
    quirks: |options| options.quirks.processing = std::time::Duration::from_millis(50),
    credentials: |account| {
        format!(
            "email = \"{}\"\npassword = \"{}\"\n",
            account.email, account.password
        )
    },
    secret: "password",
    refusal: "password",
    secrets: |account| vec![account.password.clone()],
    wrong_secret: "wrong-password",
    owner: |account| account.email.clone(),
    listed: |account| account.email.clone(),
    sessions: &["token_version = 1\n", "token_version = 2\n"],
    alters: |name| name.trim() != name || name.chars().any(char::is_control),
    refuse_stars: Some(|options| options.quirks.refused_characters = "\0/*".to_owned()),
    tune,
    calls,
    budget: Budget {
        root: 2,
        listing_part: Some(1000),
        new_file: 3,
        new_file_in_folder: 3,
        new_empty_file: 3,
        known_file: 2,
        // What changed elsewhere is asked first, and the upload before it is a change.
        replace: 6,
        // 10 units of 2 MiB.
        large_file: 10 + 3,
        overshoot: 1 << 20,
        rename: 1,
        move_to: 1,
        move_and_rename: 2,
        rename_folder: 1,
        delete: 1,
        create_folder: 1,
        remove_folder: 3,
        touch: 1,
    },
};

fn account(name: &str) -> Account {
    Account {
        email: format!("{name}@example.com"),
        ..Account::mediafire(name)
    }
}

fn tune(options: &mut Options, tune: Tune) {
    let quirks = &mut options.quirks;
    match tune {
        Tune::Processing(time) => quirks.processing = time,
        Tune::LinkLife(life) => quirks.link_life = life,
        Tune::TokenLife(life) => quirks.token_life = life,
        Tune::LargestFile(size) => quirks.max_upload_size = size,
    }
}

fn calls(call: Call) -> &'static [&'static str] {
    match call {
        Call::Session => &["user/*"],
        Call::Login => &["user/get_session_token"],
        Call::Changes => &["device/get_status"],
        Call::Listing => &["folder/get_content"],
        Call::Dates => &[],
        Call::Info => &["file/get_info"],
        Call::Link => &["file/get_links"],
        Call::Download => &["download"],
        Call::AnyUpload => &["upload/*"],
        Call::BeginUpload => &["upload/check"],
        Call::Upload => &["upload/simple"],
        Call::UploadUnit => &["upload/resumable"],
        Call::InstantUpload => &["upload/instant"],
        Call::MakeCopy => &["upload/instant", "file/copy"],
        Call::PollUpload => &["upload/poll_upload"],
        Call::CreateFolder => &["folder/create"],
        Call::Rename => &["file/update", "folder/update"],
        Call::Replace => &["file/update_file"],
        Call::Move => &["file/move", "folder/move"],
        Call::Delete => &["file/delete", "folder/delete"],
    }
}
