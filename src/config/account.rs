//! Accounts and their kinds.

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use url::Url;

use super::options::AccountOptions;
use super::secret::SecretSource;
use super::section::{Result, Section};
use super::suggest::closest;
use crate::http::check_url;

/// One account of the config.
#[derive(Debug)]
pub struct AccountConfig {
    /// The directory's name in the mount.
    pub name: String,
    /// As written in the config.
    pub kind: &'static str,
    /// The service's root, or that of its API, as its client takes it; ends with a slash.
    pub base_url: Url,
    pub options: AccountOptions,
    pub service: Service,
}

/// What an account of each kind needs to log in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Service {
    MediaFire(MediaFireAccount),
    YetiShare(YetiShareAccount),
    MirrorAce(MirrorAceAccount),
    MirroredTo(MirroredToAccount),
}

/// The fields of an account of kind `mediafire`.
#[derive(Debug)]
pub struct MediaFireAccount {
    /// Absent where a session token is given instead.
    pub email: Option<String>,
    pub password: SecretSource,
    pub app_id: String,
    pub api_key: SecretSource,
    pub session_token: SecretSource,
    /// 1 or 2.
    pub token_version: u8,
}

/// The fields of an account of kind `yetishare` and its presets.
#[derive(Debug)]
pub struct YetiShareAccount {
    pub key1: SecretSource,
    pub key2: SecretSource,
    /// Where the site takes user name and password in place of keys.
    pub username: Option<String>,
    pub password: SecretSource,
}

/// The fields of an account of kind `mirrorace`.
#[derive(Debug)]
pub struct MirrorAceAccount {
    pub api_key: SecretSource,
    pub api_token: SecretSource,
    /// Ids; those set on the web site where there are none.
    pub mirrors: Vec<String>,
    pub file_password: SecretSource,
}

/// The fields of an account of kind `mirrored_to`.
#[derive(Debug)]
pub struct MirroredToAccount {
    pub api_key: SecretSource,
    /// Names; those set on the web site where there are none.
    pub mirrors: Vec<String>,
    pub password: SecretSource,
    pub email: Option<String>,
    /// Calls that the service allows in a day.
    pub daily_calls: u64,
}

/// A kind of account.
pub struct Kind {
    /// As written in the config.
    pub name: &'static str,
    pub service: &'static str,
    /// Where its accounts are unless they say otherwise; without one, they have to.
    base_url: Option<&'static str>,
    /// It takes files and gives nothing back.
    publishes: bool,
    read: ReadKind,
}

type ReadKind = fn(&mut Section<'_>, &str) -> Result<Service>;

/// All kinds that this version knows.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "mediafire",
        service: "MediaFire",
        base_url: Some("https://www.mediafire.com/"),
        publishes: false,
        read: read_mediafire,
    },
    Kind {
        name: "1cloudfile",
        service: "1CloudFile",
        base_url: Some("https://1cloudfile.com/api/v2/"),
        publishes: false,
        read: read_yetishare,
    },
    Kind {
        name: "koramaup",
        service: "KoramaUp",
        base_url: Some("https://koramaup.com/api/v2/"),
        publishes: false,
        read: read_yetishare,
    },
    Kind {
        name: "yetishare",
        service: "any other YetiShare host",
        base_url: None,
        publishes: false,
        read: read_yetishare,
    },
    Kind {
        name: "mirrorace",
        service: "MirrorAce",
        base_url: Some("https://mirrorace.com/api/v1/"),
        publishes: true,
        read: read_mirrorace,
    },
    Kind {
        name: "mirrored_to",
        service: "Mirrored.to",
        base_url: Some("https://www.mirrored.to/api/v1/"),
        publishes: true,
        read: read_mirrored_to,
    },
];

