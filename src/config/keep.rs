//! Where secrets are put that a person gave, and how all of it is taken back when a later step fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::draft::{Entry, make_folders, replace};
use super::error::ConfigError;
use super::keyring;
use super::secret::SecretPlace;
use super::section::Result;

/// Where a new secret goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// The system's keyring.
    Keyring,
    /// A file beside the config.
    File,
}

/// A place for a new secret that nothing is in yet.
#[derive(Debug, Clone)]
pub struct NewPlace {
    /// Of the account's table, for example `password_file`.
    pub key: String,
    pub value: String,
    keeper: Keeper,
    label: String,
}

/// What was put where, as long as it may have to be taken back.
pub struct Kept {
    config: PathBuf,
    undo: Vec<Undo>,
}

enum Undo {
    RemoveFile(PathBuf),
    RemoveFolders(Vec<PathBuf>),
    RestoreFile(PathBuf, SecretSlice<u8>),
    RemoveEntry(String),
    RestoreEntry(String, String, SecretString),
}

impl NewPlace {
    /// A place of its own for a secret: no other account, and no other config, has the same.
    pub fn choose(keeper: Keeper, account: &str, name: &str) -> Self {
        let (way, value) = match keeper {
            Keeper::File => ("file", format!("{account}.{name}")),
            Keeper::Keyring => ("keyring", format!("{account}.{name}.{:08x}", fastrand::u32(..))),
        };
        NewPlace {
            key: format!("{name}_{way}"),
            value,
            keeper,
            label: label(account, name),
        }
    }

    /// What the account's table says of it.
    pub fn entry(&self) -> (String, Entry) {
        (self.key.clone(), Entry::Text(self.value.clone()))
    }

    fn path(&self, config: &Path) -> PathBuf {
        config.parent().unwrap_or(Path::new("/")).join(&self.value)
    }

    /// Fails where something is there already.
    pub fn check(&self, config: &Path) -> Result<()> {
        let path = self.path(config);
        if self.keeper == Keeper::File && path.symlink_metadata().is_ok() {
            return Err(taken(&path));
        }
        Ok(())
    }
}

fn label(account: &str, name: &str) -> String {
    format!("lockerfs: {name} of the account {account}")
}

fn taken(path: &Path) -> ConfigError {
    let why = "is there already, and a secret would go there: remove it, or choose another account name";
    ConfigError::new(path, why)
}

impl Kept {
    pub fn beside(config: &Path) -> Self {
        Kept {
            config: config.to_owned(),
            undo: Vec::new(),
        }
    }

    /// Puts a secret into a new place.
    pub async fn put(&mut self, place: &NewPlace, secret: &SecretString) -> Result<()> {
        match place.keeper {
            Keeper::Keyring => {
                let put = keyring::put(&place.value, &place.label, secret).await;
                put.map_err(|error| self.wrong(error.to_string()))?;
                self.undo.push(Undo::RemoveEntry(place.value.clone()));
                Ok(())
            }
            Keeper::File => self.put_file(&place.path(&self.config), secret),
        }
    }

    fn put_file(&mut self, path: &Path, secret: &SecretString) -> Result<()> {
        let failed = |error: io::Error| ConfigError::new(path, format!("cannot be written: {error}"));
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.undo
            .push(Undo::RemoveFolders(make_folders(folder).map_err(failed)?));
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => failed(error),
        })?;
        self.undo.push(Undo::RemoveFile(path.to_owned()));
        file.write_all(line(secret).expose_secret().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(failed)
    }

    /// Puts a secret where the one before it is: into a file or the keyring.
    pub async fn replace(
        &mut self,
        place: &SecretPlace,
        account: &str,
        name: &str,
        secret: &SecretString,
    ) -> Result<()> {
        match place {
            SecretPlace::File(path) => {
                let failed = |error: io::Error| ConfigError::new(path, format!("cannot be written: {error}"));
                let target = match path.canonicalize() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return self.put_file(path, secret);
                    }
                    target => target.map_err(failed)?,
                };
                let before = fs::read(&target).map_err(failed)?;
                replace(&target, line(secret).expose_secret().as_bytes()).map_err(failed)?;
                self.undo.push(Undo::RestoreFile(target, before.into()));
                Ok(())
            }
            SecretPlace::Keyring(entry) => {
                let wrong = |error: keyring::KeyringError| ConfigError::new(&self.config, error.to_string());
                let before = keyring::get(entry).await.map_err(wrong)?;
                let label = label(account, name);
                keyring::put(entry, &label, secret).await.map_err(wrong)?;
                self.undo.push(match before {
                    Some(before) => Undo::RestoreEntry(entry.clone(), label, before),
                    None => Undo::RemoveEntry(entry.clone()),
                });
                Ok(())
            }
            SecretPlace::Nowhere
            | SecretPlace::Config
            | SecretPlace::Command
            | SecretPlace::Environment(_) => {
                Err(self.wrong(format!("{name} is kept where lockerfs cannot put it")))
            }
        }
    }

    /// Takes all of it back, the last first. What cannot be taken back is told.
    pub async fn undo(self) -> std::result::Result<(), String> {
        let mut left = Vec::new();
        for step in self.undo.into_iter().rev() {
            let (what, done) = match step {
                Undo::RemoveFile(path) => (
                    path.display().to_string(),
                    fs::remove_file(path).map_err(|e| e.to_string()),
                ),
                Undo::RemoveFolders(made) => {
                    // What somebody put into one meanwhile keeps it.
                    made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
                    continue;
                }
                Undo::RestoreFile(path, before) => {
                    let restored = replace(&path, before.expose_secret());
                    (path.display().to_string(), restored.map_err(|e| e.to_string()))
                }
                Undo::RemoveEntry(entry) => {
                    let removed = keyring::remove(&entry).await;
                    (entry, removed.map(drop).map_err(|e| e.to_string()))
                }
                Undo::RestoreEntry(entry, label, before) => {
                    let restored = keyring::put(&entry, &label, &before).await;
                    (entry, restored.map_err(|e| e.to_string()))
                }
            };
            if let Err(error) = done {
                left.push(format!("{what} could not be put back ({error})"));
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(left.join("; ")),
        }
    }

    fn wrong(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.config, why)
    }
}

/// Takes a secret away for good: a file, or an entry of the keyring. False where there was none.
pub async fn forget_secret(place: &SecretPlace) -> std::result::Result<bool, String> {
    match place {
        SecretPlace::File(path) => match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(format!("{} cannot be removed: {error}", path.display())),
        },
        SecretPlace::Keyring(entry) => {
            let removed = keyring::remove(entry).await;
            removed.map_err(|error| format!("the entry {entry:?} cannot be removed: {error}"))
        }
        _ => Ok(false),
    }
}

fn line(secret: &SecretString) -> SecretString {
    format!("{}\n", secret.expose_secret()).into()
}
