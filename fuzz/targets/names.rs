//! Names, both ways, by the rules of every service. The first byte of an input says whose.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::mediafire::{Credentials, MediaFire, TokenVersion};
use lockerfs::provider::{NameRules, Provider, mediafire, mirrorace, mirrored_to, yetishare};

use crate::contract;

static RULES: LazyLock<Vec<NameRules>> = LazyLock::new(|| {
    let client = || ApiClient::new(ApiOptions::default()).expect("a client");
    let base_url = || "https://host.example/api/".parse().expect("a URL");
    let mediafire = mediafire::Settings {
        base_url: base_url(),
        credentials: Credentials::SessionToken("token".into()),
        application_id: "1".to_owned(),
        api_key: None,
        token_version: TokenVersion::V2,
    };
    let yetishare = yetishare::Settings {
        kind: "yetishare",
        base_url: base_url(),
        credentials: yetishare::Credentials::Keys {
            key1: "1".repeat(64).into(),
            key2: "2".repeat(64).into(),
        },
        token_dir: None,
        tombstones: None,
    };
    let mirrorace = mirrorace::Settings {
        base_url: base_url(),
        api_key: "key".into(),
        api_token: "token".into(),
        mirrors: Vec::new(),
        file_password: None,
    };
    let mirrored_to = mirrored_to::Settings {
        base_url: base_url(),
        api_key: "key".into(),
        mirrors: Vec::new(),
        password: None,
        email: None,
        daily_calls: 500,
        counter: None,
        clock: Arc::new(SystemTime::now),
    };
    let providers: [Box<dyn Provider>; 4] = [
        Box::new(MediaFire::new(mediafire, client()).expect("a provider")),
        Box::new(yetishare::YetiShare::new(yetishare, client()).expect("a provider")),
        Box::new(mirrorace::MirrorAce::new(mirrorace, client()).expect("a provider")),
        Box::new(mirrored_to::MirroredTo::new(mirrored_to, client()).expect("a provider")),
    ];
    providers.iter().map(|provider| provider.name_rules()).collect()
});

pub fn run(input: &[u8]) {
    let Some((first, name)) = input.split_first() else {
        return;
    };
    let rules = &RULES[usize::from(*first) % RULES.len()];
    let name = String::from_utf8_lossy(name);
    // What stands before a NUL is a name, and what stands behind it an id.
    let id = name.split('\0').next_back().unwrap_or_default();
    contract::name(&name, id, rules);
    contract::local_name(&name, rules);
}