impl AccountConfig {
    /// Tells it from other accounts, on this service or another, as far as the config says who it is: a digest of
    /// what is no secret.
    pub fn identity(&self) -> String {
        let owner = match &self.service {
            Service::MediaFire(account) => account.email.as_deref(),
            Service::YetiShare(account) => account.username.as_deref(),
            Service::MirrorAce(_) => None,
            Service::MirroredTo(account) => account.email.as_deref(),
        };
        let mut hash = Sha256::new();
        for part in [self.kind, self.base_url.as_str(), owner.unwrap_or_default()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(&hash.finalize()[..16])
    }

    /// All its secrets, given or not.
    pub fn secrets(&self) -> Vec<&SecretSource> {
        match &self.service {
            Service::MediaFire(account) => vec![&account.password, &account.session_token, &account.api_key],
            Service::YetiShare(account) => vec![&account.key1, &account.key2, &account.password],
            Service::MirrorAce(account) => vec![&account.api_key, &account.api_token, &account.file_password],
            Service::MirroredTo(account) => vec![&account.api_key, &account.password],
        }
    }

    /// Those of them that prove to the service who this is: what it may want again.
    pub fn login(&self) -> Vec<&SecretSource> {
        match &self.service {
            Service::MediaFire(account) if account.session_token.is_given() => vec![&account.session_token],
            Service::MediaFire(account) => vec![&account.password],
            Service::YetiShare(account) if account.username.is_some() => vec![&account.password],
            Service::YetiShare(account) => vec![&account.key1, &account.key2],
            Service::MirrorAce(account) => vec![&account.api_key, &account.api_token],
            Service::MirroredTo(account) => vec![&account.api_key],
        }
    }

    /// Takes a secret in place of what is said of it elsewhere, as long as this value lives.
    pub fn give(&mut self, name: &str, secret: SecretString) {
        let secrets = match &mut self.service {
            Service::MediaFire(account) => {
                vec![
                    &mut account.password,
                    &mut account.session_token,
                    &mut account.api_key,
                ]
            }
            Service::YetiShare(account) => vec![&mut account.key1, &mut account.key2, &mut account.password],
            Service::MirrorAce(account) => {
                vec![
                    &mut account.api_key,
                    &mut account.api_token,
                    &mut account.file_password,
                ]
            }
            Service::MirroredTo(account) => vec![&mut account.api_key, &mut account.password],
        };
        if let Some(source) = secrets.into_iter().find(|source| source.name() == name) {
            source.give(secret);
        }
    }

    /// Whether its service takes files and gives nothing back.
    pub fn publishes(&self) -> bool {
        KINDS.iter().any(|kind| kind.name == self.kind && kind.publishes)
    }

    pub(super) fn read(name: String, mut section: Section<'_>, options: &AccountOptions) -> Result<Self> {
        check_name(&name).map_err(|why| section.error(why))?;
        let Some(kind) = section.string_as("kind", find_kind)? else {
            return Err(section.error(format!(
                "has no kind: add for example kind = \"mediafire\" (known kinds: {})",
                known_kinds()
            )));
        };
        let for_others = ["pin", "links_file"].into_iter().find(|key| section.has(key));
        if let Some(key) = for_others.filter(|_| !kind.publishes) {
            return Err(section.error(format!(
                "cannot have {key}, which is for accounts that publish only (mirrorace, mirrored_to): leave it out"
            )));
        }
        let options = options.overridden(&mut section)?;
        let base_url = match (section.string_as("base_url", parse_base_url)?, kind.base_url) {
            (Some(url), _) => url,
            (None, Some(url)) => parse_base_url(url).map_err(|why| section.error(why))?,
            (None, None) => {
                let example = "base_url = \"https://host.example/api/v2/\"";
                return Err(section.error(format!("has no base_url: add that of its API, like {example}")));
            }
        };
        let service = (kind.read)(&mut section, &name)?;
        section.finish()?;
        Ok(AccountConfig {
            name,
            kind: kind.name,
            base_url,
            options,
            service,
        })
    }
}

fn find_kind(text: &str) -> std::result::Result<&'static Kind, String> {
    KINDS.iter().find(|kind| kind.name == text).ok_or_else(|| {
        let hint = closest(text, KINDS.iter().map(|kind| kind.name));
        let hint = hint
            .map(|meant| format!("; did you mean {meant}?"))
            .unwrap_or_default();
        format!(
            "unknown account kind {text:?}{hint} (known kinds: {})",
            known_kinds()
        )
    })
}

/// The kind of this name, or why there is none.
pub fn kind(text: &str) -> std::result::Result<&'static str, String> {
    find_kind(text).map(|kind| kind.name)
}

