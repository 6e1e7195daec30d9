//! How the service tells files, folders, numbers and times.

use md5::Md5;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::envelope::fields;
use super::names::extension;
use super::quirks::YetiShareQuirks;
use super::{Context, FolderNote, is_trashed_file, is_trashed_folder};
use crate::sandbox::tree::{File, Folder, ROOT, Tree};

/// What PHP's `rawurlencode` encodes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const TYPES: [(&str, &str); 14] = [
    ("bmp", "image/bmp"),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("xml", "text/xml"),
    ("zip", "application/zip"),
];

pub fn media(name: &str) -> &'static str {
    let extension = extension(name);
    let known = TYPES.iter().find(|(known, _)| *known == extension);
    known.map_or("application/octet-stream", |(_, media)| media)
}

/// A number, which is a string in nearly every place.
pub fn number(value: u64, quirks: &YetiShareQuirks) -> Value {
    if quirks.plain_numbers {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

/// An id, which is a number like others. The root's is null.
pub fn id(key: &str, quirks: &YetiShareQuirks) -> Value {
    key.parse().map_or(Value::Null, |key| number(key, quirks))
}

/// `Y-m-d H:i:s` by the host's own clock.
pub fn date(at: i64, quirks: &YetiShareQuirks) -> String {
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let zone = UtcOffset::from_whole_seconds(quirks.zone_minutes.saturating_mul(60));
    let moment = OffsetDateTime::from_unix_timestamp(at).ok().zip(zone.ok());
    moment
        .and_then(|(moment, zone)| moment.to_offset(zone).format(plain).ok())
        .unwrap_or_else(|| "0000-00-00 00:00:00".to_owned())
}

/// The few characters under which a file can be reached: its id to the base of 62.
pub fn short(key: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // Three characters from the first id on.
    let mut left = key.parse::<u64>().unwrap_or_default() + 62 * 62;
    let mut short = Vec::new();
    while left > 0 {
        short.extend(DIGITS.get((left % 62) as usize));
        left /= 62;
    }
    short.reverse();
    String::from_utf8(short).unwrap_or_default()
}

pub fn link_name(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// 32 hex characters that follow from a file.
pub fn delete_hash(account: &str, key: &str) -> String {
    hex::encode(Md5::digest(format!("delete {account} {key}")))
}

/// 64 hex characters that follow from a file.
pub fn unique_hash(account: &str, key: &str) -> String {
    hex::encode(Sha256::digest(format!("file {account} {key}")))
}

impl Context<'_> {
    /// The addresses of a file: itself, information, statistics, deletion.
    pub fn urls(&self, file: &File) -> [String; 4] {
        let (site, short) = (self.site(), short(&file.key));
        let delete = delete_hash(&self.account.config.name, &file.key);
        [
            format!("{site}{short}/{}", link_name(&file.name)),
            format!("{site}{short}~i?{delete}"),
            format!("{site}{short}~s"),
            format!("{site}{short}~d?{delete}"),
        ]
    }

    /// A file as a listing tells it: without any date.
    pub fn listed_file(&self, file: &File) -> Value {
        let quirks = self.quirks();
        json!({
            "id": id(&file.key, quirks),
            "filename": file.name,
            "shortUrl": short(&file.key),
            "fileType": media(&file.name),
            "extension": extension(&file.name),
            "fileSize": number(file.content.size, quirks),
            "status": "active",
            "downloads": number(file.downloads, quirks),
            "folderId": id(&file.parent, quirks),
            "keywords": "",
            "url_file": self.urls(file)[0],
        })
    }

    /// A file as `file/info` tells it, even when it is in the trash.
    pub fn file_info(&self, file: &File) -> Value {
        let quirks = self.quirks();
        let trashed = is_trashed_file(&self.account.tree, file);
        let [url, info, stats, delete] = self.urls(file);
        json!({
            "id": id(&file.key, quirks),
            "filename": file.name,
            "shortUrl": short(&file.key),
            "fileType": media(&file.name),
            "extension": extension(&file.name),
            "fileSize": number(file.content.size, quirks),
            "uploadedIP": "127.0.0.1",
            "uploadedDate": date(file.created, quirks),
            "file_status": if trashed { "trash" } else { "active" },
            "downloads": number(file.downloads, quirks),
            "lastAccessed": null,
            "folderId": if trashed { Value::Null } else { id(&file.parent, quirks) },
            "keywords": "",
            "isPublic": number(1, quirks),
            "uploadSource": "api",
            "url_file": url,
            "url_file_info": info,
            "url_file_stats": stats,
            "url_file_delete": delete,
        })
    }

    /// A folder as a listing tells it.
    pub fn listed_folder(&self, folder: &Folder) -> Map<String, Value> {
        let quirks = self.quirks();
        let tree = &self.account.tree;
        let trashed = is_trashed_folder(tree, &folder.key);
        let shown_at_root = folder.deleted.is_some() || trashed && quirks.trash_flattens;
        let parent = if shown_at_root { ROOT } else { &folder.parent };
        let note = self.host.folder_note(&folder.key);
        let (size, files, downloads) = if trashed {
            (0, 0, 0)
        } else {
            totals(tree, &folder.key)
        };
        let site = self.site();
        let mut told = fields(json!({
            "id": id(&folder.key, quirks),
            "parentId": id(parent, quirks),
            "folderName": folder.name,
            "totalSize": number(size, quirks),
            "isPublic": number(note.is_public, quirks),
            "date_added": date(folder.created, quirks),
            "date_updated": note.updated.map(|at| date(at, quirks)),
            "url_folder": format!("{site}folder/{}/{}", folder.key, link_name(&folder.name.replace(' ', "_"))),
            "total_downloads": downloads,
            "child_folder_count": tree.counts(&folder.key).0,
            "file_count": files,
        }));
        if quirks.folder_status {
            let status = if trashed { "trash" } else { "active" };
            told.insert("status".to_owned(), json!(status));
        }
        told
    }

    /// A folder as calls about it alone tell it.
    pub fn folder_info(&self, folder: &Folder) -> Value {
        let mut told = self.listed_folder(folder);
        let FolderNote { access_password, .. } = self.host.folder_note(&folder.key);
        told.insert("accessPassword".to_owned(), json!(access_password));
        Value::Object(told)
    }
}

/// The bytes of all below a folder, and how many files it holds itself and how often they were downloaded.
fn totals(tree: &Tree, key: &str) -> (u64, u64, u64) {
    let files = tree.files_in(key).count() as u64;
    let downloads = tree.files_in(key).map(|file| file.downloads).sum();
    (tree.totals(key).2, files, downloads)
}
