//! One call: its key and token, its envelope, what an error's text means.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::Settings;
use crate::http::{ApiAnswer, ApiClient, ApiRequest};
use crate::provider::form::{Params, link, without_links};
use crate::provider::publish::{self, Node, by_status, clean, distinct, incomplete, refused};
use crate::provider::{ErrorKind, FileId, ProviderError, Result, Retry};

pub(super) const VARIABLES: &str = "file/upload";
pub(super) const INFO: &str = "file/info";
pub(super) const UPLOAD: &str = "upload";
pub(super) const REMOTE: &str = "upload/remote";

/// Bytes. More is as good as no limit.
const LARGEST_CHUNK: u64 = 1 << 40;

/// How long the service's word on the largest file is believed.
const LIMIT_AGE: Duration = Duration::from_secs(3600);

/// The calls of one account.
pub(super) struct Api {
    client: ApiClient,
    base: Url,
    settings: Settings,
    /// What was told of the largest file, and when.
    limit: Mutex<Option<(Option<u64>, Instant)>>,
}

/// What the service wants to have with each chunk of one upload, and its limits.
pub(super) struct Variables {
    pub server_file: Url,
    /// For files that the service fetches by itself.
    pub server_remote: Option<Url>,
    tracker: SecretString,
    upload_key: SecretString,
    pub max_chunk_size: u64,
    pub max_file_size: Option<u64>,
    pub mirrors: Vec<String>,
}

impl Api {
    pub fn new(settings: Settings, client: ApiClient) -> Result<Self> {
        Ok(Api {
            client,
            base: publish::base(&settings.base_url)?,
            settings,
            limit: Mutex::default(),
        })
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    fn own(&self) -> Params {
        Params::new()
            .with("api_key", self.settings.api_key.expose_secret())
            .with("api_token", self.settings.api_token.expose_secret())
    }

    async fn call(&self, operation: &'static str, params: Params) -> Result<Value> {
        self.send(operation, publish::request(&self.base, operation, params)?)
            .await
    }

    /// Sends a request and opens its envelope.
    pub async fn send(&self, operation: &'static str, request: ApiRequest) -> Result<Value> {
        let (answer, value) = publish::send(&self.client, operation, request).await?;
        open(operation, &answer, value)
    }

    /// Fresh variables. Makes nothing by itself.
    pub async fn variables(&self) -> Result<Variables> {
        let told = self.call(VARIABLES, self.own()).await?;
        let node = Node(&told);
        let max_file_size = node.number("max_file_size").filter(|size| *size > 0);
        self.note_limit(max_file_size);
        let needed = |key: &'static str| node.text(key).ok_or_else(|| incomplete(VARIABLES, key));
        let server_file = needed("server_file")?;
        let is_open = |mirror: &String| {
            let known = node.get("mirrors");
            known.is_none_or(|known| known.0.get(mirror).is_none_or(|open| *open != Value::Bool(false)))
        };
        let own = &self.settings.mirrors;
        let mirrors = match own.is_empty() {
            // What the account has chosen may be closed by now.
            true => distinct(node.texts("default_mirrors").into_iter().filter(is_open)),
            false => distinct(own.iter().cloned()),
        };
        self.check_mirrors(node, &mirrors)?;
        Ok(Variables {
            server_file: link(VARIABLES, &server_file, &self.base)?,
            server_remote: node
                .text("server_remote")
                .and_then(|url| link(VARIABLES, &url, &self.base).ok()),
            tracker: needed("cTracker")?.into(),
            upload_key: needed("upload_key")?.into(),
            max_chunk_size: node
                .number("max_chunk_size")
                .filter(|size| *size > 0)
                .map(|size| size.min(LARGEST_CHUNK))
                .ok_or_else(|| incomplete(VARIABLES, "max_chunk_size"))?,
            max_file_size,
            mirrors,
        })
    }

    /// Refuses mirrors that the service does not have, has closed, or too many of them.
    fn check_mirrors(&self, node: Node<'_>, mirrors: &[String]) -> Result<()> {
        let refuse = |message: String| Err(refused(ErrorKind::InvalidArgument, VARIABLES, message));
        if mirrors.is_empty() {
            return refuse(
                "the account has no mirrors that are open: choose some on the web site, or set mirrors in the config"
                    .to_owned(),
            );
        }
        if let Some(Value::Object(known)) = node.get("mirrors").map(|known| known.0) {
            let closed = mirrors
                .iter()
                .find(|mirror| known.get(*mirror).is_none_or(|open| *open == Value::Bool(false)));
            if let Some(closed) = closed.filter(|_| !known.is_empty()) {
                return refuse(format!(
                    "the mirror {} is not open to the account: see https://mirrorace.com/mirrors",
                    clean(closed)
                ));
            }
        }
        match node
            .number("max_mirrors")
            .filter(|most| mirrors.len() as u64 > *most)
        {
            Some(most) => refuse(format!(
                "{} mirrors are too many: {most} may be chosen",
                mirrors.len()
            )),
            None => Ok(()),
        }
    }

    /// The fields that go with every chunk, and with a link.
    pub fn fields(&self, variables: &Variables) -> Vec<(&'static str, String)> {
        let secret = |secret: &SecretString| secret.expose_secret().to_owned();
        let mut fields = vec![
            ("api_key", secret(&self.settings.api_key)),
            ("api_token", secret(&self.settings.api_token)),
            ("cTracker", secret(&variables.tracker)),
            ("upload_key", secret(&variables.upload_key)),
        ];
        fields.extend(
            variables
                .mirrors
                .iter()
                .map(|mirror| ("mirrors[]", mirror.clone())),
        );
        fields.extend(
            self.settings
                .file_password
                .as_ref()
                .map(|it| ("file_password", secret(it))),
        );
        fields
    }

    /// What the service tells of files, by slug.
    pub async fn info(&self, files: &[FileId]) -> Result<Value> {
        let slugs: Vec<&str> = files.iter().map(FileId::as_str).collect();
        let told = self
            .call(INFO, self.own().with("files", &slugs.join(",")))
            .await?;
        Ok(by_slug(told))
    }

    /// Bytes of the largest file, as told lately; else the service is asked.
    pub async fn max_file_size(&self) -> Result<Option<u64>> {
        let known = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some((told, at)) if at.elapsed() < LIMIT_AGE => Ok(told),
            _ => Ok(self.variables().await?.max_file_size),
        }
    }

