//! The list of `-o`: what fstab and mount(8) say beside the directory.
//!
//! Options of the system are taken or, where they mean nothing here, passed over; all others are options of
//! the config, which hold in place of those in the file.

use std::path::PathBuf;

use crate::config::ConfigError;

/// What a list of options says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Options {
    pub config: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub cache_dir: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub account: Option<String>,
    /// What stands as the device in the table of mounts.
    pub source: Option<String>,
    pub allow_other: bool,
    pub read_only: bool,
    pub no_exec: bool,
    /// Options of the config, with their values.
    pub settings: Vec<(String, String)>,
}

/// Options that are for mount(8) and its relatives, or that a mount of ours fulfils in any case.
const PASSED_OVER: &[&str] = &[
    "_netdev",
    "async",
    "atime",
    "auto",
    "comment",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "fail",
    "group",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "noauto",
    "nodev",
    "nodiratime",
    "nofail",
    "nogroup",
    "noiversion",
    "nolazytime",
    "nomand",
    "noowner",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nouser",
    "nousers",
    "owner",
    "relatime",
    "rw",
    "silent",
    "strictatime",
    "user",
    "users",
];

impl Options {
    /// Reads lists such as `ro,uid=1000,on_close=wait`; a later option wins. Fails with a sentence.
    pub fn parse<'a>(lists: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Options::default();
        let words = lists.into_iter().flat_map(|list| list.split(','));
        for word in words.map(str::trim).filter(|word| !word.is_empty()) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            options.take(name, value)?;
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let needed = || match value {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(format!("the mount option {name} needs a value: {name}=VALUE")),
        };
        let path = || -> Result<_, String> { Ok(Some(PathBuf::from(needed()?))) };
        match name {
            "config" => self.config = path()?,
            "state_dir" => self.state_dir = path()?,
            "cache_dir" => self.cache_dir = path()?,
            "log_file" => self.log_file = path()?,
            "account" => self.account = Some(needed()?),
            "source" => self.source = Some(needed()?),
            "allow_other" => self.allow_other = true,
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "noexec" => self.no_exec = true,
            "exec" => self.no_exec = false,
            // These hold for whoever may not be trusted with programs either.
            "user" | "users" => self.no_exec = true,
            _ if is_passed_over(name) => {}
            _ => {
                let value = value.unwrap_or("true").to_owned();
                self.settings.retain(|(known, _)| known != name);
                self.settings.push((name.to_owned(), value));
            }
        }
        Ok(())
    }
}

fn is_passed_over(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    PASSED_OVER.contains(&name) || lower.starts_with("x-") || lower.starts_with("helper")
}

/// What is wrong with an option of the config that `-o` gave.
pub(in crate::cli) fn wrong(error: &ConfigError) -> String {
    let named = error
        .key
        .as_deref()
        .map(|key| format!(" {key}"))
        .unwrap_or_default();
    format!("the mount option{named}: {}", error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_system_are_taken_or_passed_over_and_others_are_settings() {
        let options = Options::parse(["rw,noauto,x-systemd.automount,uid=1000", "ro,crawl,on_close=wait"]);
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = Options {
            read_only: true,
            settings: vec![
                setting("uid", "1000"),
                setting("crawl", "true"),
                setting("on_close", "wait"),
            ],
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn a_later_option_wins() {
        let options = Options::parse(["ro,noexec,umask=022,rw,exec,umask=077"]).expect("options");
        let seen = (options.read_only, options.no_exec, options.settings.len());
        assert_eq!(seen, (false, false, 1));
        assert_eq!(options.settings[0].1, "077");
    }

    #[test]
    fn an_option_that_names_a_place_needs_one() {
        let error = Options::parse(["config="]).expect_err("no value");
        assert!(error.contains("config=VALUE"), "{error}");
    }
}
