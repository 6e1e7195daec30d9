//! Web uploads: files that the service fetches from a link by itself, and how far it has come with them.
//!
//! A ticket of a web upload is told from that of sent bytes by its text. The service keeps a list of web uploads and
//! tells their file names in it, but no folders: one that is found there after a lost answer is believed to be ours
//! only when its file stands where ours was to go.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::call::Api;
use super::errors::clean;
use super::files;
use super::wire::{Node, Params, parse_time};
use crate::provider::form::{told_link, without_links};
use crate::provider::json::Parsed;
use crate::provider::{
    ContentHash, ErrorKind, FileEntry, FileId, ProviderError, Refusal, Result, Retry, SentUpload,
    UploadProgress, UploadRequest, UploadTicket,
};

const ADD: &str = "upload/add_web_upload";
const LIST: &str = "upload/get_web_uploads";

/// How long the list may lack an upload that was just taken.
const LISTED_WITHIN: Duration = Duration::from_secs(2 * 60);
/// How long ago an upload may have begun that is taken for one whose answer was lost.
const LATELY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The first of the status codes that stand for an end.
const ENDED: u64 = 98;
/// The service does not know the key.
const BAD_KEY: u32 = 175;

/// All that is needed to end a web upload. It outlives the process.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Ticket {
    web_upload: String,
    folder: String,
    size: u64,
    /// As the service takes it. What it fetches gets the time of the fetch.
    mtime: String,
    /// When the service took it, in seconds since the epoch.
    since: u64,
    /// It was found in the list under the right name, and may be another's.
    found: bool,
}

impl Ticket {
    fn new(request: &UploadRequest, key: String, found: bool) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Ticket {
            web_upload: key,
            folder: request.folder.as_str().to_owned(),
            size: request.size,
            mtime: files::mtime_text(request.mtime)?,
            since: since.as_secs(),
            found,
        })
    }

    /// `None` for a ticket of sent bytes.
    pub(super) fn read(ticket: &UploadTicket) -> Option<Self> {
        serde_json::from_str(ticket.as_str()).ok()
    }

    fn processing(&self) -> Result<UploadProgress> {
        let text = serde_json::to_string(self).map_err(|error| {
            let message = format!("the ticket of an upload cannot be kept: {error}");
            ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, ADD, message)
        })?;
        Ok(UploadProgress::Processing(UploadTicket::new(text)))
    }

    /// How long ago the service took it.
    fn age(&self) -> Duration {
        // A service may have told a key that reads like a ticket: no number in it is to be trusted.
        let since = UNIX_EPOCH.checked_add(Duration::from_secs(self.since));
        let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
        age.unwrap_or_default()
    }

    /// What to say where the list has nothing of it.
    fn unknown(&self) -> Result<UploadProgress> {
        match self.age() >= LISTED_WITHIN {
            true => Ok(UploadProgress::StartAgain),
            false => self.processing(),
        }
    }
}

/// How far the service has come with one.
enum State {
    Working,
    Made(FileId),
    /// In its words.
    Failed(String),
}

fn state(upload: Node<'_>) -> State {
    let said = |key| upload.text(key).filter(|text| !matches!(text.trim(), "0" | "no"));
    let error = said("error_status");
    let is_over = upload.flag("active") == Some(false);
    let ended = match upload.number("status_code") {
        Some(code) => code >= ENDED || is_over && error.is_some(),
        None => is_over,
    };
    match upload.text("quickkey") {
        _ if !ended => State::Working,
        Some(id) => State::Made(FileId::new(id)),
        None => {
            let words: Vec<_> = [said("status"), error].into_iter().flatten().collect();
            State::Failed(clean(&without_links(&words.join(", "))))
        }
    }
}

fn key(upload: Node<'_>) -> Option<String> {
    let key = upload.text("uploadkey").or_else(|| upload.text("upload_key"));
    key.or_else(|| upload.text("key"))
}

fn uploads(reply: &Value) -> Vec<Node<'_>> {
    Node(reply).items("web_uploads", "web_upload")
}

fn given_up(words: &str) -> UploadProgress {
    let why = match words {
        "" => "and does not say why".to_owned(),
        words => format!("and says: {words}"),
    };
    UploadProgress::GivenUp(Refusal {
        kind: ErrorKind::Unsupported,
        retry: Retry::Never,
        message: format!("the service did not get the file from its link, {why}"),
    })
}

