//! The file as a whole.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::account::AccountConfig;
use super::error::ConfigError;
use super::options::{AccountOptions, MountOptions};
use super::section::{Result, Section, Text};
use super::suggest::closest;

const MAX_FILE: u64 = 1024 * 1024;

/// A config that was read and checked.
#[derive(Debug)]
pub struct Config {
    pub path: PathBuf,
    pub mount: MountOptions,
    /// The options at the top, which hold for what all accounts share.
    pub options: AccountOptions,
    /// In the order of their names.
    pub accounts: Vec<AccountConfig>,
}

impl Config {
    /// Reads and checks a config file. Runs no command and looks up no secret.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_private(path)?;
        Config::parse(path, &text)
    }

    /// Checks a config's text; `path` is for messages and for files beside it.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let text = Text { file: path, text };
        let table = DeTable::parse(text.text).map_err(|e| {
            // The error's own text would quote the line, and the line may hold a secret.
            let error = ConfigError::new(path, format!("is not TOML: {}", e.message().trim()));
            e.span()
                .map_or(error.clone(), |span| error.at_line(text.line(span.start)))
        })?;
        let mut top = Section::new(text, "", table.into_inner(), 0);
        let mount = MountOptions::read(&mut top)?;
        let options = AccountOptions::default().overridden(&mut top)?;
        let mut accounts = Vec::new();
        let tables = top.tables("accounts")?;
        top.finish()?;
        for (name, section) in tables {
            accounts.push(AccountConfig::read(name, section, &options)?);
        }
        Ok(Config {
            path: path.to_owned(),
            mount,
            options,
            accounts,
        })
    }

    /// The account of this name.
    pub fn account(&self, name: &str) -> Result<&AccountConfig> {
        self.accounts
            .iter()
            .find(|account| account.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = self
                    .accounts
                    .iter()
                    .map(|account| account.name.as_str())
                    .collect();
                let hint = closest(name, names.iter().copied());
                let hint = hint.map_or_else(
                    || {
                        if names.is_empty() {
                            "; there is none".to_owned()
                        } else {
                            format!("; there are {}", names.join(", "))
                        }
                    },
                    |meant| format!("; did you mean {meant}?"),
                );
                ConfigError::new(&self.path, format!("no account {name}{hint}"))
            })
    }
}

pub(super) fn read_private(path: &Path) -> Result<String> {
    let wrong = |why: String| ConfigError::new(path, why);
    let file = std::fs::File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            wrong("there is no config file yet: `lockerfs account add` makes one".to_owned())
        }
        _ => wrong(format!("cannot be read: {e}")),
    })?;
    let metadata = file
        .metadata()
        .map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if !metadata.is_file() {
        return Err(wrong("is not a file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(wrong(format!(
            "other people can read this file: run `chmod 600 {}`",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|e| wrong(format!("cannot be read: {e}")))?;
    Ok(text)
}
