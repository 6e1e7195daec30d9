//! Hosts that run the YetiShare script, by their presets. The two differ in what nobody knows for sure: one
//! streams by the script and tells numbers as strings, the other does both as a web server would.

#![allow(dead_code, reason = "each test binary takes one kind")]

use lockerfs::provider::{Capabilities, Capability};
use lockerfs::sandbox::{Account, Options};

use super::{Budget, Call, Kind, Tune};

pub const ONE_CLOUD_FILE: Kind = Kind {
    name: "1cloudfile",
    quirks: |_| {},
    ..HOST
};

pub const KORAMAUP: Kind = Kind {
    name: "koramaup",
    quirks: |options| {
        let quirks = &mut options.quirks.yetishare;
        quirks.folder_status = true;
        quirks.plain_numbers = true;
        quirks.strict_ranges = true;
        quirks.zone_minutes = 120;
    },
    ..HOST
};

const HOST: Kind = Kind {
    name: "yetishare",
    capabilities: Capabilities::none()
        .with(Capability::List)
        .with(Capability::Read)
        .with(Capability::Write)
        .with(Capability::CreateFolder)
        .with(Capability::Rename)
        .with(Capability::Move)
        .with(Capability::Copy)
        .with(Capability::Trash)
        .with(Capability::ShareLinks)
        .with(Capability::ShortLinks),
    account: |name| Account::yetishare(name),
    quirks: |_| {},
    credentials: |account| format!("key1 = \"{}\"\nkey2 = \"{}\"\n", account.key1, account.key2),
    secret: "key1",
    refusal: "keys",
    secrets: |account| vec![account.key1.clone(), account.key2.clone()],
    wrong_secret: "wrongwrongwrongwrongwrongwrongwrongwrongwrongwrongwrongwrongwron",
    owner: |account| account.username.clone(),
    listed: |_| "API keys".to_owned(),
    sessions: &[""],
    alters: |name| {
        let altered = |c: char| c.is_control() || "\"'<>\\".contains(c);
        name.trim() != name || name.starts_with('.') || name.chars().any(altered)
    },
    refuse_stars: None,
    tune,
    calls,
    budget: Budget {
        root: 1,
        listing_part: None,
        new_file: 1,
        new_file_in_folder: 2,
        new_empty_file: 0,
        known_file: 1,
        replace: 3,
        large_file: 1,
        // Its ranges have no end.
        overshoot: 6 << 20,
        rename: 1,
        move_to: 1,
        move_and_rename: 2,
        rename_folder: 2,
        delete: 1,
        create_folder: 2,
        remove_folder: 2,
        touch: 0,
    },
};

fn tune(options: &mut Options, tune: Tune) {
    let quirks = &mut options.quirks.yetishare;
    match tune {
        Tune::Processing(time) => quirks.second_hop = time,
        Tune::LinkLife(life) => quirks.link_life = life,
        Tune::TokenLife(life) => quirks.token_life = life,
        Tune::LargestFile(size) => {
            for account in &mut options.accounts {
                account.max_upload_size = size;
            }
        }
    }
}

fn calls(call: Call) -> &'static [&'static str] {
    match call {
        Call::Session => &["v2/authorize", "v2/disable_access_token", "v2/account/*"],
        Call::Login => &["v2/authorize"],
        Call::Changes | Call::UploadUnit | Call::InstantUpload | Call::PollUpload | Call::Replace => &[],
        Call::MakeCopy => &["v2/file/copy"],
        Call::Listing => &["v2/folder/listing"],
        Call::Dates | Call::Info => &["v2/file/info"],
        Call::Link => &["v2/file/download"],
        Call::Download => &["v2/download"],
        Call::AnyUpload | Call::BeginUpload | Call::Upload => &["v2/file/upload"],
        Call::CreateFolder => &["v2/folder/create"],
        Call::Rename => &["v2/file/edit", "v2/folder/edit"],
        Call::Move => &["v2/file/move", "v2/folder/move"],
        Call::Delete => &["v2/file/delete", "v2/folder/delete"],
    }
}
