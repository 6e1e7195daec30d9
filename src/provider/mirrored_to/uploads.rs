//! The three steps: ask for an upload, send the file or a link to it, finish.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::budget::Paid;
use super::call::{Api, BEGIN, FINISH, INFO, MIB, REMOTE, SEND};
use super::{mirrors, rounded};
use crate::http::{ApiRequest, FileRange, Multipart};
use crate::provider::form::{link, name_in, told_link};
use crate::provider::publish::{
    Node, before_call, check_content, check_size, clean, incomplete, refused, silence,
};
use crate::provider::{
    ErrorKind, FileEntry, FileId, ProviderError, Publication, Refusal, Result, Retry, UploadPlan,
    UploadProgress, UploadRequest, UploadTicket,
};

/// How long the service keeps an upload, from the first step to the last.
const LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// What was asked for is sent soon, or asked for anew, so that there is time to send it.
const FRESH: Duration = Duration::from_secs(30 * 60);

const STEPS: u64 = 3;
/// With a look at what the service got from a link.
const LINKED_STEPS: u64 = STEPS + 1;

/// Uploads between their steps.
#[derive(Default)]
pub(super) struct Uploads {
    /// What was asked for and not sent yet, by folder and name.
    begun: Mutex<HashMap<(String, String), Begun>>,
    /// Uploads whose last step was tried by this process.
    tried: Mutex<HashSet<String>>,
}

/// What the first step gave.
struct Begun {
    upload_id: String,
    url: Url,
    /// For files that the service fetches by itself.
    remote_url: Option<Url>,
    size: u64,
    mirrors: Vec<String>,
    /// What the file is called there.
    name: String,
    at: SystemTime,
    paid: Paid,
}

/// All that the last step needs, but for secrets. It outlives the process.
#[derive(Serialize, Deserialize)]
struct Ticket {
    upload_id: String,
    /// When the first step was made, in seconds since the epoch.
    begun: u64,
    mirrors: Vec<String>,
    name: String,
    size: u64,
    /// The service fetched it by itself, and did not tell what it got.
    #[serde(default)]
    linked: bool,
}

impl Uploads {
    fn begun(&self) -> MutexGuard<'_, HashMap<(String, String), Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, HashSet<String>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(request: &UploadRequest) -> (String, String) {
    (request.folder.as_str().to_owned(), request.name.clone())
}

/// Makes the first step. What was sent before cannot be looked up: the service tells only of files whose id is known.
pub(super) async fn begin(api: &Api, uploads: &Uploads, request: &UploadRequest) -> Result<UploadPlan> {
    check_content(BEGIN, request)?;
    let now = api.budget.now();
    let is_begun = {
        let mut begun = uploads.begun();
        begun.retain(|_, begun| is_fresh(begun, now));
        begun
            .get(&place(request))
            .is_some_and(|begun| begun.size == request.size)
    };
    if !is_begun {
        let begun = ask(api, request, STEPS).await?;
        uploads.begun().insert(place(request), begun);
    }
    Ok(UploadPlan::Whole)
}

fn is_fresh(begun: &Begun, now: SystemTime) -> bool {
    now.duration_since(begun.at).is_ok_and(|age| age < FRESH)
}

/// The first step, for which all are paid.
async fn ask(api: &Api, request: &UploadRequest, steps: u64) -> Result<Begun> {
    check_size(BEGIN, request.size, api.budget.max_file_size().await?)?;
    let paid = api.budget.pay(BEGIN, steps, 0).await?;
    let asked = async {
        let told = api.call(BEGIN, api.own()).await.map_err(before_call)?;
        read(api, request, &told, paid)
    };
    let asked = asked.await;
    if asked.is_err() {
        api.budget.give_back(paid.last(steps - 1)).await;
    }
    asked
}

fn read(api: &Api, request: &UploadRequest, told: &Value, paid: Paid) -> Result<Begun> {
    let node = Node(told);
    let needed = |key: &'static str| {
        let text = node.text(key);
        text.ok_or_else(|| before_call(incomplete(BEGIN, key)))
    };
    let most = node.number("max_filesize").map(|mb| mb.saturating_mul(MIB));
    check_size(BEGIN, request.size, most)?;
    Ok(Begun {
        upload_id: needed("upload_id")?,
        url: link(BEGIN, &needed("file_upload_url")?, &api.base)?,
        remote_url: node
            .text("remote_upload_url")
            .and_then(|url| link(BEGIN, &url, &api.base).ok()),
        size: request.size,
        mirrors: mirrors::choose(node, &api.settings.mirrors, request.size)?,
        name: request.name.clone(),
        at: api.budget.now(),
        paid,
    })
}

/// Makes the second step; the third is what is left to poll for.
pub(super) async fn send(
    api: &Api,
    uploads: &Uploads,
    request: &UploadRequest,
    body: FileRange,
) -> Result<UploadProgress> {
    check_content(SEND, request)?;
    let now = api.budget.now();
    let begun = uploads.begun().remove(&place(request));
    let begun = match begun.filter(|begun| begun.size == request.size && is_fresh(begun, now)) {
        Some(begun) => begun,
        None => ask(api, request, STEPS).await?,
    };
    let form = Multipart {
        fields: vec![
            ("api_key", api.settings.api_key.expose_secret().to_owned()),
            ("upload_id", begun.upload_id.clone()),
        ],
        file_field: "Filedata",
        file_name: request.name.clone(),
        file: body,
    };
    let sent = ApiRequest::multipart(begun.url.clone(), form);
    take_step(api, SEND, request, begun, sent).await
}

