//! What is wrong with a config, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// A config that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// Counts from 1.
    pub line: Option<usize>,
    /// For example `accounts.media.email`.
    pub key: Option<String>,
    /// What is wrong and what to do, without a secret.
    pub message: String,
    /// Whether the config is good, and what it names could not be had just now: a secret that the keyring or a command
    /// keeps back.
    pub may_pass: bool,
}

impl ConfigError {
    pub(super) fn new(file: &Path, message: impl Into<String>) -> Self {
        ConfigError {
            file: file.to_owned(),
            line: None,
            key: None,
            message: message.into(),
            may_pass: false,
        }
    }

    #[must_use]
    pub(super) fn for_now(mut self) -> Self {
        self.may_pass = true;
        self
    }

    #[must_use]
    pub(super) fn at_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}
