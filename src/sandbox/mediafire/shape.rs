//! Files, folders and times in the service's JSON.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Month, OffsetDateTime, PrimitiveDateTime, UtcOffset};

use super::envelope::{fields, text, yes};
use crate::sandbox::tree::{File, Folder, ROOT, Tree};

/// How the service calls the root.
pub const MYFILES: &str = "myfiles";

/// Extension, MIME type, kind of file.
const TYPES: &[(&str, &str, &str)] = &[
    ("txt", "text/plain", "document"),
    ("md", "text/plain", "document"),
    ("log", "text/plain", "document"),
    ("pdf", "application/pdf", "document"),
    ("doc", "application/msword", "document"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "document",
    ),
    ("odt", "application/vnd.oasis.opendocument.text", "document"),
    ("xls", "application/vnd.ms-excel", "spreadsheet"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "spreadsheet",
    ),
    ("csv", "text/csv", "spreadsheet"),
    ("ppt", "application/vnd.ms-powerpoint", "presentation"),
    ("jpg", "image/jpeg", "image"),
    ("jpeg", "image/jpeg", "image"),
    ("png", "image/png", "image"),
    ("gif", "image/gif", "image"),
    ("bmp", "image/bmp", "image"),
    ("webp", "image/webp", "image"),
    ("svg", "image/svg+xml", "image"),
    ("tif", "image/tiff", "image"),
    ("mp3", "audio/mpeg", "audio"),
    ("ogg", "audio/ogg", "audio"),
    ("flac", "audio/flac", "audio"),
    ("wav", "audio/x-wav", "audio"),
    ("m4a", "audio/mp4", "audio"),
    ("mp4", "video/mp4", "video"),
    ("mkv", "video/x-matroska", "video"),
    ("avi", "video/x-msvideo", "video"),
    ("mov", "video/quicktime", "video"),
    ("webm", "video/webm", "video"),
    ("zip", "application/zip", "archive"),
    ("gz", "application/x-gzip", "archive"),
    ("tar", "application/x-tar", "archive"),
    ("7z", "application/x-7z-compressed", "archive"),
    ("rar", "application/x-rar", "archive"),
    ("html", "text/html", "development"),
    ("js", "application/javascript", "development"),
    ("json", "application/json", "development"),
    ("xml", "application/xml", "development"),
    ("rs", "text/plain", "development"),
    ("py", "text/x-python", "development"),
    ("sqlite", "application/x-sqlite3", "data"),
    ("exe", "application/x-msdownload", "application"),
];

pub fn types() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TYPES.iter().copied()
}

/// Extension in lower case; empty where there is none.
pub fn extension(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_lowercase(),
        _ => String::new(),
    }
}

/// MIME type and kind of file.
pub fn media(name: &str) -> (&'static str, &'static str) {
    let extension = extension(name);
    TYPES
        .iter()
        .find(|(known, _, _)| *known == extension)
        .map_or(("application/octet-stream", "application"), |(_, mime, kind)| {
            (mime, kind)
        })
}

/// The page on which a kind of file is looked at, and the name of its link; none where it is not.
pub fn viewer(kind: &str) -> Option<&'static str> {
    match kind {
        "document" | "spreadsheet" | "presentation" | "image" | "development" => Some("view"),
        "audio" => Some("listen"),
        "video" => Some("watch"),
        _ => None,
    }
}

/// Whether the service's editor takes a file: plain text.
pub fn is_editable(name: &str) -> bool {
    media(name).0 == "text/plain"
}

/// Seconds east of Greenwich of US Central time at a moment: an hour more from the second Sunday of March,
/// 2 o'clock, to the first Sunday of November.
fn central_offset(at: i64) -> i64 {
    const STANDARD: i64 = -6 * 3600;
    let Ok(moment) = OffsetDateTime::from_unix_timestamp(at + STANDARD) else {
        return STANDARD;
    };
    let sunday = |month: Month, nth: u8| {
        let first = time::Date::from_calendar_date(moment.year(), month, 1).ok()?;
        let wait = (7 - first.weekday().number_days_from_sunday()) % 7;
        let day = first.replace_day(1 + wait + 7 * (nth - 1)).ok()?;
        Some(day.midnight().assume_utc().unix_timestamp() - STANDARD)
    };
    match (sunday(Month::March, 2), sunday(Month::November, 1)) {
        // Two o'clock by the clock in force, which in November is an hour ahead.
        (Some(spring), Some(autumn)) if (spring + 7200..autumn + 3600).contains(&at) => STANDARD + 3600,
        _ => STANDARD,
    }
}

/// A moment as the service's own clock shows it.
pub fn local_time(at: i64) -> String {
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp(at + central_offset(at))
        .ok()
        .and_then(|moment| moment.format(plain).ok())
        .unwrap_or_default()
}

pub fn utc_time(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Reads what clients send: RFC 3339, `@seconds`, or a time without zone, which is the service's own.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok();
    }
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment.to_offset(UtcOffset::UTC).unix_timestamp());
    }
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let local = PrimitiveDateTime::parse(&text.replace('T', " "), plain)
        .ok()?
        .assume_utc()
        .unix_timestamp();
    Some(local - central_offset(local + 6 * 3600))
}

