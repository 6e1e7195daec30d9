//! What can be asked of a file beyond `stat`: read-only attributes under `user.lockerfs.`.

use crate::provider::{ContentHash, PublishedState};
use crate::upload::{Stage, UploadStatus};

use super::Vfs;
use super::error::{Error, Result};
use super::local::is_local;

const PREFIX: &str = "user.lockerfs.";

/// All attributes, in the order in which they are listed.
const NAMES: &[&str] = &["id", "sha256", "md5", "state", "status", "error", "progress"];

impl Vfs {
    /// The names of the extended attributes that an inode has now.
    pub fn list_xattrs(&self, ino: u64) -> Result<Vec<String>> {
        self.tree().get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let present = NAMES.iter().filter(|name| self.xattr_value(ino, name).is_some());
        Ok(present.map(|name| format!("{PREFIX}{name}")).collect())
    }

    /// The value of an extended attribute; `ENODATA` where the inode has no such attribute.
    pub fn xattr(&self, ino: u64, name: &str) -> Result<Vec<u8>> {
        let value = name
            .strip_prefix(PREFIX)
            .and_then(|name| self.xattr_value(ino, name));
        value
            .map(String::into_bytes)
            .ok_or_else(|| Error::plain(libc::ENODATA))
    }

    fn xattr_value(&self, ino: u64, name: &str) -> Option<String> {
        let tree = self.tree();
        let node = tree.get(ino)?;
        let Some(file) = node.file() else {
            let id = node.folder()?.id.as_ref()?;
            return match (name, is_local(id)) {
                ("id", false) => Some(id.to_string()),
                ("state", true) => Some(state_name(Stage::Local).to_owned()),
                _ => None,
            };
        };
        let remote = file.remote.as_ref();
        // The hash is that of the content as read here, so what waits for its upload has none yet.
        let hash = remote
            .filter(|_| file.local.is_none())
            .and_then(|remote| remote.hash);
        let row = file.local.as_ref().and_then(|local| local.pending);
        let is_local = file.local.is_some();
        let file = remote.map(|remote| remote.id.clone());
        let id = file.as_ref().map(ToString::to_string);
        drop(tree);
        let pending = row.and_then(|row| self.uploads.get(row));
        match (name, hash) {
            ("id", _) => id,
            ("sha256", Some(hash @ ContentHash::Sha256(_))) => Some(hash.to_hex()),
            ("md5", Some(hash @ ContentHash::Md5(_))) => Some(hash.to_hex()),
            ("state", _) => Some(match (&pending, is_local) {
                (Some(pending), _) => state_name(pending.status.stage()).to_owned(),
                (None, true) => "open".to_owned(),
                (None, false) => "stored".to_owned(),
            }),
            ("status", _) => {
                let (_, account) = self.account_of(ino).ok()?;
                match account.provider().published_state(&file?)? {
                    PublishedState::Active => Some("active".to_owned()),
                    PublishedState::Removed(status) => Some(status),
                }
            }
            ("error", _) => match pending?.status {
                UploadStatus::Waiting { error, .. } => Some(error),
                UploadStatus::Parked { reason } => Some(reason),
                _ => None,
            },
            ("progress", _) => {
                let pending = pending?;
                match pending.status {
                    UploadStatus::Uploading { sent } => Some(format!("{sent} of {} bytes", pending.size)),
                    UploadStatus::Verifying => Some(format!("{0} of {0} bytes", pending.size)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The state's name, for people and scripts.
fn state_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Staged => "staged",
        Stage::Queued => "queued",
        Stage::Uploading => "uploading",
        Stage::Verifying => "verifying",
        Stage::Waiting => "waiting",
        Stage::Parked => "parked",
        Stage::Kept => "kept",
        Stage::Local => "local",
    }
}
