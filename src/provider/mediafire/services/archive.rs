//! Files and folders as one archive.

use crate::provider::mediafire::MAX_KEYS;
use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::joined;
use crate::provider::mediafire::wire::Params;
use crate::provider::services::{Archive, ZipTerms};
use crate::provider::{ErrorKind, ItemId, ProviderError, Result, Retry};

const ZIP: &str = "file/zip";

/// Asks for the answer alone, without an archive.
pub(super) async fn check(api: &Api, items: &[ItemId], terms: ZipTerms) -> Result<()> {
    let params = params(items, terms)?.with("meta_only", "yes");
    api.call(ZIP, &params).await?;
    Ok(())
}

pub(super) async fn open(api: &Api, items: &[ItemId], terms: ZipTerms) -> Result<Archive> {
    let (first, body) = api.body(ZIP, &params(items, terms)?, Archive::begins).await?;
    Ok(Archive::new(first, body))
}

fn params(items: &[ItemId], terms: ZipTerms) -> Result<Params> {
    if items.len() > MAX_KEYS {
        let message =
            format!("the service packs at most {MAX_KEYS} files and folders at once: name a folder");
        return Err(ProviderError::new(
            ErrorKind::InvalidArgument,
            Retry::Never,
            ZIP,
            message,
        ));
    }
    let keys = items.iter().map(|item| match item {
        ItemId::File(file) => file.as_str(),
        ItemId::Folder(folder) => folder.as_str(),
    });
    let mut params = Params::new().with("keys", &joined(keys));
    for (agreed, name) in [
        (terms.large, "allow_large_download"),
        (terms.own_bandwidth, "use_own_bandwidth"),
    ] {
        if agreed {
            params = params.with(name, "yes");
        }
    }
    Ok(params)
}
