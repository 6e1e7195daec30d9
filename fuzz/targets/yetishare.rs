//! The answers of YetiShare hosts. The first byte of an input says what is asked; its highest bit, that the login
//! is answered from the input, too.

use lockerfs::provider::yetishare::{Credentials, Settings, YetiShare};

use crate::{calls, host};

/// Of the first byte.
pub const LOGIN: u8 = 0x80;

const LOGGED_IN: host::Fixed = &[(
    "/authorize",
    r#"{"data":{"access_token":"token","account_id":"7"},"_status":"success"}"#,
)];

pub fn run(input: &[u8]) {
    let Some((first, answers)) = input.split_first() else {
        return;
    };
    let fixed = if first & LOGIN == 0 { LOGGED_IN } else { &[] };
    host::served(answers, fixed, |address| async move {
        let settings = Settings {
            kind: "yetishare",
            base_url: format!("http://{address}/api/v2/").parse().expect("a URL"),
            credentials: Credentials::Keys {
                key1: "1".repeat(64).into(),
                key2: "2".repeat(64).into(),
            },
            token_dir: None,
            tombstones: None,
        };
        let provider = YetiShare::new(settings, calls::client()).expect("a provider");
        calls::run(&provider, first & !LOGIN).await;
    });
}
