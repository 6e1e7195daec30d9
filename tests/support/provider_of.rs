//! The provider of an account of the sandbox, bare.

use std::sync::Arc;
use std::time::SystemTime;

use lockerfs::http::ApiClient;
use lockerfs::provider::{Provider, mediafire, mirrorace, mirrored_to, yetishare};
use lockerfs::sandbox::{Account, Options, Service};
use url::Url;

pub fn provider_of(account: &Account, base_url: Url, client: ApiClient) -> Arc<dyn Provider> {
    let made: lockerfs::provider::Result<Arc<dyn Provider>> = match account.service {
        Service::MediaFire => {
            let settings = mediafire::Settings {
                base_url,
                credentials: mediafire::Credentials::Password {
                    email: account.email.clone(),
                    password: account.password.clone().into(),
                },
                application_id: Options::new("").quirks.application_id,
                api_key: None,
                token_version: mediafire::TokenVersion::V2,
            };
            mediafire::MediaFire::new(settings, client).map(|made| Arc::new(made) as _)
        }
        Service::YetiShare => {
            let settings = yetishare::Settings {
                kind: "yetishare",
                base_url,
                credentials: yetishare::Credentials::Keys {
                    key1: account.key1.clone().into(),
                    key2: account.key2.clone().into(),
                },
                token_dir: None,
                tombstones: None,
            };
            yetishare::YetiShare::new(settings, client).map(|made| Arc::new(made) as _)
        }
        Service::MirrorAce => {
            let settings = mirrorace::Settings {
                base_url,
                api_key: account.api_key.clone().into(),
                api_token: account.api_token.clone().into(),
                mirrors: Vec::new(),
                file_password: None,
            };
            mirrorace::MirrorAce::new(settings, client).map(|made| Arc::new(made) as _)
        }
        Service::MirroredTo => {
            let settings = mirrored_to::Settings {
                base_url,
                api_key: account.api_key.clone().into(),
                mirrors: Vec::new(),
                password: None,
                email: None,
                daily_calls: 500,
                counter: None,
                clock: Arc::new(SystemTime::now),
            };
            mirrored_to::MirroredTo::new(settings, client).map(|made| Arc::new(made) as _)
        }
        other => panic!("{other:?} has no provider"),
    };
    made.expect("settings that are good")
}