/// The key of a parent as replies tell it: nothing for the root.
pub fn parent_key(parent: &str) -> &str {
    if parent == ROOT { "" } else { parent }
}

pub fn folder_key(key: &str) -> &str {
    if key == ROOT { MYFILES } else { key }
}

/// A name in a link: readable, and safe in a path.
pub fn link_name(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn privacy(private: bool) -> &'static str {
    if private { "private" } else { "public" }
}

/// A file as listings tell it: without its parent.
pub fn file(file: &File, base: &str) -> Map<String, Value> {
    let (mime, kind) = media(&file.name);
    let link = format!("{base}file/{}/{}/file", file.key, link_name(&file.name));
    let mut told = fields(json!({
        "quickkey": file.key,
        "hash": file.content.sha256,
        "filename": file.name,
        "description": file.description,
        "size": text(file.content.size),
        "privacy": privacy(file.private),
        "created": local_time(file.created),
        "created_utc": utc_time(file.created),
        "password_protected": "no",
        "mimetype": mime,
        "filetype": kind,
        "view": text(if kind == "image" { 2 } else { 0 }),
        "edit": text(u64::from(is_editable(&file.name))),
        "revision": text(file.revision),
        "flag": "1",
        "downloads": text(file.downloads),
        "views": "0",
        "links": { "normal_download": link },
    }));
    if let Some(deleted) = file.deleted {
        told.insert("delete_date".to_owned(), Value::from(local_time(deleted)));
    }
    told
}

/// A file as `file/get_info` tells it.
pub fn file_info(described: &File, base: &str) -> Map<String, Value> {
    let mut told = file(described, base);
    let parent = if described.deleted.is_some() {
        "trash"
    } else {
        parent_key(&described.parent)
    };
    told.insert("parent_folderkey".to_owned(), Value::from(parent));
    let name = link_name(&described.name);
    let kind = media(&described.name).1;
    let page = |page: &str| Value::from(format!("{base}{page}/{}/{name}", described.key));
    if let Some(links) = told.get_mut("links").and_then(Value::as_object_mut) {
        links.extend(viewer(kind).map(|viewer| (viewer.to_owned(), page(viewer))));
        if is_editable(&described.name) {
            links.insert("edit".to_owned(), page("edit"));
        }
        if matches!(kind, "audio" | "video") {
            links.insert("streaming".to_owned(), page("stream"));
        }
    }
    told.insert("ready".to_owned(), yes(true));
    told.insert("owner_name".to_owned(), Value::from("Demo"));
    told
}

/// A folder as listings tell it.
pub fn folder(tree: &Tree, folder: &Folder, details: bool) -> Map<String, Value> {
    let (folders, files) = tree.counts(&folder.key);
    let mut told = fields(json!({
        "folderkey": folder.key,
        "name": folder.name,
        "description": folder.description,
        "tags": "",
        "privacy": privacy(folder.private),
        "created": local_time(folder.created),
        "created_utc": utc_time(folder.created),
        "revision": text(folder.revision),
        "flag": "1",
        "file_count": text(files),
        "folder_count": text(folders),
        "dropbox_enabled": "no",
    }));
    if let Some(deleted) = folder.deleted {
        told.insert("delete_date".to_owned(), Value::from(local_time(deleted)));
    }
    if details {
        add_totals(tree, &folder.key, &mut told);
    }
    told
}

pub fn add_totals(tree: &Tree, key: &str, told: &mut Map<String, Value>) {
    let (folders, files, bytes) = tree.totals(key);
    let direct: u64 = tree.files_in(key).map(|file| file.content.size).sum();
    told.insert("size".to_owned(), text(direct));
    told.insert("total_folders".to_owned(), text(folders));
    told.insert("total_files".to_owned(), text(files));
    told.insert("total_size".to_owned(), text(bytes));
}

/// The root as `folder/get_info` tells it: without time and parent.
pub fn root(tree: &Tree) -> Map<String, Value> {
    let (folders, files) = tree.counts(ROOT);
    fields(json!({
        "folderkey": MYFILES,
        "name": MYFILES,
        "file_count": text(files),
        "folder_count": text(folders),
        "revision": text(tree.folder_revision(ROOT)),
        "owner_name": "Demo",
        "avatar": "",
        "dropbox_enabled": "no",
        "flag": "1",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_us_central_time_as_recorded() {
        let winter = parse_time("2014-02-12T23:27:32Z").unwrap();
        assert_eq!(local_time(winter), "2014-02-12 17:27:32");
        let summer = parse_time("2015-05-06T21:48:07Z").unwrap();
        assert_eq!(local_time(summer), "2015-05-06 16:48:07");
        assert_eq!(utc_time(summer), "2015-05-06T21:48:07Z");
    }

    #[test]
    fn times_are_read_with_offset_and_without() {
        assert_eq!(
            parse_time("2015-05-06T23:48:07+02:00"),
            parse_time("2015-05-06T21:48:07Z")
        );
        assert_eq!(
            parse_time("2015-05-06 16:48:07"),
            parse_time("2015-05-06T21:48:07Z")
        );
        assert_eq!(parse_time("@86400"), Some(86400));
        assert_eq!(parse_time("yesterday or so"), None);
    }
}
