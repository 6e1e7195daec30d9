//! Where a secret comes from, and how it is fetched when it is needed.

use std::fmt;
use std::io::{Read, Take};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::error::ConfigError;
use super::keyring;
use super::section::{Result, Section};

/// How long a command may take; long enough to type a passphrase.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_SECRET: u64 = 64 * 1024;

/// One secret field of an account.
pub struct SecretSource {
    config: PathBuf,
    /// For example `accounts.media.password`.
    key: String,
    /// For example `password`.
    name: &'static str,
    /// The environment variable that is looked at first.
    variable: String,
    origin: Origin,
    /// Handed in by the program, before all else.
    given: Option<SecretString>,
}

enum Origin {
    Nowhere,
    Config(SecretString),
    File(PathBuf),
    Command(String),
    Keyring(String),
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    Nowhere,
    /// In the variable of this name, before all that the config says.
    Environment(String),
    Config,
    File(PathBuf),
    Command,
    /// Under this name.
    Keyring(String),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Nowhere => "nowhere",
            Origin::Config(_) => "config",
            Origin::File(_) => "file",
            Origin::Command(_) => "command",
            Origin::Keyring(_) => "keyring",
        };
        f.debug_struct("SecretSource")
            .field("key", &self.key)
            .field("origin", &origin)
            .finish()
    }
}

impl SecretSource {
    /// Takes NAME, NAME_file, NAME_command and NAME_keyring from an account's table; at most one of them may be there.
    pub(super) fn read(section: &mut Section<'_>, account: &str, name: &'static str) -> Result<Self> {
        let keys = ["", "_file", "_command", "_keyring"].map(|way| format!("{name}{way}"));
        let given: Vec<&str> = keys
            .iter()
            .filter(|key| section.has(key))
            .map(String::as_str)
            .collect();
        if let [first, second, ..] = given.as_slice() {
            return Err(section.error(format!("both {first} and {second} are given: leave one")));
        }
        let [inline, file, command, keyring] = &keys;
        let inline = section
            .string(inline)?
            .map(|text| Origin::Config(SecretString::from(text)));
        let directory = section.text.file.parent().unwrap_or(Path::new("/")).to_owned();
        let file = section
            .string(file)?
            .map(|path| Origin::File(directory.join(path)));
        let command = section.string(command)?.map(Origin::Command);
        let keyring = section.string(keyring)?.map(Origin::Keyring);
        Ok(SecretSource {
            config: section.text.file.to_owned(),
            key: format!("accounts.{account}.{name}"),
            name,
            variable: secret_variable(account, name),
            origin: inline.or(file).or(command).or(keyring).unwrap_or(Origin::Nowhere),
            given: None,
        })
    }

    /// For example `password`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where the secret comes from at present.
    pub fn place(&self) -> SecretPlace {
        if std::env::var_os(&self.variable).is_some() {
            return SecretPlace::Environment(self.variable.clone());
        }
        self.kept()
    }

    /// Where the config says that it is, whatever the environment says.
    pub fn kept(&self) -> SecretPlace {
        match &self.origin {
            Origin::Nowhere => SecretPlace::Nowhere,
            Origin::Config(_) => SecretPlace::Config,
            Origin::File(path) => SecretPlace::File(path.clone()),
            Origin::Command(_) => SecretPlace::Command,
            Origin::Keyring(entry) => SecretPlace::Keyring(entry.clone()),
        }
    }

    /// Takes this secret in place of all others, as long as this value lives.
    pub(super) fn give(&mut self, secret: SecretString) {
        self.given = Some(secret);
    }

