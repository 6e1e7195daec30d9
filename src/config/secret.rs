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
use super::section::{Result, Section};

/// How long a command may take; long enough to type a passphrase.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_SECRET: u64 = 64 * 1024;

/// One secret field of an account.
pub struct SecretSource {
    config: PathBuf,
    /// For example `accounts.media.password`.
    key: String,
    /// The environment variable that is looked at first.
    variable: String,
    origin: Origin,
}

enum Origin {
    Nowhere,
    Config(SecretString),
    File(PathBuf),
    Command(String),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Nowhere => "nowhere",
            Origin::Config(_) => "config",
            Origin::File(_) => "file",
            Origin::Command(_) => "command",
        };
        f.debug_struct("SecretSource")
            .field("key", &self.key)
            .field("origin", &origin)
            .finish()
    }
}

impl SecretSource {
    /// Takes NAME, NAME_file and NAME_command from an account's table; at most one of them may be there.
    pub(super) fn read(section: &mut Section<'_>, account: &str, name: &str) -> Result<Self> {
        let keys = [name.to_owned(), format!("{name}_file"), format!("{name}_command")];
        let given: Vec<&str> = keys
            .iter()
            .filter(|key| section.has(key))
            .map(String::as_str)
            .collect();
        if let [first, second, ..] = given.as_slice() {
            return Err(section.error(format!("both {first} and {second} are given: leave one")));
        }
        let [inline, file, command] = &keys;
        let inline = section
            .string(inline)?
            .map(|text| Origin::Config(SecretString::from(text)));
        let directory = section.text.file.parent().unwrap_or(Path::new("/")).to_owned();
        let file = section
            .string(file)?
            .map(|path| Origin::File(directory.join(path)));
        let command = section.string(command)?.map(Origin::Command);
        Ok(SecretSource {
            config: section.text.file.to_owned(),
            key: format!("accounts.{account}.{name}"),
            variable: variable_name(account, name),
            origin: inline.or(file).or(command).unwrap_or(Origin::Nowhere),
        })
    }

    /// Whether a secret is to be had, without fetching it.
    pub fn is_given(&self) -> bool {
        !matches!(self.origin, Origin::Nowhere) || std::env::var_os(&self.variable).is_some()
    }

    /// The secret; `None` where none is given. The environment goes before the file, so that one run can be
    /// given another secret.
    pub async fn fetch(&self) -> Result<Option<SecretString>> {
        if let Some(value) = std::env::var_os(&self.variable) {
            let value = value
                .into_string()
                .map_err(|_| self.error("the environment's value is not UTF-8"))?;
            return Ok(Some(SecretString::from(value)));
        }
        match &self.origin {
            Origin::Nowhere => Ok(None),
            Origin::Config(secret) => Ok(Some(secret.clone())),
            Origin::File(path) => self.read_file(path).map(Some),
            Origin::Command(command) => self.run_command(command).await.map(Some),
        }
    }

    /// The secret, or an error that says how to give one.
    pub async fn require(&self) -> Result<SecretString> {
        let name = self.key.rsplit('.').next().unwrap_or_default();
        self.fetch().await?.ok_or_else(|| {
            self.error(&format!(
                "is missing: give {name}, {name}_file or {name}_command there, or set {}",
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
        let failed = |why: String| self.error(&format!("the command {why}"));
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

fn variable_name(account: &str, name: &str) -> String {
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
        assert_eq!(variable_name("my-media", "api_key"), "LOCKERFS_MY_MEDIA_API_KEY");
    }
}
