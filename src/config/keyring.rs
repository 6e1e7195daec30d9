//! The system's keyring, as desktops offer it on the session bus (Secret Service): one text under each name.
//!
//! Nothing here waits for longer than its deadline: a locked keyring is unlocked by the desktop's own question where
//! somebody can see that, and refused at once elsewhere. What is kept under a name that lockerfs did not make is
//! never looked at. This knows no account and no config.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dbus_secret_service::{Collection, EncryptionType, Error, Item, SecretService};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

/// How long the keyring may take to answer where it asks nobody.
const ANSWER: Duration = Duration::from_secs(8);
/// How long a person may take to unlock it.
const QUESTION: Duration = Duration::from_secs(60);

const APPLICATION: (&str, &str) = ("application", "lockerfs");

/// Why the keyring did not do what it was asked. Says what to do, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    #[error("there is no system keyring here ({0})")]
    Absent(String),
    #[error("the system's keyring is locked: unlock it (a desktop does when you log in), then try again")]
    Locked,
    #[error("the system's keyring did not answer within {} s: is its program stuck?", .0.as_secs())]
    Silent(Duration),
    #[error("the system's keyring refused: {0}")]
    Refused(String),
}

type Result<T> = std::result::Result<T, KeyringError>;

/// The text under a name; `None` where there is none.
pub(super) async fn get(entry: &str) -> Result<Option<SecretString>> {
    let entry = entry.to_owned();
    ask(move |service| {
        let Some(item) = find(service, &entry)? else {
            return Ok(None);
        };
        item.ensure_unlocked().map_err(refused)?;
        let bytes = item.get_secret().map_err(refused)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| KeyringError::Refused("what it holds there is no text".to_owned()))?;
        Ok(Some(SecretString::from(text)))
    })
    .await
}

/// Puts a text under a name, in place of the one that is there. `label` is what people see in the keyring's own window.
pub(super) async fn put(entry: &str, label: &str, secret: &SecretString) -> Result<()> {
    let (entry, label, secret) = (entry.to_owned(), label.to_owned(), secret.clone());
    ask(move |service| {
        let keyring = unlocked(service)?;
        let bytes = secret.expose_secret().as_bytes();
        if let Some(item) = find(service, &entry)? {
            item.ensure_unlocked().map_err(refused)?;
            return item.set_secret(bytes, "text/plain").map_err(refused);
        }
        let made = keyring.create_item(&label, attributes(&entry), bytes, false, "text/plain");
        made.map(drop).map_err(refused)
    })
    .await
}

/// Takes a text out; false where there was none.
pub(super) async fn remove(entry: &str) -> Result<bool> {
    let entry = entry.to_owned();
    ask(move |service| {
        let Some(item) = find(service, &entry)? else {
            return Ok(false);
        };
        item.ensure_unlocked().map_err(refused)?;
        item.delete().map_err(refused)?;
        Ok(true)
    })
    .await
}

/// Whether something can be kept there now; it is unlocked for that where somebody can be asked.
pub async fn check_keyring() -> Result<()> {
    ask(|service| unlocked(service).map(drop)).await
}

fn attributes(entry: &str) -> HashMap<&str, &str> {
    HashMap::from([APPLICATION, ("entry", entry)])
}

fn find<'s>(service: &'s SecretService, entry: &str) -> Result<Option<Item<'s>>> {
    let found = service.search_items(attributes(entry)).map_err(refused)?;
    Ok(found.unlocked.into_iter().chain(found.locked).next())
}

fn unlocked(service: &SecretService) -> Result<Collection<'_>> {
    let keyring = service.get_default_collection().map_err(|error| match error {
        Error::NoResult => KeyringError::Absent("it has no default keyring yet".to_owned()),
        error => refused(error),
    })?;
    keyring.ensure_unlocked().map_err(refused)?;
    Ok(keyring)
}

fn refused(error: Error) -> KeyringError {
    match error {
        Error::Locked | Error::Prompt => KeyringError::Locked,
        Error::Dbus(error) => match error.name() {
            Some("org.freedesktop.Secret.Error.IsLocked") => KeyringError::Locked,
            Some(
                name @ ("org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner"
                | "org.freedesktop.DBus.Error.NoServer"
                | "org.freedesktop.DBus.Error.FileNotFound"
                | "org.freedesktop.DBus.Error.Disconnected"),
            ) => KeyringError::Absent(name.trim_start_matches("org.freedesktop.DBus.Error.").to_owned()),
            Some(name) if name.starts_with("org.freedesktop.DBus.Error.Spawn") => {
                KeyringError::Absent("its program cannot be started".to_owned())
            }
            Some("org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.Timeout") => {
                KeyringError::Silent(Duration::from_secs(2))
            }
            _ => KeyringError::Refused(error.message().unwrap_or("it does not say why").to_owned()),
        },
        Error::Unavailable => KeyringError::Absent("nobody serves it".to_owned()),
        error => KeyringError::Refused(error.to_string()),
    }
}

/// Runs `work` on a thread of its own, which is left behind where the bus or the keyring hangs.
async fn ask<T: Send + 'static>(
    work: impl FnOnce(&SecretService) -> Result<T> + Send + 'static,
) -> Result<T> {
    if !has_session_bus() {
        return Err(KeyringError::Absent("there is no session bus".to_owned()));
    }
    let question = if has_screen() { QUESTION } else { Duration::ZERO };
    let limit = ANSWER + question;
    let (sender, answer) = oneshot::channel();
    let asking = move || {
        let service =
            SecretService::connect_with_max_prompt_timeout(EncryptionType::Plain, question.as_secs());
        let answer = service.map_err(refused).and_then(|service| work(&service));
        // Whoever asked may have lost patience.
        let _ = sender.send(answer);
    };
    std::thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(asking)
        .map_err(|error| KeyringError::Refused(error.to_string()))?;
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(KeyringError::Refused("the way to it broke".to_owned())),
        Err(_) => Err(KeyringError::Silent(limit)),
    }
}

/// Without one the library would start a bus of its own, in which nobody keeps anything.
fn has_session_bus() -> bool {
    let named = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty());
    let usual = std::env::var_os("XDG_RUNTIME_DIR").map(|directory| PathBuf::from(directory).join("bus"));
    named || usual.is_some_and(|path| path.exists())
}

/// Whether a person can see a question.
fn has_screen() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
