//! Reads what the hosts send, tolerantly: numbers as strings, ids as numbers, nulls, empty lists, dates that
//! are none. What comes out is typed; what makes no sense comes out as `None`, never as a panic. It knows the
//! shapes, not the calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

pub(super) use crate::provider::form::Params;
use crate::provider::{
    ContentHash, FileEntry, FileId, FolderEntry, FolderId, ListHint, sensible_size, sensible_text,
};

/// Our own name for the account's top folder, which has no id there.
pub(super) const ROOT: &str = "0";

/// Seconds by which a host's clock may be set to another zone than UTC.
const ZONES: i64 = 15 * 3600;
/// Zones differ from each other by multiples of this, in seconds.
const ZONE_STEP: i64 = 15 * 60;

pub(super) fn root() -> FolderId {
    FolderId::new(ROOT)
}

pub(super) fn is_root(folder: &FolderId) -> bool {
    folder.as_str() == ROOT
}

/// A folder's id for the calls that take a blank for the top folder: listing, creation, upload.
pub(super) fn blank_root(folder: &FolderId) -> &str {
    if is_root(folder) { "" } else { folder.as_str() }
}

/// A folder's id for the calls that take the word `null` for the top folder: edits, moves and copies.
pub(super) fn null_root(folder: &FolderId) -> &str {
    if is_root(folder) { "null" } else { folder.as_str() }
}

/// A JSON value of unknown shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a Value);

impl<'a> Node<'a> {
    pub(super) fn get(self, key: &str) -> Option<Node<'a>> {
        self.0.get(key).filter(|value| !value.is_null()).map(Node)
    }

    /// A string or a number as text; blank counts as missing.
    pub(super) fn text(self, key: &str) -> Option<String> {
        as_text(self.0.get(key)?)
    }

    pub(super) fn number(self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Number(number) => as_whole(number),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_i64().map(|number| number != 0),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "yes" | "true" => Some(true),
                "0" | "no" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items under `key`: a list, or an object by whose keys PHP numbers what is left of a list.
    pub(super) fn items(self, key: &str) -> Items<'a> {
        match self.0.get(key) {
            None | Some(Value::Null) => Items::Absent,
            Some(Value::Array(items)) => Items::List(items.iter().map(Node).collect()),
            Some(Value::Object(map)) => Items::List(map.values().map(Node).collect()),
            Some(_) => Items::Unreadable,
        }
    }

    /// A folder's id under `key`, which is null, blank or 0 for the top folder; `None` where it is not told.
    pub(super) fn folder_id(self, key: &str) -> Option<FolderId> {
        let text = match self.0.get(key)? {
            Value::Null => return Some(root()),
            value @ (Value::String(_) | Value::Number(_)) => as_text(value).unwrap_or_default(),
            _ => return None,
        };
        Some(match text.trim() {
            "" | "0" | "null" => root(),
            id => FolderId::new(id),
        })
    }

    /// The time under `key`, told by a clock that is `zone` seconds ahead of UTC.
    pub(super) fn time(self, key: &str, zone: i64) -> Option<SystemTime> {
        let seconds = parse_date(&self.text(key)?)?.checked_sub(zone)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
    }

    /// Whether the item's own state, under one of these names, is told.
    pub(super) fn state(self) -> State {
        let told = ["file_status", "status"]
            .into_iter()
            .find_map(|key| self.text(key));
        match told.as_deref().map(str::trim) {
            None => State::Untold,
            Some(state) if state.eq_ignore_ascii_case("active") || state == "1" => State::Active,
            Some(_) => State::Gone,
        }
    }

    /// A file of a listing or of `file/info`, if it bears an id, a name and a size.
    pub(super) fn file(self) -> Option<FileEntry> {
        let size = ["fileSize", "filesize", "size"]
            .into_iter()
            .find_map(|key| self.number(key))
            .and_then(sensible_size)?;
        let id = self.text("id").or_else(|| self.text("file_id"));
        let name = self.text("filename").or_else(|| self.text("name"));
        Some(FileEntry {
            id: FileId::new(id.and_then(sensible_text)?),
            name: name.and_then(sensible_text)?,
            size,
            mtime: None,
            hash: None,
            revision: None,
            parent: None,
        })
    }

    /// A folder, if it bears an id and a name.
    pub(super) fn folder(self, zone: i64) -> Option<FolderEntry> {
        Some(FolderEntry {
            id: FolderId::new(self.text("id").and_then(sensible_text)?),
            name: self.text("folderName").and_then(sensible_text)?,
            mtime: self
                .time("date_updated", zone)
                .or_else(|| self.time("date_added", zone)),
            hint: ListHint {
                files: self.number("file_count"),
                folders: self.number("child_folder_count"),
            },
        })
    }

    /// An MD5 as 32 hex digits.
    pub(super) fn md5(self, key: &str) -> Option<ContentHash> {
        let hash = ContentHash::from_hex(&self.text(key)?)?;
        matches!(hash, ContentHash::Md5(_)).then_some(hash)
    }
}

