//! The fields of a call and the file that may come with them, from an urlencoded or a multipart body. A file streams to
//! the disk. What a service makes of names and values is its own.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::http::request::Parts;
use futures_util::StreamExt;
use md5::Md5;
use sha2::Digest;

use super::blobs::Receiver;
use super::faults::{Fault, Wrong};
use super::mishaps;
use super::multipart::{Multipart, Part, Piece};
use super::state::Shared;

/// The most that all fields of a form hold, in bytes.
const MAX_FIELDS: usize = 4 << 20;

/// How a form is to be read.
pub struct Reading<'a> {
    /// The parts that may be the file; the first one counts.
    pub file_fields: &'a [&'a str],
    pub fault: Option<&'a Fault>,
    /// A body of more bytes loses all that is in it.
    pub limit: Option<u64>,
    /// Whether the MD5 of the file is wanted.
    pub md5: bool,
}

/// A file that came with a form.
pub struct Sent {
    pub file_name: String,
    pub content_type: Option<String>,
    pub receiver: Receiver,
    md5: Option<Md5>,
    wrong: Option<Wrong>,
    /// The last byte so far, where it may be the one that gets lost.
    held: Option<u8>,
}

impl Sent {
    fn new(part: Part, receiver: Receiver, reading: &Reading<'_>) -> Self {
        Self {
            file_name: part.file_name.unwrap_or_default(),
            content_type: part.content_type,
            receiver,
            md5: reading.md5.then(Md5::new),
            wrong: match reading.fault {
                Some(Fault::StoreWrong { what }) => Some(*what),
                _ => None,
            },
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
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.receiver.write(bytes).await
    }

    async fn end(&mut self) -> std::io::Result<()> {
        match self.held.take() {
            Some(only) if self.receiver.size() == 0 => self.write(&[only, only]).await,
            _ => Ok(()),
        }
    }

    /// The content, and its MD5 in hex, which is empty where it was not wanted.
    pub fn into_parts(self) -> (Receiver, String) {
        let md5 = self.md5.map(|md5| hex::encode(md5.finalize()));
        (self.receiver, md5.unwrap_or_default())
    }
}

/// All that a request's body brings.
#[derive(Default)]
pub struct Form {
    pub fields: Vec<(String, String)>,
    pub sent: Option<Sent>,
}

impl Form {
    /// Reads a request to its end. `None`: the body broke off or is not well formed.
    pub async fn read(shared: &Shared, parts: &Parts, body: Body, reading: Reading<'_>) -> Option<Self> {
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_plain = kind.is_empty() || kind.starts_with("application/x-www-form-urlencoded");
        let too_large = |bytes: u64| reading.limit.is_some_and(|limit| bytes > limit);
        let mut stream = body.into_data_stream();
        let mut multipart = Multipart::of(kind);
        let mut came = Came::default();
        let mut plain = Vec::new();
        let mut read = 0;
        let mut lost = mishaps::length(&parts.headers).is_some_and(too_large);
        while let Some(bytes) = stream.next().await {
            let bytes: Bytes = bytes.ok()?;
            read += bytes.len() as u64;
            lost |= too_large(read);
            if lost {
                continue;
            }
            match &mut multipart {
                Some(multipart) => {
                    for piece in multipart.feed(&bytes)? {
                        came.take(shared, piece, &reading).await?;
                    }
                }
                None if is_plain => {
                    plain.extend_from_slice(&bytes);
                    (plain.len() <= MAX_FIELDS).then_some(())?;
                }
                None => {}
            }
        }
        if lost {
            return Some(Self::default());
        }
        if multipart.is_some_and(|multipart| !multipart.is_complete()) {
            return None;
        }
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let plain = url::form_urlencoded::parse(&plain).into_owned();
        let fields = came.values.into_iter().map(|(name, value)| (name, text(value)));
        let mut form = Self {
            fields: plain.chain(fields).collect(),
            sent: came.sent,
        };
        if let Some(sent) = &mut form.sent {
            sent.end().await.map_err(report).ok()?;
        }
        Some(form)
    }

    /// As [`read`](Self::read) for the services that publish only, with a file in any of these fields.
    pub async fn with_file(
        shared: &Shared,
        parts: &Parts,
        body: Body,
        file_fields: &[&str],
        fault: Option<&Fault>,
    ) -> Option<Self> {
        let reading = Reading {
            file_fields,
            fault,
            limit: None,
            md5: false,
        };
        Self::read(shared, parts, body, reading).await
    }

    /// The last value of this name, empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        let found = self.fields.iter().rev().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// The values of a list: of `name[]` and of `name[anything]`, in order.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let is_one = |known: &str| {
            let index = known.strip_prefix(name);
            index.is_some_and(|index| index.starts_with('[') && index.ends_with(']'))
        };
        let values = self.fields.iter().filter(|(known, _)| is_one(known));
        values.map(|(_, value)| value.trim()).collect()
    }
}

fn report(error: std::io::Error) {
    tracing::warn!(%error, "the sandbox could not store an upload");
}

/// The parts of a multipart body so far.
#[derive(Default)]
struct Came {
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

impl Came {
    async fn take(&mut self, shared: &Shared, piece: Piece, reading: &Reading<'_>) -> Option<()> {
        match piece {
            Piece::Part(part) if part.file_name.is_none() => {
                self.values.push((part.name, Vec::new()));
                self.at = At::Value;
            }
            Piece::Part(part) if self.sent.is_none() && reading.file_fields.contains(&part.name.as_str()) => {
                let receiver = shared.blobs.receive().await.map_err(report).ok()?;
                self.sent = Some(Sent::new(part, receiver, reading));
                self.at = At::File;
            }
            Piece::Part(_) => self.at = At::Nothing,
            Piece::Data(data) => match self.at {
                At::Value => {
                    self.size += data.len();
                    let (_, value) = self.values.last_mut().filter(|_| self.size <= MAX_FIELDS)?;
                    value.extend(data);
                }
                At::File => self.sent.as_mut()?.take(data).await.map_err(report).ok()?,
                At::Nothing => {}
            },
        }
        Some(())
    }
}

/// The name that a remote file gets: the end of its URL.
pub fn name_in(url: &url::Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back());
    let last = last.filter(|last| !last.is_empty()).unwrap_or("index.html");
    percent_encoding::percent_decode_str(last)
        .decode_utf8_lossy()
        .into_owned()
}

/// Digits and letters of a rising number, `length` of them.
pub fn rising_id(number: u64, length: u32) -> String {
    let (mut rest, mut id) = (36_u64.pow(length - 1) + number, Vec::new());
    while rest > 0 {
        id.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
        rest /= 36;
    }
    id.iter().rev().collect()
}
