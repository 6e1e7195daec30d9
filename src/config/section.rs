//! One table of the config, from which keys are taken by name and type. What nobody took is an unknown
//! key, and the names that were asked for are the known ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::suggest::closest;

pub(super) type Result<T> = std::result::Result<T, ConfigError>;

/// The text that spans point into.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub file: &'t Path,
    pub text: &'t str,
}

impl Text<'_> {
    pub fn line(self, offset: usize) -> usize {
        self.text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1
    }
}

struct Slot<'t> {
    key_at: usize,
    value: DeValue<'t>,
}

pub(super) struct Section<'t> {
    pub text: Text<'t>,
    /// For example `accounts.media`; empty for the top.
    path: String,
    slots: BTreeMap<String, Slot<'t>>,
    known: Vec<String>,
    at: usize,
}

impl<'t> Section<'t> {
    pub fn new(text: Text<'t>, path: impl Into<String>, table: DeTable<'t>, at: usize) -> Self {
        let slots = table
            .into_iter()
            .map(|(key, value)| {
                let key_at = key.span().start;
                (
                    key.into_inner().into_owned(),
                    Slot {
                        key_at,
                        value: value.into_inner(),
                    },
                )
            })
            .collect();
        Section {
            text,
            path: path.into(),
            slots,
            known: Vec::new(),
            at,
        }
    }

    /// An error about this table.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        let error = ConfigError::new(self.text.file, message).at_line(self.text.line(self.at));
        if self.path.is_empty() {
            error
        } else {
            error.at_key(&self.path)
        }
    }

    fn error_at(&self, key: &str, at: usize, message: impl Into<String>) -> ConfigError {
        ConfigError::new(self.text.file, message)
            .at_line(self.text.line(at))
            .at_key(self.path_of(key))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &str) -> Option<Slot<'t>> {
        self.known.push(key.to_owned());
        self.slots.remove(key)
    }

    pub fn string(&mut self, key: &str) -> Result<Option<String>> {
        self.string_as(key, |text| Ok(text.to_owned()))
    }

    /// A string that `read` turns into a value or refuses with a reason.
    pub fn string_as<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(slot) = self.take(key) else {
            return Ok(None);
        };
        let DeValue::String(text) = &slot.value else {
            return Err(self.error_at(key, slot.key_at, "must be a text in quotes"));
        };
        read(text)
            .map(Some)
            .map_err(|why| self.error_at(key, slot.key_at, why))
    }

    /// A list of strings that `read` turns into a value or refuses with a reason.
    pub fn strings_as<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&[String]) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(slot) = self.take(key) else {
            return Ok(None);
        };
        let texts = match &slot.value {
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.clone().into_owned()),
                    _ => None,
                });
                texts.collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let Some(texts) = texts else {
            return Err(self.error_at(key, slot.key_at, "must be a list of texts, like [\"a\", \"b\"]"));
        };
        read(&texts)
            .map(Some)
            .map_err(|why| self.error_at(key, slot.key_at, why))
    }

    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(slot) = self.take(key) else {
            return Ok(None);
        };
        match slot.value {
            DeValue::Boolean(value) => Ok(Some(value)),
            _ => Err(self.error_at(key, slot.key_at, "must be true or false, without quotes")),
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        self.string_as(key, |text| {
            let found = words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value);
            found.ok_or_else(|| {
                let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("{text:?} is not one of {}", known.join(", "))
            })
        })
    }

    /// A number between `allowed.start` and before `allowed.end`, written as a number or as text.
    pub fn number<T>(&mut self, key: &str, allowed: Range<T>) -> Result<Option<T>>
    where
        T: FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let Some(slot) = self.take(key) else {
            return Ok(None);
        };
        let value: Option<T> = match &slot.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        match value.filter(|value| allowed.contains(value)) {
            Some(value) => Ok(Some(value)),
            None => {
                let message = format!("must be a number from {} to below {}", allowed.start, allowed.end);
                Err(self.error_at(key, slot.key_at, message))
            }
        }
    }

    /// Tables under `key`, each with its name, in the order of the names.
    pub fn tables(&mut self, key: &str) -> Result<Vec<(String, Section<'t>)>> {
        let Some(slot) = self.take(key) else {
            return Ok(Vec::new());
        };
        let path = self.path_of(key);
        let DeValue::Table(table) = slot.value else {
            return Err(self.error_at(key, slot.key_at, format!("must be a table, [{path}.NAME]")));
        };
        let mut sections = Vec::new();
        for (name, value) in table {
            let at = name.span().start;
            let name = name.into_inner().into_owned();
            let path = format!("{path}.{name}");
            let DeValue::Table(table) = value.into_inner() else {
                let error = ConfigError::new(self.text.file, format!("must be a table, [{path}]"));
                return Err(error.at_line(self.text.line(at)).at_key(path));
            };
            sections.push((name, Section::new(self.text, path, table, at)));
        }
        Ok(sections)
    }

    pub fn has(&self, key: &str) -> bool {
        self.slots.contains_key(key)
    }

    /// Refuses what nobody asked for.
    pub fn finish(self) -> Result<()> {
        let Some((key, slot)) = self.slots.iter().min_by_key(|(_, slot)| slot.key_at) else {
            return Ok(());
        };
        let hint = match closest(key, self.known.iter().map(String::as_str)) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => format!("; known here: {}", self.known.join(", ")),
        };
        Err(self.error_at(key, slot.key_at, format!("unknown key{hint}")))
    }
}