/// What stands in the place of a list.
#[derive(Debug, Clone)]
pub(super) enum Items<'a> {
    List(Vec<Node<'a>>),
    Absent,
    Unreadable,
}

impl<'a> Items<'a> {
    pub(super) fn into_list(self) -> Vec<Node<'a>> {
        match self {
            Items::List(items) => items,
            Items::Absent | Items::Unreadable => Vec::new(),
        }
    }
}

/// What an entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Untold,
    Active,
    /// In the trash, deleted, blocked.
    Gone,
}

fn as_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// PHP writes sums beyond its integers, and some that are not, as floats.
fn as_whole(number: &serde_json::Number) -> Option<u64> {
    if let Some(whole) = number.as_u64() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range"
    )]
    (0.0..1.8e19).contains(&float).then_some(float as u64)
}

/// `2017-02-18 12:26:06` as seconds after 1970 by the clock that told it. `0000-00-00 00:00:00` is none.
fn parse_date(text: &str) -> Option<i64> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let date = PrimitiveDateTime::parse(text.trim(), format).ok()?;
    Some(date.assume_utc().unix_timestamp())
}

/// By how many seconds the host's clock is ahead of UTC, as its zone would explain it; `None` where the date
/// is none or no zone explains it.
pub(super) fn zone_offset(told: &str, now: SystemTime) -> Option<i64> {
    let ahead = parse_date(told)? - OffsetDateTime::from(now).unix_timestamp();
    let rounded = (ahead + ZONE_STEP / 2).div_euclid(ZONE_STEP) * ZONE_STEP;
    (rounded.abs() <= ZONES).then_some(rounded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn numbers_come_as_strings_and_as_numbers() {
        let value = json!({"a": "12", "b": 12, "c": "", "d": null, "e": 12.0, "f": -1, "g": "x"});
        let read = |key| Node(&value).number(key);
        assert_eq!([read("a"), read("b"), read("e")], [Some(12); 3]);
        assert_eq!([read("c"), read("d"), read("f"), read("g"), read("z")], [None; 5]);
    }

    #[test]
    fn the_top_folder_comes_in_every_spelling_and_untold_is_none_of_them() {
        let value = json!({"a": null, "b": "", "c": 0, "d": "0", "e": "12", "f": 12, "g": []});
        let read = |key| Node(&value).folder_id(key);
        for key in ["a", "b", "c", "d"] {
            assert_eq!(read(key), Some(root()), "{key}");
        }
        for key in ["e", "f"] {
            assert_eq!(read(key), Some(FolderId::new("12")), "{key}");
        }
        assert_eq!((read("g"), read("z")), (None, None));
    }

    #[test]
    fn dates_follow_the_zone_of_the_host_and_zeros_are_none() {
        let value = json!({"a": "2001-09-09 01:46:40", "b": "0000-00-00 00:00:00", "c": null, "d": "soon"});
        let node = Node(&value);
        assert_eq!(node.time("a", 0), Some(at(1_000_000_000)));
        assert_eq!(node.time("a", 7200), Some(at(1_000_000_000 - 7200)));
        assert_eq!(
            [node.time("b", 0), node.time("c", 0), node.time("d", 0)],
            [None; 3]
        );
    }

    #[test]
    fn the_zone_is_told_by_the_clock_to_a_quarter_of_an_hour() {
        let now = at(1_000_000_000);
        for (told, zone) in [
            ("2001-09-09 01:46:40", 0),
            ("2001-09-09 01:43:00", 0),
            ("2001-09-09 03:47:10", 7200),
            ("2001-09-08 20:46:30", -5 * 3600),
            ("2001-09-09 07:31:40", 20_700),
        ] {
            assert_eq!(zone_offset(told, now), Some(zone), "{told}");
        }
        assert_eq!(zone_offset("2001-09-12 01:46:40", now), None);
        assert_eq!(zone_offset("0000-00-00 00:00:00", now), None);
    }

    #[test]
    fn a_folder_falls_back_on_the_date_of_its_making() {
        let value = json!({"id": 7, "folderName": "f", "date_added": "2001-09-09 01:46:40",
            "date_updated": "0000-00-00 00:00:00", "file_count": "3", "child_folder_count": 0});
        let folder = Node(&value).folder(0).unwrap();
        assert_eq!(folder.mtime, Some(at(1_000_000_000)));
        assert_eq!((folder.hint.files, folder.hint.folders), (Some(3), Some(0)));
    }
}