pub(super) async fn from_link(api: &Api, request: &UploadRequest, link: &Url) -> Result<UploadProgress> {
    let refuse = |message: &str| {
        Err(ProviderError::new(
            ErrorKind::Unsupported,
            Retry::Never,
            ADD,
            message,
        ))
    };
    let told = told_link(ADD, link)?;
    if request.replaces.is_some() {
        return refuse("what the service fetches gets an id of its own, and so replaces nothing");
    }
    if request.size == 0 {
        return refuse("of a file without bytes there is nothing to fetch");
    }
    if request.sent_before
        && let Some(progress) = earlier(api, request).await?
    {
        return Ok(progress);
    }
    let params = Params::new()
        .with("url", told)
        .with("filename", &request.name)
        .with("folder_key", request.folder.as_str());
    let reply = api.call(ADD, &params).await.map_err(|failure| {
        let mut error = failure.error.with_context("name", &request.name);
        error.message = without_links(&error.message);
        error
    })?;
    let key = key(Node(&reply)).ok_or_else(|| {
        let message = "the service took the link and gave no key to ask after it";
        ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, ADD, message)
    })?;
    Ticket::new(request, key, false)?.processing()
}

/// What an earlier call for the same file began, if the service tells of it.
async fn earlier(api: &Api, request: &UploadRequest) -> Result<Option<UploadProgress>> {
    let reply = list(api).await?;
    let is_late = |upload: &Node<'_>| {
        let begun = upload
            .text("created_utc")
            .and_then(|created| parse_time(&created));
        begun.is_none_or(|begun| SystemTime::now().duration_since(begun).unwrap_or_default() < LATELY)
    };
    let own: Vec<_> = uploads(&reply)
        .into_iter()
        .filter(|upload| upload.text("filename").as_ref() == Some(&request.name))
        .filter(is_late)
        .collect();
    let made = own.iter().filter_map(|upload| match state(*upload) {
        State::Made(id) => Some((id, key(*upload)?)),
        _ => None,
    });
    let made: Vec<_> = made.collect();
    if !made.is_empty() {
        let ids: Vec<_> = made.iter().map(|(id, _)| id.clone()).collect();
        let found = files::info(api, &ids).await?;
        let ours = found.into_iter().find(|file| is_wanted(file, request));
        if let Some(file) = ours {
            let key = made.into_iter().find(|(id, _)| *id == file.id);
            let ticket = Ticket::new(request, key.map_or_else(String::new, |(_, key)| key), true)?;
            return settle(api, &ticket, file).await.map(Some);
        }
    }
    let working = own
        .iter()
        .filter(|upload| matches!(state(**upload), State::Working));
    // The newest, as far as times are told.
    let newest = working.max_by_key(|upload| upload.text("created_utc"));
    match newest.and_then(|upload| key(*upload)) {
        Some(key) => Ticket::new(request, key, true)?.processing().map(Some),
        None => Ok(None),
    }
}

fn is_wanted(file: &FileEntry, request: &UploadRequest) -> bool {
    let same_hash = match (file.hash, request.sha256) {
        (Some(ContentHash::Sha256(told)), Some(wanted)) => told == wanted,
        _ => true,
    };
    let same_place = file.parent.as_ref() == Some(&request.folder) && file.name == request.name;
    same_place && file.size == request.size && same_hash
}

async fn list(api: &Api) -> Result<Parsed> {
    let params = Params::new().with("all_web_uploads", "yes");
    Ok(api.call(LIST, &params).await?)
}

pub(super) async fn poll(api: &Api, ticket: &Ticket) -> Result<UploadProgress> {
    // Clients differ in what they call the key.
    let params = Params::new()
        .with("all_web_uploads", "yes")
        .with("upload_key", &ticket.web_upload)
        .with("key", &ticket.web_upload);
    let reply = match api.call(LIST, &params).await {
        Ok(reply) => reply,
        Err(failure) if failure.code == Some(BAD_KEY) => return ticket.unknown(),
        Err(failure) => return Err(failure.error),
    };
    let told = uploads(&reply);
    let by_key = told
        .iter()
        .find(|upload| key(**upload).as_ref() == Some(&ticket.web_upload));
    // It was asked for alone, and its key may not be repeated.
    let alone = told
        .first()
        .filter(|upload| told.len() == 1 && key(**upload).is_none());
    let Some(upload) = by_key.or(alone) else {
        return ticket.unknown();
    };
    match state(*upload) {
        State::Working if ticket.age() >= LONGEST => Ok(given_up("it is still at work after a day")),
        State::Working => ticket.processing(),
        State::Failed(words) => Ok(given_up(&words)),
        State::Made(id) => match files::info(api, &[id]).await?.into_iter().next() {
            Some(file) => settle(api, ticket, file).await,
            None => Ok(UploadProgress::StartAgain),
        },
    }
}

