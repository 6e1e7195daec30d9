//! Former contents of a file.

use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::wire::{Node, Params, parse_time};
use crate::provider::services::FileVersion;
use crate::provider::{ErrorKind, FileId, ProviderError, Result, Retry};

const LIST: &str = "file/get_versions";
const RESTORE: &str = "file/restore";

pub(super) async fn list(api: &Api, file: &FileId) -> Result<Vec<FileVersion>> {
    let params = Params::new().with("quick_key", file.as_str());
    let answer = api.call(LIST, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let read = |version: Node<'_>| {
        Some(FileVersion {
            revision: version.text("revision")?,
            date: version.text("date_utc").and_then(|date| parse_time(&date)),
            is_head: version.flag("head").unwrap_or(false),
        })
    };
    let versions = Node(&reply).items("file_versions", "file_version");
    Ok(versions.into_iter().filter_map(read).collect())
}

pub(super) async fn restore(api: &Api, file: &FileId, revision: &str) -> Result<bool> {
    let params = Params::new()
        .with("quick_key", file.as_str())
        .with("revision", revision);
    match api.call(RESTORE, &params).await {
        Ok(reply) => Ok(Node(&reply).flag("asynchronous").unwrap_or(false)),
        Err(failure) if failure.code == Some(223) => {
            let message = format!("the file has no revision {revision} that can be restored");
            let error = ProviderError::new(ErrorKind::NotFound, Retry::Never, RESTORE, message);
            Err(error.with_source(failure.error))
        }
        Err(failure) => Err(failure.error.with_context("file", file)),
    }
}
