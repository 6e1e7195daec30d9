//! Content by its SHA-256, shared by all accounts and services of one sandbox.
//!
//! A blob is written once and never changed; nothing else on the disk is linked to it, so what people do
//! to the live files cannot reach it. Bodies are hashed while they stream to the disk.

use std::collections::HashMap;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::tree::Content;

/// The SHA-256 of no bytes at all: content that every service holds.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const COPY_BUFFER: usize = 256 * 1024;

pub struct Blobs {
    blobs: PathBuf,
    temp: PathBuf,
    /// Hash to size, so that asking for content needs no disk.
    known: Mutex<HashMap<String, u64>>,
}

impl Blobs {
    /// Opens the store below `root`, dropping what an earlier run left half written.
    pub fn open(root: &Path) -> io::Result<Self> {
        let (blobs, temp) = (root.join("blobs"), root.join("temp"));
        if temp.exists() {
            std::fs::remove_dir_all(&temp)?;
        }
        std::fs::create_dir_all(&temp)?;
        std::fs::create_dir_all(&blobs)?;
        let mut known = HashMap::new();
        for shelf in std::fs::read_dir(&blobs)? {
            for blob in std::fs::read_dir(shelf?.path())? {
                let blob = blob?;
                if let Ok(name) = blob.file_name().into_string() {
                    known.insert(name, blob.metadata()?.len());
                }
            }
        }
        let store = Self {
            blobs,
            temp,
            known: Mutex::new(known),
        };
        store.put_bytes(b"")?;
        Ok(store)
    }

    pub fn path(&self, sha256: &str) -> PathBuf {
        self.blobs.join(sha256.get(..2).unwrap_or("__")).join(sha256)
    }

    pub fn temp_dir(&self) -> &Path {
        &self.temp
    }

    pub fn size_of(&self, sha256: &str) -> Option<u64> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(sha256)
            .copied()
    }

    /// Keeps only what `wanted` says yes to. For the start, when nothing is under way.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let unwanted: Vec<String> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .keys()
                .filter(|hash| *hash != EMPTY_SHA256 && !wanted(hash))
                .cloned()
                .collect()
        };
        for hash in unwanted {
            std::fs::remove_file(self.path(&hash))?;
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&hash);
        }
        Ok(())
    }

    /// A place to stream a body into.
    pub async fn receive(&self) -> io::Result<Receiver> {
        let (file, path) = tempfile::NamedTempFile::new_in(&self.temp)?.into_parts();
        Ok(Receiver {
            file: tokio::fs::File::from_std(file),
            path,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    /// Makes a received body a blob.
    pub async fn keep(&self, receiver: Receiver) -> io::Result<Content> {
        let Receiver {
            mut file,
            path,
            hasher,
            size,
        } = receiver;
        file.flush().await?;
        drop(file);
        let content = Content {
            sha256: hex::encode(hasher.finalize()),
            size,
        };
        self.adopt(path, &content)?;
        Ok(content)
    }

    pub fn put_bytes(&self, bytes: &[u8]) -> io::Result<Content> {
        let mut temp = tempfile::NamedTempFile::new_in(&self.temp)?;
        temp.write_all(bytes)?;
        let content = Content {
            sha256: hex::encode(Sha256::digest(bytes)),
            size: bytes.len() as u64,
        };
        self.adopt(temp.into_temp_path(), &content)?;
        Ok(content)
    }

    /// Copies a file of somebody else's into the store. Blocks.
    pub fn copy_in(&self, source: &Path) -> io::Result<Content> {
        let mut temp = tempfile::NamedTempFile::new_in(&self.temp)?;
        let mut source = std::fs::File::open(source)?;
        // Zeros become holes, so that a large sparse file takes as little room here as there.
        let (sha256, size) = hash_through(&mut source, |bytes| {
            if bytes.iter().all(|byte| *byte == 0) {
                temp.seek_relative(bytes.len() as i64)
            } else {
                temp.write_all(bytes)
            }
        })?;
        temp.as_file().set_len(size)?;
        let content = Content { sha256, size };
        self.adopt(temp.into_temp_path(), &content)?;
        Ok(content)
    }

    /// Moves a file on the same disk into the store, by the content that it was found to be. Blocks.
    pub fn move_in(&self, source: PathBuf, found: &Content) -> io::Result<()> {
        self.adopt(tempfile::TempPath::try_from_path(source)?, found)
    }

    fn adopt(&self, temp: tempfile::TempPath, content: &Content) -> io::Result<()> {
        let path = self.path(&content.sha256);
        if let Some(shelf) = path.parent() {
            std::fs::create_dir_all(shelf)?;
        }
        temp.persist(&path).map_err(|error| error.error)?;
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(content.sha256.clone(), content.size);
        Ok(())
    }
}

fn hash_through(
    source: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        let read = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        each(bytes)?;
        size += read as u64;
    }
    Ok((hex::encode(hasher.finalize()), size))
}

/// The hash of a file that grows from its beginning, taken as it grows.
#[derive(Default)]
pub struct Growing {
    hasher: Sha256,
    size: u64,
}

impl Growing {
    /// Takes the file's bytes up to `end` in. Blocks.
    pub fn read_to(&mut self, file: &std::fs::File, end: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; COPY_BUFFER];
        while self.size < end {
            let wanted = (end - self.size).min(COPY_BUFFER as u64) as usize;
            file.read_exact_at(&mut buffer[..wanted], self.size)?;
            self.hasher.update(&buffer[..wanted]);
            self.size += wanted as u64;
        }
        Ok(())
    }

    pub fn content(&self) -> Content {
        Content {
            sha256: hex::encode(self.hasher.clone().finalize()),
            size: self.size,
        }
    }
}

/// A body on its way to the disk. Dropped without [`Blobs::keep`], it leaves nothing behind.
pub struct Receiver {
    file: tokio::fs::File,
    path: tempfile::TempPath,
    hasher: Sha256,
    size: u64,
}

impl Receiver {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends these bytes to those of another body.
    pub async fn append_to(mut self, other: &mut Receiver) -> io::Result<()> {
        self.file.flush().await?;
        self.file.rewind().await?;
        let mut buffer = vec![0; COPY_BUFFER];
        loop {
            let read = self.file.read(&mut buffer).await?;
            match buffer.get(..read).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => other.write(bytes).await?,
                None => return Ok(()),
            }
        }
    }
}