    /// Whether a secret is to be had, without fetching it.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
            || !matches!(self.origin, Origin::Nowhere)
            || std::env::var_os(&self.variable).is_some()
    }

    /// The secret; `None` where none is given. The environment goes before the file, so that one run can be
    /// given another secret.
    pub async fn fetch(&self) -> Result<Option<SecretString>> {
        if let Some(secret) = &self.given {
            return Ok(Some(secret.clone()));
        }
        if let Some(secret) = self.in_environment()? {
            return Ok(Some(secret));
        }
        match &self.origin {
            Origin::Nowhere => Ok(None),
            Origin::Config(secret) => Ok(Some(secret.clone())),
            Origin::File(path) => self.read_file(path).map(Some),
            Origin::Command(command) => self.run_command(command).await.map(Some),
            Origin::Keyring(entry) => self.look_in_keyring(entry).await.map(Some),
        }
    }

    /// What the environment says, if it does.
    fn in_environment(&self) -> Result<Option<SecretString>> {
        let Some(value) = std::env::var_os(&self.variable) else {
            return Ok(None);
        };
        let value = value
            .into_string()
            .map_err(|_| self.error("the environment's value is not UTF-8"))?;
        Ok(Some(SecretString::from(value)))
    }

    async fn look_in_keyring(&self, entry: &str) -> Result<SecretString> {
        let found = keyring::get(entry)
            .await
            .map_err(|e| self.error(&e.to_string()).for_now())?;
        found.ok_or_else(|| {
            let account = self.key.trim_start_matches("accounts.");
            let account = account.strip_suffix(self.name).unwrap_or(account).trim_end_matches('.');
            self.error(&format!(
                "the system's keyring has no entry {entry:?}: run `lockerfs login {account}` to give the secret again"
            ))
            .for_now()
        })
    }

    /// The secret, or an error that says how to give one.
    pub async fn require(&self) -> Result<SecretString> {
        let name = self.name;
        self.fetch().await?.ok_or_else(|| {
            self.error(&format!(
                "is missing: give {name}, {name}_file, {name}_command or {name}_keyring there, or set {}",
                self.variable
            ))
        })
    }

    fn read_file(&self, path: &Path) -> Result<SecretString> {
        let wrong = |why: String| self.error(&format!("{}: {why}", path.display()));
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let metadata = file.metadata().map_err(|e| wrong(e.to_string()))?;
        if metadata.mode() & 0o077 != 0 {
            let remedy = format!(
                "other people can read this file: run `chmod 600 {}`",
                path.display()
            );
            return Err(wrong(remedy));
        }
        let mut text = String::new();
        let mut limited: Take<_> = file.take(MAX_SECRET);
        limited
            .read_to_string(&mut text)
            .map_err(|e| wrong(e.to_string()))?;
        first_line(&text).ok_or_else(|| wrong("the file's first line is empty".to_owned()))
    }

    async fn run_command(&self, command: &str) -> Result<SecretString> {
        let failed = |why: String| self.error(&format!("the command {why}")).for_now();
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("cannot be started: {e}")))?;
        let Some(output) = child.stdout.take() else {
            return Err(failed("has no output".to_owned()));
        };
        let work = async {
            let mut line = String::new();
            let mut reader = BufReader::new(output.take(MAX_SECRET));
            reader.read_line(&mut line).await?;
            // What follows the first line is read away, so that the command does not die of a closed pipe.
            tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
            Ok::<_, std::io::Error>((line, child.wait().await?))
        };
        let (line, status) = tokio::time::timeout(COMMAND_TIMEOUT, work)
            .await
            .map_err(|_| failed(format!("did not end within {COMMAND_TIMEOUT:?}")))?
            .map_err(|e| failed(format!("failed: {e}")))?;
        if !status.success() {
            return Err(failed(format!("failed ({status})")));
        }
        first_line(&line).ok_or_else(|| failed("printed an empty first line".to_owned()))
    }

    fn error(&self, message: &str) -> ConfigError {
        ConfigError::new(&self.config, message).at_key(&self.key)
    }
}

fn first_line(text: &str) -> Option<SecretString> {
    let line = text.lines().next().unwrap_or_default();
    (!line.is_empty()).then(|| SecretString::from(line.to_owned()))
}

/// The environment variable that holds a secret of an account.
pub fn secret_variable(account: &str, name: &str) -> String {
    let upper = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect()
    };
    format!("LOCKERFS_{}_{}", upper(account), upper(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_upper_case_words() {
        assert_eq!(
            secret_variable("my-media", "api_key"),
            "LOCKERFS_MY_MEDIA_API_KEY"
        );
    }
}
