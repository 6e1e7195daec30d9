//! What can be asked of a file beyond `stat`: read-only attributes under `user.lockerfs.`.

use std::sync::Arc;

use crate::provider::{Capability, ContentHash, PublishedState, ShareLinks};
use crate::upload::{Stage, UploadStatus};

use super::error::{Error, Result};
use super::local::is_local;
use super::{ROOT, Vfs};

const PREFIX: &str = "user.lockerfs.";

/// All attributes that are known without asking, in the order in which they are listed.
const NAMES: &[&str] = &[
    "account", "id", "sha256", "md5", "state", "status", "error", "progress", STATE_DIR, CONFIG,
];

/// The state directory of the mount, which its top tells, so that programs find its control socket.
const STATE_DIR: &str = "state_dir";
/// Its config, which its top tells as well, so that commands log in to the accounts that it shows.
const CONFIG: &str = "config";

/// The page that a person is sent to for a file, which may have to be asked for.
const URL: &str = "url";
const SHORT_URL: &str = "short_url";

impl Vfs {
    /// As [`Vfs::list_xattrs`], where the inode is in memory.
    pub fn list_xattrs_known(&self, ino: u64) -> Option<Result<Vec<String>>> {
        self.tree().get(ino)?;
        Some(self.list_xattrs(ino))
    }

    /// The names of the extended attributes that an inode has now. Makes no call.
    pub fn list_xattrs(&self, ino: u64) -> Result<Vec<String>> {
        self.tree().get(ino).ok_or_else(|| Error::plain(libc::ESTALE))?;
        let present = NAMES.iter().filter(|name| self.xattr_value(ino, name).is_some());
        let mut names: Vec<&str> = present.copied().collect();
        if self.has_page(ino) {
            names.push(URL);
            let short = match self.page_known(ino) {
                Some(page) => page.is_ok_and(|page| page.short_url.is_some()),
                None => self.has_short_pages(ino),
            };
            names.extend(short.then_some(SHORT_URL));
        }
        Ok(names.into_iter().map(|name| format!("{PREFIX}{name}")).collect())
    }

    /// The value of an extended attribute; `ENODATA` where the inode has no such attribute. `None` where the
    /// service has to be asked for it, or the inode is not in memory.
    pub fn xattr_known(&self, ino: u64, name: &str) -> Option<Result<Vec<u8>>> {
        self.tree().get(ino)?;
        let name = name.strip_prefix(PREFIX).unwrap_or_default();
        match name {
            URL | SHORT_URL => {
                let page = self.page_known(ino)?;
                Some(page.and_then(|page| page_value(page, name)))
            }
            _ => {
                let value = self.xattr_value(ino, name).map(String::into_bytes);
                Some(value.ok_or_else(|| Error::plain(libc::ENODATA)))
            }
        }
    }

    /// The value of an extended attribute, asked for if need be.
    pub async fn xattr(self: &Arc<Self>, ino: u64, name: &str) -> Result<Vec<u8>> {
        match self.xattr_known(ino, name) {
            Some(value) => value,
            None => page_value(
                self.page(ino).await?,
                name.strip_prefix(PREFIX).unwrap_or_default(),
            ),
        }
    }

    fn has_short_pages(&self, ino: u64) -> bool {
        let account = self.account_of(ino);
        account.is_ok_and(|(_, account)| account.can(Capability::ShortLinks))
    }

    fn xattr_value(&self, ino: u64, name: &str) -> Option<String> {
        if name == STATE_DIR {
            return (ino == ROOT).then(|| self.options.state_dir.to_string_lossy().into_owned());
        }
        if name == CONFIG {
            return (ino == ROOT).then(|| self.options.config.to_string_lossy().into_owned());
        }
        let tree = self.tree();
        let node = tree.get(ino)?;
        if name == "account" {
            return Some(self.accounts.get(node.account?)?.setup.name.clone());
        }
        if node.link_list().is_some() {
            return (name == "state").then(|| "list".to_owned());
        }
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

fn page_value(page: ShareLinks, name: &str) -> Result<Vec<u8>> {
    let url = match name {
        SHORT_URL => page.short_url,
        _ => Some(page.url),
    };
    url.map(|url| String::from(url).into_bytes())
        .ok_or_else(|| Error::plain(libc::ENODATA))
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
