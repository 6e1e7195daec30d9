//! Reads what the service sends, tolerantly: numbers as strings, flags in four spellings, lists that are
//! missing, empty strings or single objects. What comes out is typed; what makes no sense comes out as
//! `None`, never as a panic. It knows the shapes, not the calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) use crate::provider::form::Params;
use crate::provider::{
    ContentHash, FileEntry, FileId, FolderEntry, FolderId, ListHint, sensible_size, sensible_text,
};

/// The service's name for the account's top folder.
pub(super) const ROOT: &str = "myfiles";
/// The service's name for the trash, as a parent.
pub(super) const TRASH: &str = "trash";

/// A JSON value of unknown shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a Value);

impl<'a> Node<'a> {
    pub(super) fn get(self, key: &str) -> Option<Node<'a>> {
        self.0.get(key).filter(|value| !value.is_null()).map(Node)
    }

    /// A string or a number as text; blank counts as missing.
    pub(super) fn text(self, key: &str) -> Option<String> {
        let text = match self.0.get(key)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.trim().is_empty()).then_some(text)
    }

    pub(super) fn number(self, key: &str) -> Option<u64> {
        as_number(self.0.get(key)?)
    }

    pub(super) fn signed(self, key: &str) -> Option<i64> {
        match self.0.get(key)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_i64().map(|number| number != 0),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "yes" | "1" | "true" => Some(true),
                "no" | "0" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items under `key`: a list, one item standing alone, or a list one level down under `inner`.
    pub(super) fn items(self, key: &str, inner: &str) -> Vec<Node<'a>> {
        match self.0.get(key) {
            Some(Value::Array(items)) => items.iter().map(Node).collect(),
            Some(Value::Object(map)) => match map.get(inner) {
                Some(_) => Node(&self.0[key]).items(inner, ""),
                None if map.is_empty() => Vec::new(),
                None => vec![Node(&self.0[key])],
            },
            _ => Vec::new(),
        }
    }

    /// The texts under `key`, in the same shapes.
    pub(super) fn texts(self, key: &str, inner: &str) -> Vec<String> {
        let one = |value: &Value| match value {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match self.0.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
            Some(Value::Object(map)) if map.contains_key(inner) => Node(&self.0[key]).texts(inner, ""),
            Some(value) => one(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The time of an item. `created` without zone is in the server's own, unknown zone, and so not used.
    pub(super) fn time(self) -> Option<SystemTime> {
        parse_time(&self.text("created_utc")?)
    }

    /// The folder that an item stands in: nothing and "" mean the top folder, the trash means none.
    pub(super) fn parent(self) -> Option<FolderId> {
        let parent = self.text("parent_folderkey").unwrap_or_else(|| ROOT.to_owned());
        (parent != TRASH).then(|| FolderId::new(parent))
    }

    /// A file, if it bears a key and a name.
    pub(super) fn file(self) -> Option<FileEntry> {
        Some(FileEntry {
            id: FileId::new(self.text("quickkey").and_then(sensible_text)?),
            name: self.text("filename").and_then(sensible_text)?,
            size: self.number("size").and_then(sensible_size)?,
            mtime: self.time(),
            hash: self.text("hash").and_then(|hash| ContentHash::from_hex(&hash)),
            revision: self.text("revision"),
            parent: None,
        })
    }

    /// A folder, if it bears a key and a name.
    pub(super) fn folder(self) -> Option<FolderEntry> {
        let hint = ListHint {
            files: self.number("file_count"),
            folders: self.number("folder_count"),
        };
        let key = self.text("folderkey").or_else(|| self.text("folder_key"));
        Some(FolderEntry {
            id: FolderId::new(key.and_then(sensible_text)?),
            name: self.text("name").and_then(sensible_text)?,
            mtime: self.time(),
            hint,
        })
    }
}

fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// `2015-05-07T16:07:05Z`.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    let seconds = OffsetDateTime::parse(text.trim(), &Rfc3339)
        .ok()?
        .unix_timestamp();
    match u64::try_from(seconds) {
        Ok(after) => UNIX_EPOCH.checked_add(Duration::from_secs(after)),
        Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
    }
}

/// The whole second that holds `time`, which is what the service keeps of it; `None` outside of the years
/// that its format can say.
pub(super) fn format_time(time: SystemTime) -> Option<String> {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).ok()?,
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).ok()?;
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    };
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .format(&Rfc3339)
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_flags_come_in_every_spelling() {
        let value = json!({"a": "12", "b": 12, "c": "", "d": "yes", "e": 0, "f": "1", "g": null, "h": -20});
        let node = Node(&value);
        assert_eq!(
            (node.number("a"), node.number("b"), node.number("c")),
            (Some(12), Some(12), None)
        );
        assert_eq!(
            (node.flag("d"), node.flag("e"), node.flag("f")),
            (Some(true), Some(false), Some(true))
        );
        assert_eq!(
            (node.flag("g"), node.text("c"), node.signed("h")),
            (None, None, Some(-20))
        );
    }

    #[test]
    fn lists_come_missing_empty_single_and_nested() {
        let value =
            json!({"a": [{"x": 1}, {"x": 2}], "b": "", "c": {"x": 1}, "d": {"file": [{"x": 1}]}, "e": {}});
        let node = Node(&value);
        let count = |key| node.items(key, "file").len();
        assert_eq!(
            [
                count("a"),
                count("b"),
                count("c"),
                count("d"),
                count("e"),
                count("z")
            ],
            [2, 0, 1, 1, 0, 0]
        );
    }

    #[test]
    fn times_go_out_as_they_come_in_also_before_1970() {
        for text in ["2015-05-07T16:07:05Z", "1969-12-31T23:59:58Z"] {
            assert_eq!(format_time(parse_time(text).unwrap()).unwrap(), text);
        }
        assert_eq!(parse_time("2015-05-07 16:07:05"), None);
    }

    #[test]
    fn a_time_without_zone_is_not_believed() {
        let value = json!({"created": "2015-05-07 16:07:05"});
        assert_eq!(Node(&value).time(), None);
    }
}
