//! The fields of a call and the file that may come with them, as the publish-only services take them: unaltered,
//! from an urlencoded or a multipart body. A file streams to the disk.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::http::request::Parts;
use futures_util::StreamExt;

use super::blobs::Receiver;
use super::faults::{Fault, Wrong};
use super::multipart::{Multipart, Piece};
use super::state::Shared;

/// The most that all fields of a form hold, in bytes.
const MAX_FIELDS: usize = 1 << 20;

/// A file that came with a form.
pub struct Sent {
    pub file_name: String,
    pub receiver: Receiver,
    /// The last byte so far, where it is the one that gets lost.
    held: Option<u8>,
}

/// All that a request brings.
#[derive(Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    pub sent: Option<Sent>,
}

/// Where the bytes of a multipart body go.
enum At {
    Field(Vec<u8>),
    File,
    Nothing,
}

impl Form {
    /// Reads a request to its end; a file may come in any of `file_fields`. `None`: the body broke off or is not
    /// well formed.
    pub async fn read(
        shared: &Shared,
        parts: &Parts,
        body: Body,
        file_fields: &[&str],
        fault: Option<&Fault>,
    ) -> Option<Self> {
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let loses_last = matches!(fault, Some(Fault::StoreWrong { what: Wrong::Size }));
        let mut form = Self::default();
        let mut stream = body.into_data_stream();
        let mut reader = Multipart::of(kind);
        let mut plain = Vec::new();
        let mut names = Vec::new();
        let mut at = At::Nothing;
        let mut size = 0;
        while let Some(bytes) = stream.next().await {
            let bytes: Bytes = bytes.ok()?;
            let Some(reader) = &mut reader else {
                plain.extend_from_slice(&bytes);
                (plain.len() <= MAX_FIELDS).then_some(())?;
                continue;
            };
            for piece in reader.feed(&bytes)? {
                match piece {
                    Piece::Part(part) => {
                        form.end_field(&mut names, at);
                        at = match part.file_name {
                            None => {
                                names.push(part.name);
                                At::Field(Vec::new())
                            }
                            Some(file_name) if file_fields.contains(&part.name.as_str()) => {
                                let receiver = shared.blobs.receive().await.ok()?;
                                form.sent = Some(Sent {
                                    file_name,
                                    receiver,
                                    held: None,
                                });
                                At::File
                            }
                            Some(_) => At::Nothing,
                        };
                    }
                    Piece::Data(mut data) => match &mut at {
                        At::Field(value) => {
                            size += data.len();
                            (size <= MAX_FIELDS).then_some(())?;
                            value.append(&mut data);
                        }
                        At::File => {
                            let sent = form.sent.as_mut()?;
                            if loses_last
                                && let Some(last) = data.pop()
                                && let Some(held) = sent.held.replace(last)
                            {
                                data.insert(0, held);
                            }
                            sent.receiver.write(&data).await.ok()?;
                        }
                        At::Nothing => {}
                    },
                }
            }
        }
        form.end_field(&mut names, at);
        match reader {
            Some(reader) => reader.is_complete().then_some(form),
            None => {
                let pairs = url::form_urlencoded::parse(&plain).into_owned();
                form.fields.extend(pairs);
                Some(form)
            }
        }
    }

    fn end_field(&mut self, names: &mut Vec<String>, at: At) {
        if let (At::Field(value), Some(name)) = (at, names.pop()) {
            self.fields
                .push((name, String::from_utf8_lossy(&value).into_owned()));
        }
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
