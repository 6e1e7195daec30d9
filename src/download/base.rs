//! What uploads ask of downloads: the parts of a remote file that a staged edit of it lacks.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::{DownloadError, Downloads, Source};
use crate::provider::{self, ErrorKind, ProviderError, Retry};
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
}

fn of_download(error: DownloadError) -> ProviderError {
    let retry = match error.kind() {
        ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Busy => {
            Retry::AfterWait(None)
        }
        _ => Retry::Never,
    };
    ProviderError::new(error.kind(), retry, OPERATION, error.to_string())
}
