//! Links to the viewer, the editor and the stream of a file.

use url::Url;

use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::errors::link_error;
use crate::provider::mediafire::files;
use crate::provider::mediafire::wire::Node;
use crate::provider::services::WebLink;
use crate::provider::{ErrorKind, FileId, ProviderError, Result, Retry};

const LINKS: &str = "file/get_links";
/// What a file is looked at by: which of them it has depends on what it is.
const VIEWS: &str = "view,watch,listen";

pub(super) async fn get(api: &Api, files: &[FileId], kind: WebLink) -> Result<Vec<Result<Url>>> {
    let types = match kind {
        WebLink::View => VIEWS,
        WebLink::Edit => "edit",
        WebLink::Stream => "streaming",
    };
    files::links_of(api, files, types, |api, item, _| read(api, item, kind, types)).await
}

fn read(api: &Api, item: Node<'_>, kind: WebLink, types: &str) -> Result<Url> {
    if let Some(text) = types.split(',').find_map(|kind| item.text(kind)) {
        return files::page(LINKS, &text, api);
    }
    if let Some(said) = item.text("error") {
        return Err(link_error(LINKS, 45, Some(&said)));
    }
    let said = item
        .text("edit_error_message")
        .or_else(|| item.text("streaming_error_message"));
    if let (WebLink::Stream, Some(code)) = (kind, item.number("streaming_error").filter(|code| *code != 40)) {
        return Err(link_error(LINKS, code, said.as_deref()));
    }
    let message = match kind {
        WebLink::View => "the service cannot show this file in a browser",
        WebLink::Edit => "the service cannot edit this file",
        WebLink::Stream => {
            "the service does not stream this file: it streams audio and video, to applications that it \
             has let in"
        }
    };
    Err(ProviderError::new(
        ErrorKind::Unsupported,
        Retry::Never,
        LINKS,
        message,
    ))
}
