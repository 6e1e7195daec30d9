//! A config file that is being changed: comments, order and all else that a person wrote in it stay.
//!
//! A draft is nothing until [`Draft::write`]: it is checked as a whole, then takes the file's place at once or not at
//! all. What somebody else changed meanwhile is never overwritten.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

use super::error::ConfigError;
use super::file::{Config, read_private};
use super::section::Result;

/// What a key of an account is set to.
#[derive(Clone)]
pub enum Entry {
    Text(String),
    List(Vec<String>),
}

/// A config file and what it is to become.
pub struct Draft {
    path: PathBuf,
    /// As it was read; `None` where there is none yet.
    before: Option<String>,
    document: DocumentMut,
}

/// A config that took the place of another, which can come back.
pub struct Written {
    target: PathBuf,
    before: Option<String>,
    made: Vec<PathBuf>,
}

impl Draft {
    /// Reads a config, which need not exist.
    pub fn open(path: &Path) -> Result<Self> {
        let before = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(read_private(path)?),
        };
        // Checked by the reader of configs first, whose errors quote no line.
        let text = before.as_deref().unwrap_or_default();
        Config::parse(path, text)?;
        let document = text
            .parse()
            .map_err(|_| ConfigError::new(path, "is not TOML that lockerfs can change: change it by hand"))?;
        Ok(Draft {
            path: path.to_owned(),
            before,
            document,
        })
    }

    /// The config as it would be.
    pub fn config(&self) -> Result<Config> {
        Config::parse(&self.path, &self.document.to_string())
    }

    /// Adds an account behind those that there are.
    pub fn add_account(&mut self, name: &str, entries: &[(String, Entry)]) -> Result<()> {
        let is_first = self.document.is_empty();
        if self.accounts()?.contains_key(name) {
            return Err(self.wrong(format!("has an account {name} already")));
        }
        let account = match self.document.get("accounts").is_some_and(Item::is_inline_table) {
            true => {
                let mut table = InlineTable::new();
                for (key, entry) in entries {
                    table.insert(key, entry.value());
                }
                Item::Value(Value::InlineTable(table))
            }
            false => {
                let mut table = Table::new();
                for (key, entry) in entries {
                    table.insert(key, Item::Value(entry.value()));
                }
                if !is_first {
                    table.decor_mut().set_prefix("\n");
                }
                Item::Table(table)
            }
        };
        self.accounts()?.insert(name, account);
        Ok(())
    }

    pub fn remove_account(&mut self, name: &str) -> Result<()> {
        match self.accounts()?.remove(name) {
            Some(_) => Ok(()),
            None => Err(self.wrong(format!("has no account {name}"))),
        }
    }

    /// Gives an account another name, where it stands.
    pub fn rename_account(&mut self, old: &str, new: &str) -> Result<()> {
        let taken = format!("has an account {new} already");
        let missing = format!("has no account {old}");
        let path = self.path.clone();
        let accounts = self.accounts()?;
        if accounts.contains_key(new) {
            return Err(ConfigError::new(&path, taken));
        }
        let mut all = Vec::new();
        let names: Vec<String> = accounts.iter().map(|(name, _)| name.to_owned()).collect();
        // Taken out and put back in order, since a table keeps the order in which keys came.
        for name in names {
            let key = accounts.key(&name).cloned();
            if let (Some(key), Some(item)) = (key, accounts.remove(&name)) {
                all.push((key, item));
            }
        }
        let mut is_found = false;
        for (key, item) in all {
            let key = match key.get() == old {
                false => key,
                true => {
                    is_found = true;
                    Key::new(new)
                        .with_leaf_decor(key.leaf_decor().clone())
                        .with_dotted_decor(key.dotted_decor().clone())
                }
            };
            accounts.entry_format(&key).or_insert(item);
        }
        match is_found {
            true => Ok(()),
            false => Err(ConfigError::new(&path, missing)),
        }
    }

    /// Sets a key of an account, with its comments where it is there already.
    pub fn set(&mut self, account: &str, key: &str, entry: &Entry) -> Result<()> {
        let missing = format!("has no account {account}");
        let path = self.path.clone();
        let table = self
            .accounts()?
            .get_mut(account)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| ConfigError::new(&path, missing))?;
        let mut value = entry.value();
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(key, Item::Value(value));
            }
        }
        Ok(())
    }

    fn accounts(&mut self) -> Result<&mut dyn TableLike> {
        let path = self.path.clone();
        let accounts = self.document.entry("accounts").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        accounts
            .as_table_like_mut()
            .ok_or_else(|| ConfigError::new(&path, "accounts must be a table, [accounts.NAME]"))
    }

    fn wrong(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.path, why)
    }

    /// Makes the file what the draft is, for its owner alone, with the folder that it stands in where that is missing.
    /// A file that is reached through a link stays where it is. Fails where it is not what was read any more.
    pub fn write(self) -> Result<Written> {
        self.config()?;
        let text = self.document.to_string();
        let failed = |e: io::Error| self.wrong(format!("cannot be written: {e}"));
        let target = match self.before {
            None => self.path.clone(),
            Some(_) => self.path.canonicalize().map_err(failed)?,
        };
        let folder = target.parent().unwrap_or(Path::new("/")).to_owned();
        let made = make_folders(&folder).map_err(failed)?;
        let written = Written {
            target,
            before: self.before.clone(),
            made,
        };
        let outcome = locked(&folder, || {
            let now = match written.target.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                _ => Some(fs::read_to_string(&written.target)?),
            };
            match now == self.before {
                true => replace(&written.target, text.as_bytes()),
                false => Err(io::Error::other("somebody changed it meanwhile; try again")),
            }
        });
        if let Err(error) = outcome {
            written.remove_folders();
            return Err(failed(error));
        }
        Ok(written)
    }
}

