//! Parameters of a call: from the query and from a form, urlencoded or multipart, cleaned as the script does it.
//!
//! A multipart body is taken apart while it streams; of an upload, the content goes to the disk at once.

use std::collections::HashMap;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use md5::Md5;
use sha2::Digest;

use super::names;
use crate::sandbox::blobs::Receiver;
use crate::sandbox::faults::Wrong;
use crate::sandbox::multipart::{Multipart, Part, Piece};
use crate::sandbox::state::Shared;

/// The largest urlencoded form, and the most that all fields of a multipart one hold, in bytes.
const MAX_FORM: usize = 4 << 20;

/// The name of the part that carries an upload.
const FILE_FIELD: &str = "upload_file";

#[derive(Default)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Adds those of an urlencoded text; they win over what is there already.
    fn add(&mut self, text: &str) {
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            self.put(&name, &value);
        }
    }

    fn put(&mut self, name: &str, value: &str) {
        self.0
            .insert(name.to_owned(), names::strip_tags(value).trim().to_owned());
    }

    /// The value, empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The value, if there is one and it is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub fn needed(&self, name: &str) -> Result<&str, super::envelope::Fail> {
        self.filled(name).ok_or(super::envelope::Fail::missing(name))
    }
}

/// A file that came with a form.
pub struct Sent {
    pub file_name: String,
    pub content_type: Option<String>,
    pub receiver: Receiver,
    hasher: Md5,
    wrong: Option<Wrong>,
    /// The last byte so far, where it may be the one that gets lost.
    held: Option<u8>,
}

impl Sent {
    fn new(part: Part, receiver: Receiver, wrong: Option<Wrong>) -> Self {
        Self {
            file_name: part.file_name.unwrap_or_default(),
            content_type: part.content_type,
            receiver,
            hasher: Md5::new(),
            wrong,
            held: None,
        }
    }

    async fn take(&mut self, mut bytes: Vec<u8>) -> std::io::Result<()> {
        match self.wrong {
            Some(Wrong::Hash) if self.receiver.size() == 0 => {
                if let Some(first) = bytes.first_mut() {
                    *first = !*first;
                }
            }
            Some(Wrong::Size) => {
                if let Some(last) = bytes.pop()
                    && let Some(held) = self.held.replace(last)
                {
                    bytes.insert(0, held);
                }
            }
            _ => {}
        }
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.receiver.write(bytes).await
    }

    async fn end(&mut self) -> std::io::Result<()> {
        match self.held.take() {
            Some(only) if self.receiver.size() == 0 => self.write(&[only, only]).await,
            _ => Ok(()),
        }
    }

    /// The content, and its MD5 in hex.
    pub fn into_parts(self) -> (Receiver, String) {
        (self.receiver, hex::encode(self.hasher.finalize()))
    }
}

/// All that a request brings.
#[derive(Default)]
pub struct Form {
    pub params: Params,
    pub sent: Option<Sent>,
}

impl Form {
    /// Reads a request to its end. `None`: its body broke off or is not well formed.
    pub async fn read(
        shared: &Shared,
        parts: &Parts,
        body: Body,
        takes_file: bool,
        wrong: Option<Wrong>,
    ) -> Option<Self> {
        let mut form = Self::default();
        form.params.add(parts.uri.query().unwrap_or_default());
        let kind = text_of(&parts.headers, header::CONTENT_TYPE);
        let limit = shared.options.quirks.yetishare.post_limit;
        let length = text_of(&parts.headers, header::CONTENT_LENGTH).parse::<u64>();
        let mut stream = body.into_data_stream();
        let mut reader = Multipart::of(&kind);
        let is_plain = kind.is_empty() || kind.starts_with("application/x-www-form-urlencoded");
        let mut plain = Vec::new();
        let mut fields = Fields::default();
        let mut read = 0;
        let mut lost = length.is_ok_and(|length| limit.is_some_and(|limit| length > limit));
        while let Some(bytes) = stream.next().await {
            let bytes: Bytes = bytes.ok()?;
            read += bytes.len() as u64;
            lost |= limit.is_some_and(|limit| read > limit);
            if lost {
                continue;
            }
            match &mut reader {
                Some(reader) => {
                    for piece in reader.feed(&bytes)? {
                        fields.take(shared, piece, takes_file, wrong).await?;
                    }
                }
                None if is_plain && plain.len() + bytes.len() <= MAX_FORM => plain.extend_from_slice(&bytes),
                None => {}
            }
        }
        if lost {
            return Some(form);
        }
        if reader.is_some_and(|reader| !reader.is_complete()) {
            return None;
        }
        form.params.add(&String::from_utf8_lossy(&plain));
        for (name, value) in fields.values {
            form.params.put(&name, &String::from_utf8_lossy(&value));
        }
        if let Some(mut sent) = fields.sent {
            sent.end().await.map_err(report).ok()?;
            form.sent = Some(sent);
        }
        Some(form)
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn report(error: std::io::Error) {
    tracing::warn!(%error, "the sandbox could not store an upload");
}

/// The parts of a multipart body so far.
#[derive(Default)]
struct Fields {
    values: Vec<(String, Vec<u8>)>,
    size: usize,
    sent: Option<Sent>,
    at: At,
}

#[derive(Clone, Copy, Default)]
enum At {
    Value,
    File,
    #[default]
    Nothing,
}

impl Fields {
    async fn take(
        &mut self,
        shared: &Shared,
        piece: Piece,
        takes_file: bool,
        wrong: Option<Wrong>,
    ) -> Option<()> {
        match piece {
            Piece::Part(part) if part.file_name.is_none() => {
                self.values.push((part.name, Vec::new()));
                self.at = At::Value;
            }
            Piece::Part(part) if takes_file && part.name == FILE_FIELD && self.sent.is_none() => {
                let receiver = shared.blobs.receive().await.map_err(report).ok()?;
                self.sent = Some(Sent::new(part, receiver, wrong));
                self.at = At::File;
            }
            Piece::Part(_) => self.at = At::Nothing,
            Piece::Data(data) => match self.at {
                At::Value => {
                    self.size += data.len();
                    let (_, value) = self.values.last_mut().filter(|_| self.size <= MAX_FORM)?;
                    value.extend(data);
                }
                At::File => self.sent.as_mut()?.take(data).await.map_err(report).ok()?,
                At::Nothing => {}
            },
        }
        Some(())
    }
}
