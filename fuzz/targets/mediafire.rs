//! MediaFire's answers. The first byte of an input says what is asked; its highest bit, that a login comes first.

use lockerfs::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};

use crate::{calls, host};

/// What no script is about.
const LOGGED_IN: host::Fixed = &[
    (
        "/renew_session_token.php",
        r#"{"response":{"result":"Success","session_token":"token"}}"#,
    ),
    (
        "/get_action_token.php",
        r#"{"response":{"result":"Success","action_token":"token"}}"#,
    ),
];

/// Of the first byte.
pub const LOGIN: u8 = 0x80;

pub fn run(input: &[u8]) {
    let Some((first, answers)) = input.split_first() else {
        return;
    };
    let credentials = match first & LOGIN {
        0 => Credentials::SessionToken("token".into()),
        _ => Credentials::Password {
            email: "me@example.org".to_owned(),
            password: "hunter2".into(),
        },
    };
    let fixed = if first & LOGIN == 0 { LOGGED_IN } else { &[] };
    host::served(answers, fixed, |address| async move {
        let settings = Settings {
            base_url: format!("http://{address}/").parse().expect("a URL"),
            credentials,
            application_id: "1".to_owned(),
            api_key: None,
            token_version: TokenVersion::V2,
        };
        let provider = MediaFire::new(settings, calls::client()).expect("a provider");
        calls::run(&provider, first & !LOGIN).await;
    });
}
