//! The map that lies beside the bytes of a content: a header that says which content it is, and a log of what was
//! kept and let go. Knows the format, and of files only how to append to one.
//!
//! Nothing here is synced. A power cut may leave any mixture behind, so nothing in a map is believed unchecked: the
//! header is compared with the key that was asked for, a record carries a check of its own that no record of another
//! content fits, and the bytes of a block have to fit the sum in its record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::ContentKey;
use crate::provider::FileId;

const MAGIC: &[u8; 8] = b"lkrblock";
/// Counts formats, so that a cache of another one is no content and not a wrong one.
const FORMAT: u32 = 1;
const RECORD: usize = 16;
/// Longer keys are not kept.
pub(super) const MAX_HEADER: usize = 1024;

/// A content's name on the disk and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id([u8; 16]);

impl Id {
    pub fn of(key: &ContentKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(encode_key(key)).into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Id(id)
    }

    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let id = hex::decode(text).ok()?.try_into().ok().map(Id)?;
        (id.to_hex() == text).then_some(id)
    }
}

fn encode_key(key: &ContentKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&key.size.to_le_bytes());
    for text in [&key.space, key.file.as_str(), &key.version] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn decode_key(bytes: &[u8]) -> Option<ContentKey> {
    let (format, bytes) = bytes.split_first_chunk()?;
    let (size, mut bytes) = bytes.split_first_chunk()?;
    let mut text = || {
        let (len, rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let (space, file, version) = (text()?, text()?, text()?);
    let is_ours = u32::from_le_bytes(*format) == FORMAT && bytes.is_empty();
    is_ours.then(|| ContentKey {
        space,
        file: FileId::new(file),
        version,
        size: u64::from_le_bytes(*size),
    })
}

/// The header of a map, or `None` for a key that is too long to be kept.
fn header(key: &ContentKey) -> Option<Vec<u8>> {
    let encoded = encode_key(key);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(encoded.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&encoded);
    let check = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    (bytes.len() <= MAX_HEADER).then_some(bytes)
}

/// What the records of a map are told from others by. Not the sum of the whole header: with its own sum at the end that is
/// the same of all.
fn salt(header: &[u8]) -> u32 {
    header.last_chunk().map_or(0, |check| u32::from_le_bytes(*check))
}

/// The key, and how long the header is.
fn parse_header(bytes: &[u8]) -> Option<(ContentKey, usize)> {
    let (len, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let encoded = rest.get(..u32::from_le_bytes(*len) as usize)?;
    let checked = MAGIC.len() + len.len() + encoded.len();
    let (check, _) = bytes.get(checked..)?.split_first_chunk()?;
    (u32::from_le_bytes(*check) == crc32fast::hash(&bytes[..checked])).then_some(())?;
    Some((decode_key(encoded)?, checked + check.len()))
}

/// What happened to a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// A block is kept, and its bytes have this sum.
    Held { block: u32, sum: u32 },
    /// Blocks are there no more.
    Gone { first: u32, count: u32 },
    /// All blocks are kept, and together they are what the service promised. Ends with the first that is gone.
    Verified,
}

impl Record {
    fn encode(self, salt: u32) -> [u8; RECORD] {
        let (kind, a, b): (u32, u32, u32) = match self {
            Record::Held { block, sum } => (1, block, sum),
            Record::Gone { first, count } => (2, first, count),
            Record::Verified => (3, 0, 0),
        };
        let mut bytes = [0; RECORD];
        for (at, word) in [kind, a, b].into_iter().enumerate() {
            bytes[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let check = check(&bytes[..12], salt);
        bytes[12..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD], salt: u32) -> Option<Self> {
        let mut words = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word));
        let (kind, a, b, told) = (words.next()?, words.next()?, words.next()?, words.next()?);
        if told != check(&bytes[..12], salt) {
            return None;
        }
        match kind {
            1 => Some(Record::Held { block: a, sum: b }),
            2 => Some(Record::Gone { first: a, count: b }),
            3 => Some(Record::Verified),
            _ => None,
        }
    }
}

fn check(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// What a map says.
pub(super) struct Parsed {
    pub key: ContentKey,
    pub records: Vec<Record>,
    /// Bytes of it that are whole; what follows is torn.
    pub len: u64,
}

/// Reads a map, or tells with `None` that it is none. What follows the first record that is not right is left out: it
/// may be missing, and so nothing that it would say is lost that could make a byte wrong.
pub(super) fn parse(bytes: &[u8]) -> Option<Parsed> {
    let (key, header) = parse_header(bytes)?;
    let salt = salt(&bytes[..header]);
    let (chunks, _) = bytes[header..].as_chunks::<RECORD>();
    let records: Vec<_> = chunks
        .iter()
        .map_while(|chunk| Record::decode(chunk, salt))
        .collect();
    let len = (header + records.len() * RECORD) as u64;
    Some(Parsed { key, records, len })
}

/// All of a map.
pub(super) fn encode(key: &ContentKey, records: &[Record]) -> Option<Vec<u8>> {
    let mut bytes = header(key)?;
    let salt = salt(&bytes);
    bytes.reserve(records.len() * RECORD);
    for record in records {
        bytes.extend_from_slice(&record.encode(salt));
    }
    Some(bytes)
}

/// Whether a map can be made for it.
pub(super) fn can_be_kept(key: &ContentKey) -> bool {
    header(key).is_some() && key.size.div_ceil(super::BLOCK) <= u64::from(u32::MAX)
}

/// Bytes that a map may have for a content of so many blocks before it is written anew.
pub(super) fn longest(blocks: u64) -> u64 {
    MAX_HEADER as u64 + (2 * blocks + DEAD_RECORDS) * RECORD as u64
}

/// Records that say nothing any more and are put up with, beside as many as there are blocks.
pub(super) const DEAD_RECORDS: u64 = 64;

/// A map that is open. A failed append leaves it as it was.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    len: u64,
    salt: u32,
    records: u64,
}

impl Log {
    /// Of a file that holds `len` bytes with so many records.
    pub fn new(file: File, key: &ContentKey, len: u64, records: u64) -> Self {
        let salt = salt(&header(key).unwrap_or_default());
        Log {
            file,
            len,
            salt,
            records,
        }
    }

    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes: Vec<u8> = records
            .iter()
            .flat_map(|record| record.encode(self.salt))
            .collect();
        if let Err(error) = self.file.write_all_at(&bytes, self.len) {
            // What follows a torn record would not be read. Where this fails as well, the next append lies over it.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.records += records.len() as u64;
        Ok(())
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ContentKey {
        ContentKey {
            space: "media".to_owned(),
            file: FileId::new("qk1"),
            version: "7".to_owned(),
            size: 100_000,
        }
    }

    const RECORDS: [Record; 3] = [
        Record::Held { block: 2, sum: 77 },
        Record::Gone { first: 0, count: 9 },
        Record::Verified,
    ];

    #[test]
    fn a_map_is_read_as_it_was_written_up_to_where_it_was_cut() {
        let bytes = encode(&key(), &RECORDS).unwrap();
        let header = bytes.len() - RECORDS.len() * RECORD;
        for len in 0..=bytes.len() {
            let parsed = parse(&bytes[..len]);
            if len < header {
                assert!(parsed.is_none(), "{len}");
                continue;
            }
            let (parsed, whole) = (parsed.unwrap(), (len - header) / RECORD);
            assert_eq!(parsed.key, key());
            assert_eq!(parsed.records, RECORDS[..whole]);
            assert_eq!(parsed.len as usize, header + whole * RECORD);
        }
    }

    #[test]
    fn a_record_with_a_wrong_bit_and_those_of_another_content_are_none() {
        let bytes = encode(&key(), &RECORDS).unwrap();
        let header = bytes.len() - RECORDS.len() * RECORD;
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            let records = parse(&wrong).map(|parsed| parsed.records);
            let expected = (at >= header).then(|| RECORDS[..(at - header) / RECORD].to_vec());
            assert_eq!(records, expected, "at {at}");
        }
        let other = ContentKey { size: 9, ..key() };
        let mut mixed = encode(&other, &[]).unwrap();
        mixed.extend_from_slice(&bytes[header..]);
        assert_eq!(parse(&mixed).unwrap().records, []);
    }

    #[test]
    fn each_part_of_a_key_makes_another_content() {
        let mut keys = vec![key(); 5];
        keys[1].space.push('x');
        keys[2].file = FileId::new("qk2");
        keys[3].version.push('1');
        keys[4].size += 1;
        let ids: std::collections::BTreeSet<_> = keys.iter().map(Id::of).collect();
        assert_eq!(ids.len(), keys.len());
        let long = ContentKey {
            version: "x".repeat(MAX_HEADER),
            ..key()
        };
        assert!(!can_be_kept(&long) && can_be_kept(&key()));
    }
}
