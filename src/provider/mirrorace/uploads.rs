//! Uploads: fresh variables, then chunks in order, each with all fields, or a link with the same fields.

use url::Url;

use super::call::{Api, REMOTE, UPLOAD, VARIABLES, Variables};
use super::sessions::Sessions;
use crate::http::{ApiRequest, FileRange, Multipart};
use crate::provider::form::{Params, name_in, told_link};
use crate::provider::publish::{
    Node, before_call, check_content, check_size, clean, incomplete, refused, silence,
};
use crate::provider::{
    ErrorKind, FileEntry, FileId, ProviderError, Publication, Result, Retry, UploadPlan, UploadProgress,
    UploadRequest, UploadTicket, sensible_size,
};

/// An upload in more of them would never end.
const MOST_CHUNKS: u64 = 1 << 20;

/// Asks for variables. What was sent before cannot be looked up: the service tells only of files whose slug is
/// known.
pub(super) async fn begin(api: &Api, sessions: &Sessions, request: &UploadRequest) -> Result<UploadPlan> {
    check_content(VARIABLES, request)?;
    let hold = sessions.begin(VARIABLES, request)?;
    let variables = api.variables().await.map_err(before_call)?;
    check_size(VARIABLES, request.size, variables.max_file_size)?;
    if request.size / variables.max_chunk_size >= MOST_CHUNKS {
        let most = variables.max_chunk_size;
        let message = format!("the service takes chunks of {most} bytes, which makes no sense");
        return Err(
            ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), VARIABLES, message)
                .with_context("bytes", request.size),
        );
    }
    Ok(UploadPlan::Ranges {
        max_chunk: variables.max_chunk_size,
        session: hold.keep(variables),
    })
}

pub(super) async fn range(
    api: &Api,
    sessions: &Sessions,
    request: &UploadRequest,
    session: &UploadTicket,
    body: FileRange,
) -> Result<UploadProgress> {
    check_content(UPLOAD, request)?;
    let Some((mut hold, variables)) = sessions.resume(&request.name, session) else {
        return Err(out_of_step("the upload was ended: it begins anew"));
    };
    if hold.sent != body.offset {
        return Err(out_of_step(
            "the chunk is not the next one: the upload begins anew",
        ));
    }
    let end = body.offset + body.length;
    let answer = api.send(UPLOAD, chunk(api, &variables, request, body)?).await?;
    let node = Node(&answer);
    let info = node.text("info").unwrap_or_default().to_ascii_lowercase();
    let is_last = end == request.size;
    match (info.as_str(), is_last) {
        ("continue", false) => {
            // What is there is more or less than was sent where the server appended something else.
            if node.number("size").is_some_and(|size| size != end) {
                return Err(out_of_step(
                    "the service has other bytes than were sent: the upload begins anew",
                ));
            }
            hold.sent = end;
            hold.keep(variables);
            Ok(UploadProgress::UnitTaken)
        }
        ("complete", true) => Ok(UploadProgress::Published(publication(
            UPLOAD,
            node,
            request,
            variables.mirrors,
        )?)),
        ("continue", true) => Err(out_of_step(
            "the service misses bytes that were sent: the upload begins anew",
        )),
        ("complete", false) => {
            // Made of what another upload of the name left there.
            tracing::warn!(name = request.name, "the service made a file of half an upload");
            Err(out_of_step("the service ended the upload early: it begins anew"))
        }
        _ => Err(incomplete(UPLOAD, "how the upload goes on")),
    }
}

/// Has the service fetch a link. It answers when it has the file.
pub(super) async fn from_link(
    api: &Api,
    sessions: &Sessions,
    request: &UploadRequest,
    link: &Url,
) -> Result<UploadProgress> {
    let told = told_link(REMOTE, link)?;
    check_content(REMOTE, request)?;
    let _name = sessions.begin(REMOTE, request)?;
    // What the service calls the file may be what the link does.
    let other = name_in(link).filter(|name| *name != request.name);
    let _other_name = other
        .map(|name| {
            let other = UploadRequest {
                name,
                ..request.clone()
            };
            sessions.begin(REMOTE, &other)
        })
        .transpose()?;
    let variables = api.variables().await.map_err(before_call)?;
    check_size(REMOTE, request.size, variables.max_file_size)?;
    let Some(server) = variables.server_remote.clone() else {
        let message = "the service does not say where it takes links";
        return Err(refused(ErrorKind::Unsupported, REMOTE, message));
    };
    let mut fields = Params::new().with("url", told);
    for (name, value) in api.fields(&variables) {
        fields = fields.with(&name.replace("[]", "%5B%5D"), &value);
    }
    let mut sent = ApiRequest::form(server, fields.into_text());
    sent.answer_timeout = Some(silence(request.size));
    let answer = api.send(REMOTE, sent).await?;
    let node = Node(&answer);
    let info = node.text("info").unwrap_or_default();
    if !info.eq_ignore_ascii_case("complete") {
        return Err(incomplete(REMOTE, "that the file is complete"));
    }
    let fetched = node.number("size").unwrap_or(request.size);
    if fetched != request.size {
        // A page, most likely. It stays published, and nobody is told its link.
        let message = format!(
            "the service fetched {fetched} bytes from the link of a file of {}",
            request.size
        );
        return Err(refused(ErrorKind::Corrupt, REMOTE, message));
    }
    let mirrors = variables.mirrors;
    Ok(UploadProgress::Published(publication(
        REMOTE, node, request, mirrors,
    )?))
}

fn chunk(api: &Api, variables: &Variables, request: &UploadRequest, body: FileRange) -> Result<ApiRequest> {
    let end = body.offset + body.length;
    let range = (body.length < request.size).then(|| {
        let last = end.saturating_sub(1);
        format!("bytes {}-{last}/{}", body.offset, request.size)
    });
    if body.length == 0 || body.length > variables.max_chunk_size || end > request.size {
        let message = "the chunk is no part of the file that the service takes";
        return Err(ProviderError::new(
            ErrorKind::InvalidArgument,
            Retry::Never,
            UPLOAD,
            message,
        ));
    }
    let form = Multipart {
        fields: api.fields(variables),
        file_field: "files",
        file_name: request.name.clone(),
        file: body,
    };
    let mut sent = ApiRequest::multipart(variables.server_file.clone(), form);
    sent.answer_timeout = Some(silence(if end == request.size { request.size } else { 0 }));
    Ok(match range {
        Some(range) => sent.with_header("content-range", range),
        None => sent,
    })
}

/// Nothing came of it that counts.
fn out_of_step(message: &'static str) -> ProviderError {
    ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), UPLOAD, message)
}

fn publication(
    operation: &'static str,
    node: Node<'_>,
    request: &UploadRequest,
    mirrors: Vec<String>,
) -> Result<Publication> {
    let slug = node
        .text("slug")
        .ok_or_else(|| incomplete(operation, "the file's slug"))?;
    let name = node.text("name").unwrap_or_else(|| request.name.clone());
    if name != request.name {
        tracing::debug!(
            name = clean(&name),
            "the service published the file under another name"
        );
    }
    Ok(Publication {
        entry: FileEntry {
            id: FileId::new(slug),
            name,
            size: node
                .number("size")
                .and_then(sensible_size)
                .or((operation == REMOTE).then_some(request.size))
                .ok_or_else(|| incomplete(operation, "the file's size"))?,
            mtime: None,
            hash: None,
            revision: None,
            parent: None,
        },
        url: node.text("url"),
        short_url: None,
        mirrors,
    })
}
