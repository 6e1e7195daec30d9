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
        let mount = MountOptions::default().overridden(&mut top)?;
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

    /// With these options in place of what the file says, for the mount and all accounts. A value is written as in
    /// the file, without quotes; the errors name the option as their key and have no line.
    pub fn overridden(mut self, options: &[(String, String)]) -> Result<Self> {
        let table: toml::Table = options
            .iter()
            .map(|(key, value)| (key.clone(), plain_value(value)))
            .collect();
        let whole = table.to_string();
        let path = self.path.clone();
        let text = Text {
            file: &path,
            text: &whole,
        };
        let section = || -> Result<Section<'_>> {
            let table = DeTable::parse(text.text)
                .map_err(|error| ConfigError::new(&path, format!("cannot be read: {}", error.message())))?;
            Ok(Section::new(text, "", table.into_inner(), 0))
        };
        let mut read = || -> Result<()> {
            let mut top = section()?;
            self.mount = self.mount.overridden(&mut top)?;
            self.options = self.options.overridden(&mut top)?;
            top.finish()?;
            for account in &mut self.accounts {
                account.options = account.options.overridden(&mut section()?)?;
            }
            Ok(())
        };
        read().map_err(|error| ConfigError { line: None, ..error })?;
        Ok(self)
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

/// What a value means that has no quotes to tell.
fn plain_value(text: &str) -> toml::Value {
    match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => toml::Value::String(text.to_owned()),
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