    fn note_limit(&self, told: Option<u64>) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = Some((told, Instant::now()));
    }
}

/// PHP makes a list of what is keyed by numbers, which slugs may be.
fn by_slug(told: Value) -> Value {
    let Value::Array(files) = told else { return told };
    let keyed = files
        .into_iter()
        .filter_map(|file| Some((Node(&file).text("slug")?, file)));
    Value::Object(keyed.collect())
}

/// Opens the envelope: the result, or what the service says against the call.
fn open(operation: &'static str, answer: &ApiAnswer, mut value: Value) -> Result<Value> {
    let status = Node(&value)
        .text("status")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let good = (200..300).contains(&answer.status);
    match status.as_str() {
        "success" if good => match value.get_mut("result").map(Value::take) {
            Some(result @ (Value::Object(_) | Value::Array(_))) => Ok(result),
            _ => Err(incomplete(operation, "its result")),
        },
        "error" if good || (400..500).contains(&answer.status) && answer.status != 429 => {
            Err(said(operation, &Node(&value).text("result").unwrap_or_default()))
        }
        _ if good => Err(incomplete(operation, "its status")),
        _ => Err(by_status(operation, answer)),
    }
}

/// What an error means by its words, of which the service tells nothing beforehand. What is not understood had
/// no effect, and may pass.
fn said(operation: &'static str, text: &str) -> ProviderError {
    use ErrorKind as K;
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let wait = Retry::AfterWait(None);
    let (kind, retry) = if has(&["api key", "api token", "api_key", "api_token"]) {
        (K::LoginRefused, Retry::Never)
    } else if has(&["upload key", "upload_key", "ctracker"]) {
        (K::Unavailable, wait)
    } else if has(&["file size", "filesize", "too large", "too big"]) {
        (K::TooLarge, Retry::Never)
    } else if has(&["limit", "too many"]) {
        (K::RateLimited, wait)
    } else if has(&["mirror"]) {
        (K::InvalidArgument, Retry::Never)
    } else if operation == REMOTE {
        // It did not get the file, and there is another way.
        (K::Unsupported, Retry::Never)
    } else {
        (K::Unavailable, wait)
    };
    match operation {
        REMOTE => publish::said(operation, kind, retry, &without_links(text)),
        _ => publish::said(operation, kind, retry, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_text(status: u16, body: &str) -> Result<Value> {
        let answer = ApiAnswer {
            status,
            content_type: None,
            retry_after: None,
            body: body.to_owned().into(),
        };
        let value = serde_json::from_str(body).unwrap();
        open("x", &answer, value)
    }

    #[test]
    fn files_are_found_by_slug_in_a_list_as_well() {
        let told = serde_json::json!([{ "slug": "12", "status": "active" }, { "slug": null }]);
        assert_eq!(by_slug(told)["12"]["status"], "active");
    }

    #[test]
    fn an_error_is_told_from_a_success_and_from_nothing() {
        assert!(open_text(200, r#"{"status":"success","result":{"a":1}}"#).is_ok());
        for (status, body, kind, retry) in [
            (
                200,
                r#"{"status":"success"}"#,
                ErrorKind::Unexpected,
                Retry::OutcomeUnknown,
            ),
            (
                200,
                r#"{"result":{}}"#,
                ErrorKind::Unexpected,
                Retry::OutcomeUnknown,
            ),
            (
                500,
                r#"{"status":"success","result":{}}"#,
                ErrorKind::Unavailable,
                Retry::OutcomeUnknown,
            ),
            (
                200,
                r#"{"status":"error","result":"Invalid API key or API token."}"#,
                ErrorKind::LoginRefused,
                Retry::Never,
            ),
            (
                200,
                r#"{"status":"error","result":"The upload key expired."}"#,
                ErrorKind::Unavailable,
                Retry::AfterWait(None),
            ),
            (
                200,
                r#"{"status":"error","result":"Something."}"#,
                ErrorKind::Unavailable,
                Retry::AfterWait(None),
            ),
            (
                429,
                r#"{"status":"error","result":"x"}"#,
                ErrorKind::RateLimited,
                Retry::AfterWait(None),
            ),
        ] {
            let error = open_text(status, body).unwrap_err();
            assert_eq!(
                (error.kind, error.retry),
                (kind, retry),
                "{status} {body}: {error}"
            );
        }
    }
}