/// Asks after many web uploads at once. One that the list lacks is still being processed, as far as this tells.
pub(super) async fn poll_many(api: &Api, sent: &[SentUpload]) -> Result<Vec<Result<UploadProgress>>> {
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    let reply = list(api).await?;
    let told = uploads(&reply);
    let mut states = Vec::with_capacity(sent.len());
    let mut made = Vec::new();
    for upload in sent {
        let ticket = Ticket::read(&upload.ticket);
        let found = ticket.as_ref().and_then(|ticket| {
            let mut told = told.iter();
            told.find(|upload| key(**upload).as_ref() == Some(&ticket.web_upload))
        });
        let state = found.map_or(State::Working, |upload| state(*upload));
        if let State::Made(id) = &state {
            made.push(id.clone());
        }
        states.push((ticket, state));
    }
    let found = files::info(api, &made).await?;
    let mut answers = Vec::with_capacity(sent.len());
    for (upload, (ticket, state)) in sent.iter().zip(states) {
        answers.push(match (ticket, state) {
            (_, State::Failed(words)) => Ok(given_up(&words)),
            (Some(ticket), State::Made(id)) => match found.iter().find(|file| file.id == id) {
                Some(file) => settle(api, &ticket, file.clone()).await,
                None => Ok(UploadProgress::StartAgain),
            },
            _ => Ok(UploadProgress::Processing(upload.ticket.clone())),
        });
    }
    Ok(answers)
}

/// Ends a web upload whose file is there: it gets its time. One that was only found by its name must stand where ours
/// was to go.
async fn settle(api: &Api, ticket: &Ticket, mut file: FileEntry) -> Result<UploadProgress> {
    let in_place = file
        .parent
        .as_ref()
        .is_none_or(|parent| parent.as_str() == ticket.folder);
    if ticket.found && !(in_place && file.size == ticket.size) {
        return Ok(UploadProgress::StartAgain);
    }
    if file.mtime.and_then(super::wire::format_time).as_ref() != Some(&ticket.mtime) {
        files::update(api, &file.id, &[("mtime", &ticket.mtime)]).await?;
        file.mtime = parse_time(&ticket.mtime);
    }
    Ok(UploadProgress::Done(file))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(upload: &Value) -> String {
        match state(Node(upload)) {
            State::Working => "working".to_owned(),
            State::Made(id) => format!("made {id}"),
            State::Failed(words) => format!("failed: {words}"),
        }
    }

    #[test]
    fn an_end_is_known_by_its_code_or_else_by_what_goes_with_it() {
        for (upload, expected) in [
            (
                json!({"status_code": "1", "active": "yes", "quickkey": ""}),
                "working",
            ),
            (
                json!({"status_code": 6, "active": "yes", "quickkey": "q"}),
                "working",
            ),
            (json!({"status_code": 1, "active": "no"}), "working"),
            (json!({"status_code": "99", "quickkey": "q"}), "made q"),
            (
                json!({"active": "no", "quickkey": "q", "error_status": "0"}),
                "made q",
            ),
            (json!({}), "working"),
            (
                json!({"status_code": "3", "active": "no", "status": "Failed", "error_status": "404"}),
                "failed: Failed, 404",
            ),
            (
                json!({"status_code": "99", "error_status": "no such page http://host.example/secret"}),
                "failed: no such page [...]",
            ),
        ] {
            assert_eq!(told(&upload), expected, "{upload}");
        }
    }

    #[test]
    fn a_ticket_of_sent_bytes_is_none_of_a_web_upload() {
        for text in ["abc123", "12345678901", "{}"] {
            assert!(Ticket::read(&UploadTicket::new(text)).is_none(), "{text}");
        }
    }
}