/// Makes the first step, and the second with a link, which the service fetches before it answers.
pub(super) async fn from_link(api: &Api, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
    let told = told_link(REMOTE, link)?;
    check_content(REMOTE, request)?;
    let mut begun = ask(api, request, LINKED_STEPS).await?;
    // It asks for no name, and so takes the link's.
    begun.name = name_in(link).unwrap_or(begun.name);
    let Some(url) = begun.remote_url.clone() else {
        api.budget.give_back(begun.paid.last(LINKED_STEPS - 1)).await;
        let message = "the service does not say where it takes links";
        return Err(refused(ErrorKind::Unsupported, REMOTE, message));
    };
    let fields = api
        .own()
        .with("upload_id", &begun.upload_id)
        .with("remote_url", told);
    let sent = ApiRequest::form(url, fields.into_text());
    take_step(api, REMOTE, request, begun, sent).await
}

/// The second step, whatever way the content goes; what comes of it is asked for by the third.
async fn take_step(
    api: &Api,
    operation: &'static str,
    request: &UploadRequest,
    begun: Begun,
    mut sent: ApiRequest,
) -> Result<UploadProgress> {
    sent.answer_timeout = Some(silence(request.size));
    if let Err(mut error) = api.send(operation, sent).await {
        // A file of it is made by the last step alone, which nobody takes for this upload any more.
        let left = if operation == REMOTE { 2 } else { 1 };
        api.budget.give_back(begun.paid.last(left)).await;
        if error.kind == ErrorKind::NotFound {
            error.kind = ErrorKind::Unavailable;
        }
        return Err(error);
    }
    let at = begun.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ticket = Ticket {
        upload_id: begun.upload_id,
        begun: at.as_secs(),
        mirrors: begun.mirrors,
        name: begun.name,
        size: request.size,
        linked: operation == REMOTE,
    };
    let text = serde_json::to_string(&ticket).map_err(|error| unreadable(operation, &error))?;
    Ok(UploadProgress::Processing(UploadTicket::new(text)))
}

fn unreadable(operation: &'static str, error: &serde_json::Error) -> ProviderError {
    let message = format!("the ticket of an upload is not one: {error}");
    ProviderError::new(ErrorKind::Unexpected, Retry::AfterWait(None), operation, message)
}

/// Makes the third step, of which the file comes. It may be made again when its answer was lost: the service then
/// says that the upload is over, and does not tell the file.
pub(super) async fn finish(api: &Api, uploads: &Uploads, ticket: &UploadTicket) -> Result<UploadProgress> {
    let Ok(ticket) = serde_json::from_str::<Ticket>(ticket.as_str()) else {
        return Ok(UploadProgress::StartAgain);
    };
    let over = UNIX_EPOCH + Duration::from_secs(ticket.begun) + LIFE;
    if api.budget.now() >= over {
        tracing::debug!(
            name = ticket.name,
            "an upload was not finished in time: it is sent again"
        );
        uploads.tried().remove(&ticket.upload_id);
        return Ok(UploadProgress::StartAgain);
    }
    // The first try was paid for when the upload began.
    if !uploads.tried().insert(ticket.upload_id.clone()) {
        api.budget.pay(FINISH, 1, 0).await?;
    }
    let settings = &api.settings;
    let mut params = api
        .own()
        .with("upload_id", &ticket.upload_id)
        .with("mirrors", &ticket.mirrors.join(","));
    if let Some(password) = &settings.password {
        params = params.with("password", password.expose_secret());
    }
    if let Some(email) = &settings.email {
        params = params.with("email", email);
    }
    let told = match api.call(FINISH, params).await {
        Ok(told) => told,
        Err(error) => return unfinished(uploads, &ticket, error),
    };
    let node = Node(&told);
    let id = node
        .text("file_id")
        .ok_or_else(|| incomplete(FINISH, "the file's id"))?;
    uploads.tried().remove(&ticket.upload_id);
    if ticket.linked
        && let Some(told) = told_size(api, &id).await
        && rounded::may_be(&told, ticket.size) == Some(false)
    {
        // A page, most likely. It stays published, and nobody is told its link.
        return Ok(UploadProgress::GivenUp(Refusal {
            kind: ErrorKind::Corrupt,
            retry: Retry::Never,
            message: format!(
                "the service fetched {} from the link of a file of {} bytes",
                clean(&told),
                ticket.size
            ),
        }));
    }
    Ok(UploadProgress::Published(Publication {
        entry: FileEntry {
            id: FileId::new(id),
            name: ticket.name,
            size: ticket.size,
            mtime: None,
            hash: None,
            revision: None,
            parent: None,
        },
        url: node.text("full_url"),
        short_url: node.text("short_url"),
        mirrors: ticket.mirrors,
    }))
}

/// The size of a file in the service's words. It was paid for when the upload began; what fails tells nothing against
/// the file.
async fn told_size(api: &Api, id: &str) -> Option<String> {
    match api.call(INFO, api.own().with("file_id", id)).await {
        Ok(told) => Node(&told).text("file_size"),
        Err(error) => {
            tracing::warn!(%error, "what the service fetched from a link could not be looked at");
            None
        }
    }
}

/// The service knows nothing of the upload any more, will never finish it, or may do so later.
fn unfinished(uploads: &Uploads, ticket: &Ticket, error: ProviderError) -> Result<UploadProgress> {
    match (error.kind, error.retry) {
        (ErrorKind::NotFound, _) => {
            uploads.tried().remove(&ticket.upload_id);
            Ok(UploadProgress::StartAgain)
        }
        (ErrorKind::InvalidArgument | ErrorKind::TooLarge, Retry::Never) => {
            uploads.tried().remove(&ticket.upload_id);
            Ok(UploadProgress::GivenUp(Refusal {
                kind: error.kind,
                retry: Retry::Never,
                message: error.message,
            }))
        }
        _ => Err(error),
    }
}