impl Written {
    /// Brings back what was there before.
    pub fn undo(self) -> io::Result<()> {
        match &self.before {
            Some(text) => replace(&self.target, text.as_bytes())?,
            None => fs::remove_file(&self.target)?,
        }
        self.remove_folders();
        Ok(())
    }

    fn remove_folders(&self) {
        for folder in self.made.iter().rev() {
            // What somebody put into it meanwhile keeps it.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Entry {
    fn value(&self) -> Value {
        match self {
            Entry::Text(text) => Value::from(text.as_str()),
            Entry::List(texts) => Value::Array(texts.iter().map(String::as_str).collect::<Array>()),
        }
    }
}

/// Makes a folder with all that leads to it, for its owner alone; those that were made, from the top down.
pub(super) fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    made.reverse();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(made)
}

/// Puts a content in the place of a file, or makes the file: all of it or nothing, for its owner alone.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let old = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        old => Some(old?),
    };
    let mut new = tempfile::Builder::new()
        .prefix(".lockerfs-new-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    new.write_all(content)?;
    if let Some(old) = old {
        let own = new.as_file().metadata()?;
        if (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            std::os::unix::fs::fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        new.as_file()
            .set_permissions(fs::Permissions::from_mode(old.mode() & 0o700))?;
    }
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Does `work` while no other lockerfs changes a config in the folder.
fn locked<T>(folder: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(folder)?;
    // SAFETY: flock takes a descriptor, which `folder` keeps open during the call, and no pointer.
    if unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(io::Error::last_os_error());
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "# mine\non_close = \"wait\"  # slow\n\n# the first\n[accounts.b]  # b\nkind = \"mediafire\"\n\
        email = \"b@example.org\"\n\n# the second\n[accounts.a]\nkind = \"mediafire\"\nemail = \"a@example.org\" # me\n\
        password = \"x\" # old\n";

    fn draft(text: &str) -> Draft {
        Draft {
            path: "/config.toml".into(),
            before: Some(text.to_owned()),
            document: text.parse().unwrap(),
        }
    }

    fn text(entries: &[(&str, &str)]) -> Vec<(String, Entry)> {
        let entries = entries.iter();
        entries
            .map(|(key, value)| ((*key).to_owned(), Entry::Text((*value).to_owned())))
            .collect()
    }

    #[test]
    fn what_is_not_changed_stays_to_the_letter() {
        let mut draft = draft(WRITTEN);
        draft
            .add_account("c", &text(&[("kind", "mediafire"), ("email", "c@example.org")]))
            .unwrap();
        let added = "\n[accounts.c]\nkind = \"mediafire\"\nemail = \"c@example.org\"\n";
        assert_eq!(draft.document.to_string(), format!("{WRITTEN}{added}"));
        draft.rename_account("b", "z y").unwrap();
        draft
            .set("a", "password", &Entry::Text("new".to_owned()))
            .unwrap();
        let expected = format!("{WRITTEN}{added}")
            .replace("accounts.b", "accounts.\"z y\"")
            .replace("\"x\"", "\"new\"");
        assert_eq!(draft.document.to_string(), expected);
        draft.remove_account("c").unwrap();
        draft.rename_account("z y", "b").unwrap();
        draft.set("a", "password", &Entry::Text("x".to_owned())).unwrap();
        assert_eq!(draft.document.to_string(), WRITTEN);
        assert!(draft.rename_account("a", "b").is_err() && draft.rename_account("q", "r").is_err());
    }

    fn names(draft: &Draft) -> Vec<String> {
        let accounts = draft.config().unwrap().accounts.into_iter();
        accounts.map(|account| account.name).collect()
    }

    #[test]
    fn accounts_with_dotted_keys_get_another_one_beside_them() {
        let mut draft = draft("accounts.a.kind = \"mediafire\"\naccounts.a.email = \"a@example.org\"\n");
        let entries = text(&[("kind", "mediafire"), ("email", "c@example.org")]);
        draft.add_account("c", &entries).unwrap();
        draft.rename_account("a", "b").unwrap();
        assert_eq!(names(&draft), ["b", "c"]);
    }

    #[test]
    fn accounts_in_one_line_get_another_one_there() {
        let mut draft = draft("accounts = { a = { kind = \"mediafire\", email = \"a@example.org\" } }\n");
        draft
            .add_account("c", &text(&[("kind", "mediafire"), ("email", "c@example.org")]))
            .unwrap();
        draft.rename_account("a", "b").unwrap();
        assert_eq!(names(&draft), ["b", "c"]);
    }
}