fn known_kinds() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// The name becomes a directory's and part of a variable's.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let refused = name.is_empty()
        || name.len() > 100
        || name.starts_with('.')
        || name.trim() != name
        || name.chars().any(|c| c == '/' || c.is_control());
    if refused {
        return Err(format!(
            "{name:?} cannot be a directory's name: use letters, digits, - and _"
        ));
    }
    Ok(())
}

fn read_mediafire(section: &mut Section<'_>, account: &str) -> Result<Service> {
    let email = section.string("email")?;
    let password = SecretSource::read(section, account, "password")?;
    let api_key = SecretSource::read(section, account, "api_key")?;
    let session_token = SecretSource::read(section, account, "session_token")?;
    let app_id = section.string("app_id")?.unwrap_or_else(|| "42511".to_owned());
    let token_version = section.number("token_version", 1..3)?.unwrap_or(2);
    if email.is_none() && !session_token.is_given() {
        return Err(
            section.error("has no email: add email = \"you@example.org\", and password_file beside it")
        );
    }
    Ok(Service::MediaFire(MediaFireAccount {
        email,
        password,
        app_id,
        api_key,
        session_token,
        token_version,
    }))
}

fn read_yetishare(section: &mut Section<'_>, account: &str) -> Result<Service> {
    let key1 = SecretSource::read(section, account, "key1")?;
    let key2 = SecretSource::read(section, account, "key2")?;
    let username = section.string("username")?;
    let password = SecretSource::read(section, account, "password")?;
    match (key1.is_given(), key2.is_given(), &username) {
        (true, true, None) | (false, false, Some(_)) => {}
        (true, true, Some(_)) => {
            return Err(section.error("has keys and a username: leave one of the two"));
        }
        (false, false, None) => {
            return Err(section.error(
                "has no keys: make both under the site's account settings, API access, and add key1_file and \
                 key2_file",
            ));
        }
        (true, false, _) => {
            return Err(section.error("has no key2: the site makes two keys, and both are needed"));
        }
        (false, true, _) => {
            return Err(section.error("has no key1: the site makes two keys, and both are needed"));
        }
    }
    Ok(Service::YetiShare(YetiShareAccount {
        key1,
        key2,
        username,
        password,
    }))
}

fn read_mirrorace(section: &mut Section<'_>, account: &str) -> Result<Service> {
    let api_key = SecretSource::read(section, account, "api_key")?;
    let api_token = SecretSource::read(section, account, "api_token")?;
    let mirrors = section.strings_as("mirrors", parse_mirrors)?.unwrap_or_default();
    let file_password = SecretSource::read(section, account, "file_password")?;
    for (name, secret) in [("api_key", &api_key), ("api_token", &api_token)] {
        if !secret.is_given() {
            return Err(section.error(format!(
                "has no {name}: get key and token on the site's page on its API, and add api_key_file and \
                 api_token_file"
            )));
        }
    }
    Ok(Service::MirrorAce(MirrorAceAccount {
        api_key,
        api_token,
        mirrors,
        file_password,
    }))
}

fn read_mirrored_to(section: &mut Section<'_>, account: &str) -> Result<Service> {
    let api_key = SecretSource::read(section, account, "api_key")?;
    let mirrors = section.strings_as("mirrors", parse_mirrors)?.unwrap_or_default();
    let password = SecretSource::read(section, account, "password")?;
    let email = section.string("email")?;
    let daily_calls = section.number("daily_calls", 3..1_000_000)?.unwrap_or(500);
    if !api_key.is_given() {
        return Err(section.error(
            "has no api_key: get one at https://www.mirrored.to/p/api, and add api_key_file beside it",
        ));
    }
    Ok(Service::MirroredTo(MirroredToAccount {
        api_key,
        mirrors,
        password,
        email,
        daily_calls,
    }))
}

/// Names or ids as the service writes them, which no comma or blank is part of.
fn parse_mirrors(mirrors: &[String]) -> std::result::Result<Vec<String>, String> {
    for mirror in mirrors {
        if mirror.is_empty() || mirror.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "{mirror:?} is no mirror: write each one by itself, as the service does"
            ));
        }
    }
    Ok(mirrors.to_vec())
}

fn parse_base_url(text: &str) -> std::result::Result<Url, String> {
    let mut url = Url::parse(text).map_err(|e| format!("{text:?} is no URL: {e}"))?;
    check_url(&url).map_err(|e| e.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not hold credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the path: leave out what follows ? or #".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}
