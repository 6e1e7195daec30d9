//! `file/zip`: files and folders in one archive, stored without compression.
//!
//! The archive is written as it streams. Sizes and checksums follow each file's data in a descriptor, so no
//! file is read twice; no ZIP64. From 2 GiB on the caller has to agree.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;

use super::envelope::{Fail, Reply, fields};
use super::{Context, split_keys};
use crate::sandbox::state::Shared;
use crate::sandbox::tree::{Content, Node};

const MAX_TOTAL: u64 = 2_147_483_647;
/// What an archive without ZIP64 can hold, with room for its records.
const MAX_OFFSET: u64 = 4_000_000_000;
const MAX_FILE: u64 = 314_572_800;
const BUFFER: usize = 64 * 1024;

/// Bit 3: sizes follow the data. Bit 11: names are UTF-8.
const FLAGS: u16 = 0x0808;

/// Made on Unix, by version 2.0 of the format: external attributes are file modes.
const UNIX: u16 = 0x0314;

/// Under which a plan travels from the call to the stream.
const PLAN: &str = "zip plan";

/// What goes into an archive: path in it, and content.
pub struct Plan(Vec<(String, Content)>);

impl Plan {
    /// Takes the plan out of a reply that has one.
    pub fn take(reply: &mut Map<String, Value>) -> Option<Self> {
        serde_json::from_value(reply.remove(PLAN)?).ok().map(Self)
    }
}

pub fn zip(context: &mut Context<'_>) -> Reply {
    let params = context.params;
    let mut nodes = Vec::new();
    if let Some(keys) = params.filled("keys") {
        for key in split_keys(keys)? {
            if let Ok(folder) = context.own_folder(&key) {
                nodes.push(Node::Folder(folder));
            } else {
                nodes.push(Node::File(context.own_file(&key)?));
            }
        }
    } else {
        if let Some(path) = params.filled("file_path") {
            nodes.push(Node::File(context.file_at(path)?));
        }
        if params.filled("folder_path").is_some() {
            nodes.push(Node::Folder(context.folder_or_root("", "folder_path")?));
        }
    }
    let tree = context.tree()?;
    let mut files = Vec::new();
    for node in nodes {
        match node {
            Node::File(key) => {
                let file = tree
                    .file(&key)
                    .filter(|file| file.deleted.is_none())
                    .ok_or(Fail::new(110))?;
                files.push((file.name.clone(), file.content.clone()));
            }
            Node::Folder(key) => {
                let above = tree
                    .folder(&key)
                    .map(|folder| tree.folder_path(&folder.parent))
                    .unwrap_or_default();
                for folder in tree.subtree(&key) {
                    files.extend(tree.files_in(&folder).map(|file| {
                        let path = tree.file_path(file);
                        let inside = path.strip_prefix(&above).unwrap_or(&path).trim_start_matches('/');
                        (inside.to_owned(), file.content.clone())
                    }));
                }
            }
        }
    }
    if files.is_empty() {
        return Err(Fail::new(151));
    }
    if files.iter().any(|(_, content)| content.size > MAX_FILE) {
        return Err(Fail::new(150));
    }
    let total: u64 = files.iter().map(|(_, content)| content.size).sum();
    if total > MAX_OFFSET || total > MAX_TOTAL && !params.says_yes("allow_large_download") {
        return Err(Fail::new(153));
    }
    if params.says_yes("meta_only") {
        return Ok(fields(json!({})));
    }
    Ok(fields(json!({ PLAN: files })))
}

pub fn stream(shared: &Arc<Shared>, plan: Plan) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let mut writer = Writer { sender, offset: 0 };
        if let Err(error) = write(&shared, plan, &mut writer).await {
            let _ = writer.sender.send(Err(error)).await;
        }
    });
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let disposition = HeaderValue::from_static("attachment; filename=\"files.zip\"");
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    response
}

struct Writer {
    sender: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
    offset: u64,
}

impl Writer {
    async fn send(&mut self, bytes: Vec<u8>) -> std::io::Result<()> {
        self.offset += bytes.len() as u64;
        let sent = self.sender.send(Ok(Bytes::from(bytes))).await;
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

async fn write(shared: &Shared, plan: Plan, writer: &mut Writer) -> std::io::Result<()> {
    let mut directory = Vec::new();
    let mut entries: u16 = 0;
    for (name, content) in plan.0 {
        let start = writer.offset;
        let mut local = record(0x0403_4b50, &[20, FLAGS, 0, 0, 0x21], &[0, 0, 0]);
        local.extend((name.len() as u16).to_le_bytes());
        local.extend(0_u16.to_le_bytes());
        local.extend(name.as_bytes());
        writer.send(local).await?;
        let mut crc = Crc::new();
        let mut file = tokio::fs::File::open(shared.blobs.path(&content.sha256)).await?;
        loop {
            let mut buffer = vec![0; BUFFER];
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            buffer.truncate(read);
            crc.update(&buffer);
            writer.send(buffer).await?;
        }
        let size = content.size as u32;
        writer
            .send(record(0x0807_4b50, &[], &[crc.value(), size, size]))
            .await?;
        directory.extend(record(
            0x0201_4b50,
            &[UNIX, 20, FLAGS, 0, 0, 0x21],
            &[crc.value(), size, size],
        ));
        directory.extend((name.len() as u16).to_le_bytes());
        // Extra, comment, disk, internal attributes: none; external: a plain file; then where it starts.
        directory.extend([0; 8]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend((start as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        entries = entries.saturating_add(1);
    }
    let (start, length) = (writer.offset as u32, directory.len() as u32);
    writer.send(directory).await?;
    let mut end = record(0x0605_4b50, &[0, 0, entries, entries], &[length, start]);
    end.extend(0_u16.to_le_bytes());
    writer.send(end).await
}

/// A ZIP record's head: signature, short fields, long fields.
fn record(signature: u32, shorts: &[u16], longs: &[u32]) -> Vec<u8> {
    let mut bytes = signature.to_le_bytes().to_vec();
    shorts.iter().for_each(|short| bytes.extend(short.to_le_bytes()));
    longs.iter().for_each(|long| bytes.extend(long.to_le_bytes()));
    bytes
}

/// CRC-32 as ZIP uses it.
struct Crc {
    table: [u32; 256],
    state: u32,
}

impl Crc {
    fn new() -> Self {
        let mut table = [0; 256];
        for (byte, entry) in (0_u32..).zip(table.iter_mut()) {
            let mut value = byte;
            for _ in 0..8 {
                value = if value & 1 == 1 {
                    0xedb8_8320 ^ (value >> 1)
                } else {
                    value >> 1
                };
            }
            *entry = value;
        }
        Self {
            table,
            state: u32::MAX,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = usize::from(self.state as u8 ^ byte);
            self.state = self.table.get(at).copied().unwrap_or(0) ^ (self.state >> 8);
        }
    }

    fn value(&self) -> u32 {
        !self.state
    }
}
