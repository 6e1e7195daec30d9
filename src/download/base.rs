//! What uploads ask of downloads: the parts of a remote file that a staged edit of it lacks, and a place for what was
//! sent.

use std::fs::File;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::{DownloadError, Downloads, Source};
use crate::provider::{self, ErrorKind, FileEntry, ProviderError, Retry};
use crate::upload::{Base, BaseContent};

const OPERATION: &str = "read the remote file";

#[async_trait]
impl BaseContent for Downloads {
    async fn read(&self, account: &str, base: &Base, range: Range<u64>) -> provider::Result<Bytes> {
        let Some(provider) = self.provider(account) else {
            let message = format!("no account {account} is mounted");
            return Err(ProviderError::new(
                ErrorKind::Unsupported,
                Retry::Never,
                OPERATION,
                message,
            ));
        };
        let source = Source {
            account: account.to_owned(),
            provider,
            file: base.file.clone(),
            name: base.file.to_string(),
            size: base.size,
            hash: base.hash,
            revision: base.revision.clone(),
        };
        self.read_range(source, range).await.map_err(of_download)
    }

    fn pins(&self, account: &str) -> bool {
        self.options.pinning.contains(account)
    }

    fn pin(&self, account: &str, entry: &FileEntry, content: &File) -> io::Result<()> {
        match &self.options.pins {
            Some(pins) if self.pins(account) => pins.keep(account, entry.id.as_str(), content),
            _ => Ok(()),
        }
    }

    fn unpin(&self, account: &str, entry: &FileEntry) -> io::Result<()> {
        match &self.options.pins {
            Some(pins) => pins.remove(account, entry.id.as_str()),
            None => Ok(()),
        }
    }

    fn keep_sent(&self, account: &str, entry: &FileEntry, content: &File, is_verified: bool) {
        if self.pins(account) {
            return;
        }
        let (Some(cache), Some(provider)) = (&self.options.cache, self.provider(account)) else {
            return;
        };
        let source = Source {
            account: account.to_owned(),
            provider,
            file: entry.id.clone(),
            name: entry.name.clone(),
            size: entry.size,
            hash: entry.hash,
            revision: entry.revision.clone(),
        };
        let kept = cache.content(&source.key());
        if kept.adopt(content) && is_verified {
            kept.set_verified();
        }
    }
}

fn of_download(error: DownloadError) -> ProviderError {
    let retry = match error.may_pass() {
        true => Retry::AfterWait(None),
        false => Retry::Never,
    };
    ProviderError::new(error.kind(), retry, OPERATION, error.to_string())
}
