//! The answers of MirrorAce and Mirrored.to. The first byte of an input says what is asked; its highest bit, of
//! Mirrored.to.

use std::sync::Arc;
use std::time::SystemTime;

use lockerfs::provider::Provider;
use lockerfs::provider::{mirrorace, mirrored_to};

use crate::{calls, host};

/// Of the first byte.
pub const MIRRORED_TO: u8 = 0x80;

pub fn run(input: &[u8]) {
    let Some((first, answers)) = input.split_first() else {
        return;
    };
    host::served(answers, &[], |address| async move {
        let base_url = format!("http://{address}/api/v1/").parse().expect("a URL");
        let provider: Box<dyn Provider> = if first & MIRRORED_TO == 0 {
            let settings = mirrorace::Settings {
                base_url,
                api_key: "key".into(),
                api_token: "token".into(),
                mirrors: Vec::new(),
                file_password: None,
            };
            Box::new(mirrorace::MirrorAce::new(settings, calls::client()).expect("a provider"))
        } else {
            let settings = mirrored_to::Settings {
                base_url,
                api_key: "key".into(),
                mirrors: Vec::new(),
                password: None,
                email: None,
                daily_calls: 500,
                counter: None,
                clock: Arc::new(SystemTime::now),
            };
            Box::new(mirrored_to::MirroredTo::new(settings, calls::client()).expect("a provider"))
        };
        calls::run(provider.as_ref(), first & !MIRRORED_TO).await;
    });
}
